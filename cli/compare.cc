#include "cli/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "analysis/ir/status_util.h"
#include "cli/options.h"
#include "cli/text.h"
#include "importer/load_model.h"

namespace reusescope::cli {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

// A row of the comparison: what it is and how it is read off a report.
class Table {
 public:
  explicit Table(const Report& report) : report_(report) {}

  void Add(Metric metric, double value) {
    metrics_.push_back(std::move(metric));
    values_.push_back(value);
  }
  void AddAll() {
    AddModel();
    AddReuse();
    for (const DeviceSection& device : report_.devices) AddDevice(device);
  }
  std::vector<Metric> TakeMetrics() { return std::move(metrics_); }
  std::vector<double> TakeValues() { return std::move(values_); }

 private:
  void AddModel() {
    const auto number = [](int64_t count) { return static_cast<double>(count); };
    const Work& step = report_.step;
    Add({"batch", "batch", MetricUnit::kCount, Better::kNeither}, number(report_.settings.batch));
    Add({"parameters", "parameters"}, number(report_.model.facts.parameters));
    Add({"kernels", "kernels"}, number(step.kernels));
    Add({"forward_flops", "forward FLOPs"}, number(report_.phases[static_cast<int>(Phase::kForward)].flops));
    Add({"flops", "FLOPs of a step"}, number(step.flops));
    Add({"contraction_flops", "of contractions"}, number(step.contraction_flops));
    Add({"bytes", "traffic, every kernel fetches", MetricUnit::kBytes}, number(step.bytes));
    Add({"minimum_bytes", "traffic, everything kept", MetricUnit::kBytes}, number(report_.minimum_traffic_bytes));
    Add({"intensity", "FLOP per byte", MetricUnit::kRatio, Better::kHigher}, step.intensity());
    Add({"stash_bytes", "stash, needed", MetricUnit::kBytes}, number(report_.memory.stash_needed_bytes));
    Add({"stash_pytorch_eager_bytes", "stash, PyTorch", MetricUnit::kBytes},
        number(report_.memory.stash_pytorch_eager_bytes));
    Add({"peak_bytes", "peak memory", MetricUnit::kBytes}, number(report_.memory.peak_bytes));
  }

  void AddReuse() {
    for (const ScopeRow& scope : report_.scopes) {
      const std::string name(ReuseScopeName(scope.scope));
      Add({absl::StrCat("reuse_", name, "_bytes"), absl::StrCat("reuse, ", name), MetricUnit::kBytes, Better::kNeither},
          static_cast<double>(scope.bytes));
    }
  }

  void AddDevice(const DeviceSection& device) {
    const StepTime& step = device.roofline.Headline();
    const std::string on = absl::StrCat(" on ", device.hardware.name);
    Add({"step_seconds", "step" + on, MetricUnit::kSeconds}, step.step_seconds);
    Add({"samples_per_second", "samples/s" + on, MetricUnit::kCount, Better::kHigher}, step.samples_per_second);
    Add({"memory_bound_share", "memory-bound" + on, MetricUnit::kShare, Better::kNeither}, step.memory_bound_share);
    Add({"managed_step_seconds", "step, software-managed" + on, MetricUnit::kSeconds},
        device.roofline.Under(TrafficModel::kManaged).step_seconds);
    Add({"fits", "fits" + on, MetricUnit::kCount, Better::kHigher},
        device.fits.has_value() ? static_cast<double>(*device.fits) : kNothing);
  }

  const Report& report_;
  std::vector<Metric> metrics_;
  std::vector<double> values_;
};

// Every combination of the sweeps' sizes; one empty one without sweeps.
std::vector<std::vector<std::pair<std::string, int64_t>>> PointsOf(const std::vector<Sweep>& sweeps) {
  std::vector<std::vector<std::pair<std::string, int64_t>>> points(1);
  for (const Sweep& sweep : sweeps) {
    std::vector<std::vector<std::pair<std::string, int64_t>>> next;
    for (const auto& point : points) {
      for (int64_t size : sweep.sizes) {
        next.push_back(point);
        next.back().emplace_back(sweep.dimension, size);
      }
    }
    points = std::move(next);
  }
  return points;
}

double CostOf(const LayerRow& layer) {
  return layer.times.empty() ? static_cast<double>(layer.work.flops) : layer.times[0].seconds;
}

// What stays the same of a layer from one version of a model to the next, and which of several such layers it is.
using Place = std::tuple<std::string, std::string, Phase, std::string, int>;
std::map<Place, size_t> PlacesOf(const std::vector<LayerRow>& layers) {
  std::map<Place, size_t> places;
  std::map<std::tuple<std::string, std::string, Phase, std::string>, int> seen;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerRow& layer = layers[i];
    const int which = seen[{layer.label, layer.op, layer.phase, layer.gradient}]++;
    places.emplace(Place(layer.label, layer.op, layer.phase, layer.gradient, which), i);
  }
  return places;
}

