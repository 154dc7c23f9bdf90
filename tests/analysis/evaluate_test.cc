// What the evaluator knows: constants in, a literal out, or nothing.

#include "analysis/ops/evaluate.h"

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/transform/resolve_shapes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

struct Case {
  std::string constants;  // "int64[2] a = {1, 2}"
  std::string nodes;      // what makes y
  std::string expected;   // "int64[2] 1 2", or "unknown"
  int opset = 18;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.nodes << " with " << c.constants; }

std::string Describe(const Literal* literal) {
  if (literal == nullptr) return "unknown";
  const std::string type = TypeString(Type::Tensor(literal->dtype, literal->shape));
  const std::string values =
      literal->floats.empty() ? absl::StrJoin(literal->ints, " ") : absl::StrJoin(literal->floats, " ");
  return values.empty() ? type : absl::StrCat(type, " ", values);
}

class Evaluate : public ::testing::TestWithParam<Case> {};

TEST_P(Evaluate, Gives) {
  const Case& c = GetParam();
  Model model =
      ParseOnnxText(absl::StrCat("<ir_version: 8, opset_import: [\"\" : ", c.opset,
                                 "]> g (float[2,3,5] x) => (int64[] y) <", c.constants, "> { ", c.nodes, " }"));
  std::vector<std::string> notes;
  const absl::Status status = ResolveShapes(model, {}, notes);
  if (!status.ok() && c.expected == "unknown") {  // a shape that hangs on the unknown value
    EXPECT_THAT(status.message(), ::testing::HasSubstr("expected every dimension known"));
    return;
  }
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Describe(model.graph.literal(model.graph.outputs[0])), c.expected);
}

constexpr char kA23[] = "int64[2,3] a = {1, 2, 3, 4, 5, 6}";
constexpr char kMinMax[] = "int64 low = {-9223372036854775808}, int64 one = {1}, int64 minus = {-1}, int64 zero = {0}";

INSTANTIATE_TEST_SUITE_P(
    Sources, Evaluate,
    ::testing::Values(
        Case{"int64 u", "y = Constant <value_ints = [4, 5]> ()", "int64[2] 4 5"},
        Case{"int64 u", "y = Constant <value_float = 0.1> ()", absl::StrCat("float32[] ", static_cast<double>(0.1f))},
        Case{"int64 u", "y = Constant <value = bool[2] {1, 0}> ()", "bool[2] 1 0"},
        Case{"int64 u", "y = Shape (x)", "int64[3] 2 3 5"},
        Case{"int64 u", "y = Shape <start = -2> (x)", "int64[2] 3 5"},
        Case{"int64 u", "y = Shape <start = 1, end = -1> (x)", "int64[1] 3"},
        Case{"int64 u", "y = Shape <start = 2, end = 1> (x)", "int64[0]"},
        Case{"int64 u", "y = Size (x)", "int64[] 30"},
        Case{"int64[2] s = {1, 2}", "y = ConstantOfShape <value = int64[1] {7}> (s)", "int64[1, 2] 7 7"},
        Case{"int64[1] s = {2}", "y = ConstantOfShape (s)", "float32[2] 0 0"},
        Case{"int64[1] s = {5000}", "y = ConstantOfShape <value = int64[1] {7}> (s)", "unknown"},
        Case{"int64 a = {10}, int64 b = {-1}, int64 d = {-4}", "y = Range (a, b, d)", "int64[3] 10 6 2"},
        Case{"int64 a = {3}, int64 b = {3}, int64 d = {1}", "y = Range (a, b, d)", "int64[0]"},
        Case{"float a = {1}, float b = {2}, float d = {0.25}", "y = Range (a, b, d)", "float32[4] 1 1.25 1.5 1.75"},
        Case{"int64 a = {0}, int64 b = {5000}, int64 d = {1}", "y = Range (a, b, d)", "unknown"},
        Case{"int64[2,3] a = {0, 0, 0, 0, 0, 0}", "y = EyeLike <k = 1> (a)", "int64[2, 3] 0 1 0 0 0 1"}));

