// Transfers ahead of use: worked examples, and the bounds that hold for any step.

#include "analysis/measure/prefetch.h"

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace reusescope {
namespace {

constexpr int64_t kPlenty = std::numeric_limits<int64_t>::max() / 4;

std::vector<PrefetchKernel> RandomKernels(std::mt19937& random, int64_t capacity) {
  auto pick = [&random](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  std::vector<PrefetchKernel> kernels(pick(1, 40));
  for (PrefetchKernel& kernel : kernels) {
    kernel = {.compute_seconds = static_cast<double>(pick(0, 50)),
              .fetched_bytes = pick(0, 2) == 0 ? 0 : pick(1, 60),
              .written_bytes = pick(0, 2) == 0 ? 0 : pick(1, 60),
              .held_bytes = pick(0, capacity)};
  }
  return kernels;
}

TEST(Prefetch, FetchOfTheNextKernelHidesBehindThisOne) {
  // 10 s of fetch each, 10 s of arithmetic each. The first fetch streams, the second comes while the first kernel runs.
  const std::vector<PrefetchKernel> kernels = {{10, 10, 0, 0}, {10, 10, 0, 0}, {10, 10, 0, 0}};
  const PrefetchTimes times = SimulatePrefetch(kernels, kPlenty, 1.0);
  EXPECT_DOUBLE_EQ(times.step_seconds, 30);
  EXPECT_DOUBLE_EQ(times.stall_seconds, 0);
  EXPECT_DOUBLE_EQ(times.compute_seconds, 30);
  EXPECT_DOUBLE_EQ(times.transfer_seconds, 30);
}

TEST(Prefetch, StallsOnlyForWhatHasNotArrived) {
  // The second kernel's 25 bytes start when the first fetch is done, at 1, and end at 26; it could have ended at 20.
  const std::vector<PrefetchKernel> kernels = {{10, 1, 0, 0}, {10, 25, 0, 0}};
  const PrefetchTimes times = SimulatePrefetch(kernels, kPlenty, 1.0);
  EXPECT_DOUBLE_EQ(times.step_seconds, 26);
  EXPECT_DOUBLE_EQ(times.stall_seconds, 6);
  EXPECT_DOUBLE_EQ(times.kernels[1].stall_seconds, 6);
}

TEST(Prefetch, WaitsForSpace) {
  // As above, but what the first kernel keeps on chip leaves room for nothing: the fetch starts after it, and streams.
  const std::vector<PrefetchKernel> kernels = {{10, 1, 0, 20}, {10, 25, 0, 0}};
  EXPECT_DOUBLE_EQ(SimulatePrefetch(kernels, 26, 1.0).step_seconds, 35);
  EXPECT_DOUBLE_EQ(SimulatePrefetch(kernels, 46, 1.0).step_seconds, 26);
}

TEST(Prefetch, WriteBackDrainsWhileTheNextKernelRuns) {
  const std::vector<PrefetchKernel> kernels = {{10, 0, 8, 0}, {10, 0, 0, 0}};
  EXPECT_DOUBLE_EQ(SimulatePrefetch(kernels, 8, 1.0).step_seconds, 20);
  // The step ends when everything is written.
  EXPECT_DOUBLE_EQ(SimulatePrefetch({{10, 0, 8, 0}}, 8, 1.0).step_seconds, 18);
  // No room to wait in: it streams out while the kernel runs, which takes at least as long.
  EXPECT_DOUBLE_EQ(SimulatePrefetch({{10, 0, 25, 0}, {10, 0, 0, 0}}, 8, 1.0).step_seconds, 35);
}

TEST(Prefetch, NothingOnChipIsTheRooflineOfEachKernel) {
  // Without space nothing is fetched ahead and nothing waits: max(compute, transfer) one after the other.
  const std::vector<PrefetchKernel> kernels = {{10, 4, 5, 0}, {3, 10, 2, 0}, {7, 0, 0, 0}, {1, 0, 20, 0}};
  EXPECT_DOUBLE_EQ(SimulatePrefetch(kernels, 0, 1.0).step_seconds, 10 + 12 + 7 + 20);
}

TEST(Prefetch, EmptyStepTakesNoTime) {
  const PrefetchTimes times = SimulatePrefetch({}, 100, 1.0);
  EXPECT_EQ(times.step_seconds, 0);
  EXPECT_TRUE(times.kernels.empty());
}

TEST(Prefetch, IsBetweenTheLargerAndTheSumOfComputeAndTransfer) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const int64_t capacity = i % 200;
    const std::vector<PrefetchKernel> kernels = RandomKernels(random, capacity);
    const PrefetchTimes times = SimulatePrefetch(kernels, capacity, 1.5);
    constexpr double kRounding = 1e-9;
    ASSERT_GE(times.step_seconds * (1 + kRounding), std::max(times.compute_seconds, times.transfer_seconds)) << i;
    ASSERT_LE(times.step_seconds * (1 - kRounding), times.compute_seconds + times.transfer_seconds) << i;
  }
}

TEST(Prefetch, NeverHoldsMoreThanTheCapacity) {
  std::mt19937 random(2);
  bool used = false;
  for (int i = 0; i < 2000; ++i) {
    const int64_t capacity = i % 200;
    const std::vector<PrefetchKernel> kernels = RandomKernels(random, capacity);
    const PrefetchTimes times = SimulatePrefetch(kernels, capacity, 3.0);
    double end = 0;
    for (size_t k = 0; k < kernels.size(); ++k) {
      const PrefetchSample& sample = times.kernels[k];
      ASSERT_LE(sample.buffer_bytes, capacity) << "list " << i << ", kernel " << k;
      ASSERT_GE(sample.buffer_bytes, kernels[k].held_bytes);
      ASSERT_GE(sample.start_seconds, end) << "kernels run one after the other";
      ASSERT_GE(sample.end_seconds - sample.start_seconds, kernels[k].compute_seconds - 1e-9);
      end = sample.end_seconds;
      used |= sample.buffer_bytes > kernels[k].held_bytes;
    }
  }
  EXPECT_TRUE(used);
}

TEST(Prefetch, TimeNeverRisesWithBandwidthOrThroughput) {
  std::mt19937 random(3);
  for (int i = 0; i < 500; ++i) {
    const int64_t capacity = i % 200;
    std::vector<PrefetchKernel> kernels = RandomKernels(random, capacity);
    double previous = std::numeric_limits<double>::infinity();
    for (double bandwidth = 0.5; bandwidth < 40; bandwidth *= 1.37) {
      const double seconds = SimulatePrefetch(kernels, capacity, bandwidth).step_seconds;
      ASSERT_LE(seconds, previous * (1 + 1e-12)) << "list " << i << ", bandwidth " << bandwidth;
      previous = seconds;
    }
    for (int faster = 0; faster < 10; ++faster) {
      for (PrefetchKernel& kernel : kernels) kernel.compute_seconds *= 0.8;
      const double seconds = SimulatePrefetch(kernels, capacity, 40).step_seconds;
      ASSERT_LE(seconds, previous * (1 + 1e-9) + 1e-9) << "list " << i;
      previous = std::max(seconds, 0.0);
    }
  }
}

}  // namespace
}  // namespace reusescope
