// Scaled dot-product attention, taken apart into the products and row operations that a framework without a fused
// kernel runs; and rotary embeddings.
//
//   S = (sqrt(s) Q) (sqrt(s) K)^T + mask,  P = softmax(S),  Y = P V
//   contraction FLOPs = 2 * B * Hq * Sq * Skv * (D + Dv)
//
// The order of operations is that of the operator's function body in ONNX, and of PyTorch's unfused attention: Q and K
// scaled each, the mask added, a soft cap where given. The lowered nodes are a region "attention". A causal mask is
// added like any other: the products are counted dense, as PyTorch counts them; nothing is discounted for the half that
// is masked. Where K and V have fewer heads than Q, each is repeated for its group (a copy). Where past keys are given,
// Skv includes them.
//
// Heads may come packed ([B, S, H D], split by views and a Transpose) or apart ([B, H, S, D]). ONNX Attention 23 and
// 24, and com.microsoft MultiHeadAttention.
//
// RotaryEmbedding stays whole: every pair (a, b) becomes (a cos - b sin, a sin + b cos), 3 FLOPs per rotated element;
// its gradient is the rotation back.

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/lower_context.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kMicrosoft = "com.microsoft";

// Emits in the order of the schedule, computing each type from its operands.
class AttentionBuilder {
 public:
  explicit AttentionBuilder(LowerContext& ctx) : ctx_(ctx) {}

  const Shape& ShapeOf(ValueId value) const { return ctx_.node().graph().value(value).type.shape; }
  DType DTypeOf(ValueId value) const { return ctx_.TypeOf(value).dtype; }

  ValueId Reshape(ValueId value, const Shape& shape) {
    if (ShapeOf(value) == shape) return value;
    return ctx_.Emit("Reshape", {value, Dims("shape", shape)}, Type::Tensor(DTypeOf(value), shape));
  }

  ValueId Transpose(ValueId value, std::vector<int64_t> perm) {
    Shape shape;
    for (int64_t d : perm) shape.push_back(ShapeOf(value)[d]);
    Attributes attributes;
    attributes.Set("perm", std::move(perm));
    return ctx_.Emit("Transpose", {value}, Type::Tensor(DTypeOf(value), shape), std::move(attributes));
  }

  ValueId Expand(ValueId value, const Shape& shape) {
    return ctx_.Emit("Expand", {value, Dims("shape", shape)}, Type::Tensor(DTypeOf(value), shape));
  }

  ValueId Concat(ValueId a, ValueId b, int axis) {
    Shape shape = ShapeOf(a);
    shape[axis] += ShapeOf(b)[axis];
    Attributes attributes;
    attributes.Set("axis", int64_t{axis});
    return ctx_.Emit("Concat", {a, b}, Type::Tensor(DTypeOf(a), shape), std::move(attributes));
  }

  ValueId Cast(ValueId value, DType dtype) {
    if (DTypeOf(value) == dtype) return value;
    Attributes attributes;
    attributes.Set("to", static_cast<int64_t>(dtype));
    return ctx_.Emit("Cast", {value}, Type::Tensor(dtype, ShapeOf(value)), std::move(attributes));
  }

  // An operator of one output, shaped like its first operand.
  ValueId Like(absl::string_view op, ValueId value, std::vector<ValueId> rest = {}, Attributes attributes = {}) {
    rest.insert(rest.begin(), value);
    const Type type = ctx_.TypeOf(value);
    return ctx_.Emit(op, rest, type, std::move(attributes));
  }

  ValueId MatMul(ValueId a, ValueId b) {
    Shape shape = ShapeOf(a);
    shape.back() = ShapeOf(b).back();
    return ctx_.Emit("MatMul", {a, b}, Type::Tensor(DTypeOf(a), shape));
  }

  // [B, S, H * D] to [B, H, S, D].
  ValueId SplitHeads(ValueId value, int64_t heads) {
    const Shape shape = ShapeOf(value);
    return Transpose(Reshape(value, {shape[0], shape[1], heads, shape[2] / heads}), {0, 2, 1, 3});
  }

