// What PyTorch's newer exporter writes beside a model: where a node comes from, and what an initializer is.
//
//   ModuleFromNameScopes("['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_3']")   -> "layer1.0.conv1"
//   ClassifyInitializer({.input_spec_kind = "PARAMETER"}, "fc.weight", DType::kFloat32) -> parameter "fc.weight"
//   ClassifyInitializer({.folded_from = "['q.weight']"}, "val_56", DType::kFloat32)     -> parameter "q.weight"
//   ClassifyInitializer({.folded_from = "['val_3', 'val_4']"}, "val_5", DType::kInt64)  -> constant
//
// Pure functions on strings; malformed metadata counts as none.

#ifndef REUSESCOPE_IMPORTER_METADATA_H_
#define REUSESCOPE_IMPORTER_METADATA_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// Of a node: Python list of the scopes around it, the outermost first, the traced operation itself last.
inline constexpr absl::string_view kNameScopesKey = "pkg.torch.onnx.name_scopes";
// Of an initializer: PARAMETER, BUFFER, CONSTANT_TENSOR, ...
inline constexpr absl::string_view kInputSpecKindKey = "pkg.torch.export.graph_signature.InputSpec.kind";
// Of an initializer: Python list of the values that the optimizer computed it from.
inline constexpr absl::string_view kFoldedFromKey = "pkg.onnxscript.optimizer.folded_from";

// The elements of a Python list of strings as repr() prints it; nullopt for anything else.
std::optional<std::vector<std::string>> ParsePythonStringList(absl::string_view text);

// The module that a node belongs to: the last scope but the node's own. "" for the root and for malformed scopes.
std::string ModuleFromNameScopes(absl::string_view name_scopes);

// Whether `name` looks like a member of a module tree: identifiers and numbers joined by at least one dot.
bool IsDottedName(absl::string_view name);

struct InitializerMetadata {
  absl::string_view input_spec_kind;  // "" where the file has none
  absl::string_view folded_from;
};

struct InitializerClass {
  ValueKind kind = ValueKind::kConstant;
  KindEvidence evidence = KindEvidence::kNone;
  std::string original_name;
};

// An initializer folded from one floating-point member of the module tree is a parameter under another name (or a
// buffer, when it is called running_mean or the like); folded from anything else it is a constant. Without metadata it
// is a constant without evidence, which still keeps its name when that is a dotted one.
InitializerClass ClassifyInitializer(const InitializerMetadata& metadata, absl::string_view name, DType dtype);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_METADATA_H_
