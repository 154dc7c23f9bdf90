// --help that teaches by example: what the command tells, its usage, commands to try, then the options by group.

#ifndef REUSESCOPE_CLI_HELP_H_
#define REUSESCOPE_CLI_HELP_H_

#include <string>

#include "CLI/CLI.hpp"

namespace reusescope::cli {

// Lays help out within the terminal's width (kDefaultWidth where there is none). An app's footer is its examples.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

// The values that an option accepts, from its validator's "{a,b,c}"; empty when any text will do.
std::vector<std::string> ChoicesOf(const CLI::Option& option);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_HELP_H_
