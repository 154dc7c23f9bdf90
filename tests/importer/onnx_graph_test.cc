// What a file becomes: values, nodes, subgraphs, functions; and every rule whose breach is an error.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/model.h"
#include "importer/load_model.h"
#include "tests/importer/model_bytes.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<Model> Load(const onnx::ModelProto& proto) {
  return LoadModelFromBytes(proto.SerializeAsString(), "m.onnx");
}

std::string ErrorOf(const absl::StatusOr<Model>& model) {
  if (model.ok()) return "ok";
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << model.status();
  return std::string(model.status().message());
}
std::string ErrorOf(const onnx::ModelProto& proto) { return ErrorOf(Load(proto)); }
std::string ErrorOfText(absl::string_view text) { return ErrorOf(TryParseOnnxText(text)); }

std::vector<std::string> Names(const Graph& graph, const auto& ids) {
  std::vector<std::string> names;
  for (ValueId id : ids) names.push_back(id == kNoValue ? "-" : graph.value(id).name);
  return names;
}

std::vector<std::string> NodeNames(const Graph& graph) {
  std::vector<std::string> names;
  for (NodeId id : graph.order) names.push_back(graph.node(id).name);
  return names;
}

const Value& ValueNamed(const Graph& graph, absl::string_view name) {
  for (const Value& value : graph.values) {
    if (value.name == name) return value;
  }
  throw std::invalid_argument(absl::StrCat("no value ", name));
}

constexpr absl::string_view kMlp = R"(
  <ir_version: 8, opset_import: ["" : 17, "my" : 3], producer_name: "me", producer_version: "1">
  mlp (float[N,3,?] x) => (float[N,4] y)
  <float[3,4] w, float[4] b, int64[2] shape = {-1, 3}, float half = {0.5}, float[N,3] flat>
  {
    flat = Reshape <allowzero = 0> (x, shape)
    [gemm] y0 = Gemm <alpha = 0.5, transB = 0> (flat, w, b)
    y = my.Scale (y0, , half)
  })";

TEST(LoadGraphTest, ReadsValuesNodesAndTheModelsOwnWords) {
  const Model model = ParseOnnxText(kMlp);
  const Graph& graph = model.graph;
  EXPECT_EQ(model.producer, "me 1");
  EXPECT_EQ(model.ir_version, 8);
  EXPECT_EQ(model.file, "text.onnx");
  EXPECT_THAT(model.warnings, IsEmpty());
  EXPECT_EQ(graph.opsets.at(""), 17);
  EXPECT_THAT(Names(graph, graph.inputs), ElementsAre("x"));
  EXPECT_THAT(Names(graph, graph.outputs), ElementsAre("y"));
  ASSERT_EQ(graph.order.size(), 3u);
  EXPECT_THAT(Names(graph, graph.node(2).inputs), ElementsAre("y0", "-", "half"));
  EXPECT_EQ(OpKeyString(graph.node(1).op), "Gemm-17");
  EXPECT_EQ(OpKeyString(graph.node(2).op), "my::Scale-3");
  EXPECT_EQ(graph.node(1).attributes.Float("alpha", 1), 0.5);
  EXPECT_EQ(graph.node(1).attributes.Int("transB", 7), 0);
}

TEST(LoadGraphTest, KindsAndTypesAreAsDeclared) {
  const Model model = ParseOnnxText(kMlp);
  const Value& x = ValueNamed(model.graph, "x");
  EXPECT_EQ(x.kind, ValueKind::kInput);
  EXPECT_EQ(x.type, Type::Tensor(DType::kFloat32, {kUnknownDim, 3, kUnknownDim}));
  EXPECT_THAT(x.dim_symbols, ElementsAre("N", "", ""));
  const Value& w = ValueNamed(model.graph, "w");
  EXPECT_EQ(w.kind, ValueKind::kConstant);
  EXPECT_EQ(w.evidence, KindEvidence::kNone);
  EXPECT_EQ(w.type, Type::Tensor(DType::kFloat32, {3, 4}));
  EXPECT_EQ(w.literal, -1);
  const Value& flat = ValueNamed(model.graph, "flat");
  EXPECT_EQ(flat.kind, ValueKind::kActivation);
  EXPECT_EQ(flat.type.rank(), 2) << "value_info is kept";
  EXPECT_EQ(ValueNamed(model.graph, "y0").type, Type{});
}

