#include "analysis/transform/plain_scans.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "analysis/ir/subgraphs.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {
namespace {

class Plainer {
 public:
  explicit Plainer(Graph& graph) : graph_(graph) {}

  void Run() {
    const std::vector<NodeId> schedule = std::exchange(graph_.order, {});
    for (NodeId id : schedule) {
      std::vector<int> subgraphs;
      ForEachSubgraph(graph_.node(id), [&](int index) { subgraphs.push_back(index); });
      for (int index : subgraphs) MakeScansPlain(*graph_.subgraphs[index]);
      const Node& node = graph_.node(id);
      const bool scan = node.op.domain.empty() && node.op.type == "Scan" && node.phase == Phase::kBackward;
      if (scan) TurnInputs(id);
      graph_.order.push_back(id);
      if (scan) TurnOutputs(id);
    }
  }

 private:
  int64_t Listed(NodeId id, absl::string_view name, size_t i, int rank) const {
    const absl::Span<const int64_t> list = graph_.node(id).attributes.Ints(name);
    const int64_t value = i < list.size() ? list[i] : 0;
    return value < 0 ? value + rank : value;
  }

  Node Like(NodeId id) const { return {.module = graph_.node(id).module, .phase = Phase::kBackward}; }

  ValueId Emit(NodeId id, absl::string_view op, std::vector<ValueId> inputs, const Type& type, Attributes attributes) {
    const Type types[] = {type};
    return AddEmittedNode(graph_, op, graph_.node(id).name, Like(id), inputs, types, ValueKind::kGradient,
                          std::move(attributes))[0];
  }

  // Dimension `from` becomes dimension `to`.
  ValueId Moved(NodeId id, ValueId value, int64_t from, int64_t to) {
    if (from == to) return value;
    Type type = graph_.value(value).type;
    std::vector<int64_t> perm;
    for (int64_t d = 0; d < type.rank(); ++d) {
      if (d != from) perm.push_back(d);
    }
    perm.insert(perm.begin() + to, from);
    Type moved = type;
    for (size_t d = 0; d < perm.size(); ++d) moved.shape[d] = type.shape[perm[d]];
    Attributes attributes;
    attributes.Set("perm", std::move(perm));
    return Emit(id, "Transpose", {value}, moved, std::move(attributes));
  }

  ValueId Reversed(NodeId id, ValueId value) {
    const auto constant = [&](int64_t number) { return AddConstant(graph_, "reverse", Literal::Ints({1}, {number})); };
    const ValueId last = constant(-1), end = constant(std::numeric_limits<int64_t>::min() + 1), axis = constant(0);
    return Emit(id, "Slice", {value, last, end, axis, last}, graph_.value(value).type, {});
  }

  void TurnInputs(NodeId id) {
    const size_t count = graph_.node(id).inputs.size();
    const auto scanned = static_cast<size_t>(graph_.node(id).attributes.Int("num_scan_inputs", 0));
    for (size_t i = 0; i < scanned; ++i) {
      const size_t slot = count - scanned + i;
      ValueId value = graph_.node(id).inputs[slot];
      value = Moved(id, value, Listed(id, "scan_input_axes", i, graph_.value(value).type.rank()), 0);
      if (Listed(id, "scan_input_directions", i, 0) == 1) value = Reversed(id, value);
      graph_.node(id).inputs[slot] = value;
    }
    for (absl::string_view name : {"scan_input_axes", "scan_input_directions"}) graph_.node(id).attributes.Erase(name);
  }

  void TurnOutputs(NodeId id) {
    const Node& node = graph_.node(id);
    const auto states = node.inputs.size() - static_cast<size_t>(node.attributes.Int("num_scan_inputs", 0));
    const size_t count = node.outputs.size();
    for (size_t j = states; j < count; ++j) {
      const ValueId output = graph_.node(id).outputs[j];
      const Type type = graph_.value(output).type;
      const int64_t axis = Listed(id, "scan_output_axes", j - states, type.rank());
      const bool reversed = Listed(id, "scan_output_directions", j - states, 0) == 1;
      if (axis == 0 && !reversed) continue;
      Type stacked = type;
      stacked.shape.erase(stacked.shape.begin() + axis);
      stacked.shape.insert(stacked.shape.begin(), type.shape[axis]);
      ValueId value = graph_.AddValue(graph_.value(output).name + ".stacked", stacked, ValueKind::kGradient);
      graph_.value(value).producer = id;
      graph_.node(id).outputs[j] = value;
      if (reversed) value = Reversed(id, value);
      value = Moved(id, value, 0, axis);
      Rename(value, output);
    }
    for (absl::string_view name : {"scan_output_axes", "scan_output_directions"})
      graph_.node(id).attributes.Erase(name);
  }

  // The node that makes `value` makes `output` instead.
  void Rename(ValueId value, ValueId output) {
    const NodeId producer = graph_.value(value).producer;
    auto& outputs = graph_.node(producer).outputs;
    std::replace(outputs.begin(), outputs.end(), value, output);
    graph_.value(output).producer = producer;
  }

  Graph& graph_;
};

}  // namespace

void MakeScansPlain(Graph& graph) { Plainer(graph).Run(); }

}  // namespace reusescope
