// A table that fits its terminal: aligned columns, numbers on their units, names shortened before anything wraps.
//
//   TableLayout table({{.header = "phase"}, {.header = "FLOPs", .align = Align::kNumber}});
//   table.AddRow({"forward", "263 G"});
//   table.AddRow({"backward", "517 G"});
//   out += table.Render(terminal.width, terminal.palette);
//
//   phase     FLOPs
//   ────────  ─────
//   forward   263 G
//   backward  517 G
//
// Where the table is wider than the terminal: columns with `flexible` are shortened in the middle, the widest first,
// while they stay legible (24 columns); then columns with `drop` > 0 go, the largest first; then the flexible ones
// shrink on, down to 8 columns. Text at the right edge is never followed by spaces.

#ifndef REUSESCOPE_CLI_TABLE_LAYOUT_H_
#define REUSESCOPE_CLI_TABLE_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cli/terminal.h"

namespace reusescope::cli {

// kNumber: "97.5 MiB" has its number aligned right and its unit aligned left.
enum class Align : uint8_t { kLeft, kRight, kNumber };

struct Column {
  std::string header;
  Align align = Align::kLeft;
  bool flexible = false;
  int drop = 0;
  bool decoration = false;  // a bar: nothing that other columns do not say
};

struct Cell {
  std::string text;
  Style style = Style::kPlain;

  Cell(const char* text) : text(text) {}                                                        // NOLINT
  Cell(std::string text, Style style = Style::kPlain) : text(std::move(text)), style(style) {}  // NOLINT
};

class TableLayout {
 public:
  explicit TableLayout(std::vector<Column> columns, int indent = 2) : columns_(std::move(columns)), indent_(indent) {}

  // Missing cells are empty. REQUIRES: not more cells than columns.
  void AddRow(std::vector<Cell> cells);
  // A line across the table, before a row of sums.
  void AddRule();

  int num_rows() const { return static_cast<int>(rows_.size()); }
  // Header, rule and rows, every line ended. Without rows: "".
  std::string Render(int width, const Palette& palette) const;
  // Rows alone, for lists of key and value.
  std::string RenderRows(int width, const Palette& palette) const;

 private:
  struct Measured {
    int number = 0;  // columns left of the space before the unit; of a text column the whole
    int unit = 0;    // columns of " MiB"
    int width = 0;   // as printed, header included
    bool shown = true;
  };

  std::vector<Measured> Measure(int width, bool with_header) const;
  std::string RenderLine(const std::vector<Measured>& layout, const std::vector<Cell>& cells, const Palette& palette,
                         bool is_header) const;
  std::string RenderRule(const std::vector<Measured>& layout, const Palette& palette) const;

  std::vector<Column> columns_;
  int indent_;
  std::vector<std::vector<Cell>> rows_;  // an empty row is a rule
};

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_TABLE_LAYOUT_H_
