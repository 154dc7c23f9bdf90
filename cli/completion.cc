#include "cli/completion.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "analysis/ops/op_semantics.h"
#include "cli/glossary.h"
#include "cli/help.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {
namespace {

// What may follow an option or stand for an argument.
struct Candidates {
  std::vector<std::string> words;
  bool files = false;
};

Candidates CandidatesOf(const CLI::Option& option) {
  Candidates candidates{.words = ChoicesOf(option)};
  if (!candidates.words.empty()) return candidates;
  const std::string label = !option.get_option_text().empty() ? option.get_option_text() : option.get_name(true, false);
  if (label == "DEVICE") return {.words = DeviceNames()};
  if (label == "TERM") return {.words = TermNames()};
  if (label == "OPERATOR") {
    for (const OpSemantics* op : OpRegistry::Get().All()) {
      if (op->domain != kReuseScopeDomain && (candidates.words.empty() || candidates.words.back() != op->type)) {
        candidates.words.emplace_back(op->type);
      }
    }
    return candidates;
  }
  candidates.files = label == "MODEL" || label == "FILE";
  return candidates;
}

std::vector<std::string> FlagsOf(const CLI::Option& option) {
  std::vector<std::string> flags;
  for (const std::string& name : option.get_snames()) flags.push_back(absl::StrCat("-", name));
  for (const std::string& name : option.get_lnames()) flags.push_back(absl::StrCat("--", name));
  return flags;
}

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::vector<const CLI::Option*> NamedOptions(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) { return option->nonpositional(); });
}

std::vector<const CLI::Option*> Positionals(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) { return option->get_positional(); });
}

std::string AllFlags(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : NamedOptions(app)) {
    for (const std::string& flag : FlagsOf(*option)) flags.push_back(flag);
  }
  return absl::StrJoin(flags, " ");
}

std::string CommandNames(const CLI::App& app) {
  return absl::StrJoin(app.get_subcommands({}), " ",
                       [](std::string* out, const CLI::App* command) { *out += command->get_name(); });
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

// In single quotes, as all three shells read them (fish and zsh take '\'' too).
std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

std::string BashReply(const Candidates& candidates) {
  if (candidates.files) return "COMPREPLY=($(compgen -f -- \"$cur\"))";
  return absl::StrCat("COMPREPLY=($(compgen -W ", Quoted(absl::StrJoin(candidates.words, " ")), " -- \"$cur\"))");
}

std::string BashCommand(const CLI::App& command) {
  std::string out = absl::StrCat("    ", command.get_name(), ")\n      case \"$prev\" in\n");
  for (const CLI::Option* option : NamedOptions(command)) {
    if (!TakesValue(*option)) continue;
    const Candidates candidates = CandidatesOf(*option);
    const bool any_text = candidates.words.empty() && !candidates.files;
    absl::StrAppend(&out, "        ", absl::StrJoin(FlagsOf(*option), "|"), ") ",
                    any_text ? "COMPREPLY=()" : BashReply(candidates), "; return ;;\n");
  }
  absl::StrAppend(&out, "      esac\n      case \"$cur\" in\n        -*) COMPREPLY=($(compgen -W ",
                  Quoted(AllFlags(command)), " -- \"$cur\")) ;;\n");
  for (const CLI::Option* option : Positionals(command)) {
    absl::StrAppend(&out, "        *) ", BashReply(CandidatesOf(*option)), " ;;\n");
  }
  return absl::StrCat(out, "      esac ;;\n");
}

std::string ZshAction(const Candidates& candidates) {
  return candidates.files ? "_files" : absl::StrCat("(", absl::StrJoin(candidates.words, " "), ")");
}

// '--batch[Leading dimension]:N:' for _arguments.
std::string ZshSpecs(const CLI::App& command) {
  std::vector<std::string> specs;
  for (const CLI::Option* option : NamedOptions(command)) {
    const std::string text =
        absl::StrReplaceAll(FirstLine(option->get_description()), {{"[", "("}, {"]", ")"}, {":", ","}});
    for (const std::string& flag : FlagsOf(*option)) {
      std::string spec = absl::StrCat("*", flag, TakesValue(*option) ? "=" : "", "[", text, "]");
      if (TakesValue(*option)) {
        absl::StrAppend(&spec, ":", absl::AsciiStrToLower(option->get_option_text().substr(0, 8)), ":",
                        ZshAction(CandidatesOf(*option)));
      }
      // A short flag takes its value as the next word, not after an equals sign.
      if (flag.size() == 2) spec = absl::StrReplaceAll(spec, {{absl::StrCat(flag, "="), flag}});
      specs.push_back(Quoted(spec));
    }
  }
  for (const CLI::Option* option : Positionals(command)) {
    specs.push_back(Quoted(absl::StrCat(":", absl::AsciiStrToLower(option->get_name(true, false)), ":",
                                        ZshAction(CandidatesOf(*option)))));
  }
  return absl::StrJoin(specs, " \\\n        ");
}

std::string FishOption(const std::string& command, const CLI::Option& option) {
  std::string out = absl::StrCat("complete -c reusescope -n ", Quoted("__fish_seen_subcommand_from " + command));
  for (const std::string& name : option.get_snames()) absl::StrAppend(&out, " -s ", name);
  for (const std::string& name : option.get_lnames()) absl::StrAppend(&out, " -l ", name);
  if (TakesValue(option)) {
    const Candidates candidates = CandidatesOf(option);
    absl::StrAppend(&out, candidates.files ? " -rF" : " -x");
    if (!candidates.words.empty()) absl::StrAppend(&out, " -a ", Quoted(absl::StrJoin(candidates.words, " ")));
  }
  return absl::StrCat(out, " -d ", Quoted(FirstLine(option.get_description())), "\n");
}

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  std::string out = absl::StrCat(
      "# reusescope completion for bash; to use it: eval \"$(reusescope completion bash)\"\n"
      "_reusescope() {\n"
      "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
      "  # --flag=value arrives as three words\n"
      "  if [[ \"$cur\" == \"=\" ]]; then cur=\"\"; fi\n"
      "  if [[ \"$prev\" == \"=\" ]]; then prev=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n"
      "  if [[ $COMP_CWORD -eq 1 ]]; then\n    COMPREPLY=($(compgen -W ",
      Quoted(absl::StrCat(CommandNames(app), " ", AllFlags(app))),
      " -- \"$cur\"))\n    return\n  fi\n  case \"${COMP_WORDS[1]}\" in\n");
  for (const CLI::App* command : app.get_subcommands({})) absl::StrAppend(&out, BashCommand(*command));
  return absl::StrCat(out, "  esac\n}\ncomplete -o filenames -o bashdefault -F _reusescope reusescope\n");
}

