#include "analysis/measure/stash.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

absl::Status Add(int64_t bytes, absl::string_view what, int64_t& total) {
  const auto sum = CheckedAdd(total, bytes);
  if (!sum) return absl::OutOfRangeError(absl::StrCat("stash: sum of bytes exceeds int64 at ", what));
  total = *sum;
  return absl::OkStatus();
}

class EagerStash {
 public:
  EagerStash(const TrainingGraph& training, const StashOptions& options, StashTable& table)
      : training_(training), graph_(training.graph), options_(options), table_(table) {}

  absl::Status Collect() {
    const OpRegistry& registry = OpRegistry::Get();
    for (NodeId id : graph_.order) {
      const Node& node = graph_.node(id);
      if (node.phase != Phase::kForward || !GradientFlowsThrough(node)) continue;
      const OpSemantics* semantics = registry.Find(node.op);
      if (semantics == nullptr || semantics->eager_saves == nullptr) continue;
      EagerSaves saves;
      semantics->eager_saves(OpContext(graph_, id, *semantics), saves);
      if (RunsAgain(node)) saves = {.values = std::move(saves.values)};
      const absl::Status status = AddSaves(saves);
      if (!status.ok()) return Annotate(status, absl::StrCat("node '", node.name, "' (", OpKeyString(node.op), ")"));
    }
    return AddStartsOfRecomputation();
  }

 private:
  bool Dropped(ValueId id) const {
    return id < static_cast<ValueId>(training_.dropped.size()) && training_.dropped[id];
  }

  // What torch.utils.checkpoint runs again saves nothing but what goes on to the next part.
  bool RunsAgain(const Node& node) const {
    return std::any_of(node.outputs.begin(), node.outputs.end(),
                       [this](ValueId output) { return output != kNoValue && Dropped(output); });
  }

  absl::Status AddStartsOfRecomputation() {
    for (const StashEntry& entry : training_.stash) {
      const bool start = graph_.node(entry.first_reader).phase == Phase::kRecompute;
      if (start && !IsMask(entry.value)) RS_RETURN_IF_ERROR(AddValue(EagerRoot(entry.value)));
    }
    return absl::OkStatus();
  }

  // A mask that is kept to replay its node, which itself is not kept.
  bool IsMask(ValueId id) const {
    const NodeId producer = graph_.value(id).producer;
    return producer != kNoNode && graph_.node(producer).outputs[0] != id && RunsAgain(graph_.node(producer));
  }

  bool GradientFlowsThrough(const Node& node) const {
    for (ValueId output : node.outputs) {
      if (output == kNoValue || static_cast<size_t>(output) >= training_.gradient_of.size()) continue;
      if (training_.gradient_of[output] != kNoValue) return true;
    }
    return false;
  }

  // The value whose memory PyTorch's tensor is in.
  ValueId EagerRoot(ValueId id) const {
    for (;;) {
      const NodeId producer = graph_.value(id).producer;
      const Aliasing aliasing = producer == kNoNode ? Aliasing::kNone : AliasingOf(graph_, producer);
      if (aliasing == Aliasing::kNone) return id;
      const Node& node = graph_.node(producer);
      // Every part of a Split is a strided view; of other views only the first output is one.
      const bool is_view = aliasing == Aliasing::kStridedView || node.outputs[0] == id;
      if (!is_view || node.inputs.empty() || node.inputs[0] == kNoValue) return id;
      id = node.inputs[0];
    }
  }

  absl::Status AddSaves(const EagerSaves& saves) {
    for (ValueId id : saves.values) {
      if (id != kNoValue && !Dropped(id)) RS_RETURN_IF_ERROR(AddValue(EagerRoot(id)));
    }
    RS_RETURN_IF_ERROR(Add(saves.extra_bytes, "saved statistics and indices", table_.eager_extra_bytes));
    RS_RETURN_IF_ERROR(Add(saves.extra_bytes, "saved statistics and indices", table_.eager_bytes));
    const Value activation{.type = Type::Tensor(DType::kFloat32, {}), .kind = ValueKind::kActivation};
    RS_ASSIGN_OR_RETURN(const int64_t results,
                        StorageBytes(saves.extra_activation_elements, TouchedBits(activation, options_.precision)));
    RS_RETURN_IF_ERROR(Add(results, "intermediate results", table_.eager_extra_bytes));
    RS_RETURN_IF_ERROR(Add(results, "intermediate results", table_.eager_bytes));
    const auto mask = CheckedMultiply(saves.dropout_mask_elements, options_.dropout_mask_bytes);
    if (!mask) return absl::OutOfRangeError("bytes of the dropout mask exceed int64");
    RS_RETURN_IF_ERROR(Add(*mask, "the dropout mask", table_.eager_dropout_mask_bytes));
    return Add(*mask, "the dropout mask", table_.eager_bytes);
  }

  absl::Status AddValue(ValueId root) {
    const Value& value = graph_.value(root);
    const bool lives_anyway = value.kind == ValueKind::kParameter || value.kind == ValueKind::kBuffer ||
                              value.kind == ValueKind::kConstant || value.kind == ValueKind::kOptimizerState;
    if (lives_anyway || !value.type.IsResolved() || !seen_.insert(root).second) return absl::OkStatus();
    RS_ASSIGN_OR_RETURN(const int64_t elements, ElementCount(value.type.shape));
    RS_ASSIGN_OR_RETURN(const int64_t bytes, StorageBytes(elements, TouchedBits(value, options_.precision)));
    table_.eager_values.push_back(root);
    return Add(bytes, value.name, value.kind == ValueKind::kInput ? table_.eager_input_bytes : table_.eager_bytes);
  }

  const TrainingGraph& training_;
  const Graph& graph_;
  const StashOptions& options_;
  StashTable& table_;
  absl::flat_hash_set<ValueId> seen_;
};

}  // namespace

absl::StatusOr<StashTable> ComputeStash(const TrainingGraph& training, const CostTable& cost,
                                        const StashOptions& options) {
  StashTable table;
  absl::flat_hash_set<StorageId> seen;
  for (const StashEntry& entry : training.stash) {
    const Value& value = training.graph.value(entry.value);
    if (value.storage == kNoStorage || !seen.insert(value.storage).second) continue;
    const StorageCost& storage = cost.storages[value.storage];
    // A view of a parameter lives with it.
    if (storage.persistent) continue;
    RS_RETURN_IF_ERROR(Add(storage.bytes, value.name, storage.input ? table.needed_input_bytes : table.needed_bytes));
  }
  RS_RETURN_IF_ERROR(EagerStash(training, options, table).Collect());
  return table;
}

}  // namespace reusescope
