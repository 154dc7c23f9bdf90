// LSTM, GRU, RNN against the same cell unrolled into matrix products.

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr int64_t kSteps = 7, kBatch = 3, kInput = 5, kHidden = 4;

struct CellCase {
  const char* op;
  int64_t gates;
};
constexpr CellCase kCells[] = {{"LSTM", 4}, {"GRU", 3}, {"RNN", 1}};

// X W R [B [- h0 c0]] -> Y Y_h Y_c of one layer.
struct Layer {
  ValueId x, w, r, bias, h0, c0;
  std::vector<ValueId> y;
};

Layer AddLayer(GraphBuilder& b, const CellCase& cell, int64_t directions = 1, AttributeList attributes = {},
               bool states = true) {
  const bool lstm = std::string(cell.op) == "LSTM";
  Layer layer;
  layer.x = b.Input("x", {kSteps, kBatch, kInput});
  layer.w = b.Parameter("w", {directions, cell.gates * kHidden, kInput});
  layer.r = b.Parameter("r", {directions, cell.gates * kHidden, kHidden});
  layer.bias = b.Parameter("b", {directions, 2 * cell.gates * kHidden});
  layer.h0 = b.Input("h0", {directions, kBatch, kHidden});
  layer.c0 = b.Input("c0", {directions, kBatch, kHidden});
  std::vector<ValueId> inputs = {layer.x, layer.w, layer.r, layer.bias};
  if (states) inputs.insert(inputs.end(), {kNoValue, layer.h0});
  if (states && lstm) inputs.push_back(layer.c0);
  std::vector<Type> outputs = {Float({kSteps, directions, kBatch, kHidden}), Float({directions, kBatch, kHidden})};
  if (lstm) outputs.push_back(outputs[1]);
  attributes.emplace_back("hidden_size", kHidden);
  layer.y = b.NodeMany(cell.op, inputs, outputs, attributes);
  return layer;
}

int64_t TotalMacs(const GraphBuilder& b, const std::vector<NodeId>& nodes) {
  int64_t macs = 0;
  for (NodeId id : nodes) macs += MacsOf(b.KernelOfNode(id));
  return macs;
}

struct Unrolled {
  int64_t forward = 0, backward = 0;
};

// The cell step by step: x_t [B, I] and h [B, H] times the transposed weights, gates by gates.
Unrolled UnrollWithMatMul(const CellCase& cell) {
  GraphBuilder b;
  const ValueId w = b.Parameter("w", {kInput, cell.gates * kHidden});
  const ValueId r = b.Parameter("r", {kHidden, cell.gates * kHidden});
  Unrolled count;
  for (int64_t t = 0; t < kSteps; ++t) {
    const ValueId x = b.Input(absl::StrCat("x", t), {kBatch, kInput});
    const ValueId h = b.Input(absl::StrCat("h", t), {kBatch, kHidden});
    for (const auto& [state, weight] : {std::pair{x, w}, std::pair{h, r}}) {
      const ValueId product = b.Node("MatMul", {state, weight}, Shape{kBatch, cell.gates * kHidden});
      count.forward += MacsOf(b.KernelOf(product));
      count.backward += TotalMacs(b, b.RunGradient(product).nodes);
    }
  }
  return count;
}

TEST(Recurrent, MacsAreThoseOfTheUnrolledCell) {
  for (const CellCase& cell : kCells) {
    SCOPED_TRACE(cell.op);
    GraphBuilder b;
    const Layer layer = AddLayer(b, cell);
    const Unrolled unrolled = UnrollWithMatMul(cell);
    const Kernel kernel = b.KernelOf(layer.y[0]);
    EXPECT_TRUE(kernel.contraction);
    EXPECT_EQ(MacsOf(kernel), unrolled.forward);
    EXPECT_EQ(MacsOf(kernel), kSteps * kBatch * cell.gates * kHidden * (kInput + kHidden));
    const GradientRun run = b.RunGradient(layer.y[0]);
    ExpectSoundGradients(b, run);
    EXPECT_EQ(TotalMacs(b, run.nodes), unrolled.backward);
    EXPECT_EQ(TotalMacs(b, run.nodes), 2 * MacsOf(kernel));
  }
}

