// A model file becomes a Model whose graph keeps its invariants (Verify).
//
//   RS_ASSIGN_OR_RETURN(Model model, LoadModel("models/resnet50.onnx"));
//
// The format goes by content: binary, or one of the texts of text_model.h. Weights are not read, and files that hold
// external weights need not exist: weights inline, external or absent give the same graph, but for the values of small
// floating-point tensors. Time and memory go with the graph, not with the file.
//
// What is set: values with names, kinds and evidence, original names of parameters, types of inputs, initializers and
// whatever else the file declares, literals of small initializers; nodes with unique names, operators at the model's
// opset version, attributes, modules; subgraphs, functions, a topological order. What is left to later stages: shapes
// (ResolveShapes), and which initializers without metadata are parameters.
//
// Every message begins with the name of the file. Errors: kNotFound for a missing file, with similar names from its
// folder; kInvalidArgument for a file of another format, corrupt or malformed, with node or value, found and expected.

#ifndef REUSESCOPE_IMPORTER_LOAD_MODEL_H_
#define REUSESCOPE_IMPORTER_LOAD_MODEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/model.h"

namespace reusescope {

struct LoadOptions {
  int min_opset = 0;   // of ai.onnx: an earlier model is raised to it (importer/raise_opset.h)
  bool origin = true;  // of a training graph that we wrote, the model that it was made from (importer/training_file.h)
};

absl::StatusOr<Model> LoadModel(const std::string& path, const LoadOptions& options = {});
// The same from memory; external data counts as absent. `file_name` is for messages and Model::file.
absl::StatusOr<Model> LoadModelFromBytes(absl::string_view bytes, absl::string_view file_name);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_LOAD_MODEL_H_
