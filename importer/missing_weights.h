// The weight files that a model names and that are not there. Costs do not need them; running the model does.
//
//   RS_ASSIGN_OR_RETURN(const auto missing, FindMissingWeights("llama/model.onnx"));   // {"weights.bin": 291 tensors}
//
// Looked at: initializers of the main graph that are stored outside. Nothing of the weights is read. Text models name
// none. Errors: as LoadModel.

#ifndef REUSESCOPE_IMPORTER_MISSING_WEIGHTS_H_
#define REUSESCOPE_IMPORTER_MISSING_WEIGHTS_H_

#include <cstdint>
#include <string>

#include "absl/container/btree_map.h"
#include "absl/status/statusor.h"

namespace reusescope {

// Number of tensors, by the location that the file gives.
absl::StatusOr<absl::btree_map<std::string, int64_t>> FindMissingWeights(const std::string& path);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_MISSING_WEIGHTS_H_
