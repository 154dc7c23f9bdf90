// An Einsum equation read once: its labels with their extents, and which label indexes which dimension.
//
//   "bij,bjk->bik" on [8,3,4], [8,4,5]:  labels b=8 i=3 j=4 k=5;  inputs {0,1,2}, {0,2,3};  output {0,1,3}
//
// An ellipsis becomes one label per dimension it stands for, named '0', '1', ... and aligned from the right, so it
// broadcasts: a label's extent is the largest dimension it indexes. Without "->" the output is ONNX's implicit one:
// ellipsis first, then the labels that occur once, sorted. One walk over the equation; at most 52 letters exist.

#ifndef REUSESCOPE_ANALYSIS_OPS_EINSUM_H_
#define REUSESCOPE_ANALYSIS_OPS_EINSUM_H_

#include <vector>

#include "absl/status/statusor.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

struct EinsumLabel {
  char name;
  int64_t extent;
};

struct EinsumEquation {
  std::vector<EinsumLabel> labels;
  std::vector<std::vector<int>> inputs;  // per operand and dimension: index into labels
  std::vector<int> output;
};

// Reads attribute `equation` against the shapes of the node's inputs. kInvalidArgument on a label count that is not the
// operand's rank, on extents that clash, on an output label that no operand has.
absl::StatusOr<EinsumEquation> ParseEinsum(const OpContext& ctx);

// Three or more operands: a chain of two-operand Einsums from the left, which is how PyTorch evaluates it.
// Leaves one or two operands alone (emits nothing).
absl::Status LowerLongEinsum(LowerContext& ctx);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_EINSUM_H_
