// Validate: the rules that every entry obeys.

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "hwdb/check_device.h"
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

bool IsPositive(double value) { return std::isfinite(value) && value > 0; }

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
  if (hardware.kind == HardwareKind::kCustom) return "";                   // an experiment may be anywhere
  if (!IsPositive(hardware.memory_bandwidth_bytes_per_second)) return "";  // another rule's
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

// "2026-11-21", or a shorter form of it down to the month or (if allowed) the year.
bool IsDate(absl::string_view date, bool year_suffices) {
  constexpr absl::string_view kForm = "dddd-dd-dd";
  if (date.size() != 10 && date.size() != 7 && !(year_suffices && date.size() == 4)) return false;
  for (size_t i = 0; i < date.size(); ++i) {
    if (kForm[i] == 'd' ? !absl::ascii_isdigit(date[i]) : date[i] != kForm[i]) return false;
  }
  return true;
}

using Problems = std::vector<std::string>;

void CheckNames(const Hardware& hardware, Problems& problems) {
  if (hardware.name.empty()) problems.push_back("found no name, expected one");
  if (hardware.kind == HardwareKind::kCustom) return;
  const bool well_formed = std::all_of(hardware.name.begin(), hardware.name.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
  });
  if (!well_formed) {
    problems.push_back(
        absl::StrCat("found name '", hardware.name, "', expected lower-case letters, digits and dashes"));
  }
  if (hardware.display_name.empty()) problems.push_back("found no display name, expected one");
  if (hardware.vendor.empty()) problems.push_back("found no vendor, expected one");
  if (!hardware.announced.empty() && !IsDate(hardware.announced, /*year_suffices=*/true)) {
    problems.push_back(
        absl::StrCat("found announcement date '", hardware.announced, "', expected YYYY, YYYY-MM or YYYY-MM-DD"));
  }
}

void CheckPeaks(const Hardware& hardware, Problems& problems) {
  if (hardware.peaks.empty()) problems.push_back("found no peak, expected at least one");
  for (size_t i = 0; i < hardware.peaks.size(); ++i) {
    const Peak& peak = hardware.peaks[i];
    const std::string what = absl::StrCat("peak ", ArithmeticName(peak.arithmetic), ": ");
    if (!IsPositive(peak.flops_per_second)) {
      problems.push_back(absl::StrCat(what, "found ", peak.flops_per_second, " FLOP/s, expected a positive number"));
    }
    if (peak.accumulate_bits != 16 && peak.accumulate_bits != 32 && peak.accumulate_bits != 64) {
      problems.push_back(
          absl::StrCat(what, "found a ", peak.accumulate_bits, "-bit accumulator, expected 16, 32 or 64"));
    }
    const double sparse = peak.sparse_flops_per_second.value_or(peak.flops_per_second);
    if (peak.sparse_flops_per_second && !(std::isfinite(sparse) && sparse >= peak.flops_per_second)) {
      problems.push_back(absl::StrCat(what, "found ", peak.flops_per_second, " FLOP/s dense and ", sparse,
                                      " sparse, expected dense <= sparse"));
    }
    const auto same_row = [&peak](const Peak& other) {
      return std::tie(peak.arithmetic, peak.accumulate_bits, peak.unit) ==
             std::tie(other.arithmetic, other.accumulate_bits, other.unit);
    };
    if (std::any_of(hardware.peaks.begin(), hardware.peaks.begin() + static_cast<ptrdiff_t>(i), same_row)) {
      problems.push_back(absl::StrCat(what, "found two rows of one unit and accumulator, expected one"));
    }
  }
}

void CheckOnChip(const OnChipMemory& memory, Problems& problems) {
  if (memory.capacity_bytes <= 0 || memory.instances <= 0) {
    problems.push_back(absl::StrCat("on-chip memory '", memory.name, "': found ", memory.capacity_bytes, " bytes in ",
                                    memory.instances, " instances, expected positive numbers"));
  } else if (memory.name.empty()) {
    problems.push_back("found an on-chip memory without a name, expected one");
  }
}

