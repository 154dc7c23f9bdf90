// Pooling: K*K FLOPs per output, what backward needs, what PyTorch keeps.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct PoolCase {
  const char* name;
  Shape input, output;
  AttributeList attributes;
  int64_t window;
  int64_t read;  // distinct elements of X
};

std::vector<PoolCase> PoolCases() {
  return {
      {"2x2 stride 2",
       {2, 3, 8, 8},
       {2, 3, 4, 4},
       {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
       4,
       2 * 3 * 8 * 8},
      {"3x3 stride 2 padded (ResNet)",
       {2, 64, 112, 112},
       {2, 64, 56, 56},
       {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}},
       9,
       2 * 64 * 112 * 112},
      {"3x3 stride 2 (AlexNet)",
       {1, 64, 55, 55},
       {1, 64, 27, 27},
       {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}},
       9,
       64 * 55 * 55},
      {"without ceil_mode the last row is not read",
       {1, 1, 8, 8},
       {1, 1, 3, 3},
       {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}},
       9,
       7 * 7},
      {"ceil_mode",
       {1, 1, 8, 8},
       {1, 1, 4, 4},
       {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"ceil_mode", 1}},
       9,
       8 * 8},
      {"dilated: every second element of 7",
       {1, 1, 7, 7},
       {1, 1, 3, 3},
       {{"kernel_shape", Ints{3, 3}}, {"dilations", Ints{2, 2}}},
       9,
       7 * 7},
      {"gaps: stride above the window",
       {1, 1, 9, 9},
       {1, 1, 3, 3},
       {{"kernel_shape", Ints{1, 1}}, {"strides", Ints{4, 4}}},
       1,
       3 * 3},
      {"SAME_UPPER",
       {1, 1, 5, 5},
       {1, 1, 3, 3},
       {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"auto_pad", "SAME_UPPER"}},
       4,
       5 * 5},
      {"1-D", {2, 3, 10}, {2, 3, 5}, {{"kernel_shape", Ints{2}}, {"strides", Ints{2}}}, 2, 2 * 3 * 10},
      {"3-D",
       {1, 2, 4, 6, 8},
       {1, 2, 2, 3, 4},
       {{"kernel_shape", Ints{2, 2, 2}}, {"strides", Ints{2, 2, 2}}},
       8,
       2 * 4 * 6 * 8},
  };
}

TEST(Pooling, WindowsAreCountedWholeAndReadOnce) {
  for (const char* op : {"MaxPool", "AveragePool"}) {
    for (const PoolCase& c : PoolCases()) {
      SCOPED_TRACE(testing::Message() << op << ", " << c.name);
      GraphBuilder b;
      const ValueId x = b.Input("x", c.input);
      const ValueId y = b.Node(op, {x}, c.output, c.attributes);
      const Kernel kernel = b.KernelOf(y);
      EXPECT_EQ(FlopsOf(kernel), c.window * *ElementCount(c.output));
      EXPECT_EQ(MacsOf(kernel), 0);
      EXPECT_EQ(ReadElements(kernel, 0), c.read);
      EXPECT_EQ(WrittenElements(kernel, 0), *ElementCount(c.output));
      const GradientRun run = b.RunGradient(y);
      ExpectSoundGradients(b, run);
      const Kernel gradient = b.KernelOf(run.gradient.at(x));
      EXPECT_EQ(WrittenElements(gradient, 0), *ElementCount(c.input));  // zeros in the gaps included
      EXPECT_EQ(ReadElements(gradient, 0), *ElementCount(c.output));
    }
  }
}

TEST(Pooling, OverlapAndPaddingAreVisibleInTheIndex) {
  struct Case {
    AttributeList attributes;
    std::string index;
  };
  const Case cases[] = {
      {{{"pads", Ints{0, 1, 2, 2}}}, "X[n,c,2p+r,2q+s-1]"},
      {{{"auto_pad", "VALID"}}, "X[n,c,2p+r,2q+s]"},
      {{{"auto_pad", "SAME_UPPER"}}, "X[n,c,2p+r-1,2q+s-1]"},  // three in all
      {{{"auto_pad", "SAME_LOWER"}}, "X[n,c,2p+r-2,2q+s-2]"},
  };
  for (const Case& c : cases) {
    GraphBuilder b;
    AttributeList attributes = c.attributes;
    attributes.insert(attributes.end(), {{"kernel_shape", Ints{4, 4}}, {"strides", Ints{2, 2}}});
    const ValueId y = b.Node("MaxPool", {b.Input("x", {1, 1, 5, 5})}, Shape{1, 1, 3, 3}, attributes);
    EXPECT_THAT(KernelEquation(b.KernelOf(y)), HasSubstr(c.index));
  }
}

TEST(Pooling, MaxPoolKeepsIndicesForBackward) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 8, 8});
  const ValueId y = b.Node("MaxPool", {x}, Shape{2, 3, 4, 4}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  const EagerSaves before = b.EagerSavesOf(y);
  EXPECT_THAT(before.values, ElementsAre(x));
  EXPECT_EQ(before.extra_bytes, 2 * 3 * 4 * 4 * 8);

  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("reusescope::MaxPoolGrad"));
  ASSERT_EQ(b.Producer(y).outputs.size(), 2u);
  const ValueId indices = b.Producer(y).outputs[1];
  EXPECT_EQ(b.graph().value(indices).type, Int64({2, 3, 4, 4}));
  EXPECT_EQ(b.Producer(run.gradient.at(x)).inputs[1], indices);
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 2 * 3 * 4 * 4);
  EXPECT_EQ(WrittenElements(b.KernelOf(y), 1), 2 * 3 * 4 * 4);
  // Once the indices are a value of the graph, the same bytes are said by naming it.
  const EagerSaves after = b.EagerSavesOf(y);
  EXPECT_THAT(after.values, ElementsAre(x, indices));
  EXPECT_EQ(after.extra_bytes, 0);
}

