// com.microsoft attentions that are taken apart: the projections they contain, then the products and row operations of
// attention.cc. Those that stay one kernel are in contrib_attention_kernels.cc.
//
//   Attention              Q, K, V = split(X W + b); softmax(Q K^T) V
//   QAttention             the same with X and W in integers
//   MultiHeadAttention     Q, K, V apart, or K and V packed, or all three
//   GroupQueryAttention    Q, K, V apart or packed, rotary embedding, past keys and values
//
// Keys are those of the shapes given: past and new ones together; a buffer that past and present share counts whole,
// the most that data (lengths) allow.
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include "analysis/ops/contrib_attention.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

// ---- Attention: X [B, S, I], W [I, Q + K + V], bias, mask_index, past [2, B, H, P, D], attention_bias.

struct PackedWidths {
  int64_t q, k, v;
};

PackedWidths WidthsOf(const OpContext& ctx) {
  const auto sizes = ctx.attributes().Ints("qkv_hidden_sizes");
  if (sizes.size() == 3) return {sizes[0], sizes[1], sizes[2]};
  const int64_t third = ctx.InShape(1)[1] / 3;
  return {third, third, third};
}

// Past of Attention is input 4, of QAttention input 8.
int PastSlot(const OpContext& ctx) { return ctx.node().op.type == "QAttention" ? 8 : 4; }

absl::Status CheckPackedAttention(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
  const PackedWidths widths = WidthsOf(ctx);
  const int64_t heads = Heads(ctx);
  if (widths.q >= 0 && widths.k >= 0 && widths.v >= 0 && widths.q + widths.k + widths.v == ctx.InShape(1)[1] &&
      widths.q % heads == 0 && widths.v % heads == 0 && widths.q == widths.k &&
      ctx.InShape(0)[2] == ctx.InShape(1)[0]) {
    return absl::OkStatus();
  }
  return ctx.Error(absl::StrCat("input is ", TypeString(ctx.InType(0)), " and weight ", TypeString(ctx.InType(1)),
                                ", expected [B, S, I] and [I, Q + K + V] of ", heads, " heads"));
}

absl::StatusOr<std::vector<Type>> InferPackedAttention(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(CheckPackedAttention(ctx));
  const PackedWidths widths = WidthsOf(ctx);
  const Shape& x = ctx.InShape(0);
  const DType dtype = ctx.node().op.type == "QAttention" && ctx.HasInput(3) ? ctx.InType(3).dtype : ctx.InType(0).dtype;
  std::vector<Type> types = First(ctx, Type::Tensor(dtype, {x[0], x[1], widths.v}));
  if (types.size() > 1) {
    const int64_t total = PastLength(ctx, PastSlot(ctx)) + x[1];
    types[1] = Type::Tensor(dtype, {2, x[0], Heads(ctx), total, widths.k / Heads(ctx)});
  }
  return types;
}

// Past keys (index 0) or values (1) of [2, B, H, P, D].
ValueId TakePast(LowerContext& ctx, AttentionBuilder& build, ValueId past, int64_t index) {
  Shape shape = build.ShapeOf(past);
  shape.erase(shape.begin());
  Attributes attributes;
  attributes.Set("axis", int64_t{0});
  const ValueId at = ctx.Constant(index == 0 ? "keys" : "values", Literal::Ints({}, {index}));
  return ctx.Emit("Gather", {past, at}, Type::Tensor(build.DTypeOf(past), shape), std::move(attributes));
}

// mask_index: lengths [B], or a mask [B, Skv], [B, Sq, Skv], [B, 1, M, M]; what does not broadcast to the scores is
// counted like the mask of its positions.
ValueId MaskOf(LowerContext& ctx, AttentionBuilder& build, ValueId mask, const Shape& scores) {
  const Shape shape = build.ShapeOf(mask);
  const DType dtype = DType::kBool;
  if (shape.size() == 2 && shape[0] == scores[0] && shape[1] == scores[3]) {
    return build.Reshape(build.Cast(mask, dtype), {shape[0], 1, 1, shape[1]});
  }
  if (shape.size() == 3 && shape[0] == scores[0] && shape[1] == scores[2] && shape[2] == scores[3]) {
    return build.Reshape(build.Cast(mask, dtype), {shape[0], 1, shape[1], shape[2]});
  }
  if (shape.size() == 1 && shape[0] == scores[0]) return LengthMask(ctx, build, mask, scores[3]);
  Literal counted;
  counted.dtype = build.DTypeOf(ctx.I(0));
  counted.shape = {scores[2], scores[3]};
  return ctx.Constant("mask", std::move(counted));
}

