// Loop, Scan and SequenceMap: the work of the body, as many times as it runs.
//
// A body is analysed as one kernel: MACs, FLOPs and transcendentals of its nodes times the trips; of memory, the
// operands once and what the body reads from outside in every trip (a weight is fetched again unless it stays on chip,
// which the kernel does not say; it counts once, as any operand). An If has the work of the branch that computes more;
// ResolveShapes replaces it by a branch where no file is to be written.

#include "analysis/ops/control_flow.h"

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

absl::Status Accumulate(int64_t factor, int64_t count, int64_t& total) {
  const auto product = CheckedMultiply(factor, count);
  const auto sum = product ? CheckedAdd(total, *product) : std::nullopt;
  if (!sum) return absl::OutOfRangeError("the work of a body exceeds int64");
  total = *sum;
  return absl::OkStatus();
}

absl::Status AddKernel(const Kernel& kernel, BodyWork& work) {
  RS_ASSIGN_OR_RETURN(const int64_t points, Points(kernel));
  work.known = work.known && kernel.known;
  work.contraction = work.contraction || kernel.contraction;
  RS_RETURN_IF_ERROR(Accumulate(points, kernel.macs_per_point, work.macs));
  RS_RETURN_IF_ERROR(Accumulate(points, kernel.flops_per_point, work.flops));
  RS_RETURN_IF_ERROR(Accumulate(1, kernel.extra_flops, work.flops));
  RS_RETURN_IF_ERROR(Accumulate(points, kernel.transcendentals_per_point, work.transcendentals));
  return Accumulate(1, kernel.extra_transcendentals, work.transcendentals);
}

// Composites of a body are counted by their parts: in a copy, as lowering adds nodes.
absl::Status AddNode(const Graph& graph, NodeId id, BodyWork& work);

absl::Status AddComposite(const Graph& graph, NodeId id, const OpSemantics& semantics, BodyWork& work) {
  const std::unique_ptr<Graph> copy = graph.Clone();
  LowerContext context(*copy, id, semantics);
  RS_RETURN_IF_ERROR(semantics.lower(context));
  for (NodeId emitted : context.emitted()) RS_RETURN_IF_ERROR(AddNode(*copy, emitted, work));
  return absl::OkStatus();
}

absl::Status AddNode(const Graph& graph, NodeId id, BodyWork& work) {
  const OpSemantics* semantics = OpRegistry::Get().Find(graph.node(id).op);
  if (semantics != nullptr && semantics->lower != nullptr) return AddComposite(graph, id, *semantics, work);
  if (semantics == nullptr || semantics->kernel == nullptr) {
    work.known = false;
    return absl::OkStatus();
  }
  RS_ASSIGN_OR_RETURN(const Kernel kernel, semantics->kernel(OpContext(graph, id, *semantics)));
  return AddKernel(kernel, work);
}

// Lists of known length whose elements have one known shape; what is known of others is nothing.
void AddSequences(const OpContext& ctx, Kernel& kernel) {
  const auto add = [&](const Value& value, bool is_output, int slot) {
    const Type& type = value.type;
    if (type.form != Type::Form::kSequence || type.length <= 0 || !type.has_shape || !IsFullyKnown(type.shape)) return;
    Access access = is_output ? WholeOutput(ctx, slot) : WholeInput(ctx, slot);
    access.elements = CheckedMultiply(access.elements, type.length).value_or(access.elements);
    kernel.accesses.push_back(std::move(access));
  };
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (ctx.HasInput(i)) add(ctx.Input(i), false, i);
  }
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (ctx.HasOutput(j)) add(ctx.Output(j), true, j);
  }
}

absl::StatusOr<Kernel> BodyKernel(const OpContext& ctx) {
  const Attribute* attribute = ctx.attributes().Find("body");
  const auto* body = attribute == nullptr ? nullptr : std::get_if<SubgraphRef>(attribute);
  if (body == nullptr) return ctx.Error("attribute 'body' is missing, expected a graph");
  RS_ASSIGN_OR_RETURN(const BodyWork work, WorkOf(*ctx.graph().subgraphs[body->index]));
  Kernel kernel;
  SetWork(work, kernel);
  AddLoop(kernel, 't', ctx.attributes().Int(kTripCountAttribute, 1));
  AddWholeInputs(ctx, kernel);
  AddCaptures(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  AddSequences(ctx, kernel);
  return kernel;
}

// Of the branch that computes more.
absl::StatusOr<Kernel> BranchKernel(const OpContext& ctx) {
  Kernel kernel;
  BodyWork most;
  for (absl::string_view name : {"then_branch", "else_branch"}) {
    const Attribute* attribute = ctx.attributes().Find(name);
    const auto* branch = attribute == nullptr ? nullptr : std::get_if<SubgraphRef>(attribute);
    if (branch == nullptr) return ctx.Error(absl::StrCat("attribute '", name, "' is missing, expected a graph"));
    RS_ASSIGN_OR_RETURN(const BodyWork work, WorkOf(*ctx.graph().subgraphs[branch->index]));
    const bool known = most.known && work.known;
    if (work.Total() > most.Total()) most = work;
    most.known = known;
  }
  SetWork(most, kernel);
  AddWholeInputs(ctx, kernel);
  AddCaptures(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::Status SequenceMapGradient(GradientContext&) {
  return absl::UnimplementedError("a SequenceMap's body is not differentiated; a Loop or Scan is");
}

}  // namespace

absl::Status AddWork(const BodyWork& work, int64_t times, BodyWork& total) {
  total.known = total.known && work.known;
  total.contraction = total.contraction || work.contraction;
  RS_RETURN_IF_ERROR(Accumulate(times, work.macs, total.macs));
  RS_RETURN_IF_ERROR(Accumulate(times, work.flops, total.flops));
  return Accumulate(times, work.transcendentals, total.transcendentals);
}

void AddCaptures(const OpContext& ctx, Kernel& kernel) {
  for (size_t i = 0; i < ctx.node().captures.size(); ++i) {
    const Value& value = ctx.graph().value(ctx.node().captures[i]);
    if (!value.type.IsResolved()) continue;
    kernel.accesses.push_back({.role = InputRole(value),
                               .slot = ctx.num_inputs() + static_cast<int>(i),
                               .elements = ElementCount(value.type.shape).value_or(0)});
  }
}

void SetWork(const BodyWork& work, Kernel& kernel) {
  kernel.known = work.known;
  kernel.contraction = work.contraction;
  kernel.macs_per_point = work.macs;
  kernel.flops_per_point = work.flops;
  kernel.transcendentals_per_point = work.transcendentals;
}

absl::StatusOr<BodyWork> WorkOf(const Graph& body) {
  BodyWork work;
  for (NodeId id : body.order) RS_RETURN_IF_ERROR(AddNode(body, id, work));
  return work;
}

void RegisterControlFlow(OpRegistry& registry) {
  registry.Add({.type = "If", .kernel = BranchKernel, .gradient = BranchGradient});
  registry.Add({.type = "Loop", .kernel = BodyKernel, .gradient = LoopGradient});
  registry.Add({.type = "Scan", .kernel = BodyKernel, .gradient = ScanGradient});
  registry.Add({.type = "SequenceMap", .kernel = BodyKernel, .gradient = SequenceMapGradient});
}

}  // namespace reusescope
