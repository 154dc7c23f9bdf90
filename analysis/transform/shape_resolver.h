// One graph's walk of ResolveShapes. Internal to resolve_shapes*.cc.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_SHAPE_RESOLVER_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_SHAPE_RESOLVER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "analysis/ir/graph.h"
#include "analysis/transform/inline_functions.h"
#include "analysis/transform/rebatch.h"
#include "analysis/transform/resolve_shapes.h"

namespace reusescope {

struct OpSemantics;

// What the whole walk shares, over subgraphs and inlined bodies.
struct ResolveState {
  ResolveState(const Model& model, const ShapeBindings& given) : bindings(given), budget(model) {}

  const ShapeBindings& bindings;
  const Rebatch* rebatch = nullptr;  // of the main graph, when the file's batch is replaced
  bool below_bounds = false;         // dimensions that are upper bounds are taken one smaller (MarkUpperBounds)

  absl::btree_map<std::string, int64_t> dims;  // bound symbols
  InlineBudget budget;
  int depth = 0;                       // of bodies within bodies
  absl::btree_set<std::string> loops;  // names of the Loops met
  // For the report, a clause each: what data decide and the file does not tell.
  std::vector<std::string> bounded, reshaped, assumed, decided, misfits, mended, counted;
};

// Where the values that go from one iteration to the next stand: inputs of the node, inputs and outputs of its body.
struct Carried {
  size_t first_outer = 0, first_inner = 0, first_result = 0, count = 0;
};

class ShapeResolver {
 public:
  ShapeResolver(Graph& graph, ResolveState& state) : graph_(graph), state_(state) {}

  // REQUIRES: the types of the graph's inputs, initializers and captured values are set.
  absl::Status Run();

 private:
  using Types = absl::StatusOr<std::vector<Type>>;

  absl::Status Visit(NodeId id);
  void SupplyDomain(NodeId id);
  void Mend(NodeId id, const OpSemantics* semantics);
  void SupplyOnnxName(NodeId id);
  absl::Status VisitBody(NodeId id, const Graph& body);
  // False for an operator younger than the model's opset that does not fit the body: a draft of what was released.
  bool IsOfItsBody(NodeId id);
  // The branch that took the If's place runs after its condition, which is computed all the same.
  void KeepCondition(NodeId id);
  Types InferOutputs(NodeId id, const OpSemantics* semantics);
  Types InferThroughBody(NodeId id);
  absl::Status SetOutputs(NodeId id, const OpSemantics* semantics, std::vector<Type> types);
  void Evaluate(NodeId id, const OpSemantics& semantics);
  // Outputs that inference and evaluation left open: at their largest, or assumed.
  absl::Status Close(NodeId id, const OpSemantics* semantics);
  void LowerBounds(NodeId id);
  bool AssumeShape(NodeId id, Type& type) const;
  absl::Status CheckOutput(NodeId id, int j) const;
  Type Declared(const Value& value) const;
  absl::StatusOr<std::unique_ptr<Graph>> FunctionBody(NodeId id) const;
  // Accounts for one more walk over `body`.
  absl::Status Enter(NodeId id, const Graph& body);

  // Control flow (resolve_control_flow.cc).
  Types ResolveBranches(NodeId id);
  // then_branch and else_branch, cut to the outputs that the node has.
  absl::StatusOr<std::pair<Graph*, Graph*>> Branches(NodeId id);
  Types ResolveLoop(NodeId id);
  Types ResolveScan(NodeId id);
  // The branch of an If whose condition is known, or null.
  const Graph* KnownBranch(NodeId id) const;
  // A copy of the branch that computes more, when the condition is not known. Resolves both.
  absl::StatusOr<std::unique_ptr<Graph>> DearerBranch(NodeId id);
  absl::StatusOr<double> BranchWork(NodeId id, Graph& branch);
  absl::StatusOr<std::optional<int64_t>> TripCount(NodeId id);
  bool EndsEarly(NodeId id, const Graph& body) const;
  // The body under attribute `name`.
  absl::StatusOr<Graph*> Subgraph(NodeId id, absl::string_view name);
  Types ResolveSequenceMap(NodeId id);

  // Searches (resolve_search.cc).
  Types ResolveSearch(NodeId id);
  // Resolves the encoder. How long its keys are: those that it hands to the decoder tell, else its hidden states.
  absl::StatusOr<int64_t> EncodedLength(NodeId id, const Type& input, int64_t start);
  absl::StatusOr<int64_t> SearchTokens(NodeId id, int64_t start);
  // The body that takes the prompt: init_decoder, or a copy of the decoder that the node owns from now on; null where
  // the encoder does it.
  absl::StatusOr<Graph*> FirstDecoder(NodeId id);
  // The number of runs given by --trip-count for this node, or nullopt.
  std::optional<int64_t> GivenTrips(NodeId id);
  // Resolves a body whose formal inputs have types that leave dimensions open; `dim` supplies them.
  using FormalDim = std::function<int64_t(const Value& formal, int d)>;
  Types ResolveFormal(NodeId id, Graph& body, const FormalDim& dim);
  // Types of the body's outputs when its inputs have `types`. Input `known_true`, if any, is known to be true.
  Types ResolveBody(NodeId id, Graph& body, absl::Span<const Type> types, const Carried& carried = {},
                    int known_true = -1);
  // What is known of carried values that the body hands on unchanged is known inside.
  void KeepHandedOn(NodeId id, Graph& body, const Carried& carried) const;

  std::string Describe(NodeId id) const;  // "node 'conv1' (Conv-17): "
  absl::Status Error(NodeId id, absl::string_view message) const;

  friend const struct ControlFlowRule* FindControlFlow(const OpKey& op);

  Graph& graph_;
  ResolveState& state_;
  std::vector<NodeId> schedule_;
  std::unique_ptr<UniqueNames> names_;  // made when the first body is spliced in
};

// Sets Value::at_most of all values whose shapes follow from those where data decide.
// REQUIRES: `graph` is resolved with `state`.
void MarkUpperBounds(Graph& graph, const ResolveState& state);

// An If, which gives way to one of its branches.
bool IsBranch(const OpKey& op);

// How an operator that owns subgraphs and keeps them is resolved, or null.
struct ControlFlowRule {
  absl::string_view domain, type;
  absl::StatusOr<std::vector<Type>> (ShapeResolver::*resolve)(NodeId);
};
const ControlFlowRule* FindControlFlow(const OpKey& op);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_SHAPE_RESOLVER_H_
