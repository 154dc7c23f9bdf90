// Normalizations that forward asks for statistics which the operator does not hand out, and the gradients of all.
//
// With x^ the normalized input, g = dY scale, and means over what was normalized over:
//
//   dX = inv (g - mean(g) - x^ mean(g x^)),  dscale = sum(dY x^),  dbias = sum(dY)
//
// RMS norm has no mean to send back through, and inference-mode batch norm no statistics at all.

#include <algorithm>

#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

// [1, C, 1, ...] for a tensor of that rank.
Shape AlongChannels(int64_t channels, size_t rank) {
  Shape shape(rank, 1);
  shape[rank > 1 ? 1 : 0] = channels;
  return shape;
}

// All dimensions but the channels.
Dims AllButChannels(size_t rank) {
  Dims axes;
  for (size_t d = 0; d < rank; ++d) {
    if (d != 1) axes.push_back(static_cast<int64_t>(d));
  }
  return axes;
}

struct Statistics {
  Expr mean, inverse;  // of the deviation
};

Statistics StatisticsOf(BodyBuilder& body, Expr x, const Dims& axes, double epsilon) {
  const Expr mean = body.ReduceMean(x, axes);
  const Expr centered = x - mean;
  return {mean, 1.0 / body.Sqrt(body.ReduceMean(centered * centered, axes) + epsilon)};
}

// Hands out the gradients that attribute `wrt` lists, in its order. `dx`, `dscale`, `dbias` write them when asked for.
template <typename DX, typename DScale, typename DBias>
void OutWanted(BodyBuilder& body, DX dx, DScale dscale, DBias dbias) {
  const auto wrt = body.attributes().Ints("wrt");
  for (size_t j = 0; j < wrt.size(); ++j) {
    body.Out(static_cast<int>(j), wrt[j] == 0 ? dx() : wrt[j] == 1 ? dscale() : dbias());
  }
}

}  // namespace

int64_t AxisOf(const OpContext& ctx, int64_t absent, int rank) {
  const int64_t axis = ctx.attributes().Int("axis", absent);
  return axis < 0 ? axis + rank : axis;
}

Dims Range(int64_t n) {
  Dims range(n);
  for (int64_t i = 0; i < n; ++i) range[i] = i;
  return range;
}

// X scale bias mean var -> Y [running_mean running_var] saved_mean saved_inv_std.
absl::Status BatchNormBody(BodyBuilder& body) {
  const Expr x = body.In(0);
  const size_t rank = body.InShape(0).size();
  const int64_t channels = body.node().InElements(1);
  const Shape along = AlongChannels(channels, rank);
  const Dims axes = AllButChannels(rank);
  const double epsilon = body.attributes().Float("epsilon", 1e-5), momentum = body.attributes().Float("momentum", 0.9);
  const Statistics batch = StatisticsOf(body, x, axes, epsilon);
  body.Out(0, (x - batch.mean) * batch.inverse * body.Reshape(body.In(1), along) + body.Reshape(body.In(2), along));
  const Expr mean = body.Reshape(batch.mean, {channels});
  const int own = body.node().num_outputs() - body.node().node().saved_outputs;
  if (own > 1) body.Out(1, momentum * body.In(3) + (1 - momentum) * mean);
  if (own > 2) {
    const Expr centered = x - batch.mean;
    const Expr variance = body.Reshape(body.ReduceMean(centered * centered, axes), {channels});
    body.Out(2, momentum * body.In(4) + (1 - momentum) * variance);
  }
  body.Out(own, body.Cast(mean, body.node().OutType(own).dtype));
  body.Out(own + 1, body.Cast(body.Reshape(batch.inverse, {channels}), body.node().OutType(own + 1).dtype));
  return absl::OkStatus();
}

// dY X mean inverse [scale]; of inference mode, the running mean and variance.
absl::Status BatchNormGradBody(BodyBuilder& body) {
  const Expr dy = body.In(0), x = body.In(1);
  const DType dtype = body.DTypeOf(dy);
  const size_t rank = body.InShape(1).size();
  const int64_t channels = body.node().InElements(2);
  const Shape along = AlongChannels(channels, rank);
  const Dims axes = AllButChannels(rank);
  const bool trains = body.forward().node().saved_outputs > 0;
  Expr inverse = body.Reshape(body.Cast(body.In(3), dtype), along);
  if (!trains) inverse = 1.0 / body.Sqrt(inverse + body.attributes().Float("epsilon", 1e-5));
  const Expr normalized = (x - body.Reshape(body.Cast(body.In(2), dtype), along)) * inverse;
  const Expr g = dy * body.Reshape(body.In(4), along);
  OutWanted(
      body,
      [&] {
        if (!trains) return g * inverse;
        return inverse * (g - body.ReduceMean(g, axes) - normalized * body.ReduceMean(g * normalized, axes));
      },
      [&] { return body.Reshape(body.ReduceSum(dy * normalized, axes), {channels}); },
      [&] { return body.Reshape(body.ReduceSum(dy, axes), {channels}); });
  return absl::OkStatus();
}