// A bias that is added to the scores, if it broadcasts to them.
bool Broadcasts(const Shape& shape, const Shape& scores) {
  if (shape.size() > scores.size()) return false;
  for (size_t d = 1; d <= shape.size(); ++d) {
    const int64_t dim = shape[shape.size() - d];
    if (dim != 1 && dim != scores[scores.size() - d]) return false;
  }
  return true;
}

absl::Status LowerPackedAttention(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  RS_RETURN_IF_ERROR(CheckPackedAttention(ctx.node()));
  const PackedWidths widths = WidthsOf(ctx.node());
  const Shape x = build.ShapeOf(ctx.I(0));
  const DType dtype = ctx.node().OutType(0).dtype;
  const bool integer = ctx.node().node().op.type == "QAttention";
  const int past_slot = PastSlot(ctx.node());
  const Type projected = Type::Tensor(dtype, {x[0], x[1], widths.q + widths.k + widths.v});
  ValueId product;
  if (integer) {
    const Type sums = Type::Tensor(DType::kInt32, projected.shape);
    product = build.Cast(ctx.Emit("MatMulInteger", {ctx.I(0), ctx.I(1)}, sums), dtype);
    if (ctx.I(3) != kNoValue) product = build.Like("Mul", product, {ctx.I(3)});
  } else {
    product = ctx.Emit("MatMul", {ctx.I(0), ctx.I(1)}, projected);
  }
  if (ctx.I(2) != kNoValue) product = EmitAdd(build, product, ctx.I(2));
  const std::vector<ValueId> parts = build.SplitLast(product, {widths.q, widths.k, widths.v});
  const int64_t heads = Heads(ctx.node());
  Attention attention{.q = build.SplitHeads(parts[0], heads),
                      .k = build.SplitHeads(parts[1], heads),
                      .v = build.SplitHeads(parts[2], heads)};
  if (ctx.I(past_slot) != kNoValue && build.ShapeOf(ctx.I(past_slot)).size() == 5) {
    const ValueId keys = TakePast(ctx, build, ctx.I(past_slot), 0), values = TakePast(ctx, build, ctx.I(past_slot), 1);
    RS_ASSIGN_OR_RETURN(attention.k, AfterPast(ctx, build, keys, attention.k));
    RS_ASSIGN_OR_RETURN(attention.v, AfterPast(ctx, build, values, attention.v));
  }
  RS_RETURN_IF_ERROR(CheckAttentionOperands(ctx, build, attention));
  const Shape scores = {x[0], heads, x[1], build.ShapeOf(attention.k)[2]};
  if (ctx.node().HasOutput(1)) {
    Shape apart = build.ShapeOf(attention.k);
    apart.insert(apart.begin(), 1);
    SetLoweredOutput(ctx, build, 1,
                     build.Concat(build.Reshape(attention.k, apart), build.Reshape(attention.v, apart), 0));
  }
  const ValueId mask = ctx.I(integer ? 5 : 3), bias = integer ? kNoValue : ctx.I(5);
  if (mask != kNoValue) attention.masks.push_back(MaskOf(ctx, build, mask, scores));
  if (bias != kNoValue && Broadcasts(build.ShapeOf(bias), scores)) attention.masks.push_back(bias);
  if (attributes.Int("unidirectional", 0) != 0) {
    attention.masks.push_back(
        build.PositionMask({.queries = scores[2], .keys = scores[3], .past = scores[3] - scores[2]}, dtype));
  }
  attention.scale = attributes.Float("scale", 0);
  BuildAttention(build, attention);
  SetLoweredOutput(ctx, build, 0, build.MergeHeads(attention.product));
  ctx.AddRegion("attention");
  return absl::OkStatus();
}

// ---- MultiHeadAttention: query key value bias key_padding_mask attention_bias past_key past_value -> output
// present_key present_value. query [B, S, H D] or all packed [B, S, H, 3, D]; key [B, T, H D], with value packed
// [B, T, H, 2, D], or [B, H, T, D].

struct MultiHead {
  int64_t heads, key_length, key_size, value_width;
};

absl::StatusOr<MultiHead> MultiHeadOf(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 5));
  const Shape& query = ctx.InShape(0);
  const int64_t heads = Heads(ctx);
  if (query.size() == 5) return MultiHead{heads, query[1], query[4], query[2] * query[4]};
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 3, 5));
  const Shape& key = ctx.InShape(1);
  if (key.size() == 5) return MultiHead{heads, key[1], key[4], key[2] * key[4]};
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 2, 3, 4));
  const Shape& value = ctx.InShape(2);
  const int64_t width = value.size() == 4 ? value[1] * value[3] : value[2];
  if (query.size() != 3 || query[2] % heads != 0 || width % heads != 0) {
    return ctx.Error(absl::StrCat("query is ", TypeString(ctx.InType(0)), " and value ", TypeString(ctx.InType(2)),
                                  ", expected [B, S, ", heads, " heads]"));
  }
  return MultiHead{heads, key[key.size() == 4 ? 2 : 1], query[2] / heads, width};
}

