#include "cli/views/design_view.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "cli/text.h"
#include "cli/units.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

// Points that share a plane of capacity and bandwidth.
struct Plane {
  int64_t batch = 0;
  PrecisionMode precision = PrecisionMode::kFp32;
  Policy policy = Policy::kManaged;
  double throughput_flops_per_second = 0;
  friend bool operator==(const Plane&, const Plane&) = default;
};

Plane PlaneOf(const DesignPoint& point) {
  return {point.batch, point.precision, point.policy, point.throughput_flops_per_second};
}
Plane PlaneOf(const IsoPoint& point) {
  return {point.batch, point.precision, point.policy, point.throughput_flops_per_second};
}

std::string Title(const DesignSpace& space, const Plane& plane) {
  return absl::StrCat(FormatRate(plane.throughput_flops_per_second, "FLOP"), ", ", PrecisionName(plane.precision),
                      ", batch ", plane.batch, ", ", PolicyName(plane.policy),
                      space.axes.throughputs_flops_per_second.empty() ? " (the device's throughput)" : "");
}

template <typename T>
std::vector<Plane> Planes(const std::vector<T>& points) {
  std::vector<Plane> planes;
  for (const T& point : points) {
    const Plane plane = PlaneOf(point);
    if (std::find(planes.begin(), planes.end(), plane) == planes.end()) planes.push_back(plane);
  }
  return planes;
}

// The middle throughput: one plane per batch, precision and policy; the rest is in CSV and JSON.
std::vector<Plane> ShownPlanes(const std::vector<Plane>& planes) {
  std::vector<Plane> shown;
  for (const Plane& plane : planes) {
    const auto same = [&](const Plane& other) {
      return other.batch == plane.batch && other.precision == plane.precision && other.policy == plane.policy;
    };
    if (std::any_of(shown.begin(), shown.end(), same)) continue;
    std::vector<Plane> of_it;
    std::copy_if(planes.begin(), planes.end(), std::back_inserter(of_it), same);
    shown.push_back(of_it[of_it.size() / 2]);
  }
  return shown;
}

std::string StepWords(int64_t batch, PrecisionMode precision, Policy policy) {
  return absl::StrCat("batch ", batch, ", ", PrecisionName(precision), ", ", PolicyName(policy));
}

std::string DesignWords(const IsoPoint& point) {
  return absl::StrCat(FormatBytes(point.capacity_bytes), " with ", FormatRate(point.bandwidth_bytes_per_second, "B"));
}

// The smallest memory on chip that some bandwidth makes up for, against the largest.
std::optional<std::string> IsoSentence(const DesignSpace& space, const Plane& plane) {
  if (plane.policy == Policy::kNone) return std::nullopt;  // capacity is nothing to it
  const IsoPoint *least = nullptr, *most = nullptr;
  for (const IsoPoint& point : space.iso) {
    if (PlaneOf(point) != plane || !std::isfinite(point.bandwidth_bytes_per_second)) continue;
    if (least == nullptr) least = &point;
    most = &point;
  }
  if (least == most) return std::nullopt;
  return absl::StrCat(DesignWords(*least), " is as fast as ", DesignWords(*most), " and as ", space.base.display_name,
                      " (", FormatSeconds(least->step_seconds), " a step; ",
                      StepWords(plane.batch, plane.precision, plane.policy), ").");
}

std::optional<std::string> KneeSentence(const DesignSpace& space, const Plane& plane) {
  const Knee* best = nullptr;
  for (const Knee& knee : space.knees) {
    const bool same = knee.batch == plane.batch && knee.precision == plane.precision && knee.policy == plane.policy;
    if (same && knee.knee && (best == nullptr || knee.saved_bytes > best->saved_bytes)) best = &knee;
  }
  if (best == nullptr || !best->scope.has_value()) return std::nullopt;
  return absl::StrCat("The knee of traffic is at ", FormatBytes(best->capacity_bytes), ", which saves ",
                      FormatBytes(best->saved_bytes), " a step over the capacity before, mostly ",
                      ReuseScopeName(*best->scope), " reuse (", StepWords(plane.batch, plane.precision, plane.policy),
                      ").");
}

Section FactsSection(const DesignSpace& space) {
  Section section{.title = absl::StrCat("Designs for ", Printable(space.model))};
  Part part;
  const std::string done =
      space.complete() ? "" : absl::StrCat(" of ", FormatExact(space.points_in_all), ": stopped before the rest");
  part.facts = {{"base", Printable(space.base.display_name)},
                {"points", absl::StrCat(FormatExact(static_cast<int64_t>(space.points.size())), done)},
                {"time", "roofline, one kernel after the other; vector units scale with the matrix units"}};
  section.parts.push_back(std::move(part));
  for (const std::string& sentence : DesignVerdict(space)) {
    section.parts.push_back({.text = Printable(sentence), .style = Style::kHeading});
  }
  for (const std::string& note : space.notes) {
    section.parts.push_back({.text = absl::StrCat("note: ", Printable(note)), .style = Style::kWarning});
  }
  return section;
}

