#include "cli/views/compare_view.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/text.h"
#include "cli/units.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kCulprits = 3;

std::string ValueText(const Metric& metric, double value) {
  if (std::isnan(value)) return std::string(kNotApplicable);
  if (metric.name == "fits") return value > 0 ? "yes" : "no";
  switch (metric.unit) {
    case MetricUnit::kCount:
      return FormatCount(value);
    case MetricUnit::kBytes:
      return FormatBytes(static_cast<int64_t>(value));
    case MetricUnit::kSeconds:
      return FormatSeconds(value);
    case MetricUnit::kShare:
      return FormatPercent(value);
    case MetricUnit::kRatio:
      return FormatRatio(value);
  }
  return "";
}

std::string RatioText(const Metric& metric, double value, double first) {
  const bool ratio = metric.name != "fits" && metric.unit != MetricUnit::kShare && first > 0 && !std::isnan(value);
  return ratio ? fmt::format("x{:.2f}", value / first) : "";
}

// The best value of a metric, when columns differ in it; NaN otherwise.
double BestOf(const Comparison& comparison, size_t metric) {
  const Better better = comparison.metrics[metric].better;
  std::set<double> values;
  for (const CompareColumn& column : comparison.columns) {
    if (!std::isnan(column.values[metric])) values.insert(column.values[metric]);
  }
  if (values.size() < 2 || better == Better::kNeither) return std::nan("");
  return better == Better::kLower ? *values.begin() : *values.rbegin();
}

Section NumbersSection(const Comparison& comparison) {
  Section section{.title = absl::StrCat("Side by side: ", comparison.work)};
  for (const std::string& note : comparison.notes) {
    section.parts.push_back({.text = absl::StrCat("note: ", Printable(note)), .style = Style::kWarning});
  }
  Part part{.columns = {{.header = "", .flexible = true}}};
  for (size_t c = 0; c < comparison.columns.size(); ++c) {
    part.columns.push_back({.header = Printable(comparison.columns[c].name), .align = Align::kNumber});
    if (c > 0) part.columns.push_back({.header = "", .align = Align::kRight, .drop = 1});
  }
  for (size_t m = 0; m < comparison.metrics.size(); ++m) {
    const Metric& metric = comparison.metrics[m];
    const double best = BestOf(comparison, m);
    std::vector<Cell> cells = {metric.label};
    for (size_t c = 0; c < comparison.columns.size(); ++c) {
      const double value = comparison.columns[c].values[m];
      cells.emplace_back(absl::StrCat(ValueText(metric, value), value == best ? " *" : ""),
                         value == best ? Style::kGood : Style::kPlain);
      if (c > 0) cells.emplace_back(RatioText(metric, value, comparison.columns[0].values[m]), Style::kQuiet);
    }
    part.rows.push_back(std::move(cells));
  }
  section.parts.push_back(std::move(part));
  section.parts.push_back({.text = "x: ratio to the first. * marks the best of a row.", .style = Style::kQuiet});
  return section;
}

std::string CostText(const Comparison& comparison, double cost) {
  if (comparison.with_devices) return FormatSeconds(cost);
  return cost == 0 ? "0" : FormatCount(cost, "FLOP");
}

std::string LayerText(const LayerDifference& layer) {
  return absl::StrCat(Printable(layer.label), layer.gradient.empty() ? "" : absl::StrCat(" ", layer.gradient));
}

Section LayersSection(const Comparison& comparison, const LayerComparison& layers, int top) {
  const std::string& name = comparison.columns[layers.column].name;
  Section section{.title = absl::StrCat("Layers of ", Printable(name), " against the first")};
  int64_t counts[3] = {};
  double costs[3] = {};
  for (const LayerDifference& layer : layers.differences) {
    ++counts[static_cast<size_t>(layer.change)];
    costs[static_cast<size_t>(layer.change)] += layer.added_cost();
  }
  Part facts;
  facts.facts = {{"unchanged", FormatExact(layers.unchanged)}};
  for (LayerChange change : {LayerChange::kChanged, LayerChange::kAdded, LayerChange::kRemoved}) {
    const auto index = static_cast<size_t>(change);
    facts.facts.emplace_back(LayerChangeName(change),
                             absl::StrCat(FormatExact(counts[index]), ", ", CostText(comparison, costs[index])));
  }
  section.parts.push_back(std::move(facts));
  Part part{.columns = {{.header = "layer", .flexible = true},
                        {.header = "op", .drop = 1},
                        {.header = "phase", .drop = 2},
                        {.header = "change"},
                        {.header = "before", .align = Align::kNumber},
                        {.header = "after", .align = Align::kNumber},
                        {.header = "cost", .align = Align::kNumber}}};
  const size_t shown = std::min<size_t>(layers.differences.size(), std::max(top, 0));
  for (size_t i = 0; i < shown; ++i) {
    const LayerDifference& layer = layers.differences[i];
    part.rows.push_back(
        {LayerText(layer), Printable(layer.op), std::string(PhaseName(layer.phase)),
         std::string(LayerChangeName(layer.change)), CostText(comparison, layer.cost_before),
         CostText(comparison, layer.cost_after),
         Cell(CostText(comparison, layer.added_cost()), layer.added_cost() > 0 ? Style::kBad : Style::kGood)});
  }
  if (!part.rows.empty()) section.parts.push_back(std::move(part));
  return section;
}

