// What every kernel of the step costs: MACs, FLOPs, transcendentals, bytes, and the storages it touches.
//
//   RS_ASSIGN_OR_RETURN(const CostTable cost, ComputeCost(training, {.precision = PrecisionMode::kFp32}));
//   for (const KernelCost& kernel : cost.kernels) ... cost.TouchesOf(kernel) ...
//
// One row per node that does something, in schedule order; views and what is known before the step starts have no row.
//   flops  = 2 * macs + the other arithmetic (compare, add, multiply: 1 each); transcendentals are apart
//   bytes  = each operand once (compulsory traffic): distinct elements touched times their width
// An operand that occurs twice in a node is read once. Counts are exact int64_t; kOutOfRange names node and formula.
// Everything that follows (reuse, cache, memory, roofline) is computed from this table alone.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_COST_H_
#define REUSESCOPE_ANALYSIS_MEASURE_COST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/precision.h"
#include "hwdb/hardware.h"

namespace reusescope {

// A kernel's use of one storage. At least one of reads and writes.
struct Touch {
  StorageId storage = kNoStorage;
  int64_t bytes = 0;  // distinct bytes touched; at most the storage's
  bool reads = false;
  bool writes = false;
};

struct KernelCost {
  NodeId node = kNoNode;
  Phase phase = Phase::kForward;
  bool known = true;         // false: no rule for this operator, FLOPs are missing
  bool contraction = false;  // convolution, matrix product, recurrence: runs on the matrix units
  // Of a contraction whose operands are narrow, what they are: int8, int4, fp8 or fp4 (the widest of them; 2-bit
  // integers count as int4). kAny: the arithmetic of the precision mode.
  Arithmetic arithmetic = Arithmetic::kAny;
  int64_t macs = 0;
  int64_t flops = 0;
  int64_t contraction_flops = 0;  // 2 * macs of contractions; the rest is vector work
  int64_t transcendentals = 0;
  int64_t read_bytes = 0;
  int64_t write_bytes = 0;
  // Intra-layer reuse: operands that the kernel uses more often than each element once, and the bytes of those uses
  // beyond the first.
  int32_t reused_operands = 0;
  int64_t reused_bytes = 0;
  int32_t first_touch = 0;  // into CostTable::touches
  int32_t num_touches = 0;

  int64_t bytes() const { return read_bytes + write_bytes; }
};

// A piece of memory: a value and its views. Indexed by StorageId: those of Graph::storages first; under amp the 32-bit
// master weights that the update step writes follow, one per parameter.
struct StorageCost {
  ValueId root = kNoValue;
  ValueKind kind = ValueKind::kActivation;
  bool parameter_gradient = false;
  int64_t bytes = 0;  // as touched; 0 for what is never touched
  // Lives across steps (parameters, buffers, constants, optimizer states): present before the first kernel, kept after
  // the last. Inputs are present before the first kernel. Graph outputs and parameter gradients are kept to the end.
  bool persistent = false;
  bool input = false;
  bool kept_to_end = false;
};

struct CostTable {
  std::vector<KernelCost> kernels;
  std::vector<Touch> touches;
  std::vector<StorageCost> storages;

  absl::Span<const Touch> TouchesOf(const KernelCost& kernel) const {
    return absl::MakeConstSpan(touches).subspan(kernel.first_touch, kernel.num_touches);
  }
};

struct CostOptions {
  PrecisionMode precision = PrecisionMode::kFp32;
};

// REQUIRES: resolved types, storages assigned. An operator without an entry gets an unknown kernel that reads its
// inputs and writes its outputs.
absl::StatusOr<CostTable> ComputeCost(const TrainingGraph& training, const CostOptions& options);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_COST_H_
