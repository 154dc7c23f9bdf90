#include "importer/raise_opset.h"

#include <algorithm>
#include <exception>

#include "absl/strings/str_cat.h"
#include "importer/onnx_graph.h"
#include "onnx/defs/operator_sets.h"
#include "onnx/onnx_pb.h"
#include "onnx/version_converter/convert.h"

namespace reusescope {
namespace {

// The converter looks operators up in ONNX's registry, which starts empty.
void RegisterSchemas() {
  static const bool registered = [] {
    onnx::OpSchemaRegistry::Instance();
    onnx::RegisterOnnxOperatorSetSchema(0, /*fail_duplicate_schema=*/false);
    return true;
  }();
  (void)registered;
}

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
    const int64_t from = OpsetOf(model);
    if (from >= opset) return serialized;
    if (model.functions_size() > 0) {
      return absl::UnimplementedError(absl::StrCat("has model-local functions at opset ", from,
                                                   ", which ONNX's version converter leaves alone; expected opset ",
                                                   opset, " or later"));
    }
    // Initializers that are inputs as well have shapes before IR version 4 only that way.
    model.set_ir_version(std::max<int64_t>(model.ir_version(), 4));
    RegisterSchemas();
    onnx::ModelProto raised = onnx::version_conversion::ConvertVersion(model, opset);
    raised.set_ir_version(std::max<int64_t>(raised.ir_version(), 8));
    return raised.SerializeAsString();
  } catch (const std::exception& error) {
    return absl::UnimplementedError(
        absl::StrCat("ONNX's version converter cannot raise it to opset ", opset, ": ", error.what()));
  }
}

}  // namespace reusescope
