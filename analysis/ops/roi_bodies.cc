// Gradients of what is read within boxes: RoiAlign and MaxRoiPool.
//
// RoiAlign is separable: with A[r] the weights of the rows of the image for every row of bins, and B[r] those of its
// columns, Y[r, c] = A[r] X[b_r, c] B[r]^T, so dX[b] = sum over boxes r of b of A[r]^T dY[r, c] B[r]. Sources: ONNX's
// RoiAlign and MaxRoiPool; where their texts are silent (borders, empty windows), ONNX Runtime's kernels.

#include <limits>

#include "absl/strings/str_cat.h"
#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

// 0 to n - 1 as numbers of that dtype.
Expr Counting(BodyBuilder& body, int64_t n, DType dtype) { return body.Cast(body.Ints(Range(n)), dtype); }

// Column `column` of the boxes, as [R, 1, 1].
Expr Side(BodyBuilder& body, Expr boxes, int64_t count, int64_t column) {
  return body.Reshape(body.Slice(boxes, {column}, {column + 1}, {1}), {count, 1, 1});
}

// [R, bins, extent]: the weights of an axis of `extent` positions for the bins of boxes from `start` of length
// `length`.
Expr BinWeights(BodyBuilder& body, Expr start, Expr length, int64_t bins, int64_t extent, int64_t ratio) {
  const DType dtype = body.DTypeOf(start);
  const Expr bin = length / static_cast<double>(bins);
  const auto last = static_cast<double>(extent - 1);
  Expr samples, taken;  // per bin, [R, 1, 1]; and counted, [samples]
  if (ratio > 0) {
    samples = body.Scalar(dtype, static_cast<double>(ratio));
    taken = Counting(body, ratio, dtype);
  } else {
    samples = body.Op("Max", {body.Unary("Ceil", bin), body.Scalar(dtype, 1)});
    const Expr most =
        body.Cast(body.Typed(dtype, "ReduceMax", {samples}, MakeAttributes({{"keepdims", int64_t{0}}})), DType::kInt64);
    taken = body.Cast(body.Op("Range", {body.Int(0), most, body.Int(1)}), dtype);
  }
  const auto apart = [&](Expr x) { return body.Op("Unsqueeze", {x, body.Ints({-1})}); };
  const Expr inside = (taken + 0.5) / samples;  // [R, 1, samples], in bins
  const Expr at = start + bin * (body.Reshape(Counting(body, bins, dtype), {bins, 1}) + inside);
  const auto holds = [&](Expr condition) { return body.Cast(condition, dtype); };
  const Expr weight = holds(body.Not(body.Less(at, -1.0))) *
                      holds(body.Not(body.Greater(at, static_cast<double>(extent)))) *
                      holds(body.Less(taken, samples)) / samples;
  const Expr clamped = body.Op("Max", {body.Op("Min", {at, body.Scalar(dtype, last)}), body.Scalar(dtype, 0)});
  const Expr low = body.Unary("Floor", clamped), fraction = clamped - low;
  const Expr high = body.Op("Min", {low + 1.0, body.Scalar(dtype, last)});
  const Expr positions = Counting(body, extent, dtype);
  const Expr spread = holds(body.Equal(apart(low), positions)) * apart((1.0 - fraction) * weight) +
                      holds(body.Equal(apart(high), positions)) * apart(fraction * weight);
  return body.ReduceSum(spread, {2}, /*keep_dims=*/false);
}

}  // namespace

absl::Status RoiAlignGradBody(BodyBuilder& body) {  // dY [R, C, P, Q], rois [R, 4], batch_indices [R]
  const OpContext forward = body.forward();
  if (body.attributes().String("mode", "avg") != "avg") {
    return body.Error("has mode 'max', whose winners nothing tells; expected mode 'avg'");
  }
  const Shape &pooled = body.InShape(0), &image = body.OutShape(0);
  const Expr dy = body.In(0);
  const std::string absent = forward.version() < 16 ? "output_half_pixel" : "half_pixel";
  const bool half = body.attributes().String("coordinate_transformation_mode", absent) == "half_pixel";
  const Expr boxes = body.In(1) * body.attributes().Float("spatial_scale", 1) - (half ? 0.5 : 0.0);
  const auto length_of = [&](int64_t first) {
    const Expr length = Side(body, boxes, pooled[0], first + 2) - Side(body, boxes, pooled[0], first);
    return half ? length : body.Op("Max", {length, body.Scalar(body.DTypeOf(length), 1)});
  };
  const int64_t ratio = body.attributes().Int("sampling_ratio", 0);
  const auto weights = [&](int64_t first, int64_t bins, int64_t extent) {
    const Expr matrix = BinWeights(body, Side(body, boxes, pooled[0], first), length_of(first), bins, extent, ratio);
    return body.Reshape(matrix, {pooled[0], 1, bins, extent});
  };
  const Expr rows = weights(1, pooled[2], image[2]), columns = weights(0, pooled[3], image[3]);
  const Expr dx = body.MatMul(body.MatMul(body.Transpose(rows, {0, 1, 3, 2}), dy), columns);
  body.Out(0, body.ScatterAlong(dx, body.In(2), {pooled[0]}, 0, image));
  return absl::OkStatus();
}

