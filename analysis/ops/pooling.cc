// Pooling: windows that slide over an image and keep one number each.
//
//   MaxPool, AveragePool      Y[n,c,p,q] = max, mean over r, s of X[n,c,2p+r-1,2q+s-1]
//
// One FLOP per position of a window (a KxK pool costs K*K per output), positions in the padding counted, as for
// convolutions. Strides, dilations, ceil_mode and count_include_pad change the shape of Y or the divisor; the loops
// follow from the shapes.
//
// The gradient of a maximum scatters dY to the positions that won: forward keeps them as int64 indices of the size of
// Y, as PyTorch does (its eager stash has the input besides, which backward does not need). The gradient of a mean
// spreads dY over the window and needs nothing; eager PyTorch keeps the input of an average pool. A global average is a
// mean, of which PyTorch keeps nothing.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";

int64_t AttributeAt(absl::Span<const int64_t> values, int d, int64_t absent) {
  return d < static_cast<int>(values.size()) ? values[d] : absent;
}

// The loops n, c, positions, taps, and where in `image` a window reads: one affine index per dimension.
struct PoolNest {
  Kernel kernel;
  absl::InlinedVector<IndexExpr, 5> image, pooled;
};

absl::StatusOr<PoolNest> BuildPoolNest(const OpContext& ctx, const Shape& image, const Shape& pooled) {
  const auto window = ctx.attributes().Ints("kernel_shape");
  const int dims = static_cast<int>(image.size()) - 2;
  if (dims < 1 || pooled.size() != image.size() || static_cast<int>(window.size()) != dims) {
    return ctx.Error(absl::StrCat("kernel_shape has ", window.size(), " dimensions for an image of ",
                                  ShapeString(image), " and an output of ", ShapeString(pooled)));
  }
  const auto strides = ctx.attributes().Ints("strides"), dilations = ctx.attributes().Ints("dilations"),
             pads = ctx.attributes().Ints("pads");
  const absl::string_view auto_pad = ctx.attributes().String("auto_pad", "NOTSET");
  PoolNest nest;
  for (int d = 0; d < 2; ++d) {
    const int loop = AddLoop(nest.kernel, d == 0 ? 'n' : 'c', pooled[d]);
    nest.image.push_back(IndexOf(loop, image[d]));
    nest.pooled.push_back(IndexOf(loop, pooled[d]));
  }
  constexpr absl::string_view kPositions = "pqo", kTaps = "rst";
  for (int d = 0; d < dims; ++d) {
    const int position = AddLoop(nest.kernel, kPositions[std::min(d, 2)], pooled[d + 2]);
    nest.pooled.push_back(IndexOf(position, pooled[d + 2]));
    const int64_t stride = std::max<int64_t>(AttributeAt(strides, d, 1), 1);
    int64_t pad = AttributeAt(pads, d, 0);
    if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
      const int64_t span = (window[d] - 1) * std::max<int64_t>(AttributeAt(dilations, d, 1), 1) + 1;
      const int64_t total = std::max<int64_t>((pooled[d + 2] - 1) * stride + span - image[d + 2], 0);
      pad = auto_pad == "SAME_UPPER" ? total / 2 : (total + 1) / 2;
    }
    nest.image.push_back({.terms = {{position, stride}}, .offset = -pad, .extent = image[d + 2]});
  }
  for (int d = 0; d < dims; ++d) {
    const int tap = AddLoop(nest.kernel, kTaps[std::min(d, 2)], window[d]);
    nest.image[d + 2].terms.push_back({tap, std::max<int64_t>(AttributeAt(dilations, d, 1), 1)});
  }
  return nest;
}

// Forward: X read through the window, everything else (Y, indices) one element per window.
absl::StatusOr<Kernel> PoolKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(PoolNest nest, BuildPoolNest(ctx, ctx.InShape(0), ctx.OutShape(0)));
  nest.kernel.flops_per_point = ctx.semantics().flops;
  nest.kernel.transcendentals_per_point = ctx.semantics().transcendentals;
  Access image = AffineInput(ctx, 0);
  image.index = nest.image;
  nest.kernel.accesses.push_back(std::move(image));
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (!ctx.HasOutput(j)) continue;
    Access pooled = AffineOutput(ctx, j);
    pooled.index = nest.pooled;
    nest.kernel.accesses.push_back(std::move(pooled));
  }
  return nest.kernel;
}

// |x|^p summed, then the root: of p = 1 and 2 products, else powers.
absl::StatusOr<Kernel> LpPoolKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(Kernel kernel, PoolKernel(ctx));
  const int64_t p = ctx.attributes().Int("p", 2);
  kernel.flops_per_point = 2;
  kernel.transcendentals_per_point = p == 1 || p == 2 ? 0 : 1;
  kernel.extra_transcendentals = p == 1 ? 0 : ctx.OutElements(0);
  return kernel;
}

