// com.microsoft operators that look up, move, hash or compare: images, words, padding of sequences.
//
//   CropAndResize, MaxpoolWithMask, NhwcMaxPool, ConvTransposeWithDynamicPads      images
//   TorchEmbedding, WordConvEmbedding, Tokenizer, MurmurHash3                      words
//   RemovePadding, RestorePadding, UnfoldTensor, Unique, SparseToDenseMatMul       tensors
//   DynamicTimeWarping, BifurcationDetector                                        alignments
//
// What data decide is taken at its largest: all tokens are kept, all elements differ, a path takes every step.
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/upper_bounds.h"

namespace reusescope {
namespace {

constexpr absl::string_view kNoRule = "no rule for its gradient yet";
constexpr absl::string_view kIntegers = "its result is integers";

// ---- Images.

// X [N, C, H, W], boxes [R, 4], their images [R], crop_size [2] -> [R, C, h, w].
absl::StatusOr<std::vector<Type>> InferCropAndResize(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 4, 4));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
  Type type = Type::Tensor(ctx.InType(0).dtype, {ctx.InShape(1)[0], ctx.InShape(0)[1], kUnknownDim, kUnknownDim});
  const Literal* size = ctx.InLiteral(3);
  if (size != nullptr && size->ints.size() == 2) {
    if (size->ints[0] < 1 || size->ints[1] < 1) return ctx.Error("crop_size is not positive, expected 2 extents");
    type.shape[2] = size->ints[0];
    type.shape[3] = size->ints[1];
  }
  return First(ctx, std::move(type));
}

// Of T taps T products and T - 1 additions, as Resize.
absl::StatusOr<Kernel> CropAndResizeKernel(const OpContext& ctx) {
  const bool nearest = ctx.attributes().String("mode", "bilinear") == "nearest";
  Kernel kernel{.flops_per_point = nearest ? 1 : 7};
  AddLoops(kernel, ctx.OutShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

template <size_t First>
absl::StatusOr<std::vector<Type>> InferPool(const OpContext& ctx) {
  return PoolTypes(ctx, First);
}

// X [N, C, ..], W [C, M, ..], pads, bias.
absl::StatusOr<Type> TransposedConvType(const OpContext& ctx, absl::Span<const int64_t> pads) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, ctx.InType(0).rank(), ctx.InType(0).rank()));
  const Shape &x = ctx.InShape(0), &w = ctx.InShape(1);
  const auto strides = ctx.attributes().Ints("strides"), dilations = ctx.attributes().Ints("dilations"),
             extra = ctx.attributes().Ints("output_padding");
  const size_t spatial = x.size() - 2;
  Shape y = {x[0], w[1] * std::max<int64_t>(ctx.attributes().Int("group", 1), 1)};
  for (size_t d = 0; d < spatial; ++d) {
    const int64_t stride = d < strides.size() ? strides[d] : 1, dilation = d < dilations.size() ? dilations[d] : 1;
    RS_ASSIGN_OR_RETURN(const int64_t reach, Times(ctx, "positions", {stride, x[d + 2] - 1}));
    RS_ASSIGN_OR_RETURN(const int64_t window, Times(ctx, "positions", {dilation, w[d + 2] - 1}));
    RS_ASSIGN_OR_RETURN(int64_t extent, Sum(ctx, reach, window));
    RS_ASSIGN_OR_RETURN(
        extent,
        Sum(ctx, extent,
            1 + (d < extra.size() ? std::clamp<int64_t>(extra[d], 0, std::numeric_limits<int32_t>::max()) : 0)));
    for (size_t side : {d, d + spatial}) {
      if (pads.size() != 2 * spatial) continue;
      if (pads[side] < 0) return ctx.Error(absl::StrCat("found pad ", pads[side], ", expected none below 0"));
      extent -= std::min(pads[side], extent);
    }
    y.push_back(extent);
  }
  return Type::Tensor(ctx.InType(0).dtype, std::move(y));
}

absl::StatusOr<std::vector<Type>> InferTransposedConv(const OpContext& ctx) {
  const auto pads = IntegerList(ctx, 2, "pads");
  RS_ASSIGN_OR_RETURN(Type type, TransposedConvType(ctx, pads.value_or(std::vector<int64_t>())));
  if (ctx.HasInput(2) && !pads) std::fill(type.shape.begin() + 2, type.shape.end(), kUnknownDim);
  return First(ctx, std::move(type));
}

