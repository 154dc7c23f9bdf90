#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/text.h"
#include "cli/units.h"
#include "cli/views/sections.h"

namespace reusescope::cli {
namespace {

constexpr size_t kTensorsShown = 3;

std::string TensorList(const std::vector<TensorRow>& rows) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(rows.size(), kTensorsShown); ++i) {
    texts.push_back(absl::StrCat(Printable(rows[i].name), " ", rows[i].type));
  }
  if (rows.size() > kTensorsShown) texts.push_back(absl::StrCat("and ", rows.size() - kTensorsShown, " more"));
  return rows.empty() ? std::string(kNotApplicable) : absl::StrJoin(texts, ", ");
}

std::string FileFacts(const ModelFacts& facts) {
  std::vector<std::string> opsets;
  for (const auto& [domain, version] : facts.opsets) {
    opsets.push_back(absl::StrCat(domain.empty() ? "opset" : Printable(domain), " ", version));
  }
  std::vector<std::string> texts;
  if (!facts.producer.empty()) texts.push_back(Printable(facts.producer));
  texts.push_back(absl::StrCat("IR ", facts.ir_version));
  if (!opsets.empty()) texts.push_back(absl::StrJoin(opsets, ", "));
  texts.push_back(FormatPlural(facts.nodes, "node"));
  return absl::StrJoin(texts, " · ");
}

std::string SettingsText(const SettingsSection& settings) {
  std::vector<std::string> texts = {settings.mode, FormatPlural(settings.batch, "sample"), settings.precision};
  for (const auto& [name, size] : settings.dims) texts.push_back(absl::StrCat(Printable(name), " = ", size));
  if (!settings.optimizer.empty()) texts.push_back(settings.optimizer);
  const GradientHandling& gradients = settings.gradients;
  if (gradients.clip_norm > 0) texts.push_back(absl::StrCat("norm clipped to ", gradients.clip_norm));
  if (gradients.accumulate > 1) texts.push_back(absl::StrCat("last of ", gradients.accumulate, " micro-batches"));
  if (gradients.loss_scale != 1) texts.push_back(absl::StrCat("loss scaled by ", gradients.loss_scale));
  const bool recomputes = !settings.checkpoint.empty() && settings.checkpoint != "none";
  if (recomputes) texts.push_back(absl::StrCat("checkpoint ", Printable(settings.checkpoint)));
  if (!settings.recognize) texts.push_back("as exported (nothing recognized)");
  return absl::StrJoin(texts, " · ");
}

std::string CoverageText(const Coverage& coverage) {
  const std::string nodes =
      absl::StrCat(FormatExact(coverage.known_nodes), " of ", FormatPlural(coverage.nodes, "node"));
  const double share =
      coverage.bytes > 0 ? static_cast<double>(coverage.known_bytes) / static_cast<double>(coverage.bytes) : 1;
  return absl::StrCat(nodes, " understood, ", FormatPercent(share), " of the bytes");
}

// "12 attention, 25 LayerNormalization".
std::string RecognizedText(const Report& report) {
  return absl::StrJoin(report.recognized, ", ", [](std::string* out, const std::pair<std::string, int>& row) {
    absl::StrAppend(out, FormatExact(row.second), " ", row.first);
  });
}

Part UnknownOperators(const Coverage& coverage) {
  Part part{.columns = {{.header = "not understood (FLOPs missing)"},
                        {.header = "nodes", .align = Align::kRight},
                        {.header = "bytes", .align = Align::kNumber},
                        {.header = "for example", .flexible = true}}};
  for (const UnknownOperator& op : coverage.unknown_operators) {
    part.rows.push_back(
        {Cell(Printable(op.op), Style::kBad), FormatExact(op.nodes), FormatBytes(op.bytes), Printable(op.example)});
  }
  return part;
}

std::string Fraction(const std::optional<double>& fraction) {
  return fraction.has_value() ? FormatPercent(*fraction) : std::string(kNotApplicable);
}

}  // namespace

Section ModelSectionOf(const Report& report) {
  const ModelFacts& facts = report.model.facts;
  Section section{.title = Printable(facts.file)};
  Part part;
  part.facts = {{"file", FileFacts(facts)},
                {"parameters",
                 absl::StrCat(FormatExact(facts.parameters), " in ", FormatPlural(facts.parameter_tensors, "tensor"),
                              ", ", FormatBytes(report.model.parameter_bytes))},
                {"inputs", TensorList(report.model.inputs)},
                {"outputs", TensorList(report.model.outputs)},
                {"step", SettingsText(report.settings)}};
  if (!report.settings.loss_description.empty()) {
    part.facts.emplace_back("loss", Printable(report.settings.loss_description));
  }
  part.facts.emplace_back("coverage", CoverageText(report.coverage));
  if (!report.recognized.empty()) part.facts.emplace_back("recognized", RecognizedText(report));
  section.parts.push_back(std::move(part));
  if (!report.coverage.unknown_operators.empty()) section.parts.push_back(UnknownOperators(report.coverage));
  return section;
}

Section NotesSection(const Report& report) {
  Section section;
  for (const std::string& note : report.notes) {
    section.parts.push_back({.text = absl::StrCat("note: ", Printable(note)), .style = Style::kWarning});
  }
  return section;
}

Section DevicesSection(const Report& report) {
  const absl::StatusOr<PrecisionMode> precision = PrecisionFromName(report.settings.precision);
  const absl::string_view arithmetic = precision.ok() ? MatrixArithmetic(*precision) : "";
  Section section{.title = report.devices.size() == 1 ? "Device" : "Devices"};
  Part part{.columns = {{.header = "device", .flexible = true},
                        {.header = absl::StrCat("matrix ", arithmetic), .align = Align::kNumber},
                        {.header = "of peak", .align = Align::kRight},
                        {.header = "vector", .align = Align::kNumber},
                        {.header = "bandwidth", .align = Align::kNumber},
                        {.header = "of peak", .align = Align::kRight, .drop = 1},
                        {.header = "ridge FLOP/B", .align = Align::kRight},
                        {.header = "on chip", .align = Align::kNumber, .drop = 2}}};
  for (const DeviceSection& device : report.devices) {
    const RooflineDevice& rates = device.roofline.device;
    part.rows.push_back({Cell(Printable(rates.name), Style::kHeading),
                         FormatRate(rates.matrix_flops_per_second, "FLOP"), Fraction(rates.matrix_fraction),
                         FormatRate(rates.vector_flops_per_second, "FLOP"),
                         FormatRate(rates.bandwidth_bytes_per_second, "B"), Fraction(rates.bandwidth_fraction),
                         FormatRatio(rates.ridge_flops_per_byte()), FormatBytes(rates.on_chip_bytes)});
  }
  section.parts.push_back(std::move(part));
  section.parts.push_back(
      {.text = report.settings.bare_peak
                   ? "Bare peaks (--peak): what vendors print, which no program reaches."
                   : "Rates are peaks times the fraction that was measured and published (of peak); "
                     "- where none was: then the bare peak. --peak uses bare peaks throughout.",
       .style = Style::kQuiet});
  for (const DeviceSection& device : report.devices) {
    for (const std::string& note : device.roofline.device.notes) {
      section.parts.push_back({.text = absl::StrCat(Printable(device.roofline.device.name), ": ", Printable(note)),
                               .style = Style::kWarning});
    }
  }
  return section;
}

}  // namespace reusescope::cli
