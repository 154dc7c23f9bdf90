// Attention lowered to products and row operations; rotary embeddings.

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct AttentionCase {
  const char* name;
  int64_t batch, heads, kv_heads, queries, keys, past, head_size, value_size;
  bool packed;  // [B, S, H D] rather than [B, H, S, D]
  AttributeList attributes;
};

std::vector<AttentionCase> Cases() {
  return {
      {"multi-head", 2, 8, 8, 16, 16, 0, 32, 32, false, {}},
      {"packed", 2, 8, 8, 16, 16, 0, 32, 32, true, {}},
      {"cross attention, other value size", 2, 4, 4, 6, 20, 0, 8, 12, false, {}},
      {"packed, other value size", 2, 4, 4, 6, 20, 0, 8, 12, true, {}},
      {"grouped queries", 2, 32, 4, 10, 10, 0, 16, 16, false, {}},
      {"grouped queries, packed", 1, 32, 4, 10, 10, 0, 16, 16, true, {}},
      {"one key head", 2, 8, 1, 10, 10, 0, 16, 16, false, {}},
      {"past keys", 2, 8, 8, 1, 1, 99, 32, 32, false, {}},
      {"causal: not discounted", 2, 8, 8, 16, 16, 0, 32, 32, false, {{"is_causal", 1}}},
      {"soft cap", 2, 8, 8, 16, 16, 0, 32, 32, false, {{"softcap", 50.0}}},
      {"softmax in double", 2, 8, 8, 16, 16, 0, 32, 32, false, {{"softmax_precision", 11}}},
      {"window", 2, 8, 8, 16, 16, 0, 32, 32, false, {{"left_window_size", 4}}},
  };
}

struct Built {
  ValueId y;
  std::vector<ValueId> outputs;
  std::vector<NodeId> nodes;
};

// Adds the node and lowers it. Outputs: Y, present_key, present_value where there is a past.
Built Build(GraphBuilder& b, const AttentionCase& c, std::vector<ValueId> rest = {}) {
  const auto operand = [&](const char* name, int64_t heads, int64_t length, int64_t size) {
    return b.Input(name, c.packed ? Shape{c.batch, length, heads * size} : Shape{c.batch, heads, length, size});
  };
  std::vector<ValueId> inputs = {operand("q", c.heads, c.queries, c.head_size),
                                 operand("k", c.kv_heads, c.keys, c.head_size),
                                 operand("v", c.kv_heads, c.keys, c.value_size)};
  inputs.insert(inputs.end(), rest.begin(), rest.end());
  std::vector<Type> types = {Float(c.packed ? Shape{c.batch, c.queries, c.heads * c.value_size}
                                            : Shape{c.batch, c.heads, c.queries, c.value_size})};
  if (c.past > 0) {
    inputs.resize(6, kNoValue);
    inputs[4] = b.Input("past_k", {c.batch, c.kv_heads, c.past, c.head_size});
    inputs[5] = b.Input("past_v", {c.batch, c.kv_heads, c.past, c.value_size});
    types.push_back(Float({c.batch, c.kv_heads, c.past + c.keys, c.head_size}));
    types.push_back(Float({c.batch, c.kv_heads, c.past + c.keys, c.value_size}));
  }
  AttributeList attributes = c.attributes;
  if (c.packed) {
    attributes.emplace_back("q_num_heads", c.heads);
    attributes.emplace_back("kv_num_heads", c.kv_heads);
  }
  Built built;
  built.outputs = b.NodeMany("Attention", inputs, types, attributes);
  built.y = built.outputs[0];
  const absl::StatusOr<std::vector<NodeId>> nodes = b.RunLower(built.y);
  EXPECT_TRUE(nodes.ok()) << nodes.status();
  built.nodes = nodes.value_or(std::vector<NodeId>{});
  return built;
}

int64_t TotalMacs(const GraphBuilder& b, const std::vector<NodeId>& nodes) {
  int64_t macs = 0;
  for (NodeId id : nodes) macs += MacsOf(b.KernelOfNode(id));
  return macs;
}

