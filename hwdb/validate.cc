// Validate: the rules that every entry obeys.

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "hwdb/hardware.h"

namespace reusescope {
namespace {

// Published figures are rounded: 362.05 and 733 are meant to be 1 to 2.
constexpr double kRoundingTolerance = 0.03;
constexpr double kMinRidgeFlopsPerByte = 20, kMaxRidgeFlopsPerByte = 3000;
// Reserves and error correction take some; a label in GB may stand for GiB, which are 1.074 as many bytes.
constexpr double kMinUsableShare = 0.9, kMaxUsableShare = 1.08;

// The rules that an entry may waive. Each returns what it found and expected, or an empty string.
struct Rule {
  absl::string_view name;
  std::string (*check)(const Hardware&);
};

double MatrixPeak(const Hardware& hardware, Arithmetic arithmetic) {
  double best = 0;
  for (const Peak& peak : hardware.peaks) {
    if (peak.unit == ComputeUnit::kMatrix && peak.arithmetic == arithmetic && peak.accumulate_bits == 32) {
      best = std::max(best, peak.flops_per_second);
    }
  }
  return best;
}

bool Near(double a, double b) { return std::abs(a - b) <= kRoundingTolerance * b; }

std::string CheckFp16EqualsBf16(const Hardware& hardware) {
  const double fp16 = MatrixPeak(hardware, Arithmetic::kFp16), bf16 = MatrixPeak(hardware, Arithmetic::kBf16);
  if (fp16 == 0 || bf16 == 0 || Near(fp16, bf16)) return "";
  return absl::StrCat("found fp16 ", fp16, " and bf16 ", bf16, " FLOP/s, expected them equal");
}

std::string CheckFp8TwiceFp16(const Hardware& hardware) {
  const double wide = std::max(MatrixPeak(hardware, Arithmetic::kFp16), MatrixPeak(hardware, Arithmetic::kBf16));
  const double fp8 = MatrixPeak(hardware, Arithmetic::kFp8);
  if (wide == 0 || fp8 == 0 || Near(fp8, 2 * wide)) return "";
  return absl::StrCat("found fp8 ", fp8, " FLOP/s, expected twice the 16-bit peak, ", 2 * wide);
}

std::string CheckRidgePoint(const Hardware& hardware) {
  if (hardware.kind == HardwareKind::kCustom) return "";  // an experiment may be anywhere
  double peak = std::max(MatrixPeak(hardware, Arithmetic::kFp16), MatrixPeak(hardware, Arithmetic::kBf16));
  if (peak == 0) {
    for (const Peak& row : hardware.peaks) {
      if (row.unit == ComputeUnit::kMatrix) peak = std::max(peak, row.flops_per_second);
    }
  }
  const double ridge = peak / hardware.memory_bandwidth_bytes_per_second;
  if (peak == 0 || (ridge >= kMinRidgeFlopsPerByte && ridge <= kMaxRidgeFlopsPerByte)) return "";
  return absl::StrCat("found a ridge point of ", ridge, " FLOP/B, expected ", kMinRidgeFlopsPerByte, " to ",
                      kMaxRidgeFlopsPerByte);
}

std::string CheckUsableMemory(const Hardware& hardware) {
  if (!hardware.usable_memory_bytes || !hardware.memory_capacity_bytes) return "";
  const double share =
      static_cast<double>(*hardware.usable_memory_bytes) / static_cast<double>(*hardware.memory_capacity_bytes);
  if (share >= kMinUsableShare && share <= kMaxUsableShare) return "";
  return absl::StrCat("found usable memory of ", share, " times the label, expected ", kMinUsableShare, " to ",
                      kMaxUsableShare);
}

constexpr Rule kWaivableRules[] = {
    {"fp16_equals_bf16", CheckFp16EqualsBf16},
    {"fp8_twice_fp16", CheckFp8TwiceFp16},
    {"ridge_point", CheckRidgePoint},
    {"usable_memory", CheckUsableMemory},
};

bool IsPositive(double value) { return std::isfinite(value) && value > 0; }

// "2026-11-21", or a shorter form of it down to the month or (if allowed) the year.
bool IsDate(absl::string_view date, bool year_suffices) {
  constexpr absl::string_view kForm = "dddd-dd-dd";
  if (date.size() != 10 && date.size() != 7 && !(year_suffices && date.size() == 4)) return false;
  for (size_t i = 0; i < date.size(); ++i) {
    if (kForm[i] == 'd' ? !absl::ascii_isdigit(date[i]) : date[i] != kForm[i]) return false;
  }
  return true;
}

std::string CheckNames(const Hardware& hardware) {
  if (hardware.name.empty()) return "found no name, expected one";
  if (hardware.kind == HardwareKind::kCustom) return "";
  for (const char c : hardware.name) {
    if (absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-') continue;
    return absl::StrCat("found name '", hardware.name, "', expected lower-case letters, digits and dashes");
  }
  if (hardware.display_name.empty()) return "found no display name, expected one";
  if (hardware.vendor.empty()) return "found no vendor, expected one";
  if (!hardware.announced.empty() && !IsDate(hardware.announced, /*year_suffices=*/true)) {
    return absl::StrCat("found announcement date '", hardware.announced, "', expected YYYY, YYYY-MM or YYYY-MM-DD");
  }
  return "";
}

std::string CheckPeaks(const Hardware& hardware) {
  if (hardware.peaks.empty()) return "found no peak, expected at least one";
  for (size_t i = 0; i < hardware.peaks.size(); ++i) {
    const Peak& peak = hardware.peaks[i];
    const std::string what = absl::StrCat("peak ", ArithmeticName(peak.arithmetic), ": ");
    if (!IsPositive(peak.flops_per_second)) {
      return absl::StrCat(what, "found ", peak.flops_per_second, " FLOP/s, expected a positive number");
    }
    if (peak.accumulate_bits != 16 && peak.accumulate_bits != 32 && peak.accumulate_bits != 64) {
      return absl::StrCat(what, "found a ", peak.accumulate_bits, "-bit accumulator, expected 16, 32 or 64");
    }
    const double sparse = peak.sparse_flops_per_second.value_or(peak.flops_per_second);
    if (!std::isfinite(sparse) || sparse < peak.flops_per_second) {
      return absl::StrCat(what, "found ", peak.flops_per_second, " FLOP/s dense and ", sparse,
                          " sparse, expected dense <= sparse");
    }
    for (size_t j = 0; j < i; ++j) {
      const Peak& other = hardware.peaks[j];
      if (std::tie(peak.arithmetic, peak.accumulate_bits, peak.unit) ==
          std::tie(other.arithmetic, other.accumulate_bits, other.unit)) {
        return absl::StrCat(what, "found two rows of one unit and accumulator, expected one");
      }
    }
  }
  return "";
}

std::string CheckOnChip(const OnChipMemory& memory) {
  if (memory.capacity_bytes <= 0 || memory.instances <= 0) {
    return absl::StrCat("on-chip memory '", memory.name, "': found ", memory.capacity_bytes, " bytes in ",
                        memory.instances, " instances, expected positive numbers");
  }
  return memory.name.empty() ? "found an on-chip memory without a name, expected one" : "";
}

std::string CheckMagnitudes(const Hardware& hardware) {
  const auto positive = [](absl::string_view what, double value) {
    return IsPositive(value) ? "" : absl::StrCat("found ", what, " ", value, ", expected a positive number");
  };
  const auto fraction = [](absl::string_view what, double value) {
    return value > 0 && value <= 1 ? "" : absl::StrCat("found ", what, " ", value, ", expected within (0, 1]");
  };
  std::vector<std::string> found = {positive("memory bandwidth", hardware.memory_bandwidth_bytes_per_second),
                                    CheckOnChip(hardware.on_chip)};
  for (const OnChipMemory& level : hardware.inner_levels) found.push_back(CheckOnChip(level));
  for (const auto& bytes : {hardware.memory_capacity_bytes, hardware.usable_memory_bytes}) {
    if (bytes) found.push_back(positive("memory capacity", static_cast<double>(*bytes)));
  }
  if (hardware.power_watts) found.push_back(positive("power", *hardware.power_watts));
  if (hardware.link) found.push_back(positive("link bandwidth", hardware.link->bytes_per_second));
  if (hardware.price_usd) found.push_back(positive("price", *hardware.price_usd));
  for (const auto& [arithmetic, value] : hardware.achievable) {
    found.push_back(fraction(absl::StrCat("achievable fraction of ", ArithmeticName(arithmetic)), value));
  }
  if (hardware.achievable_bandwidth_fraction) {
    found.push_back(fraction("achievable fraction of the bandwidth", *hardware.achievable_bandwidth_fraction));
  }
  for (std::string& problem : found) {
    if (!problem.empty()) return std::move(problem);
  }
  return "";
}

std::string CheckProvenance(const Hardware& hardware) {
  for (const SourcedNumber& number : hardware.provenance) {
    if (number.source.empty()) return absl::StrCat(number.label, ": found no source, expected at least one");
    if (number.standing == Standing::kGiven) continue;
    if (!IsDate(number.retrieved, /*year_suffices=*/false)) {
      return absl::StrCat(number.label, ": found retrieval date '", number.retrieved, "', expected YYYY-MM-DD");
    }
    if (number.standing == Standing::kDerived && number.note.empty()) {
      return absl::StrCat(number.label, ": found a derived number without a note, expected its formula");
    }
  }
  return hardware.provenance.empty() ? "found no sources, expected one for every number" : "";
}

// A waiver that names no rule, or that nothing needs any more, misleads its reader.
std::string CheckWaivable(const Hardware& hardware) {
  std::vector<absl::string_view> waived;
  for (const auto& waiver : hardware.waivers) waived.push_back(waiver.first);
  for (const Rule& rule : kWaivableRules) {
    const std::string problem = rule.check(hardware);
    const auto waiver = std::find(waived.begin(), waived.end(), rule.name);
    if (waiver == waived.end()) {
      if (!problem.empty()) return absl::StrCat(rule.name, ": ", problem);
      continue;
    }
    if (problem.empty()) return absl::StrCat("found a waiver of ", rule.name, ", expected none: the entry obeys it");
    waived.erase(waiver);
  }
  return waived.empty() ? "" : absl::StrCat("found a waiver of '", waived[0], "', expected the name of a rule");
}

}  // namespace

absl::Status Validate(const Hardware& hardware) {
  for (const auto check : {CheckNames, CheckPeaks, CheckMagnitudes, CheckProvenance, CheckWaivable}) {
    if (const std::string problem = check(hardware); !problem.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("device '", hardware.name, "': ", problem));
    }
  }
  return absl::OkStatus();
}

}  // namespace reusescope
