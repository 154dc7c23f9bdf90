// com.microsoft products of weights that are stored narrow, beyond MatMulNBits (contrib_quantization.cc), and the int8
// operators of cublasLt's tiled layouts.
//
//   MatMulNBitsMlp, MatMulNBitsQkv        two or three products of one input, with the normalization before them
//   MatMulFpQ4, MatMulBlockQuantized...   4-bit blobs, fp4 and fp8 weights in blocks
//   GemmFloat8, QLinearConv               narrow operands on both sides
//   QuantizeBFP, DequantizeBFP            block floating point
//   QOrderedAttention, QOrderedLongformerAttention
//
// The bytes of a weight are those that are stored; every weight is dequantized once.
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_attention.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/quantization.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIntegers = "its operands are integers";

// Rows of a [.., k] times [n, k], of which each weight is dequantized.
absl::StatusOr<Kernel> UnpackingKernel(const OpContext& ctx, int64_t n, int64_t k) {
  const int64_t rows = ctx.InElements(0) / std::max<int64_t>(ctx.InShape(0).back(), 1);
  RS_ASSIGN_OR_RETURN(Kernel kernel, WholeProductKernel(ctx, rows, n, k));
  RS_ASSIGN_OR_RETURN(kernel.extra_flops, Times(ctx, "FLOPs", {n, k, kDequantizeFlops}));
  return kernel;
}

absl::StatusOr<std::vector<Type>> ProductTypes(const OpContext& ctx, int64_t n, int64_t k) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  Type type = ctx.InType(0);
  if (n < 1 || type.shape.back() != k) {
    return ctx.Error(absl::StrCat("input 0 is ", TypeString(type), " and the weight [", n, ", ", k,
                                  "], expected its last dimension to be ", k));
  }
  type.shape.back() = n;
  return First(ctx, std::move(type));
}

// ---- A B blob of 4-bit blocks, its shape [K, N] beside it.

absl::StatusOr<std::pair<int64_t, int64_t>> BlobShape(const OpContext& ctx) {  // N, K
  const Literal* shape = ctx.InLiteral(2);
  if (shape == nullptr || shape->ints.size() != 2) return ctx.Error("B_shape is not known, expected a constant [K, N]");
  return std::pair(shape->ints[1], shape->ints[0]);
}

absl::StatusOr<std::vector<Type>> InferFpQ4(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const auto shape, BlobShape(ctx));
  return ProductTypes(ctx, shape.first, shape.second);
}

absl::StatusOr<Kernel> FpQ4Kernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const auto shape, BlobShape(ctx));
  return UnpackingKernel(ctx, shape.first, shape.second);
}

// ---- A, B [N, K / PerByte], scales ...

template <int PerByte>
absl::StatusOr<std::vector<Type>> InferBlockQuantized(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
  return ProductTypes(ctx, ctx.InShape(1)[0], ctx.InShape(1)[1] * PerByte);
}

template <int PerByte>
absl::StatusOr<Kernel> BlockQuantizedKernel(const OpContext& ctx) {
  return UnpackingKernel(ctx, ctx.InShape(1)[0], ctx.InShape(1)[1] * PerByte);
}

// ---- Several products of one input A, with [A + skip and] its normalization: widths of the results in order.

std::vector<int64_t> FusedWidths(const OpContext& ctx) {
  const int64_t n = ctx.attributes().Int("N", 0), kv = ctx.attributes().Int("Nkv", 0);
  if (ctx.node().op.type == "MatMulNBitsMlp") return {n};
  return {ctx.attributes().Int("Nq", 0), kv, kv};
}

absl::StatusOr<std::vector<Type>> InferFusedNBits(const OpContext& ctx) {
  const int64_t k = ctx.attributes().Int("K", 0);
  const std::vector<int64_t> widths = FusedWidths(ctx);
  std::vector<Type> types(std::max<size_t>(ctx.num_outputs(), 1));
  for (size_t j = 0; j < types.size(); ++j) {
    RS_ASSIGN_OR_RETURN(std::vector<Type> product, ProductTypes(ctx, j < widths.size() ? widths[j] : k, k));
    types[j] = std::move(product[0]);  // behind the products: A + skip
  }
  return types;
}

