// A model raised to an opset by ONNX's version converter.

#ifndef REUSESCOPE_IMPORTER_RAISE_OPSET_H_
#define REUSESCOPE_IMPORTER_RAISE_OPSET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

// The serialized model, at `opset` of ai.onnx if it imported an earlier one, else as it was. Payloads may be left out
// (importer/onnx_skim.h): the converter looks at small tensors only. Metadata of nodes is lost on the way.
//
// Errors: kInvalidArgument for bytes that are no model; kUnimplemented with the converter's reason, and for model-local
// functions, which it does not convert.
absl::StatusOr<std::string> RaiseOpset(std::string serialized, int opset);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_RAISE_OPSET_H_
