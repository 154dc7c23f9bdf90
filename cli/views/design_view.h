// A design space for people, for spreadsheets and for programs.

#ifndef REUSESCOPE_CLI_VIEWS_DESIGN_VIEW_H_
#define REUSESCOPE_CLI_VIEWS_DESIGN_VIEW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "cli/design_space.h"
#include "cli/views/sections.h"

namespace reusescope::cli {

// The findings as sentences, of one plane (the middle throughput) per batch, precision and policy: the two ends of the
// curve of designs that are as fast as the base device, and the knee of traffic that saves most.
std::vector<std::string> DesignVerdict(const DesignSpace& space);

// What the grid of a table shows of each point.
enum class DesignMetric : uint8_t {
  kTime,
  kPrefetch,
  kTiled,
  kStalls,
  kTraffic,
  kBandwidth,
  kUtilization,
  kBuffer,
  kEnergy
};

// A metric over capacity and bandwidth, what each capacity captures, equal designs, and the front under the cost
// weights; `top` rows of the front.
std::vector<Section> DesignSections(const DesignSpace& space, DesignMetric metric, int top);

// One line per point (RFC 4180).
std::string RenderDesignCsv(const DesignSpace& space);

// For programs: a contract, see cli/sweep.schema.json.
std::string RenderDesignJson(const DesignSpace& space);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_DESIGN_VIEW_H_