// Every emitted node reads what is there before it, and every output of the lowered node has a producer among them.
void ExpectSoundLowering(const GraphBuilder& b, const Built& built) {
  for (NodeId id : built.nodes) {
    b.KernelOfNode(id);
    for (ValueId input : b.graph().node(id).inputs) {
      const Value& value = b.graph().value(input);
      EXPECT_LT(value.producer, id) << b.graph().node(id).name;
      if (value.producer == kNoNode) {
        EXPECT_NE(value.kind, ValueKind::kActivation) << value.name << " has no producer";
      } else {
        EXPECT_THAT(b.graph().node(value.producer).outputs, Contains(input)) << b.graph().node(id).name;
      }
    }
  }
  for (ValueId output : built.outputs) EXPECT_THAT(built.nodes, Contains(b.graph().value(output).producer));
}

TEST(Attention, ContractionFlopsAreThoseOfTheTwoProducts) {
  for (const AttentionCase& c : Cases()) {
    SCOPED_TRACE(c.name);
    GraphBuilder b(25);
    const Built built = Build(b, c);
    ExpectSoundLowering(b, built);
    EXPECT_EQ(2 * TotalMacs(b, built.nodes),
              2 * c.batch * c.heads * c.queries * (c.past + c.keys) * (c.head_size + c.value_size));
    ASSERT_EQ(b.graph().regions.size(), 1u);
    EXPECT_EQ(b.graph().regions[0].kind, "attention");
    EXPECT_EQ(b.graph().regions[0].nodes, built.nodes);
  }
}

TEST(Attention, BackwardCostsTwiceTheForwardProducts) {
  for (const AttentionCase& c : Cases()) {
    SCOPED_TRACE(c.name);
    GraphBuilder b(25);
    const Built built = Build(b, c);
    int64_t backward = 0;
    for (NodeId id : built.nodes) {
      const ValueId output = b.graph().node(id).outputs[0];
      if (b.SemanticsOf(output)->gradient == nullptr) continue;
      const GradientRun run = b.RunGradient(output);
      ExpectSoundGradients(b, run);
      backward += TotalMacs(b, run.nodes);
    }
    EXPECT_EQ(backward, 2 * TotalMacs(b, built.nodes));
  }
}

TEST(Attention, RunsTheOperationsOfUnfusedAttention) {
  GraphBuilder b(25);
  const Built built = Build(b, Cases()[0], {b.Input("mask", {16, 16})});
  EXPECT_THAT(b.OpNames(built.nodes),
              ElementsAre("Mul", "Transpose", "Mul", "MatMul", "Add", "reusescope::GuardedSoftmax", "MatMul"));
}

TEST(Attention, CausalQueriesStandAtTheEndOfTheKeysThatCount) {
  GraphBuilder b(25);
  AttentionCase attention = Cases()[0];
  attention.attributes = {{"is_causal", 1}};
  const Built built = Build(b, attention, {kNoValue, kNoValue, kNoValue, b.Input("lengths", Int64({2}))});
  ExpectSoundLowering(b, built);
  // key <= length - queries + query, and key < length: two masks, made additive and added.
  const std::vector<std::string> ops = b.OpNames(built.nodes);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "LessOrEqual"), 1);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "Less"), 1);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "Where"), 2);
}

TEST(Attention, PackedHeadsAreSplitByViewsAndOneTransposeEach) {
  GraphBuilder b(25);
  const Built built = Build(b, Cases()[1]);
  EXPECT_THAT(b.OpNames(built.nodes),
              ElementsAre("Reshape", "Transpose", "Reshape", "Transpose", "Reshape", "Transpose", "Mul", "Transpose",
                          "Mul", "MatMul", "Softmax", "MatMul", "Transpose", "Reshape"));
}

TEST(Attention, MasksAreAddedWhateverTheirForm) {
  struct Case {
    const char* name;
    Type mask;
    AttributeList attributes;
    size_t adds, wheres, pads;
  };
  const Case cases[] = {
      {"float", Float({2, 1, 16, 16}), {}, 1, 0, 0},
      {"boolean", Bool({16, 16}), {}, 1, 1, 0},
      {"and causal", Bool({16, 16}), {{"is_causal", 1}}, 2, 1, 0},
      {"short of the last keys", Float({16, 12}), {}, 1, 0, 1},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    GraphBuilder b(25);
    AttentionCase attention = Cases()[0];
    attention.attributes = c.attributes;
    const Built built = Build(b, attention, {b.Input("mask", c.mask)});
    ExpectSoundLowering(b, built);
    const std::vector<std::string> ops = b.OpNames(built.nodes);
    EXPECT_EQ(std::count(ops.begin(), ops.end(), "Add"), static_cast<std::ptrdiff_t>(c.adds));
    EXPECT_EQ(std::count(ops.begin(), ops.end(), "Where"), static_cast<std::ptrdiff_t>(c.wheres));
    EXPECT_EQ(std::count(ops.begin(), ops.end(), "Pad"), static_cast<std::ptrdiff_t>(c.pads));
  }
}