TEST(LoadGraphTest, SmallTensorsAreLiterals) {
  const Model model = ParseOnnxText(kMlp);
  const Literal* shape = model.graph.literal(model.graph.node(0).inputs[1]);
  ASSERT_NE(shape, nullptr);
  EXPECT_EQ(*shape, Literal::Ints({2}, {-1, 3}));
  const Literal* half = model.graph.literal(model.graph.node(2).inputs[2]);
  ASSERT_NE(half, nullptr);
  EXPECT_EQ(*half, Literal::Floats({}, {0.5}));
}

TEST(OnnxTextTest, DeclarationsThatNothingProducesAreInitializersOfKnownShape) {
  EXPECT_THAT(ErrorOfText("g (float[2] x) => (float[2] y) <float[N] w> { y = Add (x, w) }"),
              HasSubstr("'w' becomes an initializer: give its dimensions"));
  EXPECT_THAT(ErrorOfText("g (float[2] x) => (float[2] y) { y = Relu x }"), HasSubstr("ONNX cannot parse the text"));
}

TEST(LoadGraphTest, AnInitializerThatIsAlsoAnInputIsAnInitializer) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }");
  auto* input = proto.mutable_graph()->add_input();
  input->set_name("w");
  const absl::StatusOr<Model> model = Load(proto);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(Names(model->graph, model->graph.inputs), ElementsAre("x"));
  EXPECT_EQ(ValueNamed(model->graph, "w").kind, ValueKind::kConstant);
}

TEST(LoadGraphTest, SparseInitializersStandForTheirDenseTensor) {
  onnx::ModelProto proto =
      TextProto("g (float[3] x) => (float[3] y) <int64[1] v = {5}, int64[1] i = {2}> { y = Relu (x) }");
  auto* sparse = proto.mutable_graph()->add_sparse_initializer();
  sparse->add_dims(3);
  *sparse->mutable_values() = proto.graph().initializer(0);
  *sparse->mutable_indices() = proto.graph().initializer(1);
  sparse->mutable_values()->set_name("s");
  const absl::StatusOr<Model> model = Load(proto);
  ASSERT_TRUE(model.ok()) << model.status();
  const Value& value = ValueNamed(model->graph, "s");
  EXPECT_EQ(value.type, Type::Tensor(DType::kInt64, {3}));
  EXPECT_THAT(model->graph.literals[value.literal].ints, ElementsAre(0, 0, 5));
}

