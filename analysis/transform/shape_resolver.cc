#include "analysis/transform/shape_resolver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/schema/node_inference.h"

namespace reusescope {
namespace {

// Bodies within bodies: functions of functions, branches in loops. Deeper files are not made by exporters.
constexpr int kMaxDepth = 64;

// A node's operands as InferNode wants them; holds pointers into the graph.
class Operands {
 public:
  Operands(const Graph& graph, const Node& node) : node_(node) {
    for (ValueId input : node.inputs) {
      types_.push_back(input == kNoValue ? nullptr : &graph.value(input).type);
      literals_.push_back(graph.literal(input));
    }
  }
  NodeQuery Query() const {
    return {.op = node_.op,
            .name = node_.name,
            .attributes = node_.attributes,
            .inputs = types_,
            .literals = literals_,
            .num_outputs = static_cast<int>(node_.outputs.size())};
  }

 private:
  const Node& node_;
  absl::InlinedVector<const Type*, 8> types_;
  absl::InlinedVector<const Literal*, 8> literals_;
};

// What inference found, completed by what the file declares.
Type Complete(Type inferred, const Type& declared) {
  if (inferred.form == Type::Form::kUnknown) return declared;
  if (inferred.dtype == DType::kUndefined) inferred.dtype = declared.dtype;
  if (!inferred.has_shape) {
    inferred.has_shape = declared.has_shape;
    inferred.shape = declared.shape;
  } else if (declared.has_shape && declared.shape.size() == inferred.shape.size()) {
    for (size_t d = 0; d < inferred.shape.size(); ++d) {
      if (inferred.shape[d] == kUnknownDim) inferred.shape[d] = declared.shape[d];
    }
  }
  return inferred;
}

bool AllResolved(const std::vector<Type>& types) {
  for (const Type& type : types) {
    if (type.form == Type::Form::kUnknown || (type.IsTensor() && !type.IsResolved())) return false;
  }
  return true;
}

}  // namespace

std::string ShapeResolver::Describe(NodeId id) const {
  const Node& node = graph_.node(id);
  return absl::StrCat("node '", node.name, "' (", OpKeyString(node.op), "): ");
}

absl::Status ShapeResolver::Error(NodeId id, absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(Describe(id), message));
}

absl::Status ShapeResolver::Run() {
  const std::vector<NodeId> order = std::move(graph_.order);
  schedule_.reserve(order.size());
  for (NodeId id : order) RS_RETURN_IF_ERROR(Visit(id));
  graph_.order = std::move(schedule_);
  return absl::OkStatus();
}

// ONNX Runtime's name for an operator of ONNX's.
void ShapeResolver::SupplyOnnxName(NodeId id) {
  OpKey& op = graph_.node(id).op;
  const OpSemantics* semantics = OpRegistry::Get().Find(op);
  if (semantics == nullptr || semantics->same_as.version == 0) return;
  op = {"", std::string(semantics->same_as.type), semantics->same_as.version};
}

// Tools that drop domains write ONNX Runtime's operators (QLinearAdd, NhwcConv) as if they were ONNX's.
void ShapeResolver::SupplyDomain(NodeId id) {
  OpKey& op = graph_.node(id).op;
  const OpKey theirs = {"com.microsoft", op.type, 1};
  const OpRegistry& registry = OpRegistry::Get();
  if (!op.domain.empty() || registry.Find(op) != nullptr || registry.Find(theirs) == nullptr) return;
  OpKey any = op;
  any.since_version = LatestOpset("");
  if (SchemaSinceVersion(any).has_value()) return;
  state_.misfits.push_back(absl::StrCat("'", graph_.node(id).name, "' (", OpKeyString(op), ") is com.microsoft's"));
  op = theirs;
}

void ShapeResolver::Mend(NodeId id, const OpSemantics* semantics) {
  if (semantics == nullptr || semantics->mend == nullptr) return;
  const std::string odd = semantics->mend(graph_, id);
  if (odd.empty()) return;
  state_.mended.push_back(absl::StrCat("'", graph_.node(id).name, "' (", OpKeyString(graph_.node(id).op), ") ", odd));
}

