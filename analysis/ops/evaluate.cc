// Sources of known values, and operators that only move elements.

#include "analysis/ops/evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "analysis/ops/evaluate_util.h"

namespace reusescope {

using evaluate::BroadcastIndex;
using evaluate::IntsOf;
using evaluate::Known;
using evaluate::NormalizeAxis;
using evaluate::Positions;
using evaluate::Result;
using evaluate::SmallCount;
using evaluate::Strides;
using evaluate::Take;

std::vector<Literal> EvaluateConstant(const OpContext& ctx) {
  const Attributes& attributes = ctx.attributes();
  if (const Literal* value = attributes.Tensor("value")) {
    return value->has_data && value->strings.empty() ? Result(*value) : std::vector<Literal>();
  }
  if (attributes.Has("value_int")) return Result(Literal::Ints({}, {attributes.Int("value_int", 0)}));
  if (attributes.Has("value_float")) return Result(Literal::Floats({}, {attributes.Float("value_float", 0)}));
  if (attributes.Has("value_ints")) {
    const auto ints = attributes.Ints("value_ints");
    return Result(Literal::Ints({static_cast<int64_t>(ints.size())}, {ints.begin(), ints.end()}));
  }
  if (attributes.Has("value_floats")) {
    const auto floats = attributes.Floats("value_floats");
    return Result(Literal::Floats({static_cast<int64_t>(floats.size())}, {floats.begin(), floats.end()}));
  }
  return {};
}

std::vector<Literal> EvaluateConstantOfShape(const OpContext& ctx) {
  const Literal* dims = Known(ctx, 0);
  if (dims == nullptr || !dims->floats.empty()) return {};
  Literal result{.dtype = DType::kFloat32, .shape = Shape(dims->ints.begin(), dims->ints.end())};
  const std::optional<int64_t> count = SmallCount(result.shape);
  if (!count) return {};
  const Literal* value = ctx.attributes().Tensor("value");
  if (value == nullptr) {
    result.floats.assign(*count, 0.0);
    return Result(std::move(result));
  }
  if (!value->has_data || value->size() != 1 || !value->strings.empty()) return {};
  result.dtype = value->dtype;
  for (int64_t i = 0; i < *count; ++i) evaluate::AppendElement(*value, 0, result);
  return Result(std::move(result));
}

std::vector<Literal> EvaluateShape(const OpContext& ctx) {
  if (!ctx.HasInput(0) || !ctx.InType(0).IsResolved()) return {};
  const Shape& shape = ctx.InShape(0);
  const auto rank = static_cast<int64_t>(shape.size());
  const auto clamp = [rank](int64_t bound) { return std::clamp<int64_t>(bound < 0 ? bound + rank : bound, 0, rank); };
  const int64_t start = clamp(ctx.attributes().Int("start", 0));
  const int64_t end = std::max(start, clamp(ctx.attributes().Int("end", rank)));
  return Result(Literal::Ints({end - start}, {shape.begin() + start, shape.begin() + end}));
}

std::vector<Literal> EvaluateSize(const OpContext& ctx) {
  if (!ctx.HasInput(0) || !ctx.InType(0).IsResolved()) return {};
  const auto count = ElementCount(ctx.InShape(0));
  return count.ok() ? Result(Literal::Ints({}, {*count})) : std::vector<Literal>();
}

std::vector<Literal> EvaluateSequenceLength(const OpContext& ctx) {
  if (!ctx.HasInput(0) || ctx.InType(0).length == kUnknownDim) return {};
  return Result(Literal::Ints({}, {ctx.InType(0).length}));
}

// How many elements there are is InferRange's business.
std::vector<Literal> EvaluateRange(const OpContext& ctx) {
  const Literal* start = Known(ctx, 0);
  const Literal* delta = Known(ctx, 2);
  if (start == nullptr || delta == nullptr || start->size() != 1 || delta->size() != 1) return {};
  if (start->dtype != delta->dtype || !ctx.HasOutput(0) || !ctx.OutType(0).IsResolved()) return {};
  if (!SmallCount(ctx.OutShape(0))) return {};
  Literal result{.dtype = start->dtype, .shape = ctx.OutShape(0)};
  const int64_t count = result.shape[0];
  for (int64_t i = 0; i < count; ++i) {
    if (!start->floats.empty()) {
      result.floats.push_back(start->floats[0] + static_cast<double>(i) * delta->floats[0]);
      continue;
    }
    const auto distance = CheckedMultiply(i, delta->ints[0]);
    const auto value = distance ? CheckedAdd(start->ints[0], *distance) : std::nullopt;
    if (!value) return {};
    result.ints.push_back(*value);
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateEyeLike(const OpContext& ctx) {
  if (!ctx.HasInput(0) || !ctx.InType(0).IsResolved() || ctx.InShape(0).size() != 2) return {};
  const Shape& shape = ctx.InShape(0);
  if (!SmallCount(shape)) return {};
  const int64_t diagonal = ctx.attributes().Int("k", 0);
  Literal result{.dtype = static_cast<DType>(ctx.attributes().Int("dtype", static_cast<int>(ctx.InType(0).dtype))),
                 .shape = shape};
  const bool integer = IsInteger(result.dtype) || result.dtype == DType::kBool;
  for (Positions p(shape); !p.done(); p.Next()) {
    const bool one = p.at()[1] - p.at()[0] == diagonal;
    if (integer) {
      result.ints.push_back(one ? 1 : 0);
    } else {
      result.floats.push_back(one ? 1 : 0);
    }
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateReshape(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || !ctx.HasOutput(0) || !ctx.OutType(0).IsResolved()) return {};
  Literal result = *input;
  result.shape = ctx.OutShape(0);
  return Result(std::move(result));
}

namespace {

// Bits of the integer kept when a wider one is cast to `dtype`.
int64_t WrapInteger(DType dtype, int64_t value) {
  switch (dtype) {
    case DType::kInt8:
      return static_cast<int8_t>(value);
    case DType::kInt16:
      return static_cast<int16_t>(value);
    case DType::kInt32:
      return static_cast<int32_t>(value);
    case DType::kUint8:
      return static_cast<uint8_t>(value);
    case DType::kUint16:
      return static_cast<uint16_t>(value);
    case DType::kUint32:
      return static_cast<uint32_t>(value);
    default:
      return value;
  }
}

}  // namespace

std::vector<Literal> EvaluateCast(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || !ctx.HasOutput(0)) return {};
  Literal result{.dtype = ctx.OutType(0).dtype, .shape = input->shape};
  if (result.dtype == DType::kBool) {
    for (int64_t i = 0; i < input->size(); ++i) result.ints.push_back(input->AsDouble(i) != 0 ? 1 : 0);
  } else if (IsFloatingPoint(result.dtype)) {
    for (int64_t i = 0; i < input->size(); ++i) result.floats.push_back(input->AsDouble(i));
  } else if (!IsInteger(result.dtype)) {
    return {};
  } else {
    for (int64_t value : input->ints) result.ints.push_back(WrapInteger(result.dtype, value));
    for (double value : input->floats) {
      // Out of range is undefined in ONNX; 2^63 itself is the first double that int64 does not hold.
      if (!(std::abs(value) < 9223372036854775808.0)) return {};
      result.ints.push_back(static_cast<int64_t>(value));
    }
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateTranspose(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr) return {};
  const int rank = static_cast<int>(input->shape.size());
  std::vector<int64_t> permutation(rank);
  std::iota(permutation.rbegin(), permutation.rend(), 0);
  const absl::Span<const int64_t> given = ctx.attributes().Ints("perm");
  if (!given.empty()) permutation.assign(given.begin(), given.end());
  if (static_cast<int>(permutation.size()) != rank) return {};
  const std::vector<int64_t> strides = Strides(input->shape);
  Shape shape;
  for (int64_t axis : permutation) {
    if (axis < 0 || axis >= rank) return {};
    shape.push_back(input->shape[axis]);
  }
  if (SmallCount(shape) != input->size()) return {};
  std::vector<int64_t> index;
  for (Positions p(shape); !p.done(); p.Next()) {
    int64_t source = 0;
    for (int i = 0; i < rank; ++i) source += p.at()[i] * strides[permutation[i]];
    index.push_back(source);
  }
  return Result(Take(*input, shape, index));
}

std::vector<Literal> EvaluateConcat(const OpContext& ctx) {
  const Literal* first = Known(ctx, 0);
  if (first == nullptr) return {};
  const int rank = static_cast<int>(first->shape.size());
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", 1), rank);
  if (!axis) return {};
  Literal result{.dtype = first->dtype, .shape = first->shape};
  result.shape[*axis] = 0;
  std::vector<const Literal*> parts;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const Literal* part = Known(ctx, i);
    if (part == nullptr || part->dtype != first->dtype || static_cast<int>(part->shape.size()) != rank) return {};
    for (int d = 0; d < rank; ++d) {
      if (d != *axis && part->shape[d] != first->shape[d]) return {};
    }
    result.shape[*axis] += part->shape[*axis];
    if (result.shape[*axis] > kMaxLiteralElements) return {};
    parts.push_back(part);
  }
  if (!SmallCount(result.shape)) return {};
  int64_t outer = 1;
  for (int d = 0; d < *axis; ++d) outer *= result.shape[d];
  for (int64_t o = 0; o < outer; ++o) {
    for (const Literal* part : parts) {
      const int64_t run = part->size() / outer;
      for (int64_t i = 0; i < run; ++i) evaluate::AppendElement(*part, o * run + i, result);
    }
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateSplit(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || input->size() == 0) return {};
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", 0), static_cast<int>(input->shape.size()));
  if (!axis) return {};
  const std::vector<int64_t> strides = Strides(input->shape);
  std::vector<Literal> outputs;
  int64_t begin = 0;
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (!ctx.HasOutput(j) || !ctx.OutType(j).IsResolved()) return {};
    const Shape& shape = ctx.OutShape(j);
    if (shape.size() != input->shape.size() || begin + shape[*axis] > input->shape[*axis]) return {};
    std::vector<int64_t> index;
    if (!SmallCount(shape)) return {};
    for (Positions p(shape); !p.done(); p.Next()) {
      int64_t source = begin * strides[*axis];
      for (size_t d = 0; d < shape.size(); ++d) source += p.at()[d] * strides[d];
      if (source >= input->size()) return {};
      index.push_back(source);
    }
    begin += shape[*axis];
    outputs.push_back(Take(*input, shape, index));
  }
  return outputs;
}

namespace {

struct SliceRange {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};

// NumPy's rule for start:end:step on a dimension, clamped to it.
SliceRange ClampSlice(int64_t start, int64_t end, int64_t step, int64_t dim) {
  const auto from_front = [dim](int64_t bound) { return bound < 0 ? bound + dim : bound; };
  if (step > 0) {
    start = std::clamp<int64_t>(from_front(start), 0, dim);
    end = std::clamp<int64_t>(from_front(end), 0, dim);
    return {start, step, end > start ? (end - start - 1) / step + 1 : 0};
  }
  start = std::clamp<int64_t>(from_front(start), -1, dim - 1);
  end = std::clamp<int64_t>(from_front(end), -1, dim - 1);
  return {start, step, start > end ? (start - end - 1) / -step + 1 : 0};
}

// One range per dimension of the input, or nothing when an operand is not known or makes no sense.
std::vector<SliceRange> SliceRanges(const OpContext& ctx, const Shape& shape) {
  const bool as_inputs = ctx.num_inputs() > 1;
  const auto starts = as_inputs ? IntsOf(ctx, 1, "") : IntsOf(ctx, -1, "starts");
  const auto ends = as_inputs ? IntsOf(ctx, 2, "") : IntsOf(ctx, -1, "ends");
  auto axes = as_inputs ? IntsOf(ctx, 3, "") : IntsOf(ctx, -1, "axes");
  auto steps = IntsOf(ctx, 4, "");
  if (!starts || !ends || !axes || !steps || starts->size() != ends->size()) return {};
  if (axes->empty()) {
    axes->resize(starts->size());
    std::iota(axes->begin(), axes->end(), 0);
  }
  if (steps->empty()) steps->assign(starts->size(), 1);
  if (axes->size() != starts->size() || steps->size() != starts->size()) return {};
  std::vector<SliceRange> ranges;
  for (int64_t dim : shape) ranges.push_back({0, 1, dim});
  for (size_t i = 0; i < starts->size(); ++i) {
    const std::optional<int> axis = NormalizeAxis((*axes)[i], static_cast<int>(shape.size()));
    const int64_t step = (*steps)[i];
    if (!axis || step == 0 || step == std::numeric_limits<int64_t>::min()) return {};
    ranges[*axis] = ClampSlice((*starts)[i], (*ends)[i], step, shape[*axis]);
  }
  return ranges;
}

}  // namespace

std::vector<Literal> EvaluateSlice(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || input->shape.empty()) return {};
  const std::vector<SliceRange> ranges = SliceRanges(ctx, input->shape);
  if (ranges.empty()) return {};
  const std::vector<int64_t> strides = Strides(input->shape);
  Shape shape;
  for (const SliceRange& range : ranges) shape.push_back(range.count);
  if (!SmallCount(shape)) return {};
  std::vector<int64_t> index;
  for (Positions p(shape); !p.done(); p.Next()) {
    int64_t source = 0;
    for (size_t d = 0; d < shape.size(); ++d) source += (ranges[d].start + p.at()[d] * ranges[d].step) * strides[d];
    index.push_back(source);
  }
  return Result(Take(*input, shape, index));
}

std::vector<Literal> EvaluateExpand(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || !ctx.HasOutput(0) || !ctx.OutType(0).IsResolved()) return {};
  const Shape& shape = ctx.OutShape(0);
  if (!SmallCount(shape) || evaluate::BroadcastShapes(input->shape, shape) != shape) return {};
  return Result(Take(*input, shape, BroadcastIndex(input->shape, shape)));
}

std::vector<Literal> EvaluateTile(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  const Literal* repeats = Known(ctx, 1);
  // Tile-1 has scalars for one axis and a count; it is older than any exporter that builds shapes with it.
  if (input == nullptr || repeats == nullptr || !repeats->floats.empty() || ctx.num_inputs() != 2) return {};
  if (repeats->ints.size() != input->shape.size()) return {};
  Shape shape;
  for (size_t d = 0; d < input->shape.size(); ++d) {
    const auto dim = CheckedMultiply(input->shape[d], repeats->ints[d]);
    if (!dim || *dim < 0) return {};
    shape.push_back(*dim);
  }
  if (!SmallCount(shape)) return {};
  const std::vector<int64_t> strides = Strides(input->shape);
  std::vector<int64_t> index;
  for (Positions p(shape); !p.done(); p.Next()) {
    int64_t source = 0;
    for (size_t d = 0; d < shape.size(); ++d) source += p.at()[d] % input->shape[d] * strides[d];
    index.push_back(source);
  }
  return Result(Take(*input, shape, index));
}

namespace {

// Position in a dimension of the input that position `at` of the padded one shows, or -1 for the fill value.
int64_t PadSource(absl::string_view mode, int64_t at, int64_t dim) {
  if (at >= 0 && at < dim) return at;
  if (mode == "edge" && dim > 0) return std::clamp<int64_t>(at, 0, dim - 1);
  if (mode == "wrap" && dim > 0) return (at % dim + dim) % dim;
  if (mode == "reflect" && dim > 1) {
    const int64_t period = 2 * (dim - 1);
    const int64_t phase = (at % period + period) % period;
    return phase < dim ? phase : period - phase;
  }
  return -1;
}

// Padding before and after each dimension, or nothing.
std::vector<std::pair<int64_t, int64_t>> Pads(const OpContext& ctx, int rank) {
  const auto pads = IntsOf(ctx, 1, "pads");
  auto axes = IntsOf(ctx, 3, "");
  if (!pads || !axes) return {};
  if (!ctx.HasInput(3)) {
    axes->resize(rank);
    std::iota(axes->begin(), axes->end(), 0);
  }
  if (pads->size() != 2 * axes->size()) return {};
  std::vector<std::pair<int64_t, int64_t>> result(rank, {0, 0});
  for (size_t i = 0; i < axes->size(); ++i) {
    const std::optional<int> axis = NormalizeAxis((*axes)[i], rank);
    const int64_t before = (*pads)[i], after = (*pads)[axes->size() + i];
    const auto absurd = [](int64_t pad) { return pad < -kMaxLiteralElements || pad > kMaxLiteralElements; };
    if (!axis || absurd(before) || absurd(after)) return {};
    result[*axis] = {before, after};
  }
  return result;
}

}  // namespace

std::vector<Literal> EvaluatePad(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || input->shape.empty() || !input->floats.empty()) return {};
  const auto pads = Pads(ctx, static_cast<int>(input->shape.size()));
  if (pads.empty()) return {};
  const absl::string_view mode = ctx.attributes().String("mode", "constant");
  int64_t fill = ctx.HasInput(2) ? 0 : static_cast<int64_t>(ctx.attributes().Float("value", 0));
  if (ctx.HasInput(2)) {
    const Literal* value = Known(ctx, 2);
    if (value == nullptr || value->ints.size() != 1) return {};
    fill = value->ints[0];
  }
  Literal result{.dtype = input->dtype};
  for (size_t d = 0; d < pads.size(); ++d) {
    result.shape.push_back(input->shape[d] + pads[d].first + pads[d].second);
  }
  if (!SmallCount(result.shape)) return {};
  const std::vector<int64_t> strides = Strides(input->shape);
  for (Positions p(result.shape); !p.done(); p.Next()) {
    int64_t source = 0;
    bool padded = false;
    for (size_t d = 0; d < pads.size(); ++d) {
      const int64_t at = PadSource(mode, p.at()[d] - pads[d].first, input->shape[d]);
      padded = padded || at < 0;
      source += at * strides[d];
    }
    if (padded && mode != "constant") return {};
    result.ints.push_back(padded ? fill : input->ints[source]);
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateTrilu(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || input->shape.size() < 2) return {};
  int64_t k = 0;
  if (ctx.HasInput(1)) {
    const Literal* diagonal = Known(ctx, 1);
    if (diagonal == nullptr || diagonal->ints.size() != 1) return {};
    k = std::clamp<int64_t>(diagonal->ints[0], -2 * kMaxLiteralElements, 2 * kMaxLiteralElements);
  }
  const bool upper = ctx.attributes().Int("upper", 1) != 0;
  Literal result = *input;
  const int64_t rows = result.shape[result.shape.size() - 2], columns = result.shape.back();
  for (int64_t i = 0; i < result.size(); ++i) {
    const int64_t row = i / columns % rows, column = i % columns;
    if (upper ? column - row >= k : column - row <= k) continue;
    if (result.ints.empty()) {
      result.floats[i] = 0;
    } else {
      result.ints[i] = 0;
    }
  }
  return Result(std::move(result));
}

}  // namespace reusescope
