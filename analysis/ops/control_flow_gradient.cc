// The gradients of If, Loop and Scan: those of their bodies.
//
//   If           If: the gradient of the branch that was taken, which computes that branch anew. Kept: what it
//   captured. Loop, Scan   Scan over the trips in reverse. Every trip begins from the states that forward had at its
//   beginning,
//                which forward stacks (one scan output for each state that is read), computes the body anew and hands
//                on the gradients of the states. Gradients of what the body captured add up, as states of that Scan.
//
// Not differentiated: states that change their shape from trip to trip, or that are sequences (kUnimplemented).

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/subgraphs.h"
#include "analysis/ops/control_flow.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {
namespace {

bool IsFloatTensor(const Value& value) { return value.type.IsTensor() && IsFloatingPoint(value.type.dtype); }

const Node& Backward() {
  static const Node* const like = new Node{.phase = Phase::kBackward};
  return *like;
}

// A value of a captured name: the outer one, and what stands for it inside.
struct Captured {
  ValueId outer, inner;
};

// What `body` captured and needs a gradient.
std::vector<Captured> NeededCaptures(const GradientContext& ctx, const Graph& body) {
  const auto outer = OuterValues(ctx.graph(), ctx.node());
  std::vector<Captured> needed;
  for (ValueId inner : body.captured) {
    const auto it = outer.find(body.value(inner).name);
    if (it != outer.end() && ctx.NeedsOuter(it->second)) needed.push_back({it->second, inner});
  }
  return needed;
}

// Ends a body: these outputs, each under a name of its own, and nothing that they do not need.
void SetOutputs(Graph& body, const std::vector<ValueId>& outputs) {
  body.outputs.clear();
  for (ValueId output : outputs) {
    const ValueId operands[] = {output};
    const Type types[] = {body.value(output).type};
    body.outputs.push_back(
        AddEmittedNode(body, "Identity", "result", Backward(), operands, types, ValueKind::kGradient, {})[0]);
  }
  RemoveDeadNodes(body);
  RemoveUnreadCaptures(body);
}

std::vector<bool> ReadValues(const Graph& body) {
  std::vector<bool> read(body.values.size(), false);
  for (NodeId id : body.order) {
    for (ValueId input : body.node(id).inputs) {
      if (input != kNoValue) read[input] = true;
    }
    for (ValueId capture : body.node(id).captures) read[capture] = true;
  }
  return read;
}

// The gradient of one branch, with one output for each of `wanted` (outer values), zeros where it does not depend on
// it.
absl::StatusOr<std::unique_ptr<Graph>> GradientOfBranch(const GradientContext& ctx, absl::string_view name,
                                                        const std::vector<ValueId>& wanted) {
  const std::vector<Captured> captured = NeededCaptures(ctx, ctx.Subgraph(name));
  std::vector<ValueId> inner;
  for (const Captured& each : captured) inner.push_back(each.inner);
  std::vector<bool> seeded;
  for (size_t j = 0; j < ctx.Subgraph(name).outputs.size(); ++j) {
    seeded.push_back(ctx.GO(static_cast<int>(j)) != kNoValue);
  }
  RS_ASSIGN_OR_RETURN(SubgraphGradient gradient, ctx.DifferentiateSubgraph(name, inner, seeded));
  Graph& branch = *gradient.graph;
  for (size_t j = 0; j < gradient.seeds.size(); ++j) {
    const ValueId seed = gradient.seeds[j];
    if (seed == kNoValue) continue;
    branch.value(seed).name = ctx.graph().value(ctx.GO(static_cast<int>(j))).name;
    branch.value(seed).kind = ValueKind::kActivation;
    branch.captured.push_back(seed);
  }
  std::vector<ValueId> outputs;
  for (ValueId outer : wanted) {
    ValueId found = kNoValue;
    for (size_t i = 0; i < captured.size(); ++i) {
      if (captured[i].outer == outer) found = gradient.gradients[i];
    }
    outputs.push_back(found != kNoValue ? found : AddZeros(branch, "gradient", Backward(), ctx.TypeOf(outer)));
  }
  SetOutputs(branch, outputs);
  return std::move(gradient.graph);
}

// Where Loop and Scan have their states: of the node's inputs, of the body's inputs and of its outputs, the first.
struct Form {
  int inputs = 0, formals = 0, results = 0;
  int states = 0, scanned = 0;
};

class Replay {
 public:
  Replay(GradientContext& ctx, const Form& form) : ctx_(ctx), form_(form), body_(ctx.Subgraph("body")) {}

