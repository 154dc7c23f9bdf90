// Function bodies of ONNX's schemas, as graphs.

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/schema/node_inference.h"
#include "analysis/schema/proto_convert.h"
#include "analysis/schema/schema_table.h"
#include "onnx/defs/schema.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

// Protos of a body become nodes. Names of values resolve in this graph first, then in the one around it.
class BodyConverter {
 public:
  // `attributes`: what references of the body stand for.
  BodyConverter(Graph& graph, const onnx::FunctionProto& function, int version, const Attributes& attributes,
                BodyConverter* parent)
      : graph_(graph), function_(function), version_(version), attributes_(attributes), parent_(parent) {}

  absl::Status Function() {
    for (const std::string& input : function_.input()) graph_.inputs.push_back(Declare(input, ValueKind::kInput));
    for (const onnx::NodeProto& node : function_.node()) RS_RETURN_IF_ERROR(AddNode(node));
    for (const std::string& output : function_.output()) RS_RETURN_IF_ERROR(AddOutput(output));
    return absl::OkStatus();
  }

  absl::Status Subgraph(const onnx::GraphProto& proto) {
    for (const auto& input : proto.input()) {
      const ValueId id = Declare(input.name(), ValueKind::kInput);
      RS_ASSIGN_OR_RETURN(graph_.value(id).type, TypeFromProto(input.type()));
      graph_.inputs.push_back(id);
    }
    for (const onnx::NodeProto& node : proto.node()) RS_RETURN_IF_ERROR(AddNode(node));
    for (const auto& output : proto.output()) RS_RETURN_IF_ERROR(AddOutput(output.name()));
    return absl::OkStatus();
  }

 private:
  ValueId Declare(const std::string& name, ValueKind kind) {
    const ValueId id = graph_.AddValue(name, Type{}, kind);
    names_[name] = id;
    return id;
  }

  ValueId Resolve(const std::string& name) {
    const auto it = names_.find(name);
    if (it != names_.end()) return it->second;
    if (parent_ == nullptr || parent_->Resolve(name) == kNoValue) return kNoValue;
    const ValueId id = Declare(name, ValueKind::kActivation);
    graph_.captured.push_back(id);
    return id;
  }

  absl::StatusOr<ValueId> Require(const std::string& name) {
    const ValueId id = Resolve(name);
    if (id == kNoValue)
      return absl::InternalError(absl::StrCat("function body reads '", name, "', which nothing defines"));
    return id;
  }

  absl::Status AddOutput(const std::string& name) {
    RS_ASSIGN_OR_RETURN(const ValueId id, Require(name));
    graph_.outputs.push_back(id);
    return absl::OkStatus();
  }

  int OpsetOf(const std::string& domain) const {
    const auto normal = [](const std::string& name) { return name == "ai.onnx" ? std::string() : name; };
    for (const auto& import : function_.opset_import()) {
      if (normal(import.domain()) == normal(domain)) return static_cast<int>(import.version());
    }
    // The version is that of the function's own domain; a function of another one is written for the newest ONNX.
    return normal(domain) == normal(function_.domain()) ? version_ : LatestOpset(normal(domain));
  }

  absl::Status AddNode(const onnx::NodeProto& proto) {
    Node node;
    node.op = {proto.domain(), proto.op_type(), OpsetOf(proto.domain())};
    node.name = proto.name().empty() ? absl::StrCat(proto.op_type(), "_", graph_.nodes.size()) : proto.name();
    for (const std::string& input : proto.input()) {
      if (input.empty()) {
        node.inputs.push_back(kNoValue);
        continue;
      }
      RS_ASSIGN_OR_RETURN(const ValueId id, Require(input));
      node.inputs.push_back(id);
    }
    for (const onnx::AttributeProto& attribute : proto.attribute()) RS_RETURN_IF_ERROR(AddAttribute(attribute, node));
    for (const std::string& output : proto.output()) {
      node.outputs.push_back(output.empty() ? kNoValue : Declare(output, ValueKind::kActivation));
    }
    graph_.AddNode(std::move(node));
    return absl::OkStatus();
  }

  absl::Status AddAttribute(const onnx::AttributeProto& proto, Node& node) {
    if (!proto.ref_attr_name().empty()) {
      const Attribute* value = attributes_.Find(proto.ref_attr_name());
      if (value != nullptr) node.attributes.Set(proto.name(), *value);
      return absl::OkStatus();
    }
    if (proto.type() == onnx::AttributeProto::GRAPH) return AddSubgraph(proto, node);
    RS_ASSIGN_OR_RETURN(std::optional<Attribute> value, AttributeFromProto(proto));
    if (value.has_value()) node.attributes.Set(proto.name(), *std::move(value));
    return absl::OkStatus();
  }

