#include "analysis/checkpoint_policy.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "analysis/ir/status_util.h"
#include "analysis/measure/blocks.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

constexpr int32_t kNoSegment = -1;

// By node: the segment that it belongs to, or kNoSegment.
using Segments = std::vector<int32_t>;

std::vector<NodeId> ForwardNodes(const Graph& graph) {
  std::vector<NodeId> nodes;
  for (NodeId id : graph.order) {
    if (graph.node(id).phase == Phase::kForward) nodes.push_back(id);
  }
  return nodes;
}

int64_t BytesOf(const Value& value) {
  const int64_t elements = value.type.IsResolved() ? ElementCount(value.type.shape).value_or(0) : 0;
  return StorageBytes(elements, BitWidth(value.type.dtype)).value_or(0);
}

// Bytes of the tensors that the nodes make; views make none.
int64_t BytesMadeBy(const Graph& graph, absl::Span<const NodeId> nodes) {
  int64_t bytes = 0;
  for (NodeId id : nodes) {
    for (ValueId output : graph.node(id).outputs) {
      if (output == kNoValue || graph.storages[graph.value(output).storage].root != output) continue;
      bytes += BytesOf(graph.value(output));
    }
  }
  return bytes;
}

// Outermost blocks. One that makes more than half of all activations would have to be there again as a whole: such a
// one is taken apart into the blocks nested in it and the runs of nodes between these, and what is outside of blocks
// into runs as well. So the levels of a U-Net are segments, whose outermost skip connection spans nearly all of it.
Segments SegmentsOfBlocks(const Graph& graph) {
  const BlockTable table = FindBlocks(graph);
  const std::vector<NodeId> nodes = ForwardNodes(graph);
  const int64_t all = BytesMadeBy(graph, nodes);
  std::vector<bool> apart(table.blocks.size(), false);
  for (size_t b = 0; b < table.blocks.size(); ++b) {  // a block comes before those nested in it
    const Block& block = table.blocks[b];
    const bool reached = block.parent == kNoBlock || apart[block.parent];
    const bool nests = block.end > static_cast<int32_t>(b) + 1;
    apart[b] = reached && nests && BytesMadeBy(graph, table.NodesOf(block)) > all / 2;
  }
  const bool any_apart = std::find(apart.begin(), apart.end(), true) != apart.end();
  Segments segments(graph.nodes.size(), kNoSegment);
  auto next_run = static_cast<int32_t>(table.blocks.size());
  int32_t run_of = kNoBlock - 1;  // the block around the run of nodes that is being walked
  for (NodeId id : nodes) {
    const int32_t block = table.InnermostOf(id);
    int32_t whole = kNoBlock;
    for (int32_t outer = block; outer != kNoBlock; outer = table.blocks[outer].parent) {
      if (!apart[outer]) whole = outer;
    }
    if (whole != kNoBlock) {
      segments[id] = whole;
      run_of = kNoBlock - 1;
    } else if (any_apart) {
      if (run_of != block) ++next_run;
      run_of = block;
      segments[id] = next_run;
    }
  }
  return segments;
}

absl::StatusOr<Segments> SegmentsOfModules(const Graph& graph, const std::string& modules) {
  const std::regex pattern(modules);
  Segments segments(graph.nodes.size(), kNoSegment);
  absl::flat_hash_map<std::string, int32_t> known;
  for (NodeId id : ForwardNodes(graph)) {
    const Node& node = graph.node(id);
    std::smatch match;
    if (!std::regex_search(node.module.empty() ? node.name : node.module, match, pattern)) continue;
    segments[id] = known.try_emplace(match.str(0), static_cast<int32_t>(known.size())).first->second;
  }
  if (known.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--checkpoint: '", modules,
                                                   "' matches no module of the model, expected one of its paths "
                                                   "('reusescope graph' lists them), none, blocks, every=N or sqrt"));
  }
  return segments;
}

absl::StatusOr<std::vector<bool>> ValuesNamed(const Graph& graph, const std::vector<std::string>& names) {
  absl::flat_hash_map<absl::string_view, ValueId> forward;
  for (NodeId id : ForwardNodes(graph)) {
    for (ValueId output : graph.node(id).outputs) {
      if (output != kNoValue) forward.emplace(graph.value(output).name, output);
    }
  }
  std::vector<bool> keep(graph.values.size(), false);
  for (const std::string& name : names) {
    const auto found = forward.find(name);
    if (found == forward.end()) {
      return absl::InvalidArgumentError(absl::StrCat("--checkpoint: found '", name,
                                                     "' among the values to keep, which "
                                                     "forward does not compute; expected a plan of this model, made "
                                                     "with the same flags ('reusescope plan' makes one)"));
    }
    keep[found->second] = true;
  }
  return keep;
}

// ---- Cuts of the schedule.

// By position in the forward schedule: the bytes that are written up to there and read by forward nodes behind it.
std::vector<int64_t> CrossingBytes(const Graph& graph, const std::vector<NodeId>& nodes) {
  std::vector<int32_t> first(graph.storages.size(), -1), last(graph.storages.size(), -1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto position = static_cast<int32_t>(i);
    for (ValueId output : graph.node(nodes[i]).outputs) {
      if (output == kNoValue) continue;
      int32_t& written = first[graph.value(output).storage];
      if (written < 0) written = position;
    }
    for (ValueId input : graph.node(nodes[i]).inputs) {
      if (input != kNoValue) last[graph.value(input).storage] = position;
    }
  }
  std::vector<int64_t> change(nodes.size() + 1, 0);
  for (size_t s = 0; s < graph.storages.size(); ++s) {
    const Value& root = graph.value(graph.storages[s].root);
    if (root.producer == kNoNode || first[s] < 0 || last[s] <= first[s]) continue;
    const int64_t bytes = BytesOf(root);
    change[first[s]] += bytes;
    change[last[s]] -= bytes;
  }
  for (size_t i = 1; i < change.size(); ++i) change[i] += change[i - 1];
  return change;
}

