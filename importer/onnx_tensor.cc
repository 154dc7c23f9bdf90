#include "importer/onnx_tensor.h"

#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/status_util.h"
#include "importer/onnx_types.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

// How the narrow formats spell infinity and not-a-number.
enum class Specials : uint8_t {
  kIeee,          // the largest exponent
  kAllOnes,       // all bits but the sign set: not-a-number; no infinity
  kNegativeZero,  // the pattern of -0: not-a-number; no infinity
  kNone,
};

struct FloatFormat {
  int exponent_bits;
  int mantissa_bits;
  int bias;
  Specials specials;
};

std::optional<FloatFormat> NarrowFormat(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return FloatFormat{5, 10, 15, Specials::kIeee};
    case DType::kBfloat16:
      return FloatFormat{8, 7, 127, Specials::kIeee};
    case DType::kFloat8E4M3FN:
      return FloatFormat{4, 3, 7, Specials::kAllOnes};
    case DType::kFloat8E4M3FNUZ:
      return FloatFormat{4, 3, 8, Specials::kNegativeZero};
    case DType::kFloat8E5M2:
      return FloatFormat{5, 2, 15, Specials::kIeee};
    case DType::kFloat8E5M2FNUZ:
      return FloatFormat{5, 2, 16, Specials::kNegativeZero};
    case DType::kFloat4E2M1:
      return FloatFormat{2, 1, 1, Specials::kNone};
    default:
      return std::nullopt;
  }
}

double DecodeNarrow(const FloatFormat& format, uint64_t bits) {
  const int width = 1 + format.exponent_bits + format.mantissa_bits;
  const auto mantissa = static_cast<int>(bits & ((1u << format.mantissa_bits) - 1));
  const auto exponent = static_cast<int>((bits >> format.mantissa_bits) & ((1u << format.exponent_bits) - 1));
  const double sign = (bits >> (width - 1) & 1) != 0 ? -1.0 : 1.0;
  const int largest = (1 << format.exponent_bits) - 1;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  if (format.specials == Specials::kIeee && exponent == largest) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : kNan;
  }
  if (format.specials == Specials::kAllOnes && exponent == largest && mantissa == (1 << format.mantissa_bits) - 1) {
    return kNan;
  }
  if (format.specials == Specials::kNegativeZero && bits == 1ull << (width - 1)) return kNan;
  const int significand = exponent == 0 ? mantissa : mantissa + (1 << format.mantissa_bits);
  return sign * std::ldexp(significand, std::max(exponent, 1) - format.bias - format.mantissa_bits);
}

bool IsComplex(DType dtype) { return dtype == DType::kComplex64 || dtype == DType::kComplex128; }

bool IsSigned(DType dtype) {
  switch (dtype) {
    case DType::kInt2:
    case DType::kInt4:
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
      return true;
    default:
      return false;
  }
}

int64_t DecodeInteger(DType dtype, uint64_t bits) {
  if (dtype == DType::kBool) return bits != 0;
  const int unused = 64 - BitWidth(dtype);
  return IsSigned(dtype) ? static_cast<int64_t>(bits << unused) >> unused : static_cast<int64_t>(bits);
}

void AppendElement(Literal& literal, uint64_t bits) {
  if (IsFloatingPoint(literal.dtype)) {
    literal.floats.push_back(DecodeFloat(literal.dtype, bits));
  } else {
    literal.ints.push_back(DecodeInteger(literal.dtype, bits));
  }
}

