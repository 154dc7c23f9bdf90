// Scaled dot-product attention, taken apart into the products and row operations that a framework without a fused
// kernel runs; and rotary embeddings.
//
//   S = (sqrt(s) Q) (sqrt(s) K)^T + mask,  P = softmax(S),  Y = P V
//   contraction FLOPs = 2 * B * Hq * Sq * Skv * (D + Dv)
//
// The order of operations is that of the operator's function body in ONNX, and of PyTorch's unfused attention: Q and K
// scaled each, a soft cap where given, the mask added. The lowered nodes are a region "attention". A causal mask is
// added like any other: the products are counted dense, as PyTorch counts them; nothing is discounted for the half that
// is masked. Where K and V have fewer heads than Q, each is repeated for its group (a copy). Where past keys are given,
// Skv includes them; where nonpad_kv_seqlen says how many keys count, the last query stands at the last of these. A
// query that may see no key gets zeros and sends nothing back (ONNX since 1.23, in place for all opsets), by
// GuardedSoftmax.
//
// Heads may come packed ([B, S, H D], split by views and a Transpose) or apart ([B, H, S, D]). ONNX Attention 23 and
// 24; those of com.microsoft are in contrib_attention.cc.
//
// RotaryEmbedding stays whole: every pair (a, b) becomes (a cos - b sin, a sin + b cos), 3 FLOPs per rotated element;
// its gradient is the rotation back. So does Rotation, the same with tables as models make them.

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/attention_builder.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/lower_context.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

// Output 3 holds the scores at the stage that qk_matmul_output_mode names.
ValueId ScoresAt(const Attention& attention, int64_t mode) {
  switch (mode) {
    case 1:
      return attention.capped;
    case 2:
      return attention.masked;
    case 3:
      return attention.probabilities;
    default:
      return attention.scores;
  }
}

// Keys and values are the past ones and those of this call; 3-D operands [B, S, heads D] name their heads.
absl::StatusOr<std::vector<Type>> InferAttention(const OpContext& ctx) {
  for (int i = 0; i < 3; ++i) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 3, 4));
  const auto split = [&ctx](int i, absl::string_view heads_name) -> absl::StatusOr<Shape> {
    const Shape& shape = ctx.InShape(i);
    if (shape.size() == 4) return shape;
    const int64_t heads = ctx.attributes().Int(heads_name, 0);
    if (heads > 0 && shape[2] % heads == 0) return Shape{shape[0], heads, shape[1], shape[2] / heads};
    return ctx.Error(absl::StrCat("input ", i, " is ", TypeString(ctx.InType(i)), " and ", heads_name, " is ", heads,
                                  ", expected [B, S, heads D]"));
  };
  RS_ASSIGN_OR_RETURN(const Shape q, split(0, "q_num_heads"));
  RS_ASSIGN_OR_RETURN(Shape k, split(1, "kv_num_heads"));
  RS_ASSIGN_OR_RETURN(Shape v, split(2, "kv_num_heads"));
  if (ctx.HasInput(4)) RS_RETURN_IF_ERROR(ExpectRank(ctx, 4, 4, 4));
  if (ctx.HasInput(5)) RS_RETURN_IF_ERROR(ExpectRank(ctx, 5, 4, 4));
  if (ctx.HasInput(4)) k[2] += ctx.InShape(4)[2];
  if (ctx.HasInput(5)) v[2] += ctx.InShape(5)[2];
  const bool packed = ctx.InShape(0).size() == 3;
  const Shape y = packed ? Shape{q[0], q[2], q[1] * v[3]} : Shape{q[0], q[1], q[2], v[3]};
  std::vector<Type> types = {Type::Tensor(ctx.InType(0).dtype, y), Type::Tensor(ctx.InType(1).dtype, k),
                             Type::Tensor(ctx.InType(2).dtype, v),
                             Type::Tensor(ctx.InType(0).dtype, {q[0], q[1], q[2], k[2]})};
  types.resize(std::clamp(ctx.num_outputs(), 1, 4));
  return types;
}

