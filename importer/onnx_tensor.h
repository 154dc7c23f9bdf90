// Stored tensors as Literals: dtype and shape always, values only of tensors small enough to make shapes of.
//
// Values are kept of integer, boolean and string tensors of at most kMaxLiteralElements elements and of floating-point
// tensors of at most kMaxFloatLiteralElements: scalars, scales and bounds, not biases, so that a result hardly depends
// on whether weights are in the file. Payloads come from raw_data, from the typed fields (float16 and narrower as bit
// patterns, sub-byte elements packed, the first in the low bits) or from external data. A tensor without payload is a
// Literal without values, never an error; complex tensors never have values.
//
// Errors: kInvalidArgument with found and expected: what ConvertTensorType and ExternalData say, and payloads whose
// length does not fit the shape. The caller prefixes the value.

#ifndef REUSESCOPE_IMPORTER_ONNX_TENSOR_H_
#define REUSESCOPE_IMPORTER_ONNX_TENSOR_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "analysis/ir/attributes.h"
#include "importer/external_data.h"

namespace onnx {
class SparseTensorProto;
class TensorProto;
}  // namespace onnx

namespace reusescope {

inline constexpr int64_t kMaxFloatLiteralElements = 64;

absl::StatusOr<Literal> ConvertTensor(const onnx::TensorProto& proto, const ExternalData& external);
// The dense tensor that a sparse one stands for; zeros are written out.
absl::StatusOr<Literal> ConvertSparseTensor(const onnx::SparseTensorProto& proto, const ExternalData& external);

// The value of a `dtype` element with that bit pattern. REQUIRES: dtype is a floating-point type.
double DecodeFloat(DType dtype, uint64_t bits);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ONNX_TENSOR_H_
