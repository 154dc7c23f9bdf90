// A model whose calls of model-local functions are replaced by what the functions do, by ONNX's inliner.

#ifndef REUSESCOPE_IMPORTER_INLINE_LOCAL_FUNCTIONS_H_
#define REUSESCOPE_IMPORTER_INLINE_LOCAL_FUNCTIONS_H_

#include "absl/status/status.h"
#include "onnx/onnx_pb.h"

namespace reusescope {

// For files that are read twice, skimmed and with their weights: names of what is inlined depend on the graph alone, so
// both come out alike. Functions of another opset than the model's are converted to it. A model without functions stays
// as it is.
//
// Errors: kInvalidArgument when a function reaches itself, or when inlining would make more than 20,000 nodes and 50
// for each that the file has; ONNX's own exceptions pass through.
absl::Status InlineLocalFunctions(onnx::ModelProto& model);

// ONNX's inliner and version converter look operators up in ONNX's registry, which starts empty.
void RegisterOnnxSchemas();

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_INLINE_LOCAL_FUNCTIONS_H_
