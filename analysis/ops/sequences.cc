#include "analysis/ops/sequences.h"

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/lower_context.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

using Parts = std::vector<ValueId>;

// The parts of input `slot`, or nothing when it is not a list that the graph spells out.
std::optional<Parts> PartsOf(const LowerContext& ctx, int slot) {
  const ValueId sequence = ctx.I(slot);
  const Graph& graph = ctx.node().graph();
  if (sequence == kNoValue || graph.value(sequence).producer == kNoNode) return std::nullopt;
  const Node& producer = graph.node(graph.value(sequence).producer);
  if (producer.op.domain.empty() && producer.op.type == "SequenceEmpty") return Parts{};
  if (!producer.op.domain.empty() || producer.op.type != "SequenceConstruct") return std::nullopt;
  return Parts(producer.inputs.begin(), producer.inputs.end());
}

// Position on input `slot`, counted from the end when negative; `absent` when the input is omitted. Nothing when it is
// not known or out of [0, limit].
std::optional<int64_t> PositionOf(const LowerContext& ctx, int slot, int64_t size, int64_t limit, int64_t absent) {
  if (ctx.I(slot) == kNoValue) return absent;
  const Literal* literal = ctx.node().InLiteral(slot);
  if (literal == nullptr || !literal->has_data || literal->ints.size() != 1) return std::nullopt;
  const int64_t position = literal->ints[0] < 0 ? literal->ints[0] + size : literal->ints[0];
  if (position < 0 || position > limit) return std::nullopt;
  return position;
}

// The node stays as it is: what it lists is not known.
absl::Status Unresolved() { return absl::OkStatus(); }

absl::Status NoGradientOfUnresolved(GradientContext&) {
  return absl::UnimplementedError("takes or lists tensors that are not known before the model runs");
}

// Every element of X is written once, into whichever part.
absl::StatusOr<Kernel> SplitKernel(const OpContext& ctx) {
  Kernel kernel{.loops = {{'i', ctx.InElements(0)}}};
  kernel.accesses.push_back(WholeInput(ctx, 0));
  kernel.accesses.push_back(WholeOutput(ctx, 0));
  kernel.accesses.back().elements = ctx.InElements(0);
  return kernel;
}

void ReplaceBySequence(LowerContext& ctx, const Parts& parts) {
  const Type type = ctx.node().OutType(0);
  ctx.ReplaceOutput(0, ctx.Emit("SequenceConstruct", parts, type));
}

// Lengths of the parts along `axis`, or nothing when they are not known.
std::optional<std::vector<int64_t>> PartLengths(const OpContext& ctx, int axis) {
  const int64_t extent = ctx.InShape(0)[axis];
  if (extent < 0) return std::nullopt;
  int64_t chunk = 1;
  if (ctx.HasInput(1)) {
    const Literal* split = ctx.InLiteral(1);
    if (split == nullptr || !split->has_data || split->ints.empty()) return std::nullopt;
    if (!split->shape.empty()) return split->ints;
    chunk = split->ints[0];
  }
  constexpr int64_t kMaxParts = 65536;
  if (chunk <= 0 || extent / chunk >= kMaxParts) return std::nullopt;
  std::vector<int64_t> lengths;
  for (int64_t start = 0; start < extent; start += chunk) lengths.push_back(std::min(chunk, extent - start));
  return lengths;
}

absl::Status LowerSplitToSequence(LowerContext& ctx) {
  const Type input = ctx.TypeOf(ctx.I(0));
  RS_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(ctx.node(), ctx.node().attributes().Int("axis", 0), input.rank()));
  const std::optional<std::vector<int64_t>> lengths = PartLengths(ctx.node(), axis);
  if (!lengths.has_value() || lengths->empty()) return Unresolved();
  // Without `split`, parts are one long and keepdims may drop the dimension; with it, keepdims has no say.
  const bool squeeze = ctx.I(1) == kNoValue && ctx.node().attributes().Int("keepdims", 1) == 0;
  std::vector<Type> types(lengths->size(), input);
  for (size_t i = 0; i < lengths->size(); ++i) types[i].shape[axis] = (*lengths)[i];
  Attributes attributes;
  attributes.Set("axis", int64_t{axis});
  const auto count = static_cast<int64_t>(lengths->size());
  const ValueId split = ctx.Constant("split", Literal::Ints({count}, *lengths));
  Parts parts = ctx.EmitMany("Split", {ctx.I(0), split}, types, std::move(attributes));
  if (squeeze) {
    const ValueId axes = ctx.Constant("axes", Literal::Ints({1}, {axis}));
    Type squeezed = input;
    squeezed.shape.erase(squeezed.shape.begin() + axis);
    for (ValueId& part : parts) part = ctx.Emit("Squeeze", {part, axes}, squeezed);
  }
  ReplaceBySequence(ctx, parts);
  return absl::OkStatus();
}

