// Operators that move or reinterpret elements without looking at them: views, copies, conversions.
//
// A view (Reshape, Squeeze, ...) is the same storage and no work; so is its gradient. What PyTorch makes a strided view
// (Transpose, Slice, Split, Expand) is a copy here: the elements of the output are read once and written once. None of
// them keeps anything for backward. (Sequences of tensors stand in sequences.cc, Resize and its like in resampling.cc.)

#include <algorithm>

#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/evaluate.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/mend.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/ops/resampling.h"
#include "analysis/ops/sequences.h"
#include "analysis/ops/upper_bounds.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";

std::vector<int64_t> Vector(const Shape& shape) { return {shape.begin(), shape.end()}; }

// A one-dimensional int64 constant, as shapes, axes and bounds are given to operators.
ValueId IntsConstant(GradientContext& ctx, absl::string_view suffix, std::vector<int64_t> values) {
  const auto size = static_cast<int64_t>(values.size());
  return ctx.Constant(suffix, Literal::Ints({size}, std::move(values)));
}

// `value` seen with another shape.
ValueId EmitReshape(GradientContext& ctx, ValueId value, const Shape& shape) {
  const ValueId target = IntsConstant(ctx, "shape", Vector(shape));
  return ctx.Emit("Reshape", {value, target}, Type::Tensor(ctx.TypeOf(value).dtype, shape));
}

absl::Status IdentityGradient(GradientContext& ctx) {
  if (ctx.Needs(0)) ctx.SetGradient(0, ctx.GO(0));
  return absl::OkStatus();
}

absl::Status ReshapeGradient(GradientContext& ctx) {  // dX is dY seen with the shape of X
  if (ctx.Needs(0)) ctx.SetGradient(0, EmitReshape(ctx, ctx.GO(0), ctx.TypeOf(ctx.I(0)).shape));
  return absl::OkStatus();
}

absl::Status TransposeGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  const int rank = type.rank();
  const absl::Span<const int64_t> perm = ctx.node().attributes.Ints("perm");
  std::vector<int64_t> inverse(rank);
  for (int d = 0; d < rank; ++d) {
    const int64_t from = perm.empty() ? rank - 1 - d : perm[d];
    if (from < 0 || from >= rank) return ctx.Error("perm is not a permutation of the dimensions");
    inverse[from] = d;
  }
  Attributes attributes;
  attributes.Set("perm", std::move(inverse));
  ctx.SetGradient(0, ctx.Emit("Transpose", {ctx.GO(0)}, type, std::move(attributes)));
  return absl::OkStatus();
}

// dX is dY at the places that were taken, zero elsewhere. Bounds are attributes where they are known, as in Slice-1.
absl::Status SliceGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  Attributes attributes;
  std::vector<ValueId> inputs = {ctx.GO(0)};
  constexpr absl::string_view kBounds[] = {"starts", "ends", "axes", "steps"};
  for (int i = 0; i < 4; ++i) {
    const std::optional<std::vector<int64_t>> values = IntegerList(ctx.forward(), i + 1, kBounds[i]);
    if (values.has_value()) {
      attributes.Set(kBounds[i], *values);
    } else if (ctx.I(i + 1) != kNoValue) {
      inputs.resize(i + 1, kNoValue);
      inputs.push_back(ctx.I(i + 1));
    }
  }
  ctx.SetGradient(0, ctx.Emit("reusescope::SliceGrad", inputs, ctx.TypeOf(ctx.I(0)), std::move(attributes)));
  return absl::OkStatus();
}

absl::Status SplitGradient(GradientContext& ctx) {  // dX = Concat(dY_j); an output without a gradient counts as zeros
  if (!ctx.Needs(0)) return absl::OkStatus();
  std::vector<ValueId> parts;
  for (int j = 0; j < static_cast<int>(ctx.node().outputs.size()); ++j) {
    if (ctx.GO(j) != kNoValue || ctx.O(j) == kNoValue) {
      parts.push_back(ctx.GO(j));
      continue;
    }
    const Type type = ctx.TypeOf(ctx.O(j));
    Attributes zero;
    zero.Set("value", Literal::Floats({1}, {0.0}, type.dtype));
    parts.push_back(
        ctx.Emit("ConstantOfShape", {IntsConstant(ctx, "zeros", Vector(type.shape))}, type, std::move(zero)));
  }
  if (std::find(parts.begin(), parts.end(), kNoValue) != parts.end()) {
    return ctx.Error("an output is left out, expected every part to be named");
  }
  Attributes attributes;
  attributes.Set("axis", ctx.node().attributes.Int("axis", 0));
  ctx.SetGradient(0, ctx.Emit("Concat", parts, ctx.TypeOf(ctx.I(0)), std::move(attributes)));
  return absl::OkStatus();
}

