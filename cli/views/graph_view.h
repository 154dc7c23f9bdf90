// A graph after one of the stages: as text, as JSON, or as a drawing for Graphviz.

#ifndef REUSESCOPE_CLI_VIEWS_GRAPH_VIEW_H_
#define REUSESCOPE_CLI_VIEWS_GRAPH_VIEW_H_

#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/roofline.h"
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

// How nodes of a graph stand on a device. A node that is not in it has no kernel.
struct NodeTimes {
  std::string device;
  absl::flat_hash_map<NodeId, KernelBound> nodes;
};

// Boxes are nodes, one cluster per phase; arrows are tensors, labelled with their shapes. With `times` a box has its
// time and the colour of its verdict, from the palette of Okabe and Ito, which colour-blind readers tell apart:
// memory-bound orange with square corners, compute-bound blue with round ones, without a kernel white; a legend says
// so.
std::string RenderGraphDot(const TrainingGraph& training, Stage stage, const std::optional<NodeTimes>& times);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_GRAPH_VIEW_H_
