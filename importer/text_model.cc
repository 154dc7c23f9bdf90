#include "importer/text_model.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
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
  for (absl::string_view field : {"ir_version:", "ir_version :", "producer_name:", "graph {", "opset_import {"}) {
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

// `elem_type: FLOAT` as `elem_type: 1`: the element types were an enumeration in ONNX's first schema, whose names old
// files still have. Strings and comments stay as they are, and so do lines and unknown names, for the parser to say.
std::string NumberElementTypes(absl::string_view text) {
  const auto word_at = [&](size_t begin) {
    size_t end = begin;
    while (end < text.size() && (absl::ascii_isalnum(text[end]) || text[end] == '_')) ++end;
    return text.substr(begin, end - begin);
  };
  std::string numbered;
  numbered.reserve(text.size());
  bool expects_type = false;  // after `elem_type` or `data_type`, before its value
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    size_t length = 1;
    if (const absl::string_view word = word_at(i); !word.empty()) {
      length = word.size();
      onnx::TensorProto_DataType type;
      if (expects_type && onnx::TensorProto_DataType_Parse(std::string(word), &type)) {
        absl::StrAppend(&numbered, static_cast<int>(type));
        expects_type = false;
        i += length;
        continue;
      }
      expects_type = word == "elem_type" || word == "data_type";
    } else if (c == '"' || c == '\'') {
      while (i + length < text.size() && text[i + length] != c) length += text[i + length] == '\\' ? 2 : 1;
      ++length;
    } else if (c == '#') {
      length = std::min(text.find('\n', i), text.size()) - i;
    } else if (c != ':' && !absl::ascii_isspace(c)) {
      expects_type = false;
    }
    absl::StrAppend(&numbered, text.substr(i, length));
    i += length;
  }
  return numbered;
}

absl::Status ParseProtobuf(const std::string& text, onnx::ModelProto& model) {
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxNesting);
  if (parser.ParseFromString(NumberElementTypes(text), &model)) return absl::OkStatus();
  const bool merged = absl::StrContains(text, "\n<<<<<<< ") && absl::StrContains(text, "\n>>>>>>> ");
  return absl::InvalidArgumentError(absl::StrCat("is no Protobuf text of an ONNX model: ", error.message(),
                                                 merged ? "; it holds git's conflict markers: finish the merge" : ""));
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
