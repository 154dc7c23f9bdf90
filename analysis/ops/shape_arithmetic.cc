// Operators of the integers and booleans that shapes, indices and masks are made of, and where such values come from.
// None has a gradient, but CumSum of floating-point numbers, which is linear.

#include "analysis/ops/evaluate.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/mend.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kNoData = "depends on no element of its input";

// dX sums dY from the other end.
absl::Status CumSumGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  Attributes attributes = ctx.node().attributes;
  attributes.Set("reverse", int64_t{attributes.Int("reverse", 0) == 0});
  ctx.SetGradient(0, ctx.Emit("CumSum", {ctx.GO(0), ctx.I(1)}, ctx.GradientType(0), std::move(attributes)));
  return absl::OkStatus();
}

// An operator that was proposed for function bodies and is in files expanded from them: whether the attribute that it
// refers to was given.
absl::StatusOr<std::vector<Type>> InferAttributeHasValue(const OpContext&) {
  return std::vector<Type>{Type::Tensor(DType::kBool, {})};
}

std::vector<Literal> EvaluateAttributeHasValue(const OpContext& ctx) {
  return {Literal::Ints({}, {ctx.attributes().empty() ? 0 : 1}, DType::kBool)};
}

// One compare or bit operation per element, no gradient for `reason`.
OpSemantics Pointwise(absl::string_view type, absl::string_view reason) {
  return {.type = type,
          .flops = 1,
          .evaluate = EvaluateElementwise,
          .kernel = ElementwiseKernel,
          .not_differentiable = reason};
}

}  // namespace

void RegisterShapeArithmetic(OpRegistry& registry) {
  const OpSemantics sources[] = {
      {.type = "Constant",
       .mend = MendConstant,
       .evaluate = EvaluateConstant,
       .kernel = NoKernel,
       .not_differentiable = kNoData},
      {.type = "Shape", .evaluate = EvaluateShape, .kernel = NoKernel, .not_differentiable = kNoData},
      {.type = "Size", .evaluate = EvaluateSize, .kernel = NoKernel, .not_differentiable = kNoData},
      {.type = "SequenceLength", .evaluate = EvaluateSequenceLength, .kernel = NoKernel, .not_differentiable = kNoData},
      {.type = "ConstantOfShape",
       .mend = MendConstantOfShape,
       .evaluate = EvaluateConstantOfShape,
       .kernel = ElementwiseKernel,
       .not_differentiable = kNoData},
      {.type = "AttributeHasValue",
       .infer = InferAttributeHasValue,
       .evaluate = EvaluateAttributeHasValue,
       .kernel = NoKernel,
       .not_differentiable = kNoData},
      {.type = "EyeLike", .evaluate = EvaluateEyeLike, .kernel = ElementwiseKernel, .not_differentiable = kNoData},
      {.type = "Range",
       .flops = 1,
       .infer = InferRange,
       .evaluate = EvaluateRange,
       .kernel = ElementwiseKernel,
       .not_differentiable = "its inputs are the bounds of a count"},
      {.type = "CumSum",
       .flops = 1,
       .evaluate = EvaluateCumSum,
       .kernel = SweepKernel,
       .gradient = CumSumGradient,
       .differentiable_inputs = 0b1},
  };
  for (const OpSemantics& row : sources) registry.Add(row);

  for (absl::string_view type :
       {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf"}) {
    registry.Add(Pointwise(type, "the result is boolean"));
  }
  for (absl::string_view type : {"BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift"}) {
    registry.Add(Pointwise(type, "defined on integers only"));
  }
}

}  // namespace reusescope
