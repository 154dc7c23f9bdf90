#include "importer/inline_local_functions.h"

#include <algorithm>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "importer/onnx_graph.h"
#include "onnx/defs/operator_sets.h"
#include "onnx/defs/schema.h"
#include "onnx/inliner/inliner.h"

namespace reusescope {
namespace {

// How many nodes a model comes to when its calls are inlined.
class Expansion {
 public:
  explicit Expansion(const onnx::ModelProto& model) : model_(model) {
    for (const onnx::FunctionProto& function : model.functions()) {
      functions_.try_emplace(Key(function.domain(), function.name()), &function);
    }
  }

  absl::Status Check() {
    int64_t own = CountNodes(model_.graph().node());
    for (const onnx::FunctionProto& function : model_.functions()) own += CountNodes(function.node());
    limit_ = 20'000 + 50 * own;
    const int64_t all = Count(model_.graph().node());
    if (!recursive_.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("function '", recursive_, "' calls itself, expected functions that do not recur"));
    }
    if (all > limit_) {
      return absl::InvalidArgumentError(
          absl::StrCat("inlining its functions makes ", all, " nodes or more, expected at most ", limit_));
    }
    return absl::OkStatus();
  }

 private:
  using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

  static std::string Key(const std::string& domain, const std::string& name) {
    return absl::StrCat(NormalDomain(domain), "::", name);
  }

  static int64_t CountNodes(const Nodes& nodes) {
    int64_t count = nodes.size();
    for (const onnx::NodeProto& node : nodes) {
      for (const onnx::AttributeProto& attribute : node.attribute()) count += CountNodes(attribute.g().node());
    }
    return count;
  }

  int64_t Count(const Nodes& nodes) {
    int64_t count = 0;
    for (const onnx::NodeProto& node : nodes) {
      const auto callee = functions_.find(Key(node.domain(), node.op_type()));
      count += callee == functions_.end() ? 1 : CountCall(*callee->second);
      for (const onnx::AttributeProto& attribute : node.attribute()) count += Count(attribute.g().node());
      if (count > limit_ || !recursive_.empty()) return count;
    }
    return count;
  }

  int64_t CountCall(const onnx::FunctionProto& function) {
    const auto [it, fresh] = sizes_.try_emplace(&function, kOpen);
    if (!fresh && it->second == kOpen) recursive_ = function.name();
    if (!fresh) return std::max<int64_t>(it->second, 1);
    const int64_t size = Count(function.node());
    sizes_[&function] = size;
    return size;
  }

  static constexpr int64_t kOpen = -1;  // being counted

  const onnx::ModelProto& model_;
  absl::flat_hash_map<std::string, const onnx::FunctionProto*> functions_;
  absl::flat_hash_map<const onnx::FunctionProto*, int64_t> sizes_;
  std::string recursive_;
  int64_t limit_ = 0;
};

// Writes a function's defaults into the calls that leave attributes out: ONNX's inliner knows nothing of them.
void FillDefaults(const onnx::ModelProto& model, google::protobuf::RepeatedPtrField<onnx::NodeProto>& nodes) {
  for (onnx::NodeProto& node : nodes) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_g()) FillDefaults(model, *attribute.mutable_g()->mutable_node());
    }
    for (const onnx::FunctionProto& function : model.functions()) {
      const bool called = function.name() == node.op_type() && function.overload() == node.overload() &&
                          NormalDomain(function.domain()) == NormalDomain(node.domain());
      if (!called) continue;
      for (const onnx::AttributeProto& absent : function.attribute_proto()) {
        const bool given = std::any_of(node.attribute().begin(), node.attribute().end(),
                                       [&](const onnx::AttributeProto& each) { return each.name() == absent.name(); });
        if (!given) *node.add_attribute() = absent;
      }
    }
  }
}

}  // namespace

void RegisterOnnxSchemas() {
  static const bool registered = [] {
    onnx::OpSchemaRegistry::Instance();
    onnx::RegisterOnnxOperatorSetSchema(0, /*fail_duplicate_schema=*/false);
    return true;
  }();
  (void)registered;
}

absl::Status InlineLocalFunctions(onnx::ModelProto& model) {
  if (model.functions_size() == 0) return absl::OkStatus();
  if (absl::Status status = Expansion(model).Check(); !status.ok()) return status;
  const onnx::ModelProto declared = model;
  FillDefaults(declared, *model.mutable_graph()->mutable_node());
  for (onnx::FunctionProto& function : *model.mutable_functions()) FillDefaults(declared, *function.mutable_node());
  RegisterOnnxSchemas();
  onnx::inliner::InlineLocalFunctions(model, /*convert_version=*/true);
  return absl::OkStatus();
}

}  // namespace reusescope