TEST(LoadGraphTest, EveryKindOfAttributeArrives) {
  const Model model = ParseOnnxText(R"(
    g (float[2] x) => (float[2] y) {
      y = my.All <i = 1, f = 2.5, s = "t", is = [1, 2], fs = [0.5], ss = ["a", "b"], t = int64[2] {3, 4},
                  none: ints = [], tp : type_proto = float[2,N]> (x)
    })");
  const Attributes& attributes = model.graph.node(0).attributes;
  EXPECT_EQ(attributes.Int("i", 0), 1);
  EXPECT_EQ(attributes.Float("f", 0), 2.5);
  EXPECT_EQ(attributes.String("s", ""), "t");
  EXPECT_THAT(attributes.Ints("is"), ElementsAre(1, 2));
  EXPECT_THAT(attributes.Floats("fs"), ElementsAre(0.5));
  EXPECT_EQ(*attributes.Find("ss"), Attribute(std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(*attributes.Tensor("t"), Literal::Ints({2}, {3, 4}));
  EXPECT_EQ(*attributes.Find("none"), Attribute(std::vector<int64_t>{}));
  EXPECT_EQ(*attributes.Find("tp"), Attribute(Type::Tensor(DType::kFloat32, {2, kUnknownDim})));
}

TEST(LoadGraphTest, AttributesOfFilesOlderThanAttributeTypesArrive) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { y = my.Op <a = 1, b = [1, 2], c = 0.5> (x) }");
  for (auto& attribute : *proto.mutable_graph()->mutable_node(0)->mutable_attribute()) attribute.clear_type();
  const absl::StatusOr<Model> model = Load(proto);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(AttributesString(model->graph.node(0).attributes), "a=1, b=[1, 2], c=0.5");
}

TEST(LoadGraphTest, NodeNamesAreMadeUnique) {
  const Model model = ParseOnnxText(R"(
    g (float[2] x) => (float[2] y) {
      a = Relu (x)
      [n] b = Relu (a)
      [n] c = Relu (b)
      [n_1] d = Relu (c)
      [Relu_5] e = Relu (d)
      y = Relu (e)
    })");
  EXPECT_THAT(NodeNames(model.graph), ElementsAre("Relu_0", "n", "n_2", "n_1", "Relu_5", "Relu_5_1"));
}

TEST(LoadGraphTest, UnsortedNodesAreSortedWithAWarning) {
  const Model model = ParseOnnxText(R"(
    g (float[2] x) => (float[2] y) {
      [last] y = Add (b, a)
      [first] a = Relu (x)
      [second] b = Relu (a)
    })");
  EXPECT_THAT(NodeNames(model.graph), ElementsAre("first", "second", "last"));
  EXPECT_THAT(model.warnings, ElementsAre("1 node reads what only a later node of the file produces; sorted"));
}

TEST(LoadGraphTest, AMissingOpsetImportIsADefaultAndAWarning) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { z = Relu (x) y = other.Op (z) }");
  proto.clear_opset_import();
  const absl::StatusOr<Model> newer = Load(proto);
  ASSERT_TRUE(newer.ok()) << newer.status();
  EXPECT_EQ(OpKeyString(newer->graph.node(0).op), "Relu-18") << "the newest that was written with IR version 8";
  EXPECT_THAT(newer->warnings, ElementsAre("no opset import for domain 'ai.onnx', version 18 taken",
                                           "no opset import for domain 'other', version 1 taken"));
  proto.set_ir_version(99);
  EXPECT_EQ(OpKeyString(Load(proto)->graph.node(0).op), "Relu-28") << "the newest that ONNX knows";
  proto.set_ir_version(2);
  EXPECT_EQ(OpKeyString(Load(proto)->graph.node(0).op), "Relu-1") << "imports came with IR version 3";
}

TEST(LoadGraphTest, TheLongNameOfTheDefaultDomainIsTheSameDomain) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { y = Relu (x) }");
  proto.mutable_opset_import(0)->set_domain("ai.onnx");
  proto.mutable_graph()->mutable_node(0)->set_domain("ai.onnx");
  const absl::StatusOr<Model> model = Load(proto);
  EXPECT_EQ(OpKeyString(model->graph.node(0).op), "Relu-17");
  EXPECT_THAT(model->warnings, IsEmpty());
}

TEST(LoadGraphTest, ADeclaredDimensionOfMinusOneIsUnknown) {
  onnx::ModelProto proto = TextProto("g (float[2,3] x) => (float[2,3] y) { y = Relu (x) }");
  proto.mutable_graph()
      ->mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(0)
      ->set_dim_value(-1);
  const absl::StatusOr<Model> model = Load(proto);
  EXPECT_EQ(ValueNamed(model->graph, "x").type.shape, Shape({kUnknownDim, 3}));
  EXPECT_THAT(model->warnings, ElementsAre("1 declared dimensions are -1, taken as unknown"));
}

constexpr absl::string_view kNestedIf = R"(
  g (bool c, float[2] x, float[2] other) => (float[2] y) {
    a = Relu (x)
    [if] y = If (c) <
      then_branch = t () => (float[2] t0) {
        t0 = If (c) <
          then_branch = tt () => (float[2] u0) { u0 = Add (a, a) },
          else_branch = te () => (float[2] v0) { v0 = Neg (other) }
        >
      },
      else_branch = e () => (float[2] e0) { e0 = Identity (a) }
    >
  })";

