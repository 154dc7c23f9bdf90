// Bodies that stand in files of their own beside their family's table, and what several of them share.

#ifndef REUSESCOPE_ANALYSIS_OPS_BODIES_H_
#define REUSESCOPE_ANALYSIS_OPS_BODIES_H_

#include <optional>

#include "analysis/ops/body_builder.h"
#include "analysis/ops/conv_window.h"

namespace reusescope {

// contraction_bodies.cc. Attribute `wrt` of the gradients is the operand.
absl::Status ConvGradBody(BodyBuilder& body);
absl::Status ConvTransposeGradBody(BodyBuilder& body);
absl::Status MatMulGradBody(BodyBuilder& body);
absl::Status GemmGradBody(BodyBuilder& body);
absl::Status EinsumGradBody(BodyBuilder& body);
absl::Status EinsumSpreadBody(BodyBuilder& body);

// elementwise_bodies.cc. The derivative of a unary operator, from dY and what its row saves (input, output, or
// neither), and the operator itself from its input.
using UnaryFormula = Expr (*)(Expr dy, Expr saved, const Attributes& attributes);
struct UnaryFormulas {
  absl::string_view type;
  UnaryFormula gradient;
  Expr (*forward)(Expr x, const Attributes& attributes);  // null where every runtime has it at opset 18
};
const UnaryFormulas* FindUnaryFormulas(absl::string_view type);
absl::Status UnaryBody(BodyBuilder& body);
absl::Status UnaryGradBody(BodyBuilder& body);
absl::Status DivGradDivisorBody(BodyBuilder& body);
absl::Status ModGradDivisorBody(BodyBuilder& body);
absl::Status PowGradBaseBody(BodyBuilder& body);
absl::Status PowGradExponentBody(BodyBuilder& body);
absl::Status ChosenGradBody(BodyBuilder& body);
absl::Status ScaleBody(BodyBuilder& body);
absl::Status WhereGradBody(BodyBuilder& body);
absl::Status ClipGradBody(BodyBuilder& body);
absl::Status PReluGradBody(BodyBuilder& body);
absl::Status PReluGradSlopeBody(BodyBuilder& body);
absl::Status DropoutGradBody(BodyBuilder& body);

// normalization_bodies.cc.
absl::Status BatchNormBody(BodyBuilder& body);
absl::Status BatchNormGradBody(BodyBuilder& body);
absl::Status LayerNormGradBody(BodyBuilder& body);
absl::Status RmsNormBody(BodyBuilder& body);
absl::Status RmsNormGradBody(BodyBuilder& body);
absl::Status GroupNormBody(BodyBuilder& body);
absl::Status GroupNormGradBody(BodyBuilder& body);
absl::Status LrnGradBody(BodyBuilder& body);
absl::Status LpNormGradBody(BodyBuilder& body);
absl::Status MvnGradBody(BodyBuilder& body);

// pooling_bodies.cc.
absl::Status MaxPoolGradBody(BodyBuilder& body);
absl::Status GlobalMaxPoolBody(BodyBuilder& body);
absl::Status AveragePoolGradBody(BodyBuilder& body);
absl::Status LpPoolGradBody(BodyBuilder& body);
absl::Status MaxUnpoolGradBody(BodyBuilder& body);

// softmax_loss_bodies.cc.
absl::Status GuardedSoftmaxBody(BodyBuilder& body);
absl::Status SoftmaxGradBody(BodyBuilder& body);
absl::Status LogSoftmaxGradBody(BodyBuilder& body);
absl::Status CrossEntropyGradBody(BodyBuilder& body);
absl::Status NllGradBody(BodyBuilder& body);
absl::Status MseLossBody(BodyBuilder& body);
absl::Status MseGradBody(BodyBuilder& body);

// reduction_bodies.cc.
absl::Status ReduceMeanGradBody(BodyBuilder& body);
absl::Status ReduceExtremumGradBody(BodyBuilder& body);
absl::Status ReduceProdGradBody(BodyBuilder& body);
absl::Status ReduceL1GradBody(BodyBuilder& body);
absl::Status ReduceL2GradBody(BodyBuilder& body);
absl::Status ReduceSumSquareGradBody(BodyBuilder& body);
absl::Status ReduceLogSumGradBody(BodyBuilder& body);
absl::Status ReduceLogSumExpGradBody(BodyBuilder& body);
absl::Status UnbroadcastBody(BodyBuilder& body);
absl::Status CumProdGradBody(BodyBuilder& body);

// gather_bodies.cc.
absl::Status GatherGradBody(BodyBuilder& body);
absl::Status GatherElementsGradBody(BodyBuilder& body);
absl::Status GatherNDGradBody(BodyBuilder& body);
absl::Status CompressGradBody(BodyBuilder& body);
absl::Status ScatterElementsDataGradBody(BodyBuilder& body);
absl::Status ScatterNDDataGradBody(BodyBuilder& body);
absl::Status ScatterElementsReduceDataGradBody(BodyBuilder& body);
absl::Status ScatterElementsReduceUpdatesGradBody(BodyBuilder& body);
absl::Status ScatterNDReduceDataGradBody(BodyBuilder& body);
absl::Status ScatterNDReduceUpdatesGradBody(BodyBuilder& body);
absl::Status TensorScatterPastGradBody(BodyBuilder& body);
absl::Status TensorScatterUpdateGradBody(BodyBuilder& body);

// layout_bodies.cc.
absl::Status SliceGradBody(BodyBuilder& body);
absl::Status PadGradBody(BodyBuilder& body);
absl::Status ResizeGradBody(BodyBuilder& body);
absl::Status Col2ImGradBody(BodyBuilder& body);

// roi_bodies.cc.
absl::Status RoiAlignGradBody(BodyBuilder& body);
absl::Status MaxRoiPoolBody(BodyBuilder& body);
absl::Status MaxRoiPoolGradBody(BodyBuilder& body);

// grid_sample_bodies.cc.
absl::Status GridSampleGradBody(BodyBuilder& body);
absl::Status GridSampleGridGradBody(BodyBuilder& body);

// recurrent_bodies.cc: of LSTM, GRU and RNN, and of their two gradients.
absl::Status RecurrentBody(BodyBuilder& body);
absl::Status RecurrentGradBody(BodyBuilder& body);
absl::Status RecurrentWeightGradBody(BodyBuilder& body);

// The map of a convolution from its points, each spread over the taps of the filter (a transposed convolution). Shapes
// as for ConvWindowOf; filter is [points' channels, map's channels / group, taps...].
Expr SpreadPoints(BodyBuilder& body, Expr point, Expr filter, const ConvWindow& window, int64_t group, const Shape& map,
                  const Shape& filter_shape, const Shape& point_shape);

// Padding of a Pad per dimension of its input, [begin..., end...], or nothing where it is not known beforehand.
std::optional<Dims> FullPads(const OpContext& pad);
// The axis attribute, counted from the front.
int64_t AxisOf(const OpContext& ctx, int64_t absent, int rank);
// 0 to n - 1.
Dims Range(int64_t n);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_BODIES_H_
