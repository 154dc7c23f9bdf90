#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/plan.h"
#include "cli/text.h"
#include "cli/views/plan_view.h"
#include "hwdb/quantity.h"

namespace reusescope::cli {
namespace {

constexpr const char* kExamples =
    "  reusescope plan resnet50.onnx --batch 256 --memory 16GiB --hardware a100\n"
    "  reusescope plan gpt2.onnx --batch auto --hardware rtx-4090           the largest batch that fits\n"
    "  reusescope plan vit.onnx --batch 64 --memory 8GiB --format json -o plan.json\n"
    "  reusescope analyze vit.onnx --batch 64 --checkpoint=@plan.json       what such a step costs\n"
    "  reusescope differentiate vit.onnx --batch 64 --loss=auto --checkpoint=@plan.json -o step.onnx\n";

enum class PlanFormat : uint8_t { kTable, kJson, kMarkdown };

struct PlanCommand {
  PlanRequest request;
  DeviceChoice choice;
  PlanFormat format = PlanFormat::kTable;
  std::string output;
  ColorMode color = ColorMode::kAuto;
};

absl::Status RunPlan(const PlanCommand& command) {
  PlanReport report;
  {
    const Progress progress(absl::StrCat("planning ", Printable(command.request.model)));
    RS_ASSIGN_OR_RETURN(report, MakePlan(command.request));
  }
  const bool to_terminal = command.output.empty() || command.output == "-";
  std::string text;
  switch (command.format) {
    case PlanFormat::kTable:
      text = RenderSections(PlanSections(report),
                            to_terminal ? DescribeTerminal(STDOUT_FILENO, command.color) : Terminal());
      break;
    case PlanFormat::kJson:
      text = RenderPlanJson(report);
      break;
    case PlanFormat::kMarkdown:
      text = RenderSectionsMarkdown(PlanSections(report));
      break;
  }
  return WriteOutput(command.output, text);
}

absl::StatusOr<int64_t> ParseBatchOrAuto(absl::string_view text) {
  if (text == "auto") return 0;
  const absl::StatusOr<int64_t> batch = ParsePositive(text);
  if (batch.ok()) return batch;
  return absl::InvalidArgumentError(absl::StrCat(batch.status().message(), ", nor auto"));
}

absl::StatusOr<double> ParseSecondsLimit(absl::string_view text) {
  double seconds = 0;
  absl::string_view number = text;
  if (!number.empty() && number.back() == 's') number.remove_suffix(1);
  if (absl::SimpleAtod(number, &seconds) && seconds >= 0 && seconds <= 1e6) return seconds;
  return absl::InvalidArgumentError(absl::StrCat("'", Printable(text), "' is not a number of seconds, 0 or more"));
}

void AddPlanOptions(CLI::App& app, PlanRequest& request) {
  app.add_option_function<std::string>(
         "--memory", [&request](const std::string& text) { request.memory_bytes = ParseBytes(text).value(); },
         "What the step has to fit: 24GiB (default: what the device has)")
      ->check(ChecksWith(ParseBytes))
      ->option_text("BYTES")
      ->group("Plan");
  app.add_option_function<std::string>(
         "--batch",
         [&request](const std::string& text) {
           const int64_t batch = ParseBatchOrAuto(text).value();
           request.largest_batch = batch == 0;
           if (batch > 0) request.analysis.shapes.batch = batch;
         },
         "Samples per step, or auto: the largest that fits, with recomputation")
      ->check(ChecksWith(ParseBatchOrAuto))
      ->option_text("N|auto")
      ->group("Plan");
  app.add_option_function<std::string>(
         "--time-limit",
         [&request](const std::string& text) {
           const double seconds = ParseSecondsLimit(text).value();
           request.options.program = seconds > 0;
           request.options.program_options.time_limit_seconds = seconds;
         },
         "For the mixed-integer program, in seconds; 0: without it")
      ->check(ChecksWith(ParseSecondsLimit))
      ->option_text("SECONDS")
      ->default_str("5")
      ->group("Plan");
}

}  // namespace

void AddPlanCommand(CLI::App& app, Action& action) {
  auto command = std::make_shared<PlanCommand>();
  CLI::App* plan = app.add_subcommand(
      "plan",
      "Which activations to keep so that the step fits a memory with the least added time\n"
      "The others are computed again in backward. Three ways are held against each other: segments of sqrt(kernels), "
      "the optimum for the chain of blocks, and, where the graph is small enough, the best of all choices. Says too "
      "what "
      "each GiB saved costs. The peak that is promised is that of the step that --checkpoint=@plan.json makes.");
  plan->footer(kExamples);
  plan->add_option("MODEL", command->request.model, "The model, an .onnx file")->required();
  AddPlanOptions(*plan, command->request);
  AddDeviceOptions(*plan, command->choice);
  plan->add_flag("--peak", command->request.bare_peak,
                 "Times from bare peaks, not from what was measured to be reached")
      ->group("Hardware");
  AddAnalysisOptions(*plan, command->request.analysis);
  plan->remove_option(plan->get_option("--checkpoint"));
  plan->remove_option(plan->get_option("--mode"));
  plan->remove_option(plan->get_option("--order"));  // recomputation is scheduled into the file's
  AddChoice<PlanFormat>(
      *plan, "--format", command->format,
      {{"table", PlanFormat::kTable}, {"json", PlanFormat::kJson}, {"markdown", PlanFormat::kMarkdown}},
      "Form of the report; json is what --checkpoint=@FILE reads", "table")
      ->group("Output");
  AddOutputFileOption(*plan, command->output);
  AddCommonOptions(*plan, command->color);
  plan->callback([command, &action] {
    command->request.device = ChosenDevice(command->choice);
    action = [command] { return RunPlan(*command); };
  });
}

}  // namespace reusescope::cli
