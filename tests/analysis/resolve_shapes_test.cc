#include "analysis/transform/resolve_shapes.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ir/verify.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A model resolved with some bindings.
struct Resolution {
  Model model;
  absl::Status status;
  std::vector<std::string> notes;

  std::string Output(int i = 0) const { return TypeString(model.graph.value(model.graph.outputs[i]).type); }
  std::string TypeOf(absl::string_view name) const {
    for (const Value& value : model.graph.values) {
      if (value.name == name) return TypeString(value.type);
    }
    return "no such value";
  }
};

Resolution Resolve(absl::string_view text, const ShapeBindings& bindings = {}) {
  Resolution run{.model = ParseOnnxText(text), .status = {}, .notes = {}};
  run.status = ResolveShapes(run.model, bindings, run.notes);
  if (run.status.ok()) run.status = Verify(run.model.graph, "shapes", true);
  return run;
}

ShapeBindings Batch(int64_t batch) { return {.batch = batch, .dims = {}, .inputs = {}}; }
ShapeBindings Dims(absl::btree_map<std::string, int64_t> dims) {
  return {.batch = std::nullopt, .dims = std::move(dims), .inputs = {}};
}
ShapeBindings Inputs(absl::btree_map<std::string, Shape> inputs) {
  return {.batch = std::nullopt, .dims = {}, .inputs = std::move(inputs)};
}

constexpr char kSymbolic[] =
    "g (float[N,3,H] x, float[N,5] w) => (float[M,3,K] y, float[M,5] z) { y = Relu (x) z = Neg (w) }";

// Binding.

TEST(BindTest, DimsBindByNameEverywhere) {
  const Resolution run = Resolve(kSymbolic, Dims({{"N", 4}, {"H", 7}}));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(0), "float32[4, 3, 7]");
  EXPECT_EQ(run.Output(1), "float32[4, 5]");
  EXPECT_THAT(run.notes, IsEmpty());
}

TEST(BindTest, BatchBindsLeadingSymbolsOnly) {
  ShapeBindings bindings = Batch(32);
  bindings.dims = {{"H", 7}};
  const Resolution run = Resolve(kSymbolic, bindings);
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(0), "float32[32, 3, 7]");
  EXPECT_EQ(run.Output(1), "float32[32, 5]");
}

TEST(BindTest, DimBeatsBatch) {
  ShapeBindings bindings = Batch(32);
  bindings.dims = {{"H", 7}, {"N", 2}};
  EXPECT_EQ(Resolve(kSymbolic, bindings).Output(0), "float32[2, 3, 7]");
}

TEST(BindTest, WholeShapesBindTheirSymbolsForOthers) {
  const Resolution run = Resolve(kSymbolic, Inputs({{"x", {6, 3, 9}}}));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(1), "float32[6, 5]");
  EXPECT_THAT(run.notes, IsEmpty());
}

TEST(BindTest, UnboundLeadingDimensionIsOneAndSaid) {
  const Resolution run = Resolve(kSymbolic, Dims({{"H", 7}}));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(0), "float32[1, 3, 7]");
  ASSERT_EQ(run.notes.size(), 1u);
  EXPECT_THAT(run.notes[0], AllOf(HasSubstr("'N'"), HasSubstr("taken as 1"), HasSubstr("--batch")));
}

