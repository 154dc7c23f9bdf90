#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

// A mask may be made by a longer computation; scores are looked for no further away than this.
constexpr int kMaxSteps = 8;

bool IsOneElement(const Matcher& matcher, ValueId value) {
  const Type& type = matcher.graph().value(value).type;
  return type.IsTensor() && type.has_shape && ElementCount(type.shape).value_or(0) == 1;
}

// Values that a model computes from its inputs; weights and constants are neither queries nor scores.
bool IsComputed(const Matcher& matcher, ValueId value) {
  const ValueKind kind = matcher.graph().value(value).kind;
  return kind == ValueKind::kActivation || kind == ValueKind::kInput;
}

// From the Softmax's input back to the MatMul of the scores, over scale, mask, bias and reshapes: noted in the match.
NodeId FindScores(const Matcher& matcher, ValueId value, int steps, Match& match) {
  const NodeId id = matcher.Producer(value);
  if (id == kNoNode || steps == 0) return kNoNode;
  const Node& node = matcher.graph().node(id);
  match.Add(id);
  if (matcher.Is(id, "MatMul")) {
    return IsComputed(matcher, node.inputs[0]) && IsComputed(matcher, node.inputs[1]) ? id : kNoNode;
  }
  if (matcher.IsAnyOf(id, {"Cast", "CastLike", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Clip", "Tanh"})) {
    return FindScores(matcher, node.inputs[0], steps - 1, match);
  }
  if (!matcher.IsAnyOf(id, {"Add", "Sub", "Mul", "Div", "Where"})) return kNoNode;
  const bool scales = matcher.IsAnyOf(id, {"Mul", "Div"});
  if (scales && !IsOneElement(matcher, node.inputs[0]) && !IsOneElement(matcher, node.inputs[1])) return kNoNode;
  for (size_t i = matcher.Is(id, "Where") ? 1 : 0; i < node.inputs.size(); ++i) {
    Match attempt = match;
    const NodeId scores = FindScores(matcher, node.inputs[i], steps - 1, attempt);
    if (scores == kNoNode) continue;
    match = attempt;
    return scores;
  }
  return kNoNode;
}

// From the probabilities on to the MatMul that weighs the values with them, over a Dropout, Casts, and the guard
// Where(IsNaN(p), 0, p) that PyTorch writes for rows that are masked as a whole.
NodeId FindProduct(const Matcher& matcher, ValueId value, int steps, Match& match) {
  if (steps == 0) return kNoNode;
  for (NodeId id : matcher.Readers(value)) {
    const Node& node = matcher.graph().node(id);
    if (matcher.Is(id, "MatMul") && node.inputs[0] == value && IsComputed(matcher, node.inputs[1])) {
      match.Add(id);
      return id;
    }
    const bool guard = matcher.Is(id, "Where") && node.inputs[2] == value;
    if (!guard && !matcher.IsAnyOf(id, {"Dropout", "Cast", "CastLike", "Identity", "Reshape", "IsNaN"})) continue;
    Match attempt = match;
    attempt.Add(id);
    if (matcher.Is(id, "IsNaN")) {
      match = attempt;  // belongs to the guard, which another reader of the same value closes
      continue;
    }
    const NodeId product = FindProduct(matcher, node.outputs[0], steps - 1, attempt);
    if (product == kNoNode) continue;
    match = attempt;
    return product;
  }
  return kNoNode;
}

// PyTorch scales queries and keys, each by the square root, before they meet; a Transpose may stand between.
void AddOperandScales(const Matcher& matcher, NodeId scores, Match& match) {
  for (ValueId operand : matcher.graph().node(scores).inputs) {
    NodeId id = matcher.Producer(operand);
    if (matcher.Is(id, "Transpose")) id = matcher.Producer(matcher.graph().node(id).inputs[0]);
    if (!matcher.IsAnyOf(id, {"Mul", "Div"})) continue;
    const auto& inputs = matcher.graph().node(id).inputs;
    if (IsOneElement(matcher, inputs[0]) || IsOneElement(matcher, inputs[1])) match.Add(id);
  }
}

bool IsOverLastAxis(const Matcher& matcher, const Node& softmax) {
  const int64_t rank = matcher.graph().value(softmax.inputs[0]).type.rank();
  const int64_t axis = softmax.attributes.Int("axis", softmax.op.since_version < 13 ? 1 : -1);
  return axis == -1 || axis == rank - 1;
}

}  // namespace

int FindAttention(Matcher& matcher) {
  const Graph& graph = matcher.graph();
  int count = 0;
  for (NodeId softmax : matcher.NodesOf("Softmax")) {
    const Node& node = graph.node(softmax);
    Match match;
    match.Add(softmax);
    if (!IsOverLastAxis(matcher, node)) continue;
    const NodeId scores = FindScores(matcher, node.inputs[0], kMaxSteps, match);
    if (scores == kNoNode || FindProduct(matcher, node.outputs[0], kMaxSteps, match) == kNoNode) continue;
    AddOperandScales(matcher, scores, match);
    matcher.AddRegion("attention", match.nodes);
    ++count;
  }
  return count;
}

}  // namespace reusescope
