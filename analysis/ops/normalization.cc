// Normalizations: one core operator forward, one backward, as frameworks launch them.
//
// FLOPs per element of X (each sweep's arithmetic, shared statistics being per row or channel and so negligible):
//   batch norm in training   mean 1, variance 3, normalize 2, scale and shift 2              = 8
//   batch norm in inference  scale and shift 2 (the four vectors fold into two)
//   layer, group, instance   as batch norm in training                                       = 8
//   RMS norm                 mean of squares 2, normalize 1, scale 1                         = 4
//   backward of all these    recompute the normalized value 2, sums for scale and shift 3,
//                            dX 6                                                            = 11 (RMS norm 8)
// One reciprocal square root per row or channel is a transcendental.
//
// Backward reads the input and the saved statistics (batch norm: mean and inverse deviation per channel; layer norm:
// per row; RMS norm: inverse deviation per row), and the scale.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";
constexpr int64_t kBatchNormInferenceFlops = 2;
constexpr int64_t kStatisticBytes = 4;  // PyTorch keeps statistics in float32

// Does this batch normalization compute statistics of the batch? Opset 14 on: the attribute; before: it asks for the
// statistics as outputs; opset 1 to 6: `is_test`.
bool BatchNormTrains(const OpContext& ctx) {
  if (ctx.version() >= 14) return ctx.attributes().Int("training_mode", 0) != 0;
  if (ctx.version() < 7) return ctx.attributes().Int("is_test", 0) == 0;
  return ctx.num_outputs() > 1;
}

// Rows of the statistics: everything before `axis` (layer and RMS norm), batch times groups (group and instance norm).
int64_t LeadingElements(const Shape& shape, int64_t axis) {
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  int64_t rows = 1;
  for (int64_t d = 0; d < axis && d < static_cast<int64_t>(shape.size()); ++d) rows *= shape[d];
  return rows;
}

int64_t LayerNormRows(const OpContext& ctx) {
  return LeadingElements(ctx.InShape(0), ctx.attributes().Int("axis", -1));
}

int64_t ChannelNormRows(const OpContext& ctx) {
  const Shape& shape = ctx.InShape(0);
  const int64_t channels = shape.size() > 1 ? shape[1] : 1;
  return (shape.empty() ? 1 : shape[0]) * ctx.attributes().Int("num_groups", channels);
}

absl::StatusOr<Kernel> BatchNormKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = SweepKernel(ctx);
  if (!kernel.ok()) return kernel;
  const int64_t channels = ctx.InShape(0).size() > 1 ? ctx.InShape(0)[1] : 1;
  kernel->extra_transcendentals = channels;
  if (!BatchNormTrains(ctx)) kernel->flops_per_point = kBatchNormInferenceFlops;
  return kernel;
}

template <int64_t (*Rows)(const OpContext&)>
absl::StatusOr<Kernel> RowNormKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = SweepKernel(ctx);
  if (kernel.ok()) kernel->extra_transcendentals = Rows(ctx);
  return kernel;
}

// dX, dScale, dBias of a normalization in one kernel; those that nobody needs are left out.
void EmitNormGradient(GradientContext& ctx, absl::string_view op_type, std::vector<ValueId> inputs) {
  std::vector<Type> types;
  std::vector<int> wanted;
  for (int i = 0; i < std::min(ctx.num_inputs(), 3); ++i) {
    if (!ctx.Needs(i)) continue;
    wanted.push_back(i);
    types.push_back(ctx.TypeOf(ctx.I(i)));
  }
  if (wanted.empty()) return;
  Attributes attributes = ctx.node().attributes;
  attributes.Set("wrt", std::vector<int64_t>(wanted.begin(), wanted.end()));
  const std::vector<ValueId> gradients = ctx.EmitMany(op_type, inputs, types, std::move(attributes));
  for (size_t j = 0; j < wanted.size(); ++j) ctx.SetGradient(wanted[j], gradients[j]);
}

