// Patterns of today's transformers, in the forms that PyTorch's exporters write: rotary embedding, grouped-query
// attention, key-value caches, masks, gated and chosen feed-forward parts; and group normalization.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "analysis/transform/recognize.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/recognized.h"

namespace reusescope {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

struct Form {
  std::string name;
  std::string body;
  std::string expected;  // operators after recognition
};

std::string FormName(const ::testing::TestParamInfo<Form>& info) { return info.param.name; }

// -------------------------------------------------------------------------------------------------- rotary embedding

// x [2, 4, 8, 16] and tables cos, sin [2, 1, 8, 16] and c, s [2, 1, 8, 8], computed from positions.
constexpr absl::string_view kRotaryHead = R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4,8,16] x, int64[2,8] positions) => (float[2,4,8,16] y)
<float[1,8] inv_freq = {1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003}, int64[1] i0 = {0}, int64[1] i1 = {1},
 int64[1] i2 = {2}, int64[1] i8 = {8}, int64[1] i16 = {16}, int64[1] i99 = {9223372036854775807}, int64[1] last = {-1},
 int64[1] axis3 = {3}, int64[1] axis4 = {4}, int64[4] shape = {2, 4, 8, 16}, float[1,1,1,16] learned>
{ p = Cast <to = 1> (positions) p2 = Unsqueeze(p, i2) f = Mul(p2, inv_freq) e = Concat <axis = -1> (f, f)
  cos0 = Cos(e) sin0 = Sin(e) cos = Unsqueeze(cos0, i1) sin = Unsqueeze(sin0, i1)
  c0 = Cos(f) s0 = Sin(f) c = Unsqueeze(c0, i1) s = Unsqueeze(s0, i1)
)";

class RotaryTest : public ::testing::TestWithParam<Form> {};

// What makes the tables is not looked at.
TEST_P(RotaryTest, BecomesOrStays) {
  const Recognized result = RecognizeText(absl::StrCat(kRotaryHead, GetParam().body, "}"));
  std::string names;
  for (NodeId id : result.graph.order) {
    const Node& node = result.graph.node(id);
    const Shape& shape = result.graph.value(node.outputs[0]).type.shape;
    if (shape.size() >= 4 && shape[1] == 4) absl::StrAppend(&names, names.empty() ? "" : " ", node.op.type);
  }
  EXPECT_EQ(names, GetParam().expected);
}

constexpr absl::string_view kHalves =
    "a = Slice(x, i0, i8, axis3, i1) b = Slice(x, i8, i99, axis3, i1) n = Neg(b) t = Concat <axis = -1> (n, a)";
constexpr absl::string_view kSeconds =
    "a = Slice(x, i0, i99, axis3, i2) b = Slice(x, i1, i99, axis3, i2) n = Neg(b) n1 = Unsqueeze(n, axis4)"
    "a1 = Unsqueeze(a, axis4) st = Concat <axis = -1> (n1, a1) t = Reshape(st, shape)";
constexpr absl::string_view kApply = "xc = Mul(x, cos) ts = Mul(t, sin) y = Add(xc, ts)";

