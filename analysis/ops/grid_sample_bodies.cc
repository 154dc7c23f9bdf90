// The gradients of GridSample: every sample is a weighted sum of the 2^D pixels around it.
//
//   Y[n, c, q] = sum over corners k of w_k[n, q] X[n, c, i_k[n, q]]
//   dX[n, c, i_k] += w_k dY,     dgrid = sum over k and c of dY X[n, c, i_k] dw_k/dgrid
//
// Sample positions are flattened to q, pixels to one index. Corners that lie outside the image count as zero (their
// weight is), or were moved inside before (border, reflection). Sources: ONNX's GridSample-20 and its reference.

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
};

struct Sampling {
  int64_t batch, channels, pixels = 1, samples = 1;
  std::vector<Axis> axes;
  bool nearest;
};

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
  Axis axis{.extent = extent};
  Expr x = corners ? (u + 1.0) * scale : (u + 1.0) * scale - 0.5;
  axis.sensitivity = 0.0 * u + scale;
  if (sampling.nearest) x = body.Unary("Round", x);
  if (padding == "reflection") {
    x = Reflected(body, x, corners ? 0 : -0.5, corners ? length - 1 : length - 0.5, axis.sensitivity);
  }
  if (padding != "zeros") {
    const Expr outside = body.Typed(DType::kBool, "Or", {body.Less(x, 0), body.Greater(x, length - 1)});
    axis.sensitivity = body.Where(outside, 0.0, axis.sensitivity);
    x = body.Op("Clip", {x, body.Scalar(body.DTypeOf(x), 0), body.Scalar(body.DTypeOf(x), length - 1)});
  }
  axis.lower = sampling.nearest ? body.Unary("Round", x) : body.Unary("Floor", x);
  axis.fraction = x - axis.lower;
  return axis;
}

// `image` is the shape of X, `grid` the grid and `positions` its shape.
Sampling SamplingOf(BodyBuilder& body, const Shape& image, Expr grid, const Shape& positions) {
  const int dims = static_cast<int>(image.size()) - 2;
  Sampling sampling{
      .batch = image[0], .channels = image[1], .nearest = body.attributes().String("mode", "linear") == "nearest"};
  for (int d = 0; d < dims; ++d) {
    sampling.samples *= positions[d + 1];
    sampling.pixels *= image[d + 2];
  }
  grid = body.Reshape(grid, {sampling.batch, sampling.samples, dims});
  for (int d = 0; d < dims; ++d) sampling.axes.push_back(AxisOf(body, grid, sampling, d, dims, image[d + 2]));
  return sampling;
}

// A corner: bit d of `which` says upper or lower along dimension d.
struct Corner {
  Expr index;   // int64 [N, C, Q]
  Expr inside;  // [N, Q], 0 or 1
};

Corner CornerOf(BodyBuilder& body, const Sampling& sampling, int which) {
  Corner corner;
  Expr index;
  for (size_t d = 0; d < sampling.axes.size(); ++d) {
    const Axis& axis = sampling.axes[d];
    const Expr at = (which >> d & 1) != 0 ? axis.lower + 1.0 : axis.lower;
    const auto last = static_cast<double>(axis.extent - 1);
    const Expr outside = body.Typed(DType::kBool, "Or", {body.Less(at, 0), body.Greater(at, last)});
    const Expr inside = body.Cast(body.Not(outside), body.DTypeOf(at));
    corner.inside = corner.inside ? corner.inside * inside : inside;
    const DType dtype = body.DTypeOf(at);
    const Expr clamped =
        body.Cast(body.Op("Clip", {at, body.Scalar(dtype, 0), body.Scalar(dtype, last)}), DType::kInt64);
    index = index ? index * body.Int(axis.extent) + clamped : clamped;
  }
  const Expr column = body.Reshape(index, {sampling.batch, 1, sampling.samples});
  corner.index = body.Expand(column, {sampling.batch, sampling.channels, sampling.samples});
  return corner;
}

// The weight of a corner along dimension d.
Expr WeightAlong(const Axis& axis, bool upper) { return upper ? axis.fraction : 1.0 - axis.fraction; }

bool IsSupported(const BodyBuilder& body) {
  const absl::string_view mode = body.attributes().String("mode", "linear");
  return mode == "linear" || mode == "bilinear" || mode == "nearest";
}

constexpr absl::string_view kMode = "interpolates cubically, expected mode linear or nearest";

}  // namespace

absl::Status GridSampleGradBody(BodyBuilder& body) {  // dY, grid
  if (!IsSupported(body)) return body.Error(kMode);
  const Shape& image = body.OutShape(0);
  const Sampling sampling = SamplingOf(body, image, body.In(1), body.InShape(1));
  const Expr dy = body.Reshape(body.In(0), {sampling.batch, sampling.channels, sampling.samples});
  std::vector<Expr> indices, shares;
  const int corners = sampling.nearest ? 1 : 1 << sampling.axes.size();
  for (int which = 0; which < corners; ++which) {
    const Corner corner = CornerOf(body, sampling, which);
    Expr weight = corner.inside;
    for (size_t d = 0; d < sampling.axes.size() && !sampling.nearest; ++d) {
      weight = weight * WeightAlong(sampling.axes[d], (which >> d & 1) != 0);
    }
    indices.push_back(corner.index);
    shares.push_back(dy * body.Reshape(weight, {sampling.batch, 1, sampling.samples}));
  }
  const Expr zeros = body.Zeros(body.DTypeOf(dy), {sampling.batch, sampling.channels, sampling.pixels});
  const Expr sum = body.Op("ScatterElements", {zeros, body.Concat(indices, 2), body.Concat(shares, 2)},
                           MakeAttributes({{"axis", int64_t{2}}, {"reduction", std::string("add")}}));
  body.Out(0, body.Reshape(sum, image));
  return absl::OkStatus();
}

absl::Status GridSampleGridGradBody(BodyBuilder& body) {  // dY, X, grid
  if (!IsSupported(body)) return body.Error(kMode);
  const Shape& image = body.InShape(1);
  const Sampling sampling = SamplingOf(body, image, body.In(2), body.InShape(2));
  const size_t dims = sampling.axes.size();
  if (sampling.nearest) {
    body.Out(0, body.Zeros(body.DTypeOf(body.In(0)), body.OutShape(0)));
    return absl::OkStatus();
  }
  const Expr dy = body.Reshape(body.In(0), {sampling.batch, sampling.channels, sampling.samples});
  const Expr pixels = body.Reshape(body.In(1), {sampling.batch, sampling.channels, sampling.pixels});
  std::vector<Expr> slopes(dims);
  for (int which = 0; which < 1 << dims; ++which) {
    const Corner corner = CornerOf(body, sampling, which);
    const Expr values = body.Op("GatherElements", {pixels, corner.index}, MakeAttributes({{"axis", int64_t{2}}}));
    const Expr pull = body.ReduceSum(dy * values, {1}, /*keep_dims=*/false) * corner.inside;
    for (size_t d = 0; d < dims; ++d) {
      Expr slope = (which >> d & 1) != 0 ? pull : -pull;
      for (size_t e = 0; e < dims; ++e) {
        if (e != d) slope = slope * WeightAlong(sampling.axes[e], (which >> e & 1) != 0);
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
