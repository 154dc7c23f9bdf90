// What a tenth more of each of a device's numbers would do to the time of a sample.
//
//   RS_ASSIGN_OR_RETURN(const Elasticity change, ComputeElasticity(cost, device));
//   change.bandwidth      -0.078: with 10 % more bandwidth a sample takes 7.8 % less time
//
// Compute: all arithmetic rates. Compute and bandwidth are seen under the headline's traffic, on which the on-chip
// memory has no influence; on-chip capacity is seen under LRU traffic, which knows it. Memory size lets the batch grow:
// that is a comparison of two batches, which the caller makes.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_ELASTICITY_H_
#define REUSESCOPE_ANALYSIS_MEASURE_ELASTICITY_H_

#include <optional>

#include "absl/status/statusor.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/roofline.h"

namespace reusescope {

inline constexpr double kElasticityFactor = 1.1;

// Relative changes of the time of a sample; 0: no change, negative: faster.
struct Elasticity {
  double compute = 0;
  double bandwidth = 0;
  std::optional<double> on_chip;  // not computed without an LRU curve
  std::optional<double> memory;   // see above
};

absl::StatusOr<Elasticity> ComputeElasticity(const CostTable& cost, const RooflineDevice& device);

// Step time when every kernel's traffic is what an LRU memory of the given capacity leaves of it.
double StepSecondsUnderLru(const CostTable& cost, const LruCurve& lru, const RooflineDevice& device,
                           int64_t on_chip_bytes);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_ELASTICITY_H_
