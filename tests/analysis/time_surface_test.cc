#include "analysis/measure/time_surface.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/measure/roofline.h"
#include "analysis/pipeline.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

// The definition: a sum of maxima.
double DirectSum(const std::vector<KernelLoad>& kernels, const DesignRates& rates) {
  long double sum = 0;
  for (const KernelLoad& kernel : kernels) {
    sum += std::max(kernel.compute_seconds / rates.speedup,
                    static_cast<double>(kernel.traffic_bytes) / rates.bandwidth_bytes_per_second);
  }
  return static_cast<double>(sum);
}

std::vector<KernelLoad> RandomKernels(std::mt19937& random, int count) {
  std::vector<KernelLoad> kernels(count);
  for (KernelLoad& kernel : kernels) {
    // Some without traffic, some without arithmetic, some alike.
    if (random() % 8 != 0) kernel.compute_seconds = 1e-6 * static_cast<double>(random() % 1000);
    if (random() % 8 != 0) kernel.traffic_bytes = static_cast<int64_t>(random() % 1000) << (random() % 20);
  }
  return kernels;
}

TEST(TimeSurfaceTest, IsTheSumOfMaxima) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    const std::vector<KernelLoad> kernels = RandomKernels(random, static_cast<int>(random() % 300));
    const TimeSurface surface(kernels);
    for (int point = 0; point < 20; ++point) {
      const DesignRates rates = {.bandwidth_bytes_per_second = std::exp2(20 + random() % 25),
                                 .speedup = std::exp2(static_cast<double>(random() % 100) / 10 - 5)};
      const double expected = DirectSum(kernels, rates);
      EXPECT_NEAR(surface.StepSeconds(rates), expected, 1e-12 * expected);
      EXPECT_LE(surface.MemoryBoundSeconds(rates), surface.StepSeconds(rates) * (1 + 1e-15));
    }
  }
}

TEST(TimeSurfaceTest, OfNothingIsNoTime) {
  const TimeSurface surface({});
  EXPECT_EQ(surface.StepSeconds({1e12, 1}), 0);
  EXPECT_EQ(surface.BandwidthFor(1, 1), 0);
}

TEST(TimeSurfaceTest, MoreOfARateNeverTakesLonger) {
  std::mt19937 random(2);
  for (int round = 0; round < 50; ++round) {
    const TimeSurface surface(RandomKernels(random, 100));
    double before = std::numeric_limits<double>::infinity();
    for (double bandwidth = 1e6; bandwidth < 1e14; bandwidth *= 1.7) {
      const double now = surface.StepSeconds({bandwidth, 1});
      EXPECT_LE(now, before * (1 + 1e-14));
      EXPECT_LE(surface.StepSeconds({bandwidth, 1.1}), now * (1 + 1e-14));
      before = now;
    }
  }
}

TEST(TimeSurfaceTest, BandwidthForATimeGivesThatTime) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    const TimeSurface surface(RandomKernels(random, 100));
    const double seconds = surface.StepSeconds({1e9, 1});
    const double bandwidth = surface.BandwidthFor(seconds * (1 + 1e-9), 1);
    EXPECT_LE(surface.StepSeconds({bandwidth, 1}), seconds * (1 + 1e-6));
    EXPECT_LE(bandwidth, 1e9 * (1 + 1e-5));
    EXPECT_EQ(surface.BandwidthFor(surface.compute_seconds() * 0.5, 1), std::numeric_limits<double>::infinity());
  }
}

// The same numbers as the roofline of the whole analysis, under each traffic assumption.
TEST(TimeSurfaceTest, AgreesWithTheRooflineOfResNet50) {
  AnalysisOptions options;
  options.shapes.batch = 8;
  const Analysis analysis = Analyze(LoadModel(REUSESCOPE_SOURCE_DIR "/models/resnet50.onnx").value(), options).value();
  const RooflineDevice device =
      RatesOf(FindDevice("a100-sxm-80gb").value(), PrecisionMode::kFp32, {.bare_peak = true}).value();
  const Roofline roofline = ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, device, {}).value();
  for (int model = 0; model < kNumTrafficModels; ++model) {
    std::vector<KernelLoad> loads;
    for (const KernelTime& kernel : roofline.kernels) {
      loads.push_back({kernel.compute_seconds, kernel.under[model].traffic_bytes});
    }
    const TimeSurface surface(loads);
    const StepTime& step = roofline.under[model];
    const DesignRates rates = {device.bandwidth_bytes_per_second, 1};
    EXPECT_NEAR(surface.StepSeconds(rates), step.step_seconds, 1e-12 * step.step_seconds);
    EXPECT_NEAR(surface.MemoryBoundSeconds(rates), step.memory_bound_seconds, 1e-12 * step.step_seconds);
    EXPECT_EQ(surface.traffic_bytes(), static_cast<double>(step.traffic_bytes));
  }
}

}  // namespace
}  // namespace reusescope
