// How rules name and add the nodes they emit; shared by GradientContext and LowerContext.

#ifndef REUSESCOPE_ANALYSIS_OPS_NODE_BUILDER_H_
#define REUSESCOPE_ANALYSIS_OPS_NODE_BUILDER_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// Opset whose forms the nodes we introduce have.
inline constexpr int kEmittedOpset = 18;

// "reusescope::ReluGrad" or "Mul" (ai.onnx) as an operator key.
OpKey EmittedOp(absl::string_view op_type);

// Adds a node of `op_type` named "<base>.<op type>.<its id>" and one value per type; the
// values are named after the node. Phase, forward_node and module are the template's.
std::vector<ValueId> AddEmittedNode(Graph& graph, absl::string_view op_type, absl::string_view base, const Node& like,
                                    absl::Span<const ValueId> inputs, absl::Span<const Type> types, ValueKind kind,
                                    Attributes attributes);

// Adds a constant with known values.
ValueId AddConstant(Graph& graph, absl::string_view name, Literal literal);

// Zeros of that tensor type, made by nodes like those of AddEmittedNode.
ValueId AddZeros(Graph& graph, absl::string_view base, const Node& like, const Type& type);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_NODE_BUILDER_H_