  absl::Status Run() {
    RS_RETURN_IF_ERROR(CheckStates());
    ChooseWanted();
    RS_ASSIGN_OR_RETURN(gradient_, ctx_.DifferentiateSubgraph("body", wanted_, seeded_));
    MakeBody();
    CollectScanned();
    return Emit();
  }

 private:
  Graph& graph() { return *gradient_.graph; }
  ValueId Formal(int i) const { return body_.inputs[form_.formals + i]; }

  absl::Status CheckStates() const {
    for (int i = 0; i < form_.states; ++i) {
      const Type& initial = ctx_.TypeOf(ctx_.I(form_.inputs + i));
      const Value& formal = body_.value(Formal(i));
      const Type& result = body_.value(body_.outputs[form_.results + i]).type;
      if (!formal.type.IsTensor()) {
        return absl::UnimplementedError(absl::StrCat("carries '", formal.name, "' ", TypeString(formal.type),
                                                     ", and only tensors are stacked for backward"));
      }
      if (initial.shape != formal.type.shape || formal.type.shape != result.shape) {
        return absl::UnimplementedError(
            absl::StrCat("carries '", formal.name, "', whose shape changes from ", ShapeString(initial.shape), " to ",
                         ShapeString(result.shape),
                         ", so that it cannot be stacked for backward; a scan output stacks what each trip yields, "
                         "an unrolled loop may have states of any shape"));
      }
    }
    return absl::OkStatus();
  }

  // Every state that can have a gradient has one, as it depends on itself; scanned inputs and captures on demand.
  void ChooseWanted() {
    seeded_.assign(body_.outputs.size(), false);
    for (int i = 0; i < form_.states; ++i) {
      if (!IsFloatTensor(body_.value(Formal(i)))) continue;
      states_.push_back(i);
      wanted_.push_back(Formal(i));
      seeded_[form_.results + i] = true;
    }
    for (int i = 0; i < form_.scanned; ++i) {
      if (!ctx_.Needs(form_.inputs + form_.states + i)) continue;
      scanned_.push_back(i);
      wanted_.push_back(Formal(form_.states + i));
    }
    captured_ = NeededCaptures(ctx_, body_);
    for (const Captured& each : captured_) wanted_.push_back(each.inner);
    for (int j = form_.states; j < static_cast<int>(ctx_.node().outputs.size()); ++j) {
      seeded_[form_.results + j] = ctx_.GO(j) != kNoValue;
    }
  }

  ValueId NewInput(absl::string_view name, const Type& type) {
    const ValueId id = graph().AddValue(absl::StrCat(name, ".", graph().values.size()), type, ValueKind::kInput);
    graph().inputs.push_back(id);
    return id;
  }

  // Inputs: gradients of states, sums for captures, then what is scanned (CollectScanned). Outputs: the same states,
  // then the gradients of what forward scanned.
  void MakeBody() {
    graph().inputs.clear();
    std::vector<ValueId> outputs;
    size_t next = 0;  // of the gradients
    const auto gradient_of = [&](const Type& type) {
      const ValueId found = gradient_.gradients[next++];
      return found != kNoValue ? found : AddZeros(graph(), "gradient", Backward(), type);
    };
    for (int i : states_) {
      const Type type = graph().value(Formal(i)).type;
      const ValueId seed = gradient_.seeds[form_.results + i];
      if (seed == kNoValue) {
        NewInput("unused", type);
      } else {
        graph().inputs.push_back(seed);
      }
      outputs.push_back(gradient_of(type));
    }
    std::vector<ValueId> scanned;
    for (int i : scanned_) scanned.push_back(gradient_of(graph().value(Formal(form_.states + i)).type));
    for (const Captured& each : captured_) {
      const Type types[] = {ctx_.TypeOf(each.outer)};
      const ValueId sum = NewInput("sum", types[0]), part = gradient_.gradients[next++];
      const ValueId operands[] = {sum, part};
      outputs.push_back(part == kNoValue ? sum
                                         : AddEmittedNode(graph(), "Add", "sum", Backward(), operands, types,
                                                          ValueKind::kGradient, {})[0]);
    }
    outputs.insert(outputs.end(), scanned.begin(), scanned.end());
    SetOutputs(graph(), outputs);
  }