std::vector<ValueId> WithScale(GradientContext& ctx, std::vector<ValueId> inputs) {
  if (ctx.I(1) != kNoValue) inputs.push_back(ctx.I(1));
  return inputs;
}

// Statistics of narrow types are kept in float32.
DType StatisticDType(const GradientContext& ctx) {
  const DType dtype = ctx.TypeOf(ctx.I(0)).dtype;
  return dtype == DType::kFloat64 ? dtype : DType::kFloat32;
}

absl::Status BatchNormGradient(GradientContext& ctx) {
  const OpContext forward = ctx.forward();
  const Shape channels = {forward.InShape(0).size() > 1 ? forward.InShape(0)[1] : 1};
  if (!BatchNormTrains(forward)) {
    // Running statistics stand for the saved ones.
    EmitNormGradient(ctx, "reusescope::BatchNormalizationGrad",
                     WithScale(ctx, {ctx.GO(0), ctx.I(0), ctx.I(3), ctx.I(4)}));
    return absl::OkStatus();
  }
  const DType dtype = StatisticDType(ctx);
  const ValueId mean = ctx.SaveOutput("saved_mean", Type::Tensor(dtype, channels));
  const ValueId deviation = ctx.SaveOutput("saved_inv_std", Type::Tensor(dtype, channels));
  EmitNormGradient(ctx, "reusescope::BatchNormalizationGrad", WithScale(ctx, {ctx.GO(0), ctx.I(0), mean, deviation}));
  return absl::OkStatus();
}

// Statistics per row, which the operator has as its outputs 1 and 2.
absl::Status LayerNormGradient(GradientContext& ctx) {
  const Type x = ctx.TypeOf(ctx.I(0));
  Shape rows = x.shape;
  const int64_t axis = AxisOf(ctx.forward(), -1, x.rank());
  for (int64_t d = axis; d < x.rank(); ++d) rows[d] = 1;
  const Type type = Type::Tensor(static_cast<DType>(ctx.node().attributes.Int("stash_type", 1)), rows);
  const ValueId mean = ctx.AskForOutput(1, "saved_mean", type);
  const ValueId deviation = ctx.AskForOutput(2, "saved_inv_std", type);
  EmitNormGradient(ctx, "reusescope::LayerNormalizationGrad", WithScale(ctx, {ctx.GO(0), ctx.I(0), mean, deviation}));
  return absl::OkStatus();
}

absl::Status RmsNormGradient(GradientContext& ctx) {
  const Type type = Type::Tensor(StatisticDType(ctx), {LayerNormRows(ctx.forward())});
  const ValueId deviation = ctx.SaveOutput("saved_inv_std", type);
  EmitNormGradient(ctx, "reusescope::RMSNormalizationGrad", WithScale(ctx, {ctx.GO(0), ctx.I(0), deviation}));
  return absl::OkStatus();
}

absl::Status GroupNormGradient(GradientContext& ctx) {
  const Type type = Type::Tensor(StatisticDType(ctx), {ChannelNormRows(ctx.forward())});
  const ValueId mean = ctx.SaveOutput("saved_mean", type);
  const ValueId deviation = ctx.SaveOutput("saved_inv_std", type);
  EmitNormGradient(ctx, "reusescope::GroupNormalizationGrad", WithScale(ctx, {ctx.GO(0), ctx.I(0), mean, deviation}));
  return absl::OkStatus();
}

// LRN, LpNormalization, MeanVarianceNormalization: no weights; backward from input and output.
absl::Status WeightlessNormGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  ctx.SetGradient(0, ctx.Emit(absl::StrCat("reusescope::", ctx.node().op.type, "Grad"), {ctx.GO(0), ctx.I(0), ctx.O(0)},
                              ctx.GradientType(0), ctx.node().attributes));
  return absl::OkStatus();
}

