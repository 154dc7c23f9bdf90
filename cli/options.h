// Options shared by commands, with validators whose errors say what would have been right.
//
// A flag's value is checked while the command line is parsed, so a wrong one ends with exit code 2 before any work.

#ifndef REUSESCOPE_CLI_OPTIONS_H_
#define REUSESCOPE_CLI_OPTIONS_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "analysis/pipeline.h"
#include "cli/terminal.h"
#include "hwdb/hardware.h"

namespace reusescope::cli {

// What to analyse, and under which assumptions: the options that analyze and graph have in common.
struct WorkloadOptions {
  std::string model;
  AnalysisOptions analysis;
  std::vector<std::string> given;  // GivenArguments of the command
};

// Adds the MODEL argument and the options; their values land in `workload`. REQUIRES: `workload` outlives the app.
void AddWorkloadOptions(CLI::App& command, WorkloadOptions& workload);

// All of these but MODEL and --batch, for commands that have models and batches of their own.
void AddAnalysisOptions(CLI::App& command, AnalysisOptions& analysis);
void AddBatchOption(CLI::App& command, AnalysisOptions& analysis);

// -o, and --top with its default already in `top`.
void AddOutputFileOption(CLI::App& command, std::string& output);
void AddTopOption(CLI::App& command, int& top, const std::string& description);

// --hardware, as often as the command takes devices, and --hwdb.
struct DeviceChoice {
  std::vector<std::string> names;
  std::string folder;  // of --hwdb; "": none
};
CLI::Option* AddHwdbOption(CLI::App& command, std::string& folder);
void AddDeviceOptions(CLI::App& command, DeviceChoice& choice);
// For the command's callback: both options are known then. Throws CLI::ValidationError when a name means nothing.
std::vector<Hardware> ChosenDevices(const DeviceChoice& choice);
// At most one.
std::optional<Hardware> ChosenDevice(const DeviceChoice& choice);

// A validator out of a parser that returns absl::StatusOr: the text of its error, or nothing.
template <typename Parser>
CLI::Validator ChecksWith(Parser parser) {
  return CLI::Validator([parser](std::string& text) { return std::string(parser(text).status().message()); }, "");
}

// Parts of it, for commands that differ in the rest: --dim, --input, --trip-count; --freeze, --train; --loss;
// --recognize.
void AddShapeOptions(CLI::App& command, AnalysisOptions& analysis);
void AddParameterFilters(CLI::App& command, AnalysisOptions& analysis);
void AddLossOption(CLI::App& command, AnalysisOptions& analysis, const std::string& default_word);
void AddRecognizeOption(CLI::App& command, AnalysisOptions& analysis);
// --clip-norm, --accumulate, --loss-scale; --checkpoint; --order.
void AddGradientHandling(CLI::App& command, AnalysisOptions& analysis);
void AddCheckpointOption(CLI::App& command, AnalysisOptions& analysis);
void AddOrderOption(CLI::App& command, AnalysisOptions& analysis);
void AddOptimizerSettings(CLI::App& command, AnalysisOptions& analysis);
// The words of --optimizer and what they mean.
std::vector<std::pair<std::string, Optimizer>> OptimizerChoices();

// The options of a command that were given, as "--name=value", but `own`, which mean something else to it. REQUIRES:
// the command line is parsed.
std::vector<std::string> GivenArguments(const CLI::App& command, std::initializer_list<absl::string_view> own = {});
// Of these, the ones that AddAnalysisOptions and AddBatchOption know.
std::vector<std::string> AnalysisArguments(const std::vector<std::string>& arguments);
// The options of an analysis of `model`: those that a training graph was written with (Model::arguments), and over them
// those that were given (GivenArguments), which `analysis` holds. kInvalidArgument where the file holds flags that are
// none.
absl::StatusOr<AnalysisOptions> OptionsFor(const Model& model, const AnalysisOptions& analysis,
                                           const std::vector<std::string>& given);
inline absl::StatusOr<AnalysisOptions> OptionsFor(const Model& model, const WorkloadOptions& workload) {
  return OptionsFor(model, workload.analysis, workload.given);
}

// --color=auto|always|never, and the help flag.
void AddCommonOptions(CLI::App& command, ColorMode& color);

// --after and --dump-after.
CLI::Option* AddStageOption(CLI::App& command, const std::string& flag, std::optional<Stage>& stage,
                            const std::string& description);

// One of a fixed set of words. The error of an unknown one lists them, nearest first.
CLI::Validator OneOf(std::vector<std::string> choices);

// Adds an option whose value is one of `choices`: pairs of word and meaning. The default is printed as `default_word`.
template <typename T>
CLI::Option* AddChoice(CLI::App& command, const std::string& flag, T& target,
                       std::vector<std::pair<std::string, T>> choices, const std::string& description,
                       const std::string& default_word) {
  std::vector<std::string> words;
  for (const auto& [word, meaning] : choices) words.push_back(word);
  return command
      .add_option_function<std::string>(
          flag,
          [&target, choices](const std::string& given) {
            for (const auto& [word, meaning] : choices) {
              if (word == given) target = meaning;
            }
          },
          description)
      ->check(OneOf(std::move(words)))
      ->option_text("WORD")
      ->default_str(default_word);
}

// Parsers of single values; kInvalidArgument says what was expected.
absl::StatusOr<int64_t> ParsePositive(absl::string_view text);
absl::StatusOr<std::pair<std::string, int64_t>> ParseDimension(absl::string_view text);  // "sequence=128"
absl::StatusOr<std::pair<std::string, double>> ParseSetting(absl::string_view text);     // "beta2=0.95"
absl::StatusOr<std::pair<std::string, Shape>> ParseInputShape(absl::string_view text);   // "pixels=1x3x224x224"

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_OPTIONS_H_
