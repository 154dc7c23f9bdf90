// com.microsoft attentions that run as one kernel: two products and a softmax for every query row and the keys it sees.
//
//   SparseAttention        Q, K, V apart or packed, blocks of keys by a layout; all keys where the file does not hold
//   it PagedAttention, DecoderMaskedMultiHeadAttention, PackedMultiHeadAttention PackedAttention, LongformerAttention,
//   DecoderAttention, DecoderMaskedSelfAttention       with the projections RelativePositionBias,
//   GatedRelativePositionBias                                          what is added to the scores
//
// A buffer that past and present share counts whole, the most that data (lengths) allow. Block tables (PagedAttention)
// likewise: all blocks of a row are attended.
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_attention.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

// A point is one query row and head against one key: head_size MACs for the score, as many for the sum; softmax 4
// FLOPs and 2 transcendentals, as elsewhere. There are `points` of them, multiplied.
Kernel PairsKernel(const OpContext& ctx, std::initializer_list<int64_t> points, int64_t head_size) {
  Kernel kernel{.contraction = true,
                .macs_per_point = 2 * std::max<int64_t>(head_size, 1),
                .flops_per_point = 4,
                .transcendentals_per_point = 2};
  char name = 'l';
  for (int64_t count : points) AddLoop(kernel, name++, count);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> FusedAttentionKernel(const OpContext& ctx, int64_t rows, int64_t heads, int64_t keys,
                                            int64_t width) {
  return PairsKernel(ctx, {rows, heads, keys}, width / heads);
}

// SparseAttention: query key value past_key past_value block_row_indices [layouts, row blocks + 1] block_column_indices
// [layouts, most blocks of a layout] total_sequence_length key_lengths cos sin. Past and present are one buffer; row
// block r of layout l attends the column blocks from row index [l, r] to [l, r + 1], whole ones (the diagonal too);
// head h has layout h modulo layouts. The queries are the last ones of the keys.
absl::StatusOr<GroupShape> SparseShapeOf(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(GroupShape group, GroupShapeOf(ctx, 7));
  const Literal* total = ctx.InLiteral(7);
  const bool known = total != nullptr && total->ints.size() == 1 && total->ints[0] > 0;
  if (PastLength(ctx, 3) > 0) group.keys = known ? total->ints[0] : PastLength(ctx, 3);
  return group;
}

absl::StatusOr<std::vector<Type>> InferSparseAttention(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const GroupShape group, SparseShapeOf(ctx));
  const DType dtype = ctx.InType(0).dtype;
  std::vector<Type> types =
      First(ctx, Type::Tensor(dtype, {group.batch, group.queries, group.q_heads * group.head_size}));
  for (size_t j = 1; j < types.size(); ++j) {
    const int past = static_cast<int>(j) + 2;
    types[j] = ctx.HasInput(past) ? ctx.InType(past)
                                  : Type::Tensor(dtype, {group.batch, group.kv_heads, group.keys, group.head_size});
  }
  return types;
}

// Pairs of a query and a key that layout `layout` lets meet. REQUIRES: both literals are known matrices.
int64_t PairsOfLayout(const Literal& rows, const Literal& columns, int64_t layout, int64_t size,
                      const GroupShape& group) {
  const int64_t row_stride = rows.shape[1], column_stride = columns.shape[1];
  int64_t pairs = 0;
  for (int64_t r = 0; r + 1 < row_stride && r * size < group.keys; ++r) {
    const int64_t queries = std::min((r + 1) * size, group.keys) - std::max(r * size, group.keys - group.queries);
    if (queries <= 0) continue;
    const int64_t first = std::max<int64_t>(rows.ints[layout * row_stride + r], 0);
    const int64_t end = std::min(rows.ints[layout * row_stride + r + 1], column_stride);
    for (int64_t i = first; i < end; ++i) {
      const int64_t column = columns.ints[layout * column_stride + i];
      if (column < 0 || column > group.keys / size) continue;
      pairs += queries * std::clamp<int64_t>(group.keys - column * size, 0, size);
    }
  }
  return pairs;
}