  void AddScanned(ValueId formal, ValueId outer, int64_t axis, int64_t direction) {
    graph().inputs.push_back(formal);
    graph().value(formal).kind = ValueKind::kInput;
    scan_inputs_.push_back(outer);
    input_axes_.push_back(axis);
    input_directions_.push_back(direction);
  }

  // A list attribute of the forward node: axes are 0, directions forwards where it has none.
  int64_t Listed(absl::string_view name, int i) const {
    const absl::Span<const int64_t> list = ctx_.node().attributes.Ints(name);
    return i < static_cast<int>(list.size()) ? list[i] : 0;
  }

  // ONNX's evaluator joins what a Loop scans instead of stacking it; seen as a stack, both are the same.
  ValueId StackOf(ValueId formal) {
    const ValueId stacked = ctx_.Stack(formal);
    if (form_.scanned > 0) return stacked;
    const Type type = ctx_.TypeOf(stacked);
    std::vector<int64_t> sizes(type.shape.begin(), type.shape.end());
    sizes[0] = -1;
    const ValueId shape = ctx_.Constant("stack", Literal::Ints({static_cast<int64_t>(sizes.size())}, sizes));
    return ctx_.Emit("Reshape", {stacked, shape}, type);
  }

  void CollectScanned() {
    const std::vector<bool> read = ReadValues(graph());
    const int scanned_formals = form_.formals + form_.states;
    for (int i = 0; i < scanned_formals; ++i) {
      const ValueId formal = body_.inputs[i];
      if (!read[formal]) continue;
      if (body_.literal(formal) != nullptr) {  // the condition: where the body runs, it is true
        graph().value(formal).kind = ValueKind::kConstant;
        continue;
      }
      AddScanned(formal, StackOf(formal), 0, 1);
    }
    for (int i = 0; i < form_.scanned; ++i) {
      const ValueId formal = body_.inputs[scanned_formals + i];
      if (!read[formal]) continue;
      AddScanned(formal, ctx_.I(form_.inputs + form_.states + i), Listed("scan_input_axes", i),
                 1 - Listed("scan_input_directions", i));
    }
    for (size_t j = form_.results + form_.states; j < gradient_.seeds.size(); ++j) {
      const ValueId seed = gradient_.seeds[j];
      if (seed == kNoValue || !read[seed]) continue;
      const int scan = static_cast<int>(j) - form_.results - form_.states;
      AddScanned(seed, ctx_.GO(form_.states + scan), Listed("scan_output_axes", scan),
                 1 - Listed("scan_output_directions", scan));
    }
    if (!scan_inputs_.empty()) return;
    // Nothing of any trip is read; something must be scanned to count them.
    const ValueId counter = body_.inputs[form_.scanned > 0 ? scanned_formals : 0];
    AddScanned(counter, StackOf(counter), 0, 1);
  }

