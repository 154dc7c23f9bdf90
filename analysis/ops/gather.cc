// Operators that read or write elements by index or by value: lookups, scatters, selections.
//
//   Gather    Y[i, d] = W[index[i], d]          reads the rows looked up, at most the table
//   gradient  dW = 0; dW[index[i], d] += dY[i, d]      one addition per element of dY
//
// The gradient of a lookup is dense, as PyTorch's is unless sparse=True: the whole table is written once (zeros, and
// the rows that were looked up accumulated in place), however few rows a batch touches. Which rows are equal is data;
// so reads count every row looked up as distinct, up to the size of the table.
//
// Eager PyTorch keeps the indices (index_select, embedding, gather, scatter, topk), and gather its input besides. A
// lookup with one known scalar index is a strided view there (select) and keeps nothing.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/evaluate.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/ops/upper_bounds.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";

// ---- Lookups. The gradient's operator is "reusescope::<Op>Grad"(dY, indices).

absl::Status LookupGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const std::string type = absl::StrCat("reusescope::", ctx.node().op.type, "Grad");
  ctx.SetGradient(0, ctx.Emit(type, {ctx.GO(0), ctx.I(1)}, ctx.TypeOf(ctx.I(0)), ctx.node().attributes));
  return absl::OkStatus();
}

bool IsSelect(const OpContext& ctx) {
  return ctx.HasInput(1) && ctx.InType(1).rank() == 0 && ctx.InLiteral(1) != nullptr;
}

Aliasing GatherAlias(const OpContext& ctx) { return IsSelect(ctx) ? Aliasing::kStridedView : Aliasing::kNone; }

void GatherSaves(const OpContext& ctx, EagerSaves& saves) {
  if (!IsSelect(ctx)) saves.values.push_back(ctx.node().inputs[1]);
}

void SavesIndices(const OpContext& ctx, EagerSaves& saves) { saves.values.push_back(ctx.node().inputs[1]); }

void GatherElementsSaves(const OpContext& ctx, EagerSaves& saves) {
  for (int i : {0, 1}) saves.values.push_back(ctx.node().inputs[i]);
}

// ---- Scatters: Y = data, with `updates` written over it or combined with it at `indices`.

enum class Reduction { kNone, kAdd, kOther };

Reduction ReductionOf(const Attributes& attributes) {
  const absl::string_view name = attributes.String("reduction", "none");
  return name == "none" ? Reduction::kNone : name == "add" ? Reduction::kAdd : Reduction::kOther;
}

// Every operand read once, Y (or dData: dY with zeros at the indices) written whole.
absl::StatusOr<Kernel> ScatterKernel(const OpContext& ctx) {
  Kernel kernel;
  kernel.loops.push_back({'i', ctx.OutElements(0)});
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  if (ctx.HasInput(2) && ReductionOf(ctx.attributes()) != Reduction::kNone) kernel.extra_flops = ctx.InElements(2);
  return kernel;
}

// With a product, a minimum or a maximum, both gradients depend on the operands and the result.
absl::Status ReducingScatterGradient(GradientContext& ctx, absl::string_view op) {
  const std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(1), ctx.I(0), ctx.I(2), ctx.O(0)};
  for (int i : {0, 2}) {
    if (!ctx.Needs(i)) continue;
    const std::string name = absl::StrCat("reusescope::", op, i == 0 ? "ReduceDataGrad" : "ReduceUpdatesGrad");
    const Type type = ctx.TypeOf(ctx.I(i));
    ctx.SetGradient(i, ctx.Emit(name, inputs, type, ctx.node().attributes));
  }
  return absl::OkStatus();
}

// dData = dY with zeros where updates went (all of dY when they were added); dUpdates = dY at the indices.
absl::Status ScatterGradient(GradientContext& ctx, absl::string_view lookup) {
  const Reduction reduction = ReductionOf(ctx.node().attributes);
  const absl::string_view op = lookup == "GatherND" ? "ScatterND" : "ScatterElements";
  if (reduction == Reduction::kOther) return ReducingScatterGradient(ctx, op);
  Attributes attributes;
  if (ctx.node().attributes.Has("axis")) attributes.Set("axis", ctx.node().attributes.Int("axis", 0));
  if (ctx.Needs(0)) {
    const Type type = ctx.TypeOf(ctx.I(0));
    const std::string name = absl::StrCat("reusescope::", op, "DataGrad");
    ctx.SetGradient(0,
                    reduction == Reduction::kAdd ? ctx.GO(0) : ctx.Emit(name, {ctx.GO(0), ctx.I(1)}, type, attributes));
  }
  if (ctx.Needs(2)) {
    const Type type = ctx.TypeOf(ctx.I(2));
    ctx.SetGradient(2, ctx.Emit(lookup, {ctx.GO(0), ctx.I(1)}, type, attributes));
  }
  return absl::OkStatus();
}

