#include "cli/glossary.h"

#include <set>

#include "absl/strings/str_split.h"
#include "analysis/measure/reuse.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope::cli {
namespace {

using ::testing::HasSubstr;

TEST(GlossaryTest, EveryNameAndAliasLeadsToOneTerm) {
  std::set<std::string> seen;
  for (const Term& term : Glossary()) {
    EXPECT_TRUE(seen.insert(std::string(term.name)).second) << term.name;
    for (absl::string_view alias : absl::StrSplit(term.aliases, ',', absl::SkipEmpty())) {
      EXPECT_TRUE(seen.insert(std::string(alias)).second) << alias;
      const absl::StatusOr<const Term*> found = FindTerm(alias);
      ASSERT_TRUE(found.ok());
      EXPECT_EQ((*found)->name, term.name);
    }
  }
}

TEST(GlossaryTest, EveryTermSaysWhatAndWhere) {
  for (const Term& term : Glossary()) {
    EXPECT_GT(term.definition.size(), 20u) << term.name;
    EXPECT_EQ(term.definition.back(), '.') << term.name;
    EXPECT_FALSE(term.where.empty()) << term.name;
    EXPECT_LT(term.name.size(), 22u) << term.name;  // the list's first column
  }
}

TEST(GlossaryTest, SpellingIsForgiving) {
  for (const char* word : {"reuse-distance", "Reuse Distance", "reuse_distance", "stack-distance"}) {
    const absl::StatusOr<const Term*> term = FindTerm(word);
    ASSERT_TRUE(term.ok()) << word;
    EXPECT_EQ((*term)->name, "reuse-distance");
  }
}

TEST(GlossaryTest, UnknownTermsNameTheNearest) {
  EXPECT_THAT(std::string(FindTerm("reuse-distanse").status().message()), HasSubstr("did you mean 'reuse-distance'"));
  EXPECT_THAT(std::string(FindTerm("qqqq").status().message()), HasSubstr("lists them all"));
}

// A scope that the report prints can be looked up.
TEST(GlossaryTest, EveryReuseScopeIsExplained) {
  for (int s = 0; s < kNumReuseScopes; ++s) {
    EXPECT_TRUE(FindTerm(ReuseScopeName(static_cast<ReuseScope>(s))).ok()) << s;
  }
}

}  // namespace
}  // namespace reusescope::cli
