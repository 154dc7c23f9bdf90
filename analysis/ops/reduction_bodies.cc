// Gradients of reductions: dY, and what it needs of X and Y, repeated over the dimensions that were reduced.

#include <algorithm>

#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

struct Reduction {
  Dims axes;
  Shape full, kept;     // of X; with ones where it was reduced
  double elements = 1;  // that a result was made of

  explicit Reduction(BodyBuilder& body) : full(body.OutShape(0)), kept(full) {
    const int rank = static_cast<int>(full.size());
    const auto given = body.attributes().Ints("axes");
    const bool all = given.empty() && body.attributes().Int("noop_with_empty_axes", 0) == 0;
    for (int d = 0; d < rank; ++d) {
      const bool listed = std::any_of(given.begin(), given.end(), [&](int64_t a) { return a == d || a + rank == d; });
      if (!all && !listed) continue;
      axes.push_back(d);
      elements *= static_cast<double>(full[d]);
      kept[d] = 1;
    }
  }
  Expr Column(BodyBuilder& body, int i) const {
    return body.InShape(i) == kept ? body.In(i) : body.Reshape(body.In(i), kept);
  }
};

// dY where X is the extremum, shared among equals.
Expr SharedAmongEquals(BodyBuilder& body, const Reduction& reduction) {
  const Expr dy = reduction.Column(body, 0);
  const Expr equal = body.Cast(body.Equal(body.In(1), reduction.Column(body, 2)), body.DTypeOf(dy));
  return equal * (dy / body.ReduceSum(equal, reduction.axes));
}

// The product of the others: of one zero, that of all but it; of several, zero.
Expr ProductOfOthers(BodyBuilder& body, Expr x, const Dims& axes) {
  const Expr zero = body.Equal(x, 0);
  const Expr zeros = body.Cast(zero, body.DTypeOf(x));
  const Expr others = body.Where(zero, 1.0, x);
  const Expr product = body.Reduce("ReduceProd", others, axes, /*keep_dims=*/true);
  const Expr count = body.ReduceSum(zeros, axes);
  const Expr of_nonzero = body.Where(body.Equal(count, 0), product, 0.0) / others;
  const Expr of_zero = body.Where(body.Equal(count, 1), product, 0.0) * zeros;
  return of_nonzero * (1.0 - zeros) + of_zero;
}

}  // namespace

absl::Status ReduceMeanGradBody(BodyBuilder& body) {  // dY
  const Reduction reduction(body);
  body.Out(0, body.Expand(reduction.Column(body, 0) / std::max(reduction.elements, 1.0), reduction.full));
  return absl::OkStatus();
}

absl::Status ReduceExtremumGradBody(BodyBuilder& body) {  // dY X Y
  body.Out(0, SharedAmongEquals(body, Reduction(body)));
  return absl::OkStatus();
}

absl::Status ReduceProdGradBody(BodyBuilder& body) {  // dY X Y
  const Reduction reduction(body);
  body.Out(0, reduction.Column(body, 0) * ProductOfOthers(body, body.In(1), reduction.axes));
  return absl::OkStatus();
}

absl::Status ReduceL1GradBody(BodyBuilder& body) {  // dY X
  body.Out(0, Reduction(body).Column(body, 0) * body.Unary("Sign", body.In(1)));
  return absl::OkStatus();
}

absl::Status ReduceL2GradBody(BodyBuilder& body) {  // dY X Y
  const Reduction reduction(body);
  const Expr y = reduction.Column(body, 2);
  const Expr zero = body.Equal(y, 0);
  body.Out(0, body.In(1) * body.Where(zero, 0.0, reduction.Column(body, 0) / body.Where(zero, 1.0, y)));
  return absl::OkStatus();
}

absl::Status ReduceSumSquareGradBody(BodyBuilder& body) {  // dY X
  body.Out(0, body.In(1) * (2.0 * Reduction(body).Column(body, 0)));
  return absl::OkStatus();
}

absl::Status ReduceLogSumGradBody(BodyBuilder& body) {  // dY Y
  const Reduction reduction(body);
  const Expr share = reduction.Column(body, 0) / body.Exp(reduction.Column(body, 1));
  body.Out(0, body.Expand(share, reduction.full));
  return absl::OkStatus();
}

absl::Status ReduceLogSumExpGradBody(BodyBuilder& body) {  // dY X Y
  const Reduction reduction(body);
  body.Out(0, reduction.Column(body, 0) * body.Exp(body.In(1) - reduction.Column(body, 2)));
  return absl::OkStatus();
}

absl::Status UnbroadcastBody(BodyBuilder& body) {
  const Shape &from = body.InShape(0), &to = body.OutShape(0);
  const auto axes = body.attributes().Ints("axes");
  if (axes.empty()) {
    body.Out(0, body.SumTo(body.In(0), from, to));
  } else {
    body.Out(0, body.Reshape(body.ReduceSum(body.In(0), {axes.begin(), axes.end()}), to));
  }
  return absl::OkStatus();
}

// dY X Y axis: the running sum of dY Y from the other end, over X. Not defined where X is zero.
absl::Status CumProdGradBody(BodyBuilder& body) {
  const int64_t reverse = body.attributes().Int("reverse", 0);
  const int64_t exclusive = body.attributes().Int("exclusive", 0);
  const Attributes back = MakeAttributes({{"reverse", int64_t{reverse == 0}}, {"exclusive", exclusive}});
  body.Out(0, body.Op("CumSum", {body.In(0) * body.In(2), body.In(3)}, back) / body.In(1));
  return absl::OkStatus();
}

}  // namespace reusescope