// Backward of a window: dX accumulates over the windows that saw it. Inputs are dY and, for a p-norm, X and Y. Where
// windows leave gaps, the zeros there are written too.
absl::StatusOr<Kernel> PoolGradKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(PoolNest nest, BuildPoolNest(ctx, ctx.OutShape(0), ctx.InShape(0)));
  nest.kernel.flops_per_point = ctx.semantics().flops;
  nest.kernel.transcendentals_per_point = ctx.semantics().transcendentals;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    Access input = AffineInput(ctx, i);
    input.index = ctx.InShape(i) == ctx.OutShape(0) ? nest.image : nest.pooled;
    nest.kernel.accesses.push_back(std::move(input));
  }
  Access image = AffineOutput(ctx, 0);
  image.index = nest.image;
  if (DistinctElements(nest.kernel, image) < ctx.OutElements(0)) image = WholeOutput(ctx, 0);
  nest.kernel.accesses.push_back(std::move(image));
  return nest.kernel;
}

// Windows of boxes whose sizes are data: bytes are counted, the comparisons are not known.
absl::StatusOr<Kernel> MaxRoiPoolKernel(const OpContext& ctx) {
  Kernel kernel{.known = false};
  AddLoops(kernel, ctx.OutShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

Attributes WindowAttributes(const GradientContext& ctx) { return ctx.node().attributes; }

absl::Status ScatterToIndices(GradientContext& ctx, ValueId indices) {
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::MaxPoolGrad", {ctx.GO(0), indices}, type, WindowAttributes(ctx)));
  return absl::OkStatus();
}

Type IndicesType(const GradientContext& ctx) { return Type::Tensor(DType::kInt64, ctx.GradientType(0).shape); }

absl::Status MaxPoolGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  if (ctx.node().attributes.Int("storage_order", 0) != 0) {
    return ctx.Error("indices count columns first (storage_order = 1), expected rows first");
  }
  return ScatterToIndices(ctx, ctx.AskForOutput(1, "indices", IndicesType(ctx)));
}

// These have no output for the indices; forward keeps them all the same.
absl::Status GlobalMaxPoolGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  return ScatterToIndices(ctx, ctx.SaveOutput("indices", IndicesType(ctx)));
}

absl::Status MaxRoiPoolGradient(GradientContext& ctx) {  // as above; a window of nothing has no index
  if (!ctx.Needs(0)) return absl::OkStatus();
  const ValueId indices = ctx.SaveOutput("indices", IndicesType(ctx));
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::MaxRoiPoolGrad", {ctx.GO(0), indices}, type));
  return absl::OkStatus();
}

absl::Status AveragePoolGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::AveragePoolGrad", {ctx.GO(0)}, type, WindowAttributes(ctx)));
  return absl::OkStatus();
}

absl::Status LpPoolGradient(GradientContext& ctx) {  // dX = dY x |x|^(p-2) / y^(p-1)
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  const std::string name = absl::StrCat("reusescope::", ctx.node().op.type, "Grad");
  ctx.SetGradient(0, ctx.Emit(name, {ctx.GO(0), ctx.I(0), ctx.O(0)}, type, WindowAttributes(ctx)));
  return absl::OkStatus();
}

// ---- One window over the whole image.

// One point per element of X, `per_output` FLOPs and roots per element of Y.
Kernel GlobalKernel(const OpContext& ctx, int64_t output_flops, int64_t output_transcendentals) {
  Kernel kernel{.flops_per_point = ctx.semantics().flops, .transcendentals_per_point = ctx.semantics().transcendentals};
  kernel.extra_flops = output_flops * ctx.OutElements(0);
  kernel.extra_transcendentals = output_transcendentals * ctx.OutElements(0);
  AddLoops(kernel, ctx.InShape(0));
  Access image = AffineInput(ctx, 0);
  for (int d = 0; d < ctx.InType(0).rank(); ++d) image.index.push_back(IndexOf(d, ctx.InShape(0)[d]));
  kernel.accesses.push_back(image);
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (!ctx.HasOutput(j)) continue;
    Access pooled = AffineOutput(ctx, j);
    for (int d = 0; d < ctx.OutType(j).rank(); ++d) {
      pooled.index.push_back(d < 2 ? IndexOf(d, ctx.OutShape(j)[d]) : ConstantIndex(1));
    }
    kernel.accesses.push_back(std::move(pooled));
  }
  return kernel;
}

absl::StatusOr<Kernel> GlobalAveragePoolKernel(const OpContext& ctx) { return GlobalKernel(ctx, 1, 0); }
absl::StatusOr<Kernel> GlobalMaxPoolKernel(const OpContext& ctx) { return GlobalKernel(ctx, 0, 0); }
absl::StatusOr<Kernel> GlobalLpPoolKernel(const OpContext& ctx) { return GlobalKernel(ctx, 0, 1); }

