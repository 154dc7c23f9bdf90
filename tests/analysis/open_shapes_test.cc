// What shapes are taken where data decide or nothing tells: bounds, assumptions, trips, branches.

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
  std::vector<std::string> flagged;  // the types of the outputs, upper bounds marked
  int64_t flops = 0;
  int unknown = 0;  // kernels whose arithmetic is not known
};

Outcome Infer(absl::string_view text, ShapeBindings shapes = {}) {
  AnalysisOptions options{.mode = Mode::kInference};
  options.shapes = std::move(shapes);
  absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(text), options);
  if (!analysis.ok()) return {.status = analysis.status()};
  Outcome run{.notes = analysis->notes};
  const Graph& graph = analysis->training.graph;
  for (ValueId id : graph.outputs) {
    run.outputs.push_back(TypeString(graph.value(id).type));
    run.flagged.push_back(TypeString(graph.value(id).type, graph.value(id).at_most));
  }
  for (const KernelCost& kernel : analysis->cost.kernels) {
    run.flops += kernel.flops;
    run.unknown += kernel.known ? 0 : 1;
  }
  return run;
}

// ---- Upper bounds.

TEST(UpperBoundTest, DimensionsThatDataDecideAreFlaggedAndWhatFollowsFromThem) {
  const Outcome run =
      Infer(R"(g (float[4,6] x, bool[24] keep) => (y, n, r, z, w) <float[6,3] m, int64[2] flat = {-1, 2}> {
    n = NonZero (x)
    t = Transpose (n)
    y = Gather (x, t)
    z = Relu (x)
    p = MatMul (x, m)
    r = Reshape (y, flat)
    c = Compress <axis = 1> (x, keep)
    w = ReduceSum <keepdims = 1> (c) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flagged, (std::vector<std::string>{"float32[<=24, 2, 6]", "int64[2, <=24]", "float32[<=144, 2]",
                                                   "float32[4, 6]", "float32[1, 1]"}));
}

TEST(UpperBoundTest, ReductionsOverAxesThatAreData) {
  const Outcome run = Infer(R"(g (float[2,3,2] x, int64[1] one, int64[2] two) => (kept, dropped, pair) {
    kept = ReduceMax <keepdims = 1> (x, one)
    dropped = ReduceMean <keepdims = 0> (x, one)
    pair = ReduceSum <keepdims = 0> (x, two) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flagged, (std::vector<std::string>{"float32[<=2, <=3, <=2]", "float32[<=3, <=3]", "float32[<=3]"}));
  EXPECT_EQ(run.flops, 12 + (12 + 9) + 12) << "each element once; the mean divides what is left";
}

TEST(UpperBoundTest, AReductionWhoseFileTellsItsShapeTakesThat) {
  const Outcome run = Infer(R"(g (float[2,3,2] x, int64[1] axis) => (float[3,2] y) {
    y = ReduceSum <keepdims = 0> (x, axis) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flagged, (std::vector<std::string>{"float32[3, 2]"}));
}

TEST(OpenShapesTest, ASparseInputIsBoundAsAnyOther) {
  const Outcome run = Infer(R"(<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (sparse_tensor(float[M, K]) a, float[K, N] b) => (y) { y = com.microsoft.SparseToDenseMatMul (a, b) })",
                            {.dims = {{"M", 4}, {"K", 3}}, .assume = true});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs, (std::vector<std::string>{"float32[4, 1]"}));
}

// A file without domains: ONNX Runtime's form, long before ONNX had an operator of the name. ONNX's body for it is
// none.
TEST(OpenShapesTest, AnotherFormOfAYoungerOperatorIsTheFilesFault) {
  const Outcome run = Infer(R"(<ir_version: 7, opset_import: ["" : 13]>
    g (float[1,2,4] x) => (float[1,2,4] y, float[2,1,2,2,2] present) <float[4,12] w, float[12] b> {
      y, present = Attention <num_heads = 2> (x, w, b) })");
  EXPECT_TRUE(absl::IsInvalidArgument(run.status)) << run.status;
  EXPECT_THAT(run.status.message(), HasSubstr("node 'Attention_0' (Attention-23): 3D inputs expected"));
}

