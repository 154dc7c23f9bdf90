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

// Checks what ONNX's rule does not: that weight and bias have the channels that input and `group` ask for.
absl::StatusOr<std::vector<Type>> InferConv(const OpContext& ctx);

// Every version: ONNX's rule before opset 19 counts windows of `ceil_mode` that begin in the padding behind the image,
// which PyTorch and runtimes leave out. Output 1, the indices, is like output 0. A window larger than the image is an
// error, as in InferConv.
absl::StatusOr<std::vector<Type>> InferPool(const OpContext& ctx);

// One element of rank 0 or 1 for each operand, as runtimes take it; ONNX's rule wants rank 0, which bodies of its own
// functions do not keep to. The length is known where the operands are.
absl::StatusOr<std::vector<Type>> InferRange(const OpContext& ctx);

// The length is known where the condition is, whatever the data are.
absl::StatusOr<std::vector<Type>> InferCompress(const OpContext& ctx);

// With the output shape given as an operand.
absl::StatusOr<std::vector<Type>> InferMaxUnpool(const OpContext& ctx);

// One output, and it is whatever the first input is, lengths of sequences included.
absl::StatusOr<std::vector<Type>> InferLikeInput(const OpContext& ctx);

// What an optional holds; a list that may be absent is a list.
absl::StatusOr<std::vector<Type>> InferOptionalGetElement(const OpContext& ctx);

// Every version; the mask is boolean since opset 10, of the data's type before.
absl::StatusOr<std::vector<Type>> InferDropout(const OpContext& ctx);

// Sequences: ONNX's rules know the type of the elements, not how many there are.
absl::StatusOr<std::vector<Type>> InferSplitToSequence(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceConstruct(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceEmpty(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceInsert(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferSequenceErase(const OpContext& ctx);
absl::StatusOr<std::vector<Type>> InferConcatFromSequence(const OpContext& ctx);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_INFER_RULES_H_
