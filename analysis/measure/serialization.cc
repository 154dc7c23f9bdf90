#include "analysis/measure/serialization.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/measure/chain_groups.h"
#include "analysis/measure/serialization_chain.h"

namespace reusescope {
namespace {

// A storage on chip between two kernels of a group, both included.
struct Residency {
  StorageId storage = kNoStorage;
  int32_t first = 0, last = 0;  // kernels, into CostTable::kernels
  int64_t bytes = 0;            // the most that is touched
  int64_t fetched_bytes = 0;    // at the first kernel
  int64_t written_bytes = 0;    // the last kernel that writes; 0: nothing is written
  int32_t writer = 0;
};

// One touch by one kernel.
struct Use {
  StorageId storage = kNoStorage;
  int32_t kernel = 0;
  int32_t touch = 0;
};

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What is no weight, buffer or constant grows with the batch.
bool GrowsWithBatch(const StorageCost& storage) { return !storage.persistent && !storage.parameter_gradient; }

// Does a forward kernel keep statistics of its features from step to step (running means)? Then it normalizes over the
// mini-batch.
bool NormalizesOverBatch(const CostTable& cost, const KernelCost& kernel) {
  const auto touches = cost.TouchesOf(kernel);
  return kernel.phase == Phase::kForward && std::any_of(touches.begin(), touches.end(), [&](const Touch& touch) {
           return touch.writes && cost.storages[touch.storage].persistent;
         });
}

constexpr int CauseIndex(TrafficCause cause) { return static_cast<int>(cause); }

int64_t Sum(const TrafficByCause& by) { return std::accumulate(by.begin(), by.end(), int64_t{0}); }

// Runs of links with equal iterations, where they can be groups: what the greedy merging begins with.
std::vector<int> EqualRuns(const std::vector<ChainLink>& chain, const GroupCost& cost) {
  std::vector<int> ends;
  const auto links = static_cast<int>(chain.size());
  for (int first = 0; first < links;) {
    int end = first + 1;
    while (end < links && chain[end].forward_alone.iterations == chain[first].forward_alone.iterations &&
           chain[end].backward_alone.iterations == chain[first].backward_alone.iterations &&
           cost(first, end + 1).has_value()) {
      ++end;
    }
    ends.push_back(end);
    first = end;
  }
  return ends;
}

std::vector<int> EndsOf(Grouping grouping, const std::vector<ChainLink>& chain, const GroupCost& cost) {
  const auto links = static_cast<int>(chain.size());
  switch (grouping) {
    case Grouping::kLayers:
      break;
    case Grouping::kGreedy:
      return GreedyGroups(EqualRuns(chain, cost), cost);
    case Grouping::kOptimal:
      return OptimalGroups(links, cost);
    case Grouping::kExhaustive:
      return ExhaustiveGroups(links, cost);
    case Grouping::kLongest:
      return LongestGroups(links, cost);
  }
  std::vector<int> ends(links);
  std::iota(ends.begin(), ends.end(), 1);
  return ends;
}

}  // namespace

absl::string_view GroupingName(Grouping grouping) {
  constexpr absl::string_view kNames[] = {"layers", "greedy", "optimal", "exhaustive", "longest"};
  return kNames[static_cast<size_t>(grouping)];
}

absl::string_view TrafficCauseName(TrafficCause cause) {
  constexpr absl::string_view kNames[] = {"features", "stash", "gradients", "weights", "weight gradients", "update"};
  return kNames[static_cast<size_t>(cause)];
}

int64_t SerialGroup::bytes() const { return Sum(traffic_bytes); }

class Serializer::Impl {
 public:
  Impl(const TrainingGraph& training, const CostTable& cost, const BlockTable& blocks,
       const SerializationOptions& options)
      : graph_(training.graph), cost_(cost), options_(options), uses_(cost.storages.size()) {
    NumberLayers();
    for (int32_t k = 0; k < static_cast<int32_t>(cost.kernels.size()); ++k) {
      const KernelCost& kernel = cost.kernels[k];
      for (int32_t t = kernel.first_touch; t < kernel.first_touch + kernel.num_touches; ++t) {
        uses_[cost.touches[t].storage].push_back({cost.touches[t].storage, k, t});
      }
    }
    chain_ = MakeChain(graph_, cost, blocks, [&](const ChainLink& link) {
      return SubBatchesOf(link.forward).sub_batch > 0 && SubBatchesOf(link.backward).sub_batch > 0;
    });
    for (ChainLink& link : chain_) {
      link.forward_alone = SubBatchesOf(link.forward);
      link.backward_alone = SubBatchesOf(link.backward);
    }
  }

  const std::vector<ChainLink>& chain() const { return chain_; }

