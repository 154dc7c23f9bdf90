#include "analysis/transform/gradient_path.h"

#include <queue>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reusescope {
namespace {

constexpr size_t kShown = 8;  // names at either end

bool IsOutput(const Graph& graph, const Node& node) {
  for (ValueId output : node.outputs) {
    for (ValueId end : graph.outputs) {
      if (output == end && output != kNoValue) return true;
    }
  }
  return false;
}

// From `id` forwards, breadth first, to the first node that makes an output; `next` leads there.
NodeId FindOutput(const Graph& graph, NodeId id, bool any_value, std::vector<NodeId>& next) {
  const Uses uses(graph);
  std::vector<NodeId> from(graph.nodes.size(), kNoNode);
  std::queue<NodeId> open({id});
  from[id] = id;
  while (!open.empty()) {
    const NodeId at = open.front();
    open.pop();
    if (IsOutput(graph, graph.node(at))) {
      for (NodeId back = at; back != id; back = from[back]) next[from[back]] = back;
      return at;
    }
    for (ValueId output : graph.node(at).outputs) {
      if (output == kNoValue || !(any_value || IsFloatingPoint(graph.value(output).type.dtype))) continue;
      for (NodeId reader : uses.of(output)) {
        if (graph.node(reader).phase != Phase::kForward || from[reader] != kNoNode) continue;
        from[reader] = at;
        open.push(reader);
      }
    }
  }
  return kNoNode;
}

}  // namespace

std::string PathFromOutput(const Graph& graph, NodeId id, bool any_value) {
  std::vector<NodeId> next(graph.nodes.size(), kNoNode);
  if (id == kNoNode || FindOutput(graph, id, any_value, next) == kNoNode) return "no output depends on it";
  std::vector<std::string> steps;
  for (; id != kNoNode; id = next[id]) {
    steps.insert(steps.begin(), absl::StrCat("'", graph.node(id).name, "' (", OpKeyString(graph.node(id).op), ")"));
  }
  if (steps.size() > 2 * kShown) {
    const size_t left_out = steps.size() - 2 * kShown;
    steps.erase(steps.begin() + kShown, steps.end() - kShown);
    steps.insert(steps.begin() + kShown, absl::StrCat("... ", left_out, " more ..."));
  }
  return absl::StrCat("it is reached from the output by ", absl::StrJoin(steps, ", "));
}

}  // namespace reusescope