absl::Status ConcatGradient(GradientContext& ctx) {  // dX_i is its slice of dY
  const int rank = ctx.GradientType(0).rank();
  RS_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(ctx.forward(), ctx.node().attributes.Int("axis", 1), rank));
  int64_t start = 0;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Type type = ctx.TypeOf(ctx.I(i));
    const int64_t end = start + type.shape[axis];
    if (ctx.Needs(i)) {
      const ValueId starts = IntsConstant(ctx, "starts", {start});
      const ValueId ends = IntsConstant(ctx, "ends", {end});
      const ValueId axes = IntsConstant(ctx, "axes", {axis});
      ctx.SetGradient(i, ctx.Emit("Slice", {ctx.GO(0), starts, ends, axes}, type));
    }
    start = end;
  }
  return absl::OkStatus();
}

absl::Status ExpandGradient(GradientContext& ctx) {  // SetGradient sums over what was broadcast
  if (ctx.Needs(0)) ctx.SetGradient(0, ctx.GO(0));
  return absl::OkStatus();
}

// dY seen as [r0, d0, r1, d1, ...], summed over the repeats.
absl::Status TileGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  const Shape out = ctx.GradientType(0).shape;
  Shape split;
  std::vector<int64_t> repeats;  // axes
  for (int d = 0; d < type.rank(); ++d) {
    if (type.shape[d] != out[d]) {
      repeats.push_back(static_cast<int64_t>(split.size()));
      split.push_back(type.shape[d] == 0 ? 1 : out[d] / type.shape[d]);
    }
    split.push_back(type.shape[d]);
  }
  if (repeats.empty()) {
    ctx.SetGradient(0, ctx.GO(0));
    return absl::OkStatus();
  }
  const ValueId parts = EmitReshape(ctx, ctx.GO(0), split);
  Attributes attributes;
  attributes.Set("keepdims", int64_t{0});
  ctx.SetGradient(
      0, ctx.Emit("ReduceSum", {parts, IntsConstant(ctx, "axes", std::move(repeats))}, type, std::move(attributes)));
  return absl::OkStatus();
}

}  // namespace

std::optional<Dims> FullPads(const OpContext& ctx) {
  const int rank = ctx.InType(0).rank();
  const std::optional<std::vector<int64_t>> pads = IntegerList(ctx, 1, "pads");
  const std::optional<std::vector<int64_t>> axes = IntegerList(ctx, 3, "axes");
  if (!pads.has_value() || (ctx.HasInput(3) && !axes.has_value())) return std::nullopt;
  if (!axes.has_value()) return static_cast<int>(pads->size()) == 2 * rank ? pads : std::nullopt;
  std::vector<int64_t> full(2 * rank, 0);
  const size_t count = axes->size();
  if (pads->size() != 2 * count) return std::nullopt;
  for (size_t i = 0; i < count; ++i) {
    const int64_t axis = (*axes)[i] < 0 ? (*axes)[i] + rank : (*axes)[i];
    if (axis < 0 || axis >= rank) return std::nullopt;
    full[axis] = (*pads)[i];
    full[rank + axis] = (*pads)[count + i];
  }
  return full;
}

