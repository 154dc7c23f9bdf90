#include "analysis/transform/find_parameters.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/verify.h"
#include "analysis/transform/resolve_shapes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

struct Found {
  absl::Status status;
  Graph graph;
  std::vector<std::string> notes;
};

Found FindIn(Graph graph, const ParameterOptions& options = {}) {
  Found found{.graph = std::move(graph)};
  found.status = FindParameters(found.graph, options, found.notes);
  EXPECT_EQ(Verify(found.graph, "find parameters", /*resolved=*/true), absl::OkStatus());
  return found;
}

Found FindInText(absl::string_view text, const ParameterOptions& options = {}) {
  Model model = ParseOnnxText(text);
  std::vector<std::string> notes;
  EXPECT_EQ(ResolveShapes(model, {}, notes), absl::OkStatus());
  return FindIn(std::move(model.graph), options);
}

std::vector<std::string> NamesOf(const Graph& graph, ValueKind kind) {
  std::vector<std::string> names;
  for (const Value& value : graph.values) {
    if (value.kind == kind && value.producer == kNoNode) names.push_back(value.name);
  }
  return names;
}

std::vector<std::string> Parameters(const Found& found) { return NamesOf(found.graph, ValueKind::kParameter); }

constexpr absl::string_view kConvNet = R"(
    net (float[2,3,8,8] x) => (float[2,5] y)
    <float[4,3,3,3] "conv.weight", float[4] "conv.bias", float[4] "bn.weight", float[4] "bn.bias",
     float[4] "bn.running_mean", float[4] "bn.running_var", float[5,4] "fc.weight", float[5] "fc.bias">
    {
      c = Conv (x, "conv.weight", "conv.bias")
      n = BatchNormalization (c, "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
      p = GlobalAveragePool (n)
      f = Flatten (p)
      y = Gemm <transB = 1> (f, "fc.weight", "fc.bias")
    })";

TEST(FindParametersTest, WeightsAreParametersAndRunningStatisticsAreBuffers) {
  const Found found = FindInText(kConvNet);
  EXPECT_EQ(found.status, absl::OkStatus());
  EXPECT_THAT(Parameters(found),
              UnorderedElementsAre("conv.weight", "conv.bias", "bn.weight", "bn.bias", "fc.weight", "fc.bias"));
  EXPECT_THAT(NamesOf(found.graph, ValueKind::kBuffer), UnorderedElementsAre("bn.running_mean", "bn.running_var"));
  EXPECT_EQ(ParameterCount(found.graph), (4 * 3 * 3 * 3 + 4) + (4 + 4) + (5 * 4 + 5));
  EXPECT_THAT(found.notes, IsEmpty());
}

TEST(FindParametersTest, FrozenParametersAreBuffers) {
  const Found found = FindInText(kConvNet, {.freeze = "^(conv|bn)\\."});
  EXPECT_EQ(found.status, absl::OkStatus());
  EXPECT_THAT(Parameters(found), UnorderedElementsAre("fc.weight", "fc.bias"));
}

TEST(FindParametersTest, OnlyWhatTrainNamesIsTrained) {
  const Found found = FindInText(kConvNet, {.freeze = "bias$", .train = "fc|bn"});
  EXPECT_EQ(found.status, absl::OkStatus());
  EXPECT_THAT(Parameters(found), UnorderedElementsAre("bn.weight", "fc.weight"));
}

TEST(FindParametersTest, MalformedRegexIsAnInvalidArgument) {
  for (const ParameterOptions& options : {ParameterOptions{.freeze = "conv("}, ParameterOptions{.train = "conv("}}) {
    const absl::Status status = FindInText(kConvNet, options).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("'conv('"));
  }
}

TEST(FindParametersTest, RegexThatMatchesNothingNamesAParameter) {
  const absl::Status status = FindInText(kConvNet, {.freeze = "backbone"}).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "--freeze: no parameter matches 'backbone'; they are called like 'conv.weight'");
}

TEST(FindParametersTest, ScalarsAreNoParametersAndScalesOfSizeOneAre) {
  const Found found = FindInText(R"(g (float[2,4] x) => (float[2,4] y)
      <float "temperature", float[1] "act.weight", float[1] "gamma", float[4] "w">
      { a = PRelu(x, "act.weight") b = Mul(a, "gamma") c = Mul(b, "w") y = Div(c, "temperature") })");
  EXPECT_THAT(Parameters(found), UnorderedElementsAre("act.weight", "gamma", "w"));
}

TEST(FindParametersTest, NothingBehindANodeWithoutGradient) {
  const Found found = FindInText(R"(g (float[2,4] x) => (int64[2] y, float[2,4] z) <float[4,4] "fc.weight">
      { a = MatMul(x, "fc.weight") y = ArgMax <axis = 1, keepdims = 0> (a) z = Relu(x) })");
  EXPECT_THAT(Parameters(found), IsEmpty());
}

