// The contract of audit --format json: keys and types are those of cli/audit.schema.json.

#include <string>

#include "cli/views/audit_view.h"
#include "cli/views/json_values.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;

Json RunJson(const ModelRun& run) {
  return {{"batch", run.batch},
          {"largest_batch", run.largest_batch},
          {"peak_bytes", run.peak_bytes},
          {"step_seconds", run.scale_out.step_seconds},
          {"step_seconds_of_one", run.step.step_seconds},
          {"memory_bound_share", run.step.memory_bound_share},
          {"communication_seconds", run.scale_out.communication_seconds},
          {"exposed_communication_seconds", run.scale_out.exposed_seconds}};
}

Json ErrorJson(const PredictionError& error) {
  return {{"measured_runs", error.rows},
          {"mean_error", error.mean_error},
          {"measured_over_predicted", {error.low_ratio, error.median_ratio, error.high_ratio}}};
}

Json CandidateJson(const AuditReport& report, const Candidate& candidate, bool best) {
  Json runs = Json::array();
  for (const ModelRun& run : candidate.runs) runs.push_back(RunJson(run));
  Json elasticity;
  if (best) {
    elasticity = {{"compute", candidate.elasticity.compute},
                  {"bandwidth", candidate.elasticity.bandwidth},
                  {"on_chip", OrNull(candidate.elasticity.on_chip)},
                  {"memory", OrNull(candidate.elasticity.memory)}};
  }
  return {{"precision", std::string(PrecisionName(candidate.precision))},
          {"devices", candidate.devices},
          {"zero_stage", candidate.zero_stage},
          {"samples_per_second", candidate.samples_per_second()},
          {"memory_bound_share", candidate.memory_bound_share},
          {"seconds", candidate.seconds},
          {"energy_joules", OrNull(candidate.energy_joules)},
          {"cost_usd", OrNull(candidate.cost_usd)},
          {"runs", runs},
          {"elasticity", elasticity},
          {"prediction_error", ErrorJson(StepTimeError(report.training, candidate.precision))},
          {"notes", candidate.notes}};
}

Json RowJson(const AuditReport& report, const AuditRow& row) {
  Json candidates = Json::array();
  for (size_t c = 0; c < row.candidates.size(); ++c) {
    candidates.push_back(CandidateJson(report, row.candidates[c], row.best == c));
  }
  return {{"device", row.hardware.name},
          {"display_name", row.hardware.display_name},
          {"fits", row.candidate() != nullptr},
          {"pareto_front", row.on_front},
          {"best", OrNull(row.best)},
          {"candidates", candidates},
          {"dropped", row.dropped.empty() ? Json() : Json(row.dropped)}};
}

}  // namespace

std::string RenderAuditJson(const AuditReport& report) {
  Json models = Json::array();
  for (const WeightedModel& model : report.models) models.push_back({{"file", model.path}, {"weight", model.weight}});
  Json rows = Json::array();
  for (const AuditRow& row : report.rows) rows.push_back(RowJson(report, row));
  const Json document = {{"schema", "reusescope.audit/1"},
                         {"models", models},
                         {"mode", report.training ? "training" : "inference"},
                         {"notes", report.notes},
                         {"coverage", {{"nodes", report.coverage.nodes}, {"known_nodes", report.coverage.known_nodes}}},
                         {"samples", report.samples},
                         {"deadline_seconds", OrNull(report.deadline_seconds)},
                         {"budget_usd", OrNull(report.budget_usd)},
                         {"batches_by_formula", report.exact_scaling},
                         {"front", report.front_by_cost ? "cost, time" : "energy, time"},
                         {"memory_error", ErrorJson(report.memory_error)},
                         {"devices", rows}};
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace reusescope::cli
