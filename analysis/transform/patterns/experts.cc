// Feed-forward parts that choose: gated ones and mixtures of experts. Nothing is rewritten; what belongs together
// becomes a region.
//
//   Silu(x Wg) * (x Wu)                                          -> region "SwiGLU", with its products
//   TopK(x Wr [, Softmax]) -> indices -> Gather(We) -> MatMul    -> region "experts": routing, gathers, expert products

#include "analysis/ops/op_semantics.h"
#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

constexpr int kMaxSteps = 6;

bool IsContraction(const Matcher& matcher, NodeId id) {
  const OpSemantics* semantics = OpRegistry::Get().Find(matcher.graph().node(id).op);
  return semantics != nullptr && semantics->contraction;
}

// From `value` back over a bias, a view, or a part taken, to the product that it comes from; noted, with the nodes
// between. kNoNode when there is none.
NodeId FindProduct(const Matcher& matcher, ValueId value, Match& match) {
  for (int i = 0; i < kMaxSteps; ++i) {
    const NodeId id = matcher.Producer(value);
    if (id == kNoNode) return kNoNode;
    match.Add(id);
    if (IsContraction(matcher, id)) return id;
    if (!matcher.IsAnyOf(id, {"Add", "Split", "Slice", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Identity"})) {
      return kNoNode;
    }
    const auto& inputs = matcher.graph().node(id).inputs;
    const bool bias_first = matcher.Is(id, "Add") && matcher.Producer(inputs[0]) == kNoNode;
    value = inputs[bias_first ? 1 : 0];
  }
  return kNoNode;
}

// ---- Routing.

// The scores that a TopK over the last axis chooses from, back to the router's product; kNoNode when it is none.
NodeId FindRouter(const Matcher& matcher, const Node& top_k, Match& match) {
  const int64_t rank = matcher.graph().value(top_k.inputs[0]).type.rank();
  const int64_t axis = top_k.attributes.Int("axis", -1);
  if (axis != -1 && axis != rank - 1) return kNoNode;
  Match squashed = match;
  ValueId scores = top_k.inputs[0];
  const NodeId squash = matcher.Producer(matcher.SkipBack(scores, squashed, /*casts=*/true));
  if (matcher.IsAnyOf(squash, {"Softmax", "Sigmoid"})) {
    squashed.Add(squash);
    match = squashed;
    scores = matcher.graph().node(squash).inputs[0];
  }
  return FindProduct(matcher, scores, match);
}

// Nodes that pass the choice on: indices and weights of the experts, what is looked up with them, how they are
// combined. A stored table of vectors is an embedding; experts are matrices.
bool PassesOn(const Matcher& matcher, NodeId id) {
  if (matcher.IsAnyOf(id, {"Gather", "GatherND"})) {
    const ValueId data = matcher.graph().node(id).inputs[0];
    return matcher.Producer(data) != kNoNode || matcher.graph().value(data).type.rank() >= 3;
  }
  return matcher.IsAnyOf(
      id, {"Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity", "Transpose", "Expand", "Softmax", "ReduceSum", "Div",
           "OneHot", "GatherElements", "ScatterElements", "Equal", "NonZero", "Where", "Slice", "Split"});
}

// From the results of the TopK on to the products that read what was chosen. Returns how many; notes all on the way.
int FollowChoice(const Matcher& matcher, NodeId top_k, std::vector<bool>& seen, Match& match) {
  int products = 0;
  std::vector<NodeId> pending = {top_k};
  std::vector<NodeId> met;
  while (!pending.empty()) {
    const NodeId id = pending.back();
    pending.pop_back();
    met.push_back(id);
    for (ValueId output : matcher.graph().node(id).outputs) {
      if (output == kNoValue) continue;
      for (NodeId reader : matcher.Readers(output)) {
        if (seen[reader]) continue;
        const bool product = IsContraction(matcher, reader);
        if (!product && !PassesOn(matcher, reader)) continue;
        seen[reader] = true;
        product ? met.push_back(reader) : pending.push_back(reader);
        products += product ? 1 : 0;
      }
    }
  }
  for (NodeId id : met) match.nodes.push_back(id);  // each was seen once
  return products;
}

}  // namespace

int FindSwiGlu(Matcher& matcher) {
  int count = 0;
  for (NodeId mul : matcher.NodesOf("Mul")) {
    const auto inputs = matcher.graph().node(mul).inputs;
    for (size_t side = 0; side < inputs.size(); ++side) {
      const NodeId silu = matcher.Producer(inputs[side]);
      if (silu == kNoNode) continue;
      const Node& gate = matcher.graph().node(silu);
      const bool swish = matcher.Is(silu, "Swish") && gate.attributes.Float("alpha", 1) == 1;
      if (!swish && !(gate.op.domain == kReuseScopeDomain && gate.op.type == "Silu")) continue;
      Match match;
      match.Add(mul);
      match.Add(silu);
      const NodeId a = FindProduct(matcher, gate.inputs[0], match);
      const NodeId b = FindProduct(matcher, inputs[1 - side], match);
      if (a == kNoNode || b == kNoNode || matcher.graph().node(a).inputs[0] != matcher.graph().node(b).inputs[0]) {
        continue;
      }
      matcher.AddRegion("SwiGLU", match.nodes);
      ++count;
      break;
    }
  }
  return count;
}

int FindExperts(Matcher& matcher) {
  int count = 0;
  std::vector<bool> seen(matcher.graph().nodes.size(), false);
  for (NodeId top_k : matcher.NodesOf("TopK")) {
    Match match;
    if (FindRouter(matcher, matcher.graph().node(top_k), match) == kNoNode) continue;
    if (FollowChoice(matcher, top_k, seen, match) == 0) continue;
    matcher.AddRegion("experts", match.nodes);
    ++count;
  }
  return count;
}

}  // namespace reusescope