absl::StatusOr<std::vector<Type>> InferMultiHeadAttention(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const MultiHead form, MultiHeadOf(ctx));
  const Shape& query = ctx.InShape(0);
  const DType dtype = ctx.InType(0).dtype;
  std::vector<Type> types = First(ctx, Type::Tensor(dtype, {query[0], query[1], form.value_width}));
  for (size_t j = 1; j < std::min<size_t>(types.size(), 3); ++j) {
    const int64_t total = PastLength(ctx, static_cast<int>(j) + 5) + form.key_length;
    const int64_t size = j == 1 ? form.key_size : form.value_width / form.heads;
    types[j] = Type::Tensor(dtype, {query[0], form.heads, total, size});
  }
  return types;
}

// Part `index` of [B, S, H, parts, D], as [B, H, S, D].
ValueId TakePacked(LowerContext& ctx, AttentionBuilder& build, ValueId packed, int64_t index) {
  Shape shape = build.ShapeOf(packed);
  shape.erase(shape.begin() + 3);
  Attributes attributes;
  attributes.Set("axis", int64_t{3});
  const ValueId at = ctx.Constant(absl::StrCat("part", index), Literal::Ints({}, {index}));
  const ValueId part =
      ctx.Emit("Gather", {packed, at}, Type::Tensor(build.DTypeOf(packed), shape), std::move(attributes));
  return build.Transpose(part, {0, 2, 1, 3});
}

// The bias holds those of Q, K and V behind each other; it applies to operands that are apart.
void AddBiases(LowerContext& ctx, AttentionBuilder& build, std::vector<ValueId>& operands) {
  if (ctx.I(3) == kNoValue) return;
  int64_t start = 0;
  for (ValueId& operand : operands) {
    if (operand == kNoValue || build.ShapeOf(operand).size() != 3) continue;
    const int64_t width = build.ShapeOf(operand)[2];
    if (start + width > build.ShapeOf(ctx.I(3)).back()) return;
    operand = EmitAdd(build, operand, build.Slice(ctx.I(3), start, width));
    start += width;
  }
}

absl::Status LowerMultiHeadAttention(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  RS_ASSIGN_OR_RETURN(const MultiHead form, MultiHeadOf(ctx.node()));
  std::vector<ValueId> operands = {ctx.I(0), ctx.I(1), ctx.I(2)};
  AddBiases(ctx, build, operands);
  if (build.ShapeOf(operands[0]).size() == 5) {
    for (int64_t i = 0; i < 3; ++i) operands[i] = TakePacked(ctx, build, ctx.I(0), i);
  } else if (build.ShapeOf(operands[1]).size() == 5) {
    for (int64_t i = 0; i < 2; ++i) operands[i + 1] = TakePacked(ctx, build, ctx.I(1), i);
  }
  for (ValueId& operand : operands) {
    if (build.ShapeOf(operand).size() == 3) operand = build.SplitHeads(operand, form.heads);
  }
  Attention attention{.q = operands[0], .k = operands[1], .v = operands[2]};
  RS_ASSIGN_OR_RETURN(attention.k, AfterPast(ctx, build, ctx.I(6), attention.k));
  RS_ASSIGN_OR_RETURN(attention.v, AfterPast(ctx, build, ctx.I(7), attention.v));
  RS_RETURN_IF_ERROR(CheckAttentionOperands(ctx, build, attention));
  attention.k = SetLoweredOutput(ctx, build, 1, attention.k);
  attention.v = SetLoweredOutput(ctx, build, 2, attention.v);
  const Shape q = build.ShapeOf(attention.q);
  const Shape scores = {q[0], q[1], q[2], build.ShapeOf(attention.k)[2]};
  if (ctx.I(4) != kNoValue) attention.masks.push_back(MaskOf(ctx, build, ctx.I(4), scores));
  if (ctx.I(5) != kNoValue && Broadcasts(build.ShapeOf(ctx.I(5)), scores)) attention.masks.push_back(ctx.I(5));
  if (attributes.Int("unidirectional", 0) != 0) {
    attention.masks.push_back(build.PositionMask(
        {.queries = scores[2], .keys = scores[3], .past = scores[3] - scores[2]}, build.DTypeOf(attention.q)));
  }
  attention.scale = attributes.Float("scale", 0);
  BuildAttention(build, attention);
  SetLoweredOutput(ctx, build, 3, attention.scores);
  SetLoweredOutput(ctx, build, 0, build.MergeHeads(attention.product));
  ctx.AddRegion("attention");
  return absl::OkStatus();
}

