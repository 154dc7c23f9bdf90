// Gradients of lookups and scatters. Repeated indices add up.

#include <algorithm>

#include "analysis/ops/bodies.h"

namespace reusescope {
namespace {

Attributes Adding() { return MakeAttributes({{"reduction", std::string("add")}}); }

Attributes AddingAlong(int64_t axis) { return MakeAttributes({{"reduction", std::string("add")}, {"axis", axis}}); }

Attributes Along(int64_t axis) { return MakeAttributes({{"axis", axis}}); }

// The index tensor and the tensor it points into of a lookup with batch dimensions, without them: [B, ..., k] gets a
// column that says which of B batches.
struct FlatLookup {
  Expr indices;
  Shape data;
};

FlatLookup WithoutBatch(BodyBuilder& body, Expr indices, const Shape& index_shape, const Shape& data, int64_t batch) {
  int64_t batches = 1, rows = 1;
  for (int64_t d = 0; d < batch; ++d) batches *= data[d];
  for (size_t d = batch; d + 1 < index_shape.size(); ++d) rows *= index_shape[d];
  Shape flat = {batches};
  flat.insert(flat.end(), data.begin() + batch, data.end());
  const Expr columns = body.Reshape(body.Cast(indices, DType::kInt64), {batches, rows, index_shape.back()});
  const Expr range = body.Op("Range", {body.Int(0), body.Int(batches), body.Int(1)});
  const Expr which = body.Expand(body.Reshape(range, {batches, 1, 1}), {batches, rows, 1});
  const Expr parts[] = {which, columns};
  return {body.Concat(parts, 2), flat};
}

}  // namespace

absl::Status GatherGradBody(BodyBuilder& body) {  // dY, indices
  const Shape& data = body.OutShape(0);
  const int64_t axis = AxisOf(body.node(), 0, static_cast<int>(data.size()));
  body.Out(0, body.ScatterAlong(body.In(0), body.In(1), body.InShape(1), axis, data));
  return absl::OkStatus();
}

absl::Status GatherElementsGradBody(BodyBuilder& body) {  // dY, indices
  const Expr zeros = body.Zeros(body.DTypeOf(body.In(0)), body.OutShape(0));
  const int64_t axis = AxisOf(body.node(), 0, body.node().OutType(0).rank());
  body.Out(0, body.Op("ScatterElements", {zeros, body.In(1), body.In(0)}, AddingAlong(axis)));
  return absl::OkStatus();
}

absl::Status GatherNDGradBody(BodyBuilder& body) {  // dY, indices
  const Expr dy = body.In(0);
  const Shape &data = body.OutShape(0), &index_shape = body.InShape(1);
  const int64_t batch = body.attributes().Int("batch_dims", 0);
  if (batch == 0) {
    body.Out(0, body.Op("ScatterND", {body.Zeros(body.DTypeOf(dy), data), body.In(1), dy}, Adding()));
    return absl::OkStatus();
  }
  const FlatLookup lookup = WithoutBatch(body, body.In(1), index_shape, data, batch);
  int64_t rows = 1;
  for (size_t d = batch; d + 1 < index_shape.size(); ++d) rows *= index_shape[d];
  Shape updates = {lookup.data[0], rows};
  updates.insert(updates.end(), data.begin() + batch + index_shape.back(), data.end());
  const Expr zeros = body.Zeros(body.DTypeOf(dy), lookup.data);
  const Expr sum = body.Op("ScatterND", {zeros, lookup.indices, body.Reshape(dy, updates)}, Adding());
  body.Out(0, body.Reshape(sum, data));
  return absl::OkStatus();
}

absl::Status CompressGradBody(BodyBuilder& body) {  // dY, condition: true where an element was taken
  const Shape &data = body.OutShape(0), &taken = body.InShape(0);
  const Expr places = body.Op("Reshape", {body.Typed(DType::kInt64, "NonZero", {body.In(1)}), body.Ints({-1})});
  if (!body.attributes().Has("axis")) {
    const int64_t elements = body.node().OutElements(0);
    body.Out(0, body.Reshape(body.ScatterAlong(body.In(0), places, taken, 0, {elements}), data));
    return absl::OkStatus();
  }
  const int64_t axis = AxisOf(body.node(), 0, static_cast<int>(data.size()));
  body.Out(0, body.ScatterAlong(body.In(0), places, {taken[axis]}, axis, data));
  return absl::OkStatus();
}

absl::Status ScatterElementsDataGradBody(BodyBuilder& body) {  // dY, indices
  const Expr zeros = body.Zeros(body.DTypeOf(body.In(0)), body.InShape(1));
  const int64_t axis = AxisOf(body.node(), 0, body.node().OutType(0).rank());
  body.Out(0, body.Op("ScatterElements", {body.In(0), body.In(1), zeros}, Along(axis)));
  return absl::OkStatus();
}

absl::Status ScatterNDDataGradBody(BodyBuilder& body) {  // dY, indices
  const Shape &data = body.OutShape(0), &index_shape = body.InShape(1);
  Shape updates(index_shape.begin(), index_shape.end() - 1);
  updates.insert(updates.end(), data.begin() + index_shape.back(), data.end());
  const Expr zeros = body.Zeros(body.DTypeOf(body.In(0)), updates);
  body.Out(0, body.Op("ScatterND", {body.In(0), body.In(1), zeros}));
  return absl::OkStatus();
}

namespace {

// dY indices data updates Y. Of a minimum or maximum: dY is shared among all, data included, that are the result. Of a
// product: the product of the others, as the quotient; not defined where an operand is zero.
void ReduceGrad(BodyBuilder& body, absl::string_view lookup, absl::string_view scatter, bool of_data) {
  const Expr dy = body.In(0), indices = body.In(1), data = body.In(2), updates = body.In(3), y = body.In(4);
  const bool elements = lookup == "GatherElements";
  const int64_t axis = elements ? AxisOf(body.node(), 0, body.node().InType(2).rank()) : 0;
  const Attributes at = elements ? Along(axis) : Attributes{};
  const auto gather = [&](Expr x) { return body.Op(lookup, {x, indices}, at); };
  if (body.attributes().String("reduction", "none") == "mul") {
    body.Out(0, of_data ? dy * y / data : gather(dy * y) / updates);
    return;
  }
  const DType dtype = body.DTypeOf(dy);
  const Expr data_wins = body.Cast(body.Equal(data, y), dtype);
  const Expr updates_win = body.Cast(body.Equal(updates, gather(y)), dtype);
  const Expr winners = body.Op(scatter, {data_wins, indices, updates_win}, elements ? AddingAlong(axis) : Adding());
  // Positions that lost everything have no winner and no gradient.
  const Expr share = dy / body.Where(body.Equal(winners, 0), 1.0, winners);
  body.Out(0, of_data ? data_wins * share : updates_win * gather(share));
}

}  // namespace

absl::Status ScatterElementsReduceDataGradBody(BodyBuilder& body) {
  ReduceGrad(body, "GatherElements", "ScatterElements", true);
  return absl::OkStatus();
}
absl::Status ScatterElementsReduceUpdatesGradBody(BodyBuilder& body) {
  ReduceGrad(body, "GatherElements", "ScatterElements", false);
  return absl::OkStatus();
}
absl::Status ScatterNDReduceDataGradBody(BodyBuilder& body) {
  ReduceGrad(body, "GatherND", "ScatterND", true);
  return absl::OkStatus();
}
absl::Status ScatterNDReduceUpdatesGradBody(BodyBuilder& body) {
  ReduceGrad(body, "GatherND", "ScatterND", false);
  return absl::OkStatus();
}

namespace {

// For every element of the update, its position along the axis of the cache, [shape of the update].
Expr WrittenPositions(BodyBuilder& body, const Shape& update, int64_t axis) {
  Shape along(update.size(), 1), rows(update.size(), 1);
  along[axis] = update[axis];
  rows[0] = update[0];
  Expr at = body.Reshape(body.Ints(Range(update[axis])), along);
  if (body.In(1)) at = at + body.Reshape(body.Cast(body.In(1), DType::kInt64), rows);
  if (body.attributes().String("mode", "linear") == "circular")
    at = body.Op("Mod", {at, body.Int(body.InShape(0)[axis])});
  return body.Expand(at, update);
}

}  // namespace

absl::Status TensorScatterPastGradBody(BodyBuilder& body) {  // dY, where rows were written
  const Shape& update = body.forward().InShape(1);
  const int64_t axis = AxisOf(body.node(), -2, static_cast<int>(update.size()));
  const Expr zeros = body.Zeros(body.DTypeOf(body.In(0)), update);
  body.Out(0, body.Op("ScatterElements", {body.In(0), WrittenPositions(body, update, axis), zeros}, Along(axis)));
  return absl::OkStatus();
}

absl::Status TensorScatterUpdateGradBody(BodyBuilder& body) {  // dY, where rows were written
  const Shape& update = body.OutShape(0);
  const int64_t axis = AxisOf(body.node(), -2, static_cast<int>(update.size()));
  body.Out(0, body.Op("GatherElements", {body.In(0), WrittenPositions(body, update, axis)}, Along(axis)));
  return absl::OkStatus();
}

}  // namespace reusescope
