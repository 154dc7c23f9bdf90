// Reductions: sums, means, extrema, norms and products over some dimensions; and where the largest element is.
//
//   ReduceSum   Y[i,k] += X[i,j,k]          one point per element of X; the dimensions of Y are loops of X
//
// FLOPs are per element of X, and what finishes a result (the division of a mean, a root, a logarithm) per element of
// Y. Gradients spread dY over the reduced dimensions: an Expand of a sum, one operator "reusescope::<Op>Grad" of the
// others, which read what they need of X and Y. The sum that undoes broadcasting is "reusescope::Unbroadcast"; with
// attribute `axes`, it is the gradient of a bias.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/evaluate.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/ops/upper_bounds.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";

struct ReductionRow {
  absl::string_view type;
  int64_t flops, transcendentals;                // per element of X
  int64_t output_flops, output_transcendentals;  // per element of Y
  bool needs_x, needs_y;                         // by the gradient, besides dY
  int64_t grad_flops, grad_transcendentals;      // per element of X
  int64_t grad_output_flops, grad_output_transcendentals;
};

// Derivatives: textbook. What PyTorch keeps (derivatives.yaml) is what the gradient needs: amax, amin, prod, norm,
// logsumexp keep both, pow its input; see SavesOf for log.
constexpr ReductionRow kRows[] = {
    {"ReduceSum", 1, 0, 0, 0, false, false, 0, 0, 0, 0},       // dY
    {"ReduceMean", 1, 0, 1, 0, false, false, 0, 0, 1, 0},      // dY / n
    {"ReduceMax", 1, 0, 0, 0, true, true, 3, 0, 0, 1},         // dY where x = y, shared among equals
    {"ReduceMin", 1, 0, 0, 0, true, true, 3, 0, 0, 1},         // the same
    {"ReduceProd", 1, 0, 0, 0, true, true, 0, 1, 1, 0},        // (dY y) / x
    {"ReduceL1", 2, 0, 0, 0, true, false, 2, 0, 0, 0},         // dY sign(x)
    {"ReduceL2", 2, 0, 0, 1, true, true, 1, 0, 0, 1},          // (dY / y) x
    {"ReduceSumSquare", 2, 0, 0, 0, true, false, 1, 0, 1, 0},  // 2 dY x
    {"ReduceLogSum", 1, 0, 0, 1, false, true, 0, 0, 0, 2},     // dY / exp(y)
    {"ReduceLogSumExp", 3, 1, 1, 1, true, true, 2, 1, 0, 0},   // dY exp(x - y); forward subtracts the maximum
};

