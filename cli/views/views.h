// The four faces of a report. Each only prints: every number comes from the Report.

#ifndef REUSESCOPE_CLI_VIEWS_VIEWS_H_
#define REUSESCOPE_CLI_VIEWS_VIEWS_H_

#include <string>

#include "cli/report.h"
#include "cli/terminal.h"

namespace reusescope::cli {

struct ViewOptions {
  int top = 10;  // layers and tensors listed one by one, in the table and in Markdown
};

// For people: top-down, as wide as the terminal, no line wrapped in a table.
std::string RenderTable(const Report& report, const ViewOptions& options, const Terminal& terminal);

// The same sections for a document or an issue.
std::string RenderMarkdown(const Report& report, const ViewOptions& options);

// For programs: a contract, see cli/analysis.schema.json. Counts are exact integers, seconds are doubles.
std::string RenderJson(const Report& report);

// One line per kernel (RFC 4180), the columns of JSON's layers[] and a time and a bound per device.
std::string RenderCsv(const Report& report);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_VIEWS_H_
