// What forward leaves for backward, on graphs small enough to count by hand. Real models: truth_test.cc.

#include "analysis/measure/stash.h"

#include <string>
#include <vector>

#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Result {
  StashTable stash;
  std::vector<std::string> eager_values;
};

// The stash of the model as it is, without a loss.
Result StashOf(const std::string& text, AnalysisOptions options = {}) {
  options.loss = Loss::kNone;
  const absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(text), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  if (!analysis.ok()) return {};
  Result result{analysis->memory.stash, {}};
  EXPECT_EQ(result.stash.needed_bytes, analysis->memory.stash_needed_bytes);
  EXPECT_EQ(result.stash.eager_bytes, analysis->memory.stash_pytorch_eager_bytes);
  for (ValueId id : result.stash.eager_values) result.eager_values.push_back(analysis->training.graph.value(id).name);
  return result;
}

TEST(Stash, ProductKeepsItsInputs) {
  const Result result = StashOf(R"(
      mlp (float[8,16] x) => (float[8,4] y) <float[16,32] w1, float[32,4] w2>
      { h = MatMul (x, w1)
        y = MatMul (h, w2) })");
  EXPECT_EQ(result.stash.needed_bytes, 4 * 8 * 32);
  EXPECT_EQ(result.stash.needed_input_bytes, 4 * 8 * 16);
  EXPECT_EQ(result.stash.eager_bytes, 4 * 8 * 32);
  EXPECT_EQ(result.stash.eager_input_bytes, 4 * 8 * 16);
  EXPECT_THAT(result.eager_values, ElementsAre("x", "h"));
}

TEST(Stash, ReluKeepsItsOutputOnceForItAndTheNextProduct) {
  const Result result = StashOf(R"(
      mlp (float[8,16] x) => (float[8,4] y) <float[16,32] w1, float[32,4] w2>
      { h = MatMul (x, w1)
        r = Relu (h)
        y = MatMul (r, w2) })");
  EXPECT_EQ(result.stash.needed_bytes, 4 * 8 * 32);
  EXPECT_EQ(result.stash.eager_bytes, 4 * 8 * 32);
  EXPECT_THAT(result.eager_values, ElementsAre("x", "r"));
}

// What each operator needs at least, where nothing else is kept.
TEST(Stash, NeededIsTheLeastThatTheRulesNeed) {
  const auto needed = [](const std::string& text) { return StashOf(text).stash.needed_bytes; };
  // Its output, not its input.
  EXPECT_EQ(needed(R"(m (float[8,16] x) => (float[8,32] y) <float[16,32] w>
      { h = MatMul (x, w)
        y = Softmax (h) })"),
            4 * 8 * 32);
  // Indices, not its input.
  EXPECT_EQ(needed(R"(m (float[2,3,8,8] x) => (float[2,4,4,4] y) <float[4,3,1,1] w>
      { h = Conv (x, w)
        y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (h) })"),
            8 * 2 * 4 * 4 * 4);
  // Its input, mean and deviation of each channel; not its output.
  EXPECT_EQ(needed(R"(m (float[2,3,8,8] x) => (float[2,4,8,8] y, float[4] m1, float[4] v1)
        <float[4,3,1,1] w, float[4] s, float[4] b, float[4] m, float[4] v>
      { h = Conv (x, w)
        y, m1, v1 = BatchNormalization <training_mode = 1> (h, s, b, m, v) })"),
            4 * 2 * 4 * 8 * 8 + 2 * 4 * 4);
  // A byte an element.
  EXPECT_EQ(needed(R"(m (float[8,16] x) => (float[8,32] y) <float[16,32] w, float ratio = {0.5}, bool training = {1}>
      { h = MatMul (x, w)
        y = Dropout (h, ratio, training) })"),
            8 * 32);
  // Nothing: sums have gradients without operands.
  EXPECT_EQ(needed(R"(m (float[8,16] x) => (float[8,32] y) <float[16,32] w, float[32] b>
      { h = MatMul (x, w)
        y = Add (h, b) })"),
            0);
}

TEST(Stash, WhatIsKeptAnywayIsPreferred) {
  // The next product keeps r; the sign that LeakyRelu needs is that of its output as well.
  EXPECT_EQ(StashOf(R"(m (float[8,16] x) => (float[8,4] y) <float[16,32] w1, float[32,4] w2>
      { h = MatMul (x, w1)
        r = LeakyRelu (h)
        y = MatMul (r, w2) })")
                .stash.needed_bytes,
            4 * 8 * 32);
  // The sine keeps h; Relu, which would keep r, reads h too.
  const std::string relu = R"(m (float[8,16] x) => (float[8,32] y) <float[16,32] w>
      { h = MatMul (x, w)
        s = Sin (h)
        r = Relu (h)
        y = Add (s, r) })";
  EXPECT_EQ(StashOf(relu).stash.needed_bytes, 4 * 8 * 32);
  EXPECT_EQ(StashOf(relu).stash.eager_bytes, 2 * 4 * 8 * 32) << "eager PyTorch has no such choice";
  // A slope below zero turns the sign.
  EXPECT_EQ(StashOf(R"(m (float[8,16] x) => (float[8,4] y) <float[16,32] w1, float[32,4] w2>
      { h = MatMul (x, w1)
        r = LeakyRelu <alpha = -0.5> (h)
        y = MatMul (r, w2) })")
                .stash.needed_bytes,
            2 * 4 * 8 * 32);
}