void CheckMagnitudes(const Hardware& hardware, Problems& problems) {
  const auto positive = [&problems](absl::string_view what, double value) {
    if (IsPositive(value)) return;
    problems.push_back(absl::StrCat("found ", what, " ", value, ", expected a positive number"));
  };
  const auto fraction = [&problems](absl::string_view what, double value) {
    if (value > 0 && value <= 1) return;
    problems.push_back(absl::StrCat("found ", what, " ", value, ", expected within (0, 1]"));
  };
  positive("memory bandwidth", hardware.memory_bandwidth_bytes_per_second);
  CheckOnChip(hardware.on_chip, problems);
  for (const OnChipMemory& level : hardware.inner_levels) CheckOnChip(level, problems);
  for (const auto& bytes : {hardware.memory_capacity_bytes, hardware.usable_memory_bytes}) {
    if (bytes) positive("memory capacity", static_cast<double>(*bytes));
  }
  if (hardware.power_watts) positive("power", *hardware.power_watts);
  if (hardware.link) positive("link bandwidth", hardware.link->bytes_per_second);
  if (hardware.price_usd) positive("price", *hardware.price_usd);
  for (const auto& [arithmetic, value] : hardware.achievable) {
    fraction(absl::StrCat("achievable fraction of ", ArithmeticName(arithmetic)), value);
  }
  if (hardware.achievable_bandwidth_fraction) {
    fraction("achievable fraction of the bandwidth", *hardware.achievable_bandwidth_fraction);
  }
}

void CheckProvenance(const Hardware& hardware, Problems& problems) {
  if (hardware.provenance.empty()) problems.push_back("found no sources, expected one for every number");
  for (const SourcedNumber& number : hardware.provenance) {
    if (number.source.empty()) {
      problems.push_back(absl::StrCat(number.label, ": found no source, expected at least one"));
      continue;
    }
    if (number.standing == Standing::kGiven) continue;
    if (!IsDate(number.retrieved, /*year_suffices=*/false)) {
      problems.push_back(
          absl::StrCat(number.label, ": found retrieval date '", number.retrieved, "', expected YYYY-MM-DD"));
    }
    if (number.standing == Standing::kDerived && number.note.empty()) {
      problems.push_back(absl::StrCat(number.label, ": found a derived number without a note, expected its formula"));
    }
    if (number.standing == Standing::kUnverified && number.note.empty()) {
      problems.push_back(
          absl::StrCat(number.label, ": found an unverified number without a note, expected what was heard"));
    }
  }
}

// A waiver that names no rule, or that nothing needs any more, misleads its reader.
void CheckWaivable(const Hardware& hardware, Problems& problems) {
  std::vector<absl::string_view> waived;
  for (const auto& waiver : hardware.waivers) waived.push_back(waiver.first);
  for (const Rule& rule : kWaivableRules) {
    const std::string problem = rule.check(hardware);
    const auto waiver = std::find(waived.begin(), waived.end(), rule.name);
    if (waiver == waived.end()) {
      if (!problem.empty()) problems.push_back(absl::StrCat(rule.name, ": ", problem));
      continue;
    }
    if (problem.empty()) {
      problems.push_back(absl::StrCat("found a waiver of ", rule.name, ", expected none: the entry obeys it"));
    }
    waived.erase(waiver);
  }
  for (absl::string_view name : waived) {
    problems.push_back(absl::StrCat("found a waiver of '", name, "', expected the name of a rule"));
  }
}

}  // namespace

std::vector<std::string> BrokenRules(const Hardware& hardware) {
  std::vector<std::string> problems;
  for (const auto check : {CheckNames, CheckPeaks, CheckMagnitudes, CheckProvenance, CheckWaivable}) {
    check(hardware, problems);
  }
  return problems;
}

absl::Status Validate(const Hardware& hardware) {
  const std::vector<std::string> problems = BrokenRules(hardware);
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("device '", hardware.name, "': ", absl::StrJoin(problems, "; ")));
}

}  // namespace reusescope
