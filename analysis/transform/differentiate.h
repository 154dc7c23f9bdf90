// The backward phase: from the loss (or from seeds) back to every parameter.
//
// A reverse walk over the schedule. A node whose outputs have a gradient hands gradients to those of its inputs that
// need one: inputs on a path from a parameter (so the first layer has no gradient of its input, frozen parameters have
// none). Contributions of several uses are added as they arrive, one Add each. What a rule reads of the forward phase
// is the stash.
//
// An operator that its entry calls not differentiable stops the gradient, as detach() does. An operator without an
// entry, or whose rule does not cover the form at hand, gets "reusescope::UnknownGrad", a kernel that reads its inputs
// and the incoming gradients, writes the gradients that are needed, and whose FLOPs are unknown: coverage says so.
//
// With `inputs`, the model's floating-point inputs are differentiated for as well. What flows back begins as
// `seed_scale`, or as the seeds times it: loss scaling, and the mean over accumulated micro-batches.
//
// kFailedPrecondition when no parameter (nor input) reaches the loss or any output.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_DIFFERENTIATE_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_DIFFERENTIATE_H_

#include "absl/status/status.h"
#include "analysis/ir/training_graph.h"

namespace reusescope {

// Attribute of an UnknownGrad: why nobody described it, to go on after "node 'n' (Op-1) ".
inline constexpr absl::string_view kUnknownReason = "reusescope.reason";

struct GradientOptions {
  bool inputs = false;
  double seed_scale = 1;
};

// REQUIRES: resolved types; `training.loss` as AttachLoss left it.
absl::Status Differentiate(TrainingGraph& training, const GradientOptions& options = {});

// Fills `training.stash`: forward values (and inputs of the model) that later nodes read. What lives anyway is none.
void CollectStash(TrainingGraph& training);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_DIFFERENTIATE_H_
