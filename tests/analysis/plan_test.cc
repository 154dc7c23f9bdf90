// Checkpoint plans: each method against the next better one, the program against brute force over all keep sets, and
// the promised peak against the step that the plan makes.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/plan/checkpoint_plan.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using testing::HasSubstr;

constexpr int64_t kUnit = 4 * 8 * 32;  // bytes of an activation of the chains

// Layers that read their inputs in backward, of unequal size and work.
std::string UnequalChain() {
  return R"(
      m (float[512,32] x) => (float[512,16] y)
        <float[32,64] a, float[64,256] b, float[256,32] c, float[32,128] d, float[128,16] e>
      { h1 = MatMul (x, a)
        h2 = Sin (h1)
        h3 = MatMul (h2, b)
        h4 = Tanh (h3)
        h5 = MatMul (h4, c)
        h6 = MatMul (h5, d)
        h7 = Sin (h6)
        y = MatMul (h7, e) })";
}

std::string UniformChain(int layers) {
  std::string text = "chain (float[8,32] x) => (float[8,32] y) <float[32,32] w> {\n";
  for (int i = 1; i <= layers; ++i) {
    absl::StrAppend(&text, i == layers ? "y" : absl::StrCat("h", i), " = MatMul (",
                    i == 1 ? "x" : absl::StrCat("h", i - 1), ", w)\n");
  }
  return text + "}";
}

// Two residual blocks, with a value that is not read again after forward between its kernels.
std::string Residual() {
  return R"(
      m (float[4,8,8,8] x) => (float[4,8,8,8] y) <float[8,8,3,3] w1, float[8,8,3,3] w2, float[16,8,1,1] w3, float[8,16,1,1] w4>
      { c1 = Conv <pads = [1,1,1,1]> (x, w1)
        r1 = Relu (c1)
        c2 = Conv <pads = [1,1,1,1]> (r1, w2)
        s1 = Add (c2, x)
        t1 = Sin (s1)
        c3 = Conv (t1, w3)
        g3 = Tanh (c3)
        c4 = Conv (g3, w4)
        s2 = Add (c4, t1)
        y = Sin (s2) })";
}

// One node with several outputs, of which some may be kept.
std::string Split() {
  return R"(
      m (float[512,64] x) => (float[512,32] y) <float[64,64] w, float[32,32] v>
      { h = MatMul (x, w)
        p, q = Split <axis = 1> (h)
        r = Sin (p)
        s = Mul (r, q)
        t = MatMul (s, v)
        u = Tanh (t)
        y = Mul (u, p) })";
}

AnalysisOptions Options() {
  AnalysisOptions options{.loss = Loss::kNone, .optimizer = Optimizer::kSgd};
  return options;
}

Planner PlannerOf(const std::string& text) {
  absl::StatusOr<Planner> planner = Planner::Make([text] { return ParseOnnxText(text); }, Options(), std::nullopt);
  EXPECT_TRUE(planner.ok()) << planner.status();
  return *std::move(planner);
}

// The least that any keep set adds: infinite where none fits.
double BruteForce(const RecomputeModel& model, int64_t memory_bytes) {
  double least = std::numeric_limits<double>::infinity();
  const size_t count = model.candidates().size();
  for (uint32_t set = 0; set < 1U << count; ++set) {
    KeepSet keep(count);
    for (size_t c = 0; c < count; ++c) keep[c] = (set >> c & 1) != 0;
    const RecomputeModel::Outcome outcome = model.Evaluate(keep);
    if (outcome.peak_bytes <= memory_bytes) least = std::min(least, outcome.added_seconds);
  }
  return least;
}

class SmallGraphs : public testing::TestWithParam<std::string (*)()> {};

TEST_P(SmallGraphs, TheProgramIsTheBestOfAllKeepSets) {
  const Planner planner = PlannerOf(GetParam()());
  const RecomputeModel& model = planner.model();
  ASSERT_GE(model.candidates().size(), 5u);
  ASSERT_LE(model.candidates().size(), 14u);
  int recomputing = 0, impossible = 0;
  const int64_t most = planner.keep_all_bytes(), least_peak = planner.least_bytes();
  ASSERT_LT(least_peak, most);
  const int64_t step = (most - least_peak) / 12 + 1;
  std::vector<int64_t> limits = {least_peak / 2};
  for (int64_t memory = least_peak - 6 * step; memory <= most + step; memory += step) limits.push_back(memory);
  for (const int64_t memory : limits) {
    const double least = BruteForce(model, memory);
    const ProgramPlan program = SolveProgram(model, memory, std::nullopt, {.time_limit_seconds = 60}).value();
    if (least == std::numeric_limits<double>::infinity()) {
      EXPECT_EQ(program.state, ProgramPlan::State::kInfeasible) << memory;
      ++impossible;
      continue;
    }
    ASSERT_EQ(program.state, ProgramPlan::State::kOptimal) << memory;
    EXPECT_DOUBLE_EQ(program.added_seconds, least) << memory;
    EXPECT_LE(model.Evaluate(*program.keep).peak_bytes, memory);
    recomputing += least > 0 ? 1 : 0;
  }
  EXPECT_GT(recomputing, 0) << "no limit made it compute anything again";
  EXPECT_GT(impossible, 0);
}

