// One optimizer step per trained parameter, with its states.
//
//   sgd: none · momentum: 1 · adam, adamw: 2 states of the parameter's size
//
// Update order: all at the end of the step, or each as soon as its gradient is complete and nothing reads the old
// weight any more.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_OPTIMIZER_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_OPTIMIZER_H_

#include "absl/strings/string_view.h"
#include "analysis/ir/training_graph.h"

namespace reusescope {

enum class Optimizer : uint8_t { kSgd, kMomentum, kAdam, kAdamW };
enum class UpdateOrder : uint8_t { kEnd, kEager };

absl::string_view OptimizerName(Optimizer optimizer);

// REQUIRES: Differentiate has run. Every parameter with a gradient gets a step.
void AttachOptimizer(TrainingGraph& training, Optimizer optimizer, UpdateOrder order);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_OPTIMIZER_H_