  // Nothing for several links of which not one sample fits. `moved`: adds what every kernel moves.
  std::optional<SerialGroup> Price(int first, int end, std::vector<KernelTraffic>* moved = nullptr) const {
    SerialGroup group{.first = first, .end = end};
    const std::vector<int32_t> forward = KernelsOf(first, end, &ChainLink::forward);
    const std::vector<int32_t> backward = KernelsOf(first, end, &ChainLink::backward);
    const std::vector<Residency> forward_kept = Residencies(forward), backward_kept = Residencies(backward);
    group.forward = SubBatchesOf(forward, forward_kept);
    group.backward = SubBatchesOf(backward, backward_kept);
    TrafficByCause one_by_one = {}, serialized = {};
    ChargeUnserialized(forward, one_by_one, nullptr);
    ChargeUnserialized(backward, one_by_one, nullptr);
    const bool fits = group.forward.sub_batch > 0 && group.backward.sub_batch > 0;
    if (!fits && end > first + 1) return std::nullopt;
    if (fits) {
      ChargeSerialized(forward, forward_kept, group.forward.iterations, serialized, nullptr);
      ChargeSerialized(backward, backward_kept, group.backward.iterations, serialized, nullptr);
    }
    group.serialized = fits && Sum(serialized) < Sum(one_by_one);
    group.traffic_bytes = group.serialized ? serialized : one_by_one;
    if (moved == nullptr) return group;
    TrafficByCause again = {};
    if (group.serialized) {
      ChargeSerialized(forward, forward_kept, group.forward.iterations, again, moved);
      ChargeSerialized(backward, backward_kept, group.backward.iterations, again, moved);
    } else {
      ChargeUnserialized(forward, again, moved);
      ChargeUnserialized(backward, again, moved);
    }
    return group;
  }

  // Layers of the group that normalize over the mini-batch.
  int BatchStatistics(const SerialGroup& group) const {
    int layers = 0;
    for (int l = group.first; l < group.end; ++l) {
      for (const int32_t k : chain_[l].forward) layers += NormalizesOverBatch(cost_, cost_.kernels[k]);
    }
    return layers;
  }

  std::vector<KernelTraffic> NoTraffic() const { return std::vector<KernelTraffic>(cost_.kernels.size()); }

  void ChargeUpdates(TrafficByCause& by, std::vector<KernelTraffic>& moved) const {
    for (size_t k = 0; k < cost_.kernels.size(); ++k) {
      if (cost_.kernels[k].phase != Phase::kUpdate) continue;
      moved[k] = {cost_.kernels[k].read_bytes, cost_.kernels[k].write_bytes};
      by[CauseIndex(TrafficCause::kUpdate)] += moved[k].bytes();
    }
  }

 private:
  // Consecutive numbers for runs of kernels of one layer, by kernel.
  void NumberLayers() {
    layer_.resize(cost_.kernels.size());
    NodeId before = kNoNode;
    int layer = 0;
    for (size_t k = 0; k < cost_.kernels.size(); ++k) {
      const NodeId id = cost_.kernels[k].node;
      const Node& node = graph_.node(id);
      const NodeId of = node.phase == Phase::kForward || node.forward_node == kNoNode ? id : node.forward_node;
      if (of != before) ++layer;
      layer_[k] = layer;
      before = of;
    }
  }

  std::vector<int32_t> KernelsOf(int first, int end, std::vector<int32_t> ChainLink::*phase) const {
    std::vector<int32_t> kernels;
    for (int l = first; l < end; ++l) {
      const std::vector<int32_t>& of_link = chain_[l].*phase;
      kernels.insert(kernels.end(), of_link.begin(), of_link.end());
    }
    std::sort(kernels.begin(), kernels.end());
    return kernels;
  }

  // Is what `later` reads still on chip since `earlier`? Both of one group, nothing of the storage in between.
  bool Kept(const Use& earlier, const Use& later) const {
    if (earlier.storage != later.storage) return false;
    return options_.branch_reuse || layer_[later.kernel] - layer_[earlier.kernel] <= 1;
  }

