// com.microsoft operators of models whose layers carry a state instead of keys and values, and what stands beside them.
//
//   LinearAttention        S = exp(g) S + k (v - S^T k)^T beta;  y = q^T S       a state [d_k, d_v] of each head
//   CausalConvWithState    a depthwise convolution over the past               a state of the window less one
//   AttnLSTM               an LSTM that attends a memory at every step
//   LinearAttentionGate, GatedRMSNorm, GatedAdd, GemmaRotaryEmbedding, MRotaryEmbedding
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_attention.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

// A state, behind a leading axis of `state_window` of them where that is not 0.
Type StateType(const OpContext& ctx, DType dtype, Shape shape) {
  const int64_t window = ctx.attributes().Int("state_window", 0);
  if (window > 0) shape.insert(shape.begin(), window);
  return Type::Tensor(dtype, std::move(shape));
}

// ---- LinearAttention: query [B, T, Hq d_k] key [B, T, H d_k] value [B, T, H d_v] past_state decay beta.

struct LinearShape {
  int64_t q_heads, heads, key_size, value_size;
};

absl::StatusOr<LinearShape> LinearShapeOf(const OpContext& ctx) {
  for (int i : {0, 1, 2}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 3, 3));
  const int64_t q_heads = Heads(ctx, "q_num_heads"), heads = Heads(ctx, "kv_num_heads");
  const int64_t query = ctx.InShape(0)[2], key = ctx.InShape(1)[2], value = ctx.InShape(2)[2];
  constexpr int64_t kMostHeads = int64_t{1} << 31;
  const bool sane = q_heads <= kMostHeads && heads <= kMostHeads;
  if (!sane || query % q_heads != 0 || key % heads != 0 || value % heads != 0) {
    return ctx.Error(absl::StrCat("query is ", TypeString(ctx.InType(0)), ", key ", TypeString(ctx.InType(1)),
                                  " and value ", TypeString(ctx.InType(2)), ", expected [B, T, heads] of ", q_heads,
                                  " and ", heads, " heads"));
  }
  return LinearShape{q_heads, heads, key / heads, value / heads};
}

absl::StatusOr<std::vector<Type>> InferLinearAttention(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const LinearShape shape, LinearShapeOf(ctx));
  const Shape& query = ctx.InShape(0);
  const int64_t width = std::max(shape.q_heads, shape.heads) * shape.value_size;
  std::vector<Type> types = First(ctx, Type::Tensor(ctx.InType(0).dtype, {query[0], query[1], width}));
  if (types.size() > 1) {
    const DType dtype = ctx.HasInput(3) ? ctx.InType(3).dtype : ctx.InType(0).dtype;
    types[1] = StateType(ctx, dtype, {query[0], shape.heads, shape.key_size, shape.value_size});
  }
  return types;
}

// Of every token: the outer product of key and value into the state, the state times the query, and in the delta rules
// the state times the key. The decay multiplies the state; its exponential is taken once for each of its elements.
absl::StatusOr<Kernel> LinearAttentionKernel(const OpContext& ctx) {
  RS_ASSIGN_OR_RETURN(const LinearShape shape, LinearShapeOf(ctx));
  const absl::string_view rule = ctx.attributes().String("update_rule", "gated_delta");
  const bool delta = rule == "delta" || rule == "gated_delta", gated = rule == "gated" || rule == "gated_delta";
  const int64_t tokens = ctx.InShape(0)[0] * ctx.InShape(0)[1];
  const int64_t products = shape.heads * (delta ? 2 : 1) + std::max(shape.q_heads, shape.heads);
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  AddLoop(kernel, 't', tokens);
  AddLoop(kernel, 'h', products);
  AddLoop(kernel, 'k', shape.key_size);
  AddLoop(kernel, 'v', shape.value_size);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  RS_ASSIGN_OR_RETURN(const int64_t states,
                      Times(ctx, "FLOPs", {gated ? tokens : 0, shape.heads, shape.key_size, shape.value_size}));
  RS_ASSIGN_OR_RETURN(const int64_t deltas, Times(ctx, "FLOPs", {delta ? 2 : 0, ctx.InElements(2)}));
  RS_ASSIGN_OR_RETURN(kernel.extra_flops, Sum(ctx, states, deltas + ctx.OutElements(0)));
  if (gated && ctx.HasInput(4)) kernel.extra_transcendentals = ctx.InElements(4);
  return kernel;
}

// ---- CausalConvWithState: input [B, C, ..] weight [C, 1, ..] bias past_state; the window lies before each position.

