#include "cli/audit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/step_at_batch.h"
#include "cli/options.h"
#include "cli/units.h"
#include "importer/load_model.h"

namespace reusescope::cli {
namespace {

constexpr double kSecondsPerHour = 3600;

// A way of running the fleet on a device: what is decided before times are computed.
struct Plan {
  int64_t devices = 1;
  int zero_stage = 0;
  std::vector<int64_t> batches;          // of a device, by model
  std::vector<int64_t> largest_batches;  // that fit
};

double DeviceSeconds(const Candidate& candidate) { return static_cast<double>(candidate.devices) * candidate.seconds; }

class Auditor {
 public:
  Auditor(std::vector<WeightedModel> models, const AuditOptions& options)
      : models_(std::move(models)), options_(options), training_(options.analysis.mode == Mode::kTraining) {}

  absl::Status Prepare(const std::vector<Hardware>& devices) {
    int64_t most_memory = int64_t{1} << 30;
    for (const Hardware& device : devices) {
      most_memory = std::max(most_memory, AvailableMemoryBytes(device).value_or(0));
    }
    for (const WeightedModel& model : models_) {
      RS_ASSIGN_OR_RETURN(const Model loaded, LoadModel(model.path));
      RS_ASSIGN_OR_RETURN(AnalysisOptions analysis, OptionsFor(loaded, options_.analysis, options_.given));
      RS_ASSIGN_OR_RETURN(StepAtBatch step, StepAtBatch::Make([path = model.path] { return LoadModel(path); },
                                                              std::move(analysis), most_memory));
      steps_.push_back(std::move(step));
    }
    return absl::OkStatus();
  }

  const std::vector<StepAtBatch>& steps() const { return steps_; }

  absl::StatusOr<AuditRow> Row(const Hardware& hardware) {
    AuditRow row{.hardware = hardware};
    for (PrecisionMode precision : options_.precisions) {
      const absl::StatusOr<RooflineDevice> rates = RatesOf(hardware, precision, {.bare_peak = options_.bare_peak});
      // A precision that another one would stand in for is left to that one.
      if (!rates.ok() || (precision != PrecisionMode::kFp32 && HasStandIn(hardware, precision))) continue;
      std::string why;
      RS_ASSIGN_OR_RETURN(std::optional<Candidate> candidate, MakeCandidate(hardware, *rates, precision, why));
      if (candidate.has_value()) {
        row.candidates.push_back(*std::move(candidate));
      } else {
        row.reasons.emplace_back(PrecisionName(precision), why);
      }
    }
    for (size_t c = 0; c < row.candidates.size(); ++c) {
      if (!row.best || DeviceSeconds(row.candidates[c]) < DeviceSeconds(row.candidates[*row.best])) row.best = c;
    }
    if (row.best.has_value()) {
      row.reasons.clear();
      RS_RETURN_IF_ERROR(AddElasticity(hardware, row.candidates[*row.best]));
      return row;
    }
    if (row.reasons.empty()) row.reasons.emplace_back("", "it has no figures for these precisions");
    row.dropped = absl::StrJoin(row.reasons, "; ", [](std::string* out, const auto& reason) {
      absl::StrAppend(out, reason.first, reason.first.empty() ? "" : ": ", reason.second);
    });
    return row;
  }

  // What needs a cache simulation: for the rows that are shown.
  absl::Status AddOnChipElasticity(AuditRow& row) {
    Candidate& candidate = row.candidates[*row.best];
    RS_ASSIGN_OR_RETURN(const RooflineDevice rates,
                        RatesOf(row.hardware, candidate.precision, {.bare_peak = options_.bare_peak}));
    double now = 0, larger = 0;
    for (size_t m = 0; m < models_.size(); ++m) {
      RS_ASSIGN_OR_RETURN(const Simulated* simulated, Simulate(m, candidate.precision, candidate.runs[m].batch));
      const double share = models_[m].weight / static_cast<double>(candidate.runs[m].batch);
      const auto grown = static_cast<int64_t>(kElasticityFactor * static_cast<double>(rates.on_chip_bytes));
      now += share * StepSecondsUnderLru(*simulated->cost, simulated->lru, rates, rates.on_chip_bytes);
      larger += share * StepSecondsUnderLru(*simulated->cost, simulated->lru, rates, grown);
    }
    if (now > 0) candidate.elasticity.on_chip = larger / now - 1;
    return absl::OkStatus();
  }

