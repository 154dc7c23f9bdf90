#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "cli/commands.h"
#include "cli/design_space.h"
#include "cli/device_pool.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/views/design_view.h"
#include "cli/views/html.h"

namespace reusescope::cli {
namespace {

constexpr const char* kExamples =
    "  reusescope sweep resnet50.onnx --batch 32 --hardware a100\n"
    "  reusescope sweep bert.onnx --capacity 1MiB:1GiB:x2 --bandwidth 100GB/s:8TB/s:x2\n"
    "  reusescope sweep gpt2.onnx --policy lru,managed --batch 1,8 --format csv -o points.csv\n"
    "  reusescope sweep resnet50.onnx --capacity 256KiB:64MiB:x4 --double-buffering best --show tiled\n"
    "  reusescope sweep vgg16.onnx --throughput 10T:2P:x2 --cost 'capacity=0.4/MiB,bandwidth=12/100GB/s'\n"
    "  reusescope sweep resnet50.onnx --batch 32 --format html -o designs.html   a page for the browser\n";

enum class SweepFormat : uint8_t { kTable, kCsv, kJson, kMarkdown, kHtml };

struct SweepCommand {
  std::string model, hardware = "a100-sxm-80gb", folder, output;
  DesignSweepOptions options;
  bool axes_given = false;
  int top = 10;
  DesignMetric metric = DesignMetric::kTime;
  SweepFormat format = SweepFormat::kTable;
  ColorMode color = ColorMode::kAuto;
};

// Ctrl-C ends a sweep at the next row; what is computed is printed. A second one ends the program.
std::atomic<bool> interrupted = false;
class InterruptGuard {
 public:
  InterruptGuard() {
    previous_ = std::signal(SIGINT, [](int) {
      interrupted = true;
      std::signal(SIGINT, SIG_DFL);
    });
  }
  ~InterruptGuard() { std::signal(SIGINT, previous_); }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  void (*previous_)(int);
};

std::string Render(const DesignSpace& space, const SweepCommand& command) {
  const bool to_terminal = command.output.empty() || command.output == "-";
  switch (command.format) {
    case SweepFormat::kTable:
      return RenderSections(DesignSections(space, command.metric, command.top),
                            to_terminal ? DescribeTerminal(STDOUT_FILENO, command.color) : Terminal());
    case SweepFormat::kCsv:
      return RenderDesignCsv(space);
    case SweepFormat::kJson:
      return RenderDesignJson(space);
    case SweepFormat::kMarkdown:
      return RenderSectionsMarkdown(DesignSections(space, command.metric, command.top));
    case SweepFormat::kHtml:
      return RenderHtml(RenderDesignJson(space));
  }
  return "";
}

absl::Status RunSweep(const SweepCommand& command) {
  DesignSweepOptions options = command.options;
  RS_ASSIGN_OR_RETURN(const std::vector<Hardware> pool, DevicePool(command.folder));
  RS_ASSIGN_OR_RETURN(options.base, FindInPool(pool, command.hardware));
  if (!command.axes_given) {
    RS_ASSIGN_OR_RETURN(options.axes.capacities_bytes, ParseCapacities("1MiB:1GiB:x4"));
    RS_ASSIGN_OR_RETURN(options.axes.bandwidths_bytes_per_second, ParseBandwidths("500GB/s:8TB/s:x2"));
  }
  constexpr int64_t kMostPointsOfPage = 100'000;  // a browser holds what it draws in memory
  if (command.format == SweepFormat::kHtml) options.most_points = kMostPointsOfPage;
  options.stop = &interrupted;
  DesignSpace space;
  {
    const InterruptGuard guard;
    const Progress progress(absl::StrCat("sweeping designs for ", Printable(command.model), ", Ctrl-C stops"));
    RS_ASSIGN_OR_RETURN(space, SweepDesigns(command.model, options));
  }
  return WriteOutput(command.output, Render(space, command));
}

// An axis option: checked while parsed, stored when right.
template <typename T, typename Parse>
void AddAxis(CLI::App& app, SweepCommand& command, const std::string& flag, std::vector<T>& values, Parse parse,
             const std::string& description) {
  app.add_option_function<std::string>(
         flag,
         [&command, &values, parse](const std::string& text) {
           values = parse(text).value();
           command.axes_given = true;
         },
         description)
      ->check(ChecksWith(parse))
      ->option_text("AXIS")
      ->group("Axes");
}

absl::StatusOr<std::vector<Policy>> ParsePolicies(absl::string_view text) {
  std::vector<Policy> policies;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    const size_t before = policies.size();
    for (const Policy policy : {Policy::kNone, Policy::kLru, Policy::kManaged}) {
      if (word == PolicyName(policy)) policies.push_back(policy);
    }
    if (policies.size() == before) {
      return absl::InvalidArgumentError(absl::StrCat("found policy '", word, "', expected none, lru or managed"));
    }
  }
  return policies;
}

absl::StatusOr<std::vector<PrecisionMode>> ParsePrecisions(absl::string_view text) {
  std::vector<PrecisionMode> precisions;
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    RS_ASSIGN_OR_RETURN(const PrecisionMode precision, PrecisionFromName(word));
    precisions.push_back(precision);
  }
  return precisions;
}

