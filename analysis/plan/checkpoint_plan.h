// Which forward values to keep so that a training step fits a memory with the least added time.
//
//   RS_ASSIGN_OR_RETURN(const Planner planner, Planner::Make(load, analysis, device));
//   RS_ASSIGN_OR_RETURN(const CheckpointPlan plan, planner.Plan(24 << 30, {}));
//   plan.Best().keep        names for --checkpoint (CheckpointPolicy::kValues)
//
// Four answers to the same question, each no slower than the one before it where both fit:
//   sqrt      segments of about sqrt(kernels) kernels (Chen et al. 2016); one answer whatever the memory
//   chain     the cheapest way to cut the chain of pieces into segments (plan/chain_plan.h), or the values dropped that
//             cost least per byte; and what is left of the memory filled with values that cost most per byte
//   program   the cheapest of all keep sets (plan/program_plan.h), where the graph is small enough
//
// Time is the roofline's of the device, every kernel fetching its operands; without a device work in FLOPs stands for
// it (a transcendental as kFlopsPerTranscendental). What a plan promises is measured on the step that it makes:
// peak_bytes is ComputeMemory of that step, and added time its recomputed kernels'.

#ifndef REUSESCOPE_ANALYSIS_PLAN_CHECKPOINT_PLAN_H_
#define REUSESCOPE_ANALYSIS_PLAN_CHECKPOINT_PLAN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/measure/roofline.h"
#include "analysis/pipeline.h"
#include "analysis/plan/chain_plan.h"
#include "analysis/plan/program_plan.h"
#include "analysis/step_at_batch.h"

namespace reusescope {

enum class PlanMethod : uint8_t { kKeepAll, kSqrt, kChain, kProgram };
absl::string_view PlanMethodName(PlanMethod method);  // "keep all", "sqrt", "chain", "program"

// What one method found.
struct PlannedStep {
  PlanMethod method = PlanMethod::kKeepAll;
  bool fits = false;
  int64_t peak_bytes = 0;
  double added = 0;  // seconds, or FLOPs without a device
  int64_t recomputed_kernels = 0;
  std::vector<std::string> keep;  // names of the values that are kept for later, in forward order
};

// Memory against added time; points ascend in memory.
struct TradePoint {
  int64_t peak_bytes = 0;
  double added = 0;
};

struct CheckpointPlan {
  int64_t memory_bytes = 0;
  int64_t batch = 0;
  double step = 0;                   // without recomputation: seconds, or FLOPs
  std::vector<PlannedStep> methods;  // those that were tried; the first keeps everything
  size_t best = 0;                   // into methods: fits, and adds least
  std::optional<ProgramPlan> program;
  std::vector<TradePoint> trade;

  const PlannedStep& Best() const { return methods[best]; }
};

struct PlanOptions {
  bool program = true;
  ProgramOptions program_options;
  int trade_points = 9;  // 0: no trade
};

class Planner {
 public:
  // `device`: nullopt counts FLOPs. Fails where the analysis does, and for inference.
  static absl::StatusOr<Planner> Make(ModelLoader load, AnalysisOptions options, std::optional<RooflineDevice> device);

  const Analysis& step() const { return *step_; }
  const RecomputeModel& model() const { return *model_; }
  int64_t keep_all_bytes() const { return step_->memory.peak_bytes; }
  // The least peak that some segmentation reaches.
  int64_t least_bytes() const { return least_bytes_; }

  // kFailedPrecondition where nothing fits: says the least that would.
  absl::StatusOr<CheckpointPlan> Plan(int64_t memory_bytes, const PlanOptions& options) const;
  // The best of chain and sqrt, filled up; nullopt where neither fits. As RecomputeModel sees it.
  std::optional<KeepSet> Segments(int64_t memory_bytes) const;

  // The step that keeps these candidates.
  absl::StatusOr<PlannedStep> Build(PlanMethod method, const KeepSet& keep, int64_t memory_bytes) const;

 private:
  Planner() = default;
  double Work(const CostTable& cost, Phase phase) const;
  std::vector<std::string> NamesOf(const KeepSet& keep) const;
  KeepSet SqrtKeep() const;
  std::optional<KeepSet> ChainKeep(int64_t memory_bytes) const;
  std::vector<int32_t> ByWorth() const;
  std::optional<KeepSet> CheapestDropped(int64_t memory_bytes) const;
  KeepSet Fill(KeepSet keep, int64_t memory_bytes) const;
  // Segments(), with the limit lowered until the step itself fits; an error is the builder's.
  absl::StatusOr<std::optional<PlannedStep>> BuildSegments(int64_t memory_bytes, KeepSet& keep) const;
  std::vector<TradePoint> Trade(int points) const;

  ModelLoader load_;
  AnalysisOptions options_;
  std::optional<RooflineDevice> device_;
  std::unique_ptr<Analysis> step_;  // keeps everything; the model looks at it
  std::unique_ptr<RecomputeModel> model_;
  std::unique_ptr<ChainPlanner> chain_;
  int64_t least_bytes_ = 0;
};

// The largest batch that fits with recomputation: 0 where not even one sample does. `from`: one that fits (0: none
// known). Assumes that the least peak grows with the batch.
absl::StatusOr<int64_t> LargestPlannedBatch(const ModelLoader& load, AnalysisOptions options, int64_t memory_bytes,
                                            int64_t from);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_PLAN_CHECKPOINT_PLAN_H_
