// The gradients of GridSample: every sample is a weighted sum of the pixels around it, 2 along each dimension, of cubic
// interpolation 4, of the nearest pixel 1.
//
//   Y[n, c, q] = sum over pixels k of w_k[n, q] X[n, c, i_k[n, q]]
//   dX[n, c, i_k] += w_k dY,     dgrid = sum over k and c of dY X[n, c, i_k] dw_k/dgrid
//
// Sample positions are flattened to q, pixels to one index. Pixels that lie outside the image count as zero (their
// weight is), or the sample was moved inside before (border, reflection; of cubic interpolation each pixel of its own).
// Sources: ONNX's GridSample-20 and its reference; the cubic weights are those of Keys with a = -0.75.

#include <algorithm>

#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

// One image dimension: where the samples lie on it, and how that moves with the grid.
struct Axis {
  int64_t extent = 0;
  Expr lower;        // the pixel at or before the sample, as a number, [N, Q]
  Expr fraction;     // of the way to the next one
  Expr sensitivity;  // of the position to the grid's number
  double low, high;  // where reflection turns back
};

struct Sampling {
  int64_t batch, channels, pixels = 1, samples = 1;
  std::vector<Axis> axes;
  int taps;  // along each dimension
  bool nearest() const { return taps == 1; }
  bool cubic() const { return taps == 4; }
};

int TapsOf(absl::string_view mode) { return mode == "nearest" ? 1 : mode == "cubic" || mode == "bicubic" ? 4 : 2; }

// Positions beyond [low, high] turned back, again and again: the distance to the nearest even multiple of the span.
Expr Reflected(BodyBuilder& body, Expr x, double low, double high, Expr& sensitivity) {
  const double span = high - low;
  if (span <= 0) {
    sensitivity = 0.0 * sensitivity;
    return 0.0 * x + low;
  }
  const Expr phase = (x - low) / (2 * span);
  const Expr folded = (phase - body.Unary("Floor", phase)) * (2 * span);  // in [0, 2 span)
  const Expr back = body.Greater(folded, span);
  sensitivity = body.Where(back, -sensitivity, sensitivity);
  return low + body.Where(back, 2 * span - folded, folded);
}

Axis AxisOf(BodyBuilder& body, Expr grid, const Sampling& sampling, int d, int dims, int64_t extent) {
  const bool corners = body.attributes().Int("align_corners", 0) != 0;
  const absl::string_view padding = body.attributes().String("padding_mode", "zeros");
  const auto length = static_cast<double>(extent);
  const Expr u = body.Reshape(body.Slice(grid, {dims - 1 - d}, {dims - d}, {2}), {sampling.batch, sampling.samples});
  const double scale = corners ? (length - 1) / 2 : length / 2;
  Axis axis{.extent = extent, .low = corners ? 0 : -0.5, .high = corners ? length - 1 : length - 0.5};
  Expr x = corners ? (u + 1.0) * scale : (u + 1.0) * scale - 0.5;
  axis.sensitivity = 0.0 * u + scale;
  if (sampling.nearest()) x = body.Unary("Round", x);
  if (padding == "reflection" && !sampling.cubic()) {
    x = Reflected(body, x, axis.low, axis.high, axis.sensitivity);
  }
  if (padding != "zeros" && !sampling.cubic()) {
    const Expr outside = body.Typed(DType::kBool, "Or", {body.Less(x, 0), body.Greater(x, length - 1)});
    axis.sensitivity = body.Where(outside, 0.0, axis.sensitivity);
    x = body.Op("Clip", {x, body.Scalar(body.DTypeOf(x), 0), body.Scalar(body.DTypeOf(x), length - 1)});
  }
  axis.lower = sampling.nearest() ? body.Unary("Round", x) : body.Unary("Floor", x);
  axis.fraction = x - axis.lower;
  return axis;
}

