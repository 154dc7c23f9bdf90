// What forward leaves behind for backward: the bytes that backward needs, and the bytes that eager PyTorch keeps.
//
//   needed   = sum over distinct storages of TrainingGraph::stash
//   eager    = sum over distinct eager storages of what autograd saves at forward nodes (OpSemantics::eager_saves)
//
// Eager frameworks keep more than backward reads: the input of a max-pool besides its indices, dropout masks, and so
// on. An eager storage is what PyTorch's strided tensors share: views and strided views (Reshape, Transpose, Slice) are
// followed back to the value they are views of, and that whole storage is counted, once. A node saves only if a
// gradient flows through it. Parameters, buffers and constants live anyway and are not counted; the model's own inputs
// are counted apart.
//
// With recomputation (transform/checkpoint.h) the eager column is that of torch.utils.checkpoint around what runs
// again: what its nodes save is not kept, what they begin with is, and the generator's state stands for dropout masks.
//
// The eager column follows PyTorch's derivatives.yaml and is held against saved-tensor hooks of real models (README of
// models/). Not modelled: what torch.compile recomputes, autocast's cache of cast weights.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_STASH_H_
#define REUSESCOPE_ANALYSIS_MEASURE_STASH_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/precision.h"

namespace reusescope {

struct StashOptions {
  PrecisionMode precision = PrecisionMode::kFp32;
  int dropout_mask_bytes = 1;  // per element: 1 as on CUDA, 4 as on PyTorch's CPU
};

struct StashTable {
  int64_t needed_bytes = 0;        // without the model's inputs
  int64_t needed_input_bytes = 0;  // the model's inputs that backward reads
  int64_t eager_bytes = 0;         // without the model's inputs; the next two are part of it
  int64_t eager_extra_bytes = 0;   // what is no value of the graph: pool indices, saved statistics
  int64_t eager_dropout_mask_bytes = 0;
  int64_t eager_input_bytes = 0;
  // Distinct, in the order in which the nodes that save them run: the values whose storage eager PyTorch keeps.
  std::vector<ValueId> eager_values;
};

// REQUIRES: resolved types, storages assigned, `cost` of the same graph and precision. kOutOfRange names the value
// whose bytes exceed int64. Both columns are 0 in inference. O(nodes + values).
absl::StatusOr<StashTable> ComputeStash(const TrainingGraph& training, const CostTable& cost,
                                        const StashOptions& options);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_STASH_H_
