// A file exported at a fixed batch, analysed at another.
//
//   x [1, 3, 224, 224] ... Reshape(y, [1, 2048])      at batch 32:      x [32, 3, 224, 224] ... Reshape(y, [32, 2048])
//
// The file is resolved twice: as it is, and with the leading dimension of its inputs replaced. Where a value's shape
// differs between the two, that axis is the batch, so a constant shape vector (of Reshape, Expand) can be rewritten
// where it holds the batch: outermost in the axis that starts after as many elements as the batch axis of its operand.
// A constant that is joined to a batch (a class token) is repeated for it.
//
// What is proven: every value either keeps its shape or has exactly one axis that grew by the ratio of the batches.
// Anything else is an error that names the node which pins the batch, and how to export without.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_REBATCH_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_REBATCH_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "analysis/ir/graph.h"

namespace reusescope {

class Rebatch {
 public:
  // `resolved` is the graph at its own batch. REQUIRES: from > 0, to > 0.
  Rebatch(const Graph& resolved, int64_t from, int64_t to);

  int64_t from() const { return from_; }
  int64_t to() const { return to_; }

  // Rewrites what pins node `id` to the old batch; its inputs have their new shapes. Nodes that must run before it are
  // appended to `schedule`.
  absl::Status Adapt(Graph& graph, NodeId id, std::vector<NodeId>& schedule) const;
  // Output j of the node, resolved anew, is the old one but for one axis that grew.
  absl::Status Check(const Graph& graph, NodeId id, int j) const;

 private:
  // The axis along which the value grew; -1: none, or the value is new.
  int BatchAxis(const Value& value) const;
  const Shape* OldShape(const std::string& name) const;
  absl::Status Pinned(const Graph& graph, NodeId id, absl::string_view message) const;
  absl::Status RewriteShape(Graph& graph, NodeId id, int slot) const;
  void RepeatConstants(Graph& graph, NodeId id, std::vector<NodeId>& schedule) const;

  int64_t from_, to_;
  absl::flat_hash_map<std::string, Shape> old_;                      // by name of the value
  absl::flat_hash_map<std::string, std::vector<int64_t>> old_ints_;  // where the value is known
};

// The leading dimension that the graph's inputs share and that is fixed: of the first input that has one; 0 when there
// is none. Those inputs are the ones that a batch of another size replaces.
int64_t FixedBatch(const Graph& graph);
void SetFixedBatch(Graph& graph, int64_t from, int64_t to);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_REBATCH_H_