// Whether the file holds the layout.
bool KnowsLayout(const OpContext& ctx) {
  const Literal* rows = ctx.InLiteral(5);
  const Literal* columns = ctx.InLiteral(6);
  const auto is_matrix = [](const Literal* literal) {
    return literal != nullptr && literal->has_data && literal->shape.size() == 2 && !literal->ints.empty();
  };
  return is_matrix(rows) && is_matrix(columns) && rows->shape[0] == columns->shape[0] &&
         ctx.attributes().Int("sparse_block_size", 0) > 0;
}

absl::string_view SparseAtMost(const OpContext& ctx) {
  return KnowsLayout(ctx) ? "" : "every key is attended, as the layout of blocks is data";
}

absl::string_view PagedAtMost(const OpContext&) { return "all blocks of the table are attended, as lengths are data"; }

// Over all heads of one sample; every key for every query where the layout is not in the file.
absl::StatusOr<int64_t> AttendedPairs(const OpContext& ctx, const GroupShape& group) {
  const Literal* rows = ctx.InLiteral(5);
  const Literal* columns = ctx.InLiteral(6);
  const int64_t size = ctx.attributes().Int("sparse_block_size", 0);
  const auto dense = CheckedMultiply(group.queries, group.keys);
  std::optional<int64_t> pairs = dense ? CheckedMultiply(*dense, group.q_heads) : std::nullopt;
  constexpr int64_t kMostPairs = int64_t{1} << 40;  // so that no sum over the layout overflows
  if (pairs && *pairs <= kMostPairs && KnowsLayout(ctx) && size <= group.keys) {
    const int64_t layouts = rows->shape[0];
    int64_t sum = 0;  // each layout's at most the dense number
    for (int64_t l = 0; l < std::min(layouts, group.q_heads); ++l) {
      const int64_t heads = (group.q_heads - l + layouts - 1) / layouts;
      sum += heads * std::min(PairsOfLayout(*rows, *columns, l, size, group), *dense);
    }
    pairs = sum;
  }
  if (!pairs) return absl::OutOfRangeError(ctx.Error("number of scores exceeds int64").message());
  return *pairs;
}

absl::StatusOr<Kernel> SparseAttentionKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const GroupShape group, SparseShapeOf(ctx));
  RS_ASSIGN_OR_RETURN(const int64_t pairs, AttendedPairs(ctx, group));
  return PairsKernel(ctx, {group.batch, pairs}, group.head_size);
}

// query key value mask bias past_key past_value ...: present buffers are as the past ones.
absl::StatusOr<std::vector<Type>> InferDecoderMasked(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  std::vector<Type> types = First(ctx, ctx.InType(0));
  for (size_t j = 1; j < types.size(); ++j) {
    const int past = j < 3 ? static_cast<int>(j) + 4 : -1;
    if (past > 0 && ctx.HasInput(past)) types[j] = ctx.InType(past);
  }
  return types;
}

absl::StatusOr<Kernel> DecoderMaskedKernel(const OpContext& ctx) {
  const Shape& query = ctx.InShape(0);
  int64_t keys = ctx.HasInput(1) && ctx.InType(1).rank() >= 2 ? ctx.InShape(1)[ctx.InType(1).rank() - 2] : query[1];
  keys += PastLength(ctx, 5);
  return FusedAttentionKernel(ctx, query[0] * query[1], Heads(ctx), keys, query[2]);
}

// PackedAttention: X [T, I], W [I, 3 H], bias, token_offset [B, S], ...: padding removed, so T tokens of B rows.
absl::StatusOr<std::vector<Type>> InferTokens(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2));
  Type type = ctx.InType(0);
  if (ctx.node().op.type == "PackedAttention") {
    RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
    const auto sizes = ctx.attributes().Ints("qkv_hidden_sizes");
    type.shape.back() = sizes.size() == 3 ? sizes[2] : ctx.InShape(1)[1] / 3;
  }
  if (ctx.node().op.type == "PackedMultiHeadAttention" && type.rank() == 4) {  // packed QKV [T, H, 3, D]
    type = Type::Tensor(type.dtype, {type.shape[0], type.shape[1] * type.shape[3]});
  }
  return First(ctx, std::move(type));
}

