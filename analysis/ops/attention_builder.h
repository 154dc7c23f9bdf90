// The products and row operations of one scaled dot-product attention, for the operators that lower to it.
//
//   AttentionBuilder build(ctx);
//   Attention attention{.q = q, .k = k, .v = v};         // [B, heads, S, D]
//   BuildAttention(build, attention);                    // emits; attention.product is Y, [B, heads, Sq, Dv]

#ifndef REUSESCOPE_ANALYSIS_OPS_ATTENTION_BUILDER_H_
#define REUSESCOPE_ANALYSIS_OPS_ATTENTION_BUILDER_H_

#include <limits>
#include <vector>

#include "analysis/ops/bodies.h"
#include "analysis/ops/lower_context.h"

namespace reusescope {

// Emits in the order of the schedule, computing each type from its operands.
class AttentionBuilder {
 public:
  explicit AttentionBuilder(LowerContext& ctx) : ctx_(ctx) {}

  const Shape& ShapeOf(ValueId value) const { return ctx_.node().graph().value(value).type.shape; }
  DType DTypeOf(ValueId value) const { return ctx_.TypeOf(value).dtype; }

  ValueId Reshape(ValueId value, const Shape& shape) {
    if (ShapeOf(value) == shape) return value;
    return ctx_.Emit("Reshape", {value, Dims("shape", shape)}, Type::Tensor(DTypeOf(value), shape));
  }

  ValueId Transpose(ValueId value, std::vector<int64_t> perm) {
    Shape shape;
    for (int64_t d : perm) shape.push_back(ShapeOf(value)[d]);
    Attributes attributes;
    attributes.Set("perm", std::move(perm));
    return ctx_.Emit("Transpose", {value}, Type::Tensor(DTypeOf(value), shape), std::move(attributes));
  }

  ValueId Expand(ValueId value, const Shape& shape) {
    return ctx_.Emit("Expand", {value, Dims("shape", shape)}, Type::Tensor(DTypeOf(value), shape));
  }

  ValueId Concat(ValueId a, ValueId b, int axis) {
    Shape shape = ShapeOf(a);
    shape[axis] += ShapeOf(b)[axis];
    Attributes attributes;
    attributes.Set("axis", int64_t{axis});
    return ctx_.Emit("Concat", {a, b}, Type::Tensor(DTypeOf(a), shape), std::move(attributes));
  }

  ValueId Cast(ValueId value, DType dtype) {
    if (DTypeOf(value) == dtype) return value;
    Attributes attributes;
    attributes.Set("to", static_cast<int64_t>(dtype));
    return ctx_.Emit("Cast", {value}, Type::Tensor(dtype, ShapeOf(value)), std::move(attributes));
  }

  // An operator of one output, shaped like its first operand.
  ValueId Like(absl::string_view op, ValueId value, std::vector<ValueId> rest = {}, Attributes attributes = {}) {
    rest.insert(rest.begin(), value);
    const Type type = ctx_.TypeOf(value);
    return ctx_.Emit(op, rest, type, std::move(attributes));
  }

  ValueId MatMul(ValueId a, ValueId b) {
    Shape shape = ShapeOf(a);
    shape.back() = ShapeOf(b).back();
    return ctx_.Emit("MatMul", {a, b}, Type::Tensor(DTypeOf(a), shape));
  }

  // [B, S, H * D] to [B, H, S, D].
  ValueId SplitHeads(ValueId value, int64_t heads) {
    const Shape shape = ShapeOf(value);
    return Transpose(Reshape(value, {shape[0], shape[1], heads, shape[2] / heads}), {0, 2, 1, 3});
  }

  // [B, H, S, D] to [B, S, H * D].
  ValueId MergeHeads(ValueId value) {
    const Shape shape = ShapeOf(value);
    return Reshape(Transpose(value, {0, 2, 1, 3}), {shape[0], shape[2], shape[1] * shape[3]});
  }

  // Every head of [B, H, S, D] repeated for the heads of Q that share it.
  ValueId RepeatHeads(ValueId value, int64_t heads) {
    const Shape shape = ShapeOf(value);
    if (shape[1] == heads) return value;
    const ValueId apart = Reshape(value, {shape[0], shape[1], 1, shape[2], shape[3]});
    const ValueId repeated = Expand(apart, {shape[0], shape[1], heads / shape[1], shape[2], shape[3]});
    return Reshape(repeated, {shape[0], heads, shape[2], shape[3]});
  }

  ValueId Scalar(absl::string_view suffix, double value, DType dtype) {
    return ctx_.Constant(suffix, Literal::Floats({}, {value}, dtype));
  }

  // A boolean mask (true: attend) as what is added to the scores.
  ValueId AdditiveMask(ValueId keep, DType dtype) {
    const ValueId zero = Scalar("attend", 0.0, dtype);
    const ValueId lowest = Scalar("masked", -std::numeric_limits<double>::infinity(), dtype);
    return ctx_.Emit("Where", {keep, zero, lowest}, Type::Tensor(dtype, ShapeOf(keep)));
  }

  // A causal or sliding-window mask, added to the scores: query q sees keys past + q - left to past + q + right.
  struct Window {
    int64_t queries = 0, keys = 0;
    int64_t past = 0;              // keys that come before the first query
    int64_t left = -1, right = 0;  // -1: no bound
  };
  ValueId PositionMask(const Window& window, DType dtype) {
    Attributes attributes;
    attributes.Set("past", window.past);
    attributes.Set("left", window.left);
    attributes.Set("right", window.right);
    return ctx_.FoldedConstant("reusescope::PositionMask", Type::Tensor(dtype, {window.queries, window.keys}),
                               std::move(attributes));
  }

