#include <unistd.h>

#include <cmath>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "analysis/ir/status_util.h"
#include "cli/audit.h"
#include "cli/commands.h"
#include "cli/device_pool.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/views/audit_view.h"
#include "cli/views/html.h"

namespace reusescope::cli {
namespace {

constexpr const char* kExamples =
    "  reusescope audit resnet50.onnx\n"
    "  reusescope audit resnet50.onnx --devices 'nvidia,tpu-*' --samples 1e8 --deadline 24h\n"
    "  reusescope audit bert.onnx --price a100-sxm-80gb=2.49/h --price h100-sxm=3.99/h --budget 50000\n"
    "  reusescope audit resnet50.onnx:0.7 bert.onnx:0.3 --prices prices.txt      a fleet of two models\n"
    "  reusescope audit llama.onnx --mode inference --precision bf16 --format json\n"
    "  reusescope audit resnet50.onnx --format html -o devices.html               a page for the browser\n";

enum class AuditFormat : uint8_t { kTable, kJson, kMarkdown, kHtml };

struct AuditCommand {
  std::vector<std::string> models;
  std::vector<std::string> prices;
  std::string prices_file, pattern, folder, output;
  AuditOptions options;
  bool one_precision = false;
  int top = 12;
  AuditFormat format = AuditFormat::kTable;
  ColorMode color = ColorMode::kAuto;
};

absl::StatusOr<double> ParsePositiveNumber(absl::string_view text) {
  double value = 0;
  if (absl::SimpleAtod(text, &value) && value > 0 && std::isfinite(value)) return value;
  return absl::InvalidArgumentError(absl::StrCat("'", Printable(text), "' is not a number above 0"));
}

// "24h", "90min", "30s", "2d".
absl::StatusOr<double> ParseDuration(absl::string_view text) {
  constexpr std::pair<absl::string_view, double> kUnits[] = {{"min", 60}, {"h", 3600}, {"d", 86400}, {"s", 1}};
  for (const auto& [unit, seconds] : kUnits) {
    absl::string_view number = text;
    if (!absl::ConsumeSuffix(&number, unit)) continue;
    const absl::StatusOr<double> value = ParsePositiveNumber(number);
    if (value.ok()) return *value * seconds;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", Printable(text), "' is no duration: expected 30s, 90min, 24h or 2d"));
}

// "h100-sxm=3.99/h" (by the hour) or "h100-sxm=30000" (to buy).
absl::StatusOr<std::pair<std::string, Price>> ParsePrice(absl::string_view text) {
  const size_t equals = text.find('=');
  absl::string_view number = equals == absl::string_view::npos ? "" : text.substr(equals + 1);
  const bool per_hour = absl::ConsumeSuffix(&number, "/h");
  const absl::StatusOr<double> usd = ParsePositiveNumber(number);
  if (equals == absl::string_view::npos || equals == 0 || !usd.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("'", Printable(text),
                                                   "' is no price: expected NAME=2.49/h (US dollars an hour) or "
                                                   "NAME=30000 (to buy)"));
  }
  return std::pair(std::string(absl::StripAsciiWhitespace(text.substr(0, equals))),
                   Price{.usd = *usd, .per_hour = per_hour});
}

// "resnet50.onnx:0.7". What is behind the last colon is a weight if it is a number.
WeightedModel ParseModel(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon != std::string::npos && colon > 0) {
    const absl::StatusOr<double> weight = ParsePositiveNumber(text.substr(colon + 1));
    if (weight.ok()) return {.path = text.substr(0, colon), .weight = *weight};
  }
  return {.path = text};
}

// A price a line; # starts a comment.
absl::Status ReadPrices(const std::string& path, std::vector<std::string>& prices) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read '", Printable(path), "'"));
  std::string line;
  while (std::getline(file, line)) {
    const absl::string_view text = absl::StripAsciiWhitespace(absl::string_view(line).substr(0, line.find('#')));
    if (text.empty()) continue;
    const absl::Status status = ParsePrice(text).status();
    if (!status.ok()) return Annotate(status, Printable(path));
    prices.emplace_back(text);
  }
  return absl::OkStatus();
}

// Prices by the names of the pool: aliases will do.
absl::Status ResolvePrices(const std::vector<Hardware>& pool, const std::vector<std::string>& texts,
                           std::map<std::string, Price>& prices) {
  for (const std::string& text : texts) {
    RS_ASSIGN_OR_RETURN(const auto price, ParsePrice(text));
    RS_ASSIGN_OR_RETURN(const Hardware device, FindInPool(pool, price.first));
    prices[device.name] = price.second;
  }
  return absl::OkStatus();
}

std::vector<PrecisionMode> DefaultPrecisions(Mode mode) {
  if (mode == Mode::kInference) {
    return {PrecisionMode::kBf16, PrecisionMode::kFp16, PrecisionMode::kTf32, PrecisionMode::kFp32};
  }
  return {PrecisionMode::kAmpBf16, PrecisionMode::kAmpFp16, PrecisionMode::kTf32, PrecisionMode::kFp32};
}

