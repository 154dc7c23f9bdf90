// How long a checkpoint plan takes: `reusescope plan` without the mixed-integer program, half way between the least
// memory and what keeping everything takes.
//
//   build/release/bench/plan_bench

#include <string>

#include "analysis/plan/checkpoint_plan.h"
#include "benchmark/benchmark.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

void Plan(benchmark::State& state, const char* name, int64_t batch) {
  const std::string file = std::string(REUSESCOPE_SOURCE_DIR "/models/") + name;
  AnalysisOptions options;
  options.shapes.batch = batch;
  for (auto _ : state) {
    const Planner planner = Planner::Make([&file] { return LoadModel(file); }, options, std::nullopt).value();
    const int64_t memory = (planner.least_bytes() + planner.keep_all_bytes()) / 2;
    benchmark::DoNotOptimize(planner.Plan(memory, {.program = false}).value());
  }
}
BENCHMARK_CAPTURE(Plan, resnet50, "resnet50.onnx", 32)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Plan, gpt2, "gpt2.dynamo18.eval.onnx", 4)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Plan, vit, "vit_b_16.ts17.train.onnx", 32)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace reusescope

BENCHMARK_MAIN();
