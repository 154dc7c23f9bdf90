// Which bytes the training step touches again, how far apart, at which scope, and what keeping them on chip would save.
//
//   RS_ASSIGN_OR_RETURN(const ReuseTable reuse, ComputeReuse(training, cost, blocks));
//   reuse.scope(ReuseScope::kForwardBackward).capacity_to_capture_bytes   // keeps the whole stash
//
// The access list is CostTable::touches in order, as in cache.h: a touch of b bytes covers bytes [0, b) of its storage,
// so two partial touches of one storage overlap as much as they can.
//
// A **reuse edge** joins two consecutive touches of the same bytes, the later of which reads. Of an edge:
//   bytes             what the later touch fetches again if nothing was kept: the overlap
//   distance_bytes    distinct bytes touched after the first touch up to and including the second (byte-granular stack
//                     distance). An LRU memory of that capacity captures the edge
//   write_back_bytes  the write-back that is avoided with it. Written bytes go to memory once, unless every edge from
//                     the write to the last read of what was written is captured. So each such write-back is booked on
//                     the longest edge among them, the last to be captured as the capacity grows
//   saved_bytes()     bytes + write_back_bytes
//
// What is kept to the end of the step (parameters, states, outputs) is written back after its last write in any case.
// What is dead (not read again, or overwritten before) is dropped for free: a touch that only overwrites fetches
// nothing, and what it overwrites needed no write-back, so nothing is saved and there is no edge. First touches of the
// step are no edges (the fetch of an input or a parameter is compulsory); steps are not joined. So over all scopes
// saved_bytes, with the bytes that are written and never read, is LruCurve's compulsory_bytes() - minimum_bytes().
//
// Scopes; the first that fits:
//
//   intra-layer       inside one kernel, see reuse_factors.h. Not edges
//   adjacent-layer    the later kernel is the next one that runs, in the same phase
//   forward-backward  forward to backward: the stash and the weights
//   update            into an optimizer step: gradients, and the parameters as backward left them
//   block-scale       same phase, both kernels inside one block
//   long-range        the rest; for example one encoder output read by every decoder layer
//
// A backward node is in the block of its forward node (one that adds up gradients, of the node whose contribution it
// adds). Of the intra-layer scope, `edges` counts the operands that are used more than once, and both `bytes` and
// saved_bytes are the sum over these of (points - distinct elements) * width: what a kernel that kept nothing would
// move beyond the compulsory bytes. What capacity that takes is a question of tiling and not asked here: its capacities
// are 0, and the scopes' sum above leaves it out.
//
// Capture is all or nothing by edge: it counts from capacity distance_bytes on. A memory that keeps parts of storages
// saves somewhat more below that; see cache.h.
//
// Cost: O(touches * log touches); at most one edge a touch and partial size. Of a storage whose live bytes were touched
// in more than 64 different sizes since their write, all write-backs are booked on the longest edge.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_REUSE_H_
#define REUSESCOPE_ANALYSIS_MEASURE_REUSE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/blocks.h"
#include "analysis/measure/cost.h"

namespace reusescope {

enum class ReuseScope : uint8_t { kIntraLayer, kAdjacentLayer, kBlock, kForwardBackward, kUpdate, kLongRange };
inline constexpr int kNumReuseScopes = 6;
// "intra-layer", "adjacent-layer", "block-scale", "forward-backward", "update", "long-range".
absl::string_view ReuseScopeName(ReuseScope scope);

struct ReuseEdge {
  StorageId storage = kNoStorage;
  int32_t from_kernel = 0;  // into CostTable::kernels
  int32_t to_kernel = 0;
  int64_t bytes = 0;
  int64_t write_back_bytes = 0;
  int64_t distance_bytes = 0;
  ReuseScope scope = ReuseScope::kLongRange;
  int32_t block = kNoBlock;  // the innermost block that holds both ends

  int64_t saved_bytes() const { return bytes + write_back_bytes; }
};

// A memory of at least `capacity_bytes` saves `saved_bytes`.
struct SavingPoint {
  int64_t capacity_bytes = 0;
  int64_t saved_bytes = 0;
  friend bool operator==(const SavingPoint& a, const SavingPoint& b) = default;
};

struct ScopeReuse {
  ReuseScope scope = ReuseScope::kLongRange;
  int64_t edges = 0;
  int64_t bytes = 0;                           // fetched again if nothing is kept
  int64_t saved_bytes = 0;                     // traffic saved if every edge is captured: fetches and write-backs
  int64_t capacity_to_capture_bytes = 0;       // LRU capacity that captures every edge
  int64_t capacity_to_capture_half_bytes = 0;  // LRU capacity that saves at least half of saved_bytes
  std::vector<SavingPoint> curve;              // a step at every capacity where something is gained; ascending

  // Traffic that an LRU memory of the given capacity saves at this scope.
  int64_t SavedBytes(int64_t capacity_bytes) const;
};

struct ReuseTable {
  std::vector<ReuseEdge> edges;  // by later touch
  std::array<ScopeReuse, kNumReuseScopes> scopes;

  const ScopeReuse& scope(ReuseScope s) const { return scopes[static_cast<int>(s)]; }
};

// REQUIRES: `cost` was computed from `training` (one touch per kernel and storage), `blocks` from its graph.
// kOutOfRange if a sum exceeds int64.
absl::StatusOr<ReuseTable> ComputeReuse(const TrainingGraph& training, const CostTable& cost, const BlockTable& blocks);

// Indices of the `count` edges that save most, largest first (equal ones: the shorter distance first).
std::vector<int32_t> TopReuseEdges(const ReuseTable& reuse, int count);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_REUSE_H_
