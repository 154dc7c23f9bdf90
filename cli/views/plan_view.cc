#include "cli/views/plan_view.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "cli/text.h"
#include "cli/units.h"
#include "cli/views/json_values.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;
using State = ProgramPlan::State;

std::string WorkCell(const PlanReport& report, double work) {
  return report.device.has_value() ? FormatSeconds(work) : FormatCount(work, "FLOPs");
}

double Share(const PlanReport& report, double added) { return report.plan.step > 0 ? added / report.plan.step : 0; }

std::string StateText(const ProgramPlan& program) {
  switch (program.state) {
    case State::kOptimal:
      return "no choice of values adds less";
    case State::kStopped:
      return absl::StrCat("stopped at its time limit; the best choice may add ", FormatPercent(program.gap()),
                          " less (--time-limit)");
    case State::kInfeasible:
      return "no choice of values fits";
    case State::kTooLarge:
      return absl::StrCat("left out: its ", FormatExact(program.variables), " variables are too many");
  }
  return "";
}

Section FactsSection(const PlanReport& report) {
  const CheckpointPlan& plan = report.plan;
  Section section{.title = absl::StrCat("Checkpoint plan for ", Printable(report.model))};
  Part part;
  part.facts = {{"step", absl::StrCat("batch ", plan.batch, ", ", PrecisionName(report.precision), ", ",
                                      WorkCell(report, plan.step),
                                      report.device.has_value() ? " on " + Printable(*report.device) : "")},
                {"memory", FormatBytes(plan.memory_bytes)},
                {"keeping all", FormatBytes(report.keep_all_bytes)},
                {"least", FormatBytes(report.least_bytes)}};
  if (report.largest.has_value()) {
    part.facts.emplace_back("largest batch", absl::StrCat(FormatExact(report.largest->keep_all), " keeping all, ",
                                                          FormatExact(report.largest->recomputed), " with a plan"));
  }
  if (plan.program.has_value()) part.facts.emplace_back("program", StateText(*plan.program));
  section.parts.push_back(std::move(part));
  for (const std::string& note : report.notes) {
    section.parts.push_back({.text = absl::StrCat("note: ", Printable(note)), .style = Style::kWarning});
  }
  return section;
}

Section MethodsSection(const PlanReport& report) {
  Section section{.title = "Ways to fit"};
  Part part{.columns = {{.header = "keep"},
                        {.header = "peak", .align = Align::kNumber},
                        {.header = "fits"},
                        {.header = "added", .align = Align::kNumber},
                        {.header = "of the step", .align = Align::kRight},
                        {.header = "kernels again", .align = Align::kRight, .drop = 2},
                        {.header = "values kept", .align = Align::kRight, .drop = 1},
                        {.header = ""}}};
  for (size_t i = 0; i < report.plan.methods.size(); ++i) {
    const PlannedStep& method = report.plan.methods[i];
    part.rows.push_back({std::string(PlanMethodName(method.method)), FormatBytes(method.peak_bytes),
                         Cell(method.fits ? "yes" : "no", method.fits ? Style::kGood : Style::kBad),
                         WorkCell(report, method.added), FormatPercent(Share(report, method.added)),
                         FormatExact(method.recomputed_kernels), FormatExact(static_cast<int64_t>(method.keep.size())),
                         Cell(i == report.plan.best ? "the plan" : "", Style::kGood)});
  }
  section.parts.push_back(std::move(part));
  return section;
}

// What is added for each GiB less than keeping everything takes.
double AddedPerGibibyte(const PlanReport& report, const TradePoint& point) {
  const double saved = static_cast<double>(report.keep_all_bytes - point.peak_bytes) / std::exp2(30);
  return saved > 0 ? point.added / saved : 0;
}

