// What shapes are taken where data decide or nothing tells: bounds, assumptions, trips, branches, another batch.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/pipeline.h"
#include "analysis/transform/dim_expression.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Outcome {
  absl::Status status;
  std::vector<std::string> outputs, notes;
  int64_t flops = 0;
};

Outcome Infer(absl::string_view text, ShapeBindings shapes = {}) {
  AnalysisOptions options{.mode = Mode::kInference};
  options.shapes = std::move(shapes);
  absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(text), options);
  if (!analysis.ok()) return {.status = analysis.status()};
  Outcome run{.notes = analysis->notes};
  const Graph& graph = analysis->training.graph;
  for (ValueId id : graph.outputs) run.outputs.push_back(TypeString(graph.value(id).type));
  for (const KernelCost& kernel : analysis->cost.kernels) run.flops += kernel.flops;
  return run;
}

// ---- Upper bounds.

TEST(UpperBoundTest, DataDependentShapesAreTakenAtTheirLargestAndSaySo) {
  struct Case {
    const char* body;
    const char* type;
  };
  constexpr Case kCases[] = {
      {"y = NonZero (x)", "int64[2, 24]"},
      {"y = Compress <axis = 1> (x, keep)", "float32[4, 6]"},
      {"y = Compress (x, keep)", "float32[24]"},
      {"y = Unique (x)", "float32[24]"},
      {"y = Unique <axis = 0> (x)", "float32[4, 6]"},
      {"y, i = TopK (x, k)", "float32[4, 6]"},
      {"y = Slice (x, k, k)", "float32[4, 6]"},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.body);
    const Outcome run = Infer(absl::StrCat("g (float[4,6] x, bool[24] keep, int64[1] k) => (y) { ", c.body, " }"));
    ASSERT_TRUE(run.status.ok()) << run.status;
    EXPECT_EQ(run.outputs[0], c.type);
    EXPECT_THAT(run.notes, Contains(HasSubstr("taken at their largest")));
  }
}

TEST(UpperBoundTest, NonMaxSuppressionKeepsAtMostItsLimitOfEveryClass) {
  const Outcome run = Infer(R"(g (float[2,100,4] boxes, float[2,3,100] scores) => (y) <int64[1] limit = {7}> {
      y = NonMaxSuppression (boxes, scores, limit) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], absl::StrCat("int64[", 2 * 3 * 7, ", 3]"));
}

TEST(UpperBoundTest, WhatFollowsSeesTheBound) {
  const Outcome run = Infer(R"(g (float[4,6] x, bool[4] keep) => (z) <float[6,5] w> {
      y = Compress <axis = 0> (x, keep)
      z = MatMul (y, w) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[4, 5]");
  EXPECT_EQ(run.flops, 2 * 4 * 6 * 5);
}

// ---- Dimensions that nothing binds.

constexpr char kOpen[] = "g (float[N,S,8] x) => (y) <float[8,4] w> { y = MatMul (x, w) }";

TEST(AssumeTest, UnboundDimensionsAreErrorsUnlessAssumed) {
  EXPECT_EQ(Infer(kOpen).status.code(), absl::StatusCode::kFailedPrecondition);
  const Outcome run = Infer(kOpen, {.assume = true});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[1, 1, 4]");
  EXPECT_THAT(run.notes, Contains(AllOf(HasSubstr("taken as 1"), HasSubstr("--dim S=N"))));
}

TEST(AssumeTest, ASizeThatTheWindowsFitIntoIsTried) {
  const Outcome run = Infer("g (float[N,3,H,W] x) => (y) <float[8,3,7,7] w> { y = Conv (x, w) }", {.assume = true});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[1, 8, 250, 250]");
  EXPECT_THAT(run.notes, Contains(AllOf(HasSubstr("taken as 256"), HasSubstr("--dim H=N"))));
}

TEST(AssumeTest, ExpressionsOfDimensionsFollowFromTheirNames) {
  const Outcome run = Infer(R"(g (float["past + new"] m, float[past] p, float[new] n) => (z) {
      y = Concat <axis = 0> (p, n)
      z = Add (y, m) })",
                            {.dims = {{"past", 7}, {"new", 3}}});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[10]");
}

TEST(DimExpressionTest, WhatExportersPrint) {
  const absl::btree_map<std::string, int64_t> bound = {{"s", 7}, {"h", 10}};
  EXPECT_EQ(EvaluateDimension("s + 1", bound), 8);
  EXPECT_EQ(EvaluateDimension("2*(s-1)", bound), 12);
  EXPECT_EQ(EvaluateDimension("floor(h/4 - 1/2) + 1", bound), 3);  // floor(2.0) + 1
  EXPECT_EQ(EvaluateDimension("h//3", bound), 3);
  EXPECT_EQ(EvaluateDimension("Max(s, h)", bound), 10);
  EXPECT_EQ(EvaluateDimension("-s + h", bound), 3);
  for (const char* text : {"t", "s +", "s - h", "s / 0", "(s", "s s", "", "f(s"}) {
    EXPECT_EQ(EvaluateDimension(text, bound), std::nullopt) << text;
  }
  EXPECT_EQ(EvaluateDimension(std::string(5000, '('), bound), std::nullopt);
  EXPECT_FALSE(IsDimensionExpression("batch_size"));
  EXPECT_TRUE(IsDimensionExpression("past + 1"));
}

