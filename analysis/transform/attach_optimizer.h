// One optimizer step per trained parameter, with its states.
//
//   sgd: none · momentum, adagrad, rmsprop: 1 · adam, adamw, lamb: 2 states of the parameter's size
//   rmsprop with momentum, centered: 1 more each
//
// Settings are attributes of the step nodes, under PyTorch's names, with PyTorch's defaults where they are not given:
// weight_decay, momentum, dampening, nesterov, beta1, beta2, eps, lr_decay, alpha, centered. sgd with a momentum is
// momentum.
//
// Between gradient and step, where asked for:
//   accumulate   each gradient is added to a state as soon as it is complete; the step applies in every Nth micro-batch
//   loss_scale   gradients are divided by it; a step whose gradients are not all finite is skipped (as by PyTorch's
//                GradScaler, with a scale that stays)
//   clip_norm    gradients are scaled down to that norm over all parameters (torch.nn.utils.clip_grad_norm_)
// The latter two cost a pass that reads every gradient and one that rewrites it. The schedule is that of a micro-batch
// in which the step applies.
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

struct GradientHandling {
  double clip_norm = 0;  // 0: not clipped
  int64_t accumulate = 1;
  double loss_scale = 1;
};

// REQUIRES: Differentiate has run, with seeds scaled by loss_scale / accumulate. Every parameter with a gradient gets a
// step; `gradient_of` becomes the accumulated gradient. kInvalidArgument for a setting that the optimizer has not, and
// for eager updates where a step needs all gradients.
absl::Status AttachOptimizer(TrainingGraph& training, Optimizer optimizer, UpdateOrder order,
                             const OptimizerSettings& settings = {}, const GradientHandling& handling = {});

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_OPTIMIZER_H_
