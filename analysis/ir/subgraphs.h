// What a node's subgraphs read of the graph around them.

#ifndef REUSESCOPE_ANALYSIS_IR_SUBGRAPHS_H_
#define REUSESCOPE_ANALYSIS_IR_SUBGRAPHS_H_

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// The values that a subgraph of `node` may have captured, by name: captures and inputs. Keys are views into the graph.
absl::flat_hash_map<absl::string_view, ValueId> OuterValues(const Graph& graph, const Node& node);

// Drops from `captured` what no scheduled node reads and no output is.
void RemoveUnreadCaptures(Graph& subgraph);

// Calls `visit(index)`, an index into Graph::subgraphs, for every subgraph of the node.
template <typename Visit>
void ForEachSubgraph(const Node& node, Visit visit) {
  for (const auto& [name, value] : node.attributes) {
    if (const auto* one = std::get_if<SubgraphRef>(&value)) visit(one->index);
    if (const auto* list = std::get_if<std::vector<SubgraphRef>>(&value)) {
      for (const SubgraphRef& each : *list) visit(each.index);
    }
  }
}

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_SUBGRAPHS_H_
