// Operators that treat every element alike: activations, arithmetic, selection, dropout. (Comparisons and logic, which
// have no gradient, stand in shape_arithmetic.cc.)
//
// A unary row states the arithmetic of a point forward and backward and which tensor backward needs besides dY; the
// backward operator "reusescope::<Op>Grad"(dY, saved) is registered from the same row. Counts: compare, add, multiply 1
// FLOP each; exp, log, tanh, erf, sqrt, division, power are transcendentals, apart.

#include <algorithm>
#include <deque>
#include <string>

#include "absl/strings/str_cat.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/evaluate.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";
constexpr absl::string_view kPiecewiseConstant = "its derivative is zero almost everywhere";

enum class Saved : uint8_t { kNothing, kInput, kOutput };

struct UnaryRow {
  absl::string_view domain, type;
  int64_t flops, transcendentals;            // forward, per element
  Saved saved;                               // what backward reads besides dY
  int64_t grad_flops, grad_transcendentals;  // backward, per element
  bool needs_sign = false;                   // of what backward reads nothing but the sign, which X and Y share
};

// Sources of the derivatives: textbook; of what PyTorch saves: derivatives.yaml (relu, sigmoid, tanh, exp, sqrt,
// reciprocal: result; the others: self).
constexpr UnaryRow kUnary[] = {
    {"", "Relu", 1, 0, Saved::kOutput, 1, 0, true},      // dX = dY where Y > 0
    {"", "LeakyRelu", 2, 0, Saved::kInput, 2, 0, true},  // x >= 0 ? x : alpha x
    {"", "ThresholdedRelu", 1, 0, Saved::kInput, 1, 0},
    {"", "Sigmoid", 2, 2, Saved::kOutput, 3, 0},  // 1 / (1 + exp(-x)); dY y (1 - y)
    {"", "Tanh", 0, 1, Saved::kOutput, 3, 0},     // dY (1 - y y)
    {"", "Gelu", 4, 1, Saved::kInput, 7, 2},      // x / 2 (1 + erf(x / sqrt 2))
    {kReuseScopeDomain, "Silu", 3, 2, Saved::kInput, 6, 2},
    {"", "Swish", 3, 2, Saved::kInput, 6, 2},
    {"", "Mish", 3, 4, Saved::kInput, 8, 4},       // x tanh(log(1 + exp x))
    {"", "HardSwish", 5, 0, Saved::kInput, 5, 0},  // x max(0, min(1, x / 6 + 1 / 2))
    {"", "HardSigmoid", 4, 0, Saved::kInput, 3, 0},
    {"", "Elu", 3, 1, Saved::kInput, 3, 1},
    {"", "Celu", 4, 1, Saved::kInput, 3, 1},
    {"", "Selu", 4, 1, Saved::kInput, 3, 1},
    {"", "Softplus", 1, 2, Saved::kInput, 2, 2},  // log(1 + exp x)
    {"", "Softsign", 2, 1, Saved::kInput, 4, 1},  // x / (1 + |x|)
    {"", "Shrink", 3, 0, Saved::kInput, 2, 0},
    {"", "Exp", 0, 1, Saved::kOutput, 1, 0},
    {"", "Log", 0, 1, Saved::kInput, 0, 1},
    {"", "Sqrt", 0, 1, Saved::kOutput, 1, 1},
    {"", "Reciprocal", 0, 1, Saved::kOutput, 3, 0},
    {"", "Erf", 0, 1, Saved::kInput, 3, 1},
    {"", "Abs", 1, 0, Saved::kInput, 2, 0},
    {"", "Neg", 1, 0, Saved::kNothing, 1, 0},
    {"", "Sin", 0, 1, Saved::kInput, 1, 1},
    {"", "Cos", 0, 1, Saved::kInput, 2, 1},
    {"", "Tan", 0, 1, Saved::kInput, 3, 1},
    {"", "Sinh", 0, 1, Saved::kInput, 1, 1},
    {"", "Cosh", 0, 1, Saved::kInput, 1, 1},
    {"", "Asin", 0, 1, Saved::kInput, 2, 2},
    {"", "Acos", 0, 1, Saved::kInput, 3, 2},
    {"", "Atan", 0, 1, Saved::kInput, 2, 1},
    {"", "Asinh", 0, 1, Saved::kInput, 2, 2},
    {"", "Acosh", 0, 1, Saved::kInput, 2, 2},
    {"", "Atanh", 0, 1, Saved::kInput, 2, 1},
};