TEST(BindTest, UnboundInnerDimensionNamesTheFlag) {
  const Resolution run = Resolve(kSymbolic, Batch(2));
  EXPECT_EQ(run.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(run.status.message(), AllOf(HasSubstr("input 'x'"), HasSubstr("--dim H=N")));
}

TEST(BindTest, NamelessInnerDimensionNamesTheInputFlag) {
  const Resolution run = Resolve("g (float[2,?] x) => (float[2,?] y) { y = Relu (x) }");
  EXPECT_EQ(run.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(run.status.message(), HasSubstr("--input x="));
}

TEST(BindTest, InputWithoutShapeNamesTheInputFlag) {
  const Resolution run = Resolve("g (float[] x) => (float[] y) { y = Relu (x) }");
  EXPECT_EQ(run.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(run.status.message(), HasSubstr("--input x="));
  EXPECT_EQ(Resolve("g (float[] x) => (float[] y) { y = Relu (x) }", Inputs({{"x", {2, 3}}})).Output(),
            "float32[2, 3]");
}

TEST(BindTest, MisspelledNamesAreErrorsWithTheNamesThereAre) {
  const Resolution dim = Resolve(kSymbolic, Dims({{"n", 4}}));
  EXPECT_EQ(dim.status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(dim.status.message(), AllOf(HasSubstr("'n'"), HasSubstr("'H'"), HasSubstr("'N'")));
  const Resolution input = Resolve(kSymbolic, Inputs({{"image", {4}}}));
  EXPECT_EQ(input.status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(input.status.message(), AllOf(HasSubstr("'image'"), HasSubstr("'x'")));
}

TEST(BindTest, RejectsWhatCannotBe) {
  EXPECT_EQ(Resolve(kSymbolic, Dims({{"N", -4}, {"H", 7}})).status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Resolve(kSymbolic, Inputs({{"x", {6, 3}}})).status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Resolve(kSymbolic, Inputs({{"x", {6, 3, 9}}, {"w", {7, 5}}})).status.code(),
            absl::StatusCode::kInvalidArgument);
  const Resolution fixed = Resolve("g (float[2,3] x) => (float[2,3] y) { y = Relu (x) }", Batch(8));
  EXPECT_EQ(fixed.Output(), "float32[8, 3]") << "a fixed batch is replaced";
  EXPECT_TRUE(Resolve("g (float[2,3] x) => (float[2,3] y) { y = Relu (x) }", Batch(2)).status.ok());
}

TEST(BindTest, DimensionThatDependsOnDataCanBeBound) {
  constexpr char kText[] = "g (float[8] x) => (int64[1,nnz] y) { m = NonZero (x) y = Identity (m) }";
  const Resolution open = Resolve(kText);
  ASSERT_TRUE(open.status.ok()) << open.status;
  EXPECT_EQ(open.Output(), "int64[1, 8]");
  EXPECT_THAT(open.notes, ElementsAre(AllOf(HasSubstr("(NonZero-13)"), HasSubstr("at their largest"))));
  constexpr char kDirect[] = "g (float[8] x) => (int64[1,nnz] y) { y = NonZero (x) }";
  EXPECT_EQ(Resolve(kDirect, Dims({{"nnz", 5}})).Output(), "int64[1, 5]");
}

// Values that shapes are made of.

TEST(ResolveShapesTest, ShapeArithmeticOfAnExportedView) {  // x.view(x.size(0), -1, 4)
  const Resolution run = Resolve(R"(g (float[N,8,2] x) => (float[A,B,C] y)
    <int64 zero = {0}, int64[1] ax = {0}, int64[1] minus = {-1}, int64[1] four = {4}> {
      s = Shape (x)
      n = Gather <axis = 0> (s, zero)
      u = Unsqueeze (n, ax)
      t = Concat <axis = 0> (u, minus, four)
      y = Reshape (x, t)
  })",
                                 Batch(3));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[3, 4, 4]");
}

TEST(ResolveShapesTest, ConstantOfShapeWhereEqualAsExpandIsExported) {  // x.expand(-1, 5)
  const Resolution run = Resolve(R"(g (float[N,1] x) => (float[A,B] y)
    <int64[2] want = {-1, 5}, int64[1] two = {2}, int64[2] minus = {-1, -1}> {
      s = Shape (x)
      ones = ConstantOfShape <value = int64[1] {1}> (two)
      open = Equal (want, minus)
      t = Where (open, ones, want)
      y = Expand (x, t)
  })",
                                 Batch(3));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[3, 5]");
}

TEST(ResolveShapesTest, ResizeByFloatScales) {
  const Resolution run = Resolve(R"(g (float[1,2,5,6] x) => (float[A,B,C,D] y)
    <float[4] scales = {1.0, 1.0, 2.0, 1.5}> { y = Resize <mode = "nearest"> (x, , scales) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[1, 2, 10, 9]");
}

TEST(ResolveShapesTest, KnownValuesBecomeLiterals) {
  const Resolution run = Resolve("g (float[N,8] x) => (int64[2] y) { y = Shape (x) }", Batch(3));
  ASSERT_TRUE(run.status.ok()) << run.status;
  const Literal* literal = run.model.graph.literal(run.model.graph.outputs[0]);
  ASSERT_NE(literal, nullptr);
  EXPECT_THAT(literal->ints, ElementsAre(3, 8));
}

TEST(ResolveShapesTest, ValueTellsShapeWhereInferenceCannot) {
  const Resolution run = Resolve("g (float[1] x) => (int64[A,B] y) <bool[4] m = {1, 0, 1, 1}> { y = NonZero (m) }");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "int64[1, 3]");
}

TEST(ResolveShapesTest, ResolvesAgainWithOtherBindings) {
  Model model = ParseOnnxText("g (float[N,8] x) => (float[A] y) <int64[1] m = {-1}> { y = Reshape (x, m) }");
  Model again = ParseOnnxText("g (float[N,8] x) => (float[A] y) <int64[1] m = {-1}> { y = Reshape (x, m) }");
  std::vector<std::string> notes;
  ASSERT_TRUE(ResolveShapes(model, Batch(3), notes).ok());
  ASSERT_TRUE(ResolveShapes(again, Batch(5), notes).ok());
  EXPECT_EQ(TypeString(model.graph.value(model.graph.outputs[0]).type), "float32[24]");
  EXPECT_EQ(TypeString(again.graph.value(again.graph.outputs[0]).type), "float32[40]");
}

// Rules of ours.

TEST(ResolveShapesTest, BatchNormalizationBefore14GivesItsStatistics) {
  const Resolution run = Resolve(R"(<ir_version: 7, opset_import: ["" : 9]>
    g (float[2,3,4,4] x) => (float[2,3,4,4] y) <float[3] s, float[3] b, float[3] m, float[3] v>
    { y, mean, var, sm, sv = BatchNormalization (x, s, b, m, v) })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[2, 3, 4, 4]");
  for (const char* name : {"mean", "var", "sm", "sv"}) EXPECT_EQ(run.TypeOf(name), "float32[3]");
}

TEST(ResolveShapesTest, DropoutMaskIsBooleanSinceOpset10) {
  const auto mask = [](int opset) {
    const std::string header = absl::StrCat("<ir_version: 7, opset_import: [\"\" : ", opset, "]>");
    return Resolve(absl::StrCat(header, "g (float[2,3] x) => (float[2,3] y) { y, mask = Dropout (x) }")).TypeOf("mask");
  };
  EXPECT_EQ(mask(7), "float32[2, 3]");
  EXPECT_EQ(mask(12), "bool[2, 3]");
}

TEST(ResolveShapesTest, EinsumOfHostileEquationEnds) {
  std::string letters(200, 'i');
  const Resolution run =
      Resolve(absl::StrCat("g (float[2,3] x) => (float[2] y) { y = Einsum <equation = \"", letters, "->i\"> (x) }"));
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      Resolve("g (float[2,3] x, float[3,4] w) => (float[A,B] y) { y = Einsum <equation = \"ij,jk\"> (x, w) }").Output(),
      "float32[2, 4]");
}

struct ConvCase {
  std::string text;
  std::string expected;  // a type, or part of the error
};

void PrintTo(const ConvCase& conv, std::ostream* os) { *os << conv.expected; }

class ConvShapes : public ::testing::TestWithParam<ConvCase> {};

TEST_P(ConvShapes, Holds) {
  const Resolution run = Resolve(GetParam().text);
  if (run.status.ok()) {
    EXPECT_EQ(run.Output(), GetParam().expected);
  } else {
    EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(run.status.message(), AllOf(HasSubstr("(Conv-11)"), HasSubstr(GetParam().expected)));
  }
}

ConvCase ConvOf(const std::string& x, const std::string& w, const std::string& attributes,
                const std::string& expected) {
  return {
      absl::StrCat("g (float", x, " x) => (float[A,B,C,D] y) <float", w, " w> { y = Conv <", attributes, "> (x, w) }"),
      expected};
}

INSTANTIATE_TEST_SUITE_P(
    ResolveShapesTest, ConvShapes,
    ::testing::Values(
        ConvOf("[2,3,224,224]", "[64,3,7,7]", "strides = [2, 2], pads = [3, 3, 3, 3]", "float32[2, 64, 112, 112]"),
        ConvOf("[2,3,8,9]", "[4,3,3,3]", "auto_pad = \"SAME_UPPER\", strides = [2, 2]", "float32[2, 4, 4, 5]"),
        ConvOf("[2,3,8,9]", "[4,3,3,3]", "auto_pad = \"VALID\", dilations = [2, 1]", "float32[2, 4, 4, 7]"),
        ConvOf("[2,6,8,8]", "[6,1,3,3]", "group = 6", "float32[2, 6, 6, 6]"),
        ConvOf("[1,1,8,8]", "[4,3,3,3]", "group = 1", "input 1 has 3 channels, expected 1"),
        ConvOf("[1,6,8,8]", "[5,3,3,3]", "group = 2", "input 1 has 5 filters, expected a multiple of 2"),
        ConvOf("[1,6,8,8]", "[4,6,3,3]", "group = 0", "found group 0"),
        ConvOf("[1,1,2,8]", "[4,1,3,3]", "group = 1", "is larger than dimension 2"),
        ConvOf("[1,1,8,8]", "[4,1,3,3]", "strides = [0, 1]", "found 0 in attribute 'strides'"),
        ConvOf("[1,1,8,8]", "[4,1,3,3]", "strides = [1]", "has 1 entries, expected 2"),
        ConvOf("[1,1,8,8]", "[4,1,3,3]", "pads = [9223372036854775807, 0, 0, 0]", "in attribute 'pads'"),
        ConvOf("[1,1,8,8]", "[4,1,3,3]", "kernel_shape = [5, 5]", "expected the window of input 1, [3, 3]"),
        ConvOf("[1,1,8]", "[4,1,3,3]", "group = 1", "expected equal ranks")));

// Sequences.

TEST(SequenceTest, KeepsElementShapeAndLength) {
  const Resolution run = Resolve(R"(g (float[2,12] x) => (float[A,B] y, int64 n)
    <int64 four = {4}, int64 one = {1}> {
      s = SplitToSequence <axis = 1> (x, four)
      y = SequenceAt (s, one)
      n = SequenceLength (s)
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[2, 4]");
  EXPECT_THAT(run.model.graph.literal(run.model.graph.outputs[1])->ints, ElementsAre(3));
}

TEST(SequenceTest, EachPieceOfSizeOneDropsItsAxisWhenAsked) {
  const Resolution run = Resolve(R"(g (float[2,12] x) => (float[A] y) <int64 one = {1}> {
      s = SplitToSequence <axis = 1, keepdims = 0> (x)
      y = SequenceAt (s, one)
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[2]");
}

TEST(SequenceTest, UnequalPiecesLeaveTheElementOpen) {
  const Resolution run = Resolve(R"(g (float[2,12] x) => (float[A,B] y) <int64[2] sizes = {5, 7}, int64 one = {1}> {
      s = SplitToSequence <axis = 1> (x, sizes)
      y = SequenceAt (s, one)
  })");
  EXPECT_EQ(run.TypeOf("s"), "sequence(float32[2, ?])");
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
}

TEST(SequenceTest, InsertEraseAndConcat) {
  const Resolution run = Resolve(R"(g (float[2,3] x) => (float[A,B] y, float[C,D,E] z) {
      e = SequenceEmpty <dtype = 1> ()
      s1 = SequenceInsert (e, x)
      s2 = SequenceInsert (s1, x)
      s3 = SequenceInsert (s2, x)
      s4 = SequenceErase (s3)
      y = ConcatFromSequence <axis = 0> (s4)
      z = ConcatFromSequence <axis = 1, new_axis = 1> (s3)
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(0), "float32[4, 3]");
  EXPECT_EQ(run.Output(1), "float32[2, 3, 3]");
}

// Control flow.

TEST(ControlFlowTest, KnownConditionLeavesTheBranchTaken) {
  const Resolution run = Resolve(R"(g (float[2,3] x) => (float[A,B] y) <bool c = {0}> {
      y = If (c) <then_branch = t () => (u) { u = Relu (x) }, else_branch = e () => (v) { v = Transpose (x) }>
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[3, 2]");
  ASSERT_EQ(run.model.graph.order.size(), 1u);
  EXPECT_EQ(run.model.graph.node(run.model.graph.order[0]).op.type, "Transpose");
}

TEST(ControlFlowTest, UnknownConditionTakesTheBranchThatComputesMore) {
  const Resolution run = Resolve(R"(g (float[2,3] x, bool c) => (float[A,B] y) {
      y = If (c) <then_branch = t () => (u) { u = Relu (x) }, else_branch = e () => (v) { v = Transpose (x) }>
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[2, 3]");
  EXPECT_THAT(run.notes, ElementsAre(HasSubstr("takes its then branch, which computes more")));
}

TEST(ControlFlowTest, LoopStacksItsScanOutputs) {
  const Resolution run =
      Resolve(R"(g (float[2,3] x) => (float[2,3] last, float[A,B,C] all) <int64 trips = {7}, bool yes = {1}> {
      last, all = Loop (trips, yes, x) <body = b (int64 i, bool c, float[2,3] state) => (bool d, float[2,3] next, float[2,3] out) {
        d = Identity (c)
        next = Relu (state)
        out = Neg (next)
      }>
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(0), "float32[2, 3]");
  EXPECT_EQ(run.Output(1), "float32[7, 2, 3]");
}

TEST(ControlFlowTest, LoopFollowsShapesThatGrow) {
  const Resolution run = Resolve(R"(g (float[2,3] x) => (float[A,B] last) <int64 trips = {4}, bool yes = {1}> {
      last = Loop (trips, yes, x) <body = b (int64 i, bool c, float[P,Q] state) => (bool d, float[R,S] next) {
        d = Identity (c)
        next = Concat <axis = 0> (state, x)
      }>
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[10, 3]");
}

TEST(ControlFlowTest, LoopOfUnknownLengthIsNamed) {
  const Resolution run = Resolve(R"(g (float[2,3] x, int64 trips) => (float[A,B] last) <bool yes = {1}> {
      last = Loop (trips, yes, x) <body = b (int64 i, bool c, float[P,Q] state) => (bool d, float[R,S] next) {
        d = Identity (c)
        next = Concat <axis = 0> (state, x)
      }>
  })");
  EXPECT_EQ(run.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(run.status.message(),
              AllOf(HasSubstr("(Loop-"), HasSubstr("change between iterations"), HasSubstr("--trip-count")));
}

TEST(ControlFlowTest, ScanWalksAnAxis) {
  const Resolution run = Resolve(R"(g (float[4] s, float[5,9,4] x) => (float[4] last, float[A,B,C] all) {
      last, all = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [2],
                        body = b (float[4] state, float[5,4] item) => (float[4] next, float[5,4] out) {
        next = Relu (state)
        out = Add (item, state)
      }> (s, x)
  })");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(0), "float32[4]");
  EXPECT_EQ(run.Output(1), "float32[5, 4, 9]");
}

// Function bodies hand shapes into a Scan that way. The near miss counts its shape up.
TEST(ControlFlowTest, WhatAScanHandsOnUnchangedIsKnownInside) {
  const auto scan = [](absl::string_view next) {
    return Resolve(absl::StrCat(R"(g (float[9,6] x) => (all) <int64[2] shape = {2, 3}> {
      last, all = Scan <num_scan_inputs = 1, body = b (int64[2] state, float[6] item) => (next, out) {
        next = )",
                                next, R"( out = Reshape (item, state)
      }> (shape, x)
  })"));
  };
  const Resolution run = scan("Identity (state)");
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(0), "float32[9, 2, 3]");
  EXPECT_NE(scan("Add (state, state)").Output(0), "float32[9, 2, 3]");
}

// Errors.

TEST(ResolveShapesTest, TensorBeyondInt64IsOutOfRangeNamingTheNode) {
  const Resolution run = Resolve(R"(g (float[1] x) => (float[A,B,C] y)
    <int64[3] s = {4611686018427387904, 4, 4}> { y = Expand (x, s) })");
  EXPECT_EQ(run.status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(run.status.message(), HasSubstr("(Expand-13)"));
  const Resolution bytes =
      Resolve("g (float[1] x) => (float[A] y) <int64[1] s = {4611686018427387904}> { y = Expand (x, s) }");
  EXPECT_EQ(bytes.status.code(), absl::StatusCode::kOutOfRange) << "elements fit, bytes do not";
}

TEST(ResolveShapesTest, HugeInputIsOutOfRange) {
  const Resolution run = Resolve("g (float[N,4] x) => (float[A,B] y) { y = Relu (x) }", Batch(int64_t{1} << 62));
  EXPECT_EQ(run.status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(run.status.message(), HasSubstr("'x'"));
}

TEST(ResolveShapesTest, ShapeClashNamesNodeAndOperands) {
  const Resolution run = Resolve("g (float[2,3] x, float[4,5] w) => (float[A,B] y) { y = MatMul (x, w) }");
  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(run.status.message(), AllOf(HasSubstr("(MatMul-13)"), HasSubstr("float32[2, 3], float32[4, 5]")));
}

TEST(ResolveShapesTest, UnknownOperatorRunsOnWhereTheFileDeclaresItsOutput) {
  constexpr char kHeader[] = R"(<ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>)";
  const Resolution known =
      Resolve(absl::StrCat(kHeader, "g (float[2,3] x) => (float[2,7] y) { y = com.example.Magic (x) }"));
  ASSERT_TRUE(known.status.ok()) << known.status;
  EXPECT_EQ(known.Output(), "float32[2, 7]");
  const Resolution unknown =
      Resolve(absl::StrCat(kHeader, "g (float[2,3] x) => (float[2,7] y) { t = com.example.Magic (x) y = Relu (t) }"));
  EXPECT_EQ(unknown.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(unknown.status.message(), AllOf(HasSubstr("com.example::Magic-1"), HasSubstr("value_info")));
}

TEST(ResolveShapesTest, LongChainDoesNotRecur) {
  std::string text = "g (float[N,8] x0) => (float[A,B] y) {\n";
  constexpr int kNodes = 20'000;
  for (int i = 0; i < kNodes; ++i) absl::StrAppend(&text, "x", i + 1, " = Relu (x", i, ")\n");
  absl::StrAppend(&text, "y = Identity (x", kNodes, ") }");
  const Resolution run = Resolve(text, Batch(4));
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_EQ(run.Output(), "float32[4, 8]");
  EXPECT_EQ(run.model.graph.order.size(), kNodes + 1u);
}

}  // namespace
}  // namespace reusescope
