// Parameters, operators put together again and attentions of every model in models/.
//
// `pytorch` is the number of parameters that PyTorch counts in the model (models/README.md); where the file has another
// number, `why` says what the exporter did to it.

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/verify.h"
#include "analysis/transform/find_parameters.h"
#include "analysis/transform/fold_constants.h"
#include "analysis/transform/recognize.h"
#include "analysis/transform/resolve_shapes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/recognized.h"

namespace reusescope {
namespace {

struct Expectation {
  std::string file;
  int64_t parameters;
  int64_t pytorch;
  std::string why = "";
  bool folded_batch_norm = false;
  int gelu = 0, silu = 0, layer_norm = 0, rms_norm = 0, attention = 0;
  int dropout = 0;  // that drop something
  int rotary = 0, swiglu = 0;
};

constexpr char kZeroBiases[] = "the exporter drops biases that are zero, as those of an untrained model are";

const Expectation kModels[] = {
    {.file = "alexnet.ts11.eval", .parameters = 61'100'840, .pytorch = 61'100'840},
    {.file = "bert_base.dynamo18.eval",
     .parameters = 109'514'298,
     .pytorch = 109'514'298,
     .gelu = 13,
     .layer_norm = 26,
     .attention = 12},
    {.file = "bert_base.ts17.train",
     .parameters = 109'514'298,
     .pytorch = 109'514'298,
     .gelu = 13,
     .layer_norm = 26,
     .attention = 12,
     .dropout = 37},
    // Biases of the stem, of 3 downsampling and 18 depthwise convolutions, and of the classifier.
    {.file = "convnext_tiny.dynamo18.eval",
     .parameters = 28'589'128 - (96 + 1344 + 6624 + 1000),
     .pytorch = 28'589'128,
     .why = kZeroBiases,
     .gelu = 18,
     .layer_norm = 23},
    {.file = "deeplabv3_resnet50.ts17.eval",
     .parameters = 39'638'869 - 2 * 28'352 + 28'352,
     .pytorch = 39'638'869,
     .why = "scale and shift of 28,352 normalized channels became one bias each",
     .folded_batch_norm = true},
    {.file = "densenet121.ts17.train", .parameters = 7'978'856, .pytorch = 7'978'856},
    {.file = "dlrm_small.ts17.train", .parameters = 51'538'241, .pytorch = 51'538'241},
    {.file = "efficientnet_b0.dynamo18.eval",
     .parameters = 5'288'548 - 2 * 21'008 - (9340 + 1000),
     .pytorch = 5'288'548,
     .why = "scale and shift of 21,008 normalized channels are folded away; zero biases of 32 squeeze-and-excitation "
            "convolutions and the classifier are dropped",
     .folded_batch_norm = true,
     .silu = 49},
    // Four Conv1D layers in each of 12 blocks: 2304 + 768 + 3072 + 768.
    {.file = "gpt2.dynamo18.eval",
     .parameters = 124'439'808 - 12 * 6912,
     .pytorch = 124'439'808,
     .why = kZeroBiases,
     .gelu = 12,
     .layer_norm = 25,
     .attention = 12},
    {.file = "gpt2.dynamo23.eval",
     .parameters = 124'439'808 - 12 * 6912,
     .pytorch = 124'439'808,
     .why = kZeroBiases,
     .gelu = 12,
     .layer_norm = 25,
     .attention = 12},
    {.file = "inception_v3.ts17.train", .parameters = 23'834'568, .pytorch = 23'834'568, .dropout = 1},
    {.file = "inception_v4.ts17.train", .parameters = 42'679'816, .pytorch = 42'679'816},
    {.file = "lenet5", .parameters = 61'706, .pytorch = 61'706},
    {.file = "llama3_8b.dynamo18.eval",
     .parameters = 8'030'261'248,
     .pytorch = 8'030'261'248,
     .silu = 32,
     .rms_norm = 65,
     .attention = 32,
     .rotary = 64,
     .swiglu = 32},
    {.file = "lstm_lm.ts17.train", .parameters = 19'780'400, .pytorch = 19'780'400},
    {.file = "mobilenet_v2.ts17.train", .parameters = 3'504'872, .pytorch = 3'504'872, .dropout = 1},
    {.file = "resnet101.ts17.train", .parameters = 44'549'160, .pytorch = 44'549'160},
    {.file = "resnet152.ts17.train", .parameters = 60'192'808, .pytorch = 60'192'808},
    {.file = "resnet18",
     .parameters = 11'689'512 - 2 * 4800,
     .pytorch = 11'689'512,
     .why = "scale and shift of 4,800 normalized channels are folded away; the biases that replace them are zero and "
            "dropped",
     .folded_batch_norm = true},
    {.file = "resnet50.dynamo18.eval",
     .parameters = 25'557'032 - 2 * 26'560,
     .pytorch = 25'557'032,
     .why = "scale and shift of 26,560 normalized channels are folded away; the biases that replace them are zero and "
            "dropped",
     .folded_batch_norm = true},
    {.file = "resnet50", .parameters = 25'557'032, .pytorch = 25'557'032},
    {.file = "resnet50.ts17.eval",
     .parameters = 25'557'032 - 2 * 26'560 + 26'560,
     .pytorch = 25'557'032,
     .why = "scale and shift of 26,560 normalized channels became one bias each",
     .folded_batch_norm = true},
    // 169 relative positions in the tables of 12 attentions with 138 heads together; the classifier's bias.
    {.file = "swin_t.dynamo18.eval",
     .parameters = 28'288'354 - (169 * 138 + 1000),
     .pytorch = 28'288'354,
     .why = "relative position tables are folded into what is looked up in them; the classifier's zero bias is dropped",
     .gelu = 12,
     .layer_norm = 29,
     .attention = 12},
    {.file = "t5_small.ts17.eval", .parameters = 60'506'624, .pytorch = 60'506'624, .rms_norm = 32, .attention = 18},
    {.file = "tinyllama_1b.dynamo18.eval",
     .parameters = 1'100'048'384,
     .pytorch = 1'100'048'384,
     .silu = 22,
     .rms_norm = 45,
     .attention = 22,
     .rotary = 44,
     .swiglu = 22},
    {.file = "unet.ts17.train", .parameters = 31'037'698, .pytorch = 31'037'698},
    {.file = "vgg16", .parameters = 138'357'544, .pytorch = 138'357'544, .dropout = 2},
    // Biases of the patch embedding, of 12 attention outputs and of the classifier.
    {.file = "vit_b_16.dynamo20.eval",
     .parameters = 86'567'656 - (768 + 12 * 768 + 1000),
     .pytorch = 86'567'656,
     .why = kZeroBiases,
     .gelu = 12,
     .layer_norm = 25,
     .attention = 12},
    {.file = "vit_b_16.ts17.train",
     .parameters = 86'567'656,
     .pytorch = 86'567'656,
     .gelu = 12,
     .layer_norm = 25,
     .attention = 12},
    // Biases of the two convolutions of the stem.
    {.file = "whisper_tiny.dynamo18.eval",
     .parameters = 37'760'640 - 2 * 384,
     .pytorch = 37'760'640,
     .why = kZeroBiases,
     .gelu = 10,
     .layer_norm = 22,
     .attention = 12},
};

std::string PathOf(absl::string_view file) { return absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", file, ".onnx"); }

class ModelTest : public ::testing::TestWithParam<Expectation> {};

TEST_P(ModelTest, ParametersAndOperators) {
  const Expectation& expected = GetParam();
  absl::StatusOr<Model> model = LoadModel(PathOf(expected.file));
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<std::string> notes;
  ASSERT_EQ(ResolveShapes(*model, {}, notes), absl::OkStatus());
  Graph& graph = model->graph;
  notes.clear();
  ASSERT_EQ(FindParameters(graph, {}, notes), absl::OkStatus());
  EXPECT_EQ(ParameterCount(graph), expected.parameters);
  EXPECT_EQ(expected.parameters == expected.pytorch, expected.why.empty());
  const bool folded = std::any_of(notes.begin(), notes.end(), [](const std::string& note) {
    return absl::StrContains(note, "looks like batch normalization was folded");
  });
  EXPECT_EQ(folded, expected.folded_batch_norm);

  ASSERT_EQ(FoldConstants(graph), absl::OkStatus());
  ASSERT_TRUE(Recognize(graph).ok());
  ASSERT_EQ(LowerComposites(graph), absl::OkStatus());
  EXPECT_EQ(Verify(graph, "recognize", /*resolved=*/true), absl::OkStatus());
  const auto count = [&](absl::string_view type) {
    return std::count_if(graph.order.begin(), graph.order.end(),
                         [&](NodeId id) { return graph.node(id).op.type == type; });
  };
  EXPECT_EQ(count("Gelu"), expected.gelu);
  EXPECT_EQ(count("Silu"), expected.silu);
  EXPECT_EQ(count("LayerNormalization"), expected.layer_norm);
  EXPECT_EQ(count("RMSNormalization"), expected.rms_norm);
  EXPECT_EQ(count("Dropout"), expected.dropout);
  EXPECT_EQ(count("Rotation"), expected.rotary);
  EXPECT_EQ(RegionOps(graph, "SwiGLU").size(), static_cast<size_t>(expected.swiglu));
  EXPECT_EQ(std::count_if(graph.regions.begin(), graph.regions.end(),
                          [](const Region& region) { return region.kind == "attention"; }),
            expected.attention);
  // Nothing that these are made of is left over.
  for (absl::string_view part : {"Erf", "Attention"}) EXPECT_EQ(count(part), 0) << part;
}

TEST_P(ModelTest, ContractionsCostTheSameRecognizedOrNot) {
  absl::StatusOr<Model> model = LoadModel(PathOf(GetParam().file)), again = LoadModel(PathOf(GetParam().file));
  ASSERT_TRUE(model.ok() && again.ok());
  EXPECT_EQ(ContractionFlops(*std::move(model), {}), ContractionFlops(*std::move(again), {.recognize = false}));
}

INSTANTIATE_TEST_SUITE_P(Models, ModelTest, ::testing::ValuesIn(kModels),
                         [](const ::testing::TestParamInfo<Expectation>& info) {
                           std::string name = info.param.file;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(ModelTableTest, CoversEveryModelOfTheFolder) {
  std::set<std::string> expected, found;
  for (const Expectation& model : kModels) expected.insert(model.file);
  for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models"))) {
    if (entry.path().extension() == ".onnx") found.insert(entry.path().stem());
  }
  EXPECT_EQ(expected, found);
}

}  // namespace
}  // namespace reusescope