absl::Status RunAudit(const AuditCommand& command) {
  std::string text;
  {
    const Progress progress(absl::StrCat("auditing ", Printable(command.models[0])));
    AuditOptions options = command.options;
    options.on_chip_rows = command.top;
    options.precisions = command.one_precision ? std::vector<PrecisionMode>{options.analysis.precision}
                                               : DefaultPrecisions(options.analysis.mode);
    RS_ASSIGN_OR_RETURN(std::vector<Hardware> devices, DevicePool(command.folder));
    std::vector<std::string> prices = command.prices;
    if (!command.prices_file.empty()) RS_RETURN_IF_ERROR(ReadPrices(command.prices_file, prices));
    RS_RETURN_IF_ERROR(ResolvePrices(devices, prices, options.prices));
    if (!command.pattern.empty()) {
      RS_ASSIGN_OR_RETURN(devices, SelectDevices(std::move(devices), command.pattern));
    } else {
      // Nobody sells what stands in a paper.
      std::erase_if(devices, [](const Hardware& device) { return device.kind == HardwareKind::kAcademic; });
    }
    std::vector<WeightedModel> models;
    for (const std::string& model : command.models) models.push_back(ParseModel(model));
    RS_ASSIGN_OR_RETURN(const AuditReport report, Audit(std::move(models), devices, options));
    const bool to_terminal = command.output.empty() || command.output == "-";
    switch (command.format) {
      case AuditFormat::kTable:
        text = RenderSections(AuditSections(report, command.top),
                              to_terminal ? DescribeTerminal(STDOUT_FILENO, command.color) : Terminal());
        break;
      case AuditFormat::kJson:
        text = RenderAuditJson(report);
        break;
      case AuditFormat::kMarkdown:
        text = RenderSectionsMarkdown(AuditSections(report, command.top));
        break;
      case AuditFormat::kHtml:
        text = RenderHtml(RenderAuditJson(report));
        break;
    }
  }
  return WriteOutput(command.output, text);
}

void AddChoiceOfDevices(CLI::App& app, AuditCommand& command) {
  app.add_option("--devices", command.pattern,
                 "Only those that match: names with *, vendors, kinds (gpu, tpu, npu, cpu), separated by commas")
      ->option_text("PATTERN")
      ->group("Hardware");
  AddHwdbOption(app, command.folder);
  app.add_option("--max-devices", command.options.max_devices, "Most devices of a kind to combine")
      ->check(ChecksWith(ParsePositive))
      ->option_text("N")
      ->default_str("8")
      ->group("Hardware");
  app.add_flag("--peak", command.options.bare_peak, "Times from bare peaks, not from what was measured to be reached")
      ->group("Hardware");
}

void AddGoals(CLI::App& app, AuditCommand& command) {
  app.add_option_function<std::string>(
         "--samples", [&command](const std::string& text) { command.options.samples = *ParsePositiveNumber(text); },
         "Samples to process")
      ->check(ChecksWith(ParsePositiveNumber))
      ->option_text("N")
      ->default_str("1000000")
      ->group("Goal");
  app.add_option_function<std::string>(
         "--deadline", [&command](const std::string& text) { command.options.deadline_seconds = *ParseDuration(text); },
         "Time for the samples")
      ->check(ChecksWith(ParseDuration))
      ->option_text("24h")
      ->group("Goal");
  app.add_option_function<std::string>(
         "--budget", [&command](const std::string& text) { command.options.budget_usd = *ParsePositiveNumber(text); },
         "Most that it may cost, in US dollars")
      ->check(ChecksWith(ParsePositiveNumber))
      ->option_text("USD")
      ->group("Goal");
  app.add_option("--price", command.prices, "What a device costs, in US dollars: by the hour, or NAME=USD to buy it")
      ->check(ChecksWith(ParsePrice))
      ->allow_extra_args(false)
      ->option_text("NAME=2.49/h")
      ->group("Goal");
  app.add_option("--prices", command.prices_file, "Such prices, one a line")->option_text("FILE")->group("Goal");
}

void AddAuditBatch(CLI::App& app, AuditCommand& command) {
  app.add_option_function<std::string>(
         "--batch",
         [&command](const std::string& text) {
           if (text != "auto") command.options.batch = *ParsePositive(text);
         },
         "Samples of a step on each device: a number, or the largest that fits")
      ->check(CLI::Validator(
          [](std::string& text) { return text == "auto" ? "" : std::string(ParsePositive(text).status().message()); },
          ""))
      ->option_text("auto|N")
      ->default_str("auto")
      ->group("Workload");
}

}  // namespace

void AddAuditCommand(CLI::App& app, Action& action) {
  auto command = std::make_shared<AuditCommand>();
  CLI::App* audit = app.add_subcommand(
      "audit",
      "Audit devices before buying: fit, largest batch, time, energy, cost\n"
      "For every device it tells whether the model fits and with which batch, the time and the cost of a given number "
      "of samples, on how many devices, what would help it, and why it falls out if it does.");
  audit->footer(kExamples);
  audit->add_option("MODEL", command->models, "Models, .onnx files; several with weights (a.onnx:0.7) make a fleet")
      ->required();
  AddAuditBatch(*audit, *command);
  AddAnalysisOptions(*audit, command->options.analysis);
  AddChoiceOfDevices(*audit, *command);
  AddGoals(*audit, *command);
  AddTopOption(*audit, command->top, "Devices listed one by one");
  AddChoice<AuditFormat>(*audit, "--format", command->format,
                         {{"table", AuditFormat::kTable},
                          {"json", AuditFormat::kJson},
                          {"markdown", AuditFormat::kMarkdown},
                          {"html", AuditFormat::kHtml}},
                         "Form of the report", "table")
      ->group("Output");
  AddOutputFileOption(*audit, command->output);
  AddCommonOptions(*audit, command->color);
  audit->callback([command, audit, &action] {
    command->one_precision = audit->count("--precision") > 0;
    command->options.given = GivenArguments(*audit, {"batch"});
    action = [command] { return RunAudit(*command); };
  });
}

}  // namespace reusescope::cli
