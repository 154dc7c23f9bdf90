// How many bits each value has, and in which arithmetic the matrix work runs.
//
//   mode       activations  weights read  weight gradients  weights kept, states   matrix arithmetic
//   fp32       file's       file's        file's            file's                 fp32
//   tf32       file's       file's        file's            file's                 tf32
//   fp16/bf16  16           16            16                16                     fp16/bf16
//   amp-*      16           16 (a copy)   32                32                     fp16/bf16
//
// "File's": the width of the exported type. In the 16-bit modes floating-point types wider than 16 bits become 16;
// other types keep their width. Under amp forward and backward read a 16-bit copy of each parameter, which the update
// step writes beside the 32-bit master weight. Accumulation is 32-bit in every mode.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_PRECISION_H_
#define REUSESCOPE_ANALYSIS_MEASURE_PRECISION_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"

namespace reusescope {

enum class PrecisionMode : uint8_t { kFp32, kTf32, kFp16, kBf16, kAmpFp16, kAmpBf16 };

// "fp32", "amp-bf16", ...
absl::string_view PrecisionName(PrecisionMode mode);
// kInvalidArgument lists the names.
absl::StatusOr<PrecisionMode> PrecisionFromName(absl::string_view name);

// The arithmetic of the matrix units under the mode, as the hardware database names it: "fp32", "tf32", "fp16", "bf16".
absl::string_view MatrixArithmetic(PrecisionMode mode);

// 16-bit copies of the weights beside 32-bit masters?
bool HasMasterWeights(PrecisionMode mode);

// Bits of one element of the value as forward and backward kernels touch it (of a parameter under amp: its copy).
int TouchedBits(const Value& value, PrecisionMode mode, bool is_parameter_gradient = false);
// Bits of one element of the value as it is kept across steps (of a parameter under amp: the master weight).
int KeptBits(const Value& value, PrecisionMode mode);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_PRECISION_H_
