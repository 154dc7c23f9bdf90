// Views, copies, conversions, sequences and resampling: what they move, and what undoes them.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int64_t> IntsOf(const GraphBuilder& b, ValueId value) {
  const Literal* literal = b.graph().literal(value);
  return literal == nullptr ? std::vector<int64_t>{} : literal->ints;
}

TEST(Layout, ViewsAreNoWorkAndSoAreTheirGradients) {
  for (const char* op : {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}) {
    GraphBuilder b;
    const ValueId x = b.Input("x", {2, 3, 4});
    const ValueId y = b.Node(op, {x}, Shape{2, 12});
    EXPECT_THAT(b.KernelOf(y).accesses, IsEmpty()) << op;
    EXPECT_EQ(AliasingOf(b.graph(), b.graph().value(y).producer), Aliasing::kView) << op;
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("Reshape")) << op;
    EXPECT_THAT(b.KernelOf(run.gradient.at(x)).accesses, IsEmpty()) << op;
    EXPECT_THAT(IntsOf(b, b.Producer(run.gradient.at(x)).inputs[1]), ElementsAre(2, 3, 4)) << op;
  }
}

TEST(Layout, IdentityPassesTheGradientOn) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const ValueId y = b.Node("Identity", {x}, Shape{2, 3});
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(run.nodes, IsEmpty());
}

TEST(Layout, TransposeIsACopyUndoneByTheInversePermutation) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 4, 5});
  const ValueId y = b.Node("Transpose", {x}, Shape{4, 2, 5, 3}, {{"perm", Ints{2, 0, 3, 1}}});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_EQ(ReadElements(kernel, 0), 2 * 3 * 4 * 5);
  EXPECT_EQ(WrittenElements(kernel, 0), 2 * 3 * 4 * 5);
  EXPECT_EQ(FlopsOf(kernel), 0);
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.Producer(run.gradient.at(x)).attributes.Ints("perm"), ElementsAre(1, 3, 0, 2));
}

TEST(Layout, TransposeWithoutPermReverses) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 4});
  const GradientRun run = b.RunGradient(b.Node("Transpose", {x}, Shape{4, 3, 2}));
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.Producer(run.gradient.at(x)).attributes.Ints("perm"), ElementsAre(2, 1, 0));
}

TEST(Layout, TransposeRejectsWhatIsNoPermutation) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const GradientRun run = b.RunGradient(b.Node("Transpose", {x}, Shape{3, 2}, {{"perm", Ints{1, 7}}}));
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("perm"));
}

TEST(Layout, SliceReadsWhatItTakesAndItsGradientWritesAllOfX) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {8, 10});
  const ValueId y =
      b.Node("Slice", {x, b.Constant("s", {2}), b.Constant("e", {6}), b.Constant("a", {0})}, Shape{4, 10});
  EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 4 * 10);
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("reusescope::SliceGrad"));
  const Node& grad = b.Producer(run.gradient.at(x));
  EXPECT_THAT(grad.attributes.Ints("starts"), ElementsAre(2));
  EXPECT_THAT(grad.attributes.Ints("ends"), ElementsAre(6));
  EXPECT_THAT(grad.attributes.Ints("axes"), ElementsAre(0));
  const Kernel kernel = b.KernelOf(run.gradient.at(x));
  EXPECT_EQ(ReadElements(kernel, 0), 4 * 10);
  EXPECT_EQ(WrittenElements(kernel, 0), 8 * 10);
}

TEST(Layout, SliceOfTheFirstOpsetKeepsItsAttributes) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {8, 10});
  const GradientRun run = b.RunGradient(b.Node("Slice-1", {x}, Shape{4, 10}, {{"starts", Ints{2}}, {"ends", Ints{6}}}));
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.Producer(run.gradient.at(x)).attributes.Ints("starts"), ElementsAre(2));
}

TEST(Layout, SliceAtComputedBoundsPassesThemOn) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {8, 10});
  const ValueId starts = b.Input("starts", Int64({1}));
  const ValueId y =
      b.Node("Slice", {x, starts, b.Constant("e", {6}), kNoValue, b.Constant("steps", {2})}, Shape{2, 10});
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  const Node& grad = b.Producer(run.gradient.at(x));
  EXPECT_EQ(grad.inputs[1], starts);
  EXPECT_THAT(grad.attributes.Ints("steps"), ElementsAre(2));
}

