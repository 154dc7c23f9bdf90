// How long the step takes when kernels run tile by tile, with one buffer for each tile or two.
//
//   single buffer   compute + transfers(S) / bandwidth            the tile that is computed on has all the space
//   double buffer   max(compute, transfers(S / 2) / bandwidth)    the next tile arrives meanwhile, in the other half
//   best            the shorter of the two, kernel by kernel
//
// S is the on-chip memory. Transfers of contractions are those of their tiles (measure/tiling.h), so half of the space
// may mean more of them; those of other kernels do not depend on space. Every kernel fetches its operands: nothing
// stays between kernels.
//
// Not modelled: filling and draining (the first tile in, the last one out), separate channels for reads and writes.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_DOUBLE_BUFFERING_H_
#define REUSESCOPE_ANALYSIS_MEASURE_DOUBLE_BUFFERING_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/roofline.h"
#include "analysis/measure/tiling.h"

namespace reusescope {

enum class Buffering : uint8_t { kSingle, kDouble, kBest };
inline constexpr int kNumBufferings = 3;
absl::string_view BufferingName(Buffering buffering);  // "single", "double", "best"

// One kernel with some on-chip memory.
struct BufferedKernel {
  double compute_seconds = 0;
  int64_t single_bytes = 0;  // moved with tiles in all of the memory
  int64_t double_bytes = 0;  // in half of it

  // Of kBest: is double buffering the shorter one? Of two alike, yes.
  bool DoubleIsBest(double bandwidth_bytes_per_second) const;
  double Seconds(Buffering buffering, double bandwidth_bytes_per_second) const;
};

// The step's kernels with `capacity_bytes` on chip, compute at the device's rates. Where not even tiles of one element
// fit, a contraction fetches both inputs of every multiplication. REQUIRES: `products` are of
// `cost` (ProductsOf).
std::vector<BufferedKernel> BufferedKernels(const CostTable& cost,
                                            absl::Span<const std::optional<MatrixProduct>> products,
                                            int64_t capacity_bytes, const RooflineDevice& device);

struct BufferedStep {
  double step_seconds = 0;
  double stall_seconds = 0;         // in which no kernel computes
  double memory_bound_seconds = 0;  // of kernels whose transfers take longer than their arithmetic
  int64_t traffic_bytes = 0;
  int double_buffered = 0;  // kernels
};

// O(kernels). REQUIRES: bandwidth > 0.
BufferedStep StepWith(absl::Span<const BufferedKernel> kernels, Buffering buffering, double bandwidth_bytes_per_second);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_DOUBLE_BUFFERING_H_
