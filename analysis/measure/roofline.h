// How long the step takes on a device, kernel by kernel, and what bounds each kernel: arithmetic or memory.
//
//   RS_ASSIGN_OR_RETURN(const RooflineDevice device, RatesOf(hardware, PrecisionMode::kAmpBf16, {}));
//   RS_ASSIGN_OR_RETURN(const Roofline roofline, ComputeRoofline(cost, lru, managed, device, {.batch = 32}));
//   roofline.Headline().step_seconds, roofline.kernels[k].under[0].bound
//
//   seconds = max(compute, traffic / bandwidth)                     per kernel (Williams, Waterman, Patterson 2009)
//   compute = contraction FLOPs / matrix rate + (other FLOPs + 8 * transcendentals) / vector rate
//   matrix rate: of the precision mode; of int8, int4, fp8 or fp4 where that is what a contraction's operands are
//   ridge   = matrix rate / bandwidth, in FLOP per byte
//
// A transcendental counts as 8 FLOPs of time: NVIDIA's CUDA C++ Programming Guide, table "Throughput of Native
// Arithmetic Instructions", gives 16 special-function results per clock and multiprocessor beside 64 or 128 fp32
// multiply-adds of 2 FLOPs each. So one result takes the time of 8 or 16 FLOPs; 8 is taken. FLOP counts and intensities
// elsewhere leave transcendentals out.
//
// Rates. By default a peak is multiplied by the fraction that large matrix products, or large copies, were measured to
// reach, where somebody published one; `bare_peak` leaves that out. RooflineDevice says which.
//
// Traffic, under three assumptions side by side (TrafficModel). The headline is that every kernel fetches its operands:
// frameworks launch kernel after kernel, each reads its operands from device memory, and the tensors of a training step
// are mostly out of the on-chip memory by the time they are read again. The other two tell what reuse across kernels
// could save: LRU is what a cache does by itself, software-managed is the most that a compiler could get.
//
// Not modelled: launch latency, kernels too small to fill the device, tiling losses inside a kernel, communication. A
// kernel whose FLOPs are unknown takes the time of its bytes alone.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_ROOFLINE_H_
#define REUSESCOPE_ANALYSIS_MEASURE_ROOFLINE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/precision.h"
#include "analysis/measure/prefetch.h"
#include "hwdb/hardware.h"

namespace reusescope {

inline constexpr int64_t kFlopsPerTranscendental = 8;

enum class Bound : uint8_t { kCompute, kMemory };
absl::string_view BoundName(Bound bound);  // "compute", "memory"

enum class TrafficModel : uint8_t { kEveryKernelFetches, kLru, kManaged };
inline constexpr int kNumTrafficModels = 3;
inline constexpr TrafficModel kHeadlineTraffic = TrafficModel::kEveryKernelFetches;

// Of contractions whose operands are of that arithmetic.
struct MatrixRate {
  Arithmetic arithmetic = Arithmetic::kInt8;
  double flops_per_second = 0;
  double peak_flops_per_second = 0;                // bare
  Arithmetic peak_arithmetic = Arithmetic::kInt8;  // whose peak that is: of the next wider kind where there is none
};

// What the roofline needs of a device, under one precision. Rates are what times are computed with; peaks are bare.
struct RooflineDevice {
  std::string name;  // "NVIDIA A100 SXM 80 GB"
  double matrix_flops_per_second = 0;
  double matrix_peak_flops_per_second = 0;
  // Of products narrower than the precision mode's (KernelCost::arithmetic). Where the device has no peak of the kind,
  // the next wider one; what is not listed runs at the mode's rate.
  std::vector<MatrixRate> narrow;
  double vector_flops_per_second = 0;
  double bandwidth_bytes_per_second = 0;
  double peak_bandwidth_bytes_per_second = 0;
  int64_t on_chip_bytes = 0;
  std::optional<int64_t> memory_bytes;       // what a program can have
  std::optional<double> matrix_fraction;     // applied to the matrix peak; nullopt: none published, or bare_peak
  std::optional<double> bandwidth_fraction;  // applied to the bandwidth; likewise
  bool bare_peak = false;
  std::vector<std::string> notes;  // where a rate is not exactly the one that was asked for

  double ridge_flops_per_byte() const { return matrix_flops_per_second / bandwidth_bytes_per_second; }
  double vector_ridge_flops_per_byte() const { return vector_flops_per_second / bandwidth_bytes_per_second; }
};

struct RateOptions {
  bool bare_peak = false;  // --peak
};

// kFailedPrecondition when the device has no peak for the precision's matrix arithmetic (see PeakFor).
absl::StatusOr<RooflineDevice> RatesOf(const Hardware& hardware, PrecisionMode precision, const RateOptions& options);

// One kernel under one traffic model.
struct KernelBound {
  int64_t traffic_bytes = 0;
  double memory_seconds = 0;
  double seconds = 0;
  Bound bound = Bound::kMemory;  // kCompute where compute_seconds >= memory_seconds, and compute_seconds > 0
};

struct KernelTime {
  double compute_seconds = 0;
  double intensity_flops_per_byte = 0;  // FLOPs over the kernel's own bytes, transcendentals left out; 0 without bytes
  std::array<KernelBound, kNumTrafficModels> under;

  const KernelBound& Headline() const { return under[static_cast<int>(kHeadlineTraffic)]; }
};

struct PhaseTime {
  double seconds = 0;
  double memory_bound_seconds = 0;  // time of the kernels that are memory-bound
  double compute_seconds = 0;
  int64_t traffic_bytes = 0;
};

// The step under one traffic model.
struct StepTime {
  std::array<PhaseTime, kNumPhases> phases;
  double step_seconds = 0;
  double memory_bound_seconds = 0;
  double memory_bound_share = 0;  // of step_seconds
  int64_t traffic_bytes = 0;
  double average_bandwidth_bytes_per_second = 0;  // traffic / step
  double compute_utilization = 0;                 // share of the step in which arithmetic is busy; at most 1
  double matrix_utilization = 0;  // contraction FLOPs over what the bare matrix peak could do; at most 1
  double samples_per_second = 0;
};

struct Roofline {
  RooflineDevice device;
  std::vector<KernelTime> kernels;  // parallel to CostTable::kernels
  std::array<StepTime, kNumTrafficModels> under;
  PrefetchTimes prefetch;  // software-managed traffic, transfers ahead of use

  const StepTime& Headline() const { return under[static_cast<int>(kHeadlineTraffic)]; }
  const StepTime& Under(TrafficModel model) const { return under[static_cast<int>(model)]; }
};

struct RooflineOptions {
  int64_t batch = 1;  // samples per step
};

// One kernel's arithmetic alone.
double ComputeSeconds(const KernelCost& kernel, const RooflineDevice& device);
// One kernel's time when it fetches its operands (the headline).
double KernelSeconds(const KernelCost& kernel, const RooflineDevice& device);

// The headline's step alone (every kernel fetches), which needs no cache curve: ComputeRoofline(...).Headline() to the
// last bit. kInvalidArgument as below. O(kernels).
absl::StatusOr<StepTime> HeadlineStep(const CostTable& cost, const RooflineDevice& device,
                                      const RooflineOptions& options);

// REQUIRES: the curves are of this cost table. kInvalidArgument when a rate is not positive or the batch is negative.
// O(touches log touches).
absl::StatusOr<Roofline> ComputeRoofline(const CostTable& cost, const LruCurve& lru, const ManagedCurve& managed,
                                         const RooflineDevice& device, const RooflineOptions& options);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_ROOFLINE_H_
