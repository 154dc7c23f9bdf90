// Mini-batch serialization: vectors by hand, and what must hold of every plan.

#include "analysis/measure/serialization.h"

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/measure/chain_groups.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

constexpr int64_t kMiB = 1 << 20;

Analysis AnalyzeModel(Model model, int64_t batch, PrecisionMode precision = PrecisionMode::kFp16) {
  AnalysisOptions options;
  options.shapes.batch = batch;
  options.precision = precision;
  options.optimizer = Optimizer::kSgd;
  absl::StatusOr<Analysis> analysis = Analyze(std::move(model), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return analysis.ok() ? *std::move(analysis) : Analysis{};
}

Analysis AnalyzeFile(const std::string& file, int64_t batch) {
  absl::StatusOr<Model> model = LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", file));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? AnalyzeModel(*std::move(model), batch) : Analysis{};
}

Serializer SerializerOf(const Analysis& analysis, int64_t batch, int64_t capacity, bool branch_reuse = true) {
  return Serializer::Make(analysis.training, analysis.cost, analysis.blocks,
                          {.batch = batch, .capacity_bytes = capacity, .branch_reuse = branch_reuse})
      .value();
}

const ChainLink& Link(const Serializer& serializer, absl::string_view name) {
  for (const ChainLink& link : serializer.chain()) {
    if (link.name == name) return link;
  }
  ADD_FAILURE() << "no link " << name;
  return serializer.chain().front();
}

int64_t Of(const TrafficByCause& by_cause, TrafficCause cause) { return by_cause[static_cast<size_t>(cause)]; }

// In 16 bit: 2 B * (3*224*224 + 64*112*112) a sample.
TEST(SerializationTest, FirstConvolutionOfResNet50TakesSevenIterations) {
  const Analysis analysis = AnalyzeFile("resnet50.onnx", 32);
  const Serializer serializer = SerializerOf(analysis, 32, 10 * kMiB);
  const SubBatches conv1 = Link(serializer, "/conv1/Conv").forward_alone;
  EXPECT_EQ(conv1.footprint_bytes, 1'906'688);
  EXPECT_EQ(conv1.sub_batch, 5);
  EXPECT_EQ(conv1.iterations, 7);
}

// Two layers x -> h -> y of 100, 200 and 300 numbers a sample, and a loss. Nothing but the hidden layer stays inside.
constexpr absl::string_view kTwoLayers = R"(
  mlp (float[N,100] x) => (float[N,300] y)
  <float[100,200] w1, float[200,300] w2>
  { h = MatMul (x, w1)
    y = MatMul (h, w2) }
)";

TEST(SerializationTest, TrafficOfTwoLayersByHand) {
  constexpr int64_t kBatch = 64;
  AnalysisOptions options;
  options.shapes.batch = kBatch;
  options.precision = PrecisionMode::kFp16;
  options.loss = Loss::kNone;  // the gradient of y is fed
  options.optimizer = Optimizer::kSgd;
  const Analysis analysis = Analyze(ParseOnnxText(kTwoLayers), options).value();
  // Forward holds h and y while the second product runs: 2 B * 500 a sample. Backward, dy, h and dh, or dh and x.
  const Serializer serializer = SerializerOf(analysis, kBatch, 16 * 1000);
  ASSERT_EQ(serializer.chain().size(), 2u);
  const SerialGroup both = serializer.GroupOf(0, 2).value();
  EXPECT_EQ(both.forward.footprint_bytes, 2 * (200 + 300));
  EXPECT_EQ(both.forward.sub_batch, 16);
  EXPECT_EQ(both.forward.iterations, 4);
  EXPECT_EQ(both.backward.footprint_bytes, 2 * (300 + 200 + 200));
  EXPECT_EQ(both.backward.sub_batch, 11);
  EXPECT_EQ(both.backward.iterations, 6);
  const SerialGroup first = serializer.GroupOf(0, 1).value();
  EXPECT_EQ(first.forward.footprint_bytes, 2 * (100 + 200));
  const int64_t w1 = 2 * 100 * 200, w2 = 2 * 200 * 300, x = 2 * kBatch * 100, h = 2 * kBatch * 200;
  const int64_t y = 2 * kBatch * 300;
  // Had the weights been small, this is what serializing moves; large as they are, kernel by kernel is less.
  const int64_t serialized = x + y + /*stash*/ h + h + x + /*dy*/ y + 4 * (w1 + w2) + 6 * w2 + (6 + 5) * (w1 + w2);
  const int64_t one_by_one = (x + w1 + h) + (h + w2 + y) + (y + w2 + h) + (h + y + w2) + (x + h + w1);
  ASSERT_LT(one_by_one, serialized);
  EXPECT_FALSE(both.serialized);
  EXPECT_EQ(both.bytes(), one_by_one);
  // With all of it on chip at once, the hidden layer and its gradient stay.
  const SerialGroup large = SerializerOf(analysis, kBatch, kMiB).GroupOf(0, 2).value();
  EXPECT_TRUE(large.serialized);
  EXPECT_EQ(Of(large.traffic_bytes, TrafficCause::kStash), h + h + x + /*dy, an input that backward reads*/ y);
  EXPECT_EQ(Of(large.traffic_bytes, TrafficCause::kFeatures), x + y);
  EXPECT_EQ(Of(large.traffic_bytes, TrafficCause::kGradients), 0);
  EXPECT_EQ(Of(large.traffic_bytes, TrafficCause::kWeights), w1 + w2 + w2);
  EXPECT_EQ(Of(large.traffic_bytes, TrafficCause::kWeightGradients), w1 + w2);
}

