// Names the format of a file that is no ONNX model, and says what to do about it.
//
//   ForeignFormat("PK\x03\x04...archive/data.pkl...")
//       -> "is a zip archive holding a PyTorch checkpoint or program, expected an ONNX file: export with
//       torch.onnx.export"

#ifndef REUSESCOPE_IMPORTER_FILE_FORMAT_H_
#define REUSESCOPE_IMPORTER_FILE_FORMAT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace reusescope {

// How many of a file's first bytes ForeignFormat wants to see.
inline constexpr int kFormatHeadBytes = 4096;

// The complaint about a file that begins with `head` (all of it when the file is shorter than kFormatHeadBytes), or
// nullopt when it may be an ONNX model.
std::optional<std::string> ForeignFormat(absl::string_view head);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_FILE_FORMAT_H_
