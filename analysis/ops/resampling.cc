#include "analysis/ops/resampling.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/mend.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

constexpr absl::string_view kIsGradient = "a gradient itself";

int64_t WeightedSumFlops(int64_t taps) { return 2 * taps - 1; }

// Taps of an interpolation mode along one dimension. "bilinear" and "bicubic" are GridSample's older names.
int64_t TapsOfMode(absl::string_view mode) {
  if (mode == "cubic" || mode == "bicubic") return 4;
  return mode == "linear" || mode == "bilinear" ? 2 : 1;
}

// T of a Resize from `in` to `out`. REQUIRES: equal ranks.
int64_t ResizeTaps(const OpContext& ctx, const Shape& in, const Shape& out) {
  const int64_t per_dim = TapsOfMode(ctx.attributes().String("mode", "nearest"));
  const bool antialias = ctx.attributes().Int("antialias", 0) != 0;
  int64_t taps = 1;
  for (size_t d = 0; d < in.size(); ++d) {
    if (in[d] == out[d] || per_dim == 1) continue;
    const bool wider = antialias && out[d] > 0 && in[d] > out[d];
    taps *= wider ? per_dim * ((in[d] + out[d] - 1) / out[d]) : per_dim;
  }
  return taps;
}

absl::Status CheckSameRank(const OpContext& ctx) {
  if (ctx.InType(0).rank() == ctx.OutType(0).rank()) return absl::OkStatus();
  return ctx.Error(absl::StrCat("input is ", TypeString(ctx.InType(0)), " and output ", TypeString(ctx.OutType(0)),
                                ", expected equal ranks"));
}

