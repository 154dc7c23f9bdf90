#include "cli/report.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope::cli {
namespace {

constexpr int64_t kFirstRung = int64_t{64} << 10;
constexpr int64_t kLastRung = int64_t{1} << 44;

absl::string_view LossName(Loss loss) {
  switch (loss) {
    case Loss::kAuto:
      return "auto";
    case Loss::kNone:
      return "none";
    case Loss::kSum:
      return "sum";
    case Loss::kMse:
      return "mse";
    case Loss::kCrossEntropy:
      return "cross-entropy";
  }
  return "";
}

std::vector<TensorRow> TensorRows(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<TensorRow> rows;
  for (ValueId id : ids) rows.push_back({graph.value(id).name, TypeString(graph.value(id).type)});
  return rows;
}

SettingsSection MakeSettings(const Analysis& analysis, bool bare_peak) {
  const AnalysisOptions& options = analysis.options;
  SettingsSection settings;
  settings.batch = BatchOf(analysis.training.graph);
  settings.dims.assign(options.shapes.dims.begin(), options.shapes.dims.end());
  for (const auto& [name, shape] : options.shapes.inputs) {
    settings.inputs.emplace_back(name, absl::StrJoin(shape, "x"));
  }
  const bool training = options.mode == Mode::kTraining;
  settings.mode = training ? "training" : "inference";
  settings.precision = std::string(PrecisionName(options.precision));
  settings.update_order = options.update_order == UpdateOrder::kEager ? "eager" : "end";
  settings.dropout_mask = options.dropout_mask_bytes == 1 ? "cuda" : "cpu";
  if (training) {
    settings.loss = std::string(LossName(options.loss));
    settings.loss_description = analysis.training.loss_description;
    settings.optimizer = analysis.training.optimizer;
  }
  settings.recognize = options.recognize;
  settings.freeze = options.freeze;
  settings.train = options.train;
  settings.bare_peak = bare_peak;
  return settings;
}

// Is the value a parameter, seen as it is or through one-input operators (a transpose, a reshape)?
bool ComesFromParameter(const Graph& graph, ValueId id) {
  while (id != kNoValue && graph.value(id).kind != ValueKind::kParameter) {
    const NodeId producer = graph.value(id).producer;
    if (producer == kNoNode || graph.node(producer).inputs.empty()) return false;
    const auto& inputs = graph.node(producer).inputs;
    for (size_t i = 1; i < inputs.size(); ++i) {
      if (inputs[i] != kNoValue && graph.value(inputs[i]).kind != ValueKind::kConstant) return false;
    }
    id = inputs[0];
  }
  return id != kNoValue;
}

// Reuse factors and, of a backward kernel, which gradient it writes: both are the kernel's to tell. To a matrix product
// both operands are X; the gradient of the one that is a weight is called dW all the same.
void DescribeKernel(const Graph& graph, NodeId id, LayerRow& layer) {
  const OpSemantics* semantics = OpRegistry::Get().Find(graph.node(id).op);
  if (semantics == nullptr || semantics->kernel == nullptr) return;
  const absl::StatusOr<Kernel> kernel = semantics->kernel(OpContext(graph, id, *semantics));
  if (!kernel.ok()) return;
  layer.reuse_factors = ComputeReuseFactors(*kernel).value_or(ReuseFactors());
  for (const Access& access : kernel->accesses) {
    const bool gradient = access.role == Role::kDX || access.role == Role::kDW;
    if (access.writes && gradient && layer.gradient.empty()) layer.gradient = std::string(RoleName(access.role));
  }
  const Node& node = graph.node(id);
  const int64_t wrt = node.attributes.Int("wrt", -1);
  if (wrt < 0 || node.forward_node == kNoNode || layer.gradient.empty()) return;
  const auto& operands = graph.node(node.forward_node).inputs;
  const bool weight = wrt < static_cast<int64_t>(operands.size()) && ComesFromParameter(graph, operands[wrt]);
  if (weight) layer.gradient = std::string(RoleName(Role::kDW));
}

// The forward node whose place in the model a node has: itself, or the node whose gradient it computes.
NodeId ForwardNodeOf(const Graph& graph, NodeId id) {
  return graph.node(id).phase == Phase::kForward ? id : graph.node(id).forward_node;
}

Work WorkOf(const KernelCost& kernel) {
  return {.kernels = 1,
          .macs = kernel.macs,
          .flops = kernel.flops,
          .contraction_flops = kernel.contraction_flops,
          .transcendentals = kernel.transcendentals,
          .bytes = kernel.bytes()};
}

LayerRow MakeLayer(const Analysis& analysis, const std::vector<DeviceSection>& devices, size_t index) {
  const Graph& graph = analysis.training.graph;
  const KernelCost& kernel = analysis.cost.kernels[index];
  const Node& node = graph.node(kernel.node);
  LayerRow layer{.name = node.name,
                 .module = node.module,
                 .op = OpKeyString(node.op),
                 .phase = kernel.phase,
                 .known = kernel.known,
                 .work = WorkOf(kernel)};
  const NodeId forward = ForwardNodeOf(graph, kernel.node);
  layer.label = !node.module.empty() ? node.module : forward != kNoNode ? graph.node(forward).name : node.name;
  const int32_t block = analysis.blocks.InnermostOf(forward);
  if (block != kNoBlock) layer.block = analysis.blocks.blocks[block].name;
  for (const DeviceSection& device : devices) {
    const KernelBound& bound = device.roofline.kernels[index].Headline();
    layer.times.push_back({bound.seconds, bound.bound});
    layer.work.seconds.push_back(bound.seconds);
    layer.work.memory_bound_seconds.push_back(bound.bound == Bound::kMemory ? bound.seconds : 0);
  }
  return layer;
}

// The outermost block group around a kernel, or -1.
int32_t OutermostGroup(const Analysis& analysis, NodeId node) {
  const BlockTable& table = analysis.blocks;
  int32_t block = table.InnermostOf(ForwardNodeOf(analysis.training.graph, node));
  if (block == kNoBlock) return -1;
  while (table.blocks[block].parent != kNoBlock) block = table.blocks[block].parent;
  return table.blocks[block].group;
}

std::string FirstComponent(absl::string_view module) { return std::string(module.substr(0, module.find('.'))); }

// Folds layers into rows: blocks by their outermost group, what is outside by the top of the module tree. A kernel
// between two blocks of a group, in the module that the group is named after, counts with them (the ReLU after a
// ResNet's Add).
std::vector<GroupRow> MakeGroups(const Analysis& analysis, const std::vector<LayerRow>& layers) {
  const Graph& graph = analysis.training.graph;
  std::vector<GroupRow> rows;
  std::map<std::pair<int32_t, std::string>, size_t> row_of;
  std::map<std::string, int32_t> group_of_name;
  for (const Block& block : analysis.blocks.blocks) {
    if (block.parent == kNoBlock) group_of_name.emplace(analysis.blocks.groups[block.group].name, block.group);
  }
  GroupRow updates{.name = analysis.training.optimizer, .kind = "update"};
  for (size_t k = 0; k < layers.size(); ++k) {
    const LayerRow& layer = layers[k];
    const NodeId node = analysis.cost.kernels[k].node;
    if (layer.phase == Phase::kUpdate) {
      updates.work.Add(layer.work);
      continue;
    }
    int32_t group = OutermostGroup(analysis, node);
    const NodeId forward = ForwardNodeOf(graph, node);
    const std::string outside = !layer.module.empty() ? FirstComponent(layer.module)
                                : forward != kNoNode  ? graph.node(forward).op.type
                                                      : graph.node(node).op.type;
    const auto same_module = group_of_name.find(outside);
    if (group < 0 && same_module != group_of_name.end()) group = same_module->second;
    const auto [place, is_new] = row_of.try_emplace({group, group < 0 ? outside : ""}, rows.size());
    if (is_new && group < 0) rows.push_back({.name = outside});
    if (is_new && group >= 0) {
      const BlockGroup& blocks = analysis.blocks.groups[group];
      rows.push_back({.name = blocks.name, .kind = std::string(BlockKindName(blocks.kind)), .count = blocks.count});
    }
    rows[place->second].work.Add(layer.work);
  }
  if (updates.work.kernels > 0) rows.push_back(std::move(updates));
  return rows;
}

std::vector<BlockRow> MakeBlocks(const BlockTable& table) {
  std::vector<BlockRow> rows;
  for (const BlockGroup& group : table.groups) {
    rows.push_back({.name = group.name,
                    .kind = std::string(BlockKindName(group.kind)),
                    .nodes = table.blocks[group.first_block].num_nodes,
                    .count = group.count,
                    .parent = group.parent == kNoBlock ? "" : table.groups[group.parent].name});
  }
  return rows;
}

std::vector<ScopeRow> MakeScopes(const ReuseTable& reuse) {
  std::vector<ScopeRow> rows;
  for (const ScopeReuse& scope : reuse.scopes) {
    rows.push_back({scope.scope, scope.edges, scope.bytes, scope.saved_bytes, scope.capacity_to_capture_bytes,
                    scope.capacity_to_capture_half_bytes});
  }
  return rows;
}

// 0, powers of two until nothing more is saved, what the devices have, what was asked for.
std::vector<CurveRow> MakeCurve(const LruCurve& lru, const ManagedCurve& managed,
                                const std::vector<DeviceSection>& devices, const std::vector<int64_t>& extra) {
  std::set<int64_t> capacities = {0};
  capacities.insert(extra.begin(), extra.end());
  int64_t rung = kFirstRung;
  for (; rung < lru.saturation_bytes() && rung < kLastRung; rung *= 2) capacities.insert(rung);
  capacities.insert(rung);
  for (const DeviceSection& device : devices) capacities.insert(device.roofline.device.on_chip_bytes);
  std::vector<CurveRow> rows;
  for (int64_t capacity : capacities) {
    CurveRow row{capacity, lru.TrafficAt(capacity), managed.TrafficAt(capacity)};
    for (const DeviceSection& device : devices) {
      if (device.roofline.device.on_chip_bytes == capacity) row.devices.push_back(device.hardware.name);
    }
    row.asked = std::find(extra.begin(), extra.end(), capacity) != extra.end();
    rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<DeviceSection> MakeDevice(const Analysis& analysis, const Hardware& hardware, bool bare_peak) {
  RS_ASSIGN_OR_RETURN(const RooflineDevice rates,
                      RatesOf(hardware, analysis.options.precision, {.bare_peak = bare_peak}));
  RS_ASSIGN_OR_RETURN(Roofline roofline, ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, rates,
                                                         {.batch = BatchOf(analysis.training.graph)}));
  DeviceSection device{.hardware = hardware, .roofline = std::move(roofline)};
  for (const KernelTime& kernel : device.roofline.kernels) {
    const double memory_seconds = kernel.Headline().memory_seconds;
    device.step_seconds_with_twice_bandwidth += std::max(kernel.compute_seconds, memory_seconds / 2);
    device.step_seconds_with_twice_compute += std::max(kernel.compute_seconds / 2, memory_seconds);
  }
  if (rates.memory_bytes.has_value()) device.fits = analysis.memory.Fits(*rates.memory_bytes);
  return device;
}

}  // namespace

void Work::Add(const Work& other) {
  kernels += other.kernels;
  macs += other.macs;
  flops += other.flops;
  contraction_flops += other.contraction_flops;
  transcendentals += other.transcendentals;
  bytes += other.bytes;
  seconds.resize(std::max(seconds.size(), other.seconds.size()));
  memory_bound_seconds.resize(seconds.size());
  for (size_t d = 0; d < other.seconds.size(); ++d) {
    seconds[d] += other.seconds[d];
    memory_bound_seconds[d] += other.memory_bound_seconds[d];
  }
}

absl::StatusOr<Report> MakeReport(const Analysis& analysis, const std::vector<Hardware>& devices,
                                  const ReportOptions& options) {
  Report report;
  const Graph& graph = analysis.training.graph;
  report.model = {.facts = analysis.facts,
                  .parameter_bytes = analysis.memory.parameter_bytes,
                  .inputs = TensorRows(graph, graph.inputs),
                  .outputs = TensorRows(graph, graph.outputs)};
  report.settings = MakeSettings(analysis, options.bare_peak);
  report.notes = analysis.notes;
  report.coverage = analysis.coverage;

  for (const Hardware& hardware : devices) {
    RS_ASSIGN_OR_RETURN(DeviceSection device, MakeDevice(analysis, hardware, options.bare_peak));
    report.devices.push_back(std::move(device));
  }
  for (size_t k = 0; k < analysis.cost.kernels.size(); ++k) {
    LayerRow layer = MakeLayer(analysis, report.devices, k);
    report.phases[static_cast<int>(layer.phase)].Add(layer.work);
    report.layers.push_back(std::move(layer));
  }
  const int described = options.described_layers.value_or(static_cast<int>(report.layers.size()));
  for (int k : TopLayers(report, described)) DescribeKernel(graph, analysis.cost.kernels[k].node, report.layers[k]);
  for (Work& phase : report.phases) {
    phase.seconds.resize(devices.size());
    phase.memory_bound_seconds.resize(devices.size());
    report.step.Add(phase);
  }
  report.groups = MakeGroups(analysis, report.layers);
  report.blocks = MakeBlocks(analysis.blocks);
  report.scopes = MakeScopes(analysis.reuse);
  report.curve = MakeCurve(analysis.lru, analysis.managed, report.devices, options.extra_capacities);
  report.minimum_traffic_bytes = analysis.lru.minimum_bytes();
  report.saturation_capacity_bytes = analysis.lru.saturation_bytes();
  report.memory = analysis.memory;
  if (analysis.memory.peak_kernel >= 0) {
    const LayerRow& peak = report.layers[analysis.memory.peak_kernel];
    report.peak_layer = peak.label;
    report.peak_phase = peak.phase;
  }
  return report;
}

std::vector<int> TopLayers(const Report& report, int count) {
  std::vector<int> order(report.layers.size());
  std::iota(order.begin(), order.end(), 0);
  const auto heavier = [&](int a, int b) {
    const LayerRow& left = report.layers[a];
    const LayerRow& right = report.layers[b];
    if (!left.times.empty()) return left.times[0].seconds > right.times[0].seconds;
    return std::pair(left.work.flops, left.work.bytes) > std::pair(right.work.flops, right.work.bytes);
  };
  std::stable_sort(order.begin(), order.end(), heavier);
  order.resize(std::min<size_t>(order.size(), std::max(count, 0)));
  return order;
}

}  // namespace reusescope::cli
