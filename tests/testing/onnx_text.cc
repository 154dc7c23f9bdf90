#include "tests/testing/onnx_text.h"

#include <stdexcept>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "onnx/defs/parser.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

// Moves the declarations that nothing produces from value_info to the initializers, without payload.
absl::Status PromoteDeclarations(onnx::GraphProto& graph) {
  absl::flat_hash_set<std::string> defined;
  for (const auto& input : graph.input()) defined.insert(input.name());
  for (const auto& initializer : graph.initializer()) defined.insert(initializer.name());
  for (const auto& node : graph.node()) defined.insert(node.output().begin(), node.output().end());
  for (int i = 0; i < graph.value_info_size();) {
    const onnx::ValueInfoProto& info = graph.value_info(i);
    if (defined.contains(info.name()) || !info.type().has_tensor_type()) {
      ++i;
      continue;
    }
    onnx::TensorProto* tensor = graph.add_initializer();
    tensor->set_name(info.name());
    tensor->set_data_type(info.type().tensor_type().elem_type());
    for (const auto& dim : info.type().tensor_type().shape().dim()) {
      if (!dim.has_dim_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("'", info.name(), "' becomes an initializer: give its dimensions"));
      }
      tensor->add_dims(dim.dim_value());
    }
    graph.mutable_value_info()->DeleteSubrange(i, 1);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Serialize(absl::string_view text) {
  std::string complete(absl::StripAsciiWhitespace(text));
  if (!absl::StartsWith(complete, "<")) {
    complete = absl::StrCat("<ir_version: 8, opset_import: [\"\" : 17]>\n", complete);
  }
  onnx::ModelProto model;
  onnx::OnnxParser parser(complete.c_str());
  if (const onnx::Common::Status status = parser.Parse(model); !status.IsOK()) {
    return absl::InvalidArgumentError(absl::StrCat("ONNX cannot parse the text: ", status.ErrorMessage()));
  }
  if (!parser.EndOfInput()) return absl::InvalidArgumentError("ONNX cannot parse the text: found more after its end");
  RS_RETURN_IF_ERROR(PromoteDeclarations(*model.mutable_graph()));
  return model.SerializeAsString();
}

}  // namespace

std::string OnnxTextToBytes(absl::string_view text) {
  absl::StatusOr<std::string> bytes = Serialize(text);
  if (!bytes.ok()) throw std::invalid_argument(std::string(bytes.status().message()));
  return *std::move(bytes);
}

absl::StatusOr<Model> TryParseOnnxText(absl::string_view text) {
  absl::StatusOr<std::string> bytes = Serialize(text);
  if (!bytes.ok()) return bytes.status();
  return LoadModelFromBytes(*bytes, "text.onnx");
}

Model ParseOnnxText(absl::string_view text) {
  absl::StatusOr<Model> model = TryParseOnnxText(text);
  if (!model.ok()) {
    ADD_FAILURE() << model.status() << "\n" << text;
    throw std::invalid_argument(std::string(model.status().message()));
  }
  return *std::move(model);
}

}  // namespace reusescope
