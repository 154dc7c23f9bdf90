#include "cli/views/audit_view.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/text.h"
#include "cli/units.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

constexpr double kJoulesPerKilowattHour = 3.6e6;

// "12.3 ms" -> "12 ms": two digits are as many as the predictions bear.
std::string Rough(const std::string& formatted) {
  const size_t space = formatted.find(' ');
  char* end = nullptr;
  const double value = std::strtod(formatted.c_str(), &end);
  if (end == formatted.c_str()) return formatted;
  const std::string unit = space == std::string::npos ? "" : formatted.substr(space);
  if (std::fabs(value) >= 99.5) return absl::StrCat(fmt::format("{:.0f}", std::round(value / 10) * 10), unit);
  return absl::StrCat(fmt::format("{:.{}f}", value, std::fabs(value) >= 9.95 ? 0 : 1), unit);
}

std::string RoughSeconds(double seconds) { return Rough(FormatSeconds(seconds)); }
std::string RoughCount(double count) { return count > 0 && count < 0.05 ? "<0.1" : Rough(FormatCount(count)); }

std::string ModelsText(const AuditReport& report) {
  if (report.models.size() == 1) return Printable(report.models[0].path);
  return absl::StrJoin(report.models, ", ", [](std::string* out, const WeightedModel& model) {
    absl::StrAppend(out, Printable(model.path), " (", FormatPercent(model.weight), ")");
  });
}

Section WhatSection(const AuditReport& report) {
  Section section{.title = absl::StrCat("Audit of ", ModelsText(report))};
  Part part;
  part.facts = {{"work", absl::StrCat(report.training ? "training on " : "inference of ", FormatCount(report.samples),
                                      " samples")}};
  if (report.deadline_seconds.has_value()) part.facts.emplace_back("deadline", FormatSeconds(*report.deadline_seconds));
  if (report.budget_usd.has_value()) part.facts.emplace_back("budget", FormatRatio(*report.budget_usd) + " USD");
  part.facts.emplace_back("batch", report.exact_scaling
                                       ? "the largest that fits each device, exact by the memory model"
                                       : "the largest that fits each device, found by analysing batch after batch");
  section.parts.push_back(std::move(part));
  std::set<std::string> notes(report.notes.begin(), report.notes.end());
  for (const std::string& note : notes) {
    section.parts.push_back({.text = absl::StrCat("note: ", Printable(note)), .style = Style::kWarning});
  }
  if (!report.coverage.unknown_operators.empty()) {
    section.parts.push_back(
        {.text = absl::StrCat("note: ", report.coverage.nodes - report.coverage.known_nodes, " of ",
                              report.coverage.nodes, " nodes have no rule: their arithmetic is missing"),
         .style = Style::kWarning});
  }
  return section;
}

std::string BatchText(const Candidate& candidate) {
  return absl::StrJoin(candidate.runs, "/",
                       [](std::string* out, const ModelRun& run) { absl::StrAppend(out, FormatExact(run.batch)); });
}

std::string DevicesText(const Candidate& candidate) {
  if (candidate.zero_stage == 0) return FormatExact(candidate.devices);
  return absl::StrCat(FormatExact(candidate.devices), " ZeRO-", candidate.zero_stage);
}

std::string EnergyText(const Candidate& candidate) {
  if (!candidate.energy_joules.has_value()) return std::string(kNotApplicable);
  const std::string count = RoughCount(1000 * *candidate.energy_joules / kJoulesPerKilowattHour);
  return absl::StrCat(count, absl::StrContains(count, ' ') ? "" : " ", "Wh");
}

std::string CostText(const Candidate& candidate) {
  return candidate.cost_usd.has_value() ? RoughCount(*candidate.cost_usd) : std::string(kNotApplicable);
}

Section RankingSection(const AuditReport& report, int top) {
  Section section{.title = "Devices, best first"};
  Part part{.columns = {{.header = ""},
                        {.header = "device", .flexible = true},
                        {.header = "precision"},
                        {.header = "devices", .align = Align::kRight},
                        {.header = "batch", .align = Align::kRight},
                        {.header = "peak", .align = Align::kNumber, .drop = 3},
                        {.header = "step", .align = Align::kNumber, .drop = 4},
                        {.header = "samples/s", .align = Align::kNumber},
                        {.header = "mem-bound", .align = Align::kRight, .drop = 2},
                        {.header = "time", .align = Align::kNumber},
                        {.header = "energy", .align = Align::kNumber, .drop = 1}}};
  if (report.front_by_cost) part.columns.push_back({.header = "USD", .align = Align::kNumber});
  int shown = 0, left = 0;
  for (const AuditRow& row : report.rows) {
    const Candidate* candidate = row.candidate();
    if (candidate == nullptr) continue;
    if (shown++ >= top) {
      ++left;
      continue;
    }
    int64_t peak = 0;
    for (const ModelRun& run : candidate->runs) peak = std::max(peak, run.peak_bytes);
    std::vector<Cell> cells = {Cell(row.on_front ? "*" : "", Style::kGood),
                               Cell(Printable(row.hardware.name), Style::kHeading),
                               std::string(PrecisionName(candidate->precision)),
                               DevicesText(*candidate),
                               BatchText(*candidate),
                               FormatBytes(peak),
                               RoughSeconds(candidate->runs[0].scale_out.step_seconds),
                               RoughCount(candidate->samples_per_second()),
                               Rough(FormatPercent(candidate->memory_bound_share)),
                               RoughSeconds(candidate->seconds),
                               EnergyText(*candidate)};
    if (report.front_by_cost) cells.emplace_back(CostText(*candidate));
    part.rows.push_back(std::move(cells));
  }
  section.parts.push_back(std::move(part));
  const std::string axes = report.front_by_cost ? "cost and time" : "energy and time";
  section.parts.push_back(
      {.text = absl::StrCat("* Pareto front of ", axes, ". Each device in its fastest precision", left > 0 ? "; " : "",
                            left > 0 ? absl::StrCat(left, " more with --top") : "",
                            ". Energy takes the devices at their rated power throughout: an upper bound."),
       .style = Style::kQuiet});
  return section;
}

