// What ONNX Runtime writes when it saves a model that it has optimized for a device.
//
//   com.microsoft.nchwc     images in blocks of channels: [N, C, H, W] by name, C a whole number of blocks
//   com.ms.internal.nhwc    ONNX's operators on images [N, H, W, C]; filters stay as ONNX has them
//
// Convolutions of both are with FusedConv (contrib.cc), nhwc::QLinearConv with its like (contrib_packed.cc).
//
// Source: ONNX Runtime's nchwc_schema_defs.cc and internal_nhwc_onnx_schemas.cc (core/graph/contrib_ops).

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

constexpr absl::string_view kOptimized = "of a file optimized for inference";

// A block has as many channels as a vector register has elements: 8 with AVX2; with AVX-512 it is 16, which the files
// do not say. A convolution that follows is counted by its own filters.
constexpr int64_t kBlock = 8;

absl::StatusOr<std::vector<Type>> InferReorderInput(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  const bool last = ctx.attributes().Int("channels_last", 0) != 0;
  Type type = ctx.InType(0);
  if (last) type.shape = ChannelsFirst(type.shape);
  type.shape[1] = (type.shape[1] + kBlock - 1) / kBlock * kBlock;
  return First(ctx, std::move(type));
}

absl::StatusOr<std::vector<Type>> InferReorderOutput(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  const int64_t channels = ctx.attributes().Int("channels", 0);
  if (channels < 1) return ctx.Error(absl::StrCat("found channels ", channels, ", expected how many there are"));
  Type type = ctx.InType(0);
  type.shape[1] = channels;
  if (ctx.attributes().Int("channels_last", 0) != 0) type.shape = ChannelsLast(type.shape);
  return First(ctx, std::move(type));
}

// Attribute `scales`, whole numbers, one for each dimension.
absl::StatusOr<std::vector<Type>> InferUpsample(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  const auto scales = ctx.attributes().Ints("scales");
  Type type = ctx.InType(0);
  if (scales.size() != type.shape.size()) {
    return ctx.Error(absl::StrCat("found ", scales.size(), " scales, expected ", type.shape.size()));
  }
  for (size_t d = 0; d < scales.size(); ++d) {
    if (scales[d] < 1) return ctx.Error(absl::StrCat("found scale ", scales[d], ", expected at least 1"));
    RS_ASSIGN_OR_RETURN(type.shape[d], Times(ctx, "positions", {type.shape[d], scales[d]}));
  }
  return First(ctx, std::move(type));
}

// Two taps along each dimension that grows, as Resize: of T taps T products and T - 1 additions.
absl::StatusOr<Kernel> UpsampleKernel(const OpContext& ctx) {
  int64_t taps = 1;
  if (ctx.attributes().String("mode", "nearest") == "linear") {
    for (int64_t scale : ctx.attributes().Ints("scales")) taps *= scale > 1 ? 2 : 1;
  }
  Kernel kernel{.flops_per_point = taps > 1 ? 2 * taps - 1 : 0};
  AddLoops(kernel, ctx.OutShape(0));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<std::vector<Type>> InferPool(const OpContext& ctx) { return PoolTypes(ctx, 1); }

absl::StatusOr<std::vector<Type>> InferGlobalPool(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  Type type = ctx.InType(0);
  std::fill(type.shape.begin() + 1, type.shape.end() - 1, 1);
  return First(ctx, std::move(type));
}

// [N, H, W, C] and blocks of b x b positions: a position becomes channels, or channels a position.
absl::StatusOr<std::vector<Type>> InferBlocks(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 4, 4));
  const int64_t block = ctx.attributes().Int("blocksize", 0);
  const bool to_depth = ctx.node().op.type == "SpaceToDepth";
  Type type = ctx.InType(0);
  Shape& shape = type.shape;
  const bool divides = block > 0 && block < (int64_t{1} << 31) &&
                       (to_depth ? shape[1] % block == 0 && shape[2] % block == 0 : shape[3] % (block * block) == 0);
  if (!divides) return ctx.Error(absl::StrCat("blocksize ", block, " does not divide ", ShapeString(shape)));
  const auto scale = [&](int64_t& dim, int64_t by, bool up) -> absl::Status {
    if (!up) {
      dim /= by;
      return absl::OkStatus();
    }
    RS_ASSIGN_OR_RETURN(dim, Times(ctx, "positions", {dim, by}));
    return absl::OkStatus();
  };
  for (int d : {1, 2}) RS_RETURN_IF_ERROR(scale(shape[d], block, !to_depth));
  RS_RETURN_IF_ERROR(scale(shape[3], block * block, to_depth));
  return First(ctx, std::move(type));
}

OpSemantics Row(absl::string_view domain, absl::string_view type, int64_t flops, InferFn infer, KernelFn kernel) {
  return {.domain = domain,
          .type = type,
          .flops = flops,
          .infer = infer,
          .kernel = kernel,
          .not_differentiable = kOptimized};
}

OpSemantics Same(absl::string_view domain, absl::string_view type, int version) {
  return {.domain = domain, .type = type, .same_as = {type, version}};
}

}  // namespace

void RegisterContribLayouts(OpRegistry& registry) {
  const OpSemantics rows[] = {
      Row(kNchwc, "ReorderInput", 0, InferReorderInput, CopyKernel),
      Row(kNchwc, "ReorderOutput", 0, InferReorderOutput, CopyKernel),
      Row(kNchwc, "Upsample", 0, InferUpsample, UpsampleKernel),
      Same(kNchwc, "MaxPool", 12),
      Same(kNchwc, "AveragePool", 11),
      Same(kNchwc, "GlobalMaxPool", 1),
      Same(kNchwc, "GlobalAveragePool", 1),
      Row(kInternalNhwc, "MaxPool", 1, InferPool, WindowKernel),
      Row(kInternalNhwc, "AveragePool", 1, InferPool, WindowKernel),
      Row(kInternalNhwc, "LpPool", 2, InferPool, WindowKernel),
      Row(kInternalNhwc, "GlobalMaxPool", 1, InferGlobalPool, SweepKernel),
      Row(kInternalNhwc, "GlobalAveragePool", 1, InferGlobalPool, SweepKernel),
      Row(kInternalNhwc, "GlobalLpPool", 2, InferGlobalPool, SweepKernel),
      Row(kInternalNhwc, "BatchNormalization", 8, InferFirstLikeInput, SweepKernel),
      Row(kInternalNhwc, "InstanceNormalization", 8, InferFirstLikeInput, SweepKernel),
      Row(kInternalNhwc, "SpaceToDepth", 0, InferBlocks, CopyKernel),
      Row(kInternalNhwc, "DepthToSpace", 0, InferBlocks, CopyKernel),
      Same(kInternalNhwc, "Resize", 13),
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
