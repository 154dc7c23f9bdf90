// What belongs to no larger family: random numbers, signal processing, strings, optionals, ONNX's own training
// operators, and the experimental operators of its first opsets, which old files still have.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/body_builder.h"
#include "analysis/ops/contraction.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/upper_bounds.h"

namespace reusescope {
namespace {

constexpr absl::string_view kRandom = "random numbers depend on no input";
constexpr absl::string_view kNoRule = "no rule for its gradient yet";
constexpr absl::string_view kText = "of text";

// ---- Signals: a fast transform of n points takes 5 n log2(n) FLOPs (radix 2, the usual count).

int64_t TransformFlops(int64_t n) {
  int64_t levels = 0;
  for (int64_t size = n; size > 1; size = (size + 1) / 2) ++levels;
  return 5 * levels;  // for each point
}

// Transformed length and how many points there are in all.
absl::StatusOr<Kernel> TransformKernel(const OpContext& ctx, int64_t length, int64_t points) {
  Kernel kernel{.flops_per_point = TransformFlops(std::max<int64_t>(length, 1))};
  AddLoop(kernel, 'i', points);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

// The axis is an attribute (DFT-17) or input 2 (DFT-20); the last one holds real and imaginary parts.
absl::StatusOr<Kernel> DftKernel(const OpContext& ctx) {
  const Shape& shape = ctx.InShape(0);
  const Literal* given = ctx.InLiteral(2);
  int64_t axis = ctx.attributes().Int("axis", ctx.version() < 20 ? 1 : -2);
  if (given != nullptr && given->ints.size() == 1) axis = given->ints[0];
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  if (axis < 0 || axis >= static_cast<int64_t>(shape.size())) return ctx.Error(absl::StrCat("found axis ", axis));
  const int64_t complex = std::max<int64_t>(ctx.OutShape(0).empty() ? 1 : ctx.OutShape(0).back(), 1);
  return TransformKernel(ctx, shape[axis], std::max(ctx.OutElements(0) / complex, ctx.InElements(0) / complex));
}

// Frames of frame_length points each: signal frame_step window frame_length.
absl::StatusOr<Kernel> StftKernel(const OpContext& ctx) {
  const Shape& y = ctx.OutShape(0);
  if (y.size() != 4) return ctx.Error(absl::StrCat("output is ", ShapeString(y), ", expected 4 dimensions"));
  const Literal* given = ctx.InLiteral(3);
  int64_t length = ctx.HasInput(2) ? ctx.InElements(2) : 2 * (y[2] - 1);
  if (given != nullptr && given->ints.size() == 1) length = given->ints[0];
  return TransformKernel(ctx, length, y[0] * y[1] * std::max<int64_t>(length, 1));
}

// com.microsoft's: real signals [.., n] as their spectra [.., n / 2 + 1, 2], over the last signal_ndim dimensions, and
// back.
absl::StatusOr<std::vector<Type>> InferRfft(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  Type type = ctx.InType(0);
  type.shape.back() = type.shape.back() / 2 + 1;
  type.shape.push_back(2);
  return First(ctx, std::move(type));
}

absl::StatusOr<std::vector<Type>> InferIrfft(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2));
  Type type = ctx.InType(0);
  type.shape.pop_back();
  type.shape.back() = std::max<int64_t>(2 * (type.shape.back() - 1), 0);
  return First(ctx, std::move(type));
}

// A real signal takes half of what a complex one takes.
absl::StatusOr<Kernel> RealTransformKernel(const OpContext& ctx) {
  const bool back = ctx.node().op.type == "Irfft";
  const Shape& signal = back ? ctx.OutShape(0) : ctx.InShape(0);
  const int64_t dims = std::clamp<int64_t>(ctx.attributes().Int("signal_ndim", 1), 1, ctx.InType(0).rank());
  RS_ASSIGN_OR_RETURN(Kernel kernel, TransformKernel(ctx, 1, ElementCount(signal).value_or(0)));
  int64_t flops = 0;
  for (size_t d = 0; d < std::min<size_t>(dims, signal.size()); ++d) {
    flops += TransformFlops(std::max<int64_t>(signal[signal.size() - 1 - d], 1));
  }
  kernel.flops_per_point = flops / 2;
  return kernel;
}

// [.., 2], real and imaginary parts.
absl::StatusOr<std::vector<Type>> InferComplexProduct(const OpContext& ctx) {
  for (int i : {0, 1}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 1));
  RS_ASSIGN_OR_RETURN(Shape shape, BroadcastShapes(ctx, ctx.InShape(0), ctx.InShape(1)));
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, std::move(shape)));
}

// Gaussian elimination on [.., n, n]: 2/3 n^3.
absl::StatusOr<Kernel> DetKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 2));
  Kernel kernel;
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  const auto cubes = CheckedMultiply(ctx.InElements(0), 2 * ctx.InShape(0).back());
  if (!cubes) return absl::OutOfRangeError(ctx.Error("FLOPs exceed int64").message());
  kernel.extra_flops = std::max<int64_t>(*cubes / 3, 1);
  return kernel;
}

