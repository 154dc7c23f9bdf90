#include "analysis/measure/blocks.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Graphs of float values in a few words. Every value has the shape that `shape` says when it is made.
class BlocksTest : public ::testing::Test {
 protected:
  ValueId Input(absl::string_view name = "x", DType dtype = DType::kFloat32) {
    const ValueId id = graph_.AddValue(std::string(name), Type::Tensor(dtype, shape_), ValueKind::kInput);
    graph_.inputs.push_back(id);
    return id;
  }
  ValueId Parameter(absl::string_view name) {
    return graph_.AddValue(std::string(name), Type::Tensor(DType::kFloat32, {8}), ValueKind::kParameter);
  }
  std::vector<ValueId> OpMany(absl::string_view op, std::vector<ValueId> inputs, int outputs,
                              absl::string_view module = "") {
    Node node{.op = {.type = std::string(op), .since_version = 18}};
    node.name = absl::StrCat(op, "_", graph_.nodes.size());
    node.module = std::string(module);
    node.inputs.assign(inputs.begin(), inputs.end());
    for (int i = 0; i < outputs; ++i) {
      node.outputs.push_back(graph_.AddValue(absl::StrCat(node.name, ":", i), Type::Tensor(DType::kFloat32, shape_)));
    }
    const std::vector<ValueId> values(node.outputs.begin(), node.outputs.end());
    graph_.AddNode(std::move(node));
    return values;
  }
  ValueId Op(absl::string_view op, std::vector<ValueId> inputs, absl::string_view module = "") {
    return OpMany(op, std::move(inputs), 1, module)[0];
  }
  NodeId Producer(ValueId value) const { return graph_.value(value).producer; }

  // "residual", or "residual(gated, branch)" for nested ones, in the order of the table.
  static std::string Outline(const BlockTable& table) {
    std::string out;
    int depth = 0;
    for (size_t i = 0; i < table.blocks.size(); ++i) {
      const Block& block = table.blocks[i];
      if (i > 0) absl::StrAppend(&out, block.depth > depth ? "(" : std::string(depth - block.depth, ')'));
      if (i > 0 && block.depth <= depth) absl::StrAppend(&out, ", ");
      absl::StrAppend(&out, BlockKindName(block.kind));
      depth = block.depth;
    }
    return absl::StrCat(out, std::string(depth, ')'));
  }
  static std::vector<int> GroupCounts(const BlockTable& table) {
    std::vector<int> counts;
    for (const BlockGroup& group : table.groups) counts.push_back(group.count);
    return counts;
  }

  // relu(bn(conv(x))), `layers` times without the last relu, added to x or a projection of it.
  ValueId Bottleneck(ValueId x, int layers, bool projection, absl::string_view module) {
    ValueId y = x;
    for (int i = 0; i < layers; ++i) {
      y = Op("Conv", {y, Parameter("w")}, absl::StrCat(module, ".conv", i));
      y = Op("BatchNormalization", {y, Parameter("scale")}, absl::StrCat(module, ".bn", i));
      if (i + 1 < layers) y = Op("Relu", {y}, absl::StrCat(module, ".relu"));
    }
    ValueId shortcut = x;
    if (projection) {
      shortcut = Op("Conv", {x, Parameter("w")}, absl::StrCat(module, ".downsample.0"));
      shortcut = Op("BatchNormalization", {shortcut, Parameter("scale")}, absl::StrCat(module, ".downsample.1"));
    }
    return Op("Relu", {Op("Add", {y, shortcut}, std::string(module))}, absl::StrCat(module, ".relu"));
  }

  Shape shape_ = {1, 8};
  Graph graph_;
};

TEST_F(BlocksTest, AChainHasNoBlock) {
  Op("Relu", {Op("Conv", {Input(), Parameter("w")})});
  const BlockTable table = FindBlocks(graph_);
  EXPECT_THAT(table.blocks, IsEmpty());
  EXPECT_THAT(table.innermost, ElementsAre(kNoBlock, kNoBlock));
}

TEST_F(BlocksTest, AnEmptyGraphHasNoBlock) { EXPECT_THAT(FindBlocks(graph_).blocks, IsEmpty()); }