const ReductionRow* FindRow(absl::string_view type) {
  for (const ReductionRow& row : kRows) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

// Which dimensions of `full` are reduced.
using Reduced = absl::InlinedVector<bool, 5>;

// With axes that are computed: the dimensions that became one, or those that are missing.
absl::StatusOr<Reduced> ReducedBetween(const OpContext& ctx, const Shape& full, const Shape& kept) {
  Reduced reduced(full.size(), true);
  size_t next = 0;
  for (size_t d = 0; d < full.size(); ++d) {
    if (full.size() == kept.size()) {
      reduced[d] = full[d] != kept[d];
    } else if (next < kept.size() && full[d] == kept[next]) {
      reduced[d] = false;
      ++next;
    }
  }
  if (full.size() == kept.size() || next == kept.size()) return reduced;
  return ctx.Error(absl::StrCat("its axes are not known, and no choice of them makes ", ShapeString(kept), " of ",
                                ShapeString(full), "; make the axes a constant"));
}

// Of a node with axes as input 1 or attribute: none given means all, or none with noop_with_empty_axes.
absl::StatusOr<Reduced> ReducedOf(const OpContext& ctx, int axes_slot, const Shape& full, const Shape& kept) {
  const int rank = static_cast<int>(full.size());
  const std::optional<std::vector<int64_t>> axes = IntegerList(ctx, axes_slot, "axes");
  if (!axes.has_value() && ctx.HasInput(axes_slot)) {
    return ReducedBetween(ctx, full, kept);
  }
  if (!axes.has_value() || axes->empty()) {
    return Reduced(rank, ctx.attributes().Int("noop_with_empty_axes", 0) == 0);
  }
  Reduced reduced(rank, false);
  for (int64_t axis : *axes) {
    RS_ASSIGN_OR_RETURN(const int d, NormalizeAxis(ctx, axis, rank));
    reduced[d] = true;
  }
  return reduced;
}

// Index of the tensor with the kept dimensions, in loops over the full one: a constant where dimensions were kept as
// one, nothing where they were dropped.
absl::StatusOr<absl::InlinedVector<IndexExpr, 5>> KeptIndex(const OpContext& ctx, const Shape& full, const Shape& kept,
                                                            const Reduced& reduced) {
  absl::InlinedVector<IndexExpr, 5> index;
  const bool keep_dims = kept.size() == full.size();
  for (size_t d = 0; d < full.size(); ++d) {
    if (!reduced[d]) index.push_back(IndexOf(static_cast<int>(d), full[d]));
    if (reduced[d] && keep_dims) index.push_back(ConstantIndex(1));
  }
  if (index.size() != kept.size()) {
    return ctx.Error(absl::StrCat("a reduction of ", ShapeString(full), " has shape ", ShapeString(kept)));
  }
  return index;
}

absl::InlinedVector<IndexExpr, 5> FullIndex(const Shape& full) {
  absl::InlinedVector<IndexExpr, 5> index;
  for (size_t d = 0; d < full.size(); ++d) index.push_back(IndexOf(static_cast<int>(d), full[d]));
  return index;
}

// One point per element of X; Y (and every output) written once per kept position.
absl::StatusOr<Kernel> ReduceNest(const OpContext& ctx, const Reduced& reduced) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  const Shape& full = ctx.InShape(0);
  AddLoops(kernel, full);
  RS_ASSIGN_OR_RETURN(const auto kept, KeptIndex(ctx, full, ctx.OutShape(0), reduced));
  Access x = AffineInput(ctx, 0), y = AffineOutput(ctx, 0);
  x.index = FullIndex(full);
  y.index = kept;
  kernel.accesses.push_back(std::move(x));
  AddWholeInputs(ctx, kernel, 1);
  kernel.accesses.push_back(std::move(y));
  return kernel;
}

// Axes that are not known, and an output whose shape is an upper bound that none of their choices gives.
absl::StatusOr<Kernel> BoundedNest(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  AddLoops(kernel, ctx.InShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> ReduceKernel(const OpContext& ctx) {
  const absl::StatusOr<Reduced> reduced = ReducedOf(ctx, 1, ctx.InShape(0), ctx.OutShape(0));
  const bool bounded = !reduced.ok() && ctx.HasInput(1) && ctx.InLiteral(1) == nullptr;
  if (!reduced.ok() && !bounded) return reduced.status();
  RS_ASSIGN_OR_RETURN(Kernel kernel, bounded ? BoundedNest(ctx) : ReduceNest(ctx, *reduced));
  const ReductionRow* row = FindRow(ctx.node().op.type);
  kernel.extra_flops = row->output_flops * ctx.OutElements(0);
  kernel.extra_transcendentals = row->output_transcendentals * ctx.OutElements(0);
  return kernel;
}

absl::StatusOr<Kernel> ArgReduceKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(ctx, ctx.attributes().Int("axis", 0), ctx.InType(0).rank()));
  Reduced reduced(ctx.InType(0).rank(), false);
  reduced[axis] = true;
  return ReduceNest(ctx, reduced);
}

// dX over the full shape; dY and Y at the kept positions. Attributes `axes`, `noop_with_empty_axes`.
absl::StatusOr<Kernel> ReduceGradKernel(const OpContext& ctx) {
  const Shape& full = ctx.OutShape(0);
  const Shape& kept_shape = ctx.InShape(0);
  RS_ASSIGN_OR_RETURN(const Reduced reduced, ReducedOf(ctx, ctx.num_inputs(), full, kept_shape));
  RS_ASSIGN_OR_RETURN(const auto kept, KeptIndex(ctx, full, kept_shape, reduced));
  absl::string_view forward = ctx.node().op.type;
  forward.remove_suffix(4);  // "Grad"
  const ReductionRow* row = FindRow(forward);
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  kernel.extra_flops = row->grad_output_flops * ctx.InElements(0);
  kernel.extra_transcendentals = row->grad_output_transcendentals * ctx.InElements(0);
  AddLoops(kernel, full);
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    Access input = AffineInput(ctx, i);
    const bool is_x = row->needs_x && i == 1;
    input.index = is_x ? FullIndex(full) : kept;
    kernel.accesses.push_back(std::move(input));
  }
  Access dx = AffineOutput(ctx, 0);
  dx.index = FullIndex(full);
  kernel.accesses.push_back(std::move(dx));
  return kernel;
}

