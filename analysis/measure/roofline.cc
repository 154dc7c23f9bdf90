#include "analysis/measure/roofline.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

using TrafficTables = std::array<std::vector<KernelTraffic>, kNumTrafficModels>;

MatrixRate MatrixRateOf(const KernelCost& kernel, const RooflineDevice& device) {
  if (kernel.arithmetic != Arithmetic::kAny) {
    for (const MatrixRate& rate : device.narrow) {
      if (rate.arithmetic == kernel.arithmetic) return rate;
    }
  }
  return {.arithmetic = Arithmetic::kAny,
          .flops_per_second = device.matrix_flops_per_second,
          .peak_flops_per_second = device.matrix_peak_flops_per_second};
}

// Seconds that the kernel's contraction would take at the bare peak.
double PeakSeconds(const KernelCost& kernel, const RooflineDevice& device) {
  return static_cast<double>(kernel.contraction_flops) / MatrixRateOf(kernel, device).peak_flops_per_second;
}

KernelBound BoundOf(double compute_seconds, int64_t traffic_bytes, const RooflineDevice& device) {
  const double memory_seconds = static_cast<double>(traffic_bytes) / device.bandwidth_bytes_per_second;
  const bool compute = compute_seconds > 0 && compute_seconds >= memory_seconds;
  return {.traffic_bytes = traffic_bytes,
          .memory_seconds = memory_seconds,
          .seconds = std::max(compute_seconds, memory_seconds),
          .bound = compute ? Bound::kCompute : Bound::kMemory};
}

void AddKernel(const KernelBound& bound, double compute_seconds, PhaseTime& phase) {
  phase.seconds += bound.seconds;
  if (bound.bound == Bound::kMemory) phase.memory_bound_seconds += bound.seconds;
  phase.compute_seconds += compute_seconds;
  phase.traffic_bytes += bound.traffic_bytes;
}

void SumUp(double peak_seconds, int64_t batch, StepTime& step) {
  double compute_seconds = 0;
  for (const PhaseTime& phase : step.phases) {
    step.step_seconds += phase.seconds;
    step.memory_bound_seconds += phase.memory_bound_seconds;
    step.traffic_bytes += phase.traffic_bytes;
    compute_seconds += phase.compute_seconds;
  }
  if (step.step_seconds <= 0) return;
  // The sums run in different orders; a share cannot exceed 1 but for rounding.
  step.memory_bound_share = std::min(1.0, step.memory_bound_seconds / step.step_seconds);
  step.average_bandwidth_bytes_per_second = static_cast<double>(step.traffic_bytes) / step.step_seconds;
  step.compute_utilization = std::min(1.0, compute_seconds / step.step_seconds);
  step.matrix_utilization = std::min(1.0, peak_seconds / step.step_seconds);
  step.samples_per_second = static_cast<double>(batch) / step.step_seconds;
}

absl::Status Check(const RooflineDevice& device, const RooflineOptions& options) {
  const std::pair<absl::string_view, double> rates[] = {
      {"matrix rate", device.matrix_flops_per_second},
      {"matrix peak", device.matrix_peak_flops_per_second},
      {"vector rate", device.vector_flops_per_second},
      {"bandwidth", device.bandwidth_bytes_per_second},
  };
  for (const auto& [name, rate] : rates) {
    if (!(rate > 0) || !std::isfinite(rate)) {
      return absl::InvalidArgumentError(
          absl::StrCat("device '", device.name, "': ", name, " is ", rate, ", expected a positive number"));
    }
  }
  if (device.on_chip_bytes < 0) {
    return absl::InvalidArgumentError(absl::StrCat("device '", device.name, "': on-chip memory of ",
                                                   device.on_chip_bytes, " B, expected at least 0"));
  }
  if (options.batch < 0) return absl::InvalidArgumentError(absl::StrCat("batch is ", options.batch, ", expected >= 0"));
  return absl::OkStatus();
}