absl::Status ScatterElementsGradient(GradientContext& ctx) { return ScatterGradient(ctx, "GatherElements"); }
absl::Status ScatterNDGradient(GradientContext& ctx) { return ScatterGradient(ctx, "GatherND"); }

void ScatterSaves(const OpContext& ctx, EagerSaves& saves) {
  saves.values.push_back(ctx.node().inputs[1]);
  if (ReductionOf(ctx.attributes()) != Reduction::kOther) return;
  for (int i : {0, 2}) saves.values.push_back(ctx.node().inputs[i]);
  saves.values.push_back(ctx.node().outputs[0]);
}

// TensorScatter(past, update, write_indices): rows of a cache written at positions that are data.
absl::Status TensorScatterGradient(GradientContext& ctx) {
  std::vector<ValueId> inputs = {ctx.GO(0)};
  if (ctx.I(2) != kNoValue) inputs.push_back(ctx.I(2));
  for (int i : {0, 1}) {
    if (!ctx.Needs(i)) continue;
    const std::string name = i == 0 ? "reusescope::TensorScatterPastGrad" : "reusescope::TensorScatterUpdateGrad";
    const Type type = ctx.TypeOf(ctx.I(i));
    ctx.SetGradient(i, ctx.Emit(name, inputs, type, ctx.node().attributes));
  }
  return absl::OkStatus();
}

// ---- Selections by value.

