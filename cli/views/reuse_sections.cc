#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/text.h"
#include "cli/units.h"
#include "cli/views/sections.h"

namespace reusescope::cli {
namespace {

constexpr int64_t kFirstCapacityShown = int64_t{1} << 20;

double Share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

Part ScopesPart(const Report& report) {
  Part part{.columns = {{.header = "scope"},
                        {.header = "edges", .align = Align::kRight},
                        {.header = "fetched again", .align = Align::kNumber},
                        {.header = "could save", .align = Align::kNumber},
                        {.header = "of the step", .align = Align::kRight, .drop = 1},
                        {.header = "half from", .align = Align::kNumber},
                        {.header = "all from", .align = Align::kNumber}}};
  for (const ScopeRow& row : report.scopes) {
    const bool intra = row.scope == ReuseScope::kIntraLayer;
    const bool none = intra || row.edges == 0;
    if (row.edges == 0 && report.settings.mode != "training") continue;
    const std::string dash(kNotApplicable);
    part.rows.push_back({std::string(ReuseScopeName(row.scope)), FormatExact(row.edges), FormatBytes(row.bytes),
                         FormatBytes(row.saved_bytes),
                         none ? dash : FormatPercent(Share(row.saved_bytes, report.step.bytes)),
                         none ? dash : FormatBytes(row.capacity_to_capture_half_bytes),
                         none ? dash : FormatBytes(row.capacity_to_capture_bytes)});
  }
  return part;
}

bool IsPowerOfFour(int64_t value) {
  while (value > 1 && value % 4 == 0) value /= 4;
  return value == 1;
}

Part CurvePart(const Report& report) {
  Part part{.columns = {{.header = "on chip", .align = Align::kNumber},
                        {.header = "LRU traffic", .align = Align::kNumber},
                        {.header = "saved", .align = Align::kRight},
                        {.header = "managed traffic", .align = Align::kNumber},
                        {.header = "saved", .align = Align::kRight},
                        {.header = "", .flexible = true}}};
  for (size_t i = 0; i < report.curve.size(); ++i) {
    const CurveRow& row = report.curve[i];
    const bool last = i + 1 == report.curve.size();
    const bool rung = row.capacity_bytes >= kFirstCapacityShown && IsPowerOfFour(row.capacity_bytes);
    if (!rung && !last && !row.asked && row.devices.empty()) continue;
    std::string note = Printable(absl::StrJoin(row.devices, ", "));
    if (last && note.empty()) note = "nothing more to save";
    part.rows.push_back({FormatBytes(row.capacity_bytes), FormatBytes(row.lru_bytes),
                         FormatPercent(1 - Share(row.lru_bytes, report.step.bytes)), FormatBytes(row.managed_bytes),
                         FormatPercent(1 - Share(row.managed_bytes, report.step.bytes)), Cell(note, Style::kHeading)});
  }
  return part;
}

std::vector<Cell> PolicyRow(const std::string& device, const std::string& policy, const StepTime& step) {
  return {
      Cell(device, Style::kHeading),
      policy,
      FormatBytes(step.traffic_bytes),
      FormatSeconds(step.step_seconds),
      FormatRatio(step.samples_per_second),
      Cell(FormatPercent(step.memory_bound_share), step.memory_bound_share >= 0.5 ? Style::kMemory : Style::kCompute),
      FormatRate(step.average_bandwidth_bytes_per_second, "B"),
      FormatPercent(step.compute_utilization)};
}

// With transfers ahead of use no kernel is bound by itself: the step stalls or it does not.
std::vector<Cell> PrefetchRow(const Report& report, const DeviceSection& device) {
  const PrefetchTimes& times = device.roofline.prefetch;
  const int64_t traffic = device.roofline.Under(TrafficModel::kManaged).traffic_bytes;
  const double step = times.step_seconds;
  return {"",
          "  and prefetched",
          FormatBytes(traffic),
          FormatSeconds(step),
          FormatRatio(step > 0 ? static_cast<double>(report.settings.batch) / step : 0),
          std::string(kNotApplicable),
          FormatRate(step > 0 ? static_cast<double>(traffic) / step : 0, "B"),
          FormatPercent(step > 0 ? times.compute_seconds / step : 0)};
}

Part PoliciesPart(const Report& report) {
  Part part{.columns = {{.header = "device", .flexible = true},
                        {.header = "on-chip memory holds"},
                        {.header = "traffic", .align = Align::kNumber},
                        {.header = "time", .align = Align::kNumber},
                        {.header = "samples/s", .align = Align::kRight},
                        {.header = "mem-bound", .align = Align::kRight},
                        {.header = "bandwidth", .align = Align::kNumber, .drop = 1},
                        {.header = "compute busy", .align = Align::kRight, .drop = 2}}};
  for (const DeviceSection& device : report.devices) {
    const Roofline& roofline = device.roofline;
    if (!part.rows.empty()) part.rows.emplace_back();
    part.rows.push_back(PolicyRow(Printable(device.hardware.name), "nothing between kernels",
                                  roofline.Under(TrafficModel::kEveryKernelFetches)));
    part.rows.push_back(PolicyRow("", "what was used last (LRU)", roofline.Under(TrafficModel::kLru)));
    part.rows.push_back(PolicyRow("", "what pays most (managed)", roofline.Under(TrafficModel::kManaged)));
    part.rows.push_back(PrefetchRow(report, device));
  }
  return part;
}

}  // namespace

Section ReuseSection(const Report& report) {
  Section section{.title = "Reuse across kernels"};
  section.parts.push_back(ScopesPart(report));
  section.parts.push_back(
      {.text =
           "Could save: fetches and write-backs, if everything of the scope were kept on chip; half and all of it take "
           "these capacities under LRU. Intra-layer is what kernels without any reuse would fetch beyond their bytes.",
       .style = Style::kQuiet});
  section.parts.push_back(CurvePart(report));
  if (!report.devices.empty()) section.parts.push_back(PoliciesPart(report));
  return section;
}

}  // namespace reusescope::cli
