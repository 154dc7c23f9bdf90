#include "cli/options.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "cli/device_pool.h"
#include "cli/plan.h"
#include "cli/text.h"

namespace reusescope::cli {
namespace {

constexpr const char* kWorkloadGroup = "Workload";
constexpr const char* kGraphGroup = "Graph";

// std::regex throws; nothing else of ours does, so it is caught where the pattern comes in.
CLI::Validator IsRegex() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        try {
          const std::regex compiled(text);
          return "";
        } catch (const std::regex_error& error) {
          return absl::StrCat("'", Printable(text), "' is not a regular expression: ", error.what());
        }
      },
      "");
}

absl::Status BadShape(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", Printable(text), "' is not NAME=SHAPE, for example pixels=1x3x224x224"));
}

void AddTrainingOptions(CLI::App& command, AnalysisOptions& analysis) {
  AddChoice<Mode>(command, "--mode", analysis.mode, {{"training", Mode::kTraining}, {"inference", Mode::kInference}},
                  "What runs", "training")
      ->group(kWorkloadGroup);
  AddChoice<PrecisionMode>(command, "--precision", analysis.precision,
                           {{"fp32", PrecisionMode::kFp32},
                            {"tf32", PrecisionMode::kTf32},
                            {"fp16", PrecisionMode::kFp16},
                            {"bf16", PrecisionMode::kBf16},
                            {"amp-fp16", PrecisionMode::kAmpFp16},
                            {"amp-bf16", PrecisionMode::kAmpBf16}},
                           "Arithmetic and width of values", "fp32")
      ->group(kWorkloadGroup);
  AddChoice<Optimizer>(command, "--optimizer", analysis.optimizer, OptimizerChoices(), "Update rule of the parameters",
                       "adamw")
      ->group(kWorkloadGroup);
  AddLossOption(command, analysis, "auto");
  AddOptimizerSettings(command, analysis);
  AddGradientHandling(command, analysis);
  AddCheckpointOption(command, analysis);
}

void AddGraphOptions(CLI::App& command, AnalysisOptions& analysis) {
  AddRecognizeOption(command, analysis);
  AddOrderOption(command, analysis);
  AddChoice<UpdateOrder>(command, "--update-order", analysis.update_order,
                         {{"end", UpdateOrder::kEnd}, {"eager", UpdateOrder::kEager}},
                         "Updates at the end, or each as soon as its gradient is complete", "end")
      ->group(kGraphGroup);
  AddChoice<int>(command, "--dropout-mask", analysis.dropout_mask_bytes, {{"cpu", 4}, {"cuda", 1}},
                 "Width of PyTorch's dropout masks in the eager stash: 4 bytes or 1", "cuda")
      ->group(kGraphGroup);
}

}  // namespace

void AddShapeOptions(CLI::App& command, AnalysisOptions& analysis) {
  command
      .add_option_function<std::vector<std::string>>(
          "--dim",
          [&](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) analysis.shapes.dims.insert(*ParseDimension(text));
          },
          "Size of a symbolic dimension; repeatable")
      ->check(ChecksWith(ParseDimension))
      ->allow_extra_args(false)
      ->option_text("NAME=N")
      ->group(kWorkloadGroup);
  command
      .add_option_function<std::vector<std::string>>(
          "--input",
          [&](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) analysis.shapes.inputs.insert(*ParseInputShape(text));
          },
          "Whole shape of an input; repeatable")
      ->check(ChecksWith(ParseInputShape))
      ->allow_extra_args(false)
      ->option_text("NAME=1x3x224x224")
      ->group(kWorkloadGroup);
  command
      .add_option_function<std::vector<std::string>>(
          "--trip-count",
          [&](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) analysis.shapes.trip_counts.insert(*ParseDimension(text));
          },
          "How often a Loop runs, or how many tokens a BeamSearch makes, by the name of its node; repeatable")
      ->check(ChecksWith(ParseDimension))
      ->allow_extra_args(false)
      ->option_text("NAME=N")
      ->group(kWorkloadGroup);
}

