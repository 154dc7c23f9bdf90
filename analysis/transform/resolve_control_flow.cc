// If, Loop, Scan and SequenceMap: their bodies are resolved with the types that they will see.
//
// An If is replaced by the branch taken, or, where its condition is not known, by the one that computes more. A Loop's
// carried values may change shape from one iteration to the next as long as the number of iterations is known: the
// first ones are followed, the rest go on as those did. The types inside the body are those of the last iteration
// looked at.

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/subgraphs.h"
#include "analysis/ops/control_flow.h"
#include "analysis/transform/shape_resolver.h"

namespace reusescope {
namespace {

constexpr int64_t kMaxLoopSteps = 64;  // iterations followed while shapes still change

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

Type WithLeading(Type type, size_t axis, int64_t dim) {
  if (type.has_shape) type.shape.insert(type.shape.begin() + std::min(axis, type.shape.size()), dim);
  return type;
}

}  // namespace

const ControlFlowRule* FindControlFlow(const OpKey& op) {
  static constexpr ControlFlowRule kRules[] = {
      {"", "If", &ShapeResolver::ResolveBranches},
      {"", "Loop", &ShapeResolver::ResolveLoop},
      {"", "Scan", &ShapeResolver::ResolveScan},
      {"", "SequenceMap", &ShapeResolver::ResolveSequenceMap},
      {"com.microsoft", "BeamSearch", &ShapeResolver::ResolveSearch},
      {"com.microsoft", "WhisperBeamSearch", &ShapeResolver::ResolveSearch},
      {"com.microsoft", "GreedySearch", &ShapeResolver::ResolveSearch},
      {"com.microsoft", "Sampling", &ShapeResolver::ResolveSearch},
  };
  if (!op.domain.empty() && op.domain != "com.microsoft") return nullptr;
  for (const ControlFlowRule& rule : kRules) {
    if (rule.type == op.type && rule.domain == op.domain) return &rule;
  }
  return nullptr;
}

bool IsBranch(const OpKey& op) { return op.domain.empty() && op.type == "If"; }

absl::StatusOr<Graph*> ShapeResolver::Subgraph(NodeId id, absl::string_view name) {
  const Attribute* attribute = graph_.node(id).attributes.Find(name);
  const auto* reference = attribute == nullptr ? nullptr : std::get_if<SubgraphRef>(attribute);
  if (reference == nullptr || reference->index < 0 || reference->index >= static_cast<int>(graph_.subgraphs.size())) {
    return Error(id, absl::StrCat("attribute '", name, "' is missing, expected a graph"));
  }
  return graph_.subgraphs[reference->index].get();
}

namespace {

// A body is walked once for each iteration that is followed; what the last walk found is found anew.
void ForgetComputed(Graph& body) {
  std::vector<Literal> stored;
  absl::flat_hash_map<int32_t, int32_t> moved;
  for (Value& value : body.values) {
    if (value.literal < 0) continue;
    if (value.producer != kNoNode) {
      value.literal = -1;
      continue;
    }
    const auto [it, is_new] = moved.try_emplace(value.literal, static_cast<int32_t>(stored.size()));
    if (is_new) stored.push_back(std::move(body.literals[value.literal]));
    value.literal = it->second;
  }
  body.literals = std::move(stored);
}

// The body hands its input on as it is, in every iteration.
bool HandsOn(const Graph& body, ValueId input, ValueId output) {
  while (output != input) {
    const NodeId producer = output == kNoValue ? kNoNode : body.value(output).producer;
    if (producer == kNoNode) return false;
    const Node& node = body.node(producer);
    if (!node.op.domain.empty() || node.op.type != "Identity" || node.inputs.empty()) return false;
    output = node.inputs[0];
  }
  return true;
}

}  // namespace

void ShapeResolver::KeepHandedOn(NodeId id, Graph& body, const Carried& carried) const {
  for (size_t i = 0; i < carried.count; ++i) {
    if (carried.first_inner + i >= body.inputs.size() || carried.first_result + i >= body.outputs.size()) return;
    const ValueId inner = body.inputs[carried.first_inner + i];
    const Literal* known = graph_.literal(graph_.node(id).inputs[carried.first_outer + i]);
    if (known == nullptr || !HandsOn(body, inner, body.outputs[carried.first_result + i])) continue;
    body.SetLiteral(inner, *known);
  }
}

ShapeResolver::Types ShapeResolver::ResolveBody(NodeId id, Graph& body, absl::Span<const Type> types,
                                                const Carried& carried, int known_true) {
  if (body.inputs.size() != types.size()) {
    return Error(id, absl::StrCat("its body has ", body.inputs.size(), " inputs, expected ", types.size()));
  }
  ForgetComputed(body);
  for (size_t i = 0; i < types.size(); ++i) {
    Value& input = body.value(body.inputs[i]);
    input.type = types[i];
    input.literal = -1;
    if (static_cast<int>(i) == known_true) body.SetLiteral(body.inputs[i], Literal::Ints({}, {1}, DType::kBool));
  }
  KeepHandedOn(id, body, carried);
  const auto outer = OuterValues(graph_, graph_.node(id));
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
  const std::optional<int64_t> condition = Scalar(graph_, node, 0);
  if (!condition) return nullptr;
  const Attribute* branch = node.attributes.Find(*condition != 0 ? "then_branch" : "else_branch");
  const auto* reference = branch == nullptr ? nullptr : std::get_if<SubgraphRef>(branch);
  if (reference == nullptr || reference->index < 0) return nullptr;
  const Graph* graph = graph_.subgraphs[reference->index].get();
  return graph->outputs.size() >= node.outputs.size() ? graph : nullptr;
}

absl::StatusOr<std::pair<Graph*, Graph*>> ShapeResolver::Branches(NodeId id) {
  RS_ASSIGN_OR_RETURN(Graph * then_branch, Subgraph(id, "then_branch"));
  RS_ASSIGN_OR_RETURN(Graph * else_branch, Subgraph(id, "else_branch"));
  const size_t count = graph_.node(id).outputs.size();
  if (then_branch->outputs.size() < count || else_branch->outputs.size() < count) {
    return Error(id, absl::StrCat("its branches have ", then_branch->outputs.size(), " and ",
                                  else_branch->outputs.size(), " outputs, expected ", count));
  }
  if (then_branch->outputs.size() > count || else_branch->outputs.size() > count) {
    state_.mended.push_back(absl::StrCat("'", graph_.node(id).name, "' (If) hands on ", count,
                                         count == 1 ? " output" : " outputs", " of those that its branches have"));
    then_branch->outputs.resize(count);
    else_branch->outputs.resize(count);
  }
  return std::make_pair(then_branch, else_branch);
}

// Both branches, which must agree, as gradients and what follows are made for one shape.
ShapeResolver::Types ShapeResolver::ResolveBranches(NodeId id) {
  RS_ASSIGN_OR_RETURN(const auto branches, Branches(id));
  RS_ASSIGN_OR_RETURN(std::vector<Type> types, ResolveBody(id, *branches.first, {}));
  RS_ASSIGN_OR_RETURN(const std::vector<Type> others, ResolveBody(id, *branches.second, {}));
  for (size_t j = 0; j < types.size(); ++j) {
    if (SameElements(types[j], others[j])) continue;
    return absl::UnimplementedError(absl::StrCat(
        Describe(id), "output ", j, " is ", TypeString(types[j]), " by one branch and ", TypeString(others[j]),
        " by the other, expected the same, as its condition is not known: give it as a "
        "constant, or both branches one shape"));
  }
  return types;
}

absl::StatusOr<std::unique_ptr<Graph>> ShapeResolver::DearerBranch(NodeId id) {
  RS_ASSIGN_OR_RETURN(const auto branches, Branches(id));
  // Copies, as the file's branches stay with the node. What is spliced in is resolved already: branches within branches
  // are looked at once.
  std::unique_ptr<Graph> copies[2] = {branches.first->Clone(), branches.second->Clone()};
  double work[2] = {};
  absl::Status misfit[2];
  for (int i = 0; i < 2; ++i) {
    const absl::StatusOr<double> found = BranchWork(id, *copies[i]);
    if (found.ok()) work[i] = *found;
    // What does not fit the shapes at hand cannot be what runs.
    if (!found.ok() && !absl::IsInvalidArgument(found.status())) return found.status();
    misfit[i] = found.status();
  }
  if (!misfit[0].ok() && !misfit[1].ok()) return misfit[0];
  const bool both = misfit[0].ok() && misfit[1].ok();
  const bool takes_else = both ? work[1] > work[0] : misfit[1].ok();
  state_.decided.push_back(absl::StrCat("'", graph_.node(id).name, "' (If) takes its ", takes_else ? "else" : "then",
                                        !both                ? " branch, the only one that fits"
                                        : work[0] == work[1] ? " branch, which computes as much"
                                                             : " branch, which computes more"));
  return std::move(copies[takes_else ? 1 : 0]);
}

// FLOPs and transcendentals of a branch, which is resolved.
absl::StatusOr<double> ShapeResolver::BranchWork(NodeId id, Graph& branch) {
  RS_RETURN_IF_ERROR(ResolveBody(id, branch, {}).status());
  RS_ASSIGN_OR_RETURN(const BodyWork found, WorkOf(branch));
  return found.Total();
}

std::optional<int64_t> ShapeResolver::GivenTrips(NodeId id) {
  const std::string& name = graph_.node(id).name;
  state_.loops.insert(name);
  const auto given = state_.bindings.trip_counts.find(name);
  return given == state_.bindings.trip_counts.end() ? std::nullopt : std::optional(given->second);
}

// What is given for this Loop, else its trip count, which is an upper bound where a condition may end it before; else,
// where shapes are assumed, 1.
absl::StatusOr<std::optional<int64_t>> ShapeResolver::TripCount(NodeId id) {
  const Node& node = graph_.node(id);
  if (const auto given = GivenTrips(id)) return given;
  const std::optional<int64_t> limit = Scalar(graph_, node, 0);
  if (limit && *limit < std::numeric_limits<int32_t>::max()) return std::max<int64_t>(*limit, 0);
  if (!state_.bindings.assume) return std::nullopt;
  state_.decided.push_back(
      absl::StrCat("'", node.name, "' (Loop) runs once; --trip-count ", node.name, "=N supplies how often"));
  return 1;
}

namespace {

// Where a carried value ends up that grew by the same amount in each of the last two iterations, `rest` further ones
// to go; nullopt when it grows otherwise.
std::optional<Type> Extrapolate(const Type& before, const Type& last, const Type& now, int64_t rest) {
  if (now.form != last.form || now.dtype != last.dtype || now.shape.size() != last.shape.size() ||
      before.shape.size() != last.shape.size() || now.has_shape != last.has_shape) {
    return std::nullopt;
  }
  Type type = now;
  for (size_t d = 0; d < type.shape.size(); ++d) {
    const int64_t step = now.shape[d] - last.shape[d];
    if (step != last.shape[d] - before.shape[d]) return std::nullopt;
    const auto growth = CheckedMultiply(step, rest);
    const auto size = growth ? CheckedAdd(now.shape[d], *growth) : std::nullopt;
    if (!size || *size < 0) return std::nullopt;
    type.shape[d] = *size;
  }
  return type;
}

}  // namespace

ShapeResolver::Types ShapeResolver::ResolveLoop(NodeId id) {
  RS_ASSIGN_OR_RETURN(Graph * body, Subgraph(id, "body"));
  const size_t carried = graph_.node(id).inputs.size() < 2 ? 0 : graph_.node(id).inputs.size() - 2;
  std::vector<Type> types = {Type::Tensor(DType::kInt64, {}), Type::Tensor(DType::kBool, {})};
  for (size_t i = 0; i < carried; ++i) {
    if (graph_.node(id).inputs[i + 2] == kNoValue)
      return Error(id, absl::StrCat("input ", i + 2, " is omitted, expected a value"));
    types.push_back(graph_.value(graph_.node(id).inputs[i + 2]).type);
  }
  std::optional<int64_t> trips;
  if (Scalar(graph_, graph_.node(id), 1) == 0) {
    trips = 0;
  } else {
    RS_ASSIGN_OR_RETURN(trips, TripCount(id));
  }
  const std::vector<Type> initial = types;
  std::vector<Type> outputs, before, earlier;
  int64_t step = 0;
  do {
    earlier = std::exchange(before, types);
    // The body runs only while the condition holds.
    RS_ASSIGN_OR_RETURN(
        outputs,
        ResolveBody(id, *body, types, {.first_outer = 2, .first_inner = 2, .first_result = 1, .count = carried}, 1));
    const size_t formal = graph_.node(id).outputs.size();
    if (outputs.size() < carried + 1 || outputs.size() != formal + 1) {
      return Error(id, absl::StrCat("its body has ", outputs.size(), " outputs, expected ", formal + 1));
    }
    std::copy(outputs.begin() + 1, outputs.begin() + 1 + carried, types.begin() + 2);
    ++step;
    if (std::equal(types.begin(), types.end(), before.begin(), SameElements)) break;
    if (!trips) {
      return absl::FailedPreconditionError(
          absl::StrCat(Describe(id), "shapes of its carried values change between iterations; --trip-count ",
                       graph_.node(id).name, "=N supplies how many there are"));
    }
  } while (step < std::min(*trips, kMaxLoopSteps));
  // Shapes that still change go on as they did.
  std::vector<Type> last = types;
  for (size_t i = 2; trips && *trips > step && i < types.size(); ++i) {
    if (SameElements(types[i], before[i])) continue;
    const auto type =
        earlier.size() == types.size() ? Extrapolate(earlier[i], before[i], types[i], *trips - step) : std::nullopt;
    if (!type)
      return absl::UnimplementedError(
          absl::StrCat(Describe(id), "shapes of its carried values change unevenly between iterations"));
    last[i] = *type;
  }
  graph_.node(id).attributes.Set(kTripCountAttribute, trips.value_or(1));
  const bool ends_early = trips && EndsEarly(id, *body);
  if (ends_early) {
    state_.bounded.push_back(absl::StrCat("'", graph_.node(id).name, "' (Loop) ", *trips, " trips"));
  }
  const auto mark_at_most = [&](size_t j, size_t d) {
    const ValueId output = graph_.node(id).outputs[j];
    if (ends_early && output != kNoValue && d < 64) graph_.value(output).at_most |= uint64_t{1} << d;
  };
  std::vector<Type> result;
  for (size_t i = 2; i < carried + 2; ++i) {
    Type type = trips == 0 ? initial[i] : last[i];
    for (size_t d = 0; d < std::min(type.shape.size(), initial[i].shape.size()); ++d) {
      if (type.shape[d] > initial[i].shape[d]) mark_at_most(i - 2, d);
    }
    const int64_t grows = types[i].length - before[i].length;
    if (type.length != kUnknownDim && grows != 0 && trips != 0) {
      const auto rest = trips && !ends_early ? CheckedMultiply(grows, *trips - step) : std::nullopt;
      type.length = rest ? CheckedAdd(type.length, *rest).value_or(kUnknownDim) : kUnknownDim;
    }
    result.push_back(std::move(type));
  }
  for (size_t j = carried + 1; j < outputs.size(); ++j) {
    result.push_back(WithLeading(outputs[j], 0, trips.value_or(kUnknownDim)));
    mark_at_most(j - 1, 0);
  }
  return result;
}

// The loop may end before its trip count unless its condition is always true.
bool ShapeResolver::EndsEarly(NodeId id, const Graph& body) const {
  const Node& node = graph_.node(id);
  if (state_.bindings.trip_counts.contains(node.name) || !Scalar(graph_, node, 0)) return false;
  const bool open = node.inputs.size() > 1 && node.inputs[1] != kNoValue && !Scalar(graph_, node, 1);
  const Literal* condition = body.literal(body.outputs[0]);
  return open || condition == nullptr || condition->ints != std::vector<int64_t>{1};
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
  const std::string& name = graph_.node(id).name;
  if (const auto given = GivenTrips(id)) {
    length = *given;
  } else if (length == kUnknownDim) {
    state_.decided.push_back(
        absl::StrCat("'", name, "' (SequenceMap) runs once; --trip-count ", name, "=N supplies how often"));
  }
  graph_.node(id).attributes.Set(kTripCountAttribute, length == kUnknownDim ? 1 : length);
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
  RS_ASSIGN_OR_RETURN(std::vector<Type> outputs,
                      ResolveBody(id, *body, types, {.first_outer = first, .count = batched ? 0 : carried}));
  if (outputs.size() < carried || outputs.size() != node.outputs.size()) {
    return Error(id, absl::StrCat("its body has ", outputs.size(), " outputs, expected ", node.outputs.size()));
  }
  graph_.node(id).attributes.Set(kTripCountAttribute,
                                 CheckedMultiply(std::max<int64_t>(length, 0), batched ? batch : 1).value_or(1));
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
