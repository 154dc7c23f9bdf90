#include "analysis/measure/memory.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/measure/precision.h"

namespace reusescope {
namespace {

// The kernels over which something is alive; both ends included.
struct Life {
  int32_t first = -1;
  int32_t last = -1;
};

MemoryKind KindOf(const StorageCost& storage, const Graph& graph) {
  switch (storage.kind) {
    case ValueKind::kInput:
      return MemoryKind::kInput;
    case ValueKind::kParameter:
      return MemoryKind::kParameter;
    case ValueKind::kBuffer:
    case ValueKind::kConstant:
      return MemoryKind::kBuffer;
    case ValueKind::kOptimizerState:
      return MemoryKind::kOptimizerState;
    case ValueKind::kGradient:
      break;
    case ValueKind::kActivation:
      break;
  }
  if (storage.parameter_gradient) return MemoryKind::kParameterGradient;
  if (storage.kind == ValueKind::kGradient) return MemoryKind::kGradient;
  const NodeId producer = graph.value(storage.root).producer;
  const bool again = producer != kNoNode && graph.node(producer).phase == Phase::kRecompute;
  return again ? MemoryKind::kRecomputed : MemoryKind::kActivation;
}

class MemoryBuilder {
 public:
  MemoryBuilder(const TrainingGraph& training, const CostTable& cost, const MemoryOptions& options)
      : graph_(training.graph),
        cost_(cost),
        options_(options),
        num_kernels_(static_cast<int32_t>(cost.kernels.size())) {}

  absl::StatusOr<MemoryTable> Build() {
    FindLives();
    RS_RETURN_IF_ERROR(AddTensors());
    FillTimeline();
    ListPeak();
    return std::move(table_);
  }

 private:
  struct Tensor {
    StorageId storage;
    MemoryKind kind;
    int64_t bytes;
    Life life;
  };

  // From the first kernel that touches a storage (from the start, if that one reads what none has written) to the last.
  void FindLives() {
    lives_.resize(cost_.storages.size());
    for (int32_t k = 0; k < num_kernels_; ++k) {
      for (const Touch& touch : cost_.TouchesOf(cost_.kernels[k])) {
        Life& life = lives_[touch.storage];
        if (life.last < 0) life.first = touch.reads ? 0 : k;
        life.last = k;
      }
    }
  }

