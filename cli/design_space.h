// What more cache, bandwidth or compute would buy: a training step at every point of a grid of devices.
//
//   options.axes.capacities_bytes = ParseCapacities("1MiB:1GiB:x2").value();
//   RS_ASSIGN_OR_RETURN(const DesignSpace space, SweepDesigns(model, options));
//   space.points, space.knees, space.iso
//
// A point is a device: on-chip capacity under a policy, bandwidth, throughput; in a precision, at a batch. Times are
// the roofline's (measure/roofline.h, one kernel after the other) with the traffic of that capacity; throughput is that
// of matrix products, and vector units, narrow products and measured fractions scale along as the base device has them.
// The stall-aware time (measure/prefetch.h) lets transfers run ahead of use, where the policy plans them.
//
// Policies: "none", every kernel fetches its operands; "lru", a cache; "managed", software that knows the step.

#ifndef REUSESCOPE_CLI_DESIGN_SPACE_H_
#define REUSESCOPE_CLI_DESIGN_SPACE_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/measure/double_buffering.h"
#include "analysis/measure/reuse.h"
#include "analysis/measure/time_surface.h"
#include "analysis/pipeline.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

enum class Policy : uint8_t { kNone, kLru, kManaged };
absl::string_view PolicyName(Policy policy);  // "none", "lru", "managed"

// Axes: "1MiB:1GiB:x2" (from, to, factor), "0:64MiB:+16MiB" (from, to, step), or "8MiB,40MiB". Ascending, without
// duplicates. kInvalidArgument says what was found and expected.
absl::StatusOr<std::vector<int64_t>> ParseCapacities(absl::string_view text);
absl::StatusOr<std::vector<double>> ParseBandwidths(absl::string_view text);   // "100GB/s:8TB/s:x2"
absl::StatusOr<std::vector<double>> ParseThroughputs(absl::string_view text);  // "10T:2P:x2", in FLOP/s
absl::StatusOr<std::vector<int64_t>> ParseBatches(absl::string_view text);     // "8,32,128"

// What a device costs by what it has; any unit of cost. "capacity=0.4/MiB,bandwidth=12/100GB/s,throughput=3/TFLOP/s".
struct CostWeights {
  double per_capacity_byte = 0;
  double per_bandwidth_byte_per_second = 0;
  double per_flop_per_second = 0;
};
absl::StatusOr<CostWeights> ParseCostWeights(absl::string_view text);

struct DesignAxes {
  std::vector<int64_t> capacities_bytes;  // on chip
  std::vector<double> bandwidths_bytes_per_second;
  std::vector<double> throughputs_flops_per_second;
};

struct DesignSweepOptions {
  AnalysisOptions analysis;        // its batch and precision are not used
  std::vector<std::string> given;  // of these, as flags (cli/options.h)
  Hardware base;                   // what an axis that is empty is taken from, and how units stand to each other
  DesignAxes axes;
  std::vector<Policy> policies = {Policy::kManaged};
  std::vector<int64_t> batches;  // empty: the one that a training graph was written for, else 1
  std::vector<PrecisionMode> precisions = {PrecisionMode::kFp32};
  std::optional<CostWeights> weights;
  std::optional<Buffering> buffering;  // also the time of kernels that run tile by tile
  bool bare_peak = false;
  int64_t most_points = 50'000'000;
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;  // set: what is computed by then is returned
};

struct DesignPoint {
  int64_t batch = 0;
  PrecisionMode precision = PrecisionMode::kFp32;
  Policy policy = Policy::kManaged;
  int64_t capacity_bytes = 0;
  double bandwidth_bytes_per_second = 0;
  double throughput_flops_per_second = 0;
  double step_seconds = 0;
  double memory_bound_seconds = 0;  // of the step
  double stall_seconds = 0;         // in which no kernel computes
  // With transfers ahead of use; not of LRU, which plans nothing.
  std::optional<double> prefetch_step_seconds, prefetch_stall_seconds;
  std::optional<int64_t> buffer_bytes;  // the most that is on chip at once
  int64_t traffic_bytes = 0;
  // With options.buffering: every kernel by itself in tiles (measure/double_buffering.h), under any policy.
  std::optional<double> tiled_step_seconds;
  std::optional<int64_t> tiled_traffic_bytes;
  std::optional<int> double_buffered_kernels;
  double compute_utilization = 0;
  std::optional<double> energy_joules;  // at the base device's rated power throughout
  std::optional<double> cost;
  bool on_front = false;  // nobody is both cheaper and faster; of one batch and precision

  double average_bandwidth() const { return static_cast<double>(traffic_bytes) / step_seconds; }
};

// Traffic from one capacity to the next, and the scope whose edges are captured in between (under LRU).
struct Knee {
  int64_t batch = 0;
  PrecisionMode precision = PrecisionMode::kFp32;
  Policy policy = Policy::kManaged;
  int64_t capacity_bytes = 0;
  int64_t traffic_bytes = 0;
  int64_t saved_bytes = 0;          // against the capacity before; of the first, against none
  std::optional<ReuseScope> scope;  // that gains most there; nothing where nothing is captured
  double scope_share = 0;           // of what all scopes gain there
  bool knee = false;                // saves more per byte of capacity than its neighbours
};

// What an LRU memory of a capacity captures of the reuse at one scope.
struct CapturedReuse {
  int64_t batch = 0;
  PrecisionMode precision = PrecisionMode::kFp32;
  int64_t capacity_bytes = 0;
  ReuseScope scope = ReuseScope::kLongRange;
  int64_t captured_bytes = 0;  // traffic saved
  int64_t reusable_bytes = 0;  // saved if every reuse of the scope were captured
};

// The bandwidth with which a capacity trains as fast as the base device.
struct IsoPoint {
  int64_t batch = 0;
  PrecisionMode precision = PrecisionMode::kFp32;
  Policy policy = Policy::kManaged;
  double throughput_flops_per_second = 0;
  double step_seconds = 0;  // that of the base device with this throughput and policy
  int64_t capacity_bytes = 0;
  double bandwidth_bytes_per_second = 0;  // infinite where none does
};

struct DesignSpace {
  std::string model;
  std::vector<std::string> notes;
  Hardware base;
  double base_bandwidth_bytes_per_second = 0;  // that its kernels attain
  DesignAxes axes;
  std::vector<DesignPoint> points;  // by batch, precision, policy, capacity, bandwidth, throughput
  std::vector<Knee> knees;
  std::vector<CapturedReuse> captured;  // of scopes between kernels that have reuses
  std::vector<IsoPoint> iso;
  int64_t points_in_all = 0;  // more than `points` when stopped

  bool complete() const { return static_cast<int64_t>(points.size()) == points_in_all; }
};

// kInvalidArgument for more than options.most_points; else what Analyze and RatesOf say.
absl::StatusOr<DesignSpace> SweepDesigns(const std::string& model, const DesignSweepOptions& options);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_DESIGN_SPACE_H_
