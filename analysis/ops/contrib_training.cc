// com.microsoft operators of the training graphs that ONNX Runtime makes: gradients, optimizer steps, what passes
// tensors between devices. A file that has them is analysed as what it is; nothing is differentiated again.
//
// FLOPs and transcendentals of a gradient are those of ours (reusescope::ReluGrad and the like).
//
// Source: ONNX Runtime's training_op_defs.cc (orttraining/core/graph).

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

constexpr absl::string_view kGradient = "a gradient itself";
constexpr absl::string_view kStep = "an optimizer step";
constexpr absl::string_view kTraining = "of a training graph";

// Output j is like input Slots[j]; kFlag: one boolean.
constexpr int kFlag = -1;
template <int... Slots>
absl::StatusOr<std::vector<Type>> InferLike(const OpContext& ctx) {
  constexpr int kSlots[] = {Slots...};
  std::vector<Type> types(std::max(ctx.num_outputs(), 1));
  for (size_t j = 0; j < std::min(types.size(), std::size(kSlots)); ++j) {
    types[j] = kSlots[j] == kFlag        ? Type::Tensor(DType::kBool, {1})
               : ctx.HasInput(kSlots[j]) ? ctx.InType(kSlots[j])
                                         : Type{};
  }
  return types;
}

// Every output is like the input in its place.
template <int First>
absl::StatusOr<std::vector<Type>> InferInOrder(const OpContext& ctx) {
  std::vector<Type> types(std::max(ctx.num_outputs(), 1));
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (ctx.HasInput(j + First)) types[j] = ctx.InType(j + First);
  }
  return types;
}

// The shape is a small tensor on input Slot, where it is known; the type that of input Like.
template <int Slot, int Like>
absl::StatusOr<std::vector<Type>> InferShaped(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, Like, 0));
  const Literal* shape = ctx.InLiteral(Slot);
  if (shape == nullptr || !shape->has_data) return First(ctx, Type{});
  for (int64_t dim : shape->ints) {
    if (dim < 0) return ctx.Error(absl::StrCat("found dimension ", dim, ", expected none below 0"));
  }
  return First(ctx, Type::Tensor(ctx.InType(Like).dtype, Shape(shape->ints.begin(), shape->ints.end())));
}

absl::StatusOr<std::vector<Type>> InferDeclared(const OpContext& ctx) {
  return std::vector<Type>(std::max(ctx.num_outputs(), 1));
}

// scores [N, C, ..] labels [N, ..] -> the loss (reduced, or one for each label), logarithms of the probabilities.
absl::StatusOr<std::vector<Type>> InferLoss(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 0));
  Type loss = Type::Tensor(ctx.InType(0).dtype, {});
  if (ctx.attributes().String("reduction", "mean") == "none") loss.shape = ctx.InShape(1);
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), ctx.InType(0));
  types[0] = std::move(loss);
  return types;
}

// Inputs joined along `axis`, and how much of it each is.
absl::StatusOr<std::vector<Type>> InferConcat(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  Type type = ctx.InType(0);
  RS_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(ctx, ctx.attributes().Int("axis", 0), type.rank()));
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    RS_RETURN_IF_ERROR(ExpectRank(ctx, i, type.rank(), type.rank()));
    type.shape[axis] += ctx.InShape(i)[axis];
  }
  std::vector<Type> types = First(ctx, std::move(type));
  if (types.size() > 1) types[1] = Type::Tensor(DType::kInt64, {ctx.num_inputs()});
  return types;
}

// Two shapes -> the axes along which each is broadcast to the other: at most as many as the longer has.
absl::StatusOr<std::vector<Type>> InferAxes(const OpContext& ctx) {
  for (int i : {0, 1}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 1, 1));
  return std::vector<Type>(std::max(ctx.num_outputs(), 1), Type::Tensor(DType::kInt64, {kUnknownDim}));
}

absl::StatusOr<std::vector<Type>> AxesAtMost(const OpContext& ctx) {
  const int64_t most = std::max(ctx.InElements(0), ctx.InElements(1));
  return std::vector<Type>(std::max(ctx.num_outputs(), 1), Type::Tensor(DType::kInt64, {most}));
}

// A number, of all elements of all inputs.
absl::StatusOr<std::vector<Type>> InferNumber(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  const bool norm = ctx.node().op.type == "ReduceAllL2";
  return First(ctx, Type::Tensor(norm ? DType::kFloat32 : DType::kBool, {}));
}