// Q K V attn_mask past_key past_value [nonpad_kv_seqlen] -> Y present_key present_value qk_matmul_output.
absl::Status LowerAttention(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  Attention attention{.q = ctx.I(0), .k = ctx.I(1), .v = ctx.I(2)};
  const bool packed = build.ShapeOf(attention.q).size() == 3;
  if (packed) {
    const int64_t q_heads = attributes.Int("q_num_heads", 0), kv_heads = attributes.Int("kv_num_heads", 0);
    if (q_heads <= 0 || kv_heads <= 0)
      return ctx.node().Error("operands are 3-D, expected q_num_heads and kv_num_heads");
    attention.q = build.SplitHeads(attention.q, q_heads);
    attention.k = build.SplitHeads(attention.k, kv_heads);
    attention.v = build.SplitHeads(attention.v, kv_heads);
  }
  RS_ASSIGN_OR_RETURN(attention.k, AfterPast(ctx, build, ctx.I(4), attention.k));
  RS_ASSIGN_OR_RETURN(attention.v, AfterPast(ctx, build, ctx.I(5), attention.v));
  RS_RETURN_IF_ERROR(CheckAttentionOperands(ctx, build, attention));
  attention.k = SetLoweredOutput(ctx, build, 1, attention.k);
  attention.v = SetLoweredOutput(ctx, build, 2, attention.v);
  const int64_t heads = build.ShapeOf(attention.q)[1];
  attention.k = build.RepeatHeads(attention.k, heads);
  attention.v = build.RepeatHeads(attention.v, heads);
  const int64_t queries = build.ShapeOf(attention.q)[2], keys = build.ShapeOf(attention.k)[2];
  if (ctx.I(3) != kNoValue) attention.masks.push_back(build.PadKeys(ctx.I(3), keys));
  const bool window = attributes.Int("left_window_size", -1) >= 0 || attributes.Int("right_window_size", -1) >= 0;
  const bool causal = attributes.Int("is_causal", 0) != 0;
  if (window || causal) {
    const int64_t past = ctx.I(4) == kNoValue ? 0 : build.ShapeOf(ctx.I(4))[2];
    const int64_t right = attributes.Int("right_window_size", -1);
    const AttentionBuilder::Window bounds = {.queries = queries,
                                             .keys = keys,
                                             .past = past,
                                             .left = attributes.Int("left_window_size", -1),
                                             .right = causal && right != 0 ? 0 : right};
    attention.masks.push_back(ctx.I(6) != kNoValue ? build.PositionMaskBefore(ctx.I(6), bounds)
                                                   : build.PositionMask(bounds, build.DTypeOf(attention.q)));
  }
  if (ctx.I(6) != kNoValue) attention.masks.push_back(LengthMask(ctx, build, ctx.I(6), keys));
  // A causal mask alone leaves every query its first key.
  attention.guarded = ctx.I(3) != kNoValue || ctx.I(6) != kNoValue || window;
  attention.scale = attributes.Float("scale", 0);
  attention.softcap = attributes.Float("softcap", 0);
  attention.softmax_dtype = static_cast<DType>(attributes.Int("softmax_precision", 0));
  BuildAttention(build, attention);
  SetLoweredOutput(ctx, build, 3, ScoresAt(attention, attributes.Int("qk_matmul_output_mode", 0)));
  SetLoweredOutput(ctx, build, 0, packed ? build.MergeHeads(attention.product) : attention.product);
  ctx.AddRegion("attention");
  return absl::OkStatus();
}

// Zero where key k may be seen from query q: past + q - left <= k <= past + q + right, a bound of -1 meaning none.
absl::Status PositionMaskBody(BodyBuilder& body) {
  const Shape& shape = body.OutShape(0);
  const int64_t left = body.attributes().Int("left", -1), right = body.attributes().Int("right", -1);
  const auto range = [&](int64_t begin, int64_t count, const Shape& as) {
    return body.Reshape(body.Op("Range", {body.Int(begin), body.Int(begin + count), body.Int(1)}), as);
  };
  const Expr distance =
      range(0, shape[1], {1, shape[1]}) - range(body.attributes().Int("past", 0), shape[0], {shape[0], 1});
  const DType dtype = body.node().OutType(0).dtype;
  const Expr masked = body.Scalar(dtype, -std::numeric_limits<double>::infinity());
  Expr mask = body.Zeros(dtype, shape);
  if (right >= 0) mask = body.Where(body.Greater(distance, body.Int(right)), masked, mask);
  if (left >= 0) mask = body.Where(body.Less(distance, body.Int(-left)), masked, mask);
  body.Out(0, mask);
  return absl::OkStatus();
}

// The two parts of the first `size` elements along the last axis: halves, or every second element.
std::array<Expr, 2> PairsOf(BodyBuilder& body, Expr x, int64_t size, bool interleaved) {
  if (interleaved) return {body.Slice(x, {0}, {size}, {-1}, {2}), body.Slice(x, {1}, {size}, {-1}, {2})};
  return {body.Slice(x, {0}, {size / 2}, {-1}), body.Slice(x, {size / 2}, {size}, {-1})};
}

