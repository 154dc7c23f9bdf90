// Data parallelism against hand-computed schedules: a step of two layers whose numbers are round.

#include "analysis/measure/scale_out.h"

#include <cmath>
#include <utility>

#include "analysis/measure/elasticity.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

constexpr double kSecond = 1e9;  // bytes: the device below moves so many in a second

// Forward of two layers 1 s each, backward 2 s each (the second layer first), update 1 s each. Parameters of 100 MB.
CostTable TwoLayers() {
  CostTable cost;
  cost.storages = {{.kind = ValueKind::kParameter, .bytes = 100'000'000, .persistent = true},
                   {.kind = ValueKind::kParameter, .bytes = 100'000'000, .persistent = true},
                   {.kind = ValueKind::kGradient, .parameter_gradient = true, .bytes = 100'000'000},
                   {.kind = ValueKind::kGradient, .parameter_gradient = true, .bytes = 100'000'000}};
  const auto add = [&cost](Phase phase, double seconds, StorageId reads, StorageId writes) {
    KernelCost kernel{.phase = phase, .read_bytes = static_cast<int64_t>(seconds * kSecond)};
    kernel.first_touch = static_cast<int32_t>(cost.touches.size());
    if (reads >= 0) cost.touches.push_back({.storage = reads, .bytes = 100'000'000, .reads = true});
    if (writes >= 0) cost.touches.push_back({.storage = writes, .bytes = 100'000'000, .writes = true});
    kernel.num_touches = static_cast<int32_t>(cost.touches.size()) - kernel.first_touch;
    cost.kernels.push_back(kernel);
  };
  add(Phase::kForward, 1, 0, -1);
  add(Phase::kForward, 1, 1, -1);
  add(Phase::kBackward, 2, 1, 3);
  add(Phase::kBackward, 2, 0, 2);
  add(Phase::kUpdate, 1, 2, 0);
  add(Phase::kUpdate, 1, 3, 1);
  return cost;
}

RooflineDevice Device() {
  return {.name = "test",
          .matrix_flops_per_second = 1e12,
          .matrix_peak_flops_per_second = 1e12,
          .vector_flops_per_second = 1e12,
          .bandwidth_bytes_per_second = kSecond};
}

ScaleOutTime RunScaleOut(const ScaleOutOptions& options) {
  const absl::StatusOr<ScaleOutTime> time = ComputeScaleOut(TwoLayers(), Device(), options);
  EXPECT_TRUE(time.ok()) << time.status();
  return time.value_or(ScaleOutTime());
}

TEST(ScaleOutTest, OneDeviceIsTheStepAlone) {
  EXPECT_DOUBLE_EQ(RunScaleOut({.devices = 1}).step_seconds, 8);
  EXPECT_DOUBLE_EQ(RunScaleOut({.devices = 1}).communication_seconds, 0);
}

// A ring of 4: 2 * 3 / 4 * 100 MB at 75 MB/s = 2 s for each layer's gradient. The first leaves at 4 s, beside the
// second layer's backward; the second at 6 s, when the link is free again, and is exposed for its 2 s.
TEST(ScaleOutTest, AllReduceRunsBesideBackward) {
  const ScaleOutTime time = RunScaleOut({.devices = 4, .link_bytes_per_second = 75e6});
  EXPECT_DOUBLE_EQ(time.communication_seconds, 4);
  EXPECT_DOUBLE_EQ(time.step_seconds, 6 + 2 + 2);
  EXPECT_DOUBLE_EQ(time.exposed_seconds, 2);
}

// In one bucket both gradients wait for the end of backward.
TEST(ScaleOutTest, OneBucketHidesNothing) {
  const ScaleOutTime time =
      RunScaleOut({.devices = 4, .link_bytes_per_second = 75e6, .bucket_bytes = int64_t{1} << 30});
  EXPECT_DOUBLE_EQ(time.step_seconds, 6 + 4 + 2);
}

// Stage 2: reduce-scatters of 1 s under and behind backward, a quarter of the update, an all-gather of 200 MB in 2 s.
TEST(ScaleOutTest, StageTwoScattersAndGathers) {
  const ScaleOutTime time = RunScaleOut({.devices = 4, .zero_stage = 2, .link_bytes_per_second = 75e6});
  EXPECT_DOUBLE_EQ(time.step_seconds, 6 + 1 + 0.5 + 2);
  EXPECT_DOUBLE_EQ(time.communication_seconds, 2 + 2);
}

// Stage 3: forward waits for the gather of 200 MB (2 s, as long as it runs); behind it as stage 0, an eighth less
// update.
TEST(ScaleOutTest, StageThreeGathersAhead) {
  const ScaleOutTime time = RunScaleOut({.devices = 4, .zero_stage = 3, .link_bytes_per_second = 75e6});
  EXPECT_DOUBLE_EQ(time.step_seconds, 6 + 2 + 0.5);
}