// Without pads, which is the largest result.
absl::StatusOr<std::vector<Type>> TransposedConvAtMost(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Type type, TransposedConvType(ctx, {}));
  return First(ctx, std::move(type));
}

absl::Status LowerTransposedConv(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  Attributes attributes = ctx.node().attributes();
  if (auto pads = IntegerList(ctx.node(), 2, "pads")) attributes.Set("pads", *std::move(pads));
  std::vector<ValueId> inputs = {ctx.I(0), ctx.I(1)};
  if (ctx.I(3) != kNoValue) inputs.push_back(ctx.I(3));
  const Type type = ctx.node().OutType(0);
  SetLoweredOutput(ctx, build, 0, ctx.Emit("ConvTranspose", inputs, type, std::move(attributes)));
  return absl::OkStatus();
}

// ---- Words.

// weight [N, M], indices -> rows.
absl::StatusOr<std::vector<Type>> InferEmbedding(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 0));
  Shape shape = ctx.InShape(1);
  shape.push_back(ctx.InShape(0)[1]);
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, std::move(shape)));
}

absl::Status LowerEmbedding(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const Type type = ctx.node().OutType(0);
  SetLoweredOutput(ctx, build, 0, ctx.Emit("Gather", {ctx.I(0), ctx.I(1)}, type));
  return absl::OkStatus();
}

// Characters of words [words, characters], filters [F, 1, window, size], bias [F], a vector for each character
// [V, size] -> [words, F]: the largest tanh of all windows of a word.
absl::StatusOr<std::vector<Type>> InferWordConvEmbedding(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 4, 4));
  return First(ctx, Type::Tensor(ctx.InType(1).dtype, {ctx.InShape(0)[0], ctx.InShape(1)[0]}));
}

absl::StatusOr<Kernel> WordConvEmbeddingKernel(const OpContext& ctx) {
  const Shape &words = ctx.InShape(0), &filters = ctx.InShape(1);
  const int64_t windows = std::max<int64_t>(words[1] - filters[2] + 1, 0);
  RS_ASSIGN_OR_RETURN(const int64_t positions, Times(ctx, "windows", {words[0], windows}));
  RS_ASSIGN_OR_RETURN(const int64_t results, Times(ctx, "windows", {positions, filters[0]}));
  RS_ASSIGN_OR_RETURN(Kernel kernel, WholeProductKernel(ctx, positions, filters[0], filters[2] * filters[3]));
  kernel.extra_flops = kernel.extra_transcendentals = results;
  return kernel;
}

// Strings [C] or [N, C] -> as many tokens as the longest of them has.
absl::StatusOr<std::vector<Type>> InferTokenizer(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1, 2));
  Type type = ctx.InType(0);
  type.shape.push_back(kUnknownDim);
  return First(ctx, std::move(type));
}

absl::StatusOr<std::vector<Type>> InferHash(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  const bool positive = ctx.attributes().Int("positive", 1) != 0;
  return First(ctx, Type::Tensor(positive ? DType::kUint32 : DType::kInt32, ctx.InShape(0)));
}

// ---- Padding of sequences.

// input [B, S, H], lengths [B] -> tokens [T, H], their offsets [B, S], cumulated lengths [B + 1], the largest [1].
absl::StatusOr<std::vector<Type>> RemovePaddingTypes(const OpContext& ctx, int64_t tokens) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  const Shape& x = ctx.InShape(0);
  std::vector<Type> types = First(ctx, Type::Tensor(ctx.InType(0).dtype, {tokens, x[2]}));
  const Shape others[] = {{x[0], x[1]}, {x[0] + 1}, {1}};
  for (size_t j = 1; j < std::min<size_t>(types.size(), 4); ++j) types[j] = Type::Tensor(DType::kInt32, others[j - 1]);
  return types;
}

absl::StatusOr<std::vector<Type>> InferRemovePadding(const OpContext& ctx) {
  return RemovePaddingTypes(ctx, kUnknownDim);
}

absl::StatusOr<std::vector<Type>> RemovePaddingAtMost(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 3));
  RS_ASSIGN_OR_RETURN(const int64_t tokens, Times(ctx, "tokens", {ctx.InShape(0)[0], ctx.InShape(0)[1]}));
  return RemovePaddingTypes(ctx, tokens);
}

