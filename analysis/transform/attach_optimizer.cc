#include "analysis/transform/attach_optimizer.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ops/node_builder.h"
#include "analysis/transform/assign_storages.h"

namespace reusescope {
namespace {

constexpr absl::string_view kSgdSettings[] = {"weight_decay"};
constexpr absl::string_view kMomentumSettings[] = {"weight_decay", "momentum", "dampening", "nesterov"};
constexpr absl::string_view kAdamSettings[] = {"weight_decay", "beta1", "beta2", "eps"};
constexpr absl::string_view kAdagradSettings[] = {"weight_decay", "lr_decay", "eps"};
constexpr absl::string_view kRmspropSettings[] = {"weight_decay", "alpha", "eps"};

struct OptimizerRow {
  absl::string_view name, step;
  int states;
  std::array<absl::string_view, 2> state_names;
  absl::Span<const absl::string_view> settings;
};

constexpr OptimizerRow kOptimizers[] = {
    {"sgd", "reusescope::SgdStep", 0, {}, kSgdSettings},
    {"momentum", "reusescope::MomentumStep", 1, {"momentum_buffer"}, kMomentumSettings},
    {"adam", "reusescope::AdamStep", 2, {"exp_avg", "exp_avg_sq"}, kAdamSettings},
    {"adamw", "reusescope::AdamWStep", 2, {"exp_avg", "exp_avg_sq"}, kAdamSettings},
    {"adagrad", "reusescope::AdagradStep", 1, {"sum"}, kAdagradSettings},
    {"rmsprop", "reusescope::RmspropStep", 1, {"square_avg"}, kRmspropSettings},
    {"lamb", "reusescope::LambStep", 2, {"exp_avg", "exp_avg_sq"}, kAdamSettings},
};

const OptimizerRow& RowOf(Optimizer optimizer) { return kOptimizers[static_cast<size_t>(optimizer)]; }

NodeId AddStep(Graph& graph, ValueId parameter, ValueId gradient, const OptimizerRow& row, const Attributes& settings) {
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
                                                      types, ValueKind::kOptimizerState, settings);
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

absl::Span<const absl::string_view> SettingsOf(Optimizer optimizer) { return RowOf(optimizer).settings; }

absl::Status AttachOptimizer(TrainingGraph& training, Optimizer optimizer, UpdateOrder order,
                             const OptimizerSettings& settings) {
  Graph& graph = training.graph;
  const OptimizerRow& row = RowOf(optimizer);
  training.optimizer = std::string(row.name);
  Attributes attributes;
  for (const auto& [name, value] : settings) {
    if (std::find(row.settings.begin(), row.settings.end(), name) == row.settings.end()) {
      return absl::InvalidArgumentError(absl::StrCat("optimizer ", row.name, " has no setting '", name,
                                                     "', expected one of ", absl::StrJoin(row.settings, ", ")));
    }
    attributes.Set(name, value);
  }
  std::vector<NodeId> steps;
  for (ValueId id = 0; id < static_cast<ValueId>(training.gradient_of.size()); ++id) {
    const ValueId gradient = training.gradient_of[id];
    if (gradient == kNoValue || graph.value(id).kind != ValueKind::kParameter) continue;
    steps.push_back(AddStep(graph, id, gradient, row, attributes));
  }
  if (order == UpdateOrder::kEager) ScheduleEagerly(graph, steps);
  return absl::OkStatus();
}

}  // namespace reusescope