// Elements packed from the low bits of the first byte on, little-endian.
absl::Status DecodePacked(absl::string_view bytes, absl::string_view field, int64_t count, Literal& literal) {
  const int bits = BitWidth(literal.dtype);
  const int64_t expected = (count * bits + 7) / 8;
  if (static_cast<int64_t>(bytes.size()) != expected) {
    return absl::InvalidArgumentError(absl::StrCat("found ", bytes.size(), " bytes of ", field, ", expected ", expected,
                                                   " for ", DTypeName(literal.dtype), ShapeString(literal.shape)));
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first_bit = i * bits;
    uint64_t value = 0;
    for (int64_t byte = 0; byte < (bits + 7) / 8; ++byte) {
      value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[first_bit / 8 + byte])) << (8 * byte);
    }
    if (bits < 8) value = value >> (first_bit % 8) & ((1u << bits) - 1);
    AppendElement(literal, value);
  }
  literal.has_data = true;
  return absl::OkStatus();
}

template <typename Values, typename Append>
absl::Status DecodeTyped(const Values& values, absl::string_view field, int64_t count, Literal& literal,
                         Append append) {
  if (values.size() == 0 && count > 0) return absl::OkStatus();  // left out
  if (values.size() != count) {
    return absl::InvalidArgumentError(absl::StrCat("found ", values.size(), " values of ", field, ", expected ", count,
                                                   " for ", DTypeName(literal.dtype), ShapeString(literal.shape)));
  }
  for (const auto& value : values) append(value);
  literal.has_data = true;
  return absl::OkStatus();
}

absl::Status DecodeTypedFields(const onnx::TensorProto& proto, int64_t count, Literal& literal) {
  const auto append_bits = [&](auto value) { AppendElement(literal, static_cast<uint64_t>(value)); };
  const auto append_float = [&](double value) { literal.floats.push_back(value); };
  switch (literal.dtype) {
    case DType::kFloat32:
      return DecodeTyped(proto.float_data(), "float_data", count, literal, append_float);
    case DType::kFloat64:
      return DecodeTyped(proto.double_data(), "double_data", count, literal, append_float);
    case DType::kInt64:
      return DecodeTyped(proto.int64_data(), "int64_data", count, literal, append_bits);
    case DType::kUint32:
    case DType::kUint64:
      return DecodeTyped(proto.uint64_data(), "uint64_data", count, literal, append_bits);
    case DType::kString:
      return DecodeTyped(proto.string_data(), "string_data", count, literal,
                         [&](const std::string& value) { literal.strings.push_back(value); });
    default:
      break;
  }
  if (BitWidth(literal.dtype) >= 8) {
    const uint64_t mask = BitWidth(literal.dtype) == 64 ? ~0ull : (1ull << BitWidth(literal.dtype)) - 1;
    return DecodeTyped(proto.int32_data(), "int32_data", count, literal,
                       [&](int32_t value) { AppendElement(literal, static_cast<uint64_t>(value) & mask); });
  }
  if (proto.int32_data().empty() && count > 0) return absl::OkStatus();
  std::string bytes;  // sub-byte elements: one packed byte per entry
  for (int32_t value : proto.int32_data()) bytes.push_back(static_cast<char>(value));
  return DecodePacked(bytes, "int32_data", count, literal);
}

bool IsWorthReading(DType dtype, int64_t count) {
  return !IsComplex(dtype) && count <= (IsFloatingPoint(dtype) ? kMaxFloatLiteralElements : kMaxLiteralElements);
}

// Writes the values of a sparse tensor into a dense one that is all zero.
absl::Status Scatter(const Literal& values, const Literal& indices, Literal& dense) {
  const auto rank = static_cast<int64_t>(dense.shape.size());
  const bool by_coordinates = indices.shape.size() == 2;
  if (static_cast<int64_t>(indices.ints.size()) != values.size() * (by_coordinates ? rank : 1)) {
    return absl::InvalidArgumentError(absl::StrCat("found ", indices.ints.size(), " sparse indices, expected ",
                                                   values.size() * (by_coordinates ? rank : 1)));
  }
  for (int64_t i = 0; i < values.size(); ++i) {
    int64_t at = by_coordinates ? 0 : indices.ints[i];
    for (int64_t axis = 0; by_coordinates && axis < rank; ++axis) {
      const int64_t index = indices.ints[i * rank + axis];
      at = index < 0 || index >= dense.shape[axis] ? -1 : at < 0 ? at : at * dense.shape[axis] + index;
      if (at < 0) break;
    }
    if (at < 0 || at >= dense.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("found sparse index ", i, " outside the tensor, expected it inside ", ShapeString(dense.shape)));
    }
    if (!values.ints.empty()) dense.ints[at] = values.ints[i];
    if (!values.floats.empty()) dense.floats[at] = values.floats[i];
  }
  return absl::OkStatus();
}

}  // namespace

