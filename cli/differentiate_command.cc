#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/transform/make_executable.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/text.h"
#include "fmt/format.h"
#include "importer/load_model.h"
#include "importer/write_model.h"

namespace reusescope::cli {
namespace {

struct DifferentiateOptions {
  WorkloadOptions workload;
  std::optional<Optimizer> optimizer;
  std::optional<bool> input_gradients;
  std::string output;
  ColorMode color = ColorMode::kAuto;
};

// The flags under which `analyze` sees the same step: what is left out means another thing there.
std::vector<std::string> RecordedArguments(const std::vector<std::string>& given, const CheckpointPolicy& checkpoint) {
  std::vector<std::string> arguments;
  bool has_loss = false;
  for (const std::string& argument : AnalysisArguments(given)) {
    has_loss = has_loss || absl::StartsWith(argument, "--loss=");
    if (absl::StartsWith(argument, "--checkpoint=@")) {  // the plan may be elsewhere by then
      arguments.push_back(absl::StrCat("--checkpoint=", CheckpointPolicyText(checkpoint)));
    } else if (argument != "--optimizer=none") {
      arguments.push_back(argument);
    }
  }
  if (!has_loss) arguments.push_back("--loss=none");
  return arguments;
}

absl::Status Differentiate(const DifferentiateOptions& options, std::vector<std::string>& notes) {
  const Progress progress(absl::StrCat("differentiating ", Printable(options.workload.model)));
  AnalysisOptions analysis = options.workload.analysis;
  analysis.shapes.keep_branches = true;
  const GradientHandling& gradients = analysis.gradients;
  if (!options.optimizer.has_value() && (gradients.clip_norm > 0 || gradients.accumulate > 1)) {
    return absl::InvalidArgumentError("--clip-norm and --accumulate are part of the update, expected an --optimizer");
  }
  analysis.optimizer = options.optimizer.value_or(analysis.optimizer);
  analysis.input_gradients = options.input_gradients.value_or(analysis.loss == Loss::kNone);
  RS_ASSIGN_OR_RETURN(Model model, LoadModel(options.workload.model, {.min_opset = kExecutableOpset, .origin = false}));
  const Stage last = options.optimizer.has_value() ? Stage::kOptimizer : Stage::kDifferentiate;
  RS_ASSIGN_OR_RETURN(TrainingGraph training, BuildGraph(std::move(model), analysis, last, notes));
  absl::StatusOr<Model> executable = MakeExecutable(std::move(training));
  if (!executable.ok()) return Annotate(executable.status(), options.workload.model);
  executable->arguments = RecordedArguments(options.workload.given, analysis.checkpoint);
  return WriteModel(*executable, options.workload.model, options.output, notes);
}

absl::Status RunDifferentiate(const DifferentiateOptions& options) {
  std::error_code error;
  if (std::filesystem::equivalent(options.workload.model, options.output, error)) {
    return absl::InvalidArgumentError("the output is the model itself, expected another file");
  }
  std::vector<std::string> notes;
  const absl::Status status = Differentiate(options, notes);
  const Palette palette = DescribeTerminal(STDERR_FILENO, options.color).palette;
  for (const std::string& note : notes) {
    fmt::print(stderr, "{} {}\n", palette.Paint("note:", Style::kWarning), Printable(note));
  }
  return status;
}

}  // namespace

void AddDifferentiateCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<DifferentiateOptions>();
  options->workload.analysis.loss = Loss::kNone;
  CLI::App* command = app.add_subcommand(
      "differentiate",
      "Write the training graph as an .onnx file that any runtime executes.\n"
      "Shapes are those of this run: the batch that is bound is the batch that the file takes. Inputs: the model's,\n"
      "then seed.<output> (the gradient of each output), or what --loss needs; outputs: the model's, "
      "grad.<parameter>,\n"
      "grad.<input>, and with --optimizer new.<parameter> and new.<state>, from learning_rate and step (1, 2, ...).");
  command->footer(
      "  reusescope differentiate resnet50.onnx -o training.onnx --batch 8           gradients from seeds\n"
      "  reusescope differentiate gpt2.onnx -o step.onnx --loss=cross-entropy --optimizer=adamw\n"
      "  reusescope differentiate vit.onnx -o head.onnx --train '^head\\.'             only the head trains\n");
  command->add_option("MODEL", options->workload.model, "The model, an .onnx file")->required();
  command->add_option("-o,--output", options->output, "The file to write")
      ->required()
      ->option_text("FILE")
      ->group("Output");
  AddBatchOption(*command, options->workload.analysis);
  AddShapeOptions(*command, options->workload.analysis);
  AddLossOption(*command, options->workload.analysis, "none");
  std::vector<std::pair<std::string, std::optional<Optimizer>>> optimizers = {{"none", std::nullopt}};
  for (const auto& [word, optimizer] : OptimizerChoices()) optimizers.emplace_back(word, optimizer);
  AddChoice<std::optional<Optimizer>>(*command, "--optimizer", options->optimizer, std::move(optimizers),
                                      "Update rule of the parameters, or none", "none")
      ->group("Workload");
  AddChoice<std::optional<bool>>(*command, "--input-gradients", options->input_gradients,
                                 {{"auto", std::nullopt}, {"on", true}, {"off", false}},
                                 "Gradients of float inputs too; auto: when no loss is attached", "auto")
      ->group("Workload");
  AddOptimizerSettings(*command, options->workload.analysis);
  AddGradientHandling(*command, options->workload.analysis);
  AddCheckpointOption(*command, options->workload.analysis);
  AddParameterFilters(*command, options->workload.analysis);
  AddRecognizeOption(*command, options->workload.analysis);
  AddOrderOption(*command, options->workload.analysis);
  AddCommonOptions(*command, options->color);
  command->callback([options, command, &action] {
    options->workload.given = GivenArguments(*command);
    action = [options] { return RunDifferentiate(*options); };
  });
}

}  // namespace reusescope::cli
