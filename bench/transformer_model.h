// A decoder as PyTorch exports it, with weights, for benchmarks: the shapes of every reshape computed out of the data
// (Shape, Gather, Unsqueeze, Concat), RMS norms and GELUs taken apart.

#ifndef REUSESCOPE_BENCH_TRANSFORMER_MODEL_H_
#define REUSESCOPE_BENCH_TRANSFORMER_MODEL_H_

#include <cstdint>

#include "onnx/onnx_pb.h"

namespace reusescope {

// As many layers, of 81 nodes each, as make `nodes`. `opset` 17, or 18 and later: where the operators' forms differ.
onnx::ModelProto TransformerModel(int64_t nodes, int64_t opset);

}  // namespace reusescope

#endif  // REUSESCOPE_BENCH_TRANSFORMER_MODEL_H_
