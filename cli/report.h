// The report as data: an analysis and its rooflines gathered once, so that views only print.
//
//   RS_ASSIGN_OR_RETURN(const Report report, MakeReport(analysis, devices, {.extra_capacities = {8 << 20}}));
//   out = RenderTable(report, terminal);      // views/views.h: table, JSON, CSV, Markdown of the same Report
//
// Everything here is a number or a name as the model's file has it; units are in the names; formatting is the views'.
// Times are vectors parallel to `devices`; without a device they are empty.

#ifndef REUSESCOPE_CLI_REPORT_H_
#define REUSESCOPE_CLI_REPORT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "analysis/measure/memory.h"
#include "analysis/measure/reuse.h"
#include "analysis/measure/reuse_factors.h"
#include "analysis/measure/roofline.h"
#include "analysis/pipeline.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

struct TensorRow {
  std::string name;
  std::string type;      // "float32[32, 3, 224, 224]", "int64[<=100, 3]"
  uint64_t at_most = 0;  // bit d: dimension d is an upper bound
};

struct ModelSection {
  ModelFacts facts;
  int64_t parameter_bytes = 0;
  std::vector<TensorRow> inputs, outputs;
  std::vector<TensorRow> bounded;  // computed in forward, of a size that data decide; in schedule order
};

// The assumptions of the analysis, in the words of the flags.
struct SettingsSection {
  int64_t batch = 1;  // samples of one step
  std::vector<std::pair<std::string, int64_t>> dims;
  std::vector<std::pair<std::string, std::string>> inputs;  // name, "1x3x224x224"
  std::string mode, precision, update_order, dropout_mask;
  std::string loss, optimizer;   // as asked for; "" in inference
  std::string loss_description;  // what was attached
  bool recognize = true;
  std::string freeze, train;
  std::string checkpoint;  // "none"; "" in inference
  GradientHandling gradients;
  bool bare_peak = false;
};

// Work of any set of kernels, and its time on each device.
struct Work {
  int64_t kernels = 0;
  int64_t macs = 0;
  int64_t flops = 0;
  int64_t contraction_flops = 0;
  int64_t transcendentals = 0;
  int64_t bytes = 0;
  absl::InlinedVector<double, 2> seconds;
  absl::InlinedVector<double, 2> memory_bound_seconds;

  double intensity() const { return bytes > 0 ? static_cast<double>(flops) / static_cast<double>(bytes) : 0; }
  void Add(const Work& other, int64_t times = 1);
};

struct LayerTime {
  double seconds = 0;
  Bound bound = Bound::kMemory;
};

// One kernel.
struct LayerRow {
  std::string name;    // the node's
  std::string module;  // in the module tree; "" when the file tells nothing
  std::string label;   // what a reader looks for: the module, else the name of the forward node
  std::string op;      // "Conv-11"
  Phase phase = Phase::kForward;
  std::string block;  // innermost; "" outside
  bool known = true;
  Arithmetic arithmetic = Arithmetic::kAny;  // see KernelCost
  Work work;                                 // of this kernel alone
  ReuseFactors reuse_factors;
  std::string gradient;  // "dX" or "dW": what a backward kernel computes; ""
  absl::InlinedVector<LayerTime, 2> times;
};

// Kernels that belong together: the blocks of a group (all phases), or a part of the model outside any block.
struct GroupRow {
  std::string name;
  std::string kind;   // "residual", ...; "" outside blocks
  int64_t count = 1;  // blocks folded into the row
  Work work;
};

struct BlockRow {
  std::string name, kind;
  int64_t nodes = 0;  // of one block
  int64_t count = 0;
  std::string parent;  // name of the group around it; ""
};

struct ScopeRow {
  ReuseScope scope = ReuseScope::kLongRange;
  int64_t edges = 0;
  int64_t bytes = 0;
  int64_t saved_bytes = 0;
  int64_t capacity_to_capture_bytes = 0;
  int64_t capacity_to_capture_half_bytes = 0;
  std::vector<int64_t> saved_at_capacity_bytes;  // by an LRU memory; parallel to Report::curve
};

struct CurveRow {
  int64_t capacity_bytes = 0;
  int64_t lru_bytes = 0;
  int64_t managed_bytes = 0;
  std::vector<std::string> devices;  // those with exactly this on-chip capacity
  bool asked = false;                // given by --capacity
};

// A tensor that forward leaves behind, and the kernels that it is kept for.
struct StashRow {
  std::string name;
  int64_t bytes = 0;
  bool input = false;                // the model's own
  std::string producer;              // label of the forward kernel that makes it; "" of an input
  std::vector<std::string> readers;  // names of the backward (or recomputed) kernels, as in LayerRow
  std::string first_reader;          // the first of them for a reader: "ConvGrad dW of layer1.0.conv2"
};

struct DeviceSection {
  Hardware hardware;
  Roofline roofline;
  // Step time if the device had twice the bandwidth, or twice the compute rates.
  double step_seconds_with_twice_bandwidth = 0;
  double step_seconds_with_twice_compute = 0;
  std::optional<bool> fits;  // nullopt: memory capacity not known
};

struct Report {
  ModelSection model;
  SettingsSection settings;
  std::vector<std::string> notes;
  Coverage coverage;
  std::vector<std::pair<std::string, int>> recognized;  // what exporters took apart: "LayerNormalization", 25
  std::array<Work, kNumPhases> phases;
  Work step;                           // where gradients accumulate: the last micro-batch, in which the update runs
  std::optional<Work> optimizer_step;  // where gradients accumulate: all micro-batches, and one update
  std::vector<LayerRow> layers;        // schedule order; all, or those of ReportOptions::listed_layers
  std::vector<GroupRow> groups;        // in the order in which the model runs them; the update step last
  std::vector<BlockRow> blocks;
  std::vector<ScopeRow> scopes;
  std::vector<CurveRow> curve;  // capacities ascending from 0
  int64_t minimum_traffic_bytes = 0;
  int64_t saturation_capacity_bytes = 0;  // LRU traffic falls no further
  MemoryTable memory;
  std::vector<StashRow> stash;  // in the order in which forward makes them
  std::string peak_layer;       // label of the kernel at the peak
  Phase peak_phase = Phase::kForward;
  std::vector<DeviceSection> devices;
};

struct ReportOptions {
  std::vector<int64_t> extra_capacities;  // further points of the curve
  bool bare_peak = false;
  // Rows of the so many slowest layers only, for views that list no others; unset: all.
  std::optional<int> listed_layers;
};

absl::StatusOr<Report> MakeReport(const Analysis& analysis, const std::vector<Hardware>& devices,
                                  const ReportOptions& options);

// Indices of the `count` kernels that take most time on the first device (without one: most FLOPs, then bytes).
std::vector<int> TopLayers(const Report& report, int count);

// The verdict, two sentences per device, in plain language and out of the report's numbers alone.
std::vector<std::string> Verdict(const Report& report);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_REPORT_H_
