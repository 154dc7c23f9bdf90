#include "cli/glossary.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "cli/text.h"

namespace reusescope::cli {
namespace {

// clang-format off: a table, read row by row.
constexpr Term kGlossary[] = {
    {"mac", Topic::kArithmetic, "macs,multiply-accumulate",
     "One multiplication whose result is added to a sum. Only contractions are counted in MACs.",
     "1 MAC = 2 FLOPs; convolution: N*K*P*Q*C/groups*R*S", "JSON: macs"},
    {"flop", Topic::kArithmetic, "flops",
     "One floating-point operation: a count, never a rate. A compare, add or multiply is 1 FLOP; ReLU is 1 per "
     "element, a "
     "KxK max-pool K*K per output. Positions in the padding are counted (dense), as papers and PyTorch do.",
     "flops = 2 * macs + other arithmetic", "table: FLOPs; JSON: flops"},
    {"flop-per-second", Topic::kArithmetic, "flop/s,flops/s,rate",
     "A rate. Written FLOP/s, with SI prefixes (1 TFLOP/s = 10^12 per second); FLOPs without /s is a count.", "",
     "table: devices; JSON: roofline.peak_flops_per_second"},
    {"contraction", Topic::kArithmetic, "contraction-flops,matrix-work",
     "Work for the matrix units: convolutions, matrix products, recurrences and their gradients. Everything else "
     "(bias, "
     "activations, normalization, updates) is vector work.",
     "contraction_flops = 2 * macs of contractions", "JSON: contraction_flops"},
    {"transcendental", Topic::kArithmetic, "transcendentals,special-functions",
     "exp, log, tanh, erf, sqrt, division, power: counted in a column of their own and not as FLOPs, because hardware "
     "runs "
     "them on other units at other rates.",
     "", "table: transc.; JSON: transcendentals"},
    {"kernel", Topic::kArithmetic, "kernels",
     "One piece of the step that runs by itself: named loops with trip counts, one access per operand, the arithmetic "
     "of a "
     "point. Costs and reuse factors follow from it and from nothing else. Softmax, layer norm, batch norm and their "
     "gradients are one kernel each, as frameworks launch them. A convolution's filter extent is its window, never "
     "kernel.",
     "Y[n,k,p,q] += X[n,c,2p+r-1,2q+s-1] * W[k,c,r,s]", "table: kernels; JSON: layers[]"},
    {"bytes", Topic::kArithmetic, "traffic,compulsory",
     "What a kernel alone must move: each operand once, distinct elements times their width. Views (Reshape, Squeeze) "
     "cost "
     "nothing; a Transpose is a copy unless a contraction absorbs it.",
     "bytes = sum over operands of distinct elements * width", "table: bytes; JSON: bytes"},
    {"minimal-gradient", Topic::kArithmetic, "strided-convolution,zero-insertion",
     "The input gradient of a strided convolution runs over the same iteration space as forward: no zeros are inserted "
     "and "
     "multiplied.",
     "MACs(Y) = MACs(dX) = MACs(dW)", "JSON: layers[].macs"},
    {"units", Topic::kArithmetic, "prefixes,si,iec",
     "Counts and rates use SI prefixes (k = 10^3, M, G, T, P); amounts of memory and traffic use IEC ones (KiB = 2^10 "
     "B, "
     "MiB, GiB). JSON has exact integers of the unit in the key: _bytes, _flops, _seconds, _bytes_per_second.",
     "", "everywhere"},

    {"phase", Topic::kTraining, "phases,step,forward,backward",
     "Part of a training step: forward (outputs and loss), recompute (forward work done again, see checkpoint), "
     "backward "
     "(gradients), update (parameters and optimizer states).",
     "", "table: the step; JSON: totals, layers[].phase"},
    {"gradient", Topic::kTraining, "gradients,dx,dw,dy",
     "dY, dX, dW: derivative of the loss with respect to a kernel's output, input and weight. Nothing is computed that "
     "nobody needs: no dX for the first layer, no dW for frozen parameters.",
     "Y += X*W  gives  dX += dY*W  and  dW += X*dY", "JSON: layers[], memory.gradient_bytes"},
    {"loss", Topic::kTraining, "losses,seed",
     "What is attached to the outputs to start backward: auto is cross-entropy on the first float output, classes on "
     "axis 1 "
     "for image shapes, on the last for sequences; none feeds a gradient (seed) to every float output.",
     "", "option: --loss; JSON: settings.loss"},
    {"optimizer", Topic::kTraining, "optimizer-state,states,update",
     "The update rule and what it keeps per parameter across steps.",
     "sgd: 0 states, momentum, adagrad and rmsprop: 1, adam, adamw and lamb: 2, each as large as the parameter (32-bit "
     "under amp)",
     "option: --optimizer; JSON: memory.optimizer_state_bytes"},
    {"parameter", Topic::kTraining, "parameters,weight,weights",
     "A trained tensor of the model; tied weights count once. Running statistics, scalars and folded constants are "
     "none.",
     "", "table: model; JSON: model.parameters"},
    {"accumulate", Topic::kTraining, "accumulation,micro-batch,micro-batches",
     "Gradients of N micro-batches are added up in a state of each parameter's size, and one update applies to their "
     "mean. Reuse, memory and kernels are those of the last of the N, in which the update runs; the whole step is so "
     "many "
     "times forward and backward, and one update.",
     "seed = 1 / N", "table: the step; option: --accumulate; JSON: settings.accumulate, totals.optimizer_step"},
    {"clip-norm", Topic::kTraining, "clipping,gradient-clipping",
     "Gradients are scaled down so that their norm over all parameters is at most X: a pass that reads them all, one "
     "that "
     "rewrites them.",
     "dW *= min(1, X / (norm + 1e-6))", "option: --clip-norm; JSON: settings.clip_norm"},
    {"loss-scale", Topic::kTraining, "loss-scaling,grad-scaler",
     "The loss is multiplied by X so that small gradients survive in 16 bits, and gradients are divided by it before "
     "the "
     "update, which is skipped when one of them is infinite or no number.",
     "seed = X, dW /= X", "option: --loss-scale; JSON: settings.loss_scale"},
    {"activation", Topic::kTraining, "activations", "A tensor that the forward phase computes.", "", "graph: kind"},
    {"precision", Topic::kTraining, "amp,tf32,master-weights",
     "Arithmetic of the matrix units and width of values. fp16, bf16: everything in 16 bits. amp: activations and "
     "weight "
     "copies in 16 bits, master weights, weight gradients and optimizer states in 32. tf32: 32 bits in memory, tf32 on "
     "the "
     "matrix units. Accumulation is 32-bit in every mode.",
     "", "option: --precision; JSON: settings.precision"},

    {"reuse-factor", Topic::kReuse, "reuse-factors,intra-layer-reuse,intra-layer",
     "How often one element of an operand is used inside its kernel: what an ideal on-chip memory saves within a "
     "layer. Of a "
     "weight it is weight reuse, of an input input reuse (with the overlap of windows: convolutional reuse), of an "
     "output "
     "partial-sum reuse.",
     "points / distinct elements touched", "JSON: layers[].reuse_factors"},
    {"reuse-edge", Topic::kReuse, "edge,edges,reuse",
     "Two consecutive touches of one tensor's storage by two kernels; its bytes are what the later one would fetch "
     "again.",
     "", "table: reuse; JSON: reuse.scopes[].edges"},
    {"reuse-distance", Topic::kReuse, "distance,stack-distance",
     "Distinct bytes touched after the first touch of an edge up to and including the second. An LRU memory of that "
     "capacity "
     "captures the edge.",
     "distance(edge) <= capacity  <=>  hit",
     "table: reuse (half from, all from); JSON: reuse.scopes[].capacity_to_capture_bytes"},
    {"scope", Topic::kReuse, "scopes,reuse-scope,adjacent-layer,block-scale,forward-backward,long-range",
     "Where a reuse edge lies. adjacent-layer: the next kernel that runs, same phase. block-scale: same phase, both "
     "ends "
     "inside one block. forward-backward: from forward to backward (stash and weights). update: gradient to optimizer "
     "step. "
     "long-range: what fits none. Inside one kernel it is intra-layer: see reuse-factor.",
     "", "table: reuse; JSON: reuse.scopes[].scope"},
    {"capture", Topic::kReuse, "saved-bytes,saved-traffic,captured",
     "A reuse edge is captured by a memory that still holds the tensor at the second touch; the fetch is saved, and "
     "with a "
     "tensor that is dead afterwards its write-back as well.",
     "", "table: reuse; JSON: reuse.scopes[].saved_bytes"},
    {"curve", Topic::kReuse, "capacity-curve,traffic-curve",
     "Off-chip traffic of the whole step for growing on-chip capacity, under LRU and under a software-managed memory.",
     "traffic never rises with capacity; managed <= LRU", "JSON: reuse.curve[]; option: --capacity"},
    {"lru", Topic::kReuse, "cache,least-recently-used",
     "A memory that drops what was touched longest ago, byte by byte. One pass over the touches gives its traffic for "
     "every "
     "capacity at once.",
     "", "JSON: reuse.curve[].lru_bytes"},
    {"managed", Topic::kReuse, "software-managed,scratchpad",
     "A memory that knows the whole access list and keeps the intervals between touches that save most per byte and "
     "step, as "
     "a compiler can for a scratchpad. Clean bytes save a fetch, dirty ones the write-back too.",
     "", "JSON: reuse.curve[].managed_bytes"},
    {"serialization", Topic::kReuse, "mini-batch-serialization,sub-batch,mbs,serialize",
     "Groups of layers run for a few samples at a time, so few that what the layers of a group pass on stays on chip. "
     "Features that enter or leave a group, and what backward reads, still move once; weights and partial sums of "
     "their "
     "gradients move once more in each iteration. Layers that normalize over the mini-batch would see a sub-batch: "
     "group "
     "normalization takes their place, which is another model.",
     "sub-batch = min(batch, floor(capacity / footprint of a sample)); iterations = ceil(batch / sub-batch)",
     "command: serialize"},
    {"double-buffering", Topic::kReuse, "tiles,tiling,buffering",
     "A kernel whose operands do not fit on chip runs tile by tile. With two buffers the next tile arrives while the "
     "present one is computed on, for half of the space; so a contraction may move more. Single: compute plus "
     "transfers "
     "with tiles of all the space; double: the longer of the two with half; best: the shorter of both, kernel by "
     "kernel.",
     "C stays: c + a ceil(N/t_n) + b ceil(M/t_m) bytes", "commands: serialize, sweep --double-buffering"},
    {"block", Topic::kReuse, "blocks,residual,dense,branch,gated,attention",
     "A part of the forward graph with one way in and one way out: from a value that forks to where all its paths join "
     "again. residual (joined by Add), dense (by Concat with the input), branch (by Concat), gated (by Mul), "
     "attention. Equal blocks "
     "are counted together: bottleneck x 3.",
     "immediate post-dominator of the fork", "table: time; JSON: blocks[]"},

    {"stash", Topic::kMemory, "stash-needed,saved-tensors",
     "Forward values kept for backward. needed: what the backward kernels read.", "",
     "table: memory; JSON: memory.stash_needed_bytes, memory.stash[] (each tensor, and the kernels that read it)"},
    {"checkpoint", Topic::kMemory, "checkpointing,recompute,recomputation,recomputed",
     "Activations that are not kept for backward but computed again when it asks for them, from what is kept. blocks: "
     "each outermost block keeps what enters and leaves it; every=N: segments of about N kernels, cut where the fewest "
     "bytes cross; sqrt: N is the root of their number; a regular expression: each module that matches. Running "
     "statistics are written once and dropout is replayed from its mask.",
     "a chain of n in segments of sqrt(n): 2 sqrt(n) activations for one more forward pass",
     "option: --checkpoint; table: the step; JSON: totals.recompute, memory.timeline[].recomputed_bytes"},
    {"checkpoint-plan", Topic::kMemory, "plan,planner,chain-plan,program",
     "Which forward values to keep so that a step fits a memory with the least added time. sqrt: segments of "
     "sqrt(kernels) kernels. chain: the cheapest cut of the chain of blocks into segments that are kept, dropped, or "
     "kept where products are, and what is left of the memory filled up. program: the best of all choices, by a "
     "mixed-integer program. The peak is that of the step that the plan makes.",
     "least added time over all kept sets with peak <= memory",
     "command: plan; option: --checkpoint=@plan.json; JSON: keep, methods[], trade[]"},
    {"eager-stash", Topic::kMemory, "pytorch-eager,autograd",
     "What eager PyTorch's autograd keeps, which is more than is needed: a max-pool's input besides its indices, "
     "dropout "
     "masks, the scaled copies inside unfused attention.",
     "", "table: memory; JSON: memory.stash_pytorch_eager_bytes"},
    {"peak", Topic::kMemory, "peak-memory,footprint",
     "The largest sum of live tensors over the step: parameters, optimizer states, gradients so far, stash, and what "
     "the "
     "running kernel reads and writes. Workspaces and allocator losses of a framework are not in it.",
     "max over kernels of live bytes", "table: memory; JSON: memory.peak_bytes, memory.timeline[]"},
    {"fits", Topic::kMemory, "fit,capacity", "Whether the peak is at most the memory of the device.",
     "peak_bytes <= capacity_bytes", "table: memory; JSON: memory.fits"},
    {"zero", Topic::kMemory, "zero-stage,zero-1,zero-2,zero-3",
     "Data parallelism that divides what every device would hold whole: stage 1 the optimizer's states, stage 2 also "
     "the gradients, stage 3 also the parameters. Activations are not divided.",
     "bytes on a device = divided bytes / devices + the rest", "command: audit"},

    {"roofline", Topic::kTime, "roof",
     "The least time of a kernel on a device: the longer of computing and moving. Contractions run at the matrix "
     "units' rate, "
     "everything else at the vector units'; a transcendental takes the time of 8 FLOPs.",
     "seconds = max(compute, bytes / bandwidth); compute = contraction FLOPs / matrix rate + (other FLOPs + 8 * "
     "transcendentals) / vector rate",
     "table: time; JSON: roofline, layers[].seconds"},
    {"intensity", Topic::kTime, "arithmetic-intensity,operational-intensity",
     "Work per byte moved. Right of the ridge point a kernel is compute-bound, left of it memory-bound.",
     "flops / bytes", "table: FLOP/B; JSON: layers[].intensity"},
    {"ridge-point", Topic::kTime, "ridge,machine-balance",
     "The intensity at which a device's compute and bandwidth take equally long.", "peak FLOP/s / bandwidth B/s",
     "table: devices; JSON: roofline.ridge_flops_per_byte"},
    {"memory-bound", Topic::kTime, "bound,compute-bound",
     "Of a kernel: moving its bytes takes longer than its arithmetic (compute-bound: the other way round). The "
     "memory-bound "
     "share is the part of the step's time in such kernels.",
     "bytes / bandwidth > compute time", "table: bound; JSON: layers[].bound, roofline.memory_bound_share"},
    {"peak-and-achievable", Topic::kTime, "achievable,peak-flops,efficiency",
     "Peak is what the vendor prints (dense, no sparsity). Achievable is the fraction of it that somebody measured and "
     "published; times use it by default, --peak uses the bare peak. Without a published figure both are equal.",
     "", "option: --peak; JSON: roofline.achievable_flops_per_second"},
    {"step-time", Topic::kTime, "step-seconds,time,seconds",
     "Sum of the kernels' roofline times: no launch overhead, no overlap between kernels. A lower bound that real runs "
     "come "
     "near where kernels are large.",
     "", "table: the step; JSON: roofline.step_seconds"},
    {"prefetch", Topic::kTime, "stall,stalls",
     "With prefetch a transfer starts as soon as the channel and the space on chip are free, and a kernel stalls only "
     "for "
     "what has not arrived.",
     "", "JSON: roofline"},
    {"three-numbers", Topic::kTime, "custom-device,hardware",
     "A device can be given on the command line by on-chip capacity, bandwidth and throughput alone.",
     "--hardware 'capacity=96MiB,bandwidth=1TB/s,throughput=100TFLOP/s'", "option: --hardware"},
    {"elasticity", Topic::kTime, "what-would-help",
     "How the time of a sample changes with 10 % more of a device's number: arithmetic, bandwidth, on-chip memory (as "
     "a cache sees it) or memory (by the larger batch that it takes).",
     "time per sample with 1.1 times the number / time per sample - 1", "command: audit; JSON: elasticity"},
    {"all-reduce", Topic::kTime, "ring,ring-all-reduce,data-parallel",
     "Summing gradients over devices, each of which has its part of the batch. Around a ring every device sends "
     "2 (N - 1) / N bytes for a byte of gradient; buckets of 25 MiB leave while backward goes on.",
     "seconds = 2 (N - 1) / N * bytes / link", "command: audit; JSON: communication_seconds"},
    {"pareto-front", Topic::kTime, "front",
     "The devices that no other one beats in both cost and time (energy and time where no prices are given).", "",
     "command: audit"},

    {"coverage", Topic::kModel, "unknown-operators,strict",
     "Which part of the model the numbers stand for. An operator without a rule still counts with its bytes; its FLOPs "
     "are "
     "unknown, and the report says so in its first lines. --strict makes it an error.",
     "known nodes / nodes", "table: coverage; JSON: coverage"},
    {"recognize", Topic::kModel, "recognition,fused",
     "Rebuilding operators that exporters took apart: GELU, SiLU, HardSwish, LayerNormalization, RMSNormalization, "
     "GroupNormalization, rotary embedding; and finding what belongs together: attention, SwiGLU, experts. "
     "The report counts them. --recognize=off shows the raw graph.",
     "", "table: recognized; JSON: recognized; option: --recognize; graph --after=recognize"},
    {"upper-bound", Topic::kModel, "upper-bounds,bounded-tensors,data-dependent",
     "A dimension that data decide (how many boxes are left, which elements are not zero) is taken at its largest, and "
     "so is what follows from it; shapes say so: [<=100, 4].",
     "", "table: outputs; JSON: upper_bounds, bounded_tensors; graph"},
    {"resolve", Topic::kModel, "bind,symbolic-dimension,dynamic-axes",
     "Giving every symbolic dimension a number: --batch for leading ones, --dim NAME=N by name, --input NAME=SHAPE "
     "whole. An "
     "unbound leading dimension is 1, and a note says so; any other is an error that names the flag.",
     "", "options: --batch, --dim, --input"},
    {"initializer", Topic::kModel, "constant,buffer",
     "A tensor stored with the model: a parameter (trained), a buffer (running statistics, position ids) or a constant "
     "(shapes, scalars).",
     "", "graph: kind"},
    {"opset", Topic::kModel, "since-version,domain",
     "The version of a set of operators that a file uses. An operator's since-version is the opset at which its "
     "present "
     "meaning began: Conv-11 holds from opset 11 on.",
     "", "table: model; command: ops"},
    {"view", Topic::kModel, "storage,alias",
     "A value that shares another one's memory (Reshape, Squeeze, Identity): it costs nothing and is counted once.", "",
     "graph --format json: kind"},
};
// clang-format on

std::string Normalized(absl::string_view word) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(word), {{" ", "-"}, {"_", "-"}});
}

}  // namespace

