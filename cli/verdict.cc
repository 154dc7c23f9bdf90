// The report's last lines: what a reader should take away.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/report.h"
#include "cli/units.h"

namespace reusescope::cli {
namespace {

std::string StepName(const Report& report) {
  const std::string samples = FormatPlural(report.settings.batch, "sample");
  if (report.optimizer_step.has_value()) return absl::StrCat("the last micro-batch, of ", samples, ",");
  return report.settings.mode == "training" ? absl::StrCat("a step of ", samples)
                                            : absl::StrCat("inference of ", samples);
}

std::string FitClause(const Report& report, const DeviceSection& device) {
  if (!device.fits.has_value()) return "";
  const std::string peak = FormatBytes(report.memory.peak_bytes);
  const std::string capacity = FormatBytes(*device.roofline.device.memory_bytes);
  return *device.fits ? absl::StrCat("; its peak of ", peak, " fits in ", capacity)
                      : absl::StrCat("; it does not fit: the peak is ", peak, ", the memory ", capacity);
}

std::string TimeSentence(const Report& report, const DeviceSection& device) {
  const StepTime& step = device.roofline.Headline();
  const double share = step.memory_bound_share;
  const std::string bound = share >= 0.5
                                ? absl::StrCat(FormatPercent(share), " of it in kernels that wait for memory")
                                : absl::StrCat(FormatPercent(1 - share), " of it in kernels that are bound by compute");
  return absl::StrCat("On ", device.hardware.display_name, " ", StepName(report), " takes at least ",
                      FormatSeconds(step.step_seconds), " (", FormatRatio(step.samples_per_second), " samples/s), ",
                      bound, FitClause(report, device), ".");
}

// "Most would come from twice the bandwidth (-38.0 % time); twice the compute saves 6.1 %, ...".
std::string HelpSentence(const DeviceSection& device) {
  const double step = device.roofline.Headline().step_seconds;
  const double managed = device.roofline.Under(TrafficModel::kManaged).step_seconds;
  if (step <= 0) return "Nothing runs in it.";
  const std::string on_chip = FormatBytes(device.roofline.device.on_chip_bytes);
  std::vector<std::pair<double, std::string>> remedies = {
      {1 - device.step_seconds_with_twice_bandwidth / step, "twice the bandwidth"},
      {1 - device.step_seconds_with_twice_compute / step, "twice the compute"},
      {1 - managed / step, absl::StrCat("keeping what is reused in its ", on_chip, " on chip")}};
  std::stable_sort(remedies.begin(), remedies.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  return absl::StrCat("What would help most is ", remedies[0].second, " (", FormatPercent(remedies[0].first),
                      " less time), then ", remedies[1].second, " (", FormatPercent(remedies[1].first), ") and ",
                      remedies[2].second, " (", FormatPercent(remedies[2].first), ").");
}

}  // namespace

std::vector<std::string> Verdict(const Report& report) {
  std::vector<std::string> sentences;
  for (size_t d = 0; d < report.devices.size(); ++d) {
    const DeviceSection& device = report.devices[d];
    sentences.push_back(absl::StrCat(TimeSentence(report, device), " ", HelpSentence(device)));
    if (!report.optimizer_step.has_value()) continue;
    const int64_t micro_batches = report.settings.gradients.accumulate;
    const double seconds = report.optimizer_step->seconds[d];
    const auto samples = static_cast<double>(micro_batches * report.settings.batch);
    absl::StrAppend(&sentences.back(), " All ", micro_batches, " micro-batches with one update take ",
                    FormatSeconds(seconds), " (", FormatRatio(samples / seconds), " samples/s).");
  }
  if (sentences.empty()) {
    sentences.push_back(absl::StrCat(
        "Without a device: ", StepName(report), " is ", FormatCount(static_cast<double>(report.step.flops), "FLOPs"),
        " and moves ", FormatBytes(report.step.bytes), ", ", FormatRatio(report.step.intensity()),
        " FLOP per byte. Time, bounds and fit come with --hardware NAME; 'reusescope devices' lists them."));
  }
  return sentences;
}

}  // namespace reusescope::cli
