// com.microsoft operators that fuse a few of ONNX's, and what older exports call by names that ONNX no longer has:
// activations with their bias, normalizations with the residual before them, products with what follows them.
//
// Each lowers to the operators that it fuses, so shapes, costs and gradients are theirs. A fused kernel moves fewer
// bytes than its parts; the difference shows as adjacent-layer reuse between them.
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

// ---- Activations: X [bias], like X.

absl::Status LowerBiasGelu(LowerContext& ctx) {  // also FastGelu, whose Gelu is the tanh form
  AttentionBuilder build(ctx);
  const bool fast = ctx.node().node().op.type == "FastGelu";
  Attributes attributes;
  if (fast) attributes.Set("approximate", std::string("tanh"));
  const ValueId x = ctx.I(1) == kNoValue ? ctx.I(0) : EmitAdd(build, ctx.I(0), ctx.I(1));
  SetLoweredOutput(ctx, build, 0, build.Like("Gelu", x, {}, std::move(attributes)));
  return absl::OkStatus();
}

absl::Status LowerQuickGelu(LowerContext& ctx) {  // x sigmoid(alpha x)
  AttentionBuilder build(ctx);
  Attributes attributes;
  attributes.Set("alpha", ctx.node().attributes().Float("alpha", 1.702));
  SetLoweredOutput(ctx, build, 0, build.Like("Swish", ctx.I(0), {}, std::move(attributes)));
  return absl::OkStatus();
}

// X [.., 2H] + bias split in halves: left * Gelu(right).
absl::StatusOr<std::vector<Type>> InferBiasSplitGelu(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  Type type = ctx.InType(0);
  type.shape.back() /= 2;
  return First(ctx, std::move(type));
}

absl::Status LowerBiasSplitGelu(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Type half = ctx.node().OutType(0);
  const ValueId x = EmitAdd(build, ctx.I(0), ctx.I(1));
  const int64_t width = half.shape.back();
  const std::vector<ValueId> halves = build.SplitLast(x, {width, width});
  SetLoweredOutput(ctx, build, 0, build.Like("Mul", halves[0], {build.Like("Gelu", halves[1])}));
  return absl::OkStatus();
}

absl::Status LowerBiasAdd(LowerContext& ctx) {  // X + bias + skip
  AttentionBuilder build(ctx);
  SetLoweredOutput(ctx, build, 0, EmitAdd(build, EmitAdd(build, ctx.I(0), ctx.I(1)), ctx.I(2)));
  return absl::OkStatus();
}

// ---- Normalizations over the last dimension.

// Like X; statistics have one element per row.
absl::StatusOr<std::vector<Type>> InferRowNorm(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  Type statistic = Type::Tensor(DType::kFloat32, ctx.InShape(0));
  statistic.shape.back() = 1;
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), statistic);
  types[0] = ctx.InType(0);
  if (types.size() > 3) types[3] = ctx.InType(0);  // input + skip + bias
  return types;
}

// X normalized; `rms` leaves the mean in.
ValueId EmitRowNorm(LowerContext& ctx, AttentionBuilder& build, ValueId x, ValueId scale, ValueId bias, bool rms) {
  Attributes attributes;
  attributes.Set("axis", int64_t{-1});
  attributes.Set("epsilon", ctx.node().attributes().Float("epsilon", 1e-12));
  std::vector<ValueId> rest = {scale};
  if (bias != kNoValue && !rms) rest.push_back(bias);
  return build.Like(rms ? "RMSNormalization" : "LayerNormalization", x, std::move(rest), std::move(attributes));
}

// Statistics of a fused node that someone reads: one reduction over the rows of x.
void EmitStatistics(LowerContext& ctx, AttentionBuilder& build, ValueId x, int first, int last) {
  for (int j = first; j <= last; ++j) {
    if (!ctx.node().HasOutput(j)) continue;
    const Type type = ctx.node().OutType(j);
    SetLoweredOutput(ctx, build, j, ctx.Emit("ReduceMean", {x, ctx.Constant("axis", Literal::Ints({1}, {-1}))}, type));
  }
}