const UnaryRow* FindUnary(const OpKey& op) {
  for (const UnaryRow& row : kUnary) {
    if (row.type == op.type && row.domain == op.domain) return &row;
  }
  return nullptr;
}

absl::Status UnaryGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const UnaryRow* row = FindUnary(ctx.node().op);
  std::vector<ValueId> inputs = {ctx.GO(0)};
  if (row->saved == Saved::kInput) inputs.push_back(ctx.I(0));
  if (row->saved == Saved::kOutput) inputs.push_back(ctx.O(0));
  Attributes attributes = ctx.node().attributes;
  if (row->needs_sign && attributes.Float("alpha", 1) > 0) attributes.Set(kReadsEither, int64_t{1});
  ctx.SetGradient(0, ctx.Emit(absl::StrCat("reusescope::", row->type, "Grad"), inputs, ctx.TypeOf(ctx.I(0)),
                              std::move(attributes)));
  return absl::OkStatus();
}

// ---- Arithmetic of two or more operands.

absl::Status AddGradient(GradientContext& ctx) {  // also Sum: dX_i = dY
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (ctx.Needs(i)) ctx.SetGradient(i, ctx.GO(0));
  }
  return absl::OkStatus();
}

absl::Status SubGradient(GradientContext& ctx) {  // dA = dY, dB = -dY
  if (ctx.Needs(0)) ctx.SetGradient(0, ctx.GO(0));
  if (ctx.Needs(1)) ctx.SetGradient(1, ctx.Emit("Neg", {ctx.GO(0)}, ctx.GradientType(0)));
  return absl::OkStatus();
}

absl::Status MulGradient(GradientContext& ctx) {  // dA = dY B, dB = dY A
  for (int i = 0; i < 2; ++i) {
    if (ctx.Needs(i)) ctx.SetGradient(i, ctx.Emit("Mul", {ctx.GO(0), ctx.I(1 - i)}, ctx.GradientType(0)));
  }
  return absl::OkStatus();
}

absl::Status DivGradient(GradientContext& ctx) {  // dA = dY / B, dB = -dY Y / B
  if (ctx.Needs(0)) ctx.SetGradient(0, ctx.Emit("Div", {ctx.GO(0), ctx.I(1)}, ctx.GradientType(0)));
  if (ctx.Needs(1)) {
    ctx.SetGradient(1, ctx.Emit("reusescope::DivGradDivisor", {ctx.GO(0), ctx.O(0), ctx.I(1)}, ctx.GradientType(0)));
  }
  return absl::OkStatus();
}

absl::Status ModGradient(GradientContext& ctx) {  // of a - b trunc(a / b): dA = dY, dB = -dY trunc(A / B)
  if (ctx.Needs(0)) ctx.SetGradient(0, ctx.GO(0));
  if (ctx.Needs(1)) {
    ctx.SetGradient(1, ctx.Emit("reusescope::ModGradDivisor", {ctx.GO(0), ctx.I(0), ctx.I(1)}, ctx.GradientType(0)));
  }
  return absl::OkStatus();
}

absl::Status PowGradient(GradientContext& ctx) {  // dA = dY e A^(e-1), de = dY Y log A
  if (ctx.Needs(0)) {
    ctx.SetGradient(0, ctx.Emit("reusescope::PowGradBase", {ctx.GO(0), ctx.I(0), ctx.I(1)}, ctx.GradientType(0)));
  }
  if (ctx.Needs(1)) {
    ctx.SetGradient(1, ctx.Emit("reusescope::PowGradExponent", {ctx.GO(0), ctx.O(0), ctx.I(0)}, ctx.GradientType(0)));
  }
  return absl::OkStatus();
}

