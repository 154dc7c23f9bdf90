// The software-managed memory against three references: all plans of a tiny step (a search that knows nothing of
// intervals), the optimum of the linear program (HiGHS), and LRU.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cache_intervals.h"
#include "analysis/measure/cache_packing.h"
#include "analysis/pipeline.h"
#include "analysis/plan/linear_program.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/analysis/cache_access_lists.h"

namespace reusescope {
namespace {

// The least traffic of any way to run the step byte by byte: after every touch each byte on chip may stay or leave.
// State: of every storage how many of its bytes are on chip clean, and how many dirty. REQUIRES: whole touches.
class AllPlans {
 public:
  AllPlans(const CostTable& cost, int64_t capacity) : cost_(cost), capacity_(capacity) {}

  int64_t Least() {
    std::map<State, int64_t> best{{State(cost_.storages.size()), 0}};
    for (size_t t = 0; t < cost_.touches.size(); ++t) {
      std::map<State, int64_t> next;
      for (const auto& [state, traffic] : best) Visit(t, state, traffic, next);
      best = std::move(next);
    }
    int64_t least = std::numeric_limits<int64_t>::max();
    for (const auto& [state, traffic] : best) {
      int64_t total = traffic;
      for (size_t s = 0; s < state.size(); ++s) {
        if (cost_.storages[s].persistent || cost_.storages[s].kept_to_end) total += state[s].dirty;
      }
      least = std::min(least, total);
    }
    return least;
  }

 private:
  struct OnChip {
    int64_t clean = 0, dirty = 0;
    auto operator<=>(const OnChip&) const = default;
  };
  using State = std::vector<OnChip>;

  void Visit(size_t t, State state, int64_t traffic, std::map<State, int64_t>& next) const {
    const Touch& touch = cost_.touches[t];
    OnChip& bytes = state[touch.storage];
    if (touch.reads) {
      traffic += touch.bytes - bytes.clean - bytes.dirty;
      bytes.clean = touch.bytes - bytes.dirty;
    }
    if (touch.writes) bytes = {0, touch.bytes};
    Leave(t, 0, capacity_, state, traffic, next);
  }

  void Leave(size_t t, size_t s, int64_t room, State& state, int64_t traffic, std::map<State, int64_t>& next) const {
    if (s == state.size()) {
      const auto [at, inserted] = next.emplace(state, traffic);
      if (!inserted) at->second = std::min(at->second, traffic);
      return;
    }
    const OnChip before = state[s];
    const bool written_now = cost_.touches[t].storage == static_cast<StorageId>(s) && cost_.touches[t].writes;
    // A dirty byte may stay dirty, be written back and stay, or leave, with a write-back if anybody needs it.
    const bool costs = written_now || Needed(t, s);
    for (int64_t dirty = 0; dirty <= std::min(before.dirty, room); ++dirty) {
      const int64_t gone = before.dirty - dirty;
      for (int64_t cleaned = 0; cleaned <= std::min(gone, room - dirty); ++cleaned) {
        const int64_t written = costs ? gone : cleaned;
        for (int64_t clean = 0; clean <= std::min(before.clean, room - dirty - cleaned); ++clean) {
          state[s] = {clean + cleaned, dirty};
          Leave(t, s + 1, room - dirty - cleaned - clean, state, traffic + written, next);
        }
      }
    }
    state[s] = before;
  }

  bool Needed(size_t t, size_t s) const {
    for (size_t later = t + 1; later < cost_.touches.size(); ++later) {
      if (cost_.touches[later].storage == static_cast<StorageId>(s)) return cost_.touches[later].reads;
    }
    return cost_.storages[s].persistent || cost_.storages[s].kept_to_end;
  }

  const CostTable& cost_;
  const int64_t capacity_;
};

// The linear program: kept bytes of every interval and, of every chain, the bytes kept all along; what is kept in a gap
// is a variable of its own, so that every column has few entries. In units that suit floating point.
class OptimumProgram {
 public:
  OptimumProgram(const ReuseChains& chains, int64_t capacity)
      : chains_(chains), unit_(std::max(1.0, static_cast<double>(capacity) / 1000)) {
    AddColumns(static_cast<double>(capacity) / unit_);
    AddRows();
  }

