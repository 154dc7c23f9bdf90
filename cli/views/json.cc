// The contract: keys and types are those of cli/analysis.schema.json. New keys may come; none goes within a version.

#include "nlohmann/json.hpp"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cli/views/views.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;

Json Tensors(const std::vector<TensorRow>& rows) {
  Json out = Json::array();
  for (const TensorRow& row : rows) {
    Json at_most = Json::array();
    for (int d = 0; d < 64; ++d) {
      if ((row.at_most >> d & 1) != 0) at_most.push_back(d);
    }
    out.push_back({{"name", row.name}, {"type", row.type}, {"upper_bounds", std::move(at_most)}});
  }
  return out;
}

Json ModelJson(const ModelSection& model) {
  Json opsets = Json::object();
  for (const auto& [domain, version] : model.facts.opsets) opsets[domain.empty() ? "ai.onnx" : domain] = version;
  return {{"file", model.facts.file},
          {"producer", model.facts.producer},
          {"ir_version", model.facts.ir_version},
          {"opsets", opsets},
          {"nodes", model.facts.nodes},
          {"parameters", model.facts.parameters},
          {"parameter_tensors", model.facts.parameter_tensors},
          {"parameter_bytes", model.parameter_bytes},
          {"inputs", Tensors(model.inputs)},
          {"outputs", Tensors(model.outputs)},
          {"bounded_tensors", Tensors(model.bounded)}};
}

Json CoverageJson(const Report& report) {
  const Coverage& coverage = report.coverage;
  Json recognized = Json::object();
  for (const auto& [what, count] : report.recognized) recognized[what] = count;
  Json unknown = Json::array();
  for (const UnknownOperator& op : coverage.unknown_operators) {
    unknown.push_back({{"op", op.op}, {"nodes", op.nodes}, {"example", op.example}, {"bytes", op.bytes}});
  }
  return {{"nodes", coverage.nodes},      {"known_nodes", coverage.known_nodes},
          {"bytes", coverage.bytes},      {"known_bytes", coverage.known_bytes},
          {"unknown_operators", unknown}, {"recognized", recognized}};
}

