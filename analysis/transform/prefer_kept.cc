#include "analysis/transform/prefer_kept.h"

#include <vector>

#include "analysis/ops/gradient_context.h"
#include "analysis/transform/differentiate.h"

namespace reusescope {
namespace {

bool ReadsEither(const Node& node) { return node.attributes.Int(kReadsEither, 0) != 0; }

}  // namespace

void PreferKept(TrainingGraph& training) {
  Graph& graph = training.graph;
  // Storages that live through forward and backward whatever the nodes in question read.
  std::vector<bool> kept(graph.storages.size(), false);
  for (size_t s = 0; s < kept.size(); ++s) kept[s] = graph.value(graph.storages[s].root).producer == kNoNode;
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.phase == Phase::kForward) continue;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      if (input != kNoValue && !(i == 1 && ReadsEither(node))) kept[graph.value(input).storage] = true;
    }
  }
  for (NodeId id : graph.order) {
    Node& node = graph.node(id);
    if (node.phase == Phase::kForward || !ReadsEither(node)) continue;
    const Node& forward = graph.node(node.forward_node);
    for (ValueId candidate : {forward.inputs[0], forward.outputs[0]}) {
      if (kept[graph.value(candidate).storage]) node.inputs[1] = candidate;
    }
    kept[graph.value(node.inputs[1]).storage] = true;
  }
  CollectStash(training);
}

}  // namespace reusescope
