#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/views/graph_view.h"
#include "fmt/format.h"
#include "importer/load_model.h"

namespace reusescope::cli {
namespace {

enum class GraphFormat : uint8_t { kText, kJson, kDot };

struct GraphOptions {
  WorkloadOptions workload;
  std::optional<Stage> stage;
  DeviceChoice choice;
  std::optional<Hardware> hardware;
  bool bare_peak = false;
  GraphFormat format = GraphFormat::kText;
  std::string output;
  ColorMode color = ColorMode::kAuto;
};

// Of the whole step: nodes keep their ids through all stages.
absl::StatusOr<std::optional<NodeTimes>> TimesOf(const GraphOptions& options) {
  if (!options.hardware.has_value()) return std::nullopt;
  RS_ASSIGN_OR_RETURN(Model model, LoadModel(options.workload.model));
  RS_ASSIGN_OR_RETURN(const AnalysisOptions analysis_options, OptionsFor(model, options.workload));
  RS_ASSIGN_OR_RETURN(const Analysis analysis, Analyze(std::move(model), analysis_options));
  RS_ASSIGN_OR_RETURN(const RooflineDevice device,
                      RatesOf(*options.hardware, analysis_options.precision, {.bare_peak = options.bare_peak}));
  RS_ASSIGN_OR_RETURN(const Roofline roofline, ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, device,
                                                               {.batch = BatchOf(analysis.training.graph)}));
  NodeTimes times{.device = device.name};
  for (size_t k = 0; k < roofline.kernels.size(); ++k) {
    times.nodes.emplace(analysis.cost.kernels[k].node, roofline.kernels[k].Headline());
  }
  return times;
}

std::string Render(const TrainingGraph& training, Stage stage, GraphFormat format,
                   const std::optional<NodeTimes>& times) {
  switch (format) {
    case GraphFormat::kText:
      return RenderGraphText(training, stage);
    case GraphFormat::kJson:
      return RenderGraphJson(training, stage);
    case GraphFormat::kDot:
      return RenderGraphDot(training, stage, times);
  }
  return "";
}

absl::Status RunGraph(const GraphOptions& options) {
  std::vector<std::string> notes;
  std::string text;
  {
    const Progress progress(absl::StrCat("reading ", Printable(options.workload.model)));
    RS_ASSIGN_OR_RETURN(Model model, LoadModel(options.workload.model));
    RS_ASSIGN_OR_RETURN(const AnalysisOptions analysis, OptionsFor(model, options.workload));
    RS_ASSIGN_OR_RETURN(const TrainingGraph training, BuildGraph(std::move(model), analysis, *options.stage, notes));
    RS_ASSIGN_OR_RETURN(const std::optional<NodeTimes> times, TimesOf(options));
    text = Render(training, *options.stage, options.format, times);
  }
  const Palette palette = DescribeTerminal(STDERR_FILENO, options.color).palette;
  for (const std::string& note : notes) {
    fmt::print(stderr, "{} {}\n", palette.Paint("note:", Style::kWarning), Printable(note));
  }
  return WriteOutput(options.output, text);
}

}  // namespace

void AddGraphCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<GraphOptions>();
  CLI::App* command = app.add_subcommand("graph", "Print the graph of a model after a stage of the analysis");
  command->footer(
      "  reusescope graph gpt2.onnx --after=shapes --format json      every tensor with dtype and shape\n"
      "  reusescope graph resnet50.onnx --after=optimizer             the whole training step as text\n"
      "  reusescope graph lenet5.onnx --after=differentiate --format dot | dot -Tsvg > step.svg\n"
      "  reusescope graph resnet50.onnx --after=shapes --format dot --hardware h100   coloured by verdict\n");
  AddWorkloadOptions(*command, options->workload);
  AddDeviceOptions(*command, options->choice);
  command->add_flag("--peak", options->bare_peak, "Times from bare peaks, not from what was measured to be reached")
      ->group("Hardware");
  AddStageOption(*command, "--after", options->stage, "The last stage to run")->required()->group("Output");
  AddChoice<GraphFormat>(*command, "--format", options->format,
                         {{"text", GraphFormat::kText}, {"json", GraphFormat::kJson}, {"dot", GraphFormat::kDot}},
                         "Form of the output", "text")
      ->group("Output");
  AddOutputFileOption(*command, options->output);
  AddCommonOptions(*command, options->color);
  command->callback([options, command, &action] {
    options->hardware = ChosenDevice(options->choice);
    if (options->hardware.has_value() && options->format != GraphFormat::kDot) {
      throw CLI::ValidationError("--hardware", "colours a drawing: expected --format dot beside it");
    }
    options->workload.given = GivenArguments(*command);
    action = [options] { return RunGraph(*options); };
  });
}

}  // namespace reusescope::cli
