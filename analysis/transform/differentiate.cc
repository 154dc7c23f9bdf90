#include "analysis/transform/differentiate.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/node_builder.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/transform/gradient_path.h"
#include "analysis/transform/recognize.h"

namespace reusescope {
namespace {

bool IsFloatTensor(const Value& value) { return value.type.IsTensor() && IsFloatingPoint(value.type.dtype); }

// Sequences of floating-point tensors carry gradients too.
bool CarriesGradient(const Value& value) {
  return IsFloatingPoint(value.type.dtype) && (value.type.IsTensor() || value.type.form == Type::Form::kSequence);
}

absl::StatusOr<SubgraphGradient> DifferentiateSubgraph(const Graph& subgraph, absl::Span<const ValueId> wanted,
                                                       const std::vector<bool>& seeded);

class Differentiator {
 public:
  // `wanted`, by value: the values without producer that gradients are asked for.
  Differentiator(Graph& graph, std::vector<bool> wanted) : graph_(graph), needs_(std::move(wanted)) { FindNeeded(); }

  bool Needs(ValueId id) const { return id < static_cast<ValueId>(needs_.size()) && needs_[id]; }
  ValueId gradient_of(ValueId id) const { return gradient_of_[id]; }
  void SetGradient(ValueId id, ValueId gradient) { gradient_of_[id] = gradient; }

  // From the gradients that were set on to all that is needed. What made those gradients (the scaling of the loss) is
  // in the schedule already, and has none itself.
  absl::Status Run() {
    gradient_of_.resize(graph_.values.size(), kNoValue);
    const std::vector<NodeId> forward = graph_.order;
    for (auto it = forward.rbegin(); it != forward.rend(); ++it) RS_RETURN_IF_ERROR(Visit(*it));
    return absl::OkStatus();
  }

 private:
  const OpSemantics* SemanticsOf(NodeId id) const { return OpRegistry::Get().Find(graph_.node(id).op); }

  // A value needs a gradient if one that is wanted reaches it through differentiable operands.
  void FindNeeded() {
    gradient_of_.assign(graph_.values.size(), kNoValue);
    for (NodeId id : graph_.order) {
      const Node& node = graph_.node(id);
      const OpSemantics* semantics = SemanticsOf(id);
      if (semantics != nullptr && semantics->gradient == nullptr) continue;
      const uint32_t mask = semantics == nullptr ? ~0u : semantics->differentiable_inputs;
      bool reached = false;
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const bool differentiable = i >= 32 || (mask >> i & 1u) != 0;
        reached = reached || (differentiable && node.inputs[i] != kNoValue && needs_[node.inputs[i]]);
      }
      for (ValueId capture : node.captures) reached = reached || needs_[capture];
      for (ValueId output : node.outputs) {
        if (output != kNoValue) needs_[output] = reached && CarriesGradient(graph_.value(output));
      }
    }
  }

  absl::Status Visit(NodeId id) {
    std::vector<ValueId> gradients;
    bool any = false;
    for (ValueId output : graph_.node(id).outputs) {
      const ValueId gradient = output == kNoValue ? kNoValue : gradient_of_[output];
      any = any || gradient != kNoValue;
      gradients.push_back(gradient);
    }
    if (!any) return absl::OkStatus();
    const OpSemantics* semantics = SemanticsOf(id);
    if (semantics == nullptr) return EmitUnknown(id, gradients, "has no gradient rule");
    if (semantics->gradient == nullptr) return absl::OkStatus();
    const GradientHooks hooks = {
        .needs = [this](ValueId value) { return Needs(value); },
        .set_gradient = [this, id](ValueId value, ValueId gradient) { Accumulate(id, value, gradient); },
        .differentiate = DifferentiateSubgraph};
    GradientContext context(graph_, id, *semantics, gradients, hooks);
    const absl::Status status = semantics->gradient(context);
    return absl::IsUnimplemented(status) ? EmitUnknown(id, gradients, status.message()) : status;
  }

  void Accumulate(NodeId forward, ValueId value, ValueId gradient) {
    ValueId& total = gradient_of_[value];
    if (total == kNoValue) {
      total = gradient;
      return;
    }
    Node like;
    like.module = graph_.node(forward).module;
    like.phase = Phase::kBackward;
    like.forward_node = forward;
    const Type types[] = {graph_.value(value).type};
    const ValueId operands[] = {total, gradient};
    const std::string base = absl::StrCat(graph_.node(forward).name, ".backward.accumulate");
    total = AddEmittedNode(graph_, "Add", base, like, operands, types, ValueKind::kGradient, {})[0];
  }