// The tensor of that shape whose parts are a and b.
Expr JoinPairs(BodyBuilder& body, Expr a, Expr b, const Shape& shape, bool interleaved) {
  const auto rank = static_cast<int64_t>(shape.size());
  Shape pairs = shape;
  pairs.back() /= 2;
  pairs.push_back(1);
  const Expr parts[] = {interleaved ? body.Reshape(a, pairs) : a, interleaved ? body.Reshape(b, pairs) : b};
  const Expr joined = body.Concat(parts, interleaved ? rank : rank - 1);
  return interleaved ? body.Reshape(joined, shape) : joined;
}

// X of rotary embedding seen as heads: [B, heads, S, D]; and back. Slot of X, cos and sin; the rest as the operator.
Expr Rotate(BodyBuilder& body, bool back) {
  const Shape& shape = body.InShape(0);
  const bool packed = shape.size() == 3;
  const int64_t heads = packed ? body.attributes().Int("num_heads", 0) : shape[1];
  const int64_t batch = shape[0], steps = packed ? shape[1] : shape[2];
  const int64_t size = packed ? shape[2] / heads : shape[3];
  Expr x = body.In(0);
  if (packed) x = body.Transpose(body.Reshape(x, {batch, steps, heads, size}), {0, 2, 1, 3});
  int64_t rotated = body.attributes().Int("rotary_embedding_dim", 0);
  if (rotated <= 0 || rotated > size) rotated = size;
  const int64_t half = rotated / 2;
  const auto table = [&](int i) {
    const Expr rows = body.In(3) ? body.Op("Gather", {body.In(i), body.In(3)}) : body.In(i);
    return body.Reshape(rows, {batch, 1, steps, half});
  };
  const Expr cos = table(1), sin = back ? -table(2) : table(2);
  const bool interleaved = body.attributes().Int("interleaved", 0) != 0;
  const auto [a, b] = PairsOf(body, x, rotated, interleaved);
  std::vector<Expr> parts = {
      JoinPairs(body, a * cos - b * sin, a * sin + b * cos, {batch, heads, steps, rotated}, interleaved)};
  if (rotated < size) parts.push_back(body.Slice(x, {rotated}, {size}, {3}));
  const Expr turned = body.Concat(parts, 3);
  return packed ? body.Reshape(body.Transpose(turned, {0, 2, 1, 3}), shape) : turned;
}

absl::Status RotaryBody(BodyBuilder& body) {
  body.Out(0, Rotate(body, /*back=*/false));
  return absl::OkStatus();
}
absl::Status RotaryGradBody(BodyBuilder& body) {
  body.Out(0, Rotate(body, /*back=*/true));
  return absl::OkStatus();
}

// ---- RotaryEmbedding: X cos_cache sin_cache [position_ids]; with position_ids, the rows looked up are read.

absl::StatusOr<Kernel> RotaryKernel(const OpContext& ctx) {
  const Shape& shape = ctx.InShape(0);
  const int64_t heads = shape.size() == 4 ? shape[1] : ctx.attributes().Int("num_heads", 0);
  const int64_t head_size = shape.size() == 4 ? shape[3] : heads > 0 ? shape.back() / heads : 0;
  if ((shape.size() != 3 && shape.size() != 4) || head_size <= 0) {
    return ctx.Error(
        absl::StrCat("X is ", ShapeString(shape), ", expected [B, H, S, D], or [B, S, H D] and num_heads"));
  }
  int64_t rotated = ctx.attributes().Int("rotary_embedding_dim", 0);
  if (rotated <= 0 || rotated > head_size) rotated = head_size;
  Kernel kernel;
  kernel.loops.push_back({'i', ctx.InElements(0) / head_size});  // rows
  AddLoop(kernel, 'd', rotated);
  kernel.flops_per_point = 3;
  AddWholeInputs(ctx, kernel);
  if (ctx.HasInput(3)) {
    for (Access& access : kernel.accesses) {
      if (access.slot != 1 && access.slot != 2) continue;
      access.elements = std::min(access.elements, ctx.InElements(3) * (rotated / 2));
    }
  }
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::Status RotaryGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(1), ctx.I(2)};
  if (ctx.I(3) != kNoValue) inputs.push_back(ctx.I(3));
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::RotaryEmbeddingGrad", inputs, type, ctx.node().attributes));
  return absl::OkStatus();
}

// ---- Rotation: X, cos, sin; what models compute that spell rotary embedding out. Tables broadcast to X; they are as
// wide as X, or half as wide, one number for both of a pair. They have no gradient: Recognize sees to it that none is
// asked for. 3 FLOPs per element: two products and a sum.

