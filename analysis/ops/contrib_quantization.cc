// com.microsoft operators on quantized tensors, and on weights that are packed.
//
//   QLinearAdd, QLinearSigmoid, ...    dequantize, the operator, quantize: one kernel
//   MatMulNBits, MatMulBnb4, QMoE      weights of a few bits, unpacked on the way to the matrix units: their bytes are
//                                      those of the packed tensor, their MACs those of the product
//   MoE                                every token goes through k experts: 2 or 3 products each
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contraction.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/quantization.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIntegers = "its operands are integers";

// ---- Elementwise.

absl::StatusOr<std::vector<Type>> InferQuantize(const OpContext& ctx) {  // X scale [zero]
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  return First(ctx, Type::Tensor(ctx.HasInput(2) ? ctx.InType(2).dtype : DType::kUint8, ctx.InShape(0)));
}

absl::StatusOr<std::vector<Type>> InferDequantize(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 0));
  return First(ctx, Type::Tensor(ctx.InType(1).dtype, ctx.InShape(0)));
}

// The orders are layouts of int8 matrices in tiles; the shape stays.
absl::StatusOr<std::vector<Type>> InferQuantizeWithOrder(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  return First(ctx, Type::Tensor(DType::kInt8, ctx.InShape(0)));
}

absl::StatusOr<std::vector<Type>> InferDequantizeWithOrder(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  const int64_t to = ctx.attributes().Int("to", static_cast<int64_t>(DType::kFloat32));
  if (to <= 0 || to >= kNumDTypes) return ctx.Error(absl::StrCat("found to=", to, ", expected a type of ONNX"));
  return First(ctx, Type::Tensor(static_cast<DType>(to), ctx.InShape(0)));
}

// A A_scale A_zero B B_scale B_zero C_scale C_zero.
absl::StatusOr<std::vector<Type>> InferQLinearBinary(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 3, 0));
  RS_ASSIGN_OR_RETURN(Shape shape, BroadcastShapes(ctx, ctx.InShape(0), ctx.InShape(3)));
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, std::move(shape)));
}

// A [A_zero] B [B_zero], to int32.
absl::StatusOr<std::vector<Type>> InferMulInteger(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 2, 0));
  RS_ASSIGN_OR_RETURN(Shape shape, BroadcastShapes(ctx, ctx.InShape(0), ctx.InShape(2)));
  return First(ctx, Type::Tensor(DType::kInt32, std::move(shape)));
}

// condition X X_scale X_zero Y ...
absl::StatusOr<std::vector<Type>> InferQLinearWhere(const OpContext& ctx) {
  for (int i : {0, 1, 4}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 0));
  RS_ASSIGN_OR_RETURN(Shape shape, BroadcastShapes(ctx, ctx.InShape(0), ctx.InShape(1)));
  RS_ASSIGN_OR_RETURN(shape, BroadcastShapes(ctx, shape, ctx.InShape(4)));
  return First(ctx, Type::Tensor(ctx.InType(1).dtype, std::move(shape)));
}

// ---- Pooling and layout.

absl::StatusOr<std::vector<Type>> InferQLinearAveragePool(const OpContext& ctx) {
  return PoolTypes(ctx, ctx.attributes().Int("channels_last", 0) != 0 ? 1 : 2);
}

absl::StatusOr<Kernel> QLinearAveragePoolKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Kernel kernel, WindowKernel(ctx));
  AddRequantization(ctx, kernel);
  return kernel;
}

absl::StatusOr<std::vector<Type>> InferQLinearGlobalAveragePool(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  Type type = ctx.InType(0);
  const size_t first = ctx.attributes().Int("channels_last", 0) != 0 ? 1 : 2;
  for (size_t d = 0; d + 2 < type.shape.size(); ++d) type.shape[first + d] = 1;
  return First(ctx, std::move(type));
}