TEST(Recurrent, TwoDirectionsCostTwice) {
  for (const CellCase& cell : kCells) {
    GraphBuilder b;
    const Kernel one = b.KernelOf(AddLayer(b, cell, 1).y[0]);
    const Kernel two = b.KernelOf(AddLayer(b, cell, 2, {{"direction", "bidirectional"}}).y[0]);
    EXPECT_EQ(MacsOf(two), 2 * MacsOf(one)) << cell.op;
    EXPECT_EQ(FlopsOf(two), 2 * FlopsOf(one)) << cell.op;
  }
}

TEST(Recurrent, EveryOperandIsTouchedOnce) {
  for (const CellCase& cell : kCells) {
    SCOPED_TRACE(cell.op);
    GraphBuilder b;
    const Kernel kernel = b.KernelOf(AddLayer(b, cell).y[0]);
    EXPECT_EQ(ReadElements(kernel, 0), kSteps * kBatch * kInput);
    EXPECT_EQ(ReadElements(kernel, 1), cell.gates * kHidden * kInput);
    EXPECT_EQ(ReadElements(kernel, 2), cell.gates * kHidden * kHidden);
    EXPECT_EQ(ReadElements(kernel, 3), 2 * cell.gates * kHidden);
    EXPECT_EQ(ReadElements(kernel, 5), kBatch * kHidden);
    EXPECT_EQ(WrittenElements(kernel, 0), kSteps * kBatch * kHidden);
    EXPECT_EQ(WrittenElements(kernel, 1), kBatch * kHidden);
  }
}

TEST(Recurrent, EachOperandIsReadInColumnsOfItsOwn) {
  GraphBuilder b;
  const Layer layer = AddLayer(b, kCells[0]);
  EXPECT_THAT(KernelEquation(b.KernelOf(layer.y[0])), AllOf(HasSubstr("Y[t,d,b,h]"), HasSubstr("X[t,b,k]"),
                                                            HasSubstr("W[d,4g+h,k]"), HasSubstr("W[d,4g+h,k-5]")));
  const GradientRun run = b.RunGradient(layer.y[0]);
  EXPECT_THAT(KernelEquation(b.KernelOfNode(run.nodes[0])),
              AllOf(HasSubstr("W[d,4g+h,k-4]"), HasSubstr("W[d,4g+h,k]")));
  EXPECT_THAT(KernelEquation(b.KernelOfNode(run.nodes[1])), AllOf(HasSubstr("X[t,b,k]"), HasSubstr("X[t,d,b,k-5]")));
}

TEST(Recurrent, ElementwiseWorkOfTheCell) {
  constexpr int64_t kUnits = kSteps * kBatch * kHidden;
  GraphBuilder b;
  // Sigmoid is 2 FLOPs and 2 transcendentals, tanh one transcendental; two biases per gate.
  const Kernel lstm = b.KernelOf(AddLayer(b, kCells[0]).y[0]);
  EXPECT_EQ(FlopsOf(lstm), (3 * 2 + 4 + 2 * 4) * kUnits);
  EXPECT_EQ(TranscendentalsOf(lstm), (3 * 2 + 2) * kUnits);
  const Kernel gru = b.KernelOf(AddLayer(b, kCells[1]).y[0]);
  EXPECT_EQ(FlopsOf(gru), (2 * 2 + 5 + 2 * 3) * kUnits);
  EXPECT_EQ(TranscendentalsOf(gru), (2 * 2 + 1) * kUnits);
  const AttributeList relu = {{"activations", std::vector<std::string>{"Relu"}}};
  const Kernel rnn = b.KernelOf(AddLayer(b, kCells[2], 1, relu).y[0]);
  EXPECT_EQ(FlopsOf(rnn), (1 + 2) * kUnits);
  EXPECT_EQ(TranscendentalsOf(rnn), 0);
}

