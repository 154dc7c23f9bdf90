#include "analysis/transform/fold_constants.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/verify.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string OpNames(const Graph& graph) {
  return absl::StrJoin(graph.order, " ",
                       [&](std::string* out, NodeId id) { absl::StrAppend(out, graph.node(id).op.type); });
}

void Fold(GraphBuilder& b, ValueId output) {
  b.graph().outputs = {output};
  ASSERT_EQ(FoldConstants(b.graph()), absl::OkStatus());
  ASSERT_EQ(Verify(b.graph(), "fold", /*resolved=*/true), absl::OkStatus());
}

TEST(FoldConstantsTest, NodeOfConstantsBecomesAConstantValue) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {8, 4});
  const ValueId table = b.graph().AddValue("table", Float({4, 8}), ValueKind::kConstant);
  const ValueId turned = b.Node("Transpose", {table}, {8, 4});
  const ValueId squared = b.Node("Mul", {turned, turned}, {8, 4});
  Fold(b, b.Node("Add", {x, squared}, {8, 4}));
  EXPECT_EQ(OpNames(b.graph()), "Add");
  EXPECT_EQ(b.graph().value(squared).kind, ValueKind::kConstant);
  EXPECT_EQ(b.graph().value(squared).producer, kNoNode);
  EXPECT_EQ(b.graph().value(squared).name, "Mul_1:0");
}

TEST(FoldConstantsTest, BuffersFoldAndParametersDoNot) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4, 8});
  const ValueId buffer = b.graph().AddValue("table", Float({8, 4}), ValueKind::kBuffer);
  const ValueId folded = b.Node("Transpose", {buffer}, {4, 8});
  const ValueId turned = b.Node("Transpose", {b.Parameter("w", {8, 4})}, {4, 8});
  Fold(b, b.Node("Sum", {x, folded, turned}, {4, 8}));
  EXPECT_EQ(OpNames(b.graph()), "Transpose Sum");
  EXPECT_EQ(b.graph().value(folded).kind, ValueKind::kConstant);
  EXPECT_EQ(b.graph().value(turned).kind, ValueKind::kActivation);
}

TEST(FoldConstantsTest, NodeWithKnownOutputsGoesWhateverItReads) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4, 8});
  const ValueId shape = b.Node("Shape", {x}, Int64({2}));
  b.graph().SetLiteral(shape, Literal::Ints({2}, {4, 8}));
  Fold(b, b.Node("Reshape", {x, shape}, {4, 8}));
  EXPECT_EQ(OpNames(b.graph()), "Reshape");
  EXPECT_EQ(b.graph().value(shape).kind, ValueKind::kConstant);
}

TEST(FoldConstantsTest, KnownNumbersOfASmallParameterAreNoConstants) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const ValueId bias = b.Parameter("bias", {3});
  b.graph().SetLiteral(bias, Literal::Floats({3}, {1, 2, 3}));
  const ValueId row = b.Node("Identity", {bias}, {3});
  b.graph().SetLiteral(row, Literal::Floats({3}, {1, 2, 3}));
  const ValueId scaled = b.Node("Mul", {row, row}, {3});
  b.graph().SetLiteral(scaled, Literal::Floats({3}, {1, 4, 9}));
  Fold(b, b.Node("Add", {x, scaled}, {2, 3}));
  EXPECT_EQ(OpNames(b.graph()), "Identity Mul Add");
}

TEST(FoldConstantsTest, ShapeOfAParameterIsAConstant) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const ValueId shape = b.Node("Shape", {b.Parameter("w", {3, 2})}, Int64({2}));
  b.graph().SetLiteral(shape, Literal::Ints({2}, {3, 2}));
  Fold(b, b.Node("Reshape", {x, shape}, {3, 2}));
  EXPECT_EQ(OpNames(b.graph()), "Reshape");
}

TEST(FoldConstantsTest, RandomNodesAndUnknownOperatorsStay) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4});
  const ValueId seed = b.graph().AddValue("c", Float({4}), ValueKind::kConstant);
  const ValueId unknown = b.Node("com.example::Fit-1", {seed}, {4});
  const ValueId random = b.Node("RandomNormalLike", {seed}, {4});
  Fold(b, b.Node("Sum", {x, unknown, random}, {4}));
  EXPECT_EQ(OpNames(b.graph()), "Fit RandomNormalLike Sum");
}

TEST(FoldConstantsTest, NodesThatNoOutputNeedsGo) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4});
  b.Node("Exp", {b.Node("Relu", {x}, {4})}, {4});
  Fold(b, b.Node("Tanh", {x}, {4}));
  EXPECT_EQ(OpNames(b.graph()), "Tanh");
}

TEST(FoldConstantsTest, ConstantGraphOutputKeepsItsName) {
  GraphBuilder b;
  const ValueId table = b.graph().AddValue("table", Float({4, 8}), ValueKind::kConstant);
  const ValueId turned = b.Node("Transpose", {table}, {8, 4});
  Fold(b, turned);
  EXPECT_THAT(b.graph().order, IsEmpty());
  EXPECT_EQ(b.graph().outputs[0], turned);
  EXPECT_EQ(b.graph().value(turned).kind, ValueKind::kConstant);
}

TEST(FoldConstantsTest, LongChainIsLinear) {
  GraphBuilder b;
  ValueId value = b.graph().AddValue("c", Float({4}), ValueKind::kConstant);
  for (int i = 0; i < 50'000; ++i) value = b.Node("Exp", {value}, {4});
  Fold(b, b.Node("Add", {b.Input("x", {4}), value}, {4}));
  EXPECT_THAT(b.graph().order, SizeIs(1));
}

}  // namespace
}  // namespace reusescope
