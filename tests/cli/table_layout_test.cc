#include "cli/table_layout.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TableLayoutTest, NumbersStandOnTheirUnits) {
  TableLayout table({{.header = "phase"}, {.header = "bytes", .align = Align::kNumber}});
  table.AddRow({"forward", "1.5 GiB"});
  table.AddRow({"update", "97.5 MiB"});
  table.AddRow({"none", "-"});
  table.AddRow({"some", "512 B"});
  EXPECT_EQ(table.Render(100, Palette()),
            "  phase       bytes\n"
            "  ───────  ────────\n"
            "  forward   1.5 GiB\n"
            "  update   97.5 MiB\n"
            "  none        -\n"
            "  some      512 B\n");
}

TEST(TableLayoutTest, AWideHeaderMakesRoomAndRulesCross) {
  TableLayout table({{.header = "x"}, {.header = "a long header", .align = Align::kRight}}, 0);
  table.AddRow({"y", "1"});
  table.AddRule();
  table.AddRow({"z", "22"});
  EXPECT_EQ(table.Render(100, Palette()),
            "x  a long header\n"
            "─  ─────────────\n"
            "y              1\n"
            "─  ─────────────\n"
            "z             22\n");
}

TEST(TableLayoutTest, NothingWrapsOrTrails) {
  TableLayout table({{.header = "layer", .flexible = true},
                     {.header = "kept", .align = Align::kNumber},
                     {.header = "dropped first", .drop = 2},
                     {.header = "dropped second", .drop = 1}});
  table.AddRow({std::string(80, 'n'), "1.00 GiB", "aaaaaaaaaa", "bbbbbbbbbb"});
  table.AddRow({"short", "3 B", "", ""});
  for (int width = 60; width <= 140; ++width) {
    for (absl::string_view line : absl::StrSplit(table.Render(width, Palette()), '\n')) {
      EXPECT_LE(DisplayWidth(line), width);
      if (!line.empty()) {
        EXPECT_NE(line.back(), ' ');
      }
    }
  }
}

TEST(TableLayoutTest, ColumnsDropInTheOrderOfTheirRank) {
  TableLayout table({{.header = "name"}, {.header = "second", .drop = 1}, {.header = "first", .drop = 2}}, 0);
  table.AddRow({std::string(50, 'x'), "22222", "11111"});
  EXPECT_THAT(table.Render(100, Palette()), HasSubstr("first"));
  EXPECT_THAT(table.Render(60, Palette()), Not(HasSubstr("first")));
  EXPECT_THAT(table.Render(60, Palette()), HasSubstr("second"));
  EXPECT_THAT(table.Render(52, Palette()), Not(HasSubstr("second")));
}

TEST(TableLayoutTest, ColourChangesNoColumn) {
  TableLayout table({{.header = "name"}, {.header = "value", .align = Align::kNumber}});
  table.AddRow({Cell("a", Style::kBad), Cell("1.00 MiB", Style::kMemory)});
  table.AddRow({"bbbb", "12.0 GiB"});
  const std::string plain = table.Render(80, Palette());
  std::string colored = table.Render(80, Palette{.enabled = true});
  EXPECT_THAT(colored, HasSubstr("\x1b[1;31ma\x1b[0m"));
  while (colored.find('\x1b') != std::string::npos) {
    const size_t start = colored.find('\x1b');
    colored.erase(start, colored.find('m', start) - start + 1);
  }
  EXPECT_EQ(colored, plain);
}

TEST(TableLayoutTest, WithoutRowsThereIsNoTable) {
  EXPECT_EQ(TableLayout({{.header = "name"}}).Render(80, Palette()), "");
}

}  // namespace
}  // namespace reusescope::cli
