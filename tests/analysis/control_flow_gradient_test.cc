// The gradients of If, Loop and Scan as the analysis sees them. That they are right is proven in tests/gradients.

#include "absl/strings/str_cat.h"
#include "analysis/ir/subgraphs.h"
#include "analysis/pipeline.h"
#include "analysis/transform/find_parameters.h"
#include "analysis/transform/make_executable.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<TrainingGraph> Differentiated(absl::string_view text, bool keep_branches = true) {
  AnalysisOptions options{.loss = Loss::kNone};
  options.shapes.keep_branches = keep_branches;
  std::vector<std::string> notes;
  return BuildGraph(ParseOnnxText(text), options, Stage::kDifferentiate, notes);
}

// Multiply-accumulates of the kernels of one operator and phase.
int64_t MacsOf(const TrainingGraph& training, absl::string_view op, Phase phase) {
  const absl::StatusOr<CostTable> cost = ComputeCost(training, {});
  EXPECT_TRUE(cost.ok()) << cost.status();
  int64_t macs = 0;
  for (const KernelCost& kernel : cost->kernels) {
    const Node& node = training.graph.node(kernel.node);
    if (node.op.type != op || node.phase != phase) continue;
    EXPECT_TRUE(kernel.known) << node.name;
    macs += kernel.macs;
  }
  return macs;
}

constexpr absl::string_view kLoop = R"(<ir_version: 8, opset_import: ["" : 18]>
g (float[3,4] x) => (float[3,4] y) <float[4,4] w, int64 trips = {5}>
{ y = Loop (trips, , x) <body = body (int64 i, bool c, float[3,4] s) => (bool c2, float[3,4] s2)
    { h = MatMul (s, w)  s2 = Tanh (h)  c2 = Identity (c) }> })";

TEST(ControlFlowGradientTest, ALoopIsReplayedBackwards) {
  const absl::StatusOr<TrainingGraph> training = Differentiated(kLoop);
  ASSERT_TRUE(training.ok()) << training.status();
  EXPECT_EQ(MacsOf(*training, "Loop", Phase::kForward), 5 * 3 * 4 * 4);
  // Every trip computes its product anew, and from it the gradients of both operands.
  EXPECT_EQ(MacsOf(*training, "Scan", Phase::kBackward), 5 * 3 * (3 * 4 * 4));
  ASSERT_EQ(training->stash.size(), 1u);  // the states at the beginning of the trips
  EXPECT_EQ(training->graph.value(training->stash[0].value).type.shape, (Shape{5, 3, 4}));
}

constexpr absl::string_view kBranches = R"(<ir_version: 8, opset_import: ["" : 18]>
g (float[3,4] x, bool c) => (float[3,5] y) <float[4,5] w, float[4,5] v>
{ y = If (c) <then_branch = t () => (float[3,5] a) { a = MatMul (x, w) },
              else_branch = e () => (float[3,5] b) { p = MatMul (x, v)  q = MatMul (x, w)  b = Mul (p, q) }> })";

TEST(ControlFlowGradientTest, BothBranchesOfAnIfAreKeptForAFile) {
  const absl::StatusOr<TrainingGraph> training = Differentiated(kBranches);
  ASSERT_TRUE(training.ok()) << training.status();
  // Of the dearer branch: two products, and backward both anew and one gradient each, as x is an input.
  EXPECT_EQ(MacsOf(*training, "If", Phase::kForward), 2 * (3 * 4 * 5));
  EXPECT_EQ(MacsOf(*training, "If", Phase::kBackward), 4 * (3 * 4 * 5));
  const absl::StatusOr<TrainingGraph> analysed = Differentiated(kBranches, /*keep_branches=*/false);
  ASSERT_TRUE(analysed.ok()) << analysed.status();
  EXPECT_EQ(MacsOf(*analysed, "If", Phase::kForward), 0);
}

TEST(ControlFlowGradientTest, BranchesOfDifferentShapesAreAnError) {
  const absl::Status status = Differentiated(R"(<ir_version: 8, opset_import: ["" : 18]>
g (float[3,4] x, bool c) => (float[n,4] y) <float[4] w>
{ y = If (c) <then_branch = t () => (float[3,4] a) { a = Mul (x, w) },
              else_branch = e () => (float[6,4] b) { b = Concat <axis = 0> (x, x) }> })")
                                  .status();
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("(If-"), HasSubstr("[3, 4] by one branch"), HasSubstr("[6, 4] by the other")));
}

