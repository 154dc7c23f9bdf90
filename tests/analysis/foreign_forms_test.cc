// Forms of nodes that files have and no schema describes: read as meant, and said; what cannot be meant stays an error.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string WithOpset(int opset, absl::string_view text) {
  return absl::StrCat("<ir_version: 8, opset_import: [\"\" : ", opset, "]>\n", text);
}

absl::StatusOr<Analysis> Infer(int opset, absl::string_view text) {
  return Analyze(ParseOnnxText(WithOpset(opset, text)), {.mode = Mode::kInference});
}

struct FormCase {
  absl::string_view name;
  int opset;
  absl::string_view text;
  absl::string_view output;  // the type of the first output, or a part of the error
  absl::string_view note;    // a part of what is said; "" for nothing
};

class Forms : public testing::TestWithParam<FormCase> {};

TEST_P(Forms, AreReadAsMeantAndSaid) {
  const FormCase& form = GetParam();
  const absl::StatusOr<Analysis> analysis = Infer(form.opset, form.text);
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const Graph& graph = analysis->training.graph;
  EXPECT_EQ(TypeString(graph.value(graph.outputs[0]).type), form.output);
  EXPECT_THAT(analysis->coverage.unknown_operators, IsEmpty());
  if (form.note.empty()) {
    EXPECT_THAT(analysis->notes, Not(Contains(HasSubstr("form that ONNX does not have"))));
  } else {
    EXPECT_THAT(analysis->notes,
                Contains(AllOf(HasSubstr("form that ONNX does not have, read as meant"), HasSubstr(form.note))));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sloppy, Forms,
    testing::ValuesIn<FormCase>({
        {"SplitWithSizesAndCount", 18, R"(g (float[2,8] x) => (a, b) <int64[2] s = {3, 5}> {
            [cut] a, b = Split <axis = 1, num_outputs = 2> (x, s) })",
         "float32[2, 3]", "'cut' (Split-18) has both 'split' and num_outputs"},
        {"SplitWithNeither", 18, "g (float[2,8] x) => (a, b) { a, b = Split <axis = 1> (x) }", "float32[2, 4]",
         "has neither 'split' nor num_outputs"},
        {"SplitBefore18NeedsNeither", 13, "g (float[2,8] x) => (a, b) { a, b = Split <axis = 1> (x) }", "float32[2, 4]",
         ""},
        {"ConstantOfShapeOfAScalar", 17, R"(g () => (y) <int64[2] s = {2, 3}> {
            y = ConstantOfShape <value: tensor = float {1}> (s) })",
         "float32[2, 3]", "has a value of no dimension"},
        {"ConstantOfShapeByInt32", 17, "g () => (y) <int32[2] s = {2, 3}> { y = ConstantOfShape (s) }", "float32[2, 3]",
         "has input 0 (input) int32[2] taken as int64"},
        {"PadByInt32", 13, "g (float[2,3] x) => (y) <int32[4] p = {0, 1, 0, 1}> { y = Pad (x, p) }", "float32[2, 5]",
         "has input 1 (pads) int32[4] taken as int64"},
        {"SliceByTwoWidths", 13, R"(g (float[8] x) => (y) <int32[1] b = {1}, int32[1] e = {7}, int32[1] a = {0},
            int64[1] s = {2}> { y = Slice (x, b, e, a, s) })",
         "float32[3]", "taken as int64"},
        {"PadOfOpset1", 1, "g (float[2,3] x) => (y) { y = Pad <paddings = [0, 1, 0, 1]> (x) }", "float32[2, 5]", ""},
        {"PaddingsLaterOn", 6, "g (float[2,3] x) => (y) { y = Pad <paddings = [0, 1, 0, 1]> (x) }", "float32[2, 5]",
         "has the paddings of opset 1"},
        {"UpsampleOfOpset1", 1, R"(g (float[1,1,2,2] x) => (y) {
            y = Upsample <height_scale = 2.0, width_scale = 3.0> (x) })",
         "float32[1, 1, 4, 6]", ""},
        {"UpsampleByScalesTooEarly", 6, "g (float[1,1,2,2] x) => (y) { y = Upsample <scales = [1, 1, 2, 3]> (x) }",
         "float32[1, 1, 4, 6]", "has scales of another version"},
        {"ResizeWithoutRoi", 11, R"(g (float[1,1,2,2] x) => (y) <float[4] s = {1, 1, 2, 3}> {
            y = Resize <coordinate_transformation_mode = "asymmetric"> (x, "", s) })",
         "float32[1, 1, 4, 6]", "omits roi"},
        {"ResizeOfTwoInputs", 11, R"(g (float[1,1,2,2] x) => (y) <float[4] s = {1, 1, 2, 3}> {
            y = Resize <coordinate_transformation_mode = "asymmetric"> (x, s) })",
         "float32[1, 1, 4, 6]", "has no roi before its scales"},
        {"IfWhoseOutputsNobodyNames", 17, R"(g (bool c, float[2] x) => (y) {
            y = Relu (x)
            [choose] z = If (c) <then_branch = t () => (float[2] a, float[2] b) { a = Neg (x) b = Abs (x) },
                        else_branch = e () => (float[2] d, float[2] f) { d = Abs (x) f = Neg (x) }> })",
         "float32[2]", "'choose' (If) hands on 1 output of those that its branches have"},
        {"ReshapeOfOpset1", 1, "g (float[2,6] x) => (y) { y = Reshape <shape = [3, -1]> (x) }", "float32[3, 4]", ""},
        {"ReshapeByAttributeLaterOn", 13, "g (float[2,6] x) => (y) { y = Reshape <shape = [3, -1]> (x) }",
         "float32[3, 4]", "has its shape as an attribute"},
        {"ConstantUnderAnotherName", 12, R"(g (float[2] x) => (y) { c = Constant <alpha = 1.5> () y = Mul (x, c) })",
         "float32[2]", "has its number as 'alpha'"},
        {"WhetherAnAttributeWasGiven", 18, R"(g (float[2,3] x) => (y) {
            has = AttributeHasValue ()
            y = If (has) <then_branch = t () => (a) { none = Constant () a = ReduceSum <keepdims = 0> (x, none) },
                         else_branch = e () => (b) { b = ReduceSum <keepdims = 1> (x) }> })",
         "float32[1, 1]", ""},
        {"RangeOfOneElementOfAnyRank", 17, R"(g () => (y) <int64[1,1] b = {1}, int64[1] e = {7}, int64 s = {2}> {
            y = Range (b, e, s) })",
         "int64[3]", ""},
    }),
    [](const auto& param) { return std::string(param.param.name); });