// `size` squares, their sum, and a power per element.
absl::StatusOr<Kernel> LrnKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = SweepKernel(ctx);
  if (kernel.ok()) kernel->flops_per_point = 2 * ctx.attributes().Int("size", 1) + 3;
  return kernel;
}

void BatchNormSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  const int64_t channels = ctx.InShape(0).size() > 1 ? ctx.InShape(0)[1] : 1;
  if (BatchNormTrains(ctx)) saves.extra_bytes += 2 * channels * kStatisticBytes;
}
void LayerNormSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  saves.extra_bytes += 2 * LayerNormRows(ctx) * kStatisticBytes;
}
// PyTorch's rms_norm is a composite: pow keeps x, rsqrt its result, the products x, the inverse and the normalized
// value.
void RmsNormSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  saves.extra_bytes += LayerNormRows(ctx) * kStatisticBytes;
  saves.extra_activation_elements += ctx.InElements(0);
}
void GroupNormSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  saves.extra_bytes += 2 * ChannelNormRows(ctx) * kStatisticBytes;
}

}  // namespace

void RegisterNormalization(OpRegistry& registry) {
  constexpr uint32_t kInputScaleBias = 0b111;
  registry.Add({.type = "BatchNormalization",
                .flops = 8,
                .infer = InferBatchNormalization,
                .kernel = BatchNormKernel,
                .gradient = BatchNormGradient,
                .body = BatchNormBody,
                .differentiable_inputs = kInputScaleBias,
                .in_place = {-1, 3, 4, -1},
                .eager_saves = BatchNormSaves});
  registry.Add({.type = "LayerNormalization",
                .flops = 8,
                .kernel = RowNormKernel<LayerNormRows>,
                .gradient = LayerNormGradient,
                .eager_saves = LayerNormSaves});
  registry.Add({.type = "RMSNormalization",
                .flops = 4,
                .kernel = RowNormKernel<LayerNormRows>,
                .gradient = RmsNormGradient,
                .body = RmsNormBody,
                .eager_saves = RmsNormSaves});
  for (absl::string_view type : {"GroupNormalization", "InstanceNormalization"}) {
    registry.Add({.type = type,
                  .flops = 8,
                  .infer = InferLikeInput,
                  .kernel = RowNormKernel<ChannelNormRows>,
                  .gradient = GroupNormGradient,
                  .body = GroupNormBody,
                  .eager_saves = GroupNormSaves});
  }
  registry.Add({.type = "LRN", .kernel = LrnKernel, .gradient = WeightlessNormGradient, .eager_saves = SavesInput});
  registry.Add({.type = "LpNormalization",
                .flops = 3,
                .transcendentals = 1,
                .kernel = SweepKernel,
                .gradient = WeightlessNormGradient,
                .eager_saves = SavesInput});
  registry.Add({.type = "MeanVarianceNormalization",
                .flops = 6,
                .infer = InferLikeInput,
                .kernel = SweepKernel,
                .gradient = WeightlessNormGradient,
                .eager_saves = SavesInput});
  const OpSemantics gradients[] = {
      {.type = "BatchNormalizationGrad", .flops = 11, .body = BatchNormGradBody},
      {.type = "LayerNormalizationGrad", .flops = 11, .body = LayerNormGradBody},
      {.type = "GroupNormalizationGrad", .flops = 11, .body = GroupNormGradBody},
      {.type = "LRNGrad", .flops = 11, .body = LrnGradBody},
      {.type = "LpNormalizationGrad", .flops = 11, .body = LpNormGradBody},
      {.type = "MeanVarianceNormalizationGrad", .flops = 11, .body = MvnGradBody},
      {.type = "RMSNormalizationGrad", .flops = 8, .body = RmsNormGradBody},
  };
  for (OpSemantics row : gradients) {
    row.domain = kReuseScopeDomain;
    row.kernel = SweepKernel;
    row.not_differentiable = kIsGradient;
    registry.Add(row);
  }
}

}  // namespace reusescope
