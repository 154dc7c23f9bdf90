// Mini-batch serialization for people, for spreadsheets and for programs.

#ifndef REUSESCOPE_CLI_VIEWS_SERIALIZATION_VIEW_H_
#define REUSESCOPE_CLI_VIEWS_SERIALIZATION_VIEW_H_

#include <string>
#include <vector>

#include "cli/serialization_report.h"
#include "cli/views/sections.h"

namespace reusescope::cli {

// The schedules side by side, the groups of the plan, and the `top` links of the chain with the largest footprints.
std::vector<Section> SerializationSections(const SerializationReport& report, int top);

// One line per link of the chain (RFC 4180).
std::string RenderSerializationCsv(const SerializationReport& report);

// For programs: a contract, see cli/serialize.schema.json.
std::string RenderSerializationJson(const SerializationReport& report);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_SERIALIZATION_VIEW_H_
