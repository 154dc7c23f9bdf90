// Recompute: forward values that are not kept for backward are computed again when backward first asks for them.
//
//   kept:  x0 ── f1 ── x1 ── f2 ── x2 ── f3 ── x3        keep {x0, x3}: before the first backward node that reads x1
//   then:  x0 ── f1' ─ x1' ─ f2' ─ x2'                   or x2, f1' and f2' run, in phase kRecompute
//
// The set to keep is the caller's (analysis/checkpoint_policy.h makes such sets out of --checkpoint; a planner may make
// any). A value shares the fate of its storage: a view of what is kept is kept. Kept whatever the set says: the model's
// inputs, parameters, buffers and constants, which live anyway; graph outputs; outputs of operators with subgraphs, and
// what subgraphs capture; outputs of random operators.
//
// A node runs again once, just before its first reader, with everything it needs that is not there; what it writes
// lives until its last reader. So a node that nothing asks for does not run again. State is not touched twice: outputs
// written in place (running statistics) are left out, and dropout is replayed from its mask, which is kept (PyTorch
// replays the generator instead, and keeps none).
//
// A uniform chain of 100 layers in segments of 10 needs 20 activations instead of 100 (Chen et al. 2016, "Training Deep
// Nets with Sublinear Memory Cost").

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_CHECKPOINT_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_CHECKPOINT_H_

#include <vector>

#include "analysis/ir/training_graph.h"

namespace reusescope {

// By storage: kept whatever the set says (see above). REQUIRES: storages are assigned.
std::vector<bool> StoragesKeptAnyway(const Graph& graph);

// `keep`, by value: the forward values to keep. Rewrites what backward reads, and the stash; fills `training.dropped`.
// REQUIRES: Differentiate has run, AttachOptimizer has not; storages are assigned (and have to be again afterwards).
// O(nodes + operands), and a sort of what is recomputed.
void Recompute(TrainingGraph& training, const std::vector<bool>& keep);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_CHECKPOINT_H_
