#include "analysis/ops/lower_context.h"

#include "absl/strings/str_cat.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {

ValueId LowerContext::Emit(absl::string_view op_type, absl::Span<const ValueId> inputs, const Type& type,
                           Attributes attributes) {
  return EmitMany(op_type, inputs, {type}, std::move(attributes))[0];
}

std::vector<ValueId> LowerContext::EmitMany(absl::string_view op_type, absl::Span<const ValueId> inputs,
                                            absl::Span<const Type> types, Attributes attributes) {
  const Node like = graph_.node(id_);
  std::vector<ValueId> outputs =
      AddEmittedNode(graph_, op_type, like.name, like, inputs, types, ValueKind::kActivation, std::move(attributes));
  // The stage places what was emitted; AddNode has put it last.
  emitted_.push_back(graph_.order.back());
  graph_.order.pop_back();
  return outputs;
}

ValueId LowerContext::Constant(absl::string_view suffix, Literal literal) {
  return AddConstant(graph_, absl::StrCat(graph_.node(id_).name, ".", suffix), std::move(literal));
}

ValueId LowerContext::FoldedConstant(absl::string_view op_type, const Type& type, Attributes attributes) {
  const Node like = graph_.node(id_);
  const Type types[] = {type};
  const ValueId value =
      AddEmittedNode(graph_, op_type, like.name, like, {}, types, ValueKind::kConstant, std::move(attributes))[0];
  graph_.order.pop_back();
  graph_.value(value).producer = kNoNode;
  return value;
}

void LowerContext::ReplaceOutput(int j, ValueId value) {
  const ValueId output = graph_.node(id_).outputs[j];
  const NodeId producer = graph_.value(value).producer;
  // The emitted node writes the old output directly, so every reader and the file's name stay.
  for (ValueId& candidate : graph_.node(producer).outputs) {
    if (candidate == value) candidate = output;
  }
  graph_.value(output).producer = producer;
  for (NodeId id : emitted_) {
    for (ValueId& input : graph_.node(id).inputs) {
      if (input == value) input = output;
    }
  }
}

void LowerContext::AddRegion(absl::string_view kind) {
  graph_.regions.push_back({.kind = std::string(kind), .nodes = emitted_});
}

}  // namespace reusescope