// `image` is the shape of X, `grid` the grid and `positions` its shape.
Sampling SamplingOf(BodyBuilder& body, const Shape& image, Expr grid, const Shape& positions) {
  const int dims = static_cast<int>(image.size()) - 2;
  Sampling sampling{
      .batch = image[0], .channels = image[1], .taps = TapsOf(body.attributes().String("mode", "linear"))};
  for (int d = 0; d < dims; ++d) {
    sampling.samples *= positions[d + 1];
    sampling.pixels *= image[d + 2];
  }
  grid = body.Reshape(grid, {sampling.batch, sampling.samples, dims});
  for (int d = 0; d < dims; ++d) sampling.axes.push_back(AxisOf(body, grid, sampling, d, dims, image[d + 2]));
  return sampling;
}

// One of the pixels of a sample: which tap it is along each dimension.
using Taps = std::vector<int>;

std::vector<Taps> AllTaps(const Sampling& sampling) {
  std::vector<Taps> all = {{}};
  for (size_t d = 0; d < sampling.axes.size(); ++d) {
    std::vector<Taps> longer;
    for (int tap = 0; tap < sampling.taps; ++tap) {
      for (Taps taps : all) {
        taps.push_back(tap);
        longer.push_back(std::move(taps));
      }
    }
    all = std::move(longer);
  }
  return all;
}

struct Pixel {
  Expr index;   // int64 [N, C, Q]
  Expr inside;  // [N, Q], 0 or 1
};

Pixel PixelOf(BodyBuilder& body, const Sampling& sampling, const Taps& taps) {
  const absl::string_view padding = body.attributes().String("padding_mode", "zeros");
  Pixel pixel;
  Expr index;
  for (size_t d = 0; d < sampling.axes.size(); ++d) {
    const Axis& axis = sampling.axes[d];
    const int offset = sampling.cubic() ? taps[d] - 1 : taps[d];
    Expr at = offset == 0 ? axis.lower : axis.lower + offset;
    Expr unused = at;
    if (sampling.cubic() && padding == "reflection") at = Reflected(body, at, axis.low, axis.high, unused);
    const DType dtype = body.DTypeOf(at);
    const auto last = static_cast<double>(axis.extent - 1);
    const Expr clamped = body.Op("Clip", {at, body.Scalar(dtype, 0), body.Scalar(dtype, last)});
    if (sampling.cubic() && padding != "zeros") at = clamped;
    const Expr outside = body.Typed(DType::kBool, "Or", {body.Less(at, 0), body.Greater(at, last)});
    const Expr inside = body.Cast(body.Not(outside), dtype);
    pixel.inside = pixel.inside ? pixel.inside * inside : inside;
    const Expr place = body.Cast(clamped, DType::kInt64);
    index = index ? index * body.Int(axis.extent) + place : place;
  }
  const Expr column = body.Reshape(index, {sampling.batch, 1, sampling.samples});
  pixel.index = body.Expand(column, {sampling.batch, sampling.channels, sampling.samples});
  return pixel;
}

constexpr double kKeys = -0.75;

// The weight of a tap, and its derivative by the fraction: of cubic taps, which lie f + 1, f, 1 - f and 2 - f away, a
// polynomial of that distance.
Expr WeightAlong(const Sampling& sampling, const Axis& axis, int tap) {
  const Expr f = axis.fraction;
  if (!sampling.cubic()) return tap == 0 ? 1.0 - f : f;
  const Expr t = tap == 0 ? f + 1.0 : tap == 1 ? f : tap == 2 ? 1.0 - f : 2.0 - f;
  if (tap == 1 || tap == 2) return ((kKeys + 2) * t - (kKeys + 3)) * t * t + 1.0;
  return ((kKeys * t - 5 * kKeys) * t + 8 * kKeys) * t - 4 * kKeys;
}

