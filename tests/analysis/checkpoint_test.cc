// Recomputation: what is kept, what runs again and when, on graphs small enough to count by hand. Against PyTorch:
// tests/gradients/check_checkpoints.py.

#include "analysis/transform/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kUnit = 4 * 8 * 32;  // bytes of an activation of the chains
constexpr int64_t kSeed = 1;           // the gradient of the output is an input too

// Layers whose gradients read their inputs, behind a parameter so that gradients flow through all of them.
std::string Chain(int layers) {
  std::string text = "chain (float[8,32] x) => (float[8,32] y) <float[32] w> { h0 = Add (x, w)\n";
  for (int i = 1; i <= layers; ++i) absl::StrAppend(&text, "h", i, " = Sin (h", i - 1, ")\n");
  return absl::StrCat(text, "y = Add (h", layers, ", w) }");
}

// Layers that read their inputs in backward: x, h1, ... h99.
std::string Products(int layers) {
  std::string text = "chain (float[8,32] x) => (float[8,32] y) <float[32,32] w> {\n";
  for (int i = 1; i <= layers; ++i) {
    absl::StrAppend(&text, i == layers ? "y" : absl::StrCat("h", i), " = MatMul (",
                    i == 1 ? "x" : absl::StrCat("h", i - 1), ", w)\n");
  }
  return text + "}";
}

Analysis AnalysisOf(const std::string& text, const std::string& checkpoint, AnalysisOptions options = {}) {
  options.loss = Loss::kNone;
  options.optimizer = Optimizer::kSgd;
  options.checkpoint = *CheckpointPolicyFromText(checkpoint);
  absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(text), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return analysis.ok() ? *std::move(analysis) : Analysis();
}

// The input and activations, kept or recomputed, alive at once.
int64_t PeakActivationBytes(const Analysis& analysis) {
  int64_t peak = 0;
  for (const MemorySample& sample : analysis.memory.timeline) {
    peak = std::max(peak, sample.bytes_by_kind[static_cast<int>(MemoryKind::kInput)] +
                              sample.bytes_by_kind[static_cast<int>(MemoryKind::kActivation)] +
                              sample.bytes_by_kind[static_cast<int>(MemoryKind::kRecomputed)]);
  }
  return peak;
}

int64_t KernelsOf(const Analysis& analysis, Phase phase) {
  return std::count_if(analysis.cost.kernels.begin(), analysis.cost.kernels.end(),
                       [phase](const KernelCost& kernel) { return kernel.phase == phase; });
}

std::vector<std::string> NamesOf(const Analysis& analysis, Phase phase) {
  std::vector<std::string> names;
  for (NodeId id : analysis.training.graph.order) {
    const Node& node = analysis.training.graph.node(id);
    if (node.phase == phase) names.push_back(node.op.type);
  }
  return names;
}

TEST(Checkpoint, ChainOf100InSegmentsOf10NeedsTwenty) {
  const Analysis all = AnalysisOf(Products(100), "none"), some = AnalysisOf(Products(100), "every=10");
  EXPECT_EQ(all.memory.stash_needed_bytes, 99 * kUnit) << "and the input";
  EXPECT_EQ(PeakActivationBytes(all), (100 + 1 + kSeed) * kUnit) << "what each layer reads, and the output";
  // x and what enters nine segments, nine more in one of them, the output: 20.
  EXPECT_EQ(PeakActivationBytes(some), (20 + kSeed) * kUnit);
  EXPECT_EQ(PeakActivationBytes(AnalysisOf(Products(100), "sqrt")), PeakActivationBytes(some));
}

TEST(Checkpoint, ASegmentRunsAgainOnceAndWithoutItsLastLayer) {
  const Analysis analysis = AnalysisOf(Products(100), "every=10");
  const int64_t segments = 9, layers = 9;  // the last segment is kept
  EXPECT_EQ(KernelsOf(analysis, Phase::kRecompute), segments * layers);
  int64_t macs = 0;
  for (const KernelCost& kernel : analysis.cost.kernels) macs += kernel.phase == Phase::kRecompute ? kernel.macs : 0;
  EXPECT_EQ(macs, segments * layers * 8 * 32 * 32);
}

TEST(Checkpoint, AnySetOfValuesMayBeKept) {
  AnalysisOptions options{.loss = Loss::kNone};
  std::vector<std::string> notes;
  absl::StatusOr<TrainingGraph> training = BuildGraph(ParseOnnxText(Chain(5)), options, Stage::kDifferentiate, notes);
  ASSERT_TRUE(training.ok()) << training.status();
  std::vector<bool> keep(training->graph.values.size(), false);
  for (size_t id = 0; id < keep.size(); ++id) keep[id] = training->graph.values[id].name == "h2";
  Recompute(*training, keep);
  std::vector<std::string> stash, again;
  for (const StashEntry& entry : training->stash) stash.push_back(training->graph.value(entry.value).name);
  for (NodeId id : training->graph.order) {
    const Node& node = training->graph.node(id);
    if (node.phase == Phase::kRecompute) again.push_back(training->graph.value(node.outputs[0]).name);
  }
  EXPECT_THAT(stash, ElementsAre("x", "h2"));
  EXPECT_THAT(again, ElementsAre("h3.recompute", "h4.recompute", "h0.recompute", "h1.recompute"));
}