Json NullIfEmpty(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json SettingsJson(const SettingsSection& settings) {
  Json dims = Json::object();
  for (const auto& [name, size] : settings.dims) dims[name] = size;
  Json inputs = Json::object();
  for (const auto& [name, shape] : settings.inputs) inputs[name] = shape;
  return {{"mode", settings.mode},
          {"batch", settings.batch},
          {"dims", dims},
          {"inputs", inputs},
          {"precision", settings.precision},
          {"loss", NullIfEmpty(settings.loss)},
          {"loss_description", NullIfEmpty(settings.loss_description)},
          {"optimizer", NullIfEmpty(settings.optimizer)},
          {"update_order", settings.update_order},
          {"dropout_mask", settings.dropout_mask},
          {"recognize", settings.recognize},
          {"freeze", NullIfEmpty(settings.freeze)},
          {"train", NullIfEmpty(settings.train)},
          {"checkpoint", NullIfEmpty(settings.checkpoint)},
          {"clip_norm", settings.gradients.clip_norm > 0 ? Json(settings.gradients.clip_norm) : Json()},
          {"accumulate", settings.gradients.accumulate},
          {"loss_scale", settings.gradients.loss_scale},
          {"bare_peak", settings.bare_peak}};
}

// Seconds are the first device's; null without a device.
Json WorkJson(const Work& work) {
  return {{"kernels", work.kernels},
          {"macs", work.macs},
          {"flops", work.flops},
          {"contraction_flops", work.contraction_flops},
          {"transcendentals", work.transcendentals},
          {"bytes", work.bytes},
          {"seconds", work.seconds.empty() ? Json() : Json(work.seconds[0])},
          {"memory_bound_seconds", work.memory_bound_seconds.empty() ? Json() : Json(work.memory_bound_seconds[0])}};
}

Json TotalsJson(const Report& report) {
  Json out = Json::object();
  for (int p = 0; p < kNumPhases; ++p) {
    out[std::string(PhaseName(static_cast<Phase>(p)))] = WorkJson(report.phases[p]);
  }
  out["step"] = WorkJson(report.step);
  if (report.optimizer_step.has_value()) out["optimizer_step"] = WorkJson(*report.optimizer_step);
  return out;
}

// A name that is not UTF-8 must not stop the report.
std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// An object of the long lists, as text at once: there are as many of them as kernels.
class ObjectText {
 public:
  void Add(absl::string_view key, int64_t value) { Append(key, absl::StrCat(value)); }
  void Add(absl::string_view key, double value) { Append(key, fmt::format("{}", value)); }
  void Add(absl::string_view key, bool value) { Append(key, value ? "true" : "false"); }
  void Add(absl::string_view key, const std::string& value) { Append(key, Dump(value)); }
  void AddOrNull(absl::string_view key, const std::string& value) { Append(key, value.empty() ? "null" : Dump(value)); }
  void Append(absl::string_view key, absl::string_view json) {
    absl::StrAppend(&text_, text_.size() > 1 ? "," : "", "\"", key, "\":", json);
  }
  std::string Finish() && { return std::move(text_) + "}"; }

 private:
  std::string text_ = "{";
};

// null: the kernel has no such operand.
void AddFactor(ObjectText& out, absl::string_view key, double factor) {
  factor > 0 ? out.Add(key, factor) : out.Append(key, "null");
}

std::string LayerText(const LayerRow& layer) {
  const Work& work = layer.work;
  ObjectText factors;
  AddFactor(factors, "weight", layer.reuse_factors.weight);
  AddFactor(factors, "input", layer.reuse_factors.input);
  AddFactor(factors, "convolutional", layer.reuse_factors.convolutional);
  AddFactor(factors, "partial_sum", layer.reuse_factors.partial_sum);
  ObjectText out;
  out.Add("name", layer.name);
  out.Add("module", layer.module);
  out.Add("label", layer.label);
  out.Add("op", layer.op);
  out.Add("phase", std::string(PhaseName(layer.phase)));
  out.AddOrNull("gradient", layer.gradient);
  out.AddOrNull("block", layer.block);
  out.Add("known", layer.known);
  // What is not known is null, not 0.
  const auto add_known = [&](absl::string_view key, auto value) {
    layer.known ? out.Add(key, value) : out.Append(key, "null");
  };
  add_known("macs", work.macs);
  add_known("flops", work.flops);
  add_known("contraction_flops", work.contraction_flops);
  add_known("transcendentals", work.transcendentals);
  out.AddOrNull("operands", layer.arithmetic == Arithmetic::kAny ? "" : std::string(ArithmeticName(layer.arithmetic)));
  out.Add("bytes", work.bytes);
  add_known("intensity", work.intensity());
  out.AddOrNull("bound", layer.times.empty() ? "" : std::string(BoundName(layer.times[0].bound)));
  out.Append("seconds", layer.times.empty() ? "null" : fmt::format("{}", layer.times[0].seconds));
  out.Append("reuse_factors", std::move(factors).Finish());
  return std::move(out).Finish();
}

Json BlockJson(const BlockRow& block) {
  return {{"name", block.name},
          {"kind", block.kind},
          {"nodes", block.nodes},
          {"count", block.count},
          {"parent", NullIfEmpty(block.parent)}};
}

Json ReuseJson(const Report& report) {
  Json scopes = Json::array();
  for (const ScopeRow& row : report.scopes) {
    scopes.push_back({{"scope", std::string(ReuseScopeName(row.scope))},
                      {"edges", row.edges},
                      {"bytes", row.bytes},
                      {"capacity_to_capture_bytes", row.capacity_to_capture_bytes},
                      {"capacity_to_capture_half_bytes", row.capacity_to_capture_half_bytes},
                      {"saved_bytes", row.saved_bytes},
                      {"saved_at_capacity_bytes", row.saved_at_capacity_bytes}});
  }
  Json curve = Json::array();
  for (const CurveRow& row : report.curve) {
    curve.push_back(
        {{"capacity_bytes", row.capacity_bytes}, {"lru_bytes", row.lru_bytes}, {"managed_bytes", row.managed_bytes}});
  }
  return {{"scopes", scopes},
          {"curve", curve},
          {"minimum_bytes", report.minimum_traffic_bytes},
          {"saturation_capacity_bytes", report.saturation_capacity_bytes}};
}

std::string SampleText(const MemorySample& sample) {
  const auto bytes = [&](MemoryKind kind) { return sample.bytes_by_kind[static_cast<int>(kind)]; };
  ObjectText out;
  out.Add("bytes", sample.total_bytes);
  out.Add("parameter_bytes", bytes(MemoryKind::kParameter));
  out.Add("weight_copy_bytes", bytes(MemoryKind::kWeightCopy));
  out.Add("buffer_bytes", bytes(MemoryKind::kBuffer));
  out.Add("optimizer_state_bytes", bytes(MemoryKind::kOptimizerState));
  out.Add("input_bytes", bytes(MemoryKind::kInput));
  out.Add("activation_bytes", bytes(MemoryKind::kActivation));
  out.Add("recomputed_bytes", bytes(MemoryKind::kRecomputed));
  out.Add("gradient_bytes", bytes(MemoryKind::kGradient));
  out.Add("parameter_gradient_bytes", bytes(MemoryKind::kParameterGradient));
  return std::move(out).Finish();
}

std::string LiveTensorText(const LiveTensor& tensor) {
  ObjectText out;
  out.Add("name", tensor.name);
  out.Add("kind", std::string(MemoryKindName(tensor.kind)));
  out.Add("bytes", tensor.bytes);
  return std::move(out).Finish();
}

std::string StashText(const StashRow& tensor) {
  ObjectText out;
  out.Add("name", tensor.name);
  out.Add("bytes", tensor.bytes);
  out.Add("input", tensor.input);
  out.AddOrNull("producer", tensor.producer);
  out.Append("readers", Dump(tensor.readers));
  return std::move(out).Finish();
}

// Without its three long lists.
Json MemoryJson(const Report& report) {
  const MemoryTable& memory = report.memory;
  Json capacity, fits;
  if (!report.devices.empty() && report.devices[0].fits.has_value()) {
    capacity = *report.devices[0].roofline.device.memory_bytes;
    fits = *report.devices[0].fits;
  }
  return {{"parameter_bytes", memory.parameter_bytes},
          {"weight_copy_bytes", memory.weight_copy_bytes},
          {"gradient_bytes", memory.gradient_bytes},
          {"optimizer_state_bytes", memory.optimizer_state_bytes},
          {"input_bytes", memory.input_bytes},
          {"buffer_bytes", memory.buffer_bytes},
          {"constant_bytes", memory.constant_bytes},
          {"stash_needed_bytes", memory.stash_needed_bytes},
          {"stash_needed_input_bytes", memory.stash.needed_input_bytes},
          {"stash_pytorch_eager_bytes", memory.stash_pytorch_eager_bytes},
          {"stash_pytorch_eager_input_bytes", memory.stash.eager_input_bytes},
          {"peak_bytes", memory.peak_bytes},
          {"peak_layer_index", memory.peak_kernel < 0 ? Json() : Json(memory.peak_kernel)},
          {"capacity_bytes", capacity},
          {"fits", fits}};
}

Json StepTimeJson(const StepTime& step) {
  return {{"step_seconds", step.step_seconds},
          {"samples_per_second", step.samples_per_second},
          {"memory_bound_share", step.memory_bound_share},
          {"traffic_bytes", step.traffic_bytes},
          {"average_bandwidth_bytes_per_second", step.average_bandwidth_bytes_per_second},
          {"compute_utilization", step.compute_utilization},
          {"matrix_utilization", step.matrix_utilization}};
}

Json NarrowRatesJson(const RooflineDevice& device) {
  Json rates = Json::object();
  for (const MatrixRate& rate : device.narrow) {
    rates[std::string(ArithmeticName(rate.arithmetic))] = rate.flops_per_second;
  }
  return rates;
}

Json RooflineJson(const DeviceSection& device) {
  const Roofline& roofline = device.roofline;
  const RooflineDevice& rates = roofline.device;
  const StepTime& step = roofline.Headline();
  Json phases = Json::object();
  for (int p = 0; p < kNumPhases; ++p) {
    const PhaseTime& phase = step.phases[p];
    phases[std::string(PhaseName(static_cast<Phase>(p)))] = {{"seconds", phase.seconds},
                                                             {"memory_bound_seconds", phase.memory_bound_seconds}};
  }
  Json layer_seconds = Json::array();
  Json layer_bounds = Json::array();
  Json layer_compute_seconds = Json::array();
  Json layer_lru_bytes = Json::array();
  Json layer_managed_bytes = Json::array();
  for (const KernelTime& kernel : roofline.kernels) {
    layer_seconds.push_back(kernel.Headline().seconds);
    layer_bounds.push_back(std::string(BoundName(kernel.Headline().bound)));
    layer_compute_seconds.push_back(kernel.compute_seconds);
    layer_lru_bytes.push_back(kernel.under[static_cast<int>(TrafficModel::kLru)].traffic_bytes);
    layer_managed_bytes.push_back(kernel.under[static_cast<int>(TrafficModel::kManaged)].traffic_bytes);
  }
  return {{"device", device.hardware.name},
          {"display_name", rates.name},
          {"peak_flops_per_second", rates.matrix_peak_flops_per_second},
          {"achievable_flops_per_second", rates.matrix_flops_per_second},
          {"narrow_flops_per_second", NarrowRatesJson(rates)},
          {"vector_flops_per_second", rates.vector_flops_per_second},
          {"peak_bandwidth_bytes_per_second", rates.peak_bandwidth_bytes_per_second},
          {"bandwidth_bytes_per_second", rates.bandwidth_bytes_per_second},
          {"ridge_flops_per_byte", rates.ridge_flops_per_byte()},
          {"on_chip_bytes", rates.on_chip_bytes},
          {"memory_bytes", rates.memory_bytes.has_value() ? Json(*rates.memory_bytes) : Json()},
          {"fits", device.fits.has_value() ? Json(*device.fits) : Json()},
          {"notes", rates.notes},
          {"step_seconds", step.step_seconds},
          {"samples_per_second", step.samples_per_second},
          {"memory_bound_share", step.memory_bound_share},
          {"phases", phases},
          {"traffic_models",
           {{"every_kernel_fetches", StepTimeJson(roofline.Under(TrafficModel::kEveryKernelFetches))},
            {"lru", StepTimeJson(roofline.Under(TrafficModel::kLru))},
            {"managed", StepTimeJson(roofline.Under(TrafficModel::kManaged))}}},
          {"prefetch",
           {{"step_seconds", roofline.prefetch.step_seconds},
            {"compute_seconds", roofline.prefetch.compute_seconds},
            {"transfer_seconds", roofline.prefetch.transfer_seconds},
            {"stall_seconds", roofline.prefetch.stall_seconds}}},
          {"step_seconds_with_twice_bandwidth", device.step_seconds_with_twice_bandwidth},
          {"step_seconds_with_twice_compute", device.step_seconds_with_twice_compute},
          {"layer_seconds", layer_seconds},
          {"layer_bounds", layer_bounds},
          {"layer_compute_seconds", layer_compute_seconds},
          {"layer_lru_bytes", layer_lru_bytes},
          {"layer_managed_bytes", layer_managed_bytes}};
}

// One element per line. The long lists are never in memory as JSON.
template <typename Rows, typename ToText>
std::string Lines(const Rows& rows, ToText to_text) {
  std::string out = "[";
  for (const auto& row : rows) absl::StrAppend(&out, out.size() > 1 ? ",\n  " : "\n  ", to_text(row));
  return absl::StrCat(out, rows.empty() ? "]" : "\n ]");
}

std::string MemoryText(const Report& report) {
  std::string out = Dump(MemoryJson(report));
  out.pop_back();
  return absl::StrCat(out, ",\n \"stash\": ", Lines(report.stash, StashText),
                      ",\n \"live_at_peak\": ", Lines(report.memory.live_at_peak, LiveTensorText),
                      ",\n \"timeline\": ", Lines(report.memory.timeline, SampleText), "}");
}

}  // namespace

std::string RenderJson(const Report& report) {
  const std::pair<const char*, std::string> members[] = {
      {"schema", Dump("reusescope.analysis/1")},
      {"model", Dump(ModelJson(report.model))},
      {"coverage", Dump(CoverageJson(report))},
      {"notes", Dump(report.notes)},
      {"settings", Dump(SettingsJson(report.settings))},
      {"totals", Dump(TotalsJson(report))},
      {"layers", Lines(report.layers, LayerText)},
      {"blocks", Lines(report.blocks, [](const BlockRow& block) { return Dump(BlockJson(block)); })},
      {"reuse", Dump(ReuseJson(report))},
      {"memory", MemoryText(report)},
      {"roofline", report.devices.empty() ? "null" : Dump(RooflineJson(report.devices[0]))},
      {"rooflines", Lines(report.devices, [](const DeviceSection& d) { return Dump(RooflineJson(d)); })},
      {"verdict", Dump(Verdict(report))}};
  std::string out = "{";
  for (const auto& [name, text] : members) {
    absl::StrAppend(&out, out.size() > 1 ? ",\n" : "\n", "\"", name, "\": ", text);
  }
  return out + "\n}\n";
}

}  // namespace reusescope::cli