TEST(Recurrent, BackwardLeavesOutWhatNobodyNeeds) {
  const CellCase& cell = kCells[0];
  constexpr int64_t kRows = kSteps * kBatch * 4 * kHidden;
  struct Case {
    const char* name;
    std::vector<int> wanted;  // 0 x, 1 w, 2 r, 3 b, 4 h0
    std::vector<std::string> ops;
    int64_t macs;
  };
  const Case cases[] = {
      {"first layer: no dX",
       {1, 2, 3},
       {"reusescope::LSTMGrad", "reusescope::LSTMWeightGrad"},
       kRows * (kHidden + kInput + kHidden)},
      {"frozen weights", {0}, {"reusescope::LSTMGrad"}, kRows * (kHidden + kInput)},
      {"bias alone", {3}, {"reusescope::LSTMGrad", "reusescope::LSTMWeightGrad"}, kRows * kHidden},
      {"recurrent weights alone", {2}, {"reusescope::LSTMGrad", "reusescope::LSTMWeightGrad"}, kRows * 2 * kHidden},
      {"initial state alone", {4}, {"reusescope::LSTMGrad"}, kRows * kHidden},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    GraphBuilder b;
    const Layer layer = AddLayer(b, cell);
    const ValueId values[] = {layer.x, layer.w, layer.r, layer.bias, layer.h0};
    std::vector<ValueId> wanted;
    for (int i : c.wanted) wanted.push_back(values[i]);
    const GradientRun run = b.RunGradient(layer.y[0], {layer.y[0]}, wanted);
    ExpectSoundGradients(b, run);
    EXPECT_EQ(b.OpNames(run.nodes), c.ops);
    EXPECT_EQ(TotalMacs(b, run.nodes), c.macs);
    EXPECT_EQ(run.gradient.size(), wanted.size());
    for (ValueId value : wanted) EXPECT_TRUE(run.gradient.contains(value));
  }
}

TEST(Recurrent, BackwardTouchesWeightsOnce) {
  GraphBuilder b;
  const Layer layer = AddLayer(b, kCells[0]);
  const GradientRun run = b.RunGradient(layer.y[0]);
  const Kernel data = b.KernelOfNode(run.nodes[0]);
  EXPECT_EQ(ReadElements(data, 0), 4 * kHidden * kInput);   // W
  EXPECT_EQ(ReadElements(data, 1), 4 * kHidden * kHidden);  // R
  EXPECT_EQ(WrittenElements(data, 0), kSteps * kBatch * 4 * kHidden);
  const Kernel weights = b.KernelOfNode(run.nodes[1]);
  EXPECT_EQ(ReadElements(weights, 0), kSteps * kBatch * kInput);
  EXPECT_EQ(ReadElements(weights, 1), kSteps * kBatch * kHidden);
  EXPECT_EQ(ReadElements(weights, 2), kSteps * kBatch * 4 * kHidden);
  EXPECT_EQ(WrittenElements(weights, 0), 4 * kHidden * kInput);
  EXPECT_EQ(WrittenElements(weights, 1), 4 * kHidden * kHidden);
  EXPECT_EQ(WrittenElements(weights, 2), 2 * 4 * kHidden);
  EXPECT_EQ(FlopsOf(weights), kSteps * kBatch * 4 * kHidden);  // the bias
}

// Names of what backward reads that forward computes, with its type.
std::vector<std::string> SavedOutputs(const GraphBuilder& b, const Layer& layer, size_t model_outputs) {
  std::vector<std::string> saved;
  const Node& node = b.Producer(layer.y[0]);
  for (size_t j = model_outputs; j < node.outputs.size(); ++j) {
    const Value& value = b.graph().value(node.outputs[j]);
    saved.push_back(absl::StrCat(value.name, " ", TypeString(value.type)));
  }
  return saved;
}

TEST(Recurrent, ForwardSavesGatesAndCells) {
  GraphBuilder b;
  const Layer lstm = AddLayer(b, kCells[0]);
  b.RunGradient(lstm.y[0]);
  EXPECT_THAT(SavedOutputs(b, lstm, 3),
              ElementsAre("LSTM_0.gates float32[7, 1, 3, 16]", "LSTM_0.cells float32[7, 1, 3, 4]"));
  EXPECT_EQ(WrittenElements(b.KernelOf(lstm.y[0]), 3), kSteps * kBatch * 4 * kHidden);

  GraphBuilder gru_builder;
  const Layer gru = AddLayer(gru_builder, kCells[1], 1, {{"linear_before_reset", 1}});
  const GradientRun run = gru_builder.RunGradient(gru.y[0]);
  ExpectSoundGradients(gru_builder, run);
  EXPECT_THAT(SavedOutputs(gru_builder, gru, 2),
              ElementsAre("GRU_0.gates float32[7, 1, 3, 12]", "GRU_0.recurrent_new_gate float32[7, 1, 3, 4]"));

  GraphBuilder rnn_builder;
  const Layer rnn = AddLayer(rnn_builder, kCells[2]);
  rnn_builder.RunGradient(rnn.y[0]);
  EXPECT_THAT(SavedOutputs(rnn_builder, rnn, 2), IsEmpty());
}

