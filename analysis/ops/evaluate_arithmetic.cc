// Arithmetic, comparisons and reductions of small tensors.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "analysis/ops/evaluate.h"
#include "analysis/ops/evaluate_util.h"

namespace reusescope {

using evaluate::BroadcastIndex;
using evaluate::BroadcastShapes;
using evaluate::Known;
using evaluate::NormalizeAxis;
using evaluate::Positions;
using evaluate::Result;
using evaluate::SmallCount;
using evaluate::Strides;

namespace {

using OptionalInt = std::optional<int64_t>;
constexpr int64_t kMinInt = std::numeric_limits<int64_t>::min();

OptionalInt Subtract(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_sub_overflow(a, b, &result) ? std::nullopt : OptionalInt(result);
}

OptionalInt Divide(int64_t a, int64_t b) {
  if (b == 0 || (a == kMinInt && b == -1)) return std::nullopt;
  return a / b;
}

// Python's %: the sign of the divisor.
OptionalInt Modulo(int64_t a, int64_t b) {
  if (b == 0) return std::nullopt;
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

OptionalInt Power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? OptionalInt(1) : std::nullopt;
  OptionalInt result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = CheckedMultiply(*result, base);
    if (!result) return std::nullopt;
    if (exponent == 1) break;
    const auto square = CheckedMultiply(base, base);
    if (!square) return std::nullopt;
    base = *square;
  }
  return result;
}

OptionalInt ShiftLeft(int64_t a, int64_t b) {
  if (a < 0 || b < 0 || b > 62 || a > (std::numeric_limits<int64_t>::max() >> b)) return std::nullopt;
  return a << b;
}

// What an operator does to two integers, or two floating-point numbers; null where it is not defined.
struct Binary {
  OptionalInt (*on_ints)(int64_t, int64_t);
  double (*on_floats)(double, double);
  bool boolean = false;  // the result is, whatever the operands are
};

const Binary* FindBinary(absl::string_view type) {
  static const auto& table = *new absl::flat_hash_map<absl::string_view, Binary>{
      {"Add",
       {[](int64_t a, int64_t b) -> OptionalInt { return CheckedAdd(a, b); },
        [](double a, double b) { return a + b; }}},
      {"Sum",
       {[](int64_t a, int64_t b) -> OptionalInt { return CheckedAdd(a, b); },
        [](double a, double b) { return a + b; }}},
      {"Sub", {Subtract, [](double a, double b) { return a - b; }}},
      {"Mul",
       {[](int64_t a, int64_t b) -> OptionalInt { return CheckedMultiply(a, b); },
        [](double a, double b) { return a * b; }}},
      {"Div", {Divide, [](double a, double b) { return a / b; }}},
      {"Mod", {Modulo, [](double a, double b) { return std::fmod(a, b); }}},
      {"Pow", {Power, [](double a, double b) { return std::pow(a, b); }}},
      {"Min",
       {[](int64_t a, int64_t b) -> OptionalInt { return std::min(a, b); },
        [](double a, double b) { return std::min(a, b); }}},
      {"Max",
       {[](int64_t a, int64_t b) -> OptionalInt { return std::max(a, b); },
        [](double a, double b) { return std::max(a, b); }}},
      {"And", {[](int64_t a, int64_t b) -> OptionalInt { return a != 0 && b != 0; }, nullptr, true}},
      {"Or", {[](int64_t a, int64_t b) -> OptionalInt { return a != 0 || b != 0; }, nullptr, true}},
      {"Xor", {[](int64_t a, int64_t b) -> OptionalInt { return (a != 0) != (b != 0); }, nullptr, true}},
      {"BitwiseAnd", {[](int64_t a, int64_t b) -> OptionalInt { return a & b; }, nullptr}},
      {"BitwiseOr", {[](int64_t a, int64_t b) -> OptionalInt { return a | b; }, nullptr}},
      {"BitwiseXor", {[](int64_t a, int64_t b) -> OptionalInt { return a ^ b; }, nullptr}},
      {"Equal",
       {[](int64_t a, int64_t b) -> OptionalInt { return a == b; }, [](double a, double b) -> double { return a == b; },
        true}},
      {"Less",
       {[](int64_t a, int64_t b) -> OptionalInt { return a < b; }, [](double a, double b) -> double { return a < b; },
        true}},
      {"LessOrEqual",
       {[](int64_t a, int64_t b) -> OptionalInt { return a <= b; }, [](double a, double b) -> double { return a <= b; },
        true}},
      {"Greater",
       {[](int64_t a, int64_t b) -> OptionalInt { return a > b; }, [](double a, double b) -> double { return a > b; },
        true}},
      {"GreaterOrEqual",
       {[](int64_t a, int64_t b) -> OptionalInt { return a >= b; }, [](double a, double b) -> double { return a >= b; },
        true}},
  };
  const auto it = table.find(type);
  return it == table.end() ? nullptr : &it->second;
}

struct Unary {
  OptionalInt (*on_ints)(int64_t);
  double (*on_floats)(double);
  bool boolean = false;
};

const Unary* FindUnary(absl::string_view type) {
  static const auto& table = *new absl::flat_hash_map<absl::string_view, Unary>{
      {"Neg", {[](int64_t a) { return Subtract(0, a); }, [](double a) { return -a; }}},
      {"Abs", {[](int64_t a) { return a < 0 ? Subtract(0, a) : a; }, [](double a) { return std::abs(a); }}},
      {"Sign",
       {[](int64_t a) -> OptionalInt { return (a > 0) - (a < 0); },
        [](double a) -> double { return (a > 0) - (a < 0); }}},
      {"Relu",
       {[](int64_t a) -> OptionalInt { return std::max<int64_t>(a, 0); }, [](double a) { return std::max(a, 0.0); }}},
      {"Not", {[](int64_t a) -> OptionalInt { return a == 0; }, nullptr, true}},
      {"BitwiseNot", {[](int64_t a) -> OptionalInt { return ~a; }, nullptr}},
      {"Sqrt", {nullptr, [](double a) { return std::sqrt(a); }}},
      {"Floor", {nullptr, [](double a) { return std::floor(a); }}},
      {"Ceil", {nullptr, [](double a) { return std::ceil(a); }}},
      {"Round", {nullptr, [](double a) { return std::nearbyint(a); }}},  // half to even, as ONNX
      {"Reciprocal", {nullptr, [](double a) { return 1 / a; }}},
      {"Exp", {nullptr, [](double a) { return std::exp(a); }}},
      {"Log", {nullptr, [](double a) { return std::log(a); }}},
      {"IsNaN", {nullptr, [](double a) -> double { return std::isnan(a); }, true}},
      {"IsInf", {nullptr, [](double a) -> double { return std::isinf(a); }, true}},
  };
  const auto it = table.find(type);
  return it == table.end() ? nullptr : &it->second;
}

// Operands of one dtype, broadcast to each other. Nothing when they clash or the result is not known.
std::optional<Literal> Apply(const Binary& op, const Literal& a, const Literal& b) {
  const bool ints = a.floats.empty() && b.floats.empty();
  if (a.dtype != b.dtype || (ints ? op.on_ints == nullptr : op.on_floats == nullptr)) return std::nullopt;
  const auto shape = BroadcastShapes(a.shape, b.shape);
  if (!shape || !SmallCount(*shape)) return std::nullopt;
  Literal result{.dtype = op.boolean ? DType::kBool : a.dtype, .shape = *shape, .has_data = true};
  const std::vector<int64_t> at_a = BroadcastIndex(a.shape, *shape), at_b = BroadcastIndex(b.shape, *shape);
  for (size_t i = 0; i < at_a.size(); ++i) {
    if (ints) {
      const OptionalInt value = op.on_ints(a.ints[at_a[i]], b.ints[at_b[i]]);
      if (!value) return std::nullopt;
      result.ints.push_back(*value);
    } else {
      const double value = op.on_floats(a.floats[at_a[i]], b.floats[at_b[i]]);
      if (op.boolean) {
        result.ints.push_back(value != 0 ? 1 : 0);
      } else {
        result.floats.push_back(value);
      }
    }
  }
  return result;
}

std::vector<Literal> ApplyUnary(const OpContext& ctx, const Unary& op) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr) return {};
  const bool ints = input->floats.empty();
  if (ints ? op.on_ints == nullptr : op.on_floats == nullptr) return {};
  // IsInf of one sign only is not what shapes are made of.
  if (ctx.attributes().Int("detect_negative", 1) == 0 || ctx.attributes().Int("detect_positive", 1) == 0) return {};
  Literal result{.dtype = op.boolean ? DType::kBool : input->dtype, .shape = input->shape};
  for (int64_t value : input->ints) {
    const OptionalInt out = op.on_ints(value);
    if (!out) return {};
    result.ints.push_back(*out);
  }
  for (double value : input->floats) {
    const double out = op.on_floats(value);
    if (op.boolean) {
      result.ints.push_back(out != 0 ? 1 : 0);
    } else {
      result.floats.push_back(out);
    }
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateClip(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || ctx.attributes().Has("min") || ctx.attributes().Has("max")) return {};
  Literal result = *input;
  for (int i = 1; i <= 2; ++i) {
    if (!ctx.HasInput(i)) continue;
    const Literal* bound = Known(ctx, i);
    if (bound == nullptr || bound->size() != 1) return {};
    auto limited = Apply(*FindBinary(i == 1 ? "Max" : "Min"), result, *bound);
    if (!limited || limited->size() != input->size()) return {};
    limited->shape = input->shape;
    result = *std::move(limited);
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateBitShift(const OpContext& ctx) {
  const Literal* a = Known(ctx, 0);
  const Literal* b = Known(ctx, 1);
  if (a == nullptr || b == nullptr) return {};
  const bool left = ctx.attributes().String("direction", "") == "LEFT";
  const Binary shift = {left ? ShiftLeft : [](int64_t x, int64_t y) -> OptionalInt {
                          return y < 0 || x < 0 ? std::nullopt : OptionalInt(y > 62 ? 0 : x >> y);
                        },
                        nullptr};
  auto result = Apply(shift, *a, *b);
  return result ? Result(*std::move(result)) : std::vector<Literal>();
}

// The rule of the node's operator, with what its attributes change.
std::optional<Binary> BinaryOf(const OpContext& ctx) {
  const std::string& type = ctx.node().op.type;
  const Binary* found = FindBinary(type == "Mean" ? "Add" : absl::string_view(type));
  if (found == nullptr) return std::nullopt;
  Binary op = *found;
  if (type == "Mod" && ctx.attributes().Int("fmod", 0) != 0) {
    op.on_ints = [](int64_t a, int64_t b) -> OptionalInt {
      return b == 0 ? std::nullopt : OptionalInt(b == -1 ? 0 : a % b);
    };
  }
  return op;
}

}  // namespace

std::vector<Literal> EvaluateElementwise(const OpContext& ctx) {
  const std::string& type = ctx.node().op.type;
  // Before opset 7 broadcasting was asked for, along a named axis.
  if (Known(ctx, 0) == nullptr || ctx.attributes().Has("axis")) return {};
  if (type == "Clip") return EvaluateClip(ctx);
  if (type == "BitShift") return EvaluateBitShift(ctx);
  if (const Unary* unary = FindUnary(type)) return ApplyUnary(ctx, *unary);
  const std::optional<Binary> op = BinaryOf(ctx);
  const Literal* first = Known(ctx, 0);
  if (!op || first == nullptr) return {};
  Literal result = *first;
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    const Literal* next = Known(ctx, i);
    if (next == nullptr) return {};
    Literal operand = *next;
    // Pow alone takes an exponent of another type; the result has the type of the base.
    if (type == "Pow" && operand.floats.empty() == result.floats.empty()) operand.dtype = result.dtype;
    auto combined = Apply(*op, result, operand);
    if (!combined) return {};
    result = *std::move(combined);
  }
  if (type == "Mean") {
    for (double& value : result.floats) value /= ctx.num_inputs();
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateWhere(const OpContext& ctx) {
  const Literal* condition = Known(ctx, 0);
  const Literal* x = Known(ctx, 1);
  const Literal* y = Known(ctx, 2);
  if (condition == nullptr || !condition->floats.empty() || x == nullptr || y == nullptr || x->dtype != y->dtype)
    return {};
  const auto values = BroadcastShapes(x->shape, y->shape);
  const auto shape = values ? BroadcastShapes(condition->shape, *values) : std::nullopt;
  if (!shape || !SmallCount(*shape)) return {};
  Literal result{.dtype = x->dtype, .shape = *shape};
  const auto at_c = BroadcastIndex(condition->shape, *shape);
  const auto at_x = BroadcastIndex(x->shape, *shape), at_y = BroadcastIndex(y->shape, *shape);
  for (size_t i = 0; i < at_c.size(); ++i) {
    const bool take_x = condition->ints[at_c[i]] != 0;
    evaluate::AppendElement(take_x ? *x : *y, take_x ? at_x[i] : at_y[i], result);
  }
  return Result(std::move(result));
}

namespace {

// Which dimensions a reduction sums over, or nothing when its axes are not known.
std::vector<bool> ReducedDims(const OpContext& ctx, int rank) {
  const auto axes = evaluate::IntsOf(ctx, 1, "axes");
  if (!axes) return {};
  const bool all = axes->empty() && ctx.attributes().Int("noop_with_empty_axes", 0) == 0;
  std::vector<bool> reduced(rank, all);
  for (int64_t given : *axes) {
    const std::optional<int> axis = NormalizeAxis(given, rank);
    if (!axis) return {};
    reduced[*axis] = true;
  }
  return reduced;
}

// For each element of `shape` (row-major), the element of the reduced tensor that it falls into.
std::vector<int64_t> ReductionTarget(const Shape& shape, const Shape& kept, const std::vector<bool>& reduced) {
  const std::vector<int64_t> strides = Strides(kept);
  std::vector<int64_t> target;
  for (Positions p(shape); !p.done(); p.Next()) {
    int64_t to = 0;
    for (size_t d = 0; d < shape.size(); ++d) to += reduced[d] ? 0 : p.at()[d] * strides[d];
    target.push_back(to);
  }
  return target;
}

Shape DropReduced(const Shape& kept, const std::vector<bool>& reduced) {
  Shape shape;
  for (size_t d = 0; d < kept.size(); ++d) {
    if (!reduced[d]) shape.push_back(kept[d]);
  }
  return shape;
}

// Folds the elements that fall into one target with `op`. Nothing when one overflows.
std::optional<Literal> Fold(const Binary& op, const Literal& input, const std::vector<int64_t>& target, Shape kept) {
  const int64_t count = SmallCount(kept).value_or(0);
  Literal result{.dtype = input.dtype, .shape = std::move(kept), .has_data = true};
  std::vector<bool> started(count, false);
  (input.floats.empty() ? result.ints.resize(count) : result.floats.resize(count));
  for (size_t i = 0; i < target.size(); ++i) {
    const int64_t to = target[i];
    if (!started[to]) {
      started[to] = true;
      if (input.floats.empty()) {
        result.ints[to] = input.ints[i];
      } else {
        result.floats[to] = input.floats[i];
      }
    } else if (input.floats.empty()) {
      const OptionalInt value = op.on_ints(result.ints[to], input.ints[i]);
      if (!value) return std::nullopt;
      result.ints[to] = *value;
    } else {
      result.floats[to] = op.on_floats(result.floats[to], input.floats[i]);
    }
  }
  return result;
}

}  // namespace

std::vector<Literal> EvaluateReduce(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || input->size() == 0 || !SmallCount(input->shape)) return {};
  const absl::string_view type = ctx.node().op.type;
  const Binary* op = FindBinary(type == "ReduceProd"                          ? "Mul"
                                : type == "ReduceMax"                         ? "Max"
                                : type == "ReduceMin"                         ? "Min"
                                : type == "ReduceSum" || type == "ReduceMean" ? "Add"
                                                                              : "");
  const int rank = static_cast<int>(input->shape.size());
  const std::vector<bool> reduced = ReducedDims(ctx, rank);
  if (op == nullptr || static_cast<int>(reduced.size()) != rank) return {};
  if (rank == 0) return Result(*input);
  Shape kept = input->shape;
  for (int d = 0; d < rank; ++d) kept[d] = reduced[d] ? 1 : kept[d];
  auto result = Fold(*op, *input, ReductionTarget(input->shape, kept, reduced), kept);
  if (!result) return {};
  if (type == "ReduceMean") {
    const int64_t each = input->size() / result->size();
    for (double& value : result->floats) value /= static_cast<double>(each);
    for (int64_t& value : result->ints) value /= each;
  }
  if (ctx.attributes().Int("keepdims", 1) == 0) result->shape = DropReduced(kept, reduced);
  return Result(*std::move(result));
}

std::vector<Literal> EvaluateArgReduce(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || input->size() == 0 || !SmallCount(input->shape)) return {};
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", 0), static_cast<int>(input->shape.size()));
  if (!axis) return {};
  const bool largest = ctx.node().op.type == "ArgMax";
  const bool last = ctx.attributes().Int("select_last_index", 0) != 0;
  Shape kept = input->shape;
  kept[*axis] = 1;
  const int64_t dim = input->shape[*axis], stride = Strides(input->shape)[*axis];
  Literal result = Literal::Ints(kept, {});
  for (int64_t row = 0; row < input->size() / dim; ++row) {
    const int64_t first = row / stride * stride * dim + row % stride;
    int64_t best = 0;
    for (int64_t i = 1; i < dim; ++i) {
      const double value = input->AsDouble(first + i * stride), bound = input->AsDouble(first + best * stride);
      if ((largest ? value > bound : value < bound) || (last && value == bound)) best = i;
    }
    result.ints.push_back(best);
  }
  if (ctx.attributes().Int("keepdims", 1) == 0) result.shape.erase(result.shape.begin() + *axis);
  return Result(std::move(result));
}

