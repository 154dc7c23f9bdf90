#include "importer/onnx_graph.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "importer/metadata.h"
#include "importer/node_namer.h"
#include "importer/onnx_attributes.h"
#include "importer/onnx_tensor.h"
#include "importer/onnx_types.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

template <typename Proto>
absl::string_view FindMetadata(const Proto& proto, absl::string_view key) {
  for (const onnx::StringStringEntryProto& entry : proto.metadata_props()) {
    if (entry.key() == key) return entry.value();
  }
  return "";
}

class GraphLoader {
 public:
  // `parent` is the loader of the graph around this one, null at the top.
  GraphLoader(const GraphContext& context, Graph& graph, GraphLoader* parent)
      : context_(context), graph_(graph), parent_(parent) {
    graph_.opsets = context.imports;
  }

  absl::Status Load(const onnx::GraphProto& proto);
  absl::Status Load(const onnx::FunctionProto& proto);

  // The value of that name: of this graph, or of one around it and then captured here; kNoValue when there is none.
  ValueId Resolve(absl::string_view name);

  // Parallel to graph.captured: the same values as the parent's graph knows them.
  const std::vector<ValueId>& captured_from() const { return captured_from_; }

 private:
  using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;
  using ValueInfos = google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>;

  absl::StatusOr<ValueId> Declare(absl::string_view name, Type type, ValueKind kind);
  absl::Status DeclareInitializers(const onnx::GraphProto& proto);
  absl::Status DeclareInitializer(absl::string_view name, Literal literal, const InitializerMetadata& metadata);
  absl::Status DeclareInputs(const ValueInfos& inputs);
  void FindReplacedConstants(const Nodes& nodes);
  absl::Status DeclareNodeOutputs(const Nodes& nodes);
  absl::Status ApplyDeclaredTypes(const ValueInfos& infos);
  absl::Status LoadNodes(const Nodes& nodes);
  absl::StatusOr<Node> LoadNode(const onnx::NodeProto& proto, std::string name);
  absl::Status LoadAttributes(const onnx::NodeProto& proto, Node& node);
  absl::StatusOr<SubgraphRef> LoadSubgraph(const onnx::GraphProto& proto, bool is_branch,
                                           absl::flat_hash_set<ValueId>& captures);
  absl::Status ResolveOutput(absl::string_view name);
  absl::Status Schedule();
  int OpsetOf(absl::string_view domain);

  const GraphContext& context_;
  Graph& graph_;
  GraphLoader* const parent_;
  bool is_branch_ = false;                                 // of an If
  absl::flat_hash_map<absl::string_view, ValueId> names_;  // views into the protos
  std::vector<std::vector<ValueId>> outputs_;              // of every node, declared before the nodes are loaded
  std::vector<bool> replaced_;                             // parallel to the file's nodes
  std::vector<ValueId> captured_from_;
  int minus_one_dims_ = 0;
};

absl::Status InValue(const absl::Status& status, absl::string_view what, absl::string_view name) {
  return Annotate(status, absl::StrCat(what, " '", name, "'"));
}

absl::StatusOr<ValueId> GraphLoader::Declare(absl::string_view name, Type type, ValueKind kind) {
  if (name.empty()) return absl::InvalidArgumentError("found a value without a name, expected a name");
  if (!IsUtf8(name)) return absl::InvalidArgumentError("found a value whose name is not UTF-8, expected UTF-8");
  const auto [it, fresh] = names_.try_emplace(name, static_cast<ValueId>(graph_.values.size()));
  if (!fresh) {
    return absl::InvalidArgumentError(
        absl::StrCat("found value '", name, "' defined twice, expected one definition of every name"));
  }
  return graph_.AddValue(std::string(name), std::move(type), kind);
}

ValueId GraphLoader::Resolve(absl::string_view name) {
  if (const auto it = names_.find(name); it != names_.end()) return it->second;
  const ValueId outer = parent_ == nullptr ? kNoValue : parent_->Resolve(name);
  if (outer == kNoValue) return kNoValue;
  const ValueId id = graph_.AddValue(std::string(name), Type{});
  names_.emplace(name, id);
  graph_.captured.push_back(id);
  captured_from_.push_back(outer);
  return id;
}

