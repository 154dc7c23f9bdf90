// Gradients of pooling: what a window gave is sent back to the positions it came from.

#include <algorithm>

#include "analysis/ops/bodies.h"
#include "analysis/ops/conv_window.h"

namespace reusescope {
namespace {

// dX of a window that sums: every position of dY spread over its taps.
Expr SpreadOverTaps(BodyBuilder& body, Expr dy, const Shape& image, const Shape& pooled) {
  const auto taps = body.attributes().Ints("kernel_shape");
  Shape map = {image[0] * image[1], 1}, points = {pooled[0] * pooled[1], 1}, filter = {1, 1};
  map.insert(map.end(), image.begin() + 2, image.end());
  points.insert(points.end(), pooled.begin() + 2, pooled.end());
  filter.insert(filter.end(), taps.begin(), taps.end());
  const ConvWindow window = ConvWindowOf(body.node(), image, filter, pooled);
  const Expr ones = body.Ones(body.DTypeOf(dy), filter);
  return body.Reshape(SpreadPoints(body, body.Reshape(dy, points), ones, window, 1, map, filter, points), image);
}

// How many positions of the image (with its padding where that counts) each window along dimension d sees.
std::vector<double> WindowCounts(const OpContext& ctx, const ConvWindow& window, int d, int64_t image, int64_t pooled) {
  const bool with_padding = ctx.attributes().Int("count_include_pad", 0) != 0;
  const auto pads = ctx.attributes().Ints("pads");
  const int64_t taps = ctx.attributes().Ints("kernel_shape")[d];
  const size_t dims = window.stride.size();
  const int64_t pad_end = pads.size() == 2 * dims ? pads[dims + d] : taps;  // SAME: up to the last window
  const int64_t first = with_padding ? -window.pad_begin[d] : 0, last = with_padding ? image + pad_end : image;
  std::vector<double> counts;
  for (int64_t p = 0; p < pooled; ++p) {
    int64_t count = 0;
    for (int64_t r = 0; r < taps; ++r) {
      const int64_t at = p * window.stride[d] + r * window.dilation[d] - window.pad_begin[d];
      count += at >= first && at < last ? 1 : 0;
    }
    counts.push_back(static_cast<double>(std::max<int64_t>(count, 1)));
  }
  return counts;
}

}  // namespace

absl::Status MaxPoolGradBody(BodyBuilder& body) {  // dY, indices into the flattened image
  const Expr dy = body.In(0);
  const int64_t pooled = body.node().InElements(0), image = body.node().OutElements(0);
  const Expr sum =
      body.Op("ScatterElements",
              {body.Zeros(body.DTypeOf(dy), {image}), body.Reshape(body.In(1), {pooled}), body.Reshape(dy, {pooled})},
              MakeAttributes({{"axis", int64_t{0}}, {"reduction", std::string("add")}}));
  body.Out(0, body.Reshape(sum, body.OutShape(0)));
  return absl::OkStatus();
}

absl::Status GlobalMaxPoolBody(BodyBuilder& body) {  // X -> Y, indices
  const Shape& image = body.InShape(0);
  const int64_t maps = image[0] * image[1], positions = maps == 0 ? 0 : body.node().InElements(0) / maps;
  const Expr rows = body.Reshape(body.In(0), {maps, positions});
  body.Out(0, body.Reshape(body.Reduce("ReduceMax", rows, {1}, /*keep_dims=*/true), body.OutShape(0)));
  const Expr place =
      body.Typed(DType::kInt64, "ArgMax", {rows}, MakeAttributes({{"axis", int64_t{1}}, {"keepdims", int64_t{1}}}));
  const Expr first = body.Op("Range", {body.Int(0), body.Int(maps * positions), body.Int(positions)});
  body.Out(1, body.Reshape(place + body.Reshape(first, {maps, 1}), body.OutShape(0)));
  return absl::OkStatus();
}

absl::Status AveragePoolGradBody(BodyBuilder& body) {  // dY
  const Shape &image = body.OutShape(0), &pooled = body.InShape(0);
  Shape filter = {1, 1};
  for (int64_t taps : body.attributes().Ints("kernel_shape")) filter.push_back(taps);
  const ConvWindow window = ConvWindowOf(body.node(), image, filter, pooled);
  Expr share = body.In(0);
  for (size_t d = 0; d + 2 < image.size(); ++d) {
    Shape along(image.size(), 1);
    along[d + 2] = pooled[d + 2];
    std::vector<double> counts = WindowCounts(body.node(), window, static_cast<int>(d), image[d + 2], pooled[d + 2]);
    const Expr divisor = body.Constant(Literal::Floats({pooled[d + 2]}, std::move(counts)));
    share = share / body.Reshape(body.Cast(divisor, body.DTypeOf(share)), along);
  }
  body.Out(0, SpreadOverTaps(body, share, image, pooled));
  return absl::OkStatus();
}

// dY X Y: dX = x |x|^(p-2) sum(dY / y^(p-1)), zero where y is.
absl::Status LpPoolGradBody(BodyBuilder& body) {
  const Expr dy = body.In(0), x = body.In(1), y = body.In(2);
  const auto p = static_cast<double>(body.attributes().Int("p", 2));
  const Expr zero = body.Equal(y, 0);
  const Expr root = body.Where(zero, 1.0, y);
  const Expr share = body.Where(zero, 0.0, dy / body.Pow(root, body.Scalar(body.DTypeOf(y), p - 1)));
  const bool global = !body.attributes().Has("kernel_shape");
  const Expr spread = global ? share : SpreadOverTaps(body, share, body.InShape(1), body.InShape(0));
  const Expr magnitude = body.Pow(body.Unary("Abs", x), body.Scalar(body.DTypeOf(x), p - 1));
  body.Out(0, spread * body.Unary("Sign", x) * magnitude);
  return absl::OkStatus();
}

absl::Status MaxUnpoolGradBody(BodyBuilder& body) {  // dY, indices into the flattened dY
  const Expr flat = body.Reshape(body.In(0), {body.node().InElements(0)});
  body.Out(0, body.Op("Gather", {flat, body.In(1)}));
  return absl::OkStatus();
}

}  // namespace reusescope