// input skip gamma beta bias -> output mean inv_std input_skip_bias_sum; the simplified form has no beta.
absl::Status LowerSkipNorm(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const bool rms = ctx.node().node().op.type == "SkipSimplifiedLayerNormalization";
  const ValueId bias = ctx.I(rms ? 3 : 4);
  ValueId sum = EmitAdd(build, ctx.I(0), ctx.I(1));
  if (bias != kNoValue) sum = EmitAdd(build, sum, bias);
  sum = SetLoweredOutput(ctx, build, 3, sum);
  EmitStatistics(ctx, build, sum, 1, 2);
  SetLoweredOutput(ctx, build, 0, EmitRowNorm(ctx, build, sum, ctx.I(2), rms ? kNoValue : ctx.I(3), rms));
  return absl::OkStatus();
}

absl::Status LowerSimplifiedNorm(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  EmitStatistics(ctx, build, ctx.I(0), 1, 1);
  SetLoweredOutput(ctx, build, 0, EmitRowNorm(ctx, build, ctx.I(0), ctx.I(1), kNoValue, true));
  return absl::OkStatus();
}

// input_ids segment_ids word position segment gamma beta mask position_ids -> output mask_index embedding_sum.
absl::StatusOr<std::vector<Type>> InferEmbedNorm(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 2, 2, 2));
  const Type output = Type::Tensor(ctx.InType(2).dtype, {ctx.InShape(0)[0], ctx.InShape(0)[1], ctx.InShape(2)[1]});
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), output);
  if (types.size() > 1) types[1] = Type::Tensor(DType::kInt32, {ctx.InShape(0)[0]});
  return types;
}

absl::Status LowerEmbedNorm(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Type type = ctx.node().OutType(0);
  ValueId sum = ctx.Emit("Gather", {ctx.I(2), ctx.I(0)}, type);
  // Without position_ids the rows are the first S of the table.
  const ValueId positions = ctx.I(8) != kNoValue ? ctx.I(8) : build.Positions({1, type.shape[1]}, 0);
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 3, 2, 2));
  Type position_rows = type;
  position_rows.shape[0] = build.ShapeOf(positions)[0];
  sum = EmitAdd(build, sum, ctx.Emit("Gather", {ctx.I(3), positions}, position_rows));
  if (ctx.I(4) != kNoValue && ctx.I(1) != kNoValue) {
    sum = EmitAdd(build, sum, ctx.Emit("Gather", {ctx.I(4), ctx.I(1)}, type));
  }
  sum = SetLoweredOutput(ctx, build, 2, sum);
  if (ctx.node().HasOutput(1)) {
    const ValueId from = ctx.I(7) != kNoValue ? ctx.I(7) : ctx.I(0);
    const Type lengths = ctx.node().OutType(1);
    Attributes attributes;
    attributes.Set("keepdims", int64_t{0});
    const ValueId axis = ctx.Constant("axis", Literal::Ints({1}, {1}));
    SetLoweredOutput(ctx, build, 1, ctx.Emit("ReduceSum", {from, axis}, lengths, std::move(attributes)));
  }
  SetLoweredOutput(ctx, build, 0, EmitRowNorm(ctx, build, sum, ctx.I(5), ctx.I(6), false));
  return absl::OkStatus();
}

// X [N, H, W, C] (or channels first) gamma beta [skip bias] -> Y [X + skip + bias], with an activation behind.
absl::Status LowerGroupNorm(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 0, 3));
  ValueId x = ctx.I(0);
  for (int i : {3, 4}) {
    if (ctx.I(i) != kNoValue) x = EmitAdd(build, x, ctx.I(i));
  }
  x = SetLoweredOutput(ctx, build, 1, x);
  const bool last = attributes.Int("channels_last", 1) != 0;
  const int rank = static_cast<int>(build.ShapeOf(x).size());
  if (last) x = build.Transpose(x, ToChannelsFirst(rank));
  Attributes norm;
  norm.Set("num_groups", attributes.Int("groups", 1));
  norm.Set("epsilon", attributes.Float("epsilon", 1e-5));
  ValueId y = build.Like("GroupNormalization", x, {ctx.I(1), ctx.I(2)}, std::move(norm));
  if (last) y = build.Transpose(y, ToChannelsLast(rank));
  if (attributes.Int("activation", 0) != 0) y = build.Like("Swish", y);
  SetLoweredOutput(ctx, build, 0, y);
  return absl::OkStatus();
}