  // The same where the keys end at `lengths` [B], a number of each image: query q stands at length - queries + q.
  // [B, 1, queries, keys], true where attended.
  ValueId PositionMaskBefore(ValueId lengths, const Window& window) {
    const DType dtype = DTypeOf(lengths);
    const int64_t batch = ShapeOf(lengths)[0];
    std::vector<int64_t> offsets = Range(window.queries);
    for (int64_t& offset : offsets) offset -= window.queries;
    const ValueId last = Reshape(lengths, {batch, 1, 1, 1});
    const ValueId offset = ctx_.Constant("offsets", Literal::Ints({window.queries, 1}, std::move(offsets), dtype));
    const ValueId query = ctx_.Emit("Add", {last, offset}, Type::Tensor(dtype, {batch, 1, window.queries, 1}));
    const ValueId key = ctx_.Constant("positions", Literal::Ints({window.keys}, Range(window.keys), dtype));
    const Type mask = Type::Tensor(DType::kBool, {batch, 1, window.queries, window.keys});
    const auto bound = [&](absl::string_view op, int64_t by) {
      const ValueId edge =
          by == 0 ? query : Like("Add", query, {ctx_.Constant("bound", Literal::Ints({}, {by}, dtype))});
      return ctx_.Emit(op, {key, edge}, mask);
    };
    const ValueId right = window.right < 0 ? kNoValue : bound("LessOrEqual", window.right);
    if (window.left < 0) return right;
    const ValueId left = bound("GreaterOrEqual", -window.left);
    return right == kNoValue ? left : ctx_.Emit("And", {left, right}, mask);
  }

  // A mask may stop short of the last keys; those are padding.
  ValueId PadKeys(ValueId mask, int64_t keys) {
    Shape shape = ShapeOf(mask);
    if (shape.empty() || shape.back() == keys || shape.back() == 1) return mask;
    std::vector<int64_t> pads(2 * shape.size(), 0);
    pads.back() = keys - shape.back();
    shape.back() = keys;
    std::vector<ValueId> inputs = {mask,
                                   ctx_.Constant("pads", Literal::Ints({static_cast<int64_t>(pads.size())}, pads))};
    if (DTypeOf(mask) != DType::kBool) {
      inputs.push_back(Scalar("masked", -std::numeric_limits<double>::infinity(), DTypeOf(mask)));
    }
    return ctx_.Emit("Pad", inputs, Type::Tensor(DTypeOf(mask), shape));
  }

  // The last dimension taken apart.
  std::vector<ValueId> SplitLast(ValueId value, const std::vector<int64_t>& widths) {
    std::vector<Type> types(widths.size(), ctx_.TypeOf(value));
    for (size_t i = 0; i < widths.size(); ++i) types[i].shape.back() = widths[i];
    Attributes axis;
    axis.Set("axis", int64_t{-1});
    return ctx_.EmitMany("Split", {value, Dims("split", {widths.begin(), widths.end()})}, types, std::move(axis));
  }

  // [rows, count] of first, first + 1, ...: a constant.
  ValueId Positions(const Shape& shape, int64_t first) {
    std::vector<int64_t> positions;
    for (int64_t i = 0; i < shape[0] * shape[1]; ++i) positions.push_back(first + i % shape[1]);
    return ctx_.Constant("positions", Literal::Ints(shape, std::move(positions)));
  }

  ValueId Slice(ValueId value, int64_t start, int64_t length) {  // of a vector
    const ValueId starts = Dims("starts", {start}), ends = Dims("ends", {start + length});
    return ctx_.Emit("Slice", {value, starts, ends}, Type::Tensor(DTypeOf(value), {length}));
  }

 private:
  ValueId Dims(absl::string_view suffix, const Shape& shape) {
    return ctx_.Constant(suffix, Literal::Ints({static_cast<int64_t>(shape.size())}, {shape.begin(), shape.end()}));
  }

  LowerContext& ctx_;
};

// What the operators that lower to attention have in common. Q, K, V are [B, heads, S, D] with equal heads.
struct Attention {
  ValueId q, k, v;
  double scale = 0;            // 0: 1 / sqrt(D)
  double softcap = 0;          // 0: none
  std::vector<ValueId> masks;  // added to the scores in turn; boolean ones mean "attend"
  bool guarded = false;        // rows of which every key is masked get zeros, not NaN
  DType softmax_dtype = DType::kUndefined;
  ValueId product = kNoValue;  // Y, [B, heads, Sq, Dv]
  ValueId scores = kNoValue, capped = kNoValue, masked = kNoValue, probabilities = kNoValue;
};

void BuildAttention(AttentionBuilder& build, Attention& attention);

// Shapes that fit each other, Hq a multiple of H.
absl::Status CheckAttentionOperands(const LowerContext& ctx, const AttentionBuilder& build, const Attention& attention);

// Past keys or values [B, H, past, D] with those of this call [B, H, S, D] behind them; these alone where there are no
// past ones.
absl::StatusOr<ValueId> AfterPast(LowerContext& ctx, AttentionBuilder& build, ValueId past, ValueId present);

// `value` becomes output j, if the node has it; a value that was not emitted (an input handed through) by way of a
// view. Returns the value to go on with.
ValueId SetLoweredOutput(LowerContext& ctx, AttentionBuilder& build, int j, ValueId value);

// Keys at positions from `lengths` [B] on are padding: a mask [B, 1, 1, Skv], true where attended.
ValueId LengthMask(LowerContext& ctx, AttentionBuilder& build, ValueId lengths, int64_t keys);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_ATTENTION_BUILDER_H_