TEST(FindParametersTest, WeightsThatConstantFoldingLeftWithoutAName) {
  const Found found = FindInText(R"(g (float[2,4] x) => (float[2,4] y)
      <float[4,4] "onnx::MatMul_12", float[4] "onnx::Add_13", float[2,4] "onnx::Add_14", float[4] "onnx::Mul_15">
      { a = MatMul(x, "onnx::MatMul_12") b = Add(a, "onnx::Add_13") c = Add(b, "onnx::Add_14")
        y = Mul(c, "onnx::Mul_15") })");
  // A matrix that is multiplied with and the vector added to the product; tables and factors of formulas are constants.
  EXPECT_THAT(Parameters(found), UnorderedElementsAre("onnx::MatMul_12", "onnx::Add_13"));
  EXPECT_THAT(NamesOf(found.graph, ValueKind::kConstant), UnorderedElementsAre("onnx::Add_14", "onnx::Mul_15"));
}

TEST(FindParametersTest, NamedTablesAreParametersUnlessCalledLikeABuffer) {
  const Found found = FindInText(R"(g (float[2,4] x) => (float[2,4] y)
      <float[2,4] "pos_embedding", float[2,4] "attn_mask", float[2,4] "rope.cos_cached">
      { a = Add(x, "pos_embedding") b = Add(a, "attn_mask") y = Mul(b, "rope.cos_cached") })");
  EXPECT_THAT(Parameters(found), ElementsAre("pos_embedding"));
}

TEST(FindParametersTest, ATensorWithMinusInfinitiesIsAMask) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 2});
  const ValueId table = b.Constant("causal", Literal::Floats({2, 2}, {0, -1e9, 0, 0}));
  const ValueId other = b.Constant("relative", Literal::Floats({2, 2}, {0, -1, 0, 0}));
  b.graph().outputs = {b.Node("Sum", {b.Node("Add", {x, table}, {2, 2}), other}, {2, 2})};
  EXPECT_THAT(Parameters(FindIn(std::move(b.graph()))), ElementsAre("relative"));
}

TEST(FindParametersTest, WeightInAConstantNodeBecomesAStoredValue) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const ValueId w = b.Node("Constant", {}, {3, 3}, {{"value", Literal{DType::kFloat32, {3, 3}}}});
  const ValueId scale = b.Node("Constant", {}, {3}, {{"value", Literal{DType::kFloat32, {3}}}});
  const ValueId hidden = b.Node("Relu", {b.Node("MatMul", {x, w}, {2, 3})}, {2, 3});
  b.graph().outputs = {b.Node("Mul", {hidden, scale}, {2, 3})};
  const Found found = FindIn(std::move(b.graph()));
  EXPECT_EQ(found.graph.value(w).kind, ValueKind::kParameter);
  EXPECT_EQ(found.graph.value(w).producer, kNoNode);
  EXPECT_NE(found.graph.value(scale).producer, kNoNode);
  EXPECT_THAT(found.graph.order, SizeIs(4));
}

TEST(FindParametersTest, ScaleAndShiftOfANormWithoutParametersAreConstants) {
  const Found found = FindInText(R"(g (float[2,2,4] x) => (float[2,2,4] y) {
      one = Constant <value = float[2] {1, 1}> () zero = Constant <value = float[2] {0, 0}> ()
      scale = Constant <value = float[2] {1, 2}> ()
      a = InstanceNormalization(x, one, zero) y = InstanceNormalization(a, scale, zero) })");
  EXPECT_THAT(Parameters(found), ElementsAre("scale"));
}

TEST(FindParametersTest, WhatTheFileSaysWins) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4, 4});
  const ValueId buffer = b.graph().AddValue("basis", Float({4, 4}), ValueKind::kBuffer);
  const ValueId weight = b.graph().AddValue("val_3", Float({4}), ValueKind::kParameter);
  for (ValueId id : {buffer, weight}) b.graph().value(id).evidence = KindEvidence::kMetadata;
  b.graph().outputs = {b.Node("Mul", {b.Node("MatMul", {x, buffer}, {4, 4}), weight}, {4, 4})};
  EXPECT_THAT(Parameters(FindIn(std::move(b.graph()))), ElementsAre("val_3"));
}

// ------------------------------------------------------------------------------------- merged vectors, tied matrices

