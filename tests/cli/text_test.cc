#include "cli/text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(TextTest, WidthIsInColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth("conv"), 4);
  EXPECT_EQ(DisplayWidth("95 µs"), 5);
  EXPECT_EQ(DisplayWidth("layer1 × 3"), 10);
}

TEST(TextTest, ShortenTakesFromTheMiddleAndFits) {
  const std::string name = "model.layers.11.self_attn.q_proj";
  for (int width = 1; width <= 40; ++width) EXPECT_LE(DisplayWidth(Shorten(name, width)), width);
  EXPECT_EQ(Shorten(name, 40), name);
  EXPECT_EQ(Shorten("abcdefghij", 7), "ab…ghij");
  EXPECT_EQ(Shorten("ÄÖÜäöüß", 4), "Ä…üß");
}

TEST(TextTest, WrapBreaksAtSpacesOnly) {
  EXPECT_THAT(Wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(Wrap("averyverylongword x", 5), ElementsAre("averyverylongword", "x"));
  EXPECT_THAT(Wrap("", 5), IsEmpty());
  EXPECT_THAT(Wrap("takes 12.3 ms, all", 10), ElementsAre("takes", "12.3 ms,", "all"));
  EXPECT_THAT(Wrap("saves (38.0 % less)", 11), ElementsAre("saves", "(38.0 %", "less)"));
  EXPECT_THAT(Wrap("32 images", 5), ElementsAre("32", "images"));
}

// A node's name in a hostile file must not reach the terminal as an escape sequence.
TEST(TextTest, PrintableDisarmsControlCharacters) {
  EXPECT_EQ(Printable("layer1.0.conv1"), "layer1.0.conv1");
  EXPECT_EQ(Printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(Printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m");
  EXPECT_EQ(Printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(Printable("Größe"), "Größe");
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");
}

TEST(TextTest, NearestFindsMisspelledWords) {
  const std::vector<std::string> words = {"sgd", "momentum", "adam", "adamw"};
  EXPECT_THAT(Nearest("adma", words), ElementsAre("adam"));
  EXPECT_THAT(Nearest("ADAMX", words), ElementsAre("adam", "adamw"));
  EXPECT_THAT(Nearest("zzz", words), IsEmpty());
  EXPECT_THAT(Nearest("", words), IsEmpty());
  EXPECT_EQ(DidYouMean("momentun", words), "; did you mean 'momentum'?");
  EXPECT_EQ(DidYouMean("adamx", words), "; did you mean 'adam' or 'adamw'?");
  EXPECT_EQ(DidYouMean("zzz", words), "");
}

}  // namespace
}  // namespace reusescope::cli