INSTANTIATE_TEST_SUITE_P(
    Forms, RotaryTest,
    ::testing::Values(
        Form{"Halves", absl::StrCat(kHalves, kApply), "Rotation"},
        Form{"HalvesBySplit",
             absl::StrCat("a, b = Split <axis = 3> (x) n = Neg(b) t = Concat <axis = 3> (n, a)", kApply), "Rotation"},
        Form{"EverySecond", absl::StrCat(kSeconds, kApply), "Rotation"},
        Form{"HalvesJoined",
             "a, b = Split <axis = -1> (x) ac = Mul(a, c) bs = Mul(b, s) r = Sub(ac, bs) bc = Mul(b, c) as = Mul(a, s)"
             "i = Add(bc, as) y = Concat <axis = -1> (r, i)",
             "Rotation"},
        Form{"EverySecondJoined",
             "a = Slice(x, i0, i99, axis3, i2) b = Slice(x, i1, i99, axis3, i2) ac = Mul(a, c) bs = Mul(b, s)"
             "r = Sub(ac, bs) as = Mul(a, s) bc = Mul(b, c) i = Add(as, bc) r1 = Unsqueeze(r, axis4)"
             "i1_ = Unsqueeze(i, axis4) st = Concat <axis = -1> (r1, i1_) y = Reshape(st, shape)",
             "Rotation"},
        Form{"SwappedHalvesStay",
             absl::StrCat("a, b = Split <axis = 3> (x) n = Neg(a) t = Concat <axis = 3> (n, b)", kApply),
             "Split Neg Concat Mul Mul Add"},
        Form{"OfAnotherValueStays",
             absl::StrCat("z = Relu(x)", kHalves, "xc = Mul(z, cos) ts = Mul(t, sin) y = Add(xc, ts)"),
             "Relu Slice Slice Neg Concat Mul Mul Add"},
        Form{"LearnedTableStays", absl::StrCat(kHalves, "xc = Mul(x, learned) ts = Mul(t, sin) y = Add(xc, ts)"),
             "Slice Slice Neg Concat Mul Mul Add"},
        Form{"BothPlusStays",
             "a, b = Split <axis = -1> (x) ac = Mul(a, c) bs = Mul(b, s) r = Sub(ac, bs) bc = Mul(b, c) as = Mul(b, s)"
             "i = Add(bc, as) y = Concat <axis = -1> (r, i)",
             "Split Mul Mul Sub Mul Mul Add Concat"}),
    FormName);

TEST(RotaryTest, HasOperandsAndForm) {
  const Recognized result = RecognizeText(absl::StrCat(kRotaryHead, kSeconds, kApply, "}"));
  EXPECT_THAT(result.counts, Contains(Pair("rotary embedding", 1)));
  const Node& node = result.graph.node(result.graph.order.back());
  std::vector<std::string> inputs;
  for (ValueId input : node.inputs) inputs.push_back(result.graph.value(input).name);
  EXPECT_THAT(inputs, ElementsAre("x", "cos", "sin"));
  EXPECT_EQ(node.attributes.Int("interleaved", 0), 1);
}

// ------------------------------------------------------------------------------------------------ group normalization

constexpr absl::string_view kNormHead = R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[2,6,4,4] x) => (float[2,6,4,4] y)
<int64[3] groups = {0, 3, -1}, int64[4] back = {2, 6, 4, 4}, float[3] ones = {1, 1, 1}, float[3] zeros = {0, 0, 0},
 float[3] other = {1, 2, 1}, float[6] w, float[6] b, float[6,1,1] w3, float[6,1,1] b3, float[1,1,4] wide, float two = {2},
 float eps = {0.00001}, int64[2] tail = {1, 2}>
{)";

class GroupNormTest : public ::testing::TestWithParam<Form> {};

TEST_P(GroupNormTest, BecomesOrStays) {
  EXPECT_EQ(OpNames(RecognizeText(absl::StrCat(kNormHead, GetParam().body, "}")).graph), GetParam().expected);
}

constexpr absl::string_view kGrouped =
    "g0 = Reshape(x, groups) n = InstanceNormalization <epsilon = 0.001> (g0, ones, zeros) u = Reshape(n, back)";
constexpr absl::string_view kMeans =
    "mu = ReduceMean <axes = [2, 3]> (x) d = Sub(x, mu) q = Pow(d, two) v = ReduceMean <axes = [2, 3]> (q)"
    "e = Add(v, eps) r = Sqrt(e) u = Div(d, r)";