TEST(Layout, SplitIsUndoneByConcat) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 9});
  const std::vector<ValueId> parts = b.NodeMany("Split", {x}, {Float({2, 4}), Float({2, 5})}, {{"axis", 1}});
  EXPECT_EQ(ReadElements(b.KernelOf(parts[0]), 0), 2 * 9);
  EXPECT_EQ(WrittenElements(b.KernelOf(parts[0]), 1), 2 * 5);
  const GradientRun run = b.RunGradient(parts[0]);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("Concat"));
  EXPECT_EQ(b.Producer(run.gradient.at(x)).attributes.Int("axis", -9), 1);
}

TEST(Layout, SplitTakesZerosForAPartWithoutGradient) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 9});
  const std::vector<ValueId> parts = b.NodeMany("Split", {x}, {Float({2, 4}), Float({2, 5})}, {{"axis", 1}});
  const GradientRun run = b.RunGradient(parts[0], {parts[1]});
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("ConstantOfShape", "Concat"));
  EXPECT_EQ(b.ShapeOf(b.Producer(run.gradient.at(x)).inputs[0]), Shape({2, 4}));
}

TEST(Layout, ConcatIsUndoneByASliceForEachInputThatNeedsOne) {
  GraphBuilder b;
  const ValueId p = b.Input("p", {2, 3, 4}), q = b.Input("q", {2, 5, 4}), r = b.Input("r", {2, 1, 4});
  const ValueId y = b.Node("Concat", {p, q, r}, Shape{2, 9, 4}, {{"axis", -2}});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_EQ(ReadElements(kernel, 0), 2 * 3 * 4);
  EXPECT_EQ(ReadElements(kernel, 1), 2 * 5 * 4);
  EXPECT_EQ(ReadElements(kernel, 2), 2 * 1 * 4);
  EXPECT_EQ(WrittenElements(kernel, 0), 2 * 9 * 4);
  const GradientRun run = b.RunGradient(y, {}, {q, r});
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("Slice", "Slice"));
  EXPECT_THAT(IntsOf(b, b.Producer(run.gradient.at(q)).inputs[1]), ElementsAre(3));
  EXPECT_THAT(IntsOf(b, b.Producer(run.gradient.at(q)).inputs[2]), ElementsAre(8));
  EXPECT_THAT(IntsOf(b, b.Producer(run.gradient.at(r)).inputs[1]), ElementsAre(8));
  EXPECT_EQ(ReadElements(b.KernelOf(run.gradient.at(q)), 0), 2 * 5 * 4);
}

TEST(Layout, ExpandIsUndoneByASum) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {3, 1});
  const ValueId y = b.Node("Expand", {x, b.Constant("shape", {2, 3, 4})}, Shape{2, 3, 4});
  EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 3);
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("reusescope::Unbroadcast"));
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 2 * 3 * 4);
}

TEST(Layout, TileIsUndoneByASumOverTheRepeats) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 5});
  const ValueId y = b.Node("Tile", {x, b.Constant("repeats", {1, 4, 2})}, Shape{2, 12, 10});
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("Reshape", "ReduceSum"));
  const Node& sum = b.Producer(run.gradient.at(x));
  EXPECT_EQ(b.ShapeOf(sum.inputs[0]), Shape({2, 4, 3, 2, 5}));
  EXPECT_THAT(IntsOf(b, sum.inputs[1]), ElementsAre(1, 3));
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 2 * 12 * 10);
}

TEST(Layout, TileByOnePassesTheGradientOn) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const GradientRun run = b.RunGradient(b.Node("Tile", {x, b.Constant("repeats", {1, 1})}, Shape{2, 3}));
  ExpectSoundGradients(b, run);
  EXPECT_THAT(run.nodes, IsEmpty());
}

