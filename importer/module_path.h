// Module paths from the node names of PyTorch's TorchScript exporter.
//
//   ModuleFromNodeName("/layer1/layer1.0/conv1/Conv")                         -> "layer1.0.conv1"
//   ModuleFromNodeName("/features/features.4/conv/conv.1/conv.1.0/Conv")      -> "features.4.conv.1.0"
//   ModuleFromNodeName("/m/encoder/block.0/layer.0/SelfAttention/q/MatMul")   ->
//   "m.encoder.block.0.layer.0.SelfAttention.q"
//
// Each part of such a name is a module's own name; a child of a Sequential repeats its parent's ("layer1.0" inside
// "layer1"), a child of a ModuleList, which is never called itself, stands for both ("block.0"). The last part is the
// operator. A module that is called again gets a number ("relu_1"), which named_modules() does not have:
// AssignModulesFromNodeNames takes it off.

#ifndef REUSESCOPE_IMPORTER_MODULE_PATH_H_
#define REUSESCOPE_IMPORTER_MODULE_PATH_H_

#include <string>

#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// "" for names without a leading slash and for nodes of the root module.
std::string ModuleFromNodeName(absl::string_view node_name);

// Gives every node of `graph` and its subgraphs that has no module yet the one that its name tells. The number of a
// repeated call ("relu_1") is dropped when a module without it is there under the same parent and no initializer is
// called like a member of the numbered one. Cost: one walk.
void AssignModulesFromNodeNames(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_MODULE_PATH_H_