std::vector<Literal> EvaluateCumSum(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  const auto axes = evaluate::IntsOf(ctx, 1, "");
  if (input == nullptr || !axes || axes->size() != 1 || input->size() == 0) return {};
  const std::optional<int> axis = NormalizeAxis((*axes)[0], static_cast<int>(input->shape.size()));
  if (!axis) return {};
  const bool exclusive = ctx.attributes().Int("exclusive", 0) != 0;
  const bool reverse = ctx.attributes().Int("reverse", 0) != 0;
  const Binary& add = *FindBinary("Add");
  const int64_t dim = input->shape[*axis], stride = Strides(input->shape)[*axis];
  Literal result = *input;
  for (int64_t row = 0; row < input->size() / dim; ++row) {
    const int64_t first = row / stride * stride * dim + row % stride;
    int64_t int_sum = 0;
    double float_sum = 0;
    for (int64_t i = 0; i < dim; ++i) {
      const int64_t at = first + (reverse ? dim - 1 - i : i) * stride;
      if (input->floats.empty()) {
        const OptionalInt next = add.on_ints(int_sum, input->ints[at]);
        if (!next) return {};
        result.ints[at] = exclusive ? int_sum : *next;
        int_sum = *next;
      } else {
        const double next = float_sum + input->floats[at];
        result.floats[at] = exclusive ? float_sum : next;
        float_sum = next;
      }
    }
  }
  return Result(std::move(result));
}

}  // namespace reusescope
