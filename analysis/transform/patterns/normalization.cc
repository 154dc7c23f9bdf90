#include <algorithm>

#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

// d / Sqrt(Mean(d^2) + epsilon), however the division is written.
struct Normalized {
  ValueId operand = kNoValue;  // d
  double epsilon = 0;
  int64_t axis = 0;  // the mean runs over this axis and all behind it
  NodeId root = kNoNode;
};

// What `value` is before Casts. Others may read the cast value too, so the Casts are no part of a match; those that
// nothing reads afterwards go with the dead nodes.
ValueId Source(const Matcher& matcher, ValueId value) {
  Match ignored;
  return matcher.SkipBack(value, ignored, /*casts=*/true);
}

// The first of the axes that a ReduceMean with keepdims runs over, if they are the last ones of its input; -1
// otherwise.
int64_t FirstOfLastAxes(const Matcher& matcher, const Node& mean) {
  const int64_t rank = matcher.graph().value(mean.inputs[0]).type.rank();
  std::vector<int64_t> axes(mean.attributes.Ints("axes").begin(), mean.attributes.Ints("axes").end());
  const Literal* literal = mean.inputs.size() > 1 ? matcher.graph().literal(mean.inputs[1]) : nullptr;
  if (literal != nullptr && literal->has_data) axes = literal->ints;
  if (axes.empty() || mean.attributes.Int("keepdims", 1) != 1) return -1;
  for (int64_t& axis : axes) axis += axis < 0 ? rank : 0;
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] != rank - static_cast<int64_t>(axes.size() - i)) return -1;
  }
  return axes[0];
}

// The d of d * d or d ^ 2; kNoValue if `value` is neither.
ValueId SquareRoot(const Matcher& matcher, ValueId value, Match& match) {
  const NodeId id = matcher.Producer(matcher.SkipBack(value, match));
  if (!matcher.Is(id, "Mul") && !matcher.Is(id, "Pow")) return kNoValue;
  const Node& node = matcher.graph().node(id);
  const bool square = matcher.Is(id, "Pow") ? matcher.IsScalar(node.inputs[1], 2) : node.inputs[0] == node.inputs[1];
  if (!square) return kNoValue;
  match.Add(id);
  return node.inputs[0];
}

// The node that divides something by `root` (the square root): Div(d, root), d * Reciprocal(root), d * Div(1, root).
// Sets `dividend` to d.
NodeId Division(const Matcher& matcher, ValueId root, ValueId& dividend, Match& match) {
  NodeId id = matcher.SoleReader(root, match);
  if (id == kNoNode) return kNoNode;
  const Node& first = matcher.graph().node(id);
  if (matcher.Is(id, "Div") && first.inputs[1] == root && !matcher.IsScalar(first.inputs[0], 1)) {
    dividend = first.inputs[0];
    return id;
  }
  const bool inverts = matcher.Is(id, "Reciprocal") || (matcher.Is(id, "Div") && first.inputs[1] == root);
  if (!inverts) return kNoNode;
  match.Add(id);
  ValueId inverse = first.outputs[0];
  id = matcher.SoleReader(inverse, match);
  if (!matcher.Is(id, "Mul")) return kNoNode;
  dividend = matcher.Other(matcher.graph().node(id), inverse);
  return id;
}

// Anchored at the Sqrt. False if it is none.
bool MatchNormalized(const Matcher& matcher, NodeId sqrt, Normalized& found, Match& match) {
  match.Add(sqrt);
  const Node* add = matcher.Produced(matcher.graph().node(sqrt).inputs[0], "Add", match);
  if (add == nullptr) return false;
  const int side = matcher.Scalar(add->inputs[0]).has_value() ? 0 : 1;
  const std::optional<double> epsilon = matcher.Scalar(add->inputs[side]);
  if (!epsilon.has_value()) return false;
  const Node* mean = matcher.Produced(add->inputs[1 - side], "ReduceMean", match);
  if (mean == nullptr) return false;
  found.epsilon = *epsilon;
  found.axis = FirstOfLastAxes(matcher, *mean);
  found.operand = SquareRoot(matcher, mean->inputs[0], match);
  if (found.axis < 0 || found.operand == kNoValue) return false;
  ValueId dividend = kNoValue;
  found.root = Division(matcher, matcher.graph().node(sqrt).outputs[0], dividend, match);
  if (found.root == kNoNode) return false;
  match.Add(found.root);
  if (Source(matcher, dividend) == Source(matcher, found.operand)) return true;
  // Some exporters subtract the mean twice.
  const Node* a = matcher.Produced(found.operand, "Sub", match);
  const Node* b = matcher.Produced(dividend, "Sub", match);
  return a != nullptr && b != nullptr && a->inputs == b->inputs;
}

