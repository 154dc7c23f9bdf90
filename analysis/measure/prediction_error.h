// How far predictions of step time and peak memory were from what others measured.
//
//   const PredictionError error = StepTimeError(/*training=*/true, PrecisionMode::kAmpFp16);
//   error.mean_error                     0.47: of |predicted / measured - 1| over error.rows runs
//   error.low_ratio .. error.high_ratio  measured / predicted of the middle eight tenths of them
//
// The numbers are those of bench/accuracy, which predicts 300 steps and 20 memory peaks that were measured on 18
// devices; a test computes them again. The plain roofline is a lower bound of time: measured steps take longer, the
// more so the older the framework and the smaller the kernels.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_PREDICTION_ERROR_H_
#define REUSESCOPE_ANALYSIS_MEASURE_PREDICTION_ERROR_H_

#include "analysis/measure/precision.h"

namespace reusescope {

struct PredictionError {
  int rows = 0;
  double mean_error = 0;
  double low_ratio = 0, median_ratio = 0, high_ratio = 0;  // measured / predicted: 10 %, 50 %, 90 %
};

// Of inference only fp32 was measured; other precisions quote it.
PredictionError StepTimeError(bool training, PrecisionMode precision);
PredictionError PeakMemoryError();

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_PREDICTION_ERROR_H_