std::string ElasticityText(const std::optional<double>& change) {
  if (!change.has_value()) return std::string(kNotApplicable);
  if (std::fabs(*change) < 0.0005) return "0 %";
  return fmt::format("{:+.1f} %", 100 * *change);
}

Section HelpSection(const AuditReport& report, int top) {
  Section section{.title = "What would help: time of a sample with 10 % more"};
  Part part{.columns = {{.header = "device", .flexible = true},
                        {.header = "compute", .align = Align::kRight},
                        {.header = "bandwidth", .align = Align::kRight},
                        {.header = "on-chip memory", .align = Align::kRight},
                        {.header = "memory", .align = Align::kRight}}};
  for (const AuditRow& row : report.rows) {
    if (row.candidate() == nullptr || static_cast<int>(part.rows.size()) >= top) break;
    const Elasticity& elasticity = row.candidate()->elasticity;
    part.rows.push_back({Cell(Printable(row.hardware.name), Style::kHeading), ElasticityText(elasticity.compute),
                         ElasticityText(elasticity.bandwidth), ElasticityText(elasticity.on_chip),
                         ElasticityText(elasticity.memory)});
  }
  if (part.rows.empty()) return section;
  section.parts.push_back(std::move(part));
  section.parts.push_back({.text = "On-chip memory as a cache (LRU) sees it; memory by the larger batch that it takes.",
                           .style = Style::kQuiet});
  return section;
}

Section DroppedSection(const AuditReport& report) {
  Section section{.title = "Fallen out"};
  Part part{.columns = {{.header = "device"}, {.header = "precision"}, {.header = "why", .flexible = true}}};
  for (const AuditRow& row : report.rows) {
    std::string device = Printable(row.hardware.name);
    for (const auto& [precision, why] : row.reasons) {
      part.rows.push_back(
          {std::exchange(device, ""), precision.empty() ? std::string(kNotApplicable) : precision, why});
    }
  }
  if (!part.rows.empty()) section.parts.push_back(std::move(part));
  return section;
}

// What several devices are taken to do; nothing where every device is alone.
Section ScaleOutSection(const AuditReport& report) {
  Section section{.title = "Several devices"};
  const bool any = std::any_of(report.rows.begin(), report.rows.end(), [](const AuditRow& row) {
    return row.candidate() != nullptr && row.candidate()->devices > 1;
  });
  if (!any) return section;
  section.parts.push_back(
      {.text = report.training
                   ? absl::StrCat("Data parallel, as many as fit and meet the deadline. Gradients are summed by a ring "
                                  "over the device's own link, in buckets of ",
                                  FormatBytes(kGradientBucketBytes),
                                  " while backward goes on; ZeRO stages as far as memory asks for them. The latency of "
                                  "the link and of hops between machines is not counted.")
                   : "Side by side, each with its own samples: nothing is exchanged."});
  return section;
}

Section TrustSection(const AuditReport& report) {
  Section section{.title = "How far to trust it"};
  std::set<PrecisionMode> precisions;
  for (const AuditRow& row : report.rows) {
    if (row.candidate() != nullptr) precisions.insert(row.candidate()->precision);
  }
  for (PrecisionMode precision : precisions) {
    const PredictionError error = StepTimeError(report.training, precision);
    section.parts.push_back(
        {.text = fmt::format("{}: of {} measured runs the predictions were off by {:.0f} % on average, nearly always "
                             "too short; eight in ten took {:.1f} to {:.1f} times the predicted time.",
                             std::string(PrecisionName(precision)), error.rows, 100 * error.mean_error, error.low_ratio,
                             error.high_ratio)});
  }
  section.parts.push_back(
      {.text = fmt::format("Peak memory: off by {:.0f} % on average over {} runs, always too low; a batch at the very "
                           "limit will not fit a real allocator. Compare devices rather than hours.",
                           100 * report.memory_error.mean_error, report.memory_error.rows)});
  return section;
}

}  // namespace

std::vector<Section> AuditSections(const AuditReport& report, int top) {
  std::vector<Section> sections = {WhatSection(report),    RankingSection(report, top), HelpSection(report, top),
                                   DroppedSection(report), ScaleOutSection(report),     TrustSection(report)};
  sections.erase(std::remove_if(sections.begin(), sections.end(), [](const Section& s) { return s.parts.empty(); }),
                 sections.end());
  return sections;
}

}  // namespace reusescope::cli
