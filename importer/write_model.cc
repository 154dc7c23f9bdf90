#include "importer/write_model.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/subgraphs.h"
#include "analysis/schema/proto_convert.h"
#include "google/protobuf/arena.h"
#include "importer/byte_source.h"
#include "importer/external_data.h"
#include "importer/inline_local_functions.h"
#include "importer/onnx_skim.h"
#include "importer/onnx_types.h"
#include "importer/training_file.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

constexpr int64_t kMinIrVersion = 8;                                        // model-local functions
constexpr int64_t kMaxFileBytes = (int64_t{1} << 31) - (int64_t{1} << 26);  // Protobuf's limit, and room for the graph

// The stored tensors of a file, by name: initializers, and what Constant nodes hold, of subgraphs and functions too.
class StoredTensors {
 public:
  absl::Status Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file || !model_->ParseFromIstream(&file)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read again for its weights"));
    }
    RS_RETURN_IF_ERROR(InlineLocalFunctions(*model_));
    Collect(*model_->mutable_graph());
    return absl::OkStatus();
  }
  const onnx::TensorProto* Find(const std::string& name) const {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : it->second;
  }
  int64_t ir_version() const { return model_->ir_version(); }

 private:
  void Collect(onnx::GraphProto& graph) {
    for (onnx::TensorProto& tensor : *graph.mutable_initializer()) tensors_.emplace(tensor.name(), &tensor);
    for (onnx::NodeProto& node : *graph.mutable_node()) {
      for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
        if (attribute.has_g()) Collect(*attribute.mutable_g());
        const bool constant = node.op_type() == "Constant" && node.output_size() == 1 && attribute.has_t();
        if (constant) tensors_.emplace(node.output(0), attribute.mutable_t());
      }
    }
  }

  google::protobuf::Arena arena_;
  onnx::ModelProto* model_ = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena_);
  absl::flat_hash_map<std::string, const onnx::TensorProto*> tensors_;
};

std::filesystem::path FolderOf(const std::string& path) {
  std::error_code error;
  const std::filesystem::path file(path);
  return std::filesystem::weakly_canonical(file.has_parent_path() ? file.parent_path() : ".", error);
}

class ModelWriter {
 public:
  ModelWriter(const StoredTensors& stored, const std::string& source, const std::string& path,
              std::vector<std::string>& notes)
      : stored_(stored),
        source_(source),
        external_(FolderOf(source).string()),
        same_folder_(FolderOf(source) == FolderOf(path)),
        notes_(notes) {}

  absl::Status Write(const Model& model, onnx::ModelProto& proto) {
    proto.set_ir_version(std::max(stored_.ir_version(), kMinIrVersion));
    proto.set_producer_name(model.producer);
    RS_RETURN_IF_ERROR(WriteOrigin(model, proto));
    WriteOpsets(model.graph, *proto.mutable_opset_import());
    for (const Function& function : model.functions) {
      RS_RETURN_IF_ERROR(WriteFunction(function, *proto.add_functions()));
    }
    onnx::GraphProto& graph = *proto.mutable_graph();
    graph.set_name(model.graph.name.empty() ? "training" : model.graph.name);
    RS_RETURN_IF_ERROR(WriteGraph(model.graph, graph));
    if (absent_ > 0) {
      notes_.push_back(absl::StrCat(absent_, " weights are external and not there (for example '", absent_example_,
                                    "'): the file refers to them as the model does"));
    }
    return absl::OkStatus();
  }

 private:
  // The model that this one was made from, without its weights: what `analyze` reads (importer/training_file.h).
  absl::Status WriteOrigin(const Model& model, onnx::ModelProto& proto) const {
    RS_ASSIGN_OR_RETURN(ByteSource source, ByteSource::OpenFile(source_));
    RS_ASSIGN_OR_RETURN(const std::string skimmed, SkimOnnx(source));
    const auto add = [&](absl::string_view key, std::string value) {
      onnx::StringStringEntryProto& entry = *proto.add_metadata_props();
      entry.set_key(std::string(key));
      entry.set_value(std::move(value));
    };
    add(kOriginKey, absl::Base64Escape(skimmed));
    add(kArgumentsKey, absl::StrJoin(model.arguments, "\n"));
    return absl::OkStatus();
  }