INSTANTIATE_TEST_SUITE_P(
    Moves, Evaluate,
    ::testing::Values(
        Case{absl::StrCat(kA23, ", int64[1] s = {-1}"), "y = Reshape (a, s)", "int64[6] 1 2 3 4 5 6"},
        Case{kA23, "y = Flatten <axis = 0> (a)", "int64[1, 6] 1 2 3 4 5 6"},
        Case{"int64[1,2] a = {1, 2}", "y = Squeeze <axes = [0]> (a)", "int64[2] 1 2", 11},
        Case{"int64[2] a = {1, 2}, int64[1] ax = {1}", "y = Unsqueeze (a, ax)", "int64[2, 1] 1 2"},
        Case{kA23, "y = Transpose (a)", "int64[3, 2] 1 4 2 5 3 6"},
        Case{kA23, "y = Transpose <perm = [0, 1]> (a)", "int64[2, 3] 1 2 3 4 5 6"},
        Case{absl::StrCat(kA23, ", int64[2,1] b = {8, 9}"), "y = Concat <axis = -1> (a, b)",
             "int64[2, 4] 1 2 3 8 4 5 6 9"},
        Case{kA23, "z, y = Split <axis = 1, num_outputs = 2> (a)", "int64[2, 1] 3 6"},
        Case{absl::StrCat(kA23,
                          ", int64[2] s = {0, -1}, int64[2] e = {9, -9}, int64[2] ax = {0, 1}, int64[2] st = {1, -2}"),
             "y = Slice (a, s, e, ax, st)", "int64[2, 2] 3 1 6 4"},
        Case{kA23, "y = Slice <starts = [1], ends = [2147483647], axes = [1]> (a)", "int64[2, 2] 2 3 5 6", 9},
        Case{absl::StrCat(
                 kA23, ", int64[1] s = {-9223372036854775808}, int64[1] e = {9223372036854775807}, int64[1] ax = {1}"),
             "y = Slice (a, s, e, ax)", "int64[2, 3] 1 2 3 4 5 6"},
        Case{"int64[1,2] a = {1, 2}, int64[2] s = {2, 1}", "y = Expand (a, s)", "int64[2, 2] 1 2 1 2"},
        Case{"int64[1,2] a = {1, 2}, int64[2] r = {2, 2}", "y = Tile (a, r)", "int64[2, 4] 1 2 1 2 1 2 1 2"},
        Case{"int64[2] a = {1, 2}, int64[2] p = {1, 2}, int64 v = {9}", "y = Pad (a, p, v)", "int64[5] 9 1 2 9 9"},
        Case{"int64[3] a = {1, 2, 3}, int64[2] p = {2, 1}", "y = Pad <mode = \"reflect\"> (a, p)",
             "int64[6] 3 2 1 2 3 2"},
        Case{"int64[3] a = {1, 2, 3}, int64[2] p = {1, 1}", "y = Pad <mode = \"edge\"> (a, p)", "int64[5] 1 1 2 3 3"},
        Case{"int64[3] a = {1, 2, 3}, int64[2] p = {-1, 0}", "y = Pad (a, p)", "int64[2] 2 3"},
        Case{kA23, "y = Trilu <upper = 0> (a)", "int64[2, 3] 1 0 0 4 5 0"},
        Case{"int64[2] a = {300, -1}", "y = Cast <to = 2> (a)", "uint8[2] 44 255"},
        Case{"float[2] a = {-2.75, 2.75}", "y = Cast <to = 7> (a)", "int64[2] -2 2"},
        Case{"float[1] a = {1e30}", "y = Cast <to = 7> (a)", "unknown"},
        Case{"float[1] a = {nan}", "y = Cast <to = 6> (a)", "unknown"},
        Case{"int64[2] a = {0, 5}", "y = Cast <to = 9> (a)", "bool[2] 0 1"},
        Case{"int64[1] a = {2049}", "y = Cast <to = 10> (a)", "float16[1] 2048"},
        Case{"int64[1] a = {100000}", "y = Cast <to = 10> (a)", "unknown"},
        Case{"int64[1] a = {7}, float b = {0}", "y = CastLike (a, b)", "float32[1] 7"}));