// A residual block whose shortcut skips two layers that do not shrink or grow: 2 B * 8*16*16 a tensor and sample.
constexpr absl::string_view kResidual = R"(
  net (float[N,8,16,16] x) => (float[N,8,16,16] y)
  <float[8,8,3,3] w0, float[8,8,3,3] w1, float[8,8,3,3] w2>
  { a = Conv <pads = [1, 1, 1, 1]> (x, w0)
    b = Conv <pads = [1, 1, 1, 1]> (a, w1)
    c = Relu (b)
    d = Conv <pads = [1, 1, 1, 1]> (c, w2)
    y = Add (a, d) }
)";

TEST(SerializationTest, ShortcutsAreKeptOrFetchedAgain) {
  constexpr int64_t kBatch = 16, kTensor = 2 * 8 * 16 * 16;
  AnalysisOptions options;
  options.shapes.batch = kBatch;
  options.precision = PrecisionMode::kFp16;
  options.mode = Mode::kInference;
  const Analysis analysis = Analyze(ParseOnnxText(kResidual), options).value();
  const Serializer kept = SerializerOf(analysis, kBatch, 6 * kTensor, true);
  const Serializer fetched = SerializerOf(analysis, kBatch, 6 * kTensor, false);
  ASSERT_EQ(kept.chain().size(), 2u) << "a convolution and a block";
  const SerialGroup with = kept.GroupOf(0, 2).value(), without = fetched.GroupOf(0, 2).value();
  EXPECT_EQ(with.forward.footprint_bytes, 3 * kTensor);     // the shortcut, and a layer's two
  EXPECT_EQ(without.forward.footprint_bytes, 3 * kTensor);  // the sum's three
  EXPECT_EQ(with.forward.sub_batch, 2);
  // x in and y out; without, the shortcut is written and fetched again.
  EXPECT_EQ(Of(with.traffic_bytes, TrafficCause::kFeatures), kBatch * 2 * kTensor);
  EXPECT_EQ(Of(without.traffic_bytes, TrafficCause::kFeatures), kBatch * 4 * kTensor);
}

TEST(SerializationTest, ABlockTooLargeForASampleIsOpened) {
  const Analysis analysis = AnalyzeModel(ParseOnnxText(kResidual), 16);
  constexpr int64_t kTensor = 2 * 8 * 16 * 16;
  const std::vector<ChainLink> whole = SerializerOf(analysis, 16, 8 * kTensor).chain();
  const std::vector<ChainLink> opened = SerializerOf(analysis, 16, 2 * kTensor).chain();
  EXPECT_TRUE(std::any_of(whole.begin(), whole.end(), [](const ChainLink& link) { return link.block != kNoBlock; }));
  EXPECT_TRUE(std::all_of(opened.begin(), opened.end(), [](const ChainLink& link) { return link.block == kNoBlock; }));
  EXPECT_GT(opened.size(), whole.size());
}

TEST(SerializationTest, NothingOnChipIsEveryKernelForItself) {
  const Analysis analysis = AnalyzeFile("lenet5.onnx", 8);
  for (const Grouping grouping : {Grouping::kGreedy, Grouping::kOptimal, Grouping::kLongest}) {
    const Serialization plan = SerializerOf(analysis, 8, 0).Plan(grouping);
    EXPECT_EQ(plan.traffic_bytes, analysis.lru.compulsory_bytes());
  }
}

