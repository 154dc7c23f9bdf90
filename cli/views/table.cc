#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/text.h"
#include "cli/views/sections.h"
#include "cli/views/views.h"

namespace reusescope::cli {
namespace {

constexpr int kIndent = 2;

// A value that is too long goes on below, or, where that would take more than a few lines, is cut in its middle.
std::string RenderFacts(const Part& part, const Terminal& terminal) {
  constexpr int kGap = 2;
  constexpr size_t kMostLines = 3;
  TableLayout table({{.header = ""}, {.header = "", .flexible = true}}, kIndent);
  int names = 0;
  for (const auto& [name, value] : part.facts) names = std::max(names, DisplayWidth(name));
  for (const auto& [name, value] : part.facts) {
    const int room = terminal.width - kIndent - names - kGap;
    std::vector<std::string> lines = {value};
    if (DisplayWidth(value) > room) lines = Wrap(value, room);
    if (lines.size() > kMostLines) lines = {value};
    for (size_t l = 0; l < lines.size(); ++l) table.AddRow({Cell(l == 0 ? name : "", Style::kQuiet), lines[l]});
  }
  return table.RenderRows(terminal.width, terminal.palette);
}

std::string RenderText(const Part& part, const Terminal& terminal) {
  std::string out;
  for (const std::string& line : Wrap(part.text, std::min(terminal.width, kDefaultWidth) - kIndent)) {
    absl::StrAppend(&out, std::string(kIndent, ' '), terminal.palette.Paint(line, part.style), "\n");
  }
  return out;
}

std::string RenderPart(const Part& part, const Terminal& terminal) {
  if (!part.facts.empty()) return RenderFacts(part, terminal);
  if (part.columns.empty()) return RenderText(part, terminal);
  TableLayout table(part.columns, kIndent);
  for (const std::vector<Cell>& row : part.rows) {
    if (row.empty()) {
      table.AddRule();
    } else {
      table.AddRow(row);
    }
  }
  return table.Render(terminal.width, terminal.palette);
}

}  // namespace

std::vector<Section> MakeSections(const Report& report, const ViewOptions& options) {
  std::vector<Section> sections = {ModelSectionOf(report), NotesSection(report)};
  if (!report.devices.empty()) sections.push_back(DevicesSection(report));
  sections.push_back(StepSection(report));
  sections.push_back(TimeSection(report, options));
  sections.push_back(ReuseSection(report));
  sections.push_back(MemorySection(report, options));
  Section verdict{.title = "Verdict"};
  for (const std::string& text : Verdict(report)) verdict.parts.push_back({.text = text});
  sections.push_back(std::move(verdict));
  sections.erase(std::remove_if(sections.begin(), sections.end(), [](const Section& s) { return s.parts.empty(); }),
                 sections.end());
  return sections;
}

std::string RenderTable(const Report& report, const ViewOptions& options, const Terminal& terminal) {
  return RenderSections(MakeSections(report, options), terminal);
}

std::string RenderSections(const std::vector<Section>& sections, const Terminal& terminal) {
  std::string out;
  for (const Section& section : sections) {
    if (!out.empty()) out += "\n";
    if (!section.title.empty()) absl::StrAppend(&out, terminal.palette.Paint(section.title, Style::kHeading), "\n");
    bool after_text = true;
    for (const Part& part : section.parts) {
      // Tables stand apart; texts belong to what is above them.
      const bool is_text = part.facts.empty() && part.columns.empty();
      if (!after_text && !is_text) out += "\n";
      absl::StrAppend(&out, RenderPart(part, terminal));
      after_text = false;
    }
  }
  return out;
}

}  // namespace reusescope::cli
