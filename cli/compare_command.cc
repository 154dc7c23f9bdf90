#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/compare.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/views/compare_view.h"
#include "cli/views/html.h"

namespace reusescope::cli {
namespace {

constexpr const char* kExamples =
    "  reusescope compare resnet50.onnx vit_b_16.onnx --batch 32 --hardware h100\n"
    "  reusescope compare old.onnx new.onnx --hardware a100 --fail-if 'step_seconds > 1.05'   for CI\n"
    "  reusescope compare resnet50.onnx --sweep batch=1,8,32,128 --hardware a100\n"
    "  reusescope compare gpt2.onnx --sweep dim:sequence=128,512,2048 --format json\n"
    "  reusescope compare old.onnx new.onnx --hardware a100 --format html -o compared.html\n";

enum class CompareFormat : uint8_t { kTable, kJson, kMarkdown, kHtml };

struct CompareCommand {
  CompareOptions options;
  DeviceChoice choice;
  std::vector<std::string> sweeps, bars;
  std::string output;
  int top = 10;
  CompareFormat format = CompareFormat::kTable;
  ColorMode color = ColorMode::kAuto;
};

std::string Render(const Comparison& comparison, const CompareCommand& command) {
  const bool to_terminal = command.output.empty() || command.output == "-";
  switch (command.format) {
    case CompareFormat::kTable:
      return RenderSections(CompareSections(comparison, command.top),
                            to_terminal ? DescribeTerminal(STDOUT_FILENO, command.color) : Terminal());
    case CompareFormat::kJson:
      return RenderCompareJson(comparison);
    case CompareFormat::kMarkdown:
      return RenderSectionsMarkdown(CompareSections(comparison, command.top));
    case CompareFormat::kHtml:
      return RenderHtml(RenderCompareJson(comparison));
  }
  return "";
}

absl::Status RunCompare(const CompareCommand& command) {
  CompareOptions options = command.options;
  for (const std::string& text : command.sweeps) {
    RS_ASSIGN_OR_RETURN(Sweep sweep, ParseSweep(text));
    options.sweeps.push_back(std::move(sweep));
  }
  for (const std::string& text : command.bars) {
    RS_ASSIGN_OR_RETURN(Bar bar, ParseBar(text));
    options.bars.push_back(std::move(bar));
  }
  Comparison comparison;
  {
    const Progress progress(absl::StrCat("comparing ", Printable(options.models[0])));
    RS_ASSIGN_OR_RETURN(comparison, Compare(options));
  }
  RS_RETURN_IF_ERROR(WriteOutput(command.output, Render(comparison, command)));
  if (comparison.crossed.empty()) return absl::OkStatus();
  // The report stands; the exit code says that a bar was crossed.
  return absl::AbortedError(absl::StrJoin(comparison.crossed, "; ", [&](std::string* out, const CrossedBar& bar) {
    absl::StrAppend(out, CrossedBarText(comparison, bar));
  }));
}

void AddComparedThings(CLI::App& app, CompareCommand& command) {
  app.add_option("MODEL", command.options.models, "Models, .onnx files; the first is what the others are held against")
      ->required();
  AddDeviceOptions(app, command.choice);
  app.add_flag("--peak", command.options.bare_peak, "Times from bare peaks, not from what was measured to be reached")
      ->group("Hardware");
  app.add_option("--sweep", command.sweeps, "Each model at several sizes: batch=1,8,32 or dim:NAME=128,512; repeatable")
      ->check(ChecksWith(ParseSweep))
      ->allow_extra_args(false)
      ->option_text("SIZES")
      ->group("Workload");
  app.add_option("--fail-if", command.bars,
                 "Exit with code 3 when the ratio of a metric to the first crosses this; repeatable")
      ->check(ChecksWith(ParseBar))
      ->allow_extra_args(false)
      ->option_text("METRIC>RATIO")
      ->group("Output");
}

}  // namespace

void AddCompareCommand(CLI::App& app, Action& action) {
  auto command = std::make_shared<CompareCommand>();
  CLI::App* compare = app.add_subcommand(
      "compare",
      "Compare models, or one model at several sizes, side by side\n"
      "Parameters, FLOPs, stash, peak, traffic, reuse by scope, time and verdict in columns, the best of each row "
      "marked, with the ratio to the first; and which layers were added, removed or changed, and what that costs.");
  compare->footer(kExamples);
  AddComparedThings(*compare, *command);
  AddBatchOption(*compare, command->options.analysis);
  AddAnalysisOptions(*compare, command->options.analysis);
  AddTopOption(*compare, command->top, "Layers that differ, listed one by one");
  AddChoice<CompareFormat>(*compare, "--format", command->format,
                           {{"table", CompareFormat::kTable},
                            {"json", CompareFormat::kJson},
                            {"markdown", CompareFormat::kMarkdown},
                            {"html", CompareFormat::kHtml}},
                           "Form of the report", "table")
      ->group("Output");
  AddOutputFileOption(*compare, command->output);
  AddCommonOptions(*compare, command->color);
  compare->callback([command, compare, &action] {
    command->options.given = GivenArguments(*compare);
    command->options.devices = ChosenDevices(command->choice);
    action = [command] { return RunCompare(*command); };
  });
}

}  // namespace reusescope::cli
