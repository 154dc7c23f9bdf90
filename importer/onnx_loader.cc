#include "importer/onnx_loader.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "google/protobuf/arena.h"
#include "importer/onnx_attributes.h"
#include "importer/onnx_graph.h"
#include "importer/onnx_skim.h"
#include "importer/onnx_types.h"
#include "importer/onnx_wire.h"
#include "onnx/defs/schema.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

using OpsetImports = google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>;

// Far more than any model imports; every subgraph holds a copy of them.
constexpr int kMaxOpsetImports = 64;
constexpr int64_t kMaxOpset = 1'000'000;

absl::Status AddOpsets(const OpsetImports& imports, Opsets& opsets, std::vector<std::string>& warnings) {
  if (imports.size() > kMaxOpsetImports) {
    return absl::InvalidArgumentError(
        absl::StrCat("found ", imports.size(), " opset imports, expected at most ", kMaxOpsetImports));
  }
  for (const onnx::OperatorSetIdProto& import : imports) {
    const absl::string_view domain = NormalDomain(import.domain());
    const absl::string_view shown = domain.empty() ? "ai.onnx" : domain;
    if (!IsUtf8(domain)) return absl::InvalidArgumentError("found an opset domain that is not UTF-8, expected UTF-8");
    if (import.version() == 0) continue;  // not stated
    if (import.version() < 1 || import.version() > kMaxOpset) {
      return absl::InvalidArgumentError(absl::StrCat("found opset version ", import.version(), " of domain '", shown,
                                                     "', expected 1 to ", kMaxOpset));
    }
    const auto version = static_cast<int>(import.version());
    const auto [it, fresh] = opsets.try_emplace(domain, version);
    if (fresh || it->second == version) continue;
    it->second = std::max(it->second, version);
    warnings.push_back(absl::StrCat("two opset imports of domain '", shown, "', version ", it->second, " taken"));
  }
  return absl::OkStatus();
}

std::string FunctionKey(absl::string_view domain, absl::string_view name) { return absl::StrCat(domain, "::", name); }

// Depth-first over who calls whom; a function that is entered while it is being walked calls itself.
class RecursionCheck {
 public:
  explicit RecursionCheck(const std::vector<Function>& functions) {
    for (const Function& function : functions) callees_[FunctionKey(function.domain, function.name)];
    for (const Function& function : functions) {
      AddCalls(*function.body, callees_[FunctionKey(function.domain, function.name)]);
    }
  }

