#include "analysis/measure/double_buffering.h"

#include <algorithm>

namespace reusescope {
namespace {

int64_t Moved(const KernelCost& kernel, const std::optional<MatrixProduct>& product, int64_t capacity_bytes) {
  if (!product.has_value()) return kernel.bytes();
  const std::optional<int64_t> tiled = TiledTrafficBytes(*product, capacity_bytes);
  return std::max(kernel.bytes(), tiled.value_or(UntiledTrafficBytes(*product)));
}

}  // namespace

absl::string_view BufferingName(Buffering buffering) {
  constexpr absl::string_view kNames[] = {"single", "double", "best"};
  return kNames[static_cast<size_t>(buffering)];
}

bool BufferedKernel::DoubleIsBest(double bandwidth_bytes_per_second) const {
  return Seconds(Buffering::kDouble, bandwidth_bytes_per_second) <=
         Seconds(Buffering::kSingle, bandwidth_bytes_per_second);
}

double BufferedKernel::Seconds(Buffering buffering, double bandwidth_bytes_per_second) const {
  const double alone = compute_seconds + static_cast<double>(single_bytes) / bandwidth_bytes_per_second;
  const double ahead = std::max(compute_seconds, static_cast<double>(double_bytes) / bandwidth_bytes_per_second);
  if (buffering == Buffering::kSingle) return alone;
  return buffering == Buffering::kDouble ? ahead : std::min(alone, ahead);
}

std::vector<BufferedKernel> BufferedKernels(const CostTable& cost,
                                            absl::Span<const std::optional<MatrixProduct>> products,
                                            int64_t capacity_bytes, const RooflineDevice& device) {
  std::vector<BufferedKernel> kernels;
  kernels.reserve(cost.kernels.size());
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    kernels.push_back({.compute_seconds = ComputeSeconds(cost.kernels[k], device),
                       .single_bytes = Moved(cost.kernels[k], products[k], capacity_bytes),
                       .double_bytes = Moved(cost.kernels[k], products[k], capacity_bytes / 2)});
  }
  return kernels;
}

BufferedStep StepWith(absl::Span<const BufferedKernel> kernels, Buffering buffering,
                      double bandwidth_bytes_per_second) {
  BufferedStep step;
  for (const BufferedKernel& kernel : kernels) {
    const bool two = buffering == Buffering::kDouble ||
                     (buffering == Buffering::kBest && kernel.DoubleIsBest(bandwidth_bytes_per_second));
    const int64_t bytes = two ? kernel.double_bytes : kernel.single_bytes;
    const double seconds = kernel.Seconds(buffering, bandwidth_bytes_per_second);
    step.step_seconds += seconds;
    step.stall_seconds += seconds - kernel.compute_seconds;
    if (static_cast<double>(bytes) / bandwidth_bytes_per_second > kernel.compute_seconds) {
      step.memory_bound_seconds += seconds;
    }
    step.traffic_bytes += bytes;
    step.double_buffered += two;
  }
  return step;
}

}  // namespace reusescope