absl::Status ShapeResolver::Visit(NodeId id) {
  SupplyDomain(id);
  SupplyOnnxName(id);
  const OpSemantics* semantics = OpRegistry::Get().Find(graph_.node(id).op);
  Mend(id, semantics);
  if (state_.rebatch != nullptr) RS_RETURN_IF_ERROR(state_.rebatch->Adapt(graph_, id, schedule_));
  if (IsBranch(graph_.node(id).op)) {
    if (const Graph* branch = KnownBranch(id)) return VisitBody(id, *branch);
    if (!state_.bindings.keep_branches) {
      RS_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> branch, DearerBranch(id));
      RS_RETURN_IF_ERROR(VisitBody(id, *branch));
      KeepCondition(id);
      return absl::OkStatus();
    }
  }
  if (const ControlFlowRule* control_flow = FindControlFlow(graph_.node(id).op)) {
    RS_ASSIGN_OR_RETURN(std::vector<Type> types, (this->*control_flow->resolve)(id));
    RS_RETURN_IF_ERROR(SetOutputs(id, semantics, std::move(types)));
  } else {
    if (semantics == nullptr) {
      RS_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> body, FunctionBody(id));
      if (body != nullptr && IsOfItsBody(id)) return VisitBody(id, *body);
    }
    RS_ASSIGN_OR_RETURN(std::vector<Type> types, InferOutputs(id, semantics));
    RS_RETURN_IF_ERROR(SetOutputs(id, semantics, std::move(types)));
  }
  schedule_.push_back(id);
  return absl::OkStatus();
}

absl::Status ShapeResolver::Enter(NodeId id, const Graph& body) {
  if (state_.depth >= kMaxDepth) return Error(id, absl::StrCat("bodies are nested more than ", kMaxDepth, " deep"));
  if (!state_.budget.Spend(body)) return Error(id, "functions and bodies come to too many nodes for this file");
  return absl::OkStatus();
}

absl::Status ShapeResolver::VisitBody(NodeId id, const Graph& body) {
  RS_RETURN_IF_ERROR(Enter(id, body));
  if (names_ == nullptr) names_ = std::make_unique<UniqueNames>(graph_);
  RS_ASSIGN_OR_RETURN(const std::vector<NodeId> added,
                      SpliceBody(graph_, id, body, graph_.node(id).attributes, *names_));
  ++state_.depth;
  for (NodeId each : added) RS_RETURN_IF_ERROR(Visit(each));
  --state_.depth;
  return absl::OkStatus();
}

bool ShapeResolver::IsOfItsBody(NodeId id) {
  const Node& node = graph_.node(id);
  if (SchemaSinceVersion(node.op)) return true;
  ResolveState trial = state_;
  if (!ShapeResolver(graph_, trial).InferThroughBody(id).ok()) return false;
  state_.misfits.push_back(absl::StrCat("'", node.name, "' (", node.op.type, ") is younger than the opset"));
  return true;
}

void ShapeResolver::KeepCondition(NodeId id) {
  if (graph_.node(id).inputs.empty()) return;  // a file may lack it
  const ValueId condition = graph_.node(id).inputs[0];
  for (ValueId output : graph_.node(id).outputs) {
    const NodeId producer = output == kNoValue ? kNoNode : graph_.value(output).producer;
    if (producer == kNoNode || producer == id) continue;
    auto& captures = graph_.node(producer).captures;
    if (std::find(captures.begin(), captures.end(), condition) == captures.end()) captures.push_back(condition);
  }
}

absl::StatusOr<std::unique_ptr<Graph>> ShapeResolver::FunctionBody(NodeId id) const {
  const Node& node = graph_.node(id);
  return SchemaFunctionBody(Operands(graph_, node).Query());
}

