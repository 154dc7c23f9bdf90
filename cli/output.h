// Where a report goes: stdout, or the file of -o.

#ifndef REUSESCOPE_CLI_OUTPUT_H_
#define REUSESCOPE_CLI_OUTPUT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace reusescope::cli {

// Writes `text` to the file, or to stdout when `path` is "" or "-". An error names the file and the reason; a reader of
// stdout that went away is none (head has seen enough).
absl::Status WriteOutput(const std::string& path, absl::string_view text);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_OUTPUT_H_
