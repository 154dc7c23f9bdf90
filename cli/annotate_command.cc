#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "cli/annotate.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/text.h"
#include "cli/units.h"
#include "fmt/format.h"
#include "importer/load_model.h"

namespace reusescope::cli {
namespace {

struct AnnotateOptions {
  WorkloadOptions workload;
  DeviceChoice choice;
  std::optional<Hardware> hardware;
  bool bare_peak = false;
  std::string output;
  ColorMode color = ColorMode::kAuto;
};

absl::Status AnnotateFile(const AnnotateOptions& options, std::vector<std::string>& notes) {
  const std::string& path = options.workload.model;
  const Progress progress(absl::StrCat("annotating ", Printable(path)));
  RS_ASSIGN_OR_RETURN(Model model, LoadModel(path, {.origin = false}));
  const FileNodes nodes(model);
  RS_ASSIGN_OR_RETURN(const Analysis analysis, Analyze(std::move(model), options.workload.analysis));
  notes = analysis.notes;
  RS_ASSIGN_OR_RETURN(const Annotations annotations,
                      AnnotationsOf(nodes, analysis, options.hardware, options.bare_peak));
  if (annotations.unattributed_kernels > 0) {
    notes.push_back(absl::StrCat(annotations.unattributed_kernels, " of ", annotations.kernels,
                                 " kernels belong to no node of the file (the loss, for example); the model's own "
                                 "metadata has their sum"));
  }
  return WriteAnnotated(path, options.output, annotations.metadata);
}

absl::Status RunAnnotate(const AnnotateOptions& options) {
  std::error_code error;
  if (std::filesystem::equivalent(options.workload.model, options.output, error)) {
    return absl::InvalidArgumentError("the output is the model itself, expected another file");
  }
  std::vector<std::string> notes;
  const absl::Status status = AnnotateFile(options, notes);
  const Palette palette = DescribeTerminal(STDERR_FILENO, options.color).palette;
  for (const std::string& note : notes) {
    fmt::print(stderr, "{} {}\n", palette.Paint("note:", Style::kWarning), Printable(note));
  }
  return status;
}

}  // namespace

void AddAnnotateCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<AnnotateOptions>();
  CLI::App* command = app.add_subcommand(
      "annotate",
      "Write the model anew with FLOPs, bytes, time and verdict as metadata of its nodes\n"
      "Viewers (Netron) show metadata when a node is clicked. Nothing else of the file changes: weights are copied "
      "byte "
      "for byte, external ones stay where they are, so the output stands in the model's folder then.");
  command->footer(
      "  reusescope annotate resnet50.onnx -o annotated.onnx --hardware a100 --batch 32\n"
      "  reusescope annotate gpt2.onnx -o annotated.onnx --hardware h100 --mode inference --precision bf16\n");
  AddWorkloadOptions(*command, options->workload);
  AddDeviceOptions(*command, options->choice);
  command->add_flag("--peak", options->bare_peak, "Times from bare peaks, not from what was measured to be reached")
      ->group("Hardware");
  command->add_option("-o,--output", options->output, "The file to write")
      ->required()
      ->option_text("FILE")
      ->group("Output");
  AddCommonOptions(*command, options->color);
  command->callback([options, &action] {
    options->hardware = ChosenDevice(options->choice);
    action = [options] { return RunAnnotate(*options); };
  });
}

}  // namespace reusescope::cli