  absl::Status Emit() {
    std::vector<ValueId> inputs;
    std::vector<Type> types;
    for (int i : states_) {
      const Type type = ctx_.TypeOf(ctx_.I(form_.inputs + i));
      inputs.push_back(ctx_.GO(i) != kNoValue ? ctx_.GO(i) : ctx_.Zeros(type));
      types.push_back(type);
    }
    for (const Captured& each : captured_) {
      types.push_back(ctx_.TypeOf(each.outer));
      inputs.push_back(ctx_.Zeros(types.back()));
    }
    std::vector<int64_t> axes, directions;
    for (int i : scanned_) {
      types.push_back(ctx_.TypeOf(ctx_.I(form_.inputs + form_.states + i)));
      axes.push_back(Listed("scan_input_axes", i));
      directions.push_back(1 - Listed("scan_input_directions", i));
    }
    inputs.insert(inputs.end(), scan_inputs_.begin(), scan_inputs_.end());
    Attributes attributes;
    attributes.Set("num_scan_inputs", static_cast<int64_t>(scan_inputs_.size()));
    attributes.Set("scan_input_axes", input_axes_);
    attributes.Set("scan_input_directions", input_directions_);
    if (!axes.empty()) {
      attributes.Set("scan_output_axes", axes);
      attributes.Set("scan_output_directions", directions);
    }
    attributes.Set(kTripCountAttribute, ctx_.node().attributes.Int(kTripCountAttribute, 1));
    std::vector<std::pair<std::string, std::unique_ptr<Graph>>> subgraphs;
    subgraphs.emplace_back("body", std::move(gradient_.graph));
    HandBack(ctx_.EmitOwner("Scan", inputs, types, std::move(attributes), std::move(subgraphs)));
    return absl::OkStatus();
  }

  void HandBack(const std::vector<ValueId>& gradients) {
    size_t next = 0;
    for (int i : states_) {
      if (ctx_.Needs(form_.inputs + i)) ctx_.SetGradient(form_.inputs + i, gradients[next]);
      ++next;
    }
    for (const Captured& each : captured_) ctx_.SetOuterGradient(each.outer, gradients[next++]);
    for (int i : scanned_) ctx_.SetGradient(form_.inputs + form_.states + i, gradients[next++]);
  }

  GradientContext& ctx_;
  const Form form_;
  const Graph& body_;
  std::vector<ValueId> wanted_;
  std::vector<bool> seeded_;
  std::vector<int> states_, scanned_;  // those with gradients, from the first on
  std::vector<Captured> captured_;
  SubgraphGradient gradient_;
  std::vector<ValueId> scan_inputs_;
  std::vector<int64_t> input_axes_, input_directions_;
};

}  // namespace

absl::Status BranchGradient(GradientContext& ctx) {
  std::vector<ValueId> wanted;
  std::vector<Type> types;
  for (ValueId capture : ctx.node().captures) {
    if (!ctx.NeedsOuter(capture)) continue;
    wanted.push_back(capture);
    types.push_back(ctx.TypeOf(capture));
  }
  if (wanted.empty()) return absl::OkStatus();
  std::vector<std::pair<std::string, std::unique_ptr<Graph>>> branches;
  for (absl::string_view name : {"then_branch", "else_branch"}) {
    RS_ASSIGN_OR_RETURN(std::unique_ptr<Graph> branch, GradientOfBranch(ctx, name, wanted));
    branches.emplace_back(name, std::move(branch));
  }
  const std::vector<ValueId> gradients = ctx.EmitOwner("If", {ctx.I(0)}, types, {}, std::move(branches));
  for (size_t i = 0; i < wanted.size(); ++i) ctx.SetOuterGradient(wanted[i], gradients[i]);
  return absl::OkStatus();
}

absl::Status LoopGradient(GradientContext& ctx) {
  // Inputs: trips, condition, states; of the body: trip, condition, states; its outputs: condition, states, scanned.
  return Replay(ctx, {.inputs = 2, .formals = 2, .results = 1, .states = std::max(ctx.num_inputs() - 2, 0)}).Run();
}

absl::Status ScanGradient(GradientContext& ctx) {
  if (ctx.node().op.since_version < 9) {
    return absl::UnimplementedError("Scan of opset 8 runs over a batch; expected opset 9 or later");
  }
  const auto scanned = static_cast<int>(ctx.node().attributes.Int("num_scan_inputs", 0));
  return Replay(ctx, {.states = ctx.num_inputs() - scanned, .scanned = scanned}).Run();
}

}  // namespace reusescope
