#include "cli/views/trace.h"

#include "absl/strings/str_cat.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

constexpr double kMicroseconds = 1e6;

// JSON of a name out of a file, whatever its bytes.
std::string Quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void Append(std::string& out, const std::string& event) { absl::StrAppend(&out, out.size() > 2 ? ",\n" : "\n", event); }

std::string Slice(const LayerRow& layer, size_t device, double start) {
  const LayerTime& time = layer.times[device];
  return fmt::format(
      R"({{"ph":"X","pid":{},"tid":1,"name":{},"cat":"{}","ts":{},"dur":{},"args":{{"op":{},"bound":"{}","flops":{},)"
      R"("bytes":{},"gradient":"{}"}}}})",
      device + 1, Quoted(layer.label), std::string(PhaseName(layer.phase)), start * kMicroseconds,
      time.seconds * kMicroseconds, Quoted(layer.op), std::string(BoundName(time.bound)), layer.work.flops,
      layer.work.bytes, layer.gradient);
}

std::string MemoryCounter(const MemorySample& sample, size_t device, double start) {
  std::string bytes;
  for (int kind = 0; kind < kNumMemoryKinds; ++kind) {
    absl::StrAppend(&bytes, kind > 0 ? "," : "", "\"", MemoryKindName(static_cast<MemoryKind>(kind)),
                    "\":", sample.bytes_by_kind[kind]);
  }
  return fmt::format(R"({{"ph":"C","pid":{},"name":"memory","ts":{},"args":{{{}}}}})", device + 1,
                     start * kMicroseconds, bytes);
}

}  // namespace

std::string RenderTrace(const Report& report) {
  std::string events = "[";
  for (size_t d = 0; d < report.devices.size(); ++d) {
    Append(events, fmt::format(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":{}}}}})", d + 1,
                               Quoted(report.devices[d].hardware.display_name)));
    Append(events,
           fmt::format(R"({{"ph":"M","pid":{},"tid":1,"name":"thread_name","args":{{"name":"kernels"}}}})", d + 1));
    double now = 0;
    for (size_t k = 0; k < report.layers.size(); ++k) {
      Append(events, Slice(report.layers[k], d, now));
      Append(events, MemoryCounter(report.memory.timeline[k], d, now));
      now += report.layers[k].times[d].seconds;
    }
  }
  return absl::StrCat("{\"displayTimeUnit\":\"ms\",\"otherData\":{\"model\":", Quoted(report.model.facts.file),
                      ",\"what\":\"predicted by a roofline, not measured\"},\"traceEvents\":", events, "\n]}\n");
}

}  // namespace reusescope::cli
