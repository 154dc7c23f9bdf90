// For messages: how the gradient comes to a node.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_GRADIENT_PATH_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_GRADIENT_PATH_H_

#include <string>

#include "analysis/ir/graph.h"

namespace reusescope {

// "it is reached from the output by 'fc' (Gemm-13), 'head' (Foo-1)": a shortest chain of forward
// nodes from an output of the graph back to `id`, the names of long ones left out in the middle.
// Through floating-point values only, the way of gradients, unless `any_value`.
std::string PathFromOutput(const Graph& graph, NodeId id, bool any_value = false);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_GRADIENT_PATH_H_