struct PadCase {
  const char* name;
  const char* op;
  Ints pads;  // as input 1, or attribute for Pad-2
  Ints axes;  // input 3
  Shape output;
  AttributeList attributes;
  std::vector<std::string> gradient;
};

TEST(Layout, PadIsUndoneByCuttingTheBorderOff) {
  const PadCase cases[] = {
      {"constant", "Pad", {0, 1, 2, 0}, {}, {5, 5}, {}, {"Slice"}},
      {"of some axes", "Pad", {1, 2}, {-1}, {3, 7}, {}, {"Slice"}},
      {"as attribute", "Pad-2", {}, {}, {5, 5}, {{"pads", Ints{0, 1, 2, 0}}}, {"Slice"}},
      {"negative: a crop, whose gradient pads", "Pad", {0, -1, 1, 0}, {}, {4, 3}, {}, {"Pad"}},
      {"reflect: elements are repeated",
       "Pad",
       {0, 1, 2, 0},
       {},
       {5, 5},
       {{"mode", "reflect"}},
       {"reusescope::PadGrad"}},
      {"nothing", "Pad", {0, 0, 0, 0}, {}, {3, 4}, {}, {}},
  };
  for (const PadCase& c : cases) {
    SCOPED_TRACE(c.name);
    GraphBuilder b;
    const ValueId x = b.Input("x", {3, 4});
    std::vector<ValueId> inputs = {x};
    if (!c.pads.empty()) inputs.push_back(b.Constant("pads", c.pads));
    if (!c.axes.empty()) inputs.insert(inputs.end(), {kNoValue, b.Constant("axes", c.axes)});
    const ValueId y = b.Node(c.op, inputs, c.output, c.attributes);
    EXPECT_EQ(WrittenElements(b.KernelOf(y), 0), *ElementCount(c.output));
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_EQ(b.OpNames(run.nodes), c.gradient);
  }
}

TEST(Layout, PadGradientOfSomeAxesCutsThoseAxes) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {3, 4});
  const ValueId y = b.Node("Pad", {x, b.Constant("pads", {1, 2}), kNoValue, b.Constant("axes", {-1})}, Shape{3, 7});
  const GradientRun run = b.RunGradient(y);
  const Node& slice = b.Producer(run.gradient.at(x));
  EXPECT_THAT(IntsOf(b, slice.inputs[1]), ElementsAre(1));
  EXPECT_THAT(IntsOf(b, slice.inputs[2]), ElementsAre(5));
  EXPECT_THAT(IntsOf(b, slice.inputs[3]), ElementsAre(1));
}

TEST(Layout, CastConvertsAndItsGradientConvertsBack) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const ValueId y = b.Node("Cast", {x}, Type::Tensor(DType::kFloat16, {2, 3}), {{"to", 10}});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_EQ(ReadElements(kernel, 0), 6);
  EXPECT_EQ(WrittenElements(kernel, 0), 6);
  EXPECT_EQ(FlopsOf(kernel), 0);
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_EQ(b.Producer(run.gradient.at(x)).attributes.Int("to", 0), static_cast<int64_t>(DType::kFloat32));
}

TEST(Layout, CastToTheSameTypeIsAView) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3}), like = b.Input("like", {7});
  for (ValueId y : {b.Node("Cast", {x}, Shape{2, 3}, {{"to", 1}}), b.Node("CastLike", {x, like}, Shape{2, 3})}) {
    EXPECT_THAT(b.KernelOf(y).accesses, IsEmpty());
    EXPECT_EQ(AliasingOf(b.graph(), b.graph().value(y).producer), Aliasing::kView);
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_THAT(run.nodes, IsEmpty());
    EXPECT_FALSE(run.gradient.contains(like));
  }
}

TEST(Layout, CastLikeNeverReadsItsSecondInput) {
  GraphBuilder b;
  const ValueId x = b.Input("x", Type::Tensor(DType::kFloat16, {2, 3}));
  const ValueId y = b.Node("CastLike", {x, b.Input("like", {2, 3})}, Shape{2, 3});
  EXPECT_EQ(ReadElements(b.KernelOf(y), 1), -1);
}

