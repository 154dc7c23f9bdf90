// Reductions and their gradients.

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kIn = 2 * 3 * 4;  // X [2, 3, 4]
constexpr int64_t kOut = 2 * 4;     // reduced over dimension 1

struct ReduceCase {
  const char* op;
  int64_t flops, transcendentals;
  int64_t grad_flops, grad_transcendentals;
  bool needs_x, needs_y;
};

constexpr ReduceCase kCases[] = {
    {"ReduceMean", kIn + kOut, 0, kOut, 0, false, false},
    {"ReduceMax", kIn, 0, 3 * kIn, kOut, true, true},
    {"ReduceMin", kIn, 0, 3 * kIn, kOut, true, true},
    {"ReduceProd", kIn, 0, kOut, kIn, true, true},
    {"ReduceL1", 2 * kIn, 0, 2 * kIn, 0, true, false},
    {"ReduceL2", 2 * kIn, kOut, kIn, kOut, true, true},
    {"ReduceSumSquare", 2 * kIn, 0, kIn + kOut, 0, true, false},
    {"ReduceLogSum", kIn, kOut, 0, 2 * kOut, false, true},
    {"ReduceLogSumExp", 3 * kIn + kOut, kIn + kOut, 2 * kIn, kIn, true, true},
};

TEST(Reduction, CountsPerElementAndWhatFinishesAResult) {
  for (const ReduceCase& c : kCases) {
    for (bool keep_dims : {true, false}) {
      SCOPED_TRACE(testing::Message() << c.op << " keepdims " << keep_dims);
      GraphBuilder b;
      const ValueId x = b.Input("x", {2, 3, 4});
      const ValueId y = b.Node(c.op, {x, b.Constant("axes", {-2})}, keep_dims ? Shape{2, 1, 4} : Shape{2, 4},
                               {{"keepdims", int64_t{keep_dims}}});
      const Kernel kernel = b.KernelOf(y);
      EXPECT_EQ(FlopsOf(kernel), c.flops);
      EXPECT_EQ(TranscendentalsOf(kernel), c.transcendentals);
      EXPECT_EQ(ReadElements(kernel, 0), kIn);
      EXPECT_EQ(WrittenElements(kernel, 0), kOut);

      const GradientRun run = b.RunGradient(y);
      ExpectSoundGradients(b, run);
      EXPECT_THAT(b.OpNames(run.nodes), ElementsAre(absl::StrCat("reusescope::", c.op, "Grad")));
      const Node& grad = b.Producer(run.gradient.at(x));
      EXPECT_EQ(grad.inputs.size(), 1u + c.needs_x + c.needs_y);
      EXPECT_THAT(grad.attributes.Ints("axes"), ElementsAre(1));
      const Kernel gradient = b.KernelOf(run.gradient.at(x));
      EXPECT_EQ(FlopsOf(gradient), c.grad_flops);
      EXPECT_EQ(TranscendentalsOf(gradient), c.grad_transcendentals);
      EXPECT_EQ(ReadElements(gradient, 0), kOut);
      EXPECT_EQ(ReadElements(gradient, 1), c.needs_x ? kIn : c.needs_y ? kOut : -1);
      EXPECT_EQ(ReadElements(gradient, 2), c.needs_x && c.needs_y ? kOut : -1);
      EXPECT_EQ(WrittenElements(gradient, 0), kIn);
    }
  }
}

TEST(Reduction, EagerKeepsWhatTheDerivativeNames) {
  for (const ReduceCase& c : kCases) {
    SCOPED_TRACE(c.op);
    GraphBuilder b;
    const ValueId x = b.Input("x", {2, 3, 4});
    const ValueId y = b.Node(c.op, {x, b.Constant("axes", {1})}, Shape{2, 1, 4});
    const EagerSaves saves = b.EagerSavesOf(y);
    const bool log = std::string(c.op) == "ReduceLogSum";  // log keeps the sum, which is no value here
    EXPECT_EQ(saves.extra_activation_elements, log ? kOut : 0);
    absl::InlinedVector<ValueId, 4> expected;
    if (c.needs_x) expected.push_back(x);
    if (c.needs_y && !log) expected.push_back(y);
    EXPECT_EQ(saves.values, expected);
  }
}

TEST(Reduction, TheGradientOfASumRepeatsIt) {
  struct Case {
    Shape output;
    int64_t keep_dims;
    std::vector<std::string> gradient;
  };
  for (const Case& c : {Case{{2, 1, 4}, 1, {"Expand"}}, Case{{2, 4}, 0, {"Reshape", "Expand"}}}) {
    GraphBuilder b;
    const ValueId x = b.Input("x", {2, 3, 4});
    const ValueId y = b.Node("ReduceSum", {x, b.Constant("axes", {1})}, c.output, {{"keepdims", c.keep_dims}});
    EXPECT_EQ(FlopsOf(b.KernelOf(y)), 2 * 3 * 4);
    EXPECT_THAT(b.EagerSavesOf(y).values, IsEmpty());
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_EQ(b.OpNames(run.nodes), c.gradient);
    EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 0);
  }
}

struct AxesCase {
  const char* name;
  const char* op;
  bool axes_input;
  AttributeList attributes;
  Shape output;
};

