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

constexpr absl::string_view kSgdSettings[] = {"weight_decay", "momentum"};
constexpr absl::string_view kMomentumSettings[] = {"weight_decay", "momentum", "dampening", "nesterov"};
constexpr absl::string_view kAdamSettings[] = {"weight_decay", "beta1", "beta2", "eps"};
constexpr absl::string_view kAdagradSettings[] = {"weight_decay", "lr_decay", "eps"};
constexpr absl::string_view kRmspropSettings[] = {"weight_decay", "alpha", "eps", "momentum", "centered"};

// A state of the parameter's size; with a `setting`, only where that is not 0.
struct State {
  absl::string_view name, setting;
};

struct OptimizerRow {
  absl::string_view name, step;
  std::array<State, 3> states;
  absl::Span<const absl::string_view> settings;
};

constexpr OptimizerRow kOptimizers[] = {
    {"sgd", "reusescope::SgdStep", {}, kSgdSettings},
    {"momentum", "reusescope::MomentumStep", {{{"momentum_buffer"}}}, kMomentumSettings},
    {"adam", "reusescope::AdamStep", {{{"exp_avg"}, {"exp_avg_sq"}}}, kAdamSettings},
    {"adamw", "reusescope::AdamWStep", {{{"exp_avg"}, {"exp_avg_sq"}}}, kAdamSettings},
    {"adagrad", "reusescope::AdagradStep", {{{"sum"}}}, kAdagradSettings},
    {"rmsprop",
     "reusescope::RmspropStep",
     {{{"square_avg"}, {"momentum_buffer", "momentum"}, {"grad_avg", "centered"}}},
     kRmspropSettings},
    {"lamb", "reusescope::LambStep", {{{"exp_avg"}, {"exp_avg_sq"}}}, kAdamSettings},
};

const OptimizerRow& RowOf(Optimizer optimizer) { return kOptimizers[static_cast<size_t>(optimizer)]; }

double SettingOf(const OptimizerSettings& settings, absl::string_view name) {
  double value = 0;
  for (const auto& [known, given] : settings) {
    if (known == name) value = given;
  }
  return value;
}

const OptimizerRow& RowFor(Optimizer optimizer, const OptimizerSettings& settings) {
  const bool has_momentum = optimizer == Optimizer::kSgd && SettingOf(settings, "momentum") != 0;
  return RowOf(has_momentum ? Optimizer::kMomentum : optimizer);
}

Node UpdateNode(const Graph& graph, ValueId gradient) {
  Node like;
  like.phase = Phase::kUpdate;
  const NodeId producer = graph.value(gradient).producer;
  if (producer != kNoNode) like.module = graph.node(producer).module;
  return like;
}

// The nodes of the update, each appended to the schedule.
class Updates {
 public:
  Updates(TrainingGraph& training, const OptimizerRow& row, const OptimizerSettings& settings,
          const GradientHandling& handling)
      : training_(training), graph_(training.graph), row_(row), handling_(handling) {
    for (const State& state : row.states) {
      if (state.name.empty() || (!state.setting.empty() && SettingOf(settings, state.setting) == 0)) continue;
      states_.push_back(state.name);
    }
    for (const auto& [name, value] : settings) attributes_.Set(name, value);
    if (handling.accumulate > 1) attributes_.Set("accumulate", handling.accumulate);
    if (handling.loss_scale != 1) attributes_.Set("guarded", int64_t{1});
  }

  // Adds what comes before the steps. With accumulation a gradient is from here on what has been accumulated.
  void Prepare() {
    for (ValueId id = 0; id < static_cast<ValueId>(training_.gradient_of.size()); ++id) {
      if (training_.gradient_of[id] != kNoValue && graph_.value(id).kind == ValueKind::kParameter)
        trained_.push_back(id);
    }
    if (handling_.accumulate > 1) AccumulateAll();
    for (ValueId id : trained_) gradients_.push_back(training_.gradient_of[id]);
    if (handling_.clip_norm > 0 || handling_.loss_scale != 1) ScaleAll();
  }

  std::vector<NodeId> AddSteps() {
    std::vector<NodeId> steps;
    for (size_t i = 0; i < trained_.size(); ++i) steps.push_back(AddStep(trained_[i], gradients_[i]));
    return steps;
  }

 private:
  ValueId AddState(ValueId parameter, absl::string_view name) {
    const Value& value = graph_.value(parameter);
    return graph_.AddValue(absl::StrCat(value.name, ".", name), value.type, ValueKind::kOptimizerState);
  }