TEST(Pooling, MaxPoolUsesTheIndicesThatTheModelHas) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {1, 1, 4, 4});
  const std::vector<ValueId> y = b.NodeMany("MaxPool", {x}, {Float({1, 1, 2, 2}), Int64({1, 1, 2, 2})},
                                            {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  const GradientRun run = b.RunGradient(y[0]);
  ExpectSoundGradients(b, run);
  EXPECT_EQ(b.Producer(y[0]).outputs.size(), 2u);
  EXPECT_EQ(b.Producer(run.gradient.at(x)).inputs[1], y[1]);
}

TEST(Pooling, AveragePoolNeedsNothingAndPyTorchKeepsItsInput) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 8, 8});
  const ValueId y =
      b.Node("AveragePool", {x}, Shape{2, 3, 4, 4}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  EXPECT_THAT(b.EagerSavesOf(y).values, ElementsAre(x));
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.Producer(run.gradient.at(x)).inputs, testing::SizeIs(1));
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 4 * (2 * 3 * 4 * 4));
}

TEST(Pooling, GlobalAverageIsAMeanOfWhichNothingIsKept) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 512, 7, 7});
  const ValueId y = b.Node("GlobalAveragePool", {x}, Shape{2, 512, 1, 1});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 2 * 512 * 7 * 7 + 2 * 512);
  EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 2 * 512 * 7 * 7);
  EXPECT_EQ(WrittenElements(b.KernelOf(y), 0), 2 * 512);
  EXPECT_THAT(b.EagerSavesOf(y).values, IsEmpty());
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  const Kernel gradient = b.KernelOf(run.gradient.at(x));
  EXPECT_EQ(FlopsOf(gradient), 2 * 512);  // dY / 49, then repeated
  EXPECT_EQ(ReadElements(gradient, 0), 2 * 512);
  EXPECT_EQ(WrittenElements(gradient, 0), 2 * 512 * 7 * 7);
}

TEST(Pooling, GlobalMaxScattersToWhereTheMaximumWas) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 5, 7, 7});
  const ValueId y = b.Node("GlobalMaxPool", {x}, Shape{2, 5, 1, 1});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 2 * 5 * 7 * 7);
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("reusescope::MaxPoolGrad"));
  EXPECT_EQ(WrittenElements(b.KernelOf(y), 1), 2 * 5);
}

TEST(Pooling, NormsCountProductsOrPowers) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 8, 8});
  for (int64_t p : {1, 2, 3}) {
    const ValueId y =
        b.Node("LpPool", {x}, Shape{2, 3, 4, 4}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"p", p}});
    EXPECT_EQ(FlopsOf(b.KernelOf(y)), 2 * 4 * (2 * 3 * 4 * 4)) << p;
    EXPECT_EQ(TranscendentalsOf(b.KernelOf(y)), (p == 3 ? 4 + 1 : p == 2 ? 1 : 0) * (2 * 3 * 4 * 4)) << p;
    ExpectSoundGradients(b, b.RunGradient(y));
  }
  const ValueId y = b.Node("GlobalLpPool", {x}, Shape{2, 3, 1, 1});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 2 * (2 * 3 * 8 * 8));
  EXPECT_EQ(TranscendentalsOf(b.KernelOf(y)), 2 * 3);
  ExpectSoundGradients(b, b.RunGradient(y));
}

TEST(Pooling, UnpoolingIsUndoneByALookup) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {1, 1, 2, 2}), indices = b.Input("i", Int64({1, 1, 2, 2}));
  const ValueId y =
      b.Node("MaxUnpool", {x, indices}, Shape{1, 1, 4, 4}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  EXPECT_EQ(WrittenElements(b.KernelOf(y), 0), 4 * 4);
  EXPECT_THAT(b.EagerSavesOf(y).values, ElementsAre(indices));
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_EQ(ReadElements(b.KernelOf(run.gradient.at(x)), 0), 2 * 2);
}

TEST(Pooling, BoxesOfUnknownSizeCountBytesAlone) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {1, 8, 32, 32}), boxes = b.Input("boxes", {5, 5});
  const ValueId y = b.Node("MaxRoiPool", {x, boxes}, Shape{5, 8, 7, 7}, {{"pooled_shape", Ints{7, 7}}});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_FALSE(kernel.known);
  EXPECT_EQ(ReadElements(kernel, 0), 8 * 32 * 32);
  EXPECT_EQ(WrittenElements(kernel, 0), 5 * 8 * 7 * 7);
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_FALSE(run.gradient.contains(boxes));
}

TEST(Pooling, AWindowThatDoesNotFitTheImageIsAnError) {
  GraphBuilder b;
  const ValueId y = b.Node("MaxPool", {b.Input("x", {1, 1, 4, 4})}, Shape{1, 1, 2, 2}, {{"kernel_shape", Ints{2}}});
  const absl::StatusOr<Kernel> kernel = b.TryKernelOf(y);
  ASSERT_FALSE(kernel.ok());
  EXPECT_THAT(std::string(kernel.status().message()), HasSubstr("node 'MaxPool_0' (MaxPool-18): kernel_shape has 1"));
}

}  // namespace
}  // namespace reusescope