  // [B, H, S, D] to [B, S, H * D].
  ValueId MergeHeads(ValueId value) {
    const Shape shape = ShapeOf(value);
    return Reshape(Transpose(value, {0, 2, 1, 3}), {shape[0], shape[2], shape[1] * shape[3]});
  }

  // Every head of [B, H, S, D] repeated for the heads of Q that share it.
  ValueId RepeatHeads(ValueId value, int64_t heads) {
    const Shape shape = ShapeOf(value);
    if (shape[1] == heads) return value;
    const ValueId apart = Reshape(value, {shape[0], shape[1], 1, shape[2], shape[3]});
    const ValueId repeated = Expand(apart, {shape[0], shape[1], heads / shape[1], shape[2], shape[3]});
    return Reshape(repeated, {shape[0], heads, shape[2], shape[3]});
  }

  ValueId Scalar(absl::string_view suffix, double value, DType dtype) {
    return ctx_.Constant(suffix, Literal::Floats({}, {value}, dtype));
  }

  // A boolean mask (true: attend) as what is added to the scores.
  ValueId AdditiveMask(ValueId keep, DType dtype) {
    const ValueId zero = Scalar("attend", 0.0, dtype);
    const ValueId lowest = Scalar("masked", -std::numeric_limits<double>::infinity(), dtype);
    return ctx_.Emit("Where", {keep, zero, lowest}, Type::Tensor(dtype, ShapeOf(keep)));
  }

  // A causal or sliding-window mask, added to the scores; the first `past` keys come before the first query.
  ValueId PositionMask(int64_t queries, int64_t keys, int64_t past, bool causal, DType dtype) {
    const Attributes& given = ctx_.node().attributes();
    const int64_t right = given.Int("right_window_size", -1);
    Attributes attributes = MakeAttributes({{"past", past},
                                            {"left", given.Int("left_window_size", -1)},
                                            {"right", causal && right != 0 ? int64_t{0} : right}});
    return ctx_.FoldedConstant("reusescope::PositionMask", Type::Tensor(dtype, {queries, keys}), std::move(attributes));
  }

  // A mask may stop short of the last keys; those are padding.
  ValueId PadKeys(ValueId mask, int64_t keys) {
    Shape shape = ShapeOf(mask);
    if (shape.empty() || shape.back() == keys || shape.back() == 1) return mask;
    std::vector<int64_t> pads(2 * shape.size(), 0);
    pads.back() = keys - shape.back();
    shape.back() = keys;
    const ValueId amounts = ctx_.Constant("pads", Literal::Ints({static_cast<int64_t>(pads.size())}, pads));
    return ctx_.Emit("Pad", {mask, amounts}, Type::Tensor(DTypeOf(mask), shape));
  }

  ValueId Slice(ValueId value, int64_t start, int64_t length) {  // of a vector
    const ValueId starts = Dims("starts", {start}), ends = Dims("ends", {start + length});
    return ctx_.Emit("Slice", {value, starts, ends}, Type::Tensor(DTypeOf(value), {length}));
  }

 private:
  ValueId Dims(absl::string_view suffix, const Shape& shape) {
    return ctx_.Constant(suffix, Literal::Ints({static_cast<int64_t>(shape.size())}, {shape.begin(), shape.end()}));
  }

  LowerContext& ctx_;
};

// What the operators that lower to attention have in common. Q, K, V are [B, heads, S, D] with equal heads.
struct Attention {
  ValueId q, k, v;
  double scale = 0;            // 0: 1 / sqrt(D)
  double softcap = 0;          // 0: none
  std::vector<ValueId> masks;  // added to the scores in turn; boolean ones mean "attend"
  DType softmax_dtype = DType::kUndefined;
  ValueId product = kNoValue;  // Y, [B, heads, Sq, Dv]
  ValueId scores = kNoValue, masked = kNoValue, capped = kNoValue, probabilities = kNoValue;
};

