// One optimizer step per trained parameter, with its states.
//
//   sgd: none · momentum, adagrad, rmsprop: 1 · adam, adamw, lamb: 2 states of the parameter's size
//
// Settings are attributes of the step nodes, under PyTorch's names, with PyTorch's defaults where they are not given:
// weight_decay, momentum, dampening, nesterov, beta1, beta2, eps, lr_decay, alpha.
//
// Update order: all at the end of the step, or each as soon as its gradient is complete and nothing reads the old
// weight any more.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_OPTIMIZER_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_OPTIMIZER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/training_graph.h"

namespace reusescope {

enum class Optimizer : uint8_t { kSgd, kMomentum, kAdam, kAdamW, kAdagrad, kRmsprop, kLamb };
enum class UpdateOrder : uint8_t { kEnd, kEager };
using OptimizerSettings = std::vector<std::pair<std::string, double>>;

// The settings that the optimizer has.
absl::Span<const absl::string_view> SettingsOf(Optimizer optimizer);

// REQUIRES: Differentiate has run. Every parameter with a gradient gets a step. kInvalidArgument for a setting that the
// optimizer has not.
absl::Status AttachOptimizer(TrainingGraph& training, Optimizer optimizer, UpdateOrder order,
                             const OptimizerSettings& settings = {});

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_OPTIMIZER_H_