TEST(ControlFlowGradientTest, TensorsThatABodyStoresAreParametersOfTheModel) {
  absl::StatusOr<TrainingGraph> training = Differentiated(R"(<ir_version: 8, opset_import: ["" : 18]>
g (float[3,4] x) => (float[3,4] y) <int64 trips = {5}>
{ y = Loop (trips, , x) <body = body (int64 i, bool c, float[3,4] s) => (bool c2, float[3,4] s2)
    <float[4] scale = {1, 2, 3, 4}> { s2 = Mul (s, scale)  c2 = Identity (c) }> })");
  ASSERT_TRUE(training.ok()) << training.status();
  EXPECT_EQ(ParameterCount(training->graph), 4);
  const absl::StatusOr<Model> executable = MakeExecutable(*std::move(training));
  ASSERT_TRUE(executable.ok()) << executable.status();
  std::vector<std::string> outputs;
  for (ValueId output : executable->graph.outputs) outputs.push_back(executable->graph.value(output).name);
  EXPECT_THAT(outputs, testing::Contains("grad.scale"));
}

// ---- What has no gradient is named, and how the gradient comes there.

// Both bodies store a `w`; the inner one's moves out twice.
TEST(ControlFlowGradientTest, TensorsOfABodyInABodyAreFoundAgain) {
  Model model = ParseOnnxText(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[3] x) => (float[3] y) <int64 m = {2}>
{ y = Loop (m, , x) <body = outer (int64 i, bool c, float[3] s) => (bool c2, float[3] s2)
      <float[3] w = {1.0, 2.0, 3.0}>
    { t = Add (s, w)
      s2 = Loop (m, , t) <body = inner (int64 j, bool d, float[3] u) => (bool d2, float[3] u2)
          <float[3] w = {4.0, 5.0, 6.0}>
        { u2 = Mul (u, w) d2 = Identity (d) }>
      c2 = Identity (c) }> })");
  const absl::StatusOr<Analysis> analysis = Analyze(std::move(model), {.loss = Loss::kSum});
  ASSERT_EQ(analysis.status(), absl::OkStatus());
  EXPECT_EQ(ParameterCount(analysis->training.graph), 6);
}

TEST(ControlFlowGradientTest, AStateThatGrowsIsNamedWithItsPath) {
  absl::StatusOr<TrainingGraph> training = Differentiated(R"(<ir_version: 8, opset_import: ["" : 18]>
g (float[3,4] x) => (float[n,4] y) <float[4] w, int64 trips = {5}>
{ h = Mul (x, w)
  l = Loop (trips, , h) <body = body (int64 i, bool c, float[m,4] s) => (bool c2, float[k,4] s2)
    { s2 = Concat <axis = 0> (s, x)  c2 = Identity (c) }>
  r = Relu (l)
  y = Neg (r) })");
  ASSERT_TRUE(training.ok()) << training.status();  // the analysis goes on, and says what it does not know
  const absl::Status status = MakeExecutable(*std::move(training)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("(Loop-"), HasSubstr("whose shape changes"),
                    HasSubstr("it is reached from the output by"), HasSubstr("(Neg-"), HasSubstr("(Relu-")));
}

TEST(ControlFlowGradientTest, AnUnknownOperatorIsNamedWithItsPath) {
  absl::StatusOr<TrainingGraph> training = Differentiated(R"(<ir_version: 8, opset_import: ["" : 18, "mine" : 1]>
g (float[3,4] x) => (float[3,4] y) <float[4] w, float[3,4] m>
{ h = Mul (x, w)  [odd] m = mine.Odd (h)  [last] y = Neg (m) })");
  ASSERT_TRUE(training.ok()) << training.status();
  const absl::Status status = MakeExecutable(*std::move(training)).status();
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("'odd' (mine::Odd-1) has no gradient rule"), HasSubstr("by 'last' (Neg-13), 'odd'")));
}

TEST(ControlFlowGradientTest, TheEndOfAllGradientsIsNamedWithItsPath) {
  const absl::Status status = Differentiated(R"(<ir_version: 8, opset_import: ["" : 18]>
g (float[3,4] x) => (float[3] y) <float[4] w>
{ h = Mul (x, w)  a = ArgMax <axis = 1, keepdims = 0> (h)  f = Cast <to = 1> (a)  y = Relu (f) })")
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("gradients end at node"), HasSubstr("(ArgMax-13): the result is an index"),
                    HasSubstr("it is reached from the output by"), HasSubstr("(Relu-14)"), HasSubstr("(Cast-13)")));
}

}  // namespace
}  // namespace reusescope
