#include "analysis/transform/differentiate.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/node_builder.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

bool IsFloatTensor(const Value& value) { return value.type.IsTensor() && IsFloatingPoint(value.type.dtype); }

// Sequences of floating-point tensors carry gradients too.
bool CarriesGradient(const Value& value) {
  return IsFloatingPoint(value.type.dtype) && (value.type.IsTensor() || value.type.form == Type::Form::kSequence);
}

class Differentiator {
 public:
  Differentiator(TrainingGraph& training, bool inputs) : training_(training), graph_(training.graph), inputs_(inputs) {}

  absl::Status Run() {
    FindNeeded();
    const std::vector<NodeId> forward = graph_.order;
    RS_RETURN_IF_ERROR(Seed());
    for (auto it = forward.rbegin(); it != forward.rend(); ++it) {
      RS_RETURN_IF_ERROR(Visit(*it));
    }
    training_.gradient_of = gradient_of_;
    training_.gradient_of.resize(graph_.values.size(), kNoValue);
    CollectStash();
    return absl::OkStatus();
  }

 private:
  const OpSemantics* SemanticsOf(NodeId id) const { return OpRegistry::Get().Find(graph_.node(id).op); }

  bool Needs(ValueId id) const { return id < static_cast<ValueId>(needs_.size()) && needs_[id]; }

  // A value needs a gradient if a parameter reaches it through differentiable operands.
  void FindNeeded() {
    needs_.assign(graph_.values.size(), false);
    gradient_of_.assign(graph_.values.size(), kNoValue);
    for (ValueId id = 0; id < static_cast<ValueId>(graph_.values.size()); ++id) {
      const ValueKind kind = graph_.value(id).kind;
      const bool wanted = kind == ValueKind::kParameter || (inputs_ && kind == ValueKind::kInput);
      needs_[id] = wanted && IsFloatTensor(graph_.value(id));
    }
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
      for (ValueId output : node.outputs) {
        if (output != kNoValue) needs_[output] = reached && CarriesGradient(graph_.value(output));
      }
    }
  }

  absl::Status Seed() {
    if (training_.loss != kNoValue) {
      if (!Needs(training_.loss)) return NothingToTrain(graph_.value(training_.loss).name);
      const Type type = graph_.value(training_.loss).type;
      gradient_of_[training_.loss] = AddConstant(graph_, "seed.loss", Literal::Floats({}, {1.0}, type.dtype));
      return absl::OkStatus();
    }
    for (ValueId output : graph_.outputs) {
      if (!Needs(output) || gradient_of_[output] != kNoValue) continue;
      const ValueId seed = graph_.AddValue(absl::StrCat("seed.", graph_.value(output).name), graph_.value(output).type,
                                           ValueKind::kInput);
      training_.seeds.push_back(seed);
      graph_.inputs.push_back(seed);
      gradient_of_[output] = seed;
    }
    return training_.seeds.empty() ? NothingToTrain("any output") : absl::OkStatus();
  }

  static absl::Status NothingToTrain(absl::string_view target) {
    return absl::FailedPreconditionError(
        absl::StrCat("no parameter reaches ", target,
                     " through differentiable operators, so there is nothing to train; "
                     "--mode=inference analyses the forward pass alone, --train REGEX chooses parameters"));
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
    if (semantics == nullptr) return EmitUnknown(id, gradients);
    if (semantics->gradient == nullptr) return absl::OkStatus();
    GradientContext context(
        graph_, id, *semantics, std::move(gradients), [this](ValueId value) { return Needs(value); },
        [this, id](ValueId value, ValueId gradient) { Accumulate(id, value, gradient); });
    return semantics->gradient(context);
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

  absl::Status EmitUnknown(NodeId id, const std::vector<ValueId>& gradients) {
    const Node forward = graph_.node(id);
    std::vector<ValueId> inputs;
    for (ValueId gradient : gradients) {
      if (gradient != kNoValue) inputs.push_back(gradient);
    }
    std::vector<Type> types;
    std::vector<ValueId> wanted;
    for (ValueId input : forward.inputs) {
      if (input == kNoValue) continue;
      inputs.push_back(input);
      if (!Needs(input)) continue;
      wanted.push_back(input);
      types.push_back(graph_.value(input).type);
    }
    if (wanted.empty()) return absl::OkStatus();
    Node like;
    like.module = forward.module;
    like.phase = Phase::kBackward;
    like.forward_node = id;
    const std::vector<ValueId> outputs =
        AddEmittedNode(graph_, "reusescope::UnknownGrad", absl::StrCat(forward.name, ".backward"), like, inputs, types,
                       ValueKind::kGradient, {});
    for (size_t i = 0; i < wanted.size(); ++i) Accumulate(id, wanted[i], outputs[i]);
    return absl::OkStatus();
  }

  // Forward values (and inputs of the model) that backward reads. What lives anyway is not stash.
  void CollectStash() {
    std::vector<NodeId> first_reader(graph_.values.size(), kNoNode);
    for (NodeId id : graph_.order) {
      if (graph_.node(id).phase != Phase::kBackward) continue;
      for (ValueId input : graph_.node(id).inputs) {
        if (input != kNoValue && first_reader[input] == kNoNode) first_reader[input] = id;
      }
    }
    const auto add = [&](ValueId value) {
      if (value != kNoValue && first_reader[value] != kNoNode) training_.stash.push_back({value, first_reader[value]});
    };
    for (ValueId input : graph_.inputs) {
      if (graph_.value(input).kind == ValueKind::kInput && !IsSeed(input)) add(input);
    }
    for (NodeId id : graph_.order) {
      if (graph_.node(id).phase != Phase::kForward) break;
      for (ValueId output : graph_.node(id).outputs) {
        if (output != kNoValue && graph_.value(output).kind == ValueKind::kActivation) add(output);
      }
    }
  }

  bool IsSeed(ValueId id) const {
    for (ValueId seed : training_.seeds) {
      if (seed == id) return true;
    }
    return false;
  }

  TrainingGraph& training_;
  Graph& graph_;
  const bool inputs_;
  std::vector<bool> needs_;           // by value of the forward graph
  std::vector<ValueId> gradient_of_;  // by value of the forward graph
};

}  // namespace

absl::Status Differentiate(TrainingGraph& training, bool inputs) { return Differentiator(training, inputs).Run(); }

}  // namespace reusescope
