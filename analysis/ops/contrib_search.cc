// com.microsoft searches that generate text: an encoder runs once, a decoder once for each token.
//
//   BeamSearch, WhisperBeamSearch, GreedySearch, Sampling
//
// One kernel: the encoder, the first run on the prompt, the decoder times the runs that are left
// (transform/resolve_search.cc says how many), and a softmax over the scores of every run. Weights are read once, as
// those of a Loop's body are.
//
// Source: ONNX Runtime's docs/ContribOperators.md.

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/control_flow.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

// What the body under attribute `name` does in `runs` runs, with the softmax of the scores that each makes.
absl::Status AddBody(const OpContext& ctx, absl::string_view name, int64_t runs, bool scores, BodyWork& total) {
  const Attribute* attribute = ctx.attributes().Find(name);
  const auto* reference = attribute == nullptr ? nullptr : std::get_if<SubgraphRef>(attribute);
  if (reference == nullptr) return absl::OkStatus();
  const Graph& body = *ctx.graph().subgraphs[reference->index];
  RS_ASSIGN_OR_RETURN(BodyWork work, WorkOf(body));
  if (scores && !body.outputs.empty()) {
    const Shape& shape = body.value(body.outputs[0]).type.shape;  // [rows, length, vocabulary], the last of them
    RS_ASSIGN_OR_RETURN(const int64_t elements,
                        Times(ctx, "scores", {shape.empty() ? 0 : shape[0], shape.empty() ? 0 : shape.back()}));
    RS_RETURN_IF_ERROR(AddWork({.flops = 3, .transcendentals = 2}, elements, work));
  }
  return AddWork(work, runs, total);
}

absl::StatusOr<Kernel> SearchKernel(const OpContext& ctx) {
  if (!ctx.attributes().Has("decoder")) return ctx.Error("attribute 'decoder' is missing, expected a graph");
  BodyWork total;
  RS_RETURN_IF_ERROR(AddBody(ctx, "encoder", 1, false, total));
  const bool apart = ctx.attributes().Has("init_decoder");
  RS_RETURN_IF_ERROR(AddBody(ctx, apart ? "init_decoder" : kPromptAttribute, 1, true, total));
  RS_RETURN_IF_ERROR(AddBody(ctx, "decoder", ctx.attributes().Int(kTripCountAttribute, 0), true, total));
  Kernel kernel;
  SetWork(total, kernel);
  AddWholeInputs(ctx, kernel);
  AddCaptures(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

}  // namespace

void RegisterContribSearch(OpRegistry& registry) {
  for (absl::string_view type : {"BeamSearch", "WhisperBeamSearch", "GreedySearch", "Sampling"}) {
    registry.Add({.domain = kMicrosoft,
                  .type = type,
                  .kernel = SearchKernel,
                  .not_differentiable = "its result is tokens",
                  .contraction = true,
                  .deterministic = type != "Sampling"});
  }
}

}  // namespace reusescope
