#include "importer/raise_opset.h"

#include <algorithm>
#include <exception>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "importer/inline_local_functions.h"
#include "importer/onnx_graph.h"
#include "onnx/onnx_pb.h"
#include "onnx/version_converter/convert.h"

namespace reusescope {
namespace {

int64_t OpsetOf(const onnx::ModelProto& model) {
  for (const onnx::OperatorSetIdProto& import : model.opset_import()) {
    if (NormalDomain(import.domain()).empty()) return import.version();
  }
  return 1;
}

}  // namespace

absl::StatusOr<std::string> RaiseOpset(std::string serialized, int opset) {
  try {
    onnx::ModelProto model;
    if (!model.ParseFromString(serialized)) return absl::InvalidArgumentError("is corrupt, expected an ONNX model");
    const bool functions = model.functions_size() > 0;
    RS_RETURN_IF_ERROR(InlineLocalFunctions(model));
    if (OpsetOf(model) >= opset) return functions ? model.SerializeAsString() : serialized;
    // Initializers that are inputs as well have shapes before IR version 4 only that way.
    model.set_ir_version(std::max<int64_t>(model.ir_version(), 4));
    RegisterOnnxSchemas();
    onnx::ModelProto raised = onnx::version_conversion::ConvertVersion(model, opset);
    raised.set_ir_version(std::max<int64_t>(raised.ir_version(), 8));
    return raised.SerializeAsString();
  } catch (const std::exception& error) {
    return absl::UnimplementedError(
        absl::StrCat("ONNX's version converter cannot raise it to opset ", opset, ": ", error.what()));
  }
}

}  // namespace reusescope