void AddParameterFilters(CLI::App& command, AnalysisOptions& analysis) {
  command.add_option("--freeze", analysis.freeze, "Parameters whose names match are not trained")
      ->check(IsRegex())
      ->option_text("REGEX")
      ->group(kWorkloadGroup);
  command.add_option("--train", analysis.train, "Only parameters whose names match are trained")
      ->check(IsRegex())
      ->option_text("REGEX")
      ->group(kWorkloadGroup);
}

void AddLossOption(CLI::App& command, AnalysisOptions& analysis, const std::string& default_word) {
  AddChoice<Loss>(command, "--loss", analysis.loss,
                  {{"auto", Loss::kAuto},
                   {"none", Loss::kNone},
                   {"sum", Loss::kSum},
                   {"mse", Loss::kMse},
                   {"cross-entropy", Loss::kCrossEntropy}},
                  "Loss on the first float output; none seeds the gradient of every float output", default_word)
      ->group(kWorkloadGroup);
}

void AddGradientHandling(CLI::App& command, AnalysisOptions& analysis) {
  GradientHandling& gradients = analysis.gradients;
  const auto positive = CLI::Validator(
      [](std::string& text) -> std::string {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value > 0 && std::isfinite(value)) return "";
        return absl::StrCat("'", Printable(text), "' is not a number above 0");
      },
      "");
  command.add_option("--clip-norm", gradients.clip_norm, "Gradients are scaled down to this norm over all parameters")
      ->check(positive)
      ->option_text("X")
      ->group(kWorkloadGroup);
  command.add_option("--accumulate", gradients.accumulate, "Gradients of N micro-batches make one update")
      ->check(ChecksWith(ParsePositive))
      ->option_text("N")
      ->group(kWorkloadGroup);
  command
      .add_option("--loss-scale", gradients.loss_scale,
                  "The loss is multiplied by X and gradients divided by it; infinite ones skip the update")
      ->check(positive)
      ->option_text("X")
      ->group(kWorkloadGroup);
}

void AddCheckpointOption(CLI::App& command, AnalysisOptions& analysis) {
  command
      .add_option_function<std::string>(
          "--checkpoint", [&](const std::string& text) { analysis.checkpoint = *CheckpointFor(text); },
          "Compute activations again in backward instead of keeping them: none, blocks, every=N (kernels), sqrt, @FILE "
          "(a "
          "plan), or a REGEX of module paths, each a segment")
      ->check(ChecksWith(CheckpointFor))
      ->option_text("POLICY")
      ->default_str("none")
      ->group(kWorkloadGroup);
}

void AddOrderOption(CLI::App& command, AnalysisOptions& analysis) {
  using Goal = OrderChoice::Goal;
  AddChoice<Goal>(command, "--order", analysis.order.goal,
                  {{"file", Goal::kFile}, {"memory", Goal::kMemory}, {"traffic", Goal::kTraffic}},
                  "Order of the nodes: the file's, or another with a lower peak, or with less traffic (LRU, what the "
                  "first device has on chip, else 32 MiB); never a worse one",
                  "file")
      ->group(kGraphGroup);
}

void AddRecognizeOption(CLI::App& command, AnalysisOptions& analysis) {
  AddChoice<bool>(command, "--recognize", analysis.recognize, {{"on", true}, {"off", false}},
                  "Rebuild what exporters took apart (GELU, layer norm, ...)", "on")
      ->group(kGraphGroup);
}

std::vector<std::pair<std::string, Optimizer>> OptimizerChoices() {
  return {{"sgd", Optimizer::kSgd},     {"momentum", Optimizer::kMomentum}, {"adam", Optimizer::kAdam},
          {"adamw", Optimizer::kAdamW}, {"adagrad", Optimizer::kAdagrad},   {"rmsprop", Optimizer::kRmsprop},
          {"lamb", Optimizer::kLamb}};
}

CLI::Validator OneOf(std::vector<std::string> choices) {
  const std::string description = absl::StrCat("{", absl::StrJoin(choices, ","), "}");
  return CLI::Validator(
      [choices = std::move(choices)](std::string& text) -> std::string {
        for (const std::string& choice : choices) {
          if (choice == text) return "";
        }
        return absl::StrCat("unknown value '", Printable(text), "'", DidYouMean(text, choices), " (one of ",
                            absl::StrJoin(choices, ", "), ")");
      },
      description);
}

