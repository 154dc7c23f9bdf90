// Optimizer steps: one fused kernel per parameter, written in place over parameter and states.
//
//   SgdStep(W, dW)             W -= lr (dW + wd W)                                              4 FLOPs an element
//   MomentumStep(W, dW, v)     v = mu v + dW + wd W; W -= lr v                                  6
//   AdamStep(W, dW, m, v)      dW += wd W; m, v = moving averages; W -= lr m^ / (sqrt v^ + e)   12, sqrt and division
//   AdamWStep(W, dW, m, v)     the same with decay apart: W -= lr wd W                          12, sqrt and division
//   AdagradStep(W, dW, s)      s += dW^2; W -= lr dW / (sqrt s + e)                            7, sqrt and division
//   RmspropStep(W, dW, s, ..)  s = moving average of dW^2; W -= lr dW / (sqrt s + e)           9, sqrt and division
//     with momentum v          v = mu v + dW / (sqrt s + e); W -= lr v                          2 more
//     centered, average g      g = moving average of dW; s - g^2 instead of s                   5 more
//   LambStep(W, dW, m, v)      u = m^ / (sqrt v^ + e) + wd W; W -= lr |W| / |u| u              17, sqrt and division
//
// Sources: PyTorch's torch.optim documentation (SGD, Adam, AdamW, Adagrad, RMSprop), fused implementations; You et al.
// 2020 for LAMB. Bias corrections are scalars. When a step is written out to run, two scalars follow its inputs: the
// learning rate, and which step this is, from 1. With `accumulate` = N it is the number of the micro-batch, and the
// step applies where N divides it; `guarded`, the last input before the two tells whether it applies (all gradients
// finite).
//
// Before the steps (transform/attach_optimizer.h):
//   AccumulateGradient(dW, a)  a += dW; the first of N micro-batches begins it anew              1 FLOP an element
//   GradientSquareSum(dW)      sum of dW^2                                                       2
//   GradientFactor(s...)       min(1, max_norm / (norm + 1e-6)) / loss_scale, and whether the norm is finite
//   ScaleGradient(dW, f)       dW f                                                              1

#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

// W and the states are read and written; dW is read. Outputs are the same storages (in_place).
absl::StatusOr<Kernel> StepKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  kernel.loops.push_back({'i', ctx.InElements(0)});
  const int guard = ctx.attributes().Int("guarded", 0) != 0 ? ctx.num_outputs() + 1 : -1;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Role role = i == 0 ? Role::kW : i == 1 ? Role::kDW : Role::kState;
    Access access = WholeTensor(ctx, role, false, i);
    access.writes = i != 1 && i != guard;
    kernel.accesses.push_back(access);
  }
  return kernel;
}

absl::StatusOr<Kernel> RmspropKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Kernel kernel, StepKernel(ctx));
  if (ctx.attributes().Float("momentum", 0) != 0) kernel.flops_per_point += 2;
  if (ctx.attributes().Float("centered", 0) != 0) kernel.flops_per_point += 5;
  return kernel;
}

// Element by element over input 0.
absl::StatusOr<Kernel> GradientKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops};
  kernel.loops.push_back({'i', ctx.InElements(0)});
  for (int i = 0; i < ctx.num_inputs(); ++i) kernel.accesses.push_back(WholeTensor(ctx, Role::kDW, false, i));
  kernel.accesses.push_back(WholeTensor(ctx, Role::kDW, true, 0));
  return kernel;
}

// A handful of scalars.
absl::StatusOr<Kernel> FactorKernel(const OpContext& ctx) {
  Kernel kernel{.extra_flops = ctx.num_inputs() + 4, .extra_transcendentals = 2};
  for (int i = 0; i < ctx.num_inputs(); ++i) kernel.accesses.push_back(WholeTensor(ctx, Role::kX, false, i));
  for (int j = 0; j < ctx.num_outputs(); ++j) kernel.accesses.push_back(WholeTensor(ctx, Role::kY, true, j));
  return kernel;
}

// The operands of a step, and its settings with PyTorch's defaults.
struct Step {
  explicit Step(BodyBuilder& b)
      : body(b),
        weight(b.In(0)),
        rate(b.Cast(b.In(b.node().num_inputs() - 2), b.DTypeOf(b.In(0)))),
        decay(b.attributes().Float("weight_decay", 0)),
        // Decay as part of the gradient, where it is not said to be apart.
        gradient(decay == 0 ? b.In(1) : b.In(1) + decay * weight) {
    Expr micro_batch = b.In(b.node().num_inputs() - 1);
    const int64_t accumulate = b.attributes().Int("accumulate", 1);
    if (accumulate > 1) {
      applies = b.Equal(b.Op("Mod", {micro_batch, b.Int(accumulate)}), b.Int(0));
      micro_batch = b.Op("Div", {micro_batch, b.Int(accumulate)});
    }
    count = b.Cast(micro_batch, b.DTypeOf(weight));
    if (b.attributes().Int("guarded", 0) == 0) return;
    const Expr all_finite = b.In(b.node().num_inputs() - 3);
    applies = applies ? b.And(applies, all_finite) : all_finite;
  }