TEST(SubgraphTest, OuterValuesAreCapturedAtEveryLevel) {
  const Model model = ParseOnnxText(kNestedIf);
  ASSERT_EQ(model.graph.subgraphs.size(), 2u);
  const Node& node = model.graph.node(1);
  const auto branch = [&](const char* name) -> const Graph& {
    return *model.graph.subgraphs[std::get<SubgraphRef>(*node.attributes.Find(name)).index];
  };
  const Graph& then_branch = branch("then_branch");
  EXPECT_THAT(Names(then_branch, then_branch.captured), ::testing::UnorderedElementsAre("c", "a", "other"));
  EXPECT_THAT(Names(branch("else_branch"), branch("else_branch").captured), ElementsAre("a"));
  EXPECT_THAT(Names(then_branch, then_branch.node(0).captures), ::testing::UnorderedElementsAre("a", "other"));
  const Graph& innermost = *then_branch.subgraphs[0];
  EXPECT_EQ(innermost.value(innermost.node(0).inputs[0]).producer, kNoNode);
  EXPECT_THAT(Names(innermost, innermost.captured), ElementsAre("a"));
  EXPECT_THAT(Names(*then_branch.subgraphs[1], then_branch.subgraphs[1]->captured), ElementsAre("other"));
  EXPECT_EQ(OpKeyString(innermost.node(0).op), "Add-17");
}

TEST(SubgraphTest, CapturesCountAsReadsButOperandsDoNotRepeat) {
  Model model = ParseOnnxText(kNestedIf);
  EXPECT_THAT(Names(model.graph, model.graph.node(1).captures), ElementsAre("other", "a")) << "c is an operand";
  const Uses uses(model.graph);
  EXPECT_THAT(uses.of(model.graph.node(0).outputs[0]), ElementsAre(1));
  EXPECT_EQ(RemoveDeadNodes(model.graph), 0) << "only the branches read the Relu";
}

TEST(SubgraphTest, ANodeIsScheduledAfterWhatItsBranchesRead) {
  const Model model = ParseOnnxText(R"(
    g (bool c, float[2] x) => (float[2] y) {
      [if] y = If (c) <then_branch = t () => (float[2] p) { p = Neg (a) },
                       else_branch = e () => (float[2] q) { q = Identity (x) }>
      [relu] a = Relu (x)
    })");
  EXPECT_THAT(NodeNames(model.graph), ElementsAre("relu", "if"));
}

TEST(SubgraphTest, BodiesHaveInputsOfTheirOwn) {
  const Model model = ParseOnnxText(R"(
    g (int64 n, bool c, float[2] x) => (float[2] y) {
      y = Loop (n, c, x) <body = b (int64 i, bool k, float[2] s) => (bool k2, float[2] s2) {
        k2 = Identity (k)
        s2 = Add (s, x)
      }>
    })");
  const Graph& body = *model.graph.subgraphs[0];
  EXPECT_THAT(Names(body, body.inputs), ElementsAre("i", "k", "s"));
  EXPECT_THAT(Names(body, body.outputs), ElementsAre("k2", "s2"));
  EXPECT_THAT(Names(body, body.captured), ElementsAre("x"));
  EXPECT_THAT(model.graph.node(0).captures, IsEmpty()) << "x is an operand too";
}

constexpr absl::string_view kFunctionModel = R"(
  <ir_version: 9, opset_import: ["" : 17, "f" : 1]>
  g (float[2] x) => (float[2] y) { y = f.Twice <by = 3.0> (x) }
  <domain: "f", opset_import: ["" : 16]>
  Twice <by, axis: int = 1> (a) => (b) {
    s = Constant <value_float: float = @by> ()
    b = Mul (a, s)
  })";

TEST(FunctionTest, BodiesAreGraphsWithOpsetsOfTheirOwn) {
  const Model model = ParseOnnxText(kFunctionModel);
  ASSERT_EQ(model.functions.size(), 1u);
  const Function& function = model.functions[0];
  EXPECT_EQ(function.name, "Twice");
  EXPECT_EQ(function.domain, "f");
  EXPECT_THAT(function.attributes, ElementsAre("by"));
  EXPECT_EQ(function.defaults.Int("axis", 0), 1);
  EXPECT_THAT(Names(*function.body, function.body->inputs), ElementsAre("a"));
  EXPECT_THAT(Names(*function.body, function.body->outputs), ElementsAre("b"));
  EXPECT_EQ(OpKeyString(function.body->node(1).op), "Mul-16");
  EXPECT_EQ(*function.body->node(0).attributes.Find("value_float"), Attribute(AttributeRef{"by"}));
}

