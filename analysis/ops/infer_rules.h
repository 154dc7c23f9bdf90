// Types and shapes where ONNX's schemas have no rule or stop short: for OpSemantics::infer.
//
// Each function returns one Type per output of the node. kInvalidArgument names node, operand, found and expected.

#ifndef REUSESCOPE_ANALYSIS_OPS_INFER_RULES_H_
#define REUSESCOPE_ANALYSIS_OPS_INFER_RULES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

// Every version, training outputs included: ONNX's rule before opset 14 knows no shape of mean and var outputs.
absl::StatusOr<std::vector<Type>> InferBatchNormalization(const OpContext& ctx);

// "bij,bjk->bik", "...ij->...ji", "ij,jk" (implicit output). One walk over the equation.
absl::StatusOr<std::vector<Type>> InferEinsum(const OpContext& ctx);

// Sequences: ONNX's rules know the type of the elements, not how many there are.
absl::StatusOr<std::vector<Type>> InferSplitToSequence(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceConstruct(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceEmpty(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceInsert(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceErase(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferConcatFromSequence(const OpContext& ctx);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_INFER_RULES_H_