TEST(Layout, DepthToSpaceAndSpaceToDepthUndoEachOther) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 12, 4, 6});
  const ValueId y = b.Node("DepthToSpace", {x}, Shape{2, 3, 8, 12}, {{"blocksize", 2}});
  GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("SpaceToDepth"));
  const ValueId z = b.Node("SpaceToDepth", {y}, Shape{2, 12, 4, 6}, {{"blocksize", 2}});
  run = b.RunGradient(z);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("DepthToSpace"));
}

// torch.nn.PixelShuffle(2) exports as mode CRD.
TEST(Layout, PixelShuffleIsUndoneByOneTransposeBetweenViews) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 12, 4, 6});
  const ValueId y = b.Node("DepthToSpace", {x}, Shape{2, 3, 8, 12}, {{"blocksize", 2}, {"mode", "CRD"}});
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_THAT(b.OpNames(run.nodes), ElementsAre("Reshape", "Transpose", "Reshape"));
  EXPECT_EQ(b.ShapeOf(b.graph().node(run.nodes[0]).outputs[0]), Shape({2, 3, 4, 2, 6, 2}));
  EXPECT_EQ(b.ShapeOf(b.graph().node(run.nodes[1]).outputs[0]), Shape({2, 3, 2, 2, 4, 6}));
}

TEST(Layout, TriluAndReverseSequenceAreAppliedToTheGradient) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4, 4});
  GradientRun run = b.RunGradient(b.Node("Trilu", {x, b.Scalar("k", 1)}, Shape{4, 4}, {{"upper", 0}}));
  ExpectSoundGradients(b, run);
  EXPECT_EQ(b.Producer(run.gradient.at(x)).op.type, "Trilu");
  EXPECT_EQ(b.Producer(run.gradient.at(x)).attributes.Int("upper", 1), 0);
  const ValueId lengths = b.Input("lengths", Int64({4}));
  run = b.RunGradient(b.Node("ReverseSequence", {x, lengths}, Shape{4, 4}));
  ExpectSoundGradients(b, run);
  EXPECT_EQ(b.Producer(run.gradient.at(x)).inputs[1], lengths);
}

// ---- Sequences.

Type Sequence(Type element, int64_t length) {
  element.form = Type::Form::kSequence;
  element.length = length;
  return element;
}

TEST(Sequences, SplitToSequenceAndSequenceAtBecomeASplit) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 7, 12});
  const ValueId s = b.Node("SplitToSequence", {x, b.Scalar("split", 4)}, Sequence(Float({2, 7, 4}), 3), {{"axis", 2}});
  const ValueId y = b.Node("SequenceAt", {s, b.Scalar("at", -1)}, Shape{2, 7, 4});
  auto emitted = b.RunLower(s);
  ASSERT_TRUE(emitted.ok()) << emitted.status();
  EXPECT_THAT(b.OpNames(*emitted), ElementsAre("Split", "SequenceConstruct"));
  const Node& split = b.graph().node((*emitted)[0]);
  ASSERT_EQ(split.outputs.size(), 3u);
  EXPECT_THAT(IntsOf(b, split.inputs[1]), ElementsAre(4, 4, 4));
  const ValueId last = split.outputs[2];
  emitted = b.RunLower(y);
  ASSERT_TRUE(emitted.ok()) << emitted.status();
  EXPECT_THAT(b.OpNames(*emitted), ElementsAre("Identity"));
  EXPECT_EQ(b.Producer(y).inputs[0], last);
}

TEST(Sequences, UnevenAndSqueezedParts) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3});
  const ValueId uneven =
      b.Node("SplitToSequence", {x, b.Constant("split", {1, 2})}, Sequence(Float({2, -1}), 2), {{"axis", 1}});
  auto emitted = b.RunLower(uneven);
  ASSERT_TRUE(emitted.ok()) << emitted.status();
  EXPECT_EQ(b.ShapeOf(b.graph().node((*emitted)[0]).outputs[1]), Shape({2, 2}));
  const ValueId rows = b.Node("SplitToSequence", {x}, Sequence(Float({3}), 2), {{"keepdims", 0}});
  emitted = b.RunLower(rows);
  ASSERT_TRUE(emitted.ok()) << emitted.status();
  EXPECT_THAT(b.OpNames(*emitted), ElementsAre("Split", "Squeeze", "Squeeze", "SequenceConstruct"));
  EXPECT_EQ(b.ShapeOf(b.graph().node((*emitted)[2]).outputs[0]), Shape({3}));
}

