// Which bytes of which reuse intervals a software-managed memory of one capacity keeps.
//
//   std::vector<int64_t> kept = PackIntervals(chains, capacity_bytes, {.passes = 5});
//   ImproveByExchange(chains, capacity_bytes, /*work_limit=*/200'000, kept);
//
// PackIntervals takes intervals in order of length over gain per byte: a fetch saved gains 1, and the last intervals of
// a chain to be kept gain 1 more together, the write-back. The first pass measures length in gaps. Each further pass
// measures it in prices: a gap that the pass before filled gets dearer, one that it left room in gets cheaper, as the
// dual variables of the linear program would. The pass with the least traffic counts.
//
// ImproveByExchange then looks for intervals (or all that hold back one chain) that are worth more than what would have
// to leave to make room, until there are none or the work limit is reached. It matters on short lists, where the choice
// between few large intervals decides.
//
// Every plan has 0 <= kept <= bytes, and in no gap more than the capacity.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_CACHE_PACKING_H_
#define REUSESCOPE_ANALYSIS_MEASURE_CACHE_PACKING_H_

#include <cstdint>
#include <vector>

#include "analysis/measure/cache_intervals.h"

namespace reusescope {

struct PackingOptions {
  int passes = 5;
};

// O(passes * n log n). REQUIRES: capacity_bytes >= 0, passes >= 1.
std::vector<int64_t> PackIntervals(const ReuseChains& chains, int64_t capacity_bytes, const PackingOptions& options);

// Traffic never rises. `work_limit` bounds the gaps and intervals looked at.
void ImproveByExchange(const ReuseChains& chains, int64_t capacity_bytes, int64_t work_limit,
                       std::vector<int64_t>& kept);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_CACHE_PACKING_H_
