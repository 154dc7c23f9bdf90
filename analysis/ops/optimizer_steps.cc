// Optimizer steps: one fused kernel per parameter, written in place over parameter and states.
//
//   SgdStep(W, dW)             W -= lr (dW + wd W)                                              4 FLOPs an element
//   MomentumStep(W, dW, v)     v = mu v + dW + wd W; W -= lr v                                  6
//   AdamStep(W, dW, m, v)      dW += wd W; m, v = moving averages; W -= lr m^ / (sqrt v^ + e)   12, sqrt and division
//   AdamWStep(W, dW, m, v)     the same with decay apart: W -= lr wd W                          12, sqrt and division
//
// Sources: PyTorch's torch.optim documentation (SGD, Adam, AdamW), fused implementations; bias corrections are scalars.

#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

// W and the states are read and written; dW is read. Outputs are the same storages (in_place).
absl::StatusOr<Kernel> StepKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  kernel.loops.push_back({'i', ctx.InElements(0)});
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Role role = i == 0 ? Role::kW : i == 1 ? Role::kDW : Role::kState;
    Access access = WholeTensor(ctx, role, false, i);
    access.writes = i != 1;
    kernel.accesses.push_back(access);
  }
  return kernel;
}

}  // namespace

void RegisterOptimizerSteps(OpRegistry& registry) {
  struct Row {
    absl::string_view type;
    int64_t flops, transcendentals;
  };
  constexpr Row kRows[] = {{"SgdStep", 4, 0}, {"MomentumStep", 6, 0}, {"AdamStep", 12, 2}, {"AdamWStep", 12, 2}};
  for (const Row& row : kRows) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .kernel = StepKernel,
                  .not_differentiable = "an optimizer step",
                  .in_place = {0, 2, 3, -1}});
  }
}

}  // namespace reusescope
