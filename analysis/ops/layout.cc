// Operators that move or reinterpret elements without looking at them: views, copies, sequences of tensors.

#include "analysis/ops/evaluate.h"
#include "analysis/ops/infer_rules.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

void RegisterLayout(OpRegistry& registry) {
  const OpSemantics rows[] = {
      // Another shape over the same bytes.
      {.type = "Reshape", .evaluate = EvaluateReshape, .aliasing = Aliasing::kView},
      {.type = "Flatten", .evaluate = EvaluateReshape, .aliasing = Aliasing::kView},
      {.type = "Squeeze", .evaluate = EvaluateReshape, .aliasing = Aliasing::kView},
      {.type = "Unsqueeze", .evaluate = EvaluateReshape, .aliasing = Aliasing::kView},
      {.type = "Identity", .evaluate = EvaluateReshape, .aliasing = Aliasing::kView},
      // Strided views in PyTorch, copies where a runtime has no strides.
      {.type = "Transpose", .evaluate = EvaluateTranspose, .aliasing = Aliasing::kStridedView},
      {.type = "Slice", .evaluate = EvaluateSlice, .aliasing = Aliasing::kStridedView},
      {.type = "Split", .evaluate = EvaluateSplit, .aliasing = Aliasing::kStridedView},
      {.type = "Expand", .evaluate = EvaluateExpand, .aliasing = Aliasing::kStridedView},
      // Copies.
      {.type = "Concat", .evaluate = EvaluateConcat},
      {.type = "Tile", .evaluate = EvaluateTile},
      {.type = "Pad", .evaluate = EvaluatePad},
      {.type = "Cast", .evaluate = EvaluateCast},
      {.type = "CastLike", .evaluate = EvaluateCast},
      {.type = "SpaceToDepth"},
      {.type = "DepthToSpace"},
      {.type = "Trilu", .evaluate = EvaluateTrilu},
      {.type = "ReverseSequence"},
      // Sequences.
      {.type = "SplitToSequence", .infer = InferSplitToSequence, .aliasing = Aliasing::kStridedView},
      {.type = "SequenceConstruct", .infer = InferSequenceConstruct},
      {.type = "SequenceEmpty", .infer = InferSequenceEmpty},
      {.type = "SequenceInsert", .infer = InferSequenceInsert},
      {.type = "SequenceErase", .infer = InferSequenceErase},
      {.type = "SequenceAt", .aliasing = Aliasing::kStridedView},
      {.type = "ConcatFromSequence", .infer = InferConcatFromSequence},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
