// Every seed of the fuzzers, and every input that once broke a reader, in every build.

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "tests/fuzz/fuzz_rules.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

int ForEachSeed(const std::string& folder, const std::function<void(const std::string&)>& check) {
  int seeds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(REUSESCOPE_SOURCE_DIR "/" + folder)) {
    SCOPED_TRACE(entry.path().string());
    check(ReadFile(entry.path().string()));
    ++seeds;
  }
  return seeds;
}

TEST(FuzzCorpusTest, RulesHoldForEveryModel) {
  const int seeds = ForEachSeed("tests/fuzz/models", [](const std::string& bytes) {
    FuzzSkimOnnx(bytes);
    FuzzLoadModel(bytes);
    FuzzResolveShapes(bytes);
    FuzzAnalyze(bytes);
  });
  EXPECT_GE(seeds, 10);
}

TEST(FuzzCorpusTest, RulesHoldForEveryDevice) {
  EXPECT_GE(ForEachSeed("tests/fuzz/devices", FuzzParseDevice), 5);
  EXPECT_GE(ForEachSeed("hwdb/devices", FuzzParseDevice), 20);
}

TEST(FuzzCorpusTest, RulesHoldForEveryExternalRange) {
  const std::string folder = MakeExternalFolder(testing::TempDir() + "/fuzz_external");
  const int seeds =
      ForEachSeed("tests/fuzz/external", [&](const std::string& bytes) { FuzzExternalData(bytes, folder); });
  EXPECT_GE(seeds, 8);
}

}  // namespace
}  // namespace reusescope
