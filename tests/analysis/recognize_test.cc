#include "analysis/transform/recognize.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "analysis/ir/verify.h"
#include "analysis/transform/patterns/matcher.h"
#include "analysis/transform/resolve_shapes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"
#include "tests/testing/onnx_text.h"
#include "tests/testing/recognized.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

// Graphs of one float input x [2, 8] and the constants that the patterns are made of.
constexpr absl::string_view kHead = R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[2,8] x) => (float[2,8] y)
<float half = {0.5}, float one = {1.0}, float two = {2.0}, float three = {3.0}, float zero = {0.0}, float six = {6.0},
 float sixth = {0.16666667}, float root2 = {1.4142135}, float inverse_root2 = {0.70710677}, float c = {0.044715},
 float k = {0.7978846}, float eps = {0.00001}, float[8] w, float[8] b, float[8,8] m>
)";

struct Form {
  std::string name;
  std::string body;
  std::string expected;  // operators after recognition
};

class FormTest : public ::testing::TestWithParam<Form> {};

TEST_P(FormTest, BecomesOrStays) {
  const Recognized result = RecognizeText(absl::StrCat(kHead, "{", GetParam().body, "}"));
  EXPECT_EQ(OpNames(result.graph), GetParam().expected);
}

std::string FormName(const ::testing::TestParamInfo<Form>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(
    Gelu, FormTest,
    ::testing::Values(
        Form{"ErfHalfXTimesSum", "d = Div(x, root2) e = Erf(d) s = Add(e, one) h = Mul(x, half) y = Mul(h, s)", "Gelu"},
        Form{"ErfXTimesSumThenHalf", "d = Div(x, root2) e = Erf(d) s = Add(e, one) h = Mul(x, s) y = Mul(h, half)",
             "Gelu"},
        Form{"ErfXTimesHalfSum", "d = Mul(inverse_root2, x) e = Erf(d) s = Add(one, e) h = Mul(half, s) y = Mul(x, h)",
             "Gelu"},
        Form{"ErfHalfByDivision", "d = Mul(x, inverse_root2) e = Erf(d) s = Add(one, e) h = Mul(s, x) y = Div(h, two)",
             "Gelu"},
        Form{"TanhPow",
             "p = Pow(x, three) q = Mul(p, c) r = Add(x, q) i = Mul(r, k) t = Tanh(i) s = Add(t, one)"
             "h = Mul(x, half) y = Mul(h, s)",
             "Gelu"},
        Form{"TanhMulCube",
             "p = Mul(x, x) u = Mul(p, x) q = Mul(c, u) r = Add(q, x) i = Mul(k, r) t = Tanh(i) s = Add(one, t)"
             "h = Mul(s, half) y = Mul(x, h)",
             "Gelu"},
        Form{"TanhFactoredOut",
             "p = Mul(x, x) q = Mul(c, p) r = Add(one, q) v = Mul(x, k) i = Mul(v, r) t = Tanh(i) s = Add(one, t)"
             "h = Mul(s, half) y = Mul(x, h)",
             "Gelu"},
        Form{"OfAProduct",
             "x2 = Mul(x, w) d = Div(x2, root2) e = Erf(d) s = Add(e, one) h = Mul(x2, half) y = Mul(h, s)",
             "Mul Gelu"},
        Form{"OtherScaleStays", "d = Div(x, two) e = Erf(d) s = Add(e, one) h = Mul(x, half) y = Mul(h, s)",
             "Div Erf Add Mul Mul"},
        Form{"OtherFactorStays", "d = Div(x, root2) e = Erf(d) s = Add(e, one) h = Mul(w, half) y = Mul(h, s)",
             "Div Erf Add Mul Mul"},
        Form{"TanhOtherCoefficientStays",
             "p = Pow(x, three) q = Mul(p, half) r = Add(x, q) i = Mul(r, k) t = Tanh(i) s = Add(t, one)"
             "h = Mul(x, half) y = Mul(h, s)",
             "Pow Mul Add Mul Tanh Add Mul Mul"},
        Form{"InnerValueReadElsewhereStays",
             "d = Div(x, root2) e = Erf(d) s = Add(e, one) h = Mul(x, half) g = Mul(h, s) y = Sub(g, d)",
             "Div Erf Add Mul Mul Sub"}),
    FormName);

INSTANTIATE_TEST_SUITE_P(
    Gates, FormTest,
    ::testing::Values(
        Form{"Silu", "s = Sigmoid(x) y = Mul(x, s)", "reusescope::Silu"},
        Form{"SiluCommuted", "s = Sigmoid(x) y = Mul(s, x)", "reusescope::Silu"},
        Form{"GateOfAnotherValueStays", "z = Relu(x) s = Sigmoid(z) y = Mul(x, s)", "Relu Sigmoid Mul"},
        Form{"GateReadTwiceStays", "s = Sigmoid(x) p = Mul(x, s) y = Add(p, s)", "Sigmoid Mul Add"},
        Form{"HardSwishByHardSigmoid", "s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul(x, s)",
             "HardSwish"},
        Form{"HardSwishByClip", "a = Add(x, three) s = Clip(a, zero, six) p = Mul(x, s) y = Div(p, six)", "HardSwish"},
        Form{"HardSwishByScaledClip", "a = Add(three, x) s = Clip(a, zero, six) p = Mul(s, sixth) y = Mul(p, x)",
             "HardSwish"},
        Form{"OtherSlopeStays", "s = HardSigmoid <alpha = 0.2, beta = 0.5> (x) y = Mul(x, s)", "HardSigmoid Mul"},
        Form{"OtherBoundStays", "a = Add(x, three) s = Clip(a, zero, three) p = Mul(x, s) y = Div(p, six)",
             "Add Clip Mul Div"}),
    FormName);

constexpr absl::string_view kCentre = "mu = ReduceMean <axes = [-1]> (x) d = Sub(x, mu)";
constexpr absl::string_view kDeviation = "v = ReduceMean <axes = [-1]> (q) e = Add(v, eps) r = Sqrt(e)";

INSTANTIATE_TEST_SUITE_P(
    Normalizations, FormTest,
    ::testing::Values(
        Form{"LayerNormPow",
             absl::StrCat(kCentre, "q = Pow(d, two)", kDeviation, "n = Div(d, r) s = Mul(n, w) y = Add(s, b)"),
             "LayerNormalization"},
        Form{"LayerNormMulCommuted",
             absl::StrCat(kCentre, "q = Mul(d, d)", kDeviation, "n = Div(d, r) s = Mul(w, n) y = Add(b, s)"),
             "LayerNormalization"},
        Form{"LayerNormReciprocal",
             absl::StrCat(kCentre, "q = Mul(d, d)", kDeviation,
                          "i = Reciprocal(r) n = Mul(d, i) s = Mul(n, w) y = Add(s, b)"),
             "LayerNormalization"},
        Form{"LayerNormSubtractedTwice",
             absl::StrCat(kCentre, "d2 = Sub(x, mu) q = Mul(d2, d2)", kDeviation,
                          "n = Div(d, r) s = Mul(n, w) y = Add(s, b)"),
             "LayerNormalization"},
        Form{"LayerNormWithoutBias", absl::StrCat(kCentre, "q = Mul(d, d)", kDeviation, "n = Div(d, r) y = Mul(n, w)"),
             "LayerNormalization"},
        Form{"LayerNormOverAnotherAxisStays",
             "mu = ReduceMean <axes = [0]> (x) d = Sub(x, mu) q = Mul(d, d) v = ReduceMean <axes = [0]> (q)"
             "e = Add(v, eps) r = Sqrt(e) n = Div(d, r) s = Mul(n, w) y = Add(s, b)",
             "ReduceMean Sub Mul ReduceMean Add Sqrt Div Mul Add"},
        Form{"RmsNormReciprocal",
             absl::StrCat("q = Pow(x, two)", kDeviation, "i = Reciprocal(r) n = Mul(x, i) y = Mul(w, n)"),
             "RMSNormalization"},
        Form{"RmsNormOneOver", absl::StrCat("q = Mul(x, x)", kDeviation, "i = Div(one, r) n = Mul(x, i) y = Mul(n, w)"),
             "RMSNormalization"},
        Form{"RmsNormDiv", absl::StrCat("q = Pow(x, two)", kDeviation, "n = Div(x, r) y = Mul(n, w)"),
             "RMSNormalization"},
        Form{"RmsNormAmongCasts",
             absl::StrCat("f = Cast <to = 1> (x) q = Pow(f, two)", kDeviation,
                          "i = Reciprocal(r) n = Mul(f, i) o = Cast <to = 1> (n) y = Mul(w, o)"),
             "RMSNormalization"},
        Form{"RmsNormOfAProduct",
             absl::StrCat("x2 = Mul(x, w) q = Pow(x2, two)", kDeviation, "n = Div(x2, r) y = Mul(n, w)"),
             "Mul RMSNormalization"},
        Form{"RmsNormOfAnotherDividendStays",
             absl::StrCat("z = Relu(x) q = Pow(x, two)", kDeviation, "n = Div(z, r) y = Mul(n, w)"),
             "Relu Pow ReduceMean Add Sqrt Div Mul"},
        Form{"RmsNormOfWhatWasSubtractedTwiceStays",
             absl::StrCat("mu = ReduceMean <axes = [0]> (x) d = Sub(x, mu) d2 = Sub(x, mu) q = Mul(d2, d2)", kDeviation,
                          "n = Div(d, r) y = Mul(n, w)"),
             "ReduceMean Sub Sub Mul ReduceMean Add Sqrt Div Mul"},
        Form{"RmsNormCubedStays", absl::StrCat("q = Pow(x, three)", kDeviation, "n = Div(x, r) y = Mul(n, w)"),
             "Pow ReduceMean Add Sqrt Div Mul"},
        Form{"RmsNormScaledByFullTensorStays",
             absl::StrCat("z = Relu(x) q = Pow(x, two)", kDeviation, "n = Div(x, r) y = Mul(n, z)"),
             "Relu Pow ReduceMean Add Sqrt Div Mul"}),
    FormName);

TEST(RecognizeTest, FusedNodeHasOperandsAttributesAndType) {
  const Recognized result = RecognizeText(
      absl::StrCat(kHead, "{", kCentre, "q = Pow(d, two)", kDeviation, "n = Div(d, r) s = Mul(n, w) y = Add(s, b)}"));
  ASSERT_THAT(result.graph.order, SizeIs(1));
  const Node& node = result.graph.node(result.graph.order[0]);
  std::vector<std::string> inputs;
  for (ValueId input : node.inputs) inputs.push_back(result.graph.value(input).name);
  EXPECT_THAT(inputs, ElementsAre("x", "w", "b"));
  EXPECT_EQ(node.attributes.Int("axis", 99), 1);
  EXPECT_NEAR(node.attributes.Float("epsilon", 0), 1e-5, 1e-9);
  EXPECT_EQ(OpKeyString(node.op), "LayerNormalization-17");
  EXPECT_EQ(result.graph.value(node.outputs[0]).name, "y");
  EXPECT_EQ(TypeString(result.graph.value(node.outputs[0]).type), "float32[2, 8]");
  EXPECT_THAT(result.counts, ElementsAre(Pair("LayerNormalization", 1)));
}

TEST(RecognizeTest, TanhFormKeepsItsApproximation) {
  const Recognized result = RecognizeText(
      absl::StrCat(kHead,
                   "{p = Pow(x, three) q = Mul(p, c) r = Add(x, q) i = Mul(r, k) t = Tanh(i) s = Add(t, one)"
                   "h = Mul(x, half) y = Mul(h, s)}"));
  ASSERT_THAT(result.graph.order, SizeIs(1));
  EXPECT_EQ(result.graph.node(result.graph.order[0]).attributes.String("approximate", "none"), "tanh");
}

TEST(RecognizeTest, AxesAsAnInputOfOpset18) {
  const Recognized result = RecognizeText(R"(<ir_version: 8, opset_import: ["" : 18]>
      g (float[2,3,8] x) => (float[2,3,8] y)
      <float two = {2.0}, float eps = {0.00001}, int64[2] last = {1, 2}, float[3,8] w>
      { q = Pow(x, two) v = ReduceMean(q, last) e = Add(v, eps) r = Sqrt(e) i = Reciprocal(r) n = Mul(x, i)
        y = Mul(w, n) })");
  EXPECT_EQ(OpNames(result.graph), "RMSNormalization");
  EXPECT_EQ(result.graph.node(result.graph.order[0]).attributes.Int("axis", 99), 1);
}

TEST(RecognizeTest, HalfPrecisionNormIsOneKernelWithoutItsCasts) {
  const Recognized result = RecognizeText(R"(<ir_version: 8, opset_import: ["" : 17]>
      g (float16[2,8] x) => (float16[2,8] y)
      <float two = {2.0}, float eps = {0.00001}, float16[8] w>
      { f = Cast <to = 1> (x) q = Pow(f, two) v = ReduceMean <axes = [-1]> (q) e = Add(v, eps) r = Sqrt(e)
        i = Reciprocal(r) n = Mul(f, i) o = Cast <to = 10> (n) y = Mul(w, o) })");
  EXPECT_EQ(OpNames(result.graph), "RMSNormalization");
  EXPECT_EQ(result.graph.value(result.graph.node(result.graph.order[0]).inputs[0]).name, "x");
}

TEST(RecognizeTest, GraphOutputInsideAPatternStays) {
  const Recognized result = RecognizeText(R"(g (float[2,8] x) => (float[2,8] y, float[2,8] s)
      { s = Sigmoid(x) y = Mul(x, s) })");
  EXPECT_EQ(OpNames(result.graph), "Sigmoid Mul");
  EXPECT_THAT(result.counts, IsEmpty());
}

TEST(RecognizeTest, EqualFusedNodesGetNamesOfTheirOwnAndTheCommonModule) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4});
  const ValueId s = b.Node("Sigmoid", {x}, {4});
  const ValueId y = b.Node("Mul", {x, s}, {4});
  const ValueId t = b.Node("Sigmoid", {y}, {4});
  const ValueId z = b.Node("Mul", {y, t}, {4});
  b.graph().outputs = {z};
  for (NodeId id : b.graph().order) b.graph().node(id).module = id % 2 == 0 ? "net.mlp.act" : "net.mlp";
  ASSERT_TRUE(Recognize(b.graph()).ok());
  EXPECT_EQ(b.Producer(y).name, "net.mlp.Silu");
  EXPECT_EQ(b.Producer(z).name, "net.mlp.Silu_1");
  EXPECT_EQ(b.Producer(z).module, "net.mlp");
}

