// What the patterns look at and rewrite: a graph with its readers, and the nodes of a match.
//
//   Match match;
//   const Node* add = matcher.Produced(v, "Add", match);   // the Add that makes v, noted in the match; else null
//   Product p = matcher.AsProduct(v, {x}, match);          // 0.5 * x * (1 + ...) -> constant 0.5, factors {x, ...}
//   matcher.Fuse(match, root, {.type = "Gelu", .since_version = 20}, {x}, attributes);
//
// A match is only notes until Fuse, which refuses when an inner value is read from outside of it. Identity and Casts
// that change nothing are looked through. Nodes that were fused away are out of the schedule after Finish.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_PATTERNS_MATCHER_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_PATTERNS_MATCHER_H_

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// Nodes that a pattern has met so far, each once.
struct Match {
  absl::InlinedVector<NodeId, 12> nodes;
  bool Has(NodeId id) const;
  void Add(NodeId id);
};

// constant * factor * factor * ...
struct Product {
  double constant = 1;
  absl::InlinedVector<ValueId, 4> factors;
  // Whether it is `expected_constant` (within 1e-3 of it, as 16-bit files store it) times exactly these, in any order.
  bool Is(double expected_constant, absl::Span<const ValueId> expected) const;
};

class Matcher {
 public:
  explicit Matcher(Graph& graph);

  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }

  // The scheduled nodes of an ai.onnx operator, in schedule order, as they are now.
  std::vector<NodeId> NodesOf(absl::string_view type) const;
  bool Is(NodeId id, absl::string_view type) const;
  bool IsAnyOf(NodeId id, std::initializer_list<absl::string_view> types) const;

  // The node that makes `value`; kNoNode for inputs and stored values.
  NodeId Producer(ValueId value) const;
  // Looks back through Identity and Casts to the same dtype (through every Cast if `casts`); notes them in the match.
  ValueId SkipBack(ValueId value, Match& match, bool casts = false) const;
  // The node that makes `value` (looked at through SkipBack) if it is of this type, noted; null otherwise.
  const Node* Produced(ValueId value, absl::string_view type, Match& match) const;

  // Who reads `value` now, each once. A graph output is read by nobody here; see IsOutput.
  absl::InlinedVector<NodeId, 4> Readers(ValueId value) const;
  // The one node that reads `value`, which is no graph output; kNoNode otherwise. Looks on through Identity and Casts
  // to the same dtype (through every Cast if `casts`), noting them, and sets `value` to what the reader reads.
  NodeId SoleReader(ValueId& value, Match& match, bool casts = false) const;
  bool IsOutput(ValueId value) const { return is_output_[value]; }

  // The number that a stored one-element tensor holds.
  std::optional<double> Scalar(ValueId value) const;
  bool IsScalar(ValueId value, double expected) const;
  // The operand beside `operand` of a node with two inputs; kNoValue if it has another number or does not read it.
  ValueId Other(const Node& node, ValueId operand) const;
  // The operand of a commutative node that is no stored scalar, if the other one is `expected`.
  ValueId BesideScalar(const Node& node, double expected) const;

  // `value` written out through Mul, Div by a scalar, Pow by a small whole exponent. Values in `stop` are not opened.
  Product AsProduct(ValueId value, absl::Span<const ValueId> stop, Match& match) const;
  // From `value` up through the Muls (and Divs by a scalar) that read it: the first node whose result is `constant`
  // times `factors`, with its nodes noted; kNoNode when there is none.
  NodeId ClimbToProduct(ValueId value, double constant, absl::Span<const ValueId> factors, Match& match) const;

  // Makes `root` the fused node: it keeps its outputs and place, and reads `inputs`; the other nodes of the match go.
  // False, changing nothing, if an inner value is a graph output, is read from outside, or is one of `inputs`.
  bool Fuse(const Match& match, NodeId root, OpKey op, absl::Span<const ValueId> inputs, Attributes attributes = {});
  // Input `slot` of `node` becomes a view of what it was, of that shape: a Reshape in front of the node.
  void ReshapeInput(NodeId node, int slot, const Shape& shape);
  // Every reader of `from` reads `to` instead. REQUIRES: `from` is no graph output and no subgraph captures it.
  void Redirect(ValueId from, ValueId to);
  bool IsCaptured(ValueId value) const;
  void Remove(NodeId id) { removed_[id] = true; }
  // Notes that the nodes belong together without fusing them.
  void AddRegion(absl::string_view kind, absl::Span<const NodeId> nodes);
  void ExtendRegion(Region& region, absl::Span<const NodeId> nodes);
  // A name that no node has, made of `stem`.
  std::string UniqueName(std::string stem);

  // Takes the removed nodes out of the schedule, and new ones to where they belong.
  void Finish();

 private:
  bool Transparent(NodeId id, bool casts) const;
  void Open(ValueId value, int exponent, int depth, absl::Span<const ValueId> stop, Product& product,
            Match& match) const;

  Graph& graph_;
  std::vector<absl::InlinedVector<NodeId, 2>> readers_;
  std::vector<bool> is_output_;
  std::vector<bool> scheduled_;
  std::vector<int32_t> position_;  // in the schedule
  std::vector<bool> removed_;
  absl::flat_hash_map<NodeId, std::vector<NodeId>> added_before_;  // new nodes, by the one that they run before
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_map<std::string, int> next_suffix_;  // by stem
};

// "a.b" of "a.b.c" and "a.b.d"; "" when one is "".
std::string CommonModule(absl::string_view a, absl::string_view b);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_PATTERNS_MATCHER_H_
