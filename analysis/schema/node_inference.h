// What ONNX's operator schemas say of one node: its since_version, the types of its outputs, its function body.
//
//   InferNode({.op = {"", "Conv", 17}, .name = "conv1", .attributes = &attributes,
//              .inputs = {&x_type, &w_type}, .num_outputs = 1})
//     -> {.since_version = 11, .outputs = {float32[1, 64, 112, 112]}}
//
// This library alone of the analysis includes ONNX's headers (in .cc files). It does not use ONNX's global registry: a
// schema is built when an operator is first met, from a list of all schemas that CMake reads out of ONNX's
// operator_sets headers, so that a program pays for the operators that it sees and the way ONNX was built (with static
// registration or without) does not matter. Safe to call from several threads.
//
// Errors: kNotFound when ONNX has no such operator at that version; kInvalidArgument with node, operand, found and
// expected otherwise. Exceptions of ONNX are caught here. Dimensions that a schema's rule leaves open are kUnknownDim.

#ifndef REUSESCOPE_ANALYSIS_SCHEMA_NODE_INFERENCE_H_
#define REUSESCOPE_ANALYSIS_SCHEMA_NODE_INFERENCE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "analysis/ir/graph.h"
#include "analysis/ir/model.h"

namespace reusescope {

// A node as its schema sees it. `op.since_version` is the opset version of the model, or that of the schema itself.
struct NodeQuery {
  const OpKey& op;
  absl::string_view name;  // for error messages
  const Attributes& attributes;
  absl::Span<const Type* const> inputs;       // null where an optional input is omitted
  absl::Span<const Literal* const> literals;  // parallel to inputs, or shorter; null where the value is not known
  int num_outputs = 0;
};

struct InferredNode {
  int since_version = 1;
  std::vector<Type> outputs;  // num_outputs of them
  std::string widened;  // the inputs, "input 1 (pads) int32[4]", that were taken as int64, which alone they may be
};

// An operator younger than the model's opset is taken at its first version, as onnxruntime does; one whose operands or
// attributes are those of another version (files that claim the wrong opset), at that version.
absl::StatusOr<InferredNode> InferNode(const NodeQuery& query);

// The version at which the operator's semantics at opset `op.since_version` began, or nullopt when ONNX has no such
// operator.
std::optional<int> SchemaSinceVersion(const OpKey& op);

// The operator's function body with its attributes filled in from the node and the schema's defaults: a graph whose
// inputs and outputs are the formal ones, in order. Null when the operator has none. Types of the inputs are used where
// the body depends on them.
absl::StatusOr<std::unique_ptr<Graph>> SchemaFunctionBody(const NodeQuery& query);

struct FormalParameter {
  enum class Option : uint8_t { kSingle, kOptional, kVariadic };
  std::string name;
  Option option = Option::kSingle;
  bool differentiable = false;  // flagged so by ONNX
  bool floating_point = false;  // may be float32
};

// What ONNX declares about an operator.
struct SchemaInfo {
  OpKey op;  // since_version is that of the schema
  bool deprecated = false;
  bool has_inference = false;
  bool has_function_body = false;
  std::vector<FormalParameter> inputs, outputs;
};

// kNotFound when ONNX has no such operator at that version.
absl::StatusOr<SchemaInfo> DescribeSchema(const OpKey& op);

// Every operator of the domain ("" is ai.onnx, "ai.onnx.ml") at the opset version, sorted by type.
std::vector<OpKey> SchemasOfOpset(absl::string_view domain, int version);
// The newest opset version of the domain that the ONNX this program is built with knows; 0 for an unknown domain.
int LatestOpset(absl::string_view domain);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_SCHEMA_NODE_INFERENCE_H_
