// Convolutions and matrix products: one kernel form, one gradient rule.
//
//   Conv           Y[n,k,p,q] += X[n,c,2p+r-1,2q+s-1] * W[k,c,r,s]
//   ConvTranspose  Y[n,k,2p+r-1,2q+s-1] += X[n,c,p,q] * W[c,k,r,s]
//   MatMul, Gemm   Y[m,n] += A[m,k] * B[k,n]
//   Einsum         as its equation says
//
// The gradient of each operand is the same nest with that operand written (ContractionGradient): an operator
// "reusescope::<Op>Grad" with attribute `wrt` whose kernel is derived from the forward node's, so there is nothing to
// keep in step. A bias is read by the forward kernel and has its own gradient, a sum.

#include "analysis/ops/contraction.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/conv_window.h"
#include "analysis/ops/einsum.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/lower_context.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

IndexExpr Index(int loop, int64_t extent) { return {.terms = {{loop, 1}}, .extent = extent}; }

int AddLoop(Kernel& kernel, char name, int64_t trip) {
  kernel.loops.push_back({name, trip});
  return static_cast<int>(kernel.loops.size()) - 1;
}

Access AffineAccess(Role role, bool is_output, int slot) {
  return {.role = role, .is_output = is_output, .slot = slot, .reads = !is_output, .writes = is_output, .affine = true};
}

// The nest that Conv and ConvTranspose share. `map` is the side that the window slides over (X of Conv, Y of
// ConvTranspose), `point` the side with one element per window position. Filter dimension 0 goes with `point`.
struct ConvNest {
  Kernel kernel;
  Access map, point, filter;
};

ConvNest BuildConvNest(const OpContext& ctx, const Shape& map, const Shape& filter, const Shape& point) {
  const int64_t groups = std::max<int64_t>(ctx.attributes().Int("group", 1), 1);
  const int dims = static_cast<int>(filter.size()) - 2;
  ConvNest nest{.kernel = {.contraction = true, .macs_per_point = 1}};
  Kernel& kernel = nest.kernel;
  const int n = AddLoop(kernel, 'n', point[0]);
  const int g = groups > 1 ? AddLoop(kernel, 'g', groups) : -1;
  const int64_t point_channels = filter[0] / groups;
  const int64_t map_channels = filter[1];
  const int k = AddLoop(kernel, 'k', point_channels);
  const int c = AddLoop(kernel, 'c', map_channels);
  const auto channel = [&](int loop, int64_t per_group, int64_t extent) {
    IndexExpr expr{.extent = extent};
    if (g >= 0) expr.terms.push_back({g, per_group});
    expr.terms.push_back({loop, 1});
    return expr;
  };
  nest.map = {.affine = true, .index = {Index(n, map[0]), channel(c, map_channels, map[1])}};
  nest.point = {.affine = true, .index = {Index(n, point[0]), channel(k, point_channels, point[1])}};
  nest.filter = {.affine = true, .index = {channel(k, point_channels, filter[0]), Index(c, filter[1])}};
  const ConvWindow window = ConvWindowOf(ctx, map, filter, point);
  constexpr absl::string_view kPositions = "pqo", kTaps = "rst";
  for (int d = 0; d < dims; ++d) {
    const int position = AddLoop(kernel, kPositions[std::min(d, 2)], point[d + 2]);
    nest.point.index.push_back(Index(position, point[d + 2]));
    nest.map.index.push_back(
        {.terms = {{position, window.stride[d]}}, .offset = -window.pad_begin[d], .extent = map[d + 2]});
  }
  for (int d = 0; d < dims; ++d) {
    const int tap = AddLoop(kernel, kTaps[std::min(d, 2)], filter[d + 2]);
    nest.filter.index.push_back(Index(tap, filter[d + 2]));
    nest.map.index[d + 2].terms.push_back({tap, window.dilation[d]});
  }
  return nest;
}

void SetSlot(Access& access, Role role, bool is_output, int slot) {
  access.role = role;
  access.is_output = is_output;
  access.slot = slot;
  access.reads = !is_output;
  access.writes = is_output;
}

void AddBias(const OpContext& ctx, Kernel& kernel, int slot = 2) {
  if (slot < 0 || !ctx.HasInput(slot)) return;
  kernel.accesses.push_back(WholeTensor(ctx, Role::kW, false, slot));
  kernel.extra_flops += ctx.OutElements(0);
}

