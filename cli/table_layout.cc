#include "cli/table_layout.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cli/text.h"
#include "cli/units.h"

namespace reusescope::cli {
namespace {

constexpr int kGap = 2;
constexpr int kLegible = 24;
constexpr int kMinFlexible = 8;

// "97.5 MiB" -> "97.5", " MiB". What does not start like a number has no unit.
std::pair<absl::string_view, absl::string_view> SplitUnit(absl::string_view text) {
  const bool number = !text.empty() && (absl::string_view("0123456789-<+").find(text[0]) != absl::string_view::npos);
  const size_t space = text.rfind(' ');
  if (!number || space == absl::string_view::npos) return {text, ""};
  return {text.substr(0, space), text.substr(space)};
}

std::string Spaces(int count) { return std::string(std::max(count, 0), ' '); }

}  // namespace

void TableLayout::AddRow(std::vector<Cell> cells) {
  cells.resize(columns_.size(), Cell(""));
  rows_.push_back(std::move(cells));
}

void TableLayout::AddRule() { rows_.emplace_back(); }

std::vector<TableLayout::Measured> TableLayout::Measure(int width, bool with_header) const {
  std::vector<Measured> layout(columns_.size());
  for (size_t c = 0; c < columns_.size(); ++c) {
    Measured& column = layout[c];
    for (const std::vector<Cell>& row : rows_) {
      if (row.empty()) continue;
      const auto [number, unit] = columns_[c].align == Align::kNumber
                                      ? SplitUnit(row[c].text)
                                      : std::pair<absl::string_view, absl::string_view>(row[c].text, "");
      column.number = std::max(column.number, DisplayWidth(number));
      column.unit = std::max(column.unit, DisplayWidth(unit));
    }
    column.width = column.number + column.unit;
    if (with_header) column.width = std::max(column.width, DisplayWidth(columns_[c].header));
  }
  const auto total = [&] {
    int sum = indent_ - kGap;
    for (const Measured& column : layout) sum += column.shown ? column.width + kGap : 0;
    return sum;
  };
  const auto shrink = [&](int least) {
    while (total() > width) {
      Measured* widest = nullptr;
      for (size_t c = 0; c < columns_.size(); ++c) {
        const bool candidate = columns_[c].flexible && layout[c].shown && layout[c].width > least;
        if (candidate && (widest == nullptr || layout[c].width > widest->width)) widest = &layout[c];
      }
      if (widest == nullptr) return;
      --widest->width;
    }
  };
  shrink(kLegible);
  for (int level = 9; level > 0 && total() > width; --level) {
    for (size_t c = 0; c < columns_.size(); ++c) layout[c].shown &= columns_[c].drop != level;
  }
  shrink(kMinFlexible);
  return layout;
}

std::string TableLayout::RenderLine(const std::vector<Measured>& layout, const std::vector<Cell>& cells,
                                    const Palette& palette, bool is_header) const {
  std::string line = Spaces(indent_);
  int pending = 0;  // spaces owed before the next visible text
  bool first = true;
  for (size_t c = 0; c < cells.size(); ++c) {
    const Measured& column = layout[c];
    if (!column.shown) continue;
    if (!first) pending += kGap;
    first = false;
    const std::string text = columns_[c].align == Align::kLeft ? Shorten(cells[c].text, column.width) : cells[c].text;
    int before = 0;
    int after = column.width - DisplayWidth(text);
    if (columns_[c].align != Align::kLeft) {
      // Numbers end where the units begin; headers and texts without a number end with the column.
      const int unit_gap =
          columns_[c].align == Align::kNumber && !is_header ? column.unit - DisplayWidth(SplitUnit(text).second) : 0;
      before = std::max(after - unit_gap, 0);
      after -= before;
    }
    if (text.empty()) {
      pending += column.width;
      continue;
    }
    absl::StrAppend(&line, Spaces(pending + before), palette.Paint(text, cells[c].style));
    pending = after;
  }
  return line + "\n";
}

std::string TableLayout::RenderRule(const std::vector<Measured>& layout, const Palette& palette) const {
  std::string rule;
  for (const Measured& column : layout) {
    if (!column.shown) continue;
    if (!rule.empty()) rule += Spaces(kGap);
    for (int i = 0; i < column.width; ++i) rule += "─";
  }
  return absl::StrCat(Spaces(indent_), palette.Paint(rule, Style::kQuiet), "\n");
}

std::string TableLayout::Render(int width, const Palette& palette) const {
  if (rows_.empty()) return "";
  const std::vector<Measured> layout = Measure(width, true);
  std::vector<Cell> headers;
  for (const Column& column : columns_) headers.emplace_back(column.header, Style::kQuiet);
  std::string out = RenderLine(layout, headers, palette, true);
  absl::StrAppend(&out, RenderRule(layout, palette));
  for (const std::vector<Cell>& row : rows_) {
    absl::StrAppend(&out, row.empty() ? RenderRule(layout, palette) : RenderLine(layout, row, palette, false));
  }
  return out;
}

std::string TableLayout::RenderRows(int width, const Palette& palette) const {
  const std::vector<Measured> layout = Measure(width, false);
  std::string out;
  for (const std::vector<Cell>& row : rows_) {
    absl::StrAppend(&out, row.empty() ? RenderRule(layout, palette) : RenderLine(layout, row, palette, false));
  }
  return out;
}

}  // namespace reusescope::cli