absl::Status DetGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  ctx.SetGradient(0, ctx.Emit("reusescope::DetGrad", {ctx.GO(0), ctx.I(0)}, ctx.TypeOf(ctx.I(0))));
  return absl::OkStatus();
}

// dX = dY times the cofactors, which singular matrices have too: (-1)^(i+j) of the determinant without row i and
// column j. All n^2 minors are gathered and one Det takes theirs.
absl::Status DetGradBody(BodyBuilder& body) {  // dY, X
  const Shape& shape = body.InShape(1);
  const int64_t n = shape.back();
  Shape batch(shape.begin(), shape.end() - 2), flat = batch, column = batch;
  flat.push_back(n * n);
  column.insert(column.end(), {1, 1});
  const Expr dy = body.Reshape(body.In(0), column);
  if (n == 1) {  // the minor is empty, its determinant 1
    body.Out(0, dy);
    return absl::OkStatus();
  }
  constexpr int64_t kLargest = 16;  // n^2 (n - 1)^2 indices
  if (n > kLargest) return body.Error(absl::StrCat("is of ", n, " x ", n, " matrices, expected at most ", kLargest));
  Dims index;
  Literal signs = Literal::Floats({n, n}, {}, body.DTypeOf(dy));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      signs.floats.push_back((i + j) % 2 == 0 ? 1 : -1);
      for (int64_t at = 0; at < n * n; ++at) {
        if (at / n != i && at % n != j) index.push_back(at);
      }
    }
  }
  const Expr minors =
      body.Op("Gather", {body.Reshape(body.In(1), flat), body.Reshape(body.Ints(index), {n, n, n - 1, n - 1})},
              MakeAttributes({{"axis", int64_t{-1}}}));
  body.Out(0, dy * body.Op("Det", {minors}) * body.Constant(std::move(signs)));
  return absl::OkStatus();
}

// What the cofactors cost by way of the inverse (det X^-T), as libraries compute them: 2 n^3.
absl::StatusOr<Kernel> DetGradKernel(const OpContext& ctx) {
  absl::StatusOr<Kernel> kernel = SweepKernel(ctx);
  if (!kernel.ok()) return kernel;
  const auto cubes = CheckedMultiply(ctx.InElements(1), 2 * ctx.InShape(1).back());
  if (!cubes) return absl::OutOfRangeError(ctx.Error("FLOPs exceed int64").message());
  kernel->extra_flops = *cubes;
  return kernel;
}

// A convolution whose taps are read by bilinear interpolation: 7 FLOPs more for every tap and channel of X.
absl::StatusOr<Kernel> DeformConvKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Kernel kernel, ConvolutionKernel(ctx, {.bias = 3}));
  const Shape &w = ctx.InShape(1), &y = ctx.OutShape(0);
  int64_t taps = ctx.InShape(0)[0] * ctx.InShape(0)[1];
  for (size_t d = 2; d < w.size(); ++d) taps *= w[d] * y[d];
  kernel.extra_flops += 7 * taps;
  return kernel;
}

// ---- Optimizer steps of ai.onnx.preview.training: rate, count, X1.., G1.., states..; outputs X1.., states...

absl::StatusOr<Kernel> StepKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  const int states = ctx.node().op.type == "Adam" ? 2 : 1;
  int64_t parameters = 0;
  for (int j = 0; j < ctx.num_outputs() / (1 + states); ++j) parameters += ctx.HasOutput(j) ? ctx.OutElements(j) : 0;
  AddLoop(kernel, 'i', parameters);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

// ---- Experimental operators of opset 1.

absl::StatusOr<std::vector<Type>> InferCrop(const OpContext& ctx) {  // [N, C, H, W]; border left top right bottom
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 4, 4));
  Type type = ctx.InType(0);
  const auto border = ctx.attributes().Ints("border"), scale = ctx.attributes().Ints("scale");
  if (scale.size() == 2) {
    type.shape[2] = scale[0];
    type.shape[3] = scale[1];
  } else if (border.size() == 4) {
    type.shape[2] -= border[1] + border[3];
    type.shape[3] -= border[0] + border[2];
  }
  if (type.shape[2] < 0 || type.shape[3] < 0) return ctx.Error("border is wider than the image");
  return First(ctx, std::move(type));
}

// The shape is an attribute, the values of the input, or the input's own; extra_shape goes behind.
absl::StatusOr<std::vector<Type>> InferFill(const OpContext& ctx) {
  Type type = Type::Tensor(static_cast<DType>(ctx.attributes().Int("dtype", 1)), {});
  const auto shape = ctx.attributes().Ints("shape");
  type.shape.assign(shape.begin(), shape.end());
  if (ctx.HasInput(0)) {
    RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
    const Literal* values = ctx.InLiteral(0);
    const bool as_shape = ctx.attributes().Int("input_as_shape", 0) != 0;
    type.shape = ctx.InShape(0);
    if (as_shape && values != nullptr) type.shape.assign(values->ints.begin(), values->ints.end());
    if (as_shape && values == nullptr) type.shape.assign(std::min<int64_t>(ctx.InElements(0), 64), kUnknownDim);
  }
  for (int64_t extra : ctx.attributes().Ints("extra_shape")) type.shape.push_back(extra);
  for (int64_t dim : type.shape) {
    if (dim < kUnknownDim) return ctx.Error(absl::StrCat("found dimension ", dim, ", expected none below 0"));
  }
  return First(ctx, std::move(type));
}

