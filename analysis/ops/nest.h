// A kernel's loop nest in few words, for the families that describe theirs loop by loop.
//
//   Kernel kernel;
//   const int n = AddLoop(kernel, 'n', 32), i = AddLoop(kernel, 'i', 1000);
//   Access x = AffineInput(ctx, 0);              // role from what the value is: parameter, gradient, activation
//   x.index = {IndexOf(n, 32), IndexOf(i, 1000)};

#ifndef REUSESCOPE_ANALYSIS_OPS_NEST_H_
#define REUSESCOPE_ANALYSIS_OPS_NEST_H_

#include "analysis/ops/op_semantics.h"

namespace reusescope {

// Appends a loop and returns its index.
int AddLoop(Kernel& kernel, char name, int64_t trip);
// One loop per dimension of `shape`: i j k ...
void AddLoops(Kernel& kernel, const Shape& shape);

// The index expression "loop", "constant 0", inside a dimension of that extent.
IndexExpr IndexOf(int loop, int64_t extent);
IndexExpr ConstantIndex(int64_t extent);

// Role of a value as an operand: dY if it is a gradient, W if the model trains it, index if it is an integer or
// boolean.
Role InputRole(const Value& value);
Role OutputRole(const Value& value);

// Accesses without indices yet.
Access AffineInput(const OpContext& ctx, int slot);
Access AffineOutput(const OpContext& ctx, int slot);

// Whole tensors: of one slot; of the inputs from `first` on; of the outputs from `first` on. Omitted operands and those
// that are not tensors are left out.
Access WholeInput(const OpContext& ctx, int slot);
Access WholeOutput(const OpContext& ctx, int slot);
void AddWholeInputs(const OpContext& ctx, Kernel& kernel, int first = 0);
void AddWholeOutputs(const OpContext& ctx, Kernel& kernel, int first = 0);

// A non-negative axis, or an error naming the node. REQUIRES: rank >= 0.
absl::StatusOr<int> NormalizeAxis(const OpContext& ctx, int64_t axis, int rank);

// The values of an integer list that is an input in some opsets and an attribute in others; null if the node has
// neither, or the input's value is not known (then HasInput(slot)).
std::optional<std::vector<int64_t>> IntegerList(const OpContext& ctx, int slot, absl::string_view attribute);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_NEST_H_