TEST(RecognizeTest, CommonModuleEndsAtWholeParts) {
  EXPECT_EQ(CommonModule("a.b.c", "a.b.d"), "a.b");
  EXPECT_EQ(CommonModule("layer1", "layer10"), "");
  EXPECT_EQ(CommonModule("a.b", "a.b.c"), "a.b");
  EXPECT_EQ(CommonModule("a.b", "a.b"), "a.b");
  EXPECT_EQ(CommonModule("a", ""), "");
}

INSTANTIATE_TEST_SUITE_P(
    Dropout, FormTest,
    ::testing::Values(Form{"EvaluationGoes", "z = Relu(x) d = Dropout(z, half) y = Exp(d)", "Relu Exp"},
                      Form{"GraphOutputStaysAsIdentity", "z = Relu(x) y = Dropout(z, half)", "Relu Identity"}),
    FormName);

TEST(RecognizeTest, DropoutOfTrainingStaysUnlessItsRatioIsZero) {
  constexpr absl::string_view kText = R"(g (float[2,8] x) => (float[2,8] y)
      <float ratio = {$0}, bool train = {1}> { d = Dropout(x, ratio, train) y = Exp(d) })";
  EXPECT_EQ(OpNames(RecognizeText(absl::Substitute(kText, "0.1")).graph), "Dropout Exp");
  EXPECT_EQ(OpNames(RecognizeText(absl::Substitute(kText, "0.0")).graph), "Exp");
}

