#include "analysis/choose_order.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/memory.h"
#include "analysis/transform/differentiate.h"
#include "analysis/transform/reorder.h"

namespace reusescope {
namespace {

struct Measured {
  int64_t traffic_bytes = 0;  // 0 where it is not asked for
  int64_t peak_bytes = 0;
  friend auto operator<=>(const Measured&, const Measured&) = default;
};

absl::StatusOr<Measured> Measure(const TrainingGraph& training, const CostTable& cost, const OrderChoice& choice,
                                 PrecisionMode precision) {
  Measured measured;
  RS_ASSIGN_OR_RETURN(const MemoryTable memory, ComputeMemory(training, cost, {.precision = precision}));
  measured.peak_bytes = memory.peak_bytes;
  if (choice.goal == OrderChoice::Goal::kTraffic) {
    RS_ASSIGN_OR_RETURN(const LruCurve lru, ComputeLruCurve(cost));
    measured.traffic_bytes = lru.TrafficAt(choice.capacity_bytes);
  }
  return measured;
}

std::string NoteOf(const OrderChoice& choice, const Measured& file, const Measured& best) {
  const bool traffic = choice.goal == OrderChoice::Goal::kTraffic;
  const std::string what = traffic ? absl::StrCat("traffic (LRU, ", choice.capacity_bytes, " B on chip)") : "peak";
  const int64_t before = traffic ? file.traffic_bytes : file.peak_bytes;
  const int64_t after = traffic ? best.traffic_bytes : best.peak_bytes;
  if (best == file) return absl::StrCat("the order of the file stays: no other that was tried has a lower ", what);
  return absl::StrCat("nodes run in another order than the file's: ", what, " ", after, " B instead of ", before, " B");
}

}  // namespace

absl::Status ChooseOrder(TrainingGraph& training, const OrderChoice& choice, PrecisionMode precision,
                         std::vector<std::string>& notes) {
  if (choice.goal == OrderChoice::Goal::kFile) return absl::OkStatus();
  Graph& graph = training.graph;
  RS_ASSIGN_OR_RETURN(CostTable cost, ComputeCost(training, {.precision = precision}));
  RS_ASSIGN_OR_RETURN(const Measured file, Measure(training, cost, choice, precision));
  std::vector<StorageLife> lives;
  for (const StorageCost& storage : cost.storages) {
    lives.push_back({storage.persistent || storage.input ? 0 : storage.bytes, storage.kept_to_end});
  }
  lives.resize(graph.storages.size());  // without the master weights of mixed precision
  Measured best = file;
  std::vector<NodeId> best_order = graph.order;
  const std::vector<NodeId> file_order = graph.order;
  for (const OrderRule rule : kOrderRules) {
    graph.order = file_order;
    graph.order = ReorderedBy(graph, lives, rule);
    RS_ASSIGN_OR_RETURN(cost, ComputeCost(training, {.precision = precision}));
    RS_ASSIGN_OR_RETURN(const Measured measured, Measure(training, cost, choice, precision));
    if (measured >= best) continue;
    best = measured;
    best_order = graph.order;
  }
  graph.order = std::move(best_order);
  CollectStash(training);
  notes.push_back(NoteOf(choice, file, best));
  return absl::OkStatus();
}

}  // namespace reusescope
