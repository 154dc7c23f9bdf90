// Payloads that a model keeps in files beside it, read only where a shape is made of them and only from its own folder.
//
//   ExternalData external("/models/llama");                 // the folder of the model file; "" when there is none
//   RS_RETURN_IF_ERROR(external.CheckLocation("weights.bin"));
//   external.Read({"weights.bin", 4096, 64}, 64)   -> the 64 bytes, or nullopt when the file is not there
//
// Files need not exist. A location is a relative path without "..": anything else is refused, whether or not it is
// read; a location that reaches a file outside the folder through a symbolic link is refused when it would be read.
//
// Errors: kInvalidArgument with found and expected, for such locations, for offsets and lengths that are no numbers or
// reach beyond the end of the file.

#ifndef REUSESCOPE_IMPORTER_EXTERNAL_DATA_H_
#define REUSESCOPE_IMPORTER_EXTERNAL_DATA_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace onnx {
class TensorProto;
}  // namespace onnx

namespace reusescope {

struct ExternalRange {
  std::string location;
  int64_t offset = 0;
  std::optional<int64_t> length;  // nullopt: not stated, the tensor's own size
};

// The entries of TensorProto.external_data.
absl::StatusOr<ExternalRange> ParseExternalRange(const onnx::TensorProto& proto);

class ExternalData {
 public:
  // `folder` "" reads nothing: every file counts as absent.
  explicit ExternalData(std::string folder) : folder_(std::move(folder)) {}

  static absl::Status CheckLocation(absl::string_view location);

  const std::string& folder() const { return folder_; }

  // `bytes` bytes of the range; nullopt when the file is not there. REQUIRES: bytes >= 0.
  absl::StatusOr<std::optional<std::string>> Read(const ExternalRange& range, int64_t bytes) const;

 private:
  std::string folder_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_EXTERNAL_DATA_H_
