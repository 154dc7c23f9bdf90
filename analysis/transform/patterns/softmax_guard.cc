#include "analysis/transform/patterns/patterns.h"

namespace reusescope {

int RemoveSoftmaxGuard(Matcher& matcher) {
  int count = 0;
  for (NodeId guard : matcher.NodesOf("IsNaN")) {
    const ValueId probabilities = matcher.graph().node(guard).inputs[0];
    if (!matcher.Is(matcher.Producer(probabilities), "Softmax")) continue;
    Match match;
    ValueId is_nan = matcher.graph().node(guard).outputs[0];
    const NodeId where = matcher.SoleReader(is_nan, match);
    if (!matcher.Is(where, "Where")) continue;
    const Node& node = matcher.graph().node(where);
    const ValueId output = node.outputs[0];
    if (node.inputs[0] != is_nan || !matcher.IsScalar(node.inputs[1], 0) || node.inputs[2] != probabilities) continue;
    if (matcher.IsOutput(output) || matcher.IsCaptured(output)) continue;
    matcher.Redirect(output, probabilities);
    matcher.Remove(where);
    matcher.Remove(guard);
    ++count;
  }
  return count;
}

}  // namespace reusescope
