// Sequences of tensors (SplitToSequence, SequenceAt, ...) as rows of the registry.
//
// A sequence is a list, not data: where its parts are known, what takes an element takes the part itself.
//
//   SplitToSequence(x) -> s; SequenceAt(s, 1) -> y      becomes      Split(x) -> a, b, c; y is b
//
// Each operator lowers to SequenceConstruct of its parts, in schedule order, until no sequence is left to compute; then
// costs and gradients are those of Split and Concat. Where the parts are not known (from a loop, at a position that is
// computed), the node stays: it copies what it takes out of a list or puts into one, and has no gradient.

#ifndef REUSESCOPE_ANALYSIS_OPS_SEQUENCES_H_
#define REUSESCOPE_ANALYSIS_OPS_SEQUENCES_H_

#include "analysis/ops/op_semantics.h"

namespace reusescope {

// Called by RegisterLayout.
void RegisterSequences(OpRegistry& registry);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_SEQUENCES_H_
