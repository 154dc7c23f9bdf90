// A checkpoint plan as `reusescope plan` reports it, and the file through which --checkpoint takes it.

#ifndef REUSESCOPE_CLI_PLAN_H_
#define REUSESCOPE_CLI_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/plan/checkpoint_plan.h"

namespace reusescope::cli {

struct PlanRequest {
  std::string model;
  AnalysisOptions analysis;
  std::optional<Hardware> device;
  bool bare_peak = false;
  std::optional<int64_t> memory_bytes;  // else the device's
  bool largest_batch = false;           // plans for the largest that fits
  PlanOptions options;
};

// The largest batches that fit; 0: not even one sample.
struct LargestBatches {
  int64_t keep_all = 0;
  int64_t recomputed = 0;
};

struct PlanReport {
  std::string model;
  std::vector<std::string> notes;
  std::optional<std::string> device;  // its name; nullopt: work is counted in FLOPs
  PrecisionMode precision = PrecisionMode::kFp32;
  int64_t keep_all_bytes = 0;
  int64_t least_bytes = 0;
  CheckpointPlan plan;
  std::optional<LargestBatches> largest;
};

// kFailedPrecondition where nothing fits, or no memory is known; else what Planner says.
absl::StatusOr<PlanReport> MakePlan(const PlanRequest& request);

// What --checkpoint means: "@plan.json", the values that a plan (--format json) keeps, or CheckpointPolicyFromText.
absl::StatusOr<CheckpointPolicy> CheckpointFor(absl::string_view text);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_PLAN_H_
