#include "analysis/transform/checkpoint.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/transform/differentiate.h"

namespace reusescope {
namespace {

bool CannotRunTwice(const Node& node, const OpSemantics* semantics) {
  const bool random = semantics != nullptr && !semantics->deterministic && semantics->replay == nullptr;
  const bool has_subgraph = std::any_of(node.attributes.begin(), node.attributes.end(), [](const auto& attribute) {
    return std::holds_alternative<SubgraphRef>(attribute.second);
  });
  return random || has_subgraph;
}

void KeepStorage(const Graph& graph, ValueId id, std::vector<bool>& kept_storage) {
  const StorageId storage = graph.value(id).storage;
  if (storage != kNoStorage) kept_storage[storage] = true;
}

class Recomputer {
 public:
  Recomputer(TrainingGraph& training, const std::vector<bool>& keep)
      : training_(training),
        graph_(training.graph),
        num_values_(static_cast<ValueId>(graph_.values.size())),
        rebuilt_(graph_.values.size(), kNoValue),
        runs_again_(graph_.nodes.size(), false),
        position_(graph_.nodes.size(), -1) {
    MarkDropped(keep);
  }

  void Run() {
    const std::vector<NodeId> order = std::exchange(graph_.order, {});
    for (size_t i = 0; i < order.size(); ++i) position_[order[i]] = static_cast<int32_t>(i);
    std::vector<NodeId> result;
    for (NodeId id : order) {
      if (graph_.node(id).phase != Phase::kForward) Rewire(id);
      // What Rewire emitted stands in the schedule of its own; then the node.
      result.insert(result.end(), graph_.order.begin(), graph_.order.end());
      graph_.order.clear();
      result.push_back(id);
    }
    graph_.order = std::move(result);
    CollectStash(training_);
  }

 private:
  void MarkDropped(const std::vector<bool>& keep) {
    std::vector<bool> kept_storage = StoragesKeptAnyway(graph_);
    for (ValueId id = 0; id < std::min(num_values_, static_cast<ValueId>(keep.size())); ++id) {
      if (keep[id]) KeepStorage(graph_, id, kept_storage);
    }
    training_.dropped.assign(graph_.values.size(), false);
    for (NodeId id : graph_.order) {
      if (graph_.node(id).phase != Phase::kForward) continue;
      for (ValueId output : graph_.node(id).outputs) {
        if (output == kNoValue || graph_.value(output).storage == kNoStorage) continue;
        training_.dropped[output] = !kept_storage[graph_.value(output).storage];
      }
    }
  }

  // ---- What runs again.

  bool Dropped(ValueId id) const { return id != kNoValue && id < num_values_ && training_.dropped[id]; }

  // Lets a node after forward read what is there, and computes again what is not.
  void Rewire(NodeId reader) {
    for (NodeId id : MissingFor(reader)) RunAgain(id);
    ReadRebuilt(graph_.node(reader));
  }

  void ReadRebuilt(Node& node) const {
    for (ValueId& input : node.inputs) {
      if (Dropped(input)) input = rebuilt_[input];
    }
  }

  // The forward nodes that have to run again before `reader` can, in forward order.
  std::vector<NodeId> MissingFor(NodeId reader) {
    std::vector<NodeId> missing, pending = {reader};
    while (!pending.empty()) {
      const NodeId id = pending.back();
      pending.pop_back();
      for (ValueId input : graph_.node(id).inputs) {
        if (!Dropped(input) || rebuilt_[input] != kNoValue) continue;
        const NodeId producer = graph_.value(input).producer;
        if (runs_again_[producer]) continue;
        runs_again_[producer] = true;
        missing.push_back(producer);
        pending.push_back(producer);
      }
    }
    std::sort(missing.begin(), missing.end(), [this](NodeId a, NodeId b) { return position_[a] < position_[b]; });
    return missing;
  }

  void RunAgain(NodeId id) {
    const OpSemantics* semantics = OpRegistry::Get().Find(graph_.node(id).op);
    if (semantics != nullptr && semantics->replay != nullptr && Replay(id, *semantics)) return;
    Node again = graph_.node(id);
    absl::StrAppend(&again.name, ".recompute");
    again.phase = Phase::kRecompute;
    again.forward_node = id;
    ReadRebuilt(again);
    for (size_t j = 0; j < again.outputs.size(); ++j) {
      const ValueId output = again.outputs[j];
      const bool is_state = semantics != nullptr && j < semantics->in_place.size() && semantics->in_place[j] >= 0;
      again.outputs[j] = output == kNoValue || is_state ? kNoValue : AddRebuilt(output);
    }
    graph_.AddNode(std::move(again));
  }

  ValueId AddRebuilt(ValueId output) {
    const Value& value = graph_.value(output);
    const ValueId again = graph_.AddValue(absl::StrCat(value.name, ".recompute"), value.type);
    if (rebuilt_[output] == kNoValue) rebuilt_[output] = again;
    return again;
  }

  // By the operator's own rule; false where it says that the node itself may run again.
  bool Replay(NodeId id, const OpSemantics& semantics) {
    const size_t first = graph_.nodes.size();
    GradientContext context(graph_, id, semantics, {}, GradientHooks{});
    const ValueId again = semantics.replay(context);
    if (again == kNoValue) return false;
    for (size_t emitted = first; emitted < graph_.nodes.size(); ++emitted) {
      Node& node = graph_.nodes[emitted];
      node.phase = Phase::kRecompute;
      ReadRebuilt(node);
      for (ValueId output : node.outputs) graph_.value(output).kind = ValueKind::kActivation;
    }
    rebuilt_[graph_.node(id).outputs[0]] = again;
    return true;
  }

  TrainingGraph& training_;
  Graph& graph_;
  const ValueId num_values_;       // before anything was recomputed
  std::vector<ValueId> rebuilt_;   // by value: what stands for it in backward
  std::vector<bool> runs_again_;   // by node
  std::vector<int32_t> position_;  // by node, in the schedule before
};

}  // namespace

std::vector<bool> StoragesKeptAnyway(const Graph& graph) {
  std::vector<bool> kept(graph.storages.size(), false);
  for (ValueId id = 0; id < static_cast<ValueId>(graph.values.size()); ++id) {
    if (graph.value(id).producer == kNoNode) KeepStorage(graph, id, kept);
  }
  for (ValueId output : graph.outputs) KeepStorage(graph, output, kept);
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    for (ValueId capture : node.captures) KeepStorage(graph, capture, kept);
    if (node.phase != Phase::kForward) continue;
    const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
    const bool replayed = semantics != nullptr && semantics->replay != nullptr;
    for (size_t j = 0; j < node.outputs.size(); ++j) {
      const bool stays = CannotRunTwice(node, semantics) || (j > 0 && replayed);
      if (stays && node.outputs[j] != kNoValue) KeepStorage(graph, node.outputs[j], kept);
    }
  }
  return kept;
}

void Recompute(TrainingGraph& training, const std::vector<bool>& keep) { Recomputer(training, keep).Run(); }

}  // namespace reusescope