// NCCL's tests call S bytes in t seconds an algorithm bandwidth of S / t, and 2 (n - 1) / n of that the bus bandwidth,
// which is the link's whatever n is (nccl-tests, doc/PERFORMANCE.md, AllReduce; (n - 1) / n for its two halves).
TEST(ScaleOutTest, BusBandwidthIsTheLinks) {
  constexpr double kLink = 75e6, kGradientBytes = 200e6;
  for (int64_t devices : {2, 3, 8, 64}) {
    const auto n = static_cast<double>(devices);
    const auto busy = [&](int stage) {
      return RunScaleOut({.devices = devices, .zero_stage = stage, .link_bytes_per_second = kLink})
          .communication_seconds;
    };
    EXPECT_NEAR(kGradientBytes / busy(0) * 2 * (n - 1) / n, kLink, 1e-6 * kLink);
    // A reduce-scatter of the gradients and an all-gather of as many bytes of parameters.
    EXPECT_NEAR(2 * kGradientBytes / busy(2) * (n - 1) / n, kLink, 1e-6 * kLink);
  }
}

// Rajbhandari et al. 2020, section 7: stages 1 and 2 send as much as plain data parallelism, 2 psi, stage 3 sends 3
// psi.
TEST(ScaleOutTest, StagesSendWhatTheZeroPaperSays) {
  const auto busy = [](int stage) {
    return RunScaleOut({.devices = 16, .zero_stage = stage, .link_bytes_per_second = 75e6}).communication_seconds;
  };
  EXPECT_NEAR(busy(1) / busy(0), 1, 1e-12);
  EXPECT_NEAR(busy(2) / busy(0), 1, 1e-12);
  EXPECT_NEAR(busy(3) / busy(0), 1.5, 1e-12);
}

TEST(ScaleOutTest, AFasterLinkNeverHurts) {
  for (int stage = 0; stage <= kMaxZeroStage; ++stage) {
    double before = INFINITY;
    for (double link = 1e6; link < 1e12; link *= 3) {
      const double now = RunScaleOut({.devices = 8, .zero_stage = stage, .link_bytes_per_second = link}).step_seconds;
      EXPECT_LE(now, before);
      before = now;
    }
  }
}

TEST(ScaleOutTest, RefusesWhatMakesNoSense) {
  EXPECT_FALSE(ComputeScaleOut(TwoLayers(), Device(), {.devices = 0}).ok());
  EXPECT_FALSE(ComputeScaleOut(TwoLayers(), Device(), {.devices = 2}).ok());
  EXPECT_FALSE(ComputeScaleOut(TwoLayers(), Device(), {.zero_stage = 4}).ok());
}

TEST(ZeroShareTest, DividesMoreFromStageToStage) {
  const auto devices_of = [](int stage, MemoryKind kind) {
    return ZeroShare(TwoLayers(), stage, 8, false).devices[static_cast<int>(kind)];
  };
  EXPECT_EQ(devices_of(0, MemoryKind::kOptimizerState), 1);
  EXPECT_EQ(devices_of(1, MemoryKind::kOptimizerState), 8);
  EXPECT_EQ(devices_of(1, MemoryKind::kParameterGradient), 1);
  EXPECT_EQ(devices_of(2, MemoryKind::kParameterGradient), 8);
  EXPECT_EQ(devices_of(2, MemoryKind::kParameter), 1);
  EXPECT_EQ(devices_of(3, MemoryKind::kParameter), 8);
  EXPECT_EQ(ZeroShare(TwoLayers(), 3, 8, false).extra_bytes, 100'000'000);
  // Under amp the 32-bit masters go with the optimizer.
  EXPECT_EQ(ZeroShare(TwoLayers(), 1, 8, true).devices[static_cast<int>(MemoryKind::kParameter)], 8);
}

// Rajbhandari et al. 2020, figure 1: 7.5 billion parameters in mixed precision with Adam, on 64 devices: 120 GB without
// ZeRO, then 31.4, 16.6 and 1.9 GB. A parameter has 2 bytes as forward reads it, 2 of gradient, 4 of master weight, 8
// of optimizer states.
TEST(ZeroShareTest, GivesTheTableOfTheZeroPaper) {
  constexpr double kParameters = 7.5e9;
  constexpr double kBytes[] = {120.0, 31.4, 16.6, 1.9};
  for (int stage = 0; stage <= kMaxZeroStage; ++stage) {
    const MemoryShare share = ZeroShare(TwoLayers(), stage, 64, /*master_weights=*/true);
    double gigabytes = 0;
    for (const auto& [kind, bytes] :
         {std::pair(MemoryKind::kWeightCopy, 2), std::pair(MemoryKind::kParameterGradient, 2),
          std::pair(MemoryKind::kParameter, 4), std::pair(MemoryKind::kOptimizerState, 8)}) {
      gigabytes += bytes * kParameters / static_cast<double>(share.devices[static_cast<int>(kind)]) / 1e9;
    }
    EXPECT_NEAR(gigabytes, kBytes[stage], 0.05) << "stage " << stage;
  }
}

// Everything here waits for memory: a tenth more bandwidth takes 1 - 1 / 1.1 of the time away, more compute nothing.
TEST(ElasticityTest, FollowsTheBound) {
  const absl::StatusOr<Elasticity> elasticity = ComputeElasticity(TwoLayers(), Device());
  ASSERT_TRUE(elasticity.ok()) << elasticity.status();
  EXPECT_DOUBLE_EQ(elasticity->compute, 0);
  EXPECT_NEAR(elasticity->bandwidth, 1 / 1.1 - 1, 1e-12);
}

}  // namespace
}  // namespace reusescope
