// Derivatives of the elementwise operators, as formulas.

#include <cmath>
#include <numbers>

#include "absl/strings/strip.h"
#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

constexpr double kSeluAlpha = 1.67326319217681884765625, kSeluGamma = 1.05070102214813232421875;
constexpr double kGeluCubic = 0.044715;
const double kSqrtTwoOverPi = std::sqrt(2 / std::numbers::pi);

Expr U(absl::string_view type, Expr x) { return x.body->Op(type, {x}); }
Expr Sigmoid(Expr x) { return U("Sigmoid", x); }
Expr If(Expr condition, Expr a, double b) { return a.body->Where(condition, a, b); }
Expr If(Expr condition, double a, Expr b) { return b.body->Where(condition, a, b); }
Expr If(Expr condition, Expr a, Expr b) { return a.body->Where(condition, a, b); }
Expr Above(Expr x, double bound) { return x.body->Greater(x, bound); }
Expr Below(Expr x, double bound) { return x.body->Less(x, bound); }
Expr Softplus(Expr x) { return U("Softplus", x); }
bool IsTanhForm(const Attributes& a) { return a.String("approximate", "none") == "tanh"; }
Expr GeluTanh(Expr x) { return U("Tanh", kSqrtTwoOverPi * (x + kGeluCubic * (x * x * x))); }

Expr GeluDerivative(Expr x, const Attributes& a) {
  if (!IsTanhForm(a)) {
    return 0.5 * (U("Erf", x * (1 / std::numbers::sqrt2)) + 1.0) +
           x * U("Exp", -0.5 * (x * x)) * (0.5 * kSqrtTwoOverPi);
  }
  const Expr t = GeluTanh(x);
  return 0.5 * (1.0 + t) + x * (1.0 - t * t) * (1.0 + (3 * kGeluCubic) * (x * x)) * (0.5 * kSqrtTwoOverPi);
}

Expr MishDerivative(Expr x) {
  const Expr t = U("Tanh", Softplus(x));
  return t + x * Sigmoid(x) * (1.0 - t * t);
}

Expr SwishDerivative(Expr x, double alpha) {
  const Expr s = Sigmoid(alpha * x);
  return s * (1.0 + alpha * x * (1.0 - s));
}

Expr InsideUnit(Expr dy, Expr gate, Expr inside) {  // dy * inside where 0 < gate < 1
  return If(dy.body->And(Above(gate, 0), Below(gate, 1)), dy * inside, 0.0);
}

using A = const Attributes&;