// The operand that was chosen gets dY, and several that are equal share it: Min, Max.
absl::Status ChosenGradient(GradientContext& ctx, bool largest) {
  Attributes attributes;
  attributes.Set("largest", int64_t{largest});
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.Needs(i)) continue;
    std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(i)};
    for (int j = 0; j < ctx.num_inputs(); ++j) {
      if (j != i) inputs.push_back(ctx.I(j));
    }
    ctx.SetGradient(i, ctx.Emit("reusescope::ChosenGrad", inputs, ctx.GradientType(0), attributes));
  }
  return absl::OkStatus();
}
absl::Status MinGradient(GradientContext& ctx) { return ChosenGradient(ctx, false); }
absl::Status MaxGradient(GradientContext& ctx) { return ChosenGradient(ctx, true); }

absl::Status MeanGradient(GradientContext& ctx) {  // of n operands: dX_i = dY / n
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.Needs(i)) continue;
    Attributes attributes = MakeAttributes({{"factor", 1.0 / ctx.num_inputs()}});
    ctx.SetGradient(i, ctx.Emit("reusescope::Scale", {ctx.GO(0)}, ctx.GradientType(0), std::move(attributes)));
  }
  return absl::OkStatus();
}

absl::Status WhereGradient(GradientContext& ctx) {  // each branch gets dY where it was chosen, else zero
  for (int i = 1; i < 3; ++i) {
    if (!ctx.Needs(i)) continue;
    Attributes attributes;
    attributes.Set("branch", int64_t{i});
    ctx.SetGradient(
        i, ctx.Emit("reusescope::WhereGrad", {ctx.I(0), ctx.GO(0)}, ctx.GradientType(0), std::move(attributes)));
  }
  return absl::OkStatus();
}

absl::Status ClipGradient(GradientContext& ctx) {  // dY where min <= x <= max
  if (!ctx.Needs(0)) return absl::OkStatus();
  std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(0)};
  for (int bound : {1, 2}) inputs.push_back(ctx.forward().InLiteral(bound) == nullptr ? ctx.I(bound) : kNoValue);
  while (inputs.back() == kNoValue) inputs.pop_back();
  ctx.SetGradient(0, ctx.Emit("reusescope::ClipGrad", inputs, ctx.GradientType(0)));
  return absl::OkStatus();
}

absl::Status PReluGradient(GradientContext& ctx) {
  if (ctx.Needs(0)) {
    ctx.SetGradient(0, ctx.Emit("reusescope::PReluGrad", {ctx.GO(0), ctx.I(0), ctx.I(1)}, ctx.GradientType(0)));
  }
  if (ctx.Needs(1)) {
    ctx.SetGradient(1, ctx.Emit("reusescope::PReluGradSlope", {ctx.GO(0), ctx.I(0)}, ctx.GradientType(0)));
  }
  return absl::OkStatus();
}

// A small integral exponent is repeated multiplication, as every library treats it.
absl::StatusOr<Kernel> PowKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = ElementwiseKernel(ctx);
  const Literal* exponent = ctx.InLiteral(1);
  if (kernel.ok() && exponent != nullptr && exponent->has_data && exponent->size() == 1) {
    const double e = exponent->AsDouble(0);
    if (e == 2 || e == 3) {
      kernel->flops_per_point = e == 2 ? 1 : 2;
      kernel->transcendentals_per_point = 0;
    }
  }
  return kernel;
}

// n operands take n - 1 additions or comparisons (and Mean a multiply).
absl::StatusOr<Kernel> VariadicKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = ElementwiseKernel(ctx);
  if (kernel.ok()) kernel->flops_per_point += std::max(ctx.num_inputs() - 1, 0);
  return kernel;
}

// ---- Dropout.

bool DropoutTrains(const OpContext& ctx) {
  const Literal* ratio = ctx.InLiteral(1);
  const Literal* training = ctx.InLiteral(2);
  if (ctx.version() < 7) return ctx.attributes().Int("is_test", 0) == 0;
  if (ctx.version() < 12) return ctx.HasOutput(1);  // these versions say it by asking for the mask, if at all
  if (ratio != nullptr && ratio->size() == 1 && ratio->AsDouble(0) == 0) return false;
  return training != nullptr && training->size() == 1 && training->AsDouble(0) != 0;
}

