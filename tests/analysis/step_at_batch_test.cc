// Any batch, read off a line, is what the analysis says of it; the largest batch that fits is one below the first that
// does not.

#include "analysis/step_at_batch.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

ModelLoader Loader(const std::string& name) {
  return [path = std::string(REUSESCOPE_SOURCE_DIR "/models/") + name + ".onnx"] { return LoadModel(path); };
}

Analysis AnalysisAt(const std::string& name, int64_t batch, PrecisionMode precision) {
  absl::StatusOr<Model> model = Loader(name)();
  EXPECT_TRUE(model.ok()) << model.status();
  absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), {.shapes = {.batch = batch}, .precision = precision});
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return *std::move(analysis);
}

class StepAtBatchTest : public testing::TestWithParam<std::string> {};

TEST_P(StepAtBatchTest, CountsAreThoseOfTheAnalysis) {
  absl::StatusOr<StepAtBatch> step = StepAtBatch::Make(Loader(GetParam()), {}, int64_t{80} << 30);
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_TRUE(step->affine());
  // At 300, BERT's 38,400 tokens read the whole embedding of 30,522 rows; at 33 they do not.
  for (int64_t batch : {1, 2, 7, 33, 300}) {
    const Analysis analysis = AnalysisAt(GetParam(), batch, PrecisionMode::kAmpFp16);
    const absl::StatusOr<CostTable> cost = step->CostAt(PrecisionMode::kAmpBf16, batch);
    ASSERT_TRUE(cost.ok()) << cost.status();
    ASSERT_EQ(cost->kernels.size(), analysis.cost.kernels.size());
    for (size_t k = 0; k < cost->kernels.size(); ++k) {
      EXPECT_EQ(cost->kernels[k].flops, analysis.cost.kernels[k].flops) << "kernel " << k << " batch " << batch;
      EXPECT_EQ(cost->kernels[k].bytes(), analysis.cost.kernels[k].bytes()) << "kernel " << k << " batch " << batch;
      EXPECT_EQ(cost->kernels[k].transcendentals, analysis.cost.kernels[k].transcendentals);
    }
    EXPECT_EQ(*step->PeakBytesAt(PrecisionMode::kAmpBf16, batch), analysis.memory.peak_bytes) << "batch " << batch;
  }
}

TEST_P(StepAtBatchTest, LargestBatchFitsAndTheNextDoesNot) {
  absl::StatusOr<StepAtBatch> step = StepAtBatch::Make(Loader(GetParam()), {}, int64_t{8} << 30);
  ASSERT_TRUE(step.ok()) << step.status();
  for (const int64_t capacity : {int64_t{3} << 30, int64_t{8} << 30}) {
    const absl::StatusOr<int64_t> largest = step->LargestBatch(PrecisionMode::kFp32, capacity);
    ASSERT_TRUE(largest.ok()) << largest.status();
    ASSERT_GT(*largest, 0);
    EXPECT_LE(AnalysisAt(GetParam(), *largest, PrecisionMode::kFp32).memory.peak_bytes, capacity);
    EXPECT_GT(AnalysisAt(GetParam(), *largest + 1, PrecisionMode::kFp32).memory.peak_bytes, capacity);
  }
}