double DecodeFloat(DType dtype, uint64_t bits) {
  if (dtype == DType::kFloat32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  if (dtype == DType::kFloat64) return std::bit_cast<double>(bits);
  if (dtype == DType::kFloat8E8M0) {
    return bits == 0xFF ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, static_cast<int>(bits) - 127);
  }
  const std::optional<FloatFormat> format = NarrowFormat(dtype);
  return format.has_value() ? DecodeNarrow(*format, bits) : std::numeric_limits<double>::quiet_NaN();
}

absl::StatusOr<Literal> ConvertTensor(const onnx::TensorProto& proto, const ExternalData& external) {
  RS_ASSIGN_OR_RETURN(Type type, ConvertTensorType(proto));
  Literal literal{.dtype = type.dtype, .shape = std::move(type.shape)};
  RS_ASSIGN_OR_RETURN(const int64_t count, ElementCount(literal.shape));
  const bool is_external = proto.data_location() == onnx::TensorProto::EXTERNAL;
  std::optional<ExternalRange> range;
  if (is_external) {
    RS_ASSIGN_OR_RETURN(range, ParseExternalRange(proto));
  }
  if (!IsWorthReading(literal.dtype, count)) return literal;
  if (is_external) {
    if (literal.dtype == DType::kString) return literal;
    RS_ASSIGN_OR_RETURN(const int64_t bytes, StorageBytes(count, BitWidth(literal.dtype)));
    RS_ASSIGN_OR_RETURN(const std::optional<std::string> data, external.Read(*range, bytes));
    if (data.has_value()) RS_RETURN_IF_ERROR(DecodePacked(*data, "external data", count, literal));
    return literal;
  }
  if (!proto.raw_data().empty() && literal.dtype == DType::kString) {
    return absl::InvalidArgumentError("found raw_data of a string tensor, expected string_data");
  }
  RS_RETURN_IF_ERROR(proto.raw_data().empty() ? DecodeTypedFields(proto, count, literal)
                                              : DecodePacked(proto.raw_data(), "raw_data", count, literal));
  return literal;
}

absl::StatusOr<Literal> ConvertSparseTensor(const onnx::SparseTensorProto& proto, const ExternalData& external) {
  onnx::TensorProto header;  // of the dense tensor, for the checks of its dimensions
  header.set_data_type(proto.values().data_type());
  *header.mutable_dims() = proto.dims();
  RS_ASSIGN_OR_RETURN(Type type, ConvertTensorType(header));
  Literal dense{.dtype = type.dtype, .shape = std::move(type.shape)};
  RS_ASSIGN_OR_RETURN(const Literal values, ConvertTensor(proto.values(), external));
  RS_ASSIGN_OR_RETURN(const Literal indices, ConvertTensor(proto.indices(), external));
  RS_ASSIGN_OR_RETURN(const int64_t count, ElementCount(dense.shape));
  if (!IsWorthReading(dense.dtype, count) || dense.dtype == DType::kString || !values.has_data || !indices.has_data) {
    return dense;
  }
  (IsFloatingPoint(dense.dtype) ? dense.floats.resize(count) : dense.ints.resize(count));
  dense.has_data = true;
  RS_RETURN_IF_ERROR(Scatter(values, indices, dense));
  return dense;
}

}  // namespace reusescope
