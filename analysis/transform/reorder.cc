#include "analysis/transform/reorder.h"

#include <algorithm>
#include <queue>
#include <tuple>
#include <utility>

#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

// The schedule as tasks, numbered by their position in it.
struct Tasks {
  std::vector<std::vector<int32_t>> before, after;  // by task
  std::vector<std::vector<StorageId>> touches;      // by task, each storage once
  std::vector<std::vector<int32_t>> touching;       // by storage
  std::vector<int32_t> pool;                        // by task: pools run one after the other
};

void AddEdge(Tasks& tasks, int32_t from, int32_t to) {
  if (from == to) return;
  tasks.after[from].push_back(to);
  tasks.before[to].push_back(from);
}

// Is the output written over a storage that was there before?
bool WritesOver(const Graph& graph, NodeId id, ValueId output) {
  const StorageId storage = graph.value(output).storage;
  return storage != kNoStorage && graph.storages[storage].root != output && !IsView(graph, id);
}

void AddTouch(Tasks& tasks, int32_t task, StorageId storage) {
  if (storage == kNoStorage) return;
  std::vector<int32_t>& touching = tasks.touching[storage];
  if (!touching.empty() && touching.back() == task) return;
  touching.push_back(task);
  tasks.touches[task].push_back(storage);
}

template <typename Visit>
void ForEachReadOf(const Node& node, Visit visit) {
  for (ValueId input : node.inputs) {
    if (input != kNoValue) visit(input);
  }
  for (ValueId capture : node.captures) visit(capture);
}

std::vector<int32_t> PoolsOf(const Graph& graph) {
  std::vector<int32_t> pools;
  bool updates_at_end = true, updating = false;
  for (NodeId id : graph.order) {
    const Phase phase = graph.node(id).phase;
    updates_at_end = updates_at_end && (!updating || phase == Phase::kUpdate);
    updating = updating || phase == Phase::kUpdate;
  }
  for (NodeId id : graph.order) {
    const Phase phase = graph.node(id).phase;
    pools.push_back(phase == Phase::kForward ? 0 : phase == Phase::kUpdate && updates_at_end ? 2 : 1);
  }
  return pools;
}

Tasks TasksOf(const Graph& graph) {
  const size_t count = graph.order.size();
  Tasks tasks{.before = std::vector<std::vector<int32_t>>(count),
              .after = std::vector<std::vector<int32_t>>(count),
              .touches = std::vector<std::vector<StorageId>>(count),
              .touching = std::vector<std::vector<int32_t>>(graph.storages.size()),
              .pool = PoolsOf(graph)};
  std::vector<int32_t> position(graph.nodes.size(), -1);
  for (size_t i = 0; i < count; ++i) position[graph.order[i]] = static_cast<int32_t>(i);
  for (size_t i = 0; i < count; ++i) {
    const auto task = static_cast<int32_t>(i);
    const Node& node = graph.node(graph.order[i]);
    ForEachReadOf(node, [&](ValueId value) {
      const NodeId producer = graph.value(value).producer;
      if (producer != kNoNode && position[producer] >= 0) AddEdge(tasks, position[producer], task);
      AddTouch(tasks, task, graph.value(value).storage);
    });
    for (ValueId output : node.outputs) {
      if (output == kNoValue) continue;
      if (WritesOver(graph, graph.order[i], output)) {
        for (int32_t reader : tasks.touching[graph.value(output).storage]) AddEdge(tasks, reader, task);
      }
      AddTouch(tasks, task, graph.value(output).storage);
    }
  }
  return tasks;
}

class ListScheduler {
 public:
  ListScheduler(Tasks tasks, absl::Span<const StorageLife> storages, OrderRule rule)
      : tasks_(std::move(tasks)), storages_(storages), rule_(rule), back_(rule == OrderRule::kFreesMostBack) {
    if (back_) std::swap(tasks_.before, tasks_.after);
  }

