#include "importer/raise_opset.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "importer/inline_local_functions.h"
#include "importer/onnx_graph.h"
#include "onnx/onnx_pb.h"
#include "onnx/version_converter/convert.h"

namespace reusescope {
namespace {

int64_t OpsetOf(const onnx::ModelProto& model) {
  for (const onnx::OperatorSetIdProto& import : model.opset_import()) {
    if (NormalDomain(import.domain()).empty()) return import.version();
  }
  return 1;
}

// A BatchNormalization before opset 14 trains when it has outputs for statistics. The converter refuses those, so they
// are taken off before it and put on again after it.
class TrainingBatchNorms {
 public:
  void TakeOff(onnx::GraphProto& graph) {
    ForEach(graph, [&](onnx::NodeProto& node) {
      if (node.output_size() < 2) return;
      std::vector<std::string> outputs(node.output().begin() + 1, node.output().end());
      outputs.resize(2);  // the running mean and variance; the batch's own have no place in opset 14
      taken_[node.output(0)] = std::move(outputs);
      node.mutable_output()->DeleteSubrange(1, node.output_size() - 1);
    });
  }

  void PutOn(onnx::GraphProto& graph) {
    ForEach(graph, [&](onnx::NodeProto& node) {
      const auto it = taken_.find(node.output(0));
      if (it == taken_.end()) return;
      for (const std::string& output : it->second) node.add_output(output);
      onnx::AttributeProto& training = *node.add_attribute();
      training.set_name("training_mode");
      training.set_type(onnx::AttributeProto::INT);
      training.set_i(1);
    });
  }

 private:
  template <typename Visit>
  static void ForEach(onnx::GraphProto& graph, const Visit& visit) {
    for (onnx::NodeProto& node : *graph.mutable_node()) {
      for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
        if (attribute.has_g()) ForEach(*attribute.mutable_g(), visit);
      }
      const bool norm = node.op_type() == "BatchNormalization" && NormalDomain(node.domain()).empty();
      if (norm && node.output_size() > 0) visit(node);
    }
  }

  absl::flat_hash_map<std::string, std::vector<std::string>> taken_;  // by the first output
};

constexpr int64_t kTrainingModeOpset = 14;

}  // namespace

absl::StatusOr<std::string> RaiseOpset(std::string serialized, int opset) {
  try {
    onnx::ModelProto model;
    if (!model.ParseFromString(serialized)) return absl::InvalidArgumentError("is corrupt, expected an ONNX model");
    const bool functions = model.functions_size() > 0;
    RS_RETURN_IF_ERROR(InlineLocalFunctions(model));
    if (OpsetOf(model) >= opset) return functions ? model.SerializeAsString() : serialized;
    // Initializers that are inputs as well have shapes before IR version 4 only that way.
    model.set_ir_version(std::max<int64_t>(model.ir_version(), 4));
    RegisterOnnxSchemas();
    TrainingBatchNorms norms;
    if (OpsetOf(model) < kTrainingModeOpset) norms.TakeOff(*model.mutable_graph());
    onnx::ModelProto raised = onnx::version_conversion::ConvertVersion(model, opset);
    norms.PutOn(*raised.mutable_graph());
    raised.set_ir_version(std::max<int64_t>(raised.ir_version(), 8));
    return raised.SerializeAsString();
  } catch (const std::exception& error) {
    return absl::UnimplementedError(
        absl::StrCat("ONNX's version converter cannot raise it to opset ", opset, ": ", error.what()));
  }
}

}  // namespace reusescope