TEST(SerializationTest, NamesWhatItCannotDo) {
  const Analysis analysis = AnalyzeFile("lenet5.onnx", 8);
  for (const SerializationOptions& options :
       {SerializationOptions{.batch = 0, .capacity_bytes = 1}, {.batch = 1, .capacity_bytes = -1}}) {
    EXPECT_EQ(Serializer::Make(analysis.training, analysis.cost, analysis.blocks, options).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// What must hold of every plan, on chains of real models.
struct Case {
  std::string file;
  int64_t batch;
  int64_t capacity_bytes;

  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.file << ", batch " << c.batch << ", " << c.capacity_bytes << " B";
  }
};

class SerializationOfModels : public testing::TestWithParam<Case> {};

TEST_P(SerializationOfModels, BooksAddUpAndNoPlanMovesMoreThanKernelsAlone) {
  const Analysis analysis = AnalyzeFile(GetParam().file, GetParam().batch);
  for (const bool branch_reuse : {false, true}) {
    const Serializer serializer = SerializerOf(analysis, GetParam().batch, GetParam().capacity_bytes, branch_reuse);
    const int64_t best = serializer.Plan(Grouping::kOptimal).traffic_bytes;
    for (const Grouping grouping : {Grouping::kLayers, Grouping::kGreedy, Grouping::kOptimal, Grouping::kLongest}) {
      const Serialization plan = serializer.Plan(grouping);
      int64_t of_kernels = 0, of_groups = 0;
      for (const KernelTraffic& kernel : plan.kernels) of_kernels += kernel.bytes();
      int end = 0;
      for (const SerialGroup& group : plan.groups) {
        EXPECT_EQ(group.first, end);
        end = group.end;
        of_groups += group.bytes();
        if (group.serialized) {
          EXPECT_LE(group.forward.footprint_bytes * group.forward.sub_batch, GetParam().capacity_bytes);
          EXPECT_LE(group.backward.footprint_bytes * group.backward.sub_batch, GetParam().capacity_bytes);
          EXPECT_GE(group.forward.iterations * group.forward.sub_batch, GetParam().batch);
        }
      }
      EXPECT_EQ(end, static_cast<int>(serializer.chain().size()));
      EXPECT_EQ(of_kernels, plan.traffic_bytes) << GroupingName(grouping);
      EXPECT_EQ(of_groups + Of(plan.by_cause, TrafficCause::kUpdate), plan.traffic_bytes);
      EXPECT_LE(plan.traffic_bytes, analysis.lru.compulsory_bytes());
      EXPECT_GE(plan.traffic_bytes, best) << GroupingName(grouping);
      EXPECT_GE(plan.traffic_bytes, analysis.lru.minimum_bytes());
    }
    if (serializer.chain().size() > 18) continue;
    EXPECT_EQ(serializer.Plan(Grouping::kExhaustive).traffic_bytes, best);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SerializationOfModels,
                         testing::Values(Case{"lenet5.onnx", 64, 64 << 10}, Case{"lenet5.onnx", 64, 1 << 20},
                                         Case{"alexnet.ts11.eval.onnx", 64, 10 * kMiB},
                                         Case{"resnet18.onnx", 16, 4 * kMiB}, Case{"resnet50.onnx", 32, 10 * kMiB},
                                         Case{"inception_v3.ts17.train.onnx", 8, 10 * kMiB},
                                         Case{"unet.ts17.train.onnx", 2, 10 * kMiB},
                                         Case{"vit_b_16.dynamo20.eval.onnx", 8, 32 * kMiB}));

TEST(SerializationTest, NormalizationOverTheBatchIsCounted) {
  const Analysis analysis = AnalyzeFile("resnet50.onnx", 32);
  const Serialization plan = SerializerOf(analysis, 32, 10 * kMiB).Plan(Grouping::kLongest);
  EXPECT_EQ(plan.batch_statistics, 53);  // all normalizations of ResNet-50
  const Serialization at_once = SerializerOf(analysis, 32, int64_t{1} << 40).Plan(Grouping::kLongest);
  EXPECT_EQ(at_once.batch_statistics, 0);
}

// PruneTrain counts 8 accesses an element of a normalization, 3 forward and 5 backward; the table has 2 and 3.
TEST(SerializationTest, PassesOfNormalizationMakeEightAccesses) {
  const Analysis analysis = AnalyzeFile("resnet50.onnx", 32);
  const std::vector<int64_t> passes = NormalizationPasses(analysis.training, analysis.cost);
  int64_t extra = 0, features = 0;
  for (size_t k = 0; k < passes.size(); ++k) {
    extra += passes[k];
    if (analysis.cost.kernels[k].phase == Phase::kForward) features += passes[k];
  }
  EXPECT_EQ(extra, 3 * features);
  EXPECT_EQ(features, int64_t{32} * 2 * 11'113'984);  // outputs of ResNet-50's convolutions, from the same script
}

}  // namespace
}  // namespace reusescope