  // The least traffic.
  double Solve() {
    const absl::StatusOr<LinearProgram::Solution> solution = program_.Minimize({});
    EXPECT_TRUE(solution.ok() && solution->state == LinearProgram::Solution::State::kOptimal);
    const std::vector<int64_t> nothing(chains_.intervals().size(), 0);
    return static_cast<double>(chains_.TotalTrafficOf(nothing)) + (solution.ok() ? solution->cost * unit_ : 0);
  }

 private:
  // What is kept saves traffic: negative costs.
  void AddColumns(double capacity) {
    for (const ReuseInterval& interval : chains_.intervals()) {
      program_.AddColumn(
          {.upper = static_cast<double>(interval.bytes) / unit_, .cost = interval.saves_fetch ? -1.0 : 0.0});
    }
    first_chain_ = program_.num_columns();
    for (size_t c = 0; c < chains_.chains().size(); ++c) program_.AddColumn({.cost = -1});
    first_gap_ = program_.num_columns();
    for (int gap = 0; gap < chains_.num_events(); ++gap) program_.AddColumn({.upper = capacity});
  }

  void AddRows() {
    std::vector<std::vector<LinearProgram::Term>> gaps(chains_.num_events());
    for (int gap = 0; gap < chains_.num_events(); ++gap) {
      gaps[gap].emplace_back(first_gap_ + gap, 1);
      if (gap > 0) gaps[gap].emplace_back(first_gap_ + gap - 1, -1);
    }
    for (size_t i = 0; i < chains_.intervals().size(); ++i) {
      const ReuseInterval& interval = chains_.intervals()[i];
      gaps[interval.begin].emplace_back(static_cast<int>(i), -1);
      if (interval.end < chains_.num_events()) gaps[interval.end].emplace_back(static_cast<int>(i), 1);
    }
    for (const auto& terms : gaps) program_.AddRow(terms, 0, 0);
    for (size_t c = 0; c < chains_.chains().size(); ++c) {
      for (int i = chains_.chains()[c].first; i < chains_.chains()[c].last; ++i) {
        program_.AddRow({{first_chain_ + static_cast<int>(c), 1}, {i, -1}}, -LinearProgram::kInfinity, 0);
      }
    }
  }

  const ReuseChains& chains_;
  const double unit_;
  LinearProgram program_;
  int first_chain_ = 0, first_gap_ = 0;
};

struct Curves {
  LruCurve lru;
  ManagedCurve managed;
  ReuseChains chains;
};

Curves CurvesOf(const CostTable& cost) {
  LruCurve lru = ComputeLruCurve(cost).value();
  ManagedCurve managed = ComputeManagedCurve(cost, lru).value();
  return {std::move(lru), std::move(managed), ReuseChains::Build(cost).value()};
}

double Optimum(const Curves& curves, int64_t capacity) { return OptimumProgram(curves.chains, capacity).Solve(); }

TEST(ManagedCurve, FindsTheBestPlanOfATinyStepNearlyAlways) {
  std::mt19937 random(3);
  int points = 0, exact = 0;
  for (int i = 0; i < 120; ++i) {
    const CostTable cost = RandomAccessList(random, 2 + i % 4, 2 + i % 2, 3, /*parts=*/false);
    const Curves curves = CurvesOf(cost);
    for (int64_t capacity = 0; capacity <= curves.lru.saturation_bytes(); ++capacity) {
      SCOPED_TRACE(testing::Message() << "list " << i << ", capacity " << capacity);
      const int64_t least = AllPlans(cost, capacity).Least();
      const double optimum = Optimum(curves, capacity);
      ASSERT_LE(optimum, least + 1e-6) << "the program allows every plan";
      ASSERT_GE(std::ceil(optimum - 1e-6) + 1, least) << "and no more than splitting bytes explains";
      const int64_t managed = curves.managed.TrafficAt(capacity);
      ASSERT_GE(managed, optimum - 1e-6) << "a plan that cannot be";
      ASSERT_LE(managed, least + 2);
      if (managed == least) ++exact;
      ++points;
    }
  }
  EXPECT_GT(points, 200);
  EXPECT_GE(exact, points * 98 / 100);
}

// Real steps: within 2 % of the optimum everywhere.
void ExpectNearOptimum(const CostTable& cost) {
  const Curves curves = CurvesOf(cost);
  for (int64_t mebibytes = 4; mebibytes <= 1024; mebibytes *= 2) {
    const int64_t capacity = mebibytes << 20;
    const double optimum = Optimum(curves, capacity);
    const auto managed = static_cast<double>(curves.managed.TrafficAt(capacity));
    EXPECT_GE(managed, optimum * (1 - 1e-9)) << mebibytes << " MiB";
    EXPECT_LE(managed, optimum * 1.02) << mebibytes << " MiB";
  }
}

class RealSteps : public testing::TestWithParam<const char*> {};

TEST_P(RealSteps, AreWithin2PercentOfTheOptimum) {
  absl::StatusOr<Model> model = LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR "/models/", GetParam()));
  ASSERT_TRUE(model.ok()) << model.status();
  AnalysisOptions options;
  options.shapes.batch = 32;
  const absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), options);
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  ExpectNearOptimum(analysis->cost);
}