// At which rate narrow products run, where the step has some.
void NoteNarrowProducts(const CostTable& cost, RooflineDevice& device) {
  absl::btree_set<Arithmetic> used;
  for (const KernelCost& kernel : cost.kernels) {
    if (kernel.arithmetic != Arithmetic::kAny && kernel.contraction_flops > 0) used.insert(kernel.arithmetic);
  }
  for (const Arithmetic arithmetic : used) {
    const MatrixRate rate = MatrixRateOf({.arithmetic = arithmetic}, device);
    const std::string own = absl::StrCat(ArithmeticName(arithmetic), " products: ");
    if (rate.arithmetic == Arithmetic::kAny) {
      device.notes.push_back(absl::StrCat(own, "no peak of the kind is known, the precision mode's serves"));
      continue;
    }
    device.notes.push_back(absl::StrCat(
        own, rate.flops_per_second / 1e12, " TOP/s",
        rate.peak_arithmetic == arithmetic || rate.peak_arithmetic == Arithmetic::kAny
            ? ""
            : absl::StrCat(", the rate of ", ArithmeticName(rate.peak_arithmetic), ": none of its own is known")));
  }
}

TrafficTables TrafficUnderAll(const CostTable& cost, const LruCurve& lru, const ManagedCurve& managed,
                              int64_t on_chip_bytes) {
  TrafficTables tables;
  std::vector<KernelTraffic>& every = tables[static_cast<int>(TrafficModel::kEveryKernelFetches)];
  for (const KernelCost& kernel : cost.kernels) every.push_back({kernel.read_bytes, kernel.write_bytes});
  tables[static_cast<int>(TrafficModel::kLru)] = lru.KernelTrafficAt(on_chip_bytes);
  tables[static_cast<int>(TrafficModel::kManaged)] = managed.KernelTrafficAt(on_chip_bytes);
  return tables;
}

PrefetchTimes Prefetch(const Roofline& roofline, const std::vector<KernelTraffic>& traffic,
                       const std::vector<int64_t>& held) {
  std::vector<PrefetchKernel> kernels;
  kernels.reserve(traffic.size());
  for (size_t k = 0; k < traffic.size(); ++k) {
    kernels.push_back({.compute_seconds = roofline.kernels[k].compute_seconds,
                       .fetched_bytes = traffic[k].fetched_bytes,
                       .written_bytes = traffic[k].written_bytes,
                       .held_bytes = held[k]});
  }
  return SimulatePrefetch(kernels, roofline.device.on_chip_bytes, roofline.device.bandwidth_bytes_per_second);
}

}  // namespace

namespace {

// The peaks of products narrower than 16 bits. A fraction that nobody measured for them is that of the wider ones.
std::vector<MatrixRate> NarrowRatesOf(const Hardware& hardware, std::optional<double> wider_fraction,
                                      const RateOptions& options) {
  constexpr std::pair<Arithmetic, Arithmetic> kNarrow[] = {{Arithmetic::kInt8, Arithmetic::kInt8},
                                                           {Arithmetic::kInt4, Arithmetic::kInt8},
                                                           {Arithmetic::kFp8, Arithmetic::kFp8},
                                                           {Arithmetic::kFp4, Arithmetic::kFp8}};
  std::vector<MatrixRate> rates;
  for (const auto& [arithmetic, wider] : kNarrow) {
    absl::StatusOr<ChosenPeak> peak = PeakFor(hardware, arithmetic);
    if (!peak.ok()) peak = PeakFor(hardware, wider);
    if (!peak.ok()) continue;
    const std::optional<double> measured = AchievableFraction(hardware, peak->arithmetic);
    const double fraction = options.bare_peak ? 1.0 : measured.value_or(wider_fraction.value_or(1.0));
    rates.push_back({arithmetic, peak->flops_per_second * fraction, peak->flops_per_second, peak->arithmetic});
  }
  return rates;
}

}  // namespace

absl::string_view BoundName(Bound bound) { return bound == Bound::kCompute ? "compute" : "memory"; }

