#include "analysis/ops/kernels.h"

#include <algorithm>

namespace reusescope {
namespace {

// Loop letters for the dimensions of an elementwise kernel.
char LoopName(int i) { return static_cast<char>(i < 18 ? 'i' + i : 'A' + (i - 18) % 26); }

// Access of a tensor that broadcasts to the loops, which are the dimensions of the output.
Access BroadcastAccess(const Shape& shape, const Kernel& kernel, Role role, bool is_output, int slot) {
  Access access{
      .role = role, .is_output = is_output, .slot = slot, .reads = !is_output, .writes = is_output, .affine = true};
  const int shift = static_cast<int>(kernel.loops.size()) - static_cast<int>(shape.size());
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    IndexExpr expr{.extent = std::max<int64_t>(shape[d], 1)};
    const int loop = d + shift;
    if (loop >= 0 && shape[d] == kernel.loops[loop].trip) expr.terms.push_back({loop, 1});
    access.index.push_back(std::move(expr));
  }
  return access;
}

bool BroadcastsTo(const Shape& shape, const Shape& target) {
  if (shape.size() > target.size()) return false;
  const size_t shift = target.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] != 1 && shape[d] != target[d + shift]) return false;
  }
  return true;
}

Role RoleOf(const Value& value) {
  switch (value.kind) {
    case ValueKind::kParameter:
      return Role::kW;
    case ValueKind::kGradient:
      return Role::kDY;
    case ValueKind::kOptimizerState:
      return Role::kState;
    default:
      return Role::kX;
  }
}

Role OutputRole(const Value& value) { return value.kind == ValueKind::kGradient ? Role::kDX : Role::kY; }

}  // namespace

Access WholeTensor(const OpContext& ctx, Role role, bool is_output, int slot) {
  return {.role = role,
          .is_output = is_output,
          .slot = slot,
          .reads = !is_output,
          .writes = is_output,
          .elements = is_output ? ctx.OutElements(slot) : ctx.InElements(slot)};
}

absl::StatusOr<Kernel> ElementwiseKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  const Shape& out = ctx.OutShape(0);
  for (int d = 0; d < static_cast<int>(out.size()); ++d) kernel.loops.push_back({LoopName(d), out[d]});
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.HasInput(i) || !ctx.InType(i).IsTensor()) continue;
    const Role role = RoleOf(ctx.Input(i));
    kernel.accesses.push_back(BroadcastsTo(ctx.InShape(i), out)
                                  ? BroadcastAccess(ctx.InShape(i), kernel, role, false, i)
                                  : WholeTensor(ctx, role, false, i));
  }
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (!ctx.HasOutput(j)) continue;
    const Role role = OutputRole(ctx.Output(j));
    kernel.accesses.push_back(ctx.OutShape(j) == out ? BroadcastAccess(out, kernel, role, true, j)
                                                     : WholeTensor(ctx, role, true, j));
  }
  return kernel;
}

absl::StatusOr<Kernel> SweepKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  kernel.loops.push_back({'i', ctx.InElements(0)});
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (ctx.HasInput(i)) kernel.accesses.push_back(WholeTensor(ctx, RoleOf(ctx.Input(i)), false, i));
  }
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (ctx.HasOutput(j)) kernel.accesses.push_back(WholeTensor(ctx, OutputRole(ctx.Output(j)), true, j));
  }
  return kernel;
}

absl::StatusOr<Kernel> CopyKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  int64_t written = 0;
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (ctx.HasOutput(j)) written += ctx.OutElements(j);
  }
  kernel.loops.push_back({'i', written});
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.HasInput(i)) continue;
    Access access = WholeTensor(ctx, i == 0 ? RoleOf(ctx.Input(i)) : Role::kIndex, false, i);
    if (IsFloatingPoint(ctx.InType(i).dtype)) access.role = RoleOf(ctx.Input(i));
    if (i == 0) access.elements = std::min(access.elements, written);
    kernel.accesses.push_back(access);
  }
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (ctx.HasOutput(j)) kernel.accesses.push_back(WholeTensor(ctx, OutputRole(ctx.Output(j)), true, j));
  }
  return kernel;
}

absl::StatusOr<Kernel> NoKernel(const OpContext&) { return Kernel{}; }

void SavesInput(const OpContext& ctx, EagerSaves& saves) {
  if (ctx.HasInput(0)) saves.values.push_back(ctx.node().inputs[0]);
}

void SavesOutput(const OpContext& ctx, EagerSaves& saves) {
  if (ctx.HasOutput(0)) saves.values.push_back(ctx.node().outputs[0]);
}

void SavesBothInputs(const OpContext& ctx, EagerSaves& saves) {
  // Each operand is kept for the gradient of the other, so only if the other has one: parameters and activations.
  const auto has_gradient = [&](int i) {
    return ctx.HasInput(i) && IsFloatingPoint(ctx.InType(i).dtype) &&
           (ctx.Input(i).kind == ValueKind::kParameter || ctx.Input(i).kind == ValueKind::kActivation);
  };
  for (int i = 0; i < 2; ++i) {
    if (has_gradient(1 - i) && ctx.HasInput(i)) saves.values.push_back(ctx.node().inputs[i]);
  }
}

}  // namespace reusescope
