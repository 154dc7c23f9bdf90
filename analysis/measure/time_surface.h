// The time of a step at any bandwidth and throughput, in O(log kernels), for one table of traffic.
//
//   const TimeSurface surface(LoadsAt(cost, lru.KernelTrafficAt(40 << 20), device));
//   surface.StepSeconds({.bandwidth_bytes_per_second = 2e12, .speedup = 1.5})
//
// A kernel takes max(compute / speedup, traffic / bandwidth), see roofline.h. It is compute-bound where compute per
// byte is at least speedup / bandwidth; sorted by that, the compute-bound kernels are a tail, and
//
//   step = (compute seconds of the tail) / speedup + (bytes of the rest) / bandwidth
//
// so two prefix sums and one binary search answer a point. Traffic does not depend on either rate, so one surface
// serves a whole plane of designs; another capacity or policy is another surface.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_TIME_SURFACE_H_
#define REUSESCOPE_ANALYSIS_MEASURE_TIME_SURFACE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "analysis/measure/roofline.h"

namespace reusescope {

// What a kernel asks of a device: seconds of arithmetic at speedup 1, and bytes across the memory interface.
struct KernelLoad {
  double compute_seconds = 0;
  int64_t traffic_bytes = 0;
};

// The step's kernels with their traffic at one capacity under one policy (KernelTrafficAt), compute at the device's
// rates. REQUIRES: the traffic is of this cost table.
std::vector<KernelLoad> LoadsAt(const CostTable& cost, absl::Span<const KernelTraffic> traffic,
                                const RooflineDevice& device);

// Arithmetic `speedup` times as fast as the loads' seconds were computed for, all units alike.
struct DesignRates {
  double bandwidth_bytes_per_second = 0;
  double speedup = 1;
};

class TimeSurface {
 public:
  // O(kernels log kernels). REQUIRES: no load is negative.
  explicit TimeSurface(absl::Span<const KernelLoad> kernels);

  // REQUIRES: both rates are positive. O(log kernels).
  double StepSeconds(const DesignRates& rates) const {
    const size_t first = FirstComputeBound(rates.speedup / rates.bandwidth_bytes_per_second);
    return compute_from_[first] / rates.speedup + bytes_before_[first] / rates.bandwidth_bytes_per_second;
  }
  // The part of it that kernels take which wait for memory.
  double MemoryBoundSeconds(const DesignRates& rates) const {
    return bytes_before_[FirstComputeBound(rates.speedup / rates.bandwidth_bytes_per_second)] /
           rates.bandwidth_bytes_per_second;
  }

  double compute_seconds() const { return compute_from_.front(); }  // at speedup 1
  double traffic_bytes() const { return bytes_before_.back(); }

  // The least bandwidth with which the step takes at most `seconds`, to within a millionth; infinity where no bandwidth
  // does, for want of throughput. O(log^2).
  double BandwidthFor(double seconds, double speedup) const;

 private:
  // The first kernel in sorted order whose seconds per byte reach `threshold`: a binary search without branches.
  size_t FirstComputeBound(double threshold) const {
    const double* base = seconds_per_byte_.data();
    for (size_t n = seconds_per_byte_.size(); n > 1;) {
      const size_t half = n / 2;
      base = base[half - 1] < threshold ? base + half : base;
      n -= half;
    }
    return static_cast<size_t>(base - seconds_per_byte_.data()) + (*base < threshold ? 1 : 0);
  }

  std::vector<double> seconds_per_byte_;  // ascending; infinite without traffic. Ends with an infinite sentinel
  std::vector<double> compute_from_;      // [k]: sum of compute seconds of kernels k, k + 1, ...
  std::vector<double> bytes_before_;      // [k]: sum of bytes of kernels 0 .. k - 1
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_TIME_SURFACE_H_
