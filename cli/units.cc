#include "cli/units.h"

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

// Three significant digits of a number below 1024, with the point where it belongs.
std::string ThreeDigits(double value) {
  const double magnitude = std::fabs(value);
  if (magnitude < 9.995) return fmt::format("{:.2f}", value);
  if (magnitude < 99.95) return fmt::format("{:.1f}", value);
  return fmt::format("{:.0f}", value);
}

// The prefix whose scaled value is below `base` after rounding to three digits.
template <size_t kSize>
std::string Scaled(double value, double base, const std::array<absl::string_view, kSize>& prefixes,
                   absl::string_view unit) {
  size_t prefix = 0;
  while (std::fabs(value) >= base - 0.5 && prefix + 1 < kSize) {
    value /= base;
    ++prefix;
  }
  const bool whole = prefix == 0 && value == std::round(value);
  const std::string number = whole ? fmt::format("{:.0f}", value) : ThreeDigits(value);
  const std::string suffix = absl::StrCat(prefixes[prefix], unit);
  return suffix.empty() ? number : absl::StrCat(number, " ", suffix);
}

constexpr std::array<absl::string_view, 7> kSiPrefixes = {"", "k", "M", "G", "T", "P", "E"};
constexpr std::array<absl::string_view, 7> kIecPrefixes = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

}  // namespace

std::string FormatCount(double count, absl::string_view unit) {
  if (!std::isfinite(count)) return std::string(kNotApplicable);
  return Scaled(count, 1000, kSiPrefixes, unit);
}

std::string FormatBytes(int64_t bytes) { return Scaled(static_cast<double>(bytes), 1024, kIecPrefixes, "B"); }

std::string FormatRate(double per_second, absl::string_view unit) {
  if (!std::isfinite(per_second)) return std::string(kNotApplicable);
  return Scaled(per_second, 1000, kSiPrefixes, absl::StrCat(unit, "/s"));
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds)) return std::string(kNotApplicable);
  const double magnitude = std::fabs(seconds);
  if (magnitude == 0) return "0 s";
  if (magnitude < 999.5e-9) return absl::StrCat(ThreeDigits(seconds * 1e9), " ns");
  if (magnitude < 999.5e-6) return absl::StrCat(ThreeDigits(seconds * 1e6), " µs");
  if (magnitude < 999.5e-3) return absl::StrCat(ThreeDigits(seconds * 1e3), " ms");
  if (magnitude < 119.5) return absl::StrCat(ThreeDigits(seconds), " s");
  if (magnitude < 119.5 * 60) return absl::StrCat(ThreeDigits(seconds / 60), " min");
  if (magnitude < 99950.0 * 3600) return absl::StrCat(ThreeDigits(seconds / 3600), " h");
  return fmt::format("{:.2e} h", seconds / 3600);
}

std::string FormatRatio(double ratio) {
  if (!std::isfinite(ratio)) return std::string(kNotApplicable);
  const double magnitude = std::fabs(ratio);
  if (magnitude == 0) return "0";
  if (magnitude < 0.001) return fmt::format("{:.2e}", ratio);
  if (magnitude < 0.9995) return fmt::format("{:.3f}", ratio);
  if (magnitude < 999.5) return ThreeDigits(ratio);
  if (magnitude < 99999.5) return FormatExact(std::llround(ratio));
  return FormatCount(ratio);
}

std::string FormatPercent(double share) {
  if (!std::isfinite(share)) return std::string(kNotApplicable);
  const double percent = 100 * share;
  if (percent != 0 && std::fabs(percent) < 0.05) return "<0.1 %";
  return fmt::format("{:.1f} %", percent);
}

std::string FormatExact(int64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    if (i > 0 && left % 3 == 0 && digits[i - 1] != '-') out += ',';
    out += digits[i];
  }
  return out;
}

std::string FormatPlural(int64_t count, absl::string_view noun) {
  return absl::StrCat(FormatExact(count), " ", noun, count == 1 ? "" : "s");
}

}  // namespace reusescope::cli
