#include "importer/onnx_attributes.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "importer/onnx_tensor.h"
#include "importer/onnx_types.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

// Files older than IR version 2 do not state the type; the field that is filled tells it.
onnx::AttributeProto::AttributeType TypeOf(const onnx::AttributeProto& proto) {
  if (proto.type() != onnx::AttributeProto::UNDEFINED) return proto.type();
  if (proto.has_f()) return onnx::AttributeProto::FLOAT;
  if (proto.has_i()) return onnx::AttributeProto::INT;
  if (proto.has_s()) return onnx::AttributeProto::STRING;
  if (proto.has_t()) return onnx::AttributeProto::TENSOR;
  if (proto.has_g()) return onnx::AttributeProto::GRAPH;
  if (proto.has_tp()) return onnx::AttributeProto::TYPE_PROTO;
  if (proto.has_sparse_tensor()) return onnx::AttributeProto::SPARSE_TENSOR;
  if (proto.floats_size() > 0) return onnx::AttributeProto::FLOATS;
  if (proto.ints_size() > 0) return onnx::AttributeProto::INTS;
  if (proto.strings_size() > 0) return onnx::AttributeProto::STRINGS;
  if (proto.tensors_size() > 0) return onnx::AttributeProto::TENSORS;
  if (proto.graphs_size() > 0) return onnx::AttributeProto::GRAPHS;
  if (proto.type_protos_size() > 0) return onnx::AttributeProto::TYPE_PROTOS;
  if (proto.sparse_tensors_size() > 0) return onnx::AttributeProto::SPARSE_TENSORS;
  return onnx::AttributeProto::UNDEFINED;
}

// An attribute from a StatusOr of one of its alternatives.
template <typename T>
absl::StatusOr<Attribute> AsAttribute(absl::StatusOr<T> value) {
  if (!value.ok()) return value.status();
  return Attribute(*std::move(value));
}

absl::StatusOr<Type> ConvertTypeOnly(const onnx::TypeProto& proto) {
  RS_ASSIGN_OR_RETURN(DeclaredType declared, ConvertType(proto));
  return std::move(declared.type);
}

template <typename Protos, typename Convert>
auto ConvertEach(const Protos& protos, Convert convert) -> absl::StatusOr<Attribute> {
  std::vector<typename std::invoke_result_t<Convert, decltype(*protos.begin())>::value_type> values;
  for (const auto& proto : protos) {
    auto value = convert(proto);
    if (!value.ok()) return value.status();
    values.push_back(*std::move(value));
  }
  return Attribute(std::move(values));
}

absl::StatusOr<Attribute> ConvertAttribute(const onnx::AttributeProto& proto, const ExternalData& external,
                                           SubgraphLoader load_subgraph) {
  using Proto = onnx::AttributeProto;
  if (!proto.ref_attr_name().empty()) return Attribute(AttributeRef{proto.ref_attr_name()});
  const auto tensor = [&](const onnx::TensorProto& value) { return ConvertTensor(value, external); };
  const auto sparse = [&](const onnx::SparseTensorProto& value) { return ConvertSparseTensor(value, external); };
  switch (TypeOf(proto)) {
    case Proto::FLOAT:
      return Attribute(static_cast<double>(proto.f()));
    case Proto::INT:
      return Attribute(proto.i());
    case Proto::STRING:
      return Attribute(proto.s());
    case Proto::TENSOR:
      return AsAttribute(tensor(proto.t()));
    case Proto::SPARSE_TENSOR:
      return AsAttribute(sparse(proto.sparse_tensor()));
    case Proto::GRAPH:
      return AsAttribute(load_subgraph(proto.g()));
    case Proto::TYPE_PROTO:
      return AsAttribute(ConvertTypeOnly(proto.tp()));
    case Proto::FLOATS:
      return Attribute(std::vector<double>(proto.floats().begin(), proto.floats().end()));
    case Proto::INTS:
      return Attribute(std::vector<int64_t>(proto.ints().begin(), proto.ints().end()));
    case Proto::STRINGS:
      return Attribute(std::vector<std::string>(proto.strings().begin(), proto.strings().end()));
    case Proto::TENSORS:
      return ConvertEach(proto.tensors(), tensor);
    case Proto::SPARSE_TENSORS:
      return ConvertEach(proto.sparse_tensors(), sparse);
    case Proto::GRAPHS:
      return ConvertEach(proto.graphs(), load_subgraph);
    case Proto::TYPE_PROTOS:
      return ConvertEach(proto.type_protos(), ConvertTypeOnly);
    case Proto::UNDEFINED:
      break;
  }
  return absl::InvalidArgumentError(
      "found an attribute without type and value, expected one of ONNX's attribute types");
}

}  // namespace

absl::StatusOr<Attributes> ConvertAttributes(const std::vector<const onnx::AttributeProto*>& protos,
                                             const ExternalData& external, SubgraphLoader load_subgraph) {
  std::vector<std::pair<absl::string_view, Attribute>> converted;  // in the file's order, which numbers subgraphs
  for (const onnx::AttributeProto* proto : protos) {
    if (proto->name().empty() || !IsUtf8(proto->name())) {
      return absl::InvalidArgumentError("found an attribute whose name is empty or not UTF-8, expected a name");
    }
    absl::StatusOr<Attribute> value = ConvertAttribute(*proto, external, load_subgraph);
    if (!value.ok()) return Annotate(value.status(), absl::StrCat("attribute '", proto->name(), "'"));
    converted.emplace_back(proto->name(), *std::move(value));
  }
  // Sorted, so that each lands at the end of the sorted entries.
  std::sort(converted.begin(), converted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Attributes attributes;
  for (size_t i = 0; i < converted.size(); ++i) {
    if (i > 0 && converted[i - 1].first == converted[i].first) {
      return absl::InvalidArgumentError(
          absl::StrCat("found attribute '", converted[i].first, "' twice, expected it once"));
    }
    attributes.Set(converted[i].first, std::move(converted[i].second));
  }
  return attributes;
}

}  // namespace reusescope
