// Other topological orders: never worse than the file's, and how near the best of all orders on graphs small enough.

#include "analysis/transform/reorder.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using testing::Contains;
using testing::HasSubstr;

using Goal = OrderChoice::Goal;

Analysis AnalysisOf(const std::function<Model()>& load, Goal goal, Mode mode = Mode::kTraining,
                    std::optional<int64_t> batch = std::nullopt) {
  AnalysisOptions options{.mode = mode, .order = {.goal = goal}};
  options.shapes.batch = batch;
  absl::StatusOr<Analysis> analysis = Analyze(load(), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return analysis.ok() ? *std::move(analysis) : Analysis();
}

// Branches that the file runs side by side: each makes much of its input before it makes little of it.
std::string Branches(int branches) {
  std::string text = "m (float[1,16] x) => (float[1,16] y) <float[16,4096] w, float[4096,16] v> {\n";
  for (int i = 0; i < branches; ++i) absl::StrAppend(&text, "s", i, " = Mul (x, x)\na", i, " = MatMul (s", i, ", w)\n");
  for (int i = 0; i < branches; ++i) absl::StrAppend(&text, "b", i, " = MatMul (a", i, ", v)\n");
  absl::StrAppend(&text, "y = Sum (b0");
  for (int i = 1; i < branches; ++i) absl::StrAppend(&text, ", b", i);
  return text + ") }";
}

// The lowest peak of all topological orders, in bytes of what comes and goes.
int64_t BruteForcePeak(const std::function<Model()>& load, const AnalysisOptions& options) {
  Analysis analysis = AnalyzeMemory(load(), options).value();
  Graph& graph = analysis.training.graph;
  const std::vector<NodeId> file = graph.order;
  int64_t least = analysis.memory.peak_bytes;
  std::vector<size_t> permutation(file.size());
  for (size_t i = 0; i < file.size(); ++i) permutation[i] = i;
  std::vector<NodeId> order(file.size());
  do {
    for (size_t i = 0; i < file.size(); ++i) order[i] = file[permutation[i]];
    graph.order = file;
    if (!IsValidOrder(graph, order)) continue;
    graph.order = order;
    const CostTable cost = ComputeCost(analysis.training, {}).value();
    least = std::min(least, ComputeMemory(analysis.training, cost, {}).value().peak_bytes);
  } while (std::next_permutation(permutation.begin(), permutation.end()));
  return least;
}

TEST(ReorderTest, BranchesRunOneAfterTheOther) {
  const auto load = [] { return ParseOnnxText(Branches(8)); };
  const int64_t file = AnalysisOf(load, Goal::kFile, Mode::kInference).memory.peak_bytes;
  const Analysis reordered = AnalysisOf(load, Goal::kMemory, Mode::kInference);
  const int64_t wide = 4 * 4096;
  EXPECT_EQ(file - reordered.memory.peak_bytes, 7 * wide - 7 * 4 * 16) << "one wide value at a time, all narrow ones";
  EXPECT_THAT(reordered.notes, Contains(HasSubstr("another order than the file's")));
}

TEST(ReorderTest, IsTheBestOfAllOrdersOnSmallGraphs) {
  const AnalysisOptions options{.mode = Mode::kInference};
  const std::vector<std::string> texts = {Branches(2),
                                          R"(m (float[64] x) => (float[64] y)
         { a = Sin (x)
           b = Cos (x)
           c = Concat <axis = 0> (a, a, a, a)
           d = ReduceSum <keepdims = 1> (c)
           e = Concat <axis = 0> (b, b)
           f = ReduceSum <keepdims = 1> (e)
           g = Add (d, f)
           y = Mul (x, g) })",
                                          R"(m (float[64] x) => (float[1] y, float[1] z)
         { a = Concat <axis = 0> (x, x, x)
           b = Sin (a)
           c = Cos (a)
           d = ReduceSum <keepdims = 1> (b)
           e = ReduceSum <keepdims = 1> (c)
           y = Sin (d)
           z = Sin (e) })"};
  for (const std::string& text : texts) {
    const auto load = [&text] { return ParseOnnxText(text); };
    const Analysis reordered = AnalysisOf(load, Goal::kMemory, Mode::kInference);
    EXPECT_EQ(reordered.memory.peak_bytes, BruteForcePeak(load, options)) << text;
  }
}

class RealOrders : public testing::TestWithParam<const char*> {};

TEST_P(RealOrders, AreValidAndNeverWorse) {
  const std::string file = absl::StrCat(REUSESCOPE_SOURCE_DIR "/models/", GetParam());
  const auto load = [&file] { return LoadModel(file).value(); };
  const Analysis as_is = AnalysisOf(load, Goal::kFile, Mode::kTraining, 4);
  for (const Goal goal : {Goal::kMemory, Goal::kTraffic}) {
    const Analysis other = AnalysisOf(load, goal, Mode::kTraining, 4);
    EXPECT_TRUE(IsValidOrder(as_is.training.graph, other.training.graph.order));
    if (goal == Goal::kMemory) {
      EXPECT_LE(other.memory.peak_bytes, as_is.memory.peak_bytes);
    } else {
      EXPECT_LE(other.lru.TrafficAt(32 << 20), as_is.lru.TrafficAt(32 << 20));
    }
    EXPECT_EQ(other.cost.kernels.size(), as_is.cost.kernels.size());
    EXPECT_EQ(other.training.stash.size(), as_is.training.stash.size());
    int64_t flops = 0;
    for (const KernelCost& kernel : other.cost.kernels) flops += kernel.flops;
    for (const KernelCost& kernel : as_is.cost.kernels) flops -= kernel.flops;
    EXPECT_EQ(flops, 0);
  }
  for (const OrderRule rule : kOrderRules) {
    std::vector<StorageLife> lives(as_is.training.graph.storages.size(), {.bytes = 1});
    EXPECT_TRUE(IsValidOrder(as_is.training.graph, ReorderedBy(as_is.training.graph, lives, rule)));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RealOrders,
                         testing::Values("resnet50.onnx", "inception_v3.ts17.train.onnx", "unet.ts17.train.onnx",
                                         "densenet121.ts17.train.onnx", "lstm_lm.ts17.train.onnx",
                                         "vit_b_16.ts17.train.onnx"));

TEST(ReorderTest, WhatWritesOverAParameterWaitsForItsReaders) {
  const std::string file = REUSESCOPE_SOURCE_DIR "/models/lenet5.onnx";
  AnalysisOptions options{.update_order = UpdateOrder::kEager};
  const Analysis analysis = AnalyzeMemory(LoadModel(file).value(), options).value();
  const Graph& graph = analysis.training.graph;
  std::vector<NodeId> order = graph.order;
  ASSERT_TRUE(IsValidOrder(graph, order));
  // The first update before everything: its parameter is read later.
  const auto update =
      std::find_if(order.begin(), order.end(), [&graph](NodeId id) { return graph.node(id).phase == Phase::kUpdate; });
  ASSERT_NE(update, order.end());
  std::rotate(order.begin(), update, update + 1);
  EXPECT_FALSE(IsValidOrder(graph, order));
}

}  // namespace
}  // namespace reusescope