// A list that is checked while parsed.
template <typename T, typename Parse>
CLI::Option* AddList(CLI::App& app, const std::string& flag, std::vector<T>& values, Parse parse,
                     const std::string& description, const std::string& default_word) {
  return app
      .add_option_function<std::string>(
          flag, [&values, parse](const std::string& text) { values = parse(text).value(); }, description)
      ->check(ChecksWith(parse))
      ->option_text("LIST")
      ->default_str(default_word);
}

void AddAxes(CLI::App& app, SweepCommand& command) {
  DesignSweepOptions& options = command.options;
  AddAxis(app, command, "--capacity", options.axes.capacities_bytes, ParseCapacities,
          "On-chip memory: 1MiB:1GiB:x2, 0:64MiB:+8MiB or a list");
  AddAxis(app, command, "--bandwidth", options.axes.bandwidths_bytes_per_second, ParseBandwidths,
          "Off-chip bandwidth: 100GB/s:8TB/s:x2");
  AddAxis(app, command, "--throughput", options.axes.throughputs_flops_per_second, ParseThroughputs,
          "Of matrix products: 10T:2P:x2; vector units scale along");
  AddList(app, "--policy", options.policies, ParsePolicies, "Who decides what stays on chip: none, lru, managed",
          "managed")
      ->group("Axes");
  AddChoice<std::optional<Buffering>>(
      app, "--double-buffering", options.buffering,
      {{"off", Buffering::kSingle}, {"on", Buffering::kDouble}, {"best", Buffering::kBest}},
      "Also the time with kernels in tiles: all the memory for a tile; half, as the next tile arrives meanwhile; the "
      "better for each kernel. --show tiled prints it",
      "not computed")
      ->group("Axes");
  AddList(app, "--batch", options.batches, ParseBatches, "Samples per step: 8,32,128", "1")->group("Axes");
}

void AddRest(CLI::App& app, SweepCommand& command) {
  app.add_option("--hardware", command.hardware,
                 "The device that axes which are not given are taken from, and that designs are held against")
      ->option_text("DEVICE")
      ->capture_default_str()
      ->group("Hardware");
  app.add_option("--hwdb", command.folder, "Also the .textproto files of this folder")
      ->option_text("DIR")
      ->group("Hardware");
  app.add_flag("--peak", command.options.bare_peak, "Base rates from bare peaks, not from what was measured")
      ->group("Hardware");
  app.add_option_function<std::string>(
         "--cost", [&command](const std::string& text) { command.options.weights = ParseCostWeights(text).value(); },
         "What a device costs by what it has, for the Pareto front: capacity=0.4/MiB,bandwidth=12/100GB/s,"
         "throughput=3/TFLOP/s")
      ->check(ChecksWith(ParseCostWeights))
      ->option_text("WEIGHTS")
      ->group("Hardware");
  app.add_option("--threads", command.options.threads, "Rows of the grid computed at a time")
      ->check(CLI::Range(1, 256))
      ->option_text("N")
      ->capture_default_str()
      ->group("Output");
}

}  // namespace

void AddSweepCommand(CLI::App& app, Action& action) {
  auto command = std::make_shared<SweepCommand>();
  command->options.threads = static_cast<int>(std::max(1U, std::min(std::thread::hardware_concurrency(), 16U)));
  CLI::App* sweep = app.add_subcommand(
      "sweep",
      "What more cache, bandwidth or compute would buy\n"
      "The step at every point of a grid of on-chip capacity, bandwidth and throughput: time, stalls, traffic, which "
      "reuse a capacity captures, which designs are equally fast, and the Pareto front under your cost weights. "
      "Without an axis, capacity and bandwidth are swept around the device.");
  sweep->footer(kExamples);
  sweep->add_option("MODEL", command->model, "The model, an .onnx file")->required();
  AddAxes(*sweep, *command);
  AddRest(*sweep, *command);
  AddAnalysisOptions(*sweep, command->options.analysis);
  CLI::Option* precision = sweep->get_option("--precision");
  sweep->remove_option(precision);
  AddList(*sweep, "--precision", command->options.precisions, ParsePrecisions,
          "fp32, tf32, fp16, bf16, amp-fp16, amp-bf16", "fp32")
      ->group("Axes");
  AddTopOption(*sweep, command->top, "Designs of the Pareto front, listed one by one");
  AddChoice<DesignMetric>(*sweep, "--show", command->metric,
                          {{"time", DesignMetric::kTime},
                           {"prefetch", DesignMetric::kPrefetch},
                           {"tiled", DesignMetric::kTiled},
                           {"stalls", DesignMetric::kStalls},
                           {"traffic", DesignMetric::kTraffic},
                           {"bandwidth", DesignMetric::kBandwidth},
                           {"utilization", DesignMetric::kUtilization},
                           {"buffer", DesignMetric::kBuffer},
                           {"energy", DesignMetric::kEnergy}},
                          "What the grid of the table shows of each design; the other forms have all", "time")
      ->group("Output");
  AddChoice<SweepFormat>(*sweep, "--format", command->format,
                         {{"table", SweepFormat::kTable},
                          {"csv", SweepFormat::kCsv},
                          {"json", SweepFormat::kJson},
                          {"markdown", SweepFormat::kMarkdown},
                          {"html", SweepFormat::kHtml}},
                         "Form of the report", "table")
      ->group("Output");
  AddOutputFileOption(*sweep, command->output);
  AddCommonOptions(*sweep, command->color);
  sweep->callback([command, sweep, &action] {
    command->options.given = GivenArguments(*sweep, {"batch", "precision"});
    action = [command] { return RunSweep(*command); };
  });
}

}  // namespace reusescope::cli