std::string MetricTitle(DesignMetric metric) {
  constexpr const char* kTitles[] = {"Step time",
                                     "Step time, transfers ahead of use",
                                     "Step time, kernels in tiles",
                                     "Stalls",
                                     "Traffic",
                                     "Average bandwidth",
                                     "Compute utilization",
                                     "Buffer in use",
                                     "Energy at rated power"};
  return kTitles[static_cast<size_t>(metric)];
}

std::string MetricText(const DesignPoint& point, DesignMetric metric) {
  const auto seconds = [](std::optional<double> value) {
    return value.has_value() ? FormatSeconds(*value) : std::string(kNotApplicable);
  };
  switch (metric) {
    case DesignMetric::kTime:
      return FormatSeconds(point.step_seconds);
    case DesignMetric::kPrefetch:
      return seconds(point.prefetch_step_seconds);
    case DesignMetric::kTiled:
      return seconds(point.tiled_step_seconds);
    case DesignMetric::kStalls:
      return FormatSeconds(point.stall_seconds);
    case DesignMetric::kTraffic:
      return FormatBytes(point.traffic_bytes);
    case DesignMetric::kBandwidth:
      return FormatRate(point.average_bandwidth(), "B");
    case DesignMetric::kUtilization:
      return FormatPercent(point.compute_utilization);
    case DesignMetric::kBuffer:
      return point.buffer_bytes.has_value() ? FormatBytes(*point.buffer_bytes) : std::string(kNotApplicable);
    case DesignMetric::kEnergy:
      return point.energy_joules.has_value() ? FormatCount(*point.energy_joules, "J") : std::string(kNotApplicable);
  }
  return "";
}

// Rows of capacities, columns of bandwidths.
Part GridPart(const DesignSpace& space, const Plane& plane, DesignMetric metric) {
  Part part{.columns = {{.header = "on chip", .align = Align::kNumber}}};
  for (const double bandwidth : space.axes.bandwidths_bytes_per_second) {
    part.columns.push_back({.header = FormatRate(bandwidth, "B"), .align = Align::kNumber});
  }
  int64_t capacity = -1;
  for (const DesignPoint& point : space.points) {
    if (PlaneOf(point) != plane) continue;
    if (point.capacity_bytes != capacity) part.rows.push_back({FormatBytes(point.capacity_bytes)});
    capacity = point.capacity_bytes;
    const bool compute_bound = point.memory_bound_seconds < 0.5 * point.step_seconds;
    part.rows.back().emplace_back(MetricText(point, metric), compute_bound ? Style::kGood : Style::kPlain);
  }
  return part;
}

std::vector<Section> GridSections(const DesignSpace& space, DesignMetric metric) {
  std::vector<Section> sections;
  const std::vector<Plane> planes = Planes(space.points), shown = ShownPlanes(planes);
  for (const Plane& plane : shown) {
    Section section{.title = absl::StrCat(MetricTitle(metric), ": ", Title(space, plane))};
    section.parts.push_back(GridPart(space, plane, metric));
    sections.push_back(std::move(section));
  }
  if (!sections.empty() && planes.size() > shown.size()) {
    sections.back().parts.push_back({.text = absl::StrCat("The middle throughput of ", planes.size() / shown.size(),
                                                          " each; all points with --format csv or json."),
                                     .style = Style::kQuiet});
  }
  return sections;
}

// Rows of capacities, columns of scopes.
Part CapturedPart(const DesignSpace& space) {
  Part part{.columns = {{.header = "of the reuse at", .drop = 1}, {.header = "on chip", .align = Align::kNumber}}};
  std::map<ReuseScope, size_t> column;
  for (const CapturedReuse& captured : space.captured) column.emplace(captured.scope, 0);
  for (auto& [scope, index] : column) {
    index = part.columns.size();
    part.columns.push_back({.header = std::string(ReuseScopeName(scope)), .align = Align::kRight});
  }
  std::tuple<int64_t, PrecisionMode, int64_t> row_of;
  for (const CapturedReuse& captured : space.captured) {
    const std::tuple key(captured.batch, captured.precision, captured.capacity_bytes);
    if (part.rows.empty() || key != row_of) {
      row_of = key;
      part.rows.emplace_back(part.columns.size(), std::string(kNotApplicable));
      part.rows.back()[0] = absl::StrCat("batch ", captured.batch, ", ", PrecisionName(captured.precision));
      part.rows.back()[1] = FormatBytes(captured.capacity_bytes);
    }
    part.rows.back()[column[captured.scope]] =
        FormatPercent(static_cast<double>(captured.captured_bytes) / static_cast<double>(captured.reusable_bytes));
  }
  return part;
}