Expr Turn(BodyBuilder& body, bool back) {
  const Shape& shape = body.InShape(0);
  const bool interleaved = body.attributes().Int("interleaved", 0) != 0;
  const auto table = [&](int i) -> std::array<Expr, 2> {
    if (body.InShape(i).back() < shape.back()) return {body.In(i), body.In(i)};
    return PairsOf(body, body.In(i), shape.back(), interleaved);
  };
  const auto [a, b] = PairsOf(body, body.In(0), shape.back(), interleaved);
  const auto [cos_a, cos_b] = table(1);
  const auto [sin_a, sin_b] = table(2);
  const Expr turned_a = back ? a * cos_a + b * sin_b : a * cos_a - b * sin_a;
  const Expr turned_b = back ? b * cos_b - a * sin_a : b * cos_b + a * sin_b;
  return JoinPairs(body, turned_a, turned_b, shape, interleaved);
}

absl::Status RotationBody(BodyBuilder& body) {
  body.Out(0, Turn(body, /*back=*/false));
  return absl::OkStatus();
}
absl::Status RotationGradBody(BodyBuilder& body) {
  body.Out(0, Turn(body, /*back=*/true));
  return absl::OkStatus();
}

absl::Status RotationGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  ctx.SetGradient(0, ctx.Emit("reusescope::RotationGrad", {ctx.GO(0), ctx.I(1), ctx.I(2)}, ctx.TypeOf(ctx.I(0)),
                              ctx.node().attributes));
  return absl::OkStatus();
}

// cos and sin, each kept for the gradient of the factor that it multiplies.
void RotarySaves(const OpContext& ctx, EagerSaves& saves) {
  for (int i : {1, 2}) saves.values.push_back(ctx.node().inputs[i]);
}

// ---- FlexAttention (ai.onnx.preview): Q [B, Hq, Sq, D], K, V; graphs may change scores and probabilities. One kernel;
// what those graphs compute is not described, so with them its FLOPs are unknown.

absl::Status CheckFlexAttention(const OpContext& ctx) {
  for (int i = 0; i < 3; ++i) {
    if (ctx.HasInput(i) && ctx.InType(i).rank() == 4 && (i == 0 || ctx.InShape(i)[2] == ctx.InShape(1)[2])) continue;
    return ctx.Error(absl::StrCat("input ", i, " is ", ctx.HasInput(i) ? TypeString(ctx.InType(i)) : "missing",
                                  ", expected [B, H, S, D], K and V equally long"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Type>> InferFlexAttention(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(CheckFlexAttention(ctx));
  Type type = ctx.InType(0);
  type.shape[3] = ctx.InShape(2)[3];
  return std::vector<Type>{std::move(type)};
}

absl::StatusOr<Kernel> FlexAttentionKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(CheckFlexAttention(ctx));
  const Shape& q = ctx.InShape(0);
  Kernel kernel{.known = !ctx.attributes().Has("score_mod") && !ctx.attributes().Has("prob_mod"),
                .contraction = true,
                .macs_per_point = q[3] + ctx.InShape(2)[3],
                .flops_per_point = 4,
                .transcendentals_per_point = 2};
  for (int d = 0; d < 3; ++d) AddLoop(kernel, static_cast<char>('b' + d), q[d]);
  AddLoop(kernel, 'n', ctx.InShape(1)[2]);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

}  // namespace

void RegisterAttention(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.type = "Attention", .since_version = 23, .infer = InferAttention, .lower = LowerAttention},
      {.type = "RotaryEmbedding",
       .kernel = RotaryKernel,
       .gradient = RotaryGradient,
       .body = RotaryBody,
       .differentiable_inputs = 0b1,
       .eager_saves = RotarySaves},
      {.domain = "ai.onnx.preview",
       .type = "FlexAttention",
       .infer = InferFlexAttention,
       .kernel = FlexAttentionKernel,
       .not_differentiable = "one kernel of inference so far",
       .contraction = true},
      {.domain = kReuseScopeDomain,
       .type = "Rotation",
       .flops = 3,
       .kernel = SweepKernel,
       .gradient = RotationGradient,
       .body = RotationBody,
       .differentiable_inputs = 0b1,
       .eager_saves = RotarySaves},
      {.domain = kReuseScopeDomain,
       .type = "RotationGrad",
       .flops = 3,
       .kernel = SweepKernel,
       .body = RotationGradBody,
       .not_differentiable = "a gradient itself"},
      {.domain = kReuseScopeDomain,
       .type = "RotaryEmbeddingGrad",
       .kernel = RotaryKernel,
       .body = RotaryGradBody,
       .not_differentiable = "a gradient itself"},
      {.domain = kReuseScopeDomain,
       .type = "PositionMask",
       .kernel = NoKernel,
       .body = PositionMaskBody,
       .not_differentiable = "depends on positions alone"},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
