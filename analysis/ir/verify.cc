#include "analysis/ir/verify.h"

#include "absl/strings/str_cat.h"

namespace reusescope {
namespace {

class Verifier {
 public:
  Verifier(const Graph& graph, absl::string_view stage, bool resolved)
      : graph_(graph), stage_(stage), resolved_(resolved), position_(graph.nodes.size(), -1) {}

  absl::Status Run() {
    for (size_t i = 0; i < graph_.order.size(); ++i) {
      const NodeId id = graph_.order[i];
      if (id < 0 || id >= static_cast<NodeId>(graph_.nodes.size()))
        return Broken("schedule holds no node's id", nullptr);
      if (position_[id] >= 0) return Broken("node is scheduled twice", &graph_.node(id));
      position_[id] = static_cast<int64_t>(i);
    }
    Phase phase = Phase::kForward;
    for (NodeId id : graph_.order) {
      const Node& node = graph_.node(id);
      // Updates may run as soon as their gradient is complete, so only the step from forward to backward is final.
      if (phase != Phase::kForward && node.phase == Phase::kForward) return Broken("phases run backwards", &node);
      phase = node.phase;
      if (absl::Status status = CheckNode(id, node); !status.ok()) return status;
    }
    for (ValueId output : graph_.outputs) {
      if (!InRange(output)) return Broken("graph output is no value's id", nullptr);
    }
    return absl::OkStatus();
  }

 private:
  bool InRange(ValueId id) const { return id >= 0 && id < static_cast<ValueId>(graph_.values.size()); }

  absl::Status CheckNode(NodeId id, const Node& node) const {
    if (node.name.empty()) return Broken("node has no name", &node);
    for (ValueId input : node.inputs) {
      if (input == kNoValue) continue;
      if (absl::Status status = CheckRead(id, node, input); !status.ok()) return status;
    }
    for (ValueId capture : node.captures) {
      if (absl::Status status = CheckRead(id, node, capture); !status.ok()) return status;
    }
    for (ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      if (!InRange(output)) return Broken("output is no value's id", &node);
      const Value& value = graph_.value(output);
      if (value.name.empty()) return Broken("output has no name", &node);
      if (value.producer != id) return Broken(absl::StrCat("output '", value.name, "' names another producer"), &node);
      if (resolved_ && value.type.IsTensor() && !value.type.IsResolved()) {
        return Broken(absl::StrCat("output '", value.name, "' is unresolved: ", TypeString(value.type)), &node);
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckRead(NodeId id, const Node& node, ValueId read) const {
    if (!InRange(read)) return Broken("input is no value's id", &node);
    const Value& value = graph_.value(read);
    if (value.producer == kNoNode) return absl::OkStatus();
    if (position_[value.producer] < 0 || position_[value.producer] >= position_[id]) {
      return Broken(absl::StrCat("input '", value.name, "' is read before it is produced"), &node);
    }
    return absl::OkStatus();
  }

  absl::Status Broken(absl::string_view invariant, const Node* node) const {
    return absl::InternalError(
        absl::StrCat("after ", stage_, ": ", invariant,
                     node == nullptr ? "" : absl::StrCat(": node '", node->name, "' (", OpKeyString(node->op), ")")));
  }

  const Graph& graph_;
  const absl::string_view stage_;
  const bool resolved_;
  std::vector<int64_t> position_;
};

}  // namespace

absl::Status Verify(const Graph& graph, absl::string_view stage, bool resolved) {
  return Verifier(graph, stage, resolved).Run();
}

}  // namespace reusescope