Section KneesSection(const DesignSpace& space) {
  Section section{.title = "What a capacity captures"};
  Part part{.columns = {{.header = "step", .drop = 1},
                        {.header = "on chip", .align = Align::kNumber},
                        {.header = "traffic", .align = Align::kNumber},
                        {.header = "saves", .align = Align::kNumber},
                        {.header = "mostly"},
                        {.header = "share", .align = Align::kRight},
                        {.header = ""}}};
  for (const Knee& knee : space.knees) {
    part.rows.push_back(
        {StepWords(knee.batch, knee.precision, knee.policy), FormatBytes(knee.capacity_bytes),
         FormatBytes(knee.traffic_bytes), FormatBytes(knee.saved_bytes),
         knee.scope.has_value() ? std::string(ReuseScopeName(*knee.scope)) : std::string(kNotApplicable),
         knee.scope.has_value() ? FormatPercent(knee.scope_share) : std::string(kNotApplicable),
         Cell(knee.knee ? "knee" : "", Style::kGood)});
  }
  section.parts.push_back(std::move(part));
  section.parts.push_back({.text =
                               "Saves: against the row above (the first: against no memory). Mostly: the scope that "
                               "gains most of what LRU captures in between. Knee: saves more than its neighbours.",
                           .style = Style::kQuiet});
  if (!space.captured.empty()) {
    section.parts.push_back(CapturedPart(space));
    section.parts.push_back({.text = "Share of the traffic that reuse at a scope could save, saved by an LRU memory.",
                             .style = Style::kQuiet});
  }
  return section;
}

Section IsoSection(const DesignSpace& space) {
  Section section{.title = absl::StrCat("As fast as ", Printable(space.base.display_name))};
  Part part{.columns = {{.header = "step", .drop = 1},
                        {.header = "throughput", .align = Align::kNumber, .drop = 2},
                        {.header = "time", .align = Align::kNumber},
                        {.header = "on chip", .align = Align::kNumber},
                        {.header = "bandwidth needed", .align = Align::kNumber}}};
  for (const Plane& plane : ShownPlanes(Planes(space.iso))) {
    for (const IsoPoint& point : space.iso) {
      if (PlaneOf(point) != plane) continue;
      part.rows.push_back(
          {StepWords(point.batch, point.precision, point.policy), FormatRate(point.throughput_flops_per_second, "FLOP"),
           FormatSeconds(point.step_seconds), FormatBytes(point.capacity_bytes),
           std::isfinite(point.bandwidth_bytes_per_second) ? FormatRate(point.bandwidth_bytes_per_second, "B")
                                                           : "more than any"});
    }
  }
  section.parts.push_back(std::move(part));
  section.parts.push_back(
      {.text = "The device's own memory on chip and bandwidth, with the throughput of the row, take this "
               "time; so does every row: less memory on chip takes more bandwidth.",
       .style = Style::kQuiet});
  return section;
}

Section FrontSection(const DesignSpace& space, int top) {
  Section section{.title = "Pareto front of cost and time"};
  std::vector<const DesignPoint*> front;
  for (const DesignPoint& point : space.points) {
    if (point.on_front) front.push_back(&point);
  }
  std::stable_sort(front.begin(), front.end(),
                   [](const DesignPoint* a, const DesignPoint* b) { return *a->cost < *b->cost; });
  Part part{.columns = {{.header = "cost", .align = Align::kNumber},
                        {.header = "time", .align = Align::kNumber},
                        {.header = "on chip", .align = Align::kNumber},
                        {.header = "bandwidth", .align = Align::kNumber},
                        {.header = "throughput", .align = Align::kNumber},
                        {.header = "step", .drop = 1}}};
  // Spread over the front, its ends included.
  const size_t shown = std::min<size_t>(front.size(), std::max(top, 2));
  for (size_t i = 0; i < shown; ++i) {
    const DesignPoint& point = *front[shown == 1 ? 0 : i * (front.size() - 1) / (shown - 1)];
    part.rows.push_back({FormatRatio(*point.cost), FormatSeconds(point.step_seconds), FormatBytes(point.capacity_bytes),
                         FormatRate(point.bandwidth_bytes_per_second, "B"),
                         FormatRate(point.throughput_flops_per_second, "FLOP"),
                         StepWords(point.batch, point.precision, point.policy)});
  }
  section.parts.push_back(std::move(part));
  if (shown < front.size()) {
    section.parts.push_back(
        {.text = absl::StrCat(shown, " of ", front.size(), " designs on the front; --top shows more."),
         .style = Style::kQuiet});
  }
  return section;
}

}  // namespace

std::vector<std::string> DesignVerdict(const DesignSpace& space) {
  std::vector<std::string> sentences;
  for (const Plane& plane : ShownPlanes(Planes(space.iso))) {
    for (const std::optional<std::string>& sentence : {IsoSentence(space, plane), KneeSentence(space, plane)}) {
      if (sentence.has_value()) sentences.push_back(*sentence);
    }
  }
  return sentences;
}

std::vector<Section> DesignSections(const DesignSpace& space, DesignMetric metric, int top) {
  std::vector<Section> sections = {FactsSection(space)};
  for (Section& section : GridSections(space, metric)) sections.push_back(std::move(section));
  if (!space.knees.empty()) sections.push_back(KneesSection(space));
  if (!space.iso.empty()) sections.push_back(IsoSection(space));
  if (!space.points.empty() && space.points[0].cost.has_value()) sections.push_back(FrontSection(space, top));
  return sections;
}

}  // namespace reusescope::cli