 private:
  struct Simulated {
    const CostTable* cost = nullptr;
    LruCurve lru;
  };

  // Does PeakFor answer with another arithmetic (fp32 for tf32)?
  static bool HasStandIn(const Hardware& hardware, PrecisionMode precision) {
    const absl::StatusOr<ChosenPeak> peak = PeakFor(hardware, MatrixArithmetic(precision));
    return peak.ok() && peak->arithmetic != Arithmetic::kAny &&
           ArithmeticName(peak->arithmetic) != MatrixArithmetic(precision);
  }

  absl::StatusOr<const CostTable*> Cost(size_t model, PrecisionMode precision, int64_t batch) {
    const auto key = std::tuple(model, WidthClass(precision), batch);
    if (const auto known = costs_.find(key); known != costs_.end()) return &known->second;
    RS_ASSIGN_OR_RETURN(CostTable cost, steps_[model].CostAt(precision, batch));
    return &costs_.emplace(key, std::move(cost)).first->second;
  }

  // Precisions of one width have one cost table.
  static int WidthClass(PrecisionMode precision) {
    const bool wide = precision == PrecisionMode::kFp32 || precision == PrecisionMode::kTf32;
    return wide ? 0 : HasMasterWeights(precision) ? 2 : 1;
  }

  absl::StatusOr<const Simulated*> Simulate(size_t model, PrecisionMode precision, int64_t batch) {
    const auto key = std::tuple(model, WidthClass(precision), batch);
    if (const auto known = simulated_.find(key); known != simulated_.end()) return &known->second;
    Simulated simulated;
    RS_ASSIGN_OR_RETURN(simulated.cost, Cost(model, precision, batch));
    RS_ASSIGN_OR_RETURN(simulated.lru, ComputeLruCurve(*simulated.cost));
    return &simulated_.emplace(key, std::move(simulated)).first->second;
  }

  absl::StatusOr<MemoryShare> ShareOf(size_t model, PrecisionMode precision, int stage, int64_t devices) {
    // Parameters do not depend on the batch, so that any cost table tells them.
    const int64_t batch = steps_[model].fixed_batch().value_or(2);
    RS_ASSIGN_OR_RETURN(const CostTable* cost, Cost(model, precision, batch));
    return ZeroShare(*cost, stage, devices, HasMasterWeights(precision));
  }

  // The plan with so many devices of the lowest stage with which every model fits; nullopt when none does.
  absl::StatusOr<std::optional<Plan>> FitOn(const Hardware& hardware, PrecisionMode precision, int64_t devices) {
    const std::optional<int64_t> memory = AvailableMemoryBytes(hardware);
    const int stages = devices > 1 && training_ ? kMaxZeroStage : 0;
    for (int stage = 0; stage <= stages; ++stage) {
      Plan plan{.devices = devices, .zero_stage = stage};
      bool fits = true;
      for (size_t m = 0; m < steps_.size() && fits; ++m) {
        RS_ASSIGN_OR_RETURN(const MemoryShare share, ShareOf(m, precision, stage, devices));
        RS_ASSIGN_OR_RETURN(const int64_t largest, steps_[m].LargestBatch(precision, *memory, share));
        const std::optional<int64_t> fixed = steps_[m].fixed_batch();
        fits = largest >= fixed.value_or(options_.batch.value_or(1));
        plan.largest_batches.push_back(largest);
        plan.batches.push_back(fixed.value_or(options_.batch.value_or(largest)));
      }
      if (fits) return plan;
    }
    return std::nullopt;
  }