INSTANTIATE_TEST_SUITE_P(Models, RealSteps, testing::Values("resnet50.onnx", "vgg16.onnx"));

TEST(ManagedCurve, Within2PercentOfTheOptimumOnResNet50) { ExpectNearOptimum(ResNet50Step(32)); }
TEST(ManagedCurve, Within2PercentOfTheOptimumOnVgg16) { ExpectNearOptimum(Vgg16Step(32)); }
TEST(ManagedCurve, Within2PercentOfTheOptimumAtBatch1) {
  ExpectNearOptimum(ResNet50Step(1));
  ExpectNearOptimum(Vgg16Step(1));
}

TEST(ManagedCurve, NearTheOptimumOnRandomLists) {
  std::mt19937 random(4);
  double excess = 0, worst = 0;
  int points = 0;
  for (int i = 0; i < 150; ++i) {
    const CostTable cost = RandomAccessList(random, 5 + i % 97, 3 + i % 37, i % 2 == 0 ? 1000 : 6, i % 3 == 0);
    const Curves curves = CurvesOf(cost);
    for (int part = 1; part <= 5; ++part) {
      const int64_t capacity = curves.lru.saturation_bytes() * part / 6;
      const double optimum = std::ceil(Optimum(curves, capacity) - 1e-6);
      const auto managed = static_cast<double>(curves.managed.TrafficAt(capacity));
      ASSERT_GE(managed, optimum) << "list " << i;
      if (optimum == 0) continue;
      excess += managed / optimum - 1;
      worst = std::max(worst, managed / optimum - 1);
      ++points;
    }
  }
  EXPECT_GT(points, 500);
  EXPECT_LE(excess / points, 0.005);
  EXPECT_LE(worst, 0.08);
}

// At every capacity where something could change, and in between.
void ExpectSound(const CostTable& cost, int64_t step) {
  const Curves curves = CurvesOf(cost);
  int64_t previous = std::numeric_limits<int64_t>::max();
  const int64_t top = std::max(curves.lru.saturation_bytes(), curves.managed.saturation_bytes()) + step;
  for (int64_t capacity = 0; capacity <= top; capacity += step) {
    SCOPED_TRACE(capacity);
    const int64_t traffic = curves.managed.TrafficAt(capacity);
    ASSERT_LE(traffic, curves.lru.TrafficAt(capacity)) << "above LRU";
    ASSERT_LE(traffic, previous) << "rises with capacity";
    previous = traffic;
    int64_t sum = 0;
    const std::vector<KernelTraffic> kernels = curves.managed.KernelTrafficAt(capacity);
    ASSERT_EQ(kernels.size(), cost.kernels.size());
    for (size_t k = 0; k < kernels.size(); ++k) {
      ASSERT_GE(kernels[k].fetched_bytes, 0);
      ASSERT_GE(kernels[k].written_bytes, 0);
      ASSERT_LE(kernels[k].fetched_bytes, cost.kernels[k].read_bytes);
      ASSERT_LE(kernels[k].written_bytes, cost.kernels[k].write_bytes);
      sum += kernels[k].bytes();
    }
    ASSERT_EQ(sum, traffic);
    for (int64_t held : curves.managed.HeldBytesAt(capacity)) ASSERT_LE(held, capacity);
  }
  EXPECT_EQ(previous, curves.lru.minimum_bytes());
  EXPECT_EQ(curves.managed.minimum_bytes(), curves.lru.minimum_bytes());
  EXPECT_EQ(curves.managed.compulsory_bytes(), curves.lru.compulsory_bytes());
}