void BuildAttention(AttentionBuilder& build, Attention& attention) {
  const DType dtype = build.DTypeOf(attention.q);
  const double head_size = static_cast<double>(build.ShapeOf(attention.q).back());
  const double scale = attention.scale != 0 ? attention.scale : 1 / std::sqrt(std::max(head_size, 1.0));
  const ValueId root = build.Scalar("sqrt_scale", std::sqrt(scale), dtype);
  const ValueId q = build.Like("Mul", attention.q, {root});
  const ValueId k = build.Like("Mul", build.Transpose(attention.k, {0, 1, 3, 2}), {root});
  attention.scores = build.MatMul(q, k);
  attention.masked = attention.scores;
  for (ValueId mask : attention.masks) {
    const ValueId added = build.DTypeOf(mask) == DType::kBool ? build.AdditiveMask(mask, dtype) : mask;
    attention.masked = build.Like("Add", attention.masked, {added});
  }
  attention.capped = attention.masked;
  if (attention.softcap != 0) {
    const ValueId cap = build.Scalar("softcap", attention.softcap, dtype);
    attention.capped = build.Like("Mul", build.Like("Tanh", build.Like("Div", attention.capped, {cap})), {cap});
  }
  const bool cast = attention.softmax_dtype != DType::kUndefined;
  Attributes last_axis;
  last_axis.Set("axis", int64_t{-1});
  const ValueId input = cast ? build.Cast(attention.capped, attention.softmax_dtype) : attention.capped;
  attention.probabilities = build.Cast(build.Like("Softmax", input, {}, std::move(last_axis)), dtype);
  attention.product = build.MatMul(attention.probabilities, attention.v);
}

absl::Status CheckOperands(const LowerContext& ctx, const AttentionBuilder& build, const Attention& attention) {
  const Shape& q = build.ShapeOf(attention.q);
  const Shape& k = build.ShapeOf(attention.k);
  const Shape& v = build.ShapeOf(attention.v);
  if (q.size() == 4 && k.size() == 4 && v.size() == 4 && q[0] == k[0] && k[0] == v[0] && q[3] == k[3] && k[2] == v[2] &&
      k[1] == v[1] && k[1] > 0 && q[1] % k[1] == 0) {
    return absl::OkStatus();
  }
  return ctx.node().Error(
      absl::StrCat("Q is ", ShapeString(q), ", K ", ShapeString(k), ", V ", ShapeString(v),
                   ", expected [B, Hq, Sq, D], [B, H, Skv, D], [B, H, Skv, Dv], Hq a multiple of H"));
}

// `value` becomes output j, if the node has it; a value that was not emitted (an input handed through) by way of a
// view. Returns the value to go on with.
ValueId SetOutput(LowerContext& ctx, AttentionBuilder& build, int j, ValueId value) {
  if (!ctx.node().HasOutput(j)) return value;
  const std::vector<NodeId>& emitted = ctx.emitted();
  const NodeId producer = ctx.node().graph().value(value).producer;
  if (std::find(emitted.begin(), emitted.end(), producer) == emitted.end()) value = build.Like("Identity", value);
  ctx.ReplaceOutput(j, value);
  return ctx.node().node().outputs[j];
}

// Keys at positions from nonpad_kv_seqlen on are padding: lengths [B] become a mask [B, 1, 1, Skv].
ValueId LengthMask(LowerContext& ctx, AttentionBuilder& build, ValueId lengths, int64_t keys) {
  const int64_t batch = build.ShapeOf(lengths)[0];
  const ValueId column = build.Reshape(lengths, {batch, 1, 1, 1});
  const ValueId range = ctx.Constant("positions", Literal::Ints({keys}, Range(keys), build.DTypeOf(lengths)));
  return ctx.Emit("Less", {range, column}, Type::Tensor(DType::kBool, {batch, 1, 1, keys}));
}

