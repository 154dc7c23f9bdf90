// The training step that the pipeline derives: who gets a gradient, what is kept, when updates run.

#include "absl/strings/str_cat.h"
#include "analysis/ir/verify.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr absl::string_view kMlp = R"(<ir_version: 8, opset_import: ["" : 17]>
mlp (float[32,16] x) => (float[32,10] y) <float[8,16] w1, float[8] b1, float[10,8] w2>
{ h = Gemm <transB = 1> (x, w1, b1) r = Relu(h) y = Gemm <transB = 1> (r, w2) })";

TrainingGraph Train(absl::string_view text, AnalysisOptions options = {}) {
  std::vector<std::string> notes;
  absl::StatusOr<TrainingGraph> training = BuildGraph(ParseOnnxText(text), options, Stage::kOptimizer, notes);
  EXPECT_TRUE(training.ok()) << training.status();
  if (!training.ok()) return {};
  EXPECT_EQ(Verify(training->graph, "test", true), absl::OkStatus());
  return *std::move(training);
}

absl::Status TrainStatus(absl::string_view text, AnalysisOptions options = {}) {
  std::vector<std::string> notes;
  return BuildGraph(ParseOnnxText(text), options, Stage::kOptimizer, notes).status();
}

std::vector<std::string> Ops(const TrainingGraph& training, Phase phase) {
  std::vector<std::string> ops;
  for (NodeId id : training.graph.order) {
    if (training.graph.node(id).phase == phase) ops.push_back(training.graph.node(id).op.type);
  }
  return ops;
}

std::vector<std::string> StashNames(const TrainingGraph& training) {
  std::vector<std::string> names;
  for (const StashEntry& entry : training.stash) names.push_back(training.graph.value(entry.value).name);
  return names;
}

TEST(DifferentiateTest, TheFirstLayerHasNoInputGradient) {
  const TrainingGraph training = Train(kMlp, {.loss = Loss::kNone});
  // dr, dw2; dh; dw1 and db1. No dx.
  EXPECT_THAT(Ops(training, Phase::kBackward),
              ElementsAre("GemmGrad", "GemmGrad", "ReluGrad", "GemmGrad", "Unbroadcast"));
  EXPECT_THAT(Ops(training, Phase::kUpdate), ElementsAre("AdamWStep", "AdamWStep", "AdamWStep"));
}

TEST(DifferentiateTest, TheStashIsWhatBackwardReads) {
  // x for dw1, r for dh (ReLU from its output) and dw2; h itself is not kept.
  EXPECT_THAT(StashNames(Train(kMlp, {.loss = Loss::kNone})), ElementsAre("x", "r"));
}

TEST(DifferentiateTest, GradientsHaveTheShapeOfTheirValue) {
  for (absl::string_view file : {"resnet18.onnx", "lstm_lm.ts17.train.onnx", "dlrm_small.ts17.train.onnx"}) {
    absl::StatusOr<Model> model = LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", file));
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<std::string> notes;
    const absl::StatusOr<TrainingGraph> training = BuildGraph(*std::move(model), {}, Stage::kOptimizer, notes);
    ASSERT_TRUE(training.ok()) << training.status();
    int gradients = 0;
    for (ValueId id = 0; id < static_cast<ValueId>(training->gradient_of.size()); ++id) {
      const ValueId gradient = training->gradient_of[id];
      if (gradient == kNoValue) continue;
      ++gradients;
      EXPECT_EQ(training->graph.value(gradient).type.shape, training->graph.value(id).type.shape)
          << training->graph.value(id).name;
    }
    EXPECT_GT(gradients, 10) << file;
  }
}

TEST(DifferentiateTest, SeveralUsesAddUp) {
  const TrainingGraph training = Train(R"(g (float[4,8] x) => (float[4,8] y) <float[8,8] w>
      { a = MatMul(x, w) b = MatMul(a, w) y = Add(a, b) })",
                                       {.loss = Loss::kNone});
  // b's two gradients; da adds the Add's and the MatMul's contribution; dw adds the two products'.
  EXPECT_THAT(Ops(training, Phase::kBackward), ElementsAre("MatMulGrad", "Add", "MatMulGrad", "MatMulGrad", "Add"));
}