INSTANTIATE_TEST_SUITE_P(
    Forms, GroupNormTest,
    ::testing::Values(
        Form{"WeightUnsqueezed",
             absl::StrCat(kGrouped, "wu = Unsqueeze(w, tail) bu = Unsqueeze(b, tail) m = Mul(u, wu) y = Add(m, bu)"),
             "GroupNormalization"},
        Form{"WeightStoredWide", absl::StrCat(kGrouped, "m = Mul(u, w3) y = Add(b3, m)"),
             "Reshape Reshape GroupNormalization"},
        Form{"SpelledOutPerChannel", absl::StrCat(kMeans, "m = Mul(u, w3) y = Add(m, b3)"),
             "Reshape Reshape InstanceNormalization"},
        Form{"SpelledOutInGroups",
             "g0 = Reshape(x, groups) mu = ReduceMean <axes = [2]> (g0) d = Sub(g0, mu) q = Mul(d, d)"
             "v = ReduceMean <axes = [2]> (q) e = Add(v, eps) r = Sqrt(e) i = Reciprocal(r) n = Mul(d, i)"
             "u = Reshape(n, back) m = Mul(u, w3) y = Add(m, b3)",
             "Reshape Reshape GroupNormalization"},
        Form{"OtherInnerWeightStays",
             "g0 = Reshape(x, groups) n = InstanceNormalization(g0, other, zeros) u = Reshape(n, back)"
             "m = Mul(u, w3) y = Add(m, b3)",
             "Reshape InstanceNormalization Reshape Mul Add"},
        Form{"WeightPerColumnStays", absl::StrCat(kGrouped, "m = Mul(u, wide) y = Add(m, b3)"),
             "Reshape InstanceNormalization Reshape Mul Add"}),
    FormName);

TEST(GroupNormTest, KeepsItsNumbers) {
  const Graph graph =
      std::move(RecognizeText(absl::StrCat(kNormHead, kGrouped, "m = Mul(u, w3) y = Add(m, b3)}")).graph);
  const Node& node = graph.node(graph.order.back());
  EXPECT_EQ(OpKeyString(node.op), "GroupNormalization-21");
  EXPECT_EQ(node.attributes.Int("num_groups", 0), 3);
  EXPECT_NEAR(node.attributes.Float("epsilon", 0), 0.001, 1e-9);
  EXPECT_EQ(TypeString(graph.value(node.inputs[1]).type), "float32[6]");
}

// ---------------------------------------------------------------------------------------------------------- attention

// Four heads of queries, two of keys and values, three new positions behind five past ones.
constexpr absl::string_view kAttentionHead = R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[2,4,3,16] q, float[2,2,3,16] k0, float[2,2,3,16] v0, float[2,2,5,16] past_k, float[2,2,5,16] past_v,
   float[2,4,3,16] k4, float[2,4,3,16] v4, int64[2,3] seen, int64[2,8] seen_all) => (float[2,4,3,16] y)
<int64[1] two = {2}, int64[1] one_at = {1}, int64[5] repeat = {2, 2, 2, 8, 16}, int64[5] repeat3 = {2, 2, 2, 3, 16},
 int64[4] heads = {2, 4, 8, 16}, int64[4] heads3 = {2, 4, 3, 16}, float scale = {0.25}, float zero = {0},
 float low = {-3.4e38}, float[3,3] triangle = {0, -1e9, -1e9, 0, 0, -1e9, 0, 0, 0}, float[3,3] val_7 = {0, 1, 2, 3, 4, 5, 6, 7, 8},
 float[3,3] bias, int64[3,1] rows = {0, 1, 2}, int64[1,3] columns = {0, 1, 2}, int64[2] mask_axes = {1, 2}>
{)";

constexpr absl::string_view kScores = "t = Transpose <perm = [0, 1, 3, 2]> (k) s0 = MatMul(q, t) s = Mul(s0, scale)";
constexpr absl::string_view kProduct = "p = Softmax <axis = -1> (m) y = MatMul(p, v)";

Recognized Attention(absl::string_view operands, absl::string_view mask) {
  return RecognizeText(absl::StrCat(kAttentionHead, operands, kScores, mask, kProduct, "}"));
}

constexpr absl::string_view kRepeated =
    "ku = Unsqueeze(k0, two) ke = Expand(ku, repeat3) k = Reshape(ke, heads3)"
    "vu = Unsqueeze(v0, two) ve = Expand(vu, repeat3) v = Reshape(ve, heads3)";
constexpr absl::string_view kPlain = "k = Relu(k4) v = Relu(v4)";
constexpr absl::string_view kNoMask = "m = Identity(s)";