absl::StatusOr<Kernel> PackedTokensKernel(const OpContext& ctx) {
  const bool projects = ctx.node().op.type == "PackedAttention";
  const int offsets = projects ? 3 : 4;
  const Shape& y = ctx.OutShape(0);
  const int64_t keys = ctx.HasInput(offsets) && ctx.InType(offsets).rank() == 2 ? ctx.InShape(offsets)[1] : y[0];
  int64_t macs = 0;
  if (projects) {
    RS_ASSIGN_OR_RETURN(macs, Times(ctx, "MACs", {y[0], ctx.InElements(1)}));
  }
  return ProjectedAttentionKernel(ctx, {.tokens = y[0], .keys = keys, .width = y.back()}, macs);
}

// X, weights [H, 3 H] on input 1 and, of global tokens, on input 4: a window of `window` tokens to both sides.
absl::StatusOr<Kernel> LongformerKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  const Shape& x = ctx.InShape(0);
  const int64_t weights = ctx.InElements(1) + (ctx.HasInput(4) ? ctx.InElements(4) : 0);
  RS_ASSIGN_OR_RETURN(const int64_t macs, Times(ctx, "MACs", {x[0], x[1], weights}));
  return ProjectedAttentionKernel(ctx, {.tokens = x[0] * x[1], .keys = WindowOf(ctx), .width = x[2]}, macs);
}

// ---- DecoderAttention: query [S, B, H] key [T, B, H] q_weight kv_weight bias mask key_cache value_cache static_kv
// use_past: with static_kv the keys are those of an encoder, projected once.

bool IsSet(const OpContext& ctx, int slot) {
  const Literal* flag = ctx.InLiteral(slot);
  return flag != nullptr && flag->ints.size() == 1 && flag->ints[0] != 0;
}

// Where flags are not known: all keys that there can be.
int64_t DecoderKeys(const OpContext& ctx) {
  const Literal* use_past = ctx.InLiteral(9);
  const bool without_past = use_past != nullptr && !IsSet(ctx, 9);
  const int64_t past = without_past ? 0 : PastLength(ctx, 6);
  const bool cross = IsSet(ctx, 8);
  if (cross && IsSet(ctx, 9)) return past;
  return ctx.InShape(1)[0] + (cross ? 0 : past);
}

absl::StatusOr<std::vector<Type>> InferDecoderAttention(const OpContext& ctx) {
  for (int i : {0, 1}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 3, 3));
  for (int i : {2, 3}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 2, 2));
  const Shape& query = ctx.InShape(0);
  const Type cache = Type::Tensor(ctx.InType(0).dtype, {query[1], Heads(ctx), DecoderKeys(ctx), query[2] / Heads(ctx)});
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), cache);
  types[0] = ctx.InType(0);
  return types;
}

absl::StatusOr<Kernel> DecoderAttentionKernel(const OpContext& ctx) {
  const Shape &query = ctx.InShape(0), &key = ctx.InShape(1);
  RS_ASSIGN_OR_RETURN(int64_t macs, Times(ctx, "MACs", {query[0], query[1], ctx.InElements(2)}));
  if (!(IsSet(ctx, 8) && IsSet(ctx, 9))) {
    RS_ASSIGN_OR_RETURN(const int64_t more, Times(ctx, "MACs", {key[0], key[1], ctx.InElements(3)}));
    RS_ASSIGN_OR_RETURN(macs, Sum(ctx, macs, more));
  }
  return ProjectedAttentionKernel(ctx, {.tokens = query[0] * query[1], .keys = DecoderKeys(ctx), .width = query[2]},
                                  macs);
}

