// ONNX's operator schemas by name and version, each built when it is first asked for. Internal to this folder.

#ifndef REUSESCOPE_ANALYSIS_SCHEMA_SCHEMA_TABLE_H_
#define REUSESCOPE_ANALYSIS_SCHEMA_SCHEMA_TABLE_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"

namespace onnx {
class OpSchema;
struct InferenceContext;
}  // namespace onnx

namespace reusescope {

struct NodeQuery;  // node_inference.h

// What InferNode needs of a schema, computed once.
struct SchemaEntry {
  struct Operand {
    std::string name;
    bool required = false;
    bool variadic = false;
    bool homogeneous = true;
    int type_variable = -1;    // operands of one variable ("T") have one dtype; -1 when the type is fixed
    bool tensor_only = false;  // no sequence or optional is allowed
  };
  const onnx::OpSchema* schema = nullptr;
  int since_version = 1;
  int min_inputs = 0, max_inputs = 0, min_outputs = 0, max_outputs = 0;
  std::function<void(onnx::InferenceContext&)> infer;  // empty when the schema has no rule
  std::vector<Operand> inputs;
  std::vector<std::pair<std::string, int>> required_attributes;  // name, AttributeProto type
};

// The entry with the largest since_version that is not above op.since_version, or null. Never freed.
const SchemaEntry* FindSchema(const OpKey& op);

// The same, but where the operator is younger than op.since_version its first version: onnxruntime takes, and its tools
// write, LayerNormalization in models of opset 11.
const SchemaEntry* FindNearestSchema(const OpKey& op);

// Whether the schema has every attribute that the node has: else it is that of another version.
bool HasOnlyAttributesOf(const NodeQuery& query, const onnx::OpSchema& schema);

// Domain, type and version of every schema, sorted.
const std::vector<OpKey>& AllSchemas();

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_SCHEMA_SCHEMA_TABLE_H_