absl::StatusOr<std::vector<Type>> InferCausalConv(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3, 5));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, ctx.InType(0).rank(), ctx.InType(0).rank()));
  std::vector<Type> types = First(ctx, ctx.InType(0));
  if (types.size() > 1) {
    Shape shape = ctx.InShape(0);
    shape.back() = std::max<int64_t>(ctx.InShape(1).back() - 1, 0);
    types[1] = StateType(ctx, ctx.InType(0).dtype, std::move(shape));
  }
  return types;
}

absl::StatusOr<Kernel> CausalConvKernel(const OpContext& ctx) {
  const Shape& weight = ctx.InShape(1);
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  AddLoop(kernel, 'i', ctx.InElements(0));
  for (size_t d = 2; d < weight.size(); ++d) AddLoop(kernel, static_cast<char>('r' + d - 2), weight[d]);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  const absl::string_view activation = ctx.attributes().String("activation", "none");
  if (ctx.HasInput(2)) kernel.extra_flops += ctx.OutElements(0);
  if (activation == "silu" || activation == "swish") {
    kernel.extra_flops += 3 * ctx.OutElements(0);
    kernel.extra_transcendentals += 2 * ctx.OutElements(0);
  }
  return kernel;
}

// ---- AttnLSTM: X [T, B, I] W [D, 4 H, I + context] R [D, 4 H, H] B lengths h c P QW [D, H, A] MW [D, M, A] V [D, A]
// memory [B, S, M] lengths AW [D, M + H, context].

absl::StatusOr<std::vector<Type>> InferAttnLstm(const OpContext& ctx) {
  for (int i : {0, 1, 2}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 3, 3));
  const Shape &x = ctx.InShape(0), &r = ctx.InShape(2);
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), Type::Tensor(ctx.InType(0).dtype, {r[0], x[1], r[2]}));
  types[0] = Type::Tensor(ctx.InType(0).dtype, {x[0], r[0], x[1], r[2]});
  return types;
}

// Every matrix once for each step and sample, but the memory's once for each of its rows; the scores of a step are
// V tanh(keys + query), their softmax weighs the memory.
absl::StatusOr<Kernel> AttnLstmKernel(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 9, 3, 3));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 11, 3, 3));
  const Shape &x = ctx.InShape(0), &r = ctx.InShape(2), &memory = ctx.InShape(11);
  const int64_t steps = x[0] * x[1], attention = ctx.InShape(9)[2];
  int64_t weights = ctx.InElements(1) + ctx.InElements(2);
  for (int i : {8, 13}) weights += ctx.HasInput(i) ? ctx.InElements(i) : 0;
  RS_ASSIGN_OR_RETURN(const int64_t rows, Times(ctx, "scores", {steps, r[0], memory[1]}));
  RS_ASSIGN_OR_RETURN(const int64_t matrices, Times(ctx, "MACs", {steps, weights}));
  RS_ASSIGN_OR_RETURN(const int64_t keys, Times(ctx, "MACs", {memory[0], memory[1], ctx.InElements(9)}));
  RS_ASSIGN_OR_RETURN(const int64_t sums, Times(ctx, "MACs", {rows, attention + memory[2]}));
  RS_ASSIGN_OR_RETURN(int64_t macs, Sum(ctx, matrices, keys));
  RS_ASSIGN_OR_RETURN(macs, Sum(ctx, macs, sums));
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  AddLoop(kernel, 'm', macs);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  RS_ASSIGN_OR_RETURN(const int64_t scores, Times(ctx, "FLOPs", {rows, attention}));
  RS_ASSIGN_OR_RETURN(const int64_t cells, Times(ctx, "FLOPs", {steps, r[0], r[2]}));
  RS_ASSIGN_OR_RETURN(kernel.extra_flops, Sum(ctx, scores + 3 * rows, 9 * cells));
  RS_ASSIGN_OR_RETURN(kernel.extra_transcendentals, Sum(ctx, scores + 2 * rows, 5 * cells));
  return kernel;
}

// ---- Gates and rotations.

absl::Status LowerGatedAdd(LowerContext& ctx) {  // X + Y gate
  AttentionBuilder build(ctx);
  SetLoweredOutput(ctx, build, 0, EmitAdd(build, ctx.I(0), build.Like("Mul", ctx.I(1), {ctx.I(2)})));
  return absl::OkStatus();
}

