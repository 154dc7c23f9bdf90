// Loop, Scan and SequenceMap: the work of the body, as many times as it runs.
//
// A body is analysed as one kernel: MACs, FLOPs and transcendentals of its nodes times the trips; of memory, the
// operands once and what the body reads from outside in every trip (a weight is fetched again unless it stays on chip,
// which the kernel does not say; it counts once, as any operand). If is not here: ResolveShapes replaces it by a
// branch. The gradient runs the body backwards; nobody has described it, so training reports it as unknown.

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

// What the body reads from outside. Slots go on after those of the inputs.
void AddCaptures(const OpContext& ctx, Kernel& kernel) {
  for (size_t i = 0; i < ctx.node().captures.size(); ++i) {
    const Value& value = ctx.graph().value(ctx.node().captures[i]);
    if (!value.type.IsResolved()) continue;
    kernel.accesses.push_back({.role = InputRole(value),
                               .slot = ctx.num_inputs() + static_cast<int>(i),
                               .elements = ElementCount(value.type.shape).value_or(0)});
  }
}

absl::StatusOr<Kernel> BodyKernel(const OpContext& ctx) {
  const Attribute* attribute = ctx.attributes().Find("body");
  const auto* body = attribute == nullptr ? nullptr : std::get_if<SubgraphRef>(attribute);
  if (body == nullptr) return ctx.Error("attribute 'body' is missing, expected a graph");
  RS_ASSIGN_OR_RETURN(const BodyWork work, WorkOf(*ctx.graph().subgraphs[body->index]));
  Kernel kernel{.known = work.known,
                .contraction = work.contraction,
                .macs_per_point = work.macs,
                .flops_per_point = work.flops,
                .transcendentals_per_point = work.transcendentals};
  AddLoop(kernel, 't', ctx.attributes().Int(kTripCountAttribute, 1));
  AddWholeInputs(ctx, kernel);
  AddCaptures(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

// Loud, as of an operator without a rule: gradients of the operands, FLOPs unknown.
absl::Status BodyGradient(GradientContext& ctx) {
  std::vector<ValueId> inputs;
  std::vector<int> wanted;
  std::vector<Type> types;
  for (size_t j = 0; j < ctx.node().outputs.size(); ++j) {
    if (ctx.GO(static_cast<int>(j)) != kNoValue) inputs.push_back(ctx.GO(static_cast<int>(j)));
  }
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (ctx.I(i) != kNoValue) inputs.push_back(ctx.I(i));
    if (!ctx.Needs(i)) continue;
    wanted.push_back(i);
    types.push_back(ctx.TypeOf(ctx.I(i)));
  }
  if (wanted.empty()) return absl::OkStatus();
  const std::vector<ValueId> gradients =
      ctx.EmitMany(absl::StrCat("reusescope::", ctx.node().op.type, "GradUnresolved"), inputs, types);
  for (size_t i = 0; i < wanted.size(); ++i) ctx.SetGradient(wanted[i], gradients[i]);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BodyWork> WorkOf(const Graph& body) {
  BodyWork work;
  for (NodeId id : body.order) RS_RETURN_IF_ERROR(AddNode(body, id, work));
  return work;
}

void RegisterControlFlow(OpRegistry& registry) {
  for (absl::string_view type : {"Loop", "Scan", "SequenceMap"}) {
    registry.Add({.type = type, .kernel = BodyKernel, .gradient = BodyGradient});
  }
}

}  // namespace reusescope