  // Of storages that grow with the batch; by storage, then time.
  std::vector<Residency> Residencies(const std::vector<int32_t>& kernels) const {
    std::vector<Use> uses;
    for (const int32_t k : kernels) {
      const KernelCost& kernel = cost_.kernels[k];
      for (int32_t t = kernel.first_touch; t < kernel.first_touch + kernel.num_touches; ++t) {
        if (GrowsWithBatch(cost_.storages[cost_.touches[t].storage])) uses.push_back({cost_.touches[t].storage, k, t});
      }
    }
    std::stable_sort(uses.begin(), uses.end(), [](const Use& a, const Use& b) { return a.storage < b.storage; });
    std::vector<Residency> kept;
    for (size_t u = 0; u < uses.size(); ++u) {
      const Touch& touch = cost_.touches[uses[u].touch];
      if (u == 0 || !Kept(uses[u - 1], uses[u])) {
        kept.push_back({.storage = uses[u].storage, .first = uses[u].kernel});
        kept.back().fetched_bytes = touch.reads ? touch.bytes : 0;
      }
      Residency& residency = kept.back();
      residency.last = uses[u].kernel;
      residency.bytes = std::max(residency.bytes, touch.bytes);
      if (!touch.writes) continue;
      residency.written_bytes = std::max(residency.written_bytes, touch.bytes);
      residency.writer = uses[u].kernel;
    }
    for (Residency& residency : kept) {
      if (!NeededAfter(residency)) residency.written_bytes = 0;
    }
    return kept;
  }

  // Is what was written read by a kernel after the residency, or at the end?
  bool NeededAfter(const Residency& residency) const {
    if (cost_.storages[residency.storage].kept_to_end) return true;
    const std::vector<Use>& uses = uses_[residency.storage];
    const auto next = std::upper_bound(uses.begin(), uses.end(), residency.last,
                                       [](int32_t kernel, const Use& use) { return kernel < use.kernel; });
    return next != uses.end() && cost_.touches[next->touch].reads;
  }

  SubBatches SubBatchesOf(const std::vector<int32_t>& kernels) const {
    return SubBatchesOf(kernels, Residencies(kernels));
  }

  // The most that is resident at once, of one sample.
  SubBatches SubBatchesOf(const std::vector<int32_t>& kernels, const std::vector<Residency>& kept) const {
    std::vector<int64_t> change(kernels.size() + 1, 0);
    const auto position = [&](int32_t kernel) {
      return std::lower_bound(kernels.begin(), kernels.end(), kernel) - kernels.begin();
    };
    for (const Residency& residency : kept) {
      const int64_t of_sample = CeilDivide(residency.bytes, options_.batch);
      change[position(residency.first)] += of_sample;
      change[position(residency.last) + 1] -= of_sample;
    }
    SubBatches result;
    int64_t resident = 0;
    for (const int64_t bytes : change) {
      resident += bytes;
      result.footprint_bytes = std::max(result.footprint_bytes, resident);
    }
    result.sub_batch = result.footprint_bytes == 0
                           ? options_.batch
                           : std::min(options_.batch, options_.capacity_bytes / result.footprint_bytes);
    if (result.sub_batch > 0) result.iterations = CeilDivide(options_.batch, result.sub_batch);
    return result;
  }

  static void Charge(TrafficCause cause, int32_t kernel, KernelTraffic bytes, TrafficByCause& by,
                     std::vector<KernelTraffic>* moved) {
    by[CauseIndex(cause)] += bytes.bytes();
    if (moved == nullptr) return;
    (*moved)[kernel].fetched_bytes += bytes.fetched_bytes;
    (*moved)[kernel].written_bytes += bytes.written_bytes;
  }

  // Of fetching, or writing, what grows with the batch. What backward reads has to be written anyway.
  TrafficCause CauseOf(int32_t kernel, StorageId storage, bool writing) const {
    if (cost_.storages[storage].kind == ValueKind::kGradient) return TrafficCause::kGradients;
    const bool stashed = cost_.kernels[uses_[storage].back().kernel].phase != Phase::kForward;
    const bool in_forward = cost_.kernels[kernel].phase == Phase::kForward;
    return stashed && (writing || !in_forward) ? TrafficCause::kStash : TrafficCause::kFeatures;
  }

  void ChargeSerialized(const std::vector<int32_t>& kernels, const std::vector<Residency>& kept, int64_t iterations,
                        TrafficByCause& by, std::vector<KernelTraffic>* moved) const {
    for (const Residency& residency : kept) {
      Charge(CauseOf(residency.first, residency.storage, /*writing=*/false), residency.first,
             {.fetched_bytes = residency.fetched_bytes}, by, moved);
      if (residency.written_bytes == 0) continue;
      Charge(CauseOf(residency.writer, residency.storage, /*writing=*/true), residency.writer,
             {.written_bytes = residency.written_bytes}, by, moved);
    }
    for (const int32_t k : kernels) {
      for (const Touch& touch : cost_.TouchesOf(cost_.kernels[k])) {
        if (GrowsWithBatch(cost_.storages[touch.storage])) continue;
        const bool partial_sums = cost_.storages[touch.storage].parameter_gradient;
        KernelTraffic bytes;
        if (touch.reads) bytes.fetched_bytes = iterations * touch.bytes;
        if (touch.writes) bytes.written_bytes = iterations * touch.bytes;
        if (touch.writes && !touch.reads && partial_sums) bytes.fetched_bytes = (iterations - 1) * touch.bytes;
        Charge(partial_sums ? TrafficCause::kWeightGradients : TrafficCause::kWeights, k, bytes, by, moved);
      }
    }
  }

