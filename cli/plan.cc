#include "cli/plan.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "analysis/ir/status_util.h"
#include "cli/text.h"
#include "importer/load_model.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

absl::StatusOr<int64_t> MemoryOf(const PlanRequest& request, const std::optional<RooflineDevice>& device) {
  if (request.memory_bytes.has_value()) return *request.memory_bytes;
  if (device.has_value() && device->memory_bytes.has_value()) return *device->memory_bytes;
  return absl::FailedPreconditionError("no memory to fit is known: give --memory 24GiB, or a --hardware that has one");
}

absl::StatusOr<LargestBatches> FindLargest(const PlanRequest& request, const ModelLoader& load, int64_t memory_bytes) {
  RS_ASSIGN_OR_RETURN(StepAtBatch step, StepAtBatch::Make(load, request.analysis, memory_bytes));
  if (step.fixed_batch().has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(request.model, ": its inputs fix the batch at ",
                                                      *step.fixed_batch(),
                                                      ", expected a symbolic leading dimension "
                                                      "for --batch=auto; give --batch instead"));
  }
  LargestBatches largest;
  RS_ASSIGN_OR_RETURN(largest.keep_all, step.LargestBatch(request.analysis.precision, memory_bytes));
  RS_ASSIGN_OR_RETURN(largest.recomputed, LargestPlannedBatch(load, request.analysis, memory_bytes, largest.keep_all));
  return largest;
}

}  // namespace

absl::StatusOr<PlanReport> MakePlan(const PlanRequest& request) {
  std::optional<RooflineDevice> device;
  if (request.device.has_value()) {
    RS_ASSIGN_OR_RETURN(device, RatesOf(*request.device, request.analysis.precision, {.bare_peak = request.bare_peak}));
  }
  RS_ASSIGN_OR_RETURN(const int64_t memory_bytes, MemoryOf(request, device));
  const ModelLoader load = [model = request.model] { return LoadModel(model); };
  PlanReport report{.model = request.model, .precision = request.analysis.precision};
  if (device.has_value()) report.device = device->name;
  AnalysisOptions analysis = request.analysis;
  if (request.largest_batch) {
    RS_ASSIGN_OR_RETURN(report.largest, FindLargest(request, load, memory_bytes));
    // Where no batch fits, the planner says what one sample takes.
    analysis.shapes.batch = std::max<int64_t>(1, report.largest->recomputed);
  }
  RS_ASSIGN_OR_RETURN(const Planner planner, Planner::Make(load, analysis, device));
  RS_ASSIGN_OR_RETURN(report.plan, planner.Plan(memory_bytes, request.options));
  report.notes = planner.step().notes;
  report.keep_all_bytes = planner.keep_all_bytes();
  report.least_bytes = planner.least_bytes();
  return report;
}

absl::StatusOr<CheckpointPolicy> CheckpointFor(absl::string_view text) {
  absl::string_view path = text;
  if (!absl::ConsumePrefix(&path, "@")) return CheckpointPolicyFromText(text);
  std::ifstream file{std::string(path)};
  if (!file) return absl::NotFoundError(absl::StrCat("no plan '", Printable(path), "': the file cannot be read"));
  const auto document = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const bool is_plan = document.is_object() && document.value("schema", nlohmann::json()) == "reusescope.plan/1" &&
                       document.value("keep", nlohmann::json()).is_array();
  CheckpointPolicy policy{.kind = CheckpointPolicy::Kind::kValues};
  for (const auto& name : is_plan ? document["keep"] : nlohmann::json::array()) {
    if (name.is_string()) policy.values.push_back(name.get<std::string>());
  }
  if (is_plan && policy.values.size() == document["keep"].size()) return policy;
  return absl::InvalidArgumentError(absl::StrCat("'", Printable(path),
                                                 "' is no plan, expected what 'reusescope plan "
                                                 "--format json -o plan.json' writes"));
}

}  // namespace reusescope::cli
