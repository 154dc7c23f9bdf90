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

int FuseAll(Matcher& matcher, bool centered) {
  int count = 0;
  for (NodeId sqrt : matcher.NodesOf("Sqrt")) count += FuseAt(matcher, sqrt, centered) ? 1 : 0;
  return count;
}

}  // namespace

int FuseLayerNorm(Matcher& matcher) { return FuseAll(matcher, /*centered=*/true); }

int FuseRmsNorm(Matcher& matcher) { return FuseAll(matcher, /*centered=*/false); }

}  // namespace reusescope