// Output 3 holds the scores at the stage that qk_matmul_output_mode names.
ValueId ScoresAt(const Attention& attention, int64_t mode) {
  switch (mode) {
    case 1:
      return attention.masked;
    case 2:
      return attention.capped;
    case 3:
      return attention.probabilities;
    default:
      return attention.scores;
  }
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
  if (ctx.I(4) != kNoValue) attention.k = build.Concat(ctx.I(4), attention.k, 2);
  if (ctx.I(5) != kNoValue) attention.v = build.Concat(ctx.I(5), attention.v, 2);
  RS_RETURN_IF_ERROR(CheckOperands(ctx, build, attention));
  attention.k = SetOutput(ctx, build, 1, attention.k);
  attention.v = SetOutput(ctx, build, 2, attention.v);
  const int64_t heads = build.ShapeOf(attention.q)[1];
  attention.k = build.RepeatHeads(attention.k, heads);
  attention.v = build.RepeatHeads(attention.v, heads);
  const int64_t queries = build.ShapeOf(attention.q)[2], keys = build.ShapeOf(attention.k)[2];
  if (ctx.I(3) != kNoValue) attention.masks.push_back(build.PadKeys(ctx.I(3), keys));
  const bool window = attributes.Int("left_window_size", -1) >= 0 || attributes.Int("right_window_size", -1) >= 0;
  const bool causal = attributes.Int("is_causal", 0) != 0;
  if (window || causal) {
    const int64_t past = ctx.I(4) == kNoValue ? 0 : build.ShapeOf(ctx.I(4))[2];
    attention.masks.push_back(build.PositionMask(queries, keys, past, causal, build.DTypeOf(attention.q)));
  }
  if (ctx.I(6) != kNoValue) attention.masks.push_back(LengthMask(ctx, build, ctx.I(6), keys));
  attention.scale = attributes.Float("scale", 0);
  attention.softcap = attributes.Float("softcap", 0);
  attention.softmax_dtype = static_cast<DType>(attributes.Int("softmax_precision", 0));
  BuildAttention(build, attention);
  SetOutput(ctx, build, 3, ScoresAt(attention, attributes.Int("qk_matmul_output_mode", 0)));
  SetOutput(ctx, build, 0, packed ? build.MergeHeads(attention.product) : attention.product);
  ctx.AddRegion("attention");
  return absl::OkStatus();
}

// ---- com.microsoft MultiHeadAttention: query key value bias key_padding_mask attention_bias past_key past_value ->
// output present_key present_value. The form with query, key and value apart, packed [B, S, H D].

bool IsPlainMultiHeadAttention(const OpContext& ctx) {
  for (int i = 0; i < 3; ++i) {
    if (!ctx.HasInput(i) || ctx.InType(i).rank() != 3) return false;
  }
  return ctx.attributes().Int("num_heads", 0) > 0 && (!ctx.HasInput(4) || ctx.InType(4).rank() == 2);
}

absl::StatusOr<std::vector<Type>> InferMultiHeadAttention(const OpContext& ctx) {
  std::vector<Type> types(ctx.num_outputs());
  if (!IsPlainMultiHeadAttention(ctx)) return types;
  const int64_t heads = ctx.attributes().Int("num_heads", 1);
  types[0] = ctx.InType(0);
  types[0].shape[2] = ctx.InShape(2)[2];
  for (int j = 1; j < std::min(ctx.num_outputs(), 3); ++j) {
    const Shape& packed = ctx.InShape(j);  // key for present_key, value for present_value
    const int past = 5 + j;
    const int64_t before = !ctx.HasInput(past) ? 0 : ctx.InType(past).rank() == 4 ? ctx.InShape(past)[2] : kUnknownDim;
    const int64_t keys = before < 0 || packed[1] < 0 ? kUnknownDim : before + packed[1];
    const int64_t head_size = packed[2] < 0 ? kUnknownDim : packed[2] / heads;
    types[j] = Type::Tensor(ctx.InType(0).dtype, {packed[0], heads, keys, head_size});
  }
  return types;
}

