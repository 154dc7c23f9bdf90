// How a training graph that this program wrote is known again, and what it was written from.
//
// WriteModel leaves in metadata_props the model that was differentiated, without weights, and the flags of the run. The
// training graph itself has lost what the analysis starts from (fused operators are bodies, folded constants are gone),
// so such a file is analysed as its origin, under the same flags: the report is the origin's.

#ifndef REUSESCOPE_IMPORTER_TRAINING_FILE_H_
#define REUSESCOPE_IMPORTER_TRAINING_FILE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

inline constexpr absl::string_view kOriginKey = "reusescope.origin";        // base64 of the skimmed file
inline constexpr absl::string_view kArgumentsKey = "reusescope.arguments";  // one flag a line

struct TrainingFile {
  std::string origin;  // a serialized ModelProto without large payloads
  std::vector<std::string> arguments;
};

// What the metadata of a serialized model says; nullopt where it is no training graph of ours. kInvalidArgument for
// an origin that is no base64. Linear in the top level of the message; nothing else is parsed.
absl::StatusOr<std::optional<TrainingFile>> ReadTrainingFile(absl::string_view serialized);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_TRAINING_FILE_H_
