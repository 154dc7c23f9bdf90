#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/options.h"
#include "cli/output.h"

namespace reusescope::cli {
namespace {

enum class Shell : uint8_t { kBash, kZsh, kFish };

struct CompletionOptions {
  Shell shell = Shell::kBash;
};

std::string Render(const CLI::App& app, Shell shell) {
  switch (shell) {
    case Shell::kBash:
      return BashCompletion(app);
    case Shell::kZsh:
      return ZshCompletion(app);
    case Shell::kFish:
      return FishCompletion(app);
  }
  return "";
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<CompletionOptions>();
  CLI::App* command = app.add_subcommand("completion", "Print a completion script for a shell");
  command->footer(
      "  eval \"$(reusescope completion bash)\"            in ~/.bashrc\n"
      "  eval \"$(reusescope completion zsh)\"             in ~/.zshrc, after compinit\n"
      "  reusescope completion fish | source             in ~/.config/fish/config.fish\n");
  AddChoice<Shell>(*command, "SHELL", options->shell,
                   {{"bash", Shell::kBash}, {"zsh", Shell::kZsh}, {"fish", Shell::kFish}}, "The shell", "")
      ->required();
  command->set_help_flag("-h,--help", "Print this help and exit")->group("General");
  command->callback(
      [&app, options, &action] { action = [&app, options] { return WriteOutput("", Render(app, options->shell)); }; });
}

}  // namespace reusescope::cli