// dY X mean inverse [scale]; statistics as the operator hands them out.
absl::Status LayerNormGradBody(BodyBuilder& body) {
  const Expr dy = body.In(0), x = body.In(1);
  const DType dtype = body.DTypeOf(dy);
  const Shape& shape = body.InShape(1);
  Dims axes;
  for (int64_t d = AxisOf(body.node(), -1, static_cast<int>(shape.size())); d < static_cast<int64_t>(shape.size());
       ++d) {
    axes.push_back(d);
  }
  const Expr inverse = body.Cast(body.In(3), dtype);
  const Expr normalized = (x - body.Cast(body.In(2), dtype)) * inverse;
  const auto summed = [&](Expr gradient, int i) { return body.SumTo(gradient, shape, body.forward().InShape(i)); };
  OutWanted(
      body,
      [&] {
        const Expr g = body.In(4) ? dy * body.In(4) : dy;
        return inverse * (g - body.ReduceMean(g, axes) - normalized * body.ReduceMean(g * normalized, axes));
      },
      [&] { return summed(dy * normalized, 1); }, [&] { return summed(dy, 2); });
  return absl::OkStatus();
}

namespace {

// Axes that an RMS norm averages over, and the shape of its statistics.
Dims RmsAxes(const OpContext& ctx, const Shape& shape, Shape& rows) {
  Dims axes;
  rows = shape;
  const int rank = static_cast<int>(shape.size());
  for (int64_t d = AxisOf(ctx, -1, rank); d < rank; ++d) {
    axes.push_back(d);
    rows[d] = 1;
  }
  return axes;
}

}  // namespace

// X scale -> Y [saved_inv_std].
absl::Status RmsNormBody(BodyBuilder& body) {
  const Expr x = body.In(0);
  Shape rows;
  const Dims axes = RmsAxes(body.node(), body.InShape(0), rows);
  const Expr inverse = 1.0 / body.Sqrt(body.ReduceMean(x * x, axes) + body.attributes().Float("epsilon", 1e-5));
  body.Out(0, x * inverse * body.In(1));
  if (body.node().HasOutput(1)) {
    const Type& saved = body.node().OutType(1);
    body.Out(1, body.Cast(body.Reshape(inverse, saved.shape), saved.dtype));
  }
  return absl::OkStatus();
}

// dY X inverse scale.
absl::Status RmsNormGradBody(BodyBuilder& body) {
  const Expr dy = body.In(0), x = body.In(1);
  const Shape& shape = body.InShape(1);
  Shape rows;
  const Dims axes = RmsAxes(body.node(), shape, rows);
  const Expr inverse = body.Reshape(body.Cast(body.In(2), body.DTypeOf(dy)), rows);
  const Expr normalized = x * inverse;
  const auto dx = [&] {
    const Expr g = dy * body.In(3);
    return inverse * (g - normalized * body.ReduceMean(g * normalized, axes));
  };
  const auto dscale = [&] { return body.SumTo(dy * normalized, shape, body.forward().InShape(1)); };
  OutWanted(body, dx, dscale, dscale);
  return absl::OkStatus();
}

namespace {

// A group or instance norm: [N, C, ...] seen as [N, G, C/G ...], statistics [N, G, 1].
struct Groups {
  int64_t groups;
  Shape grouped, statistics, along;

  Groups(const OpContext& ctx, const Shape& shape) {
    const int64_t channels = shape[1];
    groups = ctx.attributes().Int("num_groups", channels);
    int64_t elements = channels;
    for (size_t d = 2; d < shape.size(); ++d) elements *= shape[d];
    grouped = {shape[0], groups, elements / groups};
    statistics = {shape[0], groups, 1};
    along = AlongChannels(channels, shape.size());
  }
};

// Scale or bias per channel; GroupNormalization before opset 21 has them per group.
Expr PerChannel(BodyBuilder& body, Expr x, int64_t elements, const Shape& shape, const Groups& groups) {
  const int64_t channels = shape[1];
  if (elements != channels) {
    x = body.Expand(body.Reshape(x, {groups.groups, 1}), {groups.groups, channels / groups.groups});
  }
  return body.Reshape(x, groups.along);
}

}  // namespace

// X scale bias -> Y [saved_mean saved_inv_std].
absl::Status GroupNormBody(BodyBuilder& body) {
  const Shape& shape = body.InShape(0);
  const Groups groups(body.node(), shape);
  const Expr x = body.Reshape(body.In(0), groups.grouped);
  const Statistics rows = StatisticsOf(body, x, {2}, body.attributes().Float("epsilon", 1e-5));
  const Expr normalized = body.Reshape((x - rows.mean) * rows.inverse, shape);
  const auto affine = [&](int i) { return PerChannel(body, body.In(i), body.node().InElements(i), shape, groups); };
  body.Out(0, normalized * affine(1) + affine(2));
  for (int j : {1, 2}) {
    if (!body.node().HasOutput(j)) continue;
    const Type& saved = body.node().OutType(j);
    body.Out(j, body.Cast(body.Reshape(j == 1 ? rows.mean : rows.inverse, saved.shape), saved.dtype));
  }
  return absl::OkStatus();
}

