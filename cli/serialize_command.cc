#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/device_pool.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/serialization_report.h"
#include "cli/text.h"
#include "cli/views/serialization_view.h"
#include "hwdb/quantity.h"

namespace reusescope::cli {
namespace {

constexpr const char* kExamples =
    "  reusescope serialize resnet50.onnx --batch 32\n"
    "  reusescope serialize resnet50.onnx --batch 32 --grouping greedy --branches fetched\n"
    "  reusescope serialize inception_v3.onnx --batch 32 --hardware wavecore-lpddr4 --top 100\n"
    "  reusescope serialize vgg16.onnx --batch 64 --hardware tpu-v5e --precision bf16 --capacity 64MiB\n"
    "  reusescope serialize resnet50.onnx --batch 32 --format csv -o links.csv\n";

enum class SerializeFormat : uint8_t { kTable, kCsv, kJson, kMarkdown };

struct SerializeCommand {
  std::string model, hardware = "wavecore", folder, output;
  SerializationRequest request;
  int top = 12;
  SerializeFormat format = SerializeFormat::kTable;
  ColorMode color = ColorMode::kAuto;
};

std::string Render(const SerializationReport& report, const SerializeCommand& command) {
  const bool to_terminal = command.output.empty() || command.output == "-";
  switch (command.format) {
    case SerializeFormat::kTable:
      return RenderSections(SerializationSections(report, command.top),
                            to_terminal ? DescribeTerminal(STDOUT_FILENO, command.color) : Terminal());
    case SerializeFormat::kCsv:
      return RenderSerializationCsv(report);
    case SerializeFormat::kJson:
      return RenderSerializationJson(report);
    case SerializeFormat::kMarkdown:
      return RenderSectionsMarkdown(SerializationSections(report, command.top));
  }
  return "";
}

absl::Status RunSerialize(const SerializeCommand& command) {
  SerializationRequest request = command.request;
  RS_ASSIGN_OR_RETURN(const std::vector<Hardware> pool, DevicePool(command.folder));
  RS_ASSIGN_OR_RETURN(request.hardware, FindInPool(pool, command.hardware));
  SerializationReport report;
  {
    const Progress progress(absl::StrCat("serializing ", Printable(command.model)));
    RS_ASSIGN_OR_RETURN(report, MakeSerializationReport(command.model, request));
  }
  return WriteOutput(command.output, Render(report, command));
}

void AddDevice(CLI::App& app, SerializeCommand& command) {
  app.add_option("--hardware", command.hardware,
                 "The device; where its on-chip memory is split between cores, the report is of one core")
      ->option_text("DEVICE")
      ->capture_default_str()
      ->group("Hardware");
  AddHwdbOption(app, command.folder);
  app.add_option_function<std::string>(
         "--capacity",
         [&command](const std::string& text) { command.request.capacity_bytes = ParseBytes(text).value(); },
         "On-chip memory for features, of one core, instead of the device's: 10MiB")
      ->check(ChecksWith(ParseBytes))
      ->option_text("SIZE")
      ->group("Hardware");
  app.add_flag("--peak", command.request.bare_peak, "Times from bare peaks, not from what was measured to be reached")
      ->group("Hardware");
}

void AddGrouping(CLI::App& app, SerializeCommand& command) {
  AddChoice<Grouping>(app, "--grouping", command.request.grouping,
                      {{"layers", Grouping::kLayers},
                       {"greedy", Grouping::kGreedy},
                       {"optimal", Grouping::kOptimal},
                       {"exhaustive", Grouping::kExhaustive},
                       {"longest", Grouping::kLongest}},
                      "Of the plan shown group by group: every link alone, merged greedily (the paper's), the least "
                      "traffic, the same by trying all, as few as fit",
                      "optimal")
      ->group("Plan");
  AddChoice<bool>(app, "--branches", command.request.branch_reuse, {{"kept", true}, {"fetched", false}},
                  "What several branches of a residual or Inception block read, and its shortcut: stays on chip, or is "
                  "fetched for each",
                  "kept")
      ->group("Plan");
}

}  // namespace

void AddSerializeCommand(CLI::App& app, Action& action) {
  auto command = std::make_shared<SerializeCommand>();
  CLI::App* serialize = app.add_subcommand(
      "serialize",
      "What running groups of layers a few samples at a time would save\n"
      "Mini-batch serialization: layers are grouped, and each group runs for one sub-batch after the other, so small "
      "that what its layers pass on stays on chip; weights and partial sums of their gradients are moved once more in "
      "each iteration. Shows footprints, sub-batches, iterations and traffic, and how long the step takes beside the "
      "usual ways to run it.");
  serialize->footer(kExamples);
  serialize->add_option("MODEL", command->model, "The model, an .onnx file")->required();
  AddGrouping(*serialize, *command);
  AddDevice(*serialize, *command);
  AddBatchOption(*serialize, command->request.analysis);
  AddAnalysisOptions(*serialize, command->request.analysis);
  // As published; WaveCore multiplies nothing else.
  command->request.analysis.precision = PrecisionMode::kFp16;
  serialize->get_option("--precision")->default_str("fp16");
  AddTopOption(*serialize, command->top, "Links of the chain, listed one by one");
  AddChoice<SerializeFormat>(*serialize, "--format", command->format,
                             {{"table", SerializeFormat::kTable},
                              {"csv", SerializeFormat::kCsv},
                              {"json", SerializeFormat::kJson},
                              {"markdown", SerializeFormat::kMarkdown}},
                             "Form of the report", "table")
      ->group("Output");
  AddOutputFileOption(*serialize, command->output);
  AddCommonOptions(*serialize, command->color);
  serialize->callback([command, serialize, &action] {
    command->request.given = GivenArguments(*serialize);
    action = [command] { return RunSerialize(*command); };
  });
}

}  // namespace reusescope::cli
