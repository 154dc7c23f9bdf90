#include "analysis/transform/hoist_tensors.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "analysis/ir/subgraphs.h"
#include "analysis/transform/inline_functions.h"

namespace reusescope {
namespace {

class Hoister {
 public:
  explicit Hoister(const Graph& graph) : names_(graph) {}

  void Run(Graph& graph) {
    for (NodeId id : graph.order) {
      std::vector<int> subgraphs;
      ForEachSubgraph(graph.node(id), [&](int index) { subgraphs.push_back(index); });
      for (int index : subgraphs) {
        Run(*graph.subgraphs[index]);
        HoistFrom(*graph.subgraphs[index], graph, id);
      }
    }
  }

 private:
  static bool IsStored(const Graph& graph, ValueId id) {
    const Value& value = graph.value(id);
    const auto among = [id](const std::vector<ValueId>& list) {
      return std::find(list.begin(), list.end(), id) != list.end();
    };
    return value.producer == kNoNode && value.type.IsTensor() && value.type.rank() > 0 &&
           IsFloatingPoint(value.type.dtype) && !among(graph.inputs) && !among(graph.captured);
  }

  void HoistFrom(Graph& subgraph, Graph& outer, NodeId owner) {
    const auto count = static_cast<ValueId>(subgraph.values.size());
    for (ValueId id = 0; id < count; ++id) {
      if (!IsStored(subgraph, id)) continue;
      Value moved = subgraph.value(id);
      moved.literal = -1;
      // Out of a body within this one: the name is unique already, and what captures it goes by it.
      if (!hoisted_.contains(moved.name)) moved.name = *hoisted_.insert(names_.Make(moved.name)).first;
      if (moved.name != subgraph.value(id).name && moved.payload_of.empty()) {
        moved.payload_of = subgraph.value(id).name;
      }
      outer.values.push_back(moved);
      const auto there = static_cast<ValueId>(outer.values.size() - 1);
      if (const Literal* literal = subgraph.literal(id)) outer.SetLiteral(there, *literal);
      subgraph.value(id).name = moved.name;
      subgraph.value(id).kind = ValueKind::kActivation;
      subgraph.captured.push_back(id);
      outer.node(owner).captures.push_back(there);
    }
  }

  UniqueNames names_;
  absl::flat_hash_set<std::string> hoisted_;
};

}  // namespace

void HoistTensors(Graph& graph) {
  if (!graph.subgraphs.empty()) Hoister(graph).Run(graph);
}

}  // namespace reusescope