  absl::Status AddSubgraph(const onnx::AttributeProto& proto, Node& node) {
    auto subgraph = std::make_unique<Graph>();
    BodyConverter converter(*subgraph, function_, version_, attributes_, this);
    RS_RETURN_IF_ERROR(converter.Subgraph(proto.g()));
    for (ValueId id : subgraph->captured) {
      RS_ASSIGN_OR_RETURN(const ValueId outer, Require(subgraph->value(id).name));
      node.captures.push_back(outer);
    }
    node.attributes.Set(proto.name(), SubgraphRef{static_cast<int>(graph_.subgraphs.size())});
    graph_.subgraphs.push_back(std::move(subgraph));
    return absl::OkStatus();
  }

  Graph& graph_;
  const onnx::FunctionProto& function_;
  const int version_;
  const Attributes& attributes_;
  BodyConverter* const parent_;
  absl::flat_hash_map<std::string, ValueId> names_;
};

// The node's attributes, and the schema's defaults for those that it lacks.
absl::StatusOr<Attributes> WithDefaults(const Attributes& given, const onnx::OpSchema& schema) {
  Attributes attributes = given;
  for (const auto& [name, attribute] : schema.attributes()) {
    if (attribute.default_value.name().empty() || given.Has(name)) continue;
    RS_ASSIGN_OR_RETURN(std::optional<Attribute> value, AttributeFromProto(attribute.default_value));
    if (value.has_value()) attributes.Set(name, *std::move(value));
  }
  return attributes;
}

// The largest version that is not above `opset`, or 0.
int PickVersion(const std::vector<int>& versions, int opset) {
  int picked = 0;
  for (int version : versions) {
    if (version <= opset && version > picked) picked = version;
  }
  return picked;
}

// The node as ONNX's builders of context-dependent bodies ask for it.
onnx::NodeProto NodeToProto(const NodeQuery& query, const Attributes& attributes) {
  onnx::NodeProto proto;
  proto.set_op_type(query.op.type);
  proto.set_domain(query.op.domain);
  for (size_t i = 0; i < query.inputs.size(); ++i) {
    proto.add_input(query.inputs[i] == nullptr ? "" : absl::StrCat("input", i));
  }
  for (int j = 0; j < query.num_outputs; ++j) proto.add_output(absl::StrCat("output", j));
  for (const auto& [name, attribute] : attributes) AttributeToProto(name, attribute, *proto.add_attribute());
  return proto;
}

bool BuildInContext(const onnx::OpSchema& schema, int version, const NodeQuery& query, onnx::FunctionProto& function) {
  std::vector<onnx::TypeProto> types(query.inputs.size());
  for (size_t i = 0; i < types.size(); ++i) {
    if (query.inputs[i] != nullptr) TypeToProto(*query.inputs[i], types[i]);
  }
  const onnx::NodeProto node = NodeToProto(query, query.attributes);
  const onnx::FunctionBodyBuildContextImpl context(node, types);
  return schema.BuildContextDependentFunction(context, function, version);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Graph>> SchemaFunctionBody(const NodeQuery& query) {
  const SchemaEntry* entry = FindNearestSchema(query.op);
  if (entry == nullptr) return std::unique_ptr<Graph>();
  const onnx::OpSchema& schema = *entry->schema;
  // An operator younger than the model's opset may be a draft of what was released.
  const int opset = std::max(query.op.since_version, entry->since_version);
  if (opset > query.op.since_version && !HasOnlyAttributesOf(query, schema)) return std::unique_ptr<Graph>();
  if (!schema.HasFunction() && !schema.HasContextDependentFunction()) return std::unique_ptr<Graph>();
  const auto annotate = [&](const absl::Status& status) {
    return Annotate(status, absl::StrCat("node '", query.name, "' (", OpKeyString(query.op), "): function body"));
  };
  try {
    onnx::FunctionProto built;
    const onnx::FunctionProto* function = nullptr;
    int version = PickVersion(schema.function_opset_versions(), opset);
    if (version > 0) {
      function = schema.GetFunction(version);
    } else {
      version = PickVersion(schema.context_dependent_function_opset_versions(), opset);
      if (version > 0 && BuildInContext(schema, version, query, built)) function = &built;
    }
    if (function == nullptr) return std::unique_ptr<Graph>();
    const auto attributes = WithDefaults(query.attributes, schema);
    if (!attributes.ok()) return annotate(attributes.status());
    auto graph = std::make_unique<Graph>();
    const absl::Status status = BodyConverter(*graph, *function, version, *attributes, nullptr).Function();
    if (!status.ok() && opset > query.op.since_version)
      return std::unique_ptr<Graph>();  // another form of the operator
    if (!status.ok()) return annotate(status);
    return graph;
  } catch (const std::exception& error) {
    return annotate(absl::InvalidArgumentError(error.what()));
  }
}

}  // namespace reusescope
