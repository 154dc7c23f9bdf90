// Whole models against what PyTorch counted on them: parameters, contraction FLOPs of forward and backward, and the bytes
// that autograd keeps. testdata/truth.tsv was written by PyTorch 2.13 (models/README.md says how).

#include <fstream>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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

TEST_P(TruthTest, ContractionFlopsEqualPyTorch) {
  for (int64_t batch : GetParam().batches) {
    const Truth& truth = Truths().at({GetParam().model, GetParam().mode, batch});
    const Analysis analysis = AnalyzeAt(GetParam().file, batch);
    EXPECT_EQ(ContractionFlops(analysis, Phase::kForward), truth.forward_flops) << "batch " << batch;
    EXPECT_EQ(ContractionFlops(analysis, Phase::kBackward), truth.backward_flops) << "batch " << batch;
    EXPECT_THAT(analysis.coverage.unknown_operators, testing::IsEmpty());
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TruthTest,
                         testing::Values(Case{"lenet5.onnx", "lenet5", "train", {1, 32}},
                                         Case{"vgg16.onnx", "vgg16", "train", {1, 32}},
                                         Case{"resnet50.onnx", "resnet50", "train", {1, 32}}),
                         NameOf);

}  // namespace
}  // namespace reusescope
