// Design spaces as CSV and JSON, point by point.

#include <cmath>

#include "absl/strings/str_cat.h"
#include "cli/views/design_view.h"
#include "cli/views/json_values.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
std::string OrEmpty(const std::optional<T>& value) {
  return value.has_value() ? fmt::format("{}", *value) : "";
}

Json StepJson(int64_t batch, PrecisionMode precision, Policy policy) {
  return {{"batch", batch},
          {"precision", std::string(PrecisionName(precision))},
          {"policy", std::string(PolicyName(policy))}};
}

Json PointJson(const DesignPoint& point) {
  Json json = StepJson(point.batch, point.precision, point.policy);
  json["capacity_bytes"] = point.capacity_bytes;
  json["bandwidth_bytes_per_second"] = point.bandwidth_bytes_per_second;
  json["throughput_flops_per_second"] = point.throughput_flops_per_second;
  json["step_seconds"] = point.step_seconds;
  json["memory_bound_seconds"] = point.memory_bound_seconds;
  json["stall_seconds"] = point.stall_seconds;
  json["prefetch_step_seconds"] = OrNull(point.prefetch_step_seconds);
  json["prefetch_stall_seconds"] = OrNull(point.prefetch_stall_seconds);
  json["buffer_bytes"] = OrNull(point.buffer_bytes);
  json["traffic_bytes"] = point.traffic_bytes;
  json["average_bandwidth_bytes_per_second"] = point.step_seconds > 0 ? point.average_bandwidth() : 0;
  json["tiled_step_seconds"] = OrNull(point.tiled_step_seconds);
  json["tiled_traffic_bytes"] = OrNull(point.tiled_traffic_bytes);
  json["double_buffered_kernels"] = OrNull(point.double_buffered_kernels);
  json["compute_utilization"] = point.compute_utilization;
  json["energy_joules"] = OrNull(point.energy_joules);
  json["cost"] = OrNull(point.cost);
  json["on_front"] = point.on_front;
  return json;
}

Json KneeJson(const Knee& knee) {
  Json json = StepJson(knee.batch, knee.precision, knee.policy);
  json["capacity_bytes"] = knee.capacity_bytes;
  json["traffic_bytes"] = knee.traffic_bytes;
  json["saved_bytes"] = knee.saved_bytes;
  json["scope"] = knee.scope.has_value() ? Json(std::string(ReuseScopeName(*knee.scope))) : Json();
  json["scope_share"] = knee.scope_share;
  json["knee"] = knee.knee;
  return json;
}

Json CapturedJson(const CapturedReuse& captured) {
  return {{"batch", captured.batch},
          {"precision", std::string(PrecisionName(captured.precision))},
          {"capacity_bytes", captured.capacity_bytes},
          {"scope", std::string(ReuseScopeName(captured.scope))},
          {"captured_bytes", captured.captured_bytes},
          {"reusable_bytes", captured.reusable_bytes}};
}

Json IsoJson(const IsoPoint& point) {
  Json json = StepJson(point.batch, point.precision, point.policy);
  json["throughput_flops_per_second"] = point.throughput_flops_per_second;
  json["step_seconds"] = point.step_seconds;
  json["capacity_bytes"] = point.capacity_bytes;
  const bool possible = std::isfinite(point.bandwidth_bytes_per_second);
  json["bandwidth_bytes_per_second"] = possible ? Json(point.bandwidth_bytes_per_second) : Json();
  return json;
}

Json BaseJson(const DesignSpace& space) {
  return {{"display_name", space.base.display_name},
          {"capacity_bytes", space.base.on_chip.capacity_bytes},
          {"bandwidth_bytes_per_second", space.base_bandwidth_bytes_per_second},
          {"power_watts", OrNull(space.base.power_watts)}};
}

template <typename T, typename ToJson>
Json ListJson(const std::vector<T>& list, ToJson to_json) {
  Json json = Json::array();
  for (const T& entry : list) json.push_back(to_json(entry));
  return json;
}

}  // namespace

std::string RenderDesignCsv(const DesignSpace& space) {
  std::string text =
      "batch,precision,policy,capacity_bytes,bandwidth_bytes_per_second,throughput_flops_per_second,step_seconds,"
      "memory_bound_seconds,stall_seconds,prefetch_step_seconds,prefetch_stall_seconds,buffer_bytes,traffic_bytes,"
      "average_bandwidth_bytes_per_second,compute_utilization,energy_joules,cost,on_front,"
      "tiled_step_seconds,tiled_traffic_bytes,double_buffered_kernels\r\n";
  for (const DesignPoint& point : space.points) {
    absl::StrAppend(
        &text, fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n", point.batch,
                           std::string(PrecisionName(point.precision)), std::string(PolicyName(point.policy)),
                           point.capacity_bytes, point.bandwidth_bytes_per_second, point.throughput_flops_per_second,
                           point.step_seconds, point.memory_bound_seconds, point.stall_seconds,
                           OrEmpty(point.prefetch_step_seconds), OrEmpty(point.prefetch_stall_seconds),
                           OrEmpty(point.buffer_bytes), point.traffic_bytes,
                           point.step_seconds > 0 ? point.average_bandwidth() : 0, point.compute_utilization,
                           OrEmpty(point.energy_joules), OrEmpty(point.cost), point.on_front,
                           OrEmpty(point.tiled_step_seconds), OrEmpty(point.tiled_traffic_bytes),
                           OrEmpty(point.double_buffered_kernels)));
  }
  return text;
}

std::string RenderDesignJson(const DesignSpace& space) {
  const Json json = {{"schema", "reusescope.sweep/1"},
                     {"model", space.model},
                     {"base", space.base.name},
                     {"base_device", BaseJson(space)},
                     {"verdict", DesignVerdict(space)},
                     {"notes", space.notes},
                     {"complete", space.complete()},
                     {"points", ListJson(space.points, PointJson)},
                     {"knees", ListJson(space.knees, KneeJson)},
                     {"captured_reuse", ListJson(space.captured, CapturedJson)},
                     {"iso_performance", ListJson(space.iso, IsoJson)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace reusescope::cli
