// What comes between a gradient and its step, and what it costs. Against torch.optim:
// tests/gradients/check_optimizers.py.

#include "analysis/transform/attach_optimizer.h"

#include <map>
#include <string>

#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using testing::HasSubstr;

constexpr char kTwoParameters[] = R"(
    m (float[8,16] x) => (float[8,32] y) <float[16,32] w, float[32] b>
    { h = MatMul (x, w)
      y = Add (h, b) })";
constexpr int64_t kElements = 16 * 32 + 32;

absl::StatusOr<Analysis> AnalysisOf(Optimizer optimizer, const GradientHandling& gradients,
                                    OptimizerSettings settings = {}, UpdateOrder order = UpdateOrder::kEnd) {
  AnalysisOptions options{.loss = Loss::kSum, .optimizer = optimizer};
  options.optimizer_settings = std::move(settings);
  options.update_order = order;
  options.gradients = gradients;
  options.train = "^[wb]$";
  return Analyze(ParseOnnxText(kTwoParameters), options);
}

// Kernels, FLOPs and bytes by operator.
struct Sum {
  int64_t kernels = 0, flops = 0, bytes = 0;
};
std::map<std::string, Sum> ByOperator(const Analysis& analysis) {
  std::map<std::string, Sum> sums;
  for (const KernelCost& kernel : analysis.cost.kernels) {
    Sum& sum = sums[analysis.training.graph.node(kernel.node).op.type];
    ++sum.kernels;
    sum.flops += kernel.flops;
    sum.bytes += kernel.bytes();
  }
  return sums;
}

TEST(AttachOptimizer, ClippingReadsEveryGradientAndRewritesIt) {
  const absl::StatusOr<Analysis> analysis = AnalysisOf(Optimizer::kSgd, {.clip_norm = 1});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  std::map<std::string, Sum> sums = ByOperator(*analysis);
  EXPECT_EQ(sums["GradientSquareSum"].kernels, 2);
  EXPECT_EQ(sums["GradientSquareSum"].flops, 2 * kElements);
  EXPECT_EQ(sums["GradientSquareSum"].bytes, 4 * kElements + 2 * 4);
  EXPECT_EQ(sums["GradientFactor"].kernels, 1);
  EXPECT_EQ(sums["ScaleGradient"].flops, kElements);
  EXPECT_EQ(sums["ScaleGradient"].bytes, 2 * 4 * kElements + 2 * 4);
  EXPECT_EQ(analysis->memory.optimizer_state_bytes, 0);
}

TEST(AttachOptimizer, AccumulationKeepsAStateAndRunsWithTheGradient) {
  const absl::StatusOr<Analysis> analysis = AnalysisOf(Optimizer::kSgd, {.accumulate = 4});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  std::map<std::string, Sum> sums = ByOperator(*analysis);
  EXPECT_EQ(sums["AccumulateGradient"].flops, kElements);
  EXPECT_EQ(sums["AccumulateGradient"].bytes, 3 * 4 * kElements);
  EXPECT_EQ(analysis->memory.optimizer_state_bytes, 4 * kElements);
  Phase last = Phase::kForward;
  for (const KernelCost& kernel : analysis->cost.kernels) {
    if (analysis->training.graph.node(kernel.node).op.type == "AccumulateGradient") last = kernel.phase;
  }
  EXPECT_EQ(last, Phase::kBackward);
}

TEST(AttachOptimizer, StatesFollowTheSettings) {
  const auto states = [](Optimizer optimizer, OptimizerSettings settings) {
    const absl::StatusOr<Analysis> analysis = AnalysisOf(optimizer, {}, std::move(settings));
    EXPECT_TRUE(analysis.ok()) << analysis.status();
    return analysis.ok() ? analysis->memory.optimizer_state_bytes / (4 * kElements) : -1;
  };
  EXPECT_EQ(states(Optimizer::kSgd, {}), 0);
  EXPECT_EQ(states(Optimizer::kSgd, {{"momentum", 0.9}}), 1);
  EXPECT_EQ(states(Optimizer::kRmsprop, {}), 1);
  EXPECT_EQ(states(Optimizer::kRmsprop, {{"momentum", 0.9}}), 2);
  EXPECT_EQ(states(Optimizer::kRmsprop, {{"centered", 1}}), 2);
  EXPECT_EQ(states(Optimizer::kRmsprop, {{"centered", 1}, {"momentum", 0.5}}), 3);
  EXPECT_EQ(states(Optimizer::kAdamW, {}), 2);
}

TEST(AttachOptimizer, LossScalingGuardsTheSteps) {
  const absl::StatusOr<Analysis> analysis = AnalysisOf(Optimizer::kAdam, {.loss_scale = 1024});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  const Graph& graph = analysis->training.graph;
  for (const KernelCost& kernel : analysis->cost.kernels) {
    const Node& node = graph.node(kernel.node);
    if (node.op.type != "AdamStep") continue;
    EXPECT_EQ(node.inputs.size(), 5u);
    EXPECT_EQ(graph.value(node.inputs[4]).type.dtype, DType::kBool);
    // Weight and two states are rewritten, the gradient and one byte are read.
    const int64_t elements = *ElementCount(graph.value(node.inputs[0]).type.shape);
    EXPECT_EQ(kernel.bytes(), 4 * elements * (3 + 3 + 1) + 1);
  }
}

TEST(AttachOptimizer, EagerUpdatesCannotWaitForAllGradients) {
  const absl::Status status = AnalysisOf(Optimizer::kSgd, {.clip_norm = 1}, {}, UpdateOrder::kEager).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--update-order=end"));
  EXPECT_TRUE(AnalysisOf(Optimizer::kSgd, {.accumulate = 2}, {}, UpdateOrder::kEager).ok());
}

TEST(AttachOptimizer, UnknownSettingsNameTheKnown) {
  const absl::Status status = AnalysisOf(Optimizer::kSgd, {}, {{"centered", 1}}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("expected one of weight_decay, momentum"));
}

}  // namespace
}  // namespace reusescope
