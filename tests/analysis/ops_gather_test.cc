// Lookups, scatters and selections.

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(Gather, EmbeddingReadsRowsAndItsGradientWritesTheWholeTable) {
  GraphBuilder b;
  const ValueId table = b.Parameter("table", {1000, 64});
  const ValueId index = b.Input("index", Int64({4, 10}));
  const ValueId y = b.Node("Gather", {table, index}, Shape{4, 10, 64});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_EQ(ReadElements(kernel, 0), 4 * 10 * 64);
  EXPECT_EQ(ReadElements(kernel, 1), 4 * 10);
  EXPECT_EQ(WrittenElements(kernel, 0), 4 * 10 * 64);
  EXPECT_EQ(FlopsOf(kernel), 0);
  EXPECT_THAT(b.EagerSavesOf(y).values, ElementsAre(index));
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("reusescope::GatherGrad"));
  const Kernel gradient = b.KernelOf(run.gradient.at(table));
  EXPECT_EQ(FlopsOf(gradient), 4 * 10 * 64);
  EXPECT_EQ(ReadElements(gradient, 0), 4 * 10 * 64);
  EXPECT_EQ(ReadElements(gradient, 1), 4 * 10);
  EXPECT_EQ(WrittenElements(gradient, 0), 1000 * 64);
}

TEST(Gather, ReadsNoMoreThanTheTable) {
  GraphBuilder b;
  const ValueId y = b.Node("Gather", {b.Parameter("table", {2, 64}), b.Input("index", Int64({128}))}, Shape{128, 64});
  EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 2 * 64);
}

TEST(Gather, OneKnownIndexIsAStridedViewThatKeepsNothing) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4, 10, 64});
  const ValueId y = b.Node("Gather", {x, b.Scalar("first", 0)}, Shape{4, 64}, {{"axis", 1}});
  EXPECT_EQ(AliasingOf(b.graph(), b.graph().value(y).producer), Aliasing::kStridedView);
  EXPECT_THAT(b.EagerSavesOf(y).values, IsEmpty());
  EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 4 * 64);
  const ValueId rows = b.Node("Gather", {x, b.Constant("rows", {0, 3})}, Shape{2, 10, 64});
  EXPECT_EQ(AliasingOf(b.graph(), b.graph().value(rows).producer), Aliasing::kNone);
}

TEST(Gather, LookupsOfElementsAccumulateBackward) {
  struct Case {
    const char* op;
    Shape index, output;
    size_t saved;  // torch.gather keeps its input besides the index
  };
  const Case cases[] = {
      {"GatherElements", {3, 2}, {3, 2}, 2}, {"GatherND", {6, 1}, {6, 8}, 1}, {"Compress", {5}, {5, 8}, 1}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.op);
    GraphBuilder b;
    const ValueId x = b.Input("x", {5, 8}), index = b.Input("index", Int64(c.index));
    const ValueId y = b.Node(c.op, {x, index}, c.output, {{"axis", 0}});
    EXPECT_EQ(ReadElements(b.KernelOf(y), 0), std::min<int64_t>(5 * 8, *ElementCount(c.output)));
    EXPECT_EQ(b.EagerSavesOf(y).values.size(), c.saved);
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_THAT(run.gradient, testing::SizeIs(1));
    const Node& gradient = b.Producer(run.gradient.at(x));
    EXPECT_EQ(gradient.op.type, absl::StrCat(c.op, "Grad"));
    EXPECT_EQ(gradient.inputs[1], index);
    EXPECT_EQ(WrittenElements(b.KernelOf(run.gradient.at(x)), 0), 5 * 8);
  }
}

struct ScatterCase {
  const char* op;
  const char* reduction;
  Shape index, updates;
  int64_t flops;
  std::vector<std::string> gradient;
};