INSTANTIATE_TEST_SUITE_P(
    ByIndex, Evaluate,
    ::testing::Values(
        Case{absl::StrCat(kA23, ", int64[2] i = {-1, 0}"), "y = Gather <axis = 1> (a, i)", "int64[2, 2] 3 1 6 4"},
        Case{absl::StrCat(kA23, ", int64 i = {3}"), "y = Gather <axis = 1> (a, i)", "unknown"},
        Case{absl::StrCat(kA23, ", int64[2,1] i = {2, -3}"), "y = GatherElements <axis = 1> (a, i)", "int64[2, 1] 3 4"},
        Case{absl::StrCat(kA23, ", int64[2,2] i = {0, 1, 1, -1}"), "y = GatherND (a, i)", "int64[2] 2 6"},
        Case{absl::StrCat(kA23, ", int64[2,1] i = {2, 0}"), "y = GatherND <batch_dims = 1> (a, i)", "int64[2] 3 4"},
        Case{absl::StrCat(kA23, ", int64[1,1] i = {1}, int64[1,3] u = {7, 8, 9}"), "y = ScatterND (a, i, u)",
             "int64[2, 3] 1 2 3 7 8 9"},
        Case{absl::StrCat(kA23, ", int64[1,2] i = {2, 0}, int64[1,2] u = {7, 8}"),
             "y = ScatterElements <axis = 1, reduction = \"add\"> (a, i, u)", "int64[2, 3] 9 2 10 4 5 6"},
        Case{absl::StrCat(kA23, ", int64[1,1] i = {9}, int64[1,1] u = {7}"), "y = ScatterElements <axis = 1> (a, i, u)",
             "unknown"},
        Case{"int64[2] i = {1, 3}, int64 d = {3}, int64[2] v = {5, 6}", "y = OneHot (i, d, v)",
             "int64[2, 3] 5 6 5 5 5 5"},
        Case{"int64[2,2] a = {0, 3, 4, 0}", "y = NonZero (a)", "int64[2, 2] 0 1 1 0"},
        Case{absl::StrCat(kA23, ", bool[2] c = {0, 1}"), "y = Compress <axis = 1> (a, c)", "int64[2, 1] 2 5"},
        Case{absl::StrCat(kA23, ", bool[5] c = {1, 0, 0, 0, 1}"), "y = Compress (a, c)", "int64[2] 1 5"},
        Case{absl::StrCat(kA23, ", int64[1] k = {2}"), "z, y = TopK (a, k)", "int64[2, 2] 2 1 2 1"},
        Case{absl::StrCat(kA23, ", int64[1] k = {1}"), "y, z = TopK <axis = 0, largest = 0> (a, k)",
             "int64[1, 3] 1 2 3"},
        Case{"int64[4] a = {5, 2, 5, 9}", "y = Unique (a)", "int64[3] 2 5 9"},
        Case{"int64[4] a = {5, 2, 5, 9}", "z, i, v, y = Unique <sorted = 0> (a)", "int64[3] 2 1 1"}));

INSTANTIATE_TEST_SUITE_P(
    Arithmetic, Evaluate,
    ::testing::Values(
        Case{"int64[2] a = {1, 2}, int64[2,1] b = {10, 20}", "y = Add (a, b)", "int64[2, 2] 11 12 21 22"},
        Case{"int64[3] a = {7, -7, 7}, int64[3] b = {2, 2, -2}", "y = Div (a, b)", "int64[3] 3 -3 -3"},
        Case{"int64[3] a = {7, -7, 7}, int64[3] b = {4, 4, -4}", "y = Mod (a, b)", "int64[3] 3 1 -1"},
        Case{"int64[3] a = {7, -7, 7}, int64[3] b = {4, 4, -4}", "y = Mod <fmod = 1> (a, b)", "int64[3] 3 -3 3"},
        Case{"int64[2] a = {3, -2}, int64[2] b = {4, 3}", "y = Pow (a, b)", "int64[2] 81 -8"},
        Case{"int64 a = {3}, int64 b = {100}", "y = Pow (a, b)", "unknown"},
        Case{"int64 a = {2}, int64 b = {-1}", "y = Pow (a, b)", "unknown"},
        Case{"int64[2] a = {1, 5}, int64 b = {3}, int64[2] c = {2, 2}", "y = Max (a, b, c)", "int64[2] 3 5"},
        Case{"int64[2] a = {1, 5}, int64 lo = {2}, int64 hi = {4}", "y = Clip (a, lo, hi)", "int64[2] 2 4"},
        Case{"float a = {7}, float b = {2}", "q = Div (a, b) y = Floor (q)", "float32[] 3"},
        Case{"float[4] a = {0.5, 1.5, -2.5, 2.4}", "y = Round (a)", "float32[4] 0 2 -2 2"},
        Case{"float a = {0.1}, float b = {0.2}", "y = Add (a, b)",
             absl::StrCat("float32[] ", static_cast<double>(0.1f + 0.2f))},
        Case{"int64[3] a = {1, 2, 3}, int64 b = {2}", "y = GreaterOrEqual (a, b)", "bool[3] 0 1 1"},
        Case{"bool[2] a = {1, 0}, bool b = {1}", "n = Not (a) y = Xor (n, b)", "bool[2] 1 0"},
        Case{"bool[2] c = {1, 0}, int64 a = {7}, int64[2,1] b = {8, 9}", "y = Where (c, a, b)", "int64[2, 2] 7 8 7 9"},
        Case{"uint8[1] a = {3}, uint8[1] b = {2}", "y = BitShift <direction = \"LEFT\"> (a, b)", "uint8[1] 12"},
        Case{"uint8[1] a = {200}, uint8[1] b = {100}", "y = Add (a, b)", "unknown"},
        Case{kA23, "y = ReduceProd <axes = [1], keepdims = 0> (a)", "int64[2] 6 120", 13},
        Case{absl::StrCat(kA23, ", int64[1] ax = {0}"), "y = ReduceSum (a, ax)", "int64[1, 3] 5 7 9"},
        Case{absl::StrCat(kA23, ", int64[0] ax = {}"), "y = ReduceMax <noop_with_empty_axes = 1> (a, ax)",
             "int64[2, 3] 1 2 3 4 5 6"},
        Case{kA23, "y = ReduceMin <keepdims = 0> (a)", "int64[] 1"},
        Case{kA23, "y = ArgMax <axis = 1, keepdims = 0> (a)", "int64[2] 2 2"},
        Case{"int64[3] a = {4, 4, 1}", "y = ArgMax <axis = 0, select_last_index = 1> (a)", "int64[1] 1"},
        Case{absl::StrCat(kA23, ", int64 ax = {1}"), "y = CumSum <exclusive = 1, reverse = 1> (a, ax)",
             "int64[2, 3] 5 3 0 11 6 0"}));