TEST(DifferentiateTest, BroadcastingIsUndoneOnce) {
  const TrainingGraph training = Train(R"(g (float[4,8] x) => (float[4,8] y) <float[8,8] w, float[8] scale>
      { a = MatMul(x, w) y = Mul(a, scale) })",
                                       {.loss = Loss::kNone, .train = "."});
  EXPECT_THAT(Ops(training, Phase::kBackward), ElementsAre("Mul", "Mul", "Unbroadcast", "MatMulGrad"));
}

TEST(DifferentiateTest, FrozenParametersHaveNoGradient) {
  const TrainingGraph training = Train(kMlp, {.loss = Loss::kNone, .freeze = "w1|b1"});
  EXPECT_THAT(Ops(training, Phase::kBackward), ElementsAre("GemmGrad"));
  EXPECT_THAT(Ops(training, Phase::kUpdate), ElementsAre("AdamWStep"));
}

TEST(DifferentiateTest, NothingToTrainIsAnError) {
  const absl::Status status = TrainStatus("g (float[4,8] x) => (float[4,8] y) { y = Relu(x) }", {.loss = Loss::kNone});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--mode=inference"));
}

TEST(DifferentiateTest, UnknownOperatorsAreLoud) {
  const absl::StatusOr<Analysis> analysis =
      Analyze(ParseOnnxText(R"(<ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>
      g (float[4,8] x) => (float[4,8] y) <float[8,8] w> { a = MatMul(x, w) y = com.example.Foo(a) })"),
              {.loss = Loss::kNone});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  std::vector<std::string> unknown;
  for (const UnknownOperator& op : analysis->coverage.unknown_operators) unknown.push_back(op.op);
  EXPECT_THAT(unknown, UnorderedElementsAre("com.example::Foo-1", "reusescope::UnknownGrad-1"));
  EXPECT_EQ(analysis->coverage.known_nodes, analysis->coverage.nodes - 2);
  // Foo reads a and writes y; its gradient reads dy and a and writes da.
  EXPECT_EQ(analysis->coverage.bytes - analysis->coverage.known_bytes, (2 + 3) * 4 * 4 * 8);
  const absl::Status strict = RequireFullCoverage(analysis->coverage);
  EXPECT_EQ(strict.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(strict.message()), HasSubstr("com.example::Foo-1 (1 node, for example '"));
}

TEST(LossTest, AutoChoosesByTheShapeOfTheOutput) {
  struct Row {
    const char* output;
    const char* body;
    const char* description;
  };
  const Row rows[] = {
      {"float[4,10]", "y = MatMul(x, w)", "cross-entropy on 'y' [4, 10], classes on axis 1"},
      {"float[1,4,10]", "a = MatMul(x, w) s = Constant <value_ints = [1,4,10]> () y = Reshape(a, s)",
       "cross-entropy on 'y' [1, 4, 10], classes on axis 2"},
      {"float[4,1]", "a = MatMul(x, w) y = ReduceSum <keepdims = 1> (a, axes)", "mean squared error on 'y' [4, 1]"},
  };
  for (const Row& row : rows) {
    const TrainingGraph training = Train(
        absl::StrCat("g (float[4,8] x) => (", row.output, " y) <float[8,10] w, int64[1] axes = {1}> {", row.body, "}"));
    EXPECT_EQ(training.loss_description, row.description);
  }
}

TEST(LossTest, SumAndMse) {
  EXPECT_THAT(Ops(Train(kMlp, {.loss = Loss::kSum}), Phase::kForward),
              ElementsAre("Gemm", "Relu", "Gemm", "ReduceSum"));
  EXPECT_THAT(Ops(Train(kMlp, {.loss = Loss::kMse}), Phase::kForward), ElementsAre("Gemm", "Relu", "Gemm", "MseLoss"));
}

TEST(OptimizerTest, StatesAndBytesOfEachOptimizer) {
  struct Row {
    Optimizer optimizer;
    int states;
  };
  const int64_t parameter_bytes = 4 * (8 * 16 + 8 + 10 * 8);
  for (const Row row :
       {Row{Optimizer::kSgd, 0}, Row{Optimizer::kMomentum, 1}, Row{Optimizer::kAdam, 2}, Row{Optimizer::kAdamW, 2}}) {
    const absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(kMlp), {.optimizer = row.optimizer});
    ASSERT_TRUE(analysis.ok()) << analysis.status();
    EXPECT_EQ(analysis->memory.parameter_bytes, parameter_bytes);
    EXPECT_EQ(analysis->memory.gradient_bytes, parameter_bytes);
    EXPECT_EQ(analysis->memory.optimizer_state_bytes, row.states * parameter_bytes);
    int64_t update_bytes = 0;
    for (const KernelCost& kernel : analysis->cost.kernels) {
      if (kernel.phase == Phase::kUpdate) update_bytes += kernel.bytes();
    }
    // Weight and states are read and written, the gradient is read.
    EXPECT_EQ(update_bytes, (3 + 2 * row.states) * parameter_bytes);
  }
}

