// Shell completion, made from the command line itself: what a command accepts is what completes.

#ifndef REUSESCOPE_CLI_COMPLETION_H_
#define REUSESCOPE_CLI_COMPLETION_H_

#include <string>
#include <vector>

#include "CLI/CLI.hpp"

namespace reusescope::cli {

std::string BashCompletion(const CLI::App& app);
std::string ZshCompletion(const CLI::App& app);
std::string FishCompletion(const CLI::App& app);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_COMPLETION_H_
