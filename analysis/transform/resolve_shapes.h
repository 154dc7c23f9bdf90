// Every type and shape of the graph, and the values of the small tensors that shapes are made of.
//
//   ResolveShapes(model, {.batch = 32}, notes)   // the leading dimension of every input is 32
//
// Walks the schedule once. For each node: our own rule where the operator's entry has `infer`, else ONNX's schema of
// the node's opset (schema/node_inference.h) with constant inputs from our evaluator (`evaluate`, tensors of at most
// kMaxLiteralElements). Sets Value::type, Value::literal and Node::op.since_version. Calls of model-local functions
// are inlined beforehand, operators without an entry in the registry on the way from the function bodies of their
// schemas (transform/inline_functions.h), and an If whose condition is known becomes the branch taken.
//
// Symbolic dimensions: `dims` binds by name, `inputs` gives whole shapes, `batch` the leading dimension of every graph
// input whose leading dimension is symbolic. A symbol that is arithmetic of bound ones ("past + 1") follows from them.
// An unbound leading symbol is 1, said in `notes`; any other unbound symbol is kFailedPrecondition naming the dimension
// and the flag that binds it (--dim NAME=N), or, with `assume`, the first of 1, 256 and 16384 with which every shape
// comes out.
//
// Where data decide: an output takes its largest shape where its operator has an `upper_bound` (NonZero, TopK, ...). An
// If whose condition is not known becomes the branch that computes more. A Loop runs as often as `trip_counts` says of
// its name, else as its trip count, else, with `assume`, once. With `assume`, any dimension that is still open is taken
// as that of input 0, or 1. All of it is said in `notes`.
//
// After it no tensor has an unknown dimension, and no element count or byte count of a tensor exceeds int64; a node
// whose output shape cannot be found is kInvalidArgument with node, operand, found and expected (or kUnimplemented when
// the operator has neither schema nor rule).

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_RESOLVE_SHAPES_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_RESOLVE_SHAPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "analysis/ir/model.h"

namespace reusescope {

struct ShapeBindings {
  std::optional<int64_t> batch;
  absl::btree_map<std::string, int64_t> dims;
  absl::btree_map<std::string, Shape> inputs;
  absl::btree_map<std::string, int64_t> trip_counts;  // of Loops, by node name
  bool assume = false;                                // take what nothing tells, and say so, rather than fail
  bool keep_branches = false;  // an If whose condition is not known stays, instead of the branch that computes more
};

absl::Status ResolveShapes(Model& model, const ShapeBindings& bindings, std::vector<std::string>& notes);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_RESOLVE_SHAPES_H_