  template <typename Imports>
  static void WriteOpsets(const Graph& graph, Imports& imports) {
    std::vector<std::pair<std::string, int>> opsets(graph.opsets.begin(), graph.opsets.end());
    std::sort(opsets.begin(), opsets.end());
    for (const auto& [domain, version] : opsets) {
      onnx::OperatorSetIdProto& import = *imports.Add();
      import.set_domain(domain);
      import.set_version(version);
    }
  }

  static void WriteValueInfo(const Value& value, onnx::ValueInfoProto& info) {
    info.set_name(value.name);
    TypeToProto(value.type, *info.mutable_type());
  }

  absl::Status WriteNode(const Graph& graph, const Node& node, onnx::NodeProto& proto) {
    proto.set_op_type(node.op.type);
    proto.set_domain(node.op.domain);
    proto.set_name(node.name);
    proto.set_overload(node.overload);
    for (ValueId input : node.inputs) proto.add_input(input == kNoValue ? "" : graph.value(input).name);
    for (ValueId output : node.outputs) proto.add_output(output == kNoValue ? "" : graph.value(output).name);
    for (const auto& [name, value] : node.attributes) {
      onnx::AttributeProto& attribute = *proto.add_attribute();
      AttributeToProto(name, value, attribute);
      if (const auto* subgraph = std::get_if<SubgraphRef>(&value)) {
        RS_RETURN_IF_ERROR(WriteGraph(*graph.subgraphs[subgraph->index], *attribute.mutable_g()));
      }
    }
    return absl::OkStatus();
  }

  // Nodes, inputs, outputs and stored tensors; the types of what the nodes make, where they are known. How often a Loop
  // runs is an upper bound, so nothing is said of what nodes with subgraphs make.
  absl::Status WriteGraph(const Graph& graph, onnx::GraphProto& proto) {
    if (!proto.has_name()) proto.set_name(graph.name.empty() ? "body" : graph.name);
    for (ValueId id : graph.inputs) WriteValueInfo(graph.value(id), *proto.add_input());
    for (ValueId id : graph.outputs) WriteValueInfo(graph.value(id), *proto.add_output());
    const absl::flat_hash_set<ValueId> outputs(graph.outputs.begin(), graph.outputs.end());
    for (NodeId id : graph.order) {
      const Node& node = graph.node(id);
      RS_RETURN_IF_ERROR(WriteNode(graph, node, *proto.add_node()));
      bool owner = false;
      ForEachSubgraph(node, [&](int) { owner = true; });
      for (ValueId output : node.outputs) {
        if (owner || output == kNoValue || outputs.contains(output) || !graph.value(output).type.IsResolved()) continue;
        WriteValueInfo(graph.value(output), *proto.add_value_info());
      }
    }
    return WriteInitializers(graph, proto);
  }

  absl::Status WriteFunction(const Function& function, onnx::FunctionProto& proto) {
    const Graph& body = *function.body;
    proto.set_name(function.name);
    proto.set_domain(function.domain);
    WriteOpsets(body, *proto.mutable_opset_import());
    for (ValueId id : body.inputs) proto.add_input(body.value(id).name);
    for (ValueId id : body.outputs) {
      if (id != kNoValue) proto.add_output(body.value(id).name);
    }
    for (NodeId id : body.order) RS_RETURN_IF_ERROR(WriteNode(body, body.node(id), *proto.add_node()));
    return absl::OkStatus();
  }

  // ---- Stored tensors.

  absl::Status WriteInitializers(const Graph& graph, onnx::GraphProto& proto) {
    absl::flat_hash_set<ValueId> done(graph.captured.begin(), graph.captured.end());
    for (ValueId id : graph.inputs) {
      if (graph.value(id).kind == ValueKind::kParameter) continue;  // stored, and may be fed
      done.insert(id);
    }
    const auto visit = [&](ValueId id) -> absl::Status {
      if (id == kNoValue || graph.value(id).producer != kNoNode || !done.insert(id).second) return absl::OkStatus();
      return WriteInitializer(graph, id, *proto.add_initializer());
    };
    for (NodeId id : graph.order) {
      for (ValueId input : graph.node(id).inputs) RS_RETURN_IF_ERROR(visit(input));
      for (ValueId capture : graph.node(id).captures) RS_RETURN_IF_ERROR(visit(capture));
    }
    for (ValueId output : graph.outputs) RS_RETURN_IF_ERROR(visit(output));
    return absl::OkStatus();
  }

