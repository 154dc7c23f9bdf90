#include "hwdb/hardware.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reusescope {
namespace {

struct NamedArithmetic {
  Arithmetic arithmetic;
  absl::string_view name;
  absl::string_view other_name;  // empty: none
};

constexpr NamedArithmetic kArithmetics[] = {
    {Arithmetic::kFp64, "fp64", "float64"},  {Arithmetic::kFp32, "fp32", "float32"},
    {Arithmetic::kTf32, "tf32", ""},         {Arithmetic::kFp16, "fp16", "float16"},
    {Arithmetic::kBf16, "bf16", "bfloat16"}, {Arithmetic::kFp8, "fp8", "float8"},
    {Arithmetic::kFp6, "fp6", ""},           {Arithmetic::kFp4, "fp4", "float4"},
    {Arithmetic::kInt8, "int8", ""},         {Arithmetic::kInt4, "int4", ""},
};

// At least 16 bits: what element-wise work could run in.
bool IsWide(Arithmetic arithmetic) { return arithmetic <= Arithmetic::kBf16; }

bool CanMultiply(const Peak& peak, Arithmetic arithmetic, int accumulate_bits) {
  if (peak.arithmetic == Arithmetic::kAny) return peak.unit == ComputeUnit::kMatrix;
  return peak.arithmetic == arithmetic && peak.accumulate_bits >= accumulate_bits;
}

const Peak* FastestFor(const Hardware& hardware, Arithmetic arithmetic, int accumulate_bits) {
  const Peak* best = nullptr;
  for (const Peak& peak : hardware.peaks) {
    if (!CanMultiply(peak, arithmetic, accumulate_bits)) continue;
    if (best == nullptr || peak.flops_per_second > best->flops_per_second) best = &peak;
  }
  return best;
}

ChosenPeak Choose(const Peak& peak, std::string note) {
  return {.flops_per_second = peak.flops_per_second,
          .arithmetic = peak.arithmetic,
          .accumulate_bits = peak.accumulate_bits,
          .unit = peak.unit,
          .note = std::move(note)};
}

// "fp32, fp16, int8": what the device multiplies, each once, in the order of its entry.
std::string ArithmeticsOf(const Hardware& hardware) {
  std::vector<absl::string_view> names;
  for (const Peak& peak : hardware.peaks) {
    const absl::string_view name = ArithmeticName(peak.arithmetic);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace

absl::string_view ArithmeticName(Arithmetic arithmetic) {
  for (const NamedArithmetic& named : kArithmetics) {
    if (named.arithmetic == arithmetic) return named.name;
  }
  return "any";
}

absl::StatusOr<Arithmetic> ArithmeticFromName(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  for (const NamedArithmetic& named : kArithmetics) {
    if (lower == named.name || (!named.other_name.empty() && lower == named.other_name)) return named.arithmetic;
  }
  if (lower == "half") return Arithmetic::kFp16;
  const auto formatter = [](std::string* out, const NamedArithmetic& named) { absl::StrAppend(out, named.name); };
  return absl::InvalidArgumentError(
      absl::StrCat("found arithmetic '", name, "', expected one of ", absl::StrJoin(kArithmetics, ", ", formatter)));
}

absl::string_view HardwareKindName(HardwareKind kind) {
  constexpr absl::string_view kNames[] = {"gpu", "tpu", "npu", "cpu", "academic", "custom"};
  return kNames[static_cast<int>(kind)];
}

absl::string_view StandingName(Standing standing) {
  constexpr absl::string_view kNames[] = {"cited", "derived", "unverified", "given"};
  return kNames[static_cast<int>(standing)];
}

absl::StatusOr<ChosenPeak> PeakFor(const Hardware& hardware, Arithmetic arithmetic, int accumulate_bits) {
  if (const Peak* peak = FastestFor(hardware, arithmetic, accumulate_bits)) {
    const bool narrower_asked =
        peak->arithmetic != Arithmetic::kAny && accumulate_bits < 32 && peak->accumulate_bits > accumulate_bits;
    return Choose(*peak, narrower_asked ? absl::StrCat("accumulated in ", peak->accumulate_bits,
                                                       " bits: ", hardware.name, " is no faster with ", accumulate_bits)
                                        : "");
  }
  if (arithmetic == Arithmetic::kTf32) {
    if (const Peak* peak = FastestFor(hardware, Arithmetic::kFp32, accumulate_bits)) {
      return Choose(*peak, absl::StrCat(hardware.name, " has no tf32 units: the fp32 peak serves"));
    }
  }
  return absl::FailedPreconditionError(absl::StrCat("device '", hardware.name, "' has no peak for ",
                                                    ArithmeticName(arithmetic), " products with a ", accumulate_bits,
                                                    "-bit accumulator; it has ", ArithmeticsOf(hardware)));
}

absl::StatusOr<ChosenPeak> PeakFor(const Hardware& hardware, absl::string_view arithmetic, int accumulate_bits) {
  const absl::StatusOr<Arithmetic> parsed = ArithmeticFromName(arithmetic);
  if (!parsed.ok()) return parsed.status();
  return PeakFor(hardware, *parsed, accumulate_bits);
}

ChosenPeak VectorPeak(const Hardware& hardware) {
  for (const Arithmetic arithmetic : {Arithmetic::kFp32, Arithmetic::kAny}) {
    for (const Peak& peak : hardware.peaks) {
      if (peak.unit == ComputeUnit::kVector && peak.arithmetic == arithmetic) return Choose(peak, "");
    }
  }
  const Peak* slowest = nullptr;
  for (const Peak& peak : hardware.peaks) {
    if (!IsWide(peak.arithmetic)) continue;
    if (slowest == nullptr || peak.flops_per_second < slowest->flops_per_second) slowest = &peak;
  }
  if (slowest == nullptr) return {.unit = ComputeUnit::kVector, .note = "no peak of at least 16 bits is known"};
  return Choose(*slowest,
                absl::StrCat("no vector throughput of ", hardware.name, " is known: the ",
                             ArithmeticName(slowest->arithmetic), " matrix peak serves, which is optimistic"));
}

std::optional<double> AchievableFraction(const Hardware& hardware, Arithmetic arithmetic) {
  for (const auto& [measured, fraction] : hardware.achievable) {
    if (measured == arithmetic) return fraction;
  }
  const bool is_fp16 = arithmetic == Arithmetic::kFp16;
  if (!is_fp16 && arithmetic != Arithmetic::kBf16) return std::nullopt;
  const Arithmetic twin = is_fp16 ? Arithmetic::kBf16 : Arithmetic::kFp16;
  const Peak* own = FastestFor(hardware, arithmetic, 32);
  const Peak* other = FastestFor(hardware, twin, 32);
  if (own == nullptr || other == nullptr || own->flops_per_second != other->flops_per_second) return std::nullopt;
  for (const auto& [measured, fraction] : hardware.achievable) {
    if (measured == twin) return fraction;
  }
  return std::nullopt;
}

std::optional<int64_t> AvailableMemoryBytes(const Hardware& hardware) {
  return hardware.usable_memory_bytes ? hardware.usable_memory_bytes : hardware.memory_capacity_bytes;
}

const std::vector<SourcedNumber>& Provenance(const Hardware& hardware) { return hardware.provenance; }

}  // namespace reusescope
