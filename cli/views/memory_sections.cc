#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/text.h"
#include "cli/units.h"
#include "cli/views/sections.h"

namespace reusescope::cli {
namespace {

// Bytes of a kind over the whole step, where the memory table has such a total; else -1.
int64_t TotalOf(const MemoryTable& memory, MemoryKind kind) {
  switch (kind) {
    case MemoryKind::kParameter:
      return memory.parameter_bytes;
    case MemoryKind::kWeightCopy:
      return memory.weight_copy_bytes;
    case MemoryKind::kBuffer:
      return memory.buffer_bytes + memory.constant_bytes;
    case MemoryKind::kOptimizerState:
      return memory.optimizer_state_bytes;
    case MemoryKind::kInput:
      return memory.input_bytes;
    case MemoryKind::kParameterGradient:
      return memory.gradient_bytes;
    case MemoryKind::kActivation:
    case MemoryKind::kGradient:
    case MemoryKind::kRecomputed:
      return -1;
  }
  return -1;
}

Part KindsPart(const MemoryTable& memory) {
  Part part{.columns = {{.header = "memory"},
                        {.header = "in all", .align = Align::kNumber},
                        {.header = "at the peak", .align = Align::kNumber},
                        {.header = "share", .align = Align::kRight},
                        {.header = "", .drop = 9, .decoration = true}}};
  const MemorySample sample = memory.peak_kernel >= 0 ? memory.timeline[memory.peak_kernel] : MemorySample();
  const auto share_of = [&](int64_t bytes) {
    return sample.total_bytes > 0 ? static_cast<double>(bytes) / static_cast<double>(sample.total_bytes) : 0.0;
  };
  for (int k = 0; k < kNumMemoryKinds; ++k) {
    const MemoryKind kind = static_cast<MemoryKind>(k);
    const int64_t total = TotalOf(memory, kind);
    const int64_t at_peak = sample.bytes_by_kind[k];
    if (total <= 0 && at_peak == 0) continue;
    part.rows.push_back({std::string(MemoryKindName(kind)),
                         total < 0 ? std::string(kNotApplicable) : FormatBytes(total), FormatBytes(at_peak),
                         FormatPercent(share_of(at_peak)), Cell(ShareBar(share_of(at_peak)), Style::kQuiet)});
  }
  part.rows.emplace_back();
  part.rows.push_back({"peak", "", FormatBytes(memory.peak_bytes), "", ""});
  return part;
}

Part StashPart(const MemoryTable& memory) {
  Part part;
  part.facts = {
      {"stash, needed", absl::StrCat(FormatBytes(memory.stash_needed_bytes), " of activations kept for backward")},
      {"stash, PyTorch", absl::StrCat(FormatBytes(memory.stash_pytorch_eager_bytes), " kept by eager autograd (and ",
                                      FormatBytes(memory.stash.eager_input_bytes), " of inputs)")}};
  return part;
}

Part PeakPart(const Report& report, int top) {
  const MemoryTable& memory = report.memory;
  Part part{
      .columns = {{.header = absl::StrCat("alive at the peak: ",
                                          FormatPlural(static_cast<int64_t>(memory.live_at_peak.size()), "tensor")),
                   .flexible = true},
                  {.header = "kind"},
                  {.header = "bytes", .align = Align::kNumber},
                  {.header = "share", .align = Align::kRight}}};
  const size_t shown = std::min<size_t>(memory.live_at_peak.size(), std::max(top, 0));
  for (size_t i = 0; i < shown; ++i) {
    const LiveTensor& tensor = memory.live_at_peak[i];
    const double share =
        static_cast<double>(tensor.bytes) / static_cast<double>(std::max<int64_t>(memory.peak_bytes, 1));
    part.rows.push_back({Printable(tensor.name), std::string(MemoryKindName(tensor.kind)), FormatBytes(tensor.bytes),
                         FormatPercent(share)});
  }
  return part;
}

// The largest tensors that are kept, and what for.
Part StashListPart(const Report& report, int top) {
  Part part{.columns = {{.header = absl::StrCat("kept for backward: ",
                                                FormatPlural(static_cast<int64_t>(report.stash.size()), "tensor")),
                         .flexible = true},
                        {.header = "bytes", .align = Align::kNumber},
                        {.header = "read by"}}};
  std::vector<const StashRow*> rows;
  for (const StashRow& row : report.stash) rows.push_back(&row);
  std::stable_sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) { return a->bytes > b->bytes; });
  rows.resize(std::min<size_t>(rows.size(), std::max(top, 0)));
  for (const StashRow* row : rows) {
    const size_t more = row->readers.size() - 1;
    part.rows.push_back({Printable(row->name), FormatBytes(row->bytes),
                         absl::StrCat(Printable(row->first_reader), more > 0 ? absl::StrCat(" +", more) : "")});
  }
  return part;
}

Part FitPart(const Report& report) {
  Part part{.columns = {{.header = "device", .flexible = true},
                        {.header = "memory", .align = Align::kNumber},
                        {.header = "peak", .align = Align::kNumber},
                        {.header = "left", .align = Align::kNumber},
                        {.header = "fits"}}};
  for (const DeviceSection& device : report.devices) {
    const std::optional<int64_t>& capacity = device.roofline.device.memory_bytes;
    const std::string dash(kNotApplicable);
    const Cell verdict = !device.fits.has_value() ? Cell("not known", Style::kQuiet)
                         : *device.fits           ? Cell("yes", Style::kGood)
                                                  : Cell("no", Style::kBad);
    part.rows.push_back({Cell(Printable(device.hardware.name), Style::kHeading),
                         capacity.has_value() ? FormatBytes(*capacity) : dash, FormatBytes(report.memory.peak_bytes),
                         capacity.has_value() ? FormatBytes(*capacity - report.memory.peak_bytes) : dash, verdict});
  }
  return part;
}

}  // namespace

Section MemorySection(const Report& report, const ViewOptions& options) {
  Section section{.title = "Memory"};
  section.parts.push_back(KindsPart(report.memory));
  if (report.settings.mode == "training") section.parts.push_back(StashPart(report.memory));
  if (!report.peak_layer.empty()) {
    section.parts.push_back({.text = absl::StrCat("The peak is in the ", PhaseName(report.peak_phase), " phase, at ",
                                                  Printable(report.peak_layer),
                                                  ". Without a library's workspace and an allocator's losses.")});
  }
  const int top = std::min(options.top, 5);
  if (top > 0 && !report.memory.live_at_peak.empty()) section.parts.push_back(PeakPart(report, top));
  if (top > 0 && !report.stash.empty()) section.parts.push_back(StashListPart(report, top));
  if (!report.devices.empty()) section.parts.push_back(FitPart(report));
  return section;
}

}  // namespace reusescope::cli
