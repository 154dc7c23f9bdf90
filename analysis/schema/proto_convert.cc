#include "analysis/schema/proto_convert.h"

#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

void ShapeToProto(const Type& type, onnx::TensorShapeProto& proto) {
  for (int64_t dim : type.shape) {
    onnx::TensorShapeProto::Dimension& added = *proto.add_dim();
    if (dim >= 0) added.set_dim_value(dim);
  }
}

void TensorTypeToProto(const Type& type, onnx::TypeProto& proto) {
  onnx::TypeProto::Tensor& tensor = *proto.mutable_tensor_type();
  tensor.set_elem_type(static_cast<int>(type.dtype));
  if (type.has_shape) ShapeToProto(type, *tensor.mutable_shape());
}

DType DTypeFromProto(int dtype) {
  return dtype > 0 && dtype < kNumDTypes ? static_cast<DType>(dtype) : DType::kUndefined;
}

absl::Status ShapeFromProto(const onnx::TensorShapeProto& proto, Type& type) {
  type.has_shape = true;
  for (const onnx::TensorShapeProto::Dimension& dim : proto.dim()) {
    if (dim.has_dim_value() && dim.dim_value() < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("found dimension ", dim.dim_value(), " in the shape of its output, expected none below 0"));
    }
    type.shape.push_back(dim.has_dim_value() ? dim.dim_value() : kUnknownDim);
  }
  return absl::OkStatus();
}

template <typename T>
void AppendRaw(const std::string& raw, int64_t count, std::vector<int64_t>& ints) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, raw.data() + i * sizeof(T), sizeof(T));
    ints.push_back(static_cast<int64_t>(value));
  }
}

// The function bodies of ONNX's schemas hold few and small constants, in typed fields or raw.
absl::Status ValuesFromProto(const onnx::TensorProto& proto, int64_t count, Literal& literal) {
  const std::string& raw = proto.raw_data();
  switch (literal.dtype) {
    case DType::kInt64:
      literal.ints.assign(proto.int64_data().begin(), proto.int64_data().end());
      if (raw.size() == count * sizeof(int64_t)) AppendRaw<int64_t>(raw, count, literal.ints);
      break;
    case DType::kInt32:
    case DType::kBool:
    case DType::kUint8:
    case DType::kInt8:
      literal.ints.assign(proto.int32_data().begin(), proto.int32_data().end());
      if (literal.dtype == DType::kInt32 && raw.size() == count * sizeof(int32_t)) {
        AppendRaw<int32_t>(raw, count, literal.ints);
      }
      break;
    case DType::kFloat32:
      literal.floats.assign(proto.float_data().begin(), proto.float_data().end());
      for (int64_t i = 0; raw.size() == count * sizeof(float) && i < count; ++i) {
        float value;
        std::memcpy(&value, raw.data() + i * sizeof(float), sizeof(float));
        literal.floats.push_back(value);
      }
      break;
    case DType::kFloat64:
      literal.floats.assign(proto.double_data().begin(), proto.double_data().end());
      break;
    default:
      return absl::OkStatus();
  }
  literal.has_data = literal.size() == count;
  if (!literal.has_data) {
    literal.ints.clear();
    literal.floats.clear();
  }
  return absl::OkStatus();
}

}  // namespace

void TypeToProto(const Type& type, onnx::TypeProto& proto) {
  proto.Clear();
  switch (type.form) {
    case Type::Form::kTensor:
      TensorTypeToProto(type, proto);
      break;
    case Type::Form::kSequence:
      TensorTypeToProto(type, *proto.mutable_sequence_type()->mutable_elem_type());
      break;
    case Type::Form::kOptional:
      TensorTypeToProto(type, *proto.mutable_optional_type()->mutable_elem_type());
      break;
    case Type::Form::kSparseTensor:
      proto.mutable_sparse_tensor_type()->set_elem_type(static_cast<int>(type.dtype));
      if (type.has_shape) ShapeToProto(type, *proto.mutable_sparse_tensor_type()->mutable_shape());
      break;
    case Type::Form::kMap:
      proto.mutable_map_type();
      break;
    case Type::Form::kOpaque:
    case Type::Form::kUnknown:
      break;
  }
}

absl::StatusOr<Type> TypeFromProto(const onnx::TypeProto& proto) {
  Type type;
  switch (proto.value_case()) {
    case onnx::TypeProto::kTensorType:
      type.form = Type::Form::kTensor;
      type.dtype = DTypeFromProto(proto.tensor_type().elem_type());
      if (proto.tensor_type().has_shape()) RS_RETURN_IF_ERROR(ShapeFromProto(proto.tensor_type().shape(), type));
      break;
    case onnx::TypeProto::kSparseTensorType:
      type.form = Type::Form::kSparseTensor;
      type.dtype = DTypeFromProto(proto.sparse_tensor_type().elem_type());
      if (proto.sparse_tensor_type().has_shape()) {
        RS_RETURN_IF_ERROR(ShapeFromProto(proto.sparse_tensor_type().shape(), type));
      }
      break;
    case onnx::TypeProto::kSequenceType:
    case onnx::TypeProto::kOptionalType: {
      const bool sequence = proto.value_case() == onnx::TypeProto::kSequenceType;
      const onnx::TypeProto& element = sequence ? proto.sequence_type().elem_type() : proto.optional_type().elem_type();
      if (element.value_case() == onnx::TypeProto::kTensorType) {
        RS_ASSIGN_OR_RETURN(type, TypeFromProto(element));
      }
      // A list that may be absent is taken as the list.
      if (!sequence && element.value_case() == onnx::TypeProto::kSequenceType) return TypeFromProto(element);
      type.form = sequence ? Type::Form::kSequence : Type::Form::kOptional;
      break;
    }
    case onnx::TypeProto::kMapType:
      type.form = Type::Form::kMap;
      break;
    case onnx::TypeProto::kOpaqueType:
      type.form = Type::Form::kOpaque;
      break;
    default:
      break;
  }
  return type;
}

