// The LRU curve against a simulator that moves single bytes, and the ends of the curve against what they must be.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "analysis/measure/cache.h"
#include "gtest/gtest.h"
#include "tests/analysis/cache_access_lists.h"

namespace reusescope {
namespace {

// An LRU memory of single bytes, most recent first; the definition in cache.h taken literally.
class ByteLru {
 public:
  ByteLru(const CostTable& cost, int64_t capacity) : cost_(cost), capacity_(capacity), traffic_(cost.kernels.size()) {}

  std::vector<KernelTraffic> Run() {
    for (size_t k = 0; k < cost_.kernels.size(); ++k) {
      const KernelCost& kernel = cost_.kernels[k];
      for (int t = 0; t < kernel.num_touches; ++t) TouchBytes(kernel.first_touch + t, static_cast<int>(k));
    }
    for (const auto& [byte, writer] : dirty_) {
      const StorageCost& storage = cost_.storages[byte.first];
      if (storage.persistent || storage.kept_to_end) ++traffic_[writer].written_bytes;
    }
    return traffic_;
  }

 private:
  using Byte = std::pair<StorageId, int64_t>;

  void TouchBytes(int index, int kernel) {
    const Touch& touch = cost_.touches[index];
    std::vector<Byte> order;
    for (int64_t b = 0; b < touch.bytes; ++b) {
      const Byte byte{touch.storage, b};
      order.push_back(byte);
      if (touch.reads && std::find(resident_.begin(), resident_.end(), byte) == resident_.end()) {
        ++traffic_[kernel].fetched_bytes;
      }
      if (touch.writes) dirty_[byte] = kernel;
    }
    for (const Byte& byte : resident_) {
      if (byte.first != touch.storage || byte.second >= touch.bytes) order.push_back(byte);
    }
    const int64_t stay = std::min<int64_t>(capacity_, static_cast<int64_t>(order.size()));
    for (size_t i = stay; i < order.size(); ++i) {
      const bool written_now = touch.writes && order[i].first == touch.storage && order[i].second < touch.bytes;
      Leave(order[i], index, written_now);
    }
    order.resize(stay);
    resident_ = std::move(order);
  }

  void Leave(const Byte& byte, int index, bool written_now) {
    const auto found = dirty_.find(byte);
    if (found == dirty_.end()) return;
    if (written_now || Needed(byte, index)) ++traffic_[found->second].written_bytes;
    dirty_.erase(found);
  }

  // Is the byte read again, before it is overwritten, or after the step?
  bool Needed(const Byte& byte, int index) const {
    for (size_t t = index + 1; t < cost_.touches.size(); ++t) {
      const Touch& touch = cost_.touches[t];
      if (touch.storage == byte.first && byte.second < touch.bytes) return touch.reads;
    }
    return cost_.storages[byte.first].persistent || cost_.storages[byte.first].kept_to_end;
  }

  const CostTable& cost_;
  const int64_t capacity_;
  std::vector<Byte> resident_;
  std::map<Byte, int> dirty_;  // the kernel that wrote it
  std::vector<KernelTraffic> traffic_;
};

int64_t Sum(const std::vector<KernelTraffic>& kernels) {
  int64_t sum = 0;
  for (const KernelTraffic& kernel : kernels) sum += kernel.bytes();
  return sum;
}

int64_t SumOfKernels(const CostTable& cost) {
  int64_t sum = 0;
  for (const KernelCost& kernel : cost.kernels) sum += kernel.bytes();
  return sum;
}

void ExpectEqualToSimulator(const CostTable& cost) {
  const absl::StatusOr<LruCurve> curve = ComputeLruCurve(cost);
  ASSERT_TRUE(curve.ok()) << curve.status();
  int64_t all_bytes = 1;
  for (const StorageCost& storage : cost.storages) all_bytes += storage.bytes;
  for (int64_t capacity = 0; capacity <= all_bytes; ++capacity) {
    const std::vector<KernelTraffic> expected = ByteLru(cost, capacity).Run();
    const std::vector<KernelTraffic> actual = curve->KernelTrafficAt(capacity);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t k = 0; k < expected.size(); ++k) {
      ASSERT_EQ(actual[k].fetched_bytes, expected[k].fetched_bytes) << "kernel " << k << ", capacity " << capacity;
      ASSERT_EQ(actual[k].written_bytes, expected[k].written_bytes) << "kernel " << k << ", capacity " << capacity;
    }
    ASSERT_EQ(curve->TrafficAt(capacity), Sum(expected)) << "capacity " << capacity;
  }
}

TEST(LruCurve, EqualsByteSimulatorWhereStoragesAreTouchedWhole) {
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(i);
    ExpectEqualToSimulator(RandomAccessList(random, 3 + i % 10, 2 + i % 5, 6, /*parts=*/false));
    if (HasFatalFailure()) return;
  }
}

