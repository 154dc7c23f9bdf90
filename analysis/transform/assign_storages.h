// Which values share memory: one Storage per tensor, views and in-place results in the storage of what they view.
//
// Output 0 of a view (Aliasing::kView) lives in input 0's storage; output j of an in-place operator in that of input
// in_place[j]. A strided view is a copy and has a storage of its own, except an `absorbed_by_contraction` one
// (Transpose) next to a contraction: every reader is a contraction, or the input is what a contraction writes and
// nothing else reads; views in between do not matter. Then it costs nothing and shares the storage too.
//
// Fills Value::storage and Graph::storages anew; run it again after adding nodes. Linear.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_ASSIGN_STORAGES_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_ASSIGN_STORAGES_H_

#include "analysis/ir/graph.h"

namespace reusescope {

void AssignStorages(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_ASSIGN_STORAGES_H_
