// Reuse edges of real exports: what must hold of a whole training step.

#include <string>

#include "analysis/measure/reuse.h"
#include "analysis/pipeline.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

Analysis AnalyzeFile(const std::string& file, AnalysisOptions options) {
  absl::StatusOr<Model> model = LoadModel(REUSESCOPE_SOURCE_DIR "/models/" + file);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return analysis.ok() ? *std::move(analysis) : Analysis{};
}

int64_t SavedByEdges(const ReuseTable& reuse) {
  int64_t sum = 0;
  for (const ReuseEdge& edge : reuse.edges) sum += edge.saved_bytes();
  return sum;
}

// Two independent ways to the same number: the edges, and the cache simulation.
TEST(ReuseOfModelsTest, EdgesAddUpToWhatAnUnlimitedMemorySaves) {
  for (const char* file : {"lenet5.onnx", "resnet50.onnx", "mobilenet_v2.ts17.train.onnx", "vgg16.onnx"}) {
    const Analysis analysis = AnalyzeFile(file, {.shapes = {.batch = 2}});
    EXPECT_EQ(SavedByEdges(analysis.reuse), analysis.lru.compulsory_bytes() - analysis.lru.minimum_bytes()) << file;
    // Below that, a memory that keeps parts saves at least what all-or-nothing edges do.
    for (int64_t capacity = 1 << 16; capacity < int64_t{1} << 33; capacity *= 4) {
      int64_t saved = 0;
      for (const ScopeReuse& scope : analysis.reuse.scopes) {
        if (scope.scope != ReuseScope::kIntraLayer) saved += scope.SavedBytes(capacity);
      }
      EXPECT_LE(saved, analysis.lru.compulsory_bytes() - analysis.lru.TrafficAt(capacity)) << file << " " << capacity;
    }
  }
}

TEST(ReuseOfModelsTest, TheStashIsForwardBackwardReuse) {
  const Analysis analysis = AnalyzeFile("resnet50.onnx", {.shapes = {.batch = 2}});
  int64_t stash_bytes = 0;
  for (const StashEntry& entry : analysis.training.stash) {
    stash_bytes += analysis.cost.storages[analysis.training.graph.value(entry.value).storage].bytes;
  }
  const ScopeReuse& forward_backward = analysis.reuse.scope(ReuseScope::kForwardBackward);
  EXPECT_GT(stash_bytes, 100 << 20);
  // Besides the stash, the weights that backward reads: nearly all of the parameters.
  EXPECT_NEAR(static_cast<double>(forward_backward.bytes),
              static_cast<double>(stash_bytes + 4 * analysis.facts.parameters), 0.02 * stash_bytes);
  EXPECT_GT(forward_backward.capacity_to_capture_bytes, stash_bytes);
}

TEST(ReuseOfModelsTest, EveryParameterAndItsGradientIsUpdated) {
  const Analysis analysis = AnalyzeFile("resnet18.onnx", {});
  EXPECT_EQ(analysis.reuse.scope(ReuseScope::kUpdate).edges, 2 * analysis.facts.parameter_tensors);
  EXPECT_EQ(analysis.reuse.scope(ReuseScope::kUpdate).bytes, 2 * 4 * analysis.facts.parameters);
}

TEST(ReuseOfModelsTest, ResidualBlocksAreReusedAtBlockScale) {
  const Analysis analysis = AnalyzeFile("resnet50.onnx", {.shapes = {.batch = 2}});
  int forward = 0;
  for (const ReuseEdge& edge : analysis.reuse.edges) {
    if (edge.scope != ReuseScope::kBlock) continue;
    ASSERT_NE(edge.block, kNoBlock);
    EXPECT_EQ(analysis.blocks.blocks[edge.block].kind, BlockKind::kResidual);
    forward += analysis.cost.kernels[edge.to_kernel].phase == Phase::kForward;
  }
  // In each of the 16, what the first path reads or leaves is needed again when the second one has been computed.
  EXPECT_GE(forward, 16);
  EXPECT_EQ(AnalyzeFile("vgg16.onnx", {}).reuse.scope(ReuseScope::kBlock).edges, 0) << "no blocks";
}

TEST(ReuseOfModelsTest, TwiceTheBatchIsTwiceTheActivations) {
  const Analysis one = AnalyzeFile("vgg16.onnx", {.shapes = {.batch = 2}});
  const Analysis two = AnalyzeFile("vgg16.onnx", {.shapes = {.batch = 4}});
  const int64_t weights = 4 * one.facts.parameters;
  const int64_t forward_backward = one.reuse.scope(ReuseScope::kForwardBackward).bytes;
  // All stash, and of the weights those that backward reads.
  EXPECT_GE(two.reuse.scope(ReuseScope::kForwardBackward).bytes, 2 * (forward_backward - weights));
  EXPECT_LE(two.reuse.scope(ReuseScope::kForwardBackward).bytes, 2 * forward_backward);
  EXPECT_EQ(two.reuse.scope(ReuseScope::kUpdate).bytes, one.reuse.scope(ReuseScope::kUpdate).bytes);
}

}  // namespace
}  // namespace reusescope