// Also of ReduceSumInteger, whose sums are 32 bits wide.
absl::StatusOr<std::vector<Type>> InferReduced(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  Type type = ctx.InType(0);
  const int rank = type.rank();
  std::vector<bool> reduced(rank, ctx.attributes().Ints("axes").empty());
  for (int64_t axis : ctx.attributes().Ints("axes")) {
    RS_ASSIGN_OR_RETURN(const int at, NormalizeAxis(ctx, axis, rank));
    reduced[at] = true;
  }
  type.shape.clear();
  const bool keeps = ctx.attributes().Int("keepdims", 1) != 0;
  for (int d = 0; d < rank; ++d) {
    if (!reduced[d] || keeps) type.shape.push_back(reduced[d] ? 1 : ctx.InShape(0)[d]);
  }
  if (ctx.node().op.type == "ReduceSumInteger") {
    type.dtype = type.dtype == DType::kUint8 ? DType::kUint32 : DType::kInt32;
  }
  return First(ctx, std::move(type));
}

// Y_scale Y_zero, then tensor, scale and zero point of each operand.
absl::StatusOr<std::vector<Type>> InferQLinearConcat(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 2, 1));
  Type type = ctx.InType(2);
  RS_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(ctx, ctx.attributes().Int("axis", 0), type.rank()));
  for (int i = 5; i < ctx.num_inputs(); i += 3) {
    RS_RETURN_IF_ERROR(ExpectRank(ctx, i, type.rank(), type.rank()));
    type.shape[axis] += ctx.InShape(i)[axis];
  }
  return First(ctx, std::move(type));
}

// ---- Products.

Shape Swapped(Shape shape, bool swap) {
  if (swap && shape.size() > 1) std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  return shape;
}

// Where B stands, and of what type the product is: that of input `Like`, or int32.
template <int B, int Like>
absl::StatusOr<std::vector<Type>> InferProduct(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, B, 1));
  RS_ASSIGN_OR_RETURN(Shape shape, ProductShape(ctx, ctx.InShape(0), ctx.InShape(B)));
  const DType dtype = Like >= 0 && ctx.HasInput(Like) ? ctx.InType(Like).dtype : DType::kInt32;
  return First(ctx, Type::Tensor(dtype, std::move(shape)));
}

template <int B>
absl::StatusOr<Kernel> ProductKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Kernel kernel, MatrixProductKernel(ctx, {.b = B}));
  AddRequantization(ctx, kernel);
  return kernel;
}

// A A_scale A_zero B B_scale B_zero C Y_scale Y_zero; without Y_scale the result is float32.
absl::StatusOr<std::vector<Type>> InferQGemm(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 3, 2, 2));
  RS_ASSIGN_OR_RETURN(Shape shape, ProductShape(ctx, Swapped(ctx.InShape(0), ctx.attributes().Int("transA", 0) != 0),
                                                Swapped(ctx.InShape(3), ctx.attributes().Int("transB", 0) != 0)));
  const DType dtype = ctx.HasInput(8) ? ctx.InType(8).dtype : DType::kFloat32;
  return First(ctx, Type::Tensor(dtype, std::move(shape)));
}

absl::StatusOr<Kernel> QGemmKernel(const OpContext& ctx) {
  const Shape& a = ctx.InShape(0);
  const int64_t depth = a[ctx.attributes().Int("transA", 0) != 0 ? 0 : 1];
  RS_ASSIGN_OR_RETURN(Kernel kernel, WholeProductKernel(ctx, ctx.OutShape(0)[0], ctx.OutShape(0)[1], depth));
  AddRequantization(ctx, kernel);
  return kernel;
}

// A [.., K] times a packed [N, K] whose extents are attributes.
absl::StatusOr<std::vector<Type>> InferPackedProduct(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  const int64_t n = ctx.attributes().Int("N", 0), k = ctx.attributes().Int("K", 0);
  if (n <= 0 || ctx.InShape(0).back() != k) {
    return ctx.Error(absl::StrCat("input 0 is ", TypeString(ctx.InType(0)), " and N=", n, " K=", k,
                                  ", expected K as its last dimension"));
  }
  Type type = ctx.InType(0);
  type.shape.back() = n;
  return First(ctx, std::move(type));
}

absl::StatusOr<Kernel> PackedProductKernel(const OpContext& ctx) {
  const int64_t n = ctx.attributes().Int("N", 1), k = ctx.attributes().Int("K", 1);
  RS_ASSIGN_OR_RETURN(Kernel kernel, WholeProductKernel(ctx, ctx.OutElements(0) / std::max<int64_t>(n, 1), n, k));
  // Every weight is dequantized once.
  const auto weights = CheckedMultiply(n, k);
  kernel.extra_flops = CheckedMultiply(weights.value_or(0), kDequantizeFlops).value_or(0);
  return kernel;
}

