// Values of the small tensors that shapes are made of: one function per operator, for OpSemantics::evaluate.
//
//   Shape(x) -> Gather(0) -> Concat(-1) -> Reshape's second input       each step yields a Literal
//
// A function returns one Literal per output, or nothing when the inputs known so far do not determine the outputs.
// REQUIRES: the node's output types are inferred as far as inference goes. An output whose dimensions inference cannot
// know (NonZero) gets its shape from here.
//
// Only tensors of at most kMaxLiteralElements are evaluated, so a hostile file costs no memory. Integers are int64 with
// checked arithmetic, wrapped to the tensor's width where the operator's definition wraps (Cast); an overflow, a
// division by zero or an index out of range makes the result unknown, never an error: whether it matters is for the
// shape that needs it to say. Integer division truncates toward zero. Floating-point literals are held as double and
// rounded to float32 where the tensor is narrower than 64 bits; those of more than kMaxFloatLiteralElements elements
// and parameters are never read, so that no result depends on whether a file carries its weights. Strings are not
// evaluated.

#ifndef REUSESCOPE_ANALYSIS_OPS_EVALUATE_H_
#define REUSESCOPE_ANALYSIS_OPS_EVALUATE_H_

#include <vector>

#include "analysis/ops/op_semantics.h"

namespace reusescope {

inline constexpr int64_t kMaxFloatLiteralElements = 16;

// Sources.
std::vector<Literal> EvaluateConstant(const OpContext& ctx);
std::vector<Literal> EvaluateConstantOfShape(const OpContext& ctx);
std::vector<Literal> EvaluateShape(const OpContext& ctx);
std::vector<Literal> EvaluateSize(const OpContext& ctx);
std::vector<Literal> EvaluateRange(const OpContext& ctx);
std::vector<Literal> EvaluateEyeLike(const OpContext& ctx);
std::vector<Literal> EvaluateSequenceLength(const OpContext& ctx);

// The same elements in another shape or order.
std::vector<Literal> EvaluateReshape(const OpContext& ctx);  // Reshape, Flatten, Squeeze, Unsqueeze, Identity
std::vector<Literal> EvaluateCast(const OpContext& ctx);     // Cast, CastLike
std::vector<Literal> EvaluateTranspose(const OpContext& ctx);
std::vector<Literal> EvaluateConcat(const OpContext& ctx);
std::vector<Literal> EvaluateSplit(const OpContext& ctx);
std::vector<Literal> EvaluateSlice(const OpContext& ctx);
std::vector<Literal> EvaluateExpand(const OpContext& ctx);
std::vector<Literal> EvaluateTile(const OpContext& ctx);
std::vector<Literal> EvaluatePad(const OpContext& ctx);
std::vector<Literal> EvaluateTrilu(const OpContext& ctx);

// By index.
std::vector<Literal> EvaluateGather(const OpContext& ctx);
std::vector<Literal> EvaluateGatherElements(const OpContext& ctx);
std::vector<Literal> EvaluateGatherND(const OpContext& ctx);
std::vector<Literal> EvaluateScatterElements(const OpContext& ctx);  // also Scatter
std::vector<Literal> EvaluateScatterND(const OpContext& ctx);
std::vector<Literal> EvaluateOneHot(const OpContext& ctx);
std::vector<Literal> EvaluateNonZero(const OpContext& ctx);
std::vector<Literal> EvaluateCompress(const OpContext& ctx);
std::vector<Literal> EvaluateTopK(const OpContext& ctx);
std::vector<Literal> EvaluateUnique(const OpContext& ctx);

// Arithmetic, by the node's type: Add Sub Mul Div Mod Pow Min Max Sum Mean, BitwiseAnd BitwiseOr BitwiseXor BitShift,
// Equal Less LessOrEqual Greater GreaterOrEqual, And Or Xor; Neg Abs Sign Not BitwiseNot Sqrt Floor Ceil Round
// Reciprocal Exp Log IsNaN IsInf Relu Clip. Operands broadcast.
std::vector<Literal> EvaluateElementwise(const OpContext& ctx);
std::vector<Literal> EvaluateWhere(const OpContext& ctx);
// ReduceSum ReduceProd ReduceMax ReduceMin ReduceMean, axes as attribute or input.
std::vector<Literal> EvaluateReduce(const OpContext& ctx);
std::vector<Literal> EvaluateArgReduce(const OpContext& ctx);  // ArgMax, ArgMin
std::vector<Literal> EvaluateCumSum(const OpContext& ctx);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_EVALUATE_H_
