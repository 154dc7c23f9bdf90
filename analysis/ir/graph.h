// The computation graph that every stage reads and transforms: two vectors, addressed by ids that never move.
//
//   for (NodeId id : graph.order) {
//     const Node& node = graph.node(id);
//     for (ValueId input : node.inputs) if (input != kNoValue) Use(graph.value(input));
//   }
//
// `nodes` and `values` are pools: a transform that removes a node takes it out of `order` (the schedule, topologically
// sorted) and leaves the pool alone, so an id held anywhere stays good. An omitted optional input or output is
// kNoValue. A value lives in a Storage; views (Reshape, Squeeze, ...) share the storage of what they view, so bytes are
// counted once. Storages are assigned by AssignStorages (transform/assign_storages.h); until then Value::storage is
// kNoStorage.
//
// A subgraph (body of If, Loop, Scan) is a Graph of its own, with ids of its own. What it reads of the graphs around it
// stands in its pool as a value of the same name without producer and without kind of its own, listed in `captured`;
// the node that owns the subgraph lists the same values, as ids of its own graph, in `captures`: reads besides its
// inputs, which schedules, uses and dead-node removal honour. A value captured across two levels is captured at both.
//
// The training graph is the same Graph with more nodes: `phase` says which part of the step a node belongs to, and
// `forward_node` of a backward node is the node whose gradient it computes, of a recomputed one the node it repeats.

#ifndef REUSESCOPE_ANALYSIS_IR_GRAPH_H_
#define REUSESCOPE_ANALYSIS_IR_GRAPH_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/attributes.h"
#include "analysis/ir/types.h"

namespace reusescope {

using ValueId = int32_t;
using NodeId = int32_t;
using StorageId = int32_t;
inline constexpr ValueId kNoValue = -1;
inline constexpr NodeId kNoNode = -1;
inline constexpr StorageId kNoStorage = -1;

// Domain of the operators that ReuseScope itself introduces (gradients, losses, optimizer steps).
inline constexpr absl::string_view kReuseScopeDomain = "reusescope";

enum class ValueKind : uint8_t {
  kInput,           // fed by the user of the model
  kParameter,       // trained: has a gradient and optimizer states (unless frozen)
  kBuffer,          // stored with the model but not trained: running statistics, position ids, frozen parameters
  kConstant,        // made of the file's constants alone; shapes, scalars, folded tables
  kActivation,      // computed in the forward phase
  kGradient,        // computed in the backward phase
  kOptimizerState,  // lives across steps: momentum, second moments, master weights
};
absl::string_view ValueKindName(ValueKind kind);

// Where the kind of an initializer comes from. The importer writes kMetadata when the file says it outright; kNone
// leaves the decision (parameter, buffer or constant) to a later stage, which goes by differentiable paths.
enum class KindEvidence : uint8_t { kNone, kMetadata };

// kRecompute: forward work done again while backward runs, for values that were not kept (transform/checkpoint.h).
enum class Phase : uint8_t { kForward, kRecompute, kBackward, kUpdate };
inline constexpr int kNumPhases = 4;
absl::string_view PhaseName(Phase phase);

struct Value {
  std::string name;  // as in the file; "" for values that we introduce is not allowed
  Type type;
  ValueKind kind = ValueKind::kActivation;
  KindEvidence evidence = KindEvidence::kNone;
  NodeId producer = kNoNode;  // kNoNode for inputs, parameters, buffers and initializer constants
  StorageId storage = kNoStorage;
  int32_t literal = -1;       // index into Graph::literals when the (small) value is known; see Graph::literal()
  std::string original_name;  // of a parameter, where the file still knows it ("layer1.0.conv1.weight"); else ""
  std::string payload_of;     // the stored tensor whose numbers this one has, where that is another; else ""
  uint64_t at_most = 0;       // bit d: dimension d is an upper bound, as data decide it (the first 64 dimensions)
  // Symbolic dimensions as declared by the file, parallel to type.shape ("" where the file gives a number); else empty.
  std::vector<std::string> dim_symbols;
};

struct OpKey {
  std::string domain;  // "" is ai.onnx
  std::string type;    // "Conv"
  int since_version =
      1;  // opset version at which these semantics of the operator began; the model's opset until resolved
  friend bool operator==(const OpKey& a, const OpKey& b) = default;
};
// "Conv-11", "com.microsoft::FusedConv-1".
std::string OpKeyString(const OpKey& op);

struct Node {
  OpKey op;
  absl::InlinedVector<ValueId, 4> inputs;
  absl::InlinedVector<ValueId, 2> outputs;
  std::vector<ValueId> captures;  // outer values that its subgraphs read, once each, operands left out
  Attributes attributes;
  std::string overload;  // of a call: which of several model-local functions of that name; nearly always ""
  std::string name;      // as in the file, or made unique from the operator ("Conv_12")
  std::string module;    // path in the model's module tree ("layer1.0.conv1"); "" when the file tells nothing
  Phase phase = Phase::kForward;
  NodeId forward_node = kNoNode;  // of a backward or recomputed node
  int saved_outputs = 0;          // trailing outputs that backward alone reads and the operator itself has not
};

// Forward nodes that Recognize knows to belong together without fusing them, for example scores, mask, softmax and
// product of one attention.
struct Region {
  std::string kind;  // "attention"
  std::vector<NodeId> nodes;
};

struct Storage {
  ValueId root = kNoValue;  // the value that the views are views of
};

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<NodeId> order;  // the schedule
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<ValueId> captured;  // of a subgraph: values that belong to a graph around it, under the same name
  std::vector<Literal> literals;
  std::vector<Storage> storages;
  std::vector<Region> regions;
  std::vector<std::unique_ptr<Graph>> subgraphs;  // bodies of If, Loop, Scan; they see outer values by name
  absl::flat_hash_map<std::string, int> opsets;   // domain ("" is ai.onnx) to version

  Value& value(ValueId id) { return values[id]; }
  const Value& value(ValueId id) const { return values[id]; }
  Node& node(NodeId id) { return nodes[id]; }
  const Node& node(NodeId id) const { return nodes[id]; }
  // The small constant that a value is known to hold, or null.
  const Literal* literal(ValueId id) const {
    return id == kNoValue || values[id].literal < 0 ? nullptr : &literals[values[id].literal];
  }

  ValueId AddValue(std::string value_name, Type type, ValueKind kind = ValueKind::kActivation);
  // Appends to the pool and the schedule and makes the node the producer of its outputs.
  NodeId AddNode(Node node);
  void SetLiteral(ValueId id, Literal literal);
  // A deep copy, subgraphs included.
  std::unique_ptr<Graph> Clone() const;
};

// Who reads each value, in schedule order: uses.of(v) are the nodes of `order` that have v among their inputs or
// captures (once per node, however many operands). Graph outputs are not uses. Cost: one walk.
class Uses {
 public:
  explicit Uses(const Graph& graph);
  absl::Span<const NodeId> of(ValueId id) const {
    return absl::MakeConstSpan(nodes_).subspan(first_[id], first_[id + 1] - first_[id]);
  }

 private:
  std::vector<int32_t> first_;
  std::vector<NodeId> nodes_;
};

// Sorts `order` topologically, keeping the present order where it can. kInvalidArgument naming a node on a cycle.
absl::Status SortTopologically(Graph& graph);

// Drops from `order` every node that no graph output depends on. Returns how many.
int RemoveDeadNodes(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_GRAPH_H_
