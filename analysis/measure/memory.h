// How much memory the step takes: what lives across steps, what lives inside it, the peak and who is alive at the peak.
//
//   RS_ASSIGN_OR_RETURN(const MemoryTable memory, ComputeMemory(training, cost, {.precision = PrecisionMode::kFp32}));
//   memory.peak_bytes, memory.Fits(80'000'000'000)
//
//   live(k) = sum of bytes of the storages whose life covers kernel k;  peak = max over k
//
// A storage lives from the first kernel that writes it to the last that touches it. What is persistent (parameters and
// their 16-bit copies, buffers, constants, optimizer states) and the inputs live all through the step; gradients of
// parameters and graph outputs live from their first write to the end. Bytes are those of the whole storage.
//
// Not modelled: workspace of libraries (convolution algorithms, split-K), fragmentation and rounding of the allocator,
// the framework's own context. So the peak is a lower bound for a framework that frees each tensor after its last use.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_MEMORY_H_
#define REUSESCOPE_ANALYSIS_MEASURE_MEMORY_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/stash.h"

namespace reusescope {

// What memory is taken for. Constants are filed under kBuffer.
enum class MemoryKind : uint8_t {
  kParameter,
  kWeightCopy,  // the 16-bit copies that amp's forward and backward read
  kBuffer,
  kOptimizerState,
  kInput,
  kActivation,
  kGradient,  // of activations
  kParameterGradient,
  kRecomputed,  // activations computed again for backward
};
inline constexpr int kNumMemoryKinds = 9;
absl::string_view MemoryKindName(MemoryKind kind);  // "parameters", "weight copies", ...

struct LiveTensor {
  StorageId storage = kNoStorage;
  std::string name;  // of the storage's root value
  MemoryKind kind = MemoryKind::kActivation;
  int64_t bytes = 0;
};

// Bytes alive while one kernel runs, by MemoryKind.
struct MemorySample {
  std::array<int64_t, kNumMemoryKinds> bytes_by_kind = {};
  int64_t total_bytes = 0;
};

struct MemoryTable {
  int64_t parameter_bytes = 0;    // as kept across steps (under amp: the 32-bit masters)
  int64_t weight_copy_bytes = 0;  // amp only
  int64_t gradient_bytes = 0;     // of parameters, all of them together
  int64_t optimizer_state_bytes = 0;
  int64_t input_bytes = 0;
  int64_t buffer_bytes = 0;               // that some kernel touches
  int64_t constant_bytes = 0;             // that some kernel touches
  int64_t stash_needed_bytes = 0;         // = stash.needed_bytes
  int64_t stash_pytorch_eager_bytes = 0;  // = stash.eager_bytes
  StashTable stash;

  int64_t peak_bytes = 0;
  int32_t peak_kernel = -1;              // into CostTable::kernels, the first with the peak; -1 when there is no kernel
  std::vector<LiveTensor> live_at_peak;  // largest first; equal ones in the order of their storages
  std::vector<MemorySample> timeline;    // parallel to CostTable::kernels

  bool Fits(int64_t capacity_bytes) const { return peak_bytes <= capacity_bytes; }
};

struct MemoryOptions {
  PrecisionMode precision = PrecisionMode::kFp32;
  int dropout_mask_bytes = 1;  // per element, see StashOptions
};

// REQUIRES: resolved types, storages assigned, `cost` of the same graph and precision. kOutOfRange when the storages
// sum to more than int64 holds, naming the value. O(touches + values), and a sort of what is alive at the peak.
absl::StatusOr<MemoryTable> ComputeMemory(const TrainingGraph& training, const CostTable& cost,
                                          const MemoryOptions& options);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_MEMORY_H_
