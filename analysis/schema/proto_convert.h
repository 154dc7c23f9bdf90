// Our types, constants and attributes as ONNX's messages, and back. For this folder and the importer's writer.

#ifndef REUSESCOPE_ANALYSIS_SCHEMA_PROTO_CONVERT_H_
#define REUSESCOPE_ANALYSIS_SCHEMA_PROTO_CONVERT_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "analysis/ir/attributes.h"
#include "analysis/ir/types.h"

namespace onnx {
class AttributeProto;
class TensorProto;
class TypeProto;
}  // namespace onnx

namespace reusescope {

// Unknown dimensions are dimensions without value.
void TypeToProto(const Type& type, onnx::TypeProto& proto);
// kInvalidArgument on a negative dimension.
absl::StatusOr<Type> TypeFromProto(const onnx::TypeProto& proto);

// dtype and dims always; values when the literal has them and their dtype is one that shape rules read.
void LiteralToProto(const Literal& literal, onnx::TensorProto& proto);
// The same the other way; values of at most kMaxLiteralElements elements.
absl::StatusOr<Literal> LiteralFromProto(const onnx::TensorProto& proto);
// Whether LiteralToProto writes the values.
bool HasProtoValues(const Literal& literal);

// Graph attributes become empty graphs: shape rules that need them are not ONNX's here.
void AttributeToProto(const std::string& name, const Attribute& attribute, onnx::AttributeProto& proto);

// The same the other way, but for graphs; nullopt for kinds that no operator's body uses (sparse tensors).
absl::StatusOr<std::optional<Attribute>> AttributeFromProto(const onnx::AttributeProto& proto);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_SCHEMA_PROTO_CONVERT_H_