// ---- Loops and branches.

constexpr char kLoop[] = R"(g (float[2,3] x, int64 n) => (last, all) <float[3,3] w, bool yes = {1}> {
    last, all = Loop <body = b (int64 i, bool c, float[2,3] s) => (bool d, float[2,3] next, float[2,3] out) {
      d = Identity (c)
      next = MatMul (s, w)
      out = Relu (next)
    }> (n, yes, x) })";

TEST(LoopTest, WorkOfTheBodyTimesTheTripsGiven) {
  ParseOnnxText(kLoop);
  for (int64_t trips : {1, 5, 1000}) {
    const Outcome run = Infer(kLoop, {.trip_counts = {{"Loop_0", trips}}});
    ASSERT_TRUE(run.status.ok()) << run.status;
    EXPECT_EQ(run.outputs[1], absl::StrCat("float32[", trips, ", 2, 3]"));
    EXPECT_EQ(run.flops, trips * (2 * 2 * 3 * 3 + 2 * 3));
  }
}

TEST(LoopTest, UnknownTripsNameTheFlagOrAreOne) {
  EXPECT_THAT(Infer(kLoop).status.message(), HasSubstr("float32[?, 2, 3]"));
  const Outcome run = Infer(kLoop, {.assume = true});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[1], "float32[1, 2, 3]");
  EXPECT_THAT(run.notes, Contains(HasSubstr("--trip-count Loop_0=N")));
  const Outcome misspelled = Infer(kLoop, {.trip_counts = {{"Loop_7", 2}}, .assume = true});
  EXPECT_EQ(misspelled.status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(misspelled.status.message(), HasSubstr("expected one of 'Loop_0'"));
}

TEST(LoopTest, AConditionMakesTheTripCountABound) {
  const Outcome run = Infer(R"(g (float[3] x, bool go) => (last, all) <int64 n = {6}> {
    last, all = Loop <body = b (int64 i, bool c, float[3] s) => (bool d, float[3] next, float[3] out) {
      d = Identity (go)
      next = Relu (s)
      out = Neg (next)
    }> (n, go, x) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[1], "float32[6, 3]");
  EXPECT_THAT(run.notes, Contains(HasSubstr("6 trips")));
}

TEST(LoopTest, CarriedValuesThatGrowGoOnAsTheyDid) {
  const Outcome run = Infer(R"(g (float[2,3] x) => (last) <int64 n = {1000}, bool yes = {1}> {
    last = Loop <body = b (int64 i, bool c, float[P,Q] s) => (bool d, float[R,S] next) {
      d = Identity (c)
      next = Concat <axis = 0> (s, x)
    }> (n, yes, x) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], absl::StrCat("float32[", 2 + 2 * 1000, ", 3]"));
}

TEST(BranchTest, TheDearerOneIsTakenWhenTheConditionIsNotKnown) {
  const Outcome run = Infer(R"(g (float[2,3] x, bool c) => (y) <float[3,3] w> {
    y = If (c) <then_branch = t () => (u) { u = Relu (x) }, else_branch = e () => (v) { v = MatMul (x, w) }> })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flops, 2 * 2 * 3 * 3);
  EXPECT_THAT(run.notes, Contains(HasSubstr("else branch, which computes more")));
}

// ---- Another batch than the file's.

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
  const Outcome one = Infer(kFixed), eight = Infer(kFixed, {.batch = 8});
  ASSERT_TRUE(eight.status.ok()) << eight.status;
  EXPECT_EQ(one.outputs[0], "float32[1, 30]");
  EXPECT_EQ(eight.outputs[0], "float32[8, 30]");
  EXPECT_EQ(eight.flops, 8 * one.flops);
  EXPECT_THAT(eight.notes, Contains(HasSubstr("exported at a fixed batch of 1, analysed at 8")));
}

TEST(RebatchTest, HeadsMergedIntoTheBatchFollow) {
  const Outcome run =
      Infer(R"(g (float[5,2,6] x) => (y) <int64[3] heads = {5, 4, 3}> { y = Reshape (x, heads) })", {.batch = 10});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[10, 4, 3]");
}

TEST(RebatchTest, WhatPinsTheBatchIsNamed) {
  // The rows of the batch become columns, of which there is a fixed number.
  const Outcome run = Infer(R"(g (float[2,6] x) => (y) <float[2,5] w> {
    t = Transpose (x)
    y = MatMul (t, w) })",
                            {.batch = 8});
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(run.status.message(), AllOf(HasSubstr("at --batch 8"), HasSubstr("(MatMul-13)")));
}

}  // namespace
}  // namespace reusescope