TEST_P(SmallGraphs, EachMethodIsNoWorseThanTheOneBefore) {
  const Planner planner = PlannerOf(GetParam()());
  const int64_t most = planner.keep_all_bytes(), least = planner.least_bytes();
  for (int64_t memory = least; memory < most; memory += (most - least) / 12 + 1) {
    const CheckpointPlan plan = planner.Plan(memory, {.trade_points = 0}).value();
    double added = std::numeric_limits<double>::infinity();
    for (size_t i = 1; i < plan.methods.size(); ++i) {
      if (!plan.methods[i].fits) continue;
      EXPECT_LE(plan.methods[i].added, added) << PlanMethodName(plan.methods[i].method);
      added = plan.methods[i].added;
    }
    EXPECT_EQ(plan.Best().added, added);
    EXPECT_LE(plan.Best().peak_bytes, memory);
  }
}

TEST_P(SmallGraphs, EveryKeepSetHasThePeakThatTheModelSays) {
  const std::string text = GetParam()();
  const Planner planner = PlannerOf(text);
  const RecomputeModel& model = planner.model();
  const size_t count = model.candidates().size();
  for (uint32_t set = 0; set < 1U << count; set += 7) {
    KeepSet keep(count);
    for (size_t c = 0; c < count; ++c) keep[c] = (set >> c & 1) != 0;
    const PlannedStep built = planner.Build(PlanMethod::kChain, keep, 0).value();
    const RecomputeModel::Outcome outcome = model.Evaluate(keep);
    EXPECT_EQ(built.peak_bytes, outcome.peak_bytes) << set;
    EXPECT_DOUBLE_EQ(built.added, outcome.added_seconds) << set;
  }
}

INSTANTIATE_TEST_SUITE_P(Plan, SmallGraphs, testing::Values(&UnequalChain, &Residual, &Split));

TEST(PlanTest, AUniformChainOf100NeedsTwentyUnits) {
  const Planner planner = PlannerOf(UniformChain(100));
  // Parameters, the gradient of the output and the one that flows: what is left is x and activations (Chen et al.
  // 2016).
  const RecomputeModel::Outcome all = planner.model().Evaluate(KeepSet(planner.model().candidates().size(), true));
  const int64_t other = all.peak_bytes - 100 * kUnit;
  EXPECT_LE(planner.least_bytes(), other + 20 * kUnit);
  const CheckpointPlan plan = planner.Plan(other + 20 * kUnit, {.program = false, .trade_points = 0}).value();
  const double layer = 2 * 8 * 32 * 32;
  EXPECT_LE(plan.Best().added, 90 * layer) << "less than one more forward pass";
  EXPECT_GE(plan.Best().added, 70 * layer);
}

// In a chain every keep set is a segmentation, so the dynamic program finds the best of them all.
TEST(PlanTest, TheChainIsTheBestOfAllKeepSets) {
  const Planner planner = PlannerOf(UnequalChain());
  const RecomputeModel& model = planner.model();
  const ChainPlanner chain(model, ChainCuts(model, planner.step().blocks));
  const int64_t most = planner.keep_all_bytes(), least = planner.least_bytes();
  ASSERT_LT(least, most);
  for (int64_t memory = least; memory < most; memory += (most - least) / 20 + 1) {
    KeepSet keep;
    ASSERT_TRUE(chain.Plan(memory, keep)) << memory;
    const RecomputeModel::Outcome outcome = model.Evaluate(keep);
    EXPECT_LE(outcome.peak_bytes, memory);
    EXPECT_DOUBLE_EQ(outcome.added_seconds, BruteForce(model, memory)) << memory;
  }
}

