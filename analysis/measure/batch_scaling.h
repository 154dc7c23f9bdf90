// What a step costs at any batch, and the largest batch that fits, out of analyses at a few batches.
//
//   RS_ASSIGN_OR_RETURN(const BatchScaling scaling, BatchScaling::Fit({at_2, at_3, at_4096}));
//   scaling.CostAt(64)                       the cost table at 64 samples, to the last byte
//   scaling.LargestBatch(80'000'000'000)     the largest batch whose peak is at most that
//
//   count(b) = min(near line, far line)      each MAC, FLOP and byte count of each kernel
//   alive(b) = constant + slope * b          the bytes of each kind alive at each kernel
//
// The near line goes through the first two points, the far line through the last two of four or more. Mostly they are
// one; they differ where an embedding is read whole once there are as many tokens as it has rows. Every point must
// agree in every count, or Fit refuses: take the last two far out, beyond whatever will be asked, and Check one near
// FirstBend. Counts at batch 1 may differ (an axis of size 1 broadcasts): start at 2 and keep batch 1 apart.
//
// The peak is that of ComputeMemory. MemoryShare divides parts of it among devices (ZeRO: Rajbhandari et al. 2020).

#ifndef REUSESCOPE_ANALYSIS_MEASURE_BATCH_SCALING_H_
#define REUSESCOPE_ANALYSIS_MEASURE_BATCH_SCALING_H_

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/memory.h"

namespace reusescope {

// The step at one batch.
struct BatchPoint {
  int64_t batch = 1;
  CostTable cost;
  std::vector<MemorySample> timeline;  // MemoryTable::timeline: parallel to the kernels
};

// By MemoryKind, among how many devices its bytes are divided; 1: every device has it all. Shares are rounded up.
// REQUIRES: only what does not grow with the batch is divided (parameters, their copies, gradients and states).
struct MemoryShare {
  std::array<int64_t, kNumMemoryKinds> devices = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  int64_t extra_bytes = 0;  // on top, at every kernel: a layer that is gathered for as long as it runs
};

// The most bytes alive at once.
int64_t PeakBytes(absl::Span<const MemorySample> timeline, const MemoryShare& share = {});

// A count and by how much it grows with each sample.
struct BatchLine {
  int64_t count = 0;
  int64_t slope = 0;
};

class BatchScaling {
 public:
  // REQUIRES: at least two points, batches ascending. kFailedPrecondition names the first kernel whose counts, or whose
  // touches, are not of the form above, or fall with the batch.
  static absl::StatusOr<BatchScaling> Fit(absl::Span<const BatchPoint> points);

  // kFailedPrecondition when the point is not on it.
  absl::Status Check(const BatchPoint& point) const;
  // The last whole batch on the near line of the first count that leaves it; nullopt when none does.
  std::optional<int64_t> FirstBend() const;
  // Without what is known of reuse inside kernels, which is 0. REQUIRES: batch >= the first point's. kOutOfRange when a
  // count exceeds int64.
  absl::StatusOr<CostTable> CostAt(int64_t batch) const;
  // Of the kernel where most is alive.
  int64_t PeakBytesAt(int64_t batch, const MemoryShare& share = {}) const;
  // 0 when not even the first point's batch fits; INT64_MAX when the peak does not grow with the batch.
  int64_t LargestBatch(int64_t capacity_bytes, const MemoryShare& share = {}) const;

  int64_t first_batch() const { return base_.batch; }

 private:
  std::optional<int64_t> CountAt(size_t index, int64_t batch) const;

  BatchPoint base_;
  std::vector<BatchLine> near_, far_;  // of the counts of base_.cost, in the order of VisitCounts
  int64_t far_batch_ = 0;
  std::vector<MemorySample> alive_slope_;  // of base_.timeline
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_BATCH_SCALING_H_
