#include "cli/app.h"

#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

constexpr const char* kVersion = "reusescope 0.1.0";

constexpr const char* kDescription =
    "Tells what training a model costs, from its .onnx file alone: kernels, FLOPs, bytes, data reuse, memory, time.\n"
    "It never runs the model and never reads its weights.";

constexpr const char* kExamples =
    "  reusescope analyze resnet50.onnx --batch 32 --hardware a100-sxm-80gb   the whole report\n"
    "  reusescope analyze gpt2.onnx --dim sequence=1024 --format json         the same for a program\n"
    "  reusescope graph resnet50.onnx --after=differentiate                   the training graph\n"
    "  reusescope differentiate resnet50.onnx -o training.onnx                the same as a runnable file\n"
    "  reusescope audit resnet50.onnx --deadline 24h                          which device to buy\n"
    "  reusescope compare old.onnx new.onnx --hardware a100                   which layers cost more\n"
    "  reusescope sweep resnet50.onnx --batch 32 --hardware a100              what more cache would buy\n"
    "  reusescope plan resnet50.onnx --batch 256 --memory 16GiB               what to compute again\n"
    "  reusescope serialize resnet50.onnx --batch 32 --hardware wavecore      reuse by sub-batches\n"
    "  reusescope annotate resnet50.onnx -o annotated.onnx --hardware h100    costs for Netron to show\n"
    "  reusescope devices                                                     the devices it knows\n"
    "  reusescope explain reuse-distance                                      what a word means\n";

std::vector<std::string> NamesOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> FlagsOf(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back(absl::StrCat("--", name));
  }
  return flags;
}

// What was not understood, with the nearest word that would have been.
std::string UnknownArgument(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands()) {
    for (const std::string& word : command->remaining()) {
      const std::string flag = word.substr(0, word.find('='));
      if (!absl::StartsWith(word, "-")) return absl::StrCat("unexpected argument '", Printable(word), "'");
      return absl::StrCat("unknown option '", Printable(flag), "'", DidYouMean(flag, FlagsOf(*command)));
    }
  }
  const std::vector<std::string> rest = app.remaining();
  if (rest.empty()) return "no command given";
  const std::string word = rest.front();
  if (absl::StartsWith(word, "-")) return absl::StrCat("unknown option '", Printable(word), "'");
  const std::string nearest = DidYouMean(word, NamesOf(app));
  const bool file = nearest.empty() && absl::StrContains(word, '.');
  return absl::StrCat("unknown command '", Printable(word), "'", nearest,
                      file ? absl::StrCat("; to analyse a model: reusescope analyze ", Printable(word)) : "");
}

std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error) {
  const bool selected = !app.get_subcommands().empty();
  const bool extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  const bool missing = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  if (extra || (missing && !selected)) {
    return UnknownArgument(app);
  }
  return error.what();
}

void PrintError(absl::string_view message) {
  const Palette palette = DescribeTerminal(STDERR_FILENO, ColorMode::kAuto).palette;
  fmt::print(stderr, "reusescope: {} {}\n", palette.Paint("error:", Style::kBad), Printable(message));
}

// Prints help, version or what is wrong with the command line.
int HandleParseError(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const auto selected = app.get_subcommands();
  PrintError(UsageMessage(app, error));
  fmt::print(stderr, "hint: reusescope {}--help shows what it accepts, with examples\n",
             selected.empty() ? "" : selected.front()->get_name() + " ");
  return kExitUsage;
}

}  // namespace

std::unique_ptr<CLI::App> MakeApp(Action& action) {
  auto app = std::make_unique<CLI::App>(kDescription, "reusescope");
  app->formatter(std::make_shared<HelpFormatter>());
  app->set_help_flag("-h,--help", "Print this help and exit");
  app->set_version_flag("--version", kVersion, "Print the version and exit");
  app->footer(kExamples);
  app->require_subcommand(1);
  AddAnalyzeCommand(*app, action);
  AddAuditCommand(*app, action);
  AddCompareCommand(*app, action);
  AddSweepCommand(*app, action);
  AddSerializeCommand(*app, action);
  AddPlanCommand(*app, action);
  AddGraphCommand(*app, action);
  AddDifferentiateCommand(*app, action);
  AddAnnotateCommand(*app, action);
  AddDevicesCommand(*app, action);
  AddOpsCommand(*app, action);
  AddDoctorCommand(*app, action);
  AddExplainCommand(*app, action);
  AddCompletionCommand(*app, action);
  return app;
}

int Run(int argc, const char* const* argv) {
  Action action;
  const std::unique_ptr<CLI::App> app = MakeApp(action);
  try {
    app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return HandleParseError(*app, error);
  }
  const absl::Status status = action();
  if (status.ok()) return kExitOk;
  PrintError(status.message());
  if (status.code() == absl::StatusCode::kInternal) {
    fmt::print(stderr, "hint: this is a bug of ReuseScope, not of the model: please report it\n");
  }
  return status.code() == absl::StatusCode::kAborted ? kExitBar : kExitFailed;
}

}  // namespace reusescope::cli
