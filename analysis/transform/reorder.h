// Other topological orders of the schedule, that keep less alive at once, or touch again sooner.
//
//   for (const OrderRule rule : kOrderRules) candidates.push_back(ReorderedBy(graph, storages, rule));
//
// List scheduling: of the nodes whose operands are there, the one that allocates least beyond what it frees runs next.
//
//   kFreesMost       ties in the order of the file
//   kDepthFirst      of equal ones, the one that became ready last: it reads what was written last
//   kFreesMostBack   the same as kFreesMost from the end of the step to its beginning, which sees what a beginning
//   leads to
//
// A greedy order may be worse than the file's: the caller compares (analysis/choose_order.h). Kept in every order: the
// phases (forward; then recomputation and backward; then updates, where the schedule has them at the end), and what
// writes over a storage runs after all that read it. O((nodes + operands) log nodes).

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_REORDER_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_REORDER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "analysis/ir/graph.h"

namespace reusescope {

enum class OrderRule : uint8_t { kFreesMost, kDepthFirst, kFreesMostBack };
inline constexpr OrderRule kOrderRules[] = {OrderRule::kFreesMost, OrderRule::kDepthFirst, OrderRule::kFreesMostBack};

// What a storage takes while it lives; 0 bytes where it lives through the whole step.
struct StorageLife {
  int64_t bytes = 0;
  bool kept_to_end = false;
};

// A topological order of graph.order. `storages` by StorageId. REQUIRES: storages are assigned.
std::vector<NodeId> ReorderedBy(const Graph& graph, absl::Span<const StorageLife> storages, OrderRule rule);

// Does every node of `order` run after what it reads, and what writes over a storage after all that read it before?
bool IsValidOrder(const Graph& graph, absl::Span<const NodeId> order);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_REORDER_H_
