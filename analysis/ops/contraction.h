// Kernels of convolution and matrix product for operators that have the operands in other slots: quantized forms, whose
// scales and zero points stand between them.

#ifndef REUSESCOPE_ANALYSIS_OPS_CONTRACTION_H_
#define REUSESCOPE_ANALYSIS_OPS_CONTRACTION_H_

#include "analysis/ops/op_semantics.h"

namespace reusescope {

// Where the operands stand among the node's inputs.
struct ContractionSlots {
  int a = 0;     // X, A
  int b = 1;     // W, B
  int bias = 2;  // read where the node has it; -1: the operator has none
};

// Y[n,k,p,q] += X[n,c,2p+r-1,2q+s-1] * W[k,c,r,s], the window from the node's attributes as ONNX's Conv has them.
absl::StatusOr<Kernel> ConvolutionKernel(const OpContext& ctx, const ContractionSlots& slots);

// Y[..,m,n] += A[..,m,k] * B[..,k,n], leading dimensions broadcast. The bias slot is not read.
absl::StatusOr<Kernel> MatrixProductKernel(const OpContext& ctx, const ContractionSlots& slots);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_CONTRACTION_H_
