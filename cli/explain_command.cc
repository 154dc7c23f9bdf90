#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/glossary.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

constexpr int kIndent = 2;
constexpr int kNameWidth = 22;

struct ExplainOptions {
  std::vector<std::string> words;
  ColorMode color = ColorMode::kAuto;
};

std::string Indented(absl::string_view text, int width) {
  std::string out;
  for (const std::string& line : Wrap(text, width - kIndent))
    absl::StrAppend(&out, std::string(kIndent, ' '), line, "\n");
  return out;
}

std::string RenderTerm(const Term& term, const Terminal& terminal) {
  const int width = std::min(terminal.width, kDefaultWidth);
  std::string out = absl::StrCat(terminal.palette.Paint(term.name, Style::kHeading), "\n");
  absl::StrAppend(&out, Indented(term.definition, width));
  if (!term.formula.empty()) absl::StrAppend(&out, "\n", Indented(term.formula, width));
  absl::StrAppend(&out, "\n", Indented(absl::StrCat("Where: ", term.where), width));
  return out;
}

// Every term with the first sentence of its definition.
std::string RenderList(const Terminal& terminal) {
  std::string out;
  const Term* previous = nullptr;
  for (const Term& term : Glossary()) {
    if (previous == nullptr || previous->topic != term.topic) {
      absl::StrAppend(&out, previous == nullptr ? "" : "\n",
                      terminal.palette.Paint(TopicName(term.topic), Style::kHeading), "\n");
    }
    previous = &term;
    const absl::string_view sentence = term.definition.substr(0, term.definition.find(". "));
    const std::vector<std::string> first = Wrap(sentence, terminal.width - kNameWidth - kIndent - 1);
    absl::StrAppend(&out, "  ", term.name, std::string(kNameWidth - term.name.size(), ' '), first.front(),
                    first.size() > 1 ? "…" : "", "\n");
  }
  return out;
}

absl::Status RunExplain(const ExplainOptions& options) {
  const Terminal terminal = DescribeTerminal(STDOUT_FILENO, options.color);
  if (options.words.empty()) {
    fmt::print("{}", RenderList(terminal));
    return absl::OkStatus();
  }
  const absl::StatusOr<const Term*> term = FindTerm(absl::StrJoin(options.words, " "));
  if (!term.ok()) return term.status();
  fmt::print("{}", RenderTerm(**term, terminal));
  return absl::OkStatus();
}

}  // namespace

void AddExplainCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = app.add_subcommand("explain", "Tell what a word of the report means and how it is computed");
  command->footer(
      "  reusescope explain                    every word, in one line each\n"
      "  reusescope explain reuse-distance     one of them, with its formula\n"
      "  reusescope explain ridge point\n");
  command->add_option("TERM", options->words, "The word or words; without any, the list of all")->expected(0, 8);
  AddCommonOptions(*command, options->color);
  command->callback([options, &action] { action = [options] { return RunExplain(*options); }; });
}

}  // namespace reusescope::cli