// ---- Dropout behind a bias and a residual: data bias residual ratio training_mode -> output mask.

// The Bitmask forms keep 32 elements of the mask in a word.
bool HasBitmask(const OpContext& ctx) { return absl::StartsWith(ctx.node().op.type, "Bitmask"); }

absl::StatusOr<std::vector<Type>> InferFusedDropout(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(std::vector<Type> types, InferAllLikeInput(ctx));
  if (types.size() > 1) {
    types[1].dtype = DType::kBool;
    if (HasBitmask(ctx)) types[1] = Type::Tensor(DType::kUint32, {(ctx.InElements(0) + 31) / 32});
  }
  return types;
}

// BitmaskDropout has no bias and no residual.
absl::Status LowerFusedDropout(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Type type = ctx.node().OutType(0);
  const bool alone = ctx.node().node().op.type == "BitmaskDropout";
  const ValueId residual = alone ? kNoValue : ctx.I(2);
  const ValueId x = alone || ctx.I(1) == kNoValue ? ctx.I(0) : EmitAdd(build, ctx.I(0), ctx.I(1));
  const int ratio = alone ? 1 : 3;
  std::vector<ValueId> inputs = {x};
  for (int i : {ratio, ratio + 1}) {
    if (ctx.I(i) != kNoValue) inputs.push_back(ctx.I(i));
  }
  std::vector<ValueId> dropped = {x};
  if (ctx.I(ratio + 1) != kNoValue || ctx.node().HasOutput(1)) {
    dropped = ctx.EmitMany("Dropout", inputs, {type, Type::Tensor(DType::kBool, type.shape)});
    if (ctx.node().HasOutput(1) && HasBitmask(ctx.node())) {
      dropped[1] = ctx.Emit("reusescope::PackBits", {dropped[1]}, ctx.node().OutType(1));
    }
    SetLoweredOutput(ctx, build, 1, dropped[1]);
  }
  SetLoweredOutput(ctx, build, 0, residual == kNoValue ? dropped[0] : EmitAdd(build, dropped[0], residual));
  return absl::OkStatus();
}

// Softmax over the dimensions from `axis` on, taken as one, of data + bias.
absl::Status LowerBiasSoftmax(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 0, 1));
  const Shape shape = build.ShapeOf(ctx.I(0));
  RS_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(ctx.node(), ctx.node().attributes().Int("axis", 1),
                                                    static_cast<int>(shape.size())));
  Shape rows(shape.begin(), shape.begin() + axis);
  rows.push_back(1);
  for (size_t d = axis; d < shape.size(); ++d) rows.back() *= shape[d];
  Attributes last;
  last.Set("axis", int64_t{-1});
  const ValueId sum = build.Reshape(EmitAdd(build, ctx.I(0), ctx.I(1)), rows);
  SetLoweredOutput(ctx, build, 0, build.Reshape(build.Like("Softmax", sum, {}, std::move(last)), shape));
  return absl::OkStatus();
}

// ---- Products.

Shape Swapped(Shape shape, bool swap) {
  if (swap && shape.size() > 1) std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  return shape;
}

// alpha op(A) op(B), also with the leading dimension of batches beside the matrix (transBatch).
Shape BatchTurned(Shape shape, bool turn) {  // [M, B.., K] -> [B.., M, K]
  if (turn && shape.size() > 2) std::rotate(shape.begin(), shape.begin() + 1, shape.end() - 1);
  return shape;
}

