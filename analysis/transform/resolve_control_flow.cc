// If, Loop, Scan and SequenceMap: their bodies are resolved with the types that they will see.
//
// An If whose condition is known is replaced by the branch taken. A Loop's carried values may change shape from one
// iteration to the next as long as the number of iterations is known; the types inside the body are those of the last
// iteration looked at.

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/transform/shape_resolver.h"

namespace reusescope {
namespace {

constexpr int kMaxLoopSteps = 64;  // iterations followed while shapes still change

// The value of a known scalar integer or boolean.
std::optional<int64_t> Scalar(const Graph& graph, const Node& node, size_t input) {
  const Literal* literal = input < node.inputs.size() ? graph.literal(node.inputs[input]) : nullptr;
  if (literal == nullptr || !literal->has_data || literal->ints.size() != 1) return std::nullopt;
  return literal->ints[0];
}

// Equal but for the length of sequences.
bool SameElements(Type a, const Type& b) {
  a.length = b.length;
  return a == b;
}

// What both branches agree on.
Type Unify(const Type& a, const Type& b) {
  if (a == b) return a;
  Type type = a;
  if (a.form != b.form || a.dtype != b.dtype) return Type{};
  if (a.length != b.length) type.length = kUnknownDim;
  if (!a.has_shape || !b.has_shape || a.shape.size() != b.shape.size()) {
    type.has_shape = false;
    type.shape.clear();
    return type;
  }
  for (size_t d = 0; d < type.shape.size(); ++d) {
    if (a.shape[d] != b.shape[d]) type.shape[d] = kUnknownDim;
  }
  return type;
}

Type WithLeading(Type type, size_t axis, int64_t dim) {
  if (type.has_shape) type.shape.insert(type.shape.begin() + std::min(axis, type.shape.size()), dim);
  return type;
}

}  // namespace

const ControlFlowRule* FindControlFlow(const OpKey& op) {
  static constexpr ControlFlowRule kRules[] = {
      {"If", &ShapeResolver::ResolveIf},
      {"Loop", &ShapeResolver::ResolveLoop},
      {"Scan", &ShapeResolver::ResolveScan},
      {"SequenceMap", &ShapeResolver::ResolveSequenceMap},
  };
  if (!op.domain.empty()) return nullptr;
  for (const ControlFlowRule& rule : kRules) {
    if (rule.type == op.type) return &rule;
  }
  return nullptr;
}

absl::StatusOr<Graph*> ShapeResolver::Subgraph(NodeId id, absl::string_view name) {
  const Attribute* attribute = graph_.node(id).attributes.Find(name);
  const auto* reference = attribute == nullptr ? nullptr : std::get_if<SubgraphRef>(attribute);
  if (reference == nullptr || reference->index < 0 || reference->index >= static_cast<int>(graph_.subgraphs.size())) {
    return Error(id, absl::StrCat("attribute '", name, "' is missing, expected a graph"));
  }
  return graph_.subgraphs[reference->index].get();
}

ShapeResolver::Types ShapeResolver::ResolveBody(NodeId id, Graph& body, absl::Span<const Type> types, int known_true) {
  if (body.inputs.size() != types.size()) {
    return Error(id, absl::StrCat("its body has ", body.inputs.size(), " inputs, expected ", types.size()));
  }
  for (size_t i = 0; i < types.size(); ++i) {
    Value& input = body.value(body.inputs[i]);
    input.type = types[i];
    input.literal = -1;
    if (static_cast<int>(i) == known_true) body.SetLiteral(body.inputs[i], Literal::Ints({}, {1}, DType::kBool));
  }
  absl::flat_hash_map<absl::string_view, ValueId> outer;
  const Node& node = graph_.node(id);
  for (ValueId value : node.captures) outer.emplace(graph_.value(value).name, value);
  for (ValueId value : node.inputs) {
    if (value != kNoValue) outer.emplace(graph_.value(value).name, value);
  }
  for (ValueId captured : body.captured) {
    const auto it = outer.find(body.value(captured).name);
    if (it == outer.end()) {
      return Error(id, absl::StrCat("its body reads '", body.value(captured).name, "', which is not defined outside"));
    }
    body.value(captured).type = graph_.value(it->second).type;
    body.value(captured).literal = -1;
    if (const Literal* literal = graph_.literal(it->second)) body.SetLiteral(captured, *literal);
  }
  RS_RETURN_IF_ERROR(Enter(id, body));
  ++state_.depth;
  const absl::Status status = ShapeResolver(body, state_).Run();
  --state_.depth;
  if (!status.ok()) return status;
  std::vector<Type> outputs;
  for (ValueId output : body.outputs) outputs.push_back(body.value(output).type);
  return outputs;
}

const Graph* ShapeResolver::KnownBranch(NodeId id) const {
  const Node& node = graph_.node(id);
  if (node.op.type != "If") return nullptr;
  const std::optional<int64_t> condition = Scalar(graph_, node, 0);
  if (!condition) return nullptr;
  const Attribute* branch = node.attributes.Find(*condition != 0 ? "then_branch" : "else_branch");
  const auto* reference = branch == nullptr ? nullptr : std::get_if<SubgraphRef>(branch);
  if (reference == nullptr || reference->index < 0) return nullptr;
  const Graph* graph = graph_.subgraphs[reference->index].get();
  return graph->outputs.size() == node.outputs.size() ? graph : nullptr;
}

ShapeResolver::Types ShapeResolver::ResolveIf(NodeId id) {
  RS_ASSIGN_OR_RETURN(Graph * then_branch, Subgraph(id, "then_branch"));
  RS_ASSIGN_OR_RETURN(Graph * else_branch, Subgraph(id, "else_branch"));
  RS_ASSIGN_OR_RETURN(std::vector<Type> types, ResolveBody(id, *then_branch, {}));
  RS_ASSIGN_OR_RETURN(const std::vector<Type> others, ResolveBody(id, *else_branch, {}));
  const size_t count = graph_.node(id).outputs.size();
  if (types.size() != count || others.size() != count) {
    return Error(
        id, absl::StrCat("its branches have ", types.size(), " and ", others.size(), " outputs, expected ", count));
  }
  for (size_t j = 0; j < count; ++j) types[j] = Unify(types[j], others[j]);
  return types;
}

ShapeResolver::Types ShapeResolver::ResolveLoop(NodeId id) {
  RS_ASSIGN_OR_RETURN(Graph * body, Subgraph(id, "body"));
  const Node& node = graph_.node(id);
  const size_t carried = node.inputs.size() < 2 ? 0 : node.inputs.size() - 2;
  std::vector<Type> types = {Type::Tensor(DType::kInt64, {}), Type::Tensor(DType::kBool, {})};
  for (size_t i = 0; i < carried; ++i) {
    if (node.inputs[i + 2] == kNoValue)
      return Error(id, absl::StrCat("input ", i + 2, " is omitted, expected a value"));
    types.push_back(graph_.value(node.inputs[i + 2]).type);
  }
  std::optional<int64_t> trips = Scalar(graph_, node, 0);
  const bool open = node.inputs.size() > 1 && node.inputs[1] != kNoValue && Scalar(graph_, node, 1) != 1;
  int64_t step = 0;
  std::vector<Type> outputs;
  std::vector<Type> before;
  do {
    before = types;
    // The body runs only while the condition holds.
    RS_ASSIGN_OR_RETURN(outputs, ResolveBody(id, *body, types, 1));
    if (outputs.size() < carried + 1 || outputs.size() != node.outputs.size() + 1) {
      return Error(id, absl::StrCat("its body has ", outputs.size(), " outputs, expected ", node.outputs.size() + 1));
    }
    // The loop may end early unless its condition is always true.
    const Literal* condition = body->literal(body->outputs[0]);
    const bool runs_on = condition != nullptr && condition->ints == std::vector<int64_t>{1};
    if (open || !runs_on) trips.reset();
    std::copy(outputs.begin() + 1, outputs.begin() + 1 + carried, types.begin() + 2);
    ++step;
    if (std::equal(types.begin(), types.end(), before.begin(), SameElements)) break;
    if (!trips || step >= kMaxLoopSteps) {
      return absl::UnimplementedError(
          absl::StrCat(Describe(id), "shapes of its carried values change between iterations"));
    }
  } while (step < *trips);
  std::vector<Type> result;
  for (size_t i = 0; i < carried; ++i) {
    Type type = trips == 0 ? graph_.value(node.inputs[i + 2]).type : types[i + 2];
    const int64_t grows = types[i + 2].length - before[i + 2].length;
    if (type.length != kUnknownDim && grows != 0 && trips != 0) {
      const auto rest = trips ? CheckedMultiply(grows, *trips - step) : std::nullopt;
      type.length = rest ? CheckedAdd(type.length, *rest).value_or(kUnknownDim) : kUnknownDim;
    }
    result.push_back(std::move(type));
  }
  for (size_t j = carried + 1; j < outputs.size(); ++j) {
    result.push_back(WithLeading(outputs[j], 0, trips ? std::max<int64_t>(*trips, 0) : kUnknownDim));
  }
  return result;
}

ShapeResolver::Types ShapeResolver::ResolveSequenceMap(NodeId id) {
  RS_ASSIGN_OR_RETURN(Graph * body, Subgraph(id, "body"));
  std::vector<Type> types;
  int64_t length = kUnknownDim;
  for (ValueId input : graph_.node(id).inputs) {
    if (input == kNoValue) return Error(id, "an input is omitted, expected a value");
    Type type = graph_.value(input).type;
    if (types.empty()) length = type.length;
    if (type.form == Type::Form::kSequence) type.form = Type::Form::kTensor;
    type.length = kUnknownDim;
    types.push_back(std::move(type));
  }
  RS_ASSIGN_OR_RETURN(std::vector<Type> outputs, ResolveBody(id, *body, types));
  for (Type& type : outputs) {
    type.form = Type::Form::kSequence;
    type.length = length;
  }
  return outputs;
}

ShapeResolver::Types ShapeResolver::ResolveScan(NodeId id) {
  RS_ASSIGN_OR_RETURN(Graph * body, Subgraph(id, "body"));
  const Node& node = graph_.node(id);
  // Scan-8 has a leading operand of lengths, and a batch dimension before everything.
  const bool batched = node.op.since_version < 9;
  const size_t first = batched ? 1 : 0;
  const int64_t scanned = node.attributes.Int("num_scan_inputs", 0);
  const auto operands = static_cast<int64_t>(node.inputs.size() - std::min(first, node.inputs.size()));
  if (scanned < 1 || scanned > operands) {
    return Error(id, absl::StrCat("found num_scan_inputs ", scanned, ", expected between 1 and ", operands));
  }
  const auto carried = static_cast<size_t>(operands - scanned);
  const absl::Span<const int64_t> axes = node.attributes.Ints("scan_input_axes");
  const absl::Span<const int64_t> out_axes = node.attributes.Ints("scan_output_axes");
  int64_t length = kUnknownDim, batch = kUnknownDim;
  std::vector<Type> types;
  for (size_t i = 0; i < static_cast<size_t>(operands); ++i) {
    if (node.inputs[first + i] == kNoValue)
      return Error(id, absl::StrCat("input ", first + i, " is omitted, expected a value"));
    Type type = graph_.value(node.inputs[first + i]).type;
    int64_t axis = i >= carried && i - carried < axes.size() && !batched ? axes[i - carried] : 0;
    if (axis < 0) axis += type.rank();
    const int64_t needed = (i >= carried ? axis + 1 : 0) + (batched ? 1 : 0);
    if (axis < 0 || type.rank() < needed) {
      return Error(id, absl::StrCat("input ", first + i, " is ", TypeString(type), ", expected at least ", needed,
                                    " dimensions"));
    }
    if (batched) {
      batch = type.shape[0];
      type.shape.erase(type.shape.begin());
    }
    if (i >= carried) {
      length = type.shape[axis];
      type.shape.erase(type.shape.begin() + axis);
    }
    types.push_back(std::move(type));
  }
  RS_ASSIGN_OR_RETURN(std::vector<Type> outputs, ResolveBody(id, *body, types));
  if (outputs.size() < carried || outputs.size() != node.outputs.size()) {
    return Error(id, absl::StrCat("its body has ", outputs.size(), " outputs, expected ", node.outputs.size()));
  }
  for (size_t j = 0; j < outputs.size(); ++j) {
    if (j < carried && !SameElements(outputs[j], types[j])) {
      return absl::UnimplementedError(
          absl::StrCat(Describe(id), "shapes of its carried values change between iterations"));
    }
    if (j >= carried) {
      int64_t axis = j - carried < out_axes.size() && !batched ? out_axes[j - carried] : 0;
      if (axis < 0) axis += outputs[j].rank() + 1;
      if (axis < 0 || axis > outputs[j].rank()) return Error(id, "scan_output_axes names no dimension of the output");
      outputs[j] = WithLeading(std::move(outputs[j]), axis, length);
    }
    if (batched) outputs[j] = WithLeading(std::move(outputs[j]), 0, batch);
  }
  return outputs;
}

}  // namespace reusescope
