// ONNX's types, dimensions and tensor headers in our terms; every number of the file is checked here.
//
// A dimension that is symbolic or absent becomes kUnknownDim, its symbol goes to `dim_symbols`. Of a declared type, not
// of a stored tensor, a dimension -1 is unknown too: ONNX has no such thing, but many writers do. A sequence or
// optional keeps dtype and shape of its elements; what is nested deeper is kUnknown inside.
//
// Errors: kInvalidArgument with found and expected, for an element type that ONNX does not have, any other negative
// dimension, a tensor of more than kMaxTensorBytes or kMaxRank dimensions. The caller prefixes the value.

#ifndef REUSESCOPE_IMPORTER_ONNX_TYPES_H_
#define REUSESCOPE_IMPORTER_ONNX_TYPES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "analysis/ir/types.h"

namespace onnx {
class TensorProto;
class TypeProto;
}  // namespace onnx

namespace reusescope {

// One PiB: a hundred times the largest models, and far from overflow when multiplied by a batch.
inline constexpr int64_t kMaxTensorBytes = int64_t{1} << 50;
// As many as NumPy has; loops over a shape may then be nested.
inline constexpr int kMaxRank = 64;

struct DeclaredType {
  Type type;
  std::vector<std::string> dim_symbols;  // parallel to type.shape; empty when no dimension is symbolic
  int minus_one_dims = 0;                // how many dimensions were written as -1
};

absl::StatusOr<DType> ConvertDType(int64_t onnx_data_type);
absl::StatusOr<DeclaredType> ConvertType(const onnx::TypeProto& proto);
// Dtype and shape of a stored tensor.
absl::StatusOr<Type> ConvertTensorType(const onnx::TensorProto& proto);
// That there are at most kMaxRank dimensions and that the known ones multiply to at most kMaxTensorBytes.
absl::Status CheckTensorSize(const Type& type);

// Whether text is well-formed UTF-8, as ONNX asks of every name.
bool IsUtf8(absl::string_view text);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ONNX_TYPES_H_
