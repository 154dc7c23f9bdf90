// The rewrites, one function each; every one returns how many it made.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_PATTERNS_PATTERNS_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_PATTERNS_PATTERNS_H_

#include "analysis/transform/patterns/matcher.h"

namespace reusescope {

// Dropout(Softmax(x), ratio) without training_mode, in a file whose other Dropouts say that they train -> one that
// trains. PyTorch's TorchScript exporter leaves the flag out inside attention, so the file drops nothing where the
// model does.
int RestoreAttentionDropout(Matcher& matcher);

// Dropout(x) that drops nothing (evaluation, or ratio 0) -> x. A graph output stays, as an Identity.
int RemoveIdleDropout(Matcher& matcher);

// Where(IsNaN(p), 0, p) of a Softmax p -> p: what PyTorch's exporter writes for rows that are masked as a whole, and
// its own kernel does in passing.
int RemoveSoftmaxGuard(Matcher& matcher);

// x * 0.5 * (1 + Erf(x / sqrt(2))) -> Gelu(x), approximate = "none". Factors in any order and grouping.
int FuseGeluErf(Matcher& matcher);
// x * 0.5 * (1 + Tanh(0.79788 * (x + 0.044715 * x^3))) -> Gelu(x), approximate = "tanh", and spelled_out = 1: such
// a model is taken to compute it step by step (NewGELU of Transformers), which eager autograd keeps more tensors of.
int FuseGeluTanh(Matcher& matcher);

// x * Sigmoid(x) -> Silu(x)
int FuseSilu(Matcher& matcher);
// x * HardSigmoid(x) or x * Clip(x + 3, 0, 6) / 6 -> HardSwish(x)
int FuseHardSwish(Matcher& matcher);

// (x - Mean(x)) / Sqrt(Mean((x - Mean(x))^2) + eps) * w + b -> LayerNormalization(x, w, b), over the last axes.
int FuseLayerNorm(Matcher& matcher);
// x / Sqrt(Mean(x^2) + eps) * w -> RMSNormalization(x, w), over the last axes.
int FuseRmsNorm(Matcher& matcher);

// X normalized per group of channels, times a weight and plus a bias per channel -> GroupNormalization(X, w, b), or
// InstanceNormalization where every channel is its own group:
//   Reshape([N, G, ...]), InstanceNormalization with weights of one and biases of zero, Reshape back, Mul, Add
//   the same with (x - Mean(x)) / Sqrt(Mean((x - Mean(x))^2) + eps) in the middle, Reshapes or none around it
int FuseGroupNorm(Matcher& matcher);

// x cos + join(-x2, x1) sin, or join(x1 cos - x2 sin, x2 cos + x1 sin) -> reusescope::Rotation(x, cos, sin): rotary
// embedding, of halves or of every second element.
int FuseRotary(Matcher& matcher);

// MatMul(q, k), scale, mask, Softmax over the last axis, guard, Dropout, MatMul(., v): a region "attention".
int FindAttention(Matcher& matcher);

// Of the attentions found: those whose keys and values are repeated for groups of query heads, and those that have them
// behind a past that the model is given, or written into it by position; the nodes that do so join the region.
int FindGroupedHeads(Matcher& matcher);
int FindKeyValueCache(Matcher& matcher);
// Of the attentions found: those with a mask that compares positions, that comes from an input of the model, or that is
// stored and neither. One may have several.
int CountCausalMasks(Matcher& matcher);
int CountPaddingMasks(Matcher& matcher);
int CountConstantMasks(Matcher& matcher);

// Silu(x Wg) * (x Wu), also of one product that is split: a region "SwiGLU".
int FindSwiGlu(Matcher& matcher);
// TopK of a router's product, and the products that read what it chose, or whose results it weighs: a region "experts".
int FindExperts(Matcher& matcher);

// DequantizeLinear, operator, QuantizeLinear -> QLinearConv, QLinearMatMul, QGemm, QLinearAdd, ...; a product that
// nobody quantizes -> MatMulIntegerToFloat; a product with weights alone dequantized -> MatMulNBits. Inference only.
int FuseQuantized(Matcher& matcher);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_PATTERNS_PATTERNS_H_