absl::Status LowerMultiHeadAttention(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  if (!IsPlainMultiHeadAttention(ctx.node())) {
    return ctx.node().Error(
        "query, key and value are packed together or masked by position, expected three tensors "
        "[B, S, H D] and a mask [B, Skv]");
  }
  Attention attention{.q = ctx.I(0), .k = ctx.I(1), .v = ctx.I(2)};
  if (ctx.I(3) != kNoValue) {
    int64_t start = 0;
    for (ValueId* operand : {&attention.q, &attention.k, &attention.v}) {
      const int64_t width = build.ShapeOf(*operand)[2];
      *operand = build.Like("Add", *operand, {build.Slice(ctx.I(3), start, width)});
      start += width;
    }
  }
  const int64_t heads = attributes.Int("num_heads", 1);
  for (ValueId* operand : {&attention.q, &attention.k, &attention.v}) *operand = build.SplitHeads(*operand, heads);
  if (ctx.I(6) != kNoValue) attention.k = build.Concat(ctx.I(6), attention.k, 2);
  if (ctx.I(7) != kNoValue) attention.v = build.Concat(ctx.I(7), attention.v, 2);
  RS_RETURN_IF_ERROR(CheckOperands(ctx, build, attention));
  attention.k = SetOutput(ctx, build, 1, attention.k);
  attention.v = SetOutput(ctx, build, 2, attention.v);
  const int64_t queries = build.ShapeOf(attention.q)[2], keys = build.ShapeOf(attention.k)[2];
  if (ctx.I(4) != kNoValue) {
    const int64_t batch = build.ShapeOf(ctx.I(4))[0];
    attention.masks.push_back(build.Reshape(build.Cast(ctx.I(4), DType::kBool), {batch, 1, 1, keys}));
  }
  if (ctx.I(5) != kNoValue) attention.masks.push_back(ctx.I(5));
  if (attributes.Int("unidirectional", 0) != 0) {
    const int64_t past = keys - queries;
    attention.masks.push_back(build.PositionMask(queries, keys, past, /*causal=*/true, build.DTypeOf(attention.q)));
  }
  attention.scale = attributes.Float("scale", 0);
  BuildAttention(build, attention);
  SetOutput(ctx, build, 0, build.MergeHeads(attention.product));
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
  const auto part = [&](int64_t first) {
    return interleaved ? body.Slice(x, {first}, {rotated}, {3}, {2})
                       : body.Slice(x, {first * half}, {(first + 1) * half}, {3});
  };
  const Expr a = part(0), b = part(1);
  const Expr real = a * cos - b * sin, imaginary = a * sin + b * cos;
  std::vector<Expr> parts = {real, imaginary};
  if (interleaved) {
    const Shape pairs = {batch, heads, steps, half, 1};
    const Expr stacked[] = {body.Reshape(real, pairs), body.Reshape(imaginary, pairs)};
    parts = {body.Reshape(body.Concat(stacked, 4), {batch, heads, steps, rotated})};
  }
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

// cos and sin, each kept for the gradient of the factor that it multiplies.
void RotarySaves(const OpContext& ctx, EagerSaves& saves) {
  for (int i : {1, 2}) saves.values.push_back(ctx.node().inputs[i]);
}

}  // namespace

void RegisterAttention(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.type = "Attention", .since_version = 23, .lower = LowerAttention},
      {.domain = kMicrosoft,
       .type = "MultiHeadAttention",
       .infer = InferMultiHeadAttention,
       .lower = LowerMultiHeadAttention},
      {.type = "RotaryEmbedding",
       .since_version = 23,
       .kernel = RotaryKernel,
       .gradient = RotaryGradient,
       .body = RotaryBody,
       .differentiable_inputs = 0b1,
       .eager_saves = RotarySaves},
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
