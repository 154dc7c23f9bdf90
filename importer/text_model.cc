#include "importer/text_model.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <exception>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "onnx/defs/parser.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

constexpr int kMaxNesting = 100;  // the parsers recurse

enum class Form { kNone, kOnnx, kJson, kProtobuf };

Form FormOf(absl::string_view head) {
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(head);
  const bool names_model = absl::StrContains(head, "ir_version") || absl::StrContains(head, "opset_import");
  if (absl::StartsWith(text, "<") && names_model) return Form::kOnnx;
  if (absl::StartsWith(text, "{") &&
      (absl::StrContains(head, "\"graph\"") || absl::StrContains(head, "\"irVersion\"") ||
       absl::StrContains(head, "\"opsetImport\""))) {
    return Form::kJson;
  }
  for (absl::string_view field : {"ir_version:", "producer_name:", "graph {", "opset_import {"}) {
    if (absl::StartsWith(text, field)) return Form::kProtobuf;
  }
  return Form::kNone;
}

// Brackets outside of strings are nested at most kMaxNesting deep.
absl::Status CheckNesting(absl::string_view text) {
  int depth = 0;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0) {
      if (c == '\\') ++i;
      if (c == quote) quote = 0;
    } else if (c == '"') {
      quote = c;
    } else if (c == '{' || c == '(' || c == '[') {
      if (++depth > kMaxNesting) {
        return absl::InvalidArgumentError(absl::StrCat("nests brackets more than ", kMaxNesting, " deep"));
      }
    } else if (c == '}' || c == ')' || c == ']') {
      --depth;
    }
  }
  return absl::OkStatus();
}

// Moves the declarations that nothing produces from value_info to the initializers, without payload.
absl::Status PromoteDeclarations(onnx::GraphProto& graph) {
  absl::flat_hash_set<std::string> defined;
  for (const auto& input : graph.input()) defined.insert(input.name());
  for (const auto& initializer : graph.initializer()) defined.insert(initializer.name());
  for (const auto& node : graph.node()) defined.insert(node.output().begin(), node.output().end());
  google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> kept;
  for (const onnx::ValueInfoProto& info : graph.value_info()) {
    if (defined.contains(info.name()) || !info.type().has_tensor_type()) {
      *kept.Add() = info;
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
  }
  graph.mutable_value_info()->Swap(&kept);
  return absl::OkStatus();
}

absl::Status ParseOnnx(const std::string& text, onnx::ModelProto& model) {
  onnx::OnnxParser parser(text.c_str());
  if (const onnx::Common::Status status = parser.Parse(model); !status.IsOK()) {
    return absl::InvalidArgumentError(absl::StrCat("ONNX cannot parse the text: ", status.ErrorMessage()));
  }
  if (!parser.EndOfInput()) {
    return absl::InvalidArgumentError("ONNX cannot parse the text: found more after its end");
  }
  return PromoteDeclarations(*model.mutable_graph());
}

absl::Status ParseJson(const std::string& text, onnx::ModelProto& model) {
  const auto status = google::protobuf::util::JsonStringToMessage(text, &model);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("is no JSON of an ONNX model: ", std::string(status.message().data(), status.message().size())));
}

class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (message_.empty()) message_ = absl::StrCat("line ", line + 1, " column ", column + 1, ": ", message);
  }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

absl::Status ParseProtobuf(const std::string& text, onnx::ModelProto& model) {
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxNesting);
  if (parser.ParseFromString(text, &model)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("is no Protobuf text of an ONNX model: ", error.message()));
}

absl::Status Parse(const std::string& text, onnx::ModelProto& model) {
  RS_RETURN_IF_ERROR(CheckNesting(text));
  try {
    switch (FormOf(text)) {
      case Form::kOnnx:
        return ParseOnnx(text, model);
      case Form::kJson:
        return ParseJson(text, model);
      default:
        return ParseProtobuf(text, model);
    }
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("cannot be read as a model: ", error.what()));
  }
}

}  // namespace

bool IsTextModel(absl::string_view head) { return FormOf(head) != Form::kNone; }

absl::StatusOr<std::string> TextModelToBytes(const std::string& text) {
  onnx::ModelProto model;
  RS_RETURN_IF_ERROR(Parse(text, model));
  return model.SerializeAsString();
}

}  // namespace reusescope
