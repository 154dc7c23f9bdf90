// Gradients of operators that take elements from places known beforehand: slices, borders that repeat, resampled axes.

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/bodies.h"
#include "analysis/ops/nest.h"
#include "analysis/ops/resampling.h"

namespace reusescope {
namespace {

// Which element of an axis of `extent` the border position -n (before it) or extent - 1 + n (behind it) repeats.
int64_t Repeated(absl::string_view mode, int64_t at, int64_t extent) {
  if (mode == "edge") return std::clamp<int64_t>(at, 0, extent - 1);
  if (mode == "wrap") return ((at % extent) + extent) % extent;
  const int64_t period = std::max<int64_t>(2 * (extent - 1), 1);  // reflect
  const int64_t phase = ((at % period) + period) % period;
  return std::min(phase, period - phase);
}

// Begin and step of the slice along each dimension, as Slice normalizes them.
struct Taken {
  int64_t start = 0, step = 1;
};

absl::StatusOr<std::vector<Taken>> TakenOf(const BodyBuilder& body) {
  const Shape& data = body.OutShape(0);
  const auto starts = body.attributes().Ints("starts"), axes = body.attributes().Ints("axes"),
             steps = body.attributes().Ints("steps");
  if (starts.empty() && !data.empty()) return body.Error("the bounds of the slice are computed, expected known ones");
  std::vector<Taken> taken(data.size());
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t axis = axes.empty() ? static_cast<int64_t>(i) : axes[i];
    const int64_t d = axis < 0 ? axis + static_cast<int64_t>(data.size()) : axis;
    const int64_t step = steps.empty() ? 1 : steps[i];
    const int64_t start = starts[i] < 0 ? starts[i] + data[d] : starts[i];
    taken[d] = {std::clamp<int64_t>(start, 0, step < 0 ? data[d] - 1 : data[d]), step};
  }
  return taken;
}

}  // namespace

absl::Status SliceGradBody(BodyBuilder& body) {  // dY; bounds are attributes
  const Shape &data = body.OutShape(0), &slice = body.InShape(0);
  RS_ASSIGN_OR_RETURN(const std::vector<Taken> taken, TakenOf(body));
  Dims pads(2 * data.size(), 0);
  Expr dx = body.In(0);
  Shape shape = slice;
  for (size_t d = 0; d < data.size(); ++d) {
    if (taken[d].step == 1) {
      pads[d] = taken[d].start;
      pads[data.size() + d] = data[d] - taken[d].start - slice[d];
      continue;
    }
    Dims places;
    for (int64_t i = 0; i < slice[d]; ++i) places.push_back(taken[d].start + i * taken[d].step);
    shape[d] = data[d];
    dx = body.ScatterAlong(dx, body.Ints(places), {slice[d]}, static_cast<int64_t>(d), shape);
  }
  body.Out(0, body.Pad(dx, pads));
  return absl::OkStatus();
}

absl::Status PadGradBody(BodyBuilder& body) {  // dY: what the border repeated is added to what it repeats
  const Shape &data = body.OutShape(0), &padded = body.InShape(0);
  const std::optional<Dims> pads = FullPads(body.forward());
  if (!pads.has_value()) return body.Error("the amounts of padding are computed, expected known ones");
  const absl::string_view mode = body.attributes().String("mode", "constant");
  Expr dx = body.In(0);
  Shape shape = padded;
  for (size_t d = 0; d < data.size(); ++d) {
    if (padded[d] == data[d] && (*pads)[d] == 0) continue;
    Dims places;
    for (int64_t i = 0; i < padded[d]; ++i) places.push_back(Repeated(mode, i - (*pads)[d], data[d]));
    shape[d] = data[d];
    dx = body.ScatterAlong(dx, body.Ints(places), {padded[d]}, static_cast<int64_t>(d), shape);
  }
  body.Out(0, dx);
  return absl::OkStatus();
}

absl::Status ResizeGradBody(BodyBuilder& body) {  // dY: every tap gets its weight's share, one axis after the other
  const Shape &data = body.OutShape(0), &resized = body.InShape(0);
  const DType dtype = body.DTypeOf(body.In(0));
  Expr dx = body.In(0);
  Shape shape = resized;
  for (size_t d = 0; d < data.size(); ++d) {
    RS_ASSIGN_OR_RETURN(const std::vector<ResizeTap> taps, ResizeTapsOf(body.forward(), static_cast<int>(d)));
    if (taps.empty()) continue;
    Dims from, to;
    std::vector<double> weights;
    for (const ResizeTap& tap : taps) {
      from.push_back(tap.output);
      to.push_back(tap.input);
      weights.push_back(tap.weight);
    }
    const auto count = static_cast<int64_t>(taps.size());
    Shape along(data.size(), 1);
    along[d] = count;
    const bool plain = std::all_of(weights.begin(), weights.end(), [](double w) { return w == 1; });
    dx = body.Op("Gather", {dx, body.Ints(from)}, MakeAttributes({{"axis", static_cast<int64_t>(d)}}));
    if (!plain) {
      const Expr share = body.Cast(body.Constant(Literal::Floats({count}, weights, DType::kFloat64)), dtype);
      dx = dx * body.Reshape(share, along);
    }
    shape[d] = data[d];
    dx = body.ScatterAlong(dx, body.Ints(to), {count}, static_cast<int64_t>(d), shape);
  }
  body.Out(0, dx);
  return absl::OkStatus();
}

// dY: the image; dX[n, c taps, windows] takes its windows apart, one dimension after the other.
absl::Status Col2ImGradBody(BodyBuilder& body) {
  const Shape& image = body.InShape(0);
  const Literal* block = body.forward().InLiteral(2);
  if (block == nullptr || !block->has_data) return body.Error("block_shape is computed, expected a known one");
  const size_t dims = image.size() - 2;
  const auto at = [&](absl::string_view name, size_t i, int64_t absent) {
    const auto values = body.attributes().Ints(name);
    return i < values.size() ? values[i] : absent;
  };
  Dims pads(2 * image.size(), 0);
  for (size_t d = 0; d < dims; ++d) {
    pads[d + 2] = at("pads", d, 0);
    pads[image.size() + d + 2] = at("pads", dims + d, 0);
  }
  Expr windows = body.Pad(body.In(0), pads);
  Dims taps_first = {0, 1}, positions_last;
  for (size_t d = 0; d < dims; ++d) {
    const int64_t taps = block->ints[d], stride = at("strides", d, 1), dilation = at("dilations", d, 1);
    const int64_t extent = image[d + 2] + at("pads", d, 0) + at("pads", dims + d, 0);
    const int64_t positions = (extent - (taps - 1) * dilation - 1) / stride + 1;
    Dims places;
    for (int64_t r = 0; r < taps; ++r) {
      for (int64_t p = 0; p < positions; ++p) places.push_back(p * stride + r * dilation);
    }
    // Dimension d + 2 becomes two: taps and positions.
    const Expr index = body.Reshape(body.Ints(places), {taps, positions});
    windows = body.Op("Gather", {windows, index}, MakeAttributes({{"axis", static_cast<int64_t>(2 * d + 2)}}));
    taps_first.push_back(static_cast<int64_t>(2 * d + 2));
    positions_last.push_back(static_cast<int64_t>(2 * d + 3));
  }
  taps_first.insert(taps_first.end(), positions_last.begin(), positions_last.end());
  body.Out(0, body.Reshape(body.Transpose(windows, taps_first), body.OutShape(0)));
  return absl::OkStatus();
}

}  // namespace reusescope