TEST(LruCurve, EqualsByteSimulatorWhereStoragesAreTouchedInPart) {
  std::mt19937 random(2);
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(i);
    ExpectEqualToSimulator(RandomAccessList(random, 3 + i % 10, 1 + i % 5, 7, /*parts=*/true));
    if (HasFatalFailure()) return;
  }
}

// x (10 bytes) -> y (20) -> z (30), w (5) used twice; z is an output.
CostTable ThreeKernels() {
  StepBuilder step;
  const StorageId x = step.Input(10), w = step.Parameter(5), y = step.Storage(20), z = step.Storage(30, true);
  step.Kernel({.reads = {x, w}, .writes = {y}});
  step.Kernel({.reads = {y, w}, .writes = {z}});
  return step.Take();
}

TEST(LruCurve, NothingFitsAtCapacityZero) {
  const CostTable cost = ThreeKernels();
  const LruCurve curve = ComputeLruCurve(cost).value();
  EXPECT_EQ(curve.TrafficAt(0), (10 + 5 + 20) + (20 + 5 + 30));
  EXPECT_EQ(curve.compulsory_bytes(), SumOfKernels(cost));
  EXPECT_EQ(curve.KernelTrafficAt(0)[1].fetched_bytes, 20 + 5);
  EXPECT_EQ(curve.KernelTrafficAt(0)[1].written_bytes, 30);
}

TEST(LruCurve, WithoutLimitOnlyFirstFetchesAndFinalWritesRemain) {
  const LruCurve curve = ComputeLruCurve(ThreeKernels()).value();
  EXPECT_EQ(curve.minimum_bytes(), 10 + 5 + 30);
  EXPECT_EQ(curve.TrafficAt(std::numeric_limits<int64_t>::max()), curve.minimum_bytes());
  // y is read right after it was written: 20 bytes. w comes back after y and y: 5 + 20.
  EXPECT_EQ(curve.saturation_bytes(), 5 + 20);
  EXPECT_GT(curve.TrafficAt(curve.saturation_bytes() - 1), curve.minimum_bytes());
}

TEST(LruCurve, PartOfAStorageStays) {
  const LruCurve curve = ComputeLruCurve(ThreeKernels()).value();
  // 7 of y's 20 bytes: neither fetched again nor, as they are dead then, written back.
  EXPECT_EQ(curve.compulsory_bytes() - curve.TrafficAt(7), 7 + 7);
}

TEST(LruCurve, UpdatedParameterIsWrittenBackOnce) {
  StepBuilder step;
  const StorageId w = step.Parameter(100);
  for (int i = 0; i < 3; ++i) step.Kernel({.updates = {w}});
  const LruCurve curve = ComputeLruCurve(step.Take()).value();
  EXPECT_EQ(curve.compulsory_bytes(), 3 * 200);
  EXPECT_EQ(curve.TrafficAt(100), 100 + 100);
}

TEST(LruCurve, OverwrittenValueIsDropped) {
  StepBuilder step;
  const StorageId x = step.Input(8), y = step.Storage(10);
  step.Kernel({.reads = {x}, .writes = {y}});
  step.Kernel({.reads = {x}, .writes = {y}});
  const LruCurve curve = ComputeLruCurve(step.Take()).value();
  EXPECT_EQ(curve.TrafficAt(1000), 8) << "y is never read";
}

TEST(LruCurve, EmptyStepMovesNothing) {
  const LruCurve curve = ComputeLruCurve(CostTable{}).value();
  EXPECT_EQ(curve.TrafficAt(0), 0);
  EXPECT_EQ(curve.TrafficAt(1 << 20), 0);
  EXPECT_TRUE(curve.KernelTrafficAt(0).empty());
}

TEST(LruCurve, SumAboveInt64IsAnError) {
  StepBuilder step;
  const StorageId x = step.Storage(std::numeric_limits<int64_t>::max() / 2);
  step.Kernel({.writes = {x}});
  step.Kernel({.updates = {x}});
  EXPECT_EQ(ComputeLruCurve(step.Take()).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(LruCurve, NeverRisesWithCapacityAndNoKernelCostsMoreThanItsBytes) {
  const CostTable cost = ResNet50Step(2);
  const LruCurve curve = ComputeLruCurve(cost).value();
  EXPECT_EQ(curve.compulsory_bytes(), SumOfKernels(cost));
  int64_t previous = curve.compulsory_bytes();
  for (int64_t capacity = 1000; capacity < (int64_t{1} << 33); capacity += capacity / 3) {
    const int64_t traffic = curve.TrafficAt(capacity);
    EXPECT_LE(traffic, previous);
    previous = traffic;
    const std::vector<KernelTraffic> kernels = curve.KernelTrafficAt(capacity);
    EXPECT_EQ(Sum(kernels), traffic);
    for (size_t k = 0; k < kernels.size(); ++k) {
      EXPECT_LE(kernels[k].fetched_bytes, cost.kernels[k].read_bytes);
      EXPECT_LE(kernels[k].written_bytes, cost.kernels[k].write_bytes);
    }
  }
  EXPECT_EQ(previous, curve.minimum_bytes());
}

}  // namespace
}  // namespace reusescope