  absl::Status WriteInitializer(const Graph& graph, ValueId id, onnx::TensorProto& proto) {
    const Value& value = graph.value(id);
    const onnx::TensorProto* stored = stored_.Find(value.payload_of.empty() ? value.name : value.payload_of);
    if (stored != nullptr) {
      proto = *stored;
      proto.set_name(value.name);
      return BringExternal(value, proto);
    }
    const Literal* literal = graph.literal(id);
    if (literal == nullptr || !HasProtoValues(*literal)) {
      return absl::NotFoundError(absl::StrCat("value '", value.name, "' ", TypeString(value.type),
                                              " is a constant whose numbers are not known, expected it stored in the "
                                              "model's graph"));
    }
    LiteralToProto(*literal, proto);
    proto.set_name(value.name);
    return absl::OkStatus();
  }

  // A reference stays good beside the model; elsewhere the numbers themselves are taken along.
  absl::Status BringExternal(const Value& value, onnx::TensorProto& proto) {
    if (proto.data_location() != onnx::TensorProto::EXTERNAL) return absl::OkStatus();
    absl::StatusOr<ExternalRange> range = ParseExternalRange(proto);
    if (!range.ok()) return Annotate(range.status(), absl::StrCat("initializer '", value.name, "'"));
    RS_ASSIGN_OR_RETURN(const int64_t elements, ElementCount(value.type.shape));
    RS_ASSIGN_OR_RETURN(const int64_t bytes, StorageBytes(elements, BitWidth(value.type.dtype)));
    std::error_code error;
    const bool there = std::filesystem::exists(external_.folder() + "/" + range->location, error);
    if (!there) {
      if (absent_++ == 0) absent_example_ = value.name;
      return absl::OkStatus();
    }
    if (same_folder_) return absl::OkStatus();
    taken_bytes_ += bytes;
    if (taken_bytes_ > kMaxFileBytes) {
      return absl::InvalidArgumentError(
          "weights are external and too many for one file, expected an output in the "
          "model's own folder, where it can refer to them");
    }
    absl::StatusOr<std::optional<std::string>> data = external_.Read(*range, bytes);
    if (!data.ok()) return Annotate(data.status(), absl::StrCat("initializer '", value.name, "'"));
    proto.clear_external_data();
    proto.clear_data_location();
    proto.set_raw_data(**std::move(data));
    return absl::OkStatus();
  }

  const StoredTensors& stored_;
  const std::string& source_;
  const ExternalData external_;
  const bool same_folder_;
  std::vector<std::string>& notes_;
  int absent_ = 0;
  std::string absent_example_;
  int64_t taken_bytes_ = 0;
};

}  // namespace

absl::Status WriteModel(const Model& model, const std::string& source, const std::string& path,
                        std::vector<std::string>& notes) {
  try {
    StoredTensors stored;
    RS_RETURN_IF_ERROR(stored.Read(source));
    google::protobuf::Arena arena;
    auto* proto = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena);
    ModelWriter writer(stored, source, path, notes);
    RS_RETURN_IF_ERROR(writer.Write(model, *proto));
    if (proto->ByteSizeLong() > static_cast<size_t>(kMaxFileBytes)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": would have ", proto->ByteSizeLong(),
                                                     " bytes, more than Protobuf writes; keep the weights external"));
    }
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    if (!file || !proto->SerializeToOstream(&file) || !file.flush()) {
      return absl::UnknownError(absl::StrCat("cannot write '", path, "': ", std::strerror(errno)));
    }
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::UnknownError(absl::StrCat("cannot write '", path, "': ", error.what()));
  }
}

}  // namespace reusescope
