// How many bytes cross the memory interface in one step when kernels share an on-chip memory, for every capacity.
//
//   RS_ASSIGN_OR_RETURN(const LruCurve lru, ComputeLruCurve(cost));
//   RS_ASSIGN_OR_RETURN(const ManagedCurve managed, ComputeManagedCurve(cost));
//   lru.TrafficAt(40 << 20), managed.TrafficAt(40 << 20)      -> bytes fetched + bytes written back
//
// Both policies read the same access list: the touches of CostTable in order, one after the other.
//   * A touch of m bytes of a storage means its bytes [0, m), all at once: what is on chip of them is a hit, the rest
//   is
//     fetched if the touch reads; if it writes, they become dirty. Residency is byte-granular: part of a storage may
//     stay.
//   * On-chip memory holds at most `capacity` bytes between any two touches. What a touch brings and nobody keeps only
//     passes through, so at capacity 0 the traffic is exactly the sum of the kernels' own bytes.
//   * A dirty byte that leaves before its last read is written back, once per write. A byte that is dead (never read
//     again, or overwritten before it is read) leaves without. Persistent and kept-to-end bytes that were written are
//     written back by the end of the step in any case. A write-only touch fetches nothing.
//   * Cold start: persistent data and inputs are off chip before the first kernel.
//   * A write-back is charged to the kernel that wrote the bytes, a fetch to the kernel that reads them. So a kernel
//   never
//     costs more than its own bytes, and its bytes() is what it costs at capacity 0.
//
// LRU: a touch makes its bytes the most recent ones, byte 0 before byte 1 before ...; what is beyond `capacity` in
// order of recency leaves, dead or not (LRU does not know). One stack-distance pass (Mattson, Gecsei, Slutz, Traiger
// 1970) gives every capacity: a byte with d distinct bytes touched since, itself included, is a hit from capacity d on.
//
// Software-managed: the access list is known. An interval between two consecutive touches of a storage is kept in
// whole, in part or not at all, so that no more than `capacity` bytes are kept at any time; that saves the fetch at its
// end, and the write-back if all intervals from a write to its last read are kept. That is a linear program, and
// cache_packing.h says how it is solved, nearly: the tests hold it within 2 % of the optimum on training steps. It is
// solved at some capacities ("rungs"); between two of them bytes are split between the two plans in proportion, which
// fits, as half of each plan needs half of each capacity. LRU's own plans are rungs too. The curve is the lower convex
// hull of all rungs, so it is never above LRU and never rises with capacity; and the program's own optimum is convex in
// capacity as well.
//
// Not modelled: associativity, lines, tiling inside a kernel (an operand larger than the capacity is fetched once per
// kernel), several levels, which part of a storage a partial touch means.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_CACHE_H_
#define REUSESCOPE_ANALYSIS_MEASURE_CACHE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/measure/cost.h"

namespace reusescope {

class ManagedCurve;
class ReuseChains;  // cache_intervals.h

// What one kernel moves between on-chip and off-chip memory.
struct KernelTraffic {
  int64_t fetched_bytes = 0;
  int64_t written_bytes = 0;
  int64_t bytes() const { return fetched_bytes + written_bytes; }
};

class LruCurve {
 public:
  // Traffic of the step. Never rises with capacity; piecewise linear. O(log touches). REQUIRES: capacity_bytes >= 0.
  int64_t TrafficAt(int64_t capacity_bytes) const;
  // The same for every kernel, parallel to CostTable::kernels; sums to TrafficAt. O(touches).
  std::vector<KernelTraffic> KernelTrafficAt(int64_t capacity_bytes) const;

  // Traffic at capacity 0: every kernel fetches its operands.
  int64_t compulsory_bytes() const { return points_.front().traffic_bytes; }
  // Traffic with unlimited capacity: first fetches and final write-backs.
  int64_t minimum_bytes() const { return points_.back().traffic_bytes; }
  // The smallest capacity that reaches minimum_bytes().
  int64_t saturation_bytes() const { return points_.back().capacity_bytes; }

 private:
  friend absl::StatusOr<ManagedCurve> ComputeManagedCurve(const CostTable& cost, const LruCurve& lru);
  friend absl::StatusOr<LruCurve> ComputeLruCurve(const CostTable& cost);
  struct Point {
    int64_t capacity_bytes;
    int64_t traffic_bytes;
  };

  std::shared_ptr<const ReuseChains> chains_;
  std::vector<int64_t> distance_bytes_;  // of every interval of chains_: other bytes touched in between
  std::vector<Point> points_;  // where the slope changes, ascending; straight in between, level after the last
};

class ManagedCurve {
 public:
  // Traffic of the step. Never rises with capacity, never above LRU's; convex. O(log rungs). REQUIRES: capacity_bytes
  // >= 0.
  int64_t TrafficAt(int64_t capacity_bytes) const;
  // The same for every kernel, parallel to CostTable::kernels; sums to TrafficAt. O(touches log touches).
  std::vector<KernelTraffic> KernelTrafficAt(int64_t capacity_bytes) const;
  // For every kernel, the most bytes that are on chip at once for the sake of another touch than the one in progress.
  // Never above capacity_bytes.
  std::vector<int64_t> HeldBytesAt(int64_t capacity_bytes) const;

  int64_t compulsory_bytes() const { return rungs_.front().traffic_bytes; }
  int64_t minimum_bytes() const { return rungs_.back().traffic_bytes; }
  // The smallest capacity that reaches minimum_bytes() on this curve.
  int64_t saturation_bytes() const { return rungs_.back().capacity_bytes; }

 private:
  friend absl::StatusOr<ManagedCurve> ComputeManagedCurve(const CostTable& cost, const LruCurve& lru);
  // A plan made for a capacity. Of LRU's plans only the capacity is kept.
  struct Rung {
    int64_t capacity_bytes = 0;
    int64_t traffic_bytes = 0;
    std::shared_ptr<const std::vector<int64_t>> kept;  // by interval; null: LRU's
  };
  // Evaluates the plans around a capacity and mixes what they give for every kernel.
  template <typename PerKernel>
  std::vector<int64_t> Mix(int64_t capacity_bytes, bool round_up, PerKernel per_kernel) const;

  std::shared_ptr<const ReuseChains> chains_;
  std::vector<Rung> rungs_;  // the hull, capacities ascending from 0
};

// O(n log n) for n touches. kOutOfRange if the kernels' bytes sum to more than int64 holds.
absl::StatusOr<LruCurve> ComputeLruCurve(const CostTable& cost);
// O(n log n) for each rung. Rungs are added where the curve bends, until it is known to some tenths of a percent, but
// fewer on lists of more than some 10,000 touches. `lru` must be of the same cost table.
absl::StatusOr<ManagedCurve> ComputeManagedCurve(const CostTable& cost, const LruCurve& lru);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_CACHE_H_
