// Feed-forward parts that choose: gated ones and mixtures of experts. Nothing is rewritten; what belongs together
// becomes a region.
//
//   Silu(x Wg) * (x Wu)                                          -> region "SwiGLU", with its products
//   TopK(x Wr [, Softmax]) -> indices -> Gather(We) -> MatMul    -> region "experts": routing, gathers, expert products
//   TopK(x Wr) -> Equal(indices, e) ... -> expert e(x) * weight  -> the same, every expert written out

#include <algorithm>

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
  return matcher.IsAnyOf(id, {"Reshape",         "Unsqueeze", "Squeeze",   "Cast",      "Identity", "Transpose",
                              "Expand",          "Softmax",   "ReduceSum", "Div",       "OneHot",   "GatherElements",
                              "ScatterElements", "Equal",     "NonZero",   "ReduceMax", "Greater",  "Or",
                              "Slice",           "Split"});
}

// Walks from the results of a TopK on to the products that read what was chosen, and to those whose results are weighed
// by it.
class Choice {
 public:
  // Nodes in `seen` belong to another choice already; those met are added.
  Choice(const Matcher& matcher, NodeId router, std::vector<bool>& seen)
      : matcher_(matcher), router_(router), seen_(seen) {}

  // How many products there are; notes all on the way.
  int Follow(NodeId top_k, Match& match) {
    std::vector<NodeId> pending = {top_k};
    while (!pending.empty()) {
      const NodeId id = pending.back();
      pending.pop_back();
      met_.push_back(id);
      for (ValueId output : matcher_.graph().node(id).outputs) {
        if (output == kNoValue) continue;
        for (NodeId reader : matcher_.Readers(output)) Meet(reader, output, pending);
      }
    }
    int products = chosen_;
    int weighed = 0;
    for (const Match& expert : weighed_) weighed += AddExpert(expert);
    products += weighed > 1 ? weighed : 0;             // a single result that is weighed is gated, not chosen
    for (NodeId id : met_) match.nodes.push_back(id);  // each was seen once
    return products;
  }

 private:
  void Meet(NodeId reader, ValueId value, std::vector<NodeId>& pending) {
    if (seen_[reader]) return;
    if (IsContraction(matcher_, reader)) {
      seen_[reader] = true;
      met_.push_back(reader);
      ++chosen_;
    } else if (matcher_.IsAnyOf(reader, {"Mul", "Where"})) {
      Match expert;
      expert.Add(reader);
      seen_[reader] = true;
      IsResultBeside(value, expert) ? weighed_.push_back(expert) : pending.push_back(reader);
    } else if (PassesOn(matcher_, reader)) {
      seen_[reader] = true;
      pending.push_back(reader);
    }
  }

  // Whether the node in `expert` has, beside `value`, the result of a product, which is noted with the way to it.
  bool IsResultBeside(ValueId value, Match& expert) const {
    const Node& node = matcher_.graph().node(expert.nodes[0]);
    return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId operand) {
      if (operand == value) return false;
      Match found = expert;
      const NodeId product = FindProduct(matcher_, operand, found);
      if (product == kNoNode || product == router_) return false;
      expert = found;
      return true;
    });
  }

  // 1 if its product, the last node, was not met on another way.
  int AddExpert(const Match& expert) {
    if (seen_[expert.nodes.back()]) return 0;
    for (NodeId id : expert.nodes) {
      if (id == expert.nodes[0] || !seen_[id]) met_.push_back(id);
      seen_[id] = true;
    }
    return 1;
  }

  const Matcher& matcher_;
  const NodeId router_;
  std::vector<bool>& seen_;
  std::vector<NodeId> met_;
  std::vector<Match> weighed_;
  int chosen_ = 0;
};

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
    const NodeId router = FindRouter(matcher, matcher.graph().node(top_k), match);
    if (router == kNoNode || Choice(matcher, router, seen).Follow(top_k, match) == 0) continue;
    matcher.AddRegion("experts", match.nodes);
    ++count;
  }
  return count;
}

}  // namespace reusescope
