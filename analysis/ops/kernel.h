// An operator's work as data: named loops, one access per operand, the arithmetic of a point.
//
// A strided 2-D convolution is
//
//   Y[n,k,p,q] += X[n,c,2p+r-1,2q+s-1] * W[k,c,r,s]
//
// that is: loops n k p q c r s with their trip counts; accesses X, W (read) and Y (written), each a list of affine
// index expressions; one multiply-accumulate a point. MACs, FLOPs, bytes, arithmetic intensity and the reuse factor of
// every operand follow from that and from nothing else (measure/cost.h, measure/reuse.h). The gradient of a contraction
// is the same nest with another tensor written, see ContractionGradient.
//
// Data-dependent operators (Gather, TopK, ...) have no affine access; such an Access states how many distinct elements
// it touches. A kernel whose arithmetic nobody has described yet has known = false: its bytes count, its FLOPs are
// unknown, and the coverage of the report says so.
//
// Conventions: 1 MAC = 2 FLOPs. Positions in the padding are counted as points (dense), and are not touched elements. A
// compare, add or multiply is 1 FLOP. exp, log, tanh, erf, sqrt, division and power are transcendentals, counted apart.

#ifndef REUSESCOPE_ANALYSIS_OPS_KERNEL_H_
#define REUSESCOPE_ANALYSIS_OPS_KERNEL_H_

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

// What an operand is to this kernel. (What a value is to the model is its ValueKind: one layer's Y is the next one's
// X.)
enum class Role : uint8_t { kX, kW, kY, kDX, kDW, kDY, kState, kIndex };
absl::string_view RoleName(Role role);

struct Loop {
  char name;
  int64_t trip;
};

struct LoopTerm {
  int loop = 0;  // index into Kernel::loops
  int64_t stride = 1;
};

// The terms of an index: at most two, a window's position and its tap, or a group and its channel. Plain data, so that
// kernels, of which there is one for each node, are copied and dropped at no cost.
class LoopTerms {
 public:
  LoopTerms() = default;
  LoopTerms(std::initializer_list<LoopTerm> terms) {
    for (const LoopTerm& term : terms) push_back(term);
  }
  // REQUIRES: size() < 2.
  void push_back(const LoopTerm& term) {
    assert(size_ < terms_.size());
    terms_[size_++] = term;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const LoopTerm& operator[](size_t i) const { return terms_[i]; }
  const LoopTerm* begin() const { return terms_.data(); }
  const LoopTerm* end() const { return terms_.data() + size_; }

 private:
  std::array<LoopTerm, 2> terms_ = {};
  size_t size_ = 0;
};

// offset + sum of stride * loop variable, inside [0, extent); what falls outside is padding.
struct IndexExpr {
  LoopTerms terms;
  int64_t offset = 0;
  int64_t extent = 1;
};

struct Access {
  Role role = Role::kX;
  bool is_output = false;
  int slot = 0;  // of the node's outputs, or of its inputs and then its captures
  bool reads = true;
  bool writes = false;  // an operand updated in place both reads and writes
  // Affine: one expression per dimension of the tensor. Otherwise empty, and `elements` says what is touched.
  bool affine = false;
  absl::InlinedVector<IndexExpr, 5> index;
  int64_t elements = 0;  // distinct elements touched, counted once; of an affine access see DistinctElements
};

struct Kernel {
  bool known = true;
  bool contraction = false;  // its MACs are matrix-unit work: convolutions, products, recurrences
  absl::InlinedVector<Loop, 8> loops;
  absl::InlinedVector<Access, 4> accesses;
  int64_t macs_per_point = 0;
  int64_t flops_per_point = 0;  // besides the MACs
  int64_t transcendentals_per_point = 0;
  int64_t extra_flops = 0;  // not per point: a bias add over the outputs, the finish of a reduction
  int64_t extra_transcendentals = 0;
};

// Product of the trip counts. kOutOfRange if it exceeds int64.
absl::StatusOr<int64_t> Points(const Kernel& kernel);

// Distinct tensor elements that an access touches: for affine ones, the product over dimensions of how many positions
// inside [0, extent) the expression takes; else `elements`.
int64_t DistinctElements(const Kernel& kernel, const Access& access);

// The kernel that computes the gradient of operand `wrt` (index into accesses) of a contraction: same loops, same
// arithmetic, that operand written and the former output read. Roles become dX or dW, and dY. Slots follow the
// convention of contraction gradient nodes: input 0 is dY, the other operands follow in forward order; output 0 is the
// gradient. REQUIRES: forward.contraction, accesses are inputs in order, then the output.
Kernel ContractionGradient(const Kernel& forward, int wrt);

// "Y[n,k,p,q] += X[n,c,2p+r-1,2q+s-1] * W[k,c,r,s]"; without affine accesses, "Y = f(X, W)".
std::string KernelEquation(const Kernel& kernel);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_KERNEL_H_