  absl::Status AddTensors() {
    // Storages behind the graph's own are masters of mixed precision; they are counted with their parameters.
    for (StorageId id = 0; id < static_cast<StorageId>(std::min(graph_.storages.size(), cost_.storages.size())); ++id) {
      const StorageCost& storage = cost_.storages[id];
      const bool touched = lives_[id].last >= 0;
      if (storage.kind == ValueKind::kParameter) {
        RS_RETURN_IF_ERROR(AddParameter(id));
      } else if (touched || storage.input || storage.kind == ValueKind::kOptimizerState) {
        if (storage.kind == ValueKind::kConstant) table_.constant_bytes += storage.bytes;
        if (storage.kind == ValueKind::kBuffer) table_.buffer_bytes += storage.bytes;
        RS_RETURN_IF_ERROR(AddTensor(id, KindOf(storage, graph_), storage.bytes));
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddParameter(StorageId id) {
    const StorageCost& storage = cost_.storages[id];
    const Value& value = graph_.value(storage.root);
    if (storage.bytes == 0) return absl::OkStatus();
    const int kept_bits = KeptBits(value, options_.precision);
    if (!HasMasterWeights(options_.precision) || TouchedBits(value, options_.precision) == kept_bits) {
      return AddTensor(id, MemoryKind::kParameter, storage.bytes);
    }
    RS_RETURN_IF_ERROR(AddTensor(id, MemoryKind::kWeightCopy, storage.bytes));
    RS_ASSIGN_OR_RETURN(const int64_t elements, ElementCount(value.type.shape));
    RS_ASSIGN_OR_RETURN(const int64_t bytes, StorageBytes(elements, kept_bits));
    return AddTensor(id, MemoryKind::kParameter, bytes);
  }

  absl::Status AddTensor(StorageId id, MemoryKind kind, int64_t bytes) {
    if (bytes == 0) return absl::OkStatus();
    const StorageCost& storage = cost_.storages[id];
    const auto sum = CheckedAdd(sum_bytes_, bytes);
    if (!sum) return absl::OutOfRangeError(absl::StrCat("memory: sum of bytes exceeds int64 at '", NameOf(id), "'"));
    sum_bytes_ = *sum;
    Life life = lives_[id];
    if (storage.persistent || storage.input) life = {0, num_kernels_ - 1};
    if (storage.kept_to_end) life.last = num_kernels_ - 1;
    tensors_.push_back({id, kind, bytes, life});
    switch (kind) {
      case MemoryKind::kParameter:
        table_.parameter_bytes += bytes;
        break;
      case MemoryKind::kWeightCopy:
        table_.weight_copy_bytes += bytes;
        break;
      case MemoryKind::kOptimizerState:
        table_.optimizer_state_bytes += bytes;
        break;
      case MemoryKind::kInput:
        table_.input_bytes += bytes;
        break;
      case MemoryKind::kParameterGradient:
        table_.gradient_bytes += bytes;
        break;
      case MemoryKind::kBuffer:
      case MemoryKind::kActivation:
      case MemoryKind::kGradient:
      case MemoryKind::kRecomputed:
        break;
    }
    return absl::OkStatus();
  }

  const std::string& NameOf(StorageId id) const { return graph_.value(cost_.storages[id].root).name; }

  void FillTimeline() {
    table_.timeline.resize(num_kernels_ + 1);  // the last one takes the ends of lives, and is dropped
    for (const Tensor& tensor : tensors_) {
      const int kind = static_cast<int>(tensor.kind);
      table_.timeline[tensor.life.first].bytes_by_kind[kind] += tensor.bytes;
      table_.timeline[tensor.life.last + 1].bytes_by_kind[kind] -= tensor.bytes;
    }
    std::array<int64_t, kNumMemoryKinds> live = {};
    for (int32_t k = 0; k < num_kernels_; ++k) {
      MemorySample& sample = table_.timeline[k];
      for (int kind = 0; kind < kNumMemoryKinds; ++kind) {
        live[kind] += sample.bytes_by_kind[kind];
        sample.total_bytes += live[kind];
      }
      sample.bytes_by_kind = live;
      if (sample.total_bytes > table_.peak_bytes) {
        table_.peak_bytes = sample.total_bytes;
        table_.peak_kernel = k;
      }
    }
    table_.timeline.pop_back();
    // A step without kernels still has what lives across steps.
    if (num_kernels_ == 0) table_.peak_bytes = sum_bytes_;
  }

  void ListPeak() {
    const auto is_dead = [this](const Tensor& tensor) {
      const bool alive = tensor.life.first <= table_.peak_kernel && table_.peak_kernel <= tensor.life.last;
      return !alive && num_kernels_ > 0;
    };
    tensors_.erase(std::remove_if(tensors_.begin(), tensors_.end(), is_dead), tensors_.end());
    std::stable_sort(tensors_.begin(), tensors_.end(),
                     [](const Tensor& a, const Tensor& b) { return a.bytes > b.bytes; });
    table_.live_at_peak.reserve(tensors_.size());
    for (const Tensor& tensor : tensors_) {
      table_.live_at_peak.push_back({tensor.storage, NameOf(tensor.storage), tensor.kind, tensor.bytes});
    }
  }

  const Graph& graph_;
  const CostTable& cost_;
  const MemoryOptions& options_;
  const int32_t num_kernels_;
  std::vector<Life> lives_;  // by storage
  std::vector<Tensor> tensors_;
  int64_t sum_bytes_ = 0;
  MemoryTable table_;
};

}  // namespace

absl::string_view MemoryKindName(MemoryKind kind) {
  constexpr absl::string_view kNames[kNumMemoryKinds] = {
      "parameters", "weight copies",       "buffers",   "optimizer states", "inputs", "activations",
      "gradients",  "parameter gradients", "recomputed"};
  return kNames[static_cast<size_t>(kind)];
}

absl::StatusOr<MemoryTable> ComputeMemory(const TrainingGraph& training, const CostTable& cost,
                                          const MemoryOptions& options) {
  RS_ASSIGN_OR_RETURN(MemoryTable table, MemoryBuilder(training, cost, options).Build());
  RS_ASSIGN_OR_RETURN(
      table.stash,
      ComputeStash(training, cost, {.precision = options.precision, .dropout_mask_bytes = options.dropout_mask_bytes}));
  table.stash_needed_bytes = table.stash.needed_bytes;
  table.stash_pytorch_eager_bytes = table.stash.eager_bytes;
  return table;
}

}  // namespace reusescope