  absl::Status EmitUnknown(NodeId id, const std::vector<ValueId>& gradients, absl::string_view reason) {
    const Node forward = graph_.node(id);
    std::vector<ValueId> inputs;
    for (ValueId gradient : gradients) {
      if (gradient != kNoValue) inputs.push_back(gradient);
    }
    std::vector<Type> types;
    std::vector<ValueId> wanted;
    const auto read = [&](ValueId input) {
      if (input == kNoValue) return;
      inputs.push_back(input);
      if (!Needs(input)) return;
      wanted.push_back(input);
      types.push_back(graph_.value(input).type);
    };
    for (ValueId input : forward.inputs) read(input);
    for (ValueId capture : forward.captures) read(capture);
    if (wanted.empty()) return absl::OkStatus();
    const Node like{.module = forward.module, .phase = Phase::kBackward, .forward_node = id};
    Attributes attributes;
    attributes.Set(kUnknownReason, std::string(reason));
    const std::vector<ValueId> outputs =
        AddEmittedNode(graph_, "reusescope::UnknownGrad", absl::StrCat(forward.name, ".backward"), like, inputs, types,
                       ValueKind::kGradient, std::move(attributes));
    for (size_t i = 0; i < wanted.size(); ++i) Accumulate(id, wanted[i], outputs[i]);
    return absl::OkStatus();
  }

  Graph& graph_;
  std::vector<bool> needs_;           // by value of the forward graph
  std::vector<ValueId> gradient_of_;  // by value of the forward graph
};

// Where gradients end: the last node with an operand of floating-point numbers whose operator has none.
std::string Obstacle(const Graph& graph) {
  for (auto it = graph.order.rbegin(); it != graph.order.rend(); ++it) {
    const Node& node = graph.node(*it);
    const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
    // What no gradient reaches is not trained, so operands count that could have one.
    const bool reached = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
      if (id == kNoValue || !CarriesGradient(graph.value(id))) return false;
      return graph.value(id).producer != kNoNode || graph.value(id).kind == ValueKind::kInput;
    });
    if (!reached || semantics == nullptr || semantics->gradient != nullptr) continue;
    return absl::StrCat("; gradients end at node '", node.name, "' (", OpKeyString(node.op),
                        "): ", semantics->not_differentiable, "; ", PathFromOutput(graph, *it, /*any_value=*/true));
  }
  return "";
}

absl::Status NothingToTrain(absl::string_view target, const Graph& graph) {
  return absl::FailedPreconditionError(absl::StrCat(
      "no parameter reaches ", target, " through differentiable operators, so there is nothing to train",
      Obstacle(graph), "; --mode=inference analyses the forward pass alone, --train REGEX chooses parameters"));
}

ValueId Scaled(Graph& graph, ValueId seed, double scale) {
  if (scale == 1) return seed;
  const Type type = graph.value(seed).type;
  const ValueId factor = AddConstant(graph, "seed.scale", Literal::Floats({}, {scale}, type.dtype));
  Node like;
  like.phase = Phase::kBackward;
  return AddEmittedNode(graph, "Mul", "seed", like, {seed, factor}, {type}, ValueKind::kGradient, {})[0];
}

// The gradient of the loss, or of every output a seed that is fed; times `scale`.
absl::Status Seed(TrainingGraph& training, double scale, Differentiator& differentiator) {
  Graph& graph = training.graph;
  if (training.loss != kNoValue) {
    if (!differentiator.Needs(training.loss)) {
      return NothingToTrain(graph.value(training.loss).name, graph);
    }
    const Type type = graph.value(training.loss).type;
    differentiator.SetGradient(training.loss,
                               AddConstant(graph, "seed.loss", Literal::Floats({}, {scale}, type.dtype)));
    return absl::OkStatus();
  }
  for (ValueId output : graph.outputs) {
    if (!differentiator.Needs(output) || differentiator.gradient_of(output) != kNoValue) continue;
    const ValueId seed =
        graph.AddValue(absl::StrCat("seed.", graph.value(output).name), graph.value(output).type, ValueKind::kInput);
    training.seeds.push_back(seed);
    graph.inputs.push_back(seed);
    differentiator.SetGradient(output, Scaled(graph, seed, scale));
  }
  return training.seeds.empty() ? NothingToTrain("any output", graph) : absl::OkStatus();
}

