#include "importer/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

TEST(ParsePythonStringListTest, ReadsWhatReprPrints) {
  EXPECT_THAT(ParsePythonStringList("['', 'm', 'm.bert']"), Optional(ElementsAre("", "m", "m.bert")));
  EXPECT_THAT(ParsePythonStringList("[]"), Optional(IsEmpty()));
  EXPECT_THAT(ParsePythonStringList(" [\"it's\", 'a\\'b', 'c, d'] "), Optional(ElementsAre("it's", "a'b", "c, d")));
}

TEST(ParsePythonStringListTest, RefusesAnythingElse) {
  for (const char* text : {"", "[", "]", "'a'", "['a'", "['a]", "['a' 'b']", "[a]", "['a\\", "{'a'}", "[1, 2]"}) {
    EXPECT_EQ(ParsePythonStringList(text), std::nullopt) << text;
  }
}

TEST(ModuleFromNameScopesTest, TakesTheLastScopeButTheNodesOwn) {
  EXPECT_EQ(ModuleFromNameScopes("['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_3']"), "layer1.0.conv1");
  EXPECT_EQ(ModuleFromNameScopes("['', 'm', 'm.model.decoder', 'm.model.decoder.layers.11.self_attn', 'transpose_59']"),
            "m.model.decoder.layers.11.self_attn");
  EXPECT_EQ(ModuleFromNameScopes("['', 'flatten']"), "");
  EXPECT_EQ(ModuleFromNameScopes("['flatten']"), "");
  EXPECT_EQ(ModuleFromNameScopes("[]"), "");
  EXPECT_EQ(ModuleFromNameScopes("no list"), "");
}

TEST(IsDottedNameTest, TellsMembersOfAModuleTreeFromOtherNames) {
  for (const char* name : {"fc.weight", "features.0.0.weight", "m.bert.embeddings.position_ids"}) {
    EXPECT_TRUE(IsDottedName(name)) << name;
  }
  for (const char* name : {"", "val_12", "onnx::Conv_497", "/l/Constant_output_0", "a..b", ".a", "a.", "x.y:0", "."}) {
    EXPECT_FALSE(IsDottedName(name)) << name;
  }
}

struct ClassifyCase {
  InitializerMetadata metadata;
  const char* name;
  DType dtype;
  ValueKind kind;
  KindEvidence evidence;
  const char* original_name;
};

// Every form that PyTorch 2.13's exporters write; the names are theirs.
TEST(ClassifyInitializerTest, GoesByMetadataAndElseLeavesTheDecisionOpen) {
  constexpr auto kMetadata = KindEvidence::kMetadata;
  constexpr auto kNone = KindEvidence::kNone;
  const ClassifyCase cases[] = {
      {{"PARAMETER", ""}, "class_token", DType::kFloat32, ValueKind::kParameter, kMetadata, "class_token"},
      {{"BUFFER", ""}, "m.bert.ids", DType::kInt64, ValueKind::kBuffer, kMetadata, "m.bert.ids"},
      {{"CONSTANT_TENSOR", ""}, "lifted_0", DType::kFloat32, ValueKind::kBuffer, kMetadata, "lifted_0"},
      {{"", "['a.query.weight']"}, "val_56", DType::kFloat32, ValueKind::kParameter, kMetadata, "a.query.weight"},
      {{"", "['a.weight']"}, "val_5", DType::kInt8, ValueKind::kBuffer, kMetadata, "a.weight"},
      {{"", "['bn.running_var']"}, "val_5", DType::kFloat32, ValueKind::kBuffer, kMetadata, "bn.running_var"},
      {{"", "['val_43']"}, "val_44", DType::kFloat32, ValueKind::kConstant, kMetadata, ""},
      {{"", "['p']"}, "val_1", DType::kFloat32, ValueKind::kConstant, kNone, "p"},
      {{"", "['a.weight', 'val_6']"}, "val_7", DType::kFloat32, ValueKind::kParameter, kMetadata, "a.weight"},
      {{"", "['a.weight', 'b.weight']"}, "val_7", DType::kFloat32, ValueKind::kParameter, kMetadata, ""},
      {{"", "['a.weight', 'b.table']"}, "val_7", DType::kFloat32, ValueKind::kConstant, kMetadata, ""},
      {{"", "['g.weight_ih_l0', 'val_1']"},
       "val_7",
       DType::kFloat32,
       ValueKind::kParameter,
       kMetadata,
       "g.weight_ih_l0"},
      {{"", "['g.bias_hh_l0', 'g.bias_ih_l0', 'val_2']"}, "v", DType::kFloat32, ValueKind::kParameter, kMetadata, ""},
      {{"", "['arange', 'rotary.inv_freq']"}, "val_9", DType::kFloat32, ValueKind::kConstant, kMetadata, ""},
      {{"", "garbage"}, "val_8", DType::kFloat32, ValueKind::kConstant, kNone, ""},
      {{"", ""}, "layer1.0.conv1.weight", DType::kFloat32, ValueKind::kConstant, kNone, "layer1.0.conv1.weight"},
      {{"", ""}, "onnx::Conv_497", DType::kFloat32, ValueKind::kConstant, kNone, ""},
  };
  for (const ClassifyCase& c : cases) {
    const InitializerClass found = ClassifyInitializer(c.metadata, c.name, c.dtype);
    EXPECT_EQ(found.kind, c.kind) << c.name << " " << c.metadata.folded_from;
    EXPECT_EQ(found.evidence, c.evidence) << c.name << " " << c.metadata.folded_from;
    EXPECT_EQ(found.original_name, c.original_name) << c.name << " " << c.metadata.folded_from;
  }
}

}  // namespace
}  // namespace reusescope
