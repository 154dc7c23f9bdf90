// A model raised to an opset: from 13 to 18 node by node, as few forms change between them, otherwise by ONNX's version
// converter.

#ifndef REUSESCOPE_IMPORTER_RAISE_OPSET_H_
#define REUSESCOPE_IMPORTER_RAISE_OPSET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

// The serialized model without model-local functions (inline_local_functions.h), at `opset` of ai.onnx if it imported
// an earlier one. Payloads may be left out (importer/onnx_skim.h): the converter looks at small tensors only. With
// the converter, metadata of nodes is lost on the way.
//
// Errors: kInvalidArgument for bytes that are no model, and for functions that cannot be inlined; kUnimplemented with
// the converter's reason.
absl::StatusOr<std::string> RaiseOpset(std::string serialized, int opset);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_RAISE_OPSET_H_