// The x of d = x - Mean(x) over the same axes; kNoValue if it is none.
ValueId Centered(const Matcher& matcher, const Normalized& normalized, Match& match) {
  const Node* sub = matcher.Produced(normalized.operand, "Sub", match);
  if (sub == nullptr) return kNoValue;
  const Node* mean = matcher.Produced(sub->inputs[1], "ReduceMean", match);
  if (mean == nullptr || FirstOfLastAxes(matcher, *mean) != normalized.axis) return kNoValue;
  return Source(matcher, mean->inputs[0]) == Source(matcher, sub->inputs[0]) ? sub->inputs[0] : kNoValue;
}

// From `root` on to the `type` node that applies a stored or computed tensor of exactly the normalized dimensions.
// Returns that tensor and moves `root` to the node; kNoValue if there is none.
ValueId Affine(const Matcher& matcher, absl::string_view type, int64_t axis, NodeId& root, Match& match) {
  Match attempt = match;
  const Shape& shape = matcher.graph().value(matcher.graph().node(root).outputs[0]).type.shape;
  ValueId value = matcher.graph().node(root).outputs[0];
  const NodeId id = matcher.SoleReader(value, attempt, /*casts=*/true);
  if (!matcher.Is(id, type)) return kNoValue;
  const ValueId tensor = matcher.Other(matcher.graph().node(id), value);
  if (tensor == kNoValue || tensor == value) return kNoValue;
  const Shape& found = matcher.graph().value(tensor).type.shape;
  if (!std::equal(found.begin(), found.end(), shape.begin() + axis, shape.end())) return kNoValue;
  attempt.Add(id);
  match = attempt;
  root = id;
  return tensor;
}

// Half-precision models normalize in float32: the Cast before belongs to the operator when the result is cast back.
ValueId BeforeCast(const Matcher& matcher, ValueId x, NodeId root) {
  const ValueId source = Source(matcher, x);
  const ValueId result = matcher.graph().node(root).outputs[0];
  return matcher.graph().value(source).type == matcher.graph().value(result).type ? source : x;
}

bool FuseAt(Matcher& matcher, NodeId sqrt, bool centered) {
  Match match;
  Normalized normalized;
  if (!MatchNormalized(matcher, sqrt, normalized, match)) return false;
  ValueId x = Centered(matcher, normalized, match);
  if (centered != (x != kNoValue)) return false;
  if (!centered) x = normalized.operand;
  NodeId root = normalized.root;
  absl::InlinedVector<ValueId, 3> inputs = {x, Affine(matcher, "Mul", normalized.axis, root, match)};
  if (inputs[1] == kNoValue) return false;
  if (centered) {
    const ValueId bias = Affine(matcher, "Add", normalized.axis, root, match);
    if (bias != kNoValue) inputs.push_back(bias);
  }
  inputs[0] = BeforeCast(matcher, x, root);
  if (matcher.graph().value(inputs[0]).type != matcher.graph().value(matcher.graph().node(root).outputs[0]).type) {
    return false;
  }
  Attributes attributes;
  attributes.Set("axis", normalized.axis);
  attributes.Set("epsilon", normalized.epsilon);
  const OpKey op = centered ? OpKey{.type = "LayerNormalization", .since_version = 17}
                            : OpKey{.type = "RMSNormalization", .since_version = 23};
  return matcher.Fuse(match, root, op, inputs, std::move(attributes));
}

// ---- Group and instance normalization.

// X in groups of channels, normalized: what comes before the weight and the bias of every channel.
struct GroupNormalized {
  ValueId x = kNoValue;
  double epsilon = 0;
  int64_t groups = 0;
  NodeId root = kNoNode;
};

// Are all elements of the stored tensor this number?
bool IsAll(const Matcher& matcher, ValueId value, double number) {
  const Literal* literal = matcher.graph().literal(value);
  if (literal == nullptr || !literal->has_data || !literal->strings.empty()) return false;
  for (int64_t i = 0; i < literal->size(); ++i) {
    if (literal->AsDouble(i) != number) return false;
  }
  return true;
}

const Shape& ShapeOf(const Matcher& matcher, ValueId value) { return matcher.graph().value(value).type.shape; }

// From [N, G, ...] back over a Reshape and on over the one that undoes it; without such Reshapes nothing changes.
void AddReshapes(const Matcher& matcher, GroupNormalized& found, Match& match) {
  Match attempt = match;
  const Node* grouping = matcher.Produced(found.x, "Reshape", attempt);
  ValueId value = matcher.graph().node(found.root).outputs[0];
  const NodeId back = matcher.SoleReader(value, attempt);
  if (grouping == nullptr || !matcher.Is(back, "Reshape")) return;
  const ValueId x = grouping->inputs[0];
  if (ShapeOf(matcher, x) != ShapeOf(matcher, matcher.graph().node(back).outputs[0])) return;
  attempt.Add(back);
  found.x = x;
  found.root = back;
  match = attempt;
}