std::vector<int64_t> AxesOf(const Reduced& reduced) {
  std::vector<int64_t> axes;
  for (size_t d = 0; d < reduced.size(); ++d) {
    if (reduced[d]) axes.push_back(static_cast<int64_t>(d));
  }
  return axes;
}

ValueId ShapeConstant(GradientContext& ctx, const Shape& shape) {
  return ctx.Constant("shape", Literal::Ints({static_cast<int64_t>(shape.size())}, {shape.begin(), shape.end()}));
}

// The gradient of a sum repeats dY: seen with the reduced dimensions as ones, expanded.
absl::Status SumGradient(GradientContext& ctx, const Type& type, const Reduced& reduced) {
  ValueId gradient = ctx.GO(0);
  Shape ones = type.shape;
  for (size_t d = 0; d < ones.size(); ++d) {
    if (reduced[d]) ones[d] = 1;
  }
  if (ctx.TypeOf(gradient).shape != ones) {
    const ValueId target = ShapeConstant(ctx, ones);
    gradient = ctx.Emit("Reshape", {gradient, target}, Type::Tensor(type.dtype, ones));
  }
  if (ones != type.shape) {
    const ValueId target = ShapeConstant(ctx, type.shape);
    gradient = ctx.Emit("Expand", {gradient, target}, type);
  }
  ctx.SetGradient(0, gradient);
  return absl::OkStatus();
}

absl::Status ReduceGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  RS_ASSIGN_OR_RETURN(const Reduced reduced, ReducedOf(ctx.forward(), 1, type.shape, ctx.GradientType(0).shape));
  const ReductionRow* row = FindRow(ctx.node().op.type);
  if (row->type == "ReduceSum") return SumGradient(ctx, type, reduced);
  std::vector<ValueId> inputs = {ctx.GO(0)};
  if (row->needs_x) inputs.push_back(ctx.I(0));
  if (row->needs_y) inputs.push_back(ctx.O(0));
  const std::vector<int64_t> axes = AxesOf(reduced);
  Attributes attributes;
  if (axes.empty()) attributes.Set("noop_with_empty_axes", int64_t{1});
  attributes.Set("axes", axes);
  ctx.SetGradient(0, ctx.Emit(absl::StrCat("reusescope::", row->type, "Grad"), inputs, type, std::move(attributes)));
  return absl::OkStatus();
}

// What the gradient needs, but of a log: PyTorch keeps its input, the sum, which is no value of the graph.
void ReduceSaves(const OpContext& ctx, EagerSaves& saves) {
  const ReductionRow* row = FindRow(ctx.node().op.type);
  if (row->type == "ReduceLogSum") {
    saves.extra_activation_elements += ctx.OutElements(0);
    return;
  }
  if (row->needs_x) SavesInput(ctx, saves);
  if (row->needs_y) SavesOutput(ctx, saves);
}

// ---- The sum over what broadcasting repeated. Shapes align at the end, as in broadcasting; with attribute `axes`,
// those dimensions are summed and the others are the output's, in order.

