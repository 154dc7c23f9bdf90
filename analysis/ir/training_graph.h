// A training step as a graph: forward, backward and update nodes in one schedule.

#ifndef REUSESCOPE_ANALYSIS_IR_TRAINING_GRAPH_H_
#define REUSESCOPE_ANALYSIS_IR_TRAINING_GRAPH_H_

#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "analysis/ir/graph.h"

namespace reusescope {

// A forward value that a backward (or recomputed) node reads, and so must outlive the forward phase. Parameters,
// buffers and constants live anyway and are not stash.
struct StashEntry {
  ValueId value = kNoValue;
  NodeId first_reader = kNoNode;  // the node after forward that reads it first in the schedule
};

struct TrainingGraph {
  Graph graph;
  std::vector<ValueId> gradient_of;  // by value id of the forward graph: its gradient, or kNoValue
  std::vector<StashEntry> stash;     // in the order in which forward produces them
  std::vector<bool> dropped;         // by value: not kept for backward (transform/checkpoint.h); empty: all are
  std::vector<ValueId> seeds;        // gradients of the outputs that are fed from outside, when no loss is attached
  ValueId loss = kNoValue;
  std::string loss_description;                  // "cross-entropy on 'output' [32, 1000], classes on axis 1"
  std::string optimizer;                         // "adamw"; "" in inference
  absl::btree_map<std::string, int> recognized;  // how many of each (transform/recognize.h)
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_TRAINING_GRAPH_H_
