#include <cmath>
#include <numbers>

#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

bool SameType(const Graph& graph, ValueId a, ValueId b) { return graph.value(a).type == graph.value(b).type; }

// From the output of Erf or Tanh, applied to something of `x`, on to the product that completes the GELU.
bool Complete(Matcher& matcher, ValueId x, NodeId anchor, absl::string_view approximate, Match& match) {
  match.Add(anchor);
  ValueId value = matcher.graph().node(anchor).outputs[0];
  const NodeId add = matcher.SoleReader(value, match);
  if (!matcher.Is(add, "Add") || matcher.BesideScalar(matcher.graph().node(add), 1) != value) return false;
  match.Add(add);
  const ValueId sum = matcher.graph().node(add).outputs[0];
  const NodeId root = matcher.ClimbToProduct(sum, 0.5, {x, sum}, match);
  if (root == kNoNode || !SameType(matcher.graph(), x, matcher.graph().node(root).outputs[0])) return false;
  Attributes attributes;
  if (!approximate.empty()) {
    attributes.Set("approximate", std::string(approximate));
    attributes.Set("spelled_out", int64_t{1});
  }
  return matcher.Fuse(match, root, {.type = "Gelu", .since_version = 20}, {x}, std::move(attributes));
}

// The x of 0.79788 * (x + 0.044715 * x^3), or of 0.79788 * x * (1 + 0.044715 * x^2); kNoValue if it is neither.
ValueId CubicArgument(const Matcher& matcher, ValueId argument, Match& match) {
  const double scale = std::sqrt(2 / std::numbers::pi);
  const Product outer = matcher.AsProduct(argument, {}, match);
  for (ValueId factor : outer.factors) {
    Match inner = match;
    const Node* add = matcher.Produced(factor, "Add", inner);
    if (add == nullptr) continue;
    for (int side = 0; side < 2; ++side) {
      Match attempt = inner;
      const ValueId near = add->inputs[side], far = add->inputs[1 - side];
      if (outer.Is(scale, {factor}) && matcher.AsProduct(far, {near}, attempt).Is(0.044715, {near, near, near})) {
        match = attempt;
        return near;
      }
      const ValueId x = outer.factors.size() != 2 ? kNoValue : outer.factors[outer.factors[0] == factor ? 1 : 0];
      if (x != kNoValue && outer.Is(scale, {x, factor}) && matcher.IsScalar(near, 1) &&
          matcher.AsProduct(far, {x}, attempt).Is(0.044715, {x, x})) {
        match = attempt;
        return x;
      }
    }
  }
  return kNoValue;
}

}  // namespace

int FuseGeluErf(Matcher& matcher) {
  int count = 0;
  for (NodeId erf : matcher.NodesOf("Erf")) {
    Match match;
    const ValueId argument = matcher.SkipBack(matcher.graph().node(erf).inputs[0], match);
    const NodeId scaling = matcher.Producer(argument);
    if (!matcher.Is(scaling, "Mul") && !matcher.Is(scaling, "Div")) continue;
    for (ValueId x : matcher.graph().node(scaling).inputs) {
      Match attempt = match;
      if (matcher.AsProduct(argument, {x}, attempt).Is(std::numbers::sqrt2 / 2, {x}) &&
          Complete(matcher, x, erf, "", attempt)) {
        ++count;
        break;
      }
    }
  }
  return count;
}

int FuseGeluTanh(Matcher& matcher) {
  int count = 0;
  for (NodeId tanh : matcher.NodesOf("Tanh")) {
    Match match;
    const ValueId x = CubicArgument(matcher, matcher.graph().node(tanh).inputs[0], match);
    if (x != kNoValue && Complete(matcher, x, tanh, "tanh", match)) ++count;
  }
  return count;
}

}  // namespace reusescope