namespace {

// Which positions of an axis each bin of each box sees: 0 or minus infinity, [R, bins, extent].
Expr SeenByBins(BodyBuilder& body, Expr first, Expr last, int64_t bins, int64_t extent) {
  const DType dtype = body.DTypeOf(first);
  const Expr length = body.Op("Max", {last - first + 1.0, body.Scalar(dtype, 1)});
  const Expr bin = length / static_cast<double>(bins);
  const Expr counted = body.Reshape(Counting(body, bins, dtype), {bins, 1});
  const Expr begin = body.Unary("Floor", counted * bin) + first;
  const Expr end = body.Unary("Ceil", (counted + 1.0) * bin) + first;
  const Expr positions = Counting(body, extent, dtype);
  const Expr seen = body.And(body.Not(body.Less(positions, begin)), body.Less(positions, end));
  return body.Where(seen, body.Scalar(dtype, 0), -std::numeric_limits<double>::infinity());
}

// The largest along the last axis, and where.
std::pair<Expr, Expr> Largest(BodyBuilder& body, Expr x) {
  const Expr at = body.Typed(DType::kInt64, "ArgMax", {x}, MakeAttributes({{"axis", int64_t{-1}}}));
  const Attributes last = MakeAttributes({{"axis", int64_t{-1}}});
  return {body.Op("GatherElements", {x, at}, last), at};
}

}  // namespace

absl::Status MaxRoiPoolBody(BodyBuilder& body) {  // X [N, C, H, W], rois [R, 5] -> Y, indices into the flattened X
  const Shape &image = body.InShape(0), &pooled = body.OutShape(0);
  const int64_t boxes = pooled[0], channels = image[1], height = image[2], width = image[3];
  const Expr image_of = body.Cast(body.Slice(body.In(1), {0}, {1}, {1}), DType::kInt64);  // [R, 1]
  const Expr scaled = body.In(1) * body.attributes().Float("spatial_scale", 1);
  const auto side = [&](int64_t column) {  // halves away from zero, as C's round
    return body.Unary("Floor", Side(body, scaled, boxes, column) + 0.5);
  };
  const Expr columns = SeenByBins(body, side(1), side(3), pooled[3], width);
  const Expr rows = SeenByBins(body, side(2), side(4), pooled[2], height);
  const Expr x = body.Op("Gather", {body.In(0), body.Reshape(image_of, {boxes})});  // [R, C, H, W]
  // First along the columns, [R, C, H, Q, W], then along the rows, [R, C, P, Q, H].
  const auto [by_column, column] = Largest(body, body.Reshape(x, {boxes, channels, height, 1, width}) +
                                                     body.Reshape(columns, {boxes, 1, 1, pooled[3], width}));
  const auto turned = [&](Expr value) {
    return body.Transpose(body.Reshape(value, {boxes, channels, height, pooled[3]}), {0, 1, 3, 2});
  };
  const Expr candidates = body.Reshape(turned(by_column), {boxes, channels, 1, pooled[3], height}) +
                          body.Reshape(rows, {boxes, 1, pooled[2], 1, height});
  const auto [by_row, row] = Largest(body, candidates);
  const Expr columns_of = body.Expand(body.Reshape(turned(column), {boxes, channels, 1, pooled[3], height}),
                                      {boxes, channels, pooled[2], pooled[3], height});
  const Expr found = body.Op("GatherElements", {columns_of, row}, MakeAttributes({{"axis", int64_t{-1}}}));
  const Expr y = body.Reshape(by_row, pooled);
  const Expr empty = body.Typed(DType::kBool, "IsInf", {y});
  body.Out(0, body.Where(empty, 0.0, y));
  if (!body.node().HasOutput(1)) return absl::OkStatus();
  const Expr map =
      body.Reshape(image_of * body.Scalar(DType::kInt64, static_cast<double>(channels)), {boxes, 1, 1, 1}) +
      body.Reshape(body.Ints(Range(channels)), {channels, 1, 1});
  const Expr flat =
      (map * body.Int(height) + body.Reshape(row, pooled)) * body.Int(width) + body.Reshape(found, pooled);
  body.Out(1, body.Where(empty, body.Int(-1), flat));
  return absl::OkStatus();
}

absl::Status MaxRoiPoolGradBody(BodyBuilder& body) {  // dY, indices; -1 where the window was empty
  const Expr indices = body.In(1), empty = body.Less(indices, body.Int(0));
  const int64_t pooled = body.node().InElements(0), image = body.node().OutElements(0);
  const Expr dy = body.Reshape(body.Where(empty, 0.0, body.In(0)), {pooled});
  const Expr at = body.Reshape(body.Where(empty, body.Int(0), indices), {pooled});
  body.Out(0, body.Reshape(body.ScatterAlong(dy, at, {pooled}, 0, {image}), body.OutShape(0)));
  return absl::OkStatus();
}

}  // namespace reusescope