TEST(AttentionFormsTest, RepeatedHeadsAreGroupedQueries) {
  const Recognized result = Attention(kRepeated, kNoMask);
  EXPECT_THAT(result.counts, Contains(Pair("grouped-query attention", 1)));
  EXPECT_THAT(RegionOps(result.graph, "attention"),
              ElementsAre("Expand Reshape Expand Reshape Transpose MatMul Mul Identity Softmax MatMul"));
  EXPECT_THAT(Attention(kPlain, kNoMask).counts, Not(Contains(Key("grouped-query attention"))));
  // Values of their own heads: the keys alone make no group.
  EXPECT_THAT(
      Attention("ku = Unsqueeze(k0, two) ke = Expand(ku, repeat3) k = Reshape(ke, heads3) v = Relu(v4)", kNoMask)
          .counts,
      Not(Contains(Key("grouped-query attention"))));
}

TEST(AttentionFormsTest, PastInFrontIsACache) {
  constexpr absl::string_view kCached =
      "kn = Relu(k0) vn = Relu(v0) kc = Concat <axis = 2> (past_k, kn) vc = Concat <axis = -2> (past_v, vn)"
      "ku = Unsqueeze(kc, two) ke = Expand(ku, repeat) k = Reshape(ke, heads)"
      "vu = Unsqueeze(vc, two) ve = Expand(vu, repeat) v = Reshape(ve, heads)";
  const Recognized result = Attention(kCached, kNoMask);
  EXPECT_THAT(result.counts, Contains(Pair("key-value cache", 1)));
  EXPECT_THAT(result.counts, Contains(Pair("grouped-query attention", 1)));
  EXPECT_THAT(RegionOps(result.graph, "attention"), ElementsAre(::testing::HasSubstr("Concat Concat")));
  // What stands in front was computed too: two halves, no past.
  constexpr absl::string_view kHalves =
      "kn = Relu(k4) vn = Relu(v4) ka = Exp(k4) va = Exp(v4) k = Concat <axis = 2> (ka, kn) v = Concat <axis = 2> (va, "
      "vn)";
  EXPECT_THAT(Attention(kHalves, kNoMask).counts, Not(Contains(Key("key-value cache"))));
}

// Attention of one query over twelve keys kc and values vc, which `body` makes of a past.
Recognized FixedCache(absl::string_view body) {
  return RecognizeText(absl::StrCat(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,1,8] q, float[1,2,12,8] past_k, float[1,2,12,8] past_v, float[1,2,1,8] past_k1, float[1,2,1,8] past_v1,
   int64[1,1] at_row, int64[1,2,1,8] at_all, bool[1,1,12,1] at_where) => (float[1,2,1,8] y)
{)",
                                    body, R"( kt2 = Transpose <perm = [0,1,3,2]> (kc) s = MatMul(q, kt2)
 p = Softmax <axis = -1> (s) y = MatMul(p, vc) })"));
}

TEST(AttentionFormsTest, RowsWrittenIntoAPastAreACache) {
  // As torch.export writes index_copy and index_put of a cache of fixed size, and what scatter and where are.
  constexpr absl::string_view kWrites[] = {
      "kt = Transpose <perm = [2,0,1,3]> (past_k) ks = ScatterND(kt, at_row, k_row) kc = Transpose <perm = [1,2,0,3]> "
      "(ks)"
      "vt = Transpose <perm = [2,0,1,3]> (past_v) vs = ScatterND(vt, at_row, v_row) vc = Transpose <perm = [1,2,0,3]> "
      "(vs)",
      "kc = ScatterElements <axis = 2> (past_k, at_all, k_one) vc = ScatterElements <axis = 2> (past_v, at_all, v_one)",
      "kc = Where(at_where, k_one, past_k) vc = Where(at_where, v_one, past_v)",
  };
  constexpr absl::string_view kRows =
      "k_one = Exp(past_k1) v_one = Exp(past_v1) k_row = Transpose <perm = [2,0,1,3]> (k_one)"
      "v_row = Transpose <perm = [2,0,1,3]> (v_one)";
  const auto cached = [&](absl::string_view write, absl::string_view rows) {
    return FixedCache(absl::StrCat(rows, write)).counts;
  };
  for (absl::string_view write : kWrites) {
    EXPECT_THAT(cached(write, kRows), Contains(Pair("key-value cache", 1))) << write;
  }
  // Written into what was computed: a sequence put together, no past.
  EXPECT_THAT(cached("pk = Exp(past_k) pv = Exp(past_v) kc = ScatterElements <axis = 2> (pk, at_all, k_one)"
                     "vc = ScatterElements <axis = 2> (pv, at_all, v_one)",
                     kRows),
              Not(Contains(Key("key-value cache"))));
}