  // Tasks in the order in which they run.
  std::vector<int32_t> Run() {
    const size_t count = tasks_.before.size();
    missing_.resize(count);
    is_done_.resize(count);
    version_.resize(count);
    touched_.resize(storages_.size());
    for (size_t i = 0; i < count; ++i) missing_[i] = static_cast<int32_t>(tasks_.before[i].size());
    for (size_t i = 0; i < count; ++i) {
      if (missing_[i] == 0) Push(static_cast<int32_t>(i));
    }
    std::vector<int32_t> order;
    while (!ready_.empty()) {
      const Ready next = ready_.top();
      ready_.pop();
      if (is_done_[next.task] || next.version != version_[next.task]) continue;
      Finish(next.task);
      order.push_back(next.task);
    }
    if (back_) std::reverse(order.begin(), order.end());
    return order;
  }

 private:
  struct Ready {
    int32_t pool = 0;
    int64_t growth_bytes = 0;
    int64_t rank = 0;  // among equal ones
    int32_t task = 0;
    int32_t version = 0;

    bool operator<(const Ready& other) const {  // the least is on top
      return std::tie(pool, growth_bytes, rank) > std::tie(other.pool, other.growth_bytes, other.rank);
    }
  };

  // Bytes that the task makes live, less those that it is the last to touch.
  int64_t Growth(int32_t task) const {
    int64_t growth = 0;
    for (StorageId storage : tasks_.touches[task]) {
      const StorageLife& life = storages_[storage];
      const auto others = static_cast<int32_t>(tasks_.touching[storage].size()) - 1;
      const bool lives_already = touched_[storage] > 0 || (back_ && life.kept_to_end);
      if (!lives_already) growth += life.bytes;
      if (touched_[storage] == others && (back_ || !life.kept_to_end)) growth -= life.bytes;
    }
    return growth;
  }

  void Push(int32_t task) {
    const int64_t in_file = back_ ? -int64_t{task} : task;
    const int64_t rank = rule_ == OrderRule::kDepthFirst ? -static_cast<int64_t>(pushed_) : in_file;
    ++pushed_;
    ready_.push({back_ ? -tasks_.pool[task] : tasks_.pool[task], Growth(task), rank, task, ++version_[task]});
  }

  void Finish(int32_t task) {
    is_done_[task] = true;
    for (StorageId storage : tasks_.touches[task]) {
      const auto& touching = tasks_.touching[storage];
      ++touched_[storage];
      // What others would allocate or free has changed where it lives from now on, or one task of it is left.
      const bool one_left = touched_[storage] + 1 == static_cast<int32_t>(touching.size());
      if (touched_[storage] != 1 && !one_left) continue;
      for (int32_t other : touching) {
        if (!is_done_[other] && missing_[other] == 0) Push(other);
      }
    }
    for (int32_t next : tasks_.after[task]) {
      if (--missing_[next] == 0) Push(next);
    }
  }

  Tasks tasks_;
  const absl::Span<const StorageLife> storages_;
  const OrderRule rule_;
  const bool back_;
  std::vector<int32_t> missing_, version_;  // by task
  std::vector<bool> is_done_;
  std::vector<int32_t> touched_;  // by storage: tasks that are done
  int64_t pushed_ = 0;
  std::priority_queue<Ready> ready_;
};

}  // namespace

std::vector<NodeId> ReorderedBy(const Graph& graph, absl::Span<const StorageLife> storages, OrderRule rule) {
  std::vector<NodeId> order;
  order.reserve(graph.order.size());
  for (int32_t task : ListScheduler(TasksOf(graph), storages, rule).Run()) order.push_back(graph.order[task]);
  return order;
}

bool IsValidOrder(const Graph& graph, absl::Span<const NodeId> order) {
  const Tasks tasks = TasksOf(graph);
  std::vector<int32_t> position(graph.nodes.size(), -1);
  for (size_t i = 0; i < order.size(); ++i) position[order[i]] = static_cast<int32_t>(i);
  if (order.size() != graph.order.size()) return false;
  for (size_t task = 0; task < order.size(); ++task) {
    const int32_t here = position[graph.order[task]];
    if (here < 0) return false;
    for (int32_t before : tasks.before[task]) {
      if (position[graph.order[before]] > here) return false;
    }
  }
  return true;
}

}  // namespace reusescope
