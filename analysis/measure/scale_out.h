// Training on several devices at once, each with its own part of the batch: step time and memory of data parallelism.
//
//   RS_ASSIGN_OR_RETURN(const ScaleOutTime time, ComputeScaleOut(cost, device, {.devices = 8, .zero_stage = 2,
//                                                                               .link_bytes_per_second = 450e9}));
//   scaling.LargestBatch(capacity, ZeroShare(cost, /*zero_stage=*/2, /*devices=*/8, /*master_weights=*/true))
//
// Gradients are summed by a ring (Patarasuk and Yuan 2009): each device sends and receives 2 (N - 1) / N bytes for a
// byte of gradient; reduce-scatter and all-gather are the two halves. Gradients travel in buckets of 25 MiB, as
// PyTorch's DistributedDataParallel forms them (Li et al. 2020): a bucket leaves as soon as backward has written its
// last gradient and the link is free, while backward goes on. What is not hidden so is exposed.
//
//   stage  divided among the devices (ZeRO, Rajbhandari et al. 2020)     sent for each byte of gradient G, parameter P
//   0      nothing                                                       all-reduce G, under backward
//   1      optimizer states (and 32-bit master weights)                  reduce-scatter G under backward; after the
//   2      also gradients                                                    update, all-gather P
//   3      also parameters                                               all-gather P under forward, all-gather P and
//                                                                            reduce-scatter G under backward
// From stage 1 on each device updates only its part: the update phase takes 1 / N of its time.
//
// Not modelled: latency of the link, several rings, hierarchies of nodes (the link is taken to join all N devices),
// kernels slowed down by the transfers, buffers of the communication library.

#ifndef REUSESCOPE_ANALYSIS_MEASURE_SCALE_OUT_H_
#define REUSESCOPE_ANALYSIS_MEASURE_SCALE_OUT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "analysis/measure/batch_scaling.h"
#include "analysis/measure/cost.h"
#include "analysis/measure/roofline.h"

namespace reusescope {

inline constexpr int64_t kGradientBucketBytes = int64_t{25} << 20;
inline constexpr int kMaxZeroStage = 3;

struct ScaleOutOptions {
  int64_t devices = 1;
  int zero_stage = 0;
  double link_bytes_per_second = 0;  // of a device, in one direction; needed from two devices on
  int64_t bucket_bytes = kGradientBucketBytes;
};

struct ScaleOutTime {
  double step_seconds = 0;
  double compute_seconds = 0;        // of the kernels
  double communication_seconds = 0;  // the link is busy
  double exposed_seconds = 0;        // of it, while no kernel runs
};

// `cost` is one device's step. With one device: the step alone. kInvalidArgument for options out of range.
absl::StatusOr<ScaleOutTime> ComputeScaleOut(const CostTable& cost, const RooflineDevice& device,
                                             const ScaleOutOptions& options);

// What a ZeRO stage leaves on each of `devices`. At stage 3 the parameters of the widest kernel come on top, which are
// gathered while it runs.
MemoryShare ZeroShare(const CostTable& cost, int zero_stage, int64_t devices, bool master_weights);

// Bytes per second in one direction of a link that a vendor gives with both directions added, or not.
double OneDirection(const Link& link);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_SCALE_OUT_H_
