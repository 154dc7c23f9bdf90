#include "analysis/transform/inline_functions.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ir/verify.h"
#include "analysis/transform/resolve_shapes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Operators(const Graph& graph) {
  std::vector<std::string> types;
  for (NodeId id : graph.order) types.push_back(graph.node(id).op.type);
  return types;
}

const Node& NodeAt(const Graph& graph, int i) { return graph.node(graph.order[i]); }

constexpr char kHeader[] = R"(<ir_version: 10, opset_import: ["" : 18, "my" : 1]>)";

Model Parse(const std::string& body) { return ParseOnnxText(absl::StrCat(kHeader, body)); }

TEST(InlineFunctionsTest, WiresOperandsAndNamesWhatIsNew) {
  Model model = Parse(R"(
    g (float[2,3] x) => (float[2,3] y) { y = my.twice (x)  }
    <opset_import: ["" : 18], domain: "my"> twice (a) => (b) { s = Add (a, a)  b = Relu (s) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_TRUE(Verify(model.graph, "inline", false).ok()) << Verify(model.graph, "inline", false);
  EXPECT_THAT(Operators(model.graph), ElementsAre("Add", "Relu"));
  const Node& add = NodeAt(model.graph, 0);
  EXPECT_THAT(add.name, HasSubstr("/"));
  EXPECT_EQ(model.graph.value(add.inputs[0]).name, "x");
  EXPECT_THAT(model.graph.value(add.outputs[0]).name, HasSubstr("/s"));
  EXPECT_EQ(NodeAt(model.graph, 1).outputs[0], model.graph.outputs[0]);
}

TEST(InlineFunctionsTest, TwoCallsShareNoNames) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] z) { y = my.f (x)  z = my.f (y) }
    <opset_import: ["" : 18], domain: "my"> f (a) => (b) { s = Neg (a)  b = Abs (s) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  std::set<std::string> names;
  for (const Value& value : model.graph.values) EXPECT_TRUE(names.insert(value.name).second) << value.name;
  std::set<std::string> nodes;
  for (NodeId id : model.graph.order) EXPECT_TRUE(nodes.insert(model.graph.node(id).name).second);
  EXPECT_EQ(model.graph.order.size(), 4u);
}

TEST(InlineFunctionsTest, AttributesComeFromTheCallThenFromDefaults) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] y, float[2] z) { y = my.f <alpha = 0.5> (x)  z = my.f (x) }
    <opset_import: ["" : 18], domain: "my"> f <alpha: float = 0.25> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_EQ(NodeAt(model.graph, 0).attributes.Float("alpha", 0), 0.5);
  EXPECT_EQ(NodeAt(model.graph, 1).attributes.Float("alpha", 0), 0.25);
}

TEST(InlineFunctionsTest, AttributeWithoutValueIsAbsent) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] y) { y = my.f (x) }
    <opset_import: ["" : 18], domain: "my"> f <alpha> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_FALSE(NodeAt(model.graph, 0).attributes.Has("alpha"));
}

TEST(InlineFunctionsTest, NestedCallsPassAttributesDown) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] y) { y = my.outer <slope = 0.125> (x) }
    <opset_import: ["" : 18, "my" : 1], domain: "my"> outer <slope> (a) => (b) { t = my.inner <alpha: float = @slope> (a)  b = Neg (t) }
    <opset_import: ["" : 18], domain: "my"> inner <alpha> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_THAT(Operators(model.graph), ElementsAre("LeakyRelu", "Neg"));
  EXPECT_EQ(NodeAt(model.graph, 0).attributes.Float("alpha", 0), 0.125);
}

TEST(InlineFunctionsTest, OmittedInputsAndUnusedOutputs) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] y) { y = my.f (x) }
    <opset_import: ["" : 18], domain: "my"> f (a, low) => (b, c) { b = Clip (a, low)  c = Neg (a) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_EQ(NodeAt(model.graph, 0).inputs.size(), 1u);
  std::vector<std::string> notes;
  EXPECT_TRUE(ResolveShapes(model, {}, notes).ok());
}

TEST(InlineFunctionsTest, InputHandedOnAndOutputHandedOutTwice) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] p, float[2] q, float[2] r) { p, q, r = my.f (x) }
    <opset_import: ["" : 18], domain: "my"> f (a) => (a, b, b) { b = Neg (a) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_TRUE(Verify(model.graph, "inline", false).ok()) << Verify(model.graph, "inline", false);
  EXPECT_THAT(Operators(model.graph), ::testing::UnorderedElementsAre("Neg", "Identity", "Identity"));
  for (ValueId output : model.graph.outputs) EXPECT_NE(model.graph.value(output).producer, kNoNode);
}

TEST(InlineFunctionsTest, SubgraphsKeepReadingWhatTheyCaptured) {
  Model model = Parse(R"(
    g (float[2,3] x, bool c) => (float[2,3] y) { y = my.f (x, c) }
    <opset_import: ["" : 18], domain: "my"> f (a, c) => (b) {
      n = Neg (a)
      b = If (c) <then_branch = t () => (u) { u = Add (n, a) }, else_branch = e () => (v) { v = Identity (n) }>
    })");
  std::vector<std::string> notes;
  const absl::Status status = ResolveShapes(model, {}, notes);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(TypeString(model.graph.value(model.graph.outputs[0]).type), "float32[2, 3]");
}

