#include "analysis/ir/types.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reusescope {
namespace {

struct DTypeInfo {
  absl::string_view name;
  int bits;
  enum { kOther, kFloat, kInteger } kind;
};

constexpr std::array<DTypeInfo, kNumDTypes> kDTypes = {{
    {"undefined", 0, DTypeInfo::kOther},       {"float32", 32, DTypeInfo::kFloat},
    {"uint8", 8, DTypeInfo::kInteger},         {"int8", 8, DTypeInfo::kInteger},
    {"uint16", 16, DTypeInfo::kInteger},       {"int16", 16, DTypeInfo::kInteger},
    {"int32", 32, DTypeInfo::kInteger},        {"int64", 64, DTypeInfo::kInteger},
    {"string", 0, DTypeInfo::kOther},          {"bool", 8, DTypeInfo::kOther},
    {"float16", 16, DTypeInfo::kFloat},        {"float64", 64, DTypeInfo::kFloat},
    {"uint32", 32, DTypeInfo::kInteger},       {"uint64", 64, DTypeInfo::kInteger},
    {"complex64", 64, DTypeInfo::kOther},      {"complex128", 128, DTypeInfo::kOther},
    {"bfloat16", 16, DTypeInfo::kFloat},       {"float8_e4m3fn", 8, DTypeInfo::kFloat},
    {"float8_e4m3fnuz", 8, DTypeInfo::kFloat}, {"float8_e5m2", 8, DTypeInfo::kFloat},
    {"float8_e5m2fnuz", 8, DTypeInfo::kFloat}, {"uint4", 4, DTypeInfo::kInteger},
    {"int4", 4, DTypeInfo::kInteger},          {"float4_e2m1", 4, DTypeInfo::kFloat},
    {"float8_e8m0", 8, DTypeInfo::kFloat},     {"uint2", 2, DTypeInfo::kInteger},
    {"int2", 2, DTypeInfo::kInteger},
}};

const DTypeInfo& Info(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  return kDTypes[index < kDTypes.size() ? index : 0];
}

}  // namespace

absl::string_view DTypeName(DType dtype) { return Info(dtype).name; }

int BitWidth(DType dtype) { return Info(dtype).bits; }
bool IsFloatingPoint(DType dtype) { return Info(dtype).kind == DTypeInfo::kFloat; }
bool IsInteger(DType dtype) { return Info(dtype).kind == DTypeInfo::kInteger; }

absl::StatusOr<int64_t> ElementCount(absl::Span<const int64_t> shape) {
  int64_t count = 1;
  bool overflow = false;
  for (int64_t dim : shape) {
    if (dim < 0) {
      return absl::InvalidArgumentError(absl::StrCat("shape ", ShapeString(shape), " has an unknown dimension"));
    }
    if (dim == 0) return 0;
    const std::optional<int64_t> product = CheckedMultiply(count, dim);
    overflow = overflow || !product.has_value();
    count = product.value_or(1);
  }
  if (overflow) {
    return absl::OutOfRangeError(absl::StrCat("number of elements of shape ", ShapeString(shape), " exceeds int64"));
  }
  return count;
}

absl::StatusOr<int64_t> StorageBytes(int64_t elements, int bits) {
  if (bits % 8 == 0) {
    if (const auto bytes = CheckedMultiply(elements, bits / 8)) return *bytes;
  } else if (const auto total = CheckedMultiply(elements, bits)) {
    return *total / 8 + (*total % 8 != 0 ? 1 : 0);
  }
  return absl::OutOfRangeError(absl::StrCat(elements, " elements of ", bits, " bits exceed int64 bytes"));
}

bool IsFullyKnown(absl::Span<const int64_t> shape) {
  for (int64_t dim : shape) {
    if (dim < 0) return false;
  }
  return true;
}

std::string ShapeString(absl::Span<const int64_t> shape) { return ShapeString(shape, 0); }

std::string ShapeString(absl::Span<const int64_t> shape, uint64_t at_most) {
  std::string out = "[";
  for (size_t d = 0; d < shape.size(); ++d) {
    if (d > 0) out += ", ";
    if (d < 64 && (at_most >> d & 1) != 0) out += "<=";
    shape[d] < 0 ? out.push_back('?') : absl::StrAppend(&out, shape[d]);
  }
  return out + "]";
}

std::string TypeString(const Type& type, uint64_t at_most) {
  const std::string tensor =
      absl::StrCat(DTypeName(type.dtype), type.has_shape ? ShapeString(type.shape, at_most) : std::string("[...]"));
  switch (type.form) {
    case Type::Form::kUnknown:
      return "unknown";
    case Type::Form::kTensor:
      return tensor;
    case Type::Form::kSparseTensor:
      return absl::StrCat("sparse(", tensor, ")");
    case Type::Form::kSequence:
      return absl::StrCat("sequence(", tensor, ")");
    case Type::Form::kOptional:
      return absl::StrCat("optional(", tensor, ")");
    case Type::Form::kMap:
      return "map";
    case Type::Form::kOpaque:
      return "opaque";
  }
  return "unknown";
}

}  // namespace reusescope
