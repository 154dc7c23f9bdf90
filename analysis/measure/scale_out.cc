#include "analysis/measure/scale_out.h"

#include <algorithm>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

bool IsParameter(const StorageCost& storage) { return storage.kind == ValueKind::kParameter; }

// Bytes of the parameters as forward and backward read them.
int64_t ParameterBytes(const CostTable& cost) {
  int64_t bytes = 0;
  std::vector<bool> counted(cost.storages.size());
  for (const KernelCost& kernel : cost.kernels) {
    if (kernel.phase == Phase::kUpdate) continue;
    for (const Touch& touch : cost.TouchesOf(kernel)) {
      if (!IsParameter(cost.storages[touch.storage]) || counted[touch.storage]) continue;
      counted[touch.storage] = true;
      bytes += cost.storages[touch.storage].bytes;
    }
  }
  return bytes;
}

// By kernel: bytes of the parameter gradients that are complete once it has run.
std::vector<int64_t> CompletedGradientBytes(const CostTable& cost) {
  std::vector<int32_t> last_write(cost.storages.size(), -1);
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    if (cost.kernels[k].phase == Phase::kUpdate) continue;
    for (const Touch& touch : cost.TouchesOf(cost.kernels[k])) {
      if (touch.writes) last_write[touch.storage] = static_cast<int32_t>(k);
    }
  }
  std::vector<int64_t> bytes(cost.kernels.size());
  for (size_t s = 0; s < cost.storages.size(); ++s) {
    if (cost.storages[s].parameter_gradient && last_write[s] >= 0) bytes[last_write[s]] += cost.storages[s].bytes;
  }
  return bytes;
}

// The link as it follows backward: buckets leave in order, each when it is full and the link is free.
class GradientLink {
 public:
  GradientLink(double seconds_per_byte, int64_t bucket_bytes)
      : seconds_per_byte_(seconds_per_byte), bucket_bytes_(bucket_bytes) {}

  void Add(int64_t bytes, double now) {
    filled_bytes_ += bytes;
    if (filled_bytes_ >= bucket_bytes_) Flush(now);
  }
  void Flush(double now) {
    const double seconds = static_cast<double>(filled_bytes_) * seconds_per_byte_;
    free_seconds_ = std::max(free_seconds_, now) + seconds;
    busy_seconds_ += seconds;
    filled_bytes_ = 0;
  }

  double free_seconds() const { return free_seconds_; }
  double busy_seconds() const { return busy_seconds_; }

 private:
  const double seconds_per_byte_;
  const int64_t bucket_bytes_;
  int64_t filled_bytes_ = 0;
  double free_seconds_ = 0;
  double busy_seconds_ = 0;
};

absl::Status Check(const ScaleOutOptions& options) {
  if (options.devices < 1 || options.zero_stage < 0 || options.zero_stage > kMaxZeroStage || options.bucket_bytes < 1) {
    return absl::InvalidArgumentError(absl::StrCat("scale-out: found ", options.devices, " devices, ZeRO stage ",
                                                   options.zero_stage, ", buckets of ", options.bucket_bytes,
                                                   " B; expected at least 1, 0 to ", kMaxZeroStage, ", at least 1"));
  }
  if (options.devices > 1 && !(options.link_bytes_per_second > 0)) {
    return absl::InvalidArgumentError("scale-out: found no link between the devices, expected its bytes per second");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ScaleOutTime> ComputeScaleOut(const CostTable& cost, const RooflineDevice& device,
                                             const ScaleOutOptions& options) {
  RS_RETURN_IF_ERROR(Check(options));
  RS_ASSIGN_OR_RETURN(const StepTime alone, HeadlineStep(cost, device, {}));
  ScaleOutTime time{.step_seconds = alone.step_seconds, .compute_seconds = alone.step_seconds};
  if (options.devices == 1) return time;

  const auto devices = static_cast<double>(options.devices);
  // One pass around the ring: a reduce-scatter or an all-gather.
  const double pass_seconds_per_byte = (devices - 1) / devices / options.link_bytes_per_second;
  const double gather_seconds = static_cast<double>(ParameterBytes(cost)) * pass_seconds_per_byte;
  // Stage 0 all-reduces; stage 3 gathers parameters besides: two passes. Stages 1 and 2 only scatter: one.
  const bool two_passes = options.zero_stage == 0 || options.zero_stage == kMaxZeroStage;
  GradientLink link(pass_seconds_per_byte * (two_passes ? 2 : 1), options.bucket_bytes);
  const std::vector<int64_t> completed = CompletedGradientBytes(cost);
  const double forward = alone.phases[static_cast<int>(Phase::kForward)].seconds;
  const bool gathers_ahead = options.zero_stage == kMaxZeroStage;
  const double forward_end = gathers_ahead ? std::max(forward, gather_seconds) : forward;
  double now = forward_end;
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    const Phase phase = cost.kernels[k].phase;
    if (phase == Phase::kBackward || phase == Phase::kRecompute) now += KernelSeconds(cost.kernels[k], device);
    link.Add(completed[k], now);
  }
  link.Flush(now);
  double update = alone.phases[static_cast<int>(Phase::kUpdate)].seconds;
  if (options.zero_stage > 0) update /= devices;
  const bool gathers_after = options.zero_stage == 1 || options.zero_stage == 2;
  time.step_seconds = std::max(now, link.free_seconds()) + update + (gathers_after ? gather_seconds : 0);
  const double backward = alone.phases[static_cast<int>(Phase::kBackward)].seconds +
                          alone.phases[static_cast<int>(Phase::kRecompute)].seconds;
  time.compute_seconds = forward + backward + update;
  time.communication_seconds = link.busy_seconds() + (options.zero_stage > 0 ? gather_seconds : 0);
  time.exposed_seconds = time.step_seconds - time.compute_seconds;
  return time;
}

MemoryShare ZeroShare(const CostTable& cost, int zero_stage, int64_t devices, bool master_weights) {
  MemoryShare share;
  const auto divide = [&](MemoryKind kind) { share.devices[static_cast<int>(kind)] = devices; };
  if (zero_stage >= 1) divide(MemoryKind::kOptimizerState);
  if (zero_stage >= 1 && master_weights) divide(MemoryKind::kParameter);
  if (zero_stage >= 2) divide(MemoryKind::kParameterGradient);
  if (zero_stage < 3 || devices == 1) return share;
  divide(MemoryKind::kParameter);
  divide(MemoryKind::kWeightCopy);
  for (const KernelCost& kernel : cost.kernels) {
    if (kernel.phase == Phase::kUpdate) continue;
    int64_t gathered = 0;
    for (const Touch& touch : cost.TouchesOf(kernel)) {
      if (IsParameter(cost.storages[touch.storage])) gathered += cost.storages[touch.storage].bytes;
    }
    share.extra_bytes = std::max(share.extra_bytes, gathered);
  }
  return share;
}

double OneDirection(const Link& link) {
  return link.both_directions_added ? link.bytes_per_second / 2 : link.bytes_per_second;
}

}  // namespace reusescope