// From `root` on to the `type` node that applies a tensor of one number per channel. As Affine.
ValueId PerChannel(const Matcher& matcher, absl::string_view type, int64_t channels, NodeId& root, Match& match) {
  ValueId value = matcher.graph().node(root).outputs[0];
  const auto rank = ShapeOf(matcher, value).size();
  const NodeId id = matcher.SoleReader(value, match);
  if (!matcher.Is(id, type)) return kNoValue;
  const ValueId tensor = matcher.Other(matcher.graph().node(id), value);
  if (tensor == kNoValue || tensor == value) return kNoValue;
  Shape shape = ShapeOf(matcher, tensor);
  while (!shape.empty() && shape.size() < rank) shape.insert(shape.begin(), 1);
  Shape expected(rank, 1);
  expected[1] = channels;
  if (shape != expected) return kNoValue;
  match.Add(id);
  root = id;
  return tensor;
}

// A weight [C] that was given more dimensions, as it was before.
ValueId BeforeUnsqueeze(const Matcher& matcher, ValueId tensor, int64_t channels) {
  const NodeId id = matcher.Producer(tensor);
  if (!matcher.Is(id, "Unsqueeze") && !matcher.Is(id, "Reshape")) return tensor;
  const ValueId source = matcher.graph().node(id).inputs[0];
  return ShapeOf(matcher, source) == Shape{channels} ? source : tensor;
}

bool FuseGroups(Matcher& matcher, GroupNormalized found, Match match) {
  if (found.groups <= 0) return false;
  AddReshapes(matcher, found, match);
  const Graph& graph = matcher.graph();
  const Shape x = ShapeOf(matcher, found.x);
  if (x.size() < 3 || x[1] % found.groups != 0) return false;
  NodeId root = found.root;
  ValueId weight = PerChannel(matcher, "Mul", x[1], root, match);
  ValueId bias = weight == kNoValue ? kNoValue : PerChannel(matcher, "Add", x[1], root, match);
  if (bias == kNoValue || graph.value(graph.node(root).outputs[0]).type != graph.value(found.x).type) return false;
  weight = BeforeUnsqueeze(matcher, weight, x[1]);
  bias = BeforeUnsqueeze(matcher, bias, x[1]);
  const bool instance = found.groups == x[1];
  Attributes attributes;
  attributes.Set("epsilon", found.epsilon);
  if (!instance) attributes.Set("num_groups", found.groups);
  const OpKey op = instance ? OpKey{.type = "InstanceNormalization", .since_version = 6}
                            : OpKey{.type = "GroupNormalization", .since_version = 21};
  if (!matcher.Fuse(match, root, op, {found.x, weight, bias}, std::move(attributes))) return false;
  for (int slot : {1, 2}) {
    const ValueId tensor = matcher.graph().node(root).inputs[slot];
    if (ShapeOf(matcher, tensor).size() != 1) matcher.ReshapeInput(root, slot, {x[1]});
  }
  return true;
}

// InstanceNormalization with weights of one and biases of zero.
bool FuseOverInstanceNorm(Matcher& matcher, NodeId id) {
  const Node& node = matcher.graph().node(id);
  if (node.inputs.size() != 3 || !IsAll(matcher, node.inputs[1], 1) || !IsAll(matcher, node.inputs[2], 0)) return false;
  Match match;
  match.Add(id);
  return FuseGroups(matcher,
                    {.x = node.inputs[0],
                     .epsilon = node.attributes.Float("epsilon", 1e-5),
                     .groups = ShapeOf(matcher, node.inputs[0])[1],
                     .root = id},
                    match);
}

// The normalization spelled out, over all dimensions behind the first two.
bool FuseOverMeans(Matcher& matcher, NodeId sqrt) {
  Match match;
  Normalized normalized;
  if (!MatchNormalized(matcher, sqrt, normalized, match) || normalized.axis != 2) return false;
  const ValueId x = Centered(matcher, normalized, match);
  if (x == kNoValue) return false;
  return FuseGroups(matcher,
                    {.x = x, .epsilon = normalized.epsilon, .groups = ShapeOf(matcher, x)[1], .root = normalized.root},
                    match);
}

int FuseAll(Matcher& matcher, bool centered) {
  int count = 0;
  for (NodeId sqrt : matcher.NodesOf("Sqrt")) count += FuseAt(matcher, sqrt, centered) ? 1 : 0;
  return count;
}

}  // namespace

int FuseLayerNorm(Matcher& matcher) { return FuseAll(matcher, /*centered=*/true); }

int FuseRmsNorm(Matcher& matcher) { return FuseAll(matcher, /*centered=*/false); }

int FuseGroupNorm(Matcher& matcher) {
  int count = 0;
  for (NodeId id : matcher.NodesOf("InstanceNormalization")) count += FuseOverInstanceNorm(matcher, id) ? 1 : 0;
  for (NodeId sqrt : matcher.NodesOf("Sqrt")) count += FuseOverMeans(matcher, sqrt) ? 1 : 0;
  return count;
}

}  // namespace reusescope
