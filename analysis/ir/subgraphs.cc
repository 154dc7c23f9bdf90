#include "analysis/ir/subgraphs.h"

#include <algorithm>
#include <vector>

namespace reusescope {

absl::flat_hash_map<absl::string_view, ValueId> OuterValues(const Graph& graph, const Node& node) {
  absl::flat_hash_map<absl::string_view, ValueId> values;
  for (ValueId id : node.captures) values.emplace(graph.value(id).name, id);
  for (ValueId id : node.inputs) {
    if (id != kNoValue) values.emplace(graph.value(id).name, id);
  }
  return values;
}

void RemoveUnreadCaptures(Graph& subgraph) {
  std::vector<bool> read(subgraph.values.size(), false);
  for (ValueId output : subgraph.outputs) read[output] = true;
  for (NodeId id : subgraph.order) {
    for (ValueId input : subgraph.node(id).inputs) {
      if (input != kNoValue) read[input] = true;
    }
    for (ValueId capture : subgraph.node(id).captures) read[capture] = true;
  }
  auto& captured = subgraph.captured;
  captured.erase(std::remove_if(captured.begin(), captured.end(), [&](ValueId id) { return !read[id]; }),
                 captured.end());
}

}  // namespace reusescope