TEST_F(BlocksTest, AResidualBlockIsEverythingBetweenForkAndAdd) {
  const ValueId x = Op("Relu", {Input()});
  const ValueId a = Op("Conv", {x, Parameter("w")});
  const ValueId b = Op("Conv", {a, Parameter("w")});
  const ValueId sum = Op("Add", {b, x});
  const ValueId y = Op("Relu", {sum});
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "residual");
  EXPECT_EQ(table.blocks[0].entry, x);
  EXPECT_EQ(table.blocks[0].exit, Producer(sum));
  EXPECT_THAT(table.NodesOf(table.blocks[0]), ElementsAre(Producer(a), Producer(b), Producer(sum)));
  EXPECT_EQ(table.InnermostOf(Producer(x)), kNoBlock);
  EXPECT_EQ(table.InnermostOf(Producer(y)), kNoBlock);
}

TEST_F(BlocksTest, ResNet50HasSixteenResidualBlocksInFourGroups) {
  ValueId x = Op("Relu", {Op("Conv", {Input(), Parameter("w")})});
  const std::vector<int> stages = {3, 4, 6, 3};
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    shape_ = {1, 256 << stage, 56 >> stage, 56 >> stage};
    for (int block = 0; block < stages[stage]; ++block) {
      x = Bottleneck(x, 3, block == 0, absl::StrCat("layer", stage + 1, ".", block));
    }
  }
  const BlockTable table = FindBlocks(graph_);
  EXPECT_EQ(table.blocks.size(), 3 + 4 + 6 + 3);
  EXPECT_THAT(GroupCounts(table), ElementsAre(3, 4, 6, 3));
  EXPECT_EQ(table.groups[1].name, "layer2");
  EXPECT_EQ(table.blocks[3].name, "layer2.0");
  EXPECT_EQ(table.blocks[3].num_nodes, 8 + 2 + 1);
  EXPECT_EQ(table.blocks[4].num_nodes, 8 + 1);
  EXPECT_NE(table.blocks[3].signature, table.blocks[4].signature) << "a projection and an identity";
  EXPECT_EQ(table.blocks[4].signature, table.blocks[5].signature);
}

TEST_F(BlocksTest, BlocksOfOtherShapesOrOperatorsAreOtherGroups) {
  ValueId x = Bottleneck(Input(), 2, false, "a.0");
  x = Bottleneck(x, 2, false, "a.1");
  x = Bottleneck(x, 3, false, "a.2");
  shape_ = {1, 16};
  Bottleneck(x, 3, true, "a.3");
  const BlockTable table = FindBlocks(graph_);
  EXPECT_THAT(GroupCounts(table), ElementsAre(2, 1, 1));
  EXPECT_EQ(table.groups[1].name, "a.2");
}

TEST_F(BlocksTest, NestedSqueezeExciteIsGated) {
  const ValueId x = Input();
  const ValueId a = Op("Conv", {x, Parameter("w")}, "b.conv");
  const ValueId s = Op("Sigmoid", {Op("Conv", {Op("GlobalAveragePool", {a}, "b.se"), Parameter("w")}, "b.se")}, "b.se");
  const ValueId gated = Op("Mul", {s, a}, "b.se");
  const ValueId sum = Op("Add", {Op("Conv", {gated, Parameter("w")}, "b.project"), x}, "b");
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "residual(gated)");
  EXPECT_EQ(table.blocks[0].exit, Producer(sum));
  EXPECT_EQ(table.blocks[1].name, "b.se");
  EXPECT_EQ(table.blocks[1].parent, 0);
  EXPECT_EQ(table.blocks[0].num_nodes, 7);
  EXPECT_EQ(table.blocks[1].num_nodes, 4);
  EXPECT_EQ(table.InnermostOf(Producer(a)), 0);
  EXPECT_EQ(table.InnermostOf(Producer(s)), 1);
  EXPECT_TRUE(table.Contains(0, 1));
  EXPECT_FALSE(table.Contains(1, 0));
  EXPECT_EQ(table.InnermostCommon(0, 1), 0);
  EXPECT_EQ(table.InnermostCommon(1, kNoBlock), kNoBlock);
}

