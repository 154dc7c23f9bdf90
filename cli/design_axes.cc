// Axes and cost weights as people type them.

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "analysis/ir/status_util.h"
#include "cli/design_space.h"
#include "cli/options.h"
#include "hwdb/quantity.h"

namespace reusescope::cli {
namespace {

constexpr size_t kMostValues = 10'000;

// "from:to:xF", "from:to:+step" or "a,b,c" with a parser of one value, which is also that of the step.
template <typename T, typename Parse>
absl::StatusOr<std::vector<T>> ParseAxis(absl::string_view text, absl::string_view example, Parse parse) {
  std::vector<T> values;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() == 1) {
    for (const absl::string_view part : absl::StrSplit(text, ',')) {
      RS_ASSIGN_OR_RETURN(const T value, parse(part));
      values.push_back(value);
    }
  } else {
    absl::string_view step = parts.back();
    if (parts.size() != 3 || step.size() < 2 || (step[0] != 'x' && step[0] != '+')) {
      return absl::InvalidArgumentError(
          absl::StrCat("found '", text, "', expected FROM:TO:xFACTOR, FROM:TO:+STEP or a list, as in ", example));
    }
    RS_ASSIGN_OR_RETURN(const T from, parse(parts[0]));
    RS_ASSIGN_OR_RETURN(const T to, parse(parts[1]));
    double factor = 1, add = 0;
    if (step[0] == 'x') {
      if (!absl::SimpleAtod(step.substr(1), &factor) || !(factor > 1) || !(from > 0)) {
        return absl::InvalidArgumentError(
            absl::StrCat("found '", text, "', expected a start above 0 and a factor above 1, as in ", example));
      }
    } else {
      RS_ASSIGN_OR_RETURN(const T parsed, parse(step.substr(1)));
      add = static_cast<double>(parsed);
    }
    if (from > to || (factor == 1 && !(add > 0))) {
      return absl::InvalidArgumentError(absl::StrCat("found '", text, "', which holds no value, as in ", example));
    }
    // A last value that misses the end by rounding is the end.
    const double end = static_cast<double>(to) * (1 + 1e-9);
    for (double value = static_cast<double>(from); value <= end; value = value * factor + add) {
      values.push_back(static_cast<T>(value));
      if (values.size() > kMostValues) {
        return absl::InvalidArgumentError(
            absl::StrCat("found '", text, "', more than ", kMostValues, " values; take a larger step"));
      }
    }
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// "10T" is "10TFLOP/s".
absl::StatusOr<double> ParseThroughput(absl::string_view text) {
  absl::StatusOr<double> whole = ParseFlopsPerSecond(text);
  if (whole.ok()) return whole;
  const absl::StatusOr<double> completed = ParseFlopsPerSecond(absl::StrCat(text, "FLOP/s"));
  return completed.ok() ? completed : whole;
}

// "0.4/MiB": 0.4 for every MiB; "12/100GB/s": 12 for every 100 GB/s. Returns the price of one unit.
template <typename Parse>
absl::StatusOr<double> ParseWeight(absl::string_view text, Parse parse) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
  double price = 0;
  if (parts.size() == 2 && absl::SimpleAtod(parts[0], &price) && price >= 0 && std::isfinite(price)) {
    // "MiB" alone is one of them.
    auto amount = parse(std::string(parts[1]));
    if (!amount.ok()) amount = parse(absl::StrCat("1", parts[1]));
    if (amount.ok() && *amount > 0) return price / static_cast<double>(*amount);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("found weight '", text, "', expected a price for an amount, as in 0.4/MiB or 12/100GB/s"));
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> ParseCapacities(absl::string_view text) {
  return ParseAxis<int64_t>(text, "1MiB:1GiB:x2", ParseBytes);
}

absl::StatusOr<std::vector<double>> ParseBandwidths(absl::string_view text) {
  return ParseAxis<double>(text, "100GB/s:8TB/s:x2", ParseBytesPerSecond);
}

absl::StatusOr<std::vector<double>> ParseThroughputs(absl::string_view text) {
  return ParseAxis<double>(text, "10T:2P:x2", ParseThroughput);
}

absl::StatusOr<std::vector<int64_t>> ParseBatches(absl::string_view text) {
  return ParseAxis<int64_t>(text, "8,32,128", ParsePositive);
}

absl::StatusOr<CostWeights> ParseCostWeights(absl::string_view text) {
  CostWeights weights;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> pair = absl::StrSplit(part, absl::MaxSplits('=', 1));
    const absl::string_view key = pair[0], value = pair.size() == 2 ? pair[1] : "";
    if (key == "capacity") {
      RS_ASSIGN_OR_RETURN(weights.per_capacity_byte, ParseWeight(value, ParseBytes));
    } else if (key == "bandwidth") {
      RS_ASSIGN_OR_RETURN(weights.per_bandwidth_byte_per_second, ParseWeight(value, ParseBytesPerSecond));
    } else if (key == "throughput") {
      RS_ASSIGN_OR_RETURN(weights.per_flop_per_second, ParseWeight(value, ParseThroughput));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("found '", part,
                       "', expected capacity=, bandwidth= or throughput= and a price for an amount, "
                       "as in capacity=0.4/MiB,bandwidth=12/100GB/s"));
    }
  }
  return weights;
}

}  // namespace reusescope::cli