TEST(RecognizeTest, AttentionDropoutOfATrainingExportTrains) {
  constexpr absl::string_view kText = R"(g (float[2,8] x) => (float[2,8] y)
      <float ratio = {0.1}, bool train = {1}> { $0 p = Softmax(a) d = Dropout(p, ratio) y = Exp(d) })";
  EXPECT_EQ(OpNames(RecognizeText(absl::Substitute(kText, "a = Dropout(x, ratio, train)")).graph),
            "Dropout Softmax Dropout Exp");
  // Without another one that trains, it is an evaluation export.
  EXPECT_EQ(OpNames(RecognizeText(absl::Substitute(kText, "a = Relu(x)")).graph), "Relu Softmax Exp");
}

TEST(RecognizeTest, DropoutWhoseMaskIsReadStays) {
  const Recognized result = RecognizeText(R"(g (float[2,8] x) => (float[2,8] y, bool[2,8] m)
      { d, m = Dropout(x) y = Exp(d) })");
  EXPECT_EQ(OpNames(result.graph), "Dropout Exp");
}

INSTANTIATE_TEST_SUITE_P(
    SoftmaxGuard, FormTest,
    ::testing::Values(Form{"OfASoftmaxGoes", "p = Softmax(x) n = IsNaN(p) g = Where(n, zero, p) y = Exp(g)",
                           "Softmax Exp"},
                      Form{"AnotherValueStays", "p = Softmax(x) n = IsNaN(p) g = Where(n, one, p) y = Exp(g)",
                           "Softmax IsNaN Where Exp"},
                      Form{"OfAnythingElseStays", "p = Relu(x) n = IsNaN(p) g = Where(n, zero, p) y = Exp(g)",
                           "Relu IsNaN Where Exp"}),
    FormName);