// `pull` times the derivative of the weight.
Expr SlopeAlong(const Sampling& sampling, const Axis& axis, int tap, Expr pull) {
  if (!sampling.cubic()) return tap == 0 ? -pull : pull;
  const Expr f = axis.fraction;
  const Expr t = tap == 0 ? f + 1.0 : tap == 1 ? f : tap == 2 ? 1.0 - f : 2.0 - f;
  const Expr slope =
      tap == 1 || tap == 2 ? (3 * (kKeys + 2) * t - 2 * (kKeys + 3)) * t : (3 * kKeys * t - 10 * kKeys) * t + 8 * kKeys;
  return tap < 2 ? pull * slope : -(pull * slope);
}

}  // namespace

absl::Status GridSampleGradBody(BodyBuilder& body) {  // dY, grid
  const Shape& image = body.OutShape(0);
  const Sampling sampling = SamplingOf(body, image, body.In(1), body.InShape(1));
  const Expr dy = body.Reshape(body.In(0), {sampling.batch, sampling.channels, sampling.samples});
  std::vector<Expr> indices, shares;
  for (const Taps& taps : AllTaps(sampling)) {
    const Pixel pixel = PixelOf(body, sampling, taps);
    Expr weight = pixel.inside;
    for (size_t d = 0; d < sampling.axes.size() && !sampling.nearest(); ++d) {
      weight = weight * WeightAlong(sampling, sampling.axes[d], taps[d]);
    }
    indices.push_back(pixel.index);
    shares.push_back(dy * body.Reshape(weight, {sampling.batch, 1, sampling.samples}));
  }
  const Expr zeros = body.Zeros(body.DTypeOf(dy), {sampling.batch, sampling.channels, sampling.pixels});
  const Expr sum = body.Op("ScatterElements", {zeros, body.Concat(indices, 2), body.Concat(shares, 2)},
                           MakeAttributes({{"axis", int64_t{2}}, {"reduction", std::string("add")}}));
  body.Out(0, body.Reshape(sum, image));
  return absl::OkStatus();
}

absl::Status GridSampleGridGradBody(BodyBuilder& body) {  // dY, X, grid
  const Shape& image = body.InShape(1);
  const Sampling sampling = SamplingOf(body, image, body.In(2), body.InShape(2));
  const size_t dims = sampling.axes.size();
  if (sampling.nearest()) {
    body.Out(0, body.Zeros(body.DTypeOf(body.In(0)), body.OutShape(0)));
    return absl::OkStatus();
  }
  const Expr dy = body.Reshape(body.In(0), {sampling.batch, sampling.channels, sampling.samples});
  const Expr pixels = body.Reshape(body.In(1), {sampling.batch, sampling.channels, sampling.pixels});
  std::vector<Expr> slopes(dims);
  for (const Taps& taps : AllTaps(sampling)) {
    const Pixel pixel = PixelOf(body, sampling, taps);
    const Expr values = body.Op("GatherElements", {pixels, pixel.index}, MakeAttributes({{"axis", int64_t{2}}}));
    const Expr pull = body.ReduceSum(dy * values, {1}, /*keep_dims=*/false) * pixel.inside;
    for (size_t d = 0; d < dims; ++d) {
      Expr slope = SlopeAlong(sampling, sampling.axes[d], taps[d], pull);
      for (size_t e = 0; e < dims; ++e) {
        if (e != d) slope = slope * WeightAlong(sampling, sampling.axes[e], taps[e]);
      }
      slopes[d] = slopes[d] ? slopes[d] + slope : slope;
    }
  }
  std::vector<Expr> columns;
  for (size_t d = dims; d-- > 0;) {  // the grid counts dimensions from the last
    columns.push_back(body.Reshape(slopes[d] * sampling.axes[d].sensitivity, {sampling.batch, sampling.samples, 1}));
  }
  body.Out(0, body.Reshape(body.Concat(columns, 2), body.OutShape(0)));
  return absl::OkStatus();
}

}  // namespace reusescope
