#include "analysis/measure/batch_scaling.h"

#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/types.h"

namespace reusescope {
namespace {

// Every count of a table that may depend on the batch, in one order.
template <typename Table, typename Visitor>
void VisitCounts(Table& cost, Visitor visit) {
  for (auto& kernel : cost.kernels) {
    visit(kernel.macs);
    visit(kernel.flops);
    visit(kernel.contraction_flops);
    visit(kernel.transcendentals);
    visit(kernel.read_bytes);
    visit(kernel.write_bytes);
    visit(kernel.reused_bytes);
  }
  for (auto& touch : cost.touches) visit(touch.bytes);
  for (auto& storage : cost.storages) visit(storage.bytes);
}

std::vector<int64_t> CountsOf(const CostTable& cost) {
  std::vector<int64_t> counts;
  VisitCounts(cost, [&counts](int64_t count) { counts.push_back(count); });
  return counts;
}

absl::Status NotAffine(absl::string_view what, size_t index, int64_t batch) {
  return absl::FailedPreconditionError(
      absl::StrCat("costs are not affine in the batch: ", what, " ", index, " leaves the line at batch ", batch));
}

// Do the two steps run the same kernels on the same storages?
absl::Status CheckSameStep(const BatchPoint& a, const BatchPoint& b) {
  const bool same_sizes = a.cost.kernels.size() == b.cost.kernels.size() &&
                          a.cost.touches.size() == b.cost.touches.size() &&
                          a.cost.storages.size() == b.cost.storages.size() && a.timeline.size() == b.timeline.size();
  if (!same_sizes) return NotAffine("the number of kernels, of which", a.cost.kernels.size(), b.batch);
  for (size_t k = 0; k < a.cost.kernels.size(); ++k) {
    const KernelCost &left = a.cost.kernels[k], &right = b.cost.kernels[k];
    const bool same = left.node == right.node && left.phase == right.phase && left.known == right.known &&
                      left.contraction == right.contraction && left.reused_operands == right.reused_operands &&
                      left.first_touch == right.first_touch && left.num_touches == right.num_touches;
    if (!same) return NotAffine("kernel", k, b.batch);
  }
  for (size_t t = 0; t < a.cost.touches.size(); ++t) {
    const Touch &left = a.cost.touches[t], &right = b.cost.touches[t];
    if (left.storage != right.storage || left.reads != right.reads || left.writes != right.writes) {
      return NotAffine("touch", t, b.batch);
    }
  }
  return absl::OkStatus();
}

// slope * steps + base == value, without overflow?
bool OnLine(int64_t base, int64_t slope, int64_t steps, int64_t value) {
  const auto rise = CheckedMultiply(slope, steps);
  if (!rise) return false;
  const auto sum = CheckedAdd(base, *rise);
  return sum.has_value() && *sum == value;
}

int64_t AliveBytes(const MemorySample& sample, const MemoryShare& share) {
  int64_t alive = share.extra_bytes;
  for (int kind = 0; kind < kNumMemoryKinds; ++kind) {
    alive += (sample.bytes_by_kind[kind] + share.devices[kind] - 1) / share.devices[kind];
  }
  return alive;
}

MemorySample SlopeOf(const MemorySample& low, const MemorySample& high, int64_t step) {
  MemorySample slope;
  for (int kind = 0; kind < kNumMemoryKinds; ++kind) {
    slope.bytes_by_kind[kind] = (high.bytes_by_kind[kind] - low.bytes_by_kind[kind]) / step;
  }
  return slope;
}

bool OnLine(const MemorySample& base, const MemorySample& slope, int64_t steps, const MemorySample& value) {
  for (int kind = 0; kind < kNumMemoryKinds; ++kind) {
    const int64_t grows = slope.bytes_by_kind[kind];
    const bool line = grows >= 0 && OnLine(base.bytes_by_kind[kind], grows, steps, value.bytes_by_kind[kind]);
    if (!line) return false;
  }
  return true;
}

}  // namespace

int64_t PeakBytes(absl::Span<const MemorySample> timeline, const MemoryShare& share) {
  int64_t peak = 0;
  for (const MemorySample& sample : timeline) peak = std::max(peak, AliveBytes(sample, share));
  return peak;
}

absl::StatusOr<BatchScaling> BatchScaling::Fit(absl::Span<const BatchPoint> points) {
  if (points.size() < 2) return absl::InvalidArgumentError("batch scaling: found fewer than two points");
  const BatchPoint &low = points[0], &high = points[1];
  const int64_t step = high.batch - low.batch;
  if (step <= 0) return absl::InvalidArgumentError("batch scaling: found batches that do not ascend");
  BatchScaling scaling;
  scaling.base_ = low;
  RS_RETURN_IF_ERROR(CheckSameStep(low, high));
  const std::vector<int64_t> base = CountsOf(low.cost);
  scaling.slopes_ = CountsOf(high.cost);
  for (size_t i = 0; i < base.size(); ++i) scaling.slopes_[i] = (scaling.slopes_[i] - base[i]) / step;
  for (size_t k = 0; k < low.timeline.size(); ++k) {
    scaling.alive_slope_.push_back(SlopeOf(low.timeline[k], high.timeline[k], step));
  }
  for (const BatchPoint& point : points.subspan(1)) {
    RS_RETURN_IF_ERROR(CheckSameStep(low, point));
    const std::vector<int64_t> counts = CountsOf(point.cost);
    const int64_t steps = point.batch - low.batch;
    for (size_t i = 0; i < counts.size(); ++i) {
      const bool line = scaling.slopes_[i] >= 0 && OnLine(base[i], scaling.slopes_[i], steps, counts[i]);
      if (!line) return NotAffine("count", i, point.batch);
    }
    for (size_t k = 0; k < low.timeline.size(); ++k) {
      const bool line = OnLine(low.timeline[k], scaling.alive_slope_[k], steps, point.timeline[k]);
      if (!line) return NotAffine("what is alive at kernel", k, point.batch);
    }
  }
  return scaling;
}

absl::StatusOr<CostTable> BatchScaling::CostAt(int64_t batch) const {
  CostTable cost = base_.cost;
  size_t next = 0;
  bool fits = true;
  VisitCounts(cost, [&](int64_t& count) {
    const auto rise = CheckedMultiply(slopes_[next++], batch - base_.batch);
    const auto sum = rise ? CheckedAdd(count, *rise) : rise;
    fits = fits && sum.has_value();
    count = sum.value_or(0);
  });
  if (!fits) return absl::OutOfRangeError(absl::StrCat("a count exceeds int64 at batch ", batch));
  return cost;
}

int64_t BatchScaling::PeakBytesAt(int64_t batch, const MemoryShare& share) const {
  std::vector<MemorySample> timeline = base_.timeline;
  for (size_t k = 0; k < timeline.size(); ++k) {
    for (int kind = 0; kind < kNumMemoryKinds; ++kind) {
      timeline[k].bytes_by_kind[kind] += alive_slope_[k].bytes_by_kind[kind] * (batch - base_.batch);
    }
  }
  return PeakBytes(timeline, share);
}

int64_t BatchScaling::LargestBatch(int64_t capacity_bytes, const MemoryShare& share) const {
  int64_t largest = std::numeric_limits<int64_t>::max();
  for (size_t k = 0; k < base_.timeline.size(); ++k) {
    const int64_t alive = AliveBytes(base_.timeline[k], share);
    if (alive > capacity_bytes) return 0;
    int64_t slope = 0;
    for (int64_t grows : alive_slope_[k].bytes_by_kind) slope += grows;
    if (slope > 0) largest = std::min(largest, base_.batch + (capacity_bytes - alive) / slope);
  }
  return largest;
}

}  // namespace reusescope
