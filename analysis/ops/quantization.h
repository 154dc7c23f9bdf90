// Arithmetic that quantized operators share.

#ifndef REUSESCOPE_ANALYSIS_OPS_QUANTIZATION_H_
#define REUSESCOPE_ANALYSIS_OPS_QUANTIZATION_H_

#include "analysis/ops/op_semantics.h"

namespace reusescope {

inline constexpr int64_t kQuantizeFlops = 4;    // round, add the zero point, clip from both sides; and a division
inline constexpr int64_t kDequantizeFlops = 2;  // subtract, multiply

// One QuantizeLinear for every element of output 0, inside the kernel that computes it.
void AddRequantization(const OpContext& ctx, Kernel& kernel);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_QUANTIZATION_H_