// What is equal of two layers that do the same work.
std::tuple<std::string, Phase, int64_t, int64_t> StructureOf(const LayerRow& layer) {
  return {layer.op, layer.phase, layer.work.flops, layer.work.bytes};
}

LayerDifference Difference(LayerChange change, const LayerRow& layer, double before, double after) {
  return {change, layer.label, layer.op, layer.phase, layer.gradient, before, after};
}

absl::StatusOr<std::vector<CrossedBar>> CrossedBars(const Comparison& comparison, const std::vector<Bar>& bars) {
  std::vector<CrossedBar> crossed;
  for (const Bar& bar : bars) {
    bool known = false;
    for (size_t m = 0; m < comparison.metrics.size(); ++m) {
      if (comparison.metrics[m].name != bar.metric) continue;
      known = true;
      const double first = comparison.columns[0].values[m];
      for (size_t c = 1; c < comparison.columns.size(); ++c) {
        const double ratio = comparison.columns[c].values[m] / first;
        if (bar.above ? ratio > bar.ratio : ratio < bar.ratio) crossed.push_back({bar, c, m, ratio});
      }
    }
    if (known) continue;
    std::vector<std::string> names;
    for (const Metric& metric : comparison.metrics) names.push_back(metric.name);
    return absl::InvalidArgumentError(absl::StrCat(
        "--fail-if: no metric '", Printable(bar.metric), "'", DidYouMean(bar.metric, names),
        comparison.with_devices ? "" : "; times need --hardware", "; there are ", absl::StrJoin(names, ", ")));
  }
  return crossed;
}

}  // namespace

absl::string_view LayerChangeName(LayerChange change) {
  constexpr absl::string_view kNames[] = {"added", "removed", "changed"};
  return kNames[static_cast<size_t>(change)];
}

LayerComparison CompareLayers(const Report& before, const Report& after) {
  std::vector<bool> left_of_before(before.layers.size(), true);
  std::vector<std::optional<size_t>> match(after.layers.size());
  const std::map<Place, size_t> places = PlacesOf(before.layers);
  for (const auto& [place, index] : PlacesOf(after.layers)) {
    const auto same = places.find(place);
    if (same == places.end()) continue;
    match[index] = same->second;
    left_of_before[same->second] = false;
  }
  std::map<std::tuple<std::string, Phase, int64_t, int64_t>, std::vector<size_t>> free;  // last in the schedule first
  for (size_t i = before.layers.size(); i-- > 0;) {
    if (left_of_before[i]) free[StructureOf(before.layers[i])].push_back(i);
  }
  LayerComparison comparison;
  for (size_t i = 0; i < after.layers.size(); ++i) {
    const LayerRow& layer = after.layers[i];
    std::vector<size_t>* alike = nullptr;
    if (!match[i].has_value()) alike = &free[StructureOf(layer)];
    if (alike != nullptr && !alike->empty()) {
      match[i] = alike->back();
      left_of_before[alike->back()] = false;
      alike->pop_back();
    }
    if (!match[i].has_value()) {
      comparison.differences.push_back(Difference(LayerChange::kAdded, layer, 0, CostOf(layer)));
      continue;
    }
    ++comparison.matched;
    const LayerRow& old = before.layers[*match[i]];
    if (StructureOf(old) == StructureOf(layer)) {
      ++comparison.unchanged;
    } else {
      comparison.differences.push_back(Difference(LayerChange::kChanged, layer, CostOf(old), CostOf(layer)));
    }
  }
  for (size_t i = 0; i < before.layers.size(); ++i) {
    if (!left_of_before[i]) continue;
    const LayerRow& layer = before.layers[i];
    comparison.differences.push_back(Difference(LayerChange::kRemoved, layer, CostOf(layer), 0));
  }
  std::stable_sort(comparison.differences.begin(), comparison.differences.end(),
                   [](const LayerDifference& a, const LayerDifference& b) {
                     return std::fabs(a.added_cost()) > std::fabs(b.added_cost());
                   });
  return comparison;
}

