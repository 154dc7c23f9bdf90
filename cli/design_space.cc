#include "cli/design_space.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <thread>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "cli/options.h"
#include "importer/load_model.h"

namespace reusescope::cli {
namespace {

// One step: a batch in a precision, with the rates of the base device.
struct Step {
  int64_t batch = 0;
  PrecisionMode precision = PrecisionMode::kFp32;
  Analysis analysis;
  RooflineDevice device;
  std::vector<double> throughputs;
  std::vector<std::optional<MatrixProduct>> products;  // by kernel; empty unless kernels run in tiles
};

// One row of the grid: a step under a policy with a capacity. All its bandwidths and throughputs share the traffic.
struct Row {
  const Step* step = nullptr;
  Policy policy = Policy::kManaged;
  int64_t capacity_bytes = 0;
  std::vector<DesignPoint> points;
};

std::vector<KernelTraffic> TrafficOf(const Analysis& analysis, Policy policy, int64_t capacity_bytes) {
  switch (policy) {
    case Policy::kNone:
      return analysis.lru.KernelTrafficAt(0);
    case Policy::kLru:
      return analysis.lru.KernelTrafficAt(capacity_bytes);
    case Policy::kManaged:
      return analysis.managed.KernelTrafficAt(capacity_bytes);
  }
  return {};
}

int64_t TotalTraffic(const Analysis& analysis, Policy policy, int64_t capacity_bytes) {
  switch (policy) {
    case Policy::kNone:
      return analysis.lru.TrafficAt(0);
    case Policy::kLru:
      return analysis.lru.TrafficAt(capacity_bytes);
    case Policy::kManaged:
      return analysis.managed.TrafficAt(capacity_bytes);
  }
  return 0;
}

// The kernels as the prefetch simulation takes them; empty under LRU.
std::vector<PrefetchKernel> PrefetchKernels(const Row& row, absl::Span<const KernelTraffic> traffic,
                                            absl::Span<const KernelLoad> loads) {
  if (row.policy == Policy::kLru) return {};
  std::vector<int64_t> held(traffic.size(), 0);
  if (row.policy == Policy::kManaged) held = row.step->analysis.managed.HeldBytesAt(row.capacity_bytes);
  std::vector<PrefetchKernel> kernels(traffic.size());
  for (size_t k = 0; k < traffic.size(); ++k) {
    kernels[k] = {loads[k].compute_seconds, traffic[k].fetched_bytes, traffic[k].written_bytes, held[k]};
  }
  return kernels;
}

double CostOf(const CostWeights& weights, const DesignPoint& point) {
  return weights.per_capacity_byte * static_cast<double>(point.capacity_bytes) +
         weights.per_bandwidth_byte_per_second * point.bandwidth_bytes_per_second +
         weights.per_flop_per_second * point.throughput_flops_per_second;
}

void AddPrefetch(absl::Span<const PrefetchKernel> kernels, double speedup, DesignPoint& point) {
  if (kernels.empty()) return;
  const PrefetchTimes times =
      SimulatePrefetch(kernels, point.capacity_bytes, point.bandwidth_bytes_per_second, speedup);
  point.prefetch_step_seconds = times.step_seconds;
  point.prefetch_stall_seconds = times.stall_seconds;
  point.buffer_bytes = 0;
  for (const PrefetchSample& sample : times.kernels) {
    point.buffer_bytes = std::max(*point.buffer_bytes, sample.buffer_bytes);
  }
}

// What is computed at `speedup` waits as if the bandwidth were that much less.
void AddTiles(absl::Span<const BufferedKernel> kernels, Buffering buffering, double speedup, DesignPoint& point) {
  const BufferedStep step = StepWith(kernels, buffering, point.bandwidth_bytes_per_second / speedup);
  point.tiled_step_seconds = step.step_seconds / speedup;
  point.tiled_traffic_bytes = step.traffic_bytes;
  point.double_buffered_kernels = step.double_buffered;
}

void ComputeRow(const DesignSweepOptions& options, Row& row) {
  const Step& step = *row.step;
  const std::vector<KernelTraffic> traffic = TrafficOf(step.analysis, row.policy, row.capacity_bytes);
  const std::vector<KernelLoad> loads = LoadsAt(step.analysis.cost, traffic, step.device);
  const std::vector<PrefetchKernel> prefetch = PrefetchKernels(row, traffic, loads);
  std::vector<BufferedKernel> tiles;
  if (options.buffering.has_value()) {
    tiles = BufferedKernels(step.analysis.cost, step.products, row.capacity_bytes, step.device);
  }
  const TimeSurface surface(loads);
  for (const double bandwidth : options.axes.bandwidths_bytes_per_second) {
    for (const double throughput : step.throughputs) {
      const DesignRates rates = {bandwidth, throughput / step.device.matrix_flops_per_second};
      DesignPoint point{.batch = step.batch,
                        .precision = step.precision,
                        .policy = row.policy,
                        .capacity_bytes = row.capacity_bytes,
                        .bandwidth_bytes_per_second = bandwidth,
                        .throughput_flops_per_second = throughput,
                        .step_seconds = surface.StepSeconds(rates),
                        .memory_bound_seconds = surface.MemoryBoundSeconds(rates),
                        .traffic_bytes = static_cast<int64_t>(surface.traffic_bytes())};
      const double compute_seconds = surface.compute_seconds() / rates.speedup;
      point.stall_seconds = std::max(0.0, point.step_seconds - compute_seconds);
      if (point.step_seconds > 0) point.compute_utilization = std::min(1.0, compute_seconds / point.step_seconds);
      if (options.base.power_watts.has_value()) point.energy_joules = *options.base.power_watts * point.step_seconds;
      if (options.weights.has_value()) point.cost = CostOf(*options.weights, point);
      AddPrefetch(prefetch, rates.speedup, point);
      if (options.buffering.has_value()) AddTiles(tiles, *options.buffering, rates.speedup, point);
      row.points.push_back(point);
    }
  }
}

bool Stopped(const DesignSweepOptions& options) { return options.stop != nullptr && options.stop->load(); }

// Rows are independent; each thread takes the next. Returns how many were computed: a prefix.
size_t ComputeRows(const DesignSweepOptions& options, std::vector<Row>& rows) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    while (!Stopped(options)) {
      const size_t r = next.fetch_add(1);
      if (r >= rows.size()) return;
      ComputeRow(options, rows[r]);
    }
  };
  std::vector<std::thread> threads;
  for (int t = 1; t < options.threads; ++t) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return std::min(next.load(), rows.size());
}

