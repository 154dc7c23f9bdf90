#include "analysis/transform/fold_constants.h"

#include <algorithm>

#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

bool IsKnown(const Graph& graph, ValueId id) {
  const Literal* literal = graph.literal(id);
  return literal != nullptr && literal->has_data;
}

bool IsConstant(const Graph& graph, ValueId id) {
  if (id == kNoValue) return true;
  const Value& value = graph.value(id);
  const bool stored = value.kind == ValueKind::kConstant || value.kind == ValueKind::kBuffer;
  return value.producer == kNoNode ? stored : IsKnown(graph, id);
}

// A parameter is small enough to be known at times; what is computed from its numbers changes with every step all the
// same. (Its shape does not: the taint ends at outputs that are no floating-point numbers.)
bool Taint(const Graph& graph, const Node& node, std::vector<bool>& trained) {
  bool any = false;
  for (ValueId input : node.inputs) {
    any = any || (input != kNoValue && (trained[input] || graph.value(input).kind == ValueKind::kParameter));
  }
  if (!any) return false;
  bool tainted = false;
  for (ValueId output : node.outputs) {
    if (output == kNoValue || !IsFloatingPoint(graph.value(output).type.dtype)) continue;
    trained[output] = tainted = true;
  }
  return tainted;
}

bool IsFoldable(const Graph& graph, const Node& node) {
  const bool all_known = std::all_of(node.outputs.begin(), node.outputs.end(),
                                     [&](ValueId id) { return id == kNoValue || IsKnown(graph, id); });
  if (all_known) return true;
  const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
  return semantics != nullptr && semantics->deterministic && !semantics->unpacks &&
         std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) { return IsConstant(graph, id); });
}

}  // namespace

absl::Status FoldConstants(Graph& graph) {
  std::vector<NodeId> kept;
  kept.reserve(graph.order.size());
  std::vector<bool> trained(graph.values.size(), false);  // computed from a parameter's numbers
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (Taint(graph, node, trained) || !node.captures.empty() || !IsFoldable(graph, node)) {
      kept.push_back(id);
      continue;
    }
    for (ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      graph.value(output).kind = ValueKind::kConstant;
      graph.value(output).producer = kNoNode;
    }
  }
  graph.order = std::move(kept);
  RemoveDeadNodes(graph);
  return absl::OkStatus();
}

}  // namespace reusescope
