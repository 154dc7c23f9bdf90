// Which bytes of which reuse intervals a software-managed memory of one capacity keeps.
//
//   Packing packing = PackIntervals(chains, capacity_bytes, /*passes=*/5, /*first_prices=*/{});
//   ImproveByExchange(chains, capacity_bytes, /*work_limit=*/20'000, packing.kept);
//
// PackIntervals takes intervals in order of length over gain per byte: a fetch saved gains 1, and the last intervals of
// a chain to be kept gain 1 more together, the write-back. Length is measured in prices of gaps. They start at 1 (or at
// what served a similar capacity). After each pass, a gap that was filled gets dearer and one with room left cheaper,
// as the dual variables of the linear program would. The pass with the least traffic counts.
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

struct Packing {
  std::vector<int64_t> kept;   // by interval
  std::vector<double> prices;  // by gap; those that the plan was made with
};

// O(passes * n log n). `first_prices`: by gap, positive; empty: 1 everywhere. REQUIRES: capacity_bytes >= 0, passes
// >= 1.
Packing PackIntervals(const ReuseChains& chains, int64_t capacity_bytes, int passes,
                      const std::vector<double>& first_prices);

// Traffic never rises. `work_limit` bounds the gaps and intervals looked at.
void ImproveByExchange(const ReuseChains& chains, int64_t capacity_bytes, int64_t work_limit,
                       std::vector<int64_t>& kept);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_CACHE_PACKING_H_
