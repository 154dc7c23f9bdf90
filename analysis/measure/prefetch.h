// How long a step takes when the next kernels' operands are fetched while a kernel computes, and where it stalls.
//
//   start(k) = max(end(k-1), first byte of fetch(k), drained(k))
//   end(k)   = max(start(k) + compute(k), last byte of fetch(k))            stall = time in which no kernel computes
//
// One channel carries everything, one transfer after the other at the full bandwidth. A fetch starts as soon as the
// channel is free and its space is: what the policy holds, what is already fetched ahead and what waits to be written
// back never exceed the capacity. A kernel whose operands do not fit ahead gets them while it runs, as a stream. What a
// kernel writes leaves after it has ended, while at most the next kernel runs (`drained`); if there is no space to wait
// in, it leaves as a stream while the kernel runs, which then ends no earlier than the stream. The step ends when the
// last write-back has.
//
// Which kernel a fetch may start after is decided by bytes alone, never by times, and the channel serves in that order.
// So every time is a maximum of sums of durations: the step never gets slower with more bandwidth or throughput, and
//
//   max(sum of compute, sum of transfers) <= step <= sum of compute + sum of transfers.
//
// Not modelled: latency of a transfer, separate channels for reads and writes, kernels that run at the same time.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_PREFETCH_H_
#define REUSESCOPE_ANALYSIS_MEASURE_PREFETCH_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace reusescope {

struct PrefetchKernel {
  double compute_seconds = 0;
  int64_t fetched_bytes = 0;
  int64_t written_bytes = 0;
  int64_t held_bytes = 0;  // what the policy keeps on chip meanwhile; see ManagedCurve::HeldBytesAt
};

// When a kernel started, and what was on chip at that moment: held, fetched or being fetched ahead, not yet written
// back.
struct PrefetchSample {
  double start_seconds = 0;
  double end_seconds = 0;
  double stall_seconds = 0;  // since the end of the kernel before, end_seconds - that - compute_seconds
  int64_t buffer_bytes = 0;
};

struct PrefetchTimes {
  double step_seconds = 0;
  double compute_seconds = 0;
  double transfer_seconds = 0;
  double stall_seconds = 0;  // step_seconds - compute_seconds
  std::vector<PrefetchSample> kernels;
};

// Arithmetic `speedup` times as fast as the kernels' seconds say. O(kernels). REQUIRES: bandwidth > 0, speedup > 0,
// held_bytes <= capacity_bytes.
PrefetchTimes SimulatePrefetch(absl::Span<const PrefetchKernel> kernels, int64_t capacity_bytes,
                               double bandwidth_bytes_per_second, double speedup = 1);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_PREFETCH_H_
