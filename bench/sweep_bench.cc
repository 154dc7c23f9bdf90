// Points of a design space per second, on the training step of ResNet-50 at batch 32.
//
//   build/release/bench/sweep_bench

#include <random>
#include <string>
#include <vector>

#include "analysis/measure/roofline.h"
#include "analysis/measure/time_surface.h"
#include "analysis/pipeline.h"
#include "benchmark/benchmark.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

struct Step {
  Analysis analysis;
  RooflineDevice device;
};

const Step& ResNet50() {
  static const Step* const step = [] {
    AnalysisOptions options;
    options.shapes.batch = 32;
    return new Step{Analyze(LoadModel(REUSESCOPE_SOURCE_DIR "/models/resnet50.onnx").value(), options).value(),
                    RatesOf(FindDevice("a100-sxm-80gb").value(), PrecisionMode::kFp32, {}).value()};
  }();
  return *step;
}

std::vector<DesignRates> RandomRates(size_t count) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> bandwidth(0.1e12, 8e12), speedup(0.1, 10);
  std::vector<DesignRates> rates(count);
  for (DesignRates& point : rates) point = {bandwidth(random), speedup(random)};
  return rates;
}

// One point at a time, in no order.
void Points(benchmark::State& state) {
  const Step& step = ResNet50();
  const TimeSurface surface(LoadsAt(step.analysis.cost, step.analysis.managed.KernelTrafficAt(40 << 20), step.device));
  const std::vector<DesignRates> rates = RandomRates(4096);
  for (auto _ : state) {
    double sum = 0;
    for (const DesignRates& point : rates) sum += surface.StepSeconds(point);
    benchmark::DoNotOptimize(sum);
  }
  state.counters["points_per_second"] =
      benchmark::Counter(static_cast<double>(rates.size()), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(Points)->Unit(benchmark::kMicrosecond);

// What a capacity costs before its plane can be asked: traffic and a sort.
void Surface(benchmark::State& state) {
  const Step& step = ResNet50();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        TimeSurface(LoadsAt(step.analysis.cost, step.analysis.managed.KernelTrafficAt(40 << 20), step.device)));
  }
}
BENCHMARK(Surface)->Unit(benchmark::kMicrosecond);

// With transfers ahead of use and stalls, kernel by kernel.
void StallAwarePoints(benchmark::State& state) {
  const Step& step = ResNet50();
  constexpr int64_t kCapacity = 40 << 20;
  const std::vector<KernelTraffic> traffic = step.analysis.managed.KernelTrafficAt(kCapacity);
  const std::vector<int64_t> held = step.analysis.managed.HeldBytesAt(kCapacity);
  std::vector<PrefetchKernel> kernels(traffic.size());
  for (size_t k = 0; k < kernels.size(); ++k) {
    kernels[k] = {ComputeSeconds(step.analysis.cost.kernels[k], step.device), traffic[k].fetched_bytes,
                  traffic[k].written_bytes, held[k]};
  }
  const std::vector<DesignRates> rates = RandomRates(64);
  for (auto _ : state) {
    for (const DesignRates& point : rates) {
      benchmark::DoNotOptimize(
          SimulatePrefetch(kernels, kCapacity, point.bandwidth_bytes_per_second, point.speedup).step_seconds);
    }
  }
  state.counters["points_per_second"] =
      benchmark::Counter(static_cast<double>(rates.size()), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(StallAwarePoints)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace reusescope

BENCHMARK_MAIN();