absl::StatusOr<std::vector<Type>> InferFusedMatMul(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 1));
  const Attributes& attributes = ctx.attributes();
  RS_ASSIGN_OR_RETURN(Shape shape,
                      ProductShape(ctx,
                                   Swapped(BatchTurned(ctx.InShape(0), attributes.Int("transBatchA", 0) != 0),
                                           attributes.Int("transA", 0) != 0),
                                   Swapped(BatchTurned(ctx.InShape(1), attributes.Int("transBatchB", 0) != 0),
                                           attributes.Int("transB", 0) != 0)));
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, std::move(shape)));
}

absl::Status LowerFusedMatMul(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  const Type type = ctx.node().OutType(0);
  std::vector<ValueId> operands;
  for (int i : {0, 1}) {
    const Shape shape = build.ShapeOf(ctx.I(i));
    std::vector<int64_t> perm(shape.size());
    for (size_t d = 0; d < perm.size(); ++d) perm[d] = static_cast<int64_t>(d);
    const bool turn = attributes.Int(i == 0 ? "transBatchA" : "transBatchB", 0) != 0;
    const bool swap = attributes.Int(i == 0 ? "transA" : "transB", 0) != 0;
    if (turn && perm.size() > 2) std::rotate(perm.begin(), perm.begin() + 1, perm.end() - 1);
    if (swap && perm.size() > 1) std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    operands.push_back(turn || swap ? build.Transpose(ctx.I(i), perm) : ctx.I(i));
  }
  ValueId y = ctx.Emit("MatMul", operands, type);
  const double alpha = attributes.Float("alpha", 1);
  if (alpha != 1) y = build.Like("Mul", y, {build.Scalar("alpha", alpha, type.dtype)});
  RS_ASSIGN_OR_RETURN(y, EmitActivation(ctx, build, attributes.String("activation", ""), y));
  SetLoweredOutput(ctx, build, 0, y);
  return absl::OkStatus();
}

absl::Status LowerGemmFastGelu(LowerContext& ctx) {  // X W [bias]
  AttentionBuilder build(ctx);
  const Type type = ctx.node().OutType(0);
  ValueId y = ctx.Emit("MatMul", {ctx.I(0), ctx.I(1)}, type);
  if (ctx.I(2) != kNoValue) y = EmitAdd(build, y, ctx.I(2));
  Attributes attributes;
  attributes.Set("approximate", std::string("tanh"));
  SetLoweredOutput(ctx, build, 0, build.Like("Gelu", y, {}, std::move(attributes)));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Type>> InferFusedGemm(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
  RS_ASSIGN_OR_RETURN(Shape shape, ProductShape(ctx, Swapped(ctx.InShape(0), ctx.attributes().Int("transA", 0) != 0),
                                                Swapped(ctx.InShape(1), ctx.attributes().Int("transB", 0) != 0)));
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, std::move(shape)));
}

absl::Status LowerFusedGemm(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  std::vector<ValueId> inputs = {ctx.I(0), ctx.I(1)};
  if (ctx.I(2) != kNoValue) inputs.push_back(ctx.I(2));
  const Type type = ctx.node().OutType(0);
  const ValueId product = ctx.Emit("Gemm", inputs, type, WithoutActivation(ctx.node()));
  RS_ASSIGN_OR_RETURN(const ValueId y, EmitActivation(ctx, build, attributes.String("activation", ""), product));
  SetLoweredOutput(ctx, build, 0, y);
  return absl::OkStatus();
}

// X W [B] [Z, added before the activation]. FusedConv and nchwc::Conv are NCHW (blocks of channels are as many bytes);
// images of the others are [N, H, W, C], filters of the Nhwc forms too.
bool HasFiltersLast(const OpContext& ctx) { return absl::StartsWith(ctx.node().op.type, "Nhwc"); }
bool IsChannelsLast(const OpContext& ctx) { return HasFiltersLast(ctx) || ctx.node().op.domain == kInternalNhwc; }

