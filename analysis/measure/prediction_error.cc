#include "analysis/measure/prediction_error.h"

namespace reusescope {

// Computed by build/release/bench/accuracy; tests/accuracy holds them against the rows.
PredictionError StepTimeError(bool training, PrecisionMode precision) {
  if (!training) return {.rows = 25, .mean_error = 0.28, .low_ratio = 1.12, .median_ratio = 1.34, .high_ratio = 1.89};
  if (precision == PrecisionMode::kFp32) {
    return {.rows = 98, .mean_error = 0.43, .low_ratio = 1.02, .median_ratio = 1.58, .high_ratio = 3.93};
  }
  if (precision == PrecisionMode::kTf32) {
    return {.rows = 50, .mean_error = 0.46, .low_ratio = 1.48, .median_ratio = 1.96, .high_ratio = 2.32};
  }
  return {.rows = 127, .mean_error = 0.47, .low_ratio = 1.40, .median_ratio = 1.84, .high_ratio = 2.97};
}

PredictionError PeakMemoryError() {
  return {.rows = 20, .mean_error = 0.11, .low_ratio = 1.02, .median_ratio = 1.04, .high_ratio = 1.29};
}

}  // namespace reusescope
