#include "analysis/measure/reuse.h"

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/measure/cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

enum Use { kRead, kWrite, kUpdate };

// An access list without a model: kernels of an operator that nobody knows, touching storages by name.
class AccessList {
 public:
  struct TouchSpec {
    char storage;
    Use use;
    int64_t bytes = 0;  // 0: all of the storage
  };

  AccessList& Storage(char name, int64_t bytes, bool kept = false) {
    ids_[name] = static_cast<StorageId>(cost_.storages.size());
    cost_.storages.push_back({.root = kNoValue, .bytes = bytes, .kept_to_end = kept});
    return *this;
  }
  AccessList& Kernel(std::vector<TouchSpec> touches, Phase phase = Phase::kForward, NodeId forward_node = kNoNode) {
    Node node{.op = {.domain = "test", .type = "Unknown"}, .name = absl::StrCat("n", training_.graph.nodes.size())};
    node.phase = phase;
    node.forward_node = forward_node;
    const NodeId id = training_.graph.AddNode(std::move(node));
    cost_.kernels.push_back({.node = id,
                             .phase = phase,
                             .first_touch = static_cast<int32_t>(cost_.touches.size()),
                             .num_touches = static_cast<int32_t>(touches.size())});
    for (const TouchSpec& touch : touches) {
      const StorageId storage = ids_[touch.storage];
      cost_.touches.push_back({.storage = storage,
                               .bytes = touch.bytes > 0 ? touch.bytes : cost_.storages[storage].bytes,
                               .reads = touch.use != kWrite,
                               .writes = touch.use != kRead});
      const Touch& added = cost_.touches.back();
      if (added.reads) cost_.kernels.back().read_bytes += added.bytes;
      if (added.writes) cost_.kernels.back().write_bytes += added.bytes;
    }
    return *this;
  }
  ReuseTable Compute(const BlockTable& blocks = {}) const {
    const absl::StatusOr<ReuseTable> reuse = ComputeReuse(training_, cost_, blocks);
    EXPECT_TRUE(reuse.ok()) << reuse.status();
    return reuse.ok() ? *reuse : ReuseTable{};
  }

  CostTable& cost() { return cost_; }
  const TrainingGraph& training() const { return training_; }

 private:
  std::map<char, StorageId> ids_;
  CostTable cost_;
  TrainingGraph training_;
};

std::vector<int64_t> Distances(const ReuseTable& reuse) {
  std::vector<int64_t> distances;
  for (const ReuseEdge& edge : reuse.edges) distances.push_back(edge.distance_bytes);
  return distances;
}

int64_t SavedTotal(const ReuseTable& reuse) {
  int64_t sum = 0;
  for (const ReuseEdge& edge : reuse.edges) sum += edge.saved_bytes();
  return sum;
}

TEST(ReuseTest, DistanceIsWhatIsTouchedAfterTheFirstUpToTheSecond) {
  AccessList list;
  list.Storage('x', 100).Storage('y', 30).Storage('z', 7);
  list.Kernel({{'x', kRead}, {'y', kWrite}}).Kernel({{'y', kRead}, {'z', kWrite}}).Kernel({{'z', kRead}, {'x', kRead}});
  const ReuseTable reuse = list.Compute();
  // y: itself; z: itself; x: y, z and itself, each once.
  EXPECT_THAT(Distances(reuse), ElementsAre(30, 7, 30 + 7 + 100));
  EXPECT_EQ(reuse.edges[2].bytes, 100);
  EXPECT_EQ(reuse.edges[2].from_kernel, 0);
  EXPECT_EQ(reuse.edges[2].to_kernel, 2);
}

TEST(ReuseTest, AFirstTouchIsNoEdge) {
  AccessList list;
  list.Storage('x', 100).Storage('y', 30).Kernel({{'x', kRead}, {'y', kWrite}});
  EXPECT_THAT(list.Compute().edges, IsEmpty());
}

TEST(ReuseTest, AValueThatDiesSavesItsFetchAndItsWriteBack) {
  AccessList list;
  list.Storage('y', 30).Kernel({{'y', kWrite}}).Kernel({{'y', kRead}});
  const ReuseTable reuse = list.Compute();
  ASSERT_EQ(reuse.edges.size(), 1u);
  EXPECT_EQ(reuse.edges[0].bytes, 30);
  EXPECT_EQ(reuse.edges[0].write_back_bytes, 30);
}