absl::StatusOr<int64_t> ParsePositive(absl::string_view text) {
  int64_t value = 0;
  if (absl::SimpleAtoi(text, &value) && value > 0) return value;
  return absl::InvalidArgumentError(absl::StrCat("'", Printable(text), "' is not a whole number above 0"));
}

absl::StatusOr<std::pair<std::string, int64_t>> ParseDimension(absl::string_view text) {
  const size_t equals = text.rfind('=');
  if (equals == absl::string_view::npos || equals == 0) {
    return absl::InvalidArgumentError(absl::StrCat("'", Printable(text), "' is not NAME=N, for example sequence=128"));
  }
  RS_ASSIGN_OR_RETURN(const int64_t size, ParsePositive(text.substr(equals + 1)));
  return std::make_pair(std::string(text.substr(0, equals)), size);
}

absl::StatusOr<std::pair<std::string, double>> ParseSetting(absl::string_view text) {
  const size_t equals = text.rfind('=');
  double value = 0;
  if (equals == absl::string_view::npos || equals == 0 || !absl::SimpleAtod(text.substr(equals + 1), &value)) {
    return absl::InvalidArgumentError(absl::StrCat("'", Printable(text), "' is not NAME=X, for example beta2=0.95"));
  }
  return std::make_pair(std::string(text.substr(0, equals)), value);
}

void AddOptimizerSettings(CLI::App& command, AnalysisOptions& analysis) {
  command
      .add_option_function<std::vector<std::string>>(
          "--optimizer-setting",
          [&](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) analysis.optimizer_settings.push_back(*ParseSetting(text));
          },
          "A setting under PyTorch's name, instead of PyTorch's default: weight_decay, beta2, eps, ...; repeatable")
      ->check(ChecksWith(ParseSetting))
      ->allow_extra_args(false)
      ->option_text("NAME=X")
      ->group(kWorkloadGroup);
}

absl::StatusOr<std::pair<std::string, Shape>> ParseInputShape(absl::string_view text) {
  const size_t equals = text.rfind('=');
  if (equals == absl::string_view::npos || equals == 0) return BadShape(text);
  Shape shape;
  for (absl::string_view dimension : absl::StrSplit(text.substr(equals + 1), absl::ByAnyChar("x,"))) {
    const absl::StatusOr<int64_t> size = ParsePositive(dimension);
    if (!size.ok()) return BadShape(text);
    shape.push_back(*size);
  }
  return std::make_pair(std::string(text.substr(0, equals)), std::move(shape));
}

void AddBatchOption(CLI::App& command, AnalysisOptions& analysis) {
  command
      .add_option_function<std::string>(
          "--batch", [&](const std::string& text) { analysis.shapes.batch = *ParsePositive(text); },
          "Leading dimension of every input whose leading dimension is symbolic (default 1, and a note says so)")
      ->check(ChecksWith(ParsePositive))
      ->option_text("N")
      ->group(kWorkloadGroup);
}

void AddAnalysisOptions(CLI::App& command, AnalysisOptions& analysis) {
  AddShapeOptions(command, analysis);
  AddTrainingOptions(command, analysis);
  AddParameterFilters(command, analysis);
  AddGraphOptions(command, analysis);
}

void AddWorkloadOptions(CLI::App& command, WorkloadOptions& workload) {
  command.add_option("MODEL", workload.model, "The model, an .onnx file")->required();
  AddBatchOption(command, workload.analysis);
  AddAnalysisOptions(command, workload.analysis);
}

CLI::Option* AddHwdbOption(CLI::App& command, std::string& folder) {
  return command.add_option("--hwdb", folder, "Also the .textproto files of this folder")
      ->option_text("DIR")
      ->group("Hardware");
}

void AddDeviceOptions(CLI::App& command, DeviceChoice& choice) {
  command
      .add_option("--hardware", choice.names,
                  "A device by name (see 'reusescope devices'), by three numbers, or a .textproto file; repeatable")
      ->allow_extra_args(false)
      ->option_text("DEVICE")
      ->group("Hardware");
  AddHwdbOption(command, choice.folder);
}

