// Takes out of the schedule what does not depend on inputs or parameters: it is computed before the first step.
//
//   Transpose(Constant) -> a kConstant value of the same name, without producer
//
// A node goes when all its operands are constants or buffers (or known literals) and its operator is deterministic, or
// when every output is a known literal (a Shape whose answer is known). Its outputs keep name, type and literal and
// become kConstant. Then nodes that no output depends on go too. A graph output that is constant keeps its name and
// becomes kConstant; nodes with subgraphs stay. Values stay in the pool. Cost: one walk.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_FOLD_CONSTANTS_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_FOLD_CONSTANTS_H_

#include "absl/status/status.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// REQUIRES: shapes are resolved, parameters are found.
absl::Status FoldConstants(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_FOLD_CONSTANTS_H_