absl::string_view TopicName(Topic topic) {
  switch (topic) {
    case Topic::kArithmetic:
      return "Work";
    case Topic::kTraining:
      return "Training step";
    case Topic::kReuse:
      return "Reuse";
    case Topic::kMemory:
      return "Memory";
    case Topic::kTime:
      return "Time";
    case Topic::kModel:
      return "Model";
  }
  return "";
}

absl::Span<const Term> Glossary() { return kGlossary; }

absl::StatusOr<const Term*> FindTerm(absl::string_view word) {
  const std::string wanted = Normalized(word);
  std::vector<std::string> known;
  for (const Term& term : kGlossary) {
    if (term.name == wanted) return &term;
    known.emplace_back(term.name);
  }
  for (const Term& term : kGlossary) {
    for (absl::string_view alias : absl::StrSplit(term.aliases, ',', absl::SkipEmpty())) {
      if (alias == wanted) return &term;
      known.emplace_back(alias);
    }
  }
  const std::string nearest = DidYouMean(wanted, known);
  return absl::NotFoundError(absl::StrCat("no term '", Printable(word), "'",
                                          nearest.empty() ? "; 'reusescope explain' lists them all" : nearest));
}

std::vector<std::string> TermNames() {
  std::vector<std::string> names;
  for (const Term& term : kGlossary) names.emplace_back(term.name);
  return names;
}

}  // namespace reusescope::cli
