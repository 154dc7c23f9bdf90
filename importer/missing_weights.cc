#include "importer/missing_weights.h"

#include <filesystem>
#include <system_error>

#include "analysis/ir/status_util.h"
#include "importer/byte_source.h"
#include "importer/external_data.h"
#include "importer/onnx_skim.h"
#include "onnx/onnx_pb.h"

namespace reusescope {

absl::StatusOr<absl::btree_map<std::string, int64_t>> FindMissingWeights(const std::string& path) {
  RS_ASSIGN_OR_RETURN(ByteSource source, ByteSource::OpenFile(path));
  RS_ASSIGN_OR_RETURN(const std::string skimmed, SkimOnnx(source));
  onnx::ModelProto model;
  if (!model.ParseFromString(skimmed)) return absl::InvalidArgumentError("is no ONNX model");
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  absl::btree_map<std::string, int64_t> missing;
  for (const onnx::TensorProto& tensor : model.graph().initializer()) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) continue;
    RS_ASSIGN_OR_RETURN(const ExternalRange range, ParseExternalRange(tensor));
    RS_RETURN_IF_ERROR(ExternalData::CheckLocation(range.location));
    std::error_code ignored;
    if (!std::filesystem::exists(folder / range.location, ignored)) ++missing[range.location];
  }
  return missing;
}

}  // namespace reusescope
