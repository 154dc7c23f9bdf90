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

// MatMul(q, k), scale, mask, Softmax over the last axis, guard, Dropout, MatMul(., v): a region "attention".
int FindAttention(Matcher& matcher);

// DequantizeLinear, operator, QuantizeLinear -> QLinearConv, QLinearMatMul, QGemm, QLinearAdd, ...; a product that
// nobody quantizes -> MatMulIntegerToFloat; a product with weights alone dequantized -> MatMulNBits. Inference only.
int FuseQuantized(Matcher& matcher);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_PATTERNS_PATTERNS_H_
