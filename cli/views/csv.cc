#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/views/views.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

// Quoted when it has a comma, a quote or a line end. A leading = + - @ would be a formula in a spreadsheet.
std::string Field(const std::string& text) {
  const bool formula = !text.empty() && std::string("=+-@").find(text[0]) != std::string::npos;
  const std::string safe = formula ? absl::StrCat("'", text) : text;
  if (safe.find_first_of(",\"\r\n") == std::string::npos) return safe;
  return absl::StrCat("\"", absl::StrReplaceAll(safe, {{"\"", "\"\""}}), "\"");
}

// As short as a double can be written without loss.
std::string Number(double value) { return fmt::format("{}", value); }

std::string OptionalFactor(double factor) { return factor > 0 ? Number(factor) : ""; }

std::vector<std::string> Header(const Report& report) {
  std::vector<std::string> names = {"name",
                                    "module",
                                    "op",
                                    "phase",
                                    "block",
                                    "macs",
                                    "flops",
                                    "contraction_flops",
                                    "transcendentals",
                                    "bytes",
                                    "intensity",
                                    "weight_reuse",
                                    "input_reuse",
                                    "convolutional_reuse",
                                    "partial_sum_reuse"};
  for (const DeviceSection& device : report.devices) {
    names.push_back(absl::StrCat("seconds:", device.hardware.name));
    names.push_back(absl::StrCat("bound:", device.hardware.name));
  }
  return names;
}

}  // namespace

std::string RenderCsv(const Report& report) {
  std::string out;
  const auto append_row = [&out](const std::vector<std::string>& fields) {
    absl::StrAppend(&out, absl::StrJoin(fields, ",", [](std::string* o, const std::string& f) { *o += Field(f); }),
                    "\r\n");
  };
  append_row(Header(report));
  for (const LayerRow& layer : report.layers) {
    const ReuseFactors& factors = layer.reuse_factors;
    // What is not known is empty, not 0.
    const auto count = [&](int64_t value) { return layer.known ? absl::StrCat(value) : std::string(); };
    std::vector<std::string> fields = {layer.name,
                                       layer.module,
                                       layer.op,
                                       std::string(PhaseName(layer.phase)),
                                       layer.block,
                                       count(layer.work.macs),
                                       count(layer.work.flops),
                                       count(layer.work.contraction_flops),
                                       count(layer.work.transcendentals),
                                       absl::StrCat(layer.work.bytes),
                                       layer.known ? Number(layer.work.intensity()) : "",
                                       OptionalFactor(factors.weight),
                                       OptionalFactor(factors.input),
                                       OptionalFactor(factors.convolutional),
                                       OptionalFactor(factors.partial_sum)};
    for (const LayerTime& time : layer.times) {
      fields.push_back(Number(time.seconds));
      fields.push_back(std::string(BoundName(time.bound)));
    }
    append_row(fields);
  }
  return out;
}

}  // namespace reusescope::cli