TEST(ReuseTest, AValueKeptToTheEndSavesItsFetchOnly) {
  AccessList list;
  list.Storage('y', 30, true).Kernel({{'y', kWrite}}).Kernel({{'y', kRead}});
  EXPECT_EQ(list.Compute().edges[0].saved_bytes(), 30);
}

TEST(ReuseTest, TheWriteBackIsBookedOnTheLongestEdgeSinceTheWrite) {
  AccessList list;
  list.Storage('y', 30).Storage('a', 50).Storage('b', 5);
  list.Kernel({{'y', kWrite}})
      .Kernel({{'b', kRead}, {'y', kRead}})
      .Kernel({{'a', kRead}, {'y', kRead}})
      .Kernel({{'y', kRead}});
  const ReuseTable reuse = list.Compute();
  ASSERT_THAT(Distances(reuse), ElementsAre(35, 80, 30));
  EXPECT_EQ(reuse.edges[0].write_back_bytes, 0);
  EXPECT_EQ(reuse.edges[1].write_back_bytes, 30);
  EXPECT_EQ(reuse.edges[2].write_back_bytes, 0);
}

TEST(ReuseTest, OverwritingFetchesNothingAndIsNoEdge) {
  AccessList list;
  list.Storage('y', 30).Kernel({{'y', kWrite}}).Kernel({{'y', kRead}}).Kernel({{'y', kWrite}}).Kernel({{'y', kRead}});
  const ReuseTable reuse = list.Compute();
  ASSERT_EQ(reuse.edges.size(), 2u);
  EXPECT_EQ(reuse.edges[0].to_kernel, 1);
  EXPECT_EQ(reuse.edges[1].from_kernel, 2);
  EXPECT_EQ(SavedTotal(reuse), 2 * (30 + 30)) << "both versions die";
}

TEST(ReuseTest, AnUpdateInPlaceReadsTheOldVersionAndWritesANewOne) {
  AccessList list;
  list.Storage('w', 30, true).Kernel({{'w', kWrite}}).Kernel({{'w', kUpdate}});
  const ReuseTable reuse = list.Compute();
  ASSERT_EQ(reuse.edges.size(), 1u);
  EXPECT_EQ(reuse.edges[0].bytes, 30);
  EXPECT_EQ(reuse.edges[0].write_back_bytes, 30) << "of the first version; the second is kept to the end";
}

TEST(ReuseTest, APartialTouchLeavesTheRestWhereItWas) {
  AccessList list;
  list.Storage('x', 100).Storage('y', 30);
  list.Kernel({{'x', kRead}}).Kernel({{'x', kRead, 10}}).Kernel({{'y', kRead}}).Kernel({{'x', kRead}});
  const ReuseTable reuse = list.Compute();
  ASSERT_EQ(reuse.edges.size(), 3u);
  EXPECT_EQ(reuse.edges[0].bytes, 10);
  EXPECT_EQ(reuse.edges[0].distance_bytes, 10);
  EXPECT_EQ(reuse.edges[1].bytes, 10) << "from the partial touch";
  EXPECT_EQ(reuse.edges[1].from_kernel, 1);
  EXPECT_EQ(reuse.edges[1].distance_bytes, 30 + 100);
  EXPECT_EQ(reuse.edges[2].bytes, 90) << "from the first touch";
  EXPECT_EQ(reuse.edges[2].from_kernel, 0);
  EXPECT_EQ(reuse.edges[2].distance_bytes, 30 + 100);
}