// In the order of the rows of elementwise.cc.
const UnaryFormulas kFormulas[] = {
    {"Relu", [](Expr dy, Expr y, A) { return If(Above(y, 0), dy, 0.0); }},
    {"LeakyRelu", [](Expr dy, Expr x, A a) { return If(Above(x, 0), dy, dy * a.Float("alpha", 0.01)); }},
    {"ThresholdedRelu", [](Expr dy, Expr x, A a) { return If(Above(x, a.Float("alpha", 1)), dy, 0.0); }},
    {"Sigmoid", [](Expr dy, Expr y, A) { return dy * y * (1.0 - y); }},
    {"Tanh", [](Expr dy, Expr y, A) { return dy * (1.0 - y * y); }},
    {"Gelu", [](Expr dy, Expr x, A a) { return dy * GeluDerivative(x, a); },
     [](Expr x, A a) {
       return 0.5 * x * (1.0 + (IsTanhForm(a) ? GeluTanh(x) : U("Erf", x * (1 / std::numbers::sqrt2))));
     }},
    {"Silu", [](Expr dy, Expr x, A) { return dy * SwishDerivative(x, 1); }, [](Expr x, A) { return x * Sigmoid(x); }},
    {"Swish", [](Expr dy, Expr x, A a) { return dy * SwishDerivative(x, a.Float("alpha", 1)); },
     [](Expr x, A a) { return x * Sigmoid(a.Float("alpha", 1) * x); }},
    {"Mish", [](Expr dy, Expr x, A) { return dy * MishDerivative(x); }},
    {"HardSwish", [](Expr dy, Expr x, A) { return If(Below(x, -3), 0.0, If(Above(x, 3), dy, dy * (x / 3.0 + 0.5))); }},
    {"HardSigmoid",
     [](Expr dy, Expr x, A a) {
       const double alpha = a.Float("alpha", 0.2);
       return InsideUnit(dy, alpha * x + a.Float("beta", 0.5), dy.body->Scalar(dy.body->DTypeOf(dy), alpha));
     }},
    {"Elu", [](Expr dy, Expr x, A a) { return dy * If(Above(x, 0), 1.0, a.Float("alpha", 1) * U("Exp", x)); }},
    {"Celu", [](Expr dy, Expr x, A a) { return dy * If(Above(x, 0), 1.0, U("Exp", x / a.Float("alpha", 1))); }},
    {"Selu",
     [](Expr dy, Expr x, A a) {
       const Expr slope = If(Above(x, 0), 1.0, a.Float("alpha", kSeluAlpha) * U("Exp", x));
       return dy * slope * a.Float("gamma", kSeluGamma);
     }},
    {"Softplus", [](Expr dy, Expr x, A) { return dy * Sigmoid(x); }},
    {"Softsign",
     [](Expr dy, Expr x, A) {
       const Expr d = 1.0 + U("Abs", x);
       return dy / (d * d);
     }},
    {"Shrink", [](Expr dy, Expr x, A a) { return If(Above(U("Abs", x), a.Float("lambd", 0.5)), dy, 0.0); }},
    {"Exp", [](Expr dy, Expr y, A) { return dy * y; }},
    {"Log", [](Expr dy, Expr x, A) { return dy / x; }},
    {"Sqrt", [](Expr dy, Expr y, A) { return 0.5 * dy / y; }},
    {"Reciprocal", [](Expr dy, Expr y, A) { return -(dy * y * y); }},
    {"Erf", [](Expr dy, Expr x, A) { return dy * U("Exp", -(x * x)) * (2 * std::numbers::inv_sqrtpi); }},
    {"Abs", [](Expr dy, Expr x, A) { return dy * U("Sign", x); }},
    {"Neg", [](Expr dy, Expr, A) { return -dy; }},
    {"Sin", [](Expr dy, Expr x, A) { return dy * U("Cos", x); }},
    {"Cos", [](Expr dy, Expr x, A) { return -(dy * U("Sin", x)); }},
    {"Tan",
     [](Expr dy, Expr x, A) {
       const Expr t = U("Tan", x);
       return dy * (1.0 + t * t);
     }},
    {"Sinh", [](Expr dy, Expr x, A) { return dy * U("Cosh", x); }},
    {"Cosh", [](Expr dy, Expr x, A) { return dy * U("Sinh", x); }},
    {"Asin", [](Expr dy, Expr x, A) { return dy / U("Sqrt", 1.0 - x * x); }},
    {"Acos", [](Expr dy, Expr x, A) { return -(dy / U("Sqrt", 1.0 - x * x)); }},
    {"Atan", [](Expr dy, Expr x, A) { return dy / (1.0 + x * x); }},
    {"Asinh", [](Expr dy, Expr x, A) { return dy / U("Sqrt", 1.0 + x * x); }},
    {"Acosh", [](Expr dy, Expr x, A) { return dy / U("Sqrt", x * x - 1.0); }},
    {"Atanh", [](Expr dy, Expr x, A) { return dy / (1.0 - x * x); }},
};

}  // namespace

const UnaryFormulas* FindUnaryFormulas(absl::string_view type) {
  for (const UnaryFormulas& formulas : kFormulas) {
    if (formulas.type == type) return &formulas;
  }
  return nullptr;
}

absl::Status UnaryBody(BodyBuilder& body) {
  body.Out(0, FindUnaryFormulas(body.node().node().op.type)->forward(body.In(0), body.attributes()));
  return absl::OkStatus();
}

absl::Status UnaryGradBody(BodyBuilder& body) {
  const absl::string_view type = absl::StripSuffix(body.node().node().op.type, "Grad");
  body.Out(0, FindUnaryFormulas(type)->gradient(body.In(0), body.In(1), body.attributes()));
  return absl::OkStatus();
}

absl::Status DivGradDivisorBody(BodyBuilder& body) {  // dY, Y, B
  body.Out(0, -(body.In(0) * body.In(1) / body.In(2)));
  return absl::OkStatus();
}

