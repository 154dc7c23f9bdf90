// Element types, shapes and value types of a graph, with checked size arithmetic.
//
//   Type t = Type::Tensor(DType::kFloat32, {32, 3, 224, 224});
//   ElementCount(t.shape)          -> 4,816,896
//   StorageBytes(4'816'896, 32)    -> 19,267,584
//
// A dimension is an int64_t; kUnknownDim (-1) stands for one that is not known yet. After ResolveShapes no tensor of
// the graph has an unknown dimension. Sub-byte types are packed: seven 4-bit elements take four bytes.

#ifndef REUSESCOPE_ANALYSIS_IR_TYPES_H_
#define REUSESCOPE_ANALYSIS_IR_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace reusescope {

// Numbered as ONNX's TensorProto.DataType, so that conversion is a cast.
enum class DType : uint8_t {
  kUndefined = 0,
  kFloat32 = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kFloat64 = 11,
  kUint32 = 12,
  kUint64 = 13,
  kComplex64 = 14,
  kComplex128 = 15,
  kBfloat16 = 16,
  kFloat8E4M3FN = 17,
  kFloat8E4M3FNUZ = 18,
  kFloat8E5M2 = 19,
  kFloat8E5M2FNUZ = 20,
  kUint4 = 21,
  kInt4 = 22,
  kFloat4E2M1 = 23,
  kFloat8E8M0 = 24,
  kUint2 = 25,
  kInt2 = 26,
};
inline constexpr int kNumDTypes = 27;

// "float32", "int64", ...: NumPy's names where it has them, ml_dtypes' otherwise.
absl::string_view DTypeName(DType dtype);
// Bits of one element; 0 for strings and undefined, whose size a type does not tell.
int BitWidth(DType dtype);
bool IsFloatingPoint(DType dtype);
bool IsInteger(DType dtype);  // signed and unsigned integers, not bool

inline constexpr int64_t kUnknownDim = -1;
using Shape = absl::InlinedVector<int64_t, 5>;

// Product of the dimensions; 1 for a scalar. kOutOfRange if it exceeds int64, kInvalidArgument on an unknown dimension.
absl::StatusOr<int64_t> ElementCount(absl::Span<const int64_t> shape);
// ceil(elements * bits / 8). kOutOfRange if it exceeds int64.
absl::StatusOr<int64_t> StorageBytes(int64_t elements, int bits);
bool IsFullyKnown(absl::Span<const int64_t> shape);
// "[32, 3, ?, 224]".
std::string ShapeString(absl::Span<const int64_t> shape);
// "[<=100, 4]": bit d of `at_most` says that dimension d is an upper bound.
std::string ShapeString(absl::Span<const int64_t> shape, uint64_t at_most);

// What a value is. `dtype` and `shape` describe the tensor, or the elements of a sequence or optional.
struct Type {
  enum class Form : uint8_t { kUnknown, kTensor, kSparseTensor, kSequence, kOptional, kMap, kOpaque };
  Form form = Form::kUnknown;
  DType dtype = DType::kUndefined;
  bool has_shape = false;
  Shape shape;
  int64_t length = kUnknownDim;  // of a sequence

  static Type Tensor(DType dtype, Shape shape) { return {Form::kTensor, dtype, true, std::move(shape), kUnknownDim}; }
  bool IsTensor() const { return form == Form::kTensor; }
  bool IsResolved() const { return form == Form::kTensor && has_shape && IsFullyKnown(shape); }
  int rank() const { return static_cast<int>(shape.size()); }
  friend bool operator==(const Type& a, const Type& b) = default;
};

// "float32[32, 3, 224, 224]", "sequence(float32[?])".
std::string TypeString(const Type& type, uint64_t at_most = 0);

// a * b and a + b, or nullopt when the result does not fit.
inline std::optional<int64_t> CheckedMultiply(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}
inline std::optional<int64_t> CheckedAdd(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_TYPES_H_