  void ChargeUnserialized(const std::vector<int32_t>& kernels, TrafficByCause& by,
                          std::vector<KernelTraffic>* moved) const {
    for (const int32_t k : kernels) {
      for (const Touch& touch : cost_.TouchesOf(cost_.kernels[k])) {
        TrafficCause cause = TrafficCause::kWeights;
        if (cost_.storages[touch.storage].parameter_gradient) cause = TrafficCause::kWeightGradients;
        if (GrowsWithBatch(cost_.storages[touch.storage])) cause = CauseOf(k, touch.storage, touch.writes);
        Charge(cause, k, {touch.reads ? touch.bytes : 0, touch.writes ? touch.bytes : 0}, by, moved);
      }
    }
  }

  const Graph& graph_;
  const CostTable& cost_;
  const SerializationOptions options_;
  std::vector<int> layer_;              // by kernel
  std::vector<std::vector<Use>> uses_;  // by storage, in schedule order
  std::vector<ChainLink> chain_;
};

Serializer::Serializer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Serializer::Serializer(Serializer&&) noexcept = default;
Serializer& Serializer::operator=(Serializer&&) noexcept = default;
Serializer::~Serializer() = default;

absl::StatusOr<Serializer> Serializer::Make(const TrainingGraph& training, const CostTable& cost,
                                            const BlockTable& blocks, const SerializationOptions& options) {
  if (options.batch < 1) {
    return absl::InvalidArgumentError(absl::StrCat("found a batch of ", options.batch, ", expected at least 1"));
  }
  if (options.capacity_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("found a capacity of ", options.capacity_bytes, " B, expected at least 0"));
  }
  return Serializer(std::make_unique<Impl>(training, cost, blocks, options));
}

const std::vector<ChainLink>& Serializer::chain() const { return impl_->chain(); }

std::optional<SerialGroup> Serializer::GroupOf(int first, int end) const { return impl_->Price(first, end); }

Serialization Serializer::Plan(Grouping grouping) const {
  std::map<std::pair<int, int>, std::optional<int64_t>> known;
  const GroupCost cost = [&](int first, int end) {
    const auto [it, asked] = known.try_emplace({first, end});
    if (asked) {
      const std::optional<SerialGroup> group = impl_->Price(first, end);
      if (group.has_value()) it->second = group->bytes();
    }
    return it->second;
  };
  Serialization plan{.grouping = grouping, .groups = {}, .kernels = impl_->NoTraffic()};
  int first = 0;
  for (const int end : EndsOf(grouping, chain(), cost)) {
    plan.groups.push_back(*impl_->Price(first, end, &plan.kernels));
    first = end;
    const SerialGroup& group = plan.groups.back();
    for (int c = 0; c < kNumTrafficCauses; ++c) plan.by_cause[c] += group.traffic_bytes[c];
    if (group.serialized && group.forward.iterations > 1) plan.batch_statistics += impl_->BatchStatistics(group);
  }
  impl_->ChargeUpdates(plan.by_cause, plan.kernels);
  plan.traffic_bytes = Sum(plan.by_cause);
  return plan;
}

std::vector<int64_t> NormalizationPasses(const TrainingGraph& training, const CostTable& cost) {
  std::vector<int64_t> features(training.graph.nodes.size(), 0);  // by layer: bytes of what it normalizes
  std::vector<int64_t> bytes(cost.kernels.size(), 0);
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    const KernelCost& kernel = cost.kernels[k];
    const bool forward = kernel.phase == Phase::kForward;
    if (forward && !NormalizesOverBatch(cost, kernel)) continue;
    const NodeId layer = forward ? kernel.node : training.graph.node(kernel.node).forward_node;
    if (layer == kNoNode || kernel.phase == Phase::kUpdate) continue;
    int64_t read_bytes = 0;  // none in a sum of the gradients that meet at the layer's input
    for (const Touch& touch : cost.TouchesOf(kernel)) {
      const StorageCost& storage = cost.storages[touch.storage];
      const bool is_feature = touch.reads && GrowsWithBatch(storage) && storage.kind != ValueKind::kGradient;
      if (is_feature) read_bytes = std::max(read_bytes, touch.bytes);
    }
    if (forward) features[layer] = read_bytes;
    if (read_bytes > 0) bytes[k] = forward ? read_bytes : 2 * features[layer];
  }
  return bytes;
}

}  // namespace reusescope
