#include "analysis/measure/batch_scaling.h"

#include <algorithm>
#include <limits>
#include <optional>

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
  return absl::FailedPreconditionError(absl::StrCat("costs are not of a known form in the batch: ", what, " ", index,
                                                    " leaves the line at batch ", batch));
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
                      left.contraction == right.contraction && left.first_touch == right.first_touch &&
                      left.num_touches == right.num_touches;
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

// base + slope * steps, and nullopt where int64 does not hold it.
std::optional<int64_t> OnLine(int64_t base, int64_t slope, int64_t steps) {
  const auto rise = CheckedMultiply(slope, steps);
  return rise ? CheckedAdd(base, *rise) : rise;
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

bool IsOnLine(const MemorySample& base, const MemorySample& slope, int64_t steps, const MemorySample& value) {
  for (int kind = 0; kind < kNumMemoryKinds; ++kind) {
    const int64_t grows = slope.bytes_by_kind[kind];
    const auto alive = OnLine(base.bytes_by_kind[kind], grows, steps);
    if (grows < 0 || !alive || *alive != value.bytes_by_kind[kind]) return false;
  }
  return true;
}

// The line through two points, count by count. Empty where the difference is no whole number of steps or falls.
std::vector<BatchLine> LinesThrough(const BatchPoint& low, const BatchPoint& high) {
  const std::vector<int64_t> at_low = CountsOf(low.cost), at_high = CountsOf(high.cost);
  const int64_t step = high.batch - low.batch;
  std::vector<BatchLine> lines;
  for (size_t i = 0; i < at_low.size(); ++i) {
    const int64_t rise = at_high[i] - at_low[i];
    if (rise < 0 || rise % step != 0) return {};
    lines.push_back({at_low[i], rise / step});
  }
  return lines;
}

}  // namespace

int64_t PeakBytes(absl::Span<const MemorySample> timeline, const MemoryShare& share) {
  int64_t peak = 0;
  for (const MemorySample& sample : timeline) peak = std::max(peak, AliveBytes(sample, share));
  return peak;
}

absl::StatusOr<BatchScaling> BatchScaling::Fit(absl::Span<const BatchPoint> points) {
  if (points.size() < 2) return absl::InvalidArgumentError("batch scaling: found fewer than two points");
  for (size_t p = 1; p < points.size(); ++p) {
    if (points[p].batch <= points[p - 1].batch) {
      return absl::InvalidArgumentError("batch scaling: found batches that do not ascend");
    }
    RS_RETURN_IF_ERROR(CheckSameStep(points[0], points[p]));
  }
  const BatchPoint &low = points[0], &high = points[1];
  BatchScaling scaling;
  scaling.base_ = low;
  scaling.near_ = LinesThrough(low, high);
  const bool bends = points.size() >= 4;
  scaling.far_ = bends ? LinesThrough(points[points.size() - 2], points.back()) : scaling.near_;
  scaling.far_batch_ = bends ? points[points.size() - 2].batch : low.batch;
  if (scaling.near_.empty() || scaling.far_.empty()) return NotAffine("a count, after", 0, points.back().batch);
  for (size_t k = 0; k < low.timeline.size(); ++k) {
    scaling.alive_slope_.push_back(SlopeOf(low.timeline[k], high.timeline[k], high.batch - low.batch));
  }
  for (const BatchPoint& point : points) RS_RETURN_IF_ERROR(scaling.Check(point));
  return scaling;
}

absl::Status BatchScaling::Check(const BatchPoint& point) const {
  RS_RETURN_IF_ERROR(CheckSameStep(base_, point));
  const std::vector<int64_t> counts = CountsOf(point.cost);
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto count = CountAt(i, point.batch);
    if (!count || *count != counts[i]) return NotAffine("count", i, point.batch);
  }
  const int64_t steps = point.batch - base_.batch;
  for (size_t k = 0; k < base_.timeline.size(); ++k) {
    const bool line = IsOnLine(base_.timeline[k], alive_slope_[k], steps, point.timeline[k]);
    if (!line) return NotAffine("what is alive at kernel", k, point.batch);
  }
  return absl::OkStatus();
}

std::optional<int64_t> BatchScaling::CountAt(size_t index, int64_t batch) const {
  const auto near = OnLine(near_[index].count, near_[index].slope, batch - base_.batch);
  const auto far = OnLine(far_[index].count, far_[index].slope, batch - far_batch_);
  return near && far ? std::min(near, far) : std::nullopt;
}

std::optional<int64_t> BatchScaling::FirstBend() const {
  std::optional<int64_t> first;
  for (size_t i = 0; i < near_.size(); ++i) {
    const int64_t closer = near_[i].slope - far_[i].slope;
    const auto far_at_base = OnLine(far_[i].count, far_[i].slope, base_.batch - far_batch_);
    if (closer <= 0 || !far_at_base) continue;
    const int64_t bend = base_.batch + (*far_at_base - near_[i].count) / closer;
    first = std::min(first.value_or(bend), bend);
  }
  return first;
}

absl::StatusOr<CostTable> BatchScaling::CostAt(int64_t batch) const {
  CostTable cost = base_.cost;
  for (KernelCost& kernel : cost.kernels) kernel.reused_operands = 0, kernel.reused_bytes = 0;
  size_t next = 0;
  bool fits = true;
  VisitCounts(cost, [&](int64_t& count) {
    const auto at_batch = CountAt(next++, batch);
    fits = fits && at_batch.has_value();
    count = at_batch.value_or(0);
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
