#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/views/sections.h"
#include "cli/views/views.h"

namespace reusescope::cli {
namespace {

// What would end a cell or start a tag.
std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"|", "\\|"}, {"<", "&lt;"}, {"*", "\\*"}, {"_", "\\_"}, {"`", "\\`"}});
}

std::string RenderMarkdownTable(const Part& part) {
  std::string header = "|";
  std::string rule = "|";
  for (const Column& column : part.columns) {
    if (column.decoration) continue;
    absl::StrAppend(&header, " ", Escaped(column.header), " |");
    absl::StrAppend(&rule, column.align == Align::kLeft ? " --- |" : " ---: |");
  }
  std::string out = absl::StrCat(header, "\n", rule, "\n");
  for (const std::vector<Cell>& row : part.rows) {
    if (row.empty()) continue;
    out += "|";
    for (size_t c = 0; c < row.size(); ++c) {
      if (!part.columns[c].decoration) absl::StrAppend(&out, " ", Escaped(row[c].text), " |");
    }
    out += "\n";
  }
  return out;
}

std::string RenderMarkdownPart(const Part& part) {
  if (!part.columns.empty()) return RenderMarkdownTable(part);
  if (part.facts.empty()) return absl::StrCat(Escaped(part.text), "\n");
  std::string out;
  for (const auto& [name, value] : part.facts) absl::StrAppend(&out, "- ", name, ": ", Escaped(value), "\n");
  return out;
}

}  // namespace

std::string RenderMarkdown(const Report& report, const ViewOptions& options) {
  return RenderSectionsMarkdown(MakeSections(report, options));
}

std::string RenderSectionsMarkdown(const std::vector<Section>& sections) {
  std::string out;
  for (const Section& section : sections) {
    if (!section.title.empty()) {
      absl::StrAppend(&out, out.empty() ? "# " : "\n## ", Escaped(section.title), "\n");
    }
    for (const Part& part : section.parts) absl::StrAppend(&out, "\n", RenderMarkdownPart(part));
  }
  return out;
}

}  // namespace reusescope::cli
