#include "analysis/transform/fake_quantize.h"

#include <algorithm>

namespace reusescope {
namespace {

bool Is(const Node& node, absl::string_view type) {
  return node.op.type == type && (node.op.domain.empty() || node.op.domain == "com.microsoft") &&
         node.inputs.size() >= 2;
}

bool SameScale(const Graph& graph, ValueId a, ValueId b) {
  if (a == b) return true;
  const Literal *left = graph.literal(a), *right = graph.literal(b);
  if (left == nullptr || right == nullptr) return graph.value(a).type == graph.value(b).type;
  return *left == *right;
}

}  // namespace

int FuseFakeQuantize(Graph& graph) {
  int fused = 0;
  for (NodeId id : graph.order) {
    Node& node = graph.node(id);
    if (!Is(node, "DequantizeLinear") || node.inputs[0] == kNoValue) continue;
    const NodeId producer = graph.value(node.inputs[0]).producer;
    if (producer == kNoNode || !Is(graph.node(producer), "QuantizeLinear")) continue;
    const Node& quantize = graph.node(producer);
    if (quantize.inputs[0] == kNoValue || !SameScale(graph, quantize.inputs[1], node.inputs[1])) continue;
    node.op = {std::string(kReuseScopeDomain), "FakeQuantize", 1};
    node.inputs = {quantize.inputs[0], quantize.inputs[1]};
    ++fused;
  }
  if (fused > 0) RemoveDeadNodes(graph);
  return fused;
}

}  // namespace reusescope
