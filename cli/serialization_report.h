// Mini-batch serialization of a model on a device: what each way to group its layers moves, beside what is done
// without.
//
//   RS_ASSIGN_OR_RETURN(const SerializationReport report, MakeSerializationReport("resnet50.onnx", options));
//   report.schedules[0].traffic_bytes        every kernel fetches its operands
//   report.plan.groups, report.chain         of the schedule that was asked for
//
// A device whose on-chip memory is split between cores is seen as one of its cores: each works on samples of its own,
// with its part of the memory and its share of the bandwidth and of the arithmetic. So the batch is one core's.

#ifndef REUSESCOPE_CLI_SERIALIZATION_REPORT_H_
#define REUSESCOPE_CLI_SERIALIZATION_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/measure/roofline.h"
#include "analysis/measure/serialization.h"
#include "analysis/pipeline.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

struct SerializationRequest {
  AnalysisOptions analysis;
  std::vector<std::string> given;  // GivenArguments of the command
  Hardware hardware;
  bool bare_peak = false;
  std::optional<int64_t> capacity_bytes;   // of one core, instead of the device's
  Grouping grouping = Grouping::kOptimal;  // of the plan that is shown group by group
  bool branch_reuse = true;
};

// The step under one way to run it.
struct Schedule {
  std::string name;  // "every kernel fetches", "in tiles, buffering best", "cache (LRU)", "serialized, optimal"
  std::optional<Grouping> grouping;  // of the serialized ones
  std::optional<bool> branch_reuse;
  std::optional<int> groups;
  std::optional<TrafficByCause> by_cause;
  // What normalization over the mini-batch fetches again, on top of traffic_bytes, where the features do not stay on
  // chip between its passes (NormalizationPasses). Nothing where the schedule does not tell.
  std::optional<int64_t> extra_pass_bytes;
  int64_t traffic_bytes = 0;
  double step_seconds = 0;
  double memory_bound_seconds = 0;  // of the step
};

struct SerializationReport {
  std::string model;
  std::vector<std::string> notes;
  RooflineDevice core;
  int64_t cores = 1;
  int64_t batch = 0;  // of one core
  PrecisionMode precision = PrecisionMode::kFp32;
  std::vector<Schedule> schedules;  // the first is what the others are held against
  bool branch_reuse = true;
  Serialization plan;
  std::vector<ChainLink> chain;  // with the branch reuse of the plan

  // Against the first schedule, as shares of it.
  double SavedShare(const Schedule& schedule) const;
  double Speedup(const Schedule& schedule) const;
};

// kInvalidArgument for an exhaustive search over too long a chain; else what Analyze and RatesOf say.
absl::StatusOr<SerializationReport> MakeSerializationReport(const std::string& model,
                                                            const SerializationRequest& request);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_SERIALIZATION_REPORT_H_