TEST(OpenShapesTest, MeanVarianceNormalizationOfHalfs) {
  const Outcome run = Infer(R"(g (float16[2,4] x) => (y) { y = MeanVarianceNormalization <axes = [1]> (x) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs, (std::vector<std::string>{"float16[2, 4]"}));
}

TEST(UpperBoundTest, ALoopThatMayEndEarlyStacksAtMostItsTrips) {
  const Outcome run = Infer(R"(g (float[3] x, bool go) => (last, y) <int64 n = {6}> {
    last, all = Loop <body = b (int64 i, bool c, float[3] s) => (bool d, float[3] next, float[3] out) {
      d = Identity (go)
      next = Relu (s)
      out = Neg (next)
    }> (n, go, x)
    y = Exp (all) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flagged, (std::vector<std::string>{"float32[3]", "float32[<=6, 3]"}));
}

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

TEST(UpperBoundTest, AShapeThatIsDataBoundsNoDimension) {
  const Outcome run = Infer("g (float[2,3] x, int64[2] s) => (y) { y = Reshape (x, s) }");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flagged[0], "float32[6, 1]");
  EXPECT_THAT(run.notes, Contains(HasSubstr("taken as ones with as many elements")));
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

TEST(BranchTest, TheConditionIsComputedAllTheSame) {
  const Outcome run = Infer(R"(g (float[6] a, float[6] b) => (y) {
    s = ReduceSum <keepdims = 0> (a)  t = ReduceSum <keepdims = 0> (b)  c = Less (s, t)
    y = If (c) <then_branch = p () => (u) { u = Identity (b) }, else_branch = q () => (v) { v = Identity (a) }> })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flops, 6 + 6 + 1);
}

// ---- Lists.

constexpr absl::string_view kSequenceMap = R"(<ir_version: 8, opset_import: ["" : 17]>
    g (seq(float[5]) a, float[5] b) => (seq(float[5]) y) {
      [add] y = SequenceMap (a, b) <body = m (float[5] u, float[5] v) => (float[5] w) { w = Add (u, v) }> })";

TEST(SequenceTest, AMapOverAListOfUnknownLengthRunsOnceAndSaysSo) {
  const Outcome run = Infer(kSequenceMap, {.assume = true});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flops, 5);
  EXPECT_THAT(run.notes, Contains(HasSubstr("'add' (SequenceMap) runs once; --trip-count add=N")));
}

TEST(SequenceTest, AMapRunsAsOftenAsItIsSaid) {
  const Outcome run = Infer(kSequenceMap, {.trip_counts = {{"add", 3}}});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.flops, 3 * 5);
}

TEST(SequenceTest, AnOptionalHandsOutTheListThatItHolds) {
  const Outcome run = Infer(R"(<ir_version: 8, opset_import: ["" : 15]>
    g (optional(seq(int32[4])) o) => (seq(int32[4]) y) { y = OptionalGetElement (o) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "sequence(int32[4])");
}

// A list that a loop makes longer: what is copied into it and out of it is no arithmetic, and all of it is known.
TEST(SequenceTest, WhatALoopCollectsIsUnderstood) {
  const Outcome run = Infer(R"(g (float[4] x, int64 at) => (y) <int64 n = {3}, bool go = {1}> {
    e = SequenceEmpty ()
    s = Loop (n, go, e) <body = b (int64 i, bool c, seq(float[4]) t) => (bool d, seq(float[4]) u) {
      d = Identity (c)  r = Relu (x)  u = SequenceInsert (t, r) }>
    y = SequenceAt (s, at) })",
                            {.assume = true});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[4]");
  EXPECT_EQ(run.flops, 3 * 4);
  EXPECT_EQ(run.unknown, 0);
}

TEST(BranchTest, BranchesWithinBranchesAreLookedAtOnce) {
  // A chain of twenty conditions, each within the branch before: 2^20 walks if each were looked at anew.
  std::string branch = "v0 = Relu (x)";
  for (int i = 1; i <= 20; ++i) {
    branch = absl::StrCat("v", i, " = If (c) <then_branch = t", i, " () => (v", i - 1, ") { ", branch,
                          " }, else_branch = e", i, " () => (w", i, ") { w", i, " = Neg (x) }>");
  }
  const Outcome run = Infer(absl::StrCat("g (float[2,3] x, bool c) => (v20) { ", branch, " }"));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[2, 3]");
}

TEST(LoopTest, LoopsWithinLoopsThatGrowEnd) {
  std::string step = "o0 = Concat <axis = 0> (s1, x)";
  for (int i = 1; i <= 4; ++i) {
    step = absl::StrCat("o", i, " = Loop <body = b", i, " (int64 i", i, ", bool c", i, ", float[P", i, "] s", i,
                        ") => (bool d", i, ", float[Q", i, "] o", i - 1, ") { d", i, " = Identity (c", i, ") ", step,
                        " }> (n, yes, s", i + 1, ")");
  }
  const Outcome run =
      Infer(absl::StrCat("g (float[2] x) => (o4) <int64 n = {1000}, bool yes = {1}> { s5 = Relu (x) ", step, " }"));
  EXPECT_THAT(run.status.message(), HasSubstr("come to too many nodes"));
}

// ---- Sizes that nothing binds, in inference.

