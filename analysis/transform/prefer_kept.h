// Backward nodes that may read either of two forward values read the one that is kept anyway.
//
//   conv ─ bn ─ leaky relu ─ conv       its gradient needs only a sign, which its input and its output share; the next
//                                       convolution keeps the output, so nothing is kept for the leaky relu
//
// A gradient says so by the attribute kReadsEither: its operand 1 is input 0 or output 0 of its forward node. Output
// and input are asked in this order whether another node keeps them; where none does, the rule's own choice stays.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_PREFER_KEPT_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_PREFER_KEPT_H_

#include "analysis/ir/training_graph.h"

namespace reusescope {

// REQUIRES: Differentiate has run, storages are assigned. Collects the stash anew. Linear.
void PreferKept(TrainingGraph& training);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_PREFER_KEPT_H_