TEST(Reduction, AxesComeInThreeForms) {
  const AxesCase cases[] = {
      {"attribute", "ReduceMean-13", false, {{"axes", Ints{0, 2}}}, {1, 3, 1}},
      {"input", "ReduceMean-18", true, {}, {1, 3, 1}},
      {"none: all", "ReduceMean-18", false, {}, {1, 1, 1}},
      {"none, dropped: a scalar", "ReduceMean-18", false, {{"keepdims", 0}}, {}},
      {"none, and that means none", "ReduceMean-18", false, {{"noop_with_empty_axes", 1}}, {2, 3, 4}},
  };
  for (const AxesCase& c : cases) {
    SCOPED_TRACE(c.name);
    GraphBuilder b;
    const ValueId x = b.Input("x", {2, 3, 4});
    std::vector<ValueId> inputs = {x};
    if (c.axes_input) inputs.push_back(b.Constant("axes", {0, 2}));
    const ValueId y = b.Node(c.op, inputs, c.output, c.attributes);
    EXPECT_EQ(WrittenElements(b.KernelOf(y), 0), *ElementCount(c.output));
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_EQ(ReadElements(b.KernelOf(run.gradient.at(x)), 0), *ElementCount(c.output));
  }
}

TEST(Reduction, ComputedAxesFollowFromTheShapes) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 4}), axes = b.Input("axes", Int64({1}));
  const ValueId kept = b.Node("ReduceSum", {x, axes}, Shape{2, 1, 4});
  EXPECT_EQ(WrittenElements(b.KernelOf(kept), 0), 2 * 4);
  const ValueId dropped = b.Node("ReduceSum", {x, axes}, Shape{2, 4}, {{"keepdims", 0}});
  EXPECT_EQ(WrittenElements(b.KernelOf(dropped), 0), 2 * 4);
  const ValueId bound = b.Node("ReduceSum", {x, axes}, Shape{3, 4}, {{"keepdims", 0}});
  EXPECT_EQ(WrittenElements(b.KernelOf(bound), 0), 3 * 4);
  const ValueId none = b.Node("ReduceSum", {x, axes}, Shape{4, 4}, {{"keepdims", 0}});
  EXPECT_EQ(WrittenElements(b.KernelOf(none), 0), 4 * 4) << "no choice of axes gives this upper bound";
}

TEST(Reduction, AnAxisOutOfRangeIsAnError) {
  GraphBuilder b;
  const ValueId y = b.Node("ReduceSum", {b.Input("x", {2, 3}), b.Constant("axes", {5})}, Shape{2, 1});
  EXPECT_THAT(std::string(b.TryKernelOf(y).status().message()), HasSubstr("axis is 5, expected -2 to 1"));
}

TEST(Reduction, IndicesOfExtremaHaveNoGradient) {
  for (const char* op : {"ArgMax", "ArgMin"}) {
    GraphBuilder b;
    const ValueId y = b.Node(op, {b.Input("x", {8, 1000})}, Int64({8, 1}), {{"axis", -1}});
    EXPECT_EQ(FlopsOf(b.KernelOf(y)), 8 * 1000);
    EXPECT_EQ(WrittenElements(b.KernelOf(y), 0), 8);
    EXPECT_EQ(b.SemanticsOf(y)->gradient, nullptr);
    EXPECT_FALSE(b.SemanticsOf(y)->not_differentiable.empty());
  }
}

TEST(Reduction, RunningProductsKeepInputAndOutput) {
  GraphBuilder b(26);
  const ValueId x = b.Input("x", {8, 16});
  const ValueId y = b.Node("CumProd", {x, b.Scalar("axis", 1)}, Shape{8, 16});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 8 * 16);
  EXPECT_THAT(b.EagerSavesOf(y).values, ElementsAre(x, y));
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 2 * 8 * 16);
  EXPECT_EQ(TranscendentalsOf(b.KernelOf(run.gradient.at(x))), 8 * 16);
}

struct UnbroadcastCase {
  const char* name;
  Shape gradient, input;
  AttributeList attributes;
};

TEST(Unbroadcast, SumsOverWhatWasRepeated) {
  const UnbroadcastCase cases[] = {
      {"leading dimensions", {32, 128, 768}, {768}, {}},
      {"inner dimension", {2, 3, 4}, {2, 1, 4}, {}},
      {"both", {5, 2, 3, 4}, {3, 1}, {}},
      {"scalar", {2, 3, 4}, {}, {}},
      {"bias of a convolution", {2, 64, 56, 56}, {64}, {{"axes", Ints{0, 2, 3}}}},
  };
  for (const UnbroadcastCase& c : cases) {
    SCOPED_TRACE(c.name);
    GraphBuilder b;
    const ValueId y = b.Node("reusescope::Unbroadcast", {b.Input("dy", c.gradient)}, c.input, c.attributes);
    const Kernel kernel = b.KernelOf(y);
    EXPECT_EQ(FlopsOf(kernel), *ElementCount(c.gradient));
    EXPECT_EQ(ReadElements(kernel, 0), *ElementCount(c.gradient));
    EXPECT_EQ(WrittenElements(kernel, 0), *ElementCount(c.input));
  }
}

TEST(Unbroadcast, RejectsShapesThatDoNotBroadcast) {
  GraphBuilder b;
  const ValueId y = b.Node("reusescope::Unbroadcast", {b.Input("dy", {2, 3, 4})}, Shape{2, 2, 4});
  EXPECT_THAT(std::string(b.TryKernelOf(y).status().message()), HasSubstr("[2, 3, 4], which does not broadcast from"));
}

}  // namespace
}  // namespace reusescope
