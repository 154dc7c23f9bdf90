#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/text.h"
#include "cli/views/graph_view.h"
#include "cli/views/html.h"
#include "cli/views/trace.h"
#include "cli/views/views.h"
#include "fmt/format.h"
#include "hwdb/quantity.h"
#include "importer/load_model.h"

namespace reusescope::cli {
namespace {

constexpr const char* kExamples =
    "  reusescope analyze resnet50.onnx --batch 32 --hardware a100-sxm-80gb\n"
    "  reusescope analyze resnet50.onnx --batch 32 --hardware h100 --hardware rtx-4090    side by side\n"
    "  reusescope analyze bert.onnx --dim batch=8 --dim sequence=128 --precision amp-bf16 --hardware h100\n"
    "  reusescope analyze vit.onnx --hardware 'capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s'\n"
    "  reusescope analyze gpt2.onnx --format json | jq .roofline.step_seconds\n"
    "  reusescope analyze vit.onnx --hardware h100 --format html -o step.html     a page for the browser\n"
    "  reusescope analyze vit.onnx --hardware h100 --format trace -o step.json    for ui.perfetto.dev\n"
    "  reusescope analyze llama.onnx --strict        fail when an operator has no rule\n";

enum class Format : uint8_t { kTable, kJson, kCsv, kMarkdown, kHtml, kTrace };

struct AnalyzeOptions {
  WorkloadOptions workload;
  DeviceChoice choice;
  std::vector<Hardware> hardware;  // what was chosen
  ReportOptions report;
  ViewOptions view;
  Format format = Format::kTable;
  bool strict = false;
  std::optional<Stage> dump_after;
  std::string output;
  ColorMode color = ColorMode::kAuto;
};

std::string Render(const Report& report, const AnalyzeOptions& options) {
  switch (options.format) {
    case Format::kTable: {
      const bool to_file = !options.output.empty() && options.output != "-";
      Terminal terminal = DescribeTerminal(STDOUT_FILENO, options.color);
      if (to_file && options.color == ColorMode::kAuto) terminal = Terminal();
      return RenderTable(report, options.view, terminal);
    }
    case Format::kJson:
      return RenderJson(report);
    case Format::kCsv:
      return RenderCsv(report);
    case Format::kMarkdown:
      return RenderMarkdown(report, options.view);
    case Format::kHtml:
      return RenderHtml(RenderJson(report));
    case Format::kTrace:
      return RenderTrace(report);
  }
  return "";
}

// --dump-after: the graph goes to stderr, the report stays alone on stdout.
absl::Status DumpGraph(const AnalyzeOptions& options) {
  std::vector<std::string> notes;
  RS_ASSIGN_OR_RETURN(Model model, LoadModel(options.workload.model));
  RS_ASSIGN_OR_RETURN(const AnalysisOptions analysis, OptionsFor(model, options.workload));
  RS_ASSIGN_OR_RETURN(const TrainingGraph training, BuildGraph(std::move(model), analysis, *options.dump_after, notes));
  fmt::print(stderr, "{}", RenderGraphText(training, *options.dump_after));
  return absl::OkStatus();
}

absl::Status RunAnalyze(const AnalyzeOptions& options) {
  if (options.format == Format::kTrace && options.hardware.empty()) {
    return absl::FailedPreconditionError("a trace shows times: give a device with --hardware");
  }
  if (options.dump_after.has_value()) RS_RETURN_IF_ERROR(DumpGraph(options));
  std::string text;
  {
    const Progress progress(absl::StrCat("analysing ", Printable(options.workload.model)));
    RS_ASSIGN_OR_RETURN(Model model, LoadModel(options.workload.model));
    RS_ASSIGN_OR_RETURN(AnalysisOptions analysis_options, OptionsFor(model, options.workload));
    if (!options.hardware.empty()) {
      analysis_options.order.capacity_bytes = options.hardware[0].on_chip.capacity_bytes;
    }
    RS_ASSIGN_OR_RETURN(const Analysis analysis, Analyze(std::move(model), analysis_options));
    if (options.strict) RS_RETURN_IF_ERROR(RequireFullCoverage(analysis.coverage));
    ReportOptions report_options = options.report;
    const bool lists_all = options.format != Format::kTable && options.format != Format::kMarkdown;
    if (!lists_all) report_options.listed_layers = options.view.top;
    RS_ASSIGN_OR_RETURN(const Report report, MakeReport(analysis, options.hardware, report_options));
    text = Render(report, options);
  }
  return WriteOutput(options.output, text);
}

void AddHardwareOptions(CLI::App& command, AnalyzeOptions& options) {
  AddDeviceOptions(command, options.choice);
  command
      .add_flag("--peak", options.report.bare_peak, "Times from bare peaks, not from what was measured to be reached")
      ->group("Hardware");
  command
      .add_option_function<std::vector<std::string>>(
          "--capacity",
          [&options](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) {
              for (absl::string_view part : absl::StrSplit(text, ',')) {
                const absl::StatusOr<int64_t> bytes = ParseBytes(part);
                if (!bytes.ok()) throw CLI::ValidationError("--capacity", std::string(bytes.status().message()));
                options.report.extra_capacities.push_back(*bytes);
              }
            }
          },
          "Further on-chip capacities for the traffic curve: 24MiB,48MiB; repeatable")
      ->allow_extra_args(false)
      ->option_text("BYTES")
      ->group("Hardware");
}

void AddOutputOptions(CLI::App& command, AnalyzeOptions& options) {
  AddChoice<Format>(command, "--format", options.format,
                    {{"table", Format::kTable},
                     {"json", Format::kJson},
                     {"csv", Format::kCsv},
                     {"markdown", Format::kMarkdown},
                     {"html", Format::kHtml},
                     {"trace", Format::kTrace}},
                    "Form of the report", "table")
      ->group("Output");
  AddTopOption(command, options.view.top, "Layers and tensors listed one by one");
  AddOutputFileOption(command, options.output);
  command.add_flag("--strict", options.strict, "An operator without a rule is an error that lists all of them")
      ->group("Output");
  AddStageOption(command, "--dump-after", options.dump_after, "Also print the graph after this stage, on stderr")
      ->group("Output");
}

}  // namespace

void AddAnalyzeCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<AnalyzeOptions>();
  CLI::App* command = app.add_subcommand(
      "analyze",
      "Analyse the training step of a model: work, time, reuse, memory\n"
      "The report reads top-down: what the model is, the step by phases, where the time goes, what could be reused on "
      "chip, memory and fit, and a verdict. 'reusescope explain WORD' tells what a word in it means.");
  command->footer(kExamples);
  AddWorkloadOptions(*command, options->workload);
  AddHardwareOptions(*command, *options);
  AddOutputOptions(*command, *options);
  AddCommonOptions(*command, options->color);
  command->callback([options, command, &action] {
    options->workload.given = GivenArguments(*command);
    AnalysisOptions& analysis = options->workload.analysis;
    analysis.shapes.assume = analysis.mode == Mode::kInference && !options->strict;
    options->hardware = ChosenDevices(options->choice);
    action = [options] { return RunAnalyze(*options); };
  });
}

}  // namespace reusescope::cli
