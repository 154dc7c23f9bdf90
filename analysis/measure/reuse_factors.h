// How often one kernel uses each element of its operands: reuse inside a layer.
//
//   factor = points / distinct elements = broadcast * window
//
// For the strided convolution Y[n,k,p,q] += X[n,c,2p+r,2q+s] * W[k,c,r,s]:
//
//   operand   broadcast (loops absent from its index)   window (loops that are there, but overlap)
//   X         K                                         (P*R / rows of X touched) * (Q*S / columns of X touched)
//   W         N*P*Q                                     1
//   Y         C*R*S                                     1
//
// The four classic kinds are read off these:
//   weight reuse         factor of W: how many points use a weight (batch and output positions)
//   input reuse          broadcast of X: how many output channels use a feature
//   convolutional reuse  window of X: how many sliding windows a feature is in
//   partial-sum reuse    factor of the written operand: how many products accumulate in one output element
//
// In a backward kernel the operands keep their meaning: dX += dY * W has dY for its input and dX for its output; in
// dW += X * dY no weight is read (weight reuse 0). Of two activations (the products inside attention) the first is the
// input; `operands` has both.
//
// Positions in the padding are points and no elements, so they raise the window factor a little (a 3x3 window over 7x7
// with padding 1: 9 * 49 / 49). Data-dependent operands have no index: all of their factor is broadcast.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_REUSE_FACTORS_H_
#define REUSESCOPE_ANALYSIS_MEASURE_REUSE_FACTORS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/ops/kernel.h"

namespace reusescope {

struct OperandReuse {
  int access = 0;  // index into Kernel::accesses
  Role role = Role::kX;
  bool is_output = false;
  int64_t points = 0;
  int64_t elements = 0;  // distinct elements touched
  double broadcast = 1;
  double window = 1;

  double factor() const { return broadcast * window; }
};

struct ReuseFactors {
  std::vector<OperandReuse> operands;  // parallel to Kernel::accesses
  // 0: the kernel has no such operand.
  double weight = 0;
  double input = 0;
  double convolutional = 0;
  double partial_sum = 0;
};

// An operand of which nothing is touched has factor 0. kOutOfRange if the number of points exceeds int64.
absl::StatusOr<ReuseFactors> ComputeReuseFactors(const Kernel& kernel);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_REUSE_FACTORS_H_
