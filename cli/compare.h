// Models, or one model at several sizes, side by side: numbers, the layers that differ, and bars for continuous
// integration.
//
//   RS_ASSIGN_OR_RETURN(const Comparison comparison, Compare(options));
//   comparison.columns[1].values[m] / comparison.columns[0].values[m]      the ratio to the first
//
// Layers of two models are matched by their place in the module tree (label, operator, phase, gradient, and which of
// several that is), what is left then by structure: in schedule order, equal operator, phase and work. What has no
// match was added or removed; what has one but other work was changed. Costs are seconds on the first device; without a
// device, FLOPs.
//
// A bar, "step_seconds > 1.05", is crossed by a column whose ratio to the first satisfies it.

#ifndef REUSESCOPE_CLI_COMPARE_H_
#define REUSESCOPE_CLI_COMPARE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/pipeline.h"
#include "cli/report.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

enum class Better : uint8_t { kNeither, kLower, kHigher };
enum class MetricUnit : uint8_t { kCount, kBytes, kSeconds, kShare, kRatio };

struct Metric {
  std::string name;   // "step_seconds": the same on every device
  std::string label;  // "step on a100-sxm-80gb"
  MetricUnit unit = MetricUnit::kCount;
  Better better = Better::kLower;
};

// "batch", or a symbolic dimension; and its sizes.
struct Sweep {
  std::string dimension;
  std::vector<int64_t> sizes;
};

// "step_seconds > 1.05".
struct Bar {
  std::string metric;
  bool above = true;  // crossed above the ratio, or below
  double ratio = 1;
};

struct CompareColumn {
  std::string name;            // "b.onnx", "b.onnx batch=32"
  size_t model = 0;            // which of the files
  std::vector<double> values;  // parallel to Comparison::metrics; NaN where it does not apply
  std::vector<std::string> verdicts;
};

enum class LayerChange : uint8_t { kAdded, kRemoved, kChanged };
absl::string_view LayerChangeName(LayerChange change);  // "added", "removed", "changed"

struct LayerDifference {
  LayerChange change = LayerChange::kChanged;
  std::string label;  // in the second model, of a removed layer in the first
  std::string op;
  Phase phase = Phase::kForward;
  std::string gradient;
  double cost_before = 0, cost_after = 0;  // seconds, or FLOPs

  double added_cost() const { return cost_after - cost_before; }
};

// The layers of one column against the first's.
struct LayerComparison {
  size_t column = 0;
  int64_t matched = 0, unchanged = 0;
  std::vector<LayerDifference> differences;  // the largest change of cost first
};

struct CrossedBar {
  Bar bar;
  size_t column = 0;
  size_t metric = 0;
  double ratio = 0;
};

struct Comparison {
  std::string work;  // of every column alike: "training, fp32, adamw"
  bool with_devices = false;
  std::vector<Metric> metrics;
  std::vector<CompareColumn> columns;
  std::vector<LayerComparison> layers;
  std::vector<CrossedBar> crossed;
  std::vector<std::string> notes;
};

struct CompareOptions {
  std::vector<std::string> models;
  AnalysisOptions analysis;
  std::vector<std::string> given;  // of these, as flags (cli/options.h)
  std::vector<Hardware> devices;
  std::vector<Sweep> sweeps;  // every combination
  std::vector<Bar> bars;
  bool bare_peak = false;
};

// kInvalidArgument for a bar on a metric that there is not, naming those that there are.
absl::StatusOr<Comparison> Compare(const CompareOptions& options);

// "step_seconds > 1.05"; "batch=1,8,32" and "dim:sequence=128,512".
absl::StatusOr<Bar> ParseBar(absl::string_view text);
absl::StatusOr<Sweep> ParseSweep(absl::string_view text);

LayerComparison CompareLayers(const Report& before, const Report& after);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_COMPARE_H_