absl::StatusOr<RooflineDevice> RatesOf(const Hardware& hardware, PrecisionMode precision, const RateOptions& options) {
  RS_ASSIGN_OR_RETURN(const ChosenPeak matrix, PeakFor(hardware, MatrixArithmetic(precision)));
  const ChosenPeak vector = VectorPeak(hardware);
  RooflineDevice device;
  device.name = hardware.display_name;
  device.bare_peak = options.bare_peak;
  device.matrix_peak_flops_per_second = matrix.flops_per_second;
  device.vector_flops_per_second = vector.flops_per_second;
  device.peak_bandwidth_bytes_per_second = hardware.memory_bandwidth_bytes_per_second;
  device.on_chip_bytes = hardware.on_chip.capacity_bytes;
  device.memory_bytes = AvailableMemoryBytes(hardware);
  if (!options.bare_peak) {
    device.matrix_fraction = AchievableFraction(hardware, matrix.arithmetic);
    device.bandwidth_fraction = hardware.achievable_bandwidth_fraction;
  }
  device.matrix_flops_per_second = device.matrix_peak_flops_per_second * device.matrix_fraction.value_or(1.0);
  device.bandwidth_bytes_per_second = device.peak_bandwidth_bytes_per_second * device.bandwidth_fraction.value_or(1.0);
  device.narrow = NarrowRatesOf(hardware, device.matrix_fraction, options);
  if (!matrix.note.empty()) device.notes.push_back(absl::StrCat("matrix products: ", matrix.note));
  if (!vector.note.empty()) device.notes.push_back(absl::StrCat("other arithmetic: ", vector.note));
  return device;
}

double ComputeSeconds(const KernelCost& kernel, const RooflineDevice& device) {
  const auto other = static_cast<double>(kernel.flops - kernel.contraction_flops) +
                     static_cast<double>(kFlopsPerTranscendental) * static_cast<double>(kernel.transcendentals);
  return static_cast<double>(kernel.contraction_flops) / MatrixRateOf(kernel, device).flops_per_second +
         other / device.vector_flops_per_second;
}

double KernelSeconds(const KernelCost& kernel, const RooflineDevice& device) {
  return BoundOf(ComputeSeconds(kernel, device), kernel.bytes(), device).seconds;
}

absl::StatusOr<StepTime> HeadlineStep(const CostTable& cost, const RooflineDevice& device,
                                      const RooflineOptions& options) {
  RS_RETURN_IF_ERROR(Check(device, options));
  StepTime step;
  double peak_seconds = 0;
  for (const KernelCost& kernel : cost.kernels) {
    const double compute_seconds = ComputeSeconds(kernel, device);
    AddKernel(BoundOf(compute_seconds, kernel.bytes(), device), compute_seconds,
              step.phases[static_cast<size_t>(kernel.phase)]);
    peak_seconds += PeakSeconds(kernel, device);
  }
  SumUp(peak_seconds, options.batch, step);
  return step;
}

absl::StatusOr<Roofline> ComputeRoofline(const CostTable& cost, const LruCurve& lru, const ManagedCurve& managed,
                                         const RooflineDevice& device, const RooflineOptions& options) {
  RS_RETURN_IF_ERROR(Check(device, options));
  const TrafficTables traffic = TrafficUnderAll(cost, lru, managed, device.on_chip_bytes);
  for (const std::vector<KernelTraffic>& table : traffic) {
    if (table.size() != cost.kernels.size()) {
      return absl::InvalidArgumentError("the cache curves belong to another cost table");
    }
  }
  Roofline roofline;
  roofline.device = device;
  NoteNarrowProducts(cost, roofline.device);
  roofline.kernels.reserve(cost.kernels.size());
  double peak_seconds = 0;
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    const KernelCost& kernel = cost.kernels[k];
    KernelTime time{.compute_seconds = ComputeSeconds(kernel, device), .under = {}};
    if (kernel.bytes() > 0) {
      time.intensity_flops_per_byte = static_cast<double>(kernel.flops) / static_cast<double>(kernel.bytes());
    }
    for (int model = 0; model < kNumTrafficModels; ++model) {
      time.under[model] = BoundOf(time.compute_seconds, traffic[model][k].bytes(), device);
      AddKernel(time.under[model], time.compute_seconds,
                roofline.under[model].phases[static_cast<size_t>(kernel.phase)]);
    }
    peak_seconds += PeakSeconds(kernel, device);
    roofline.kernels.push_back(time);
  }
  for (StepTime& step : roofline.under) SumUp(peak_seconds, options.batch, step);
  roofline.prefetch =
      Prefetch(roofline, traffic[static_cast<int>(TrafficModel::kManaged)], managed.HeldBytesAt(device.on_chip_bytes));
  return roofline;
}

}  // namespace reusescope
