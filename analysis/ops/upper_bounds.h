// The largest shapes that data can give the outputs of an operator, for OpSemantics::upper_bound.
//
// Asked only where neither the schema, nor the evaluator, nor the file tells; a dimension is left kUnknownDim where
// nothing bounds it.

#ifndef REUSESCOPE_ANALYSIS_OPS_UPPER_BOUNDS_H_
#define REUSESCOPE_ANALYSIS_OPS_UPPER_BOUNDS_H_

#include <vector>

#include "analysis/ops/op_semantics.h"

namespace reusescope {

// Every output is at most as large as input 0, of the output's own dtype: Slice, TopK, Compress along an axis.
absl::StatusOr<std::vector<Type>> AtMostLikeInput(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> NonZeroAtMost(const OpContext& ctx);            // [rank, elements]
absl::StatusOr<std::vector<Type>> UniqueAtMost(const OpContext& ctx);             // as if all elements differed
absl::StatusOr<std::vector<Type>> CompressAtMost(const OpContext& ctx);           // as if everything were kept
absl::StatusOr<std::vector<Type>> NonMaxSuppressionAtMost(const OpContext& ctx);  // [N C min(boxes, limit), 3]
// A reduction over k axes that are data: like input 0 where dimensions are kept as ones; else dimension i of the output
// is one of i to i + k of the input.
absl::StatusOr<std::vector<Type>> ReduceAtMost(const OpContext& ctx);
// A Reshape to a shape that is data keeps the number of elements: all of them in one dimension, 1 for the others.
absl::StatusOr<std::vector<Type>> ReshapeAtMost(const OpContext& ctx);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_UPPER_BOUNDS_H_