// ------------------------------------------------------------------------------------------------------- attention

constexpr absl::string_view kAttentionHead = R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4,8,16] q, float[2,4,8,16] k, float[2,4,8,16] v, float[2,1,8,8] mask) => (float[2,4,8,16] y)
<float scale = {0.25}, float half = {0.5}, float zero = {0.0}, bool train = {1}, float[16,8] w, float[8,16] u,
 float low = {-10000.0}>
)";

class AttentionTest : public FormTest {};

TEST_P(AttentionTest, IsARegionOrNone) {
  const Recognized result = RecognizeText(absl::StrCat(kAttentionHead, "{", GetParam().body, "}"));
  if (GetParam().expected.empty()) {
    EXPECT_THAT(RegionOps(result.graph, "attention"), IsEmpty());
  } else {
    EXPECT_THAT(RegionOps(result.graph, "attention"), ElementsAre(GetParam().expected));
    EXPECT_EQ(result.counts.at("attention"), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms, AttentionTest,
    ::testing::Values(
        Form{"Plain",
             "t = Transpose <perm = [0,1,3,2]> (k) s = MatMul(q, t) p = Softmax <axis = -1> (s) y = MatMul(p, v)",
             "MatMul Softmax MatMul"},
        Form{"ScaledMaskedDropped",
             "t = Transpose <perm = [0,1,3,2]> (k) s = MatMul(q, t) c = Mul(s, scale) a = Add(c, mask)"
             "p = Softmax <axis = 3> (a) d = Dropout(p, half, train) y = MatMul(d, v)",
             "MatMul Mul Add Softmax Dropout MatMul"},
        Form{"ScaledOperandsAndGuard",
             "a = Mul(q, half) t = Transpose <perm = [0,1,3,2]> (k) b = Mul(t, half) s = MatMul(a, b) c = Add(s, mask)"
             "p = Softmax <axis = -1> (c) n = IsNaN(p) g = Where(n, zero, p) y = MatMul(g, v)",
             "Mul Mul MatMul Add Softmax MatMul"},
        Form{"MaskByWhere",
             "t = Transpose <perm = [0,1,3,2]> (k) s = MatMul(q, t) z = Cast <to = 9> (mask) c = Where(z, low, s)"
             "p = Softmax <axis = -1> (c) y = MatMul(p, v)",
             "MatMul Where Softmax MatMul"},
        Form{"BiasIsASumOfItsOwn",
             "t = Transpose <perm = [0,1,3,2]> (k) s = MatMul(q, t) e = Exp(mask) m = Add(e, mask) c = Add(m, s)"
             "p = Softmax <axis = -1> (c) y = MatMul(p, v)",
             "MatMul Add Softmax MatMul"},
        Form{"AnotherAxisIsNone",
             "t = Transpose <perm = [0,1,3,2]> (k) s = MatMul(q, t) p = Softmax <axis = 2> (s) y = MatMul(p, v)", ""},
        Form{"ScoresAgainstAWeightAreNone", "s = MatMul(q, w) p = Softmax <axis = -1> (s) y = MatMul(p, v)", ""},
        Form{"ProductWithAWeightIsNone",
             "t = Transpose <perm = [0,1,3,2]> (k) s = MatMul(q, t) p = Softmax <axis = -1> (s) y = MatMul(p, u)", ""}),
    FormName);

// ------------------------------------------------------------------------------------------------------- composites

TEST(LowerCompositesTest, CoreNodesTakeThePlaceOfTheCompositeAndVerify) {
  Model model = ParseOnnxText(R"(<ir_version: 10, opset_import: ["" : 23]>
      g (float[2,4,8,16] q, float[2,4,8,16] k, float[2,4,8,16] v) => (float[2,4,8,16] y)
      { a = Relu(q) b = Attention(a, k, v) y = Exp(b) })");
  std::vector<std::string> notes;
  ASSERT_EQ(ResolveShapes(model, {}, notes), absl::OkStatus());
  Graph& graph = model.graph;
  ASSERT_EQ(LowerComposites(graph), absl::OkStatus());
  EXPECT_EQ(Verify(graph, "lower", /*resolved=*/true), absl::OkStatus());
  const std::string names = OpNames(graph);
  EXPECT_THAT(names, ::testing::StartsWith("Relu "));
  EXPECT_THAT(names, ::testing::EndsWith(" Exp"));
  EXPECT_THAT(names, ::testing::HasSubstr("MatMul"));
  EXPECT_THAT(names, ::testing::HasSubstr("Softmax"));
  EXPECT_THAT(names, ::testing::Not(::testing::HasSubstr("Attention")));
  EXPECT_THAT(graph.regions, SizeIs(1));
}

TEST(LowerCompositesTest, GraphWithoutCompositesStays) {
  Model model = ParseOnnxText("g (float[2,8] x) => (float[2,8] y) { a = Relu(x) y = Exp(a) }");
  const std::vector<NodeId> before = model.graph.order;
  ASSERT_EQ(LowerComposites(model.graph), absl::OkStatus());
  EXPECT_EQ(model.graph.order, before);
}

// ---------------------------------------------------------------------------------------------------------- scaling

// A chain long enough that quadratic work would be seen as a time-out of the test.
TEST(RecognizeTest, LongChainIsLinear) {
  constexpr int kLength = 50'000;
  GraphBuilder b;
  ValueId x = b.Input("x", {4});
  for (int i = 0; i < kLength; ++i) x = b.Node("Mul", {x, b.Node("Sigmoid", {x}, {4})}, {4});
  b.graph().outputs = {x};
  const absl::StatusOr<RecognizedCounts> counts = Recognize(b.graph());
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->at("Silu"), kLength);
  EXPECT_THAT(b.graph().order, SizeIs(kLength));
}

}  // namespace
}  // namespace reusescope