std::vector<std::string> MasksOf(const Recognized& result) {
  std::vector<std::string> masks;
  for (absl::string_view kind : {"causal", "padding", "constant"}) {
    if (result.counts.contains(absl::StrCat(kind, " mask"))) masks.emplace_back(kind);
  }
  return masks;
}

TEST(AttentionFormsTest, MasksByWhatTheyAreMadeOf) {
  // Stored numbers.
  EXPECT_THAT(MasksOf(Attention(kPlain, "m = Add(s, triangle)")), ElementsAre("causal"));
  EXPECT_THAT(MasksOf(Attention(kPlain, "m = Add(val_7, s)")), ElementsAre("constant"));
  // A trained bias and no mask at all.
  EXPECT_THAT(MasksOf(Attention(kPlain, "m = Add(s, bias)")), IsEmpty());
  EXPECT_THAT(MasksOf(Attention(kPlain, kNoMask)), IsEmpty());
  // Positions compared, folded into a constant before recognition.
  EXPECT_THAT(MasksOf(Attention(kPlain, "c = LessOrEqual(columns, rows) m = Where(c, s, low)")), ElementsAre("causal"));
  // What the model is told of its padding.
  EXPECT_THAT(MasksOf(Attention(kPlain, "u = Unsqueeze(seen, mask_axes) c = Cast <to = 9> (u) m = Where(c, s, low)")),
              ElementsAre("padding"));
  EXPECT_THAT(MasksOf(Attention(kPlain,
                                "u = Unsqueeze(seen, mask_axes) c0 = Cast <to = 9> (u)"
                                "c1 = GreaterOrEqual(rows, columns) c = And(c0, c1) a = Where(c, zero, low)"
                                "m = Add(s, a)")),
              ElementsAre("causal", "padding"));
}

// ------------------------------------------------------------------------------------------------- feed-forward parts

constexpr absl::string_view kGateHead = R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[2,8] x, float[2,8] z) => (float[2,16] y)
<float[8,16] wg, float[8,16] wu, float[8,32] both, float[16] b>
{)";

TEST(SwiGluTest, GateAndValueOfOneInput) {
  const auto regions = [](absl::string_view body) {
    return RegionOps(RecognizeText(absl::StrCat(kGateHead, body, "}")).graph, "SwiGLU");
  };
  EXPECT_THAT(regions("g0 = MatMul(x, wg) s = Sigmoid(g0) a = Mul(g0, s) u = MatMul(x, wu) y = Mul(a, u)"),
              ElementsAre("MatMul Silu MatMul Mul"));
  EXPECT_THAT(regions("h = MatMul(x, both) g0, u = Split <axis = -1> (h) s = Sigmoid(g0) a = Mul(g0, s) y = Mul(u, a)"),
              ElementsAre("MatMul Split Silu Mul"));
  EXPECT_THAT(
      regions("g1 = MatMul(x, wg) g0 = Add(b, g1) s = Sigmoid(g0) a = Mul(g0, s) u = MatMul(x, wu) y = Mul(a, u)"),
      ElementsAre("MatMul Add Silu MatMul Mul"));
  // Of two inputs; and a gate of another kind.
  EXPECT_THAT(regions("g0 = MatMul(x, wg) s = Sigmoid(g0) a = Mul(g0, s) u = MatMul(z, wu) y = Mul(a, u)"), IsEmpty());
  EXPECT_THAT(regions("g0 = MatMul(x, wg) a = Sigmoid(g0) u = MatMul(x, wu) y = Mul(a, u)"), IsEmpty());
}

