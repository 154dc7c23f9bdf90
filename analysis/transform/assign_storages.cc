#include "analysis/transform/assign_storages.h"

#include <vector>

#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

class StorageAssigner {
 public:
  explicit StorageAssigner(Graph& graph)
      : graph_(graph),
        uses_(graph),
        semantics_(graph.nodes.size(), nullptr),
        view_(graph.nodes.size(), false),
        contraction_readers_(graph.values.size(), false),
        contraction_writes_(graph.values.size(), false) {}

  void Run() {
    for (NodeId id : graph_.order) semantics_[id] = OpRegistry::Get().Find(graph_.node(id).op);
    FindViews();
    graph_.storages.clear();
    for (Value& value : graph_.values) value.storage = kNoStorage;
    for (ValueId id = 0; id < static_cast<ValueId>(graph_.values.size()); ++id) {
      if (graph_.value(id).producer == kNoNode) NewStorage(id);
    }
    for (NodeId id : graph_.order) AssignOutputs(id);
  }

 private:
  const OpSemantics* SemanticsOf(NodeId id) const { return semantics_[id]; }

  // Two sweeps: backwards for "only contractions read it", forwards for "a contraction writes it and one node reads
  // it".
  void FindViews() {
    std::vector<bool> is_output(graph_.values.size(), false);
    for (ValueId output : graph_.outputs) is_output[output] = true;
    for (NodeId id : graph_.order) view_[id] = AliasingOf(graph_, id) == Aliasing::kView;
    for (auto it = graph_.order.rbegin(); it != graph_.order.rend(); ++it) {
      const Node& node = graph_.node(*it);
      for (ValueId output : node.outputs) {
        if (output != kNoValue) contraction_readers_[output] = !is_output[output] && OnlyContractionsRead(output);
      }
      const OpSemantics* semantics = SemanticsOf(*it);
      if (semantics != nullptr && semantics->absorbed_by_contraction && contraction_readers_[node.outputs[0]]) {
        view_[*it] = true;
      }
    }
    for (NodeId id : graph_.order) {
      const Node& node = graph_.node(id);
      const OpSemantics* semantics = SemanticsOf(id);
      if (semantics == nullptr || node.outputs.empty() || node.outputs[0] == kNoValue) continue;
      if (semantics->contraction) contraction_writes_[node.outputs[0]] = true;
      if (node.inputs.empty() || node.inputs[0] == kNoValue) continue;
      const ValueId input = node.inputs[0];
      const bool sole = contraction_writes_[input] && uses_.of(input).size() == 1 && !is_output[input];
      if (semantics->absorbed_by_contraction && sole) view_[id] = true;
      if (view_[id] && sole) contraction_writes_[node.outputs[0]] = true;
    }
  }

  bool OnlyContractionsRead(ValueId value) const {
    const auto readers = uses_.of(value);
    if (readers.empty()) return false;
    for (NodeId reader : readers) {
      const OpSemantics* semantics = SemanticsOf(reader);
      const bool contraction = semantics != nullptr && semantics->contraction;
      const Node& node = graph_.node(reader);
      const bool passes_on = view_[reader] && !node.outputs.empty() && node.outputs[0] != kNoValue &&
                             contraction_readers_[node.outputs[0]];
      if (!contraction && !passes_on) return false;
    }
    return true;
  }

  void NewStorage(ValueId root) {
    graph_.value(root).storage = static_cast<StorageId>(graph_.storages.size());
    graph_.storages.push_back({.root = root});
  }

  void AssignOutputs(NodeId id) {
    const Node& node = graph_.node(id);
    const OpSemantics* semantics = SemanticsOf(id);
    for (size_t j = 0; j < node.outputs.size(); ++j) {
      if (node.outputs[j] == kNoValue) continue;
      int shared = -1;
      if (j == 0 && view_[id]) shared = 0;
      if (semantics != nullptr && j < semantics->in_place.size() && semantics->in_place[j] >= 0) {
        shared = semantics->in_place[j];
      }
      if (shared >= 0 && shared < static_cast<int>(node.inputs.size()) && node.inputs[shared] != kNoValue) {
        graph_.value(node.outputs[j]).storage = graph_.value(node.inputs[shared]).storage;
      } else {
        NewStorage(node.outputs[j]);
      }
    }
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<const OpSemantics*> semantics_;  // by node
  std::vector<bool> view_;
  std::vector<bool> contraction_readers_;
  std::vector<bool> contraction_writes_;
};

}  // namespace

void AssignStorages(Graph& graph) { StorageAssigner(graph).Run(); }

}  // namespace reusescope