TEST(AssumedSizeTest, IsOneThatFitsAndLeavesNothingEmpty) {
  struct Case {
    const char* text;
    const char* type;
  };
  constexpr Case kCases[] = {
      // What the weight asks for.
      {"g (float[N,D] x) => (y) <float[37,5] w> { y = MatMul (x, w) }", "float32[1, 5]"},
      // The leading dimension is time: a window of three has to fit.
      {R"(g (float[T,4] x) => (y) <float[5,4,3] w, int64[1] zero = {0}> {
            u = Unsqueeze (x, zero)
            t = Transpose <perm = [0,2,1]> (u)
            y = Conv (t, w) })",
       "float32[1, 5, 254]"},
      // Of one sample of sound there is no frame.
      {R"(g (float[1,T] x) => (y) <int64[1] first = {8}, int64[1] last = {1000}, int64[1] axis = {1}> {
            y = Slice (x, first, last, axis) })",
       "float32[1, 248]"},
  };
  for (const Case& c : kCases) {
    const Outcome run = Infer(c.text, {.assume = true});
    ASSERT_TRUE(run.status.ok()) << run.status;
    EXPECT_EQ(run.outputs[0], c.type);
  }
}

// ---- Windows. Positions as ONNX Runtime 1.31 computes them for MaxPool-12.

TEST(PoolTest, WindowsThatBeginBehindTheImageAreLeftOut) {
  struct Case {
    int in, window, stride, pads, dilation, out;
  };
  constexpr Case kCases[] = {{2, 1, 2, 0, 1, 1}, {7, 3, 2, 0, 1, 3}, {6, 3, 2, 0, 1, 3}, {6, 3, 2, 1, 1, 4},
                             {5, 2, 4, 1, 1, 2}, {9, 3, 2, 0, 2, 3}, {6, 1, 3, 0, 1, 2}};
  for (const Case& c : kCases) {
    const Outcome run =
        Infer(absl::StrCat("<ir_version: 7, opset_import: [\"\" : 12]> g (float[1,1,", c.in,
                           "] x) => (y) { y = MaxPool <ceil_mode = 1, ", "kernel_shape = [", c.window, "], strides = [",
                           c.stride, "], pads = [", c.pads, ", ", c.pads, "], dilations = [", c.dilation, "]> (x) }"));
    ASSERT_TRUE(run.status.ok()) << run.status;
    EXPECT_EQ(run.outputs[0], absl::StrCat("float32[1, 1, ", c.out, "]")) << c.in << " by " << c.window;
  }
}

TEST(PoolTest, AutomaticPaddingGivesAPositionForEachStride) {
  const Outcome run = Infer(R"(<ir_version: 7, opset_import: ["" : 12]> g (float[1,1,5,8] x) => (y, i) {
    y, i = MaxPool <auto_pad = "SAME_LOWER", kernel_shape = [3, 2], strides = [2, 3], ceil_mode = 1> (x) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs, (std::vector<std::string>{"float32[1, 1, 3, 3]", "int64[1, 1, 3, 3]"}));
}

// ---- Files that are of an older opset than they claim, or a newer one.

TEST(OpsetTest, AnOperatorYoungerThanTheOpsetIsAnalysedFromItsBody) {
  const Outcome run = Infer(R"(<ir_version: 8, opset_import: ["" : 17]>
    g (float[3,20,10] x) => (y) <int64[2] s = {10, 8}> { y = CenterCropPad <axes = [1, 2]> (x, s) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[3, 10, 8]");
  EXPECT_EQ(run.unknown, 0);
  EXPECT_THAT(run.notes, Contains(HasSubstr("(CenterCropPad) is younger than the opset")));
}

// A draft of CenterCropPad had `channel_first`; what ONNX released does not tell what it does.
TEST(OpsetTest, ADraftOfAnOperatorIsNotTakenForIt) {
  const Outcome run = Infer(R"(<ir_version: 8, opset_import: ["" : 17]>
    g (float[3,20,8] x, int64[2] s) => (float[3,10,10] y) { y = CenterCropPad <channel_first = 1> (x, s) })",
                            {.assume = true});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.unknown, 1);
}

TEST(OpsetTest, AttributesThatOldAdditionsBroadcastByAreHeededWhereTheyMustBe) {
  const Outcome run = Infer(R"(<ir_version: 7, opset_import: ["" : 14]>
    g (float[1,8,28,28] x, float[8] b) => (y) { y = Add <axis = 1, broadcast = 1> (x, b) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.outputs[0], "float32[1, 8, 28, 28]");
  EXPECT_EQ(run.flops, 8 * 28 * 28);
  EXPECT_THAT(run.notes, Contains(HasSubstr("has the form of opset 6")));
}

}  // namespace
}  // namespace reusescope