TEST_F(BlocksTest, ADenseBlockIsOneBlockThoughEveryLayerForks) {
  std::vector<ValueId> features = {Op("MaxPool", {Input()})};
  for (int layer = 0; layer < 6; ++layer) {
    const ValueId all = Op("Concat", features);
    features.push_back(Op("Conv", {Op("Relu", {all}), Parameter("w")}));
  }
  const ValueId end = Op("Concat", features);
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "dense");
  EXPECT_EQ(table.blocks[0].exit, Producer(end));
  EXPECT_EQ(table.blocks[0].num_nodes, 3 * 6 + 1);
}

TEST_F(BlocksTest, AUnetIsNestedSkipConnections) {
  ValueId x = Input();
  std::vector<ValueId> skips;
  for (int level = 0; level < 4; ++level) {
    skips.push_back(Op("Conv", {x, Parameter("w")}));
    x = Op("MaxPool", {skips.back()});
  }
  for (int level = 3; level >= 0; --level)
    x = Op("Conv", {Op("Concat", {skips[level], Op("Resize", {x})}), Parameter("w")});
  EXPECT_EQ(Outline(FindBlocks(graph_)), "dense(dense(dense(dense)))");
}

TEST_F(BlocksTest, ConcatOfComputedPathsIsABranch) {
  const ValueId x = Op("Relu", {Input()});
  Op("Concat", {Op("Conv", {x, Parameter("w")}), Op("AveragePool", {x}), Op("Conv", {x, Parameter("w")})});
  EXPECT_EQ(Outline(FindBlocks(graph_)), "branch");
}

TEST_F(BlocksTest, AddOfEqualPathsIsABranchAndWithoutContractionsIsNoProjection) {
  const ValueId x = Input();
  const ValueId y = Op("Add", {Op("Conv", {x, Parameter("w")}), Op("Conv", {x, Parameter("w")})});
  const ValueId rotated = Op("Mul", {Op("Neg", {y}), Parameter("sin")});
  Op("Add", {Op("Mul", {y, Parameter("cos")}), rotated});
  EXPECT_EQ(Outline(FindBlocks(graph_)), "branch, branch");
}

TEST_F(BlocksTest, ANodeWithSeveralOutputsForks) {
  const std::vector<ValueId> halves = OpMany("Split", {Op("MatMul", {Input(), Parameter("w")})}, 2);
  const ValueId gated = Op("Mul", {Op("Sigmoid", {halves[0]}), halves[1]});
  Op("Relu", {gated});
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "gated");
  EXPECT_EQ(table.blocks[0].entry, halves[0]);
  EXPECT_EQ(table.blocks[0].num_nodes, 2);
}

TEST_F(BlocksTest, OneReaderThatReadsTwiceIsNoFork) {
  const ValueId x = Input();
  Op("Relu", {Op("Mul", {x, x})});
  EXPECT_THAT(FindBlocks(graph_).blocks, IsEmpty());
}

// Two layers that share a mask computed from integers: were the mask a path, it would enter both blocks from outside.
TEST_F(BlocksTest, MasksAndPositionBiasesAreNotPaths) {
  const ValueId ids = Input("ids", DType::kInt64);
  const ValueId mask_ids = Input("mask", DType::kInt64);
  const ValueId cast = Op("Cast", {mask_ids});
  const ValueId bias =
      Op("Gather",
         {Parameter("bias"), graph_.AddValue("positions", Type::Tensor(DType::kInt64, {8}), ValueKind::kConstant)});
  const ValueId mask = Op("Add", {cast, bias});
  ValueId x = Op("Gather", {Parameter("embedding"), ids});
  std::vector<NodeId> own;
  for (int layer = 0; layer < 2; ++layer) {
    const ValueId weight = Op("Transpose", {Parameter("w")});
    own.push_back(Producer(weight));
    x = Op("Add", {Op("Softmax", {Op("Add", {Op("MatMul", {x, weight}), mask})}), x});
  }
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "residual, residual");
  EXPECT_EQ(table.InnermostOf(Producer(cast)), kNoBlock) << "read by both";
  EXPECT_EQ(table.InnermostOf(own[0]), 0);
  EXPECT_EQ(table.InnermostOf(own[1]), 1);
  EXPECT_EQ(table.blocks[0].num_nodes, 5);
}