// What a hostile file asks for is unknown, and nothing else happens.
INSTANTIATE_TEST_SUITE_P(
    Hostile, Evaluate,
    ::testing::Values(Case{kMinMax, "y = Neg (low)", "unknown"}, Case{kMinMax, "y = Abs (low)", "unknown"},
                      Case{kMinMax, "y = Sub (low, one)", "unknown"}, Case{kMinMax, "y = Add (low, minus)", "unknown"},
                      Case{kMinMax, "y = Mul (low, minus)", "unknown"},
                      Case{kMinMax, "y = Div (low, minus)", "unknown"}, Case{kMinMax, "y = Div (one, zero)", "unknown"},
                      Case{kMinMax, "y = Mod (one, zero)", "unknown"},
                      Case{kMinMax, "y = Mod (low, minus)", "int64[] 0"},
                      Case{kMinMax, "y = Mod <fmod = 1> (low, minus)", "int64[] 0"},
                      Case{"int64[2] a = {9223372036854775807, 1}", "y = ReduceSum <keepdims = 0> (a)", "unknown"},
                      Case{"int64[2] a = {4611686018427387904, 4}", "y = ReduceProd <keepdims = 0> (a)", "unknown"},
                      Case{"int64[2] a = {9223372036854775807, 1}, int64 ax = {0}", "y = CumSum (a, ax)", "unknown"},
                      Case{"int64[2] a = {1, 2}, int64 ax = {5}", "y = CumSum (a, ax)", "unknown"},
                      Case{"int64[2] a = {1, 2}, int64[1] r = {4096}", "y = Tile (a, r)", "unknown"}));

// Results must not hang on whether weights are in the file.
TEST(EvaluateTest, FloatsThatMayBeWeightsAreNotRead) {
  GraphBuilder b;
  const ValueId many = b.Constant("many", Literal::Floats({17}, std::vector<double>(17, 1.0)));
  const ValueId few = b.Constant("few", Literal::Floats({16}, std::vector<double>(16, 1.0)));
  const ValueId weight = b.Constant("weight", Literal::Floats({2}, {1.0, 2.0}));
  b.graph().value(weight).kind = ValueKind::kParameter;
  const auto known = [&](ValueId input, Shape shape) {
    const ValueId y = b.Node("Neg", {input}, std::move(shape));
    return !EvaluateElementwise(OpContext(b.graph(), b.graph().value(y).producer, *b.SemanticsOf(y))).empty();
  };
  EXPECT_FALSE(known(many, {17}));
  EXPECT_TRUE(known(few, {16}));
  EXPECT_FALSE(known(weight, {2}));
}

TEST(EvaluateTest, TensorsOfTooManyDimensionsAreNotEvaluated) {
  GraphBuilder b;
  const Shape deep(200, 1);
  const ValueId a = b.Constant("a", Literal::Ints(deep, {1}));
  const ValueId y = b.Node("Add", {a, a}, Type::Tensor(DType::kInt64, deep));
  EXPECT_TRUE(EvaluateElementwise(OpContext(b.graph(), b.graph().value(y).producer, *b.SemanticsOf(y))).empty());
}

// Shapes that inference got from elsewhere and that do not fit the known data.
TEST(EvaluateTest, ShapeThatDoesNotFitTheDataGivesNothing) {
  GraphBuilder b;
  const ValueId a = b.Constant("a", Ints{1, 2, 3});
  const ValueId shape = b.Constant("shape", Ints{2, 2});
  const ValueId y = b.Node("Reshape", {a, shape}, Type::Tensor(DType::kInt64, {2, 2}));
  EXPECT_TRUE(EvaluateReshape(OpContext(b.graph(), b.graph().value(y).producer, *b.SemanticsOf(y))).empty());
}

}  // namespace
}  // namespace reusescope