absl::Status GraphLoader::DeclareInitializer(absl::string_view name, Literal literal,
                                             const InitializerMetadata& metadata) {
  // The same tensor twice (files that were merged) is one tensor.
  if (const auto it = names_.find(name); it != names_.end()) {
    const Type& known = graph_.value(it->second).type;
    const Literal* first = graph_.literal(it->second);
    const bool differs = first != nullptr && literal.has_data && !(*first == literal);
    if (known == Type::Tensor(literal.dtype, literal.shape) && !differs) {
      context_.warnings.push_back(absl::StrCat("initializer '", name, "' is stored twice; the first is taken"));
      return absl::OkStatus();
    }
  }
  InitializerClass found = ClassifyInitializer(metadata, name, literal.dtype);
  RS_ASSIGN_OR_RETURN(const ValueId id, Declare(name, Type::Tensor(literal.dtype, literal.shape), found.kind));
  graph_.value(id).evidence = found.evidence;
  if (IsUtf8(found.original_name)) graph_.value(id).original_name = std::move(found.original_name);
  if (literal.has_data) graph_.SetLiteral(id, std::move(literal));
  return absl::OkStatus();
}

absl::Status GraphLoader::DeclareInitializers(const onnx::GraphProto& proto) {
  absl::flat_hash_map<absl::string_view, const onnx::ValueInfoProto*> infos;
  for (const auto& info : proto.input()) infos.emplace(info.name(), &info);
  for (const auto& info : proto.value_info()) infos[info.name()] = &info;
  const auto metadata_of = [&](const onnx::TensorProto& tensor) {
    const auto it = infos.find(tensor.name());
    InitializerMetadata metadata;
    if (it != infos.end()) {
      metadata = {FindMetadata(*it->second, kInputSpecKindKey), FindMetadata(*it->second, kFoldedFromKey)};
    }
    if (metadata.input_spec_kind.empty()) metadata.input_spec_kind = FindMetadata(tensor, kInputSpecKindKey);
    if (metadata.folded_from.empty()) metadata.folded_from = FindMetadata(tensor, kFoldedFromKey);
    return metadata;
  };
  const int expected = proto.initializer_size() + proto.input_size() + proto.node_size();
  graph_.values.reserve(expected);
  names_.reserve(expected);
  for (const onnx::TensorProto& tensor : proto.initializer()) {
    absl::StatusOr<Literal> literal = ConvertTensor(tensor, context_.external);
    if (!literal.ok()) return InValue(literal.status(), "initializer", tensor.name());
    const absl::Status status = DeclareInitializer(tensor.name(), *std::move(literal), metadata_of(tensor));
    if (!status.ok()) return InValue(status, "initializer", tensor.name());
  }
  for (const onnx::SparseTensorProto& tensor : proto.sparse_initializer()) {
    const std::string& name = tensor.values().name();
    absl::StatusOr<Literal> literal = ConvertSparseTensor(tensor, context_.external);
    if (!literal.ok()) return InValue(literal.status(), "sparse initializer", name);
    const absl::Status status = DeclareInitializer(name, *std::move(literal), metadata_of(tensor.values()));
    if (!status.ok()) return InValue(status, "sparse initializer", name);
  }
  return absl::OkStatus();
}

absl::Status GraphLoader::DeclareInputs(const ValueInfos& inputs) {
  const size_t initializers = graph_.values.size();
  for (const onnx::ValueInfoProto& input : inputs) {
    const auto it = names_.find(input.name());
    if (it != names_.end() && static_cast<size_t>(it->second) < initializers) continue;
    // The branches of an If have no inputs; some exporters list what they read from outside.
    if (is_branch_ && parent_->Resolve(input.name()) != kNoValue) {
      context_.warnings.push_back(
          absl::StrCat("a branch of an If lists '", input.name(), "', which is defined outside, as its input"));
      continue;
    }
    absl::StatusOr<DeclaredType> declared = ConvertType(input.type());
    if (!declared.ok()) return InValue(declared.status(), "input", input.name());
    absl::StatusOr<ValueId> id = Declare(input.name(), std::move(declared->type), ValueKind::kInput);
    if (!id.ok()) return InValue(id.status(), "input", input.name());
    graph_.value(*id).dim_symbols = std::move(declared->dim_symbols);
    minus_one_dims_ += declared->minus_one_dims;
    graph_.inputs.push_back(*id);
  }
  return absl::OkStatus();
}

// Of several Constants that define one name (tools that add new ones and leave the old) the last one counts, as for
// onnxruntime.
void GraphLoader::FindReplacedConstants(const Nodes& nodes) {
  replaced_.assign(nodes.size(), false);
  absl::flat_hash_map<absl::string_view, int> last;
  int replaced = 0;
  for (int i = 0; i < nodes.size(); ++i) {
    const onnx::NodeProto& node = nodes[i];
    if (node.op_type() != "Constant" || !NormalDomain(node.domain()).empty() || node.output_size() != 1) continue;
    const auto [it, fresh] = last.try_emplace(node.output(0), i);
    if (fresh) continue;
    replaced_[std::exchange(it->second, i)] = true;
    ++replaced;
  }
  if (replaced == 0) return;
  context_.warnings.push_back(absl::StrCat(replaced, replaced == 1 ? " Constant node is" : " Constant nodes are",
                                           " replaced by a later one of the same name, as onnxruntime does"));
}