class Faults : public testing::TestWithParam<FormCase> {};

TEST_P(Faults, StayErrorsThatNameFileAndNodeOnce) {
  const FormCase& form = GetParam();
  const absl::Status status = Infer(form.opset, form.text).status();
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(form.output)));
}

INSTANTIATE_TEST_SUITE_P(
    NearMisses, Faults,
    testing::ValuesIn<FormCase>({
        {"SplitWhoseSizesDoNotAdd", 18, R"(g (float[2,8] x) => (a, b) <int64[2] s = {3, 6}> {
            a, b = Split <axis = 1, num_outputs = 2> (x, s) })",
         "(Split-18)"},
        {"ConstantOfShapeOfManyValues", 17, R"(g () => (y) <int64[2] s = {2, 3}> {
            y = ConstantOfShape <value: tensor = float[1,2] {1, 2}> (s) })",
         "(ConstantOfShape-9)"},
        {"PadByFloats", 13, "g (float[2,3] x) => (y) <float[4] p = {0, 1, 0, 1}> { y = Pad (x, p) }",
         "input 1 (pads) may be tensor(int64) only"},
        {"AddOfTwoWidthsIsNoIndex", 17, "g (int32[2] x, int64[2] y) => (z) { z = Add (x, y) }",
         "is int64[2], expected int32"},
        {"IfOfTooFewOutputs", 17, R"(g (bool c, float[2] x) => (y, z) {
            y, z = If (c) <then_branch = t () => (float[2] a) { a = Neg (x) },
                        else_branch = e () => (float[2] d) { d = Abs (x) }> })",
         "its branches have 1 and 1 outputs, expected 2"},
        {"RangeOfTwoElements", 17, R"(g () => (y) <int64[2] b = {1, 2}, int64 e = {7}, int64 s = {2}> {
            y = Range (b, e, s) })",
         "expected one int64"},
    }),
    [](const auto& param) { return std::string(param.param.name); });

int Count(absl::string_view text, absl::string_view part) {
  int count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

// An error of every stage names the file once and the node once.
TEST(ErrorsTest, OfEveryStageNameFileAndNodeOnce) {
  struct StageCase {
    absl::string_view text;
    absl::string_view node;
    Mode mode = Mode::kInference;
  };
  const StageCase cases[] = {
      // Shapes.
      {"g (float[2,3] x, float[4] b) => (y) { [sum] y = Add (x, b) }", "node 'sum' (Add-14)"},
      // Import.
      {"g (float[2] x) => (float[2] y) { [sum] y = Add (x, z) }", "node 'sum' (Add-17)"},
      // Kernels.
      {R"(g (float[2,3,3] x) => (h) <float[5,3,1] w, float[5,5,1] r> { [cell] y, h = RNN <hidden_size = 5> (x, w, r) })",
       "node 'cell' (RNN-14)"},
      // Gradients.
      {R"(g (float[4,3] x) => (y) <float[3] w> {
          [mul] m = Mul (x, w)
          [cut] n = IsNaN (m)
          y = Cast <to = 1> (n) })",
       "node 'cut' (IsNaN-13)", Mode::kTraining},
  };
  for (const StageCase& c : cases) {
    absl::StatusOr<Model> model = LoadModelFromBytes(WithOpset(17, c.text), "m.onnx");
    const absl::Status status = model.ok() ? Analyze(*std::move(model), {.mode = c.mode}).status() : model.status();
    ASSERT_FALSE(status.ok()) << c.node;
    EXPECT_EQ(Count(status.message(), "m.onnx: "), 1) << status;
    EXPECT_EQ(Count(status.message(), c.node), 1) << status;
  }
}

}  // namespace
}  // namespace reusescope
