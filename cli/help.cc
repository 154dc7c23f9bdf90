#include "cli/help.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/terminal.h"
#include "cli/text.h"

namespace reusescope::cli {
namespace {

constexpr int kTermWidth = 28;  // columns for option or command names before their description

// "  --batch N                   description that goes on
//                                on its own column"
void AppendEntry(std::string& out, absl::string_view term, absl::string_view description, int width) {
  std::string line = absl::StrCat("  ", term);
  if (DisplayWidth(line) > kTermWidth) {
    absl::StrAppend(&out, line, "\n");
    line.clear();
  }
  for (const std::string& text : Wrap(description, width - kTermWidth - 2)) {
    absl::StrAppend(&out, line, std::string(kTermWidth + 2 - DisplayWidth(line), ' '), text, "\n");
    line.clear();
  }
  if (!line.empty()) absl::StrAppend(&out, line, "\n");
}

// "--precision auto|none" for few choices, "--hardware DEVICE" otherwise.
std::string OptionTerm(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true, false);
  const std::string names = absl::StrJoin(absl::StrSplit(option.get_name(false, true), ','), ", ");
  const std::string& label = option.get_option_text();
  return label.empty() ? names : absl::StrCat(names, " ", label);
}

std::string OptionDescription(const CLI::Option& option) {
  std::string text = option.get_description();
  const std::vector<std::string> choices = ChoicesOf(option);
  if (!choices.empty()) absl::StrAppend(&text, ": ", absl::StrJoin(choices, ", "));
  if (!option.get_default_str().empty()) absl::StrAppend(&text, " (default ", option.get_default_str(), ")");
  return text;
}

void AppendOptions(std::string& out, const CLI::App& app, int width) {
  const auto positional = app.get_options([](const CLI::Option* option) { return option->get_positional(); });
  if (!positional.empty()) absl::StrAppend(&out, "\nArguments:\n");
  for (const CLI::Option* option : positional) {
    AppendEntry(out, OptionTerm(*option), OptionDescription(*option), width);
  }
  for (const std::string& group : app.get_groups()) {
    const auto members = app.get_options(
        [&](const CLI::Option* option) { return option->get_group() == group && option->nonpositional(); });
    if (members.empty() || group.empty()) continue;
    absl::StrAppend(&out, "\n", group, ":\n");
    for (const CLI::Option* option : members) AppendEntry(out, OptionTerm(*option), OptionDescription(*option), width);
  }
}

std::string UsageLine(const CLI::App& app) {
  std::string names = app.get_name();
  for (const CLI::App* parent = app.get_parent(); parent != nullptr; parent = parent->get_parent()) {
    names = absl::StrCat(parent->get_name(), " ", names);
  }
  for (const CLI::Option* option : app.get_options([](const CLI::Option* o) { return o->get_positional(); })) {
    const std::string name = option->get_name(true, false);
    absl::StrAppend(&names, " ", option->get_required() ? name : absl::StrCat("[", name, "]"));
  }
  const bool has_commands = !app.get_subcommands({}).empty();
  return absl::StrCat("Usage: ", names, has_commands ? " COMMAND [options]" : " [options]", "\n");
}

}  // namespace

std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  return absl::StrSplit(type.substr(open + 1, close - open - 1), ',');
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const {
  const int width = std::min(DescribeTerminal(STDOUT_FILENO, ColorMode::kNever).width, kDefaultWidth);
  std::string out;
  for (absl::string_view paragraph : absl::StrSplit(app->get_description(), '\n')) {
    for (const std::string& line : Wrap(paragraph, width)) absl::StrAppend(&out, line, "\n");
  }
  absl::StrAppend(&out, "\n", UsageLine(*app));
  const auto commands = app->get_subcommands({});
  if (!commands.empty()) absl::StrAppend(&out, "\nCommands:\n");
  for (const CLI::App* command : commands) {
    const std::string description = command->get_description();
    AppendEntry(out, command->get_name(), description.substr(0, description.find('\n')), width);
  }
  if (!app->get_footer().empty()) absl::StrAppend(&out, "\nExamples:\n", app->get_footer());
  AppendOptions(out, *app, width);
  return out;
}

}  // namespace reusescope::cli
