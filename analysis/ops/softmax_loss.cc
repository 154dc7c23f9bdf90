// Softmax and the losses that a training step starts its backward phase from.
//
// FLOPs per element: softmax: maximum 1, subtract 1, sum 1, and exp and the division as transcendentals; its gradient
// y (dY - sum(dY y)) 4. Log-softmax replaces the division by a subtraction. Softmax cross-entropy: log-softmax plus one
// pick per row; its gradient p - onehot(label), scaled, 3. Guarded softmax, attention's, gives zeros where a row is
// -inf throughout: one select more.

#include "absl/strings/str_cat.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";

// Backward reads the output alone.
absl::Status FromOutputGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  ctx.SetGradient(0, ctx.Emit(absl::StrCat("reusescope::", ctx.node().op.type, "Grad"), {ctx.GO(0), ctx.O(0)},
                              ctx.GradientType(0), ctx.node().attributes));
  return absl::OkStatus();
}

absl::Status GuardedSoftmaxGradient(GradientContext& ctx) {  // a row of zeros sends back zeros
  if (!ctx.Needs(0)) return absl::OkStatus();
  ctx.SetGradient(
      0, ctx.Emit("reusescope::SoftmaxGrad", {ctx.GO(0), ctx.O(0)}, ctx.GradientType(0), ctx.node().attributes));
  return absl::OkStatus();
}

absl::Status CrossEntropyGradient(GradientContext& ctx) {
  if (!ctx.Needs(0) || ctx.GO(0) == kNoValue) return absl::OkStatus();
  const ValueId log_prob = ctx.AskForOutput(1, "log_prob", ctx.TypeOf(ctx.I(0)));
  std::vector<ValueId> inputs = {log_prob, ctx.I(1), ctx.GO(0)};
  if (ctx.I(2) != kNoValue) inputs.push_back(ctx.I(2));
  ctx.SetGradient(
      0, ctx.Emit("reusescope::SoftmaxCrossEntropyLossGrad", inputs, ctx.TypeOf(ctx.I(0)), ctx.node().attributes));
  return absl::OkStatus();
}

absl::Status NllGradient(GradientContext& ctx) {  // dX = -weight[label] dY at the label, zero elsewhere
  if (!ctx.Needs(0)) return absl::OkStatus();
  std::vector<ValueId> inputs = {ctx.I(1), ctx.GO(0)};
  if (ctx.I(2) != kNoValue) inputs.push_back(ctx.I(2));
  ctx.SetGradient(
      0, ctx.Emit("reusescope::NegativeLogLikelihoodLossGrad", inputs, ctx.TypeOf(ctx.I(0)), ctx.node().attributes));
  return absl::OkStatus();
}

absl::Status MseGradient(GradientContext& ctx) {  // d prediction = 2 (prediction - target) dY / n
  if (!ctx.Needs(0)) return absl::OkStatus();
  ctx.SetGradient(0, ctx.Emit("reusescope::MseLossGrad", {ctx.I(0), ctx.I(1), ctx.GO(0)}, ctx.TypeOf(ctx.I(0))));
  return absl::OkStatus();
}

// One read per label, whatever the number of classes.
absl::StatusOr<Kernel> NllKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = SweepKernel(ctx);
  if (!kernel.ok()) return kernel;
  kernel->loops = {{'i', ctx.InElements(1)}};
  kernel->accesses[0].elements = ctx.InElements(1);
  return kernel;
}

// Writes the whole gradient; the labels are read once.
absl::StatusOr<Kernel> NllGradientKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = SweepKernel(ctx);
  if (kernel.ok()) kernel->loops = {{'i', ctx.OutElements(0)}};
  return kernel;
}

void CrossEntropySaves(const OpContext& ctx, EagerSaves& saves) {  // log_softmax's result, and the labels
  saves.extra_activation_elements += ctx.InElements(0);
  saves.values.push_back(ctx.node().inputs[1]);
}

}  // namespace

void RegisterSoftmaxLoss(OpRegistry& registry) {
  registry.Add({.type = "Softmax",
                .flops = 3,
                .transcendentals = 2,
                .kernel = SweepKernel,
                .gradient = FromOutputGradient,
                .eager_saves = SavesOutput});
  registry.Add({.domain = kReuseScopeDomain,
                .type = "GuardedSoftmax",
                .flops = 4,
                .transcendentals = 2,
                .kernel = SweepKernel,
                .gradient = GuardedSoftmaxGradient,
                .body = GuardedSoftmaxBody,
                .eager_saves = SavesOutput});
  registry.Add({.type = "LogSoftmax",
                .flops = 4,
                .transcendentals = 1,
                .kernel = SweepKernel,
                .gradient = FromOutputGradient,
                .eager_saves = SavesOutput});
  registry.Add({.type = "Hardmax",
                .flops = 1,
                .kernel = SweepKernel,
                .not_differentiable = "its derivative is zero almost everywhere"});
  registry.Add({.type = "SoftmaxCrossEntropyLoss",
                .flops = 5,
                .transcendentals = 1,
                .kernel = SweepKernel,
                .gradient = CrossEntropyGradient,
                .differentiable_inputs = 1,
                .eager_saves = CrossEntropySaves});
  registry.Add({.type = "NegativeLogLikelihoodLoss",
                .flops = 2,
                .kernel = NllKernel,
                .gradient = NllGradient,
                .differentiable_inputs = 1});
  registry.Add({.domain = kReuseScopeDomain,
                .type = "MseLoss",
                .flops = 3,
                .kernel = SweepKernel,
                .gradient = MseGradient,
                .body = MseLossBody,
                .differentiable_inputs = 1,
                .eager_saves = SavesBothInputs});
  struct Row {
    absl::string_view type;
    int64_t flops, transcendentals;
    KernelFn kernel;
    BodyFn body;
  };
  constexpr Row kGradients[] = {
      {"SoftmaxGrad", 4, 0, SweepKernel, SoftmaxGradBody},
      {"LogSoftmaxGrad", 3, 1, SweepKernel, LogSoftmaxGradBody},
      {"SoftmaxCrossEntropyLossGrad", 3, 1, SweepKernel, CrossEntropyGradBody},
      {"NegativeLogLikelihoodLossGrad", 1, 0, NllGradientKernel, NllGradBody},
      {"MseLossGrad", 3, 0, SweepKernel, MseGradBody},
  };
  for (const Row& row : kGradients) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .kernel = row.kernel,
                  .body = row.body,
                  .not_differentiable = kIsGradient});
  }
}

}  // namespace reusescope
