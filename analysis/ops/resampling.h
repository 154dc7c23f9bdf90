// Operators that read their input between the grid points (Resize, Upsample, GridSample, RoiAlign) and Col2Im, as rows
// of the registry.
//
// Every element of Y is a weighted sum of T elements of X: T products and T - 1 additions. T is the product over
// dimensions of the taps: 1 where nothing changes or the nearest is taken, 2 linear, 4 cubic; with antialiasing, times
// the factor of reduction. Nearest is a copy. The gradient scatters each element of dY to the same T places, T products
// and T additions, into a whole dX. The coordinates and weights of Resize are per row and column, and not counted.

#ifndef REUSESCOPE_ANALYSIS_OPS_RESAMPLING_H_
#define REUSESCOPE_ANALYSIS_OPS_RESAMPLING_H_

#include "analysis/ops/op_semantics.h"

namespace reusescope {

// Called by RegisterLayout.
void RegisterResampling(OpRegistry& registry);

// What one element of Resize's result takes of one element of its input, along one axis: Y[output] += weight X[input].
struct ResizeTap {
  int64_t output, input;
  double weight;
};

// All taps along dimension d, by output; empty where the axis stays as it is. Coordinates as ONNX's Resize-19 defines
// them. kInvalidArgument for what is not known beforehand or not modelled (tf_crop_and_resize).
absl::StatusOr<std::vector<ResizeTap>> ResizeTapsOf(const OpContext& resize, int d);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_RESAMPLING_H_