TEST(ManagedCurve, NeverAboveLruAndNeverRisesOnRandomLists) {
  std::mt19937 random(5);
  for (int i = 0; i < 100; ++i) {
    SCOPED_TRACE(i);
    ExpectSound(RandomAccessList(random, 3 + i % 30, 2 + i % 12, 9, i % 2 == 0), 1);
    if (HasFatalFailure()) return;
  }
}

TEST(ManagedCurve, NeverAboveLruAndNeverRisesOnResNet50) { ExpectSound(ResNet50Step(4), 23'456'789); }

TEST(ManagedCurve, KeepsTheStashThatLruLoses) {
  // Ten layers forth and ten back: LRU has each output gone by the time it comes back, all but the last ones.
  StepBuilder step;
  std::vector<StorageId> y{step.Input(100)};
  for (int i = 0; i < 10; ++i) {
    y.push_back(step.Storage(100));
    step.Kernel({.reads = {y[i]}, .writes = {y[i + 1]}});
  }
  for (int i = 10; i > 0; --i) step.Kernel({.reads = {y[i]}, .phase = Phase::kBackward});
  for (int round = 0; round < 2; ++round) {
    for (int i = 1; i <= 10; ++i) step.Kernel({.reads = {y[i]}});
  }
  const Curves curves = CurvesOf(step.Take());
  EXPECT_LT(curves.managed.TrafficAt(500), curves.lru.TrafficAt(500) * 9 / 10);
}

TEST(ManagedCurve, CurveOfAnotherStepIsAnError) {
  const LruCurve lru = ComputeLruCurve(Vgg16Step(1)).value();
  EXPECT_EQ(ComputeManagedCurve(ResNet50Step(1), lru).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PackIntervals, EveryPlanFits) {
  std::mt19937 random(6);
  for (int i = 0; i < 200; ++i) {
    const ReuseChains chains = ReuseChains::Build(RandomAccessList(random, 20, 8, 50, i % 2 == 0)).value();
    const int64_t capacity = 1 + i;
    std::vector<int64_t> kept = PackIntervals(chains, capacity, 1 + i % 5, {}).kept;
    const int64_t packed = chains.TotalTrafficOf(kept);
    ImproveByExchange(chains, capacity, 100'000, kept);
    EXPECT_LE(chains.TotalTrafficOf(kept), packed);
    for (size_t k = 0; k < kept.size(); ++k) {
      ASSERT_GE(kept[k], 0);
      ASSERT_LE(kept[k], chains.intervals()[k].bytes);
    }
    for (int64_t held : chains.HeldBytesOf(kept)) ASSERT_LE(held, capacity);
  }
}

TEST(PackIntervals, KeepsTheWriteBackTogether) {
  // Two values, the same length; one is dirty and dead after its read, so keeping it saves twice as much.
  StepBuilder step;
  const StorageId w = step.Parameter(100), y = step.Storage(100), z = step.Storage(1, true);
  step.Kernel({.reads = {w}, .writes = {y}});
  step.Kernel({.reads = {w, y}, .writes = {z}});
  const Curves curves = CurvesOf(step.Take());
  EXPECT_EQ(curves.managed.compulsory_bytes() - curves.managed.TrafficAt(100), 200);
}

}  // namespace
}  // namespace reusescope