  // Output j, which replaces input j (0) or j + 1 (states).
  void Out(int j, Expr value) const {
    body.Out(j, applies ? body.Where(applies, value, body.In(j == 0 ? 0 : j + 1)) : value);
  }

  BodyBuilder& body;
  Expr weight, rate, count;
  double decay;
  Expr gradient;
  Expr applies;  // none: always
};

absl::Status SgdBody(BodyBuilder& body) {
  const Step step(body);
  step.Out(0, step.weight - step.rate * step.gradient);
  return absl::OkStatus();
}

absl::Status MomentumBody(BodyBuilder& body) {
  const Step step(body);
  const double momentum = body.attributes().Float("momentum", 0.9), dampening = body.attributes().Float("dampening", 0);
  Expr velocity = momentum * body.In(2) + (1 - dampening) * step.gradient;
  if (dampening != 0) velocity = body.Where(body.Equal(step.count, 1), step.gradient, velocity);
  const bool nesterov = body.attributes().Float("nesterov", 0) != 0;
  step.Out(0, step.weight - step.rate * (nesterov ? step.gradient + momentum * velocity : velocity));
  step.Out(1, velocity);
  return absl::OkStatus();
}

// The moving averages, handed out, and m^ / (sqrt v^ + e).
Expr AdamDirection(const Step& step, Expr gradient, double epsilon) {
  BodyBuilder& body = step.body;
  const double beta1 = body.attributes().Float("beta1", 0.9), beta2 = body.attributes().Float("beta2", 0.999);
  const Expr mean = beta1 * body.In(2) + (1 - beta1) * gradient;
  const Expr square = beta2 * body.In(3) + (1 - beta2) * (gradient * gradient);
  step.Out(1, mean);
  step.Out(2, square);
  const auto corrected = [&](Expr average, double beta) {
    return average / (1.0 - body.Pow(body.Scalar(body.DTypeOf(average), beta), step.count));
  };
  return corrected(mean, beta1) / (body.Sqrt(corrected(square, beta2)) + body.attributes().Float("eps", epsilon));
}

absl::Status AdamBody(BodyBuilder& body) {
  const Step step(body);
  step.Out(0, step.weight - step.rate * AdamDirection(step, step.gradient, 1e-8));
  return absl::OkStatus();
}

absl::Status AdamWBody(BodyBuilder& body) {
  const Step step(body);
  const double decay = body.attributes().Float("weight_decay", 0.01);
  const Expr kept = step.weight * (1.0 - step.rate * decay);
  step.Out(0, kept - step.rate * AdamDirection(step, body.In(1), 1e-8));
  return absl::OkStatus();
}

absl::Status AdagradBody(BodyBuilder& body) {
  const Step step(body);
  const Expr sum = body.In(2) + step.gradient * step.gradient;
  const Expr rate = step.rate / (1.0 + (step.count - 1.0) * body.attributes().Float("lr_decay", 0));
  step.Out(0, step.weight - rate * step.gradient / (body.Sqrt(sum) + body.attributes().Float("eps", 1e-10)));
  step.Out(1, sum);
  return absl::OkStatus();
}

absl::Status RmspropBody(BodyBuilder& body) {
  const Step step(body);
  const double alpha = body.attributes().Float("alpha", 0.99), momentum = body.attributes().Float("momentum", 0);
  const Expr square = alpha * body.In(2) + (1 - alpha) * (step.gradient * step.gradient);
  step.Out(1, square);
  Expr variance = square;
  if (body.attributes().Float("centered", 0) != 0) {
    const int state = momentum != 0 ? 3 : 2;
    const Expr mean = alpha * body.In(state + 1) + (1 - alpha) * step.gradient;
    step.Out(state, mean);
    variance = square - mean * mean;
  }
  Expr direction = step.gradient / (body.Sqrt(variance) + body.attributes().Float("eps", 1e-8));
  if (momentum != 0) {
    direction = momentum * body.In(3) + direction;
    step.Out(2, direction);
  }
  step.Out(0, step.weight - step.rate * direction);
  return absl::OkStatus();
}

