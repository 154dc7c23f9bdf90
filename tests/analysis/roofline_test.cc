// The roofline on kernels whose numbers are published, and what must hold on any device.

#include "analysis/measure/roofline.h"

#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/analysis/cache_access_lists.h"

namespace reusescope {
namespace {

// NVIDIA's V100 as its matrix-multiplication guide computes with it: 125 TFLOP/s, 900 GB/s.
RooflineDevice V100() {
  return {.name = "V100",
          .matrix_flops_per_second = 125e12,
          .matrix_peak_flops_per_second = 125e12,
          .vector_flops_per_second = 15.7e12,
          .bandwidth_bytes_per_second = 900e9,
          .peak_bandwidth_bytes_per_second = 900e9,
          .on_chip_bytes = 6 << 20};
}

Roofline RooflineOf(const CostTable& cost, const RooflineDevice& device, int64_t batch = 1) {
  const LruCurve lru = ComputeLruCurve(cost).value();
  const ManagedCurve managed = ComputeManagedCurve(cost, lru).value();
  absl::StatusOr<Roofline> roofline = ComputeRoofline(cost, lru, managed, device, {.batch = batch});
  EXPECT_TRUE(roofline.ok()) << roofline.status();
  return *std::move(roofline);
}

// One product [m, k] * [k, n] in 16 bits.
CostTable Product(int64_t m, int64_t n, int64_t k) {
  StepBuilder step;
  const StorageId a = step.Input(2 * m * k), b = step.Parameter(2 * k * n), c = step.Storage(2 * m * n, true);
  step.Kernel({.reads = {a, b}, .writes = {c}, .contraction_flops = 2 * m * n * k});
  return step.Take();
}

// One kernel that reads and writes so many bytes, with that much other arithmetic.
CostTable Elementwise(int64_t read_bytes, int64_t write_bytes, int64_t flops, int64_t transcendentals = 0) {
  StepBuilder step;
  const StorageId x = step.Input(read_bytes), y = step.Storage(write_bytes, true);
  step.Kernel({.reads = {x}, .writes = {y}, .other_flops = flops, .transcendentals = transcendentals});
  return step.Take();
}

// Linear layers: NVIDIA, "GPU Performance Background User's Guide", table 1 (315 and 1 FLOPS/B on V100).
// Products: NVIDIA, "Matrix Multiplication Background User's Guide", section 2 (124.1, 2730, less than 1).
struct PublishedProduct {
  int64_t m, n, k;
  double intensity;
  Bound bound;
};
void PrintTo(const PublishedProduct& product, std::ostream* os) {
  *os << product.m << "x" << product.n << "x" << product.k;
}
class PublishedProducts : public testing::TestWithParam<PublishedProduct> {};

TEST_P(PublishedProducts, HaveTheirIntensityAndBound) {
  const PublishedProduct& product = GetParam();
  const Roofline roofline = RooflineOf(Product(product.m, product.n, product.k), V100());
  EXPECT_NEAR(roofline.kernels[0].intensity_flops_per_byte, product.intensity, 0.005 * product.intensity);
  EXPECT_EQ(roofline.kernels[0].Headline().bound, product.bound);
}

INSTANTIATE_TEST_SUITE_P(Nvidia, PublishedProducts,
                         testing::Values(PublishedProduct{512, 4096, 1024, 315.08, Bound::kCompute},
                                         PublishedProduct{512, 4096, 2014, 371.22, Bound::kCompute},
                                         PublishedProduct{1, 4096, 1024, 0.9988, Bound::kMemory},
                                         PublishedProduct{8192, 128, 8192, 124.12, Bound::kMemory},
                                         PublishedProduct{8192, 8192, 8192, 2730.67, Bound::kCompute},
                                         PublishedProduct{8192, 1, 8192, 0.99976, Bound::kMemory}));

TEST(Roofline, LinearLayerIsExactToTheFormula) {
  const Roofline roofline = RooflineOf(Product(512, 4096, 1024), V100());
  EXPECT_DOUBLE_EQ(roofline.kernels[0].intensity_flops_per_byte,
                   2.0 * 512 * 4096 * 1024 / (2.0 * (512 * 1024 + 1024 * 4096 + 512 * 4096)));
}

TEST(Roofline, ReluHasAQuarterFlopPerByte) {
  const Roofline roofline = RooflineOf(Elementwise(2 * 1000, 2 * 1000, 1000), V100());
  EXPECT_DOUBLE_EQ(roofline.kernels[0].intensity_flops_per_byte, 0.25);
  EXPECT_EQ(roofline.kernels[0].Headline().bound, Bound::kMemory);
  EXPECT_DOUBLE_EQ(roofline.Headline().memory_bound_share, 1.0);
}

TEST(Roofline, MaxPool3x3HasTwoAndAQuarterFlopsPerByte) {
  // Stride 1 with padding: as many outputs as inputs.
  const Roofline roofline = RooflineOf(Elementwise(2 * 4096, 2 * 4096, 9 * 4096), V100());
  EXPECT_DOUBLE_EQ(roofline.kernels[0].intensity_flops_per_byte, 2.25);
}

TEST(Roofline, RidgePointOfV100) { EXPECT_NEAR(V100().ridge_flops_per_byte(), 138.9, 0.05); }

TEST(Roofline, SecondsFollowTheFormula) {
  const RooflineDevice device = V100();
  const Roofline product = RooflineOf(Product(8192, 8192, 8192), device);
  EXPECT_DOUBLE_EQ(product.Headline().step_seconds, 2.0 * 8192 * 8192 * 8192 / 125e12);
  EXPECT_DOUBLE_EQ(product.Headline().matrix_utilization, 1.0);
  const Roofline relu = RooflineOf(Elementwise(4000, 4000, 1000), device, /*batch=*/32);
  EXPECT_DOUBLE_EQ(relu.Headline().step_seconds, 8000 / 900e9);
  EXPECT_DOUBLE_EQ(relu.Headline().samples_per_second, 32 * 900e9 / 8000);
  EXPECT_DOUBLE_EQ(relu.Headline().average_bandwidth_bytes_per_second, 900e9);
  EXPECT_DOUBLE_EQ(relu.Headline().compute_utilization, (1000 / 15.7e12) / (8000 / 900e9));
}

TEST(Roofline, ATranscendentalTakesTheTimeOfEightFlops) {
  const Roofline roofline = RooflineOf(Elementwise(4, 4, 1'000'000, 1'000'000), V100());
  EXPECT_DOUBLE_EQ(roofline.Headline().step_seconds, 9e6 / 15.7e12);
  EXPECT_EQ(roofline.kernels[0].Headline().bound, Bound::kCompute);
  EXPECT_DOUBLE_EQ(roofline.kernels[0].intensity_flops_per_byte, 1e6 / 8) << "and is no FLOP of the intensity";
}

TEST(Roofline, UnknownArithmeticTakesTheTimeOfItsBytes) {
  CostTable cost = Elementwise(500, 400, 0);
  cost.kernels[0].known = false;
  const Roofline roofline = RooflineOf(cost, V100());
  EXPECT_DOUBLE_EQ(roofline.Headline().step_seconds, 900 / 900e9);
  EXPECT_EQ(roofline.kernels[0].Headline().bound, Bound::kMemory);
}

TEST(Roofline, SumsOfPhasesAreTheStep) {
  const CostTable cost = ResNet50Step(8);
  const Roofline roofline = RooflineOf(cost, V100(), 8);
  for (const StepTime& step : roofline.under) {
    double seconds = 0, memory_bound = 0;
    int64_t traffic = 0;
    EXPECT_EQ(step.phases[static_cast<size_t>(Phase::kRecompute)].seconds, 0) << "nothing is recomputed";
    for (const PhaseTime& phase : step.phases) {
      seconds += phase.seconds;
      memory_bound += phase.memory_bound_seconds;
      traffic += phase.traffic_bytes;
    }
    EXPECT_DOUBLE_EQ(step.step_seconds, seconds);
    EXPECT_DOUBLE_EQ(step.memory_bound_share, memory_bound / seconds);
    EXPECT_EQ(step.traffic_bytes, traffic);
  }
  EXPECT_EQ(roofline.Headline().traffic_bytes, ComputeLruCurve(cost)->compulsory_bytes());
}

// Managed is below LRU in traffic; that every kernel fetches is an upper bound of both, in time too.
TEST(Roofline, TrafficModelsAreOrdered) {
  for (const CostTable& cost : {ResNet50Step(2), Vgg16Step(2)}) {
    RooflineDevice device = V100();
    for (int64_t on_chip = 0; on_chip < (int64_t{1} << 32); on_chip = 3 * on_chip + 1'000'000) {
      device.on_chip_bytes = on_chip;
      const Roofline roofline = RooflineOf(cost, device);
      const StepTime& every = roofline.Under(TrafficModel::kEveryKernelFetches);
      const StepTime& lru = roofline.Under(TrafficModel::kLru);
      const StepTime& managed = roofline.Under(TrafficModel::kManaged);
      EXPECT_LE(managed.traffic_bytes, lru.traffic_bytes);
      EXPECT_LE(lru.traffic_bytes, every.traffic_bytes);
      EXPECT_LE(lru.step_seconds, every.step_seconds * (1 + 1e-12));
      EXPECT_LE(managed.step_seconds, every.step_seconds * (1 + 1e-12));
      for (const KernelTime& kernel : roofline.kernels) {
        for (const KernelBound& bound : kernel.under) EXPECT_LE(bound.seconds, kernel.under[0].seconds);
      }
    }
  }
}

TEST(Roofline, TimeNeverRisesWithBandwidthOrThroughput) {
  const CostTable cost = ResNet50Step(4);
  RooflineDevice device = V100();
  Roofline previous = RooflineOf(cost, device);
  for (int i = 0; i < 12; ++i) {
    double& rate = i % 3 == 0   ? device.bandwidth_bytes_per_second
                   : i % 3 == 1 ? device.matrix_flops_per_second
                                : device.vector_flops_per_second;
    rate *= 1.7;
    device.matrix_peak_flops_per_second = device.matrix_flops_per_second;
    Roofline next = RooflineOf(cost, device);
    for (int model = 0; model < kNumTrafficModels; ++model) {
      EXPECT_LE(next.under[model].step_seconds, previous.under[model].step_seconds);
    }
    EXPECT_LE(next.prefetch.step_seconds, previous.prefetch.step_seconds * (1 + 1e-12));
    previous = std::move(next);
  }
}

TEST(Roofline, TimeUnderLruNeverRisesWithOnChipMemoryAndTrafficUnderNeither) {
  const CostTable cost = ResNet50Step(4);
  RooflineDevice device = V100();
  double lru_seconds = std::numeric_limits<double>::infinity();
  int64_t lru = std::numeric_limits<int64_t>::max(), managed = lru;
  for (device.on_chip_bytes = 0; device.on_chip_bytes < (int64_t{1} << 33);
       device.on_chip_bytes = 2 * device.on_chip_bytes + 500'000) {
    const Roofline roofline = RooflineOf(cost, device);
    EXPECT_LE(roofline.Under(TrafficModel::kLru).step_seconds, lru_seconds);
    EXPECT_LE(roofline.Under(TrafficModel::kLru).traffic_bytes, lru);
    EXPECT_LE(roofline.Under(TrafficModel::kManaged).traffic_bytes, managed);
    lru_seconds = roofline.Under(TrafficModel::kLru).step_seconds;
    lru = roofline.Under(TrafficModel::kLru).traffic_bytes;
    managed = roofline.Under(TrafficModel::kManaged).traffic_bytes;
  }
}

TEST(Roofline, SharesStayWithinOne) {
  for (double slower : {1e-6, 1e-3, 1.0, 1e3, 1e6}) {
    RooflineDevice device = V100();
    device.bandwidth_bytes_per_second *= slower;
    const Roofline roofline = RooflineOf(ResNet50Step(1), device);
    for (const StepTime& step : roofline.under) {
      EXPECT_GT(step.compute_utilization, 0);
      EXPECT_LE(step.compute_utilization, 1);
      EXPECT_LE(step.matrix_utilization, step.compute_utilization * (1 + 1e-12));
      EXPECT_GE(step.memory_bound_share, 0);
      EXPECT_LE(step.memory_bound_share, 1);
      EXPECT_LE(step.average_bandwidth_bytes_per_second, device.bandwidth_bytes_per_second * (1 + 1e-12));
    }
  }
}

TEST(Roofline, PrefetchIsBetweenTheLargerAndTheSumOfComputeAndTransfer) {
  for (int64_t on_chip : {int64_t{0}, int64_t{1} << 20, int64_t{40} << 20, int64_t{1} << 32}) {
    RooflineDevice device = V100();
    device.on_chip_bytes = on_chip;
    const Roofline roofline = RooflineOf(ResNet50Step(4), device);
    const PrefetchTimes& prefetch = roofline.prefetch;
    EXPECT_GE(prefetch.step_seconds * (1 + 1e-9), std::max(prefetch.compute_seconds, prefetch.transfer_seconds));
    EXPECT_LE(prefetch.step_seconds * (1 - 1e-9), prefetch.compute_seconds + prefetch.transfer_seconds);
    for (const PrefetchSample& sample : prefetch.kernels) EXPECT_LE(sample.buffer_bytes, on_chip);
  }
}

TEST(Roofline, RatesThatAreNotPositiveAreAnError) {
  const CostTable cost = Elementwise(1, 1, 1);
  const LruCurve lru = ComputeLruCurve(cost).value();
  const ManagedCurve managed = ComputeManagedCurve(cost, lru).value();
  for (double RooflineDevice::*rate :
       {&RooflineDevice::matrix_flops_per_second, &RooflineDevice::vector_flops_per_second,
        &RooflineDevice::bandwidth_bytes_per_second}) {
    for (double bad : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
      RooflineDevice device = V100();
      device.*rate = bad;
      EXPECT_EQ(ComputeRoofline(cost, lru, managed, device, {}).status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
  EXPECT_EQ(ComputeRoofline(cost, lru, managed, V100(), {.batch = -1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ComputeRoofline(Vgg16Step(1), lru, managed, V100(), {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(RatesOf, ThreeNumbersServeForEverything) {
  const Hardware hardware = ParseThreeNumbers("capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s").value();
  const RooflineDevice device = RatesOf(hardware, PrecisionMode::kBf16, {}).value();
  EXPECT_EQ(device.on_chip_bytes, int64_t{96} << 20);
  EXPECT_DOUBLE_EQ(device.bandwidth_bytes_per_second, 1e12);
  EXPECT_DOUBLE_EQ(device.matrix_flops_per_second, 100e12);
  EXPECT_DOUBLE_EQ(device.vector_flops_per_second, 100e12);
  EXPECT_DOUBLE_EQ(device.ridge_flops_per_byte(), 100);
  EXPECT_FALSE(device.memory_bytes.has_value());
}

TEST(RatesOf, AchievableFractionIsAppliedUnlessBarePeakIsAsked) {
  const Hardware a100 = FindDevice("a100-sxm-80gb").value();
  const RooflineDevice device = RatesOf(a100, PrecisionMode::kAmpBf16, {}).value();
  const RooflineDevice bare = RatesOf(a100, PrecisionMode::kAmpBf16, {.bare_peak = true}).value();
  ASSERT_TRUE(device.matrix_fraction.has_value());
  EXPECT_DOUBLE_EQ(device.matrix_flops_per_second, *device.matrix_fraction * device.matrix_peak_flops_per_second);
  EXPECT_LT(device.matrix_flops_per_second, bare.matrix_flops_per_second);
  EXPECT_DOUBLE_EQ(bare.matrix_flops_per_second, 312e12);
  EXPECT_FALSE(bare.matrix_fraction.has_value());
  EXPECT_TRUE(bare.bare_peak);
  EXPECT_FALSE(device.bare_peak);
  EXPECT_DOUBLE_EQ(bare.vector_flops_per_second, 19.5e12);
}

TEST(RatesOf, MissingArithmeticIsAnError) {
  const Hardware v100 = FindDevice("v100-sxm2-32gb").value();
  EXPECT_EQ(RatesOf(v100, PrecisionMode::kBf16, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(RatesOf(v100, PrecisionMode::kFp16, {}).ok());
}

}  // namespace
}  // namespace reusescope
