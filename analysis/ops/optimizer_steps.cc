// Optimizer steps: one fused kernel per parameter, written in place over parameter and states.
//
//   SgdStep(W, dW)             W -= lr (dW + wd W)                                              4 FLOPs an element
//   MomentumStep(W, dW, v)     v = mu v + dW + wd W; W -= lr v                                  6
//   AdamStep(W, dW, m, v)      dW += wd W; m, v = moving averages; W -= lr m^ / (sqrt v^ + e)   12, sqrt and division
//   AdamWStep(W, dW, m, v)     the same with decay apart: W -= lr wd W                          12, sqrt and division
//   AdagradStep(W, dW, s)      s += dW^2; W -= lr dW / (sqrt s + e)                            7, sqrt and division
//   RmspropStep(W, dW, s)      s = moving average of dW^2; W -= lr dW / (sqrt s + e)           9, sqrt and division
//   LambStep(W, dW, m, v)      u = m^ / (sqrt v^ + e) + wd W; W -= lr |W| / |u| u              17, sqrt and division
//
// Sources: PyTorch's torch.optim documentation (SGD, Adam, AdamW, Adagrad, RMSprop), fused implementations; You et al.
// 2020 for LAMB. Bias corrections are scalars. When a step is written out to run, two scalars follow its inputs: the
// learning rate, and which step this is, from 1.

#include "analysis/ops/bodies.h"
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

// The operands of a step, and its settings with PyTorch's defaults.
struct Step {
  explicit Step(BodyBuilder& body)
      : weight(body.In(0)),
        rate(body.Cast(body.In(body.node().num_inputs() - 2), body.DTypeOf(body.In(0)))),
        count(body.Cast(body.In(body.node().num_inputs() - 1), body.DTypeOf(body.In(0)))),
        decay(body.attributes().Float("weight_decay", 0)),
        // Decay as part of the gradient, where it is not said to be apart.
        gradient(decay == 0 ? body.In(1) : body.In(1) + decay * weight) {}
  Expr weight, rate, count;
  double decay;
  Expr gradient;
};

absl::Status SgdBody(BodyBuilder& body) {
  const Step step(body);
  body.Out(0, step.weight - step.rate * step.gradient);
  return absl::OkStatus();
}

absl::Status MomentumBody(BodyBuilder& body) {
  const Step step(body);
  const double momentum = body.attributes().Float("momentum", 0.9), dampening = body.attributes().Float("dampening", 0);
  Expr velocity = momentum * body.In(2) + (1 - dampening) * step.gradient;
  if (dampening != 0) velocity = body.Where(body.Equal(step.count, 1), step.gradient, velocity);
  const bool nesterov = body.attributes().Float("nesterov", 0) != 0;
  body.Out(0, step.weight - step.rate * (nesterov ? step.gradient + momentum * velocity : velocity));
  body.Out(1, velocity);
  return absl::OkStatus();
}

// The moving averages, handed out, and m^ / (sqrt v^ + e).
Expr AdamDirection(BodyBuilder& body, const Step& step, Expr gradient, double epsilon) {
  const double beta1 = body.attributes().Float("beta1", 0.9), beta2 = body.attributes().Float("beta2", 0.999);
  const Expr mean = beta1 * body.In(2) + (1 - beta1) * gradient;
  const Expr square = beta2 * body.In(3) + (1 - beta2) * (gradient * gradient);
  body.Out(1, mean);
  body.Out(2, square);
  const auto corrected = [&](Expr average, double beta) {
    return average / (1.0 - body.Pow(body.Scalar(body.DTypeOf(average), beta), step.count));
  };
  return corrected(mean, beta1) / (body.Sqrt(corrected(square, beta2)) + body.attributes().Float("eps", epsilon));
}

absl::Status AdamBody(BodyBuilder& body) {
  const Step step(body);
  body.Out(0, step.weight - step.rate * AdamDirection(body, step, step.gradient, 1e-8));
  return absl::OkStatus();
}

absl::Status AdamWBody(BodyBuilder& body) {
  const Step step(body);
  const double decay = body.attributes().Float("weight_decay", 0.01);
  const Expr kept = step.weight * (1.0 - step.rate * decay);
  body.Out(0, kept - step.rate * AdamDirection(body, step, body.In(1), 1e-8));
  return absl::OkStatus();
}

absl::Status AdagradBody(BodyBuilder& body) {
  const Step step(body);
  const Expr sum = body.In(2) + step.gradient * step.gradient;
  const Expr rate = step.rate / (1.0 + (step.count - 1.0) * body.attributes().Float("lr_decay", 0));
  body.Out(0, step.weight - rate * step.gradient / (body.Sqrt(sum) + body.attributes().Float("eps", 1e-10)));
  body.Out(1, sum);
  return absl::OkStatus();
}

absl::Status RmspropBody(BodyBuilder& body) {
  const Step step(body);
  const double alpha = body.attributes().Float("alpha", 0.99);
  const Expr square = alpha * body.In(2) + (1 - alpha) * (step.gradient * step.gradient);
  const Expr scale = body.Sqrt(square) + body.attributes().Float("eps", 1e-8);
  body.Out(0, step.weight - step.rate * step.gradient / scale);
  body.Out(1, square);
  return absl::OkStatus();
}

absl::Status LambBody(BodyBuilder& body) {
  const Step step(body);
  Expr direction = AdamDirection(body, step, body.In(1), 1e-6);
  const double decay = body.attributes().Float("weight_decay", 0.01);
  if (decay != 0) direction = direction + decay * step.weight;
  const auto norm = [&](Expr x) {
    return body.Sqrt(body.ReduceSum(x * x, Range(body.node().InType(0).rank()), /*keep_dims=*/false));
  };
  const Expr of_weight = norm(step.weight), of_step = norm(direction);
  const Expr known = body.And(body.Greater(of_weight, 0), body.Greater(of_step, 0));
  const Expr trust = body.Where(known, of_weight / body.Where(known, of_step, 1.0), 1.0);
  body.Out(0, step.weight - step.rate * trust * direction);
  return absl::OkStatus();
}

}  // namespace

void RegisterOptimizerSteps(OpRegistry& registry) {
  struct Row {
    absl::string_view type;
    int64_t flops, transcendentals;
    BodyFn body;
  };
  constexpr Row kRows[] = {{"SgdStep", 4, 0, SgdBody},         {"MomentumStep", 6, 0, MomentumBody},
                           {"AdamStep", 12, 2, AdamBody},      {"AdamWStep", 12, 2, AdamWBody},
                           {"AdagradStep", 7, 2, AdagradBody}, {"RmspropStep", 9, 2, RmspropBody},
                           {"LambStep", 17, 2, LambBody}};
  for (const Row& row : kRows) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .kernel = StepKernel,
                  .body = row.body,
                  .not_differentiable = "an optimizer step",
                  .in_place = {0, 2, 3, -1}});
  }
}

}  // namespace reusescope
