// What the `lower` rule of a composite operator has in hand: the node it replaces, and the means to emit core nodes.
//
//   absl::Status LowerAttention(LowerContext& ctx) {
//     const ValueId scores = ctx.Emit("MatMul", {ctx.I(0), key_transposed}, scores_type);
//     ...
//     ctx.ReplaceOutput(0, product);
//     ctx.AddRegion("attention");   // everything emitted so far belongs together
//   }
//
// Emitted nodes are named after the replaced node and carry its module; they take its place in the schedule.

#ifndef REUSESCOPE_ANALYSIS_OPS_LOWER_CONTEXT_H_
#define REUSESCOPE_ANALYSIS_OPS_LOWER_CONTEXT_H_

#include <vector>

#include "absl/types/span.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

class LowerContext {
 public:
  LowerContext(Graph& graph, NodeId id, const OpSemantics& semantics) : graph_(graph), id_(id), semantics_(semantics) {}

  OpContext node() const { return OpContext(graph_, id_, semantics_); }
  ValueId I(int i) const {
    const auto& inputs = graph_.node(id_).inputs;
    return i < static_cast<int>(inputs.size()) ? inputs[i] : kNoValue;
  }
  Type TypeOf(ValueId id) const { return graph_.value(id).type; }

  // Adds a node with one output and returns the output. `op_type` as in GradientContext::Emit.
  ValueId Emit(absl::string_view op_type, absl::Span<const ValueId> inputs, const Type& type,
               Attributes attributes = {});
  // The same with several outputs.
  std::vector<ValueId> EmitMany(absl::string_view op_type, absl::Span<const ValueId> inputs,
                                absl::Span<const Type> types, Attributes attributes = {});
  ValueId Constant(absl::string_view suffix, Literal literal);
  // A constant too large to be held, or whose numbers no stage looks at: as if a node without inputs had been folded.
  ValueId FoldedConstant(absl::string_view op_type, const Type& type, Attributes attributes);
  // The replaced node's output j is from now on what `value` is.
  void ReplaceOutput(int j, ValueId value);
  void AddRegion(absl::string_view kind);

  // What was emitted, in order; for the stage that splices it into the schedule.
  const std::vector<NodeId>& emitted() const { return emitted_; }

 private:
  Graph& graph_;
  NodeId id_;
  const OpSemantics& semantics_;
  std::vector<NodeId> emitted_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_LOWER_CONTEXT_H_