TEST(Recurrent, AModelThatUsesTheLastStateAloneStillNeedsAllOfThem) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {kSteps, kBatch, kInput});
  const ValueId w = b.Parameter("w", {1, 3 * kHidden, kInput}), r = b.Parameter("r", {1, 3 * kHidden, kHidden});
  const ValueId last = b.Node("GRU", {x, w, r}, Shape{1, kBatch, kHidden});
  Node& node = b.graph().node(b.graph().value(last).producer);
  node.outputs.insert(node.outputs.begin(), kNoValue);
  const GradientRun run = b.RunGradient(last);
  ExpectSoundGradients(b, run);
  std::vector<std::string> names;
  for (ValueId output : b.Producer(last).outputs) {
    if (output != kNoValue) names.push_back(b.graph().value(output).name);
  }
  EXPECT_THAT(names, Contains("GRU_0.hidden"));
}

TEST(Recurrent, BatchFirstSwapsStepsAndBatch) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {kBatch, kSteps, kInput});
  const ValueId w = b.Parameter("w", {1, kHidden, kInput}), r = b.Parameter("r", {1, kHidden, kHidden});
  const ValueId y = b.Node("RNN", {x, w, r}, Shape{kBatch, kSteps, 1, kHidden}, {{"layout", 1}});
  const Kernel kernel = b.KernelOf(y);
  EXPECT_EQ(MacsOf(kernel), kSteps * kBatch * kHidden * (kInput + kHidden));
  EXPECT_EQ(ReadElements(kernel, 0), kSteps * kBatch * kInput);
  EXPECT_EQ(WrittenElements(kernel, 0), kSteps * kBatch * kHidden);
  EXPECT_THAT(KernelEquation(kernel), HasSubstr("X[b,t,k]"));
  ExpectSoundGradients(b, b.RunGradient(y));
}

TEST(Recurrent, EagerLstmKeepsInputOutputAndStates) {
  GraphBuilder b;
  const Layer layer = AddLayer(b, kCells[0]);
  const EagerSaves saves = b.EagerSavesOf(layer.y[0]);
  EXPECT_THAT(saves.values, UnorderedElementsAre(layer.x, layer.y[0], layer.h0, layer.c0, layer.y[1], layer.y[2]));
  EXPECT_EQ(saves.extra_activation_elements, 0);
  // Without initial states PyTorch makes zeros, and keeps those.
  const EagerSaves zeros = b.EagerSavesOf(AddLayer(b, kCells[0], 1, {}, /*states=*/false).y[0]);
  EXPECT_EQ(zeros.values.size(), 4u);
  EXPECT_EQ(zeros.extra_activation_elements, 2 * kBatch * kHidden);
}

TEST(Recurrent, EagerGruAndRnnKeepNumbersOfEveryStep) {
  GraphBuilder b;
  const Layer gru = AddLayer(b, kCells[1]);
  EXPECT_THAT(b.EagerSavesOf(gru.y[0]).values, UnorderedElementsAre(gru.x, gru.h0));
  EXPECT_EQ(b.EagerSavesOf(gru.y[0]).extra_activation_elements, 7 * kSteps * kBatch * kHidden);
  const Layer rnn = AddLayer(b, kCells[2]);
  EXPECT_EQ(b.EagerSavesOf(rnn.y[0]).extra_activation_elements, kSteps * kBatch * kHidden);
}

TEST(Recurrent, SequenceLengthsHaveNoGradient) {
  EXPECT_EQ(OpRegistry::Get().Find({"", "LSTM", 14})->differentiable_inputs >> 4 & 1u, 0u);
}

TEST(Recurrent, WeightsOfAnotherSizeAreAnError) {
  GraphBuilder b;
  const ValueId y =
      b.Node("LSTM", {b.Input("x", {7, 3, 5}), b.Input("w", {1, 16, 6}), b.Input("r", {1, 16, 4})}, Shape{7, 1, 3, 4});
  EXPECT_THAT(std::string(b.TryKernelOf(y).status().message()),
              HasSubstr("W [1, 16, 6], R [1, 16, 4], expected [T, B, I], [D, 4H, I], [D, 4H, H]"));
}

}  // namespace
}  // namespace reusescope
