// The chain that mini-batch serialization cuts into groups: which kernels belong to which link.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_SERIALIZATION_CHAIN_H_
#define REUSESCOPE_ANALYSIS_MEASURE_SERIALIZATION_CHAIN_H_

#include <functional>
#include <vector>

#include "analysis/measure/serialization.h"

namespace reusescope {

// Links in the order of their first forward kernel: outermost blocks, and the nodes between them. A block for which
// `fits` says no is opened: the blocks in it and its other nodes are links instead. Backward and recomputing kernels go
// to the link of the node they belong to; update kernels to none. Only links with kernels are listed.
std::vector<ChainLink> MakeChain(const Graph& graph, const CostTable& cost, const BlockTable& blocks,
                                 const std::function<bool(const ChainLink&)>& fits);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_SERIALIZATION_CHAIN_H_
