// A file exported at a fixed batch, analysed at another.
//
//   x [1, 3, 224, 224] ... Reshape(y, [1, 2048])      at batch 32:      x [32, 3, 224, 224] ... Reshape(y, [32, 2048])
//
// The file is resolved twice: as it is, and with the leading dimension of its inputs replaced. Where a value's shape
// differs between the two, that axis is the batch, so a constant shape vector (of Reshape, Expand) can be rewritten
// where it holds the batch: outermost in the axis that starts after as many elements as the batch axis of its operand.
// What is stored for one sample and stands beside a batch (a class token, the initial state of a recurrence) is
// repeated for it.
//
// What is proven: every value either keeps its shape or has exactly one axis that grew by the ratio of the batches, and
// no node sums over the batch together with something else or walks along it in time. Anything else is an error that
// names the node which pins the batch, and how to export without.
//
// What a file at batch 1 stores once, where the model has it for every sample (masks and position indices that the
// exporter folded), is read once and broadcast: the results are the same, the traffic can be less than that of a file
// which was exported at the larger batch.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_REBATCH_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_REBATCH_H_

#include <string>
#include <tuple>
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
  // What resolving at the new batch says, with the advice that Adapt and Check give: whatever fails, fails by the
  // batch.
  absl::Status Explain(const absl::Status& status) const;

 private:
  // The axis along which the value grew; -1: none, or the value is new.
  int BatchAxis(const Value& value) const;
  const Shape* OldShape(const std::string& name) const;
  absl::Status Pinned(const Graph& graph, NodeId id, absl::string_view message) const;
  bool MixesSamples(const Graph& graph, NodeId id, int j) const;
  absl::Status RewriteShape(Graph& graph, NodeId id, int slot) const;
  absl::Status RepeatStored(Graph& graph, NodeId id, uint32_t slots, std::vector<NodeId>& schedule) const;
  void Repeat(Graph& graph, NodeId id, size_t slot, int axis, std::vector<NodeId>& schedule) const;

  int64_t from_, to_;
  absl::flat_hash_map<std::string, Shape> old_;                      // by name of the value
  absl::flat_hash_map<std::string, std::vector<int64_t>> old_ints_;  // where the value is known
  // What was repeated along an axis, by what was stored: one tensor may be two initial states.
  mutable absl::flat_hash_map<std::tuple<const Graph*, ValueId, int>, ValueId> repeated_;
};

// The leading dimension that the graph's inputs share and that is fixed: of the first input that has one; 0 when there
// is none. Those inputs are the ones that a batch of another size replaces.
int64_t FixedBatch(const Graph& graph);
void SetFixedBatch(Graph& graph, int64_t from, int64_t to);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_REBATCH_H_
