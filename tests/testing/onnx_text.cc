#include "tests/testing/onnx_text.h"

#include <stdexcept>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "importer/text_model.h"

namespace reusescope {
namespace {

absl::StatusOr<std::string> Serialize(absl::string_view text) {
  std::string complete(absl::StripAsciiWhitespace(text));
  if (!absl::StartsWith(complete, "<")) {
    complete = absl::StrCat("<ir_version: 8, opset_import: [\"\" : 17]>\n", complete);
  }
  return TextModelToBytes(complete);
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
