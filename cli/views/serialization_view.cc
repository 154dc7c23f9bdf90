#include "cli/views/serialization_view.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "cli/text.h"
#include "cli/units.h"

namespace reusescope::cli {
namespace {

Section FactsSection(const SerializationReport& report) {
  Section section{.title = absl::StrCat("Mini-batch serialization of ", Printable(report.model))};
  Part part;
  const std::string core = report.cores > 1 ? absl::StrCat(", one of ", report.cores, " cores") : "";
  part.facts = {{"device", absl::StrCat(Printable(report.core.name), core)},
                {"step", absl::StrCat("batch ", report.batch, report.cores > 1 ? " a core, " : ", ",
                                      PrecisionName(report.precision))},
                {"on chip", FormatBytes(report.core.on_chip_bytes)},
                {"bandwidth", FormatRate(report.core.bandwidth_bytes_per_second, "B")},
                {"chain", absl::StrCat(FormatPlural(static_cast<int64_t>(report.chain.size()), "link"),
                                       " (outermost blocks, and layers between them)")}};
  section.parts.push_back(std::move(part));
  for (const std::string& note : report.notes) {
    section.parts.push_back({.text = absl::StrCat("note: ", Printable(note)), .style = Style::kWarning});
  }
  return section;
}

Section SchedulesSection(const SerializationReport& report) {
  Section section{.title = "Ways to run the step"};
  Part part{.columns = {{.header = "schedule"},
                        {.header = "branches", .drop = 3},
                        {.header = "groups", .align = Align::kNumber, .drop = 2},
                        {.header = "traffic", .align = Align::kNumber},
                        {.header = "saved", .align = Align::kRight},
                        {.header = "stat. passes", .align = Align::kNumber, .drop = 4},
                        {.header = "step", .align = Align::kNumber},
                        {.header = "speed-up", .align = Align::kRight},
                        {.header = "memory-bound", .align = Align::kRight, .drop = 1}}};
  for (const Schedule& schedule : report.schedules) {
    const bool shown = schedule.grouping == report.plan.grouping && schedule.branch_reuse == report.branch_reuse;
    const double bound = schedule.step_seconds == 0 ? 0 : schedule.memory_bound_seconds / schedule.step_seconds;
    part.rows.push_back(
        {Cell(schedule.name, shown ? Style::kGood : Style::kPlain),
         schedule.branch_reuse.has_value() ? (*schedule.branch_reuse ? "kept" : "fetched") : "",
         schedule.groups.has_value() ? FormatExact(*schedule.groups) : std::string(kNotApplicable),
         FormatBytes(schedule.traffic_bytes), FormatPercent(report.SavedShare(schedule)),
         schedule.extra_pass_bytes.has_value() ? FormatBytes(*schedule.extra_pass_bytes) : std::string(kNotApplicable),
         FormatSeconds(schedule.step_seconds), FormatRatio(report.Speedup(schedule)), FormatPercent(bound)});
  }
  section.parts.push_back(std::move(part));
  section.parts.push_back(
      {.text =
           "Saved and speed-up: against the first row. Branches: what several branches of a block read, or a "
           "shortcut, is kept on chip or fetched for each. Stat. passes: what normalization over the mini-batch "
           "fetches besides, as statistics come before they are used. In tiles: kernel by kernel, with tiles of "
           "all the memory (single), of half of it while the next tile arrives (double), or the better for each; the "
           "other rows move each operand of a kernel once.",
       .style = Style::kQuiet});
  return section;
}

std::string SubBatchCell(const SubBatches& part) {
  return part.sub_batch == 0 ? "none fits" : absl::StrCat(part.sub_batch, " x ", part.iterations);
}

Section GroupsSection(const SerializationReport& report) {
  Section section{.title = absl::StrCat("Groups of the plan: ", GroupingName(report.plan.grouping), ", branches ",
                                        report.branch_reuse ? "kept" : "fetched")};
  Part part{.columns = {{.header = "from"},
                        {.header = "to", .drop = 1},
                        {.header = "links", .align = Align::kNumber, .drop = 2},
                        {.header = "forward", .align = Align::kRight},
                        {.header = "backward", .align = Align::kRight},
                        {.header = "traffic", .align = Align::kNumber}}};
  for (int c = 0; c < static_cast<int>(TrafficCause::kUpdate); ++c) {
    const std::string name(TrafficCauseName(static_cast<TrafficCause>(c)));
    part.columns.push_back({.header = name, .align = Align::kNumber, .drop = 3});
  }
  for (const SerialGroup& group : report.plan.groups) {
    part.rows.push_back({Printable(report.chain[group.first].name), Printable(report.chain[group.end - 1].name),
                         FormatExact(group.end - group.first),
                         group.serialized ? SubBatchCell(group.forward) : "one by one",
                         group.serialized ? SubBatchCell(group.backward) : "one by one", FormatBytes(group.bytes())});
    for (int c = 0; c < static_cast<int>(TrafficCause::kUpdate); ++c) {
      part.rows.back().emplace_back(FormatBytes(group.traffic_bytes[c]));
    }
  }
  section.parts.push_back(std::move(part));
  section.parts.push_back(
      {.text = absl::StrCat("5 x 7: sub-batches of 5 samples, in 7 iterations. Updates move ",
                            FormatBytes(report.plan.by_cause[static_cast<int>(TrafficCause::kUpdate)]), " besides."),
       .style = Style::kQuiet});
  return section;
}

Section ChainSection(const SerializationReport& report, int top) {
  Section section{.title = "Links of the chain"};
  Part part{.columns = {{.header = "link"},
                        {.header = "kernels", .align = Align::kNumber, .drop = 1},
                        {.header = "forward, a sample", .align = Align::kNumber},
                        {.header = "sub-batch", .align = Align::kRight},
                        {.header = "backward, a sample", .align = Align::kNumber},
                        {.header = "sub-batch", .align = Align::kRight}}};
  std::vector<size_t> order(report.chain.size());
  std::iota(order.begin(), order.end(), 0);
  const auto need = [&](size_t l) {
    return std::max(report.chain[l].forward_alone.footprint_bytes, report.chain[l].backward_alone.footprint_bytes);
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return need(a) > need(b); });
  order.resize(std::min<size_t>(order.size(), std::max(top, 0)));
  std::sort(order.begin(), order.end());
  for (const size_t l : order) {
    const ChainLink& link = report.chain[l];
    part.rows.push_back({Printable(link.name),
                         FormatExact(static_cast<int64_t>(link.forward.size() + link.backward.size())),
                         FormatBytes(link.forward_alone.footprint_bytes), SubBatchCell(link.forward_alone),
                         FormatBytes(link.backward_alone.footprint_bytes), SubBatchCell(link.backward_alone)});
  }
  section.parts.push_back(std::move(part));
  if (order.size() < report.chain.size()) {
    section.parts.push_back({.text = absl::StrCat("The ", order.size(), " of ", report.chain.size(),
                                                  " that need most on chip; --top shows more, --format csv all."),
                             .style = Style::kQuiet});
  }
  return section;
}

}  // namespace

std::vector<Section> SerializationSections(const SerializationReport& report, int top) {
  return {FactsSection(report), SchedulesSection(report), GroupsSection(report), ChainSection(report, top)};
}

}  // namespace reusescope::cli
