#include "tests/testing/recognized.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/verify.h"
#include "analysis/transform/find_parameters.h"
#include "analysis/transform/fold_constants.h"
#include "analysis/transform/resolve_shapes.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {

int64_t ContractionFlops(Model model, const AnalysisOptions& options) {
  const absl::StatusOr<Analysis> analysis = Analyze(std::move(model), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  int64_t flops = 0;
  if (analysis.ok()) {
    for (const KernelCost& kernel : analysis->cost.kernels) flops += kernel.contraction_flops;
  }
  return flops;
}

Recognized RecognizeText(absl::string_view text) {
  EXPECT_EQ(ContractionFlops(ParseOnnxText(text), {.mode = Mode::kInference}),
            ContractionFlops(ParseOnnxText(text), {.mode = Mode::kInference, .recognize = false}))
      << text;
  Model model = ParseOnnxText(text);
  std::vector<std::string> notes;
  Recognized result;
  EXPECT_EQ(ResolveShapes(model, {}, notes), absl::OkStatus());
  result.graph = std::move(model.graph);
  EXPECT_EQ(FindParameters(result.graph, {}, notes), absl::OkStatus());
  EXPECT_EQ(FoldConstants(result.graph), absl::OkStatus());
  absl::StatusOr<RecognizedCounts> counts = Recognize(result.graph);
  EXPECT_EQ(counts.status(), absl::OkStatus());
  if (counts.ok()) result.counts = *counts;
  EXPECT_EQ(Verify(result.graph, "recognize", /*resolved=*/true), absl::OkStatus());
  return result;
}

std::string OpNames(const Graph& graph) {
  return absl::StrJoin(graph.order, " ", [&](std::string* out, NodeId id) {
    const OpKey& op = graph.node(id).op;
    absl::StrAppend(out, op.domain, op.domain.empty() ? "" : "::", op.type);
  });
}

std::vector<std::string> RegionOps(const Graph& graph, absl::string_view kind) {
  std::vector<std::string> regions;
  for (const Region& region : graph.regions) {
    if (region.kind != kind) continue;
    regions.push_back(absl::StrJoin(
        region.nodes, " ", [&](std::string* out, NodeId id) { absl::StrAppend(out, graph.node(id).op.type); }));
  }
  return regions;
}

}  // namespace reusescope
