#include "analysis/ops/nest.h"

#include "absl/strings/str_cat.h"
#include "analysis/ops/kernels.h"

namespace reusescope {

int AddLoop(Kernel& kernel, char name, int64_t trip) {
  kernel.loops.push_back({name, trip});
  return static_cast<int>(kernel.loops.size()) - 1;
}

void AddLoops(Kernel& kernel, const Shape& shape) {
  for (size_t d = 0; d < shape.size(); ++d) {
    AddLoop(kernel, static_cast<char>(d < 18 ? 'i' + d : 'A' + (d - 18) % 26), shape[d]);
  }
}

IndexExpr IndexOf(int loop, int64_t extent) { return {.terms = {{loop, 1}}, .extent = extent}; }

IndexExpr ConstantIndex(int64_t extent) { return {.extent = extent}; }

Role InputRole(const Value& value) {
  if (!IsFloatingPoint(value.type.dtype)) return Role::kIndex;
  switch (value.kind) {
    case ValueKind::kGradient:
      return Role::kDY;
    case ValueKind::kParameter:
      return Role::kW;
    case ValueKind::kOptimizerState:
      return Role::kState;
    default:
      return Role::kX;
  }
}

Role OutputRole(const Value& value) {
  if (value.kind == ValueKind::kGradient) return Role::kDX;
  return IsFloatingPoint(value.type.dtype) ? Role::kY : Role::kIndex;
}

Access AffineInput(const OpContext& ctx, int slot) {
  return {.role = InputRole(ctx.Input(slot)), .slot = slot, .affine = true};
}

Access AffineOutput(const OpContext& ctx, int slot) {
  return {.role = OutputRole(ctx.Output(slot)),
          .is_output = true,
          .slot = slot,
          .reads = false,
          .writes = true,
          .affine = true};
}

Access WholeInput(const OpContext& ctx, int slot) { return WholeTensor(ctx, InputRole(ctx.Input(slot)), false, slot); }

Access WholeOutput(const OpContext& ctx, int slot) {
  return WholeTensor(ctx, OutputRole(ctx.Output(slot)), true, slot);
}

void AddWholeInputs(const OpContext& ctx, Kernel& kernel, int first) {
  for (int i = first; i < ctx.num_inputs(); ++i) {
    if (ctx.HasInput(i) && ctx.InType(i).IsTensor()) kernel.accesses.push_back(WholeInput(ctx, i));
  }
}

void AddWholeOutputs(const OpContext& ctx, Kernel& kernel, int first) {
  for (int j = first; j < ctx.num_outputs(); ++j) {
    if (ctx.HasOutput(j) && ctx.OutType(j).IsTensor()) kernel.accesses.push_back(WholeOutput(ctx, j));
  }
}

absl::StatusOr<int> NormalizeAxis(const OpContext& ctx, int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    return ctx.Error(absl::StrCat("axis is ", axis, ", expected -", rank, " to ", rank - 1));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::optional<std::vector<int64_t>> IntegerList(const OpContext& ctx, int slot, absl::string_view attribute) {
  if (ctx.HasInput(slot)) {
    const Literal* literal = ctx.InLiteral(slot);
    if (literal == nullptr || !literal->has_data) return std::nullopt;
    return literal->ints;
  }
  if (!ctx.attributes().Has(attribute)) return std::nullopt;
  const absl::Span<const int64_t> values = ctx.attributes().Ints(attribute);
  return std::vector<int64_t>(values.begin(), values.end());
}

}  // namespace reusescope
