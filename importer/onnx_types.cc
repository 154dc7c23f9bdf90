#include "importer/onnx_types.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

absl::StatusOr<DeclaredType> ConvertTensor(Type::Form form, int64_t elem_type, const onnx::TensorShapeProto* shape) {
  DeclaredType declared;
  declared.type.form = form;
  if (elem_type != 0) {
    RS_ASSIGN_OR_RETURN(declared.type.dtype, ConvertDType(elem_type));
  }
  if (shape == nullptr) return declared;
  declared.type.has_shape = true;
  bool symbolic = false;
  for (const onnx::TensorShapeProto::Dimension& dim : shape->dim()) {
    if (dim.has_dim_value() && dim.dim_value() < kUnknownDim) {
      return absl::InvalidArgumentError(absl::StrCat("found dimension ", dim.dim_value(), ", expected 0 or more"));
    }
    if (dim.has_dim_value() && dim.dim_value() == kUnknownDim) ++declared.minus_one_dims;
    if (!IsUtf8(dim.dim_param())) return absl::InvalidArgumentError("found a dimension whose name is not UTF-8");
    declared.type.shape.push_back(dim.has_dim_value() ? dim.dim_value() : kUnknownDim);
    declared.dim_symbols.push_back(dim.has_dim_value() ? "" : dim.dim_param());
    symbolic = symbolic || !declared.dim_symbols.back().empty();
  }
  if (!symbolic) declared.dim_symbols.clear();
  RS_RETURN_IF_ERROR(CheckTensorSize(declared.type));
  return declared;
}

DeclaredType OfForm(Type::Form form) {
  DeclaredType declared;
  declared.type.form = form;
  return declared;
}

// The type of the elements, under the form of what holds them.
absl::StatusOr<DeclaredType> Wrapped(Type::Form form, const onnx::TypeProto& element) {
  absl::StatusOr<DeclaredType> declared = ConvertType(element);
  if (!declared.ok()) return declared;
  const Type::Form inner = declared->type.form;
  if (form == Type::Form::kOptional && inner == Type::Form::kSequence)
    return declared;  // a list that may be absent is taken as the list
  if (inner != Type::Form::kTensor && inner != Type::Form::kSparseTensor) return OfForm(form);
  declared->type.form = form;
  return declared;
}

}  // namespace

absl::StatusOr<DType> ConvertDType(int64_t onnx_data_type) {
  if (onnx_data_type < 1 || onnx_data_type >= kNumDTypes) {
    return absl::InvalidArgumentError(
        absl::StrCat("found element type ", onnx_data_type, ", expected 1 to ", kNumDTypes - 1));
  }
  return static_cast<DType>(onnx_data_type);
}

absl::StatusOr<DeclaredType> ConvertType(const onnx::TypeProto& proto) {
  switch (proto.value_case()) {
    case onnx::TypeProto::kTensorType:
      return ConvertTensor(Type::Form::kTensor, proto.tensor_type().elem_type(),
                           proto.tensor_type().has_shape() ? &proto.tensor_type().shape() : nullptr);
    case onnx::TypeProto::kSparseTensorType:
      return ConvertTensor(Type::Form::kSparseTensor, proto.sparse_tensor_type().elem_type(),
                           proto.sparse_tensor_type().has_shape() ? &proto.sparse_tensor_type().shape() : nullptr);
    case onnx::TypeProto::kSequenceType:
      return Wrapped(Type::Form::kSequence, proto.sequence_type().elem_type());
    case onnx::TypeProto::kOptionalType:
      return Wrapped(Type::Form::kOptional, proto.optional_type().elem_type());
    case onnx::TypeProto::kMapType:
      return OfForm(Type::Form::kMap);
    case onnx::TypeProto::kOpaqueType:
      return OfForm(Type::Form::kOpaque);
    case onnx::TypeProto::VALUE_NOT_SET:
      break;
  }
  return OfForm(Type::Form::kUnknown);
}

absl::StatusOr<Type> ConvertTensorType(const onnx::TensorProto& proto) {
  RS_ASSIGN_OR_RETURN(const DType dtype, ConvertDType(proto.data_type()));
  Type type = Type::Tensor(dtype, Shape(proto.dims().begin(), proto.dims().end()));
  for (int64_t dim : type.shape) {
    if (dim < 0) return absl::InvalidArgumentError(absl::StrCat("found dimension ", dim, ", expected 0 or more"));
  }
  RS_RETURN_IF_ERROR(CheckTensorSize(type));
  return type;
}

absl::Status CheckTensorSize(const Type& type) {
  if (type.rank() > kMaxRank) {
    return absl::InvalidArgumentError(absl::StrCat("found ", type.rank(), " dimensions, expected at most ", kMaxRank));
  }
  const int64_t bits = std::max(BitWidth(type.dtype), 1);
  std::optional<int64_t> elements = 1;
  for (int64_t dim : type.shape) {
    if (dim == kUnknownDim) continue;
    elements = elements.has_value() ? CheckedMultiply(*elements, dim) : std::nullopt;
  }
  if (std::find(type.shape.begin(), type.shape.end(), 0) != type.shape.end()) return absl::OkStatus();
  if (elements.has_value() && *elements <= kMaxTensorBytes * 8 / bits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("found a tensor of shape ", ShapeString(type.shape),
                                                 ", expected at most ", kMaxTensorBytes, " bytes"));
}

bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const int length = lead < 0x80                   ? 1
                       : lead >= 0xC2 && lead < 0xE0 ? 2
                       : lead >= 0xE0 && lead < 0xF0 ? 3
                       : lead >= 0xF0 && lead < 0xF5 ? 4
                                                     : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (int j = 1; j < length; ++j) {
      if ((static_cast<unsigned char>(text[i + j]) & 0xC0) != 0x80) return false;
    }
    const auto second = static_cast<unsigned char>(length > 1 ? text[i + 1] : 0);
    // Overlong forms, surrogates, beyond U+10FFFF.
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
        (lead == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace reusescope
