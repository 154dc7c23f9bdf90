// A graph in ONNX's text form as it is after Recognize, for the tests of its patterns.

#ifndef REUSESCOPE_TESTS_TESTING_RECOGNIZED_H_
#define REUSESCOPE_TESTS_TESTING_RECOGNIZED_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "analysis/ir/graph.h"
#include "analysis/ir/model.h"
#include "analysis/pipeline.h"
#include "analysis/transform/recognize.h"

namespace reusescope {

struct Recognized {
  Graph graph;
  RecognizedCounts counts;
};

// FLOPs of all contractions. The analysis is expected to succeed.
int64_t ContractionFlops(Model model, const AnalysisOptions& options);

// Shapes resolved, parameters found, constants folded, recognized; each step is expected to succeed, and to leave the
// FLOPs of contractions as they are.
Recognized RecognizeText(absl::string_view text);

// "Relu reusescope::Silu Exp": the operators in schedule order.
std::string OpNames(const Graph& graph);

// The same of the nodes of every region of that kind.
std::vector<std::string> RegionOps(const Graph& graph, absl::string_view kind);

}  // namespace reusescope

#endif  // REUSESCOPE_TESTS_TESTING_RECOGNIZED_H_
