// The gradients of convolutions and matrix products, as convolutions and matrix products.
//
//   dX of Conv           ConvTranspose(dY, W)
//   dX of ConvTranspose  Conv(dY, W)
//   dW of both           Conv(X', dY'), batch and channels exchanged, stride and dilation exchanged
//   MatMul, Gemm         products with the other operand transposed
//   Einsum               the equation with the operand and the result exchanged

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/conv_window.h"
#include "analysis/ops/einsum.h"

namespace reusescope {
namespace {

Dims Vector(const absl::InlinedVector<int64_t, 3>& values) { return {values.begin(), values.end()}; }

Attributes ConvAttributes(const ConvWindow& window, const Dims& pads, int64_t group) {
  return MakeAttributes(
      {{"strides", Vector(window.stride)}, {"dilations", Vector(window.dilation)}, {"pads", pads}, {"group", group}});
}

// What a window of that position count leaves of the map at its end: negative where positions reach beyond it, which
// is padding.
int64_t Unseen(const ConvWindow& window, size_t d, int64_t map, int64_t taps, int64_t positions) {
  const int64_t seen = (positions - 1) * window.stride[d] + (taps - 1) * window.dilation[d] + 1 - window.pad_begin[d];
  return map - seen;
}

}  // namespace

Expr SpreadPoints(BodyBuilder& body, Expr point, Expr filter, const ConvWindow& window, int64_t group, const Shape& map,
                  const Shape& filter_shape, const Shape& point_shape) {
  const size_t dims = map.size() - 2;
  Dims pads(2 * dims, 0), output_padding(dims, 0);
  for (size_t d = 0; d < dims; ++d) {
    const int64_t unseen = Unseen(window, d, map[d + 2], filter_shape[d + 2], point_shape[d + 2]);
    pads[d] = window.pad_begin[d];
    pads[dims + d] = std::max<int64_t>(-unseen, 0);
    output_padding[d] = std::max<int64_t>(unseen, 0);
  }
  // Runtimes want an output padding below the stride; what exceeds it is seen by no window, and zero.
  Dims border(2 * map.size(), 0);
  for (size_t d = 0; d < dims; ++d) {
    const int64_t allowed = std::max(window.stride[d], window.dilation[d]) - 1;
    border[map.size() + d + 2] = std::max<int64_t>(output_padding[d] - allowed, 0);
    output_padding[d] = std::min(output_padding[d], allowed);
  }
  const auto transposed = [&](Expr x, Expr w, int64_t groups) {
    Attributes attributes = ConvAttributes(window, pads, groups);
    attributes.Set("output_padding", output_padding);
    return body.Op("ConvTranspose", {x, w}, std::move(attributes));
  };
  // ONNX's evaluator takes groups of one channel only.
  if (group == 1 || (filter_shape[0] == group && filter_shape[1] == 1)) {
    return body.Pad(transposed(point, filter, group), border);
  }
  const std::vector<DType> parts(group, body.DTypeOf(point));
  const auto split = [&](Expr x, int64_t axis) {
    return body.Ops("Split", {x}, parts, MakeAttributes({{"axis", axis}, {"num_outputs", group}}));
  };
  const std::vector<Expr> points = split(point, 1), filters = split(filter, 0);
  std::vector<Expr> maps;
  for (int64_t g = 0; g < group; ++g) maps.push_back(transposed(points[g], filters[g], 1));
  return body.Pad(body.Concat(maps, 1), border);
}

namespace {

// The points from the map: the convolution.
Expr GatherPoints(BodyBuilder& body, Expr map, Expr filter, const ConvWindow& window, int64_t group,
                  const Shape& map_shape, const Shape& filter_shape, const Shape& point_shape) {
  const size_t dims = map_shape.size() - 2;
  Dims pads(2 * dims, 0), starts(dims, 0), ends, axes;
  for (size_t d = 0; d < dims; ++d) {
    const int64_t unseen = Unseen(window, d, map_shape[d + 2], filter_shape[d + 2], point_shape[d + 2]);
    pads[d] = window.pad_begin[d];
    pads[dims + d] = std::max<int64_t>(-unseen, 0);
    ends.push_back(map_shape[d + 2] - std::max<int64_t>(unseen, 0));
    axes.push_back(static_cast<int64_t>(d) + 2);
  }
  if (!std::equal(ends.begin(), ends.end(), map_shape.begin() + 2)) map = body.Slice(map, starts, ends, axes);
  return body.Op("Conv", {map, filter}, ConvAttributes(window, pads, group));
}

// The filter from both: [K, C/g, r, s] as the sum over images and positions. Groups go with the channels:
// map [C/g, g n, h, w], points as filter [g k, n, p, q].
Expr GatherFilter(BodyBuilder& body, Expr map, Expr point, const ConvWindow& window, int64_t group,
                  const Shape& map_shape, const Shape& filter_shape, const Shape& point_shape) {
  const size_t rank = map_shape.size(), dims = rank - 2;
  const int64_t n = map_shape[0], channels = map_shape[1] / group;
  Shape grouped = {n, group, channels}, merged = {channels, group * n};
  Dims perm = {2, 1, 0}, swap = {1, 0};
  for (size_t d = 2; d < rank; ++d) {
    grouped.push_back(map_shape[d]);
    merged.push_back(map_shape[d]);
    perm.push_back(static_cast<int64_t>(d) + 1);
    swap.push_back(static_cast<int64_t>(d));
  }
  map = group == 1 ? body.Transpose(map, swap) : body.Reshape(body.Transpose(body.Reshape(map, grouped), perm), merged);
  const ConvWindow exchanged = {window.dilation, window.stride, window.pad_begin};
  Shape taps = {channels, filter_shape[0]};
  for (size_t d = 0; d < dims; ++d) taps.push_back(filter_shape[d + 2]);
  const Expr sum = GatherPoints(body, map, body.Transpose(point, swap), exchanged, group, map_shape, point_shape, taps);
  return body.Transpose(sum, swap);
}

std::string LettersOf(const std::vector<int>& labels) {
  std::string text;
  for (int label : labels) text.push_back(static_cast<char>(label < 26 ? 'a' + label : 'A' + label - 26));
  return text;
}

bool Contains(const std::vector<int>& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

// An operand without the dimensions of one that broadcast over their label, and with every label once.
Expr Plain(BodyBuilder& body, Expr x, const Shape& shape, const EinsumEquation& equation, std::vector<int>& labels) {
  Shape kept;
  std::vector<int> kept_labels;
  for (size_t d = 0; d < labels.size(); ++d) {
    if (shape[d] == 1 && equation.labels[labels[d]].extent != 1) continue;
    kept.push_back(shape[d]);
    kept_labels.push_back(labels[d]);
  }
  labels = kept_labels;
  return kept == shape ? x : body.Reshape(x, kept);
}

// Ones where the indices of dimensions d and e are equal, as a factor of a tensor of that rank.
Expr Diagonal(BodyBuilder& body, DType dtype, size_t rank, size_t d, size_t e, int64_t extent) {
  Shape along_d(rank, 1), along_e(rank, 1);
  along_d[d] = along_e[e] = extent;
  const Expr index = body.Ints(Range(extent));
  return body.Cast(body.Equal(body.Reshape(index, along_d), body.Reshape(index, along_e)), dtype);
}

// The gradient of an operand with `labels`: the products of dY and the other operand (if any) at its labels. Labels
// that the operand alone has were summed: dY is repeated along them. Labels that it has twice: zero off the diagonal.
Expr OperandGradient(BodyBuilder& body, const EinsumEquation& equation, Expr dy, Expr other, std::vector<int> others,
                     const Shape& other_shape, const std::vector<int>& labels, const Shape& shape) {
  std::vector<int> found;
  std::vector<int> unique;
  for (int label : labels) {
    if (Contains(unique, label)) continue;
    unique.push_back(label);
    if (Contains(equation.output, label) || (other && Contains(others, label))) found.push_back(label);
  }
  std::string terms = LettersOf(equation.output);
  std::vector<Expr> operands = {dy};
  if (other) {
    operands.push_back(Plain(body, other, other_shape, equation, others));
    absl::StrAppend(&terms, ",", LettersOf(others));
  }
  Expr gradient =
      body.Op("Einsum", operands, MakeAttributes({{"equation", absl::StrCat(terms, "->", LettersOf(found))}}));
  // One dimension for each of the operand's; the second of a pair on the diagonal starts as one.
  Shape spread, full;
  std::vector<int> seen;
  for (int label : labels) {
    const bool first = !Contains(seen, label);
    seen.push_back(label);
    spread.push_back(first && Contains(found, label) ? equation.labels[label].extent : 1);
    full.push_back(equation.labels[label].extent);
  }
  gradient = body.Expand(body.Reshape(gradient, spread), full);
  for (size_t e = 0; e < labels.size(); ++e) {
    const size_t d = std::find(labels.begin(), labels.end(), labels[e]) - labels.begin();
    if (d < e) gradient = gradient * Diagonal(body, body.DTypeOf(dy), labels.size(), d, e, full[e]);
  }
  return body.SumTo(gradient, full, shape);
}

}  // namespace

absl::Status ConvGradBody(BodyBuilder& body) {
  const OpContext conv = body.forward();
  const Shape &x = conv.InShape(0), &w = conv.InShape(1), &y = conv.OutShape(0);
  const ConvWindow window = ConvWindowOf(conv, x, w, y);
  const int64_t group = std::max<int64_t>(conv.attributes().Int("group", 1), 1);
  const Expr dy = body.In(0), other = body.In(1);
  const bool of_filter = body.attributes().Int("wrt", 0) == 1;
  body.Out(0, of_filter ? GatherFilter(body, other, dy, window, group, x, w, y)
                        : SpreadPoints(body, dy, other, window, group, x, w, y));
  return absl::OkStatus();
}

absl::Status ConvTransposeGradBody(BodyBuilder& body) {
  const OpContext conv = body.forward();
  const Shape &x = conv.InShape(0), &w = conv.InShape(1), &y = conv.OutShape(0);
  const ConvWindow window = ConvWindowOf(conv, y, w, x);
  const int64_t group = std::max<int64_t>(conv.attributes().Int("group", 1), 1);
  const Expr dy = body.In(0), other = body.In(1);
  const bool of_filter = body.attributes().Int("wrt", 0) == 1;
  body.Out(0, of_filter ? GatherFilter(body, dy, other, window, group, y, w, x)
                        : GatherPoints(body, dy, other, window, group, y, w, x));
  return absl::OkStatus();
}

absl::Status MatMulGradBody(BodyBuilder& body) {
  const OpContext product = body.forward();
  Shape a = product.InShape(0), b = product.InShape(1), y = product.OutShape(0);
  const bool of_b = body.attributes().Int("wrt", 0) == 1;
  Expr dy = body.In(0), other = body.In(1);
  // A vector is a matrix with one row (A) or column (B).
  if (a.size() == 1) {
    a.insert(a.begin(), 1);
    y.insert(b.size() == 1 ? y.end() : y.end() - 1, 1);
    if (of_b) other = body.Reshape(other, a);
  }
  if (b.size() == 1) {
    b.push_back(1);
    y.push_back(1);
    if (!of_b) other = body.Reshape(other, b);
  }
  if (y != body.InShape(0)) dy = body.Reshape(dy, y);
  const int64_t m = a[a.size() - 2], k = a.back(), n = b.back();
  const auto last_two_swapped = [&](Expr x, size_t rank) {
    Dims perm = Range(static_cast<int64_t>(rank));
    std::swap(perm[rank - 1], perm[rank - 2]);
    return body.Transpose(x, perm);
  };
  const Shape& result = body.OutShape(0);
  if (of_b && b.size() == 2) {  // one product over all rows of all batches
    const int64_t rows = ElementCount(y).value_or(0) / std::max<int64_t>(n, 1);
    const Expr left = a.size() == 2 ? other : body.Reshape(other, {rows, k});
    const Expr right = y.size() == 2 ? dy : body.Reshape(dy, {rows, n});
    const Expr sum = body.MatMul(body.Transpose(left, {1, 0}), right);
    body.Out(0, b == result ? sum : body.Reshape(sum, result));
    return absl::OkStatus();
  }
  const Expr gradient =
      of_b ? body.MatMul(last_two_swapped(other, a.size()), dy) : body.MatMul(dy, last_two_swapped(other, b.size()));
  Shape full(y.begin(), y.end() - 2);
  full.push_back(of_b ? k : m);
  full.push_back(of_b ? n : k);
  const Expr sum = body.SumTo(gradient, full, of_b ? b : a);
  body.Out(0, (of_b ? b : a) == result ? sum : body.Reshape(sum, result));
  return absl::OkStatus();
}

absl::Status GemmGradBody(BodyBuilder& body) {
  const Attributes& attributes = body.forward().attributes();
  const auto trans_a = static_cast<int64_t>(attributes.Int("transA", 0) != 0);
  const auto trans_b = static_cast<int64_t>(attributes.Int("transB", 0) != 0);
  const double alpha = attributes.Float("alpha", 1);
  const Expr dy = body.In(0), other = body.In(1);
  const auto gemm = [&](Expr a, int64_t ta, Expr b, int64_t tb) {
    return body.Op("Gemm", {a, b}, MakeAttributes({{"transA", ta}, {"transB", tb}, {"alpha", alpha}}));
  };
  if (body.attributes().Int("wrt", 0) == 0) {
    body.Out(0, trans_a != 0 ? gemm(other, trans_b, dy, 1) : gemm(dy, 0, other, 1 - trans_b));
  } else {
    body.Out(0, trans_b != 0 ? gemm(dy, 1, other, trans_a) : gemm(other, 1 - trans_a, dy, 0));
  }
  return absl::OkStatus();
}

absl::Status EinsumGradBody(BodyBuilder& body) {
  const OpContext einsum = body.forward();
  RS_ASSIGN_OR_RETURN(const EinsumEquation equation, ParseEinsum(einsum));
  const auto of = static_cast<int>(body.attributes().Int("wrt", 0));
  body.Out(0, OperandGradient(body, equation, body.In(0), body.In(1), equation.inputs[1 - of], einsum.InShape(1 - of),
                              equation.inputs[of], einsum.InShape(of)));
  return absl::OkStatus();
}

absl::Status EinsumSpreadBody(BodyBuilder& body) {
  const OpContext einsum = body.forward();
  RS_ASSIGN_OR_RETURN(const EinsumEquation equation, ParseEinsum(einsum));
  body.Out(0, OperandGradient(body, equation, body.In(0), {}, {}, {}, equation.inputs[0], einsum.InShape(0)));
  return absl::OkStatus();
}

}  // namespace reusescope
