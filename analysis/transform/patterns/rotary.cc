// Rotary position embeddings, as models spell them out. x1 and x2 are the halves of x along its last axis, or its even
// and odd elements; the tables are as wide as x in the first form, half as wide in the second.
//
//   x cos + join(-x2, x1) sin                      GPT-NeoX, Llama (halves), GPT-J, RoFormer (every second element)
//   join(x1 cos - x2 sin, x2 cos + x1 sin)         GPT-OSS, GLM
//
// join is a Concat of halves, or Reshape(Concat(Unsqueeze, Unsqueeze)) of every second element.

#include <algorithm>

#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

constexpr int kParts = 2;

// One half of `whole` along its last axis, or every second of its elements.
struct Part {
  ValueId whole = kNoValue;
  bool interleaved = false;
  int index = 0;
};

int64_t LastDim(const Matcher& matcher, ValueId value) {
  const Shape& shape = matcher.graph().value(value).type.shape;
  return shape.empty() ? 0 : shape.back();
}

// Input `slot` of a Slice (opset 10), or its attribute, when it is one number.
int64_t SliceNumber(const Matcher& matcher, const Node& slice, size_t slot, absl::string_view attribute,
                    int64_t absent) {
  if (slice.inputs.size() > slot) {
    return static_cast<int64_t>(matcher.Scalar(slice.inputs[slot]).value_or(static_cast<double>(absent)));
  }
  const auto values = slice.attributes.Ints(attribute);
  return values.size() == 1 ? values[0] : absent;
}

bool IsLastAxis(const Matcher& matcher, ValueId value, int64_t axis) {
  return axis == -1 || axis == matcher.graph().value(value).type.rank() - 1;
}

// Which part of its operand `value` is, noted in the match; .whole is kNoValue when it is none.
Part AsPart(const Matcher& matcher, ValueId value, Match& match) {
  constexpr int64_t kNone = -1000;
  if (const Node* split = matcher.Produced(value, "Split", match)) {
    if (split->outputs.size() != kParts || !IsLastAxis(matcher, split->inputs[0], split->attributes.Int("axis", 0)) ||
        LastDim(matcher, split->outputs[0]) != LastDim(matcher, split->outputs[1])) {
      return {};
    }
    return {.whole = split->inputs[0], .index = value == split->outputs[0] ? 0 : 1};
  }
  const Node* slice = matcher.Produced(value, "Slice", match);
  if (slice == nullptr) return {};
  const ValueId whole = slice->inputs[0];
  const int64_t width = LastDim(matcher, whole), half = width / kParts;
  const int64_t start = SliceNumber(matcher, *slice, 1, "starts", kNone);
  const int64_t step = SliceNumber(matcher, *slice, 4, "steps", 1);
  const bool last = IsLastAxis(matcher, whole, SliceNumber(matcher, *slice, 3, "axes", kNone));
  if (!last || width != kParts * half || LastDim(matcher, slice->outputs[0]) != half) return {};
  if (step == kParts && (start == 0 || start == 1)) return {whole, true, static_cast<int>(start)};
  if (step == 1 && (start == 0 || start == half || start == -half)) return {whole, false, start == 0 ? 0 : 1};
  return {};
}

// Does the node give its operand one more dimension, a last one of 1?
bool AddsLastDim(const Matcher& matcher, NodeId id) {
  if (!matcher.Is(id, "Unsqueeze") && !matcher.Is(id, "Reshape")) return false;
  Shape shape = matcher.graph().value(matcher.graph().node(id).inputs[0]).type.shape;
  shape.push_back(1);
  return matcher.graph().value(matcher.graph().node(id).outputs[0]).type.shape == shape;
}