absl::StatusOr<std::vector<Type>> InferRestorePadding(const OpContext& ctx) {  // tokens [T, H], offsets [B, S]
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 2));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2, 2));
  const Shape& offsets = ctx.InShape(1);
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, {offsets[0], offsets[1], ctx.InShape(0)[1]}));
}

// ---- Tensors.

absl::StatusOr<std::vector<Type>> InferUnfold(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  Type type = ctx.InType(0);
  RS_ASSIGN_OR_RETURN(const int dim, NormalizeAxis(ctx, ctx.attributes().Int("dim", -1), type.rank()));
  const int64_t size = ctx.attributes().Int("size", 0), step = ctx.attributes().Int("step", 1);
  if (step < 1 || size < 1 || size > type.shape[dim]) {
    return ctx.Error(absl::StrCat("found size ", size, " and step ", step, " in a dimension of ", type.shape[dim]));
  }
  type.shape[dim] = (type.shape[dim] - size) / step + 1;
  type.shape.push_back(size);
  return First(ctx, std::move(type));
}

// x [n] -> what differs, of each element where it stands among that [n], how often each occurs.
absl::StatusOr<std::vector<Type>> UniqueTypes(const OpContext& ctx, int64_t different) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1, 1));
  std::vector<Type> types = First(ctx, Type::Tensor(ctx.InType(0).dtype, {different}));
  if (types.size() > 1) types[1] = Type::Tensor(DType::kInt64, ctx.InShape(0));
  if (types.size() > 2) types[2] = Type::Tensor(DType::kInt64, {different});
  return types;
}

absl::StatusOr<std::vector<Type>> InferUnique(const OpContext& ctx) { return UniqueTypes(ctx, kUnknownDim); }

absl::StatusOr<std::vector<Type>> AllDiffer(const OpContext& ctx) { return UniqueTypes(ctx, ctx.InElements(0)); }

// A sparse [M, K] times B [K, N], either transposed; counted dense, as data decide how many elements are zero.
absl::StatusOr<Shape> SparseShape(const OpContext& ctx) {
  if (!ctx.HasInput(0) || !ctx.InType(0).has_shape || ctx.InShape(0).size() != 2 || !IsFullyKnown(ctx.InShape(0))) {
    return ctx.Error("input 0 has no known shape, expected a sparse matrix");
  }
  Shape a = ctx.InShape(0);
  if (ctx.attributes().Int("transA", 0) != 0) std::swap(a[0], a[1]);
  return a;
}

absl::StatusOr<std::vector<Type>> InferSparseProduct(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const Shape a, SparseShape(ctx));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 2));
  Shape b = ctx.InShape(1);
  if (ctx.attributes().Int("transB", 0) != 0) std::swap(b[b.size() - 1], b[b.size() - 2]);
  RS_ASSIGN_OR_RETURN(Shape shape, ProductShape(ctx, a, b));
  return First(ctx, Type::Tensor(ctx.InType(1).dtype, std::move(shape)));
}

absl::StatusOr<Kernel> SparseProductKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const Shape a, SparseShape(ctx));
  const int64_t n = ctx.OutShape(0).back();
  return WholeProductKernel(ctx, a[0], ctx.OutElements(0) / std::max<int64_t>(a[0], 1) / std::max<int64_t>(n, 1) * n,
                            a[1]);
}

// ---- Alignments.

// Costs [M, N] or [1, M, N] -> [2, length of the path].
absl::StatusOr<std::vector<Type>> InferTimeWarping(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2, 3));
  return First(ctx, Type::Tensor(DType::kInt32, {2, kUnknownDim}));
}

absl::StatusOr<std::vector<Type>> TimeWarpingAtMost(const OpContext& ctx) {
  const Shape& costs = ctx.InShape(0);
  const int64_t steps = costs[costs.size() - 2] + costs.back() - 1;
  return First(ctx, Type::Tensor(DType::kInt32, {2, std::max<int64_t>(steps, 0)}));
}

// source, current and predicted tokens -> current ones and those predicted from where they part; where they match.
absl::StatusOr<std::vector<Type>> InferBifurcation(const OpContext& ctx) {
  for (int i : {0, 1}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 1, 1));
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), Type::Tensor(ctx.InType(1).dtype, {}));
  types[0].shape = {ctx.HasInput(3) ? kUnknownDim : ctx.InShape(1)[0]};
  return types;
}