absl::StatusOr<Kernel> FusedNBitsKernel(const OpContext& ctx) {
  const bool mlp = ctx.node().op.type == "MatMulNBitsMlp";
  const std::vector<int64_t> widths = FusedWidths(ctx);
  int64_t all = mlp ? 2 * widths[0] : 0;
  for (int64_t width : widths) all += mlp ? 0 : width;
  RS_ASSIGN_OR_RETURN(Kernel kernel, UnpackingKernel(ctx, all, ctx.attributes().Int("K", 1)));
  const int64_t elements = ctx.InElements(0);
  if (ctx.HasInput(1)) kernel.extra_flops += elements;
  if (ctx.HasInput(2)) kernel.extra_flops += 4 * elements;  // as RMSNormalization
  if (mlp) {                                                // x sigmoid(x), times the other
    kernel.extra_flops += 4 * ctx.OutElements(0);
    kernel.extra_transcendentals += 2 * ctx.OutElements(0);
  }
  return kernel;
}

// ---- GemmFloat8: A B C scales -> alpha A B + beta C, an activation behind.

absl::StatusOr<std::vector<Type>> InferGemmFloat8(const OpContext& ctx) {
  for (int i : {0, 1}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 2, 2));
  Shape a = ctx.InShape(0), b = ctx.InShape(1);
  if (ctx.attributes().Int("transA", 0) != 0) std::swap(a[0], a[1]);
  if (ctx.attributes().Int("transB", 0) != 0) std::swap(b[0], b[1]);
  RS_ASSIGN_OR_RETURN(Shape shape, ProductShape(ctx, a, b));
  const int64_t dtype = ctx.attributes().Int("dtype", static_cast<int64_t>(DType::kFloat32));
  if (dtype <= 0 || dtype >= kNumDTypes)
    return ctx.Error(absl::StrCat("found dtype ", dtype, ", expected one of ONNX"));
  return First(ctx, Type::Tensor(static_cast<DType>(dtype), std::move(shape)));
}

absl::StatusOr<Kernel> GemmFloat8Kernel(const OpContext& ctx) {
  const Shape &a = ctx.InShape(0), &y = ctx.OutShape(0);
  const bool turned = ctx.attributes().Int("transA", 0) != 0;
  RS_ASSIGN_OR_RETURN(Kernel kernel, WholeProductKernel(ctx, y[0], y[1], a[turned ? 0 : 1]));
  if (ctx.HasInput(2)) kernel.extra_flops += ctx.OutElements(0);
  const absl::string_view activation = ctx.attributes().String("activation", "NONE");
  if (activation == "RELU") kernel.extra_flops += ctx.OutElements(0);
  if (activation == "GELU") {  // as Gelu
    kernel.extra_flops += 4 * ctx.OutElements(0);
    kernel.extra_transcendentals += ctx.OutElements(0);
  }
  return kernel;
}

// ---- QLinearConv: x x_scale x_zero w [M, C / group, ..] w_scale w_zero y_scale y_zero B; x perhaps channels last.

absl::StatusOr<std::vector<Type>> InferQLinearConv(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 3, ctx.InType(0).rank(), ctx.InType(0).rank()));
  const bool last = ctx.node().op.domain == kInternalNhwc || ctx.attributes().Int("channels_last", 0) != 0;
  RS_ASSIGN_OR_RETURN(const Shape y,
                      ConvolvedShape(ctx, last ? ChannelsFirst(ctx.InShape(0)) : ctx.InShape(0), ctx.InShape(3)));
  const DType dtype = ctx.HasInput(7) ? ctx.InType(7).dtype : ctx.InType(0).dtype;
  return First(ctx, Type::Tensor(dtype, last ? ChannelsLast(y) : y));
}

absl::StatusOr<Kernel> QLinearConvKernel(const OpContext& ctx) {
  const Shape& w = ctx.InShape(3);
  const int64_t maps = std::max<int64_t>(w[0], 1);
  RS_ASSIGN_OR_RETURN(Kernel kernel,
                      WholeProductKernel(ctx, ctx.OutElements(0) / maps, w[0], ctx.InElements(3) / maps));
  AddRequantization(ctx, kernel);
  return kernel;
}

// ---- Block floating point: bytes whose number is the format's -> a tensor, its shape and strides beside them.

absl::StatusOr<std::vector<Type>> InferQuantizeBfp(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), Type::Tensor(DType::kInt64, {ctx.InType(0).rank()}));
  types[0] = Type::Tensor(DType::kUint8, {kUnknownDim});
  return types;
}

// A block of 16 elements shares an exponent: at most a byte for each, and one for the block.
absl::StatusOr<std::vector<Type>> BfpAtMost(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(std::vector<Type> types, InferQuantizeBfp(ctx));
  types[0].shape[0] = ctx.InElements(0) + (ctx.InElements(0) + 15) / 16;
  return types;
}

