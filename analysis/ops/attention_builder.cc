#include "analysis/ops/attention_builder.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "analysis/ops/bodies.h"

namespace reusescope {

void BuildAttention(AttentionBuilder& build, Attention& attention) {
  const DType dtype = build.DTypeOf(attention.q);
  const double head_size = static_cast<double>(build.ShapeOf(attention.q).back());
  const double scale = attention.scale != 0 ? attention.scale : 1 / std::sqrt(std::max(head_size, 1.0));
  const ValueId root = build.Scalar("sqrt_scale", std::sqrt(scale), dtype);
  const ValueId q = build.Like("Mul", attention.q, {root});
  const ValueId k = build.Like("Mul", build.Transpose(attention.k, {0, 1, 3, 2}), {root});
  attention.scores = build.MatMul(q, k);
  attention.capped = attention.scores;
  if (attention.softcap != 0) {
    const ValueId cap = build.Scalar("softcap", attention.softcap, dtype);
    attention.capped = build.Like("Mul", build.Like("Tanh", build.Like("Div", attention.capped, {cap})), {cap});
  }
  attention.masked = attention.capped;  // after the cap, which would make a mask's infinity finite
  for (ValueId mask : attention.masks) {
    const ValueId added = build.DTypeOf(mask) == DType::kBool ? build.AdditiveMask(mask, dtype) : mask;
    attention.masked = build.Like("Add", attention.masked, {added});
  }
  const bool cast = attention.softmax_dtype != DType::kUndefined;
  Attributes last_axis;
  last_axis.Set("axis", int64_t{-1});
  const ValueId input = cast ? build.Cast(attention.masked, attention.softmax_dtype) : attention.masked;
  const absl::string_view softmax = attention.guarded ? "reusescope::GuardedSoftmax" : "Softmax";
  attention.probabilities = build.Cast(build.Like(softmax, input, {}, std::move(last_axis)), dtype);
  attention.product = build.MatMul(attention.probabilities, attention.v);
}

absl::Status CheckAttentionOperands(const LowerContext& ctx, const AttentionBuilder& build,
                                    const Attention& attention) {
  const Shape& q = build.ShapeOf(attention.q);
  const Shape& k = build.ShapeOf(attention.k);
  const Shape& v = build.ShapeOf(attention.v);
  if (q.size() == 4 && k.size() == 4 && v.size() == 4 && q[0] == k[0] && k[0] == v[0] && q[3] == k[3] && k[2] == v[2] &&
      k[1] == v[1] && k[1] > 0 && q[1] % k[1] == 0) {
    return absl::OkStatus();
  }
  return ctx.node().Error(
      absl::StrCat("Q is ", ShapeString(q), ", K ", ShapeString(k), ", V ", ShapeString(v),
                   ", expected [B, Hq, Sq, D], [B, H, Skv, D], [B, H, Skv, Dv], Hq a multiple of H"));
}

absl::StatusOr<ValueId> AfterPast(LowerContext& ctx, AttentionBuilder& build, ValueId past, ValueId present) {
  if (past == kNoValue) return present;
  const Shape& before = build.ShapeOf(past);
  const Shape& now = build.ShapeOf(present);
  if (ElementCount(before).value_or(1) == 0) return present;
  if (before.size() != 4 || now.size() != 4 || before[0] != now[0] || before[1] != now[1] || before[3] != now[3]) {
    return ctx.node().Error(absl::StrCat("past keys or values are ", ShapeString(before), " and those of this call ",
                                         ShapeString(now), ", expected [B, H, past, D] and [B, H, S, D]"));
  }
  return build.Concat(past, present, 2);
}

ValueId SetLoweredOutput(LowerContext& ctx, AttentionBuilder& build, int j, ValueId value) {
  if (!ctx.node().HasOutput(j)) return value;
  const std::vector<NodeId>& emitted = ctx.emitted();
  const NodeId producer = ctx.node().graph().value(value).producer;
  if (std::find(emitted.begin(), emitted.end(), producer) == emitted.end()) value = build.Like("Identity", value);
  ctx.ReplaceOutput(j, value);
  return ctx.node().node().outputs[j];
}

ValueId LengthMask(LowerContext& ctx, AttentionBuilder& build, ValueId lengths, int64_t keys) {
  const int64_t batch = build.ShapeOf(lengths)[0];
  const ValueId column = build.Reshape(lengths, {batch, 1, 1, 1});
  const ValueId range = ctx.Constant("positions", Literal::Ints({keys}, Range(keys), build.DTypeOf(lengths)));
  return ctx.Emit("Less", {range, column}, Type::Tensor(DType::kBool, {batch, 1, 1, keys}));
}

}  // namespace reusescope
