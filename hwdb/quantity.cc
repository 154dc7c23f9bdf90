#include "hwdb/quantity.h"

#include <cmath>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace reusescope {
namespace {

constexpr absl::string_view kPrefixes = "kmgtpe";

absl::Status Malformed(absl::string_view text, absl::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("found '", text, "', expected ", expected));
}

// Length of the leading decimal number: digits, one point, an exponent. "1e14FLOP" has 4, "1EB" has 1.
size_t NumberLength(absl::string_view text) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t start = i;
    while (i < text.size() && absl::ascii_isdigit(text[i])) ++i;
    return i > start;
  };
  bool any = digits();
  if (i < text.size() && text[i] == '.') {
    ++i;
    any = digits() || any;
  }
  if (!any) return 0;
  const size_t mantissa = i;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!digits()) i = mantissa;
  }
  return i;
}

struct Split {
  double number = 0;
  std::string unit;  // lower case
};

std::optional<Split> SplitNumber(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  const size_t length = NumberLength(text);
  Split split;
  if (length == 0 || !absl::SimpleAtod(text.substr(0, length), &split.number)) return std::nullopt;
  absl::string_view unit = text.substr(length);
  absl::ConsumePrefix(&unit, " ");
  split.unit = absl::AsciiStrToLower(unit);
  return split;
}

// 1 for "", 1e12 for "t", 2^20 for "mi".
std::optional<double> PrefixFactor(absl::string_view prefix) {
  if (prefix.empty()) return 1;
  const size_t power = kPrefixes.find(prefix[0]) + 1;  // npos + 1 is 0
  if (power == 0) return std::nullopt;
  if (prefix.size() == 1) return std::pow(1000.0, static_cast<double>(power));
  if (prefix.size() == 2 && prefix[1] == 'i') return std::pow(1024.0, static_cast<double>(power));
  return std::nullopt;
}

// The factor of a unit that ends in one of `endings` ("b/s", "bps"), with a prefix before it.
template <size_t N>
std::optional<double> UnitFactor(absl::string_view unit, const absl::string_view (&endings)[N]) {
  for (const absl::string_view ending : endings) {
    absl::string_view prefix = unit;
    if (!absl::ConsumeSuffix(&prefix, ending)) continue;
    if (const std::optional<double> factor = PrefixFactor(prefix)) return factor;
  }
  return std::nullopt;
}

template <size_t N>
absl::StatusOr<double> ParseRate(absl::string_view text, const absl::string_view (&endings)[N],
                                 absl::string_view expected) {
  const std::optional<Split> split = SplitNumber(text);
  if (!split) return Malformed(text, expected);
  const std::optional<double> factor = UnitFactor(split->unit, endings);
  if (!factor) return Malformed(text, expected);
  const double value = split->number * *factor;
  if (!(value > 0) || !std::isfinite(value))
    return Malformed(text, absl::StrCat("a positive, finite rate: ", expected));
  return value;
}

}  // namespace

absl::StatusOr<int64_t> ParseBytes(absl::string_view text) {
  constexpr absl::string_view kExpected = "a number of bytes with its unit, for example '96MiB' or '80GB'";
  static constexpr absl::string_view kEndings[] = {"bytes", "byte", "b"};
  const std::optional<Split> split = SplitNumber(text);
  if (!split) return Malformed(text, kExpected);
  std::optional<double> factor = UnitFactor(split->unit, kEndings);
  if (split->unit.empty() && split->number == std::floor(split->number)) factor = 1;
  if (!factor) return Malformed(text, kExpected);
  const double bytes = std::round(split->number * *factor);
  // 2^63 as a double: the largest double below it is a valid int64_t.
  if (!(bytes < 9223372036854775808.0)) return Malformed(text, "less than 8 EiB");
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<double> ParseBytesPerSecond(absl::string_view text) {
  static constexpr absl::string_view kEndings[] = {"b/s", "bps", "byte/s", "bytes/s"};
  constexpr absl::string_view kExpected = "bytes per second with their unit, for example '1.5 GB/s' or '1TB/s'";
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  if (absl::EndsWith(trimmed, "b/s") || absl::EndsWith(trimmed, "bps")) {
    return Malformed(text, absl::StrCat(kExpected, " (a lower-case b would be bits)"));
  }
  return ParseRate(text, kEndings, kExpected);
}

absl::StatusOr<double> ParseFlopsPerSecond(absl::string_view text) {
  static constexpr absl::string_view kEndings[] = {"flop/s", "flops/s", "flops", "op/s", "ops/s", "ops"};
  return ParseRate(text, kEndings, "FLOP per second with their unit, for example '100TFLOP/s' or '312 TFLOPS'");
}

}  // namespace reusescope