TEST(ReuseTest, Scopes) {
  AccessList list;
  list.Storage('a', 1).Storage('b', 1).Storage('c', 1).Storage('d', 1).Storage('g', 1).Storage('w', 1);
  list.Kernel({{'a', kWrite}, {'c', kWrite}, {'d', kWrite}, {'w', kRead}})      // 0, in block 1
      .Kernel({{'a', kRead}})                                                   // 1, in block 0
      .Kernel({{'c', kRead}})                                                   // 2, in block 0
      .Kernel({{'d', kRead}})                                                   // 3, in no block
      .Kernel({{'b', kWrite}})                                                  // 4, in no block
      .Kernel({{'b', kRead}, {'w', kRead}, {'a', kRead}}, Phase::kBackward, 4)  // 5, next kernel, other phase
      .Kernel({{'g', kWrite}, {'a', kRead}}, Phase::kBackward, 0)               // 6
      .Kernel({}, Phase::kBackward, 3)                                          // 7
      .Kernel({{'a', kRead}}, Phase::kBackward, 2)                              // 8, its forward node is in block 0
      .Kernel({{'g', kRead}, {'w', kUpdate}}, Phase::kUpdate);                  // 9
  BlockTable blocks;
  blocks.blocks = {{.name = "outer", .end = 2}, {.name = "inner", .parent = 0, .depth = 1, .end = 2}};
  blocks.innermost = {1, 0, 0, kNoBlock, kNoBlock, kNoBlock, kNoBlock, kNoBlock, kNoBlock, kNoBlock};
  const ReuseTable reuse = list.Compute(blocks);
  std::map<std::pair<int, int>, ReuseScope> scopes;
  std::map<std::pair<int, int>, int32_t> block_of;
  for (const ReuseEdge& edge : reuse.edges) {
    scopes[{edge.from_kernel, edge.to_kernel}] = edge.scope;
    block_of[{edge.from_kernel, edge.to_kernel}] = edge.block;
  }
  EXPECT_EQ((scopes[{0, 1}]), ReuseScope::kAdjacentLayer);
  EXPECT_EQ((scopes[{0, 2}]), ReuseScope::kBlock);
  EXPECT_EQ((block_of[{0, 2}]), 0);
  EXPECT_EQ((scopes[{0, 3}]), ReuseScope::kLongRange);
  EXPECT_EQ((scopes[{4, 5}]), ReuseScope::kForwardBackward) << "the next kernel, but of another phase";
  EXPECT_EQ((scopes[{0, 5}]), ReuseScope::kForwardBackward) << "a weight";
  EXPECT_EQ((scopes[{1, 5}]), ReuseScope::kForwardBackward) << "a stashed value";
  EXPECT_EQ((scopes[{5, 6}]), ReuseScope::kAdjacentLayer);
  EXPECT_EQ((scopes[{6, 8}]), ReuseScope::kBlock) << "backward nodes of one block";
  EXPECT_EQ((scopes[{6, 9}]), ReuseScope::kUpdate) << "a gradient";
  EXPECT_EQ((scopes[{5, 9}]), ReuseScope::kUpdate) << "a weight";
  EXPECT_EQ(reuse.scope(ReuseScope::kUpdate).edges, 2);
}

TEST(ReuseTest, ScopeSummaryAndCurve) {
  AccessList list;
  list.Storage('a', 10).Storage('b', 20).Storage('c', 40);
  list.Kernel({{'a', kRead}}).Kernel({{'a', kRead}});                 // adjacent: distance 10, saves 10
  list.Kernel({{'b', kWrite}}).Kernel({{'c', kRead}, {'b', kRead}});  // adjacent: distance 60, saves 20 + 20
  const ScopeReuse adjacent = list.Compute().scope(ReuseScope::kAdjacentLayer);
  EXPECT_EQ(adjacent.edges, 2);
  EXPECT_EQ(adjacent.bytes, 10 + 20);
  EXPECT_EQ(adjacent.saved_bytes, 10 + 20 + 20);
  EXPECT_EQ(adjacent.capacity_to_capture_bytes, 60);
  EXPECT_EQ(adjacent.capacity_to_capture_half_bytes, 60);
  EXPECT_THAT(adjacent.curve, ElementsAre(SavingPoint{10, 10}, SavingPoint{60, 50}));
  EXPECT_EQ(adjacent.SavedBytes(9), 0);
  EXPECT_EQ(adjacent.SavedBytes(10), 10);
  EXPECT_EQ(adjacent.SavedBytes(59), 10);
  EXPECT_EQ(adjacent.SavedBytes(60), 50);
  EXPECT_EQ(adjacent.SavedBytes(1 << 30), 50);
}

