// QuantizeLinear followed by DequantizeLinear, as one operator that trains.
//
//   x -> QuantizeLinear(s, z) -> DequantizeLinear(s, z) -> y      becomes      y = reusescope::FakeQuantize(x, s)
//
// Quantization-aware training computes in floating point with rounded numbers; rounding has no gradient, so the
// gradient goes straight through where the number was in range. Inference keeps the pair: there the integers are real.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_FAKE_QUANTIZE_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_FAKE_QUANTIZE_H_

#include "analysis/ir/graph.h"

namespace reusescope {

// Fuses every pair whose scales are one value, or equal ones, and returns how many. A QuantizeLinear whose integers
// nobody else reads leaves the schedule. REQUIRES: shapes are resolved.
int FuseFakeQuantize(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_FAKE_QUANTIZE_H_