// Outputs that the body does not compute, or hands out twice, get a node of their own.
void SeparateOutputs(Graph& graph) {
  std::vector<bool> taken(graph.values.size(), false);
  for (ValueId& output : graph.outputs) {
    if (graph.value(output).producer != kNoNode && !taken[output]) {
      taken[output] = true;
      continue;
    }
    const ValueId operands[] = {output};
    const Type types[] = {graph.value(output).type};
    output = AddEmittedNode(graph, "Identity", "output", Node{}, operands, types, ValueKind::kActivation, {})[0];
  }
}

absl::StatusOr<SubgraphGradient> DifferentiateSubgraph(const Graph& subgraph, absl::Span<const ValueId> wanted,
                                                       const std::vector<bool>& seeded) {
  SubgraphGradient result{.graph = subgraph.Clone()};
  Graph& graph = *result.graph;
  SeparateOutputs(graph);
  RS_RETURN_IF_ERROR(LowerComposites(graph));
  std::vector<bool> wanted_flags(graph.values.size(), false);
  for (ValueId id : wanted) wanted_flags[id] = true;
  Differentiator differentiator(graph, std::move(wanted_flags));
  const std::vector<ValueId> outputs = graph.outputs;
  for (size_t j = 0; j < outputs.size(); ++j) {
    result.seeds.push_back(kNoValue);
    if (!seeded[j] || !differentiator.Needs(outputs[j])) continue;
    result.seeds[j] = graph.AddValue(absl::StrCat("seed.", j), graph.value(outputs[j]).type, ValueKind::kInput);
    differentiator.SetGradient(outputs[j], result.seeds[j]);
  }
  RS_RETURN_IF_ERROR(differentiator.Run());
  for (ValueId id : wanted) result.gradients.push_back(differentiator.gradient_of(id));
  return result;
}

}  // namespace

void CollectStash(TrainingGraph& training) {
  const Graph& graph = training.graph;
  std::vector<NodeId> first_reader(graph.values.size(), kNoNode);
  for (NodeId id : graph.order) {
    const Phase phase = graph.node(id).phase;
    if (phase != Phase::kBackward && phase != Phase::kRecompute) continue;
    const auto read = [&](ValueId value) {
      if (value != kNoValue && first_reader[value] == kNoNode) first_reader[value] = id;
    };
    for (ValueId input : graph.node(id).inputs) read(input);
    for (ValueId capture : graph.node(id).captures) read(capture);
  }
  training.stash.clear();
  const auto add = [&](ValueId value) {
    if (value != kNoValue && first_reader[value] != kNoNode) training.stash.push_back({value, first_reader[value]});
  };
  const auto& seeds = training.seeds;
  for (ValueId input : graph.inputs) {
    const bool seed = std::find(seeds.begin(), seeds.end(), input) != seeds.end();
    if (graph.value(input).kind == ValueKind::kInput && !seed) add(input);
  }
  for (NodeId id : graph.order) {
    if (graph.node(id).phase != Phase::kForward) break;
    for (ValueId output : graph.node(id).outputs) {
      if (output != kNoValue && graph.value(output).kind == ValueKind::kActivation) add(output);
    }
  }
}

absl::Status Differentiate(TrainingGraph& training, const GradientOptions& options) {
  Graph& graph = training.graph;
  std::vector<bool> wanted;
  for (const Value& value : graph.values) {
    const bool asked = value.kind == ValueKind::kParameter || (options.inputs && value.kind == ValueKind::kInput);
    wanted.push_back(asked && IsFloatTensor(value));
  }
  const size_t count = graph.values.size();
  Differentiator differentiator(graph, std::move(wanted));
  RS_RETURN_IF_ERROR(Seed(training, options.seed_scale, differentiator));
  RS_RETURN_IF_ERROR(differentiator.Run());
  training.gradient_of.assign(graph.values.size(), kNoValue);
  for (size_t id = 0; id < count; ++id) training.gradient_of[id] = differentiator.gradient_of(static_cast<ValueId>(id));
  CollectStash(training);
  return absl::OkStatus();
}

}  // namespace reusescope