absl::Status ModGradDivisorBody(BodyBuilder& body) {  // dY, A, B
  const Expr ratio = body.In(1) / body.In(2);
  body.Out(0, -(body.In(0) * U("Sign", ratio) * U("Floor", U("Abs", ratio))));
  return absl::OkStatus();
}

absl::Status PowGradBaseBody(BodyBuilder& body) {  // dY, A, e
  const Expr dy = body.In(0), a = body.In(1), e = body.Cast(body.In(2), body.DTypeOf(dy));
  body.Out(0, body.Where(body.Equal(e, 0), 0.0, dy * e * body.Pow(a, e - 1.0)));
  return absl::OkStatus();
}

absl::Status PowGradExponentBody(BodyBuilder& body) {  // dY, Y, A: A = 0 counts as a limit
  const Expr dy = body.In(0), a = body.In(2);
  const Expr zero = body.Equal(a, 0);
  body.Out(0, body.Where(zero, 0.0, dy * body.In(1) * U("Log", body.Where(zero, 1.0, a))));
  return absl::OkStatus();
}

// dY, X_i, the other operands: dY where none of them is better, divided by how many are as good.
absl::Status ChosenGradBody(BodyBuilder& body) {
  const Expr dy = body.In(0), x = body.In(1);
  const bool largest = body.attributes().Int("largest", 1) != 0;
  Expr share = dy;
  Expr equal;
  for (int i = 2; i < body.node().num_inputs(); ++i) {
    const Expr other = body.In(i);
    share = body.Where(largest ? body.Less(x, other) : body.Greater(x, other), 0.0, share);
    const Expr tie = body.Cast(body.Equal(x, other), body.DTypeOf(dy));
    equal = equal ? equal + tie : tie;
  }
  body.Out(0, equal ? share / (equal + 1.0) : share);
  return absl::OkStatus();
}

absl::Status ScaleBody(BodyBuilder& body) {
  body.Out(0, body.In(0) * body.attributes().Float("factor", 1));
  return absl::OkStatus();
}

absl::Status WhereGradBody(BodyBuilder& body) {  // condition, dY
  const Expr condition = body.In(0), dy = body.In(1);
  const Expr zero = body.Scalar(body.DTypeOf(dy), 0);
  const bool first = body.attributes().Int("branch", 1) == 1;
  body.Out(0, first ? body.Where(condition, dy, zero) : body.Where(condition, zero, dy));
  return absl::OkStatus();
}

// Operand i of the forward node, as a constant where its value is known, else as input j of this one.
Expr KnownOrInput(BodyBuilder& body, int i, int j) {
  const Literal* literal = body.forward().InLiteral(i);
  const DType dtype = body.DTypeOf(body.In(0));
  if (literal != nullptr && literal->size() == 1) return body.Scalar(dtype, literal->AsDouble(0));
  return body.In(j) ? body.Cast(body.In(j), dtype) : Expr{};
}

absl::Status ClipGradBody(BodyBuilder& body) {  // dY, X, low, high: dY where X lies between; both ends belong to it
  const Expr low = KnownOrInput(body, 1, 2), high = KnownOrInput(body, 2, 3), x = body.In(1);
  Expr gradient = body.In(0);
  if (low) gradient = body.Where(body.Less(x, low), 0.0, gradient);
  if (high) gradient = body.Where(body.Greater(x, high), 0.0, gradient);
  body.Out(0, gradient);
  return absl::OkStatus();
}

absl::Status PReluGradBody(BodyBuilder& body) {  // dY, X, slope
  const Expr dy = body.In(0);
  body.Out(0, body.Where(Above(body.In(1), 0), dy, dy * body.In(2)));
  return absl::OkStatus();
}

absl::Status PReluGradSlopeBody(BodyBuilder& body) {  // dY, X
  const Expr dy = body.In(0), x = body.In(1);
  body.Out(0, body.Where(Above(x, 0), 0.0, dy * x));
  return absl::OkStatus();
}

absl::Status DropoutGradBody(BodyBuilder& body) {  // dY, mask, ratio
  const Expr dy = body.In(0);
  Expr ratio = KnownOrInput(body, 1, 2);
  if (!ratio) ratio = body.Scalar(body.DTypeOf(dy), 0.5);
  body.Out(0, dy * body.Cast(body.In(1), body.DTypeOf(dy)) / (1.0 - ratio));
  return absl::OkStatus();
}

}  // namespace reusescope
