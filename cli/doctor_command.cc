#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "analysis/diagnose.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "importer/load_model.h"
#include "importer/missing_weights.h"

namespace reusescope::cli {
namespace {

struct DoctorOptions {
  std::string model;
  ColorMode color = ColorMode::kAuto;
};

Style StyleOf(Severity severity) {
  if (severity == Severity::kError) return Style::kBad;
  return severity == Severity::kWarning ? Style::kHeading : Style::kQuiet;
}

// "warning  what is odd", wrapped, and below it what to do.
std::string Render(const std::vector<Finding>& findings, const Terminal& terminal) {
  constexpr int kSeverityWidth = 9;
  std::string out;
  for (const Finding& finding : findings) {
    const std::string name(SeverityName(finding.severity));
    const std::string margin(kSeverityWidth, ' ');
    bool first = true;
    for (const std::string& line : Wrap(Printable(finding.what), terminal.width - kSeverityWidth)) {
      const std::string head =
          terminal.palette.Paint(name, StyleOf(finding.severity)) + std::string(kSeverityWidth - name.size(), ' ');
      absl::StrAppend(&out, first ? head : margin, line, "\n");
      first = false;
    }
    if (finding.advice.empty()) continue;
    for (const std::string& line :
         Wrap(absl::StrCat("-> ", Printable(finding.advice)), terminal.width - kSeverityWidth)) {
      absl::StrAppend(&out, margin, line, "\n");
    }
  }
  return out.empty() ? "nothing is wrong or odd with this file\n" : out;
}

// A text model has no weights to miss, and what is wrong with any other file LoadModel has said.
void LookAtWeights(const std::string& path, std::vector<Finding>& findings) {
  const auto missing = FindMissingWeights(path);
  if (!missing.ok()) return;
  for (const auto& [location, tensors] : *missing) {
    findings.push_back({Severity::kNote,
                        absl::StrCat("weight file '", location, "' is not there; ", tensors,
                                     tensors == 1 ? " tensor is" : " tensors are", " stored in it"),
                        "shapes, FLOPs, bytes and times are right without it; it is needed to run the model"});
  }
}

absl::Status RunDoctor(const DoctorOptions& options) {
  const Terminal terminal = DescribeTerminal(STDOUT_FILENO, options.color);
  RS_ASSIGN_OR_RETURN(Model model, LoadModel(options.model, {.origin = false}));
  const std::string file = model.file;
  std::vector<Finding> findings = Diagnose(std::move(model));
  LookAtWeights(options.model, findings);
  RS_RETURN_IF_ERROR(WriteOutput("", Render(findings, terminal)));
  if (!findings.empty() && findings.front().severity == Severity::kError) {
    return absl::FailedPreconditionError(absl::StrCat(file, ": cannot be analysed as it is; see the errors above"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddDoctorCommand(CLI::App& app, Action& action) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command =
      app.add_subcommand("doctor", "Tell what is wrong or odd with a model file, and what to do about it");
  command->footer("  reusescope doctor bert.onnx     opsets, operators, open dimensions, traces of its exporter\n");
  command->add_option("MODEL", options->model, "The model, an .onnx file")->required();
  AddCommonOptions(*command, options->color);
  command->callback([options, &action] { action = [options] { return RunDoctor(*options); }; });
}

}  // namespace reusescope::cli