TEST(Checkpoint, RunningStatisticsAreWrittenOnce) {
  const Analysis analysis = AnalysisOf(R"(
      m (float[4,3,8,8] x) => (float[4,6,8,8] y, float[6] mean_out, float[6] var_out)
        <float[6,3,1,1] w, float[6] scale, float[6] bias, float[6] mean, float[6] var>
      { h = Conv (x, w)
        b, mean_out, var_out = BatchNormalization <training_mode = 1> (h, scale, bias, mean, var)
        s = Sigmoid (b)
        r = Sin (s)
        y = Sin (r) })",
                                       "every=4");
  EXPECT_THAT(NamesOf(analysis, Phase::kRecompute), ElementsAre("Conv", "BatchNormalization", "Sigmoid"));
  for (NodeId id : analysis.training.graph.order) {
    const Node& node = analysis.training.graph.node(id);
    if (node.phase != Phase::kRecompute || node.op.type != "BatchNormalization") continue;
    EXPECT_EQ(node.outputs[1], kNoValue);
    EXPECT_EQ(node.outputs[2], kNoValue);
  }
}

TEST(Checkpoint, DropoutIsReplayedFromItsMask) {
  const std::string text = R"(
      m (float[8,32] x) => (float[8,32] y) <float[32] w, float ratio = {0.5}, bool training = {1}>
      { h = Mul (x, w)
        d = Dropout (h, ratio, training)
        s = Sin (d)
        t = Sin (s)
        y = Mul (t, w) })";
  const Analysis analysis = AnalysisOf(text, "every=4", {.dropout_mask_bytes = 4});
  EXPECT_THAT(NamesOf(analysis, Phase::kRecompute), ElementsAre("Mul", "DropoutGrad", "Sin"));
  // The mask and t are kept; PyTorch keeps t and the generator's state.
  EXPECT_EQ(analysis.memory.stash_needed_bytes, 8 * 32 + kUnit);
  EXPECT_EQ(analysis.memory.stash_pytorch_eager_bytes, kUnit);
}

TEST(Checkpoint, RandomNumbersAreDrawnOnce) {
  const Analysis analysis = AnalysisOf(R"(
      m (float[8,32] x) => (float[8,32] y) <float[32] w>
      { h = Mul (x, w)
        noise = RandomNormalLike (h)
        p = Mul (h, noise)
        s = Sin (p)
        y = Sin (s) })",
                                       "every=4");
  EXPECT_THAT(NamesOf(analysis, Phase::kRecompute), ElementsAre("Mul", "Mul"));
}

TEST(Checkpoint, BlocksOfAResNetKeepWhatEntersThem) {
  const auto model = [] { return *LoadModel(REUSESCOPE_SOURCE_DIR "/models/resnet50.onnx"); };
  AnalysisOptions options;
  const Analysis all = *Analyze(model(), options);
  options.checkpoint.kind = CheckpointPolicy::Kind::kBlocks;
  const Analysis some = *Analyze(model(), options);
  EXPECT_LT(some.memory.stash_needed_bytes, all.memory.stash_needed_bytes / 2);
  EXPECT_LT(some.memory.peak_bytes, all.memory.peak_bytes);
  int64_t forward = 0, again = 0, backward = 0, same = 0;
  for (const KernelCost& kernel : some.cost.kernels) {
    if (kernel.phase == Phase::kForward) forward += kernel.macs;
    if (kernel.phase == Phase::kRecompute) again += kernel.macs;
    if (kernel.phase == Phase::kBackward) backward += kernel.macs;
  }
  for (const KernelCost& kernel : all.cost.kernels) same += kernel.phase == Phase::kBackward ? kernel.macs : 0;
  EXPECT_EQ(backward, same);
  EXPECT_GT(again, forward / 2);
  EXPECT_LT(again, forward);
}

// One skip connection spans most of it, another one lies inside: between their ends lie four runs of four layers each.
TEST(Checkpoint, TheLevelsOfAUNetAreSegments) {
  std::string text = "unet (float[8,32] x) => (float[8,32] y) <float[32] w> { a0 = Add (x, w)\n";
  const auto layers = [&](const std::string& from, const std::string& to) {
    for (int i = 1; i <= 4; ++i) {
      absl::StrAppend(&text, to, i, " = Sin (", i == 1 ? from : absl::StrCat(to, i - 1), ")\n");
    }
  };
  layers("a0", "a");
  layers("a4", "b");
  layers("b4", "c");
  text += "d0 = Add (c4, b4)\n";
  layers("d0", "d");
  text += "e0 = Add (d4, a4)\n";
  layers("e0", "e");
  text += "y = Add (e4, w) }";
  const Analysis none = AnalysisOf(text, "none"), blocks = AnalysisOf(text, "blocks");
  EXPECT_GE(PeakActivationBytes(none), 20 * kUnit);
  // Where the runs begin (x, a4, b4, d0, e0), and one run of four with its sum.
  EXPECT_LE(PeakActivationBytes(blocks), 10 * kUnit);
}

TEST(Checkpoint, PoliciesAreReadBack) {
  for (const char* text : {"none", "blocks", "every=4", "sqrt", "layer\\d+"}) {
    const absl::StatusOr<CheckpointPolicy> policy = CheckpointPolicyFromText(text);
    ASSERT_TRUE(policy.ok()) << policy.status();
    EXPECT_EQ(CheckpointPolicyText(*policy), text);
  }
  EXPECT_THAT(std::string(CheckpointPolicyFromText("every=0").status().message()), HasSubstr("every=N"));
  EXPECT_THAT(std::string(CheckpointPolicyFromText("(").status().message()), HasSubstr("no regular expression"));
}

TEST(Checkpoint, AModuleThatIsNotThereIsAnError) {
  AnalysisOptions options{.loss = Loss::kNone};
  options.checkpoint = *CheckpointPolicyFromText("nowhere");
  const absl::Status status = Analyze(ParseOnnxText(Chain(3)), options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'nowhere' matches no module"));
}

}  // namespace
}  // namespace reusescope
