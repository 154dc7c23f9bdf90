#include "cli/devices.h"

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/device_numbers.h"
#include "cli/table_layout.h"
#include "cli/text.h"
#include "cli/units.h"

namespace reusescope::cli {
namespace {

std::string PeakCell(const Hardware& device, Arithmetic arithmetic) {
  const std::optional<double> peak = PeakOf(device, arithmetic);
  return peak.has_value() ? FormatRatio(*peak / 1e12) : std::string(kNotApplicable);
}

std::string RidgeCell(const Hardware& device) {
  const std::optional<double> ridge = RidgeOf(device);
  return ridge.has_value() ? FormatRatio(*ridge) : std::string(kNotApplicable);
}

// "cited [2]; note", numbered in the order of first use.
class SourceList {
 public:
  int NumberOf(const std::string& source) {
    const auto found = std::find(sources_.begin(), sources_.end(), source);
    if (found != sources_.end()) return static_cast<int>(found - sources_.begin()) + 1;
    sources_.push_back(source);
    return static_cast<int>(sources_.size());
  }
  const std::vector<std::string>& sources() const { return sources_; }

 private:
  std::vector<std::string> sources_;
};

std::string Facts(const Hardware& device) {
  std::vector<std::string> facts = {device.name, std::string(HardwareKindName(device.kind))};
  if (!device.announced.empty()) facts.push_back(absl::StrCat("announced ", device.announced));
  if (!device.aliases.empty()) facts.push_back(absl::StrCat("also called ", absl::StrJoin(device.aliases, ", ")));
  return absl::StrJoin(facts, " · ");
}

// Wrapped to the terminal, later lines indented further.
std::string Hanging(absl::string_view text, const Terminal& terminal) {
  std::string out;
  for (const std::string& line : Wrap(text, terminal.width - 6)) {
    absl::StrAppend(&out, out.empty() ? "  " : "      ", line, "\n");
  }
  return out;
}

std::string RenderNumbers(const Hardware& device, const Terminal& terminal, SourceList& sources) {
  TableLayout table({{.header = "number", .flexible = true},
                     {.header = "value", .align = Align::kNumber},
                     {.header = "standing"},
                     {.header = "source", .align = Align::kRight}});
  std::string notes;
  for (const SourcedNumber& number : Provenance(device)) {
    std::string source(kNotApplicable);
    if (!number.source.empty()) {
      const std::string dated =
          number.retrieved.empty() ? number.source : absl::StrCat(number.source, " (", number.retrieved, ")");
      source = absl::StrCat("[", sources.NumberOf(dated), "]");
    }
    table.AddRow({number.label, NumberCell(number), std::string(StandingName(number.standing)), source});
    if (!number.note.empty()) absl::StrAppend(&notes, Hanging(absl::StrCat(number.label, ": ", number.note), terminal));
  }
  return absl::StrCat(table.Render(terminal.width, terminal.palette), notes.empty() ? "" : "\n", notes);
}

}  // namespace

std::optional<double> PeakOf(const Hardware& device, Arithmetic arithmetic) {
  std::optional<double> best;
  for (const Peak& peak : device.peaks) {
    if (peak.arithmetic != arithmetic && peak.arithmetic != Arithmetic::kAny) continue;
    if (peak.accumulate_bits < 32) continue;
    if (!best.has_value() || peak.flops_per_second > *best) best = peak.flops_per_second;
  }
  return best;
}

std::optional<double> PeakOf16(const Hardware& device) {
  const std::optional<double> bf16 = PeakOf(device, Arithmetic::kBf16);
  return bf16.has_value() ? bf16 : PeakOf(device, Arithmetic::kFp16);
}

std::optional<double> RidgeOf(const Hardware& device) {
  std::optional<double> peak = PeakOf16(device);
  if (!peak.has_value()) peak = PeakOf(device, Arithmetic::kFp32);
  if (!peak.has_value()) return std::nullopt;
  return *peak / device.memory_bandwidth_bytes_per_second;
}

std::string NumberCell(const SourcedNumber& number) {
  if (number.unit == "FLOP/s") return FormatRate(number.value, "FLOP");
  if (number.unit == "B/s") return FormatRate(number.value, "B");
  if (number.unit == "B" && number.value < 4e9) return FormatBytes(static_cast<int64_t>(number.value));
  if (number.unit == "B") return absl::StrCat(FormatCount(number.value), "B");
  if (number.unit == "1") return FormatRatio(number.value);
  if (number.unit == "year") return absl::StrCat(static_cast<int64_t>(number.value));
  return absl::StrCat(FormatRatio(number.value), " ", number.unit);
}

absl::StatusOr<Hardware> ResolveHardware(const std::string& text) {
  if (absl::StrContains(text, '=')) return ParseThreeNumbers(text);
  if (absl::EndsWith(text, ".textproto")) return LoadDeviceFile(text);
  return FindDevice(text);
}

std::string RenderDeviceList(const std::vector<Hardware>& devices, const Terminal& terminal) {
  TableLayout table({{.header = "device"},
                     {.header = "name", .drop = 3},
                     {.header = "memory", .align = Align::kNumber},
                     {.header = "bandwidth", .align = Align::kNumber},
                     {.header = "on chip", .align = Align::kNumber},
                     {.header = "fp32", .align = Align::kRight},
                     {.header = "tf32", .align = Align::kRight, .drop = 2},
                     {.header = "bf16", .align = Align::kRight},
                     {.header = "fp16", .align = Align::kRight},
                     {.header = "fp8", .align = Align::kRight, .drop = 1},
                     {.header = "ridge", .align = Align::kRight},
                     {.header = "power", .align = Align::kNumber, .drop = 4}});
  for (const Hardware& device : devices) {
    table.AddRow({Cell(device.name, Style::kHeading), device.display_name,
                  device.memory_capacity_bytes.has_value()
                      ? absl::StrCat(FormatCount(static_cast<double>(*device.memory_capacity_bytes)), "B")
                      : std::string(kNotApplicable),
                  FormatRate(device.memory_bandwidth_bytes_per_second, "B"), FormatBytes(device.on_chip.capacity_bytes),
                  PeakCell(device, Arithmetic::kFp32), PeakCell(device, Arithmetic::kTf32),
                  PeakCell(device, Arithmetic::kBf16), PeakCell(device, Arithmetic::kFp16),
                  PeakCell(device, Arithmetic::kFp8), RidgeCell(device),
                  device.power_watts.has_value() ? absl::StrCat(FormatRatio(*device.power_watts), " W")
                                                 : std::string(kNotApplicable)});
  }
  return absl::StrCat(
      table.Render(terminal.width, terminal.palette),
      "\n  Peaks in TFLOP/s, dense, accumulated in 32 bits. Ridge: FLOP per byte at the 16-bit peak (fp32 "
      "where\n  there is none). 'reusescope devices NAME' gives the source of every number.\n");
}

std::string RenderDevice(const Hardware& device, const Terminal& terminal) {
  SourceList sources;
  std::string out = absl::StrCat(terminal.palette.Paint(device.display_name, Style::kHeading), "\n  ", Facts(device),
                                 "\n\n", RenderNumbers(device, terminal, sources));
  if (!sources.sources().empty()) absl::StrAppend(&out, "\n");
  int number = 0;
  for (const std::string& source : sources.sources()) {
    absl::StrAppend(&out, Hanging(absl::StrCat("[", ++number, "] ", source), terminal));
  }
  for (const auto& [rule, reason] : device.waivers) {
    absl::StrAppend(&out, "\n  breaks the rule '", rule, "' on purpose: ", reason, "\n");
  }
  return out;
}

}  // namespace reusescope::cli