absl::StatusOr<Step> AnalyzeStep(const std::string& model, const DesignSweepOptions& options, int64_t batch,
                                 PrecisionMode precision) {
  Step step{.batch = batch, .precision = precision};
  RS_ASSIGN_OR_RETURN(step.device, RatesOf(options.base, precision, {.bare_peak = options.bare_peak}));
  step.throughputs = options.axes.throughputs_flops_per_second;
  if (step.throughputs.empty()) step.throughputs = {step.device.matrix_flops_per_second};
  RS_ASSIGN_OR_RETURN(Model loaded, LoadModel(model));
  RS_ASSIGN_OR_RETURN(AnalysisOptions analysis, OptionsFor(loaded, options.analysis, options.given));
  analysis.shapes.batch = batch;
  analysis.precision = precision;
  RS_ASSIGN_OR_RETURN(step.analysis, Analyze(std::move(loaded), analysis));
  if (options.buffering.has_value()) {
    RS_ASSIGN_OR_RETURN(step.products, ProductsOf(step.analysis.training, step.analysis.cost));
  }
  return step;
}

void AddKnees(const Step& step, Policy policy, const std::vector<int64_t>& capacities, std::vector<Knee>& knees) {
  const size_t first = knees.size();
  int64_t before = TotalTraffic(step.analysis, Policy::kNone, 0), capacity_before = 0;
  for (const int64_t capacity : capacities) {
    Knee knee{.batch = step.batch, .precision = step.precision, .policy = policy, .capacity_bytes = capacity};
    knee.traffic_bytes = TotalTraffic(step.analysis, policy, capacity);
    knee.saved_bytes = before - knee.traffic_bytes;
    int64_t most = 0, all = 0;
    for (const ScopeReuse& scope : step.analysis.reuse.scopes) {
      if (scope.scope == ReuseScope::kIntraLayer) continue;
      const int64_t gained = scope.SavedBytes(capacity) - scope.SavedBytes(capacity_before);
      all += gained;
      if (gained > most && knee.saved_bytes > 0) {
        most = gained;
        knee.scope = scope.scope;
      }
    }
    if (knee.scope.has_value()) knee.scope_share = static_cast<double>(most) / static_cast<double>(all);
    before = knee.traffic_bytes;
    capacity_before = capacity;
    knees.push_back(knee);
  }
  // On a logarithmic axis a knee is where a step of the axis saves more than the steps beside it.
  for (size_t k = first; k < knees.size(); ++k) {
    // Beyond the ends nobody has looked.
    if (k == first || k + 1 == knees.size()) continue;
    const int64_t saved = knees[k].saved_bytes;
    knees[k].knee = saved >= knees[k - 1].saved_bytes && saved > knees[k + 1].saved_bytes;
  }
}

void AddCaptured(const Step& step, const std::vector<int64_t>& capacities, std::vector<CapturedReuse>& captured) {
  for (const int64_t capacity : capacities) {
    for (const ScopeReuse& scope : step.analysis.reuse.scopes) {
      if (scope.scope == ReuseScope::kIntraLayer || scope.saved_bytes == 0) continue;
      captured.push_back(
          {step.batch, step.precision, capacity, scope.scope, scope.SavedBytes(capacity), scope.saved_bytes});
    }
  }
}