// Every batch analysed one by one: the largest of all that fit, whatever the others do.
TEST(StepAtBatchBruteForce, NoLargerBatchFits) {
  constexpr int64_t kMost = 150;
  for (const char* name : {"lenet5", "resnet18"}) {
    std::vector<int64_t> peaks(kMost + 1);
    for (int64_t batch = 1; batch <= kMost; ++batch) {
      peaks[batch] = AnalysisAt(name, batch, PrecisionMode::kAmpBf16).memory.peak_bytes;
    }
    absl::StatusOr<StepAtBatch> step = StepAtBatch::Make(Loader(name), {}, peaks[kMost]);
    ASSERT_TRUE(step.ok()) << step.status();
    for (int64_t wanted : {1, 2, 17, 64, 149}) {
      for (const int64_t capacity : {peaks[wanted], peaks[wanted] + 1, peaks[wanted + 1] - 1, peaks[wanted] - 1}) {
        int64_t largest = 0;
        for (int64_t batch = 1; batch <= kMost; ++batch) {
          if (peaks[batch] <= capacity) largest = batch;
        }
        EXPECT_EQ(*step->LargestBatch(PrecisionMode::kAmpBf16, capacity), largest) << name << " in " << capacity;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, StepAtBatchTest,
                         testing::Values("resnet50", "bert_base.ts17.train", "gpt2.dynamo18.eval",
                                         "mobilenet_v2.ts17.train", "lstm_lm.ts17.train", "whisper_tiny.dynamo18.eval"),
                         [](const auto& info) { return info.param.substr(0, info.param.find('.')); });

TEST(StepAtBatchLimits, NothingFitsWhereTheParametersDoNot) {
  absl::StatusOr<StepAtBatch> step = StepAtBatch::Make(Loader("vgg16"), {}, int64_t{1} << 30);
  ASSERT_TRUE(step.ok()) << step.status();
  // 138 million parameters of 4 bytes, AdamW: parameters and two states alone are 1.66 GB.
  EXPECT_EQ(*step->LargestBatch(PrecisionMode::kFp32, int64_t{1} << 30), 0);
}

TEST(StepAtBatchLimits, WhatIsDividedMakesRoom) {
  absl::StatusOr<StepAtBatch> step = StepAtBatch::Make(Loader("bert_base.ts17.train"), {}, int64_t{8} << 30);
  ASSERT_TRUE(step.ok()) << step.status();
  MemoryShare share;
  const int64_t whole = *step->LargestBatch(PrecisionMode::kFp32, int64_t{8} << 30);
  share.devices[static_cast<int>(MemoryKind::kOptimizerState)] = 8;
  EXPECT_GT(*step->LargestBatch(PrecisionMode::kFp32, int64_t{8} << 30, share), whole);
  const int64_t peak = *step->PeakBytesAt(PrecisionMode::kFp32, 4);
  // AdamW keeps two 32-bit states of each of 109.5 million parameters; seven eighths of them go elsewhere.
  const Analysis analysis = AnalysisAt("bert_base.ts17.train", 4, PrecisionMode::kFp32);
  const int64_t states = analysis.memory.optimizer_state_bytes;
  EXPECT_NEAR(static_cast<double>(peak - *step->PeakBytesAt(PrecisionMode::kFp32, 4, share)),
              static_cast<double>(states) * 7 / 8, 8);
}

TEST(BatchScalingTest, RefusesWhatIsNotALine) {
  BatchPoint low{.batch = 2, .cost = {.kernels = {{.flops = 4}}}, .timeline = {MemorySample()}};
  BatchPoint high = low, far = low;
  high.batch = 3;
  high.cost.kernels[0].flops = 9;
  far.batch = 10;
  far.cost.kernels[0].flops = 100;  // squares: the line through 4 and 9 has 44 here
  EXPECT_TRUE(BatchScaling::Fit(std::vector<BatchPoint>{low, high}).ok());
  const auto refused = BatchScaling::Fit(std::vector<BatchPoint>{low, high, far});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  // What grows no more between the far points stopped where the lines meet: 4 + 5 * 5 = 29, 4 + 5 * 6 = 34.
  BatchPoint farthest = far;
  farthest.batch = 20;
  far.cost.kernels[0].flops = farthest.cost.kernels[0].flops = 30;
  const auto capped = BatchScaling::Fit(std::vector<BatchPoint>{low, high, far, farthest});
  ASSERT_TRUE(capped.ok()) << capped.status();
  EXPECT_EQ(capped->FirstBend(), 7);
  EXPECT_EQ(capped->CostAt(7)->kernels[0].flops, 4 + 5 * 5);
  EXPECT_EQ(capped->CostAt(8)->kernels[0].flops, 30);
  far.cost.kernels[0].flops = 4 + 5 * 8;
  const auto line = BatchScaling::Fit(std::vector<BatchPoint>{low, high, far});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->CostAt(5)->kernels[0].flops, 4 + 5 * 3);
}

}  // namespace
}  // namespace reusescope
