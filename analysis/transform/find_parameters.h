// Which stored tensors a training step trains: sets Value::kind to kParameter or kBuffer where the file leaves it open.
//
//   FindParameters(model.graph, {.freeze = "^backbone\\."}, notes)
//   ParameterCount(model.graph)   -> 25,557,032 elements for ResNet-50
//
// What the file says outright (Value::evidence) wins. Elsewhere a parameter is a floating-point initializer, or output
// of a Constant node, that
//   - lies on a path of operands that have gradients, back from a floating-point graph output (where there is none,
//     from what the outputs are chosen from: a classifier that hands out labels), and
//   - has rank >= 1 (a scalar is an epsilon or a scale), and
//   - is called like a registered parameter, or, where an exporter made up its name, is an operand that weights are:
//     a contraction's, a normalization's, a table that is looked up, a vector beside a contraction's result.
// So running statistics, masks, rotary tables and constants of formulas are none.
//
// Exporters store equal tensors once. A vector that stands in for several (all biases of a model that was not trained
// are zero) is taken apart again: one parameter per module that reads it. A matrix that two modules share is tied on
// purpose and stays one; its copy that a folded Transpose left behind ([768, 50257] beside [50257, 768]) becomes a
// Transpose of it.
//
// Not told apart: a constant matrix that the model multiplies with (a Fourier basis, say) from a weight, unless the
// file or --freeze says so.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_FIND_PARAMETERS_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_FIND_PARAMETERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// std::regex (ECMAScript), searched for in the name and the original name of a parameter; "" is none.
struct ParameterOptions {
  std::string freeze;  // matches are stored but not trained: kBuffer
  std::string train;   // only matches are trained, and matches on differentiable paths are, whatever their role
};

// REQUIRES: shapes are resolved. Appends to `notes` what a reader must know first: batch normalization that the export
// folded into convolutions, weights taken to be tied. kInvalidArgument on a malformed regex; kNotFound when a regex
// matches nothing.
absl::Status FindParameters(Graph& graph, const ParameterOptions& options, std::vector<std::string>& notes);

// Elements of all parameters that the schedule reads; tied weights count once.
int64_t ParameterCount(const Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_FIND_PARAMETERS_H_
