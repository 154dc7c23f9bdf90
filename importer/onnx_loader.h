// A serialized ONNX ModelProto, skimmed or whole, as a Model.
//
// Opset imports, graph, model-local functions and producer; node operators carry the model's opset of their domain
// until shapes are resolved. Training graphs that the file holds beside the model are left out, with a warning.
// Protobuf's and ONNX's exceptions end here.
//
// Errors: kInvalidArgument with node or value, found and expected: bytes that are no ModelProto, a model without a
// graph, opset versions out of range, functions that call each other in a circle, and what LoadGraph says.

#ifndef REUSESCOPE_IMPORTER_ONNX_LOADER_H_
#define REUSESCOPE_IMPORTER_ONNX_LOADER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/model.h"
#include "importer/external_data.h"

namespace reusescope {

absl::StatusOr<Model> LoadOnnx(absl::string_view serialized, const ExternalData& external);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ONNX_LOADER_H_