  absl::StatusOr<Candidate> Evaluate(const Hardware& hardware, const RooflineDevice& rates, PrecisionMode precision,
                                     const Plan& plan) {
    Candidate candidate{.precision = precision, .devices = plan.devices, .zero_stage = plan.zero_stage};
    double memory_bound_seconds = 0, seconds = 0;
    for (size_t m = 0; m < models_.size(); ++m) {
      ModelRun run{.batch = plan.batches[m], .largest_batch = plan.largest_batches[m]};
      RS_ASSIGN_OR_RETURN(const CostTable* cost, Cost(m, precision, run.batch));
      RS_ASSIGN_OR_RETURN(run.step, HeadlineStep(*cost, rates, {.batch = run.batch}));
      ScaleOutOptions scale{.devices = plan.devices, .zero_stage = plan.zero_stage};
      if (hardware.link.has_value()) scale.link_bytes_per_second = OneDirection(*hardware.link);
      // Without training nothing is exchanged: the devices run side by side.
      if (!training_) scale.devices = 1;
      RS_ASSIGN_OR_RETURN(run.scale_out, ComputeScaleOut(*cost, rates, scale));
      RS_ASSIGN_OR_RETURN(const MemoryShare share, ShareOf(m, precision, plan.zero_stage, plan.devices));
      RS_ASSIGN_OR_RETURN(run.peak_bytes, steps_[m].PeakBytesAt(precision, run.batch, share));
      const double per_sample = models_[m].weight / static_cast<double>(run.batch);
      candidate.seconds_per_sample += per_sample * run.scale_out.step_seconds / static_cast<double>(plan.devices);
      memory_bound_seconds += per_sample * run.step.memory_bound_seconds;
      seconds += per_sample * run.step.step_seconds;
      candidate.runs.push_back(std::move(run));
    }
    candidate.memory_bound_share = seconds > 0 ? std::min(1.0, memory_bound_seconds / seconds) : 0;
    candidate.seconds = candidate.seconds_per_sample * options_.samples;
    candidate.notes = rates.notes;
    AddEnergyAndCost(hardware, candidate);
    return candidate;
  }

  void AddEnergyAndCost(const Hardware& hardware, Candidate& candidate) const {
    const auto devices = static_cast<double>(candidate.devices);
    if (hardware.power_watts.has_value()) candidate.energy_joules = devices * *hardware.power_watts * candidate.seconds;
    const auto price = options_.prices.find(hardware.name);
    if (price == options_.prices.end()) return;
    const double hours = price->second.per_hour ? candidate.seconds / kSecondsPerHour : 1;
    candidate.cost_usd = devices * price->second.usd * hours;
  }

  bool MeetsDeadline(const Candidate& candidate) const {
    return !options_.deadline_seconds.has_value() || candidate.seconds <= *options_.deadline_seconds;
  }

  // The smallest number of devices in [1, most] with which `test` holds, taken to hold from some number on; 0: none.
  template <typename Test>
  static absl::StatusOr<int64_t> Smallest(int64_t most, Test test) {
    int64_t fails = 0, holds = 1;
    while (true) {
      RS_ASSIGN_OR_RETURN(const bool ok, test(holds));
      if (ok) break;
      if (holds == most) return 0;
      fails = holds;
      holds = std::min(most, 2 * holds);
    }
    while (holds - fails > 1) {
      const int64_t middle = fails + (holds - fails) / 2;
      RS_ASSIGN_OR_RETURN(const bool ok, test(middle));
      (ok ? holds : fails) = middle;
    }
    return holds;
  }

  absl::StatusOr<std::optional<Candidate>> MakeCandidate(const Hardware& hardware, const RooflineDevice& rates,
                                                         PrecisionMode precision, std::string& why) {
    if (!AvailableMemoryBytes(hardware).has_value()) {
      why = "its memory is not known";
      return std::nullopt;
    }
    const bool alone = training_ && !hardware.link.has_value();
    const int64_t most = alone ? 1 : options_.max_devices;
    std::optional<Candidate> found;
    bool fits = false;
    const auto test = [&](int64_t devices) -> absl::StatusOr<bool> {
      RS_ASSIGN_OR_RETURN(const std::optional<Plan> plan, FitOn(hardware, precision, devices));
      if (!plan.has_value()) return false;
      fits = true;
      RS_ASSIGN_OR_RETURN(Candidate candidate, Evaluate(hardware, rates, precision, *plan));
      const bool meets = MeetsDeadline(candidate);
      if (!found || meets) found = std::move(candidate);
      return meets;
    };
    RS_ASSIGN_OR_RETURN(const int64_t devices, Smallest(most, test));
    if (devices == 0) {
      RS_ASSIGN_OR_RETURN(why, fits ? LateReason(*found, alone) : UnfitReason(hardware, precision, most, alone));
      return std::nullopt;
    }
    if (options_.budget_usd.has_value() && !found->cost_usd.has_value()) {
      why = "its price is not known, so that the budget says nothing";
      return std::nullopt;
    }
    if (options_.budget_usd.has_value() && *found->cost_usd > *options_.budget_usd) {
      why = absl::StrCat("costs ", FormatRatio(*found->cost_usd), " USD");
      return std::nullopt;
    }
    return found;
  }

