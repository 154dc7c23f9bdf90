// Operators between DequantizeLinear and QuantizeLinear, as the integer operators that a runtime makes of them. ONNX
// Runtime's QDQ transformers and TensorRT's explicit quantization do the same, so the bytes are those of the integers
// and the products run on integer units. Inference only: in training the pairs are fake quantization.

#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

constexpr absl::string_view kMicrosoft = "com.microsoft";

OpKey Microsoft(absl::string_view type) { return {std::string(kMicrosoft), std::string(type), 1}; }

// What a DequantizeLinear reads: integers or narrow floats of at most 8 bits, their scale and zero point.
struct Stored {
  ValueId numbers = kNoValue, scale = kNoValue, zero = kNoValue;
};

ValueId InputOrNone(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

// ONNX Runtime's quantizer writes some of them in its own domain, which had the narrow types first.
bool IsQdq(const Matcher& matcher, NodeId id, absl::string_view type) {
  return id != kNoNode && (matcher.Is(id, type) || matcher.graph().node(id).op == Microsoft(type));
}

std::optional<Stored> Dequantized(const Matcher& matcher, ValueId value, int max_bits = 8) {
  if (value == kNoValue) return std::nullopt;
  const NodeId producer = matcher.Producer(value);
  if (!IsQdq(matcher, producer, "DequantizeLinear")) return std::nullopt;
  const Node& node = matcher.graph().node(producer);
  const Stored stored = {node.inputs[0], node.inputs[1], InputOrNone(node, 2)};
  const int bits = BitWidth(matcher.graph().value(stored.numbers).type.dtype);
  return bits > 0 && bits <= max_bits ? std::optional(stored) : std::nullopt;
}

// The QuantizeLinear that alone reads what `node` makes, if need be behind a Relu, which rounding to an unsigned or
// clipped range does in passing; kNoNode without.
NodeId QuantizedBy(const Matcher& matcher, NodeId node, Match& match) {
  ValueId value = matcher.graph().node(node).outputs[0];
  NodeId reader = matcher.SoleReader(value, match);
  if (reader != kNoNode && matcher.Is(reader, "Relu")) {
    match.Add(reader);
    value = matcher.graph().node(reader).outputs[0];
    reader = matcher.SoleReader(value, match);
  }
  return IsQdq(matcher, reader, "QuantizeLinear") ? reader : kNoNode;
}

// The fused node is the QuantizeLinear's place under the operator's name: what follows reads the same value.
bool FuseAt(Matcher& matcher, Match match, NodeId op, NodeId root, OpKey key, std::vector<ValueId> inputs) {
  match.Add(op);
  match.Add(root);
  return matcher.Fuse(match, root, std::move(key), inputs, matcher.graph().node(op).attributes);
}

// The bias as the integer operators want it: the 32-bit integers behind a DequantizeLinear, else as it is.
ValueId BiasOf(const Matcher& matcher, const Node& node) {
  const ValueId bias = InputOrNone(node, 2);
  const std::optional<Stored> stored = Dequantized(matcher, bias, 32);
  return stored.has_value() ? stored->numbers : bias;
}

bool FuseConv(Matcher& matcher, NodeId id) {
  const Node& node = matcher.graph().node(id);
  const auto x = Dequantized(matcher, node.inputs[0]), w = Dequantized(matcher, node.inputs[1]);
  Match match;
  const NodeId root = QuantizedBy(matcher, id, match);
  if (!x.has_value() || !w.has_value() || root == kNoNode) return false;
  const Node& quantize = matcher.graph().node(root);
  return FuseAt(matcher, match, id, root, {.type = "QLinearConv", .since_version = 10},
                {x->numbers, x->scale, x->zero, w->numbers, w->scale, w->zero, quantize.inputs[1],
                 InputOrNone(quantize, 2), BiasOf(matcher, node)});
}

// Without a QuantizeLinear behind, the sums are scaled to floating point: MatMulIntegerToFloat.
bool FuseMatMul(Matcher& matcher, NodeId id) {
  const Node& node = matcher.graph().node(id);
  const auto a = Dequantized(matcher, node.inputs[0]), b = Dequantized(matcher, node.inputs[1]);
  if (!a.has_value() || !b.has_value()) return false;
  Match match;
  const NodeId root = QuantizedBy(matcher, id, match);
  if (root == kNoNode) {
    return FuseAt(matcher, {}, id, id, Microsoft("MatMulIntegerToFloat"),
                  {a->numbers, b->numbers, a->scale, b->scale, a->zero, b->zero});
  }
  const Node& quantize = matcher.graph().node(root);
  return FuseAt(
      matcher, match, id, root, {.type = "QLinearMatMul", .since_version = 21},
      {a->numbers, a->scale, a->zero, b->numbers, b->scale, b->zero, quantize.inputs[1], InputOrNone(quantize, 2)});
}

bool FuseGemm(Matcher& matcher, NodeId id) {
  const Node& node = matcher.graph().node(id);
  const auto a = Dequantized(matcher, node.inputs[0]), b = Dequantized(matcher, node.inputs[1]);
  if (!a.has_value() || !b.has_value() || node.attributes.Float("beta", 1) != 1) return false;
  std::vector<ValueId> inputs = {a->numbers, a->scale, a->zero, b->numbers, b->scale, b->zero, BiasOf(matcher, node)};
  Match match;
  const NodeId root = QuantizedBy(matcher, id, match);
  if (root == kNoNode) return FuseAt(matcher, {}, id, id, Microsoft("QGemm"), inputs);
  const Node& quantize = matcher.graph().node(root);
  inputs.push_back(quantize.inputs[1]);
  inputs.push_back(InputOrNone(quantize, 2));
  return FuseAt(matcher, match, id, root, Microsoft("QGemm"), inputs);
}

// Weights of a few bits under floating-point activations: unpacked inside the product.
bool FusePackedWeights(Matcher& matcher, NodeId id) {
  const Graph& graph = matcher.graph();
  const Node& node = graph.node(id);
  Match match;
  ValueId b = node.inputs[1];
  if (const Node* transpose = matcher.Produced(b, "Transpose", match)) b = transpose->inputs[0];
  const auto weights = Dequantized(matcher, b);
  const Shape &product = graph.value(node.outputs[0]).type.shape, &a = graph.value(node.inputs[0]).type.shape;
  if (!weights.has_value() || graph.value(weights->numbers).type.rank() != 2 || product.empty() || a.empty() ||
      matcher.Producer(weights->numbers) != kNoNode) {
    return false;
  }
  Attributes attributes;
  attributes.Set("K", a.back());
  attributes.Set("N", product.back());
  attributes.Set("bits", int64_t{BitWidth(graph.value(weights->numbers).type.dtype)});
  match.Add(id);
  return matcher.Fuse(match, id, Microsoft("MatMulNBits"),
                      {node.inputs[0], weights->numbers, weights->scale, weights->zero}, std::move(attributes));
}

// Elementwise and pooling operators that com.microsoft has on integers; how many tensors they take.
struct IntegerForm {
  absl::string_view type, integer_type;
  int operands;  // each with scale and zero point; -1: any number, behind those of the result
};
constexpr IntegerForm kIntegerForms[] = {
    {"Add", "QLinearAdd", 2},
    {"Mul", "QLinearMul", 2},
    {"Sigmoid", "QLinearSigmoid", 1},
    {"LeakyRelu", "QLinearLeakyRelu", 1},
    {"Softmax", "QLinearSoftmax", 1},
    {"AveragePool", "QLinearAveragePool", 1},
    {"GlobalAveragePool", "QLinearGlobalAveragePool", 1},
    {"Concat", "QLinearConcat", -1},
};

bool FuseIntegerForm(Matcher& matcher, NodeId id, const IntegerForm& form) {
  const Node& node = matcher.graph().node(id);
  std::vector<ValueId> operands;
  for (const ValueId input : node.inputs) {
    const std::optional<Stored> stored = Dequantized(matcher, input);
    if (!stored.has_value()) return false;
    operands.insert(operands.end(), {stored->numbers, stored->scale, stored->zero});
  }
  Match match;
  const NodeId root = QuantizedBy(matcher, id, match);
  if (root == kNoNode) return false;
  const Node& quantize = matcher.graph().node(root);
  operands.insert(form.operands < 0 ? operands.begin() : operands.end(),
                  {quantize.inputs[1], InputOrNone(quantize, 2)});
  return FuseAt(matcher, match, id, root, Microsoft(form.integer_type), std::move(operands));
}

// Operators that only move or choose elements do it to integers as well, where the scale stays.
constexpr absl::string_view kMovers[] = {"Reshape", "Flatten", "Transpose", "Squeeze",      "Unsqueeze",
                                         "Slice",   "MaxPool", "Expand",    "DepthToSpace", "SpaceToDepth",
                                         "Gather",  "Tile",    "Resize",    "Identity"};

bool SameScale(const Graph& graph, ValueId a, ValueId b) {
  const Literal *left = graph.literal(a), *right = graph.literal(b);
  return a == b || (left != nullptr && right != nullptr && *left == *right);
}

bool MoveIntegers(Matcher& matcher, NodeId id) {
  const Node& node = matcher.graph().node(id);
  const auto x = Dequantized(matcher, node.inputs[0]);
  if (!x.has_value() || node.outputs.size() != 1) return false;
  Match match;
  ValueId value = node.outputs[0];
  const NodeId root = matcher.SoleReader(value, match);
  if (!IsQdq(matcher, root, "QuantizeLinear")) return false;
  if (!SameScale(matcher.graph(), matcher.graph().node(root).inputs[1], x->scale)) return false;
  std::vector<ValueId> inputs(node.inputs.begin(), node.inputs.end());
  inputs[0] = x->numbers;
  return FuseAt(matcher, match, id, root, node.op, std::move(inputs));
}

int CountFused(Matcher& matcher, absl::string_view type, bool (*fuse)(Matcher&, NodeId)) {
  int count = 0;
  for (const NodeId id : matcher.NodesOf(type)) count += fuse(matcher, id) ? 1 : 0;
  return count;
}

}  // namespace

int FuseQuantized(Matcher& matcher) {
  int count = CountFused(matcher, "Conv", FuseConv) + CountFused(matcher, "MatMul", FuseMatMul) +
              CountFused(matcher, "Gemm", FuseGemm) + CountFused(matcher, "MatMul", FusePackedWeights);
  for (const IntegerForm& form : kIntegerForms) {
    for (const NodeId id : matcher.NodesOf(form.type)) count += FuseIntegerForm(matcher, id, form) ? 1 : 0;
  }
  for (const absl::string_view type : kMovers) count += CountFused(matcher, type, MoveIntegers);
  return count;
}

}  // namespace reusescope
