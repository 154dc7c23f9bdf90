// The access list of a step, cut into the choices that an on-chip memory has: which bytes to keep from one touch to the
// next, and what that saves. Shared by both policies of cache.h.
//
//   event      a touch of at least one byte, numbered in the order of the step
//   gap e      the time between event e and event e + 1
//   interval   bytes of one storage between two consecutive touches, the later of which reads: fills gaps [begin, end)
//   chain      a write and the intervals up to the last read of what it wrote
//
//   traffic(kept) = fixed + sum over intervals of (bytes - kept) + sum over chains of (bytes - min of kept)
//
// That is convex in `kept`, with 0 <= kept <= bytes and, for every gap, the sum of kept over the intervals that fill it
// at most the capacity. A storage that is touched in parts (a touch of m bytes means bytes [0, m)) is cut where its
// touches end, so that the bytes of one interval have one history.
//
// What is fixed: first fetches, and write-backs of what stays after the step. A write that nobody reads costs its bytes
// unless they fit for a moment: it has a chain of one interval that saves no fetch and fills the gap after the write.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_CACHE_INTERVALS_H_
#define REUSESCOPE_ANALYSIS_MEASURE_CACHE_INTERVALS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cost.h"

namespace reusescope {

struct ReuseInterval {
  int32_t begin = 0;  // gaps [begin, end)
  int32_t end = 0;
  int64_t bytes = 0;
  int32_t chain = -1;  // of the write whose bytes these are; -1 when keeping them saves no write-back
  int32_t kernel = 0;  // that reads at the end
  bool saves_fetch = true;

  int32_t length() const { return end - begin; }
};

// Intervals [first, last) are consecutive in time and all of the same bytes.
struct ReuseChain {
  int32_t first = 0;
  int32_t last = 0;
  int32_t kernel = 0;  // that writes
};

class ReuseChains {
 public:
  // kOutOfRange if the kernels' bytes sum to more than int64 holds.
  static absl::StatusOr<ReuseChains> Build(const CostTable& cost);

  absl::Span<const ReuseInterval> intervals() const { return intervals_; }
  absl::Span<const ReuseChain> chains() const { return chains_; }
  int num_kernels() const { return static_cast<int>(fixed_.size()); }
  int num_events() const { return static_cast<int>(kernel_of_event_.size()); }

  // For every interval, the bytes of other data that are touched while it lasts, each byte once: an LRU memory holds
  // the interval's first byte from this capacity plus 1 on. One pass, O(n log n).
  const std::vector<int64_t>& lru_distance_bytes() const { return lru_distance_bytes_; }

  // How many bytes of every interval an LRU memory keeps.
  std::vector<int64_t> LruPlan(int64_t capacity_bytes) const;

  // What every kernel moves when so many bytes of every interval are kept, and the sum of it.
  std::vector<KernelTraffic> TrafficOf(absl::Span<const int64_t> kept) const;
  int64_t TotalTrafficOf(absl::Span<const int64_t> kept) const;
  // For every kernel, the largest number of bytes kept in a gap that touches it.
  std::vector<int64_t> HeldBytesOf(absl::Span<const int64_t> kept) const;

 private:
  friend class ReuseChainsBuilder;
  std::vector<ReuseInterval> intervals_;
  std::vector<ReuseChain> chains_;
  std::vector<int64_t> lru_distance_bytes_;  // parallel to intervals_
  std::vector<KernelTraffic> fixed_;         // by kernel
  int64_t fixed_bytes_ = 0;
  std::vector<int32_t> kernel_of_event_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_CACHE_INTERVALS_H_