TEST(Attention, PaddedKeysAreMaskedByLength) {
  GraphBuilder b(25);
  const ValueId lengths = b.Input("lengths", Int64({2}));
  const Built built = Build(b, Cases()[0], {kNoValue, kNoValue, kNoValue, lengths});
  ExpectSoundLowering(b, built);
  EXPECT_THAT(b.OpNames(built.nodes), Contains("Less"));
}

TEST(Attention, PresentKeysArePastAndNew) {
  GraphBuilder b(25);
  const Built built = Build(b, Cases()[7]);
  EXPECT_EQ(b.Producer(built.outputs[1]).op.type, "Concat");
  EXPECT_EQ(b.Producer(built.outputs[2]).op.type, "Concat");
}

TEST(Attention, KeysHandedThroughAreAView) {
  GraphBuilder b(25);
  const ValueId q = b.Input("q", {1, 2, 3, 4}), k = b.Input("k", {1, 2, 5, 4}), v = b.Input("v", {1, 2, 5, 4});
  Built built;
  built.outputs = b.NodeMany("Attention", {q, k, v},
                             {Float({1, 2, 3, 4}), Float({1, 2, 5, 4}), Float({1, 2, 5, 4}), Float({1, 2, 3, 5})},
                             {{"qk_matmul_output_mode", 3}});
  built.nodes = *b.RunLower(built.outputs[0]);
  ExpectSoundLowering(b, built);
  EXPECT_EQ(b.Producer(built.outputs[1]).op.type, "Identity");
  EXPECT_EQ(b.Producer(built.outputs[3]).op.type, "Softmax");
}

TEST(Attention, HeadsThatDoNotDivideAreAnError) {
  GraphBuilder b(25);
  const ValueId y =
      b.Node("Attention", {b.Input("q", {1, 6, 3, 4}), b.Input("k", {1, 4, 3, 4}), b.Input("v", {1, 4, 3, 4})},
             Shape{1, 6, 3, 4});
  EXPECT_THAT(std::string(b.RunLower(y).status().message()), HasSubstr("Hq a multiple of H"));
  const ValueId packed = b.Node(
      "Attention", {b.Input("a", {1, 3, 24}), b.Input("c", {1, 3, 24}), b.Input("d", {1, 3, 24})}, Shape{1, 3, 24});
  EXPECT_THAT(std::string(b.RunLower(packed).status().message()), HasSubstr("expected q_num_heads and kv_num_heads"));
}

TEST(Attention, MultiHeadAttentionOfOnnxruntime) {
  GraphBuilder b;
  const ValueId q = b.Input("q", {2, 10, 64}), k = b.Input("k", {2, 12, 64}), v = b.Input("v", {2, 12, 96});
  const ValueId bias = b.Parameter("bias", {64 + 64 + 96});
  const ValueId mask = b.Input("mask", Type::Tensor(DType::kInt32, {2, 12}));
  Built built;
  built.outputs = b.NodeMany("com.microsoft::MultiHeadAttention", {q, k, v, bias, mask},
                             {Float({2, 10, 96}), Float({2, 8, 12, 8}), Float({2, 8, 12, 12})}, {{"num_heads", 8}});
  built.y = built.outputs[0];
  const OpSemantics* semantics = b.SemanticsOf(built.y);
  const auto types = semantics->infer(OpContext(b.graph(), b.graph().value(built.y).producer, *semantics));
  ASSERT_TRUE(types.ok()) << types.status();
  EXPECT_THAT(*types, ElementsAre(Float({2, 10, 96}), Float({2, 8, 12, 8}), Float({2, 8, 12, 12})));
  built.nodes = *b.RunLower(built.y);
  ExpectSoundLowering(b, built);
  EXPECT_EQ(2 * TotalMacs(b, built.nodes), 2 * 2 * 8 * 10 * 12 * (8 + 12));
}

