#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/text.h"
#include "cli/units.h"
#include "cli/views/sections.h"

namespace reusescope::cli {
namespace {

constexpr size_t kGroupsShown = 16;

// A device's columns of a table of work: its time, its share of the step (one device only), its memory-bound share.
void AddTimeColumns(const Report& report, std::vector<Column>& columns, bool with_share) {
  const bool single = report.devices.size() == 1;
  for (size_t d = 0; d < report.devices.size(); ++d) {
    columns.push_back({.header = DeviceColumnName(report, d), .align = Align::kNumber});
    if (single && with_share) {
      columns.push_back({.header = "share", .align = Align::kRight});
      columns.push_back({.header = "", .drop = 9, .decoration = true});
    }
    columns.push_back({.header = "mem-bound", .align = Align::kRight});
  }
}

void AddTimeCells(const Report& report, const Work& work, std::vector<Cell>& cells, bool with_share) {
  for (size_t d = 0; d < report.devices.size(); ++d) {
    cells.emplace_back(FormatSeconds(work.seconds[d]));
    if (report.devices.size() == 1 && with_share) {
      const double share = report.step.seconds[0] > 0 ? work.seconds[0] / report.step.seconds[0] : 0;
      cells.emplace_back(FormatPercent(share));
      cells.emplace_back(ShareBar(share), Style::kQuiet);
    }
    cells.push_back(MemoryBoundCell(work.memory_bound_seconds[d], work.seconds[d]));
  }
}

std::vector<Cell> PhaseRow(const Report& report, const std::string& name, const Work& work) {
  std::vector<Cell> cells = {name,
                             FormatExact(work.kernels),
                             CountCell(work.macs),
                             CountCell(work.flops),
                             CountCell(work.transcendentals),
                             FormatBytes(work.bytes),
                             FormatRatio(work.intensity())};
  AddTimeCells(report, work, cells, false);
  return cells;
}

// "encoder.layer.0.attn .. encoder.layer.11.attn" -> "encoder.layer.{0..11}.attn".
std::string CompactRange(const std::string& name) {
  const size_t dots = name.find(" .. ");
  if (dots == std::string::npos) return name;
  const std::string first = name.substr(0, dots);
  const std::string last = name.substr(dots + 4);
  const size_t shorter = std::min(first.size(), last.size());
  size_t prefix = 0;
  while (prefix < shorter && first[prefix] == last[prefix]) ++prefix;
  while (prefix > 0 && absl::ascii_isdigit(first[prefix - 1])) --prefix;
  size_t suffix = 0;
  while (suffix < shorter - prefix && first[first.size() - 1 - suffix] == last[last.size() - 1 - suffix]) ++suffix;
  while (suffix > 0 && absl::ascii_isdigit(first[first.size() - suffix])) --suffix;
  return absl::StrCat(first.substr(0, prefix), "{", first.substr(prefix, first.size() - prefix - suffix), "..",
                      last.substr(prefix, last.size() - prefix - suffix), "}", first.substr(first.size() - suffix));
}

std::vector<Cell> GroupCells(const Report& report, const GroupRow& group) {
  const std::string range = CompactRange(Printable(group.name));
  const std::string name = group.count > 1 ? absl::StrCat(range, " × ", group.count) : range;
  std::vector<Cell> cells = {Cell(name, group.kind.empty() ? Style::kPlain : Style::kHeading),
                             group.kind.empty() ? std::string(kNotApplicable) : group.kind,
                             FormatExact(group.work.kernels),
                             CountCell(group.work.flops),
                             FormatBytes(group.work.bytes),
                             FormatRatio(group.work.intensity())};
  AddTimeCells(report, group.work, cells, true);
  return cells;
}

double Weight(const Work& work) { return work.seconds.empty() ? static_cast<double>(work.bytes) : work.seconds[0]; }

// At most kGroupsShown rows: the heaviest in the model's order, the rest folded into one.
std::vector<GroupRow> HeaviestGroups(const Report& report) {
  if (report.groups.size() <= kGroupsShown) return report.groups;
  std::vector<double> weights;
  for (const GroupRow& group : report.groups) weights.push_back(Weight(group.work));
  std::sort(weights.rbegin(), weights.rend());
  const double threshold = weights[kGroupsShown - 2];
  std::vector<GroupRow> shown;
  GroupRow others;
  for (const GroupRow& group : report.groups) {
    if (Weight(group.work) >= threshold && shown.size() + 1 < kGroupsShown) {
      shown.push_back(group);
    } else {
      others.work.Add(group.work);
      ++others.count;
    }
  }
  others.name = FormatPlural(others.count - 1, "other row");
  others.count = 1;
  shown.push_back(std::move(others));
  return shown;
}

// "reusescope::ConvGradInput-1" -> "ConvGradInput".
std::string ShortOp(absl::string_view op) {
  const size_t domain = op.rfind("::");
  if (domain != absl::string_view::npos) op.remove_prefix(domain + 2);
  return Printable(op.substr(0, op.rfind('-')));
}

Part GroupsPart(const Report& report) {
  Part part{.columns = {{.header = "part", .flexible = true},
                        {.header = "block"},
                        {.header = "kernels", .align = Align::kRight, .drop = 3},
                        {.header = "FLOPs", .align = Align::kNumber},
                        {.header = "bytes", .align = Align::kNumber, .drop = 1},
                        {.header = "FLOP/B", .align = Align::kRight, .drop = 2}}};
  AddTimeColumns(report, part.columns, true);
  for (const GroupRow& group : HeaviestGroups(report)) part.rows.push_back(GroupCells(report, group));
  return part;
}

Part LayersPart(const Report& report, int top) {
  Part part{.columns = {{.header = "layer", .flexible = true},
                        {.header = "kernel", .flexible = true},
                        {.header = "phase"},
                        {.header = "FLOPs", .align = Align::kNumber, .drop = 1},
                        {.header = "bytes", .align = Align::kNumber, .drop = 2},
                        {.header = "FLOP/B", .align = Align::kRight, .drop = 3}}};
  for (size_t d = 0; d < report.devices.size(); ++d) {
    part.columns.push_back({.header = DeviceColumnName(report, d), .align = Align::kNumber});
    part.columns.push_back({.header = "bound"});
  }
  for (int index : TopLayers(report, top)) {
    const LayerRow& layer = report.layers[index];
    std::vector<Cell> cells = {Printable(layer.label),
                               absl::StrCat(ShortOp(layer.op), layer.gradient.empty() ? "" : " ", layer.gradient),
                               PhaseCell(layer.phase),
                               layer.known ? CountCell(layer.work.flops) : "unknown",
                               FormatBytes(layer.work.bytes),
                               FormatRatio(layer.work.intensity())};
    for (const LayerTime& time : layer.times) {
      cells.emplace_back(FormatSeconds(time.seconds));
      cells.emplace_back(std::string(BoundName(time.bound)),
                         time.bound == Bound::kMemory ? Style::kMemory : Style::kCompute);
    }
    part.rows.push_back(std::move(cells));
  }
  return part;
}

}  // namespace

Section StepSection(const Report& report) {
  Section section{.title = "The step"};
  Part part{.columns = {{.header = "phase"},
                        {.header = "kernels", .align = Align::kRight, .drop = 2},
                        {.header = "MACs", .align = Align::kNumber, .drop = 3},
                        {.header = "FLOPs", .align = Align::kNumber},
                        {.header = "transc.", .align = Align::kNumber, .drop = 4},
                        {.header = "bytes", .align = Align::kNumber},
                        {.header = "FLOP/B", .align = Align::kRight, .drop = 1}}};
  AddTimeColumns(report, part.columns, false);
  for (int p = 0; p < kNumPhases; ++p) {
    if (report.phases[p].kernels == 0) continue;
    part.rows.push_back(PhaseRow(report, PhaseCell(static_cast<Phase>(p)), report.phases[p]));
  }
  part.rows.emplace_back();
  part.rows.push_back(PhaseRow(report, report.optimizer_step ? "last micro-batch" : "step", report.step));
  if (report.optimizer_step.has_value()) {
    const std::string name = absl::StrCat(report.settings.gradients.accumulate, " micro-batches");
    part.rows.push_back(PhaseRow(report, name, *report.optimizer_step));
  }
  section.parts.push_back(std::move(part));
  return section;
}

Section TimeSection(const Report& report, const ViewOptions& options) {
  Section section{.title = report.devices.empty() ? "Where the work is" : "Where the time goes"};
  section.parts.push_back(GroupsPart(report));
  if (options.top > 0) section.parts.push_back(LayersPart(report, options.top));
  return section;
}

std::string CountCell(int64_t count) {
  return count == 0 ? std::string(kNotApplicable) : FormatCount(static_cast<double>(count));
}

std::string PhaseCell(Phase phase) { return std::string(PhaseName(phase)); }

Cell MemoryBoundCell(double memory_bound_seconds, double seconds) {
  if (seconds <= 0) return Cell(std::string(kNotApplicable));
  const double share = memory_bound_seconds / seconds;
  return Cell(FormatPercent(share), share >= 0.5 ? Style::kMemory : Style::kCompute);
}

std::string ShareBar(double share) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * 80));
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  return bar + kEighths[eighths % 8];
}

std::string DeviceColumnName(const Report& report, size_t device) {
  return report.devices.size() == 1 ? "time" : Printable(report.devices[device].hardware.name);
}

}  // namespace reusescope::cli