OpSemantics Pointwise(absl::string_view type, int64_t flops, int64_t transcendentals) {
  return {.type = type,
          .flops = flops,
          .transcendentals = transcendentals,
          .infer = InferFirstLikeInput,
          .kernel = ElementwiseKernel,
          .not_differentiable = kNoRule};
}

void RegisterExperimental(OpRegistry& registry) {
  const OpSemantics rows[] = {
      Pointwise("Affine", 2, 0),              // alpha x + beta
      Pointwise("ImageScaler", 2, 0),         // scale x + bias of the channel
      Pointwise("Scale", 1, 0),               // scale x
      Pointwise("ScaledTanh", 2, 1),          // alpha tanh(beta x)
      Pointwise("ParametricSoftplus", 3, 2),  // alpha log(1 + exp(beta x))
      {.type = "Crop", .infer = InferCrop, .kernel = CopyKernel, .not_differentiable = kNoRule},
      {.type = "ConstantFill", .infer = InferFill, .kernel = ElementwiseKernel, .not_differentiable = kRandom},
      {.type = "GivenTensorFill", .infer = InferFill, .kernel = ElementwiseKernel, .not_differentiable = kRandom},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

void RegisterRandomAndText(OpRegistry& registry) {
  for (absl::string_view type :
       {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}) {
    registry.Add(
        {.type = type, .flops = 1, .kernel = ElementwiseKernel, .not_differentiable = kRandom, .deterministic = false});
  }
  for (absl::string_view type : {"StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer"}) {
    registry.Add({.type = type, .flops = 1, .kernel = SweepKernel, .not_differentiable = kText});
  }
  registry.Add({.type = "StringNormalizer",
                .flops = 1,
                .upper_bound = AtMostLikeInput,
                .kernel = SweepKernel,
                .not_differentiable = kText});
}

}  // namespace

void RegisterMisc(OpRegistry& registry) {
  RegisterExperimental(registry);
  RegisterRandomAndText(registry);
  constexpr absl::string_view kTraining = "ai.onnx.preview.training";
  const OpSemantics rows[] = {
      {.type = "DFT", .kernel = DftKernel, .not_differentiable = kNoRule},
      {.type = "STFT", .kernel = StftKernel, .not_differentiable = kNoRule},
      {.domain = kMicrosoft,
       .type = "Rfft",
       .infer = InferRfft,
       .kernel = RealTransformKernel,
       .not_differentiable = kNoRule},
      {.domain = kMicrosoft,
       .type = "Irfft",
       .infer = InferIrfft,
       .kernel = RealTransformKernel,
       .not_differentiable = kNoRule},
      // 4 products and 2 additions for every number of two parts.
      {.domain = kMicrosoft,
       .type = "ComplexMul",
       .flops = 3,
       .infer = InferComplexProduct,
       .kernel = ElementwiseKernel,
       .not_differentiable = kNoRule},
      {.domain = kMicrosoft,
       .type = "ComplexMulConj",
       .flops = 3,
       .infer = InferComplexProduct,
       .kernel = ElementwiseKernel,
       .not_differentiable = kNoRule},
      {.type = "MelWeightMatrix", .flops = 1, .kernel = ElementwiseKernel, .not_differentiable = "a constant table"},
      {.type = "Det", .kernel = DetKernel, .gradient = DetGradient, .eager_saves = SavesInput},
      {.domain = kReuseScopeDomain,
       .type = "DetGrad",
       .kernel = DetGradKernel,
       .body = DetGradBody,
       .not_differentiable = "a gradient itself"},
      {.type = "DeformConv", .kernel = DeformConvKernel, .not_differentiable = kNoRule, .contraction = true},
      {.type = "BitCast",
       .kernel = NoKernel,
       .not_differentiable = "reads bits, not numbers",
       .aliasing = Aliasing::kView},
      {.type = "Optional", .kernel = NoKernel, .not_differentiable = "wraps a value"},
      {.type = "OptionalGetElement",
       .infer = InferOptionalGetElement,
       .kernel = NoKernel,
       .not_differentiable = "unwraps a value"},
      {.type = "OptionalHasElement", .kernel = NoKernel, .not_differentiable = "the result is boolean"},
      {.domain = kTraining,
       .type = "Momentum",
       .flops = 6,
       .kernel = StepKernel,
       .not_differentiable = "an optimizer step"},
      {.domain = kTraining,
       .type = "Adagrad",
       .flops = 6,
       .transcendentals = 2,
       .kernel = StepKernel,
       .not_differentiable = "an optimizer step"},
      {.domain = kTraining,
       .type = "Adam",
       .flops = 12,
       .transcendentals = 2,
       .kernel = StepKernel,
       .not_differentiable = "an optimizer step"},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