TEST_F(BlocksTest, ASideOutputDoesNotBreakABlock) {
  const ValueId x = Op("Relu", {Input()});
  const ValueId key = Op("MatMul", {x, Parameter("w")});
  const ValueId cache = Op("Transpose", {key});
  const ValueId y = Op("Relu", {Op("Add", {Op("Softmax", {key}), x})});
  graph_.outputs = {y, cache};
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "residual");
  EXPECT_EQ(table.InnermostOf(Producer(cache)), kNoBlock);
}

TEST_F(BlocksTest, AnAuxiliaryHeadHasItsOwnBlocks) {
  const ValueId x = Op("Relu", {Input()});
  const ValueId h = Op("Conv", {x, Parameter("w")});
  Op("Add", {Op("Conv", {h, Parameter("w")}), h});
  Op("Relu", {Op("Add", {Op("Conv", {Op("Relu", {Op("Relu", {x})}), Parameter("w")}), x})});
  EXPECT_EQ(Outline(FindBlocks(graph_)), "residual, residual");
}

TEST_F(BlocksTest, BackwardNodesAreInNoBlock) {
  const ValueId x = Op("Relu", {Input()});
  const ValueId y = Op("Add", {Op("Conv", {x, Parameter("w")}), x});
  const ValueId g = Op("Relu", {y});
  for (const ValueId value : {y, g}) {
    Op("Add", {value, x});
    graph_.nodes.back().phase = Phase::kBackward;
  }
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "residual");
  EXPECT_EQ(table.InnermostOf(static_cast<NodeId>(graph_.nodes.size()) - 1), kNoBlock);
}

// A self-attention with its projections behind one normalized value.
TEST_F(BlocksTest, AnAttentionTakesInItsProjections) {
  const ValueId x = Input();
  const ValueId n = Op("LayerNormalization", {x});
  const ValueId q = Op("MatMul", {n, Parameter("q")}), k = Op("MatMul", {n, Parameter("k")});
  const ValueId v = Op("MatMul", {n, Parameter("v")});
  const ValueId scores = Op("MatMul", {q, k}), probabilities = Op("Softmax", {scores});
  const ValueId product = Op("MatMul", {probabilities, v});
  Op("Add", {Op("MatMul", {product, Parameter("o")}), x});
  EXPECT_EQ(Outline(FindBlocks(graph_)), "residual(branch)");
  graph_.regions.push_back({"attention", {Producer(scores), Producer(probabilities), Producer(product)}});
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "residual(attention)");
  EXPECT_EQ(table.blocks[1].num_nodes, 6);
}

// The residual connection forks where the projections do, so the region itself becomes the block.
TEST_F(BlocksTest, AnAttentionWithoutAForkOfItsOwnIsItsRegion) {
  const ValueId x = Input();
  const ValueId q = Op("MatMul", {x, Parameter("q")}), k = Op("MatMul", {x, Parameter("k")});
  const ValueId v = Op("MatMul", {x, Parameter("v")});
  const ValueId scores = Op("MatMul", {q, k});
  const ValueId gelu = Op("Mul", {Op("Sigmoid", {scores}), scores});
  const ValueId product = Op("MatMul", {gelu, v});
  Op("Add", {product, x});
  graph_.regions.push_back({"attention", {Producer(product), Producer(gelu), Producer(scores)}});
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(Outline(table), "residual(attention(gated))");
  EXPECT_EQ(table.blocks[1].entry, kNoValue);
  EXPECT_EQ(table.blocks[1].exit, Producer(product));
  EXPECT_EQ(table.blocks[1].num_nodes, 4);
  EXPECT_EQ(table.blocks[0].num_nodes, 3 + 4 + 1);
}

