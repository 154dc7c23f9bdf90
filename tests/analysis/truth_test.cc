// Whole models against what PyTorch counted on them: parameters, contraction FLOPs of forward and backward, and the
// bytes that autograd keeps. testdata/truth.tsv was written by PyTorch 2.13 (models/README.md says how).

#include <fstream>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

struct Truth {
  int64_t parameters, forward_flops, backward_flops, saved_activation_bytes, saved_input_bytes;
};

int64_t ToInt(absl::string_view text) {
  int64_t value = -1;
  EXPECT_TRUE(absl::SimpleAtoi(text, &value)) << text;
  return value;
}

// By model, mode and batch.
const std::map<std::tuple<std::string, std::string, int64_t>, Truth>& Truths() {
  static const auto* const truths = [] {
    auto* table = new std::map<std::tuple<std::string, std::string, int64_t>, Truth>;
    std::ifstream file(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/tests/analysis/testdata/truth.tsv"));
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      const std::vector<std::string> cells = absl::StrSplit(line, '\t');
      (*table)[{cells[0], cells[1], ToInt(cells[2])}] = {ToInt(cells[3]), ToInt(cells[4]), ToInt(cells[5]),
                                                         ToInt(cells[6]), ToInt(cells[7])};
    }
    return table;
  }();
  return *truths;
}

struct Case {
  std::string file;   // in models/
  std::string model;  // in the truths
  std::string mode;
  std::vector<int64_t> batches;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.file; }

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  std::string name = info.param.file;
  for (char& c : name) c = absl::ascii_isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

Analysis AnalyzeAt(const std::string& file, int64_t batch) {
  AnalysisOptions options;
  options.shapes.batch = batch;
  options.loss = Loss::kNone;  // the truths are of the model alone
  options.dropout_mask_bytes = 4;
  absl::StatusOr<Model> model = LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", file));
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return analysis.ok() ? *std::move(analysis) : Analysis{};
}

int64_t ContractionFlops(const Analysis& analysis, Phase phase) {
  int64_t total = 0;
  for (const KernelCost& kernel : analysis.cost.kernels) {
    if (kernel.phase == phase) total += kernel.contraction_flops;
  }
  return total;
}

class TruthTest : public testing::TestWithParam<Case> {};

// Forward and backward, every file, both batch sizes: PyTorch's FlopCounterMode with attention as products.
TEST_P(TruthTest, ContractionFlopsEqualPyTorch) {
  for (int64_t batch : GetParam().batches) {
    const Truth& truth = Truths().at({GetParam().model, GetParam().mode, batch});
    const Analysis analysis = AnalyzeAt(GetParam().file, batch);
    EXPECT_EQ(ContractionFlops(analysis, Phase::kForward), truth.forward_flops) << "batch " << batch;
    EXPECT_EQ(ContractionFlops(analysis, Phase::kBackward), truth.backward_flops) << "batch " << batch;
    EXPECT_THAT(analysis.coverage.unknown_operators, testing::IsEmpty());
  }
}

// Only what takes part in a contraction is exact in a folded export; the parameters of folded normalizations are gone.
std::vector<Case> AllModels() {
  return {{"alexnet.ts11.eval.onnx", "alexnet", "eval", {1, 32}},
          {"bert_base.dynamo18.eval.onnx", "bert_base", "eval", {1, 32}},
          {"bert_base.ts17.train.onnx", "bert_base", "train", {1, 32}},
          {"convnext_tiny.dynamo18.eval.onnx", "convnext_tiny", "eval", {1, 32}},
          {"deeplabv3_resnet50.ts17.eval.onnx", "deeplabv3_resnet50", "eval", {2, 8}},
          {"densenet121.ts17.train.onnx", "densenet121", "train", {1, 32}},
          {"dlrm_small.ts17.train.onnx", "dlrm_small", "train", {1, 2048}},
          {"efficientnet_b0.dynamo18.eval.onnx", "efficientnet_b0", "eval", {1, 32}},
          {"gpt2.dynamo18.eval.onnx", "gpt2", "eval", {1, 8}},
          {"gpt2.dynamo23.eval.onnx", "gpt2", "eval", {1, 8}},
          {"inception_v3.ts17.train.onnx", "inception_v3", "train", {1, 32}},
          {"inception_v4.ts17.train.onnx", "inception_v4", "train", {1, 32}},
          {"lenet5.onnx", "lenet5", "train", {1, 32}},
          {"llama3_8b.dynamo18.eval.onnx", "llama3_8b", "eval", {1}},
          {"mobilenet_v2.ts17.train.onnx", "mobilenet_v2", "train", {1, 32}},
          {"resnet101.ts17.train.onnx", "resnet101", "train", {1, 32}},
          {"resnet152.ts17.train.onnx", "resnet152", "train", {1, 32}},
          {"resnet18.onnx", "resnet18", "eval", {1, 32}},
          {"resnet50.dynamo18.eval.onnx", "resnet50", "eval", {1, 32}},
          {"resnet50.onnx", "resnet50", "train", {1, 32}},
          {"resnet50.ts17.eval.onnx", "resnet50", "eval", {1, 32}},
          {"swin_t.dynamo18.eval.onnx", "swin_t", "eval", {1, 32}},
          {"t5_small.ts17.eval.onnx", "t5_small", "eval", {1, 32}},
          {"tinyllama_1b.dynamo18.eval.onnx", "tinyllama_1b", "eval", {1, 4}},
          {"unet.ts17.train.onnx", "unet", "train", {1, 8}},
          {"vgg16.onnx", "vgg16", "train", {1, 32}},
          {"vit_b_16.dynamo20.eval.onnx", "vit_b_16", "eval", {1, 32}},
          {"vit_b_16.ts17.train.onnx", "vit_b_16", "train", {1, 32}},
          {"whisper_tiny.dynamo18.eval.onnx", "whisper_tiny", "eval", {1, 8}}};
}