ShapeResolver::Types ShapeResolver::InferOutputs(NodeId id, const OpSemantics* semantics) {
  Node& node = graph_.node(id);
  if (semantics != nullptr && semantics->infer != nullptr) {
    node.op.since_version = SchemaSinceVersion(node.op).value_or(semantics->since_version);
    return semantics->infer(OpContext(graph_, id, *semantics));
  }
  absl::StatusOr<InferredNode> inferred = InferNode(Operands(graph_, node).Query());
  if (absl::IsNotFound(inferred.status())) {
    std::vector<Type> none(node.outputs.size());
    return none;
  }
  if (!inferred.ok()) return inferred.status();
  if (!AllResolved(inferred->outputs)) {
    RS_ASSIGN_OR_RETURN(std::vector<Type> types, InferThroughBody(id));
    for (size_t j = 0; j < types.size(); ++j) inferred->outputs[j] = Complete(inferred->outputs[j], types[j]);
  }
  if (SchemaSinceVersion(node.op).value_or(inferred->since_version) != inferred->since_version) {
    state_.misfits.push_back(
        absl::StrCat("'", node.name, "' (", OpKeyString(node.op), ") has the form of opset ", inferred->since_version));
  }
  if (!inferred->widened.empty()) {
    state_.mended.push_back(
        absl::StrCat("'", node.name, "' (", OpKeyString(node.op), ") has ", inferred->widened, " taken as int64"));
  }
  node.op.since_version = inferred->since_version;
  return std::move(inferred->outputs);
}

// For operators that we keep whole but whose schema says in a function body what it has no inference rule for.
ShapeResolver::Types ShapeResolver::InferThroughBody(NodeId id) {
  RS_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> body, FunctionBody(id));
  if (body == nullptr) return std::vector<Type>();
  RS_RETURN_IF_ERROR(Enter(id, *body));
  Graph scratch;
  Node call = graph_.node(id);
  const auto copy = [&](ValueId value) {
    if (value == kNoValue) return kNoValue;
    const ValueId made = scratch.AddValue(graph_.value(value).name, graph_.value(value).type, graph_.value(value).kind);
    if (const Literal* literal = graph_.literal(value)) scratch.SetLiteral(made, *literal);
    return made;
  };
  for (ValueId& input : call.inputs) input = copy(input);
  std::vector<ValueId> outputs;
  for (ValueId& output : call.outputs) {
    output = output == kNoValue ? kNoValue : scratch.AddValue(graph_.value(output).name, Type{});
    outputs.push_back(output);
  }
  const NodeId at = scratch.AddNode(std::move(call));
  UniqueNames names(scratch);
  RS_ASSIGN_OR_RETURN(scratch.order, SpliceBody(scratch, at, *body, scratch.node(at).attributes, names));
  ++state_.depth;
  const absl::Status status = ShapeResolver(scratch, state_).Run();
  --state_.depth;
  RS_RETURN_IF_ERROR(status);
  std::vector<Type> types;
  for (ValueId output : outputs) types.push_back(output == kNoValue ? Type{} : scratch.value(output).type);
  return types;
}

Type ShapeResolver::Declared(const Value& value) const {
  Type type = value.type;
  for (size_t d = 0; d < std::min(type.shape.size(), value.dim_symbols.size()); ++d) {
    const auto it = state_.dims.find(value.dim_symbols[d]);
    if (type.shape[d] == kUnknownDim && it != state_.dims.end()) type.shape[d] = it->second;
  }
  return type;
}

