// Models for tests, in ONNX's text form (https://onnx.ai/onnx/repo-docs/Syntax.html).
//
//   Model model = ParseOnnxText(R"(
//     <ir_version: 8, opset_import: ["" : 17]>
//     mlp (float[N,128] x) => (float[N,10] y)
//     <float[128,10] w, float[10] b, int64[1] axes = {1}>
//     { y = Gemm (x, w, b) }
//   )");
//
// The text goes the way of a file: parsed by ONNX, serialized, loaded. A declaration without data whose name no node
// produces (`w`, `b`) becomes an initializer whose payload is absent, as in a model without its weights. Header lines
// may be left out: IR version 8 and opset 17 are taken then.

#ifndef REUSESCOPE_TESTS_TESTING_ONNX_TEXT_H_
#define REUSESCOPE_TESTS_TESTING_ONNX_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/model.h"

namespace reusescope {

// The loaded model; fails the running test, and throws, when ONNX cannot parse the text or we cannot load it.
Model ParseOnnxText(absl::string_view text);

// The same with our own status; text that ONNX cannot parse is kInvalidArgument too. For negative tests of the
// importer.
absl::StatusOr<Model> TryParseOnnxText(absl::string_view text);

// The bytes of the .onnx file that the text stands for; throws when ONNX cannot parse it.
std::string OnnxTextToBytes(absl::string_view text);

}  // namespace reusescope

#endif  // REUSESCOPE_TESTS_TESTING_ONNX_TEXT_H_