// DecoderMaskedSelfAttention: X [B, 1, I] weights [I, Q + K + V] bias mask past [2, B, H, P, D].
absl::StatusOr<std::vector<Type>> InferMaskedSelf(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
  const auto sizes = ctx.attributes().Ints("qkv_hidden_sizes");
  Type type = ctx.InType(0);
  type.shape[2] = sizes.size() == 3 ? sizes[2] : ctx.InShape(1)[1] / 3;
  std::vector<Type> types = First(ctx, std::move(type));
  if (types.size() > 1) {
    RS_RETURN_IF_ERROR(ExpectRank(ctx, 4, 5, 5));
    types[1] = ctx.InType(4);
    if (ctx.attributes().Int("past_present_share_buffer", 0) == 0) types[1].shape[3] += ctx.InShape(0)[1];
  }
  return types;
}

absl::StatusOr<Kernel> MaskedSelfKernel(const OpContext& ctx) {
  const Shape& x = ctx.InShape(0);
  const bool shared = ctx.attributes().Int("past_present_share_buffer", 0) != 0;
  const int64_t keys = PastLength(ctx, 4) + (shared ? 0 : x[1]);
  RS_ASSIGN_OR_RETURN(const int64_t macs, Times(ctx, "MACs", {x[0], x[1], ctx.InElements(1)}));
  return ProjectedAttentionKernel(ctx, {.tokens = x[0] * x[1], .keys = keys, .width = ctx.OutShape(0)[2]}, macs);
}

// ---- RelativePositionBias: table [buckets, heads], lengths of query and key -> [1, heads, query, key].
absl::StatusOr<std::vector<Type>> InferPositionBias(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  Type type = Type::Tensor(ctx.InType(0).dtype, {1, ctx.InShape(0)[1], kUnknownDim, kUnknownDim});
  for (int i : {1, 2}) {
    const Literal* length = ctx.InLiteral(i);
    if (length != nullptr && length->ints.size() == 1) type.shape[i + 1] = std::max<int64_t>(length->ints[0], 0);
  }
  return First(ctx, std::move(type));
}

// The bucket of a distance is the logarithm of a quotient, scaled and bounded; it is the same for all heads.
absl::StatusOr<Kernel> PositionBiasKernel(const OpContext& ctx) {
  Kernel kernel;
  AddLoops(kernel, ctx.OutShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  const int64_t distances = ctx.OutShape(0)[2] * ctx.OutShape(0)[3];
  RS_ASSIGN_OR_RETURN(kernel.extra_flops, Times(ctx, "FLOPs", {distances, 5}));
  RS_ASSIGN_OR_RETURN(kernel.extra_transcendentals, Times(ctx, "FLOPs", {distances, 2}));
  return kernel;
}

// query [B, S, heads d] or tokens [T, heads d], its bias, positions [1, heads, S, S], weight [d, D], bias, a scale of
// each head, token_offset [B, S] -> [B, heads, S, S].
absl::StatusOr<std::vector<Type>> InferGatedPositionBias(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 2, 4, 4));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 3, 2, 2));
  if (ctx.InType(0).rank() == 2) RS_RETURN_IF_ERROR(ExpectRank(ctx, 6, 2, 2));
  Type type = ctx.InType(2);
  type.shape[0] = ctx.InShape(ctx.InType(0).rank() == 2 ? 6 : 0)[0];
  return First(ctx, std::move(type));
}

// Of every token and head: a product with the weight, its columns summed to two gates of 4 FLOPs together, a sigmoid
// each; then a multiplication for every score.
absl::StatusOr<Kernel> GatedPositionBiasKernel(const OpContext& ctx) {
  const int64_t columns = ctx.InShape(3)[1], head_size = std::max<int64_t>(ctx.InShape(3)[0], 1);
  RS_ASSIGN_OR_RETURN(Kernel kernel,
                      WholeProductKernel(ctx, ctx.InElements(0) / head_size, columns, ctx.InShape(3)[0]));
  const int64_t gates = ctx.InElements(0) / head_size;
  RS_ASSIGN_OR_RETURN(const int64_t sums, Times(ctx, "FLOPs", {gates, 2 * columns + 4}));
  RS_ASSIGN_OR_RETURN(kernel.extra_flops, Sum(ctx, sums, ctx.InElements(0) + ctx.OutElements(0)));
  kernel.extra_transcendentals = 4 * gates;
  return kernel;
}