absl::StatusOr<Kernel> UnbroadcastKernel(const OpContext& ctx) {
  const Shape& full = ctx.InShape(0);
  const Shape& kept = ctx.OutShape(0);
  Kernel kernel{.flops_per_point = ctx.semantics().flops};
  AddLoops(kernel, full);
  Access dy = AffineInput(ctx, 0), dx = AffineOutput(ctx, 0);
  dy.index = FullIndex(full);
  if (ctx.attributes().Has("axes")) {
    RS_ASSIGN_OR_RETURN(const Reduced reduced, ReducedOf(ctx, ctx.num_inputs(), full, kept));
    RS_ASSIGN_OR_RETURN(dx.index, KeptIndex(ctx, full, kept, reduced));
  } else {
    const int shift = static_cast<int>(full.size()) - static_cast<int>(kept.size());
    for (int d = 0; d < static_cast<int>(kept.size()); ++d) {
      const bool whole = d + shift >= 0 && full[d + shift] == kept[d];
      if (!whole && kept[d] != 1) {
        return ctx.Error(
            absl::StrCat("gradient is ", ShapeString(full), ", which does not broadcast from ", ShapeString(kept)));
      }
      dx.index.push_back(whole ? IndexOf(d + shift, kept[d]) : ConstantIndex(1));
    }
  }
  kernel.accesses = {dy, dx};
  return kernel;
}

// ---- Running products. dX = reverse running sum of (dY Y), divided by X.

absl::Status CumProdGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(0), ctx.O(0), ctx.I(1)};
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::CumProdGrad", inputs, type, ctx.node().attributes));
  return absl::OkStatus();
}

void CumProdSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  SavesOutput(ctx, saves);
}

}  // namespace

void RegisterReduction(OpRegistry& registry) {
  for (const ReductionRow& row : kRows) {
    const bool folds = row.type == "ReduceSum" || row.type == "ReduceProd" || row.type == "ReduceMax" ||
                       row.type == "ReduceMin" || row.type == "ReduceMean";
    registry.Add({.type = row.type,
                  .flops = row.flops,
                  .transcendentals = row.transcendentals,
                  .upper_bound = ReduceAtMost,
                  .evaluate = folds ? EvaluateReduce : nullptr,
                  .kernel = ReduceKernel,
                  .gradient = ReduceGradient,
                  .differentiable_inputs = 0b1,
                  .eager_saves = ReduceSaves});
  }
  // ReduceSum's gradient is made of views and Expand.
  const std::pair<absl::string_view, BodyFn> gradients[] = {{"ReduceMeanGrad", ReduceMeanGradBody},
                                                            {"ReduceMaxGrad", ReduceExtremumGradBody},
                                                            {"ReduceMinGrad", ReduceExtremumGradBody},
                                                            {"ReduceProdGrad", ReduceProdGradBody},
                                                            {"ReduceL1Grad", ReduceL1GradBody},
                                                            {"ReduceL2Grad", ReduceL2GradBody},
                                                            {"ReduceSumSquareGrad", ReduceSumSquareGradBody},
                                                            {"ReduceLogSumGrad", ReduceLogSumGradBody},
                                                            {"ReduceLogSumExpGrad", ReduceLogSumExpGradBody}};
  for (const auto& [type, body] : gradients) {
    const ReductionRow* row = FindRow(type.substr(0, type.size() - 4));
    registry.Add({.domain = kReuseScopeDomain,
                  .type = type,
                  .flops = row->grad_flops,
                  .transcendentals = row->grad_transcendentals,
                  .kernel = ReduceGradKernel,
                  .body = body,
                  .not_differentiable = kIsGradient});
  }
  registry.Add({.domain = kReuseScopeDomain,
                .type = "Unbroadcast",
                .flops = 1,
                .kernel = UnbroadcastKernel,
                .body = UnbroadcastBody,
                .not_differentiable = kIsGradient});
  for (absl::string_view type : {"ArgMax", "ArgMin"}) {
    registry.Add({.type = type,
                  .flops = 1,
                  .evaluate = EvaluateArgReduce,
                  .kernel = ArgReduceKernel,
                  .not_differentiable = "the result is an index"});
  }
  registry.Add({.type = "CumProd",
                .since_version = 26,
                .flops = 1,
                .kernel = SweepKernel,
                .gradient = CumProdGradient,
                .differentiable_inputs = 0b1,
                .eager_saves = CumProdSaves});
  registry.Add({.domain = kReuseScopeDomain,
                .type = "CumProdGrad",
                .flops = 2,
                .transcendentals = 1,
                .kernel = SweepKernel,
                .body = CumProdGradBody,
                .not_differentiable = kIsGradient});
}

}  // namespace reusescope