// Six tokens, two of four experts each, as torch.export writes Mixtral's products of gathered matrices.
constexpr absl::string_view kExpertsHead = R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[6,8] x) => (float[6,2,1,16] y)
<float[8,4] router, int64[1] two = {2}, int64[1] at = {1}, int64[2] axes = {1, 2}, float[4,8,16] experts, float[4,8] vectors,
 float[8,16] w>
{ l = MatMul(x, router) )";

TEST(ExpertsTest, RoutingAndTheProductsOfWhatItChose) {
  const auto regions = [](absl::string_view body) {
    return RegionOps(RecognizeText(absl::StrCat(kExpertsHead, body, "}")).graph, "experts");
  };
  constexpr absl::string_view kProducts =
      "e = Gather(experts, i) xu = Unsqueeze(x, axes) p = MatMul(xu, e) wu = Unsqueeze(v, axes2) y = Mul(p, wu)";
  const auto with_axes = [&](absl::string_view head) {
    return absl::StrCat("axes2 = Constant <value = int64[2] {2, 3}> () ", head, kProducts);
  };
  EXPECT_THAT(regions(with_axes("r = Softmax <axis = -1> (l) v, i = TopK(r, two)")),
              ElementsAre("MatMul Softmax TopK Gather MatMul Unsqueeze"));
  EXPECT_THAT(regions(with_axes("v0, i = TopK(l, two) v = Softmax <axis = -1> (v0)")),
              ElementsAre("MatMul TopK Softmax Gather MatMul Unsqueeze"));
  // Looks up vectors, as a decoder does with the tokens that it chose.
  EXPECT_THAT(regions("v, i = TopK(l, two) e = Gather(vectors, i) p = MatMul(e, w) y = Unsqueeze(p, two)"), IsEmpty());
  // Chooses among what no router made.
  EXPECT_THAT(regions(with_axes("a = Abs(l) v, i = TopK(a, two)")), IsEmpty());
}

// Every expert written out, its result weighed by whether it was chosen.
TEST(ExpertsTest, ExpertsWrittenOutAreWeighedByTheChoice) {
  const auto experts = [](absl::string_view body) {
    return RecognizeText(absl::StrCat(R"(<ir_version: 8, opset_import: ["" : 17]>
g (float[6,8] x) => (float[6,8] y)
<float[8,4] router, int64[1] two = {2}, int64[1] last = {1}, int64 e0 = {0}, int64 e1 = {1}, float[8,8] w0, float[8,8] w1>
{ l = MatMul(x, router) r = Softmax <axis = -1> (l) )",
                                      body, "}"))
        .counts;
  };
  constexpr absl::string_view kChoice =
      "v, i = TopK(r, two) c0 = Equal(i, e0) c1 = Equal(i, e1) f0 = Cast <to = 1> (c0) f1 = Cast <to = 1> (c1)"
      "g0 = Mul(f0, v) g1 = Mul(f1, v) a0 = ReduceSum(g0, last) a1 = ReduceSum(g1, last)";
  EXPECT_THAT(experts(absl::StrCat(kChoice,
                                   "p0 = MatMul(x, w0) p1 = MatMul(x, w1) m0 = Mul(p0, a0) m1 = Mul(p1, a1)"
                                   "y = Add(m0, m1)")),
              Contains(Pair("experts", 1)));
  // One product that a choice gates is no expert among others.
  EXPECT_THAT(experts(absl::StrCat(kChoice, "p0 = MatMul(x, w0) m0 = Mul(p0, a0) y = Add(m0, a1)")),
              Not(Contains(Key("experts"))));
  // Weights without a choice: a mixture of all.
  EXPECT_THAT(experts("a0, a1, a2, a3 = Split <axis = 1> (r) p0 = MatMul(x, w0) p1 = MatMul(x, w1) m0 = Mul(p0, a0)"
                      "m1 = Mul(p1, a1) y = Add(m0, m1)"),
              Not(Contains(Key("experts"))));
}

}  // namespace
}  // namespace reusescope