absl::StatusOr<Kernel> ResizeKernel(const OpContext& ctx) {
  const absl::Status ranks = CheckSameRank(ctx);
  if (!ranks.ok()) return ranks;
  const int64_t taps = ResizeTaps(ctx, ctx.InShape(0), ctx.OutShape(0));
  Kernel kernel{.flops_per_point = taps == 1 ? 0 : WeightedSumFlops(taps)};
  AddLoops(kernel, ctx.OutShape(0));
  AddWholeInputs(ctx, kernel);
  // Nearest, to something smaller: only what is taken is read.
  if (taps == 1) kernel.accesses[0].elements = std::min(ctx.InElements(0), ctx.OutElements(0));
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> ResizeGradKernel(const OpContext& ctx) {
  const absl::Status ranks = CheckSameRank(ctx);
  if (!ranks.ok()) return ranks;
  const int64_t taps = ResizeTaps(ctx, ctx.OutShape(0), ctx.InShape(0));
  Kernel kernel{.flops_per_point = taps == 1 ? 1 : 2 * taps};
  AddLoops(kernel, ctx.InShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::Status ResizeGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::ResizeGrad", {ctx.GO(0)}, type, ctx.node().attributes));
  return absl::OkStatus();
}

// ---- GridSample: Y[n, c, p] = X[n, c, at grid[n, p]], the coordinates shared by the channels.

constexpr int64_t kFlopsPerCoordinate = 8;  // to pixels, floor, fraction and its complement, bounds

int64_t GridSampleTaps(const OpContext& ctx, int dims) {
  const int64_t per_dim = TapsOfMode(ctx.attributes().String("mode", "linear"));
  int64_t taps = 1;
  for (int d = 0; d < dims; ++d) taps *= per_dim;
  return taps;
}

absl::StatusOr<Kernel> GridSampleKernel(const OpContext& ctx) {
  const int64_t taps = GridSampleTaps(ctx, ctx.OutType(0).rank() - 2);
  Kernel kernel{.flops_per_point = taps == 1 ? 0 : WeightedSumFlops(taps)};
  kernel.extra_flops = kFlopsPerCoordinate * ctx.InElements(1);
  AddLoops(kernel, ctx.OutShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::Status GridSampleGradient(GradientContext& ctx) {
  const std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(0), ctx.I(1)};
  if (ctx.Needs(0)) {
    const Type type = ctx.TypeOf(ctx.I(0));
    ctx.SetGradient(0, ctx.Emit("reusescope::GridSampleGrad", {ctx.GO(0), ctx.I(1)}, type, ctx.node().attributes));
  }
  if (ctx.Needs(1)) {
    const Type type = ctx.TypeOf(ctx.I(1));
    ctx.SetGradient(1, ctx.Emit("reusescope::GridSampleGridGrad", inputs, type, ctx.node().attributes));
  }
  return absl::OkStatus();
}

// dX: input 1 is the grid. Of the coordinates, every tap costs per dimension a product and an addition more.
absl::StatusOr<Kernel> GridSampleGradKernel(const OpContext& ctx) {
  const int dims = ctx.InType(0).rank() - 2;
  const bool of_grid = ctx.HasInput(2);
  const int64_t taps = GridSampleTaps(ctx, dims);
  Kernel kernel{.flops_per_point = 2 * taps * (of_grid ? dims : 1)};
  kernel.extra_flops = kFlopsPerCoordinate * ctx.InElements(of_grid ? 2 : 1);
  AddLoops(kernel, ctx.InShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

void GridSampleSaves(const OpContext& ctx, EagerSaves& saves) {
  for (int i : {0, 1}) saves.values.push_back(ctx.node().inputs[i]);
}

// ---- RoiAlign: the mean (or maximum) of s x s bilinear samples per element of Y. With sampling_ratio 0, s follows
// from the size of each box, which is data: the arithmetic is then not known.

absl::StatusOr<Kernel> RoiAlignKernelOf(const OpContext& ctx, const Shape& pooled, bool backward) {
  const int64_t ratio = ctx.attributes().Int("sampling_ratio", 0);
  constexpr int64_t kTaps = 4;
  Kernel kernel{.known = ratio > 0};
  kernel.flops_per_point = ratio * ratio * (backward ? 2 * kTaps : WeightedSumFlops(kTaps) + 1);
  AddLoops(kernel, pooled);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> RoiAlignKernel(const OpContext& ctx) { return RoiAlignKernelOf(ctx, ctx.OutShape(0), false); }
absl::StatusOr<Kernel> RoiAlignGradKernel(const OpContext& ctx) { return RoiAlignKernelOf(ctx, ctx.InShape(0), true); }

absl::Status RoiAlignGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(1), ctx.I(2)};
  if (ctx.node().attributes.String("mode", "avg") == "max") inputs.push_back(ctx.I(0));
  const Type type = ctx.TypeOf(ctx.I(0));
  ctx.SetGradient(0, ctx.Emit("reusescope::RoiAlignGrad", inputs, type, ctx.node().attributes));
  return absl::OkStatus();
}

void RoiAlignSaves(const OpContext& ctx, EagerSaves& saves) { saves.values.push_back(ctx.node().inputs[1]); }

// ---- Col2Im sums overlapping windows; its gradient takes the windows of dY apart again.

absl::Status Col2ImGradient(GradientContext& ctx) {
  if (!ctx.Needs(0)) return absl::OkStatus();
  const Type type = ctx.TypeOf(ctx.I(0));
  std::vector<ValueId> inputs = {ctx.GO(0), ctx.I(1), ctx.I(2)};
  ctx.SetGradient(0, ctx.Emit("reusescope::Col2ImGrad", inputs, type, ctx.node().attributes));
  return absl::OkStatus();
}

OpSemantics Gradient(absl::string_view type, KernelFn kernel, BodyFn body = nullptr) {
  return {.domain = kReuseScopeDomain, .type = type, .kernel = kernel, .body = body, .not_differentiable = kIsGradient};
}

}  // namespace

void RegisterResampling(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.type = "Resize",
       .mend = MendResize,
       .kernel = ResizeKernel,
       .gradient = ResizeGradient,
       .differentiable_inputs = 0b1},
      {.type = "Upsample",
       .mend = MendUpsample,
       .kernel = ResizeKernel,
       .gradient = ResizeGradient,
       .differentiable_inputs = 0b1},
      {.type = "GridSample",
       .kernel = GridSampleKernel,
       .gradient = GridSampleGradient,
       .eager_saves = GridSampleSaves},
      {.type = "RoiAlign",
       .kernel = RoiAlignKernel,
       .gradient = RoiAlignGradient,
       .differentiable_inputs = 0b1,
       .eager_saves = RoiAlignSaves},
      {.type = "Col2Im", .flops = 1, .kernel = SweepKernel, .gradient = Col2ImGradient, .differentiable_inputs = 0b1},
      Gradient("ResizeGrad", ResizeGradKernel, ResizeGradBody),
      Gradient("GridSampleGrad", GridSampleGradKernel, GridSampleGradBody),
      Gradient("GridSampleGridGrad", GridSampleGradKernel, GridSampleGridGradBody),
      Gradient("RoiAlignGrad", RoiAlignGradKernel, RoiAlignGradBody),
      Gradient("Col2ImGrad", CopyKernel, Col2ImGradBody),
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