TEST(Sequences, ListsAreEditedAndConcatenated) {
  GraphBuilder b;
  const ValueId p = b.Input("p", {2, 3}), q = b.Input("q", {2, 3}), r = b.Input("r", {2, 3});
  const Type list = Sequence(Float({2, 3}), 2);
  const ValueId pair = b.Node("SequenceConstruct", {p, q}, list);
  const ValueId three = b.Node("SequenceInsert", {pair, r, b.Scalar("front", 0)}, Sequence(Float({2, 3}), 3));
  ASSERT_TRUE(b.RunLower(three).ok());
  EXPECT_THAT(b.Producer(three).inputs, ElementsAre(r, p, q));
  const ValueId two = b.Node("SequenceErase", {three}, list);
  ASSERT_TRUE(b.RunLower(two).ok());
  EXPECT_THAT(b.Producer(two).inputs, ElementsAre(r, p));
  const ValueId joined = b.Node("ConcatFromSequence", {two}, Shape{2, 6}, {{"axis", 1}});
  ASSERT_TRUE(b.RunLower(joined).ok());
  EXPECT_EQ(b.Producer(joined).op.type, "Concat");
  EXPECT_THAT(b.Producer(joined).inputs, ElementsAre(r, p));
  const ValueId stacked = b.Node("ConcatFromSequence", {two}, Shape{2, 2, 3}, {{"axis", 1}, {"new_axis", 1}});
  const auto emitted = b.RunLower(stacked);
  ASSERT_TRUE(emitted.ok()) << emitted.status();
  EXPECT_THAT(b.OpNames(*emitted), ElementsAre("Unsqueeze", "Unsqueeze", "Concat"));
  EXPECT_EQ(b.ShapeOf(b.Producer(stacked).inputs[0]), Shape({2, 1, 3}));
}

TEST(Sequences, AListGrownFromAnEmptyOne) {
  GraphBuilder b;
  const ValueId p = b.Input("p", {2, 3});
  const ValueId none = b.Node("SequenceEmpty", {}, Sequence(Float({}), 0));
  const ValueId one = b.Node("SequenceInsert", {none, p}, Sequence(Float({2, 3}), 1));
  ASSERT_TRUE(b.RunLower(one).ok());
  EXPECT_THAT(b.Producer(one).inputs, ElementsAre(p));
}

TEST(Sequences, WhereThePartsAreNotKnownTheNodeStays) {
  GraphBuilder b;
  const ValueId s = b.Input("s", Sequence(Float({2, 3}), -1));
  const ValueId y = b.Node("SequenceAt", {s, b.Scalar("at", 0)}, Shape{2, 3});
  ASSERT_TRUE(b.RunLower(y).ok());
  EXPECT_EQ(b.Producer(y).op.type, "SequenceAt");
  const ValueId list = b.Node("SequenceConstruct", {y}, Sequence(Float({2, 3}), 1));
  const ValueId beyond = b.Node("SequenceAt", {list, b.Scalar("five", 5)}, Shape{2, 3});
  ASSERT_TRUE(b.RunLower(beyond).ok());
  EXPECT_EQ(b.Producer(beyond).op.type, "SequenceAt");
}

// ---- Resampling.

struct ResizeCase {
  const char* mode;
  Shape output;
  int64_t antialias;
  int64_t flops;       // per element of Y
  int64_t grad_flops;  // per element of dY
};

