// A file exported at a fixed batch, analysed at another: what follows, what cannot, and real exports at both.

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

struct Outcome {
  absl::Status status;
  std::vector<std::string> outputs, notes;
  // Of the whole step.
  int64_t kernels = 0, parameters = 0, contraction_flops = 0, flops = 0, transcendentals = 0, bytes = 0;
};

Outcome Run(absl::StatusOr<Model> model, std::optional<int64_t> batch, Mode mode = Mode::kInference) {
  if (!model.ok()) return {.status = model.status()};
  AnalysisOptions options{.shapes = {.batch = batch}, .mode = mode};
  const absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), options);
  if (!analysis.ok()) return {.status = analysis.status()};
  const Graph& graph = analysis->training.graph;
  Outcome run{.kernels = static_cast<int64_t>(analysis->cost.kernels.size()), .parameters = analysis->facts.parameters};
  run.notes = analysis->notes;
  for (ValueId id : graph.outputs) run.outputs.push_back(TypeString(graph.value(id).type));
  for (const KernelCost& kernel : analysis->cost.kernels) {
    run.contraction_flops += kernel.contraction_flops;
    run.flops += kernel.flops;
    run.transcendentals += kernel.transcendentals;
    run.bytes += kernel.bytes();
  }
  return run;
}

Outcome RunText(absl::string_view text, std::optional<int64_t> batch) { return Run(ParseOnnxText(text), batch); }

constexpr char kFixed[] = R"(g (float[1,4,6] x) => (y) <float[1,1,6] token, float[6,6] w,
                             int64[3] heads = {5, 2, 3}, int64[2] flat = {1, -1}> {
    joined = Concat <axis = 1> (token, x)
    z = MatMul (joined, w)
    turned = Transpose <perm = [1,0,2]> (z)
    split = Reshape (turned, heads)
    back = Transpose <perm = [1,0,2]> (split)
    merged = Reshape (z, flat)
    y = Relu (merged) })";

TEST(RebatchTest, ConstantShapesFollowTheBatch) {
  const Outcome one = RunText(kFixed, std::nullopt), eight = RunText(kFixed, 8);
  ASSERT_TRUE(eight.status.ok()) << eight.status;
  EXPECT_EQ(one.outputs[0], "float32[1, 30]");
  EXPECT_EQ(eight.outputs[0], "float32[8, 30]");
  EXPECT_EQ(eight.flops, 8 * one.flops);
  EXPECT_THAT(eight.notes, Contains(HasSubstr("exported at a fixed batch of 1, analysed at 8")));
}

TEST(RebatchTest, HeadsMergedIntoTheBatchFollow) {
  const Outcome run =
      RunText(R"(g (float[5,2,6] x) => (y) <int64[3] heads = {5, 4, 3}> { y = Reshape (x, heads) })", 10);
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[10, 4, 3]");
}

TEST(RebatchTest, WhatPinsTheBatchIsNamed) {
  // The rows of the batch become columns, of which there is a fixed number.
  const Outcome run = RunText(R"(g (float[2,6] x) => (y) <float[2,5] w> {
    t = Transpose (x)
    y = MatMul (t, w) })",
                              8);
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(run.status.message(), AllOf(HasSubstr("at --batch 8"), HasSubstr("(MatMul-13)")));
}

TEST(RebatchTest, AStoredRowThatIsJoinedToTheBatchIsRepeatedOnce) {
  // The Expand to the one sample of the file gives way to the one that is needed.
  const Outcome run = RunText(R"(g (float[1,4,6] x) => (y) <float[1,1,6] token, int64[3] one = {1, 1, 6}> {
    t = Expand (token, one)
    y = Concat <axis = 1> (t, x) })",
                              8);
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[8, 5, 6]");
  EXPECT_EQ(run.kernels, 2);  // Expand, Concat
}

TEST(RebatchTest, RowsThatAreFurtherSamplesAreNot) {
  const Outcome run = RunText("g (float[1,6] x) => (y) <float[1,6] row> { y = Concat <axis = 0> (x, row) }", 8);
  EXPECT_THAT(run.status.message(), AllOf(HasSubstr("(Concat-13) pins the batch to 1"), HasSubstr("dynamic_axes")));
}