// data [R, packed], indices, scales: rows looked up and dequantized. bits=4 packs two elements into a byte of uint8.
absl::StatusOr<std::vector<Type>> InferGatherBlockQuantized(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 0));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 2, 0));
  Shape data = ctx.InShape(0);
  const int64_t bits = ctx.attributes().Int("bits", 4);
  if (ctx.InType(0).dtype == DType::kUint8 && bits > 0 && bits < 8) data.back() *= 8 / bits;
  RS_ASSIGN_OR_RETURN(const int axis,
                      NormalizeAxis(ctx, ctx.attributes().Int("gather_axis", 0), static_cast<int>(data.size())));
  Shape shape(data.begin(), data.begin() + axis);
  shape.insert(shape.end(), ctx.InShape(1).begin(), ctx.InShape(1).end());
  shape.insert(shape.end(), data.begin() + axis + 1, data.end());
  return First(ctx, Type::Tensor(ctx.InType(2).dtype, std::move(shape)));
}

// ---- Mixtures of experts: input [.., H], router scores [T, E], fc1 weights [E, ..], ..., fc2 weights, fc3 weights.

struct ExpertSlots {
  int fc1, fc2, fc3;
};

ExpertSlots SlotsOf(const OpContext& ctx) {
  if (ctx.node().op.type == "QMoE") return {2, 5, 8};
  return {2, 4, 6};
}

// Each token passes its k experts' matrices once: a MAC for every weight. Packed weights hold several in a byte.
absl::StatusOr<Kernel> MoeKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2));
  const ExpertSlots slots = SlotsOf(ctx);
  const bool packed = ctx.node().op.type == "QMoE";
  const int64_t bits = packed ? ctx.attributes().Int("expert_weight_bits", 4) : 8;
  const int64_t per_element = packed && bits > 0 ? std::max<int64_t>(8 / bits, 1) : 1;
  int64_t macs_per_token = 0;
  for (int slot : {slots.fc1, slots.fc2, slots.fc3}) {
    if (!ctx.HasInput(slot)) continue;
    RS_RETURN_IF_ERROR(ExpectRank(ctx, slot, 3, 3));
    const auto weights = CheckedMultiply(ctx.InShape(slot)[1] * ctx.InShape(slot)[2], per_element);
    macs_per_token += weights.value_or(0);
  }
  Kernel kernel{.contraction = true, .macs_per_point = macs_per_token};
  AddLoop(kernel, 't', ctx.InElements(0) / std::max<int64_t>(ctx.InShape(0).back(), 1));
  AddLoop(kernel, 'k', std::max<int64_t>(ctx.attributes().Int("k", 1), 1));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  // Softmax over the experts' scores.
  if (ctx.HasInput(1)) {
    kernel.extra_flops = 4 * ctx.InElements(1);
    kernel.extra_transcendentals = 2 * ctx.InElements(1);
  }
  return kernel;
}

// ---- DynamicQuantizeLSTM: X W [D, I, 4H] R [D, H, 4H] B ...

absl::StatusOr<std::vector<Type>> InferQuantizedLstm(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 3, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 2, 3, 3));
  const Shape& x = ctx.InShape(0);
  const int64_t directions = ctx.InShape(1)[0], hidden = ctx.InShape(2)[1];
  const DType dtype = ctx.InType(0).dtype;
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), Type::Tensor(dtype, {directions, x[1], hidden}));
  types[0] = Type::Tensor(dtype, {x[0], directions, x[1], hidden});
  return types;
}

absl::StatusOr<Kernel> QuantizedLstmKernel(const OpContext& ctx) {
  const Shape &x = ctx.InShape(0), &w = ctx.InShape(1), &r = ctx.InShape(2);
  return WholeProductKernel(ctx, x[0] * x[1], w[0] * r[2], x[2] + r[1]);
}

OpSemantics Pointwise(absl::string_view type, int64_t flops, int64_t transcendentals, InferFn infer) {
  return {.domain = kMicrosoft,
          .type = type,
          .flops = flops,
          .transcendentals = transcendentals,
          .infer = infer,
          .kernel = ElementwiseKernel,
          .not_differentiable = kIntegers};
}

