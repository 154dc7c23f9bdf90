// Attributes of ONNX nodes as ours.
//
// Tensors become Literals, graphs are handed to `load_subgraph`, references to function attributes become AttributeRef.
// A list attribute whose elements are left out is an empty list.
//
// Errors: kInvalidArgument with the attribute, found and expected, for a missing or repeated name, a type that ONNX
// does not have, and what the tensors, types and graphs inside say. The caller prefixes the node.

#ifndef REUSESCOPE_IMPORTER_ONNX_ATTRIBUTES_H_
#define REUSESCOPE_IMPORTER_ONNX_ATTRIBUTES_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "analysis/ir/attributes.h"
#include "importer/external_data.h"

namespace onnx {
class AttributeProto;
class GraphProto;
}  // namespace onnx

namespace reusescope {

// Loads the graph as a subgraph of the node's graph and returns its index there.
using SubgraphLoader = absl::FunctionRef<absl::StatusOr<SubgraphRef>(const onnx::GraphProto&)>;

absl::StatusOr<Attributes> ConvertAttributes(const std::vector<const onnx::AttributeProto*>& protos,
                                             const ExternalData& external, SubgraphLoader load_subgraph);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ONNX_ATTRIBUTES_H_
