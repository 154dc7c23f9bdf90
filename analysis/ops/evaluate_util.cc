#include "analysis/ops/evaluate_util.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace reusescope::evaluate {
namespace {

// Bounds the work per element that a hostile shape can ask for.
constexpr size_t kMaxRank = 64;

bool FitsInteger(DType dtype, int64_t value) {
  if (dtype == DType::kBool) return value == 0 || value == 1;
  const int bits = BitWidth(dtype);
  const bool is_unsigned = dtype == DType::kUint8 || dtype == DType::kUint16 || dtype == DType::kUint32 ||
                           dtype == DType::kUint64 || dtype == DType::kUint4 || dtype == DType::kUint2;
  if (is_unsigned) return value >= 0 && (bits >= 63 || value < (int64_t{1} << bits));
  if (bits >= 64) return true;
  const int64_t limit = int64_t{1} << (bits - 1);
  return value >= -limit && value < limit;
}

// Nearest value with `bits` significant bits, ties to even. False outside the normal range of a 16-bit format with the
// largest exponent `range`, where rounding is another.
bool RoundSignificant(int bits, int range, double& value) {
  if (value == 0 || !std::isfinite(value)) return true;
  int exponent;
  const double scaled = std::nearbyint(std::ldexp(std::frexp(value, &exponent), bits));
  value = std::ldexp(scaled, exponent - bits);
  return exponent > 2 - range && exponent < range;
}

// Rounds to the dtype; false when the result is not known exactly.
bool RoundFloat(DType dtype, double& value) {
  switch (dtype) {
    case DType::kFloat64:
      return true;
    case DType::kFloat32:
      value = static_cast<float>(value);
      return true;
    case DType::kFloat16:
      return RoundSignificant(11, 16, value);
    case DType::kBfloat16:
      return RoundSignificant(8, 128, value);
    default:
      return false;
  }
}

}  // namespace

const Literal* Known(const OpContext& ctx, int i) {
  const Literal* literal = ctx.InLiteral(i);
  if (literal == nullptr || !literal->has_data || !literal->strings.empty()) return nullptr;
  if (!literal->floats.empty()) {
    const bool may_be_weights =
        ctx.Input(i).kind == ValueKind::kParameter || literal->size() > kMaxFloatLiteralElements;
    return may_be_weights ? nullptr : literal;
  }
  if (literal->dtype == DType::kUint64) {
    const bool large = std::any_of(literal->ints.begin(), literal->ints.end(), [](int64_t v) { return v < 0; });
    if (large) return nullptr;
  }
  return literal->size() <= kMaxLiteralElements ? literal : nullptr;
}

std::optional<int64_t> SmallCount(absl::Span<const int64_t> shape) {
  if (shape.size() > kMaxRank) return std::nullopt;
  const auto count = ElementCount(shape);
  if (!count.ok() || *count > kMaxLiteralElements) return std::nullopt;
  return *count;
}

std::optional<int> NormalizeAxis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) return std::nullopt;
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::optional<Shape> BroadcastShapes(absl::Span<const int64_t> a, absl::Span<const int64_t> b) {
  if (a.size() < b.size()) std::swap(a, b);
  Shape shape(a.begin(), a.end());
  const size_t shift = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    int64_t& dim = shape[shift + i];
    if (dim == 1) {
      dim = b[i];
    } else if (b[i] != 1 && b[i] != dim) {
      return std::nullopt;
    }
  }
  return shape;
}

std::vector<int64_t> Strides(absl::Span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  // A dimension of 0 elsewhere may stand beside huge ones: saturate instead of overflowing, no element is visited then.
  for (size_t i = shape.size(); i-- > 1;) {
    strides[i - 1] = CheckedMultiply(strides[i], shape[i]).value_or(std::numeric_limits<int64_t>::max());
  }
  return strides;
}

void Positions::Next() {
  for (size_t i = at_.size(); i-- > 0;) {
    if (++at_[i] < shape_[i]) return;
    at_[i] = 0;
  }
  done_ = true;
}

std::vector<int64_t> BroadcastIndex(absl::Span<const int64_t> from, absl::Span<const int64_t> to) {
  const std::vector<int64_t> strides = Strides(from);
  const size_t shift = to.size() - from.size();
  std::vector<int64_t> index;
  for (Positions p(to); !p.done(); p.Next()) {
    int64_t source = 0;
    for (size_t i = 0; i < from.size(); ++i) source += from[i] == 1 ? 0 : p.at()[shift + i] * strides[i];
    index.push_back(source);
  }
  return index;
}

void AppendElement(const Literal& from, int64_t i, Literal& to) {
  if (!from.floats.empty()) {
    to.floats.push_back(from.floats[i]);
  } else {
    to.ints.push_back(from.ints[i]);
  }
}

Literal Take(const Literal& source, Shape shape, absl::Span<const int64_t> index) {
  Literal result{.dtype = source.dtype, .shape = std::move(shape), .has_data = true};
  for (int64_t i : index) AppendElement(source, i, result);
  return result;
}

std::vector<Literal> Result(Literal literal) {
  const std::optional<int64_t> count = SmallCount(literal.shape);
  if (!count || *count != literal.size()) return {};
  if (static_cast<int64_t>(literal.floats.size()) > kMaxFloatLiteralElements) return {};
  for (int64_t value : literal.ints) {
    if (!FitsInteger(literal.dtype, value)) return {};
  }
  for (double& value : literal.floats) {
    if (!RoundFloat(literal.dtype, value)) return {};
  }
  literal.has_data = true;
  std::vector<Literal> outputs;
  outputs.push_back(std::move(literal));
  return outputs;
}

std::optional<std::vector<int64_t>> IntsOf(const OpContext& ctx, int i, absl::string_view name) {
  if (i >= 0 && ctx.HasInput(i)) {
    const Literal* literal = Known(ctx, i);
    if (literal == nullptr || !literal->floats.empty()) return std::nullopt;
    return literal->ints;
  }
  const absl::Span<const int64_t> ints = ctx.attributes().Ints(name);
  return std::vector<int64_t>(ints.begin(), ints.end());
}

}  // namespace reusescope::evaluate