// dY, X, W -> dX, dW, dB: the forward's MACs for each of the first two, an addition for every dY for the third. `map`:
// the side with one element for every position of the window, dY of Conv and X of ConvTranspose.
template <int Map>
absl::StatusOr<Kernel> ConvGradKernel(const OpContext& ctx) {
  for (int i : {0, 1, 2}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 3));
  const int64_t filters = std::max<int64_t>(ctx.InShape(2)[0], 1);
  const int products = (ctx.HasOutput(0) ? 1 : 0) + (ctx.HasOutput(1) ? 1 : 0);
  RS_ASSIGN_OR_RETURN(Kernel kernel,
                      WholeProductKernel(ctx, ctx.InElements(Map), ctx.InElements(2) / filters, products));
  if (ctx.HasOutput(2)) kernel.extra_flops = ctx.InElements(0);
  return kernel;
}

// Of a pool: what each dY is spread over. The shape of dX is what the file declares.
absl::StatusOr<Kernel> PoolGradKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = 1};
  AddLoop(kernel, 'i', ctx.InElements(0));
  for (int64_t extent : ctx.attributes().Ints("kernel_shape")) AddLoop(kernel, 'r', extent);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

// One point for every weight. Sequences of tensors do not say how many weights they hold: unknown then.
template <int Weights>
absl::StatusOr<Kernel> StepKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  kernel.known = ctx.HasInput(Weights) && ctx.InType(Weights).IsResolved();
  AddLoop(kernel, 'i', kernel.known ? ctx.InElements(Weights) : 0);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

struct Row {
  absl::string_view type;
  int64_t flops, transcendentals;
  InferFn infer;
  KernelFn kernel;
  absl::string_view reason;
};

}  // namespace