absl::Status ShapeResolver::SetOutputs(NodeId id, const OpSemantics* semantics, std::vector<Type> types) {
  const auto num_outputs = static_cast<int>(graph_.node(id).outputs.size());
  types.resize(num_outputs);
  for (int j = 0; j < num_outputs; ++j) {
    const ValueId output = graph_.node(id).outputs[j];
    if (output == kNoValue) continue;
    Value& value = graph_.value(output);
    value.type = Complete(std::move(types[j]), Declared(value));
    value.literal = -1;
  }
  if (semantics != nullptr && semantics->evaluate != nullptr) Evaluate(id, *semantics);
  RS_RETURN_IF_ERROR(Close(id, semantics));
  if (semantics != nullptr && semantics->at_most != nullptr) {
    const absl::string_view reason = semantics->at_most(OpContext(graph_, id, *semantics));
    const Node& node = graph_.node(id);
    if (!reason.empty()) {
      state_.counted.push_back(absl::StrCat("'", node.name, "' (", OpKeyString(node.op), "), ", reason));
    }
  }
  if (state_.below_bounds) LowerBounds(id);
  for (int j = 0; j < num_outputs; ++j) {
    RS_RETURN_IF_ERROR(CheckOutput(id, j));
    if (state_.rebatch != nullptr) RS_RETURN_IF_ERROR(state_.rebatch->Check(graph_, id, j));
  }
  return absl::OkStatus();
}

void ShapeResolver::Evaluate(NodeId id, const OpSemantics& semantics) {
  std::vector<Literal> literals = semantics.evaluate(OpContext(graph_, id, semantics));
  const auto& outputs = graph_.node(id).outputs;
  for (size_t j = 0; j < std::min(literals.size(), outputs.size()); ++j) {
    if (outputs[j] == kNoValue) continue;
    Type& type = graph_.value(outputs[j]).type;
    const Type found = Type::Tensor(literals[j].dtype, literals[j].shape);
    // Where the shape depends on values (NonZero), the value tells it.
    if (!type.IsResolved()) type = Complete(type, found);
    if (type == found) graph_.SetLiteral(outputs[j], std::move(literals[j]));
  }
}

absl::Status ShapeResolver::Close(NodeId id, const OpSemantics* semantics) {
  const bool known_domain = graph_.node(id).op.domain == "com.microsoft";
  const auto open = [&](ValueId output) {
    if (output == kNoValue) return false;
    const Type& type = graph_.value(output).type;
    return (type.IsTensor() && !type.IsResolved()) || (known_domain && type.form == Type::Form::kUnknown);
  };
  // A shape that is data (Reshape's) bounds the product of its open dimensions, none of them.
  const auto reshaped = [&](const Type& found) {
    return semantics->shape_input >= 0 &&
           (!found.has_shape || std::count(found.shape.begin(), found.shape.end(), kUnknownDim) > 1);
  };
  const auto outputs = graph_.node(id).outputs;
  if (std::none_of(outputs.begin(), outputs.end(), open)) return absl::OkStatus();
  std::vector<Type> largest;
  if (semantics != nullptr && semantics->upper_bound != nullptr) {
    RS_ASSIGN_OR_RETURN(largest, semantics->upper_bound(OpContext(graph_, id, *semantics)));
  }
  for (size_t j = 0; j < outputs.size(); ++j) {
    if (!open(outputs[j])) continue;
    Value& value = graph_.value(outputs[j]);
    const auto clause = [&] {
      return absl::StrCat("'", graph_.node(id).name, "' (", OpKeyString(graph_.node(id).op), ") ",
                          TypeString(value.type));
    };
    const Type found = value.type;
    if (j < largest.size()) value.type = Complete(value.type, largest[j]);
    if (value.type.IsResolved() && reshaped(found)) {
      state_.reshaped.push_back(clause());
    } else if (value.type.IsResolved()) {
      for (int d = 0; d < std::min(value.type.rank(), 64); ++d) {
        if (found.rank() <= d || found.shape[d] == kUnknownDim) value.at_most |= uint64_t{1} << d;
      }
      state_.bounded.push_back(clause());
    } else if (state_.bindings.assume && AssumeShape(id, value.type)) {
      state_.assumed.push_back(clause());
    }
  }
  return absl::OkStatus();
}

void ShapeResolver::LowerBounds(NodeId id) {
  for (ValueId output : graph_.node(id).outputs) {
    if (output == kNoValue || graph_.value(output).at_most == 0) continue;
    Value& value = graph_.value(output);
    for (int d = 0; d < std::min(value.type.rank(), 64); ++d) {
      if ((value.at_most >> d & 1) != 0 && value.type.shape[d] > 0) --value.type.shape[d];
    }
  }
}

