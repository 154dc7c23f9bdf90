#include "analysis/ops/gradient_context.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {

GradientContext::GradientContext(Graph& graph, NodeId forward, const OpSemantics& semantics,
                                 std::vector<ValueId> gradient_of_output, std::function<bool(ValueId)> needs,
                                 std::function<void(ValueId, ValueId)> set_gradient)
    : graph_(graph),
      forward_(forward),
      semantics_(semantics),
      go_(std::move(gradient_of_output)),
      needs_(std::move(needs)),
      set_gradient_(std::move(set_gradient)) {}

bool GradientContext::Needs(int i) const {
  const ValueId input = I(i);
  const bool differentiable = i >= 32 || (semantics_.differentiable_inputs >> i & 1u) != 0;
  return input != kNoValue && differentiable && needs_(input);
}

ValueId GradientContext::Emit(absl::string_view op_type, absl::Span<const ValueId> inputs, const Type& type,
                              Attributes attributes) {
  return EmitMany(op_type, inputs, {type}, std::move(attributes))[0];
}

std::vector<ValueId> GradientContext::EmitMany(absl::string_view op_type, absl::Span<const ValueId> inputs,
                                               absl::Span<const Type> types, Attributes attributes) {
  Node like;
  like.module = node().module;
  like.phase = Phase::kBackward;
  like.forward_node = forward_;
  const std::string base = absl::StrCat(node().name, ".backward");
  return AddEmittedNode(graph_, op_type, base, like, inputs, types, ValueKind::kGradient, std::move(attributes));
}

void GradientContext::SetGradient(int i, ValueId gradient) {
  const ValueId input = I(i);
  const Type type = TypeOf(input);
  if (TypeOf(gradient).shape != type.shape) {
    // Through a name: the constructor's span of one element would dangle otherwise.
    const ValueId broadcast[] = {gradient};
    gradient = Emit("reusescope::Unbroadcast", broadcast, type);
  }
  set_gradient_(input, gradient);
}

ValueId GradientContext::SaveOutput(absl::string_view suffix, Type type) {
  const std::string name = absl::StrCat(node().name, ".", suffix);
  for (ValueId output : node().outputs) {
    if (output != kNoValue && graph_.value(output).name == name) return output;
  }
  const ValueId saved = graph_.AddValue(name, std::move(type), ValueKind::kActivation);
  graph_.value(saved).producer = forward_;
  graph_.node(forward_).outputs.push_back(saved);
  ++graph_.node(forward_).saved_outputs;
  return saved;
}

ValueId GradientContext::AskForOutput(int j, absl::string_view suffix, Type type) {
  if (O(j) != kNoValue) return O(j);
  const ValueId asked = graph_.AddValue(absl::StrCat(node().name, ".", suffix), std::move(type));
  graph_.value(asked).producer = forward_;
  auto& outputs = graph_.node(forward_).outputs;
  if (j >= static_cast<int>(outputs.size())) outputs.resize(j + 1, kNoValue);
  outputs[j] = asked;
  return asked;
}

ValueId GradientContext::Constant(absl::string_view suffix, Literal literal) {
  return AddConstant(graph_, absl::StrCat(node().name, ".backward.", suffix), std::move(literal));
}

}  // namespace reusescope