TEST(ReuseTest, HalfOfTheBytesMayTakeLessThanHalfOfTheCapacity) {
  AccessList list;
  list.Storage('a', 10).Storage('b', 10).Storage('c', 10).Storage('x', 1000);
  list.Kernel({{'a', kRead}})
      .Kernel({{'a', kRead}})
      .Kernel({{'b', kRead}})
      .Kernel({{'b', kRead}})
      .Kernel({{'c', kRead}})
      .Kernel({{'x', kRead}, {'c', kRead}});
  const ScopeReuse adjacent = list.Compute().scope(ReuseScope::kAdjacentLayer);
  EXPECT_EQ(adjacent.capacity_to_capture_half_bytes, 10);
  EXPECT_EQ(adjacent.capacity_to_capture_bytes, 1010);
}

TEST(ReuseTest, TopEdgesAreThoseThatSaveMost) {
  AccessList list;
  list.Storage('a', 10).Storage('b', 30).Storage('c', 20);
  list.Kernel({{'a', kRead}, {'b', kRead}, {'c', kRead}}).Kernel({{'a', kRead}, {'b', kRead}, {'c', kRead}});
  const ReuseTable reuse = list.Compute();
  EXPECT_THAT(TopReuseEdges(reuse, 2), ElementsAre(1, 2));
  EXPECT_THAT(TopReuseEdges(reuse, 10), ElementsAre(1, 2, 0));
  EXPECT_THAT(TopReuseEdges(reuse, 0), IsEmpty());
}

TEST(ReuseTest, SumsThatDoNotFitAreAnError) {
  AccessList list;
  list.Storage('a', INT64_MAX / 4).Kernel({{'a', kRead}}).Kernel({{'a', kRead}});
  EXPECT_EQ(ComputeReuse(list.training(), list.cost(), {}).status().code(), absl::StatusCode::kOutOfRange);
}

// Intra-layer reuse of Y = X * W: every element of X is used n times, of W m times, of Y k times.
TEST(ReuseTest, IntraLayerIsWhatAKernelWithoutReuseWouldMoveBesides) {
  constexpr int64_t m = 4, k = 6, n = 10;
  TrainingGraph training;
  Graph& graph = training.graph;
  const auto add = [&](const char* name, Shape shape, ValueKind kind) {
    const ValueId id = graph.AddValue(name, Type::Tensor(DType::kFloat32, shape), kind);
    graph.values[id].storage = static_cast<StorageId>(graph.storages.size());
    graph.storages.push_back({id});
    return id;
  };
  const ValueId x = add("x", {m, k}, ValueKind::kInput), w = add("w", {k, n}, ValueKind::kParameter);
  const ValueId y = add("y", {m, n}, ValueKind::kActivation);
  Node node{.op = {.type = "MatMul", .since_version = 13}, .inputs = {x, w}, .outputs = {y}, .name = "product"};
  graph.AddNode(node);
  const absl::StatusOr<CostTable> cost = ComputeCost(training, {.precision = PrecisionMode::kBf16});
  ASSERT_TRUE(cost.ok()) << cost.status();
  const absl::StatusOr<ReuseTable> reuse = ComputeReuse(training, *cost, FindBlocks(graph));
  ASSERT_TRUE(reuse.ok()) << reuse.status();
  const ScopeReuse& intra_layer = reuse->scope(ReuseScope::kIntraLayer);
  EXPECT_EQ(intra_layer.edges, 3);
  EXPECT_EQ(intra_layer.bytes, 2 * (3 * m * k * n - m * k - k * n - m * n));
  EXPECT_EQ(intra_layer.saved_bytes, intra_layer.bytes);  // 2 bytes an element
  EXPECT_THAT(reuse->edges, IsEmpty());
}

// The definition, byte by byte, on a byte's own history. Storages are small.
struct PlainByte {
  int last_touch = -1, last_kernel = -1;
  bool dirty = false;
  int longest_edge = -1;
};
struct PlainEdge {
  int64_t bytes = 0, write_back_bytes = 0, distance_bytes = 0;
  friend bool operator==(const PlainEdge& a, const PlainEdge& b) = default;
};
using PlainKey = std::vector<int64_t>;  // storage, first touch's kernel, second's