// Dimensions of input 0 where the ranks agree, else 1. False when not even the rank can be told.
bool ShapeResolver::AssumeShape(NodeId id, Type& type) const {
  const Node& node = graph_.node(id);
  const bool like_input =
      !node.inputs.empty() && node.inputs[0] != kNoValue && graph_.value(node.inputs[0]).type.IsResolved();
  // ONNX Runtime documents operators that we have no rule for; most have outputs like their first input.
  if (type.form == Type::Form::kUnknown) {
    if (like_input) type = graph_.value(node.inputs[0]).type;
    return like_input;
  }
  const Shape none;
  const Shape& first = like_input ? graph_.value(node.inputs[0]).type.shape : none;
  if (!type.has_shape) {
    if (!like_input) return false;
    type.has_shape = true;
    type.shape = first;
    return true;
  }
  for (size_t d = 0; d < type.shape.size(); ++d) {
    if (type.shape[d] == kUnknownDim) type.shape[d] = like_input && first.size() == type.shape.size() ? first[d] : 1;
  }
  return true;
}

absl::Status ShapeResolver::CheckOutput(NodeId id, int j) const {
  const Node& node = graph_.node(id);
  if (node.outputs[j] == kNoValue) return absl::OkStatus();
  const Value& value = graph_.value(node.outputs[j]);
  const std::string what = absl::StrCat(Describe(id), "output ", j, " '", value.name, "'");
  if (value.type.form == Type::Form::kUnknown) {
    return absl::FailedPreconditionError(
        absl::StrCat(what,
                     " has no known type: neither ONNX nor a rule of ours infers it, and the file declares none; "
                     "a value_info for it in the file supplies one"));
  }
  if (!value.type.IsTensor()) return absl::OkStatus();
  if (value.type.IsResolved() && value.type.dtype != DType::kUndefined) {
    auto bytes = ElementCount(value.type.shape);
    if (bytes.ok()) bytes = StorageBytes(*bytes, BitWidth(value.type.dtype));
    return bytes.ok() ? absl::OkStatus()
                      : absl::Status(bytes.status().code(), absl::StrCat(what, ": ", bytes.status().message()));
  }
  std::vector<std::string> unknown;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue || graph_.literal(node.inputs[i]) != nullptr) continue;
    unknown.push_back(absl::StrCat("'", graph_.value(node.inputs[i]).name, "'"));
  }
  std::string flag;
  for (const std::string& symbol : value.dim_symbols) {
    if (!symbol.empty() && state_.dims.count(symbol) == 0) flag = absl::StrCat("; --dim ", symbol, "=N supplies it");
  }
  return absl::InvalidArgumentError(absl::StrCat(what, " is ", TypeString(value.type),
                                                 ", expected every dimension known; it depends on the values of ",
                                                 absl::StrJoin(unknown, ", "), flag));
}

// What moves when the bounds move is a bound: the graph is resolved once more with each of them one smaller. Where that
// cannot be (a Reshape that needs the bound itself), those that are told of stay the only ones.
void MarkUpperBounds(Graph& graph, const ResolveState& state) {
  const bool any = std::any_of(graph.values.begin(), graph.values.end(), [](const Value& v) { return v.at_most != 0; });
  if (!any) return;
  const std::unique_ptr<Graph> below = graph.Clone();
  ResolveState again = state;
  again.below_bounds = true;
  again.rebatch = nullptr;
  if (!ShapeResolver(*below, again).Run().ok()) return;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const Shape& shape = graph.values[i].type.shape;
    const Shape& smaller = below->values[i].type.shape;
    if (shape.size() != smaller.size()) continue;
    for (size_t d = 0; d < std::min<size_t>(shape.size(), 64); ++d) {
      if (shape[d] != smaller[d]) graph.values[i].at_most |= uint64_t{1} << d;
    }
  }
}

}  // namespace reusescope