TEST(Attention, PastKeysThatDoNotJoinAreAnError) {
  GraphBuilder b;
  const ValueId q = b.Input("q", {1, 2, 8}), k = b.Input("k", {1, 2, 8}), v = b.Input("v", {1, 2, 8});
  const auto run = [&](const Shape& past_shape) {
    const ValueId past = b.Input("past", past_shape);
    const ValueId y = b.Node("com.microsoft::MultiHeadAttention", {q, k, v, kNoValue, kNoValue, kNoValue, past, past},
                             Shape{1, 2, 8}, {{"num_heads", 2}});
    return std::string(b.RunLower(y).status().message());
  };
  for (const Shape& shape : {Shape{1, 2, 5, 4}, Shape{1, 2, 0, 4}, Shape{0}}) EXPECT_EQ(run(shape), "");
  for (const Shape& shape : {Shape{5, 4}, Shape{2, 5, 4}, Shape{2, 2, 5, 4}, Shape{1, 1, 5, 4}, Shape{1, 2, 5, 3}}) {
    EXPECT_THAT(run(shape), HasSubstr(absl::StrCat("past keys or values are ", ShapeString(shape))));
  }
}

// The function body of ONNX's Attention cannot be inferred where an optional output in its middle is missing.
TEST(Attention, TypesOfAllOutputs) {
  GraphBuilder b(25);
  const ValueId q = b.Input("q", {2, 3, 24}), k = b.Input("k", {2, 5, 12}), v = b.Input("v", {2, 5, 18});
  const ValueId past_k = b.Input("pk", {2, 3, 7, 4}), past_v = b.Input("pv", {2, 3, 7, 6});
  const std::vector<ValueId> outputs =
      b.NodeMany("Attention", {q, k, v, kNoValue, past_k, past_v},
                 {Float({2, 3, 36}), Float({2, 3, 12, 4}), Float({2, 3, 12, 6}), Float({2, 6, 3, 12})},
                 {{"q_num_heads", 6}, {"kv_num_heads", 3}});
  const OpSemantics* semantics = b.SemanticsOf(outputs[0]);
  const auto types = semantics->infer(OpContext(b.graph(), b.graph().value(outputs[0]).producer, *semantics));
  ASSERT_TRUE(types.ok()) << types.status();
  EXPECT_THAT(*types, ElementsAre(Float({2, 3, 36}), Float({2, 3, 12, 4}), Float({2, 3, 12, 6}), Float({2, 6, 3, 12})));
}

TEST(RotaryEmbedding, RotatesPairsForwardAndBack) {
  GraphBuilder b(23);
  const ValueId x = b.Input("x", {2, 8, 10, 64});
  const ValueId cos = b.Input("cos", {128, 32}), sin = b.Input("sin", {128, 32});
  const ValueId positions = b.Input("positions", Int64({2, 10}));
  const ValueId y = b.Node("RotaryEmbedding", {x, cos, sin, positions}, Shape{2, 8, 10, 64});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_EQ(FlopsOf(kernel), 3 * 2 * 8 * 10 * 64);
  EXPECT_EQ(ReadElements(kernel, 1), 2 * 10 * 32);  // the rows looked up
  const GradientRun run = b.RunGradient(y, {}, {x});
  ExpectSoundGradients(b, run);
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 3 * 2 * 8 * 10 * 64);
  EXPECT_THAT(b.EagerSavesOf(y).values, ElementsAre(cos, sin));
}

TEST(RotaryEmbedding, PartOfAHeadAndPackedHeads) {
  GraphBuilder b(23);
  const ValueId cos = b.Input("cos", {2, 10, 8}), sin = b.Input("sin", {2, 10, 8});
  const ValueId y = b.Node("RotaryEmbedding", {b.Input("x", {2, 10, 8 * 64}), cos, sin}, Shape{2, 10, 8 * 64},
                           {{"num_heads", 8}, {"rotary_embedding_dim", 16}});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 3 * 2 * 10 * 8 * 16);
  EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 2 * 10 * 8 * 64);
  const ValueId unknown = b.Node("RotaryEmbedding", {b.Input("z", {2, 10, 512}), cos, sin}, Shape{2, 10, 512});
  EXPECT_THAT(std::string(b.TryKernelOf(unknown).status().message()), HasSubstr("num_heads"));
}

}  // namespace
}  // namespace reusescope