TEST(OptimizerTest, EagerUpdatesRunWhenGradientAndWeightAreDone) {
  const TrainingGraph training = Train(kMlp, {.loss = Loss::kNone, .update_order = UpdateOrder::kEager});
  std::vector<std::string> order;
  for (NodeId id : training.graph.order) {
    const Node& node = training.graph.node(id);
    if (node.phase == Phase::kForward) continue;
    order.push_back(node.phase == Phase::kUpdate ? training.graph.value(node.inputs[0]).name : node.op.type);
  }
  // w2 is read by dr's product, which runs first, so its step follows its gradient at once.
  EXPECT_THAT(order, ElementsAre("GemmGrad", "GemmGrad", "w2", "ReluGrad", "GemmGrad", "w1", "Unbroadcast", "b1"));
}

TEST(PrecisionTest, MixedPrecisionKeepsGradientsMastersAndStatesWide) {
  for (absl::string_view file : {"lenet5.onnx", "bert_base.ts17.train.onnx"}) {
    absl::StatusOr<Model> model = LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", file));
    ASSERT_TRUE(model.ok()) << model.status();
    const absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), {.precision = PrecisionMode::kAmpBf16});
    ASSERT_TRUE(analysis.ok()) << analysis.status();
    const int64_t parameters = analysis->facts.parameters;
    EXPECT_EQ(analysis->memory.parameter_bytes, 4 * parameters) << file;
    EXPECT_EQ(analysis->memory.weight_copy_bytes, 2 * parameters) << file;
    EXPECT_EQ(analysis->memory.gradient_bytes, 4 * parameters) << file;
    EXPECT_EQ(analysis->memory.optimizer_state_bytes, 8 * parameters) << file;
  }
}

TEST(CostTest, DoublingTheBatchDoublesActivationsAndWork) {
  const auto at = [](int64_t batch) {
    absl::StatusOr<Model> model = LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/resnet50.onnx"));
    EXPECT_TRUE(model.ok()) << model.status();
    AnalysisOptions options;
    options.shapes.batch = batch;
    options.loss = Loss::kNone;
    return *Analyze(*std::move(model), options);
  };
  const Analysis one = at(4), two = at(8);
  ASSERT_EQ(one.cost.kernels.size(), two.cost.kernels.size());
  for (size_t k = 0; k < one.cost.kernels.size(); ++k) {
    const int64_t factor = one.cost.kernels[k].phase == Phase::kUpdate ? 1 : 2;
    EXPECT_EQ(two.cost.kernels[k].macs, factor * one.cost.kernels[k].macs);
  }
  // All of the stash scales but the two vectors of each batch normalization.
  const int64_t statistics = 2 * 26'560 * 4;
  EXPECT_EQ(two.memory.stash_needed_bytes - statistics, 2 * (one.memory.stash_needed_bytes - statistics));
}

TEST(CostTest, ViewsCostNothingAndTransposesBesideContractionsNeither) {
  const absl::StatusOr<Analysis> analysis =
      Analyze(ParseOnnxText(R"(g (float[4,8] x) => (float[8,2,2] y) <float[8,8] w, int64[3] s = {8,2,2}>
      { t = Transpose <perm = [1,0]> (x) a = MatMul(w, t) y = Reshape(a, s) })"),
              {.mode = Mode::kInference});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  ASSERT_EQ(analysis->cost.kernels.size(), 1u);
  EXPECT_EQ(analysis->cost.kernels[0].bytes(), 4 * (8 * 8 + 8 * 4 + 8 * 4));
}

TEST(CostTest, CountsBeyondInt64AreErrorsThatNameTheNode) {
  const absl::Status status = Analyze(ParseOnnxText(R"(g (float[10000000,10000000] x) => (float[10000000,10000000] y)
      <float[10000000,10000000] w> { y = MatMul(x, w) })"),
                                      {.mode = Mode::kInference})
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("MatMul"));
}

}  // namespace
}  // namespace reusescope
