// A graph after one of the stages: as text, as JSON, or as a drawing for Graphviz.

#ifndef REUSESCOPE_CLI_VIEWS_GRAPH_VIEW_H_
#define REUSESCOPE_CLI_VIEWS_GRAPH_VIEW_H_

#include <string>

#include "absl/strings/string_view.h"
#include "analysis/ir/training_graph.h"
#include "analysis/pipeline.h"

namespace reusescope::cli {

absl::string_view StageName(Stage stage);

// One line per node, by phase: "y float32[1, 6, 28, 28] = Conv-11(x, w) {strides=[1, 1]}  # conv1".
std::string RenderGraphText(const TrainingGraph& training, Stage stage);

// {"schema": "reusescope.graph/1", "stage", "nodes": [{name, op, phase, module, inputs, outputs, attributes}],
//  "values": [{name, dtype, shape, kind}], "inputs", "outputs"}. Names are the file's. A dimension that is not known
//  yet
// is its symbol, or null. After load and shapes every value of the file is listed, later those that the schedule
// touches.
std::string RenderGraphJson(const TrainingGraph& training, Stage stage);

// Boxes are nodes, one cluster per phase; arrows are tensors, labelled with their shapes.
std::string RenderGraphDot(const TrainingGraph& training, Stage stage);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_GRAPH_VIEW_H_