std::map<PlainKey, PlainEdge> PlainEdges(const CostTable& cost) {
  std::vector<std::vector<PlainByte>> bytes;
  for (const StorageCost& storage : cost.storages) bytes.emplace_back(storage.bytes);
  std::vector<std::pair<PlainKey, PlainEdge>> edges;
  std::map<PlainKey, int> index;
  const auto book = [&](PlainByte& byte) {
    if (byte.dirty && byte.longest_edge >= 0) ++edges[byte.longest_edge].second.write_back_bytes;
    byte.longest_edge = -1;
  };
  for (int k = 0; k < static_cast<int>(cost.kernels.size()); ++k) {
    const int first = cost.kernels[k].first_touch;
    for (int t = first; t < first + cost.kernels[k].num_touches; ++t) {
      const Touch& touch = cost.touches[t];
      const std::vector<std::vector<PlainByte>> before = bytes;
      for (int64_t i = 0; i < touch.bytes; ++i) {
        PlainByte& byte = bytes[touch.storage][i];
        if (touch.reads && byte.last_touch >= 0) {
          int64_t distance = 0;
          for (int s = 0; s < static_cast<int>(before.size()); ++s) {
            for (int64_t b = 0; b < static_cast<int64_t>(before[s].size()); ++b) {
              const bool now = s == touch.storage && b < touch.bytes;
              if (now || before[s][b].last_touch > byte.last_touch) ++distance;
            }
          }
          const auto [it, is_new] = index.try_emplace({touch.storage, byte.last_kernel, k}, edges.size());
          if (is_new) edges.push_back({it->first, {.distance_bytes = distance}});
          ++edges[it->second].second.bytes;
          const auto length = [&](int edge) { return edge < 0 ? -1 : edges[edge].second.distance_bytes; };
          if (byte.dirty && length(it->second) > length(byte.longest_edge)) byte.longest_edge = it->second;
        }
        if (touch.writes) {
          book(byte);
          byte.dirty = true;
        }
        byte.last_touch = t;
        byte.last_kernel = k;
      }
    }
  }
  for (size_t s = 0; s < bytes.size(); ++s) {
    for (PlainByte& byte : bytes[s]) {
      if (!cost.storages[s].kept_to_end && !cost.storages[s].persistent) book(byte);
    }
  }
  return {edges.begin(), edges.end()};
}

AccessList RandomAccesses(std::mt19937& random, bool partial) {
  AccessList list;
  const auto pick = [&](int n) { return static_cast<int>(random() % n); };
  const int storages = 1 + pick(6), kernels = 2 + pick(24);
  std::vector<int64_t> sizes;
  for (int s = 0; s < storages; ++s) {
    sizes.push_back(1 + pick(12));
    list.Storage(static_cast<char>('a' + s), sizes.back(), pick(4) == 0);
  }
  for (int k = 0; k < kernels; ++k) {
    std::vector<AccessList::TouchSpec> touches;
    for (int s = 0; s < storages; ++s) {
      if (pick(3) != 0) continue;
      const int64_t bytes = partial && pick(2) == 0 ? 1 + pick(static_cast<int>(sizes[s])) : sizes[s];
      const int use = pick(8);
      touches.push_back({static_cast<char>('a' + s), use < 5 ? kRead : use < 7 ? kWrite : kUpdate, bytes});
    }
    std::shuffle(touches.begin(), touches.end(), random);
    list.Kernel(touches);
  }
  return list;
}

TEST(ReusePropertyTest, AgreesWithTheDefinitionByteByByte) {
  std::mt19937 random(3);
  size_t edges_seen = 0;
  for (int round = 0; round < 2000; ++round) {
    AccessList list = RandomAccesses(random, round % 2 == 0);
    std::map<PlainKey, PlainEdge> found;
    const ReuseTable reuse = list.Compute();
    for (const ReuseEdge& edge : reuse.edges) {
      found[{edge.storage, edge.from_kernel, edge.to_kernel}] = {edge.bytes, edge.write_back_bytes,
                                                                 edge.distance_bytes};
    }
    ASSERT_EQ(found.size(), reuse.edges.size()) << "one edge for a pair of touches";
    ASSERT_EQ(found, PlainEdges(list.cost())) << "round " << round;
    edges_seen += found.size();
  }
  EXPECT_GT(edges_seen, 10000u);
}