TEST(FindParametersTest, VectorsThatTheTorchScriptExporterMergedAreApart) {
  const Found found = FindInText(R"(g (float[2,4] x) => (float[2,4] y) <float[4,4] "a.weight", float[4] "a.bias">
      { b = Identity("a.bias") c = Identity("a.bias")
        d = Gemm(x, "a.weight", "a.bias") e = Gemm(d, "a.weight", b) y = Gemm(e, "a.weight", c) })");
  EXPECT_THAT(Parameters(found), UnorderedElementsAre("a.weight", "a.bias", "b", "c"));
  EXPECT_EQ(ParameterCount(found.graph), 4 * 4 + 3 * 4);
  EXPECT_THAT(found.graph.order, SizeIs(3));
  EXPECT_THAT(found.notes, ElementsAre("the exporter merged equal vectors: 1 stored ones stand for 3 parameters, which "
                                       "are counted apart"));
}

// Three linear layers in modules l.0, l.1 and l.1 again, all adding the vector that belongs to l.0.
Graph MergedByModules(Shape vector) {
  GraphBuilder b;
  ValueId x = b.Input("x", {4, 4});
  const ValueId bias = b.Parameter("l.0.bias", std::move(vector));
  b.graph().value(bias).original_name = "l.0.bias";
  b.graph().value(bias).evidence = KindEvidence::kMetadata;
  for (const char* module : {"l.0", "l.1", "l.1"}) {
    x = b.Node("Add", {x, bias}, {4, 4});
    b.graph().node(b.graph().value(x).producer).module = module;
  }
  b.graph().outputs = {x};
  return std::move(b.graph());
}

TEST(FindParametersTest, VectorReadByOtherModulesIsOneParameterPerModule) {
  const Found found = FindIn(MergedByModules({4}));
  EXPECT_THAT(Parameters(found), ElementsAre("l.0.bias", "l.1.bias"));
  EXPECT_EQ(ParameterCount(found.graph), 2 * 4);
  EXPECT_EQ(found.graph.node(1).inputs[1], found.graph.node(2).inputs[1]);
  EXPECT_NE(found.graph.node(0).inputs[1], found.graph.node(1).inputs[1]);
}

TEST(FindParametersTest, MatrixReadByOtherModulesIsTied) {
  EXPECT_EQ(ParameterCount(FindIn(MergedByModules({4, 4})).graph), 4 * 4);
}

TEST(FindParametersTest, NamelessTransposedCopyOfTheEmbeddingIsTied) {
  const Found found = FindInText(R"(g (int64[2,3] ids) => (float[2,3,10] y)
      <float[10,4] "wte.weight", float[4,10] "onnx::MatMul_9">
      { e = Gather("wte.weight", ids) y = MatMul(e, "onnx::MatMul_9") })");
  EXPECT_THAT(Parameters(found), ElementsAre("wte.weight"));
  EXPECT_EQ(ParameterCount(found.graph), 10 * 4);
  ASSERT_THAT(found.graph.order, SizeIs(3));
  EXPECT_EQ(found.graph.node(found.graph.order[1]).op.type, "Transpose");
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("'onnx::MatMul_9' [4, 10]")));
}

TEST(FindParametersTest, OutputLayerWithANameOfItsOwnIsNotTied) {
  const Found found = FindInText(R"(g (int64[2,3] ids) => (float[2,3,10] y)
      <float[10,4] "wte.weight", float[4,10] "head.weight">
      { e = Gather("wte.weight", ids) y = MatMul(e, "head.weight") })");
  EXPECT_EQ(ParameterCount(found.graph), 2 * 10 * 4);
}

// ----------------------------------------------------------------------------------------- folded batch normalization

TEST(FoldedBatchNormTest, ConvolutionWithANameMadeUpByTheTorchScriptExporter) {
  const Found found = FindInText(R"(g (float[2,3,8,8] x) => (float[2,4,4,4] y)
      <float[4,3,3,3] "onnx::Conv_497", float[4] "onnx::Conv_498", float[4,4,3,3] "head.weight", float[4] "head.bias">
      { c = Conv(x, "onnx::Conv_497", "onnx::Conv_498") y = Conv(c, "head.weight", "head.bias") })");
  EXPECT_THAT(found.notes,
              ElementsAre("looks like batch normalization was folded into 1 of 2 convolutions (inference export): "
                          "training cost misses it; export with torch.onnx.export(..., "
                          "training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)"));
  EXPECT_EQ(ParameterCount(found.graph), (4 * 3 * 3 * 3 + 4) + (4 * 4 * 3 * 3 + 4));
}

// Two convolutions, one whose weight has metadata, one whose weight has the given evidence.
Graph TwoConvolutions(KindEvidence evidence) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {1, 3, 1, 1});
  const ValueId first = b.Parameter("conv1.weight", {3, 3, 1, 1});
  const ValueId second = b.Parameter("conv2.weight", {3, 3, 1, 1});
  b.graph().value(first).evidence = evidence;
  b.graph().value(second).evidence = KindEvidence::kMetadata;
  b.graph().outputs = {b.Node("Conv", {b.Node("Conv", {x, first}, {1, 3, 1, 1}), second}, {1, 3, 1, 1})};
  return std::move(b.graph());
}

