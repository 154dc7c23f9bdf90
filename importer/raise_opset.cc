#include "importer/raise_opset.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
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

// ---- From opset 13 to 18 without the converter, whose two passes over a graph of thousands of nodes take longer than
// everything that comes after. Between these, three forms change for files that were valid before; whatever else got a
// new version only takes more types or attributes, whose absence means what it did. Held against the converter in
// tests/importer/raise_opset_test.cc.

constexpr int64_t kFirstNearOpset = 13, kLastNearOpset = 18;

bool IsReductionOfAxes(absl::string_view type) {  // ReduceSum has had its axes as an input since 13
  return absl::ConsumePrefix(&type, "Reduce") && type != "Sum";
}

bool HasAttribute(const onnx::NodeProto& node, absl::string_view name) {
  return std::any_of(node.attribute().begin(), node.attribute().end(),
                     [&](const onnx::AttributeProto& attribute) { return attribute.name() == name; });
}

onnx::AttributeProto& SetAttribute(onnx::NodeProto& node, const std::string& name,
                                   onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(type);
  return attribute;
}

// The attribute axes as an input; returns the Constant that makes it.
onnx::NodeProto TakeAxes(onnx::NodeProto& node) {
  auto& attributes = *node.mutable_attribute();
  const auto axes = std::find_if(attributes.begin(), attributes.end(),
                                 [](const onnx::AttributeProto& attribute) { return attribute.name() == "axes"; });
  onnx::NodeProto constant;
  constant.set_name(absl::StrCat(node.name(), ".axes"));
  constant.set_op_type("Constant");
  constant.add_output(absl::StrCat(node.output(0), ".axes"));
  onnx::TensorProto& value = *SetAttribute(constant, "value", onnx::AttributeProto::TENSOR).mutable_t();
  value.set_data_type(onnx::TensorProto::INT64);
  value.add_dims(axes->ints_size());
  *value.mutable_int64_data() = axes->ints();
  attributes.erase(axes);
  node.add_input(constant.output(0));
  return constant;
}

// Changes the nodes of a graph; names of new values are made of those of the nodes' outputs.
void RaiseNear(onnx::GraphProto& graph, int64_t from) {
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
  nodes.Reserve(graph.node_size());
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_g()) RaiseNear(*attribute.mutable_g(), from);
      for (onnx::GraphProto& each : *attribute.mutable_graphs()) RaiseNear(each, from);
    }
    const bool standard = NormalDomain(node.domain()).empty();
    if (standard && IsReductionOfAxes(node.op_type()) && HasAttribute(node, "axes")) {
      *nodes.Add() = TakeAxes(node);
    } else if (standard && node.op_type() == "Split" && node.input_size() < 2 && !HasAttribute(node, "num_outputs")) {
      SetAttribute(node, "num_outputs", onnx::AttributeProto::INT).set_i(node.output_size());
    } else if (standard && node.op_type() == "RoiAlign" && from < 16) {
      SetAttribute(node, "coordinate_transformation_mode", onnx::AttributeProto::STRING).set_s("output_half_pixel");
    }
    *nodes.Add() = std::move(node);
  }
  *graph.mutable_node() = std::move(nodes);
}

void ImportOpset(onnx::ModelProto& model, int64_t opset) {
  for (onnx::OperatorSetIdProto& import : *model.mutable_opset_import()) {
    if (NormalDomain(import.domain()).empty()) import.set_version(opset);
  }
}

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
    const int64_t from = OpsetOf(model);
    TrainingBatchNorms norms;
    if (from < kTrainingModeOpset) norms.TakeOff(*model.mutable_graph());
    if (from >= kFirstNearOpset && opset == kLastNearOpset) {
      RaiseNear(*model.mutable_graph(), from);
      ImportOpset(model, opset);
    } else {
      RegisterOnnxSchemas();
      model = onnx::version_conversion::ConvertVersion(model, opset);
    }
    norms.PutOn(*model.mutable_graph());
    model.set_ir_version(std::max<int64_t>(model.ir_version(), 8));
    return model.SerializeAsString();
  } catch (const std::exception& error) {
    return absl::UnimplementedError(
        absl::StrCat("ONNX's version converter cannot raise it to opset ", opset, ": ", error.what()));
  }
}

}  // namespace reusescope