// X [.., H C] scale [C] gate: every C elements normalized apart.
absl::Status LowerGatedNorm(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 0, 1));
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 1, 1, 1));
  const Shape shape = build.ShapeOf(ctx.I(0));
  const int64_t group = std::max<int64_t>(build.ShapeOf(ctx.I(1))[0], 1);
  if (shape.back() % group != 0) {
    return ctx.node().Error(
        absl::StrCat("input 0 is ", ShapeString(shape), ", expected a last dimension of whole groups of ", group));
  }
  Shape groups = shape;
  groups.back() /= group;
  groups.push_back(group);
  Attributes attributes;
  attributes.Set("axis", int64_t{-1});
  attributes.Set("epsilon", ctx.node().attributes().Float("epsilon", 1e-6));
  const ValueId normal =
      build.Like("RMSNormalization", build.Reshape(ctx.I(0), groups), {ctx.I(1)}, std::move(attributes));
  SetLoweredOutput(ctx, build, 0, build.Like("Mul", build.Reshape(normal, shape), {build.Like("Swish", ctx.I(2))}));
  return absl::OkStatus();
}

// a [B, T, H] bias scale b -> scale softplus(a + bias), sigmoid(b); inside in the bias's type.
absl::Status LowerLinearGate(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  const DType outside = build.DTypeOf(ctx.I(0)), inside = build.DTypeOf(ctx.I(1));
  const ValueId sum = EmitAdd(build, build.Cast(ctx.I(0), inside), ctx.I(1));
  const ValueId decay = build.Like("Mul", build.Like("Softplus", sum), {ctx.I(2)});
  SetLoweredOutput(ctx, build, 0, build.Cast(decay, outside));
  if (!ctx.node().HasOutput(1)) return absl::OkStatus();
  if (ctx.I(3) == kNoValue) return ctx.node().Error("input 3 (b) is missing, expected it for output 1 (beta)");
  SetLoweredOutput(ctx, build, 1, build.Like("Sigmoid", ctx.I(3)));
  return absl::OkStatus();
}

// emb [B, S, D] q q_rot k k_rot [B, H, S, D] -> q cos(emb) + q_rot sin(emb), the same of k.
absl::StatusOr<std::vector<Type>> InferGemmaRotary(const OpContext& ctx) {
  for (int i : {1, 3}) RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 4, 4));
  std::vector<Type> types(std::max(ctx.num_outputs(), 1), ctx.InType(3));
  types[0] = ctx.InType(1);
  return types;
}

absl::Status LowerGemmaRotary(LowerContext& ctx) {
  AttentionBuilder build(ctx);
  RS_RETURN_IF_ERROR(ExpectRank(ctx.node(), 0, 3, 3));
  const Shape angles = build.ShapeOf(ctx.I(0));
  const DType dtype = build.DTypeOf(ctx.I(1));
  const auto of_angles = [&](absl::string_view op) {
    return build.Reshape(build.Cast(build.Like(op, ctx.I(0)), dtype), {angles[0], 1, angles[1], angles[2]});
  };
  const ValueId sine = of_angles("Sin"), cosine = of_angles("Cos");
  for (int j : {0, 1}) {
    if (!ctx.node().HasOutput(j)) continue;
    const ValueId turned = build.Like("Mul", ctx.I(2 * j + 2), {sine});
    SetLoweredOutput(ctx, build, j, EmitAdd(build, build.Like("Mul", ctx.I(2 * j + 1), {cosine}), turned));
  }
  return absl::OkStatus();
}

}  // namespace

void RegisterContribLinearAttention(OpRegistry& registry) {
  const OpSemantics rows[] = {
      ContribProduct("LinearAttention", InferLinearAttention, LinearAttentionKernel, kInferenceOnly),
      ContribProduct("CausalConvWithState", InferCausalConv, CausalConvKernel, kInferenceOnly),
      ContribProduct("AttnLSTM", InferAttnLstm, AttnLstmKernel, kInferenceOnly),
      ContribComposite("LinearAttentionGate", InferAllLikeInput, LowerLinearGate),
      ContribComposite("GatedAdd", InferFirstLikeInput, LowerGatedAdd),
      ContribComposite("GatedRMSNorm", InferFirstLikeInput, LowerGatedNorm),
      ContribComposite("GemmaRotaryEmbedding", InferGemmaRotary, LowerGemmaRotary),
      // Every pair (a, b) becomes (a cos - b sin, a sin + b cos), the angles of three positions looked up.
      {.domain = kMicrosoft,
       .type = "MRotaryEmbedding",
       .flops = 3,
       .infer = InferFirstLikeInput,
       .kernel = SweepKernel,
       .not_differentiable = kInferenceOnly},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