TEST(FoldedBatchNormTest, ConvolutionThatLostTheMetadataOfTheFilesOtherParameters) {
  const Found found = FindIn(TwoConvolutions(KindEvidence::kNone));
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("1 of 2 convolutions")));
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("dynamo=True, optimize=False")));
  EXPECT_THAT(Parameters(found), UnorderedElementsAre("conv1.weight", "conv2.weight"));
}

TEST(FoldedBatchNormTest, NoAlarmWhereAllParametersHaveMetadata) {
  EXPECT_THAT(FindIn(TwoConvolutions(KindEvidence::kMetadata)).notes, IsEmpty());
}

// DenseNet's first norm of a layer stands before its convolution and is not folded; the second is.
TEST(FoldedBatchNormTest, AlarmAlsoWhereSomeNormsAreLeft) {
  const Found found = FindInText(R"(g (float[2,3,8,8] x) => (float[2,4,6,6] y)
      <float[3] "n.weight", float[3] "n.bias", float[3] "n.running_mean", float[3] "n.running_var",
       float[4,3,3,3] "onnx::Conv_9", float[4] "onnx::Conv_10">
      { n = BatchNormalization(x, "n.weight", "n.bias", "n.running_mean", "n.running_var")
        y = Conv(n, "onnx::Conv_9", "onnx::Conv_10") })");
  EXPECT_THAT(found.notes, ElementsAre(HasSubstr("1 of 1 convolutions")));
}

TEST(FoldedBatchNormTest, NoAlarmForConvolutionsThatKeptTheirNames) {
  const Found found = FindInText(R"(g (float[2,3,8,8] x) => (float[2,4,6,6] y)
      <float[4,3,3,3] "features.0.weight", float[4] "features.0.bias">
      { c = Conv(x, "features.0.weight", "features.0.bias") y = Relu(c) })");
  EXPECT_THAT(found.notes, IsEmpty());
}

TEST(FoldedBatchNormTest, NoAlarmWhereAllNamesAreNumbers) {
  const Found found = FindInText(R"(g (float[2,3,8,8] x) => (float[2,4,6,6] y) <float[4,3,3,3] "1", float[4] "2">
      { c = Conv(x, "1", "2") y = Relu(c) })");
  EXPECT_THAT(found.notes, IsEmpty());
  EXPECT_EQ(ParameterCount(found.graph), 4 * 3 * 3 * 3 + 4);
}

// Frequencies of a rotary embedding, under the name that an exporter made up; a product with a weight beside it.
TEST(FindParametersTest, WhatMultipliesPositionsIsNoWeight) {
  constexpr absl::string_view kText = R"(
      g (int64[2,3] positions, float[2,3,1] x) => (float[2,4,3] y, float[2,3,4] z)
      <float[1,4,1] "onnx::Expand_58", float[1,4] "onnx::MatMul_7", int64[3] shape = {2, 4, 1}, int64[1] one = {1}>
      { f = Expand ("onnx::Expand_58", shape)  u = Unsqueeze (positions, one)  p = Cast <to = 1> (u)
        a = MatMul (f, p)  y = Cos (a)  z = MatMul (x, "onnx::MatMul_7") })";
  EXPECT_THAT(Parameters(FindInText(kText)), ElementsAre("onnx::MatMul_7"));
}

// A classifier that hands out the label alone.
TEST(FindParametersTest, WhatALabelIsChosenFromHasWeights) {
  constexpr absl::string_view kText = R"(
      g (float[2,4] x) => (int64[2,1] y) <float[4,3] w, float[3] b>
      { s = Gemm (x, w, b)  p = Softmax (s)  y = ArgMax <axis = 1> (p) })";
  EXPECT_THAT(Parameters(FindInText(kText)), UnorderedElementsAre("w", "b"));
}

// As the TorchScript exporter stores the initial state of an LSTM that is given none.
TEST(FindParametersTest, StoredZeroStateIsNoWeight) {
  constexpr absl::string_view kText = R"(
      g (float[3,1,2] x) => (float[3,1,1,2] y)
      <float[1,8,2] w, float[1,8,2] r, float[1,1,2] "/l/Constant_output_0" = {0.0, 0.0},
       float[1,1,2] "/l/Constant_1_output_0" = {0.0, 0.5}>
      { y, h, c = LSTM <hidden_size = 2> (x, w, r, , , "/l/Constant_output_0", "/l/Constant_1_output_0") })";
  EXPECT_THAT(Parameters(FindInText(kText)), UnorderedElementsAre("w", "r", "/l/Constant_1_output_0"));
}

}  // namespace
}  // namespace reusescope