OpSemantics Unpacking(OpSemantics row) {
  row.unpacks = true;
  return row;
}

OpSemantics QuantizingOperands(OpSemantics row) {
  row.quantizes_operands = true;
  return row;
}

OpSemantics Sweep(absl::string_view type, int64_t flops, int64_t transcendentals, InferFn infer) {
  OpSemantics row = Pointwise(type, flops, transcendentals, infer);
  row.kernel = SweepKernel;
  return row;
}

void RegisterElementwiseForms(OpRegistry& registry) {
  constexpr int64_t kThere = kDequantizeFlops, kBack = kQuantizeFlops;
  const OpSemantics rows[] = {
      Pointwise("QuantizeLinear", kBack, 1, InferQuantize),
      Unpacking(Pointwise("DequantizeLinear", kThere, 0, InferDequantize)),
      Pointwise("QuantizeWithOrder", kBack, 1, InferQuantizeWithOrder),
      Unpacking(Pointwise("DequantizeWithOrder", kThere, 0, InferDequantizeWithOrder)),
      Pointwise("QLinearAdd", 2 * kThere + 1 + kBack, 1, InferQLinearBinary),
      Pointwise("QLinearMul", 2 * kThere + 1 + kBack, 1, InferQLinearBinary),
      Pointwise("MulInteger", 3, 0, InferMulInteger),
      Pointwise("QLinearSigmoid", kThere + 2 + kBack, 3, InferFirstLikeInput),
      Pointwise("QLinearLeakyRelu", kThere + 2 + kBack, 1, InferFirstLikeInput),
      Pointwise("QLinearWhere", kThere + 1 + kBack, 1, InferQLinearWhere),
      Sweep("QLinearSoftmax", kThere + 4 + kBack, 3, InferFirstLikeInput),
      Sweep("QLinearGlobalAveragePool", 1, 0, InferQLinearGlobalAveragePool),
      Sweep("QLinearReduceMean", 1, 0, InferReduced),
      Sweep("ReduceSumInteger", 1, 0, InferReduced),
      Sweep("QLinearConcat", kThere + kBack, 1, InferQLinearConcat),
      Pointwise("QOrderedGelu", kThere + 4 + kBack, 2, InferFirstLikeInput),
      Sweep("QOrderedLayerNormalization", kThere + 8 + kBack, 1, InferFirstLikeInput),
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace

void RegisterContribQuantization(OpRegistry& registry) {
  RegisterElementwiseForms(registry);
  const OpSemantics rows[] = {
      {.domain = kMicrosoft,
       .type = "QLinearAveragePool",
       .infer = InferQLinearAveragePool,
       .kernel = QLinearAveragePoolKernel,
       .not_differentiable = kIntegers},
      ContribProduct("QGemm", InferQGemm, QGemmKernel, kIntegers),
      QuantizingOperands(ContribProduct("DynamicQuantizeMatMul", InferProduct<1, 0>, ProductKernel<1>, kIntegers)),
      ContribProduct("MatMulIntegerToFloat", InferProduct<1, 2>, ProductKernel<1>, kIntegers),
      ContribProduct("MatMulInteger16", InferProduct<1, -1>, ProductKernel<1>, kIntegers),
      ContribProduct("QOrderedMatMul", InferProduct<2, 0>, ProductKernel<2>, kIntegers),
      ContribProduct("MatMulNBits", InferPackedProduct, PackedProductKernel, kInferenceOnly),
      ContribProduct("MatMulBnb4", InferPackedProduct, PackedProductKernel, kInferenceOnly),
      ContribProduct("MoE", InferFirstLikeInput, MoeKernel, kInferenceOnly),
      ContribProduct("QMoE", InferFirstLikeInput, MoeKernel, kInferenceOnly),
      QuantizingOperands(
          ContribProduct("DynamicQuantizeLSTM", InferQuantizedLstm, QuantizedLstmKernel, kInferenceOnly)),
      {.domain = kMicrosoft,
       .type = "GatherBlockQuantized",
       .flops = kDequantizeFlops,
       .infer = InferGatherBlockQuantized,
       .kernel = CopyKernel,
       .not_differentiable = kIntegers},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
