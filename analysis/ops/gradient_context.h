// What a gradient rule has in hand: the forward node, the gradients of its outputs, and the means to emit backward
// nodes.
//
//   absl::Status MulGradient(GradientContext& ctx) {          // Y = A * B
//     if (ctx.Needs(0)) ctx.SetGradient(0, ctx.Emit("Mul", {ctx.GO(0), ctx.I(1)}, ctx.GradientType(0)));   // dA = dY *
//     B if (ctx.Needs(1)) ctx.SetGradient(1, ctx.Emit("Mul", {ctx.GO(0), ctx.I(0)}, ctx.GradientType(0)));   // dB = dY
//     * A return absl::OkStatus();
//   }
//
// I(i), O(j): inputs and outputs of the forward node; GO(j): the gradient of output j, or kNoValue when none flows into
// it; the gradient of input i is handed back with SetGradient, which undoes broadcasting (sums over the dimensions that
// forward broadcast) and adds up contributions of several uses. A rule asks Needs(i) before it emits: the first layer
// needs no gradient of its input, frozen parameters none of theirs.

#ifndef REUSESCOPE_ANALYSIS_OPS_GRADIENT_CONTEXT_H_
#define REUSESCOPE_ANALYSIS_OPS_GRADIENT_CONTEXT_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

class GradientContext {
 public:
  // `needs` and `set_gradient` are Differentiate's; `gradient_of_output` has one entry per output of the forward node.
  GradientContext(Graph& graph, NodeId forward, const OpSemantics& semantics, std::vector<ValueId> gradient_of_output,
                  std::function<bool(ValueId)> needs, std::function<void(ValueId, ValueId)> set_gradient);

  // The forward node as its kernel sees it; references into the graph are valid until the next Emit.
  OpContext forward() const { return OpContext(graph_, forward_, semantics_); }
  const Graph& graph() const { return graph_; }
  const Node& node() const { return graph_.node(forward_); }
  int num_inputs() const { return static_cast<int>(node().inputs.size()); }

  ValueId I(int i) const { return i < num_inputs() ? node().inputs[i] : kNoValue; }
  ValueId O(int j) const { return j < static_cast<int>(node().outputs.size()) ? node().outputs[j] : kNoValue; }
  ValueId GO(int j) const { return j < static_cast<int>(go_.size()) ? go_[j] : kNoValue; }
  // Type of the gradient of output j, or of any value: its own.
  Type GradientType(int output) const { return graph_.value(O(output)).type; }
  Type TypeOf(ValueId id) const { return graph_.value(id).type; }

  // Input i exists, is floating-point, the rule differentiates it, and someone needs its gradient.
  bool Needs(int i) const;

  // Appends a backward node with one output of type `type` and returns the output. `op_type` of ai.onnx, or
  // "reusescope::Name" for ours. The node's forward_node is the forward node.
  ValueId Emit(absl::string_view op_type, absl::Span<const ValueId> inputs, const Type& type,
               Attributes attributes = {});
  // The same with several outputs.
  std::vector<ValueId> EmitMany(absl::string_view op_type, absl::Span<const ValueId> inputs,
                                absl::Span<const Type> types, Attributes attributes = {});

  // Hands back the gradient of input i. Its type is that of the input, or of something that broadcasting made from it:
  // then a "reusescope::Unbroadcast" (sum over the broadcast dimensions) is emitted here, once for all rules.
  void SetGradient(int i, ValueId gradient);

  // Adds an output to the forward node that only backward reads and the operator itself has not: the gates of a
  // recurrence. Returns the existing one if the node already has an output of that suffix.
  ValueId SaveOutput(absl::string_view suffix, Type type);

  // The operator's own output j, which the model may have left out: pool indices, a dropout mask, row statistics.
  ValueId AskForOutput(int j, absl::string_view suffix, Type type);

  // A constant with known values, for axes and shapes.
  ValueId Constant(absl::string_view suffix, Literal literal);

  absl::Status Error(absl::string_view message) const { return forward().Error(message); }

 private:
  Graph& graph_;
  NodeId forward_;
  const OpSemantics& semantics_;
  std::vector<ValueId> go_;
  std::function<bool(ValueId)> needs_;
  std::function<void(ValueId, ValueId)> set_gradient_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_GRADIENT_CONTEXT_H_
