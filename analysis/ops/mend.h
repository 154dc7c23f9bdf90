// Forms of nodes that files have and ONNX's schemas do not, given the form that they mean (OpSemantics::mend). Each
// returns what was odd, for the report ("has both 'split' and num_outputs; 'split' counts"), or "" when nothing was.
//
// Forms of one old version alone, which no rule of inference knows, become those of the next version, unsaid.

#ifndef REUSESCOPE_ANALYSIS_OPS_MEND_H_
#define REUSESCOPE_ANALYSIS_OPS_MEND_H_

#include <string>

#include "analysis/ops/op_semantics.h"

namespace reusescope {

OpSemantics Mended(MendFn mend, OpSemantics row);

// Split-18 with both `split` and num_outputs: `split` counts. With neither: equal parts, one for each output.
std::string MendSplit(Graph& graph, NodeId id);
// Reshape-1's attribute `shape`, later an input.
std::string MendReshape(Graph& graph, NodeId id);
// A number under another name than ONNX gives it (`alpha`), as onnxruntime reads it.
std::string MendConstant(Graph& graph, NodeId id);
// A value of rank 0 instead of one element in one dimension.
std::string MendConstantOfShape(Graph& graph, NodeId id);
// Pad-1's `paddings`, later `pads`.
std::string MendPad(Graph& graph, NodeId id);
// Resize-11 and 12 without a roi, which later versions allow, and (X, scales) as Resize-10 has it.
std::string MendResize(Graph& graph, NodeId id);
// Upsample-1's height_scale and width_scale, later `scales`; `scales` before opset 7, also as integers.
std::string MendUpsample(Graph& graph, NodeId id);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_MEND_H_