std::vector<Hardware> ChosenDevices(const DeviceChoice& choice) {
  std::vector<Hardware> devices, pool;
  if (!choice.folder.empty()) {
    absl::StatusOr<std::vector<Hardware>> known = DevicePool(choice.folder);
    if (!known.ok()) throw CLI::ValidationError("--hwdb", std::string(known.status().message()));
    pool = *std::move(known);
  }
  for (const std::string& name : choice.names) {
    absl::StatusOr<Hardware> device = FindInPool(pool, name);
    if (!device.ok()) throw CLI::ValidationError("--hardware", std::string(device.status().message()));
    devices.push_back(*std::move(device));
  }
  return devices;
}

std::optional<Hardware> ChosenDevice(const DeviceChoice& choice) {
  std::vector<Hardware> devices = ChosenDevices(choice);
  if (devices.empty()) return std::nullopt;
  if (devices.size() > 1) throw CLI::ValidationError("--hardware", "found more than one device, expected one");
  return std::move(devices[0]);
}

namespace {

std::string NameOf(const std::string& argument) { return argument.substr(0, argument.find('=')); }

}  // namespace

std::vector<std::string> GivenArguments(const CLI::App& command, std::initializer_list<absl::string_view> own) {
  std::vector<std::string> arguments;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_lnames().empty()) continue;
    if (std::find(own.begin(), own.end(), option->get_lnames()[0]) != own.end()) continue;
    for (const std::string& value : option->results()) {
      arguments.push_back(absl::StrCat("--", option->get_lnames()[0], "=", value));
    }
  }
  return arguments;
}

std::vector<std::string> AnalysisArguments(const std::vector<std::string>& arguments) {
  CLI::App app;
  AnalysisOptions analysis;
  AddBatchOption(app, analysis);
  AddAnalysisOptions(app, analysis);
  std::vector<std::string> known;
  for (const std::string& argument : arguments) {
    if (app.get_option_no_throw(NameOf(argument)) != nullptr) known.push_back(argument);
  }
  return known;
}

absl::StatusOr<AnalysisOptions> OptionsFor(const Model& model, const AnalysisOptions& analysis,
                                           const std::vector<std::string>& given) {
  if (model.arguments.empty()) return analysis;
  std::vector<std::string> arguments = AnalysisArguments(given);
  std::set<std::string> names;
  for (const std::string& argument : arguments) names.insert(NameOf(argument));
  for (const std::string& argument : model.arguments) {
    if (!names.contains(NameOf(argument))) arguments.push_back(argument);
  }
  CLI::App app;
  AnalysisOptions both;
  AddBatchOption(app, both);
  AddAnalysisOptions(app, both);
  try {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    app.parse(arguments);
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(absl::StrCat(model.file, ": found flags in its metadata that are none: ",
                                                   Printable(error.what()), "; expected those of an analysis"));
  }
  both.shapes.assume = analysis.shapes.assume;
  return both;
}

void AddOutputFileOption(CLI::App& command, std::string& output) {
  command.add_option("-o,--output", output, "Write to a file instead of stdout")->option_text("FILE")->group("Output");
}

void AddTopOption(CLI::App& command, int& top, const std::string& description) {
  command.add_option("--top", top, description)
      ->check(CLI::Validator(
          [](std::string& text) { return text == "0" ? "" : std::string(ParsePositive(text).status().message()); }, ""))
      ->option_text("N")
      ->default_str(absl::StrCat(top))
      ->group("Output");
}

void AddCommonOptions(CLI::App& command, ColorMode& color) {
  AddChoice<ColorMode>(command, "--color", color,
                       {{"auto", ColorMode::kAuto}, {"always", ColorMode::kAlways}, {"never", ColorMode::kNever}},
                       "When to colour; NO_COLOR is honoured", "auto")
      ->group("General");
  command.set_help_flag("-h,--help", "Print this help and exit")->group("General");
}

CLI::Option* AddStageOption(CLI::App& command, const std::string& flag, std::optional<Stage>& stage,
                            const std::string& description) {
  const std::vector<std::string> names = {"load", "shapes", "recognize", "differentiate", "optimizer"};
  return command
      .add_option_function<std::string>(
          flag, [&stage](const std::string& name) { stage = StageFromName(name).value(); }, description)
      ->check(OneOf(names))
      ->option_text("STAGE");
}

}  // namespace reusescope::cli
