#include "analysis/ops/upper_bounds.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace reusescope {
namespace {

std::vector<Type> Known(const OpContext& ctx) {
  std::vector<Type> types;
  for (int j = 0; j < ctx.num_outputs(); ++j) types.push_back(ctx.HasOutput(j) ? ctx.OutType(j) : Type{});
  return types;
}

bool HasShapedInput(const OpContext& ctx, int i) { return ctx.HasInput(i) && ctx.InType(i).IsResolved(); }

}  // namespace

absl::StatusOr<std::vector<Type>> AtMostLikeInput(const OpContext& ctx) {
  std::vector<Type> types = Known(ctx);
  if (!HasShapedInput(ctx, 0)) return types;
  for (Type& type : types) {
    if (!type.has_shape) type.shape.assign(ctx.InShape(0).size(), kUnknownDim);
    if (type.shape.size() != ctx.InShape(0).size()) continue;
    type.has_shape = true;
    for (size_t d = 0; d < type.shape.size(); ++d) {
      if (type.shape[d] == kUnknownDim) type.shape[d] = ctx.InShape(0)[d];
    }
  }
  return types;
}

absl::StatusOr<std::vector<Type>> NonZeroAtMost(const OpContext& ctx) {
  if (!HasShapedInput(ctx, 0)) return Known(ctx);
  return std::vector<Type>{Type::Tensor(DType::kInt64, {ctx.InType(0).rank(), ctx.InElements(0)})};
}

absl::StatusOr<std::vector<Type>> UniqueAtMost(const OpContext& ctx) {
  std::vector<Type> types = Known(ctx);
  if (!HasShapedInput(ctx, 0) || types.empty()) return types;
  const bool flat = !ctx.attributes().Has("axis");
  const int64_t axis = ctx.attributes().Int("axis", 0);
  const int rank = ctx.InType(0).rank();
  if (!flat && (axis < -rank || axis >= rank)) return types;
  const int64_t most = flat ? ctx.InElements(0) : ctx.InShape(0)[axis + (axis < 0 ? rank : 0)];
  types[0] = flat ? Type::Tensor(ctx.InType(0).dtype, {most}) : ctx.InType(0);
  for (size_t j = 1; j < types.size(); ++j) types[j] = Type::Tensor(DType::kInt64, {most});
  return types;
}

absl::StatusOr<std::vector<Type>> CompressAtMost(const OpContext& ctx) {
  if (!HasShapedInput(ctx, 0)) return Known(ctx);
  if (ctx.attributes().Has("axis")) return AtMostLikeInput(ctx);
  return std::vector<Type>{Type::Tensor(ctx.InType(0).dtype, {ctx.InElements(0)})};
}

absl::StatusOr<std::vector<Type>> NonMaxSuppressionAtMost(const OpContext& ctx) {
  if (!HasShapedInput(ctx, 1) || ctx.InType(1).rank() != 3) return Known(ctx);
  const Shape& scores = ctx.InShape(1);
  const Literal* limit = ctx.InLiteral(2);
  int64_t kept = ctx.HasInput(2) ? scores[2] : 0;
  if (limit != nullptr && limit->ints.size() == 1) kept = std::clamp<int64_t>(limit->ints[0], 0, scores[2]);
  const auto pairs = CheckedMultiply(scores[0], scores[1]);
  const auto rows = pairs ? CheckedMultiply(*pairs, kept) : std::nullopt;
  if (!rows) return absl::OutOfRangeError(ctx.Error("number of boxes exceeds int64").message());
  return std::vector<Type>{Type::Tensor(DType::kInt64, {*rows, 3})};
}

absl::StatusOr<std::vector<Type>> ReduceAtMost(const OpContext& ctx) {
  if (ctx.attributes().Int("keepdims", 1) != 0) return AtMostLikeInput(ctx);
  std::vector<Type> types = Known(ctx);
  if (!HasShapedInput(ctx, 0) || !HasShapedInput(ctx, 1) || ctx.InType(1).rank() != 1 || types.empty()) return types;
  const Shape& full = ctx.InShape(0);
  const int64_t axes = ctx.InShape(1)[0], rank = ctx.InType(0).rank() - axes;
  if (axes <= 0 || rank < 0) return types;
  Type& type = types[0];
  if (!type.has_shape) type.shape.assign(rank, kUnknownDim);
  if (type.shape.size() != static_cast<size_t>(rank)) return types;
  type.has_shape = true;
  for (int64_t d = 0; d < rank; ++d) {
    if (type.shape[d] == kUnknownDim) type.shape[d] = *std::max_element(&full[d], &full[d] + axes + 1);
  }
  return types;
}

absl::StatusOr<std::vector<Type>> ReshapeAtMost(const OpContext& ctx) {
  std::vector<Type> types = Known(ctx);
  if (!HasShapedInput(ctx, 0) || types.empty()) return types;
  Type& type = types[0];
  if (!type.has_shape) {
    if (!HasShapedInput(ctx, 1) || ctx.InType(1).rank() != 1 || ctx.InShape(1)[0] > kMaxLiteralElements) return types;
    type.has_shape = true;
    type.shape.assign(ctx.InShape(1)[0], kUnknownDim);
  }
  int64_t rest = ctx.InElements(0);
  for (int64_t dim : type.shape) {
    if (dim > 0 && rest % dim == 0) rest /= dim;
  }
  for (int64_t& dim : type.shape) {
    if (dim == kUnknownDim) dim = std::exchange(rest, 1);
  }
  return types;
}

}  // namespace reusescope