namespace {

// Of constant padding: what is left of dY without the border (a Slice; where the pad was negative, a Pad). Of the other
// modes, whose border repeats elements: an accumulating copy, PadGrad.
absl::Status PadGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  const std::optional<std::vector<int64_t>> pads = FullPads(ctx.forward());
  if (!pads.has_value() || ctx.node().attributes.String("mode", "constant") != "constant") {
    std::vector<ValueId> inputs = {ctx.GO(0)};
    for (int slot : {1, 3}) {
      if (ctx.I(slot) != kNoValue) inputs.push_back(ctx.I(slot));
    }
    ctx.SetGradient(0, ctx.Emit("reusescope::PadGrad", inputs, type, ctx.node().attributes));
    return absl::OkStatus();
  }
  if (std::any_of(pads->begin(), pads->end(), [](int64_t pad) { return pad < 0; })) {
    std::vector<int64_t> negated;
    for (int64_t pad : *pads) negated.push_back(-pad);
    const ValueId amounts = IntsConstant(ctx, "pads", std::move(negated));
    ctx.SetGradient(0, ctx.Emit("Pad", {ctx.GO(0), amounts}, type));
    return absl::OkStatus();
  }
  std::vector<int64_t> starts, ends, axes;
  for (int d = 0; d < type.rank(); ++d) {
    const int64_t begin = (*pads)[d];
    if (begin == 0 && (*pads)[type.rank() + d] == 0) continue;
    starts.push_back(begin);
    ends.push_back(begin + type.shape[d]);
    axes.push_back(d);
  }
  if (axes.empty()) {
    ctx.SetGradient(0, ctx.GO(0));
    return absl::OkStatus();
  }
  const ValueId from = IntsConstant(ctx, "starts", std::move(starts));
  const ValueId to = IntsConstant(ctx, "ends", std::move(ends));
  const ValueId along = IntsConstant(ctx, "axes", std::move(axes));
  ctx.SetGradient(0, ctx.Emit("Slice", {ctx.GO(0), from, to, along}, type));
  return absl::OkStatus();
}

// ---- Conversions.

bool SameDType(const OpContext& ctx) {
  return ctx.HasInput(0) && ctx.HasOutput(0) && ctx.InType(0).dtype == ctx.OutType(0).dtype;
}

Aliasing CastAlias(const OpContext& ctx) { return SameDType(ctx) ? Aliasing::kView : Aliasing::kNone; }

// A conversion reads and writes; it is no arithmetic. To the type that the tensor already has, it is nothing. The
// second input of CastLike is never looked at.
absl::StatusOr<Kernel> CastKernel(const OpContext& ctx) {
  Kernel kernel;
  if (SameDType(ctx)) return kernel;
  AddLoops(kernel, ctx.OutShape(0));
  Access from = AffineInput(ctx, 0), to = AffineOutput(ctx, 0);
  for (int d = 0; d < ctx.OutType(0).rank(); ++d) {
    from.index.push_back(IndexOf(d, ctx.OutShape(0)[d]));
    to.index.push_back(from.index.back());
  }
  kernel.accesses = {from, to};
  return kernel;
}

absl::Status CastGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  if (type.dtype == ctx.GradientType(0).dtype) {
    ctx.SetGradient(0, ctx.GO(0));
    return absl::OkStatus();
  }
  Attributes attributes;
  attributes.Set("to", static_cast<int64_t>(type.dtype));
  ctx.SetGradient(0, ctx.Emit("Cast", {ctx.GO(0)}, type, std::move(attributes)));
  return absl::OkStatus();
}

// ---- Rearrangements that undo each other.

absl::Status SpaceToDepthGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  Attributes attributes;
  attributes.Set("blocksize", ctx.node().attributes.Int("blocksize", 1));
  attributes.Set("mode", std::string("DCR"));
  ctx.SetGradient(0, ctx.Emit("DepthToSpace", {ctx.GO(0)}, ctx.TypeOf(ctx.I(0)), std::move(attributes)));
  return absl::OkStatus();
}

// Mode DCR is undone by SpaceToDepth. Mode CRD (PyTorch's PixelShuffle) is not: dY[n, c, h, r, w, s] goes to
// dX[n, c, r, s, h, w], two views and a Transpose.
absl::Status DepthToSpaceGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  const int64_t block = ctx.node().attributes.Int("blocksize", 1);
  Attributes attributes;
  if (ctx.node().attributes.String("mode", "DCR") != "CRD") {
    attributes.Set("blocksize", block);
    ctx.SetGradient(0, ctx.Emit("SpaceToDepth", {ctx.GO(0)}, type, std::move(attributes)));
    return absl::OkStatus();
  }
  if (type.rank() != 4) return ctx.Error("input has not four dimensions");
  const Shape out = ctx.GradientType(0).shape;
  const Shape& in = type.shape;
  const ValueId split = EmitReshape(ctx, ctx.GO(0), {in[0], out[1], in[2], block, in[3], block});
  attributes.Set("perm", std::vector<int64_t>{0, 1, 3, 5, 2, 4});
  const ValueId moved =
      ctx.Emit("Transpose", {split}, Type::Tensor(type.dtype, {in[0], out[1], block, block, in[2], in[3]}), attributes);
  ctx.SetGradient(0, EmitReshape(ctx, moved, in));
  return absl::OkStatus();
}