TEST(FunctionTest, FunctionsMustNotCallThemselves) {
  EXPECT_THAT(ErrorOfText(R"(
    <ir_version: 9, opset_import: ["" : 17, "f" : 1]>
    g (float[2] x) => (float[2] y) { y = f.A (x) }
    <domain: "f", opset_import: ["" : 17, "f" : 1]> A (a) => (b) { b = f.B (a) }
    <domain: "f", opset_import: ["" : 17, "f" : 1]> B (a) => (b) { b = f.A (a) })"),
              HasSubstr("calling itself, expected functions without recursion"));
}

TEST(FunctionTest, FunctionsAreDefinedOnceAndErrorsNameThem) {
  onnx::ModelProto proto = TextProto(kFunctionModel);
  *proto.add_functions() = proto.functions(0);
  EXPECT_EQ(ErrorOf(proto), "m.onnx: found function 'f::Twice' defined twice, expected one definition");
  proto.mutable_functions()->RemoveLast();
  proto.mutable_functions(0)->mutable_node(1)->set_input(0, "nowhere");
  EXPECT_THAT(ErrorOf(proto), HasSubstr("m.onnx: function 'Twice': node 'Mul_1' (Mul-16): found input 0 'nowhere'"));
}

// Rules whose breach is an error; each test is named after its rule.

TEST(MalformedGraphTest, InputsMustBeDefined) {
  EXPECT_EQ(ErrorOfText("g (float[2] x) => (float[2] y) { [add] y = Add (x, z) }"),
            "text.onnx: node 'add' (Add-17): found input 1 'z', which nothing defines, expected a graph input, an "
            "initializer or a node's output");
}

TEST(MalformedGraphTest, InputsOfSubgraphsMustBeDefined) {
  EXPECT_THAT(ErrorOfText(R"(g (bool c, float[2] x) => (float[2] y) {
                [if] y = If (c) <then_branch = t () => (float[2] p) { p = Neg (z) },
                                 else_branch = e () => (float[2] q) { q = Identity (x) }> })"),
              HasSubstr("node 'if' (If-17): attribute 'then_branch': node 'Neg_0' (Neg-17): found input 0 'z'"));
}

TEST(MalformedGraphTest, ValuesOfASubgraphAreNotSeenOutside) {
  EXPECT_THAT(ErrorOfText(R"(g (bool c, float[2] x) => (float[2] y) {
                z = If (c) <then_branch = t () => (float[2] p) { p = Neg (x) },
                            else_branch = e () => (float[2] q) { q = Identity (x) }>
                y = Add (z, p) })"),
              HasSubstr("found input 1 'p', which nothing defines"));
}

TEST(MalformedGraphTest, OutputsMustBeDefined) {
  EXPECT_EQ(ErrorOfText("g (float[2] x) => (float[2] z) { y = Relu (x) }"),
            "text.onnx: found graph output 'z', which nothing defines, expected the name of a value");
}

TEST(MalformedGraphTest, NamesAreDefinedOnce) {
  EXPECT_EQ(ErrorOfText("g (float[2] x) => (float[2] y) { [a] y = Relu (x) [b] y = Neg (x) }"),
            "text.onnx: node 'b' (Neg at position 1): output 0: found value 'y' defined twice, expected one definition "
            "of every name");
  EXPECT_THAT(ErrorOfText("g (float[2] x) => (float[2] x) { x = Relu (x) }"),
              HasSubstr("found value 'x' defined twice"));
  EXPECT_THAT(ErrorOfText("g (float[2] x, float[2] x) => (float[2] y) { y = Relu (x) }"),
              HasSubstr("input 'x': found value 'x' defined twice"));
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }");
  onnx::TensorProto* again = proto.mutable_graph()->add_initializer();
  *again = proto.graph().initializer(0);
  EXPECT_EQ(ErrorOf(proto), "ok") << "the same tensor twice is one tensor";
  again->set_data_type(onnx::TensorProto::DOUBLE);
  again->clear_raw_data();
  again->clear_float_data();
  EXPECT_THAT(ErrorOf(proto), HasSubstr("initializer 'w'"));
}