TEST_F(BlocksTest, AttentionOfTwoSourcesStandsAlone) {
  const ValueId x = Input(), encoded = Input("encoded");
  const ValueId scores = Op("MatMul", {x, encoded}), product = Op("MatMul", {scores, encoded});
  Op("Relu", {Op("Add", {product, x})});
  graph_.regions.push_back({"attention", {Producer(scores), Producer(product)}});
  EXPECT_EQ(Outline(FindBlocks(graph_)), "attention");
}

TEST_F(BlocksTest, NestedBlocksOfEqualParentsAreOneGroup) {
  ValueId x = Input();
  for (int layer = 0; layer < 5; ++layer) {
    const std::string module = absl::StrCat("layers.", layer);
    const ValueId h = Op("MatMul", {x, Parameter("w")}, absl::StrCat(module, ".up"));
    const ValueId gated =
        Op("Mul", {Op("Sigmoid", {h}, absl::StrCat(module, ".act")), h}, absl::StrCat(module, ".act"));
    x = Op("Add", {gated, x}, module);
  }
  const BlockTable table = FindBlocks(graph_);
  EXPECT_THAT(GroupCounts(table), ElementsAre(5, 5));
  EXPECT_EQ(table.groups[1].parent, 0);
  EXPECT_EQ(table.blocks[1].name, "layers.0.act");
}

TEST_F(BlocksTest, NamesAreUniqueAndFallBackToTheExit) {
  ValueId x = Input();
  for (int i = 0; i < 2; ++i) x = Op("Add", {Op("Conv", {x, Parameter("w")}, "m.a"), x}, "m");
  x = Op("Add", {Op("Conv", {x, Parameter("w")}), x});
  const BlockTable table = FindBlocks(graph_);
  ASSERT_EQ(table.blocks.size(), 3);
  EXPECT_EQ(table.blocks[0].name, "m");
  EXPECT_EQ(table.blocks[1].name, "m#2");
  EXPECT_EQ(table.blocks[2].name, graph_.node(Producer(x)).name);
}

// By the definition: u and j such that u dominates j, j post-dominates u, both immediately, and u has two successors;
// found by taking every vertex out and looking what can still be reached.
struct PlainBlock {
  int entry, exit;
  std::set<int> nodes;
};

std::vector<bool> Reach(const std::vector<std::set<int>>& to, int from, int without) {
  std::vector<bool> reached(to.size(), false);
  std::vector<int> pending;
  if (from != without) pending.push_back(from);
  while (!pending.empty()) {
    const int v = pending.back();
    pending.pop_back();
    if (reached[v]) continue;
    reached[v] = true;
    for (const int t : to[v]) {
      if (t != without) pending.push_back(t);
    }
  }
  return reached;
}

std::vector<PlainBlock> PlainBlocks(const std::vector<std::set<int>>& to) {
  const int n = static_cast<int>(to.size());
  std::vector<std::vector<bool>> dominates(n), post_dominates(n, std::vector<bool>(n));
  for (int d = 0; d < n; ++d) {
    dominates[d] = Reach(to, 0, d);  // not reached without d
    dominates[d].flip();
    for (int v = 0; v < n; ++v) post_dominates[d][v] = d == v || !Reach(to, v, d)[n - 1];
  }
  std::vector<PlainBlock> blocks;
  for (int u = 0; u < n; ++u) {
    for (int j = u + 1; j < n; ++j) {
      if (to[u].size() < 2 || !dominates[u][j] || !post_dominates[j][u]) continue;
      PlainBlock block{u, j, {}};
      bool smallest = true;
      for (int v = u + 1; v <= j; ++v) {
        if (dominates[u][v] && post_dominates[j][v]) block.nodes.insert(v);
        smallest = smallest && !(v < j && dominates[u][v] && dominates[v][j]) &&
                   !(v < j && post_dominates[v][u] && post_dominates[j][v]);
      }
      if (smallest) blocks.push_back(std::move(block));
    }
  }
  return blocks;
}