absl::string_view UnitName(MetricUnit unit) {
  switch (unit) {
    case MetricUnit::kCount:
      return "count";
    case MetricUnit::kBytes:
      return "bytes";
    case MetricUnit::kSeconds:
      return "seconds";
    case MetricUnit::kShare:
      return "share";
    case MetricUnit::kRatio:
      return "ratio";
  }
  return "";
}

Json BetterJson(Better better) {
  if (better == Better::kNeither) return Json();
  return better == Better::kLower ? "lower" : "higher";
}

Json NumberOrNull(double value) { return std::isnan(value) ? Json() : Json(value); }

Json LayersJson(const LayerComparison& layers) {
  Json differences = Json::array();
  for (const LayerDifference& layer : layers.differences) {
    differences.push_back({{"change", std::string(LayerChangeName(layer.change))},
                           {"layer", layer.label},
                           {"op", layer.op},
                           {"phase", std::string(PhaseName(layer.phase))},
                           {"gradient", layer.gradient.empty() ? Json() : Json(layer.gradient)},
                           {"cost_before", layer.cost_before},
                           {"cost_after", layer.cost_after}});
  }
  return {{"column", layers.column},
          {"matched", layers.matched},
          {"unchanged", layers.unchanged},
          {"differences", differences}};
}

}  // namespace

std::string CrossedBarText(const Comparison& comparison, const CrossedBar& crossed) {
  std::string text = fmt::format(
      "{}: {} is {:.3f} times the first's, the bar is {} {}", Printable(comparison.columns[crossed.column].name),
      comparison.metrics[crossed.metric].label, crossed.ratio, crossed.bar.above ? ">" : "<", crossed.bar.ratio);
  for (const LayerComparison& layers : comparison.layers) {
    if (comparison.columns[layers.column].model != comparison.columns[crossed.column].model) continue;
    std::vector<std::string> culprits;
    for (const LayerDifference& layer : layers.differences) {
      if (culprits.size() == kCulprits) break;
      if (layer.added_cost() <= 0) continue;
      culprits.push_back(absl::StrCat(LayerText(layer), " (", LayerChangeName(layer.change), ", +",
                                      CostText(comparison, layer.added_cost()), ")"));
    }
    if (!culprits.empty()) absl::StrAppend(&text, "; most in ", absl::StrJoin(culprits, ", "));
  }
  return text;
}

std::vector<Section> CompareSections(const Comparison& comparison, int top) {
  std::vector<Section> sections = {NumbersSection(comparison)};
  for (const LayerComparison& layers : comparison.layers) {
    sections.push_back(LayersSection(comparison, layers, top));
  }
  if (comparison.with_devices) {
    Section verdicts{.title = "Verdict"};
    for (const CompareColumn& column : comparison.columns) {
      for (const std::string& verdict : column.verdicts) {
        verdicts.parts.push_back({.text = absl::StrCat(Printable(column.name), ": ", verdict)});
      }
    }
    sections.push_back(std::move(verdicts));
  }
  Section crossed{.title = "Bars crossed"};
  for (const CrossedBar& bar : comparison.crossed) {
    crossed.parts.push_back({.text = CrossedBarText(comparison, bar), .style = Style::kBad});
  }
  if (!crossed.parts.empty()) sections.push_back(std::move(crossed));
  return sections;
}

std::string RenderCompareJson(const Comparison& comparison) {
  Json metrics = Json::array();
  for (size_t m = 0; m < comparison.metrics.size(); ++m) {
    Json values = Json::array();
    for (const CompareColumn& column : comparison.columns) values.push_back(NumberOrNull(column.values[m]));
    const Metric& metric = comparison.metrics[m];
    metrics.push_back({{"name", metric.name},
                       {"label", metric.label},
                       {"unit", std::string(UnitName(metric.unit))},
                       {"better", BetterJson(metric.better)},
                       {"values", values}});
  }
  Json columns = Json::array();
  for (const CompareColumn& column : comparison.columns) {
    columns.push_back({{"name", column.name}, {"model", column.model}, {"verdicts", column.verdicts}});
  }
  Json layers = Json::array();
  for (const LayerComparison& comparison_of : comparison.layers) layers.push_back(LayersJson(comparison_of));
  Json crossed = Json::array();
  for (const CrossedBar& bar : comparison.crossed) {
    crossed.push_back({{"metric", bar.bar.metric},
                       {"label", comparison.metrics[bar.metric].label},
                       {"column", bar.column},
                       {"bar", bar.bar.ratio},
                       {"ratio", bar.ratio},
                       {"text", CrossedBarText(comparison, bar)}});
  }
  const Json document = {{"schema", "reusescope.compare/1"},
                         {"work", comparison.work},
                         {"columns", columns},
                         {"metrics", metrics},
                         {"layer_cost", comparison.with_devices ? "seconds" : "flops"},
                         {"layers", layers},
                         {"crossed", crossed},
                         {"notes", comparison.notes}};
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace reusescope::cli
