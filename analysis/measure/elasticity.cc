#include "analysis/measure/elasticity.h"

#include <vector>

#include "analysis/ir/status_util.h"

namespace reusescope {

absl::StatusOr<Elasticity> ComputeElasticity(const CostTable& cost, const RooflineDevice& device) {
  RS_ASSIGN_OR_RETURN(const StepTime now, HeadlineStep(cost, device, {}));
  if (now.step_seconds <= 0) return Elasticity();
  RooflineDevice faster = device;
  faster.matrix_flops_per_second *= kElasticityFactor;
  faster.matrix_peak_flops_per_second *= kElasticityFactor;
  faster.vector_flops_per_second *= kElasticityFactor;
  for (MatrixRate& rate : faster.narrow) {
    rate.flops_per_second *= kElasticityFactor;
    rate.peak_flops_per_second *= kElasticityFactor;
  }
  RooflineDevice wider = device;
  wider.bandwidth_bytes_per_second *= kElasticityFactor;
  RS_ASSIGN_OR_RETURN(const StepTime with_compute, HeadlineStep(cost, faster, {}));
  RS_ASSIGN_OR_RETURN(const StepTime with_bandwidth, HeadlineStep(cost, wider, {}));
  return Elasticity{.compute = with_compute.step_seconds / now.step_seconds - 1,
                    .bandwidth = with_bandwidth.step_seconds / now.step_seconds - 1};
}

double StepSecondsUnderLru(const CostTable& cost, const LruCurve& lru, const RooflineDevice& device,
                           int64_t on_chip_bytes) {
  const std::vector<KernelTraffic> traffic = lru.KernelTrafficAt(on_chip_bytes);
  double seconds = 0;
  for (size_t k = 0; k < cost.kernels.size(); ++k) {
    KernelCost kernel = cost.kernels[k];
    kernel.read_bytes = traffic[k].fetched_bytes;
    kernel.write_bytes = traffic[k].written_bytes;
    seconds += KernelSeconds(kernel, device);
  }
  return seconds;
}

}  // namespace reusescope