// From part 0 or 1 of the result, which `value` is, on to the node that joins the two. Sets `other` to the other part
// and `value` to the result; kNoNode when they are not joined to a tensor shaped like `whole`.
NodeId Join(const Matcher& matcher, const Part& part, ValueId& value, ValueId& other, Match& match) {
  NodeId id = matcher.SoleReader(value, match);
  if (part.interleaved) {
    if (!AddsLastDim(matcher, id)) return kNoNode;
    match.Add(id);
    value = matcher.graph().node(id).outputs[0];
    id = matcher.SoleReader(value, match);
  }
  if (!matcher.Is(id, "Concat") || matcher.graph().node(id).inputs.size() != kParts) return kNoNode;
  const Node& concat = matcher.graph().node(id);
  if (concat.inputs[0] != value || !IsLastAxis(matcher, value, concat.attributes.Int("axis", 0))) return kNoNode;
  match.Add(id);
  other = concat.inputs[1];
  value = concat.outputs[0];
  if (part.interleaved) {
    const NodeId unsqueeze = matcher.Producer(other);
    if (!AddsLastDim(matcher, unsqueeze)) return kNoNode;
    match.Add(unsqueeze);
    other = matcher.graph().node(unsqueeze).inputs[0];
    id = matcher.SoleReader(value, match);
    if (!matcher.Is(id, "Reshape")) return kNoNode;
    match.Add(id);
    value = matcher.graph().node(id).outputs[0];
  }
  const Graph& graph = matcher.graph();
  return graph.value(value).type.shape == graph.value(part.whole).type.shape ? id : kNoNode;
}

struct Rotation {
  Part part;
  ValueId cos = kNoValue, sin = kNoValue;
  NodeId root = kNoNode;
};

// What `operand` is multiplied by in the product `value`; kNoValue if that is none.
ValueId Beside(const Matcher& matcher, ValueId value, ValueId operand, Match& match) {
  const Node* mul = matcher.Produced(value, "Mul", match);
  return mul == nullptr ? kNoValue : matcher.Other(*mul, operand);
}

// x cos + join(-x2, x1) sin, from the Neg on.
bool MatchTurned(const Matcher& matcher, NodeId neg, Rotation& found, Match& match) {
  match.Add(neg);
  found.part = AsPart(matcher, matcher.graph().node(neg).inputs[0], match);
  if (found.part.whole == kNoValue || found.part.index != 1) return false;
  ValueId value = matcher.graph().node(neg).outputs[0], other = kNoValue;
  if (Join(matcher, found.part, value, other, match) == kNoNode) return false;
  const Part first = AsPart(matcher, other, match);
  if (first.whole != found.part.whole || first.interleaved != found.part.interleaved || first.index != 0) return false;
  const NodeId mul = matcher.SoleReader(value, match);
  if (!matcher.Is(mul, "Mul")) return false;
  match.Add(mul);
  found.sin = matcher.Other(matcher.graph().node(mul), value);
  value = matcher.graph().node(mul).outputs[0];
  found.root = matcher.SoleReader(value, match);
  if (!matcher.Is(found.root, "Add")) return false;
  match.Add(found.root);
  const ValueId straight = matcher.Other(matcher.graph().node(found.root), value);
  found.cos = Beside(matcher, straight, found.part.whole, match);
  return found.sin != kNoValue && found.cos != kNoValue;
}

// Tracing stores a constant once for each place that it is read from.
bool IsSame(const Matcher& matcher, ValueId a, ValueId b) {
  if (a == b || a == kNoValue || b == kNoValue) return a == b;
  const Literal* left = matcher.graph().literal(a);
  const Literal* right = matcher.graph().literal(b);
  return left != nullptr && right != nullptr && left->has_data && *left == *right;
}