absl::StatusOr<std::vector<Type>> InferDequantizeBfp(const OpContext& ctx) {
  const Literal* shape = ctx.InLiteral(1);
  if (shape == nullptr || !shape->has_data) return ctx.Error("its shape (input 1) is not known, expected a constant");
  const int64_t dtype = ctx.attributes().Int("dtype", static_cast<int64_t>(DType::kFloat32));
  if (dtype <= 0 || dtype >= kNumDTypes)
    return ctx.Error(absl::StrCat("found dtype ", dtype, ", expected one of ONNX"));
  for (int64_t dim : shape->ints) {
    if (dim < 0) return ctx.Error(absl::StrCat("found dimension ", dim, ", expected none below 0"));
  }
  return First(ctx, Type::Tensor(static_cast<DType>(dtype), Shape(shape->ints.begin(), shape->ints.end())));
}

// ---- QOrderedAttention: X [B, S, I], scales, Q K V weights [I, H] on inputs 5 to 7. QOrderedLongformerAttention: X,
// scale, weights [H, 3 H] on input 2 and, of global tokens, on input 8.

absl::StatusOr<std::vector<Type>> InferQOrderedAttention(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  for (int i : {5, 6, 7}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 2, 2));
  Type type = ctx.InType(0);
  type.shape[2] = ctx.InShape(7)[1];
  return First(ctx, std::move(type));
}

absl::StatusOr<Kernel> QOrderedAttentionKernel(const OpContext& ctx) {
  const Shape& x = ctx.InShape(0);
  const int64_t weights = ctx.InElements(5) + ctx.InElements(6) + ctx.InElements(7);
  RS_ASSIGN_OR_RETURN(const int64_t macs, Times(ctx, "MACs", {x[0], x[1], weights}));
  return ProjectedAttentionKernel(ctx, {.tokens = x[0] * x[1], .keys = x[1], .width = ctx.InShape(5)[1]}, macs);
}

absl::StatusOr<Kernel> QOrderedLongformerKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  for (int i : {2, 8}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 2, 2));
  const Shape& x = ctx.InShape(0);
  RS_ASSIGN_OR_RETURN(const int64_t macs, Times(ctx, "MACs", {x[0], x[1], ctx.InElements(2) + ctx.InElements(8)}));
  return ProjectedAttentionKernel(ctx, {.tokens = x[0] * x[1], .keys = WindowOf(ctx), .width = x[2]}, macs);
}

}  // namespace

void RegisterContribPacked(OpRegistry& registry) {
  const OpSemantics rows[] = {
      ContribProduct("MatMulFpQ4", InferFpQ4, FpQ4Kernel, kInferenceOnly),
      ContribProduct("MatMulBlockQuantizedFp4Weight", InferBlockQuantized<2>, BlockQuantizedKernel<2>, kInferenceOnly),
      ContribProduct("MatMulBlockQuantizedFp8Weight", InferBlockQuantized<1>, BlockQuantizedKernel<1>, kInferenceOnly),
      ContribProduct("MatMulNBitsMlp", InferFusedNBits, FusedNBitsKernel, kInferenceOnly),
      ContribProduct("MatMulNBitsQkv", InferFusedNBits, FusedNBitsKernel, kInferenceOnly),
      ContribProduct("GemmFloat8", InferGemmFloat8, GemmFloat8Kernel, kInferenceOnly),
      ContribProduct("QLinearConv", InferQLinearConv, QLinearConvKernel, kIntegers),
      {.domain = kInternalNhwc,
       .type = "QLinearConv",
       .infer = InferQLinearConv,
       .kernel = QLinearConvKernel,
       .not_differentiable = kIntegers,
       .contraction = true},
      ContribProduct("QOrderedAttention", InferQOrderedAttention, QOrderedAttentionKernel, kIntegers),
      ContribProduct("QOrderedLongformerAttention", InferFirstLikeInput, QOrderedLongformerKernel, kIntegers),
      {.domain = kMicrosoft,
       .type = "QuantizeBFP",
       .flops = kQuantizeFlops,
       .transcendentals = 1,
       .infer = InferQuantizeBfp,
       .upper_bound = BfpAtMost,
       .kernel = SweepKernel,
       .not_differentiable = "its result is a blob"},
      {.domain = kMicrosoft,
       .type = "DequantizeBFP",
       .flops = kDequantizeFlops,
       .infer = InferDequantizeBfp,
       .kernel = CopyKernel,
       .not_differentiable = "its operand is a blob"},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
