// The kernels of an analysis, with their times on one device.

const TRAFFIC = [
  ['fetch', 'every kernel fetches its operands'], ['lru', 'LRU cache'], ['managed', 'software-managed memory'],
];

// One record a kernel. `under[model]` is its traffic, time and bound under a traffic assumption; without a device there are
// only bytes.
function kernelsOf(report, roofline) {
  return report.layers.map((layer, index) => {
    const kernel = {...layer, index, title: layer.label || layer.name, under: {}};
    if (roofline === null) return {...kernel, seconds: null, bound: null};
    const bytes = {fetch: layer.bytes, lru: roofline.layer_lru_bytes[index], managed: roofline.layer_managed_bytes[index]};
    const compute = roofline.layer_compute_seconds[index];
    for (const [model] of TRAFFIC) {
      const memory = bytes[model] / roofline.bandwidth_bytes_per_second;
      kernel.under[model] = {bytes: bytes[model], seconds: Math.max(compute, memory),
                             bound: compute >= memory && compute > 0 ? 'compute' : 'memory'};
    }
    kernel.seconds = roofline.layer_seconds[index];
    kernel.bound = roofline.layer_bounds[index];
    return kernel;
  });
}

// What the charts weigh kernels with: time, or FLOPs where no device tells times.
function weightOf(kernel) { return kernel.seconds ?? kernel.flops ?? 0; }
function formatWeight(weight, roofline) { return roofline === null ? `${formatCount(weight)}FLOP` : formatSeconds(weight); }

function sum(values) { return values.reduce((total, value) => total + value, 0); }

// "Conv-11, backward, dW"
function kindOf(kernel) { return [kernel.op, kernel.phase, kernel.gradient].filter((word) => word).join(', '); }
