// The program: its subcommands, its exit codes, and the one place that prints errors.
//
// Exit code 0: the report is on stdout. 1: it could not be made, stderr says why. 2: the command line is wrong, stderr
// says what would have been right. 3: the report is on stdout, and a bar of --fail-if is crossed. Everything that is
// not the report goes to stderr.

#ifndef REUSESCOPE_CLI_APP_H_
#define REUSESCOPE_CLI_APP_H_

#include <functional>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace reusescope::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitBar = 3;

// What the command line asked for; set while it is parsed.
using Action = std::function<absl::Status()>;

// The whole command line: parsing it sets `action`. Completion and help are made from this object and from nothing
// else. REQUIRES: `action` outlives the app.
std::unique_ptr<CLI::App> MakeApp(Action& action);

// main().
int Run(int argc, const char* const* argv);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_APP_H_
