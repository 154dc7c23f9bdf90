// The work that the body of a Loop, a Scan or a branch of an If does when it runs once.

#ifndef REUSESCOPE_ANALYSIS_OPS_CONTROL_FLOW_H_
#define REUSESCOPE_ANALYSIS_OPS_CONTROL_FLOW_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "analysis/ops/lower_context.h"

namespace reusescope {

struct BodyWork {
  bool known = true;  // every node of it has a rule
  bool contraction = false;
  int64_t macs = 0, flops = 0, transcendentals = 0;
};

// REQUIRES: the body's shapes are resolved. kOutOfRange when a count exceeds int64.
absl::StatusOr<BodyWork> WorkOf(const Graph& body);

// Attribute that ResolveShapes sets on a Loop, Scan or SequenceMap: how often the body runs.
inline constexpr absl::string_view kTripCountAttribute = "reusescope.trips";

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_CONTROL_FLOW_H_