absl::StatusOr<Comparison> Compare(const CompareOptions& options) {
  Comparison comparison{.with_devices = !options.devices.empty()};
  const auto points = PointsOf(options.sweeps);
  std::vector<Report> firsts;  // of each model, at the first point
  for (size_t m = 0; m < options.models.size(); ++m) {
    for (const auto& point : points) {
      RS_ASSIGN_OR_RETURN(Model model, LoadModel(options.models[m]));
      RS_ASSIGN_OR_RETURN(AnalysisOptions analysis_options, OptionsFor(model, options.analysis, options.given));
      CompareColumn column{.model = m};
      std::string at;
      for (const auto& [dimension, size] : point) {
        if (dimension == "batch") {
          analysis_options.shapes.batch = size;
        } else {
          analysis_options.shapes.dims[dimension] = size;
        }
        absl::StrAppend(&at, " ", dimension, "=", size);
      }
      RS_ASSIGN_OR_RETURN(const Analysis analysis, Analyze(std::move(model), analysis_options));
      // One model at several sizes needs no name.
      const bool sizes_alone = options.models.size() == 1 && !at.empty();
      column.name = sizes_alone ? at.substr(1) : absl::StrCat(analysis.facts.file, at);
      RS_ASSIGN_OR_RETURN(Report report, MakeReport(analysis, options.devices, {.bare_peak = options.bare_peak}));
      Table table(report);
      table.AddAll();
      column.values = table.TakeValues();
      column.verdicts = Verdict(report);
      if (comparison.metrics.empty()) comparison.metrics = table.TakeMetrics();
      const SettingsSection& settings = report.settings;
      comparison.work = absl::StrCat(settings.mode, ", ", settings.precision, settings.optimizer.empty() ? "" : ", ",
                                     settings.optimizer);
      for (const std::string& note : report.notes) comparison.notes.push_back(absl::StrCat(column.name, ": ", note));
      if (firsts.size() == m) firsts.push_back(std::move(report));
      comparison.columns.push_back(std::move(column));
    }
  }
  for (size_t m = 1; m < firsts.size(); ++m) {
    comparison.layers.push_back(CompareLayers(firsts[0], firsts[m]));
    comparison.layers.back().column = m * points.size();
  }
  RS_ASSIGN_OR_RETURN(comparison.crossed, CrossedBars(comparison, options.bars));
  return comparison;
}

absl::StatusOr<Bar> ParseBar(absl::string_view text) {
  const size_t sign = text.find_first_of("<>");
  Bar bar;
  const bool parsed = sign != absl::string_view::npos &&
                      absl::SimpleAtod(absl::StripAsciiWhitespace(text.substr(sign + 1)), &bar.ratio) &&
                      std::isfinite(bar.ratio) && bar.ratio > 0;
  if (parsed) bar.metric = std::string(absl::StripAsciiWhitespace(text.substr(0, sign)));
  if (bar.metric.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", Printable(text), "' is no bar: expected METRIC > RATIO, for example step_seconds > 1.05"));
  }
  bar.above = text[sign] == '>';
  return bar;
}

absl::StatusOr<Sweep> ParseSweep(absl::string_view text) {
  const auto bad = [&text] {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", Printable(text), "' is no sweep: expected batch=1,8,32 or dim:NAME=128,512 of whole numbers above 0"));
  };
  const size_t equals = text.rfind('=');
  if (equals == absl::string_view::npos) return bad();
  absl::string_view name = text.substr(0, equals);
  const bool dimension = absl::ConsumePrefix(&name, "dim:");
  if (name.empty() || (!dimension && name != "batch")) return bad();
  Sweep sweep{.dimension = std::string(name)};
  for (absl::string_view size : absl::StrSplit(text.substr(equals + 1), ',')) {
    const absl::StatusOr<int64_t> value = ParsePositive(size);
    if (!value.ok()) return bad();
    sweep.sizes.push_back(*value);
  }
  return sweep;
}

}  // namespace reusescope::cli