TEST(Scatter, WritesOverACopyAndHasTwoGradients) {
  const ScatterCase cases[] = {
      {"ScatterElements", "none", {2, 8}, {2, 8}, 0, {"reusescope::ScatterElementsDataGrad", "GatherElements"}},
      {"ScatterElements", "add", {2, 8}, {2, 8}, 2 * 8, {"GatherElements"}},
      {"ScatterND", "none", {3, 1}, {3, 8}, 0, {"reusescope::ScatterNDDataGrad", "GatherND"}},
      {"ScatterND", "add", {3, 1}, {3, 8}, 3 * 8, {"GatherND"}},
      {"ScatterND",
       "max",
       {3, 1},
       {3, 8},
       3 * 8,
       {"reusescope::ScatterNDReduceDataGrad", "reusescope::ScatterNDReduceUpdatesGrad"}},
      {"ScatterElements",
       "mul",
       {2, 8},
       {2, 8},
       2 * 8,
       {"reusescope::ScatterElementsReduceDataGrad", "reusescope::ScatterElementsReduceUpdatesGrad"}},
  };
  for (const ScatterCase& c : cases) {
    SCOPED_TRACE(testing::Message() << c.op << " " << c.reduction);
    GraphBuilder b;
    const ValueId data = b.Input("data", {5, 8}), index = b.Input("index", Int64(c.index));
    const ValueId updates = b.Input("updates", c.updates);
    const ValueId y = b.Node(c.op, {data, index, updates}, Shape{5, 8}, {{"reduction", c.reduction}});
    const Kernel kernel = b.KernelOf(y);
    EXPECT_EQ(FlopsOf(kernel), c.flops);
    EXPECT_EQ(ReadElements(kernel, 0), 5 * 8);
    EXPECT_EQ(ReadElements(kernel, 2), *ElementCount(c.updates));
    EXPECT_EQ(WrittenElements(kernel, 0), 5 * 8);
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_EQ(b.OpNames(run.nodes), c.gradient);
    EXPECT_TRUE(run.gradient.contains(data) && run.gradient.contains(updates));
    EXPECT_FALSE(run.gradient.contains(index));
    const bool reduces = std::string(c.reduction) == "max" || std::string(c.reduction) == "mul";
    if (reduces) {
      EXPECT_THAT(b.EagerSavesOf(y).values, UnorderedElementsAre(data, index, updates, y));
    } else {
      EXPECT_THAT(b.EagerSavesOf(y).values, ElementsAre(index));
    }
  }
}

TEST(Scatter, OnlyWhatIsNeededGetsAGradient) {
  GraphBuilder b;
  const ValueId data = b.Input("data", {5, 8}), updates = b.Input("updates", {3, 8});
  const ValueId y = b.Node("ScatterND", {data, b.Input("index", Int64({3, 1})), updates}, Shape{5, 8});
  EXPECT_THAT(b.OpNames(b.RunGradient(y, {}, {updates}).nodes), ElementsAre("GatherND"));
}

TEST(Scatter, CacheUpdateHasGradientsOfBothTensors) {
  GraphBuilder b(24);
  const ValueId past = b.Input("past", {2, 4, 128, 16}), update = b.Input("update", {2, 4, 1, 16});
  const ValueId y = b.Node("TensorScatter", {past, update, b.Input("at", Int64({2}))}, Shape{2, 4, 128, 16});
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes),
              ElementsAre("reusescope::TensorScatterPastGrad", "reusescope::TensorScatterUpdateGrad"));
  EXPECT_EQ(ReadElements(b.KernelOf(run.gradient.at(update)), 0), 2 * 4 * 1 * 16);
}

TEST(Selection, TopKKeepsItsIndices) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {32, 1000});
  const std::vector<ValueId> y = b.NodeMany("TopK", {x, b.Constant("k", {8})}, {Float({32, 8}), Int64({32, 8})});
  EXPECT_EQ(FlopsOf(b.KernelOf(y[0])), 32 * 1000 * 4);  // log2(2 * 8)
  EXPECT_THAT(b.EagerSavesOf(y[0]).values, ElementsAre(y[1]));
  const GradientRun run = b.RunGradient(y[0]);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("reusescope::GatherElementsGrad"));
  EXPECT_EQ(b.Producer(run.gradient.at(x)).inputs[1], y[1]);
}

TEST(Selection, OperatorsOfIndicesSayWhyTheyHaveNoGradient) {
  for (const char* type : {"OneHot", "NonZero", "Unique", "NonMaxSuppression"}) {
    const OpSemantics* semantics = OpRegistry::Get().Find({"", type, 18});
    ASSERT_NE(semantics, nullptr) << type;
    EXPECT_EQ(semantics->gradient, nullptr) << type;
    EXPECT_FALSE(semantics->not_differentiable.empty()) << type;
    EXPECT_NE(semantics->kernel, nullptr) << type;
  }
}

TEST(Selection, SortingCountsComparisons) {
  GraphBuilder b;
  const ValueId y = b.Node("Unique", {b.Input("x", {1024})}, Shape{1024});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 1024 * 10);
}

TEST(Selection, NonMaxSuppressionComparesWhatItKeepsWithAll) {
  GraphBuilder b;
  const ValueId boxes = b.Input("boxes", {2, 100, 4}), scores = b.Input("scores", {2, 3, 100});
  const ValueId y = b.Node("NonMaxSuppression", {boxes, scores, b.Constant("max", {10})}, Int64({60, 3}));
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 16 * 2 * 3 * 10 * 100);
  const ValueId none = b.Node("NonMaxSuppression", {boxes, scores}, Int64({0, 3}));
  EXPECT_EQ(FlopsOf(b.KernelOf(none)), 0);
}

}  // namespace
}  // namespace reusescope