TEST(LoadGraphTest, OfConstantsOfOneNameTheLastCountsWithAWarning) {
  const Model model = ParseOnnxText(R"(g (float[2] x) => (float[2] y) {
    [old] c = Constant <value_ints = [12, 12]> ()
    y = Relu (x)
    [new] c = Constant <value_ints = [2, 2]> () })");
  EXPECT_THAT(model.warnings, Contains(HasSubstr("1 Constant node is replaced by a later one of the same name")));
  ASSERT_EQ(model.graph.nodes.size(), 2u);
  EXPECT_EQ(model.graph.nodes[1].name, "new");
  EXPECT_THAT(ErrorOfText("g (float[2] x) => (y) { y = Constant <value_int = 1> () y = Relu (x) }"),
              HasSubstr("found value 'y' defined twice"));
}

TEST(MalformedGraphTest, GraphsAreAcyclic) {
  EXPECT_THAT(ErrorOfText("g (float[2] x) => (float[2] y) { [p] y = Add (x, z) [q] z = Relu (y) }"),
              HasSubstr("text.onnx: node 'p' (Add-17): lies on a cycle"));
  EXPECT_THAT(ErrorOfText(R"(g (bool c, float[2] x) => (float[2] y) {
                [if] y = If (c) <then_branch = t () => (float[2] p) { p = Neg (y) },
                                 else_branch = e () => (float[2] q) { q = Identity (x) }> })"),
              HasSubstr("node 'if' (If-17): lies on a cycle"));
}

TEST(MalformedGraphTest, DimensionsAreNotNegative) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }");
  proto.mutable_graph()
      ->mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(0)
      ->set_dim_value(-5);
  EXPECT_EQ(ErrorOf(proto), "m.onnx: input 'x': found dimension -5, expected 0 or more");
  proto = TextProto("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }");
  proto.mutable_graph()->mutable_initializer(0)->set_dims(0, -1);
  EXPECT_EQ(ErrorOf(proto), "m.onnx: initializer 'w': found dimension -1, expected 0 or more");
}

TEST(MalformedGraphTest, TensorsFitIntoAPebibyte) {
  EXPECT_THAT(ErrorOfText("g (float[1152921504606846976] x) => (float[N] y) { y = Relu (x) }"),
              HasSubstr("input 'x': found a tensor of shape [1152921504606846976], expected at most"));
  EXPECT_THAT(ErrorOfText("g (float[4294967296,N,4294967296] x) => (float[N] y) { y = Relu (x) }"),
              HasSubstr("input 'x': found a tensor of shape [4294967296, ?, 4294967296]"));
  EXPECT_THAT(ErrorOfText("g (float[2] x) => (float[N] y) <float[4294967296,4294967296] w> { y = Add (x, w) }"),
              HasSubstr("initializer 'w': found a tensor of shape [4294967296, 4294967296]"));
}

TEST(MalformedGraphTest, NodesHaveAnOperator) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { [n] y = Relu (x) }");
  proto.mutable_graph()->mutable_node(0)->clear_op_type();
  EXPECT_EQ(ErrorOf(proto), "m.onnx: node 'n' at position 0: found no operator, expected its name");
}

TEST(MalformedGraphTest, AttributesHaveOneNameAndAType) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { [n] y = my.Op <a = 1, b = 2> (x) }");
  auto* attributes = proto.mutable_graph()->mutable_node(0)->mutable_attribute();
  attributes->Mutable(1)->set_name("a");
  EXPECT_EQ(ErrorOf(proto), "m.onnx: node 'n' (my::Op-1): found attribute 'a' twice, expected it once");
  attributes->Mutable(1)->set_name("");
  EXPECT_THAT(ErrorOf(proto), HasSubstr("found an attribute whose name is empty"));
  attributes->Mutable(1)->set_name("b");
  attributes->Mutable(1)->clear_type();
  attributes->Mutable(1)->clear_i();
  EXPECT_THAT(ErrorOf(proto), HasSubstr("attribute 'b': found an attribute without type and value"));
}