absl::Status GlobalAveragePoolGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  std::vector<int64_t> axes;
  for (int d = 2; d < type.rank(); ++d) axes.push_back(d);
  Attributes attributes;
  attributes.Set("axes", std::move(axes));
  ctx.SetGradient(0, ctx.Emit("reusescope::ReduceMeanGrad", {ctx.GO(0)}, type, std::move(attributes)));
  return absl::OkStatus();
}

// ---- MaxUnpool puts elements back where their indices say; its gradient looks them up.

absl::Status MaxUnpoolGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::MaxUnpoolGrad", {ctx.GO(0), ctx.I(1)}, type));
  return absl::OkStatus();
}

// ---- What eager PyTorch keeps.

void MaxPoolSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  if (ctx.HasOutput(1)) {
    saves.values.push_back(ctx.node().outputs[1]);
  } else {
    saves.extra_bytes += ctx.OutElements(0) * BitWidth(DType::kInt64) / 8;
  }
}

void LpPoolSaves(const OpContext& ctx, EagerSaves& saves) {
  SavesInput(ctx, saves);
  SavesOutput(ctx, saves);
}

void MaxUnpoolSaves(const OpContext& ctx, EagerSaves& saves) { saves.values.push_back(ctx.node().inputs[1]); }

void RegisterGradients(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.domain = kReuseScopeDomain,
       .type = "MaxPoolGrad",
       .flops = 1,
       .kernel = SweepKernel,
       .body = MaxPoolGradBody,
       .not_differentiable = kIsGradient},
      {.domain = kReuseScopeDomain,
       .type = "MaxRoiPoolGrad",
       .flops = 1,
       .kernel = SweepKernel,
       .body = MaxRoiPoolGradBody,
       .not_differentiable = kIsGradient},
      {.domain = kReuseScopeDomain,
       .type = "AveragePoolGrad",
       .flops = 1,
       .kernel = PoolGradKernel,
       .body = AveragePoolGradBody,
       .not_differentiable = kIsGradient},
      {.domain = kReuseScopeDomain,
       .type = "LpPoolGrad",
       .flops = 3,
       .transcendentals = 2,
       .kernel = PoolGradKernel,
       .body = LpPoolGradBody,
       .not_differentiable = kIsGradient},
      {.domain = kReuseScopeDomain,
       .type = "GlobalLpPoolGrad",
       .flops = 3,
       .transcendentals = 2,
       .kernel = ElementwiseKernel,
       .body = LpPoolGradBody,
       .not_differentiable = kIsGradient},
      {.domain = kReuseScopeDomain,
       .type = "MaxUnpoolGrad",
       .kernel = CopyKernel,
       .body = MaxUnpoolGradBody,
       .not_differentiable = kIsGradient},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace

void RegisterPooling(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.type = "MaxPool",
       .flops = 1,
       .infer = InferPool,
       .kernel = PoolKernel,
       .gradient = MaxPoolGradient,
       .eager_saves = MaxPoolSaves},
      {.type = "AveragePool",
       .flops = 1,
       .infer = InferPool,
       .kernel = PoolKernel,
       .gradient = AveragePoolGradient,
       .eager_saves = SavesInput},
      {.type = "LpPool",
       .infer = InferPool,
       .kernel = LpPoolKernel,
       .gradient = LpPoolGradient,
       .eager_saves = LpPoolSaves},
      {.type = "GlobalAveragePool",
       .flops = 1,
       .kernel = GlobalAveragePoolKernel,
       .gradient = GlobalAveragePoolGradient},
      {.type = "GlobalMaxPool",
       .flops = 1,
       .kernel = GlobalMaxPoolKernel,
       .gradient = GlobalMaxPoolGradient,
       .body = GlobalMaxPoolBody,
       .eager_saves = MaxPoolSaves},
      {.type = "GlobalLpPool",
       .flops = 2,
       .kernel = GlobalLpPoolKernel,
       .gradient = LpPoolGradient,
       .eager_saves = LpPoolSaves},
      {.type = "MaxRoiPool",
       .kernel = MaxRoiPoolKernel,
       .gradient = MaxRoiPoolGradient,
       .body = MaxRoiPoolBody,
       .differentiable_inputs = 0b1,
       .eager_saves = MaxPoolSaves},
      {.type = "MaxUnpool",
       .infer = InferMaxUnpool,
       .kernel = SweepKernel,
       .gradient = MaxUnpoolGradient,
       .differentiable_inputs = 0b1,
       .eager_saves = MaxUnpoolSaves},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
  RegisterGradients(registry);
}

}  // namespace reusescope
