// Models written as text, as the bytes of the .onnx file that they stand for.
//
//   <ir_version: 8, opset_import: ["" : 17]>  mlp (float[N,128] x) => (float[N,10] y) <float[128,10] w> { ... }
//   {"irVersion": "8", "graph": {"node": [...]}}              Protobuf's JSON
//   ir_version: 8  graph { node { ... } }                     Protobuf's text form
//
// The first is ONNX's own syntax (https://onnx.ai/onnx/repo-docs/Syntax.html, .onnxtxt). There, a declaration without
// data whose name no node produces (`w`) becomes an initializer whose payload is absent.

#ifndef REUSESCOPE_IMPORTER_TEXT_MODEL_H_
#define REUSESCOPE_IMPORTER_TEXT_MODEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

// Texts longer than this are not models that somebody wrote or printed.
inline constexpr int64_t kMaxTextModelBytes = int64_t{64} << 20;

// Whether a file that begins with `head` may be such a text.
bool IsTextModel(absl::string_view head);

// kInvalidArgument with line and column, or what the parser says. REQUIRES: IsTextModel(text).
absl::StatusOr<std::string> TextModelToBytes(const std::string& text);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_TEXT_MODEL_H_
