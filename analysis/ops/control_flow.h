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
  // A measure of how much it is; 1 MAC = 2 FLOPs.
  double Total() const {
    return 2.0 * static_cast<double>(macs) + static_cast<double>(flops) + static_cast<double>(transcendentals);
  }
};

// REQUIRES: the body's shapes are resolved. kOutOfRange when a count exceeds int64.
absl::StatusOr<BodyWork> WorkOf(const Graph& body);

// total += times * work; kOutOfRange when a count exceeds int64.
absl::Status AddWork(const BodyWork& work, int64_t times, BodyWork& total);
// The kernel's arithmetic of a point becomes that work.
void SetWork(const BodyWork& work, Kernel& kernel);
// What bodies read from outside, whole; slots go on after those of the inputs.
void AddCaptures(const OpContext& ctx, Kernel& kernel);

// Attribute that ResolveShapes sets on a Loop, Scan or SequenceMap: how often the body runs.
inline constexpr absl::string_view kTripCountAttribute = "reusescope.trips";
// And on a search that has one body for both: its decoder once more, with the shapes of the prompt.
inline constexpr absl::string_view kPromptAttribute = "reusescope.prompt";

// The gradients of If, Loop and Scan (control_flow_gradient.cc).
absl::Status BranchGradient(GradientContext& ctx);
absl::Status LoopGradient(GradientContext& ctx);
absl::Status ScanGradient(GradientContext& ctx);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_CONTROL_FLOW_H_
