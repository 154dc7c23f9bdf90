// What a training step moves when groups of layers run a few samples at a time, so that what passes between them stays
// on chip: mini-batch serialization (Lym, Behroozi, Wen, Li, Kwon, Erez: "Mini-batch Serialization: CNN Training with
// Inter-layer Data Reuse", MLSys 2019).
//
//   RS_ASSIGN_OR_RETURN(const Serializer serializer,
//                       Serializer::Make(training, cost, blocks, {.batch = 32, .capacity_bytes = 10 << 20}));
//   const Serialization plan = serializer.Plan(Grouping::kOptimal);
//   plan.groups[0].forward.sub_batch, plan.traffic_bytes, plan.kernels
//
//   sub-batch  = min(batch, floor(capacity / footprint of a sample))        iterations = ceil(batch / sub-batch)
//
// ResNet-50's first convolution in 16 bit reads 3*224*224 and writes 64*112*112 numbers, 1,906,688 B a sample: 10 MiB
// hold 5, and 32 take 7 iterations.
//
// The chain. Its links are the outermost blocks of the forward graph (measure/blocks.h) and the layers between them, in
// schedule order; a block of which not even one sample fits is opened. A layer is a forward node with the backward
// kernels that differentiate it. A group is a run of links. Its forward kernels run for one sub-batch after the other,
// then the next group's; backward the same the other way round, where a sub-batch may have another size.
//
// Footprint of a sample, while a kernel runs: its operands and what is kept on chip for a later kernel of the group.
// Weights are not part of it: they stream through the arithmetic units' own buffers.
//
// Traffic of a group with n iterations:
//   features         fetched once where they enter the group; written once if another group's forward reads them
//   stash            written once, as backward reads it; fetched once by backward
//   gradients        of features: as features
//   weights          read by every kernel in every iteration: n times
//   weight gradients partial sums, written n times and read again n - 1 times
// A group for which that is more than what its kernels move one by one with the whole mini-batch, or of which not one
// sample fits, runs unserialized: every kernel fetches its operands. Update kernels do so always.
//
// Branches. With `branch_reuse` everything that is touched again inside the group stays on chip until then, such as the
// shortcut of a residual block (the paper's MBS2). Without, only what the same layer or the next one in the schedule
// touches does, and what several branches read is fetched for each (MBS1).
//
// A layer that normalizes over the mini-batch computes something else when it sees a sub-batch: the paper puts group
// normalization in its place. `batch_statistics` counts these layers; the bytes are those of the model as it stands.
//
// Not modelled: weights that stay on chip between iterations, arrays that small sub-batches fill badly, tiling inside a
// kernel. What is no weight, buffer or constant is taken to grow with the batch.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_SERIALIZATION_H_
#define REUSESCOPE_ANALYSIS_MEASURE_SERIALIZATION_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/training_graph.h"
#include "analysis/measure/blocks.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cost.h"

namespace reusescope {

struct SerializationOptions {
  int64_t batch = 1;           // samples of the step that the cost table is of
  int64_t capacity_bytes = 0;  // on-chip memory for features
  bool branch_reuse = true;
};

// How the chain is cut into groups.
//   kLayers      every link for itself
//   kGreedy      links of equal iterations first, then the two neighbours that save most, as long as some do (the
//                paper's, as far as its abstract and text about it tell)
//   kOptimal     the least traffic of all, by a dynamic program
//   kExhaustive  the same by trying all; of chains of up to kMostExhaustiveLinks links
//   kLongest     as few groups as fit (the paper's full serialization)
enum class Grouping : uint8_t { kLayers, kGreedy, kOptimal, kExhaustive, kLongest };
absl::string_view GroupingName(Grouping grouping);  // "layers", "greedy", ...

// Why bytes cross the memory interface.
enum class TrafficCause : uint8_t { kFeatures, kStash, kGradients, kWeights, kWeightGradients, kUpdate };
inline constexpr int kNumTrafficCauses = 6;
absl::string_view TrafficCauseName(TrafficCause cause);  // "features", "stash", ...
using TrafficByCause = std::array<int64_t, kNumTrafficCauses>;

// One direction of a group or a link.
struct SubBatches {
  int64_t footprint_bytes = 0;  // the most that one sample needs on chip at once
  int64_t sub_batch = 0;        // 0: not one sample fits
  int64_t iterations = 0;       // 0 where sub_batch is
};

struct ChainLink {
  std::string name;                          // of the block or the node
  int32_t block = kNoBlock;                  // into BlockTable::blocks
  std::vector<int32_t> forward, backward;    // kernels, into CostTable::kernels, in schedule order
  SubBatches forward_alone, backward_alone;  // as a group of its own
};

struct SerialGroup {
  int first = 0, end = 0;   // links
  bool serialized = false;  // false: its kernels run one by one with the whole mini-batch
  SubBatches forward, backward;
  TrafficByCause traffic_bytes = {};

  int64_t bytes() const;
};

struct Serialization {
  Grouping grouping = Grouping::kOptimal;
  std::vector<SerialGroup> groups;
  std::vector<KernelTraffic> kernels;  // parallel to CostTable::kernels
  TrafficByCause by_cause = {};        // of the step, update included
  int64_t traffic_bytes = 0;
  int batch_statistics = 0;  // layers that normalize over the mini-batch and now see a sub-batch
};

class Serializer {
 public:
  // REQUIRES: cost and blocks are of `training`, and outlive the serializer. kInvalidArgument for a batch below 1 or a
  // capacity below 0.
  static absl::StatusOr<Serializer> Make(const TrainingGraph& training, const CostTable& cost, const BlockTable& blocks,
                                         const SerializationOptions& options);
  Serializer(Serializer&&) noexcept;
  Serializer& operator=(Serializer&&) noexcept;
  ~Serializer();

  const std::vector<ChainLink>& chain() const;

  // The links [first, end) as one group; nothing for several links of which not one sample fits.
  std::optional<SerialGroup> GroupOf(int first, int end) const;
  // REQUIRES: for kExhaustive, at most kMostExhaustiveLinks links. O(links^2 * touches) for kOptimal.
  Serialization Plan(Grouping grouping) const;

 private:
  class Impl;
  explicit Serializer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// By kernel: what normalization over the mini-batch fetches again where its features do not stay on chip from one pass
// to the next. The cost table has each operand once; but statistics come before they are used, so features are read
// twice forward, and features and gradients twice backward: 8 accesses an element with the writes, of which the table
// has 5. (Lym et al., PruneTrain, SC 2019, count 8: 3 forward and 5 backward, in the cost script of their repository.)
std::vector<int64_t> NormalizationPasses(const TrainingGraph& training, const CostTable& cost);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_SERIALIZATION_H_