TEST(ReusePropertyTest, ScopesAddUpToTheEdges) {
  std::mt19937 random(5);
  for (int round = 0; round < 100; ++round) {
    const ReuseTable reuse = RandomAccesses(random, true).Compute();
    int64_t edges = 0, saved = 0;
    for (const ScopeReuse& scope : reuse.scopes) {
      edges += scope.edges;
      saved += scope.saved_bytes;
      EXPECT_EQ(scope.SavedBytes(scope.capacity_to_capture_bytes), scope.saved_bytes);
      EXPECT_GE(2 * scope.SavedBytes(scope.capacity_to_capture_half_bytes), scope.saved_bytes);
      for (size_t i = 1; i < scope.curve.size(); ++i) {
        EXPECT_LT(scope.curve[i - 1].capacity_bytes, scope.curve[i].capacity_bytes);
        EXPECT_LT(scope.curve[i - 1].saved_bytes, scope.curve[i].saved_bytes);
      }
    }
    EXPECT_EQ(edges, static_cast<int64_t>(reuse.edges.size()));
    EXPECT_EQ(saved, SavedTotal(reuse));
  }
}

// Bytes that are written and neither read before the next write nor kept.
int64_t WrittenInVain(const CostTable& cost) {
  enum class State { kClean, kWritten, kRead };
  std::vector<std::vector<State>> bytes;
  for (const StorageCost& storage : cost.storages) bytes.emplace_back(storage.bytes, State::kClean);
  int64_t in_vain = 0;
  for (const Touch& touch : cost.touches) {
    for (int64_t i = 0; i < touch.bytes; ++i) {
      State& state = bytes[touch.storage][i];
      if (touch.reads && state == State::kWritten) state = State::kRead;
      if (!touch.writes) continue;
      if (state == State::kWritten) ++in_vain;
      state = State::kWritten;
    }
  }
  for (size_t s = 0; s < bytes.size(); ++s) {
    if (!cost.storages[s].kept_to_end) in_vain += std::count(bytes[s].begin(), bytes[s].end(), State::kWritten);
  }
  return in_vain;
}

TEST(ReusePropertyTest, AgreesWithTheCacheSimulation) {
  std::mt19937 random(9);
  for (int round = 0; round < 500; ++round) {
    AccessList list = RandomAccesses(random, round % 2 == 0);
    const ReuseTable reuse = list.Compute();
    const absl::StatusOr<LruCurve> lru = ComputeLruCurve(list.cost());
    ASSERT_TRUE(lru.ok()) << lru.status();
    ASSERT_EQ(SavedTotal(reuse) + WrittenInVain(list.cost()), lru->compulsory_bytes() - lru->minimum_bytes());
    for (int64_t capacity = 0; capacity < 80; ++capacity) {
      int64_t saved = 0;
      for (const ScopeReuse& scope : reuse.scopes) saved += scope.SavedBytes(capacity);
      ASSERT_LE(saved, lru->compulsory_bytes() - lru->TrafficAt(capacity)) << "capacity " << capacity;
    }
  }
}

// 200,000 kernels over one storage read in a thousand different sizes, between long-lived ones.
TEST(ReusePropertyTest, ManyPartialSizesStayLinear) {
  AccessList list;
  list.Storage('a', 5000).Storage('b', 10);
  list.Kernel({{'a', kWrite}, {'b', kWrite}});
  for (int k = 0; k < 200000; ++k) list.Kernel({{'a', kRead, k % 2 == 0 ? 5000 : 1 + k % 4999}});
  list.Kernel({{'b', kRead}});
  const ReuseTable reuse = list.Compute();
  EXPECT_EQ(reuse.edges.back().distance_bytes, 5010);
  int64_t fetched = 0;
  for (const ReuseEdge& edge : reuse.edges) fetched += edge.bytes;
  EXPECT_EQ(SavedTotal(reuse), fetched + 5000 + 10) << "every byte is written back once";
}

}  // namespace
}  // namespace reusescope