TEST(Stash, ViewsAndStridedViewsAreTheStorageTheyView) {
  // r and its transposed view both go into products; PyTorch keeps one storage, whole, though the slice is half of it.
  const Result result = StashOf(R"(
      m (float[8,16] x) => (float[16,4] y) <float[16,32] w1, float[8,4] w2, int64[1] s = {0}, int64[1] e = {16}, int64[1] a = {1}>
      { h = MatMul (x, w1)
        r = Relu (h)
        t = Transpose <perm = [1, 0]> (r)
        u = Slice (t, s, e, s)
        y = MatMul (u, w2) })");
  EXPECT_EQ(result.stash.eager_bytes, 4 * 8 * 32);
  EXPECT_THAT(result.eager_values, ElementsAre("x", "r"));
}

TEST(Stash, EagerMaxPoolKeepsItsInputAndIndices) {
  const Result result = StashOf(R"(
      m (float[2,3,8,8] x) => (float[2,4,4,4] y) <float[4,3,1,1] w>
      { h = Conv (x, w)
        y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (h) })");
  EXPECT_EQ(result.stash.eager_bytes, 4 * 2 * 4 * 8 * 8 + 8 * 2 * 4 * 4 * 4);
  EXPECT_EQ(result.stash.eager_extra_bytes, 0) << "the indices are a value, which backward reads";
  EXPECT_LE(result.stash.needed_bytes, result.stash.eager_bytes);
}

TEST(Stash, DropoutMaskHasTheWidthThatIsAskedFor) {
  const std::string text = R"(
      m (float[8,16] x) => (float[8,32] y) <float[16,32] w, float ratio = {0.5}, bool training = {1}>
      { h = MatMul (x, w)
        y = Dropout (h, ratio, training) })";
  EXPECT_EQ(StashOf(text, {.dropout_mask_bytes = 1}).stash.eager_dropout_mask_bytes, 8 * 32);
  EXPECT_EQ(StashOf(text, {.dropout_mask_bytes = 4}).stash.eager_dropout_mask_bytes, 4 * 8 * 32);
}

TEST(Stash, NodesThatNoGradientPassesKeepNothing) {
  // The first product has no parameter behind it: its inputs are not kept, its output is, for the second.
  const Result result = StashOf(R"(
      m (float[8,16] x, float[16,32] z) => (float[8,4] y) <float[32,4] w>
      { h = MatMul (x, z)
        y = MatMul (h, w) })");
  EXPECT_EQ(result.stash.eager_input_bytes, 0);
  EXPECT_EQ(result.stash.eager_bytes, 4 * 8 * 32);
  EXPECT_THAT(result.eager_values, ElementsAre("h"));
}

TEST(Stash, ParametersAreNotStash) {
  const Result result = StashOf(R"(
      m (float[8,16] x) => (float[8,16] y) <float[16] w>
      { y = Mul (x, w) })");
  EXPECT_EQ(result.stash.eager_bytes, 0);
  EXPECT_EQ(result.stash.needed_bytes, 0);
  EXPECT_EQ(result.stash.eager_input_bytes, 4 * 8 * 16);
}

TEST(Stash, SixteenBitModesHalveIt) {
  const std::string text = R"(
      m (float[8,16] x) => (float[8,4] y) <float[16,32] w1, float[32,4] w2>
      { h = MatMul (x, w1)
        y = MatMul (h, w2) })";
  EXPECT_EQ(StashOf(text, {.precision = PrecisionMode::kAmpBf16}).stash.eager_bytes, 2 * 8 * 32);
  EXPECT_EQ(StashOf(text, {.precision = PrecisionMode::kTf32}).stash.eager_bytes, 4 * 8 * 32);
}

TEST(Stash, InferenceKeepsNothing) {
  const Result result = StashOf(R"(
      m (float[8,16] x) => (float[8,4] y) <float[16,32] w1, float[32,4] w2>
      { h = MatMul (x, w1)
        y = MatMul (h, w2) })",
                                {.mode = Mode::kInference});
  EXPECT_EQ(result.stash.eager_bytes + result.stash.eager_input_bytes, 0);
  EXPECT_EQ(result.stash.needed_bytes + result.stash.needed_input_bytes, 0);
  EXPECT_THAT(result.eager_values, IsEmpty());
}

}  // namespace
}  // namespace reusescope