TEST(RebatchTest, InitialStatesAreRepeated) {
  constexpr absl::string_view kText = R"(g (float[%d,5,6] x) => (y, last)
      <float[1,24,6] w, float[1,24,8] r, float[1,%d,8] h> {
    t = Transpose <perm = [1,0,2]> (x)
    y, last = GRU <hidden_size = 8> (t, w, r, , , h) })";
  const auto text = [&](const char* batch) { return absl::StrReplaceAll(kText, {{"%d", batch}}); };
  const Outcome one = RunText(text("1"), 8), eight = RunText(text("8"), 8);
  ASSERT_TRUE(one.status.ok()) << one.status;
  EXPECT_EQ(one.outputs[1], "float32[1, 8, 8]");
  EXPECT_EQ(one.flops, eight.flops);
  // States of eight samples stand for no other number of them.
  EXPECT_THAT(RunText(text("8"), 16).status.message(),
              AllOf(HasSubstr("(GRU-14) pins the batch to 8"), HasSubstr("'h' float32[1, 8, 8] is stored")));
}

TEST(RebatchTest, ASumOverTheBatchAndMorePinsIt) {
  // At one sample the rows are features; at eight they would be summed over samples.
  const Outcome run = RunText(R"(g (float[1,6] x) => (y) <int64[2] rows = {2, 3}, int64[1] zero = {0}> {
    r = Reshape (x, rows)
    y = ReduceSum (r, zero) })",
                              8);
  EXPECT_THAT(run.status.message(), AllOf(HasSubstr("(ReduceSum-13) pins the batch"), HasSubstr("has lost")));
  // A loss is one number at any batch.
  const Outcome loss = RunText(R"(g (float[1,6] x) => (y) <int64[1] rows = {6}> {
    r = Reshape (x, rows)
    y = ReduceMean <keepdims = 0> (r) })",
                               8);
  EXPECT_TRUE(loss.status.ok()) << loss.status;
}

TEST(RebatchTest, TimeIsNoBatch) {
  const auto run = [](absl::string_view layout) {
    return RunText(absl::StrCat("g (float[5,5,8] x) => (y) <float[1,16,8] w, float[1,16,4] r> { y, h, c = LSTM <",
                                "hidden_size = 4, layout = ", layout, "> (x, w, r) }"),
                   20);
  };
  EXPECT_THAT(run("0").status.message(), AllOf(HasSubstr("(LSTM-14) pins the batch to 5: it walks along dimension 0"),
                                               HasSubstr("--input NAME=D0xD1x...")));
  EXPECT_TRUE(run("1").status.ok()) << run("1").status;
}

// ---- Exports of small nets by PyTorch (testdata/batch/make_models.py).

struct Export {
  const char* net;
  bool stores_more = false;  // the file at batch 8 has for every sample what the one at batch 1 has once
};

Outcome RunExport(const Export& file, absl::string_view exporter, absl::string_view exported_at, Mode mode) {
  const std::string path = absl::StrCat(REUSESCOPE_SOURCE_DIR, "/tests/analysis/testdata/batch/", file.net, ".",
                                        exporter, ".batch_", exported_at, ".onnx");
  const bool as_it_is = exported_at == "8";
  return Run(LoadModel(path), as_it_is ? std::nullopt : std::make_optional<int64_t>(8), mode);
}

class RebatchExportTest : public ::testing::TestWithParam<Export> {};

TEST_P(RebatchExportTest, ExportedAtOneIsWhatIsExportedAtEight) {
  for (absl::string_view exporter : {"ts", "dyn"}) {
    for (Mode mode : {Mode::kInference, Mode::kTraining}) {
      SCOPED_TRACE(absl::StrCat(exporter, mode == Mode::kTraining ? " training" : " inference"));
      const Outcome one = RunExport(GetParam(), exporter, "1", mode);
      const Outcome eight = RunExport(GetParam(), exporter, "8", mode);
      ASSERT_TRUE(one.status.ok()) << one.status;
      ASSERT_TRUE(eight.status.ok()) << eight.status;
      EXPECT_EQ(one.outputs, eight.outputs);
      EXPECT_EQ(one.contraction_flops, eight.contraction_flops);
      if (GetParam().stores_more) {
        EXPECT_LT(one.bytes, eight.bytes);
        continue;
      }
      EXPECT_EQ(one.parameters, eight.parameters);
      EXPECT_EQ(one.kernels, eight.kernels);
      EXPECT_EQ(one.flops, eight.flops);
      EXPECT_EQ(one.transcendentals, eight.transcendentals);
      EXPECT_EQ(one.bytes, eight.bytes);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Nets, RebatchExportTest,
                         ::testing::Values(Export{"vit"}, Export{"gpt"}, Export{"swin"}, Export{"gru0"}, Export{"lstm"},
                                           Export{"unet"}, Export{"bert", true}, Export{"flat", true}),
                         [](const auto& info) { return info.param.net; });

}  // namespace
}  // namespace reusescope
