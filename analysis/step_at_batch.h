// One model's training step at any batch: costs, memory, and the largest batch that fits, without a whole analysis
// each.
//
//   RS_ASSIGN_OR_RETURN(StepAtBatch step, StepAtBatch::Make(model, options, /*largest_capacity_bytes=*/int64_t{192} <<
//   30)); RS_ASSIGN_OR_RETURN(const int64_t batch, step.LargestBatch(PrecisionMode::kAmpBf16, 80'000'000'000));
//   RS_ASSIGN_OR_RETURN(const CostTable cost, step.CostAt(PrecisionMode::kAmpBf16, batch));
//
// The model is analysed at batches 2, 3 and two far beyond what the largest capacity takes. Where every count of the
// four is on a line, or on two that meet (BatchScaling), any batch is read off; batch 1 is analysed by itself.
// Otherwise each batch that is asked for is analysed, and the largest is found by bisection, which takes the peak to
// grow with the batch. Either way the answer is what Analyze would say of that batch.

#ifndef REUSESCOPE_ANALYSIS_STEP_AT_BATCH_H_
#define REUSESCOPE_ANALYSIS_STEP_AT_BATCH_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "analysis/measure/batch_scaling.h"
#include "analysis/pipeline.h"

namespace reusescope {

// A model is consumed by its analysis: each batch takes a fresh one.
using ModelLoader = std::function<absl::StatusOr<Model>()>;

class StepAtBatch {
 public:
  // `options` without its batch and precision. Fails where the analysis of batch 2 fails.
  static absl::StatusOr<StepAtBatch> Make(ModelLoader load, AnalysisOptions options, int64_t largest_capacity_bytes);

  // The batch that the file fixes, when its inputs have no symbolic leading dimension.
  std::optional<int64_t> fixed_batch() const { return fixed_batch_; }
  // Are the costs read off lines? Of every precision at once.
  bool affine() const { return affine_; }
  const std::vector<std::string>& notes() const { return notes_; }
  const Coverage& coverage() const { return coverage_; }

  absl::StatusOr<CostTable> CostAt(PrecisionMode precision, int64_t batch);
  absl::StatusOr<int64_t> PeakBytesAt(PrecisionMode precision, int64_t batch, const MemoryShare& share = {});
  // 0 when not even one sample fits.
  absl::StatusOr<int64_t> LargestBatch(PrecisionMode precision, int64_t capacity_bytes, const MemoryShare& share = {});

 private:
  StepAtBatch(ModelLoader load, AnalysisOptions options) : load_(std::move(load)), options_(std::move(options)) {}

  absl::StatusOr<const TrainingGraph*> GraphAt(int64_t batch);
  // Precisions whose values have equal widths share what is computed here.
  absl::StatusOr<const BatchPoint*> PointAt(PrecisionMode precision, int64_t batch);
  absl::Status FitLines(int64_t largest_capacity_bytes);
  void FitLinesUpTo(int64_t far, int64_t farthest);
  const BatchScaling* LineOf(PrecisionMode precision) const;
  absl::StatusOr<int64_t> Bisect(PrecisionMode precision, int64_t capacity_bytes, const MemoryShare& share);

  ModelLoader load_;
  AnalysisOptions options_;
  std::vector<std::string> notes_;
  Coverage coverage_;
  std::optional<int64_t> fixed_batch_;
  bool affine_ = false;
  int64_t farthest_batch_ = 0;  // on the lines
  std::map<int64_t, TrainingGraph> graphs_;
  std::map<std::pair<PrecisionMode, int64_t>, BatchPoint> points_;
  std::map<PrecisionMode, BatchScaling> lines_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_STEP_AT_BATCH_H_
