#include "cli/serialization_report.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/measure/chain_groups.h"
#include "analysis/measure/double_buffering.h"
#include "analysis/measure/time_surface.h"
#include "cli/options.h"
#include "cli/units.h"
#include "importer/load_model.h"

namespace reusescope::cli {
namespace {

RooflineDevice OneCore(RooflineDevice device, int64_t cores) {
  const auto n = static_cast<double>(cores);
  device.matrix_flops_per_second /= n;
  device.matrix_peak_flops_per_second /= n;
  device.vector_flops_per_second /= n;
  device.bandwidth_bytes_per_second /= n;
  device.peak_bandwidth_bytes_per_second /= n;
  device.on_chip_bytes /= cores;
  for (MatrixRate& rate : device.narrow) {
    rate.flops_per_second /= n;
    rate.peak_flops_per_second /= n;
  }
  return device;
}

class ReportMaker {
 public:
  ReportMaker(const Analysis& analysis, const SerializationRequest& request, SerializationReport& report)
      : analysis_(analysis),
        request_(request),
        report_(report),
        passes_(NormalizationPasses(analysis.training, analysis.cost)) {}

  absl::Status Run() {
    const int64_t capacity = report_.core.on_chip_bytes;
    std::optional<int64_t> all_passes = 0;
    for (const int64_t bytes : passes_) *all_passes += bytes;
    AddSchedule({.name = "every kernel fetches", .extra_pass_bytes = all_passes}, analysis_.lru.KernelTrafficAt(0));
    RS_RETURN_IF_ERROR(AddTiled());
    AddSchedule({.name = "cache (LRU)"}, analysis_.lru.KernelTrafficAt(capacity));
    AddSchedule({.name = "software-managed"}, analysis_.managed.KernelTrafficAt(capacity));
    for (const bool branch_reuse : {false, true}) RS_RETURN_IF_ERROR(AddSerialized(branch_reuse));
    return absl::OkStatus();
  }

 private:
  void AddSchedule(Schedule schedule, const std::vector<KernelTraffic>& traffic) {
    for (const KernelTraffic& kernel : traffic) schedule.traffic_bytes += kernel.bytes();
    const TimeSurface surface(LoadsAt(analysis_.cost, traffic, report_.core));
    const DesignRates rates = {.bandwidth_bytes_per_second = report_.core.bandwidth_bytes_per_second};
    schedule.step_seconds = surface.StepSeconds(rates);
    schedule.memory_bound_seconds = surface.MemoryBoundSeconds(rates);
    report_.schedules.push_back(std::move(schedule));
  }

  // Kernel by kernel in tiles of the memory: what the others take to move each operand once.
  absl::Status AddTiled() {
    RS_ASSIGN_OR_RETURN(const auto products, ProductsOf(analysis_.training, analysis_.cost));
    const std::vector<BufferedKernel> kernels =
        BufferedKernels(analysis_.cost, products, report_.core.on_chip_bytes, report_.core);
    for (const Buffering buffering : {Buffering::kSingle, Buffering::kDouble, Buffering::kBest}) {
      const BufferedStep step = StepWith(kernels, buffering, report_.core.bandwidth_bytes_per_second);
      report_.schedules.push_back({.name = absl::StrCat("in tiles, buffering ", BufferingName(buffering)),
                                   .traffic_bytes = step.traffic_bytes,
                                   .step_seconds = step.step_seconds,
                                   .memory_bound_seconds = step.memory_bound_seconds});
    }
    return absl::OkStatus();
  }

  // What layers of unserialized groups fetch again.
  int64_t ExtraPasses(const Serialization& plan, const std::vector<ChainLink>& chain) const {
    int64_t bytes = 0;
    for (const SerialGroup& group : plan.groups) {
      if (group.serialized) continue;
      for (int l = group.first; l < group.end; ++l) {
        for (const int32_t k : chain[l].forward) bytes += passes_[k];
        for (const int32_t k : chain[l].backward) bytes += passes_[k];
      }
    }
    return bytes;
  }

