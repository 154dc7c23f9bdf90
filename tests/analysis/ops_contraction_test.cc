// Convolutions and products: the nest they are, what it touches, and that both gradients are the same nest.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct ContractionCase {
  const char* name;
  const char* op;
  Shape x, w, y;
  AttributeList attributes;
  int64_t macs;
  int64_t x_read;  // distinct elements of X
};

std::vector<ContractionCase> ContractionCases() {
  return {
      {"conv1 of ResNet-50",
       "Conv",
       {1, 3, 224, 224},
       {64, 3, 7, 7},
       {1, 64, 112, 112},
       {{"strides", Ints{2, 2}}, {"pads", Ints{3, 3, 3, 3}}},
       112 * 112 * 64 * 3 * 7 * 7,
       3 * 224 * 224},
      {"1x1 of stride 2 reads a quarter",
       "Conv",
       {2, 16, 8, 8},
       {32, 16, 1, 1},
       {2, 32, 4, 4},
       {{"strides", Ints{2, 2}}},
       2 * 4 * 4 * 32 * 16,
       2 * 16 * 4 * 4},
      {"depthwise",
       "Conv",
       {1, 8, 10, 10},
       {8, 1, 3, 3},
       {1, 8, 10, 10},
       {{"pads", Ints{1, 1, 1, 1}}, {"group", 8}},
       8 * 10 * 10 * 9,
       8 * 10 * 10},
      {"grouped", "Conv", {1, 8, 6, 6}, {12, 2, 3, 3}, {1, 12, 4, 4}, {{"group", 4}}, 12 * 4 * 4 * 2 * 9, 8 * 6 * 6},
      {"dilated", "Conv", {1, 1, 9, 9}, {1, 1, 3, 3}, {1, 1, 5, 5}, {{"dilations", Ints{2, 2}}}, 25 * 9, 81},
      {"1-D", "Conv", {2, 4, 20}, {6, 4, 5}, {2, 6, 16}, {}, 2 * 6 * 16 * 4 * 5, 2 * 4 * 20},
      {"3-D", "Conv", {1, 2, 4, 4, 4}, {3, 2, 2, 2, 2}, {1, 3, 3, 3, 3}, {}, 27 * 3 * 2 * 8, 2 * 64},
      {"auto_pad",
       "Conv",
       {1, 1, 5, 5},
       {1, 1, 3, 3},
       {1, 1, 3, 3},
       {{"auto_pad", std::string("SAME_UPPER")}, {"strides", Ints{2, 2}}},
       9 * 9,
       25},
      {"U-Net's up-convolution",
       "ConvTranspose",
       {1, 16, 8, 8},
       {16, 8, 2, 2},
       {1, 8, 16, 16},
       {{"strides", Ints{2, 2}}},
       16 * 8 * 8 * 8 * 4,
       16 * 8 * 8},
      {"matrix", "MatMul", {10, 30}, {30, 5}, {10, 5}, {}, 10 * 30 * 5, 10 * 30},
      {"batched",
       "MatMul",
       {4, 12, 128, 64},
       {4, 12, 64, 128},
       {4, 12, 128, 128},
       {},
       4 * 12 * 128 * 64 * 128,
       4 * 12 * 128 * 64},
      {"broadcast weight",
       "MatMul",
       {4, 128, 768},
       {768, 3072},
       {4, 128, 3072},
       {},
       4 * 128 * 768 * 3072,
       4 * 128 * 768},
      {"vector", "MatMul", {30}, {30, 5}, {5}, {}, 30 * 5, 30},
      {"transposed", "Gemm", {30, 10}, {5, 30}, {10, 5}, {{"transA", 1}, {"transB", 1}}, 10 * 30 * 5, 10 * 30},
      {"einsum",
       "Einsum",
       {8, 3, 4},
       {8, 4, 5},
       {8, 3, 5},
       {{"equation", std::string("bij,bjk->bik")}},
       8 * 3 * 4 * 5,
       8 * 3 * 4},
      {"einsum over heads",
       "Einsum",
       {2, 7, 4, 16},
       {2, 9, 4, 16},
       {2, 4, 7, 9},
       {{"equation", std::string("bqhd,bkhd->bhqk")}},
       2 * 4 * 7 * 9 * 16,
       2 * 7 * 4 * 16},
  };
}

int64_t Elements(const Shape& shape) { return ElementCount(shape).value(); }

TEST(ContractionTest, MacsAreTheNestAndOperandsAreReadOnce) {
  for (const ContractionCase& c : ContractionCases()) {
    SCOPED_TRACE(c.name);
    GraphBuilder b;
    const ValueId y = b.Node(c.op, {b.Input("x", c.x), b.Parameter("w", c.w)}, c.y, c.attributes);
    const Kernel kernel = b.KernelOf(y);
    EXPECT_EQ(MacsOf(kernel), c.macs);
    EXPECT_EQ(FlopsOf(kernel), 0);
    EXPECT_EQ(ReadElements(kernel, 0), c.x_read);
    EXPECT_EQ(ReadElements(kernel, 1), Elements(c.w));
    EXPECT_EQ(WrittenElements(kernel, 0), Elements(c.y));
  }
}