TEST(BlocksPropertyTest, AgreesWithTheDefinitionOnRandomGraphs) {
  std::mt19937 random(7);
  size_t blocks_seen = 0, nested_seen = 0;
  for (int round = 0; round < 1500; ++round) {
    const int n = 3 + static_cast<int>(random() % 14);
    Graph graph;
    const Type type = Type::Tensor(DType::kFloat32, {4});
    std::vector<ValueId> values = {graph.AddValue("x", type, ValueKind::kInput)};
    graph.inputs = values;
    std::vector<std::set<int>> to(n);
    for (int v = 1; v < n; ++v) {
      Node node{.op = {.type = "Concat"}, .name = absl::StrCat("n", v)};
      // The last node reads what nobody read yet, so that all paths end there.
      for (int f = 0; f < v; ++f) {
        const bool near = random() % (v - f + 1) == 0;
        if (v == n - 1 ? to[f].empty() : near || (f == v - 1 && random() % 4 != 0)) {
          node.inputs.push_back(values[f]);
          to[f].insert(v);
        }
      }
      if (node.inputs.empty()) {
        node.inputs.push_back(values[v - 1]);
        to[v - 1].insert(v);
      }
      values.push_back(graph.AddValue(absl::StrCat("v", v), type));
      node.outputs = {values.back()};
      graph.AddNode(std::move(node));
    }
    const BlockTable table = FindBlocks(graph);
    std::set<std::set<int>> found, expected;
    std::set<std::pair<int, int>> found_ends, expected_ends;
    for (const Block& block : table.blocks) {
      std::set<int> nodes;
      for (const NodeId id : table.NodesOf(block)) nodes.insert(id + 1);
      found.insert(nodes);
      found_ends.insert({block.entry, block.exit + 1});
      if (block.parent == kNoBlock) continue;
      ++nested_seen;
      const auto outer = table.NodesOf(table.blocks[block.parent]);
      for (const NodeId id : table.NodesOf(block)) EXPECT_THAT(outer, ::testing::Contains(id));
    }
    for (const PlainBlock& block : PlainBlocks(to)) {
      expected.insert(block.nodes);
      expected_ends.insert({values[block.entry], block.exit});
    }
    EXPECT_EQ(found, expected) << "round " << round;
    EXPECT_EQ(found_ends, expected_ends) << "round " << round;
    for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes.size()); ++id) {
      size_t smallest = graph.nodes.size() + 1;
      for (const std::set<int>& nodes : expected) {
        if (nodes.count(id + 1) > 0) smallest = std::min(smallest, nodes.size());
      }
      const int32_t innermost = table.InnermostOf(id);
      EXPECT_EQ(innermost == kNoBlock ? graph.nodes.size() + 1 : table.blocks[innermost].num_nodes, smallest);
    }
    blocks_seen += table.blocks.size();
  }
  EXPECT_GT(blocks_seen, 500u);
  EXPECT_GT(nested_seen, 50u);
}

// 100,000 nodes, nested 20,000 deep: anything quadratic would take minutes.
TEST(BlocksPropertyTest, DeepNestingIsNotQuadratic) {
  Graph graph;
  const Type type = Type::Tensor(DType::kFloat32, {4});
  std::vector<ValueId> skips = {graph.AddValue("x", type, ValueKind::kInput)};
  graph.inputs = skips;
  const auto op = [&](absl::string_view name, std::initializer_list<ValueId> inputs) {
    Node node{.op = {.type = std::string(name)}, .inputs = inputs, .name = absl::StrCat("n", graph.nodes.size())};
    node.outputs = {graph.AddValue(absl::StrCat("v", graph.values.size()), type)};
    graph.AddNode(node);
    return node.outputs[0];
  };
  constexpr int kDepth = 20000;
  for (int i = 0; i < kDepth; ++i) skips.push_back(op("Relu", {op("Relu", {op("Relu", {skips.back()})})}));
  ValueId y = skips.back();
  for (int i = kDepth - 1; i >= 0; --i) y = op("Relu", {op("Concat", {skips[i], y})});
  const BlockTable table = FindBlocks(graph);
  ASSERT_EQ(table.blocks.size(), kDepth);
  EXPECT_EQ(table.blocks.back().depth, kDepth - 1);
  EXPECT_EQ(table.nodes.size(), graph.nodes.size() - 1);
}

}  // namespace
}  // namespace reusescope