// Segments of about `length` kernels.
Segments SegmentsOfSchedule(const Graph& graph, int64_t length) {
  const std::vector<NodeId> nodes = ForwardNodes(graph);
  const std::vector<int64_t> crossing = CrossingBytes(graph, nodes);
  std::vector<size_t> kernels;  // positions of the nodes that do something
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!IsView(graph, nodes[i])) kernels.push_back(i);
  }
  Segments segments(graph.nodes.size(), kNoSegment);
  const auto count = static_cast<int64_t>(kernels.size());
  const int64_t slack = length / 4;
  size_t begin = 0;
  int32_t segment = 0;
  for (int64_t last = -1; last + length < count - 1;) {
    // The last kernel of the segment: the nearest to `length` kernels behind which the fewest bytes cross.
    int64_t best = last + length;
    for (int64_t away = 1; away <= slack; ++away) {
      for (int64_t end : {last + length - away, last + length + away}) {
        if (end < count - 1 && crossing[kernels[end]] < crossing[kernels[best]]) best = end;
      }
    }
    for (; begin <= kernels[best]; ++begin) segments[nodes[begin]] = segment;
    ++segment;
    last = best;
  }
  return segments;
}

absl::StatusOr<Segments> SegmentsOf(const Graph& graph, const CheckpointPolicy& policy) {
  switch (policy.kind) {
    case CheckpointPolicy::Kind::kNone:
    case CheckpointPolicy::Kind::kValues:
      break;
    case CheckpointPolicy::Kind::kBlocks:
      return SegmentsOfBlocks(graph);
    case CheckpointPolicy::Kind::kEvery:
      return SegmentsOfSchedule(graph, policy.every);
    case CheckpointPolicy::Kind::kSqrt: {
      const std::vector<NodeId> nodes = ForwardNodes(graph);
      const auto kernels = std::count_if(nodes.begin(), nodes.end(), [&](NodeId id) { return !IsView(graph, id); });
      return SegmentsOfSchedule(graph, std::max<int64_t>(1, std::llround(std::sqrt(static_cast<double>(kernels)))));
    }
    case CheckpointPolicy::Kind::kModules:
      return SegmentsOfModules(graph, policy.modules);
  }
  return Segments(graph.nodes.size(), kNoSegment);
}

}  // namespace

absl::StatusOr<CheckpointPolicy> CheckpointPolicyFromText(absl::string_view text) {
  using Kind = CheckpointPolicy::Kind;
  if (text == "none") return CheckpointPolicy{.kind = Kind::kNone};
  if (text == "blocks") return CheckpointPolicy{.kind = Kind::kBlocks};
  if (text == "sqrt") return CheckpointPolicy{.kind = Kind::kSqrt};
  absl::string_view number = text;
  if (absl::ConsumePrefix(&number, "every=")) {
    CheckpointPolicy policy{.kind = Kind::kEvery};
    if (absl::SimpleAtoi(number, &policy.every) && policy.every > 0) return policy;
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not every=N with a whole number N above 0"));
  }
  absl::string_view names = text;
  if (absl::ConsumePrefix(&names, "keep=")) {
    return CheckpointPolicy{.kind = Kind::kValues, .values = absl::StrSplit(names, '\t', absl::SkipEmpty())};
  }
  try {
    CheckpointPolicy policy{.kind = Kind::kModules, .modules = std::string(text)};
    const std::regex compiled(policy.modules);
    return policy;
  } catch (const std::regex_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is none of none, blocks, every=N, sqrt, and no regular expression: ", error.what()));
  }
}

std::string CheckpointPolicyText(const CheckpointPolicy& policy) {
  switch (policy.kind) {
    case CheckpointPolicy::Kind::kNone:
      return "none";
    case CheckpointPolicy::Kind::kBlocks:
      return "blocks";
    case CheckpointPolicy::Kind::kEvery:
      return absl::StrCat("every=", policy.every);
    case CheckpointPolicy::Kind::kSqrt:
      return "sqrt";
    case CheckpointPolicy::Kind::kModules:
      return policy.modules;
    case CheckpointPolicy::Kind::kValues:
      return absl::StrCat("keep=", absl::StrJoin(policy.values, "\t"));
  }
  return "";
}

absl::StatusOr<std::vector<bool>> ValuesToKeep(const TrainingGraph& training, const CheckpointPolicy& policy) {
  const Graph& graph = training.graph;
  if (policy.kind == CheckpointPolicy::Kind::kValues) return ValuesNamed(graph, policy.values);
  RS_ASSIGN_OR_RETURN(const Segments segments, SegmentsOf(graph, policy));
  std::vector<bool> keep(graph.values.size(), false);
  const auto segment_of = [&](NodeId id) { return id == kNoNode ? kNoSegment : segments[id]; };
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    const bool is_forward = node.phase == Phase::kForward;
    const int32_t segment = segment_of(is_forward ? id : node.forward_node);
    for (ValueId output : node.outputs) {
      if (output != kNoValue && is_forward && segment == kNoSegment) keep[output] = true;
    }
    // Outside of segments, only what backward reads has to be kept.
    if (is_forward && segment == kNoSegment) continue;
    for (ValueId input : node.inputs) {
      const NodeId producer = input == kNoValue ? kNoNode : graph.value(input).producer;
      if (producer != kNoNode && segments[producer] != segment) keep[input] = true;
    }
  }
  return keep;
}

}  // namespace reusescope
