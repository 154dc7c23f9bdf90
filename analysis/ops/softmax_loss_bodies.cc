// Gradients of softmax and of the losses.

#include <algorithm>
#include <limits>

#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

// Ones where the class (dimension 1 of `scores`) is the label, zeros elsewhere and where the label is to be ignored.
// Times the weight of the class, where there is one. `slot` is that of the weight.
Expr WeightedLabels(BodyBuilder& body, Expr labels, const Shape& label_shape, const Shape& scores, DType dtype,
                    int slot) {
  Shape column = label_shape, classes(scores.size(), 1);
  column.insert(column.begin() + 1, 1);
  classes[1] = scores[1];
  const Expr label = body.Reshape(body.Cast(labels, DType::kInt64), column);
  const Expr range = body.Op("Range", {body.Int(0), body.Int(scores[1]), body.Int(1)});
  Expr hit = body.Equal(label, body.Reshape(range, classes));
  if (body.attributes().Has("ignore_index")) {
    const Expr ignored = body.Int(body.attributes().Int("ignore_index", 0));
    hit = body.And(hit, body.Not(body.Equal(label, ignored)));
  }
  const Expr weights = body.Cast(hit, dtype);
  return body.In(slot) ? weights * body.Reshape(body.In(slot), classes) : weights;
}

// dY of the loss, as a factor of every row: divided by the sum of the weights for a mean.
Expr RowFactor(BodyBuilder& body, Expr dy, Expr weighted, const Shape& label_shape) {
  const absl::string_view reduction = body.attributes().String("reduction", "mean");
  Shape column = label_shape;
  column.insert(column.begin() + 1, 1);
  if (reduction == "none") return body.Reshape(dy, column);
  if (reduction == "sum") return dy;
  return dy / body.ReduceSum(weighted, Range(static_cast<int64_t>(column.size())), /*keep_dims=*/false);
}

}  // namespace

absl::Status GuardedSoftmaxBody(BodyBuilder& body) {
  const Expr x = body.In(0);
  const int64_t axis = AxisOf(body.node(), -1, body.node().InType(0).rank());
  const Expr masked =
      body.Equal(body.Reduce("ReduceMax", x, {axis}, /*keep_dims=*/true), -std::numeric_limits<double>::infinity());
  body.Out(0,
           body.Where(masked, 0.0, body.Op("Softmax", {body.Where(masked, 0.0, x)}, MakeAttributes({{"axis", axis}}))));
  return absl::OkStatus();
}

absl::Status SoftmaxGradBody(BodyBuilder& body) {  // dY, Y
  const Expr dy = body.In(0), y = body.In(1);
  const int64_t axis = AxisOf(body.node(), -1, body.node().InType(0).rank());
  const Expr product = dy * y;
  body.Out(0, product - y * body.ReduceSum(product, {axis}));
  return absl::OkStatus();
}

absl::Status LogSoftmaxGradBody(BodyBuilder& body) {  // dY, Y
  const Expr dy = body.In(0);
  const int64_t axis = AxisOf(body.node(), -1, body.node().InType(0).rank());
  body.Out(0, dy - body.Exp(body.In(1)) * body.ReduceSum(dy, {axis}));
  return absl::OkStatus();
}

absl::Status CrossEntropyGradBody(BodyBuilder& body) {  // log_prob, labels, dY, [weight]
  const Expr log_prob = body.In(0);
  const Shape& scores = body.InShape(0);
  const Expr weighted = WeightedLabels(body, body.In(1), body.InShape(1), scores, body.DTypeOf(log_prob), 3);
  const Expr row_weight = body.ReduceSum(weighted, {1});
  const Expr factor = RowFactor(body, body.In(2), weighted, body.InShape(1));
  body.Out(0, (body.Exp(log_prob) * row_weight - weighted) * factor);
  return absl::OkStatus();
}

absl::Status NllGradBody(BodyBuilder& body) {  // labels, dY, [weight]
  const Expr dy = body.In(1);
  const Expr weighted = WeightedLabels(body, body.In(0), body.InShape(0), body.OutShape(0), body.DTypeOf(dy), 2);
  body.Out(0, -(weighted * RowFactor(body, dy, weighted, body.InShape(0))));
  return absl::OkStatus();
}

absl::Status MseLossBody(BodyBuilder& body) {  // prediction, target
  const Expr difference = body.In(0) - body.In(1);
  body.Out(0, body.ReduceMean(difference * difference, Range(body.node().InType(0).rank()), /*keep_dims=*/false));
  return absl::OkStatus();
}

absl::Status MseGradBody(BodyBuilder& body) {  // prediction, target, dY
  const auto elements = static_cast<double>(std::max<int64_t>(body.node().InElements(0), 1));
  body.Out(0, (body.In(0) - body.In(1)) * (body.In(2) * (2 / elements)));
  return absl::OkStatus();
}

}  // namespace reusescope
