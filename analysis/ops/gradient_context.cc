#include "analysis/ops/gradient_context.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/subgraphs.h"
#include "analysis/ops/control_flow.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {

GradientContext::GradientContext(Graph& graph, NodeId forward, const OpSemantics& semantics,
                                 std::vector<ValueId> gradient_of_output, GradientHooks hooks)
    : graph_(graph),
      forward_(forward),
      semantics_(semantics),
      go_(std::move(gradient_of_output)),
      hooks_(std::move(hooks)) {}

bool GradientContext::Needs(int i) const {
  const ValueId input = I(i);
  const bool differentiable = i >= 32 || (semantics_.differentiable_inputs >> i & 1u) != 0;
  return input != kNoValue && differentiable && hooks_.needs(input);
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
  hooks_.set_gradient(input, gradient);
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

ValueId GradientContext::Zeros(const Type& type) {
  const Node like{.module = node().module, .phase = Phase::kBackward, .forward_node = forward_};
  return AddZeros(graph_, absl::StrCat(node().name, ".backward"), like, type);
}

const Graph& GradientContext::Subgraph(absl::string_view name) const {
  return *graph_.subgraphs[std::get<SubgraphRef>(*node().attributes.Find(name)).index];
}

ValueId GradientContext::Stack(ValueId inner) {
  Graph& body = *graph_.subgraphs[std::get<SubgraphRef>(*node().attributes.Find("body")).index];
  Type type = body.value(inner).type;
  const ValueId operands[] = {inner};
  const Type types[] = {type};
  body.outputs.push_back(
      AddEmittedNode(body, "Identity", body.value(inner).name, Node{}, operands, types, ValueKind::kActivation, {})[0]);
  type.shape.insert(type.shape.begin(), node().attributes.Int(kTripCountAttribute, 1));
  const ValueId stacked = graph_.AddValue(absl::StrCat(node().name, ".trips.", node().outputs.size()), type);
  graph_.value(stacked).producer = forward_;
  Node& owner = graph_.node(forward_);
  owner.outputs.push_back(stacked);
  for (absl::string_view name : {"scan_output_axes", "scan_output_directions"}) {
    const absl::Span<const int64_t> given = owner.attributes.Ints(name);
    if (given.empty()) continue;
    std::vector<int64_t> longer(given.begin(), given.end());
    longer.push_back(0);
    owner.attributes.Set(name, std::move(longer));
  }
  return stacked;
}

std::vector<ValueId> GradientContext::EmitOwner(absl::string_view op_type, absl::Span<const ValueId> inputs,
                                                absl::Span<const Type> types, Attributes attributes,
                                                std::vector<std::pair<std::string, std::unique_ptr<Graph>>> subgraphs) {
  const auto outer = OuterValues(graph_, node());
  std::vector<ValueId> captures;
  for (auto& [name, subgraph] : subgraphs) {
    for (ValueId captured : subgraph->captured) {
      const auto it = outer.find(subgraph->value(captured).name);
      if (it != outer.end()) captures.push_back(it->second);
      for (ValueId gradient : go_) {
        if (gradient != kNoValue && graph_.value(gradient).name == subgraph->value(captured).name) {
          captures.push_back(gradient);
        }
      }
    }
    attributes.Set(name, SubgraphRef{static_cast<int>(graph_.subgraphs.size())});
    graph_.subgraphs.push_back(std::move(subgraph));
  }
  const std::vector<ValueId> outputs = EmitMany(op_type, inputs, types, std::move(attributes));
  std::sort(captures.begin(), captures.end());
  captures.erase(std::unique(captures.begin(), captures.end()), captures.end());
  const auto is_input = [&](ValueId id) { return std::find(inputs.begin(), inputs.end(), id) != inputs.end(); };
  captures.erase(std::remove_if(captures.begin(), captures.end(), is_input), captures.end());
  graph_.node(graph_.value(outputs[0]).producer).captures = std::move(captures);
  return outputs;
}

}  // namespace reusescope