  absl::Status AddSerialized(bool branch_reuse) {
    RS_ASSIGN_OR_RETURN(
        const Serializer serializer,
        Serializer::Make(
            analysis_.training, analysis_.cost, analysis_.blocks,
            {.batch = report_.batch, .capacity_bytes = report_.core.on_chip_bytes, .branch_reuse = branch_reuse}));
    const auto links = static_cast<int>(serializer.chain().size());
    for (const Grouping grouping :
         {Grouping::kLayers, Grouping::kLongest, Grouping::kGreedy, Grouping::kOptimal, Grouping::kExhaustive}) {
      const bool asked = grouping == request_.grouping && branch_reuse == request_.branch_reuse;
      if (grouping == Grouping::kExhaustive && !asked) continue;
      if (grouping == Grouping::kExhaustive && links > kMostExhaustiveLinks) {
        return absl::InvalidArgumentError(absl::StrCat("found a chain of ", links, " links, expected at most ",
                                                       kMostExhaustiveLinks,
                                                       " to try all groupings; --grouping=optimal finds the same"));
      }
      Serialization plan = serializer.Plan(grouping);
      AddSchedule({.name = absl::StrCat("serialized, ", GroupingName(grouping)),
                   .grouping = grouping,
                   .branch_reuse = branch_reuse,
                   .groups = static_cast<int>(plan.groups.size()),
                   .by_cause = plan.by_cause,
                   .extra_pass_bytes = ExtraPasses(plan, serializer.chain())},
                  plan.kernels);
      if (!asked) continue;
      report_.plan = std::move(plan);
      report_.chain = serializer.chain();
    }
    return absl::OkStatus();
  }

  const Analysis& analysis_;
  const SerializationRequest& request_;
  SerializationReport& report_;
  const std::vector<int64_t> passes_;  // by kernel
};

}  // namespace

double SerializationReport::SavedShare(const Schedule& schedule) const {
  const auto first = static_cast<double>(schedules[0].traffic_bytes);
  return first == 0 ? 0 : 1 - static_cast<double>(schedule.traffic_bytes) / first;
}

double SerializationReport::Speedup(const Schedule& schedule) const {
  return schedule.step_seconds == 0 ? 1 : schedules[0].step_seconds / schedule.step_seconds;
}

absl::StatusOr<SerializationReport> MakeSerializationReport(const std::string& model,
                                                            const SerializationRequest& request) {
  RS_ASSIGN_OR_RETURN(Model loaded, LoadModel(model));
  RS_ASSIGN_OR_RETURN(const AnalysisOptions options, OptionsFor(loaded, request.analysis, request.given));
  SerializationReport report{.model = model, .precision = options.precision, .branch_reuse = request.branch_reuse};
  RS_ASSIGN_OR_RETURN(const RooflineDevice device,
                      RatesOf(request.hardware, options.precision, {.bare_peak = request.bare_peak}));
  report.cores = request.hardware.on_chip.instances;
  report.core = OneCore(device, report.cores);
  report.core.on_chip_bytes = request.capacity_bytes.value_or(report.core.on_chip_bytes);
  RS_ASSIGN_OR_RETURN(const Analysis analysis, Analyze(std::move(loaded), options));
  report.batch = BatchOf(analysis.training.graph);
  report.notes = analysis.notes;
  report.notes.insert(report.notes.end(), device.notes.begin(), device.notes.end());
  if (request.hardware.on_chip.kind == OnChipKind::kCache) {
    report.notes.push_back(absl::StrCat("the on-chip memory of ", request.hardware.display_name,
                                        " is a cache: that it keeps what a group passes on is assumed, not sure"));
  }
  RS_RETURN_IF_ERROR(ReportMaker(analysis, request, report).Run());
  if (report.plan.batch_statistics > 0) {
    report.notes.push_back(absl::StrCat(
        FormatPlural(report.plan.batch_statistics, "layer"),
        " of the plan's groups normalize over the mini-batch, and would see a sub-batch: that is another model. The "
        "method puts group normalization, which looks at one sample, in the place of batch normalization"));
  }
  return report;
}

}  // namespace reusescope::cli
