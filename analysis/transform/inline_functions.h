// Calls of functions replaced by what the functions do: model-local functions here, ONNX's own in ResolveShapes.
//
//   y = my.gelu(x) <alpha=0.5>     ->     the body's nodes, named "<call>/<node>", with alpha filled in
//
// A body's inputs and outputs become the call's operands; its other values are named "<call>/<value>". Attributes that
// the body takes from the call (ONNX's ref_attr_name) get the call's value, else the function's default, else are
// absent. Bodies that call functions are inlined in turn; subgraphs are copied and keep reading what they captured.
//
// Errors: kInvalidArgument naming the call when a function reaches itself, when operands outnumber the formal ones, or
// when inlining would make more than the file accounts for (nested calls grow exponentially in its size).

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_INLINE_FUNCTIONS_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_INLINE_FUNCTIONS_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "analysis/ir/model.h"

namespace reusescope {

// How much copying of bodies a file accounts for: 200,000 nodes, and 50 for each node that it has. Attributes and
// constants count by their size, so time and memory stay within a multiple of the file's.
class InlineBudget {
 public:
  explicit InlineBudget(const Model& model);
  // Takes one copy of `body`, subgraphs included, out of the budget; false when too little is left.
  bool Spend(const Graph& body);

 private:
  int64_t left_;
};

// Inlines every call of a function of `model.functions`, in subgraphs too. Without functions, costs nothing.
absl::Status InlineFunctions(Model& model);

// Names of a graph's values and nodes, for making new ones that differ from them.
class UniqueNames {
 public:
  explicit UniqueNames(const Graph& graph);
  // `wanted` (cut where it is absurdly long), or "wanted.2", "wanted.3", ...
  std::string Make(std::string wanted);

 private:
  absl::flat_hash_map<std::string, int> taken_;  // to the number that the next namesake tries first
};

// Appends copies of the body's nodes to the graph's pool, wired to the operands of node `call`, and returns them in
// order. They are not scheduled yet, and `call` still is: the caller replaces it by them. Outputs of `call` get new
// producers. `attributes`: what references of the body stand for; by name. An operand that the call lacks is omitted
// in the body as well. A body that is a subgraph of `graph` itself (the branch of an If) reads what it captured.
absl::StatusOr<std::vector<NodeId>> SpliceBody(Graph& graph, NodeId call, const Graph& body,
                                               const Attributes& attributes, UniqueNames& names);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_INLINE_FUNCTIONS_H_