absl::StatusOr<std::vector<Type>> InferFusedConv(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, ctx.InType(0).rank(), ctx.InType(0).rank()));
  const bool last = IsChannelsLast(ctx);
  RS_ASSIGN_OR_RETURN(Shape y, ConvolvedShape(ctx, last ? ChannelsFirst(ctx.InShape(0)) : ctx.InShape(0),
                                              HasFiltersLast(ctx) ? ChannelsFirst(ctx.InShape(1)) : ctx.InShape(1)));
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, last ? ChannelsLast(y) : y));
}

absl::Status LowerFusedConv(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const bool last = IsChannelsLast(ctx.node());
  const Attributes attributes = ctx.node().attributes();
  const Type type = ctx.node().OutType(0);
  std::vector<ValueId> inputs = {ctx.I(0), ctx.I(1)};
  if (last) inputs[0] = build.Transpose(inputs[0], ToChannelsFirst(type.rank()));
  if (HasFiltersLast(ctx.node())) inputs[1] = build.Transpose(inputs[1], ToChannelsFirst(type.rank()));
  if (ctx.I(2) != kNoValue) inputs.push_back(ctx.I(2));
  ValueId y = ctx.Emit("Conv", inputs, Type::Tensor(type.dtype, last ? ChannelsFirst(type.shape) : type.shape),
                       WithoutActivation(ctx.node()));
  if (last) y = build.Transpose(y, ToChannelsLast(type.rank()));
  if (ctx.I(3) != kNoValue) y = EmitAdd(build, y, ctx.I(3));
  RS_ASSIGN_OR_RETURN(y, EmitActivation(ctx, build, attributes.String("activation", ""), y));
  SetLoweredOutput(ctx, build, 0, y);
  return absl::OkStatus();
}

// ---- Others.

absl::StatusOr<std::vector<Type>> InferExpandDims(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  const Literal* axis = ctx.InLiteral(1);
  if (axis == nullptr || axis->ints.size() != 1) return ctx.Error("its axis is not known, expected a constant");
  const int64_t rank = ctx.InType(0).rank() + 1;
  const int64_t at = axis->ints[0] + (axis->ints[0] < 0 ? rank : 0);
  if (at < 0 || at >= rank) return ctx.Error(absl::StrCat("found axis ", axis->ints[0], ", expected one of ", rank));
  Type type = ctx.InType(0);
  type.shape.insert(type.shape.begin() + at, 1);
  return First(ctx, std::move(type));
}

absl::Status LowerExpandDims(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Type type = ctx.node().OutType(0);
  const ValueId axes = ctx.Constant("axes", Literal::Ints({1}, {ctx.node().InLiteral(1)->ints[0]}));
  SetLoweredOutput(ctx, build, 0, ctx.Emit("Unsqueeze", {ctx.I(0), axes}, type));
  return absl::OkStatus();
}

absl::Status LowerTrilu(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  std::vector<ValueId> rest;
  if (ctx.I(1) != kNoValue) rest.push_back(ctx.I(1));
  SetLoweredOutput(ctx, build, 0, build.Like("Trilu", ctx.I(0), rest, ctx.node().attributes()));
  return absl::OkStatus();
}

// Gauss-Jordan on [.., n, n]: 2 n^3.
absl::StatusOr<Kernel> InverseKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2));
  Kernel kernel{.flops_per_point = 2};
  AddLoops(kernel, ctx.InShape(0));
  AddLoop(kernel, 'z', ctx.InShape(0).back());
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<std::vector<Type>> InferCDist(const OpContext& ctx) {
  for (int i : {0, 1}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 2, 2));
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, {ctx.InShape(0)[0], ctx.InShape(1)[0]}));
}

// Difference, square, sum for every pair and coordinate; a root for every pair.
absl::StatusOr<Kernel> CDistKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = 3};
  AddLoop(kernel, 'm', ctx.InShape(0)[0]);
  AddLoop(kernel, 'n', ctx.InShape(1)[0]);
  AddLoop(kernel, 'k', ctx.InShape(0)[1]);
  if (ctx.attributes().String("metric", "sqeuclidean") == "euclidean")
    kernel.extra_transcendentals = ctx.OutElements(0);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