bool HasProtoValues(const Literal& literal) {
  return literal.has_data && (literal.dtype == DType::kFloat32 || literal.dtype == DType::kFloat64 ||
                              literal.dtype == DType::kBool || IsInteger(literal.dtype));
}

void LiteralToProto(const Literal& literal, onnx::TensorProto& proto) {
  proto.Clear();
  proto.set_data_type(static_cast<int>(literal.dtype));
  for (int64_t dim : literal.shape) proto.add_dims(dim);
  if (!HasProtoValues(literal)) return;
  if (literal.dtype == DType::kFloat32) {
    for (double value : literal.floats) proto.add_float_data(static_cast<float>(value));
  } else if (literal.dtype == DType::kFloat64) {
    for (double value : literal.floats) proto.add_double_data(value);
  } else if (literal.dtype == DType::kInt64) {
    for (int64_t value : literal.ints) proto.add_int64_data(value);
  } else if (literal.dtype == DType::kUint64 || literal.dtype == DType::kUint32) {
    for (int64_t value : literal.ints) proto.add_uint64_data(static_cast<uint64_t>(value));
  } else {
    for (int64_t value : literal.ints) proto.add_int32_data(static_cast<int32_t>(value));
  }
}

absl::StatusOr<Literal> LiteralFromProto(const onnx::TensorProto& proto) {
  Literal literal;
  literal.dtype = DTypeFromProto(proto.data_type());
  literal.shape.assign(proto.dims().begin(), proto.dims().end());
  RS_ASSIGN_OR_RETURN(const int64_t count, ElementCount(literal.shape));
  if (count <= kMaxLiteralElements) RS_RETURN_IF_ERROR(ValuesFromProto(proto, count, literal));
  return literal;
}

void AttributeToProto(const std::string& name, const Attribute& attribute, onnx::AttributeProto& proto) {
  proto.set_name(name);
  const auto set = [&proto](const auto& value) {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, int64_t>) {
      proto.set_type(onnx::AttributeProto::INT);
      proto.set_i(value);
    } else if constexpr (std::is_same_v<T, double>) {
      proto.set_type(onnx::AttributeProto::FLOAT);
      proto.set_f(static_cast<float>(value));
    } else if constexpr (std::is_same_v<T, std::string>) {
      proto.set_type(onnx::AttributeProto::STRING);
      proto.set_s(value);
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
      proto.set_type(onnx::AttributeProto::INTS);
      for (int64_t element : value) proto.add_ints(element);
    } else if constexpr (std::is_same_v<T, std::vector<double>>) {
      proto.set_type(onnx::AttributeProto::FLOATS);
      for (double element : value) proto.add_floats(static_cast<float>(element));
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      proto.set_type(onnx::AttributeProto::STRINGS);
      for (const std::string& element : value) proto.add_strings(element);
    } else if constexpr (std::is_same_v<T, Literal>) {
      proto.set_type(onnx::AttributeProto::TENSOR);
      LiteralToProto(value, *proto.mutable_t());
    } else if constexpr (std::is_same_v<T, std::vector<Literal>>) {
      proto.set_type(onnx::AttributeProto::TENSORS);
      for (const Literal& element : value) LiteralToProto(element, *proto.add_tensors());
    } else if constexpr (std::is_same_v<T, SubgraphRef>) {
      proto.set_type(onnx::AttributeProto::GRAPH);
      proto.mutable_g();
    } else if constexpr (std::is_same_v<T, std::vector<SubgraphRef>>) {
      proto.set_type(onnx::AttributeProto::GRAPHS);
    } else if constexpr (std::is_same_v<T, Type>) {
      proto.set_type(onnx::AttributeProto::TYPE_PROTO);
      TypeToProto(value, *proto.mutable_tp());
    } else if constexpr (std::is_same_v<T, std::vector<Type>>) {
      proto.set_type(onnx::AttributeProto::TYPE_PROTOS);
      for (const Type& element : value) TypeToProto(element, *proto.add_type_protos());
    } else {
      proto.set_ref_attr_name(value.name);
    }
  };
  std::visit(set, attribute);
}

absl::StatusOr<std::optional<Attribute>> AttributeFromProto(const onnx::AttributeProto& proto) {
  switch (proto.type()) {
    case onnx::AttributeProto::INT:
      return Attribute(int64_t{proto.i()});
    case onnx::AttributeProto::FLOAT:
      return Attribute(double{proto.f()});
    case onnx::AttributeProto::STRING:
      return Attribute(proto.s());
    case onnx::AttributeProto::INTS:
      return Attribute(std::vector<int64_t>(proto.ints().begin(), proto.ints().end()));
    case onnx::AttributeProto::FLOATS:
      return Attribute(std::vector<double>(proto.floats().begin(), proto.floats().end()));
    case onnx::AttributeProto::STRINGS:
      return Attribute(std::vector<std::string>(proto.strings().begin(), proto.strings().end()));
    case onnx::AttributeProto::TENSOR: {
      RS_ASSIGN_OR_RETURN(Literal literal, LiteralFromProto(proto.t()));
      return Attribute(std::move(literal));
    }
    case onnx::AttributeProto::TYPE_PROTO: {
      RS_ASSIGN_OR_RETURN(Type type, TypeFromProto(proto.tp()));
      return Attribute(std::move(type));
    }
    default:
      return std::nullopt;
  }
}

}  // namespace reusescope
