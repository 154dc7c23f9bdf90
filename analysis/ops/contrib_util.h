// What the families of com.microsoft operators share: checks, broadcasting, operators that stand for several of ONNX's.

#ifndef REUSESCOPE_ANALYSIS_OPS_CONTRIB_UTIL_H_
#define REUSESCOPE_ANALYSIS_OPS_CONTRIB_UTIL_H_

#include <initializer_list>
#include <vector>

#include "analysis/ops/attention_builder.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

inline constexpr absl::string_view kMicrosoft = "com.microsoft";
// What ONNX Runtime writes when it saves a model that it has optimized: images in blocks of channels, channels last.
inline constexpr absl::string_view kNchwc = "com.microsoft.nchwc";
inline constexpr absl::string_view kInternalNhwc = "com.ms.internal.nhwc";

inline constexpr absl::string_view kInferenceOnly = "a kernel of inference; no rule for its gradient yet";

// Rows of com.microsoft: one that is taken apart, and one whose kernel is a contraction, with the reason why it has no
// gradient.
inline OpSemantics ContribComposite(absl::string_view type, InferFn infer, LowerFn lower) {
  return {.domain = kMicrosoft, .type = type, .infer = infer, .lower = lower};
}
inline OpSemantics ContribProduct(absl::string_view type, InferFn infer, KernelFn kernel, absl::string_view reason) {
  return {.domain = kMicrosoft,
          .type = type,
          .infer = infer,
          .kernel = kernel,
          .not_differentiable = reason,
          .contraction = true};
}

// Input i is there, a tensor of known shape, of `least` to `most` dimensions.
absl::Status ExpectRank(const OpContext& ctx, int i, int least, int most = 64);

// NumPy's broadcast of the two; an error names both.
absl::StatusOr<Shape> BroadcastShapes(const OpContext& ctx, const Shape& a, const Shape& b);

// Leading dimensions and matrix dimensions of A B, either transposed, as MatMul has them.
absl::StatusOr<Shape> ProductShape(const OpContext& ctx, Shape a, Shape b);

// Types of all outputs: the first `type`, the others of unknown type and so left to what the file declares.
std::vector<Type> First(const OpContext& ctx, Type type);
// Output 0 is like input 0, the others as in First.
absl::StatusOr<std::vector<Type>> InferFirstLikeInput(const OpContext& ctx);
// Every output is like input 0.
absl::StatusOr<std::vector<Type>> InferAllLikeInput(const OpContext& ctx);

// x after the activation that attribute `activation` names ("Relu", "gelu", "silu", ...); x itself when there is none.
// Its parameters (alpha and beta, or the bounds of a Clip) are in `activation_params` or `activation_alpha` and the
// like.
absl::StatusOr<ValueId> EmitActivation(LowerContext& ctx, AttentionBuilder& build, absl::string_view name, ValueId x);
// The node's attributes without those of its activation.
Attributes WithoutActivation(const OpContext& ctx);

// a + b, shaped like a.
inline ValueId EmitAdd(AttentionBuilder& build, ValueId a, ValueId b) { return build.Like("Add", a, {b}); }

// x [N, C, D1, ..] as [N, D1, .., C] and back.
std::vector<int64_t> ToChannelsLast(int rank);
std::vector<int64_t> ToChannelsFirst(int rank);

// The shape of such an image, [N, D1, .., C] as [N, C, D1, ..] and back.
Shape ChannelsFirst(const Shape& image);
Shape ChannelsLast(const Shape& image);
// Extents of a convolution's output, spatial dimensions of X and W given from dimension 2 on.
absl::StatusOr<Shape> ConvolvedShape(const OpContext& ctx, const Shape& x, const Shape& w);

// Output 0 of a pool whose window the attributes say, spatial dimensions of input 0 from `first` on.
absl::StatusOr<std::vector<Type>> PoolTypes(const OpContext& ctx, size_t first);
// One operation of the entry's `flops` (1 where it states none) for each position of the window.
absl::StatusOr<Kernel> WindowKernel(const OpContext& ctx);

// Elements times factor, or kOutOfRange naming the node and what there is too much of.
absl::StatusOr<int64_t> Times(const OpContext& ctx, absl::string_view what, std::initializer_list<int64_t> factors);

// a + b, or kOutOfRange naming the node.
absl::StatusOr<int64_t> Sum(const OpContext& ctx, int64_t a, int64_t b);

// A kernel of a matrix product [m, k] x [k, n] whose operands are touched whole, for weights that are packed otherwise.
absl::StatusOr<Kernel> WholeProductKernel(const OpContext& ctx, int64_t m, int64_t n, int64_t k);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_CONTRIB_UTIL_H_