TEST(MalformedGraphTest, NamesAreUtf8) {
  const auto broken = [](auto change) {
    onnx::ModelProto proto = TextProto("g (float[N] x) => (float[2] y) { [n] y = Relu (x) }");
    change(*proto.mutable_graph());
    return ErrorOf(proto);
  };
  EXPECT_THAT(broken([](onnx::GraphProto& g) { g.mutable_input(0)->set_name("\xFF"); }), HasSubstr("not UTF-8"));
  EXPECT_THAT(broken([](onnx::GraphProto& g) { g.mutable_node(0)->set_name("a\x80"); }), HasSubstr("not UTF-8"));
  EXPECT_THAT(broken([](onnx::GraphProto& g) { g.mutable_node(0)->set_output(0, "\xC0\xAF"); }),
              HasSubstr("not UTF-8"));
  EXPECT_THAT(broken([](onnx::GraphProto& g) { g.mutable_node(0)->set_op_type("\xED\xA0\x80"); }),
              HasSubstr("not UTF-8"));
  EXPECT_EQ(broken([](onnx::GraphProto& g) { g.mutable_node(0)->set_name("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"); }),
            "ok");
}

TEST(MalformedGraphTest, OpsetVersionsAreSmallPositiveNumbers) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { y = Relu (x) }");
  for (int64_t version : {int64_t{-1}, int64_t{1} << 40}) {
    proto.mutable_opset_import(0)->set_version(version);
    EXPECT_EQ(ErrorOf(proto),
              absl::StrCat("m.onnx: found opset version ", version, " of domain 'ai.onnx', expected 1 to 1000000"));
  }
}

// Linear walks: each of these takes minutes when something is quadratic.

onnx::ModelProto Chain(int length, bool reversed, const char* name) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { y = Relu (x) }");
  auto* graph = proto.mutable_graph();
  graph->clear_node();
  for (int i = 0; i < length; ++i) {
    const int at = reversed ? length - 1 - i : i;
    auto* node = graph->add_node();
    node->set_op_type("Relu");
    node->set_name(name);
    node->add_input(at == 0 ? "x" : absl::StrCat("v", at - 1));
    node->add_output(at == length - 1 ? "y" : absl::StrCat("v", at));
  }
  return proto;
}

TEST(LargeGraphTest, AChainOfAHundredThousandNodesLoads) {
  for (const bool reversed : {false, true}) {
    for (const char* name : {"", "same", "/layer/layer.0/conv/Conv"}) {
      const absl::StatusOr<Model> model = Load(Chain(100'000, reversed, name));
      ASSERT_TRUE(model.ok()) << model.status();
      ASSERT_EQ(model->graph.order.size(), 100'000u);
      absl::flat_hash_set<std::string> names;
      for (const Node& node : model->graph.nodes) names.insert(node.name);
      EXPECT_EQ(names.size(), 100'000u);
    }
  }
}

// Subgraphs and functions get the model's imports, not every domain that was ever met.
TEST(LargeGraphTest, ManyDomainsAndManySubgraphsDoNotMultiply) {
  onnx::ModelProto proto = TextProto(R"(g (bool c, float[2] x) => (float[2] y) {
      y = If (c) <then_branch = t () => (float[2] p) { p = Neg (x) },
                  else_branch = e () => (float[2] q) { q = Identity (x) }> })");
  auto* graph = proto.mutable_graph();
  const onnx::NodeProto branching = graph->node(0);
  for (int i = 0; i < 20'000; ++i) {
    auto* node = graph->add_node();
    node->set_op_type("Op");
    node->set_domain(absl::StrCat("domain", i));
  }
  for (int i = 0; i < 20'000; ++i) {
    *graph->add_node() = branching;
    graph->mutable_node()->rbegin()->set_output(0, absl::StrCat("y", i));
  }
  const absl::StatusOr<Model> model = Load(proto);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->graph.opsets.size(), 20'001u);
  EXPECT_EQ(model->graph.subgraphs.back()->opsets.size(), 1u);
}

TEST(LargeGraphTest, OneNodeMayHaveAHundredThousandOfEverything) {
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { y = my.Op (x) }");
  auto* node = proto.mutable_graph()->mutable_node(0);
  for (int i = 0; i < 100'000; ++i) {
    node->add_input("x");
    node->add_output(absl::StrCat("out", i));
    auto* attribute = node->add_attribute();
    attribute->set_name(absl::StrCat("a", 100'000 - i));
    attribute->set_type(onnx::AttributeProto::INT);
  }
  const absl::StatusOr<Model> model = Load(proto);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->graph.node(0).outputs.size(), 100'001u);
}

}  // namespace
}  // namespace reusescope
