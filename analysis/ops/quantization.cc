// ONNX's quantized operators.
//
//   QuantizeLinear      y = saturate(round(x / scale) + zero)      1 division, 4 FLOPs an element
//   DequantizeLinear    x = (y - zero) scale                       2
//   QLinearConv, QLinearMatMul                                     the contraction, then a QuantizeLinear of the sums
//   ConvInteger, MatMulInteger                                     the contraction alone, 32-bit sums
//
// Scales are one for the tensor, one for each index of an axis, or one for each block along it. Bytes are those of the
// real width: INT4, UINT4, FLOAT4 half a byte, INT2 a quarter. Zero points of the operands change no count.
//
// Training: QuantizeLinear followed by DequantizeLinear becomes "reusescope::FakeQuantize" (see
// transform/fake_quantize.h), whose gradient goes straight through where the value was in range: one multiplication by
// the mask of what was clipped.

#include "analysis/ops/quantization.h"

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contraction.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIntegers = "the result is integers; in training, a pair with DequantizeLinear is fused";

// Which inputs are the operands.
template <int A, int B, int Bias>
absl::StatusOr<Kernel> QLinearConvKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Kernel kernel, ConvolutionKernel(ctx, {A, B, Bias}));
  AddRequantization(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> ConvIntegerKernel(const OpContext& ctx) { return ConvolutionKernel(ctx, {.bias = -1}); }

absl::StatusOr<Kernel> QLinearMatMulKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Kernel kernel, MatrixProductKernel(ctx, {.b = 3}));
  AddRequantization(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> MatMulIntegerKernel(const OpContext& ctx) { return MatrixProductKernel(ctx, {}); }

// dX = dY where x was not clipped.
absl::Status StraightThrough(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::FakeQuantizeGrad", {ctx.GO(0), ctx.I(0), ctx.I(1)}, type));
  return absl::OkStatus();
}

}  // namespace

void AddRequantization(const OpContext& ctx, Kernel& kernel) {
  kernel.extra_flops += kQuantizeFlops * ctx.OutElements(0);
  kernel.extra_transcendentals += ctx.OutElements(0);
}

void RegisterQuantization(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.type = "QuantizeLinear",
       .flops = kQuantizeFlops,
       .transcendentals = 1,
       .kernel = ElementwiseKernel,
       .not_differentiable = kIntegers},
      {.type = "DequantizeLinear",
       .flops = kDequantizeFlops,
       .kernel = ElementwiseKernel,
       .not_differentiable = "its input is integers; in training, a pair with QuantizeLinear is fused",
       .unpacks = true},
      // Two comparisons for the range, then QuantizeLinear.
      {.type = "DynamicQuantizeLinear",
       .flops = 2 + kQuantizeFlops,
       .transcendentals = 1,
       .kernel = SweepKernel,
       .not_differentiable = kIntegers},
      {.type = "QLinearConv",
       .kernel = QLinearConvKernel<0, 3, 8>,
       .not_differentiable = kIntegers,
       .contraction = true},
      {.type = "ConvInteger", .kernel = ConvIntegerKernel, .not_differentiable = kIntegers, .contraction = true},
      {.type = "QLinearMatMul", .kernel = QLinearMatMulKernel, .not_differentiable = kIntegers, .contraction = true},
      {.type = "MatMulInteger", .kernel = MatMulIntegerKernel, .not_differentiable = kIntegers, .contraction = true},
      {.domain = kReuseScopeDomain,
       .type = "FakeQuantize",
       .flops = kQuantizeFlops + kDequantizeFlops,
       .transcendentals = 1,
       .kernel = ElementwiseKernel,
       .gradient = StraightThrough,
       .differentiable_inputs = 0b1,
       .eager_saves = SavesInput},
      {.domain = kReuseScopeDomain,
       .type = "FakeQuantizeGrad",
       .flops = 3,
       .kernel = ElementwiseKernel,
       .not_differentiable = "a gradient itself"},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
  // Brevitas and QONNX: quantize and dequantize in one, x scale zero bits.
  for (absl::string_view domain : {"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "qonnx"}) {
    for (absl::string_view type : {"Quant", "IntQuant", "BipolarQuant"}) {
      registry.Add({.domain = domain,
                    .type = type,
                    .flops = kQuantizeFlops + kDequantizeFlops,
                    .transcendentals = 1,
                    .infer = InferLikeInput,
                    .kernel = ElementwiseKernel,
                    .gradient = StraightThrough,
                    .differentiable_inputs = 0b1,
                    .eager_saves = SavesInput});
    }
  }
}

}  // namespace reusescope