// dY X mean inverse scale.
absl::Status GroupNormGradBody(BodyBuilder& body) {
  const Shape& shape = body.InShape(1);
  const Groups groups(body.node(), shape);
  const Expr dy = body.In(0);
  const DType dtype = body.DTypeOf(dy);
  const Expr x = body.Reshape(body.In(1), groups.grouped);
  const Expr inverse = body.Reshape(body.Cast(body.In(3), dtype), groups.statistics);
  const Expr normalized = (x - body.Reshape(body.Cast(body.In(2), dtype), groups.statistics)) * inverse;
  const int64_t scales = body.node().InElements(4);
  const auto summed = [&](Expr gradient) {
    const Expr channels = body.ReduceSum(gradient, AllButChannels(shape.size()), /*keep_dims=*/false);
    if (scales == shape[1]) return channels;
    return body.ReduceSum(body.Reshape(channels, {scales, shape[1] / scales}), {1}, /*keep_dims=*/false);
  };
  OutWanted(
      body,
      [&] {
        const Expr g = body.Reshape(dy * PerChannel(body, body.In(4), scales, shape, groups), groups.grouped);
        const Expr dx = inverse * (g - body.ReduceMean(g, {2}) - normalized * body.ReduceMean(g * normalized, {2}));
        return body.Reshape(dx, shape);
      },
      [&] { return summed(dy * body.Reshape(normalized, shape)); }, [&] { return summed(dy); });
  return absl::OkStatus();
}

namespace {

// Sums over a window of `size` channels, from `before` channels before each on.
Expr ChannelWindowSum(BodyBuilder& body, Expr x, const Shape& shape, int64_t size, int64_t before) {
  const int64_t channels = shape[1];
  Dims pads(2 * shape.size(), 0);
  pads[1] = before;
  pads[shape.size() + 1] = size - 1 - before;
  const Expr padded = body.Pad(x, pads);
  Expr sum;
  for (int64_t j = 0; j < size; ++j) {
    const Expr shifted = body.Slice(padded, {j}, {j + channels}, {1});
    sum = sum ? sum + shifted : shifted;
  }
  return sum;
}

}  // namespace

// dY X Y. With D = bias + alpha / size sum of x^2: dX = dY D^-beta - 2 alpha beta / size x sum(dY x D^(-beta - 1)).
absl::Status LrnGradBody(BodyBuilder& body) {
  const Expr dy = body.In(0), x = body.In(1);
  const Shape& shape = body.InShape(1);
  const Attributes& a = body.attributes();
  const int64_t size = a.Int("size", 1);
  const double alpha = a.Float("alpha", 1e-4) / static_cast<double>(size), beta = a.Float("beta", 0.75);
  const DType dtype = body.DTypeOf(x);
  const Expr d = a.Float("bias", 1) + alpha * ChannelWindowSum(body, x * x, shape, size, (size - 1) / 2);
  const Expr direct = dy * body.Pow(d, body.Scalar(dtype, -beta));
  // Channel i is in the window of j where j is in the mirrored window of i.
  const Expr sum = ChannelWindowSum(body, direct * x / d, shape, size, size - 1 - (size - 1) / 2);
  body.Out(0, direct - (2 * alpha * beta) * x * sum);
  return absl::OkStatus();
}

// dY X Y. dX = (dY - n' sum(dY y)) / n with n' the norm's derivative: y, or the sign of x.
absl::Status LpNormGradBody(BodyBuilder& body) {
  const Expr dy = body.In(0), x = body.In(1), y = body.In(2);
  const Dims axes = {AxisOf(body.node(), -1, body.node().InType(1).rank())};
  const bool absolute = body.attributes().Int("p", 2) == 1;
  const Expr norm = absolute ? body.ReduceSum(body.Unary("Abs", x), axes) : body.Sqrt(body.ReduceSum(x * x, axes));
  const Expr slope = absolute ? body.Unary("Sign", x) : y;
  const Expr zero = body.Equal(norm, 0);
  const Expr dx = (dy - slope * body.ReduceSum(dy * y, axes)) / body.Where(zero, 1.0, norm);
  body.Out(0, body.Where(zero, 0.0, dx));
  return absl::OkStatus();
}

// dY X Y. As a batch norm over `axes` without scale.
absl::Status MvnGradBody(BodyBuilder& body) {
  constexpr double kEpsilon = 1e-9;  // of ONNX's function body, added to the deviation
  const Expr dy = body.In(0), x = body.In(1), y = body.In(2);
  const auto given = body.attributes().Ints("axes");
  const Dims axes = given.empty() ? Dims{0, 2, 3} : Dims(given.begin(), given.end());
  const Expr centered = x - body.ReduceMean(x, axes);
  const Expr deviation = body.Sqrt(body.ReduceMean(centered * centered, axes)) + kEpsilon;
  body.Out(0, (dy - body.ReduceMean(dy, axes) - y * body.ReduceMean(dy * y, axes)) / deviation);
  return absl::OkStatus();
}

}  // namespace reusescope