absl::Status GraphLoader::DeclareNodeOutputs(const Nodes& nodes) {
  FindReplacedConstants(nodes);
  outputs_.resize(nodes.size());
  for (int i = 0; i < nodes.size(); ++i) {
    if (replaced_[i]) continue;
    for (const std::string& output : nodes[i].output()) {
      if (output.empty()) {
        outputs_[i].push_back(kNoValue);
        continue;
      }
      absl::StatusOr<ValueId> id = Declare(output, Type{}, ValueKind::kActivation);
      if (!id.ok()) {
        return Annotate(id.status(), absl::StrCat("node '", nodes[i].name(), "' (", nodes[i].op_type(), " at position ",
                                                  i, "): output ", outputs_[i].size()));
      }
      outputs_[i].push_back(*id);
    }
  }
  return absl::OkStatus();
}

// What graph outputs and value_info say of values that have no type yet.
absl::Status GraphLoader::ApplyDeclaredTypes(const ValueInfos& infos) {
  for (const onnx::ValueInfoProto& info : infos) {
    const auto it = names_.find(info.name());
    if (it == names_.end() || graph_.value(it->second).type.form != Type::Form::kUnknown) continue;
    absl::StatusOr<DeclaredType> declared = ConvertType(info.type());
    if (!declared.ok()) return InValue(declared.status(), "declared type of", info.name());
    graph_.value(it->second).type = std::move(declared->type);
    graph_.value(it->second).dim_symbols = std::move(declared->dim_symbols);
    minus_one_dims_ += declared->minus_one_dims;
  }
  return absl::OkStatus();
}

int GraphLoader::OpsetOf(absl::string_view domain) {
  if (const auto it = graph_.opsets.find(domain); it != graph_.opsets.end()) return it->second;
  const int version = parent_ != nullptr ? parent_->OpsetOf(domain) : domain.empty() ? context_.default_onnx_opset : 1;
  if (parent_ == nullptr) {
    context_.warnings.push_back(absl::StrCat("no opset import for domain '", domain.empty() ? "ai.onnx" : domain,
                                             "', version ", version, " taken"));
  }
  graph_.opsets.emplace(domain, version);
  return version;
}

absl::StatusOr<SubgraphRef> GraphLoader::LoadSubgraph(const onnx::GraphProto& proto, bool is_branch,
                                                      absl::flat_hash_set<ValueId>& captures) {
  auto subgraph = std::make_unique<Graph>();
  GraphLoader loader(context_, *subgraph, this);
  loader.is_branch_ = is_branch;
  RS_RETURN_IF_ERROR(loader.Load(proto));
  captures.insert(loader.captured_from().begin(), loader.captured_from().end());
  graph_.subgraphs.push_back(std::move(subgraph));
  return SubgraphRef{static_cast<int>(graph_.subgraphs.size()) - 1};
}

absl::Status GraphLoader::LoadAttributes(const onnx::NodeProto& proto, Node& node) {
  std::vector<const onnx::AttributeProto*> attributes;
  for (const onnx::AttributeProto& attribute : proto.attribute()) attributes.push_back(&attribute);
  absl::flat_hash_set<ValueId> captures;
  const bool is_branch = node.op.domain.empty() && node.op.type == "If";
  RS_ASSIGN_OR_RETURN(node.attributes,
                      ConvertAttributes(attributes, context_.external, [&](const onnx::GraphProto& body) {
                        return LoadSubgraph(body, is_branch, captures);
                      }));
  for (ValueId input : node.inputs) captures.erase(input);
  node.captures.assign(captures.begin(), captures.end());
  std::sort(node.captures.begin(), node.captures.end());
  return absl::OkStatus();
}

absl::StatusOr<Node> GraphLoader::LoadNode(const onnx::NodeProto& proto, std::string name) {
  Node node;
  node.op.domain = std::string(NormalDomain(proto.domain()));
  node.op.type = proto.op_type();
  node.op.since_version = OpsetOf(node.op.domain);
  node.overload = proto.overload();
  node.name = std::move(name);
  node.module = ModuleFromNameScopes(FindMetadata(proto, kNameScopesKey));
  if (!IsUtf8(node.module)) node.module.clear();
  const auto annotate = [&](const absl::Status& status) {
    return Annotate(status, absl::StrCat("node '", node.name, "' (", OpKeyString(node.op), ")"));
  };
  for (const std::string& input : proto.input()) {
    const ValueId id = input.empty() ? kNoValue : Resolve(input);
    if (id == kNoValue && !input.empty()) {
      return annotate(absl::InvalidArgumentError(
          absl::StrCat("found input ", node.inputs.size(), " '", input,
                       "', which nothing defines, expected a graph input, an initializer or a node's output")));
    }
    node.inputs.push_back(id);
  }
  if (absl::Status status = LoadAttributes(proto, node); !status.ok()) return annotate(status);
  return node;
}

