// Which devices a budget should buy for a model: fit, largest batch, time, energy, cost, scale-out, ranked.
//
//   RS_ASSIGN_OR_RETURN(const AuditReport report, Audit(models, devices, options));
//   report.rows[0].candidate->seconds          the best device first; rows that fall out come last and say why
//
// For every device and every precision that it has units for:
//   1. the smallest number of devices, and the lowest ZeRO stage on it, with which each model of the fleet fits
//   2. the largest batch of a device that fits then (exact, by ComputeMemory), or the batch that was asked for
//   3. the step by the roofline's headline, ring all-reduce and ZeRO's traffic over the device's link (scale_out.h)
//   4. more devices, where a deadline wants them; energy is devices * power * time; cost is devices * price, by the
//   hour
//      or to buy
// A device stands for its fastest precision, the one that takes the fewest hours of devices: four that are ready an
// hour before two are not faster. It falls out when nothing fits, the deadline or the budget cannot be met. The Pareto
// front is of (cost, time) where prices are given, else of (energy, time).
//
// A fleet: several models with weights, each of which gets its share of the samples; all must fit, one after another.

#ifndef REUSESCOPE_CLI_AUDIT_H_
#define REUSESCOPE_CLI_AUDIT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/measure/elasticity.h"
#include "analysis/measure/prediction_error.h"
#include "analysis/measure/scale_out.h"
#include "analysis/pipeline.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

struct WeightedModel {
  std::string path;
  double weight = 1;  // share of the samples, before the shares are made to sum to 1
};

// In US dollars.
struct Price {
  double usd = 0;
  bool per_hour = true;  // else to buy
};

struct AuditOptions {
  AnalysisOptions analysis;               // its batch and precision are not used
  std::vector<std::string> given;         // of these, as flags (cli/options.h)
  std::vector<PrecisionMode> precisions;  // to consider
  std::optional<int64_t> batch;           // of a device; the largest otherwise
  double samples = 1e6;
  std::optional<double> deadline_seconds;
  std::optional<double> budget_usd;
  std::map<std::string, Price> prices;  // by device name
  int64_t max_devices = 8;
  bool bare_peak = false;
  int on_chip_rows = 10;  // so many of the best rows get on-chip elasticity, which takes a simulation
};

// One model of the fleet on the devices of a candidate.
struct ModelRun {
  int64_t batch = 0;          // of a device
  int64_t largest_batch = 0;  // that fits there
  int64_t peak_bytes = 0;     // on each device, at `batch`
  StepTime step;              // of one device, without communication
  ScaleOutTime scale_out;
};

// A device in one precision, in the number in which it is proposed.
struct Candidate {
  PrecisionMode precision = PrecisionMode::kFp32;
  int64_t devices = 1;
  int zero_stage = 0;
  std::vector<ModelRun> runs;  // parallel to AuditReport::models
  double seconds_per_sample = 0;
  double memory_bound_share = 0;  // of the time
  double seconds = 0;             // for all samples
  std::optional<double> energy_joules;
  std::optional<double> cost_usd;
  Elasticity elasticity;  // of the time of a sample on one device; of a row's best only
  std::vector<std::string> notes;

  double samples_per_second() const { return 1 / seconds_per_sample; }
};

struct AuditRow {
  Hardware hardware;
  std::vector<Candidate> candidates;                         // that do, by precision
  std::optional<size_t> best;                                // the fastest of them
  std::string dropped;                                       // why none does, all reasons; ""
  std::vector<std::pair<std::string, std::string>> reasons;  // the same by precision that was tried ("" where none was)
  bool on_front = false;

  const Candidate* candidate() const { return best.has_value() ? &candidates[*best] : nullptr; }
};

struct AuditReport {
  std::vector<WeightedModel> models;  // weights sum to 1
  std::vector<std::string> notes;
  Coverage coverage;  // of all models together
  bool training = true;
  bool exact_scaling =
      true;  // false: some model's costs are not affine in the batch; its batches were analysed one by one
  double samples = 0;
  std::optional<double> deadline_seconds, budget_usd;
  bool front_by_cost = false;
  std::vector<AuditRow> rows;  // best first
  PredictionError memory_error;
};

// kInvalidArgument for empty lists; what the analysis of a model says otherwise.
absl::StatusOr<AuditReport> Audit(std::vector<WeightedModel> models, const std::vector<Hardware>& devices,
                                  const AuditOptions& options);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_AUDIT_H_
