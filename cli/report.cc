#include "cli/report.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
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

TensorRow TensorRowOf(const Value& value) {
  return {.name = value.name, .type = TypeString(value.type, value.at_most), .at_most = value.at_most};
}

// What the forward kernels make of a size that data decide.
std::vector<TensorRow> BoundedTensors(const Graph& graph) {
  std::vector<TensorRow> rows;
  for (NodeId id : graph.order) {
    if (graph.node(id).phase != Phase::kForward) continue;
    for (ValueId output : graph.node(id).outputs) {
      if (output != kNoValue && graph.value(output).at_most != 0) rows.push_back(TensorRowOf(graph.value(output)));
    }
  }
  return rows;
}

std::vector<TensorRow> TensorRows(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<TensorRow> rows;
  for (ValueId id : ids) rows.push_back(TensorRowOf(graph.value(id)));
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
    settings.checkpoint = options.checkpoint.kind == CheckpointPolicy::Kind::kValues
                              ? absl::StrCat("a plan of ", options.checkpoint.values.size(), " values")
                              : CheckpointPolicyText(options.checkpoint);
    settings.gradients = options.gradients;
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

Work WorkOf(const Analysis& analysis, const std::vector<DeviceSection>& devices, size_t index) {
  const KernelCost& kernel = analysis.cost.kernels[index];
  Work work{.kernels = 1,
            .macs = kernel.macs,
            .flops = kernel.flops,
            .contraction_flops = kernel.contraction_flops,
            .transcendentals = kernel.transcendentals,
            .bytes = kernel.bytes()};
  for (const DeviceSection& device : devices) {
    const KernelBound& bound = device.roofline.kernels[index].Headline();
    work.seconds.push_back(bound.seconds);
    work.memory_bound_seconds.push_back(bound.bound == Bound::kMemory ? bound.seconds : 0);
  }
  return work;
}

// What a reader looks for: the module, else the name of the forward node.
std::string LabelOf(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const NodeId forward = ForwardNodeOf(graph, id);
  return !node.module.empty() ? node.module : forward != kNoNode ? graph.node(forward).name : node.name;
}

bool WritesParameterGradientsAlone(const CostTable& cost, const KernelCost& kernel) {
  const auto touches = cost.TouchesOf(kernel);
  return std::all_of(touches.begin(), touches.end(), [&](const Touch& touch) {
    return !touch.writes || cost.storages[touch.storage].parameter_gradient;
  });
}

LayerRow MakeLayer(const Analysis& analysis, const std::vector<DeviceSection>& devices, size_t index) {
  const Graph& graph = analysis.training.graph;
  const KernelCost& kernel = analysis.cost.kernels[index];
  const Node& node = graph.node(kernel.node);
  LayerRow layer{.name = node.name,
                 .module = node.module,
                 .label = LabelOf(graph, kernel.node),
                 .op = OpKeyString(node.op),
                 .phase = kernel.phase,
                 .known = kernel.known,
                 .arithmetic = kernel.arithmetic,
                 .work = WorkOf(analysis, devices, index)};
  const int32_t block = analysis.blocks.InnermostOf(ForwardNodeOf(graph, kernel.node));
  if (block != kNoBlock) layer.block = analysis.blocks.blocks[block].name;
  for (const DeviceSection& device : devices) {
    const KernelBound& bound = device.roofline.kernels[index].Headline();
    layer.times.push_back({bound.seconds, bound.bound});
  }
  DescribeKernel(graph, kernel.node, layer);
  // A sum of gradients does not know whose gradient it is: a bias's, for example.
  if (layer.gradient == RoleName(Role::kDX) && WritesParameterGradientsAlone(analysis.cost, kernel)) {
    layer.gradient = std::string(RoleName(Role::kDW));
  }
  return layer;
}

// "ConvGrad dW of layer1.0.conv2".
std::string ReaderText(const Graph& graph, NodeId id) {
  LayerRow layer;
  DescribeKernel(graph, id, layer);
  return absl::StrCat(graph.node(id).op.type, layer.gradient.empty() ? "" : " ", layer.gradient, " of ",
                      LabelOf(graph, id));
}

// The stash by storage: views of one tensor are one row.
std::vector<StashRow> MakeStash(const Analysis& analysis) {
  const Graph& graph = analysis.training.graph;
  std::vector<StashRow> rows;
  absl::flat_hash_map<StorageId, size_t> row_of;
  for (const StashEntry& entry : analysis.training.stash) {
    const Value& value = graph.value(entry.value);
    if (value.storage == kNoStorage || analysis.cost.storages[value.storage].persistent) continue;
    if (!row_of.try_emplace(value.storage, rows.size()).second) continue;
    const StorageCost& storage = analysis.cost.storages[value.storage];
    rows.push_back({.name = value.name, .bytes = storage.bytes, .input = storage.input});
    if (value.producer != kNoNode) rows.back().producer = LabelOf(graph, value.producer);
  }
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.phase == Phase::kForward || node.phase == Phase::kUpdate || IsView(graph, id)) continue;
    for (ValueId input : node.inputs) {
      const auto row = input == kNoValue ? row_of.end() : row_of.find(graph.value(input).storage);
      if (row == row_of.end()) continue;
      StashRow& tensor = rows[row->second];
      if (tensor.readers.empty()) tensor.first_reader = ReaderText(graph, id);
      if (tensor.readers.empty() || tensor.readers.back() != node.name) tensor.readers.push_back(node.name);
    }
  }
  return rows;
}