absl::Status GraphLoader::LoadNodes(const Nodes& nodes) {
  NodeNamer namer;
  for (const onnx::NodeProto& node : nodes) {
    if (!node.name().empty()) namer.Reserve(node.name());
  }
  graph_.nodes.reserve(nodes.size());
  graph_.order.reserve(nodes.size());
  for (int i = 0; i < nodes.size(); ++i) {
    const onnx::NodeProto& proto = nodes[i];
    if (replaced_[i]) continue;
    if (!IsUtf8(proto.name()) || !IsUtf8(proto.op_type()) || !IsUtf8(proto.domain())) {
      return absl::InvalidArgumentError(
          absl::StrCat("node at position ", i, ": found a name that is not UTF-8, expected UTF-8"));
    }
    if (proto.op_type().empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("node '", proto.name(), "' at position ", i, ": found no operator, expected its name"));
    }
    RS_ASSIGN_OR_RETURN(Node node, LoadNode(proto, namer.Name(i, proto.name(), proto.op_type())));
    node.outputs.assign(outputs_[i].begin(), outputs_[i].end());
    graph_.AddNode(std::move(node));
  }
  return absl::OkStatus();
}

absl::Status GraphLoader::ResolveOutput(absl::string_view name) {
  const ValueId id = Resolve(name);
  if (id == kNoValue) {
    return absl::InvalidArgumentError(
        absl::StrCat("found graph output '", name, "', which nothing defines, expected the name of a value"));
  }
  graph_.outputs.push_back(id);
  return absl::OkStatus();
}

// Sorts the nodes when some read what only a later one produces.
absl::Status GraphLoader::Schedule() {
  int early = 0;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    const Node& node = graph_.nodes[i];
    const auto comes_later = [&](ValueId id) {
      return id != kNoValue && graph_.value(id).producer >= static_cast<NodeId>(i);
    };
    if (absl::c_any_of(node.inputs, comes_later) || absl::c_any_of(node.captures, comes_later)) ++early;
  }
  if (early == 0) return absl::OkStatus();
  RS_RETURN_IF_ERROR(SortTopologically(graph_));
  context_.warnings.push_back(absl::StrCat(early, early == 1 ? " node reads" : " nodes read",
                                           " what only a later node of the file produces; sorted"));
  return absl::OkStatus();
}

absl::Status GraphLoader::Load(const onnx::GraphProto& proto) {
  if (IsUtf8(proto.name())) graph_.name = proto.name();
  RS_RETURN_IF_ERROR(DeclareInitializers(proto));
  RS_RETURN_IF_ERROR(DeclareInputs(proto.input()));
  RS_RETURN_IF_ERROR(DeclareNodeOutputs(proto.node()));
  RS_RETURN_IF_ERROR(ApplyDeclaredTypes(proto.output()));
  RS_RETURN_IF_ERROR(ApplyDeclaredTypes(proto.value_info()));
  RS_RETURN_IF_ERROR(LoadNodes(proto.node()));
  for (const onnx::ValueInfoProto& output : proto.output()) RS_RETURN_IF_ERROR(ResolveOutput(output.name()));
  if (minus_one_dims_ > 0) {
    context_.warnings.push_back(absl::StrCat(minus_one_dims_, " declared dimensions are -1, taken as unknown"));
  }
  return Schedule();
}

absl::Status GraphLoader::Load(const onnx::FunctionProto& proto) {
  graph_.name = proto.name();
  for (const std::string& input : proto.input()) {
    RS_ASSIGN_OR_RETURN(const ValueId id, Declare(input, Type{}, ValueKind::kInput));
    graph_.inputs.push_back(id);
  }
  RS_RETURN_IF_ERROR(DeclareNodeOutputs(proto.node()));
  RS_RETURN_IF_ERROR(ApplyDeclaredTypes(proto.value_info()));
  RS_RETURN_IF_ERROR(LoadNodes(proto.node()));
  for (const std::string& output : proto.output()) RS_RETURN_IF_ERROR(ResolveOutput(output));
  return Schedule();
}

}  // namespace

absl::Status LoadGraph(const onnx::GraphProto& proto, const GraphContext& context, Graph& graph) {
  return GraphLoader(context, graph, nullptr).Load(proto);
}

absl::Status LoadFunctionBody(const onnx::FunctionProto& proto, const GraphContext& context, Graph& body) {
  return GraphLoader(context, body, nullptr).Load(proto);
}

absl::string_view NormalDomain(absl::string_view domain) { return domain == "ai.onnx" ? absl::string_view() : domain; }

}  // namespace reusescope