  static absl::StatusOr<std::string> LateReason(const Candidate& candidate, bool alone) {
    return absl::StrCat("takes ", FormatSeconds(candidate.seconds), " on ", FormatPlural(candidate.devices, "device"),
                        alone ? "; no link to more of them is known" : "");
  }

  absl::StatusOr<std::string> UnfitReason(const Hardware& hardware, PrecisionMode precision, int64_t devices,
                                          bool alone) {
    const int stage = devices > 1 && training_ ? kMaxZeroStage : 0;
    int64_t needed = 0;
    for (size_t m = 0; m < steps_.size(); ++m) {
      const int64_t batch = steps_[m].fixed_batch().value_or(options_.batch.value_or(1));
      RS_ASSIGN_OR_RETURN(const MemoryShare share, ShareOf(m, precision, stage, devices));
      RS_ASSIGN_OR_RETURN(const int64_t peak, steps_[m].PeakBytesAt(precision, batch, share));
      needed = std::max(needed, peak);
    }
    return absl::StrCat(
        "needs ", FormatBytes(needed), devices > 1 ? absl::StrCat(" on each of ", FormatPlural(devices, "device")) : "",
        ", has ", FormatBytes(*AvailableMemoryBytes(hardware)), alone ? "; no link to more of them is known" : "");
  }

  // Of one device at the candidate's batches; memory: at the batches that a tenth more would take.
  absl::Status AddElasticity(const Hardware& hardware, Candidate& candidate) {
    RS_ASSIGN_OR_RETURN(const RooflineDevice rates,
                        RatesOf(hardware, candidate.precision, {.bare_peak = options_.bare_peak}));
    double total = 0;
    Elasticity& sum = candidate.elasticity;
    double memory = 0;
    const auto grown = static_cast<int64_t>(kElasticityFactor * static_cast<double>(*AvailableMemoryBytes(hardware)));
    for (size_t m = 0; m < models_.size(); ++m) {
      const ModelRun& run = candidate.runs[m];
      RS_ASSIGN_OR_RETURN(const CostTable* cost, Cost(m, candidate.precision, run.batch));
      RS_ASSIGN_OR_RETURN(const Elasticity elasticity, ComputeElasticity(*cost, rates));
      const double seconds = models_[m].weight * run.step.step_seconds / static_cast<double>(run.batch);
      total += seconds;
      sum.compute += seconds * elasticity.compute;
      sum.bandwidth += seconds * elasticity.bandwidth;
      int64_t batch = run.batch;
      if (!options_.batch.has_value() && !steps_[m].fixed_batch().has_value()) {
        RS_ASSIGN_OR_RETURN(const MemoryShare share,
                            ShareOf(m, candidate.precision, candidate.zero_stage, candidate.devices));
        RS_ASSIGN_OR_RETURN(batch, steps_[m].LargestBatch(candidate.precision, grown, share));
      }
      RS_ASSIGN_OR_RETURN(const CostTable* larger, Cost(m, candidate.precision, batch));
      RS_ASSIGN_OR_RETURN(const StepTime step, HeadlineStep(*larger, rates, {.batch = batch}));
      memory += models_[m].weight * step.step_seconds / static_cast<double>(batch);
    }
    if (total <= 0) return absl::OkStatus();
    sum.compute /= total;
    sum.bandwidth /= total;
    sum.memory = memory / total - 1;
    return absl::OkStatus();
  }

