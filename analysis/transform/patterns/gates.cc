// Activations that are x times a squashed x.

#include <cmath>

#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

// HardSigmoid with the slope and offset that HardSwish has; its defaults are others.
bool IsHardSwishGate(const Node& node) {
  return std::abs(node.attributes.Float("alpha", 0.2) - 1.0 / 6) < 1e-3 &&
         std::abs(node.attributes.Float("beta", 0.5) - 0.5) < 1e-3;
}

// Clip to [0, 6]: bounds are inputs since opset 11, attributes before.
bool IsRelu6(const Matcher& matcher, const Node& node) {
  if (node.inputs.size() == 3) return matcher.IsScalar(node.inputs[1], 0) && matcher.IsScalar(node.inputs[2], 6);
  return node.inputs.size() == 1 && node.attributes.Float("min", -1) == 0 && node.attributes.Float("max", -1) == 6;
}

// constant * x * gate(x) -> op(x)
bool FuseGate(Matcher& matcher, Match match, NodeId gate, ValueId x, double constant, OpKey op) {
  match.Add(gate);
  const ValueId gated = matcher.graph().node(gate).outputs[0];
  const NodeId root = matcher.ClimbToProduct(gated, constant, {x, gated}, match);
  if (root == kNoNode) return false;
  const ValueId result = matcher.graph().node(root).outputs[0];
  if (matcher.graph().value(result).type != matcher.graph().value(x).type) return false;
  return matcher.Fuse(match, root, std::move(op), {x});
}

}  // namespace

int FuseSilu(Matcher& matcher) {
  int count = 0;
  for (NodeId gate : matcher.NodesOf("Sigmoid")) {
    const ValueId x = matcher.graph().node(gate).inputs[0];
    const OpKey op = {.domain = std::string(kReuseScopeDomain), .type = "Silu", .since_version = 1};
    if (FuseGate(matcher, {}, gate, x, 1, op)) ++count;
  }
  return count;
}

int FuseHardSwish(Matcher& matcher) {
  int count = 0;
  const OpKey op = {.type = "HardSwish", .since_version = 14};
  for (NodeId gate : matcher.NodesOf("HardSigmoid")) {
    const Node& node = matcher.graph().node(gate);
    if (IsHardSwishGate(node) && FuseGate(matcher, {}, gate, node.inputs[0], 1, op)) ++count;
  }
  for (NodeId gate : matcher.NodesOf("Clip")) {
    Match match;
    const Node* shift = matcher.Produced(matcher.graph().node(gate).inputs[0], "Add", match);
    if (shift == nullptr || !IsRelu6(matcher, matcher.graph().node(gate))) continue;
    const ValueId x = matcher.BesideScalar(*shift, 3);
    if (x != kNoValue && FuseGate(matcher, match, gate, x, 1.0 / 6, op)) ++count;
  }
  return count;
}

}  // namespace reusescope
