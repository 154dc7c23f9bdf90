#include "analysis/measure/precision.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reusescope {
namespace {

struct PrecisionRow {
  absl::string_view name, arithmetic;
  bool narrow;  // 16-bit activations
  bool mixed;   // 32-bit masters, gradients of weights and states
};

constexpr PrecisionRow kPrecisions[] = {
    {"fp32", "fp32", false, false}, {"tf32", "tf32", false, false},   {"fp16", "fp16", true, false},
    {"bf16", "bf16", true, false},  {"amp-fp16", "fp16", true, true}, {"amp-bf16", "bf16", true, true},
};

const PrecisionRow& RowOf(PrecisionMode mode) { return kPrecisions[static_cast<size_t>(mode)]; }

int NarrowedBits(const Value& value) {
  const int bits = BitWidth(value.type.dtype);
  return IsFloatingPoint(value.type.dtype) ? std::min(bits, 16) : bits;
}

}  // namespace

absl::string_view PrecisionName(PrecisionMode mode) { return RowOf(mode).name; }

absl::StatusOr<PrecisionMode> PrecisionFromName(absl::string_view name) {
  for (size_t i = 0; i < std::size(kPrecisions); ++i) {
    if (kPrecisions[i].name == name) return static_cast<PrecisionMode>(i);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "precision '", name, "' is unknown, expected one of ",
      absl::StrJoin(kPrecisions, ", ",
                    [](std::string* out, const PrecisionRow& row) { out->append(row.name.data(), row.name.size()); })));
}

absl::string_view MatrixArithmetic(PrecisionMode mode) { return RowOf(mode).arithmetic; }

bool HasMasterWeights(PrecisionMode mode) { return RowOf(mode).mixed; }

int TouchedBits(const Value& value, PrecisionMode mode, bool is_parameter_gradient) {
  if (!RowOf(mode).narrow) return BitWidth(value.type.dtype);
  const bool wide = RowOf(mode).mixed && (is_parameter_gradient || value.kind == ValueKind::kOptimizerState);
  return wide ? BitWidth(value.type.dtype) : NarrowedBits(value);
}

int KeptBits(const Value& value, PrecisionMode mode) {
  return RowOf(mode).narrow && !RowOf(mode).mixed ? NarrowedBits(value) : BitWidth(value.type.dtype);
}

}  // namespace reusescope
