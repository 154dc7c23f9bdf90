#include "analysis/ops/node_builder.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace reusescope {

OpKey EmittedOp(absl::string_view op_type) {
  if (absl::ConsumePrefix(&op_type, "reusescope::")) {
    return {.domain = std::string(kReuseScopeDomain), .type = std::string(op_type), .since_version = 1};
  }
  return {.domain = "", .type = std::string(op_type), .since_version = kEmittedOpset};
}

std::vector<ValueId> AddEmittedNode(Graph& graph, absl::string_view op_type, absl::string_view base, const Node& like,
                                    absl::Span<const ValueId> inputs, absl::Span<const Type> types, ValueKind kind,
                                    Attributes attributes) {
  Node node{.op = EmittedOp(op_type), .attributes = std::move(attributes)};
  node.module = like.module;
  node.phase = like.phase;
  node.forward_node = like.forward_node;
  // The pool index makes the name unique without a search.
  node.name = absl::StrCat(base, ".", node.op.type, ".", graph.nodes.size());
  node.inputs.assign(inputs.begin(), inputs.end());
  std::vector<ValueId> outputs;
  for (const Type& type : types) {
    const std::string suffix = outputs.empty() ? "" : absl::StrCat(":", outputs.size());
    outputs.push_back(graph.AddValue(absl::StrCat(node.name, suffix), type, kind));
  }
  node.outputs.assign(outputs.begin(), outputs.end());
  graph.AddNode(std::move(node));
  return outputs;
}

ValueId AddConstant(Graph& graph, absl::string_view name, Literal literal) {
  const ValueId id = graph.AddValue(absl::StrCat(name, ".", graph.values.size()),
                                    Type::Tensor(literal.dtype, literal.shape), ValueKind::kConstant);
  graph.SetLiteral(id, std::move(literal));
  return id;
}

ValueId AddZeros(Graph& graph, absl::string_view base, const Node& like, const Type& type) {
  ValueId zero = AddConstant(graph, absl::StrCat(base, ".zero"), Literal::Floats({}, {0}));
  if (type.dtype != DType::kFloat32) {
    Attributes attributes;
    attributes.Set("to", static_cast<int64_t>(type.dtype));
    const ValueId operands[] = {zero};
    const Type types[] = {Type::Tensor(type.dtype, {})};
    zero = AddEmittedNode(graph, "Cast", base, like, operands, types, ValueKind::kGradient, std::move(attributes))[0];
  }
  const Shape& shape = type.shape;
  const ValueId sizes = AddConstant(graph, absl::StrCat(base, ".shape"),
                                    Literal::Ints({static_cast<int64_t>(shape.size())}, {shape.begin(), shape.end()}));
  const ValueId operands[] = {zero, sizes};
  const Type types[] = {type};
  return AddEmittedNode(graph, "Expand", base, like, operands, types, ValueKind::kGradient, {})[0];
}

}  // namespace reusescope