absl::StatusOr<Kernel> DropoutKernel(const OpContext& ctx) {
  return DropoutTrains(ctx) ? ElementwiseKernel(ctx) : NoKernel(ctx);
}

Aliasing DropoutAliasing(const OpContext& ctx) { return DropoutTrains(ctx) ? Aliasing::kNone : Aliasing::kView; }

// What is masked, the mask, and the ratio where no constant tells it.
std::vector<ValueId> MaskedBy(GradientContext& ctx, ValueId masked) {
  const Type type = Type::Tensor(DType::kBool, ctx.TypeOf(masked).shape);
  std::vector<ValueId> inputs = {masked, ctx.AskForOutput(1, "mask", type)};
  if (ctx.I(1) != kNoValue && ctx.forward().InLiteral(1) == nullptr) inputs.push_back(ctx.I(1));
  return inputs;
}

absl::Status DropoutGradient(GradientContext& ctx) {  // dX = dY mask / (1 - ratio)
  if (!ctx.Needs(0)) return absl::OkStatus();
  if (!DropoutTrains(ctx.forward())) {
    ctx.SetGradient(0, ctx.GO(0));
    return absl::OkStatus();
  }
  ctx.SetGradient(0, ctx.Emit("reusescope::DropoutGrad", MaskedBy(ctx, ctx.GO(0)), ctx.GradientType(0)));
  return absl::OkStatus();
}

// Y again from the same mask: what its gradient does to dY, done to X.
ValueId DropoutReplay(GradientContext& ctx) {
  if (!DropoutTrains(ctx.forward())) return kNoValue;
  const Type type = ctx.TypeOf(ctx.O(0));
  return ctx.Emit("reusescope::DropoutGrad", MaskedBy(ctx, ctx.I(0)), type);
}

void DropoutSaves(const OpContext& ctx, EagerSaves& saves) {
  if (DropoutTrains(ctx)) saves.dropout_mask_elements += ctx.OutElements(0);
}

void DivSaves(const OpContext& ctx, EagerSaves& saves) {
  // div: the divisor always (for dA); the dividend only if the divisor has a gradient.
  const bool divisor_trains = ctx.Input(1).kind == ValueKind::kActivation || ctx.Input(1).kind == ValueKind::kParameter;
  saves.values.push_back(ctx.node().inputs[1]);
  if (divisor_trains) saves.values.push_back(ctx.node().inputs[0]);
}

void PowSaves(const OpContext& ctx, EagerSaves& saves) {
  saves.values.push_back(ctx.node().inputs[0]);
  if (ctx.Input(1).kind == ValueKind::kActivation) saves.values.push_back(ctx.node().outputs[0]);
}

void WhereSaves(const OpContext& ctx, EagerSaves& saves) { saves.values.push_back(ctx.node().inputs[0]); }

// One call of F.gelu keeps its input. Spelled out, 0.5 x (1 + tanh(...)) keeps x (the cube's), 0.5 x, 1 + tanh and
// tanh.
void GeluSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  if (ctx.attributes().Int("spelled_out", 0) != 0) saves.extra_activation_elements += 3 * ctx.InElements(0);
}

EagerSavesFn UnarySaves(const UnaryRow& row) {
  if (row.type == "Gelu") return GeluSaves;
  if (row.saved == Saved::kInput) return SavesInput;
  return row.saved == Saved::kOutput ? SavesOutput : nullptr;
}

void RegisterUnary(OpRegistry& registry) {
  // Backward names must outlive the registry, which lives as long as the process.
  static std::deque<std::string>* const names = new std::deque<std::string>;
  for (const UnaryRow& row : kUnary) {
    registry.Add({.domain = row.domain,
                  .type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .evaluate = EvaluateElementwise,
                  .kernel = ElementwiseKernel,
                  .gradient = UnaryGradient,
                  .body = FindUnaryFormulas(row.type)->forward != nullptr ? UnaryBody : nullptr,
                  .eager_saves = UnarySaves(row)});
    names->push_back(absl::StrCat(row.type, "Grad"));
    registry.Add({.domain = kReuseScopeDomain,
                  .type = names->back(),
                  .flops = row.grad_flops,
                  .transcendentals = row.grad_transcendentals,
                  .kernel = ElementwiseKernel,
                  .body = UnaryGradBody,
                  .not_differentiable = kIsGradient});
  }
}