// input_ids scores: scores of tokens that would repeat an n-gram become -inf.
absl::StatusOr<std::vector<Type>> InferNGramRepeatBlock(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
  return First(ctx, ctx.InType(1));
}

}  // namespace

void RegisterContrib(OpRegistry& registry) {
  const OpSemantics rows[] = {
      ContribComposite("Gelu", InferFirstLikeInput, LowerBiasGelu),
      ContribComposite("BiasGelu", InferFirstLikeInput, LowerBiasGelu),
      ContribComposite("FastGelu", InferFirstLikeInput, LowerBiasGelu),
      ContribComposite("QuickGelu", InferFirstLikeInput, LowerQuickGelu),
      ContribComposite("BiasSplitGelu", InferBiasSplitGelu, LowerBiasSplitGelu),
      ContribComposite("BiasAdd", InferFirstLikeInput, LowerBiasAdd),
      ContribComposite("BiasDropout", InferFusedDropout, LowerFusedDropout),
      ContribComposite("BitmaskDropout", InferFusedDropout, LowerFusedDropout),
      ContribComposite("BitmaskBiasDropout", InferFusedDropout, LowerFusedDropout),
      ContribComposite("BiasSoftmax", InferFirstLikeInput, LowerBiasSoftmax),
      {.domain = kReuseScopeDomain,
       .type = "PackBits",
       .flops = 1,
       .kernel = SweepKernel,
       .not_differentiable = "its input is a mask"},
      ContribComposite("SkipLayerNormalization", InferRowNorm, LowerSkipNorm),
      ContribComposite("SkipSimplifiedLayerNormalization", InferRowNorm, LowerSkipNorm),
      ContribComposite("SimplifiedLayerNormalization", InferRowNorm, LowerSimplifiedNorm),
      {.type = "SimplifiedLayerNormalization", .infer = InferRowNorm, .lower = LowerSimplifiedNorm},
      ContribComposite("EmbedLayerNormalization", InferEmbedNorm, LowerEmbedNorm),
      ContribComposite("GroupNorm", InferAllLikeInput, LowerGroupNorm),
      ContribComposite("SkipGroupNorm", InferAllLikeInput, LowerGroupNorm),
      ContribComposite("FusedMatMul", InferFusedMatMul, LowerFusedMatMul),
      ContribComposite("TransposeMatMul", InferFusedMatMul, LowerFusedMatMul),
      ContribComposite("FusedMatMulActivation", InferFusedMatMul, LowerFusedMatMul),
      ContribComposite("GemmFastGelu", InferFusedMatMul, LowerGemmFastGelu),
      ContribComposite("FusedGemm", InferFusedGemm, LowerFusedGemm),
      ContribComposite("FusedConv", InferFusedConv, LowerFusedConv),
      {.domain = kNchwc, .type = "Conv", .infer = InferFusedConv, .lower = LowerFusedConv},
      {.domain = kInternalNhwc, .type = "Conv", .infer = InferFusedConv, .lower = LowerFusedConv},
      {.domain = kInternalNhwc, .type = "FusedConv", .infer = InferFusedConv, .lower = LowerFusedConv},
      ContribComposite("NhwcConv", InferFusedConv, LowerFusedConv),
      ContribComposite("NhwcFusedConv", InferFusedConv, LowerFusedConv),
      ContribComposite("ExpandDims", InferExpandDims, LowerExpandDims),
      ContribComposite("Trilu", InferFirstLikeInput, LowerTrilu),
      {.domain = kMicrosoft,
       .type = "Inverse",
       .infer = InferFirstLikeInput,
       .kernel = InverseKernel,
       .not_differentiable = "no rule for its gradient yet"},
      {.domain = kMicrosoft,
       .type = "CDist",
       .infer = InferCDist,
       .kernel = CDistKernel,
       .not_differentiable = "no rule for its gradient yet"},
      {.domain = kMicrosoft,
       .type = "NGramRepeatBlock",
       .flops = 1,
       .infer = InferNGramRepeatBlock,
       .kernel = SweepKernel,
       .not_differentiable = "part of a search, not of a model"},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