absl::Status LowerSequenceAt(LowerContext& ctx) {
  const std::optional<Parts> parts = PartsOf(ctx, 0);
  if (!parts.has_value() || parts->empty()) return Unresolved();
  const auto size = static_cast<int64_t>(parts->size());
  const std::optional<int64_t> position = PositionOf(ctx, 1, size, size - 1, -1);
  if (!position.has_value() || *position < 0) return Unresolved();
  const ValueId part = (*parts)[*position];
  ctx.ReplaceOutput(0, ctx.Emit("Identity", {part}, ctx.TypeOf(part)));
  return absl::OkStatus();
}

absl::Status LowerSequenceInsert(LowerContext& ctx) {
  std::optional<Parts> parts = PartsOf(ctx, 0);
  if (!parts.has_value()) return Unresolved();
  const auto size = static_cast<int64_t>(parts->size());
  const std::optional<int64_t> position = PositionOf(ctx, 2, size, size, size);
  if (!position.has_value()) return Unresolved();
  parts->insert(parts->begin() + *position, ctx.I(1));
  ReplaceBySequence(ctx, *parts);
  return absl::OkStatus();
}

absl::Status LowerSequenceErase(LowerContext& ctx) {
  std::optional<Parts> parts = PartsOf(ctx, 0);
  if (!parts.has_value() || parts->size() < 2) return Unresolved();
  const auto size = static_cast<int64_t>(parts->size());
  const std::optional<int64_t> position = PositionOf(ctx, 1, size, size - 1, size - 1);
  if (!position.has_value()) return Unresolved();
  parts->erase(parts->begin() + *position);
  ReplaceBySequence(ctx, *parts);
  return absl::OkStatus();
}

absl::Status LowerConcatFromSequence(LowerContext& ctx) {
  std::optional<Parts> parts = PartsOf(ctx, 0);
  if (!parts.has_value() || parts->empty()) return Unresolved();
  const Type output = ctx.node().OutType(0);
  RS_ASSIGN_OR_RETURN(const int axis, NormalizeAxis(ctx.node(), ctx.node().attributes().Int("axis", 0), output.rank()));
  if (ctx.node().attributes().Int("new_axis", 0) != 0) {
    const ValueId axes = ctx.Constant("axes", Literal::Ints({1}, {axis}));
    Type part_type = output;
    part_type.shape[axis] = 1;
    for (ValueId& part : *parts) part = ctx.Emit("Unsqueeze", {part, axes}, part_type);
  }
  Attributes attributes;
  attributes.Set("axis", int64_t{axis});
  ctx.ReplaceOutput(0, ctx.Emit("Concat", *parts, output, std::move(attributes)));
  return absl::OkStatus();
}

}  // namespace

void RegisterSequences(OpRegistry& registry) {
  constexpr absl::string_view kList = "a list of tensors: gradients go through what takes its elements";
  const OpSemantics rows[] = {
      {.type = "SequenceConstruct", .infer = InferSequenceConstruct, .kernel = NoKernel, .not_differentiable = kList},
      {.type = "SequenceEmpty", .infer = InferSequenceEmpty, .kernel = NoKernel, .not_differentiable = kList},
      {.type = "SplitToSequence",
       .infer = InferSplitToSequence,
       .lower = LowerSplitToSequence,
       .kernel = SplitKernel,
       .gradient = NoGradientOfUnresolved,
       .aliasing = Aliasing::kStridedView},
      {.type = "SequenceInsert",
       .infer = InferSequenceInsert,
       .lower = LowerSequenceInsert,
       .kernel = NoKernel,
       .gradient = NoGradientOfUnresolved},
      {.type = "SequenceErase",
       .infer = InferSequenceErase,
       .lower = LowerSequenceErase,
       .kernel = NoKernel,
       .gradient = NoGradientOfUnresolved},
      {.type = "SequenceAt",
       .lower = LowerSequenceAt,
       .kernel = CopyKernel,
       .gradient = NoGradientOfUnresolved,
       .aliasing = Aliasing::kStridedView},
      {.type = "ConcatFromSequence",
       .infer = InferConcatFromSequence,
       .lower = LowerConcatFromSequence,
       .kernel = CopyKernel,
       .gradient = NoGradientOfUnresolved},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
