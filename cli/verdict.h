// The words of a verdict on kernels.

#ifndef REUSESCOPE_CLI_VERDICT_H_
#define REUSESCOPE_CLI_VERDICT_H_

#include "absl/strings/string_view.h"

namespace reusescope::cli {

// "memory-bound" where at least half of the time is in kernels that wait for memory, else "compute-bound".
inline absl::string_view BoundVerdict(double memory_bound_seconds, double seconds) {
  return 2 * memory_bound_seconds >= seconds ? "memory-bound" : "compute-bound";
}

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VERDICT_H_
