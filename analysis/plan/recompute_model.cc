#include "analysis/plan/recompute_model.h"

#include <algorithm>
#include <utility>

#include "analysis/transform/checkpoint.h"

namespace reusescope {
namespace {

// The runs over which something is alive, both ends included.
struct Life {
  int32_t first = -1;
  int32_t last = -1;
};

void Extend(Life& life, bool reads, int32_t run) {
  if (life.last < 0) life.first = reads ? 0 : run;
  life.last = run;
}

bool IsStanding(const StorageCost& storage) { return storage.persistent || storage.input; }

}  // namespace

RecomputeModel::RecomputeModel(const TrainingGraph& training, const CostTable& cost, const MemoryTable& memory,
                               std::vector<double> seconds)
    : training_(training),
      cost_(cost),
      seconds_(std::move(seconds)),
      candidate_of_(cost.storages.size(), -1),
      position_(training.graph.nodes.size(), -1),
      kernel_of_(training.graph.nodes.size(), -1),
      needs_(training.graph.nodes.size()) {
  for (size_t k = 0; k < cost.kernels.size(); ++k) kernel_of_[cost.kernels[k].node] = static_cast<int32_t>(k);
  for (NodeId id : training.graph.order) {
    position_[id] = num_positions();
    steps_.push_back({id, kernel_of_[id], training.graph.node(id).phase == Phase::kForward});
  }
  FindCandidates();
  FindNeeds();
  // What lives all through the step is what the memory table has beside the storages that come and go.
  if (!memory.timeline.empty()) {
    const Outcome outcome = Evaluate(KeepSet(candidates_.size(), true));
    standing_bytes_ = memory.timeline[0].total_bytes - outcome.runs[0].live_bytes;
  }
}

void RecomputeModel::FindCandidates() {
  const Graph& graph = training_.graph;
  const std::vector<bool> kept_anyway = StoragesKeptAnyway(graph);
  for (const Step& step : steps_) {
    if (!step.forward) continue;
    for (ValueId output : graph.node(step.node).outputs) {
      if (output == kNoValue) continue;
      const StorageId storage = graph.value(output).storage;
      if (storage == kNoStorage || kept_anyway[storage] || candidate_of_[storage] >= 0) continue;
      candidate_of_[storage] = static_cast<int32_t>(candidates_.size());
      const int32_t kernel = step.kernel;
      candidates_.push_back({.storage = storage,
                             .value = graph.storages[storage].root,
                             .producer = step.node,
                             .forward_position = position_[step.node],
                             .bytes = cost_.storages[storage].bytes,
                             .contraction = kernel >= 0 && cost_.kernels[kernel].contraction,
                             .seconds = kernel >= 0 ? seconds_[kernel] : 0});
    }
  }
}

void RecomputeModel::FindNeeds() {
  const Graph& graph = training_.graph;
  for (const Step& step : steps_) {
    for (ValueId input : graph.node(step.node).inputs) {
      if (input == kNoValue || graph.value(input).producer == kNoNode) continue;
      const StorageId storage = graph.value(input).storage;
      const int32_t candidate = storage == kNoStorage ? -1 : candidate_of_[storage];
      if (candidate < 0) continue;
      if (!step.forward) candidates_[candidate].read_after = true;
      const Need need = {candidate, graph.value(input).producer};
      std::vector<Need>& needs = needs_[step.node];
      if (std::find(needs.begin(), needs.end(), need) == needs.end()) needs.push_back(need);
    }
  }
}

std::vector<NodeId> RecomputeModel::MissingFor(NodeId reader, const KeepSet& keep,
                                               std::vector<bool>& runs_again) const {
  std::vector<NodeId> missing, pending = {reader};
  while (!pending.empty()) {
    const NodeId id = pending.back();
    pending.pop_back();
    for (const Need& need : needs_[id]) {
      if (keep[need.candidate] || runs_again[need.producer]) continue;
      runs_again[need.producer] = true;
      missing.push_back(need.producer);
      pending.push_back(need.producer);
    }
  }
  std::sort(missing.begin(), missing.end(), [this](NodeId a, NodeId b) { return position_[a] < position_[b]; });
  return missing;
}

RecomputeModel::Outcome RecomputeModel::Evaluate(const KeepSet& keep, absl::Span<const int32_t> without) const {
  Outcome outcome;
  const size_t num_storages = cost_.storages.size();
  std::vector<Life> lives(2 * num_storages);  // then those of what is computed again
  std::vector<bool> runs_again(needs_.size(), false);
  const auto run = [&](int32_t kernel, bool after, bool again, int32_t position) {
    const auto index = static_cast<int32_t>(outcome.runs.size());
    outcome.runs.push_back({position, kernel, again, 0});
    for (const Touch& touch : cost_.TouchesOf(cost_.kernels[kernel])) {
      const int32_t candidate = candidate_of_[touch.storage];
      const bool rebuilt =
          again ? touch.writes || (candidate >= 0 && !keep[candidate]) : after && candidate >= 0 && !keep[candidate];
      Extend(lives[touch.storage + (rebuilt ? num_storages : 0)], touch.reads, index);
    }
  };
  for (int32_t position = 0; position < num_positions(); ++position) {
    const Step& step = steps_[position];
    if (!step.forward && !needs_[step.node].empty()) {
      for (NodeId id : MissingFor(step.node, keep, runs_again)) {
        if (kernel_of_[id] < 0) continue;
        run(kernel_of_[id], true, true, position);
        outcome.added_seconds += seconds_[kernel_of_[id]];
      }
    }
    if (step.kernel >= 0) run(step.kernel, !step.forward, false, position);
  }
  std::vector<int64_t> bytes(num_storages);
  for (size_t s = 0; s < num_storages; ++s) bytes[s] = IsStanding(cost_.storages[s]) ? 0 : cost_.storages[s].bytes;
  for (int32_t candidate : without) bytes[candidates_[candidate].storage] = 0;
  std::vector<int64_t> change(outcome.runs.size() + 1, 0);
  for (size_t i = 0; i < lives.size(); ++i) {
    const size_t s = i % num_storages;
    if (lives[i].last < 0 || bytes[s] == 0) continue;
    const bool to_end = i < num_storages && cost_.storages[s].kept_to_end;
    change[lives[i].first] += bytes[s];
    change[to_end ? outcome.runs.size() : lives[i].last + 1] -= bytes[s];
  }
  int64_t live = standing_bytes_;
  for (size_t i = 0; i < outcome.runs.size(); ++i) {
    live += change[i];
    outcome.runs[i].live_bytes = live;
    outcome.peak_bytes = std::max(outcome.peak_bytes, live);
  }
  return outcome;
}

KeepSet RecomputeModel::Needed(const KeepSet& keep) const {
  KeepSet needed(keep.size(), false);
  std::vector<bool> runs_again(needs_.size(), false);
  const auto mark = [&](NodeId id) {
    for (const Need& need : needs_[id]) {
      if (keep[need.candidate]) needed[need.candidate] = true;
    }
  };
  for (const Step& step : steps_) {
    if (step.forward) continue;
    for (NodeId id : MissingFor(step.node, keep, runs_again)) mark(id);
    mark(step.node);
  }
  return needed;
}

}  // namespace reusescope