  absl::Status Run() const {
    absl::flat_hash_map<absl::string_view, bool> finished;  // false while on the path
    struct Step {
      absl::string_view function;
      size_t next_callee;
    };
    for (const auto& entry : callees_) {
      if (!finished.emplace(entry.first, false).second) continue;
      std::vector<Step> path = {{entry.first, 0}};
      while (!path.empty()) {
        const absl::string_view function = path.back().function;
        const std::vector<std::string>& callees = callees_.at(function);
        if (path.back().next_callee == callees.size()) {
          finished[function] = true;
          path.pop_back();
          continue;
        }
        const std::string& callee = callees[path.back().next_callee++];
        const auto [it, fresh] = finished.emplace(callee, false);
        if (fresh) path.push_back({callee, 0});
        if (!fresh && !it->second) {
          return absl::InvalidArgumentError(
              absl::StrCat("found function '", callee, "' calling itself, expected functions without recursion"));
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  void AddCalls(const Graph& graph, std::vector<std::string>& calls) const {
    for (const Node& node : graph.nodes) {
      std::string key = FunctionKey(node.op.domain, node.op.type);
      if (callees_.contains(key)) calls.push_back(std::move(key));
    }
    for (const auto& subgraph : graph.subgraphs) AddCalls(*subgraph, calls);
  }

  absl::flat_hash_map<std::string, std::vector<std::string>> callees_;
};

absl::StatusOr<Function> LoadFunction(const onnx::FunctionProto& proto, const GraphContext& context) {
  if (proto.name().empty() || !IsUtf8(proto.name()) || !IsUtf8(proto.domain()) || !IsUtf8(proto.overload())) {
    return absl::InvalidArgumentError("found a name that is empty or not UTF-8, expected a name");
  }
  Function function{.domain = std::string(NormalDomain(proto.domain())),
                    .name = proto.name(),
                    .overload = proto.overload(),
                    .attributes = {proto.attribute().begin(), proto.attribute().end()},
                    .body = std::make_unique<Graph>()};
  GraphContext body_context{
      .external = context.external, .warnings = context.warnings, .default_onnx_opset = context.default_onnx_opset};
  RS_RETURN_IF_ERROR(AddOpsets(proto.opset_import(), body_context.imports, context.warnings));
  body_context.imports.insert(context.imports.begin(), context.imports.end());  // where the function says nothing
  std::vector<const onnx::AttributeProto*> defaults;
  for (const onnx::AttributeProto& attribute : proto.attribute_proto()) defaults.push_back(&attribute);
  const auto refuse_graphs = [](const onnx::GraphProto&) -> absl::StatusOr<SubgraphRef> {
    return absl::InvalidArgumentError("found a graph, expected a default without one");
  };
  RS_ASSIGN_OR_RETURN(function.defaults, ConvertAttributes(defaults, context.external, refuse_graphs));
  RS_RETURN_IF_ERROR(LoadFunctionBody(proto, body_context, *function.body));
  return function;
}

absl::Status LoadFunctions(const onnx::ModelProto& proto, const GraphContext& context, Model& model) {
  absl::flat_hash_set<std::string> names;
  for (const onnx::FunctionProto& function_proto : proto.functions()) {
    absl::StatusOr<Function> function = LoadFunction(function_proto, context);
    if (!function.ok()) return Annotate(function.status(), absl::StrCat("function '", function_proto.name(), "'"));
    const std::string key = FunctionKey(function->domain, function->name);
    if (!names.insert(absl::StrCat(key, ":", function->overload)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("found function '", key, "' defined twice, expected one definition"));
    }
    model.functions.push_back(*std::move(function));
  }
  return RecursionCheck(model.functions).Run();
}

// For a model that does not say: before imports were invented, version 1; else the newest that ONNX's releases wrote
// with this IR version (onnx.helper.VERSION_TABLE).
int DefaultOnnxOpset(int64_t ir_version) {
  static constexpr int kNewest[] = {1, 1, 1, 8, 9, 10, 11, 14, 18, 20, 22, 23, 24, 27};
  if (ir_version >= 0 && ir_version < static_cast<int64_t>(std::size(kNewest))) return kNewest[ir_version];
  return onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at("").second;
}

absl::StatusOr<Model> Convert(const onnx::ModelProto& proto, const ExternalData& external) {
  if (!proto.has_graph()) return absl::InvalidArgumentError("found no graph, expected an ONNX model");
  Model model;
  model.ir_version = proto.ir_version();
  model.producer =
      absl::StrCat(proto.producer_name(), proto.producer_version().empty() ? "" : " ", proto.producer_version());
  if (!IsUtf8(model.producer)) model.producer.clear();
  if (proto.training_info_size() > 0) {
    model.warnings.push_back("the file's own training graphs (training_info) are left out");
  }
  GraphContext context{
      .external = external, .warnings = model.warnings, .default_onnx_opset = DefaultOnnxOpset(model.ir_version)};
  RS_RETURN_IF_ERROR(AddOpsets(proto.opset_import(), context.imports, model.warnings));
  RS_RETURN_IF_ERROR(LoadGraph(proto.graph(), context, model.graph));
  RS_RETURN_IF_ERROR(LoadFunctions(proto, context, model));
  return model;
}

}  // namespace

absl::StatusOr<Model> LoadOnnx(absl::string_view serialized, const ExternalData& external) {
  try {
    google::protobuf::Arena arena;
    auto* proto = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena);
    if (!proto->ParseFromArray(serialized.data(), static_cast<int>(serialized.size()))) {
      return absl::InvalidArgumentError(absl::StrCat("is corrupt or truncated, or nests messages more than ",
                                                     kMaxMessageDepth, " deep, expected an ONNX model"));
    }
    return Convert(*proto, external);
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("cannot be read as an ONNX model: ", error.what()));
  }
}

}  // namespace reusescope
