// The loss that a training step starts from.
//
//   auto           cross-entropy on the first floating-point output; mean squared error when there are no classes to
//                  choose from (fewer than two dimensions, or one class)
//   cross-entropy  classes on axis 1 of [N, C] and of image-shaped [N, C, H, W, ...], on the last axis of a sequence
//                  [N, S, C], which is first seen as [N * S, C]; labels are a new int64 input
//   mse            mean of (output - target)^2; the target is a new input
//   sum            sum of the output
//   none           no loss: the gradient of every floating-point output is fed from outside ("seed.<output>")
//
// Sets TrainingGraph::loss and loss_description, or leaves the loss kNoValue. kFailedPrecondition when no output fits.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_LOSS_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_LOSS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/training_graph.h"

namespace reusescope {

enum class Loss : uint8_t { kAuto, kNone, kSum, kMse, kCrossEntropy };

// The module of the nodes that are added.
inline constexpr absl::string_view kLossModule = "loss";

absl::Status AttachLoss(TrainingGraph& training, Loss loss);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_ATTACH_LOSS_H_
