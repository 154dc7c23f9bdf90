#include "analysis/transform/recognize.h"

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/lower_context.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

struct Pattern {
  absl::string_view name;
  int (*apply)(Matcher&);
  bool inference_only = false;
};

// Guards and dropouts go first, so that none stands between what a later pattern looks for.
constexpr Pattern kPatterns[] = {
    {"SoftmaxGuard", RemoveSoftmaxGuard},
    {kRestoredDropout, RestoreAttentionDropout},
    {"Dropout", RemoveIdleDropout},
    {"Gelu", FuseGeluErf},
    {"Gelu", FuseGeluTanh},
    {"Silu", FuseSilu},
    {"HardSwish", FuseHardSwish},
    {"LayerNormalization", FuseLayerNorm},
    {"RMSNormalization", FuseRmsNorm},
    {"GroupNormalization", FuseGroupNorm},
    {"rotary embedding", FuseRotary},
    {"attention", FindAttention},
    {"grouped-query attention", FindGroupedHeads},
    {"key-value cache", FindKeyValueCache},
    {"causal mask", CountCausalMasks},
    {"padding mask", CountPaddingMasks},
    {"constant mask", CountConstantMasks},
    {"SwiGLU", FindSwiGlu},
    {"experts", FindExperts},
    {"quantized", FuseQuantized, /*inference_only=*/true},
};

// A composite may be made of composites; one that is made of itself would never end.
constexpr int kMaxNesting = 8;

// Appends what stands for node `id` to `order`: the node itself, or what its `lower` emits, lowered in turn.
absl::Status AppendLowered(Graph& graph, NodeId id, int nesting, std::vector<NodeId>& order) {
  const OpSemantics* semantics = OpRegistry::Get().Find(graph.node(id).op);
  if (semantics == nullptr || semantics->lower == nullptr) {
    order.push_back(id);
    return absl::OkStatus();
  }
  if (nesting == kMaxNesting) {
    return absl::InternalError(absl::StrCat("node '", graph.node(id).name, "' (", OpKeyString(graph.node(id).op),
                                            "): lowers to composites more than ", kMaxNesting, " deep"));
  }
  LowerContext context(graph, id, *semantics);
  RS_RETURN_IF_ERROR(semantics->lower(context));
  if (context.emitted().empty()) {  // a form that is core already
    order.push_back(id);
    return absl::OkStatus();
  }
  for (NodeId emitted : context.emitted()) RS_RETURN_IF_ERROR(AppendLowered(graph, emitted, nesting + 1, order));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RecognizedCounts> Recognize(Graph& graph, const RecognizeOptions& options) {
  RecognizedCounts counts;
  Matcher matcher(graph);
  for (const Pattern& pattern : kPatterns) {
    if (pattern.inference_only && !options.inference) continue;
    const int count = pattern.apply(matcher);
    if (count > 0) counts[std::string(pattern.name)] += count;
  }
  matcher.Finish();
  RemoveDeadNodes(graph);
  return counts;
}

absl::Status LowerComposites(Graph& graph) {
  std::vector<NodeId> order;
  order.reserve(graph.order.size());
  const std::vector<NodeId> schedule = graph.order;
  for (NodeId id : schedule) RS_RETURN_IF_ERROR(AppendLowered(graph, id, 0, order));
  graph.order = std::move(order);
  return absl::OkStatus();
}

}  // namespace reusescope
