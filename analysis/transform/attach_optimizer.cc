#include "analysis/transform/attach_optimizer.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ops/node_builder.h"
#include "analysis/transform/assign_storages.h"

namespace reusescope {
namespace {

struct OptimizerRow {
  absl::string_view name, step;
  int states;
  std::array<absl::string_view, 2> state_names;
};

constexpr OptimizerRow kOptimizers[] = {
    {"sgd", "reusescope::SgdStep", 0, {}},
    {"momentum", "reusescope::MomentumStep", 1, {"momentum_buffer"}},
    {"adam", "reusescope::AdamStep", 2, {"exp_avg", "exp_avg_sq"}},
    {"adamw", "reusescope::AdamWStep", 2, {"exp_avg", "exp_avg_sq"}},
};

const OptimizerRow& RowOf(Optimizer optimizer) { return kOptimizers[static_cast<size_t>(optimizer)]; }

NodeId AddStep(Graph& graph, ValueId parameter, ValueId gradient, const OptimizerRow& row) {
  const Type type = graph.value(parameter).type;
  const std::string name = graph.value(parameter).name;
  std::vector<ValueId> inputs = {parameter, gradient};
  std::vector<Type> types = {type};
  for (int i = 0; i < row.states; ++i) {
    inputs.push_back(graph.AddValue(absl::StrCat(name, ".", row.state_names[i]), type, ValueKind::kOptimizerState));
    types.push_back(type);
  }
  Node like;
  like.phase = Phase::kUpdate;
  const NodeId producer = graph.value(gradient).producer;
  if (producer != kNoNode) like.module = graph.node(producer).module;
  const std::vector<ValueId> outputs = AddEmittedNode(graph, row.step, absl::StrCat(name, ".update"), like, inputs,
                                                      types, ValueKind::kOptimizerState, {});
  graph.value(outputs[0]).kind = ValueKind::kParameter;
  return graph.order.back();
}

// The position after which each step may run: gradient complete, old weight read for the last time.
void ScheduleEagerly(Graph& graph, const std::vector<NodeId>& steps) {
  AssignStorages(graph);
  graph.order.resize(graph.order.size() - steps.size());
  std::vector<int32_t> last_read(graph.storages.size(), -1);
  for (size_t i = 0; i < graph.order.size(); ++i) {
    const Node& node = graph.node(graph.order[i]);
    for (ValueId input : node.inputs) {
      if (input != kNoValue) last_read[graph.value(input).storage] = static_cast<int32_t>(i);
    }
    for (ValueId output : node.outputs) {
      if (output != kNoValue) {
        int32_t& last = last_read[graph.value(output).storage];
        last = std::max(last, static_cast<int32_t>(i));
      }
    }
  }
  std::vector<std::vector<NodeId>> after(graph.order.size() + 1);
  for (NodeId step : steps) {
    int32_t position = -1;
    for (size_t i = 0; i < 2; ++i) {
      position = std::max(position, last_read[graph.value(graph.node(step).inputs[i]).storage]);
    }
    after[position + 1].push_back(step);
  }
  std::vector<NodeId> order(after[0]);
  for (size_t i = 0; i < graph.order.size(); ++i) {
    order.push_back(graph.order[i]);
    order.insert(order.end(), after[i + 1].begin(), after[i + 1].end());
  }
  graph.order = std::move(order);
}

}  // namespace

absl::string_view OptimizerName(Optimizer optimizer) { return RowOf(optimizer).name; }

void AttachOptimizer(TrainingGraph& training, Optimizer optimizer, UpdateOrder order) {
  Graph& graph = training.graph;
  training.optimizer = std::string(OptimizerName(optimizer));
  std::vector<NodeId> steps;
  for (ValueId id = 0; id < static_cast<ValueId>(training.gradient_of.size()); ++id) {
    const ValueId gradient = training.gradient_of[id];
    if (gradient == kNoValue || graph.value(id).kind != ValueKind::kParameter) continue;
    steps.push_back(AddStep(graph, id, gradient, RowOf(optimizer)));
  }
  if (order == UpdateOrder::kEager) ScheduleEagerly(graph, steps);
}

}  // namespace reusescope