absl::StatusOr<std::vector<Type>> BifurcationAtMost(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(std::vector<Type> types, InferBifurcation(ctx));
  types[0].shape = {ctx.InShape(1)[0] + (ctx.HasInput(3) ? ctx.InElements(3) : 0)};
  return types;
}

// A container of what an execution provider has compiled: its types are what the file declares.
absl::StatusOr<Kernel> CompiledKernel(const OpContext& ctx) {
  Kernel kernel{.known = false};
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<std::vector<Type>> InferDeclared(const OpContext& ctx) {
  return std::vector<Type>(std::max(ctx.num_outputs(), 1));
}

OpSemantics Row(absl::string_view type, int64_t flops, InferFn infer, KernelFn kernel,
                absl::string_view reason = kNoRule) {
  return {.domain = kMicrosoft,
          .type = type,
          .flops = flops,
          .infer = infer,
          .kernel = kernel,
          .not_differentiable = reason};
}

OpSemantics AtMost(OpSemantics row, InferFn upper_bound) {
  row.upper_bound = upper_bound;
  return row;
}

absl::string_view DenseAtMost(const OpContext&) { return "no element of the sparse matrix is taken as zero"; }

}  // namespace

void RegisterContribData(OpRegistry& registry) {
  constexpr absl::string_view kCompiled = "compiled for a device: what it computes is not in the file";
  const OpSemantics rows[] = {
      {.domain = kMicrosoft, .type = "Pad", .same_as = {"Pad", 13}},
      {.domain = kMicrosoft, .type = "Range", .same_as = {"Range", 11}},
      {.domain = kMicrosoft, .type = "GatherND", .same_as = {"GatherND", 12}},
      {.domain = kMicrosoft, .type = "GridSample", .same_as = {"GridSample", 16}},
      Row("CropAndResize", 0, InferCropAndResize, CropAndResizeKernel),
      Row("MaxpoolWithMask", 1, InferPool<2>, WindowKernel),
      Row("NhwcMaxPool", 1, InferPool<1>, WindowKernel, kIntegers),
      AtMost({.domain = kMicrosoft,
              .type = "ConvTransposeWithDynamicPads",
              .infer = InferTransposedConv,
              .lower = LowerTransposedConv},
             TransposedConvAtMost),
      {.domain = kMicrosoft, .type = "TorchEmbedding", .infer = InferEmbedding, .lower = LowerEmbedding},
      {.domain = kMicrosoft,
       .type = "WordConvEmbedding",
       .infer = InferWordConvEmbedding,
       .kernel = WordConvEmbeddingKernel,
       .not_differentiable = kNoRule,
       .contraction = true},
      Row("Tokenizer", 1, InferTokenizer, SweepKernel, "of text"),
      // Of a word of 32 bits: 7 operations to mix it in, 9 at the end.
      Row("MurmurHash3", 16, InferHash, ElementwiseKernel, kIntegers),
      AtMost(Row("RemovePadding", 0, InferRemovePadding, CopyKernel), RemovePaddingAtMost),
      Row("RestorePadding", 0, InferRestorePadding, CopyKernel),
      Row("UnfoldTensor", 0, InferUnfold, CopyKernel),
      AtMost(Row("Unique", 1, InferUnique, SweepKernel, kIntegers), AllDiffer),
      {.domain = kMicrosoft,
       .type = "SparseToDenseMatMul",
       .infer = InferSparseProduct,
       .kernel = SparseProductKernel,
       .at_most = DenseAtMost,
       .not_differentiable = kNoRule,
       .contraction = true},
      // Three ways to every cell: two comparisons and an addition.
      AtMost(Row("DynamicTimeWarping", 3, InferTimeWarping, SweepKernel, kIntegers), TimeWarpingAtMost),
      AtMost(Row("BifurcationDetector", 1, InferBifurcation, SweepKernel, kIntegers), BifurcationAtMost),
      Row("SampleOp", 0, InferFirstLikeInput, CopyKernel),
      Row("EPContext", 0, InferDeclared, CompiledKernel, kCompiled),
      Row("Snpe", 0, InferDeclared, CompiledKernel, kCompiled),
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