TEST(ContractionTest, GradientsTakeTheSameMacs) {
  for (const ContractionCase& c : ContractionCases()) {
    SCOPED_TRACE(c.name);
    GraphBuilder b;
    const ValueId x = b.Input("x", c.x), w = b.Parameter("w", c.w);
    const ValueId y = b.Node(c.op, {x, w}, c.y, c.attributes);
    const GradientRun run = b.RunGradient(y);
    ASSERT_TRUE(run.status.ok()) << run.status;
    ExpectSoundGradients(b, run);
    ASSERT_EQ(run.gradient.size(), 2u);
    for (const auto& [value, gradient] : run.gradient) {
      const Kernel kernel = b.KernelOf(gradient);
      EXPECT_EQ(MacsOf(kernel), c.macs);
      EXPECT_EQ(ReadElements(kernel, 0), Elements(c.y)) << "dY";
      EXPECT_EQ(ReadElements(kernel, 1), value == x ? Elements(c.w) : c.x_read);
      EXPECT_EQ(WrittenElements(kernel, 0), value == x ? c.x_read : Elements(c.w));
    }
  }
}

TEST(ContractionTest, OnlyNeededGradientsAreEmitted) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {1, 3, 8, 8}), w = b.Parameter("w", {4, 3, 3, 3});
  const ValueId y = b.Node("Conv", {x, w}, {1, 4, 6, 6});
  const GradientRun run = b.RunGradient(y, {}, {w});
  EXPECT_EQ(run.nodes.size(), 1u);
  EXPECT_TRUE(run.gradient.contains(w));
}

TEST(ContractionTest, BiasIsReadAndItsGradientSumsAllButTheChannels) {
  GraphBuilder b;
  const ValueId bias = b.Parameter("b", {4});
  const ValueId y = b.Node("Conv", {b.Input("x", {2, 3, 8, 8}), b.Parameter("w", {4, 3, 3, 3}), bias}, {2, 4, 6, 6});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_EQ(FlopsOf(kernel), 2 * 4 * 6 * 6);
  EXPECT_EQ(ReadElements(kernel, 2), 4);
  const GradientRun run = b.RunGradient(y, {}, {bias});
  ASSERT_TRUE(run.gradient.contains(bias));
  EXPECT_EQ(b.ShapeOf(run.gradient.at(bias)), (Shape{4}));
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(bias))), 2 * 4 * 6 * 6);
}

TEST(ContractionTest, PrintsAsAnEquation) {
  GraphBuilder b;
  const ValueId y = b.Node("Conv", {b.Input("x", {2, 3, 8, 8}), b.Parameter("w", {4, 3, 3, 3})}, {2, 4, 4, 4},
                           {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}});
  EXPECT_EQ(KernelEquation(b.KernelOf(y)), "Y[n,k,p,q] += X[n,c,2p+r-1,2q+s-1] * W[k,c,r,s]");
}

TEST(ContractionTest, EinsumOfThreeOperandsIsAChain) {
  GraphBuilder b;
  const ValueId y = b.Node("Einsum", {b.Input("a", {2, 3}), b.Input("b", {3, 4}), b.Input("c", {4, 5})}, {2, 5},
                           {{"equation", std::string("ij,jk,kl->il")}});
  const absl::StatusOr<std::vector<NodeId>> nodes = b.RunLower(y);
  ASSERT_TRUE(nodes.ok()) << nodes.status();
  ASSERT_EQ(nodes->size(), 2u);
  EXPECT_EQ(MacsOf(b.KernelOfNode((*nodes)[0])), 2 * 3 * 4);
  EXPECT_EQ(MacsOf(b.KernelOfNode((*nodes)[1])), 2 * 4 * 5);
}

struct BadCase {
  const char* op;
  Shape x, w, y;
  AttributeList attributes;
  const char* message;
};

TEST(ContractionTest, MalformedOperandsAreErrors) {
  const BadCase cases[] = {
      {"Conv", {3, 8}, {4, 3}, {3, 4}, {}, "expected equal ranks of at least 3"},
      {"Gemm", {2, 3, 4}, {4, 5}, {2, 5}, {}, "expected two matrices"},
      {"Gemm", {6, 3}, {6, 4}, {6, 4}, {}, "expected equal inner dimensions"},
      {"Einsum",
       {2, 3},
       {4, 5},
       {2, 5},
       {{"equation", std::string("ij,jk->ik")}},
       "label 'j' is 3 in one operand and 4"},
      {"Einsum", {2, 3}, {3, 5}, {2, 5}, {{"equation", std::string("ij,jk->iz")}}, "output label 'z'"},
      {"Einsum", {2, 3}, {3, 5}, {2, 5}, {{"equation", std::string("ij->ij")}}, "has 1 operands, found 2 inputs"},
  };
  for (const BadCase& c : cases) {
    GraphBuilder b;
    const ValueId y = b.Node(c.op, {b.Input("x", c.x), b.Parameter("w", c.w)}, c.y, c.attributes);
    EXPECT_THAT(std::string(b.TryKernelOf(y).status().message()), HasSubstr(c.message)) << c.op;
  }
}

}  // namespace
}  // namespace reusescope