absl::Status CheckConvRanks(const OpContext& ctx, const ContractionSlots& slots = {}) {
  const size_t rank = ctx.InShape(slots.a).size();
  if (rank < 3 || ctx.InShape(slots.b).size() != rank || ctx.OutShape(0).size() != rank) {
    return ctx.Error(absl::StrCat("input is ", TypeString(ctx.InType(slots.a)), " and weight ",
                                  TypeString(ctx.InType(slots.b)), ", expected equal ranks of at least 3"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Kernel> ConvKernel(const OpContext& ctx) { return ConvolutionKernel(ctx, {}); }

absl::StatusOr<Kernel> ConvTransposeKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(CheckConvRanks(ctx));
  ConvNest nest = BuildConvNest(ctx, ctx.OutShape(0), ctx.InShape(1), ctx.InShape(0));
  SetSlot(nest.point, Role::kX, false, 0);
  SetSlot(nest.filter, Role::kW, false, 1);
  SetSlot(nest.map, Role::kY, true, 0);
  nest.kernel.accesses = {nest.point, nest.filter, nest.map};
  AddBias(ctx, nest.kernel);
  return nest.kernel;
}

// An operand is a weight if the model trains or stores it, else an activation.
Role OperandRole(const OpContext& ctx, int i) {
  const ValueKind kind = ctx.Input(i).kind;
  return kind == ValueKind::kParameter || kind == ValueKind::kBuffer || (i == 1 && kind == ValueKind::kConstant)
             ? Role::kW
             : Role::kX;
}

// Batch dimensions of a MatMul operand: a loop each, left out where the operand broadcasts.
void AddBatchIndices(Access& access, const Shape& shape, int batch_dims, const Kernel& kernel) {
  const int own = static_cast<int>(shape.size()) - 2;
  for (int d = 0; d < own; ++d) {
    const int loop = d + batch_dims - own;
    IndexExpr expr{.extent = shape[d]};
    if (shape[d] == kernel.loops[loop].trip) expr.terms.push_back({loop, 1});
    access.index.push_back(std::move(expr));
  }
}

absl::StatusOr<Kernel> MatMulKernel(const OpContext& ctx) { return MatrixProductKernel(ctx, {}); }

}  // namespace

absl::StatusOr<Kernel> ConvolutionKernel(const OpContext& ctx, const ContractionSlots& slots) {
  RS_RETURN_IF_ERROR(CheckConvRanks(ctx, slots));
  ConvNest nest = BuildConvNest(ctx, ctx.InShape(slots.a), ctx.InShape(slots.b), ctx.OutShape(0));
  SetSlot(nest.map, Role::kX, false, slots.a);
  SetSlot(nest.filter, Role::kW, false, slots.b);
  SetSlot(nest.point, Role::kY, true, 0);
  nest.kernel.accesses = {nest.map, nest.filter, nest.point};
  AddBias(ctx, nest.kernel, slots.bias);
  return nest.kernel;
}

absl::StatusOr<Kernel> MatrixProductKernel(const OpContext& ctx, const ContractionSlots& slots) {
  const Shape& a = ctx.InShape(slots.a);
  const Shape& b = ctx.InShape(slots.b);
  if (a.empty() || b.empty()) return ctx.Error("operand is a scalar, expected at least one dimension");
  const bool has_m = a.size() > 1, has_n = b.size() > 1;
  const Shape& y = ctx.OutShape(0);
  const int batch_dims = static_cast<int>(y.size()) - (has_m ? 1 : 0) - (has_n ? 1 : 0);
  if (batch_dims < 0) return ctx.Error(absl::StrCat("output is ", TypeString(ctx.OutType(0)), ", too few dimensions"));
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  for (int d = 0; d < batch_dims; ++d) AddLoop(kernel, static_cast<char>('b' + d % 8), y[d]);
  const int m = has_m ? AddLoop(kernel, 'm', a[a.size() - 2]) : -1;
  const int n = has_n ? AddLoop(kernel, 'n', b[b.size() - 1]) : -1;
  const int k = AddLoop(kernel, 'k', a.back());
  Access access_a = AffineAccess(OperandRole(ctx, slots.a), false, slots.a);
  if (has_m) AddBatchIndices(access_a, a, batch_dims, kernel);
  if (has_m) access_a.index.push_back(Index(m, a[a.size() - 2]));
  access_a.index.push_back(Index(k, a.back()));
  Access access_b = AffineAccess(OperandRole(ctx, slots.b), false, slots.b);
  if (has_n) AddBatchIndices(access_b, b, batch_dims, kernel);
  access_b.index.push_back(Index(k, has_n ? b[b.size() - 2] : b.back()));
  if (has_n) access_b.index.push_back(Index(n, b.back()));
  Access access_y = AffineAccess(Role::kY, true, 0);
  for (int d = 0; d < batch_dims; ++d) access_y.index.push_back(Index(d, y[d]));
  if (has_m) access_y.index.push_back(Index(m, kernel.loops[m].trip));
  if (has_n) access_y.index.push_back(Index(n, kernel.loops[n].trip));
  kernel.accesses = {access_a, access_b, access_y};
  return kernel;
}

namespace {

absl::StatusOr<Kernel> GemmKernel(const OpContext& ctx) {
  const Shape& a = ctx.InShape(0);
  const Shape& b = ctx.InShape(1);
  if (a.size() != 2 || b.size() != 2) {
    return ctx.Error(absl::StrCat("operands are ", ShapeString(a), " and ", ShapeString(b), ", expected two matrices"));
  }
  const bool trans_a = ctx.attributes().Int("transA", 0) != 0;
  const bool trans_b = ctx.attributes().Int("transB", 0) != 0;
  if (a[trans_a ? 0 : 1] != b[trans_b ? 1 : 0]) {  // ONNX's rule does not look
    return ctx.Error(absl::StrCat("operands are ", ShapeString(a), trans_a ? " transposed" : "", " and ",
                                  ShapeString(b), trans_b ? " transposed" : "", ", expected equal inner dimensions"));
  }
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  const int m = AddLoop(kernel, 'm', a[trans_a ? 1 : 0]);
  const int n = AddLoop(kernel, 'n', b[trans_b ? 0 : 1]);
  const int k = AddLoop(kernel, 'k', a[trans_a ? 0 : 1]);
  Access access_a = AffineAccess(OperandRole(ctx, 0), false, 0);
  access_a.index = {Index(trans_a ? k : m, a[0]), Index(trans_a ? m : k, a[1])};
  Access access_b = AffineAccess(OperandRole(ctx, 1), false, 1);
  access_b.index = {Index(trans_b ? n : k, b[0]), Index(trans_b ? k : n, b[1])};
  Access access_y = AffineAccess(Role::kY, true, 0);
  access_y.index = {Index(m, kernel.loops[m].trip), Index(n, kernel.loops[n].trip)};
  kernel.accesses = {access_a, access_b, access_y};
  if (ctx.attributes().Float("alpha", 1) != 1) kernel.extra_flops += ctx.OutElements(0);
  AddBias(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> EinsumKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const EinsumEquation equation, ParseEinsum(ctx));
  Kernel kernel;
  kernel.contraction = ctx.num_inputs() == 2;
  kernel.macs_per_point = kernel.contraction ? 1 : 0;
  kernel.flops_per_point = kernel.contraction ? 0 : 1;
  for (const EinsumLabel& label : equation.labels) AddLoop(kernel, label.name, label.extent);
  for (int i = 0; i <= ctx.num_inputs(); ++i) {
    const bool is_output = i == ctx.num_inputs();
    Access access = AffineAccess(is_output ? Role::kY : OperandRole(ctx, i), is_output, is_output ? 0 : i);
    const Shape& shape = is_output ? ctx.OutShape(0) : ctx.InShape(i);
    const auto& labels = is_output ? equation.output : equation.inputs[i];
    for (size_t d = 0; d < labels.size(); ++d) {
      IndexExpr expr{.extent = shape[d]};
      if (shape[d] == kernel.loops[labels[d]].trip) expr.terms.push_back({labels[d], 1});
      access.index.push_back(std::move(expr));
    }
    kernel.accesses.push_back(std::move(access));
  }
  return kernel;
}

// The kernel of a contraction's gradient, from the forward node's.
absl::StatusOr<Kernel> ContractionGradientKernel(const OpContext& ctx) {
  const NodeId forward = ctx.node().forward_node;
  if (forward == kNoNode) return ctx.Error("has no forward node, expected the contraction whose gradient it is");
  const OpSemantics* semantics = OpRegistry::Get().Find(ctx.graph().node(forward).op);
  RS_ASSIGN_OR_RETURN(const Kernel kernel, semantics->kernel(OpContext(ctx.graph(), forward, *semantics)));
  return ContractionGradient(kernel, static_cast<int>(ctx.attributes().Int("wrt", 0)));
}

// dX and dW by the shared nest.
void EmitOperandGradients(GradientContext& ctx) {
  const std::string type = absl::StrCat("reusescope::", ctx.node().op.type, "Grad");
  for (int i = 0; i < 2; ++i) {
    if (!ctx.Needs(i)) continue;
    Attributes attributes;
    attributes.Set("wrt", int64_t{i});
    ctx.SetGradient(i, ctx.Emit(type, {ctx.GO(0), ctx.I(1 - i)}, ctx.TypeOf(ctx.I(i)), std::move(attributes)));
  }
}

absl::Status ContractionGradientRule(GradientContext& ctx) {
  EmitOperandGradients(ctx);
  return absl::OkStatus();
}

// Gemm's C broadcasts like any addend, so its gradient is beta dY; SetGradient sums.
absl::Status GemmGradientRule(GradientContext& ctx) {
  EmitOperandGradients(ctx);
  if (!ctx.Needs(2)) return absl::OkStatus();
  const double beta = ctx.node().attributes.Float("beta", 1);
  ValueId gradient = ctx.GO(0);
  if (beta != 1)
    gradient = ctx.Emit("reusescope::Scale", {gradient}, ctx.GradientType(0), MakeAttributes({{"factor", beta}}));
  ctx.SetGradient(2, gradient);
  return absl::OkStatus();
}

// A convolution's bias lies on dimension 1, which broadcasting does not know: sum over all others.
absl::Status ConvGradientRule(GradientContext& ctx) {
  EmitOperandGradients(ctx);
  if (!ctx.Needs(2)) return absl::OkStatus();
  const ValueId dy = ctx.GO(0);
  std::vector<int64_t> axes = {0};
  for (int d = 2; d < ctx.TypeOf(dy).rank(); ++d) axes.push_back(d);
  Attributes attributes;
  attributes.Set("keepdims", int64_t{0});
  const ValueId axes_value = ctx.Constant("axes", Literal::Ints({static_cast<int64_t>(axes.size())}, axes));
  ctx.SetGradient(2, ctx.Emit("ReduceSum", {dy, axes_value}, ctx.TypeOf(ctx.I(2)), std::move(attributes)));
  return absl::OkStatus();
}

// One operand: a permutation, a diagonal or a sum; its gradient spreads dY over the operand.
absl::Status EinsumGradientRule(GradientContext& ctx) {
  if (ctx.num_inputs() == 2) return ContractionGradientRule(ctx);
  if (ctx.Needs(0)) ctx.SetGradient(0, ctx.Emit("reusescope::EinsumSpread", {ctx.GO(0)}, ctx.TypeOf(ctx.I(0))));
  return absl::OkStatus();
}

}  // namespace

void RegisterContraction(OpRegistry& registry) {
  const auto add = [&](OpSemantics semantics) {
    semantics.contraction = true;
    semantics.eager_saves = SavesBothInputs;
    registry.Add(semantics);
  };
  add({.type = "Conv", .infer = InferConv, .kernel = ConvKernel, .gradient = ConvGradientRule});
  add({.type = "ConvTranspose", .kernel = ConvTransposeKernel, .gradient = ConvGradientRule});
  add({.type = "MatMul", .kernel = MatMulKernel, .gradient = ContractionGradientRule});
  add({.type = "Gemm", .kernel = GemmKernel, .gradient = GemmGradientRule});
  add({.type = "Einsum",
       .infer = InferEinsum,
       .lower = LowerLongEinsum,
       .kernel = EinsumKernel,
       .gradient = EinsumGradientRule});
  const std::pair<absl::string_view, BodyFn> gradients[] = {{"ConvGrad", ConvGradBody},
                                                            {"ConvTransposeGrad", ConvTransposeGradBody},
                                                            {"MatMulGrad", MatMulGradBody},
                                                            {"GemmGrad", GemmGradBody},
                                                            {"EinsumGrad", EinsumGradBody}};
  for (const auto& [type, body] : gradients) {
    registry.Add({.domain = kReuseScopeDomain,
                  .type = type,
                  .kernel = ContractionGradientKernel,
                  .body = body,
                  .not_differentiable = "a gradient itself",
                  .contraction = true});
  }
  registry.Add({.domain = kReuseScopeDomain,
                .type = "EinsumSpread",
                .kernel = ElementwiseKernel,
                .body = EinsumSpreadBody,
                .not_differentiable = "a gradient itself"});
}

}  // namespace reusescope
