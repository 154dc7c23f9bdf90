// Which topological order of the step runs (--order): the file's, the one with the lowest peak, or with the least
// traffic.
//
//   file      as the model and differentiation have it
//   memory    the lowest peak (measure/memory.h)
//   traffic   the fewest bytes moved under LRU at a capacity (measure/cache.h), of equal ones the lowest peak
//
// The file's order is held against those of transform/reorder.h, each measured on the step itself; it stays where none
// is better. So neither number is ever worse than the file's.

#ifndef REUSESCOPE_ANALYSIS_CHOOSE_ORDER_H_
#define REUSESCOPE_ANALYSIS_CHOOSE_ORDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/precision.h"

namespace reusescope {

struct OrderChoice {
  enum class Goal : uint8_t { kFile, kMemory, kTraffic };
  Goal goal = Goal::kFile;
  int64_t capacity_bytes = int64_t{32} << 20;  // of kTraffic
};

// Changes the schedule where another is better, and notes what that gives. REQUIRES: storages are assigned; the graph
// is complete. O(n log n) in touches.
absl::Status ChooseOrder(TrainingGraph& training, const OrderChoice& choice, PrecisionMode precision,
                         std::vector<std::string>& notes);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_CHOOSE_ORDER_H_