  std::vector<WeightedModel> models_;
  const AuditOptions& options_;
  const bool training_;
  std::vector<StepAtBatch> steps_;
  std::map<std::tuple<size_t, int, int64_t>, CostTable> costs_;  // by model, width and batch
  std::map<std::tuple<size_t, int, int64_t>, Simulated> simulated_;
};

// Cost where prices are given, else energy.
std::optional<double> FrontAxis(const Candidate& candidate, bool by_cost) {
  return by_cost ? candidate.cost_usd : candidate.energy_joules;
}

void RankAndMark(AuditReport& report) {
  const auto rank = [&report](const AuditRow& row) {
    const Candidate* candidate = row.candidate();
    const double infinity = std::numeric_limits<double>::infinity();
    if (candidate == nullptr) return std::tuple(2, infinity, row.hardware.name);
    if (!report.front_by_cost) return std::tuple(0, candidate->seconds, row.hardware.name);
    const bool priced = candidate->cost_usd.has_value();
    return std::tuple(priced ? 0 : 1, priced ? *candidate->cost_usd : candidate->seconds, row.hardware.name);
  };
  std::sort(report.rows.begin(), report.rows.end(),
            [&](const AuditRow& a, const AuditRow& b) { return rank(a) < rank(b); });
  for (AuditRow& row : report.rows) {
    const Candidate* candidate = row.candidate();
    if (candidate == nullptr || !FrontAxis(*candidate, report.front_by_cost).has_value()) continue;
    const double axis = *FrontAxis(*candidate, report.front_by_cost);
    row.on_front = std::none_of(report.rows.begin(), report.rows.end(), [&](const AuditRow& other) {
      const Candidate* rival = other.candidate();
      if (rival == nullptr || !FrontAxis(*rival, report.front_by_cost).has_value()) return false;
      const double rival_axis = *FrontAxis(*rival, report.front_by_cost);
      const bool no_worse = rival_axis <= axis && rival->seconds <= candidate->seconds;
      return no_worse && (rival_axis < axis || rival->seconds < candidate->seconds);
    });
  }
}

void AddCoverage(const Coverage& coverage, Coverage& sum) {
  sum.nodes += coverage.nodes;
  sum.known_nodes += coverage.known_nodes;
  sum.bytes += coverage.bytes;
  sum.known_bytes += coverage.known_bytes;
  sum.unknown_operators.insert(sum.unknown_operators.end(), coverage.unknown_operators.begin(),
                               coverage.unknown_operators.end());
}

}  // namespace

absl::StatusOr<AuditReport> Audit(std::vector<WeightedModel> models, const std::vector<Hardware>& devices,
                                  const AuditOptions& options) {
  if (models.empty() || devices.empty() || options.precisions.empty()) {
    return absl::InvalidArgumentError("audit: found no model, no device or no precision, expected some of each");
  }
  double weights = 0;
  for (const WeightedModel& model : models) weights += model.weight;
  for (WeightedModel& model : models) model.weight /= weights;
  AuditReport report{.models = models,
                     .training = options.analysis.mode == Mode::kTraining,
                     .samples = options.samples,
                     .deadline_seconds = options.deadline_seconds,
                     .budget_usd = options.budget_usd,
                     .front_by_cost = !options.prices.empty(),
                     .memory_error = PeakMemoryError()};
  Auditor auditor(std::move(models), options);
  RS_RETURN_IF_ERROR(auditor.Prepare(devices));
  for (const StepAtBatch& step : auditor.steps()) {
    report.notes.insert(report.notes.end(), step.notes().begin(), step.notes().end());
    report.exact_scaling = report.exact_scaling && step.affine();
    AddCoverage(step.coverage(), report.coverage);
  }
  for (const Hardware& hardware : devices) {
    RS_ASSIGN_OR_RETURN(AuditRow row, auditor.Row(hardware));
    report.rows.push_back(std::move(row));
  }
  RankAndMark(report);
  int simulated = 0;
  for (AuditRow& row : report.rows) {
    if (row.candidate() == nullptr || simulated++ >= options.on_chip_rows) break;
    RS_RETURN_IF_ERROR(auditor.AddOnChipElasticity(row));
  }
  return report;
}

}  // namespace reusescope::cli
