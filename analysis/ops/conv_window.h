// How the window of a convolution slides: position p and tap r of dimension d meet the map at
// stride[d] p + dilation[d] r - pad_begin[d].

#ifndef REUSESCOPE_ANALYSIS_OPS_CONV_WINDOW_H_
#define REUSESCOPE_ANALYSIS_OPS_CONV_WINDOW_H_

#include "absl/container/inlined_vector.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

struct ConvWindow {
  absl::InlinedVector<int64_t, 3> stride, dilation, pad_begin;
};

// Of a Conv or ConvTranspose, with ONNX's defaults and automatic paddings. `map` is the side that the window slides
// over (X of Conv, Y of ConvTranspose), `points` the side with one element per position.
ConvWindow ConvWindowOf(const OpContext& ctx, const Shape& map, const Shape& filter, const Shape& points);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_CONV_WINDOW_H_
