#include "analysis/ir/graph.h"

#include <queue>

#include "absl/strings/str_cat.h"

namespace reusescope {

absl::string_view ValueKindName(ValueKind kind) {
  switch (kind) {
    case ValueKind::kInput:
      return "input";
    case ValueKind::kParameter:
      return "parameter";
    case ValueKind::kBuffer:
      return "buffer";
    case ValueKind::kConstant:
      return "constant";
    case ValueKind::kActivation:
      return "activation";
    case ValueKind::kGradient:
      return "gradient";
    case ValueKind::kOptimizerState:
      return "optimizer_state";
  }
  return "unknown";
}

absl::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kForward:
      return "forward";
    case Phase::kRecompute:
      return "recompute";
    case Phase::kBackward:
      return "backward";
    case Phase::kUpdate:
      return "update";
  }
  return "unknown";
}

std::string OpKeyString(const OpKey& op) {
  return absl::StrCat(op.domain, op.domain.empty() ? "" : "::", op.type, "-", op.since_version);
}

namespace {

// Calls `visit(value)` for every operand and capture of the node that is there, repeats included.
template <typename Visit>
void ForEachRead(const Node& node, Visit visit) {
  for (ValueId input : node.inputs) {
    if (input != kNoValue) visit(input);
  }
  for (ValueId capture : node.captures) visit(capture);
}

}  // namespace

ValueId Graph::AddValue(std::string value_name, Type type, ValueKind kind) {
  values.push_back({.name = std::move(value_name), .type = std::move(type), .kind = kind});
  return static_cast<ValueId>(values.size() - 1);
}

NodeId Graph::AddNode(Node node) {
  const auto id = static_cast<NodeId>(nodes.size());
  for (ValueId output : node.outputs) {
    if (output != kNoValue) values[output].producer = id;
  }
  nodes.push_back(std::move(node));
  order.push_back(id);
  return id;
}

void Graph::SetLiteral(ValueId id, Literal literal) {
  values[id].literal = static_cast<int32_t>(literals.size());
  literals.push_back(std::move(literal));
}

std::unique_ptr<Graph> Graph::Clone() const {
  auto copy = std::make_unique<Graph>();
  copy->name = name;
  copy->values = values;
  copy->nodes = nodes;
  copy->order = order;
  copy->inputs = inputs;
  copy->outputs = outputs;
  copy->captured = captured;
  copy->literals = literals;
  copy->storages = storages;
  copy->regions = regions;
  for (const auto& subgraph : subgraphs) copy->subgraphs.push_back(subgraph->Clone());
  copy->opsets = opsets;
  return copy;
}

Uses::Uses(const Graph& graph) : first_(graph.values.size() + 1, 0) {
  const auto for_each_use = [&](auto&& visit) {
    for (NodeId id : graph.order) {
      const auto& inputs = graph.node(id).inputs;
      for (size_t i = 0; i < inputs.size(); ++i) {
        bool repeated = false;
        // Operand lists are short; the few long ones (Concat, Sum) repeat a value rarely, and a bound keeps this
        // linear.
        for (size_t j = i > 16 ? i - 16 : 0; j < i; ++j) repeated = repeated || inputs[j] == inputs[i];
        if (inputs[i] != kNoValue && !repeated) visit(inputs[i], id);
      }
      for (ValueId capture : graph.node(id).captures) visit(capture, id);
    }
  };
  for_each_use([&](ValueId value, NodeId) { ++first_[value + 1]; });
  for (size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
  nodes_.resize(first_.back());
  std::vector<int32_t> next(first_.begin(), first_.end() - 1);
  for_each_use([&](ValueId value, NodeId node) { nodes_[next[value]++] = node; });
}

absl::Status SortTopologically(Graph& graph) {
  const size_t count = graph.order.size();
  std::vector<int32_t> position(graph.nodes.size(), -1);
  for (size_t i = 0; i < count; ++i) position[graph.order[i]] = static_cast<int32_t>(i);
  std::vector<int32_t> missing(count, 0);
  std::vector<std::vector<int32_t>> readers(count);
  for (size_t i = 0; i < count; ++i) {
    ForEachRead(graph.node(graph.order[i]), [&](ValueId value) {
      const NodeId producer = graph.value(value).producer;
      if (producer == kNoNode || position[producer] < 0) return;
      readers[position[producer]].push_back(static_cast<int32_t>(i));
      ++missing[i];
    });
  }
  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ready;
  for (size_t i = 0; i < count; ++i) {
    if (missing[i] == 0) ready.push(static_cast<int32_t>(i));
  }
  std::vector<NodeId> sorted;
  sorted.reserve(count);
  while (!ready.empty()) {
    const int32_t i = ready.top();
    ready.pop();
    sorted.push_back(graph.order[i]);
    for (int32_t reader : readers[i]) {
      if (--missing[reader] == 0) ready.push(reader);
    }
  }
  if (sorted.size() != count) {
    for (size_t i = 0; i < count; ++i) {
      if (missing[i] == 0) continue;
      const Node& node = graph.node(graph.order[i]);
      return absl::InvalidArgumentError(absl::StrCat("node '", node.name, "' (", OpKeyString(node.op),
                                                     "): lies on a cycle or behind one, expected an acyclic graph"));
    }
  }
  graph.order = std::move(sorted);
  return absl::OkStatus();
}

int RemoveDeadNodes(Graph& graph) {
  std::vector<bool> needed(graph.values.size(), false);
  for (ValueId output : graph.outputs) {
    if (output != kNoValue) needed[output] = true;
  }
  std::vector<NodeId> kept;
  for (auto it = graph.order.rbegin(); it != graph.order.rend(); ++it) {
    const Node& node = graph.node(*it);
    bool live = false;
    for (ValueId output : node.outputs) live = live || (output != kNoValue && needed[output]);
    if (!live) continue;
    kept.push_back(*it);
    ForEachRead(node, [&](ValueId value) { needed[value] = true; });
  }
  const int removed = static_cast<int>(graph.order.size() - kept.size());
  graph.order.assign(kept.rbegin(), kept.rend());
  return removed;
}

}  // namespace reusescope
