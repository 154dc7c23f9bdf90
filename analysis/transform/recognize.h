// The operators that an exporter took apart, put together again, so that a layer norm is one kernel and not nine.
//
//   x * 0.5 * (1 + Erf(x / sqrt(2)))                             -> Gelu-20
//   x * Sigmoid(x)                                               -> reusescope::Silu-1
//   (x - mean) / Sqrt(Mean((x - mean)^2) + eps) * w + b          -> LayerNormalization-17
//   Reshape, InstanceNormalization, Reshape, Mul, Add            -> GroupNormalization-21
//   x * cos + Concat(-x2, x1) * sin                              -> reusescope::Rotation-1
//   MatMul, scale, mask, Softmax, MatMul                         -> a region "attention", not fused
//   DequantizeLinear, Conv, QuantizeLinear                       -> QLinearConv-10, in inference
//
// Each rewrite is a file of transform/patterns/. No rewrite changes a contraction's MACs. A pattern whose inner values
// are read from elsewhere as well (or are graph outputs) is left as it is. The node that produced the pattern's result
// becomes the fused one, under a name of the fused operator in the module that the matched nodes share; the others
// leave the schedule. Cost: linear in the graph; every pattern starts at an operator that is rare and looks a bounded
// way around it.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_RECOGNIZE_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_RECOGNIZE_H_

#include <string>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// How many were recognized, by name. Fused: "Gelu", "Silu", "HardSwish", "LayerNormalization", "RMSNormalization",
// "GroupNormalization" (instance normalizations too), "rotary embedding"; in inference "quantized". Removed: "Dropout"
// and "SoftmaxGuard" (evaluation dropouts and guards against NaN). Regions: "attention", "SwiGLU", "experts". Of the
// attentions: "grouped-query attention", "key-value cache", "causal mask", "padding mask", "constant mask". Operators
// that the file has whole are not counted.
inline constexpr absl::string_view kRestoredDropout = "attention Dropout";  // see RestoreAttentionDropout
using RecognizedCounts = absl::btree_map<std::string, int>;

struct RecognizeOptions {
  bool inference = false;  // integers stay integers; in training the pairs are fake quantization
};

// REQUIRES: shapes are resolved.
absl::StatusOr<RecognizedCounts> Recognize(Graph& graph, const RecognizeOptions& options = {});

// Replaces every node whose operator is a composite (its entry has `lower`) by core operators, in its place in the
// schedule; what they replace may itself need lowering. Needed with and without Recognize.
absl::Status LowerComposites(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_RECOGNIZE_H_