TEST(InlineFunctionsTest, CallsInSubgraphsAreInlined) {
  Model model = Parse(R"(
    g (float[2,3] x, bool c) => (float[2,3] y) {
      y = If (c) <then_branch = t () => (u) { u = my.f (x) }, else_branch = e () => (v) { v = Identity (x) }>
    }
    <opset_import: ["" : 18], domain: "my"> f (a) => (b) { b = Neg (a) })");
  std::vector<std::string> notes;
  const absl::Status status = ResolveShapes(model, {}, notes);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(TypeString(model.graph.value(model.graph.outputs[0]).type), "float32[2, 3]");
}

TEST(InlineFunctionsTest, OverloadsAreToldApart) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] y, float[2] z) { y = my.f:a (x)  z = my.f:b (x) }
    <opset_import: ["" : 18], domain: "my", overload: "a"> f (a) => (b) { b = Neg (a) }
    <opset_import: ["" : 18], domain: "my", overload: "b"> f (a) => (b) { b = Abs (a) })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_THAT(Operators(model.graph), ElementsAre("Neg", "Abs"));
}

// As torch.onnx.dynamo_export and torch.onnx.export(export_modules_as_functions=True) write them: domains of packages,
// with dots and versions, functions that call each other and take their attributes from the caller.
TEST(InlineFunctionsTest, DomainsOfPackages) {
  Model model = ParseOnnxText(R"(
    <ir_version: 8, opset_import: ["" : 18, "pkg.onnxscript.torch_lib" : 1, "pkg.torch.nn.modules" : 1]>
    g (float[2,3] x) => (float[2,3] y) { y = pkg.torch.nn.modules.Head <slope: float = 0.5> (x) }
    <opset_import: ["" : 18, "pkg.onnxscript.torch_lib" : 1], domain: "pkg.torch.nn.modules"> Head <slope> (a) => (c) {
      b = pkg.onnxscript.torch_lib.aten_leaky_relu <negative_slope: float = @slope> (a)
      c = pkg.onnxscript.torch_lib.aten_leaky_relu (b)
    }
    <opset_import: ["" : 18], domain: "pkg.onnxscript.torch_lib">
    aten_leaky_relu <negative_slope: float = 0.25> (self) => (result) {
      result = LeakyRelu <alpha: float = @negative_slope> (self)
    })");
  ASSERT_TRUE(InlineFunctions(model).ok());
  EXPECT_TRUE(Verify(model.graph, "inline", false).ok()) << Verify(model.graph, "inline", false);
  ASSERT_THAT(Operators(model.graph), ElementsAre("LeakyRelu", "LeakyRelu"));
  EXPECT_EQ(NodeAt(model.graph, 0).attributes.Float("alpha", 0), 0.5);
  EXPECT_EQ(NodeAt(model.graph, 1).attributes.Float("alpha", 0), 0.25);
}

// The importer refuses such files; a model that comes another way is refused here.
TEST(InlineFunctionsTest, RecursionIsAnError) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] y) { y = my.f (x) }
    <opset_import: ["my" : 1], domain: "my"> f (a) => (b) { b = my.h (a) }
    <opset_import: ["" : 18], domain: "my"> h (a) => (b) { b = Neg (a) })");
  model.functions[1].body->nodes[0].op = {"my", "f", 1};
  const absl::Status status = InlineFunctions(model);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("calls itself"));
}

// Thirty functions that each call the next one twice: a kilobyte of file, a billion nodes.
TEST(InlineFunctionsTest, ExponentialGrowthIsAnError) {
  std::string text = "g (float[2] x) => (float[2] y) { y = my.f0 (x) }\n";
  for (int i = 0; i < 30; ++i) {
    const std::string next = i == 29 ? "Neg" : absl::StrCat("my.f", i + 1);
    absl::StrAppend(&text, "<opset_import: [\"\" : 18, \"my\" : 1], domain: \"my\"> f", i, " (a) => (c) { b = ", next,
                    " (a)  c = ", next, " (b) }\n");
  }
  Model model = Parse(text);
  const absl::Status status = InlineFunctions(model);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("too many nodes"));
}

TEST(InlineFunctionsTest, TooManyOperandsIsAnError) {
  Model model = Parse(R"(
    g (float[2] x) => (float[2] y) { y = my.f (x, x) }
    <opset_import: ["" : 18], domain: "my"> f (a) => (b) { b = Neg (a) })");
  const absl::Status status = InlineFunctions(model);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("found 2 inputs, expected at most the function's 1"));
}

// An operator that has no entry of its own is taken apart into what ONNX says that it is.
TEST(InlineFunctionsTest, BodyOfAnOnnxFunctionIsInlinedWhenResolvingShapes) {
  Model model = Parse(
      "g (float[2,3,4,4] x) => (float[2,3,2,6] y) <int64[2] s = {2, 6}> { y = CenterCropPad <axes = [2, 3]> (x, s) }");
  std::vector<std::string> notes;
  const absl::Status status = ResolveShapes(model, {}, notes);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(Operators(model.graph), ::testing::Not(::testing::Contains("CenterCropPad")));
  EXPECT_THAT(Operators(model.graph), ::testing::Contains("Pad"));
  EXPECT_EQ(TypeString(model.graph.value(model.graph.outputs[0]).type), "float32[2, 3, 2, 6]");
}

}  // namespace
}  // namespace reusescope