// The operator itself, applied to dY: Trilu keeps the same triangle, ReverseSequence turns the same prefix around.
absl::Status SameOperatorGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  std::vector<ValueId> inputs = {ctx.GO(0)};
  for (int i = 1; i < ctx.num_inputs(); ++i) inputs.push_back(ctx.I(i));
  const std::string type = ctx.node().op.type;
  ctx.SetGradient(0, ctx.Emit(type, inputs, ctx.TypeOf(ctx.I(0)), ctx.node().attributes));
  return absl::OkStatus();
}

// A row of an operator whose first input alone is data.
OpSemantics View(absl::string_view type, GradientFn gradient) {
  return {.type = type,
          .evaluate = EvaluateReshape,
          .kernel = NoKernel,
          .gradient = gradient,
          .differentiable_inputs = 0b1,
          .aliasing = Aliasing::kView};
}

OpSemantics Copy(absl::string_view type, EvaluateFn evaluate, GradientFn gradient,
                 Aliasing aliasing = Aliasing::kNone) {
  return {.type = type,
          .evaluate = evaluate,
          .kernel = CopyKernel,
          .gradient = gradient,
          .differentiable_inputs = 0b1,
          .aliasing = aliasing};
}

OpSemantics Bounded(OpSemantics row, InferFn upper_bound) {
  row.upper_bound = upper_bound;
  return row;
}

OpSemantics ShapedBy(int8_t input, OpSemantics row) {
  row.shape_input = input;
  return row;
}

}  // namespace

void RegisterLayout(OpRegistry& registry) {
  const OpSemantics rows[] = {
      // Another shape over the same bytes.
      Mended(MendReshape, ShapedBy(1, Bounded(View("Reshape", ReshapeGradient), ReshapeAtMost))),
      View("Flatten", ReshapeGradient),
      View("Squeeze", ReshapeGradient),
      View("Unsqueeze", ReshapeGradient),
      {.type = "Identity",
       .infer = InferLikeInput,
       .evaluate = EvaluateReshape,
       .kernel = NoKernel,
       .gradient = IdentityGradient,
       .aliasing = Aliasing::kView},
      // Strided views in PyTorch, copies where a runtime has no strides.
      {.type = "Transpose",
       .evaluate = EvaluateTranspose,
       .kernel = CopyKernel,
       .gradient = TransposeGradient,
       .aliasing = Aliasing::kStridedView,
       .absorbed_by_contraction = true},
      Bounded(Copy("Slice", EvaluateSlice, SliceGradient, Aliasing::kStridedView), AtMostLikeInput),
      Mended(MendSplit, Copy("Split", EvaluateSplit, SplitGradient, Aliasing::kStridedView)),
      ShapedBy(1, Copy("Expand", EvaluateExpand, ExpandGradient, Aliasing::kStridedView)),
      // Copies.
      {.type = "Concat",
       .evaluate = EvaluateConcat,
       .kernel = CopyKernel,
       .gradient = ConcatGradient,
       .batched_inputs = ~0u},
      Copy("Tile", EvaluateTile, TileGradient),
      Mended(MendPad, Copy("Pad", EvaluatePad, PadGradient)),
      Copy("SpaceToDepth", nullptr, SpaceToDepthGradient),
      Copy("DepthToSpace", nullptr, DepthToSpaceGradient),
      Copy("Trilu", EvaluateTrilu, SameOperatorGradient),
      Copy("ReverseSequence", nullptr, SameOperatorGradient),
      // Conversions.
      {.type = "Cast",
       .evaluate = EvaluateCast,
       .kernel = CastKernel,
       .gradient = CastGradient,
       .differentiable_inputs = 0b1,
       .alias = CastAlias},
      {.type = "CastLike",
       .evaluate = EvaluateCast,
       .kernel = CastKernel,
       .gradient = CastGradient,
       .differentiable_inputs = 0b1,
       .alias = CastAlias},
      // Gradients: dY into a whole dX; where elements were repeated, one addition each.
      {.domain = kReuseScopeDomain,
       .type = "SliceGrad",
       .kernel = SweepKernel,
       .body = SliceGradBody,
       .not_differentiable = kIsGradient},
      {.domain = kReuseScopeDomain,
       .type = "PadGrad",
       .flops = 1,
       .kernel = SweepKernel,
       .body = PadGradBody,
       .not_differentiable = kIsGradient},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
  RegisterSequences(registry);
  RegisterResampling(registry);
}

}  // namespace reusescope
