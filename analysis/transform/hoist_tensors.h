// Tensors that subgraphs store become tensors of the whole graph.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_HOIST_TENSORS_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_HOIST_TENSORS_H_

#include "analysis/ir/graph.h"

namespace reusescope {

// Every initializer of floating-point numbers within If, Loop or Scan, at any depth, moves to `graph`, and the
// subgraphs capture it: a weight has one gradient and one update, however often a body runs. Scalars stay. Where the
// name is taken, the moved tensor gets another and Value::payload_of keeps the old one.
void HoistTensors(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_HOIST_TENSORS_H_