void AddIso(const Step& step, Policy policy, const DesignSweepOptions& options, std::vector<IsoPoint>& iso) {
  const auto surface_at = [&](int64_t capacity) {
    return TimeSurface(LoadsAt(step.analysis.cost, TrafficOf(step.analysis, policy, capacity), step.device));
  };
  const TimeSurface base = surface_at(options.base.on_chip.capacity_bytes);
  for (const int64_t capacity : options.axes.capacities_bytes) {
    const TimeSurface surface = surface_at(capacity);
    for (const double throughput : step.throughputs) {
      const double speedup = throughput / step.device.matrix_flops_per_second;
      const double seconds = base.StepSeconds({step.device.bandwidth_bytes_per_second, speedup});
      // A rounding below the base device's own time must not ask for the impossible.
      iso.push_back({.batch = step.batch,
                     .precision = step.precision,
                     .policy = policy,
                     .throughput_flops_per_second = throughput,
                     .step_seconds = seconds,
                     .capacity_bytes = capacity,
                     .bandwidth_bytes_per_second = surface.BandwidthFor(seconds * (1 + 1e-9), speedup)});
    }
  }
}

// Points that nobody beats in cost and time both, within a batch and precision.
void MarkFront(std::vector<DesignPoint>& points) {
  std::vector<DesignPoint*> order;
  for (DesignPoint& point : points) order.push_back(&point);
  std::sort(order.begin(), order.end(), [](const DesignPoint* a, const DesignPoint* b) {
    return std::tuple(a->batch, a->precision, *a->cost, a->step_seconds) <
           std::tuple(b->batch, b->precision, *b->cost, b->step_seconds);
  });
  std::map<std::pair<int64_t, PrecisionMode>, double> fastest;
  for (DesignPoint* point : order) {
    const auto [best, first] = fastest.try_emplace({point->batch, point->precision}, point->step_seconds);
    if (first || point->step_seconds < best->second) {
      point->on_front = true;
      best->second = point->step_seconds;
    }
  }
}

absl::Status CheckSize(const DesignSweepOptions& options, int64_t& points) {
  points = 1;
  const size_t throughputs = std::max<size_t>(options.axes.throughputs_flops_per_second.size(), 1);
  for (const size_t n : {options.axes.capacities_bytes.size(), options.axes.bandwidths_bytes_per_second.size(),
                         throughputs, options.policies.size(), options.batches.size(), options.precisions.size()}) {
    const std::optional<int64_t> product = CheckedMultiply(points, static_cast<int64_t>(n));
    points = product.value_or(std::numeric_limits<int64_t>::max());
  }
  if (points <= options.most_points) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the axes span ", points, " points, expected at most ", options.most_points, "; take larger steps"));
}

}  // namespace

absl::string_view PolicyName(Policy policy) {
  constexpr absl::string_view kNames[] = {"none", "lru", "managed"};
  return kNames[static_cast<size_t>(policy)];
}

absl::StatusOr<DesignSpace> SweepDesigns(const std::string& model, const DesignSweepOptions& given) {
  DesignSweepOptions options = given;
  if (options.axes.capacities_bytes.empty()) options.axes.capacities_bytes = {options.base.on_chip.capacity_bytes};
  // What every other command takes for this device's bandwidth.
  const double fraction = options.bare_peak ? 1 : options.base.achievable_bandwidth_fraction.value_or(1);
  const double bandwidth = options.base.memory_bandwidth_bytes_per_second * fraction;
  if (options.axes.bandwidths_bytes_per_second.empty()) options.axes.bandwidths_bytes_per_second = {bandwidth};
  if (options.batches.empty()) {
    RS_ASSIGN_OR_RETURN(const Model loaded, LoadModel(model));
    RS_ASSIGN_OR_RETURN(const AnalysisOptions analysis, OptionsFor(loaded, options.analysis, options.given));
    options.batches = {analysis.shapes.batch.value_or(1)};
  }
  DesignSpace space{
      .model = model, .base = options.base, .base_bandwidth_bytes_per_second = bandwidth, .axes = options.axes};
  RS_RETURN_IF_ERROR(CheckSize(options, space.points_in_all));
  std::vector<Step> steps;
  steps.reserve(options.batches.size() * options.precisions.size());
  for (const int64_t batch : options.batches) {
    for (const PrecisionMode precision : options.precisions) {
      if (Stopped(options)) return space;
      RS_ASSIGN_OR_RETURN(Step step, AnalyzeStep(model, options, batch, precision));
      steps.push_back(std::move(step));
    }
  }
  space.notes = steps[0].analysis.notes;
  for (const std::string& note : steps[0].device.notes) space.notes.push_back(note);
  std::vector<Row> rows;
  for (const Step& step : steps) {
    AddCaptured(step, options.axes.capacities_bytes, space.captured);
    for (const Policy policy : options.policies) {
      for (const int64_t capacity : options.axes.capacities_bytes) {
        rows.push_back({.step = &step, .policy = policy, .capacity_bytes = capacity});
      }
      AddKnees(step, policy, options.axes.capacities_bytes, space.knees);
      AddIso(step, policy, options, space.iso);
    }
  }
  const size_t computed = ComputeRows(options, rows);
  for (size_t r = 0; r < computed; ++r) {
    space.points.insert(space.points.end(), rows[r].points.begin(), rows[r].points.end());
  }
  if (options.weights.has_value()) MarkFront(space.points);
  return space;
}

}  // namespace reusescope::cli
