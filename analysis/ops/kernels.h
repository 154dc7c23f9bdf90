// Kernels that several families share. Each builds the Kernel of a node from its types and attributes; the arithmetic
// of a point is the entry's `flops` and `transcendentals`.

#ifndef REUSESCOPE_ANALYSIS_OPS_KERNELS_H_
#define REUSESCOPE_ANALYSIS_OPS_KERNELS_H_

#include "analysis/ops/op_semantics.h"

namespace reusescope {

// One point per element of output 0; inputs broadcast to it (NumPy rules) and are read once per distinct element.
// Further outputs of the same shape are written. Add, Relu, Where, gradients of those.
absl::StatusOr<Kernel> ElementwiseKernel(const OpContext& ctx);

// One point per element of input 0; every input read once, every output written once, whole. Softmax, normalizations,
// reductions and their gradients: operators that sweep rows and write tensors of other sizes.
absl::StatusOr<Kernel> SweepKernel(const OpContext& ctx);

// Reads as many elements of input 0 as output 0 has, all of the others, writes the outputs; the entry's flops per
// output element (0: a copy). Slice, Gather, Concat (which reads all inputs), Transpose.
absl::StatusOr<Kernel> CopyKernel(const OpContext& ctx);

// No work: views and what is known before the step starts.
absl::StatusOr<Kernel> NoKernel(const OpContext& ctx);

// An access that touches the whole tensor of a slot, stated (not affine).
Access WholeTensor(const OpContext& ctx, Role role, bool is_output, int slot);

// Eager-stash rules that many rows share.
void SavesInput(const OpContext& ctx, EagerSaves& saves);       // input 0
void SavesOutput(const OpContext& ctx, EagerSaves& saves);      // output 0
void SavesBothInputs(const OpContext& ctx, EagerSaves& saves);  // inputs 0 and 1 (only those that are floating-point)

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_KERNELS_H_