  // Each right behind what completes its gradient, as autograd does it.
  void AccumulateAll() {
    std::vector<std::vector<NodeId>> after(graph_.nodes.size() + 1);  // the last: gradients that no node makes
    const std::vector<NodeId> order = graph_.order;
    for (ValueId id : trained_) {
      const ValueId gradient = training_.gradient_of[id];
      const NodeId producer = graph_.value(gradient).producer;
      Node like = UpdateNode(graph_, gradient);
      like.phase = Phase::kBackward;
      if (producer != kNoNode) like.forward_node = graph_.node(producer).forward_node;
      Attributes attributes;
      attributes.Set("accumulate", handling_.accumulate);
      const ValueId inputs[] = {gradient, AddState(id, "accumulated")};
      const Type types[] = {graph_.value(id).type};
      training_.gradient_of[id] = AddEmittedNode(graph_, "reusescope::AccumulateGradient", graph_.value(id).name, like,
                                                 inputs, types, ValueKind::kGradient, std::move(attributes))[0];
      after[producer == kNoNode ? after.size() - 1 : producer].push_back(graph_.order.back());
    }
    graph_.order.clear();
    for (NodeId id : order) {
      graph_.order.push_back(id);
      graph_.order.insert(graph_.order.end(), after[id].begin(), after[id].end());
    }
    graph_.order.insert(graph_.order.end(), after.back().begin(), after.back().end());
  }

  // The norm over all gradients, the factor that follows from it, and its product with each.
  void ScaleAll() {
    Node like;
    like.phase = Phase::kUpdate;
    const Type scalar = Type::Tensor(DType::kFloat32, {});
    std::vector<ValueId> sums;
    for (size_t i = 0; i < trained_.size(); ++i) {
      sums.push_back(AddEmittedNode(graph_, "reusescope::GradientSquareSum", graph_.value(trained_[i]).name,
                                    UpdateNode(graph_, gradients_[i]), {gradients_[i]}, {scalar}, ValueKind::kGradient,
                                    {})[0]);
    }
    Attributes attributes;
    if (handling_.clip_norm > 0) attributes.Set("max_norm", handling_.clip_norm);
    attributes.Set("loss_scale", handling_.loss_scale);
    std::vector<Type> types = {scalar};
    if (handling_.loss_scale != 1) types.push_back(Type::Tensor(DType::kBool, {}));
    const std::vector<ValueId> factor = AddEmittedNode(graph_, "reusescope::GradientFactor", "gradients", like, sums,
                                                       types, ValueKind::kGradient, std::move(attributes));
    if (factor.size() > 1) all_finite_ = factor[1];
    for (size_t i = 0; i < trained_.size(); ++i) {
      gradients_[i] = AddEmittedNode(graph_, "reusescope::ScaleGradient", graph_.value(trained_[i]).name,
                                     UpdateNode(graph_, gradients_[i]), {gradients_[i], factor[0]},
                                     {graph_.value(trained_[i]).type}, ValueKind::kGradient, {})[0];
    }
  }

  NodeId AddStep(ValueId parameter, ValueId gradient) {
    const Type type = graph_.value(parameter).type;
    std::vector<ValueId> inputs = {parameter, gradient};
    for (absl::string_view state : states_) inputs.push_back(AddState(parameter, state));
    if (all_finite_ != kNoValue) inputs.push_back(all_finite_);
    const std::vector<Type> types(states_.size() + 1, type);
    const std::vector<ValueId> outputs =
        AddEmittedNode(graph_, row_.step, absl::StrCat(graph_.value(parameter).name, ".update"),
                       UpdateNode(graph_, gradient), inputs, types, ValueKind::kOptimizerState, attributes_);
    graph_.value(outputs[0]).kind = ValueKind::kParameter;
    return graph_.order.back();
  }

  TrainingGraph& training_;
  Graph& graph_;
  const OptimizerRow& row_;
  const GradientHandling handling_;
  std::vector<absl::string_view> states_;
  Attributes attributes_;           // of each step
  std::vector<ValueId> trained_;    // parameters
  std::vector<ValueId> gradients_;  // what their steps read
  ValueId all_finite_ = kNoValue;
};

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
                             const OptimizerSettings& settings, const GradientHandling& handling) {
  const OptimizerRow& row = RowFor(optimizer, settings);
  training.optimizer = std::string(row.name);
  for (const auto& [name, value] : settings) {
    if (std::find(row.settings.begin(), row.settings.end(), name) == row.settings.end()) {
      return absl::InvalidArgumentError(absl::StrCat("optimizer ", row.name, " has no setting '", name,
                                                     "', expected one of ", absl::StrJoin(row.settings, ", ")));
    }
  }
  const bool needs_all = handling.clip_norm > 0 || handling.loss_scale != 1;
  if (order == UpdateOrder::kEager && needs_all) {
    return absl::InvalidArgumentError(
        "clipping and loss scaling need all gradients before the first update, expected --update-order=end");
  }
  Updates updates(training, row, settings, handling);
  updates.Prepare();
  const std::vector<NodeId> steps = updates.AddSteps();
  if (order == UpdateOrder::kEager) ScheduleEagerly(training.graph, steps);
  return absl::OkStatus();
}

}  // namespace reusescope
