// Predictions of runs that others measured: what the plain roofline says of a row of steps.csv or memory.csv.
//
//   RS_ASSIGN_OR_RETURN(const std::vector<Prediction> steps, PredictSteps(root));
//   Summarize(steps).mean_error            mean of |predicted / measured - 1|
//
// A row is predicted when its model is at hand (models/, bench/accuracy/models/), its device is in hwdb/ and its
// precision is one of ours; else Prediction::skipped says what is missing. Nothing is fitted to the rows: each
// prediction is what `reusescope analyze --hardware` says, over the phases that were timed.
//
// How a row is read
//   FP32 on Ampere and later, as frameworks of the time ran it     tf32, unless the row says "no TF32"
//   FP16 and AMP                                                   amp-fp16; model.half(): fp16
//   "no optimizer", forward+backward                               the update phase is left out
//   optimizer                                                      BERT: adam, the rest: momentum

#ifndef REUSESCOPE_BENCH_ACCURACY_PREDICT_H_
#define REUSESCOPE_BENCH_ACCURACY_PREDICT_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/accuracy/csv.h"

namespace reusescope::accuracy {

struct Prediction {
  CsvRow row;
  std::string device;   // of hwdb/; "" when skipped
  std::string kind;     // "training fp32", "training amp", "inference fp32", "memory"
  double measured = 0;  // ms of a step, or MiB
  double predicted = 0;
  std::optional<double> other_roofline;  // ms, of the row
  std::string skipped;                   // why there is no prediction; ""

  double error() const { return predicted / measured - 1; }
};

// `root` is the source folder. One prediction for each row, in order.
absl::StatusOr<std::vector<Prediction>> PredictSteps(const std::string& root);
// Peak memory: ComputeMemory's peak against the allocator's.
absl::StatusOr<std::vector<Prediction>> PredictMemory(const std::string& root);

struct Summary {
  int rows = 0;
  double mean_error = 0;    // of |error|
  double worst_error = 0;   // signed, of the largest magnitude
  double low_ratio = 0;     // measured / predicted: a tenth of the rows lies below,
  double median_ratio = 0;  // half of them,
  double high_ratio = 0;    // nine tenths
};

// Of the rows that were predicted.
Summary Summarize(absl::Span<const Prediction> predictions);
// Groups by a column of the row, or by "device" or "kind".
std::map<std::string, std::vector<Prediction>> GroupBy(absl::Span<const Prediction> predictions,
                                                       const std::string& column);

}  // namespace reusescope::accuracy

#endif  // REUSESCOPE_BENCH_ACCURACY_PREDICT_H_
