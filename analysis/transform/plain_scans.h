// Backward Scans in the form that every runtime executes.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_PLAIN_SCANS_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_PLAIN_SCANS_H_

#include "analysis/ir/graph.h"

namespace reusescope {

// A backward Scan runs in reverse, and along the axes of its forward node; ONNX's reference evaluator knows neither.
// What it scans is turned and reversed before it, what it makes after it, in subgraphs too. The analysis counts no such
// copies, as a runtime that reads in reverse makes none.
void MakeScansPlain(Graph& graph);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_PLAIN_SCANS_H_
