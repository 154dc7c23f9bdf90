// Operators that read or write elements by index or by value: lookups, scatters, selections.

#include "analysis/ops/evaluate.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

void RegisterGather(OpRegistry& registry) {
  const OpSemantics rows[] = {
      {.type = "Gather", .evaluate = EvaluateGather},
      {.type = "GatherElements", .evaluate = EvaluateGatherElements},
      {.type = "GatherND", .evaluate = EvaluateGatherND},
      {.type = "Scatter", .evaluate = EvaluateScatterElements},
      {.type = "ScatterElements", .evaluate = EvaluateScatterElements},
      {.type = "ScatterND", .evaluate = EvaluateScatterND},
      {.type = "TensorScatter"},
      {.type = "OneHot", .evaluate = EvaluateOneHot},
      {.type = "TopK", .evaluate = EvaluateTopK},
      {.type = "NonZero", .evaluate = EvaluateNonZero},
      {.type = "Compress", .evaluate = EvaluateCompress},
      {.type = "Unique", .evaluate = EvaluateUnique},
      {.type = "NonMaxSuppression"},
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
