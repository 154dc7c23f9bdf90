// Mini-batch serialization as CSV and JSON.

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/views/json_values.h"
#include "cli/views/serialization_view.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

Json SubBatchesJson(const SubBatches& part) {
  return {{"footprint_bytes", part.footprint_bytes}, {"sub_batch", part.sub_batch}, {"iterations", part.iterations}};
}

Json CausesJson(const TrafficByCause& by_cause) {
  Json json = Json::object();
  for (int c = 0; c < kNumTrafficCauses; ++c) {
    const std::string name(TrafficCauseName(static_cast<TrafficCause>(c)));
    json[absl::StrCat(absl::StrReplaceAll(name, {{" ", "_"}}), "_bytes")] = by_cause[c];
  }
  return json;
}

Json ScheduleJson(const SerializationReport& report, const Schedule& schedule) {
  Json json = {{"name", schedule.name}};
  json["grouping"] = schedule.grouping.has_value() ? Json(std::string(GroupingName(*schedule.grouping))) : Json();
  json["branch_reuse"] = OrNull(schedule.branch_reuse);
  json["groups"] = OrNull(schedule.groups);
  json["traffic_bytes"] = schedule.traffic_bytes;
  json["saved_share"] = report.SavedShare(schedule);
  json["traffic"] = schedule.by_cause.has_value() ? CausesJson(*schedule.by_cause) : Json();
  json["extra_pass_bytes"] = OrNull(schedule.extra_pass_bytes);
  json["step_seconds"] = schedule.step_seconds;
  json["memory_bound_seconds"] = schedule.memory_bound_seconds;
  json["speedup"] = report.Speedup(schedule);
  return json;
}

Json GroupJson(const SerialGroup& group) {
  return {{"first_link", group.first},
          {"links", group.end - group.first},
          {"serialized", group.serialized},
          {"forward", SubBatchesJson(group.forward)},
          {"backward", SubBatchesJson(group.backward)},
          {"traffic", CausesJson(group.traffic_bytes)}};
}

Json LinkJson(const ChainLink& link) {
  return {{"name", link.name},
          {"block", link.block != kNoBlock},
          {"kernels", link.forward.size() + link.backward.size()},
          {"forward", SubBatchesJson(link.forward_alone)},
          {"backward", SubBatchesJson(link.backward_alone)}};
}

}  // namespace

std::string RenderSerializationCsv(const SerializationReport& report) {
  std::string text =
      "link,name,group,serialized,forward_footprint_bytes,forward_sub_batch,forward_iterations,"
      "backward_footprint_bytes,backward_sub_batch,backward_iterations,group_forward_sub_batch,"
      "group_forward_iterations,group_backward_sub_batch,group_backward_iterations\r\n";
  for (size_t g = 0; g < report.plan.groups.size(); ++g) {
    const SerialGroup& group = report.plan.groups[g];
    for (int l = group.first; l < group.end; ++l) {
      const ChainLink& link = report.chain[l];
      absl::StrAppend(
          &text, fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n", l, Quoted(link.name), g, group.serialized,
                             link.forward_alone.footprint_bytes, link.forward_alone.sub_batch,
                             link.forward_alone.iterations, link.backward_alone.footprint_bytes,
                             link.backward_alone.sub_batch, link.backward_alone.iterations, group.forward.sub_batch,
                             group.forward.iterations, group.backward.sub_batch, group.backward.iterations));
    }
  }
  return text;
}

std::string RenderSerializationJson(const SerializationReport& report) {
  Json schedules = Json::array(), groups = Json::array(), chain = Json::array();
  for (const Schedule& schedule : report.schedules) schedules.push_back(ScheduleJson(report, schedule));
  for (const SerialGroup& group : report.plan.groups) groups.push_back(GroupJson(group));
  for (const ChainLink& link : report.chain) chain.push_back(LinkJson(link));
  const Json json = {{"schema", "reusescope.serialize/1"},
                     {"model", report.model},
                     {"device", report.core.name},
                     {"cores", report.cores},
                     {"batch", report.batch},
                     {"precision", std::string(PrecisionName(report.precision))},
                     {"capacity_bytes", report.core.on_chip_bytes},
                     {"bandwidth_bytes_per_second", report.core.bandwidth_bytes_per_second},
                     {"notes", report.notes},
                     {"schedules", schedules},
                     {"plan",
                      {{"grouping", std::string(GroupingName(report.plan.grouping))},
                       {"branch_reuse", report.branch_reuse},
                       {"batch_statistics", report.plan.batch_statistics},
                       {"traffic_bytes", report.plan.traffic_bytes},
                       {"groups", groups}}},
                     {"chain", chain}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace reusescope::cli
