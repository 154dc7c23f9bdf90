#include "analysis/step_at_batch.h"

#include <algorithm>
#include <limits>

#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

constexpr int64_t kLowBatch = 2, kHighBatch = 3;
// The far point lies this many times beyond the largest batch that the line through the first two gives, and the
// farthest as many times beyond that.
constexpr int64_t kFarFactor = 2;
constexpr int64_t kFarthestBatch = int64_t{1} << 24;
// One of each width of values; see precision.h.
constexpr PrecisionMode kWidths[] = {PrecisionMode::kFp32, PrecisionMode::kFp16, PrecisionMode::kAmpFp16};

PrecisionMode WidthOf(PrecisionMode precision) {
  switch (precision) {
    case PrecisionMode::kFp32:
    case PrecisionMode::kTf32:
      return PrecisionMode::kFp32;
    case PrecisionMode::kFp16:
    case PrecisionMode::kBf16:
      return PrecisionMode::kFp16;
    case PrecisionMode::kAmpFp16:
    case PrecisionMode::kAmpBf16:
      return PrecisionMode::kAmpFp16;
  }
  return precision;
}

}  // namespace

absl::StatusOr<StepAtBatch> StepAtBatch::Make(ModelLoader load, AnalysisOptions options,
                                              int64_t largest_capacity_bytes) {
  StepAtBatch step(std::move(load), std::move(options));
  RS_ASSIGN_OR_RETURN(const TrainingGraph* low, step.GraphAt(kLowBatch));
  RS_ASSIGN_OR_RETURN(const TrainingGraph* high, step.GraphAt(kHighBatch));
  if (BatchOf(low->graph) == BatchOf(high->graph)) {
    step.fixed_batch_ = BatchOf(low->graph);
    step.affine_ = true;
  }
  RS_ASSIGN_OR_RETURN(const BatchPoint* point, step.PointAt(PrecisionMode::kFp32, kLowBatch));
  step.coverage_ = CoverageOf(low->graph, point->cost);
  if (!step.fixed_batch_) RS_RETURN_IF_ERROR(step.FitLines(largest_capacity_bytes));
  return step;
}

absl::StatusOr<const TrainingGraph*> StepAtBatch::GraphAt(int64_t batch) {
  const auto known = graphs_.find(batch);
  if (known != graphs_.end()) return &known->second;
  options_.shapes.batch = batch;
  std::vector<std::string> notes;
  RS_ASSIGN_OR_RETURN(Model model, load_());
  RS_ASSIGN_OR_RETURN(TrainingGraph graph, BuildGraph(std::move(model), options_, Stage::kOptimizer, notes));
  if (graphs_.empty()) notes_ = std::move(notes);
  return &graphs_.emplace(batch, std::move(graph)).first->second;
}

absl::StatusOr<const BatchPoint*> StepAtBatch::PointAt(PrecisionMode precision, int64_t batch) {
  const auto known = points_.find({WidthOf(precision), batch});
  if (known != points_.end()) return &known->second;
  RS_ASSIGN_OR_RETURN(const TrainingGraph* graph, GraphAt(fixed_batch_ ? kLowBatch : batch));
  BatchPoint point{.batch = batch};
  RS_ASSIGN_OR_RETURN(point.cost, ComputeCost(*graph, {.precision = WidthOf(precision)}));
  RS_ASSIGN_OR_RETURN(MemoryTable memory, ComputeMemory(*graph, point.cost,
                                                        {.precision = WidthOf(precision),
                                                         .dropout_mask_bytes = options_.dropout_mask_bytes}));
  point.timeline = std::move(memory.timeline);
  return &points_.emplace(std::pair(WidthOf(precision), batch), std::move(point)).first->second;
}

absl::Status StepAtBatch::FitLines(int64_t largest_capacity_bytes) {
  int64_t far = kHighBatch + 1;
  for (PrecisionMode width : kWidths) {
    RS_ASSIGN_OR_RETURN(const BatchPoint* low, PointAt(width, kLowBatch));
    RS_ASSIGN_OR_RETURN(const BatchPoint* high, PointAt(width, kHighBatch));
    const absl::StatusOr<BatchScaling> line = BatchScaling::Fit(std::vector<BatchPoint>{*low, *high});
    if (!line.ok()) return absl::OkStatus();  // PointAt and Bisect do the work
    // What is divided among very many devices leaves nearly all room to the batch.
    MemoryShare share;
    for (MemoryKind kind : {MemoryKind::kParameter, MemoryKind::kWeightCopy, MemoryKind::kOptimizerState,
                            MemoryKind::kParameterGradient}) {
      share.devices[static_cast<int>(kind)] = int64_t{1} << 20;
    }
    const int64_t largest = std::min(line->LargestBatch(largest_capacity_bytes, share), kFarthestBatch / kFarFactor);
    far = std::max(far, largest * kFarFactor);
  }
  // A count that bends between the two far points is on neither line: then further out once more.
  for (int attempt = 0; attempt < 2 && !affine_; ++attempt, far *= kFarFactor) FitLinesUpTo(far, kFarFactor * far);
  return absl::OkStatus();
}