void RegisterArithmetic(OpRegistry& registry) {
  const auto add = [&](OpSemantics semantics) {
    semantics.evaluate = EvaluateElementwise;
    if (semantics.kernel == nullptr) semantics.kernel = ElementwiseKernel;
    registry.Add(semantics);
  };
  add({.type = "Add", .flops = 1, .gradient = AddGradient});
  add({.type = "Sub", .flops = 1, .gradient = SubGradient});
  add({.type = "Mul", .flops = 1, .gradient = MulGradient, .eager_saves = SavesBothInputs});
  add({.type = "Div", .transcendentals = 1, .gradient = DivGradient, .eager_saves = DivSaves});
  add({.type = "Mod", .flops = 2, .gradient = ModGradient, .eager_saves = SavesBothInputs});
  add({.type = "Pow", .transcendentals = 1, .kernel = PowKernel, .gradient = PowGradient, .eager_saves = PowSaves});
  add({.type = "Sum", .kernel = VariadicKernel, .gradient = AddGradient});
  add({.type = "Mean", .flops = 1, .kernel = VariadicKernel, .gradient = MeanGradient});
  add({.type = "Min", .kernel = VariadicKernel, .gradient = MinGradient, .eager_saves = SavesBothInputs});
  add({.type = "Max", .kernel = VariadicKernel, .gradient = MaxGradient, .eager_saves = SavesBothInputs});
  add({.type = "Clip", .flops = 2, .gradient = ClipGradient, .differentiable_inputs = 1, .eager_saves = SavesInput});
  for (absl::string_view type : {"Floor", "Ceil", "Round", "Sign"}) {
    add({.type = type, .flops = 1, .not_differentiable = kPiecewiseConstant});
  }
  registry.Add({.type = "PRelu",
                .flops = 2,
                .kernel = ElementwiseKernel,
                .gradient = PReluGradient,
                .eager_saves = SavesBothInputs});
  registry.Add({.type = "Where",
                .flops = 1,
                .evaluate = EvaluateWhere,
                .kernel = ElementwiseKernel,
                .gradient = WhereGradient,
                .differentiable_inputs = 0b110,
                .eager_saves = WhereSaves});
}

void RegisterArithmeticGradients(OpRegistry& registry) {
  struct Row {
    absl::string_view type;
    int64_t flops, transcendentals;
    BodyFn body;
  };
  constexpr Row kRows[] = {
      {"DivGradDivisor", 2, 1, DivGradDivisorBody}, {"ModGradDivisor", 3, 1, ModGradDivisorBody},
      {"PowGradBase", 3, 1, PowGradBaseBody},       {"PowGradExponent", 2, 1, PowGradExponentBody},
      {"ChosenGrad", 3, 0, ChosenGradBody},         {"Scale", 1, 0, ScaleBody},
      {"WhereGrad", 1, 0, WhereGradBody},           {"ClipGrad", 2, 0, ClipGradBody},
      {"PReluGrad", 2, 0, PReluGradBody},           {"PReluGradSlope", 2, 0, PReluGradSlopeBody},
      {"DropoutGrad", 2, 0, DropoutGradBody},
  };
  for (const Row& row : kRows) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .kernel = ElementwiseKernel,
                  .body = row.body,
                  .not_differentiable = kIsGradient});
  }
}

}  // namespace

void RegisterElementwise(OpRegistry& registry) {
  RegisterUnary(registry);
  RegisterArithmetic(registry);
  RegisterArithmeticGradients(registry);
  registry.Add({.type = "Dropout",
                .flops = 2,
                .infer = InferDropout,
                .kernel = DropoutKernel,
                .gradient = DropoutGradient,
                .differentiable_inputs = 1,
                .alias = DropoutAliasing,
                .eager_saves = DropoutSaves,
                .replay = DropoutReplay});
}

}  // namespace reusescope
