// What a contraction moves when its operands do not fit on chip and it runs tile by tile, for any space.
//
//   C[m,n] += A[m,k] * B[k,n]     tiles of t_m, t_n, t_k;  a, b, c: bytes of the whole operands
//
//   what stays in a tile   moves                                              needs on chip
//   C  t_m x t_n           c + a ceil(N/t_n) + b ceil(M/t_m)                  its tile, and a column of A, a row of B
//   A  t_m x t_k           a + b ceil(M/t_m) + c (2 ceil(K/t_k) - 1)          its tile, and a row of B, a column of C
//   B  t_k x t_n           b + a ceil(N/t_n) + c (2 ceil(K/t_k) - 1)          its tile, and a column of A, a row of C
//
// The least of the three over all tile sizes. (Blocking for a local memory as in Goto and van de Geijn, "Anatomy of
// High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008; 2ck - c as partial sums are written, and read again.)
// Of three full tiles of a loop order no more than one stays longer than the innermost loop, so other orders and deeper
// tiles move no less: the tests try all. No schedule moves fewer than 2MNK/sqrt(S) - 2S elements (Smith, van de Geijn:
// "A Tight I/O Lower Bound for Matrix Multiplication", arXiv 1702.02017).
//
// Convolutions, products inside attention, and their gradients are such products over loops put together: loops of both
// inputs and of the output are a batch of products, loops of the output and one input M or N, the rest K. Where windows
// overlap, an operand has fewer elements than its loops have points: they are fetched once in each pass, and a tile is
// taken to need one place a point, as an im2col of the tile does.
//
// Not modelled: operands that stay between kernels, tiles that cut windows, levels below.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_TILING_H_
#define REUSESCOPE_ANALYSIS_MEASURE_TILING_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/cost.h"
#include "analysis/ops/kernel.h"

namespace reusescope {

// `batch` products of M x K and K x N.
struct MatrixProduct {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  int64_t a_bytes = 0, b_bytes = 0, c_bytes = 0;  // distinct, of all products
  double a_width = 0, b_width = 0, c_width = 0;   // bytes of an element
  int64_t other_bytes = 0;                        // moved once: a bias
};

// Bytes moved with tiles in `capacity_bytes`: a_bytes + b_bytes + c_bytes + other_bytes and more. Never rises with
// capacity. Nothing where not even tiles of one element fit. O(sqrt(smallest of M, N, K)).
std::optional<int64_t> TiledTrafficBytes(const MatrixProduct& product, int64_t capacity_bytes);

// Without any space: both inputs of every multiplication are fetched, the sum stays in its register.
int64_t UntiledTrafficBytes(const MatrixProduct& product);

// The kernel's loops put together; nothing where they are no such product. Bytes are not filled in.
std::optional<MatrixProduct> ProductOf(const Kernel& kernel);

// By kernel of the table: what it is as a product; nothing for kernels that are none, whose traffic does not depend on
// space. REQUIRES: `cost` is of `training`.
absl::StatusOr<std::vector<std::optional<MatrixProduct>>> ProductsOf(const TrainingGraph& training,
                                                                     const CostTable& cost);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_TILING_H_