// ---- GroupQueryAttention: query key value past_key past_value seqlens_k total_sequence_length cos sin ...

absl::StatusOr<std::vector<Type>> InferGroupQueryAttention(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const GroupShape group, GroupShapeOf(ctx));
  const DType dtype = ctx.InType(0).dtype;
  std::vector<Type> types(std::max(ctx.num_outputs(), 1));
  types[0] = Type::Tensor(dtype, {group.batch, group.queries, group.q_heads * group.head_size});
  for (size_t j = 1; j < types.size(); ++j) {
    const int past = static_cast<int>(j) + 2;
    const DType kept = j < 3 && ctx.HasInput(past) ? ctx.InType(past).dtype : dtype;
    types[j] = j < 3 ? Type::Tensor(kept, {group.batch, group.kv_heads, group.keys, group.head_size})
                     : Type::Tensor(dtype, {group.batch, group.q_heads, group.queries, group.keys});
  }
  return types;
}

// x [B, H, S, D] at positions `past` to past + S - 1: the last ones, whatever lengths the data say.
ValueId Rotate(LowerContext& ctx, AttentionBuilder& build, ValueId x, int64_t past) {
  const Shape shape = build.ShapeOf(x);
  Attributes attributes;
  attributes.Set("interleaved", ctx.node().attributes().Int("rotary_interleaved", 0));
  attributes.Set("rotary_embedding_dim", 2 * build.ShapeOf(ctx.I(7)).back());
  const ValueId positions = build.Positions({shape[0], shape[2]}, past);
  return build.Like("RotaryEmbedding", x, {ctx.I(7), ctx.I(8), positions}, std::move(attributes));
}

absl::Status LowerGroupQueryAttention(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Attributes attributes = ctx.node().attributes();
  RS_ASSIGN_OR_RETURN(const GroupShape group, GroupShapeOf(ctx.node()));
  const DType dtype = build.DTypeOf(ctx.I(0));
  std::vector<ValueId> parts = {ctx.I(0), ctx.I(1), ctx.I(2)};
  if (group.packed) {
    const int64_t kv_width = group.kv_heads * group.head_size;
    parts = build.SplitLast(ctx.I(0), {group.q_heads * group.head_size, kv_width, kv_width});
  }
  const auto heads_of = [&](ValueId value, int64_t heads) {
    return build.ShapeOf(value).size() == 3 ? build.SplitHeads(value, heads) : value;
  };
  if (parts[1] == kNoValue || parts[2] == kNoValue) return ctx.node().Error("key or value is missing, expected both");
  Attention attention{.q = heads_of(parts[0], group.q_heads),
                      .k = heads_of(parts[1], group.kv_heads),
                      .v = heads_of(parts[2], group.kv_heads)};
  if (attributes.Int("do_rotary", 0) != 0 && ctx.I(7) != kNoValue && ctx.I(8) != kNoValue) {
    RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 7, 2, 2));
    attention.q = Rotate(ctx, build, attention.q, group.keys - group.queries);
    attention.k = Rotate(ctx, build, attention.k, group.keys - group.queries);
  }
  // The new rows join the past ones; a shared buffer is as long before as after.
  for (auto [value, past, j] : {std::tuple(&attention.k, ctx.I(3), 1), std::tuple(&attention.v, ctx.I(4), 2)}) {
    const Shape present = {group.batch, group.kv_heads, group.keys, group.head_size};
    if (past != kNoValue && build.ShapeOf(past).size() == 4 && build.ShapeOf(past)[2] > 0) {
      *value = ctx.Emit("Concat", {past, *value}, Type::Tensor(build.DTypeOf(past), present), [] {
        Attributes axis;
        axis.Set("axis", int64_t{2});
        return axis;
      }());
    }
    *value = SetLoweredOutput(ctx, build, j, *value);
    *value = build.Cast(*value, dtype);
  }
  RS_RETURN_IF_ERROR(CheckAttentionOperands(ctx, build, attention));
  attention.k = build.RepeatHeads(attention.k, group.q_heads);
  attention.v = build.RepeatHeads(attention.v, group.q_heads);
  const int64_t keys = build.ShapeOf(attention.k)[2];
  const int64_t local = attributes.Int("local_window_size", -1);  // keys seen, the query's own among them
  attention.masks.push_back(build.PositionMask(
      {.queries = group.queries, .keys = keys, .past = keys - group.queries, .left = local > 0 ? local - 1 : -1},
      dtype));
  const Shape scores = {group.batch, group.q_heads, group.queries, keys};
  if (ctx.I(10) != kNoValue && Broadcasts(build.ShapeOf(ctx.I(10)), scores)) attention.masks.push_back(ctx.I(10));
  attention.scale = attributes.Float("scale", 0);
  attention.softcap = attributes.Float("softcap", 0);
  BuildAttention(build, attention);
  SetLoweredOutput(ctx, build, 3, attention.probabilities);
  SetLoweredOutput(ctx, build, 0, build.MergeHeads(attention.product));
  ctx.AddRegion("attention");
  return absl::OkStatus();
}

