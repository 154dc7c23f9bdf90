// The body of an ONNX graph or function as a Graph: names become ids, every reference is checked.
//
//   GraphContext context{.external = external, .warnings = model.warnings, .imports = {{"", 17}}};
//   RS_RETURN_IF_ERROR(LoadGraph(proto.graph(), context, model.graph));
//
// `graph.opsets` becomes the imports and, with a warning and a default each, the domains without one. Values: the
// graph inputs, the initializers (also those that are graph inputs as well, which old files ask for), the outputs of
// nodes, and in a subgraph the outer values that it reads (graph.h says how they stand there). Declared types of
// intermediate values are kept as declared. Nodes keep the file's order; where that is no schedule they are sorted,
// with a warning. Cost: linear in the graph, times the depth of subgraphs.
//
// Errors: kInvalidArgument naming node or value, found and expected: a name that is empty, not UTF-8 or given twice, an
// input that nothing produces, a cycle, an operator without a name, malformed tensors, types and attributes.

#ifndef REUSESCOPE_IMPORTER_ONNX_GRAPH_H_
#define REUSESCOPE_IMPORTER_ONNX_GRAPH_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"
#include "importer/external_data.h"

namespace onnx {
class FunctionProto;
class GraphProto;
}  // namespace onnx

namespace reusescope {

using Opsets = absl::flat_hash_map<std::string, int>;  // domain to version

struct GraphContext {
  const ExternalData& external;
  std::vector<std::string>& warnings;
  Opsets imports;
  int default_onnx_opset = 1;  // for a model that imports none
};

absl::Status LoadGraph(const onnx::GraphProto& proto, const GraphContext& context, Graph& graph);
// The formal parameters become inputs and outputs of the body.
absl::Status LoadFunctionBody(const onnx::FunctionProto& proto, const GraphContext& context, Graph& body);

// "ai.onnx", the long name of the default domain, is "".
absl::string_view NormalDomain(absl::string_view domain);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ONNX_GRAPH_H_