// Order of the layer list: time on the first device; without one FLOPs, then bytes.
using Weight = std::tuple<double, int64_t, int64_t>;
Weight WeightOf(const Work& work) {
  return work.seconds.empty() ? Weight(0, work.flops, work.bytes) : Weight(work.seconds[0], 0, 0);
}

// Indices of the `count` largest weights, largest first; the earlier of equal ones first.
std::vector<int> Heaviest(const std::vector<Weight>& weights, size_t count) {
  std::vector<int> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](int a, int b) { return weights[a] != weights[b] ? weights[a] > weights[b] : a < b; });
  order.resize(count);
  return order;
}

// The outermost block group around a kernel, or -1.
int32_t OutermostGroup(const Analysis& analysis, NodeId node) {
  const BlockTable& table = analysis.blocks;
  int32_t block = table.InnermostOf(ForwardNodeOf(analysis.training.graph, node));
  if (block == kNoBlock) return -1;
  while (table.blocks[block].parent != kNoBlock) block = table.blocks[block].parent;
  return table.blocks[block].group;
}

// Length of what the paths of all the model's modules begin with, whole components only: "m." where the export wrapped
// the model.
size_t CommonPrefix(const Graph& graph) {
  std::optional<std::string> prefix;
  for (NodeId id : graph.order) {
    const std::string& module = graph.node(id).module;
    if (module.empty() || module == kLossModule) continue;
    if (!prefix.has_value()) prefix = module + ".";
    size_t length = 0;
    while (length < prefix->size() && (*prefix)[length] == (length < module.size() ? module[length] : '.')) ++length;
    prefix->resize(length);
  }
  return prefix.has_value() ? prefix->rfind('.') + 1 : 0;  // npos + 1 is 0
}

// Folds kernels into rows: blocks by their outermost group, what is outside by the top of the module tree. A kernel
// between two blocks of a group, in the module that the group is named after, counts with them (the ReLU after a
// ResNet's Add).
class GroupBuilder {
 public:
  explicit GroupBuilder(const Analysis& analysis)
      : analysis_(analysis),
        prefix_(CommonPrefix(analysis.training.graph)),
        updates_{.name = analysis.training.optimizer, .kind = "update"} {
    for (const Block& block : analysis.blocks.blocks) {
      if (block.parent != kNoBlock) continue;
      group_of_name_.emplace(analysis.blocks.groups[block.group].name, block.group);
    }
  }

  void Add(const KernelCost& kernel, const Work& work) {
    if (kernel.phase == Phase::kUpdate) {
      updates_.work.Add(work);
      return;
    }
    const Graph& graph = analysis_.training.graph;
    const Node& node = graph.node(kernel.node);
    const NodeId forward = ForwardNodeOf(graph, kernel.node);
    const absl::string_view outside = !node.module.empty() ? TopOf(node.module)
                                      : forward != kNoNode ? absl::string_view(graph.node(forward).op.type)
                                                           : absl::string_view(node.op.type);
    int32_t group = OutermostGroup(analysis_, kernel.node);
    const auto same_module = group < 0 ? group_of_name_.find(outside) : group_of_name_.end();
    if (same_module != group_of_name_.end()) group = same_module->second;
    const auto [place, is_new] = row_of_.try_emplace({group, group < 0 ? outside : ""}, rows_.size());
    if (is_new) rows_.push_back(group < 0 ? GroupRow{.name = std::string(outside)} : RowOf(group));
    rows_[place->second].work.Add(work);
  }

  std::vector<GroupRow> Finish() && {
    if (updates_.work.kernels > 0) rows_.push_back(std::move(updates_));
    return std::move(rows_);
  }

 private:
  // The top of the module tree, below what all have in common.
  absl::string_view TopOf(absl::string_view module) const { return module.substr(0, module.find('.', prefix_)); }

  GroupRow RowOf(int32_t group) const {
    const BlockGroup& blocks = analysis_.blocks.groups[group];
    return {.name = blocks.name, .kind = std::string(BlockKindName(blocks.kind)), .count = blocks.count};
  }

  const Analysis& analysis_;
  const size_t prefix_;
  GroupRow updates_;
  std::vector<GroupRow> rows_;
  // Keys are views into the analysis.
  absl::flat_hash_map<std::pair<int32_t, absl::string_view>, size_t> row_of_;
  absl::flat_hash_map<absl::string_view, int32_t> group_of_name_;
};