// A heap of the k best: every element costs log2(2k) comparisons at most.
absl::StatusOr<Kernel> TopKKernel(const OpContext& ctx) {
  const int rank = ctx.InType(0).rank();
  const absl::StatusOr<int> axis = NormalizeAxis(ctx, ctx.attributes().Int("axis", -1), rank);
  if (!axis.ok()) return axis.status();
  Kernel kernel{.flops_per_point = 1};
  for (int64_t k = ctx.OutShape(0)[*axis]; k > 1; k = (k + 1) / 2) ++kernel.flops_per_point;
  kernel.loops.push_back({'i', ctx.InElements(0)});
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::Status TopKGradient(GradientContext& ctx) {  // dX = 0; dX[at indices] = dY
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  Attributes attributes;
  attributes.Set("axis", ctx.node().attributes.Int("axis", -1));
  ctx.SetGradient(0, ctx.Emit("reusescope::GatherElementsGrad", {ctx.GO(0), ctx.O(1)}, type, std::move(attributes)));
  return absl::OkStatus();
}

void TopKSaves(const OpContext& ctx, EagerSaves& saves) {
  if (ctx.HasOutput(1)) saves.values.push_back(ctx.node().outputs[1]);
}

// Sorting n elements of a list: n log2(n) comparisons.
absl::StatusOr<Kernel> SortKernel(const OpContext& ctx) {
  Kernel kernel;
  for (int64_t n = ctx.InElements(0); n > 1; n = (n + 1) / 2) ++kernel.flops_per_point;
  kernel.loops.push_back({'i', ctx.InElements(0)});
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

// At most: every box that is kept is compared with every box of its class, 16 FLOPs for the overlap of two (four min or
// max, four subtractions, clipping, three areas, the comparison) and a division. How many are kept is data.
absl::StatusOr<Kernel> NonMaxSuppressionKernel(const OpContext& ctx) {
  constexpr int64_t kOverlapFlops = 16;
  const Shape& scores = ctx.InShape(1);
  if (scores.size() != 3) return ctx.Error(absl::StrCat("scores are ", TypeString(ctx.InType(1)), ", expected 3-D"));
  const Literal* limit = ctx.InLiteral(2);
  int64_t kept = ctx.HasInput(2) ? scores[2] : 0;
  if (limit != nullptr && limit->ints.size() == 1) kept = std::clamp<int64_t>(limit->ints[0], 0, scores[2]);
  Kernel kernel{.flops_per_point = kOverlapFlops, .transcendentals_per_point = 1};
  AddLoop(kernel, 'n', scores[0]);
  AddLoop(kernel, 'c', scores[1]);
  AddLoop(kernel, 'k', kept);
  AddLoop(kernel, 'b', scores[2]);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

OpSemantics Gradient(absl::string_view type, int64_t flops, KernelFn kernel, BodyFn body = nullptr) {
  return {.domain = kReuseScopeDomain,
          .type = type,
          .flops = flops,
          .kernel = kernel,
          .body = body,
          .not_differentiable = kIsGradient};
}

// Output j of a scatter is its data; indices have no gradient.
OpSemantics Scatter(absl::string_view type, EvaluateFn evaluate, GradientFn gradient) {
  return {.type = type,
          .evaluate = evaluate,
          .kernel = ScatterKernel,
          .gradient = gradient,
          .differentiable_inputs = 0b101,
          .eager_saves = ScatterSaves};
}

void RegisterGradients(OpRegistry& registry) {
  const OpSemantics rows[] = {
      // dY and indices into a whole, zero-filled dX; one addition per element of dY (SweepKernel's points).
      Gradient("GatherGrad", 1, SweepKernel, GatherGradBody),
      Gradient("GatherElementsGrad", 1, SweepKernel, GatherElementsGradBody),
      Gradient("GatherNDGrad", 1, SweepKernel, GatherNDGradBody),
      Gradient("CompressGrad", 0, SweepKernel, CompressGradBody),
      Gradient("ScatterElementsDataGrad", 0, ScatterKernel, ScatterElementsDataGradBody),
      Gradient("ScatterNDDataGrad", 0, ScatterKernel, ScatterNDDataGradBody),
      // Compare with the result (or divide by the operand), and multiply: 3 per element.
      Gradient("ScatterElementsReduceDataGrad", 3, SweepKernel, ScatterElementsReduceDataGradBody),
      Gradient("ScatterElementsReduceUpdatesGrad", 3, SweepKernel, ScatterElementsReduceUpdatesGradBody),
      Gradient("ScatterNDReduceDataGrad", 3, SweepKernel, ScatterNDReduceDataGradBody),
      Gradient("ScatterNDReduceUpdatesGrad", 3, SweepKernel, ScatterNDReduceUpdatesGradBody),
      Gradient("TensorScatterPastGrad", 0, CopyKernel, TensorScatterPastGradBody),
      Gradient("TensorScatterUpdateGrad", 0, CopyKernel, TensorScatterUpdateGradBody),
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace

void RegisterGather(OpRegistry& registry) {
  constexpr absl::string_view kIndices = "the result is indices";
  const OpSemantics rows[] = {
      {.type = "Gather",
       .evaluate = EvaluateGather,
       .kernel = CopyKernel,
       .gradient = LookupGradient,
       .differentiable_inputs = 0b1,
       .alias = GatherAlias,
       .eager_saves = GatherSaves},
      {.type = "GatherElements",
       .evaluate = EvaluateGatherElements,
       .kernel = CopyKernel,
       .gradient = LookupGradient,
       .differentiable_inputs = 0b1,
       .eager_saves = GatherElementsSaves},
      {.type = "GatherND",
       .evaluate = EvaluateGatherND,
       .kernel = CopyKernel,
       .gradient = LookupGradient,
       .differentiable_inputs = 0b1,
       .eager_saves = SavesIndices},
      {.type = "Compress",
       .infer = InferCompress,
       .upper_bound = CompressAtMost,
       .evaluate = EvaluateCompress,
       .kernel = CopyKernel,
       .gradient = LookupGradient,
       .differentiable_inputs = 0b1,
       .eager_saves = SavesIndices},
      Scatter("Scatter", EvaluateScatterElements, ScatterElementsGradient),
      Scatter("ScatterElements", EvaluateScatterElements, ScatterElementsGradient),
      Scatter("ScatterND", EvaluateScatterND, ScatterNDGradient),
      {.type = "TensorScatter",
       .kernel = ScatterKernel,
       .gradient = TensorScatterGradient,
       .differentiable_inputs = 0b11},
      {.type = "TopK",
       .upper_bound = AtMostLikeInput,
       .evaluate = EvaluateTopK,
       .kernel = TopKKernel,
       .gradient = TopKGradient,
       .differentiable_inputs = 0b1,
       .eager_saves = TopKSaves},
      {.type = "OneHot",
       .evaluate = EvaluateOneHot,
       .kernel = CopyKernel,
       .not_differentiable = "its inputs are indices and two constants"},
      {.type = "NonZero",
       .flops = 1,
       .upper_bound = NonZeroAtMost,
       .evaluate = EvaluateNonZero,
       .kernel = SweepKernel,
       .not_differentiable = kIndices},
      {.type = "Unique",
       .upper_bound = UniqueAtMost,
       .evaluate = EvaluateUnique,
       .kernel = SortKernel,
       .not_differentiable = "a set: which elements are equal is data"},
      {.type = "NonMaxSuppression",
       .upper_bound = NonMaxSuppressionAtMost,
       .kernel = NonMaxSuppressionKernel,
       .not_differentiable = kIndices},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
  RegisterGradients(registry);
}

}  // namespace reusescope