void StepAtBatch::FitLinesUpTo(int64_t far, int64_t farthest) {
  std::map<PrecisionMode, BatchScaling> lines;
  for (PrecisionMode width : kWidths) {
    std::vector<BatchPoint> points;
    for (int64_t batch : {kLowBatch, kHighBatch, far, farthest}) {
      const absl::StatusOr<const BatchPoint*> point = PointAt(width, batch);
      if (!point.ok()) return;
      points.push_back(**point);
    }
    absl::StatusOr<BatchScaling> line = BatchScaling::Fit(points);
    if (!line.ok()) return;
    const std::optional<int64_t> bend = line->FirstBend();
    const int64_t beside = bend.value_or(0) + 1;
    if (beside > kHighBatch) {
      const absl::StatusOr<const BatchPoint*> point = PointAt(width, beside);
      if (!point.ok() || !line->Check(**point).ok()) return;
    }
    lines.emplace(width, *std::move(line));
  }
  lines_ = std::move(lines);
  farthest_batch_ = farthest;
  affine_ = true;
}

const BatchScaling* StepAtBatch::LineOf(PrecisionMode precision) const {
  if (!affine_) return nullptr;
  const auto line = lines_.find(WidthOf(precision));
  return line == lines_.end() ? nullptr : &line->second;
}

absl::StatusOr<CostTable> StepAtBatch::CostAt(PrecisionMode precision, int64_t batch) {
  const BatchScaling* line = LineOf(precision);
  if (line != nullptr && batch >= line->first_batch() && batch <= farthest_batch_) return line->CostAt(batch);
  RS_ASSIGN_OR_RETURN(const BatchPoint* point, PointAt(precision, batch));
  return point->cost;
}

absl::StatusOr<int64_t> StepAtBatch::PeakBytesAt(PrecisionMode precision, int64_t batch, const MemoryShare& share) {
  const BatchScaling* line = LineOf(precision);
  if (line != nullptr && batch >= line->first_batch() && batch <= farthest_batch_) {
    return line->PeakBytesAt(batch, share);
  }
  RS_ASSIGN_OR_RETURN(const BatchPoint* point, PointAt(precision, batch));
  return PeakBytes(point->timeline, share);
}

absl::StatusOr<int64_t> StepAtBatch::LargestBatch(PrecisionMode precision, int64_t capacity_bytes,
                                                  const MemoryShare& share) {
  if (!fixed_batch_) {
    const BatchScaling* line = LineOf(precision);
    if (line == nullptr) return Bisect(precision, capacity_bytes, share);
    const int64_t largest = line->LargestBatch(capacity_bytes, share);
    if (largest > farthest_batch_) return Bisect(precision, capacity_bytes, share);
    if (largest > 0) return largest;
  }
  const int64_t smallest = fixed_batch_.value_or(1);
  RS_ASSIGN_OR_RETURN(const int64_t peak, PeakBytesAt(precision, smallest, share));
  return peak <= capacity_bytes ? smallest : 0;
}

absl::StatusOr<int64_t> StepAtBatch::Bisect(PrecisionMode precision, int64_t capacity_bytes, const MemoryShare& share) {
  int64_t fits = 0, beyond = 1;
  const auto does_fit = [&](int64_t batch) -> absl::StatusOr<bool> {
    RS_ASSIGN_OR_RETURN(const int64_t peak, PeakBytesAt(precision, batch, share));
    return peak <= capacity_bytes;
  };
  while (beyond < kFarthestBatch) {
    RS_ASSIGN_OR_RETURN(const bool fit, does_fit(beyond));
    if (!fit) break;
    fits = beyond;
    beyond *= 2;
  }
  while (beyond - fits > 1) {
    const int64_t middle = fits + (beyond - fits) / 2;
    RS_ASSIGN_OR_RETURN(const bool fit, does_fit(middle));
    (fit ? fits : beyond) = middle;
  }
  return fits;
}

}  // namespace reusescope
