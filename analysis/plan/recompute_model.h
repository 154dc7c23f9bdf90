// What any choice of kept values would make of a training step: its peak and its added time, without building it.
//
//   RS_ASSIGN_OR_RETURN(const RecomputeModel model, RecomputeModel::Make(training, cost, memory, seconds));
//   model.Evaluate(keep).peak_bytes, .added_seconds
//
// The step is the one that keeps everything. A candidate is a forward storage that Recompute (transform/checkpoint.h)
// may drop. Evaluate replays what Recompute does, on the cost table alone: before the first later node that misses a
// dropped value, the forward kernels that make it run again, once, in forward order. Lives are those of ComputeMemory
// (measure/memory.h), so that the peak is the one of the step that such a set makes.
//
// Approximate in two places: a replayed dropout is taken to cost what the dropout did, and a Transpose may become free,
// or stop being so, where only contractions read one of its two copies. Who promises a peak builds the step.

#ifndef REUSESCOPE_ANALYSIS_PLAN_RECOMPUTE_MODEL_H_
#define REUSESCOPE_ANALYSIS_PLAN_RECOMPUTE_MODEL_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/memory.h"

namespace reusescope {

// A forward storage that need not be kept.
struct Candidate {
  StorageId storage = kNoStorage;
  ValueId value = kNoValue;      // its root
  NodeId producer = kNoNode;     // of the root
  int32_t forward_position = 0;  // of the producer, in the schedule
  int64_t bytes = 0;
  bool contraction = false;  // a contraction writes it
  double seconds = 0;        // of the kernel that writes it
  bool read_after = false;   // by a node after forward, itself or a view of it
};

// By candidate: is it kept?
using KeepSet = std::vector<bool>;

class RecomputeModel {
 public:
  // One entry of the schedule that a keep set makes: a kernel, or one that runs again.
  struct Run {
    int32_t position = 0;  // in the schedule that keeps everything: of the kernel, or of the reader that asks for it
    int32_t kernel = -1;   // into CostTable::kernels
    bool again = false;
    int64_t live_bytes = 0;  // while it runs
  };
  struct Outcome {
    int64_t peak_bytes = 0;
    double added_seconds = 0;
    std::vector<Run> runs;
  };

  // `seconds`: of each kernel, by index; any measure of work does. REQUIRES: a step without recomputation, its cost and
  // memory; they outlive the model.
  RecomputeModel(const TrainingGraph& training, const CostTable& cost, const MemoryTable& memory,
                 std::vector<double> seconds);

  const TrainingGraph& training() const { return training_; }
  const CostTable& cost() const { return cost_; }
  const std::vector<Candidate>& candidates() const { return candidates_; }
  double seconds(int32_t kernel) const { return seconds_[kernel]; }
  int32_t num_positions() const { return static_cast<int32_t>(steps_.size()); }

  // Part of the schedule that keeps everything, by position: kernel or -1 (a view), forward or not.
  struct Step {
    NodeId node = kNoNode;
    int32_t kernel = -1;
    bool forward = false;
  };
  const std::vector<Step>& steps() const { return steps_; }
  // A read of a candidate by a node, and the node that would have to run again.
  struct Need {
    int32_t candidate = 0;
    NodeId producer = kNoNode;
    friend bool operator==(const Need&, const Need&) = default;
  };
  absl::Span<const Need> NeedsOf(NodeId node) const { return needs_[node]; }
  int32_t CandidateOf(StorageId storage) const { return candidate_of_[storage]; }
  int32_t PositionOf(NodeId node) const { return position_[node]; }
  int32_t KernelOf(NodeId node) const { return kernel_of_[node]; }
  // Lives across the step, and is no part of what a keep set decides.
  int64_t standing_bytes() const { return standing_bytes_; }

  // O(touches). Bytes of the candidates in `without` count nothing.
  Outcome Evaluate(const KeepSet& keep, absl::Span<const int32_t> without = {}) const;
  // Kept candidates that something reads after forward: what a plan has to name.
  KeepSet Needed(const KeepSet& keep) const;

 private:
  void FindCandidates();
  void FindNeeds();
  std::vector<NodeId> MissingFor(NodeId reader, const KeepSet& keep, std::vector<bool>& runs_again) const;

  const TrainingGraph& training_;
  const CostTable& cost_;
  std::vector<double> seconds_;
  std::vector<Step> steps_;
  std::vector<Candidate> candidates_;
  std::vector<int32_t> candidate_of_;     // by storage, -1
  std::vector<int32_t> position_;         // by node
  std::vector<int32_t> kernel_of_;        // by node, -1
  std::vector<std::vector<Need>> needs_;  // by node
  int64_t standing_bytes_ = 0;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_PLAN_RECOMPUTE_MODEL_H_
