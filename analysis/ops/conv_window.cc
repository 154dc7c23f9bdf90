#include "analysis/ops/conv_window.h"

#include <algorithm>

namespace reusescope {
namespace {

// Leading share of a padding that is not stated but follows from the shapes.
int64_t LeadingShare(const OpContext& ctx, int64_t total) {
  const int64_t padding = std::max<int64_t>(0, total);
  return ctx.attributes().String("auto_pad", "NOTSET") == "SAME_UPPER" ? padding / 2 : (padding + 1) / 2;
}

}  // namespace

ConvWindow ConvWindowOf(const OpContext& ctx, const Shape& map, const Shape& filter, const Shape& points) {
  const int dims = static_cast<int>(filter.size()) - 2;
  const auto strides = ctx.attributes().Ints("strides");
  const auto dilations = ctx.attributes().Ints("dilations");
  const auto pads = ctx.attributes().Ints("pads");
  const auto output_padding = ctx.attributes().Ints("output_padding");
  const absl::string_view auto_pad = ctx.attributes().String("auto_pad", "NOTSET");
  const bool implied = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER" || ctx.attributes().Has("output_shape");
  ConvWindow window;
  for (int d = 0; d < dims; ++d) {
    window.stride.push_back(d < static_cast<int>(strides.size()) ? std::max<int64_t>(strides[d], 1) : 1);
    window.dilation.push_back(d < static_cast<int>(dilations.size()) ? std::max<int64_t>(dilations[d], 1) : 1);
    int64_t pad = d < static_cast<int>(pads.size()) ? pads[d] : 0;
    if (implied) {
      const int64_t span = (filter[d + 2] - 1) * window.dilation[d] + 1;
      const int64_t extra = d < static_cast<int>(output_padding.size()) ? output_padding[d] : 0;
      pad = LeadingShare(ctx, (points[d + 2] - 1) * window.stride[d] + span + extra - map[d + 2]);
    }
    window.pad_begin.push_back(pad);
  }
  return window;
}

}  // namespace reusescope
