// What the families of com.microsoft operators share: checks, broadcasting, operators that stand for several of ONNX's.

#ifndef REUSESCOPE_ANALYSIS_OPS_CONTRIB_UTIL_H_
#define REUSESCOPE_ANALYSIS_OPS_CONTRIB_UTIL_H_

#include <vector>

#include "analysis/ops/attention_builder.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

inline constexpr absl::string_view kMicrosoft = "com.microsoft";

// Input i is there, a tensor of known shape, of `least` to `most` dimensions.
absl::Status ExpectRank(const OpContext& ctx, int i, int least, int most = 64);

// NumPy's broadcast of the two; an error names both.
absl::StatusOr<Shape> BroadcastShapes(const OpContext& ctx, const Shape& a, const Shape& b);

// Leading dimensions and matrix dimensions of A B, either transposed, as MatMul has them.
absl::StatusOr<Shape> ProductShape(const OpContext& ctx, Shape a, Shape b);

// Types of all outputs: the first `type`, the others of unknown type and so left to what the file declares.
std::vector<Type> First(const OpContext& ctx, Type type);
// Output 0 is like input 0 (all others too, where they are as many statistics as rows: see the operator).
absl::StatusOr<std::vector<Type>> InferFirstLikeInput(const OpContext& ctx);

// x after the activation that attribute `activation` names ("Relu", "gelu", "silu", ...); x itself when there is none.
// Its parameters (alpha and beta, or the bounds of a Clip) are in `activation_params` or `activation_alpha` and the
// like.
absl::StatusOr<ValueId> EmitActivation(LowerContext& ctx, AttentionBuilder& build, absl::string_view name, ValueId x);
// The node's attributes without those of its activation.
Attributes WithoutActivation(const OpContext& ctx);

// a + b, shaped like a.
inline ValueId EmitAdd(AttentionBuilder& build, ValueId a, ValueId b) { return build.Like("Add", a, {b}); }

// A kernel of a matrix product [m, k] x [k, n] whose operands are touched whole, for weights that are packed otherwise.
absl::StatusOr<Kernel> WholeProductKernel(const OpContext& ctx, int64_t m, int64_t n, int64_t k);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_CONTRIB_UTIL_H_