TEST(PlanTest, NothingFitsSaysWhatWould) {
  const Planner planner = PlannerOf(UnequalChain());
  const absl::Status status = planner.Plan(1000, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(planner.least_bytes(), " B")));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--batch"));
}

TEST(PlanTest, WhatFitsKeepsEverything) {
  const Planner planner = PlannerOf(UnequalChain());
  const CheckpointPlan plan = planner.Plan(planner.keep_all_bytes(), {}).value();
  EXPECT_EQ(plan.Best().method, PlanMethod::kKeepAll);
  EXPECT_EQ(plan.Best().added, 0);
}

struct RealModel {
  const char* file;
  int64_t batch;
};

class RealModels : public testing::TestWithParam<RealModel> {
 protected:
  static Planner Make(int64_t batch) {
    const std::string file = absl::StrCat(REUSESCOPE_SOURCE_DIR "/models/", GetParam().file);
    AnalysisOptions options;
    options.shapes.batch = batch;
    absl::StatusOr<Planner> planner = Planner::Make([file] { return LoadModel(file); }, options, std::nullopt);
    EXPECT_TRUE(planner.ok()) << planner.status();
    return *std::move(planner);
  }
};

TEST_P(RealModels, ThePeakIsThePromisedOneAndMoreMemoryNeverAddsMore) {
  const Planner planner = Make(GetParam().batch);
  const int64_t least = planner.least_bytes(), most = planner.keep_all_bytes();
  EXPECT_LT(least, most);
  double added = std::numeric_limits<double>::infinity();
  for (const int64_t memory : {least + (most - least) / 8, least + (most - least) / 2}) {
    const CheckpointPlan plan = planner.Plan(memory, {.program = false, .trade_points = 0}).value();
    const PlannedStep& best = plan.Best();
    EXPECT_TRUE(best.fits);
    EXPECT_LE(best.peak_bytes, memory);
    EXPECT_LE(best.added, added);
    added = best.added;
    // The whole way of a model, with the plan as a policy: the same peak, and added work in phase recompute alone.
    AnalysisOptions options = planner.step().options;
    options.checkpoint = {.kind = CheckpointPolicy::Kind::kValues, .values = best.keep};
    const std::string file = absl::StrCat(REUSESCOPE_SOURCE_DIR "/models/", GetParam().file);
    const Analysis analysis = AnalyzeMemory(LoadModel(file).value(), options).value();
    EXPECT_EQ(analysis.memory.peak_bytes, best.peak_bytes);
    EXPECT_GT(best.recomputed_kernels, 0);
    EXPECT_EQ(analysis.cost.kernels.size(), planner.step().cost.kernels.size() + best.recomputed_kernels);
    // What RecomputeModel says of the set is what the step has.
    KeepSet keep(planner.model().candidates().size());
    for (size_t c = 0; c < keep.size(); ++c) {
      const Candidate& candidate = planner.model().candidates()[c];
      const std::string& name = planner.step().training.graph.value(candidate.value).name;
      keep[c] = std::find(best.keep.begin(), best.keep.end(), name) != best.keep.end();
    }
    EXPECT_EQ(planner.model().Evaluate(keep).peak_bytes, best.peak_bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Plan, RealModels,
                         testing::Values(RealModel{"vgg16.onnx", 32}, RealModel{"resnet50.onnx", 8},
                                         RealModel{"unet.ts17.train.onnx", 2}, RealModel{"vit_b_16.ts17.train.onnx", 8},
                                         RealModel{"gpt2.dynamo18.eval.onnx", 4}));

TEST(PlanTest, TheLargestBatchFitsAndOneMoreDoesNot) {
  const std::string file = REUSESCOPE_SOURCE_DIR "/models/resnet18.onnx";
  const ModelLoader load = [file] { return LoadModel(file); };
  const int64_t memory = int64_t{1} << 30;
  const absl::StatusOr<int64_t> largest = LargestPlannedBatch(load, {}, memory, 0);
  ASSERT_TRUE(largest.ok()) << largest.status();
  const auto least = [&](int64_t batch) {
    AnalysisOptions options;
    options.shapes.batch = batch;
    return Planner::Make(load, options, std::nullopt).value().least_bytes();
  };
  EXPECT_LE(least(*largest), memory);
  EXPECT_GT(least(*largest + 1), memory);
  StepAtBatch step = StepAtBatch::Make(load, {}, memory).value();
  EXPECT_GT(*largest, step.LargestBatch(PrecisionMode::kFp32, memory).value());
}

}  // namespace
}  // namespace reusescope