void RegisterContribTraining(OpRegistry& registry) {
  const Row rows[] = {
      {"ReluGrad", 1, 0, InferLike<0>, ElementwiseKernel, kGradient},
      {"SigmoidGrad", 3, 0, InferLike<0>, ElementwiseKernel, kGradient},
      {"TanhGrad", 3, 0, InferLike<0>, ElementwiseKernel, kGradient},
      {"LeakyReluGrad", 2, 0, InferLike<0>, ElementwiseKernel, kGradient},
      {"GeluGrad", 7, 2, InferLike<0>, ElementwiseKernel, kGradient},
      {"FastGeluGrad", 7, 2, InferLike<0>, ElementwiseKernel, kGradient},
      {"BiasGeluGrad_dX", 8, 2, InferLike<0>, ElementwiseKernel, kGradient},
      {"BiasFastGeluGrad_dX", 8, 2, InferLike<0>, ElementwiseKernel, kGradient},
      {"QuickGeluGrad", 6, 2, InferLike<0>, ElementwiseKernel, kGradient},
      {"DivGrad", 4, 1, InferLike<1, 2>, SweepKernel, kGradient},
      {"SoftmaxGrad", 4, 0, InferLike<0>, SweepKernel, kGradient},
      {"SoftmaxGrad_13", 4, 0, InferLike<0>, SweepKernel, kGradient},
      {"LogSoftmaxGrad", 3, 1, InferLike<0>, SweepKernel, kGradient},
      {"LogSoftmaxGrad_13", 3, 1, InferLike<0>, SweepKernel, kGradient},
      {"DropoutGrad", 2, 0, InferLike<0>, ElementwiseKernel, kGradient},
      {"BitmaskDropoutGrad", 2, 0, InferLike<0>, SweepKernel, kGradient},
      {"SoftmaxDropoutGrad", 6, 0, InferLike<0>, SweepKernel, kGradient},
      {"BiasSoftmaxDropout", 6, 2, InferLike<0, 0, 0>, SweepKernel, kTraining},
      {"LayerNormalizationGrad", 11, 0, InferLike<1, 2, 2>, SweepKernel, kGradient},
      {"SimplifiedLayerNormalizationGrad", 8, 0, InferLike<1, 2>, SweepKernel, kGradient},
      {"InvertibleLayerNormalizationGrad", 11, 0, InferLike<1, 2, 2>, SweepKernel, kGradient},
      {"BatchNormalizationGrad", 11, 0, InferLike<1, 2, 2>, SweepKernel, kGradient},
      {"BatchNormInternal", 8, 0, InferLike<0, 3, 4, 3, 4>, SweepKernel, kTraining},
      {"ConvGrad", 0, 0, InferLike<1, 2>, ConvGradKernel<0>, kGradient},
      {"ConvTransposeGrad", 0, 0, InferLike<1, 2>, ConvGradKernel<1>, kGradient},
      {"AveragePoolGrad", 1, 0, InferDeclared, PoolGradKernel, kGradient},
      {"MaxPoolGrad", 1, 0, InferDeclared, SweepKernel, kGradient},
      {"GatherGrad", 1, 0, InferShaped<0, 2>, CopyKernel, kGradient},
      {"GatherElementsGrad", 1, 0, InferShaped<1, 0>, CopyKernel, kGradient},
      {"GatherNDGrad", 1, 0, InferShaped<0, 2>, CopyKernel, kGradient},
      {"SliceGrad", 0, 0, InferShaped<1, 0>, CopyKernel, kGradient},
      {"ResizeGrad", 1, 0, InferLike<1>, CopyKernel, kGradient},
      {"SoftmaxCrossEntropy", 5, 1, InferLoss, SweepKernel, kTraining},
      {"SparseSoftmaxCrossEntropy", 5, 1, InferLoss, SweepKernel, kTraining},
      {"SoftmaxCrossEntropyLossInternal", 5, 1, InferLoss, SweepKernel, kTraining},
      {"NegativeLogLikelihoodLossInternal", 1, 0, InferLoss, SweepKernel, kTraining},
      {"NegativeLogLikelihoodLossInternal2", 1, 0, InferLoss, SweepKernel, kTraining},
      {"SoftmaxCrossEntropyGrad", 3, 1, InferLike<1>, CopyKernel, kGradient},
      {"SparseSoftmaxCrossEntropyGrad", 3, 1, InferLike<1>, CopyKernel, kGradient},
      {"SoftmaxCrossEntropyLossGrad", 3, 1, InferLike<1>, CopyKernel, kGradient},
      {"SoftmaxCrossEntropyLossInternalGrad", 3, 1, InferLike<1>, CopyKernel, kGradient},
      {"SGDOptimizer", 2, 0, InferLike<1, 2>, StepKernel<1>, kStep},
      {"SGDOptimizerV2", 2, 0, InferLike<kFlag, 1>, StepKernel<1>, kStep},
      {"AdamOptimizer", 12, 2, InferLike<1, 4, 5, 2, 3, 6>, StepKernel<2>, kStep},
      {"AdamWOptimizer", 12, 2, InferLike<kFlag, 2, 4, 5>, StepKernel<2>, kStep},
      {"InPlaceAccumulator", 1, 0, InferLike<0>, ElementwiseKernel, kTraining},
      {"InPlaceAccumulatorV2", 1, 0, InferLike<kFlag, 0>, SweepKernel, kTraining},
      {"InplaceClipGradNorm", 3, 0, InferLike<0>, StepKernel<0>, kTraining},
      {"ZeroGradient", 0, 0, InferLike<0>, ElementwiseKernel, kTraining},
      {"ReduceAllL2", 2, 0, InferNumber, SweepKernel, kTraining},
      {"IsFinite", 1, 0, InferDeclared, SweepKernel, kTraining},
      {"All", 1, 0, InferNumber, SweepKernel, kTraining},
      {"Scale", 1, 0, InferLike<0>, ElementwiseKernel, kTraining},
      {"ScaledSum", 5, 0, InferLike<0>, ElementwiseKernel, kTraining},
      {"BatchScale", 3, 0, InferLike<0, 0, 0>, ElementwiseKernel, kTraining},
      {"ConcatTraining", 0, 0, InferConcat, SweepKernel, kTraining},
      {"FakeQuant", 6, 1, InferLike<0, 0>, SweepKernel, kTraining},
      {"FakeQuantGrad", 1, 0, InferLike<0>, ElementwiseKernel, kGradient},
      {"YieldOp", 0, 0, InferInOrder<0>, SweepKernel, kTraining},
      {"PassThrough", 0, 0, InferInOrder<0>, SweepKernel, kTraining},
      {"WaitEvent", 0, 0, InferInOrder<1>, SweepKernel, kTraining},
      {"RecordEvent", 0, 0, InferInOrder<1>, SweepKernel, kTraining},
      {"Send", 0, 0, InferLike<kFlag>, SweepKernel, kTraining},
      {"Recv", 0, 0, InferLike<kFlag>, SweepKernel, kTraining},
      {"NcclAllReduce", 1, 0, InferInOrder<0>, SweepKernel, kTraining},
  };
  registry.Add({.domain = kMicrosoft, .type = "ReduceSumTraining", .same_as = {"ReduceSum", 13}});
  registry.Add({.domain = kMicrosoft, .type = "SplitTraining", .same_as = {"Split", 13}});
  registry.Add({.domain = kMicrosoft,
                .type = "BroadcastGradientArgs",
                .flops = 1,
                .infer = InferAxes,
                .upper_bound = AxesAtMost,
                .kernel = SweepKernel,
                .not_differentiable = "its result is axes"});
  for (const Row& row : rows) {
    registry.Add({.domain = kMicrosoft,
                  .type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .infer = row.infer,
                  .kernel = row.kernel,
                  .not_differentiable = row.reason,
                  .contraction = row.kernel == &ConvGradKernel<0> || row.kernel == &ConvGradKernel<1>});
  }
}

}  // namespace reusescope