// Phases, groups and layers, in one walk over the kernels.
void AddWork(const Analysis& analysis, std::optional<int> listed_layers, Report& report) {
  const size_t num_kernels = analysis.cost.kernels.size();
  GroupBuilder groups(analysis);
  std::vector<Weight> weights;
  weights.reserve(num_kernels);
  for (size_t k = 0; k < num_kernels; ++k) {
    const KernelCost& kernel = analysis.cost.kernels[k];
    const Work work = WorkOf(analysis, report.devices, k);
    report.phases[static_cast<int>(kernel.phase)].Add(work);
    groups.Add(kernel, work);
    weights.push_back(WeightOf(work));
  }
  report.groups = std::move(groups).Finish();
  std::vector<int> listed(num_kernels);
  std::iota(listed.begin(), listed.end(), 0);
  if (listed_layers.has_value()) listed = Heaviest(weights, std::max(*listed_layers, 0));
  std::sort(listed.begin(), listed.end());
  report.layers.reserve(listed.size());
  for (int k : listed) report.layers.push_back(MakeLayer(analysis, report.devices, k));
  for (Work& phase : report.phases) {
    phase.seconds.resize(report.devices.size());
    phase.memory_bound_seconds.resize(report.devices.size());
    report.step.Add(phase);
  }
}

// N micro-batches run forward, recomputation and backward, with the addition to the accumulated gradients; one update.
absl::Status AddOptimizerStep(Report& report) {
  const int64_t micro_batches = report.settings.gradients.accumulate;
  if (micro_batches <= 1) return absl::OkStatus();
  for (int64_t count : {report.step.flops, report.step.bytes, report.step.transcendentals}) {
    if (CheckedMultiply(count, micro_batches)) continue;
    return absl::OutOfRangeError(absl::StrCat("--accumulate: ", micro_batches, " times ", count, " exceeds int64"));
  }
  Work& all = report.optimizer_step.emplace();
  for (int p = 0; p < kNumPhases; ++p) {
    all.Add(report.phases[p], static_cast<Phase>(p) == Phase::kUpdate ? 1 : micro_batches);
  }
  return absl::OkStatus();
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

std::vector<ScopeRow> MakeScopes(const ReuseTable& reuse, const std::vector<CurveRow>& curve) {
  std::vector<ScopeRow> rows;
  for (const ScopeReuse& scope : reuse.scopes) {
    rows.push_back({scope.scope, scope.edges, scope.bytes, scope.saved_bytes, scope.capacity_to_capture_bytes,
                    scope.capacity_to_capture_half_bytes});
    for (const CurveRow& row : curve) {
      rows.back().saved_at_capacity_bytes.push_back(scope.SavedBytes(row.capacity_bytes));
    }
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

void Work::Add(const Work& other, int64_t times) {
  kernels += times * other.kernels;
  macs += times * other.macs;
  flops += times * other.flops;
  contraction_flops += times * other.contraction_flops;
  transcendentals += times * other.transcendentals;
  bytes += times * other.bytes;
  seconds.resize(std::max(seconds.size(), other.seconds.size()));
  memory_bound_seconds.resize(seconds.size());
  for (size_t d = 0; d < other.seconds.size(); ++d) {
    seconds[d] += static_cast<double>(times) * other.seconds[d];
    memory_bound_seconds[d] += static_cast<double>(times) * other.memory_bound_seconds[d];
  }
}

absl::StatusOr<Report> MakeReport(const Analysis& analysis, const std::vector<Hardware>& devices,
                                  const ReportOptions& options) {
  Report report;
  const Graph& graph = analysis.training.graph;
  report.model = {.facts = analysis.facts,
                  .parameter_bytes = analysis.memory.parameter_bytes,
                  .inputs = TensorRows(graph, graph.inputs),
                  .outputs = TensorRows(graph, graph.outputs),
                  .bounded = BoundedTensors(graph)};
  report.settings = MakeSettings(analysis, options.bare_peak);
  report.notes = analysis.notes;
  report.coverage = analysis.coverage;
  report.recognized.assign(analysis.training.recognized.begin(), analysis.training.recognized.end());

  for (const Hardware& hardware : devices) {
    RS_ASSIGN_OR_RETURN(DeviceSection device, MakeDevice(analysis, hardware, options.bare_peak));
    report.devices.push_back(std::move(device));
  }
  AddWork(analysis, options.listed_layers, report);
  RS_RETURN_IF_ERROR(AddOptimizerStep(report));
  report.blocks = MakeBlocks(analysis.blocks);
  report.curve = MakeCurve(analysis.lru, analysis.managed, report.devices, options.extra_capacities);
  report.scopes = MakeScopes(analysis.reuse, report.curve);
  report.minimum_traffic_bytes = analysis.lru.minimum_bytes();
  report.saturation_capacity_bytes = analysis.lru.saturation_bytes();
  report.memory = analysis.memory;
  report.stash = MakeStash(analysis);
  if (analysis.memory.peak_kernel >= 0) {
    const KernelCost& peak = analysis.cost.kernels[analysis.memory.peak_kernel];
    report.peak_layer = LabelOf(graph, peak.node);
    report.peak_phase = peak.phase;
  }
  return report;
}

std::vector<int> TopLayers(const Report& report, int count) {
  std::vector<Weight> weights;
  for (const LayerRow& layer : report.layers) weights.push_back(WeightOf(layer.work));
  return Heaviest(weights, std::max(count, 0));
}

}  // namespace reusescope::cli
