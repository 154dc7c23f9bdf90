#include <algorithm>
#include <vector>

#include "analysis/ops/node_builder.h"
#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

// Opset 12 made ratio and training_mode inputs; from 7 to 11 a Dropout in a file drops nothing, before it is_test says.
bool IsIdle(const Matcher& matcher, const Node& node) {
  if (node.op.since_version < 7) return node.attributes.Int("is_test", 0) != 0;
  if (node.op.since_version < 12) return true;
  const bool has_mode = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const bool has_ratio = node.inputs.size() > 1 && node.inputs[1] != kNoValue;
  return !has_mode || matcher.IsScalar(node.inputs[2], 0) || (has_ratio && matcher.IsScalar(node.inputs[1], 0));
}

bool SaysItTrains(const Matcher& matcher, const Node& node) {
  return node.op.since_version >= 12 && node.inputs.size() > 2 && matcher.IsScalar(node.inputs[2], 1);
}

}  // namespace

int RestoreAttentionDropout(Matcher& matcher) {
  const std::vector<NodeId> dropouts = matcher.NodesOf("Dropout");
  const bool training_export = std::any_of(dropouts.begin(), dropouts.end(),
                                           [&](NodeId id) { return SaysItTrains(matcher, matcher.graph().node(id)); });
  if (!training_export) return 0;
  int count = 0;
  for (NodeId id : dropouts) {
    const auto& inputs = matcher.graph().node(id).inputs;
    const bool silent = matcher.graph().node(id).op.since_version >= 12 && inputs.size() == 2;
    if (!silent || inputs[1] == kNoValue || matcher.IsScalar(inputs[1], 0)) continue;
    if (!matcher.Is(matcher.Producer(inputs[0]), "Softmax")) continue;
    const ValueId trains = AddConstant(matcher.graph(), matcher.graph().node(id).name + ".training_mode",
                                       Literal::Ints({}, {1}, DType::kBool));
    matcher.graph().node(id).inputs.push_back(trains);
    ++count;
  }
  return count;
}

int RemoveIdleDropout(Matcher& matcher) {
  int count = 0;
  for (NodeId id : matcher.NodesOf("Dropout")) {
    Node& node = matcher.graph().node(id);
    if (!IsIdle(matcher, node)) continue;
    const ValueId mask = node.outputs.size() > 1 ? node.outputs[1] : kNoValue;
    if (mask != kNoValue && (matcher.IsOutput(mask) || !matcher.Readers(mask).empty())) continue;
    ++count;
    const ValueId output = node.outputs[0];
    if (matcher.IsOutput(output) || matcher.IsCaptured(output)) {
      node.op = {.type = "Identity", .since_version = 1};
      node.inputs.resize(1);
      node.outputs.resize(1);
      node.attributes = {};
    } else {
      matcher.Redirect(output, node.inputs[0]);
      matcher.Remove(id);
    }
  }
  return count;
}

}  // namespace reusescope
