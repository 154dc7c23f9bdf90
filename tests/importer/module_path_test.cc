#include "importer/module_path.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "analysis/ir/graph.h"
#include "importer/load_model.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

struct NameCase {
  const char* node;
  const char* module;
};

TEST(ModuleFromNodeNameTest, NamesTheModulesOfTorchScriptExports) {
  const NameCase cases[] = {
      {"/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"},
      {"/layer4/layer4.0/downsample/downsample.1/BatchNormalization", "layer4.0.downsample.1"},
      {"/features/features.4/conv/conv.1/conv.1.0/Conv", "features.4.conv.1.0"},
      {"/m/classifier/classifier.0/convs.4/Constant_2", "m.classifier.0.convs.4"},
      {"/m/bert/encoder/layer.0/attention/self/query/MatMul", "m.bert.encoder.layer.0.attention.self.query"},
      {"/m/encoder/block.0/layer.0/SelfAttention/Gather", "m.encoder.block.0.layer.0.SelfAttention"},
      {"/encoder/layers/encoder_layer_0/self_attention/Add", "encoder.layers.encoder_layer_0.self_attention"},
      {"/features/denseblock1/denselayer6/conv1/Conv", "features.denseblock1.denselayer6.conv1"},
      {"/Mixed_6b/branch7x7dbl_4/bn/BatchNormalization", "Mixed_6b.branch7x7dbl_4.bn"},
      {"/d.0/d.0.2/Relu", "d.0.2"},
      {"/u.1/ConvTranspose", "u.1"},
      {"/l/LSTM", "l"},
      {"/conv1/conv10/Conv", "conv1.conv10"},  // a parent's name is repeated only up to a dot
      {"/AveragePool", ""},
      {"Constant_635", ""},
      {"Conv_12", ""},
      {"model/conv1/Conv2D", ""},  // another exporter's
      {"", ""},
      {"/", ""},
      {"//a//Relu", "a"},
  };
  for (const NameCase& c : cases) EXPECT_EQ(ModuleFromNodeName(c.node), c.module) << c.node;
}

TEST(ModuleFromNodeNameTest, LeavesAbsurdlyDeepNamesAlone) {
  std::string name;
  for (int i = 0; i < 10000; ++i) name += "/a";
  EXPECT_EQ(ModuleFromNodeName(name), "");
}

// A chain of nodes of these names; each reads `p<i>`, an initializer of the i-th parameter name.
Graph ChainOf(const std::vector<std::string>& nodes, const std::vector<std::string>& parameters) {
  Graph graph;
  for (const std::string& name : parameters) graph.AddValue(name, Type{}, ValueKind::kParameter);
  for (const std::string& name : nodes) {
    const ValueId output = graph.AddValue(absl::StrCat(name, "_output"), Type{});
    graph.AddNode({.op = {"", "Relu", 17}, .outputs = {output}, .name = name});
  }
  AssignModulesFromNodeNames(graph);
  return graph;
}

TEST(AssignModulesFromNodeNamesTest, DropsTheNumberOfARepeatedCall) {
  const Graph graph = ChainOf({"/layer1/layer1.0/relu/Relu", "/layer1/layer1.0/relu_1/Relu", "/relu_2/Relu"}, {});
  EXPECT_EQ(graph.node(0).module, "layer1.0.relu");
  EXPECT_EQ(graph.node(1).module, "layer1.0.relu");
  EXPECT_EQ(graph.node(2).module, "relu_2") << "no module 'relu' at the root";
}

TEST(AssignModulesFromNodeNamesTest, KeepsANumberThatBelongsToTheName) {
  const Graph graph = ChainOf({"/a/conv/Conv", "/a/conv_1/Conv", "/a/conv_1/inner/Relu"}, {"a.conv_1.weight"});
  EXPECT_EQ(graph.node(1).module, "a.conv_1");
  EXPECT_EQ(graph.node(2).module, "a.conv_1.inner");
}

// Modules as in named_modules(): in an export in which nothing was folded every layer owns its parameters.
TEST(AssignModulesFromNodeNamesTest, LayersOfRealExportsOwnTheirParameters) {
  for (const char* name : {"lenet5", "vgg16"}) {
    const absl::StatusOr<Model> model = LoadModel(ModelPath(name));
    ASSERT_TRUE(model.ok()) << model.status();
    int parameters = 0;
    for (const Node& node : model->graph.nodes) {
      for (ValueId input : node.inputs) {
        const std::string& parameter = model->graph.value(input).original_name;
        if (parameter.empty()) continue;
        ++parameters;
        EXPECT_EQ(node.module, parameter.substr(0, parameter.rfind('.'))) << node.name;
      }
    }
    EXPECT_EQ(parameters, std::string(name) == "lenet5" ? 2 * 5 : 2 * 16);
  }
}

TEST(AssignModulesFromNodeNamesTest, NamesOfTheNewerExporterComeFromMetadata) {
  const absl::StatusOr<Model> model = LoadModel(ModelPath("resnet18"));
  ASSERT_TRUE(model.ok()) << model.status();
  std::string modules;
  for (const Node& node : model->graph.nodes) {
    if (node.op.type == "Conv" || node.op.type == "Gemm") absl::StrAppend(&modules, node.module, " ");
  }
  // Batch normalization was folded into the convolutions, whose place in the tree is then its own.
  EXPECT_EQ(modules.substr(0, 46), "bn1 layer1.0.bn1 layer1.0.bn2 layer1.1.bn1 lay");
  EXPECT_EQ(modules.substr(modules.size() - 4), " fc ");
}

}  // namespace
}  // namespace reusescope
