// A Model as an .onnx file: the inverse of LoadModel, for models that came from a file and were transformed.
//
//   RS_RETURN_IF_ERROR(WriteModel(model, "resnet50.onnx", "training.onnx", notes));
//
// Weights are copied by name (Value::payload_of, else Value::name) from the file that the model was loaded from, which
// LoadModel skipped; small constants that transforms made come from their literals. Weights in external files keep
// their reference where the new file stands in the same folder, or where they are not there (a note says so), and are
// taken into the new file otherwise.
//
// Errors: kNotFound for a value whose numbers are nowhere; kInvalidArgument and kUnknown of reading and writing.

#ifndef REUSESCOPE_IMPORTER_WRITE_MODEL_H_
#define REUSESCOPE_IMPORTER_WRITE_MODEL_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "analysis/ir/model.h"

namespace reusescope {

absl::Status WriteModel(const Model& model, const std::string& source, const std::string& path,
                        std::vector<std::string>& notes);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_WRITE_MODEL_H_
