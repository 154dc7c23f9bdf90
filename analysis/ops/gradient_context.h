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
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

// A subgraph that computes itself and, after that, its gradients.
struct SubgraphGradient {
  std::unique_ptr<Graph> graph;    // a copy, with the same ids, and backward nodes; its outputs are the rule's to set
  std::vector<ValueId> seeds;      // by output: the value, without producer, that is its gradient; else kNoValue
  std::vector<ValueId> gradients;  // of what was wanted; kNoValue where no output depends on it
};

// What Differentiate does for the rules.
struct GradientHooks {
  std::function<bool(ValueId)> needs;
  std::function<void(ValueId, ValueId)> set_gradient;
  // Of a subgraph of the same graph: gradients of `wanted`, from those of the outputs that are `seeded`.
  std::function<absl::StatusOr<SubgraphGradient>(const Graph&, absl::Span<const ValueId> wanted,
                                                 const std::vector<bool>& seeded)>
      differentiate;
};

// Attribute of a gradient whose operand 1 may be input 0 or output 0 of its forward node, as they share what it looks
// at (transform/prefer_kept.h).
inline constexpr absl::string_view kReadsEither = "reads_either";

class GradientContext {
 public:
  // `gradient_of_output` has one entry per output of the forward node.
  GradientContext(Graph& graph, NodeId forward, const OpSemantics& semantics, std::vector<ValueId> gradient_of_output,
                  GradientHooks hooks);

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
  ValueId Zeros(const Type& type);

  // ---- Nodes that own subgraphs (If, Loop, Scan).

  // REQUIRES: the forward node has a graph under attribute `name`.
  const Graph& Subgraph(absl::string_view name) const;
  absl::StatusOr<SubgraphGradient> DifferentiateSubgraph(absl::string_view name, absl::Span<const ValueId> wanted,
                                                         const std::vector<bool>& seeded) const {
    return hooks_.differentiate(Subgraph(name), wanted, seeded);
  }
  // The same of a value that a subgraph reads from outside. Gradients have its very shape.
  bool NeedsOuter(ValueId value) const { return hooks_.needs(value); }
  void SetOuterGradient(ValueId value, ValueId gradient) { hooks_.set_gradient(value, gradient); }
  // Makes the forward Loop or Scan hand out `inner`, a value of its body, of all trips: stacked along a new axis 0.
  ValueId Stack(ValueId inner);
  // EmitMany of a node that owns subgraphs, under these attributes; what they captured is found by name.
  std::vector<ValueId> EmitOwner(absl::string_view op_type, absl::Span<const ValueId> inputs,
                                 absl::Span<const Type> types, Attributes attributes,
                                 std::vector<std::pair<std::string, std::unique_ptr<Graph>>> subgraphs);

  absl::Status Error(absl::string_view message) const { return forward().Error(message); }

 private:
  Graph& graph_;
  NodeId forward_;
  const OpSemantics& semantics_;
  std::vector<ValueId> go_;
  GradientHooks hooks_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_GRADIENT_CONTEXT_H_
