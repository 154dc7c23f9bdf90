#include "analysis/measure/time_surface.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace reusescope {

std::vector<KernelLoad> LoadsAt(const CostTable& cost, absl::Span<const KernelTraffic> traffic,
                                const RooflineDevice& device) {
  std::vector<KernelLoad> loads(cost.kernels.size());
  for (size_t k = 0; k < loads.size(); ++k) {
    loads[k] = {ComputeSeconds(cost.kernels[k], device), traffic[k].bytes()};
  }
  return loads;
}

TimeSurface::TimeSurface(absl::Span<const KernelLoad> kernels) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const size_t n = kernels.size();
  std::vector<double> ratio(n);
  for (size_t k = 0; k < n; ++k) {
    ratio[k] = kernels[k].traffic_bytes == 0
                   ? kNever
                   : kernels[k].compute_seconds / static_cast<double>(kernels[k].traffic_bytes);
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ratio[a] < ratio[b]; });
  seconds_per_byte_.reserve(n + 1);
  bytes_before_.assign(n + 1, 0);
  compute_from_.assign(n + 1, 0);
  // Exact, and summed wider than they are kept: the sums of many kernels stay right to the last digits.
  int64_t bytes = 0;
  for (size_t k = 0; k < n; ++k) {
    seconds_per_byte_.push_back(ratio[order[k]]);
    bytes += kernels[order[k]].traffic_bytes;
    bytes_before_[k + 1] = static_cast<double>(bytes);
  }
  long double seconds = 0;
  for (size_t k = n; k-- > 0;) {
    seconds += kernels[order[k]].compute_seconds;
    compute_from_[k] = static_cast<double>(seconds);
  }
  seconds_per_byte_.push_back(kNever);
}

double TimeSurface::BandwidthFor(double seconds, double speedup) const {
  constexpr double kTolerance = 1e-6;
  if (compute_seconds() / speedup > seconds) return std::numeric_limits<double>::infinity();
  // All traffic within the time is enough only where nothing else takes any; twice as much at a time until it is.
  double low = traffic_bytes() / seconds, high = low;
  if (low == 0) return 0;
  while (StepSeconds({high, speedup}) > seconds) {
    low = high;
    high *= 2;
    // Compute alone takes all of the time: bandwidth helps only in the limit.
    if (!std::isfinite(high)) return high;
  }
  while (high > low * (1 + kTolerance)) {
    const double middle = std::sqrt(low * high);
    (StepSeconds({middle, speedup}) <= seconds ? high : low) = middle;
  }
  return high;
}

}  // namespace reusescope
