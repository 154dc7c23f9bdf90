// The training graph as a model that any ONNX runtime executes: what `reusescope differentiate` writes.
//
//   RS_ASSIGN_OR_RETURN(Model executable, MakeExecutable(std::move(training), model_opset));
//
// Forward nodes stay as they are. Every node that runtimes do not have (gradients, losses, update steps, what Recognize
// put together, and operators asked for more outputs than they have) becomes a call of a model-local function of domain
// "reusescope", whose body is the operator's own (OpSemantics::body); equal bodies are one function, and operators with
// several bodies number them (ConvGrad, ConvGrad_2). Values that were folded away and whose numbers are not known are
// computed again.
//
// Outputs: those of the model and "loss" where one is attached, then "grad.<name>" of every parameter and every input
// that has a gradient and, with an optimizer, "new.<name>" of every parameter and optimizer state. Inputs: those of the
// model, what the loss adds
// ("labels", "target"), else "seed.<output>"; with an optimizer "learning_rate", "step" (int64, from 1), its states and
// the parameters, whose stored values are the defaults.
//
// Errors: kUnimplemented listing every operator without a body, with how many nodes and one of them; what a body says.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_MAKE_EXECUTABLE_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_MAKE_EXECUTABLE_H_

#include "absl/status/statusor.h"
#include "analysis/ir/model.h"
#include "analysis/ir/training_graph.h"

namespace reusescope {

// The opset that bodies are written in; what they need (scatter with reduction, sums with axes as input) begins there.
inline constexpr int kExecutableOpset = 18;

// REQUIRES: the graph imports ai.onnx at kExecutableOpset or later.
absl::StatusOr<Model> MakeExecutable(TrainingGraph training);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_MAKE_EXECUTABLE_H_