// ---- RotaryEmbedding: input position_ids cos_cache sin_cache; ONNX's has the positions last.

absl::Status LowerRotary(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 0, 3, 4));
  Attributes attributes = ctx.node().attributes();
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 2, 1));
  // Without num_heads the cache tells how wide a head is.
  const int64_t half = std::max<int64_t>(build.ShapeOf(ctx.I(2)).back(), 1);
  if (build.ShapeOf(ctx.I(0)).size() == 3 && attributes.Int("num_heads", 0) == 0) {
    attributes.Set("num_heads", std::max<int64_t>(build.ShapeOf(ctx.I(0))[2] / (2 * half), 1));
  }
  SetLoweredOutput(ctx, build, 0,
                   build.Like("RotaryEmbedding", ctx.I(0), {ctx.I(2), ctx.I(3), ctx.I(1)}, std::move(attributes)));
  return absl::OkStatus();
}

}  // namespace

int64_t Heads(const OpContext& ctx, absl::string_view name) {
  return std::max<int64_t>(ctx.attributes().Int(name, 1), 1);
}

int64_t PastLength(const OpContext& ctx, int slot) {
  return ctx.HasInput(slot) && ctx.InType(slot).rank() >= 2 ? ctx.InShape(slot)[ctx.InType(slot).rank() - 2] : 0;
}

absl::StatusOr<GroupShape> GroupShapeOf(const OpContext& ctx, int total_slot) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  const Shape& query = ctx.InShape(0);
  GroupShape group{
      .batch = query[0],
      .queries = query[1],
      .q_heads = Heads(ctx),
      .kv_heads = Heads(ctx, "kv_num_heads"),
      // Some write a placeholder of one element, of whatever rank.
      .packed = !ctx.HasInput(1) || ctx.InType(1).rank() < 3 || (ctx.InElements(1) == 1 && query[2] > Heads(ctx))};
  const int64_t heads = group.packed ? group.q_heads + 2 * group.kv_heads : group.q_heads;
  group.head_size = query[2] / heads;
  if (query[2] % heads != 0 || group.head_size == 0 || group.q_heads % group.kv_heads != 0) {
    return ctx.Error(absl::StrCat("query is ", TypeString(ctx.InType(0)), ", expected [B, S, ", heads, " heads]"));
  }
  const Literal* total = ctx.InLiteral(total_slot);
  const int64_t past = PastLength(ctx, 3);
  int64_t fresh = group.queries;
  if (!group.packed && ctx.InType(1).rank() >= 3) fresh = ctx.InShape(1)[ctx.InType(1).rank() == 4 ? 2 : 1];
  group.keys = past + fresh;
  // A total that is known says how much of a shared buffer is used.
  if (total != nullptr && total->ints.size() == 1 && total->ints[0] > 0) group.keys = std::max(past, total->ints[0]);
  return group;
}

void RegisterContribAttention(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.domain = kMicrosoft, .type = "Attention", .infer = InferPackedAttention, .lower = LowerPackedAttention},
      {.domain = kMicrosoft, .type = "QAttention", .infer = InferPackedAttention, .lower = LowerPackedAttention},
      {.domain = kMicrosoft,
       .type = "MultiHeadAttention",
       .infer = InferMultiHeadAttention,
       .lower = LowerMultiHeadAttention},
      {.domain = kMicrosoft,
       .type = "GroupQueryAttention",
       .infer = InferGroupQueryAttention,
       .lower = LowerGroupQueryAttention},
      {.domain = kMicrosoft, .type = "RotaryEmbedding", .infer = InferFirstLikeInput, .lower = LowerRotary},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
  RegisterFusedAttention(registry);
}

}  // namespace reusescope
