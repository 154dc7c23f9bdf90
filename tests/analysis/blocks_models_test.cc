// Blocks of real exports: what their papers and source files say they are made of.

#include <array>
#include <string>
#include <vector>

#include "analysis/measure/blocks.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;

TrainingGraph Build(const std::string& file) {
  absl::StatusOr<Model> model = LoadModel(REUSESCOPE_SOURCE_DIR "/models/" + file);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  std::vector<std::string> notes;
  absl::StatusOr<TrainingGraph> training = BuildGraph(*std::move(model), {}, Stage::kRecognize, notes);
  EXPECT_TRUE(training.ok()) << training.status();
  return training.ok() ? *std::move(training) : TrainingGraph{};
}

struct Expectation {
  std::string file;
  std::array<int, kNumBlockKinds> blocks;  // residual, dense, branch, gated, attention
  std::vector<int> top_level_groups;       // blocks of every group that is nested in no other
};

std::vector<int> TopLevelGroups(const BlockTable& table) {
  std::vector<int> counts;
  for (const BlockGroup& group : table.groups) {
    if (group.parent == kNoBlock) counts.push_back(group.count);
  }
  return counts;
}

class BlocksOfModelsTest : public ::testing::TestWithParam<Expectation> {};

TEST_P(BlocksOfModelsTest, AreThoseOfThePaper) {
  const TrainingGraph training = Build(GetParam().file);
  const BlockTable table = FindBlocks(training.graph);
  std::array<int, kNumBlockKinds> blocks = {};
  for (const Block& block : table.blocks) ++blocks[static_cast<int>(block.kind)];
  EXPECT_EQ(blocks, GetParam().blocks) << "residual, dense, branch, gated, attention";
  EXPECT_EQ(TopLevelGroups(table), GetParam().top_level_groups);
}

INSTANTIATE_TEST_SUITE_P(Models, BlocksOfModelsTest,
                         ::testing::Values(
                             // No forks at all.
                             Expectation{"lenet5.onnx", {}, {}}, Expectation{"vgg16.onnx", {}, {}},
                             // He et al. 2016, table 1.
                             Expectation{"resnet18.onnx", {2 + 2 + 2 + 2}, {2, 2, 2, 2}},
                             Expectation{"resnet50.onnx", {3 + 4 + 6 + 3}, {3, 4, 6, 3}},
                             Expectation{"resnet152.ts17.train.onnx", {3 + 8 + 36 + 3}, {3, 8, 36, 3}},
                             // Sandler et al. 2018, table 2: of n bottlenecks, all but the first keep their shape.
                             Expectation{"mobilenet_v2.ts17.train.onnx", {1 + 2 + 3 + 2 + 2}, {1, 2, 3, 2, 2}},
                             // Huang et al. 2017: four dense blocks.
                             Expectation{"densenet121.ts17.train.onnx", {0, 4}, {1, 1, 1, 1}},
                             // Szegedy et al. 2016: 5b; 5c 5d; 6a; 6b to 6e; 7a; 7b 7c.
                             Expectation{"inception_v3.ts17.train.onnx", {0, 0, 3 + 1 + 4 + 1 + 2}, {1, 2, 1, 4, 1, 2}},
                             // Four skip connections, each around the next.
                             Expectation{"unet.ts17.train.onnx", {0, 4}, {1}},
                             // 16 inverted bottlenecks, each with squeeze-and-excitation, 9 of them residual.
                             Expectation{"efficientnet_b0.dynamo18.eval.onnx",
                                         {9, 0, 0, 16},
                                         // Stages of 1, 2, 2, 3, 3, 4, 1: the first of each is gated only.
                                         {1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 3, 1}},
                             // 12 layers, each an attention and an MLP with a residual connection.
                             Expectation{"bert_base.ts17.train.onnx", {2 * 12, 0, 0, 0, 12}, {12, 12}},
                             Expectation{"vit_b_16.ts17.train.onnx", {2 * 12, 0, 0, 0, 12}, {12, 12}},
                             Expectation{"gpt2.dynamo18.eval.onnx", {2 * 12, 0, 0, 0, 12}, {12, 12}}),
                         [](const auto& info) {
                           std::string name = info.param.file.substr(0, info.param.file.find('.'));
                           return name;
                         });

TEST(BlocksOfResNet50Test, CarryTheNamesOfTheModel) {
  const BlockTable table = FindBlocks(Build("resnet50.onnx").graph);
  EXPECT_THAT(table.groups, ElementsAre(Field(&BlockGroup::name, "layer1"), Field(&BlockGroup::name, "layer2"),
                                        Field(&BlockGroup::name, "layer3"), Field(&BlockGroup::name, "layer4")));
  ASSERT_EQ(table.blocks.size(), 16u);
  EXPECT_EQ(table.blocks[3].name, "layer2.0");
  EXPECT_EQ(table.blocks[3].num_nodes, 3 + 3 + 2 + 2 + 1)
      << "three convolutions and norms, two relus, a projection, Add";
  EXPECT_EQ(table.blocks[4].num_nodes, 3 + 3 + 2 + 1);
}

TEST(BlocksOfSwinTest, EveryLayerIsAnAttentionAndAnMlp) {
  const BlockTable table = FindBlocks(Build("swin_t.dynamo18.eval.onnx").graph);
  int residual = 0, attention = 0;
  for (const Block& block : table.blocks) {
    residual += block.kind == BlockKind::kResidual;
    if (block.kind != BlockKind::kAttention) continue;
    ++attention;
    ASSERT_NE(block.parent, kNoBlock);
    EXPECT_EQ(table.blocks[block.parent].kind, BlockKind::kResidual) << block.name;
  }
  EXPECT_EQ(residual, 2 * (2 + 2 + 6 + 2));
  EXPECT_EQ(attention, 2 + 2 + 6 + 2);
}

TEST(BlocksOfT5Test, CrossAttentionIsAnAttentionThoughNoRegionOfOneEntry) {
  const BlockTable table = FindBlocks(Build("t5_small.ts17.eval.onnx").graph);
  EXPECT_THAT(table.groups,
              ::testing::Contains(AllOf(Field(&BlockGroup::kind, BlockKind::kAttention), Field(&BlockGroup::count, 6),
                                        Field(&BlockGroup::parent, kNoBlock))));
}

}  // namespace
}  // namespace reusescope
