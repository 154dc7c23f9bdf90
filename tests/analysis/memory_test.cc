// Memory over the step: lives of hand-made storages, and what must hold on steps of real models.

#include "analysis/measure/memory.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/analysis/cache_access_lists.h"

namespace reusescope {
namespace {

using testing::ElementsAre;

// A graph with one float32 value for every storage of the table, of that many bytes, named s0, s1, ...
TrainingGraph GraphFor(CostTable& cost) {
  TrainingGraph training;
  Graph& graph = training.graph;
  for (size_t s = 0; s < cost.storages.size(); ++s) {
    const ValueId id = graph.AddValue(
        "s" + std::to_string(s), Type::Tensor(DType::kFloat32, {cost.storages[s].bytes / 4}), cost.storages[s].kind);
    graph.value(id).storage = static_cast<StorageId>(s);
    graph.storages.push_back({id});
    cost.storages[s].root = id;
  }
  return training;
}

MemoryTable MemoryOf(StepBuilder& step, PrecisionMode precision = PrecisionMode::kFp32) {
  CostTable cost = step.Take();
  const TrainingGraph training = GraphFor(cost);
  absl::StatusOr<MemoryTable> memory = ComputeMemory(training, cost, {.precision = precision});
  EXPECT_TRUE(memory.ok()) << memory.status();
  return *std::move(memory);
}

std::vector<int64_t> Totals(const MemoryTable& memory) {
  std::vector<int64_t> totals;
  for (const MemorySample& sample : memory.timeline) totals.push_back(sample.total_bytes);
  return totals;
}

int64_t At(const MemoryTable& memory, int kernel, MemoryKind kind) {
  return memory.timeline[kernel].bytes_by_kind[static_cast<int>(kind)];
}

TEST(Memory, ActivationLivesFromItsWriteToItsLastRead) {
  StepBuilder step;
  const StorageId a = step.Storage(40), b = step.Storage(400), c = step.Storage(4000), d = step.Storage(40000);
  step.Kernel({.writes = {a}});
  step.Kernel({.reads = {a}, .writes = {b}});
  step.Kernel({.reads = {b}, .writes = {c}});
  step.Kernel({.reads = {a, c}, .writes = {d}});
  const MemoryTable memory = MemoryOf(step);
  EXPECT_THAT(Totals(memory), ElementsAre(40, 40 + 400, 40 + 400 + 4000, 40 + 4000 + 40000));
  EXPECT_EQ(memory.peak_bytes, 44040);
  EXPECT_EQ(memory.peak_kernel, 3);
  ASSERT_EQ(memory.live_at_peak.size(), 3u);
  EXPECT_EQ(memory.live_at_peak[0].name, "s3");
  EXPECT_EQ(memory.live_at_peak[1].name, "s2");
  EXPECT_EQ(memory.live_at_peak[2].name, "s0");
  EXPECT_EQ(memory.live_at_peak[2].bytes, 40);
}

TEST(Memory, WhatIsNeverReadLivesWhileItIsWritten) {
  StepBuilder step;
  const StorageId x = step.Storage(4), dead = step.Storage(400), y = step.Storage(8);
  step.Kernel({.writes = {x}});
  step.Kernel({.reads = {x}, .writes = {dead}});
  step.Kernel({.writes = {y}});
  EXPECT_THAT(Totals(MemoryOf(step)), ElementsAre(4, 404, 8));
}

TEST(Memory, PersistentInputsAndKeptLiveToTheEnd) {
  StepBuilder step;
  const StorageId x = step.Input(4), w = step.Parameter(40), y = step.Storage(400);
  const StorageId dw = step.ParameterGradient(40), m = step.Parameter(80, ValueKind::kOptimizerState);
  const StorageId out = step.Storage(4000, /*kept_to_end=*/true);
  step.Kernel({.reads = {x, w}, .writes = {y}});
  step.Kernel({.reads = {y}, .writes = {out}});
  step.Kernel({.reads = {y}, .writes = {dw}, .phase = Phase::kBackward});
  step.Kernel({.reads = {dw}, .updates = {w, m}, .phase = Phase::kUpdate});
  const MemoryTable memory = MemoryOf(step);
  const int64_t always = 4 + 40 + 80;
  EXPECT_THAT(Totals(memory),
              ElementsAre(always + 400, always + 400 + 4000, always + 400 + 4000 + 40, always + 4000 + 40));
  EXPECT_EQ(memory.parameter_bytes, 40);
  EXPECT_EQ(memory.gradient_bytes, 40);
  EXPECT_EQ(memory.optimizer_state_bytes, 80);
  EXPECT_EQ(memory.input_bytes, 4);
  EXPECT_EQ(memory.weight_copy_bytes, 0);
  EXPECT_EQ(At(memory, 2, MemoryKind::kParameterGradient), 40);
  EXPECT_EQ(At(memory, 1, MemoryKind::kParameterGradient), 0);
  EXPECT_EQ(At(memory, 1, MemoryKind::kActivation), 4400);
  EXPECT_EQ(At(memory, 3, MemoryKind::kOptimizerState), 80);
}

TEST(Memory, MixedPrecisionKeepsMastersAndCopies) {
  StepBuilder step;
  // 10 elements: the table has the copy that kernels touch.
  const StorageId w = step.Parameter(40), y = step.Storage(8);
  step.Kernel({.reads = {w}, .writes = {y}});
  CostTable cost = step.Take();
  const TrainingGraph training = GraphFor(cost);
  cost.storages[w].bytes = 20;
  const MemoryTable memory = ComputeMemory(training, cost, {.precision = PrecisionMode::kAmpBf16}).value();
  EXPECT_EQ(memory.parameter_bytes, 40);
  EXPECT_EQ(memory.weight_copy_bytes, 20);
  EXPECT_EQ(memory.peak_bytes, 40 + 20 + 8);
}

TEST(Memory, UntouchedConstantsTakeNoMemory) {
  StepBuilder step;
  const StorageId table = step.Parameter(400, ValueKind::kConstant);
  step.Parameter(4000, ValueKind::kConstant);
  const StorageId buffer = step.Parameter(8, ValueKind::kBuffer), y = step.Storage(4);
  step.Kernel({.reads = {table, buffer}, .writes = {y}});
  const MemoryTable memory = MemoryOf(step);
  EXPECT_EQ(memory.constant_bytes, 400);
  EXPECT_EQ(memory.buffer_bytes, 8);
  EXPECT_EQ(memory.peak_bytes, 412);
}

TEST(Memory, StepWithoutKernelsHasWhatLivesAcrossSteps) {
  StepBuilder step;
  step.Parameter(40);
  step.Input(8);
  const MemoryTable memory = MemoryOf(step);
  EXPECT_EQ(memory.peak_bytes, 48);
  EXPECT_EQ(memory.peak_kernel, -1);
  EXPECT_EQ(memory.live_at_peak.size(), 2u);
  EXPECT_TRUE(memory.timeline.empty());
}

TEST(Memory, Fits) {
  MemoryTable memory;
  memory.peak_bytes = 1000;
  EXPECT_TRUE(memory.Fits(1000));
  EXPECT_FALSE(memory.Fits(999));
}

TEST(Memory, SumAboveInt64IsAnError) {
  StepBuilder step;
  const int64_t half = int64_t{1} << 62;
  const StorageId a = step.Storage(half), b = step.Storage(half);
  step.Kernel({.writes = {a}});
  step.Kernel({.writes = {b}});
  CostTable cost = step.Take();
  const TrainingGraph training = GraphFor(cost);
  EXPECT_EQ(ComputeMemory(training, cost, {}).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(Memory, KindsHaveNames) {
  std::map<std::string, int> names;
  for (int kind = 0; kind < kNumMemoryKinds; ++kind)
    ++names[std::string(MemoryKindName(static_cast<MemoryKind>(kind)))];
  EXPECT_EQ(names.size(), static_cast<size_t>(kNumMemoryKinds));
  EXPECT_EQ(names.count(""), 0u);
}

absl::StatusOr<Analysis> AnalyzeFile(const char* name, int64_t batch, AnalysisOptions options = {}) {
  options.shapes.batch = batch;
  absl::StatusOr<Model> model = LoadModel(std::string(REUSESCOPE_SOURCE_DIR "/models/") + name);
  if (!model.ok()) return model.status();
  return Analyze(*std::move(model), options);
}

// The timeline against the definition: for every kernel, the storages whose life covers it.
TEST(Memory, TimelineOfLeNetIsTheSumOfLives) {
  const absl::StatusOr<Analysis> analysis = AnalyzeFile("lenet5.onnx", 4);
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const CostTable& cost = analysis->cost;
  const int n = static_cast<int>(cost.kernels.size());
  std::vector<int64_t> expected(n, 0);
  for (size_t s = 0; s < cost.storages.size(); ++s) {
    const StorageCost& storage = cost.storages[s];
    int first = -1, last = -1;
    for (int k = 0; k < n; ++k) {
      for (const Touch& touch : cost.TouchesOf(cost.kernels[k])) {
        if (touch.storage != static_cast<StorageId>(s)) continue;
        if (first < 0) first = k;
        last = k;
      }
    }
    const bool always = storage.persistent || storage.input;
    if (first < 0 && !storage.input && storage.kind != ValueKind::kParameter) continue;
    for (int k = always ? 0 : first; k <= (always || storage.kept_to_end ? n - 1 : last); ++k) {
      expected[k] += storage.bytes;
    }
  }
  EXPECT_EQ(Totals(analysis->memory), expected);
  EXPECT_EQ(analysis->memory.peak_bytes, *std::max_element(expected.begin(), expected.end()));
}

TEST(Memory, PeakIsTheSumOfWhatIsAliveThen) {
  const absl::StatusOr<Analysis> analysis = AnalyzeFile("resnet50.onnx", 8);
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const MemoryTable& memory = analysis->memory;
  int64_t sum = 0;
  for (size_t i = 0; i < memory.live_at_peak.size(); ++i) {
    sum += memory.live_at_peak[i].bytes;
    EXPECT_FALSE(memory.live_at_peak[i].name.empty());
    if (i > 0) {
      EXPECT_GE(memory.live_at_peak[i - 1].bytes, memory.live_at_peak[i].bytes);
    }
  }
  EXPECT_EQ(sum, memory.peak_bytes);
  for (const MemorySample& sample : memory.timeline) {
    EXPECT_EQ(std::accumulate(sample.bytes_by_kind.begin(), sample.bytes_by_kind.end(), int64_t{0}),
              sample.total_bytes);
    EXPECT_LE(sample.total_bytes, memory.peak_bytes);
  }
  // AdamW: two moments of every parameter, one gradient.
  EXPECT_EQ(memory.parameter_bytes, 4 * 25'557'032);
  EXPECT_EQ(memory.gradient_bytes, memory.parameter_bytes);
  EXPECT_EQ(memory.optimizer_state_bytes, 2 * memory.parameter_bytes);
}

TEST(Memory, DoublingTheBatchDoublesActivations) {
  const absl::StatusOr<Analysis> one = AnalyzeFile("vgg16.onnx", 4), two = AnalyzeFile("vgg16.onnx", 8);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(two->memory.stash_needed_bytes, 2 * one->memory.stash_needed_bytes);
  EXPECT_EQ(two->memory.stash_pytorch_eager_bytes, 2 * one->memory.stash_pytorch_eager_bytes);
  EXPECT_EQ(two->memory.parameter_bytes, one->memory.parameter_bytes);
  EXPECT_EQ(two->memory.optimizer_state_bytes, one->memory.optimizer_state_bytes);
  EXPECT_EQ(two->memory.input_bytes, 2 * one->memory.input_bytes);
}

// ZeRO (arXiv 1910.02054): mixed-precision Adam takes 4 + 2 bytes for a parameter, 4 for its gradient when gradients
// are 32 bits, 8 for its moments.
TEST(Memory, MixedPrecisionAdamTakes18BytesAParameter) {
  const absl::StatusOr<Analysis> analysis =
      AnalyzeFile("vgg16.onnx", 1, {.optimizer = Optimizer::kAdam, .precision = PrecisionMode::kAmpBf16});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const MemoryTable& memory = analysis->memory;
  const int64_t n = 138'357'544;
  EXPECT_EQ(memory.parameter_bytes, 4 * n);
  EXPECT_EQ(memory.weight_copy_bytes, 2 * n);
  EXPECT_EQ(memory.gradient_bytes, 4 * n);
  EXPECT_EQ(memory.optimizer_state_bytes, 8 * n);
}

TEST(Memory, InferenceHasNoGradientsStatesOrStash) {
  const absl::StatusOr<Analysis> analysis = AnalyzeFile("resnet50.onnx", 1, {.mode = Mode::kInference});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const MemoryTable& memory = analysis->memory;
  EXPECT_EQ(memory.gradient_bytes, 0);
  EXPECT_EQ(memory.optimizer_state_bytes, 0);
  EXPECT_EQ(memory.stash_needed_bytes, 0);
  EXPECT_EQ(memory.stash_pytorch_eager_bytes, 0);
  EXPECT_GT(memory.peak_bytes, memory.parameter_bytes);
}

}  // namespace
}  // namespace reusescope
