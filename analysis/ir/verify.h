// Whether a graph keeps its invariants; run after each transform in debug and test builds.
//
// Every id is in range; every node of `order` occurs once; every input is produced before it is read (or has no
// producer); every output names its producer; names are not empty; phases do not run backwards in `order`; when
// `resolved`, every tensor that a scheduled node touches has a known dtype and shape. kInternal names the invariant,
// the stage and the node: a failure is a bug of ours, never of the input.

#ifndef REUSESCOPE_ANALYSIS_IR_VERIFY_H_
#define REUSESCOPE_ANALYSIS_IR_VERIFY_H_

#include "absl/status/status.h"
#include "analysis/ir/graph.h"

namespace reusescope {

absl::Status Verify(const Graph& graph, absl::string_view stage, bool resolved);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_VERIFY_H_