// join(x1 cos - x2 sin, x2 cos + x1 sin), from the Sub on.
bool MatchJoined(const Matcher& matcher, NodeId sub, Rotation& found, Match& match) {
  match.Add(sub);
  const Graph& graph = matcher.graph();
  const Node* minuend = matcher.Produced(graph.node(sub).inputs[0], "Mul", match);
  const Node* subtrahend = matcher.Produced(graph.node(sub).inputs[1], "Mul", match);
  if (minuend == nullptr || subtrahend == nullptr) return false;
  ValueId x1 = kNoValue, x2 = kNoValue;
  for (ValueId operand : minuend->inputs) {
    const Part part = AsPart(matcher, operand, match);
    if (part.whole == kNoValue || part.index != 0) continue;
    found.part = part;
    x1 = operand;
  }
  for (ValueId operand : subtrahend->inputs) {
    const Part part = AsPart(matcher, operand, match);
    if (part.whole == found.part.whole && part.interleaved == found.part.interleaved && part.index == 1) x2 = operand;
  }
  if (x1 == kNoValue || x2 == kNoValue) return false;
  found.cos = matcher.Other(*minuend, x1);
  found.sin = matcher.Other(*subtrahend, x2);
  ValueId value = graph.node(sub).outputs[0], other = kNoValue;
  found.root = Join(matcher, found.part, value, other, match);
  if (found.root == kNoNode) return false;
  const Node* add = matcher.Produced(other, "Add", match);
  if (add == nullptr) return false;
  for (int side = 0; side < kParts; ++side) {
    Match attempt = match;
    if (!IsSame(matcher, Beside(matcher, add->inputs[side], x2, attempt), found.cos) ||
        !IsSame(matcher, Beside(matcher, add->inputs[1 - side], x1, attempt), found.sin)) {
      continue;
    }
    match = attempt;
    return true;
  }
  return false;
}

// By value: computed from a parameter or from a floating-point input of the model. Tables are not, so that the fused
// operator needs no gradient of them.
std::vector<bool> FindTrained(const Graph& graph) {
  std::vector<bool> trained(graph.values.size(), false);
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Value& value = graph.value(static_cast<ValueId>(i));
    trained[i] =
        value.kind == ValueKind::kParameter || (value.kind == ValueKind::kInput && IsFloatingPoint(value.type.dtype));
  }
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    const auto is_trained = [&](ValueId input) { return input != kNoValue && trained[input]; };
    const bool any = std::any_of(node.inputs.begin(), node.inputs.end(), is_trained) ||
                     std::any_of(node.captures.begin(), node.captures.end(), is_trained);
    for (ValueId output : node.outputs) {
      if (any && output != kNoValue && IsFloatingPoint(graph.value(output).type.dtype)) trained[output] = true;
    }
  }
  return trained;
}

// Does a table of `width` columns broadcast to x?
bool IsTableOf(const Type& x, const Type& table, int64_t width) {
  if (table.dtype != x.dtype || table.rank() > x.rank() || table.rank() == 0 || table.shape.back() != width)
    return false;
  for (int d = 2; d <= table.rank(); ++d) {
    const int64_t dim = table.shape[table.rank() - d];
    if (dim != 1 && dim != x.shape[x.rank() - d]) return false;
  }
  return true;
}

bool FuseRotation(Matcher& matcher, const Rotation& found, int64_t width, const std::vector<bool>& trained,
                  const Match& match) {
  const Graph& graph = matcher.graph();
  const Type& x = graph.value(found.part.whole).type;
  for (ValueId table : {found.cos, found.sin}) {
    if (trained[table] || !IsTableOf(x, graph.value(table).type, width)) return false;
  }
  if (graph.value(graph.node(found.root).outputs[0]).type != x) return false;
  Attributes attributes;
  attributes.Set("interleaved", int64_t{found.part.interleaved});
  return matcher.Fuse(match, found.root,
                      {.domain = std::string(kReuseScopeDomain), .type = "Rotation", .since_version = 1},
                      {found.part.whole, found.cos, found.sin}, std::move(attributes));
}

}  // namespace

int FuseRotary(Matcher& matcher) {
  int count = 0;
  const std::vector<bool> trained = FindTrained(matcher.graph());
  for (NodeId neg : matcher.NodesOf("Neg")) {
    Match match;
    Rotation found;
    if (!MatchTurned(matcher, neg, found, match)) continue;
    if (FuseRotation(matcher, found, LastDim(matcher, found.part.whole), trained, match)) ++count;
  }
  for (NodeId sub : matcher.NodesOf("Sub")) {
    Match match;
    Rotation found;
    if (!MatchJoined(matcher, sub, found, match)) continue;
    if (FuseRotation(matcher, found, LastDim(matcher, found.part.whole) / kParts, trained, match)) ++count;
  }
  return count;
}

}  // namespace reusescope
