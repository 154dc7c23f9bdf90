// What the table and the Markdown view have in common: the report as titled sections of facts, texts and tables.

#ifndef REUSESCOPE_CLI_VIEWS_SECTIONS_H_
#define REUSESCOPE_CLI_VIEWS_SECTIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "cli/report.h"
#include "cli/table_layout.h"
#include "cli/views/views.h"

namespace reusescope::cli {

// One of: facts (name and value), a table, a text.
struct Part {
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;  // an empty row is a rule
  std::string text;
  Style style = Style::kPlain;  // of the text
};

struct Section {
  std::string title;
  std::vector<Part> parts;
};

// Sections for a terminal, no line wrapped in a table; and for a document or an issue.
std::string RenderSections(const std::vector<Section>& sections, const Terminal& terminal);
std::string RenderSectionsMarkdown(const std::vector<Section>& sections);

// Top-down: model, notes, devices, the step, where the time goes, reuse, memory, verdict. Empty sections are left out.
std::vector<Section> MakeSections(const Report& report, const ViewOptions& options);

// One builder per section; see MakeSections. In model_sections.cc, time_sections.cc, reuse_sections.cc,
// memory_sections.cc.
Section ModelSectionOf(const Report& report);
Section NotesSection(const Report& report);
Section DevicesSection(const Report& report);
Section StepSection(const Report& report);
Section TimeSection(const Report& report, const ViewOptions& options);
Section ReuseSection(const Report& report);
Section MemorySection(const Report& report, const ViewOptions& options);

// Cells that several sections use.
std::string CountCell(int64_t count);  // "-" for 0
std::string PhaseCell(Phase phase);
Cell MemoryBoundCell(double memory_bound_seconds, double seconds);
std::string ShareBar(double share);  // ten columns wide at 1
std::string DeviceColumnName(const Report& report, size_t device);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_SECTIONS_H_