Section TradeSection(const PlanReport& report) {
  Section section{.title = "What memory costs in time"};
  Part part{.columns = {{.header = "peak", .align = Align::kNumber},
                        {.header = "saves", .align = Align::kNumber},
                        {.header = "added", .align = Align::kNumber},
                        {.header = "of the step", .align = Align::kRight},
                        {.header = "per GiB saved", .align = Align::kNumber}}};
  for (const TradePoint& point : report.plan.trade) {
    part.rows.push_back({FormatBytes(point.peak_bytes), FormatBytes(report.keep_all_bytes - point.peak_bytes),
                         WorkCell(report, point.added), FormatPercent(Share(report, point.added)),
                         WorkCell(report, AddedPerGibibyte(report, point))});
  }
  section.parts.push_back(std::move(part));
  section.parts.push_back({.text =
                               "By segments, filled up with what costs most per byte. The plan goes on with --format "
                               "json -o plan.json, then --checkpoint=@plan.json in analyze and differentiate.",
                           .style = Style::kQuiet});
  return section;
}

// Seconds with a device, FLOPs without: the other one is null.
void AddWork(Json& json, const PlanReport& report, const std::string& name, double work) {
  json[name + "_seconds"] = report.device.has_value() ? Json(work) : Json();
  json[name + "_flops"] = report.device.has_value() ? Json() : Json(work);
}

Json MethodJson(const PlanReport& report, const PlannedStep& method) {
  Json json = {
      {"method", std::string(PlanMethodName(method.method))}, {"fits", method.fits}, {"peak_bytes", method.peak_bytes}};
  AddWork(json, report, "added", method.added);
  json["recomputed_kernels"] = method.recomputed_kernels;
  json["kept_values"] = method.keep.size();
  return json;
}

Json ProgramJson(const PlanReport& report) {
  if (!report.plan.program.has_value()) return Json();
  const ProgramPlan& program = *report.plan.program;
  constexpr const char* kStates[] = {"optimal", "stopped", "infeasible", "too large"};
  const bool solved = program.state == State::kOptimal || program.state == State::kStopped;
  Json json = {{"state", kStates[static_cast<size_t>(program.state)]},
               {"gap", solved ? Json(program.gap()) : Json()},
               {"variables", program.variables},
               {"solve_seconds", program.solve_seconds}};
  AddWork(json, report, "bound", program.bound_seconds);
  return json;
}

}  // namespace

std::vector<Section> PlanSections(const PlanReport& report) {
  std::vector<Section> sections = {FactsSection(report), MethodsSection(report)};
  if (report.plan.trade.size() > 1) sections.push_back(TradeSection(report));
  return sections;
}

std::string RenderPlanJson(const PlanReport& report) {
  const CheckpointPlan& plan = report.plan;
  Json json = {{"schema", "reusescope.plan/1"},
               {"model", report.model},
               {"notes", report.notes},
               {"device", OrNull(report.device)},
               {"batch", plan.batch},
               {"precision", std::string(PrecisionName(report.precision))},
               {"memory_bytes", plan.memory_bytes},
               {"keep_all_bytes", report.keep_all_bytes},
               {"least_bytes", report.least_bytes}};
  AddWork(json, report, "step", plan.step);
  json["largest_batch"] = report.largest.has_value()
                              ? Json{{"keep_all", report.largest->keep_all}, {"planned", report.largest->recomputed}}
                              : Json();
  json["methods"] = Json::array();
  for (const PlannedStep& method : plan.methods) json["methods"].push_back(MethodJson(report, method));
  json["program"] = ProgramJson(report);
  json["plan"] = std::string(PlanMethodName(plan.Best().method));
  json["peak_bytes"] = plan.Best().peak_bytes;
  AddWork(json, report, "added", plan.Best().added);
  json["keep"] = plan.Best().keep;
  json["trade"] = Json::array();
  for (const TradePoint& point : plan.trade) {
    Json entry = {{"peak_bytes", point.peak_bytes}};
    AddWork(entry, report, "added", point.added);
    AddWork(entry, report, "added_per_gib", AddedPerGibibyte(report, point));
    json["trade"].push_back(std::move(entry));
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace reusescope::cli