absl::Status LambBody(BodyBuilder& body) {
  const Step step(body);
  Expr direction = AdamDirection(step, body.In(1), 1e-6);
  const double decay = body.attributes().Float("weight_decay", 0.01);
  if (decay != 0) direction = direction + decay * step.weight;
  const auto norm = [&](Expr x) {
    return body.Sqrt(body.ReduceSum(x * x, Range(body.node().InType(0).rank()), /*keep_dims=*/false));
  };
  const Expr of_weight = norm(step.weight), of_step = norm(direction);
  const Expr known = body.And(body.Greater(of_weight, 0), body.Greater(of_step, 0));
  const Expr trust = body.Where(known, of_weight / body.Where(known, of_step, 1.0), 1.0);
  step.Out(0, step.weight - step.rate * trust * direction);
  return absl::OkStatus();
}

absl::Status AccumulateGradientBody(BodyBuilder& body) {  // dW, a; learning rate, number of the micro-batch
  const Expr before = body.Op("Sub", {body.In(3), body.Int(1)});
  const Expr first =
      body.Equal(body.Op("Mod", {before, body.Int(body.attributes().Int("accumulate", 1))}), body.Int(0));
  body.Out(0, body.Where(first, body.In(0), body.In(1) + body.In(0)));
  return absl::OkStatus();
}

absl::Status GradientSquareSumBody(BodyBuilder& body) {
  const Expr gradient = body.Cast(body.In(0), DType::kFloat32);
  body.Out(0, body.ReduceSum(gradient * gradient, Range(body.node().InType(0).rank()), /*keep_dims=*/false));
  return absl::OkStatus();
}

absl::Status GradientFactorBody(BodyBuilder& body) {
  Expr sum = body.In(0);
  for (int i = 1; i < body.node().num_inputs(); ++i) sum = sum + body.In(i);
  const double scale = body.attributes().Float("loss_scale", 1), max_norm = body.attributes().Float("max_norm", 0);
  Expr factor = body.Scalar(DType::kFloat32, 1 / scale);
  if (max_norm > 0) {
    const Expr clipped = max_norm / (body.Sqrt(sum) / scale + 1e-6);
    factor = body.Op("Min", {clipped, body.Scalar(DType::kFloat32, 1)}) / scale;
  }
  body.Out(0, factor);
  if (!body.node().HasOutput(1)) return absl::OkStatus();
  const Expr infinite = body.Typed(DType::kBool, "IsInf", {sum}), no_number = body.Typed(DType::kBool, "IsNaN", {sum});
  body.Out(1, body.And(body.Not(infinite), body.Not(no_number)));
  return absl::OkStatus();
}

absl::Status ScaleGradientBody(BodyBuilder& body) {
  body.Out(0, body.In(0) * body.Cast(body.In(1), body.DTypeOf(body.In(0))));
  return absl::OkStatus();
}

}  // namespace

void RegisterOptimizerSteps(OpRegistry& registry) {
  constexpr absl::string_view kReason = "part of the update";
  struct Row {
    absl::string_view type;
    int64_t flops, transcendentals;
    BodyFn body;
    KernelFn kernel = StepKernel;
  };
  constexpr Row kRows[] = {{"SgdStep", 4, 0, SgdBody},         {"MomentumStep", 6, 0, MomentumBody},
                           {"AdamStep", 12, 2, AdamBody},      {"AdamWStep", 12, 2, AdamWBody},
                           {"AdagradStep", 7, 2, AdagradBody}, {"RmspropStep", 9, 2, RmspropBody, RmspropKernel},
                           {"LambStep", 17, 2, LambBody}};
  for (const Row& row : kRows) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .kernel = row.kernel,
                  .body = row.body,
                  .not_differentiable = kReason,
                  .in_place = {0, 2, 3, 4}});
  }
  registry.Add({.domain = kReuseScopeDomain,
                .type = "AccumulateGradient",
                .flops = 1,
                .kernel = GradientKernel,
                .body = AccumulateGradientBody,
                .not_differentiable = kReason,
                .in_place = {1, -1, -1, -1}});
  registry.Add({.domain = kReuseScopeDomain,
                .type = "GradientSquareSum",
                .flops = 2,
                .kernel = GradientKernel,
                .body = GradientSquareSumBody,
                .not_differentiable = kReason});
  registry.Add({.domain = kReuseScopeDomain,
                .type = "GradientFactor",
                .kernel = FactorKernel,
                .body = GradientFactorBody,
                .not_differentiable = kReason});
  registry.Add({.domain = kReuseScopeDomain,
                .type = "ScaleGradient",
                .flops = 1,
                .kernel = GradientKernel,
                .body = ScaleGradientBody,
                .not_differentiable = kReason,
                .in_place = {0, -1, -1, -1}});
}

}  // namespace reusescope