TEST(Resampling, ResizeIsAWeightedSumOfItsTaps) {
  const ResizeCase cases[] = {
      {"nearest", {2, 3, 16, 16}, 0, 0, 1},
      {"linear", {2, 3, 16, 16}, 0, 2 * 4 - 1, 2 * 4},
      {"linear", {2, 3, 8, 16}, 0, 2 * 2 - 1, 2 * 2},  // one dimension changes
      {"cubic", {2, 3, 16, 16}, 0, 2 * 16 - 1, 2 * 16},
      {"linear", {2, 3, 4, 4}, 0, 2 * 4 - 1, 2 * 4},
      {"linear", {2, 3, 4, 4}, 1, 2 * 16 - 1, 2 * 16},  // half the size: twice the taps per dimension
  };
  for (const ResizeCase& c : cases) {
    SCOPED_TRACE(testing::Message() << c.mode << " " << ShapeString(c.output) << " antialias " << c.antialias);
    GraphBuilder b;
    const ValueId x = b.Input("x", {2, 3, 8, 8});
    const ValueId y = b.Node("Resize", {x, kNoValue, kNoValue, b.Constant("sizes", {2, 3, 16, 16})}, c.output,
                             {{"mode", c.mode}, {"antialias", c.antialias}});
    const int64_t elements = *ElementCount(c.output);
    EXPECT_EQ(FlopsOf(b.KernelOf(y)), c.flops * elements);
    EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 2 * 3 * 8 * 8);
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    const Kernel gradient = b.KernelOf(run.gradient.at(x));
    EXPECT_EQ(FlopsOf(gradient), c.grad_flops * elements);
    EXPECT_EQ(WrittenElements(gradient, 0), 2 * 3 * 8 * 8);
    EXPECT_THAT(b.EagerSavesOf(y).values, IsEmpty());
  }
}

TEST(Resampling, NearestToSomethingSmallerReadsOnlyWhatItTakes) {
  GraphBuilder b;
  const ValueId y = b.Node("Upsample-9", {b.Input("x", {2, 3, 8, 8}), b.Input("scales", {4})}, Shape{2, 3, 4, 4});
  EXPECT_EQ(ReadElements(b.KernelOf(y), 0), 2 * 3 * 4 * 4);
}

TEST(Resampling, GridSampleHasGradientsOfImageAndGrid) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {2, 3, 8, 8}), grid = b.Input("grid", {2, 5, 6, 2});
  const ValueId y = b.Node("GridSample", {x, grid}, Shape{2, 3, 5, 6});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 7 * (2 * 3 * 5 * 6) + 8 * (2 * 5 * 6 * 2));
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(x))), 8 * (2 * 3 * 5 * 6) + 8 * (2 * 5 * 6 * 2));
  EXPECT_EQ(FlopsOf(b.KernelOf(run.gradient.at(grid))), 2 * 8 * (2 * 3 * 5 * 6) + 8 * (2 * 5 * 6 * 2));
}

TEST(Resampling, RoiAlignWithAdaptiveSamplingIsNotKnown) {
  for (int64_t ratio : {0, 2}) {
    GraphBuilder b;
    const ValueId x = b.Input("x", {1, 8, 32, 32}), boxes = b.Input("boxes", {5, 4});
    const ValueId y =
        b.Node("RoiAlign", {x, boxes, b.Input("batch", Int64({5}))}, Shape{5, 8, 7, 7}, {{"sampling_ratio", ratio}});
    EXPECT_EQ(b.KernelOf(y).known, ratio != 0);
    EXPECT_EQ(FlopsOf(b.KernelOf(y)), ratio * ratio * (7 + 1) * 5 * 8 * 7 * 7);
    const GradientRun run = b.RunGradient(y);
    ExpectSoundGradients(b, run);
    EXPECT_FALSE(run.gradient.contains(boxes));
  }
}

TEST(Resampling, Col2ImAddsWindowsAndItsGradientTakesThemApart) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {1, 3 * 9, 36});
  const ValueId y = b.Node("Col2Im", {x, b.Constant("image", {8, 8}), b.Constant("block", {3, 3})}, Shape{1, 3, 8, 8});
  EXPECT_EQ(FlopsOf(b.KernelOf(y)), 27 * 36);
  const GradientRun run = b.RunGradient(y);
  ExpectSoundGradients(b, run);
  EXPECT_EQ(WrittenElements(b.KernelOf(run.gradient.at(x)), 0), 27 * 36);
}

}  // namespace
}  // namespace reusescope
