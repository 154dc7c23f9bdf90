// The faces of a comparison.

#ifndef REUSESCOPE_CLI_VIEWS_COMPARE_VIEW_H_
#define REUSESCOPE_CLI_VIEWS_COMPARE_VIEW_H_

#include <string>
#include <vector>

#include "cli/compare.h"
#include "cli/views/sections.h"

namespace reusescope::cli {

// Numbers side by side with their ratio to the first column, the best of each row marked; verdicts; the `top` layers
// that differ most; bars that were crossed.
std::vector<Section> CompareSections(const Comparison& comparison, int top);

// {"schema": "reusescope.compare/1", ...}: see cli/compare.schema.json.
std::string RenderCompareJson(const Comparison& comparison);

// One line: which bar, by how much, and the layers that cost most.
std::string CrossedBarText(const Comparison& comparison, const CrossedBar& crossed);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_COMPARE_VIEW_H_