INSTANTIATE_TEST_SUITE_P(Models, TruthTest, testing::ValuesIn(AllModels()), NameOf);

// PyTorch's counter knows no LSTM, so the truth of lstm_lm is its last Linear alone. Two layers of 650, 35 steps:
// 4 gates, input and recurrent products of 650 x 650 each, 2 FLOPs a MAC.
TEST(TruthOfLstm, IsTheLinearAloneAndOursAddsTheRecurrence) {
  for (int64_t batch : {1, 32}) {
    const Truth& truth = Truths().at({"lstm_lm", "train", batch});
    const Analysis analysis = AnalyzeAt("lstm_lm.ts17.train.onnx", batch);
    const int64_t recurrence = 2 * 35 * batch * 4 * 650 * (650 + 650) * 2;
    EXPECT_EQ(ContractionFlops(analysis, Phase::kForward), truth.forward_flops + recurrence);
    EXPECT_EQ(ContractionFlops(analysis, Phase::kBackward), truth.backward_flops + 2 * recurrence);
  }
}

class UnfoldedTest : public testing::TestWithParam<Case> {};

TEST_P(UnfoldedTest, ParametersEqualPyTorch) {
  const Truth& truth = Truths().at({GetParam().model, GetParam().mode, GetParam().batches[0]});
  EXPECT_EQ(AnalyzeAt(GetParam().file, 1).facts.parameters, truth.parameters);
}

INSTANTIATE_TEST_SUITE_P(Models, UnfoldedTest, testing::ValuesIn([] {
                           std::vector<Case> unfolded;
                           for (const Case& c : AllModels()) {
                             const bool trained = c.mode == "train";
                             const bool nothing_to_fold = c.model == "alexnet" || c.model == "bert_base" ||
                                                          c.model == "t5_small" || c.model == "tinyllama_1b" ||
                                                          c.model == "llama3_8b";
                             if (trained || nothing_to_fold) unfolded.push_back(c);
                           }
                           unfolded.push_back({"lstm_lm.ts17.train.onnx", "lstm_lm", "train", {1}});
                           return unfolded;
                         }()),
                         NameOf);

// What autograd keeps, with float32 dropout masks as on the CPU where the truths were measured.
int64_t EagerBytes(const Analysis& analysis) {
  return analysis.memory.stash.eager_bytes + analysis.memory.stash.eager_input_bytes;
}

class EagerStashOfCnnTest : public testing::TestWithParam<Case> {};

TEST_P(EagerStashOfCnnTest, EqualsPyTorch) {
  for (int64_t batch : GetParam().batches) {
    const Truth& truth = Truths().at({GetParam().model, GetParam().mode, batch});
    EXPECT_EQ(EagerBytes(AnalyzeAt(GetParam().file, batch)), truth.saved_activation_bytes + truth.saved_input_bytes)
        << "batch " << batch;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EagerStashOfCnnTest, testing::ValuesIn([] {
                           std::vector<Case> exact;
                           for (const Case& c : AllModels()) {
                             const bool cnn = c.mode == "train" && c.model != "bert_base";
                             if (cnn || c.model == "alexnet" || c.model == "convnext_tiny") exact.push_back(c);
                           }
                           return exact;
                         }()),
                         NameOf);

class EagerStashOfTransformerTest : public testing::TestWithParam<Case> {};

// Within 10 %; models/README.md names what the differences are.
TEST_P(EagerStashOfTransformerTest, IsWithinTenPercentOfPyTorch) {
  for (int64_t batch : GetParam().batches) {
    const Truth& truth = Truths().at({GetParam().model, GetParam().mode, batch});
    const auto expected = static_cast<double>(truth.saved_activation_bytes + truth.saved_input_bytes);
    EXPECT_NEAR(static_cast<double>(EagerBytes(AnalyzeAt(GetParam().file, batch))), expected, 0.1 * expected)
        << "batch " << batch;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EagerStashOfTransformerTest, testing::ValuesIn([] {
                           std::vector<Case> transformers;
                           for (const Case& c : AllModels()) {
                             for (absl::string_view model : {"bert_base", "gpt2", "llama3_8b", "swin_t", "t5_small",
                                                             "tinyllama_1b", "vit_b_16", "whisper_tiny"}) {
                               if (c.model == model) transformers.push_back(c);
                             }
                           }
                           return transformers;
                         }()),
                         NameOf);

}  // namespace
}  // namespace reusescope