std::string ZshCompletion(const CLI::App& app) {
  std::string out =
      "#compdef reusescope\n"
      "# reusescope completion for zsh; to use it: eval \"$(reusescope completion zsh)\"\n"
      "_reusescope() {\n"
      "  if (( CURRENT == 2 )); then\n"
      "    local -a commands=(\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    const std::string text = absl::StrReplaceAll(FirstLine(command->get_description()), {{":", ","}});
    absl::StrAppend(&out, "      ", Quoted(absl::StrCat(command->get_name(), ":", text)), "\n");
  }
  absl::StrAppend(&out, "    )\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n",
                  "  shift words\n  (( CURRENT-- ))\n  case $command in\n");
  for (const CLI::App* command : app.get_subcommands({})) {
    absl::StrAppend(&out, "    ", command->get_name(), ")\n      _arguments \\\n        ", ZshSpecs(*command), " ;;\n");
  }
  return absl::StrCat(out, "  esac\n}\ncompdef _reusescope reusescope\n");
}

std::string FishCompletion(const CLI::App& app) {
  std::string out =
      "# reusescope completion for fish; to use it: reusescope completion fish | source\n"
      "complete -c reusescope -f\n";
  for (const CLI::App* command : app.get_subcommands({})) {
    absl::StrAppend(&out, "complete -c reusescope -n __fish_use_subcommand -a ", command->get_name(), " -d ",
                    Quoted(FirstLine(command->get_description())), "\n");
  }
  for (const CLI::App* command : app.get_subcommands({})) {
    for (const CLI::Option* option : NamedOptions(*command)) {
      absl::StrAppend(&out, FishOption(command->get_name(), *option));
    }
    for (const CLI::Option* option : Positionals(*command)) {
      const Candidates candidates = CandidatesOf(*option);
      absl::StrAppend(&out, "complete -c reusescope -n ", Quoted("__fish_seen_subcommand_from " + command->get_name()),
                      candidates.files ? " -F" : absl::StrCat(" -a ", Quoted(absl::StrJoin(candidates.words, " "))),
                      "\n");
    }
  }
  return out;
}

}  // namespace reusescope::cli