// query [T, Hq D] key value key_cache [blocks, size, Hkv, D] value_cache cumulative_lengths past_lengths block_table
// [B, most blocks of a row] -> output key_cache value_cache.
absl::StatusOr<std::vector<Type>> InferPagedAttention(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  Type type = ctx.InType(0);
  if (!ctx.HasInput(1)) {  // packed
    const int64_t q = Heads(ctx), kv = Heads(ctx, "kv_num_heads");
    type.shape[1] = type.shape[1] / (q + 2 * kv) * q;
  }
  std::vector<Type> types = First(ctx, std::move(type));
  for (size_t j = 1; j < types.size(); ++j) {
    if (ctx.HasInput(static_cast<int>(j) + 2)) types[j] = ctx.InType(static_cast<int>(j) + 2);
  }
  return types;
}

absl::StatusOr<Kernel> PagedAttentionKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 3, 4, 4));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 7, 2, 2));
  const auto keys = CheckedMultiply(ctx.InShape(7)[1], ctx.InShape(3)[1]);
  if (!keys) return absl::OutOfRangeError(ctx.Error("number of keys exceeds int64").message());
  return FusedAttentionKernel(ctx, ctx.OutShape(0)[0], Heads(ctx), *keys, ctx.OutShape(0)[1]);
}

absl::string_view SharedBufferAtMost(const OpContext& ctx) {
  const bool shared = ctx.attributes().Int("past_present_share_buffer", 0) != 0;
  return shared ? "the whole buffer of past keys is attended, as lengths are data" : "";
}

OpSemantics Fused(absl::string_view type, InferFn infer, KernelFn kernel, ReasonFn at_most = nullptr) {
  OpSemantics row = ContribProduct(type, infer, kernel, kInferenceOnly);
  row.at_most = at_most;
  return row;
}

}  // namespace

absl::StatusOr<Kernel> ProjectedAttentionKernel(const OpContext& ctx, const AttendedKeys& attended, int64_t macs) {
  RS_ASSIGN_OR_RETURN(const int64_t pairs, Times(ctx, "scores", {attended.tokens, attended.keys}));
  RS_ASSIGN_OR_RETURN(const int64_t products, Times(ctx, "MACs", {pairs, attended.width, 2}));
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  RS_ASSIGN_OR_RETURN(const int64_t all, Sum(ctx, macs, products));
  AddLoop(kernel, 'm', all);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  RS_ASSIGN_OR_RETURN(kernel.extra_flops, Times(ctx, "FLOPs", {pairs, Heads(ctx), 4}));
  kernel.extra_transcendentals = kernel.extra_flops / 2;
  return kernel;
}

int64_t WindowOf(const OpContext& ctx) {
  const int64_t length = ctx.InShape(0)[1];
  return std::min(length, 2 * std::clamp<int64_t>(ctx.attributes().Int("window", length), 0, length) + 1);
}

void RegisterFusedAttention(OpRegistry& registry) {
  const OpSemantics rows[] = {
      Fused("SparseAttention", InferSparseAttention, SparseAttentionKernel, SparseAtMost),
      Fused("DecoderMaskedMultiHeadAttention", InferDecoderMasked, DecoderMaskedKernel, SharedBufferAtMost),
      Fused("PackedAttention", InferTokens, PackedTokensKernel),
      Fused("PackedMultiHeadAttention", InferTokens, PackedTokensKernel),
      Fused("LongformerAttention", InferTokens, LongformerKernel),
      Fused("PagedAttention", InferPagedAttention, PagedAttentionKernel, PagedAtMost),
      Fused("DecoderAttention", InferDecoderAttention, DecoderAttentionKernel),
      Fused("DecoderMaskedSelfAttention", InferMaskedSelf, MaskedSelfKernel, SharedBufferAtMost),
      Fused("GatedRelativePositionBias", InferGatedPositionBias, GatedPositionBiasKernel),
      {.domain = kMicrosoft,
       .type = "RelativePositionBias",
       .infer = InferPositionBias,
       .kernel = PositionBiasKernel,
       .not_differentiable = kInferenceOnly},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
