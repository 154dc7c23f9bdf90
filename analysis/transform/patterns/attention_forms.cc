// What an attention that was found is like: heads shared by groups of queries, keys and values that a cache holds,
// masks. Nothing is rewritten; nodes that belong to the attention join its region.
//
//   MatMul(q, Transpose(k)) ... MatMul(p, v)     k, v = Reshape(Expand(Unsqueeze(k')))    grouped-query attention
//                                                k, v = Concat(graph input, k')           key-value cache
//                                                k, v = ScatterND(graph input, ., k')     the same, of fixed size
//   Add(scores, m), Where(m, scores, low)        m is triangular, or compares positions   causal mask
//                                                m comes from an input of the model       padding mask
//                                                m is stored and is neither               constant mask

#include <algorithm>
#include <array>

#include "analysis/transform/patterns/patterns.h"

namespace reusescope {
namespace {

constexpr absl::string_view kAttention = "attention";
// Between a product and what makes its operand lie a few views, casts and a scale.
constexpr int kMaxSteps = 12;
// A mask is made by some twenty nodes.
constexpr int kMaxMaskNodes = 200;
// What stands in a mask where nothing may be seen; models write -10000 and less.
constexpr double kMasked = -9999;

const Shape& ShapeOf(const Matcher& matcher, ValueId value) { return matcher.graph().value(value).type.shape; }

// The operands that an attention has for keys and values: of its first and of its last product.
std::array<ValueId, 2> KeyAndValue(const Matcher& matcher, const Region& region) {
  std::array<ValueId, 2> found = {kNoValue, kNoValue};
  for (NodeId id : region.nodes) {
    if (!matcher.Is(id, "MatMul")) continue;
    if (found[0] == kNoValue) found[0] = matcher.graph().node(id).inputs[1];
    found[1] = matcher.graph().node(id).inputs[1];
  }
  return found;
}

// From `value` back over what only moves or scales it, to the first node that `wanted` holds of; noted, with the nodes
// between. kNoNode when there is none.
template <typename Predicate>
NodeId FindBehind(const Matcher& matcher, ValueId value, Predicate wanted, Match& match) {
  for (int i = 0; i < kMaxSteps; ++i) {
    const NodeId id = matcher.Producer(value);
    if (id == kNoNode) return kNoNode;
    match.Add(id);
    if (wanted(id)) return id;
    const Node& node = matcher.graph().node(id);
    const bool moves =
        matcher.IsAnyOf(id, {"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Expand", "Cast", "CastLike", "Identity"});
    const bool scales = matcher.IsAnyOf(id, {"Mul", "Div"}) && matcher.Scalar(node.inputs[1]).has_value();
    if (!moves && !scales) return kNoNode;
    value = node.inputs[0];
  }
  return kNoNode;
}

// Repeats something along the heads: a dimension before the last two.
bool RepeatsHeads(const Matcher& matcher, NodeId id) {
  if (!matcher.Is(id, "Expand")) return false;
  const Shape& from = ShapeOf(matcher, matcher.graph().node(id).inputs[0]);
  const Shape& to = ShapeOf(matcher, matcher.graph().node(id).outputs[0]);
  if (from.size() != to.size() || to.size() < 4) return false;
  for (size_t d = 1; d + 2 < to.size(); ++d) {
    if (from[d] == 1 && to[d] > 1) return true;
  }
  return false;
}

// Something computed behind a past that the model is given.
bool IsCacheConcat(const Matcher& matcher, NodeId id) {
  if (!matcher.Is(id, "Concat") || matcher.graph().node(id).inputs.size() != 2) return false;
  const Graph& graph = matcher.graph();
  Match ignored;
  const ValueId past = matcher.SkipBack(graph.node(id).inputs[0], ignored, /*casts=*/true);
  const auto rank = static_cast<int64_t>(ShapeOf(matcher, past).size());
  int64_t axis = graph.node(id).attributes.Int("axis", 0);
  if (axis < 0) axis += rank;
  return graph.value(past).kind == ValueKind::kInput && IsFloatingPoint(graph.value(past).type.dtype) && axis > 0 &&
         axis < rank && matcher.Producer(graph.node(id).inputs[1]) != kNoNode;
}

// Something computed, written by position into a past that the model is given: a cache of a fixed size.
bool IsCacheWrite(const Matcher& matcher, NodeId id) {
  const bool chooses = matcher.Is(id, "Where");
  if (!chooses && !matcher.IsAnyOf(id, {"ScatterND", "ScatterElements", "TensorScatter"})) return false;
  const Node& node = matcher.graph().node(id);
  if (node.inputs.size() < 2 || (node.op.type != "TensorScatter" && node.inputs.size() < 3)) return false;
  const ValueId fresh = node.inputs[node.op.type == "TensorScatter" || chooses ? 1 : 2];
  ValueId past = node.inputs[chooses ? 2 : 0];
  for (int i = 0; i < kMaxSteps && matcher.Producer(past) != kNoNode; ++i) {
    const NodeId view = matcher.Producer(past);
    if (!matcher.IsAnyOf(view, {"Transpose", "Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity"})) return false;
    past = matcher.graph().node(view).inputs[0];
  }
  const Value& value = matcher.graph().value(past);
  return value.kind == ValueKind::kInput && IsFloatingPoint(value.type.dtype) && value.type.rank() >= 3 &&
         matcher.Producer(fresh) != kNoNode && IsFloatingPoint(matcher.graph().value(fresh).type.dtype);
}

// How many attentions have such a node behind both their keys and their values; those nodes join the region.
template <typename Predicate>
int FindBehindKeysAndValues(Matcher& matcher, Predicate wanted) {
  int count = 0;
  for (Region& region : matcher.graph().regions) {
    if (region.kind != kAttention) continue;
    Match match;
    const std::array<ValueId, 2> operands = KeyAndValue(matcher, region);
    const bool found = std::all_of(operands.begin(), operands.end(), [&](ValueId operand) {
      return operand != kNoValue && FindBehind(matcher, operand, wanted, match) != kNoNode;
    });
    if (!found) continue;
    matcher.ExtendRegion(region, match.nodes);
    ++count;
  }
  return count;
}

// ---- Masks.

struct MaskKind {
  bool causal = false, padding = false, constant = false;
};

// The stored numbers, if known, mask every key behind the last that a query may see, and nothing else in that row.
bool IsTriangular(const Literal* literal) {
  if (literal == nullptr || !literal->has_data || literal->shape.size() < 2 || !literal->strings.empty()) return false;
  const int64_t keys = literal->shape.back(), queries = literal->shape[literal->shape.size() - 2];
  if (keys < 2 || queries < 2 || literal->size() % (queries * keys) != 0) return false;
  const bool logical = literal->dtype == DType::kBool;
  for (int64_t i = 0; i < literal->size(); ++i) {
    const int64_t key = i % keys, query = i / keys % queries;
    const bool masked = logical ? literal->AsDouble(i) == 0 : literal->AsDouble(i) < kMasked;
    if (masked != (key > query + keys - queries)) return false;
  }
  return true;
}

class MaskFinder {
 public:
  explicit MaskFinder(const Matcher& matcher)
      : matcher_(matcher), graph_(matcher.graph()), made_by_(graph_.values.size(), kNoNode) {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {  // those that were folded away as well
      for (ValueId output : graph_.nodes[i].outputs) {
        if (output != kNoValue) made_by_[output] = static_cast<NodeId>(i);
      }
    }
  }

  // Of the values that the attention adds to its scores or chooses by.
  MaskKind Of(const Region& region) {
    MaskKind kind;
    for (NodeId id : region.nodes) {
      const Node& node = graph_.node(id);
      const bool chooses = matcher_.Is(id, "Where");
      if (!chooses && !matcher_.Is(id, "Add")) continue;
      for (size_t i = 0; i < (chooses ? 1 : node.inputs.size()); ++i) {
        const NodeId producer = matcher_.Producer(node.inputs[i]);
        if (std::find(region.nodes.begin(), region.nodes.end(), producer) != region.nodes.end()) continue;
        const MaskKind found = KindOf(node.inputs[i]);
        kind.causal |= found.causal;
        kind.padding |= found.padding;
        kind.constant |= found.constant;
      }
    }
    return kind;
  }

 private:
  // Layers share their masks.
  const MaskKind& KindOf(ValueId mask) {
    const auto [known, is_new] = kinds_.try_emplace(mask);
    if (is_new) known->second = Follow(mask);
    return known->second;
  }

  // Compares every query's position with every key's.
  bool ComparesPositions(const Node& node) const {
    if (node.op.type == "Trilu") return true;
    if (node.op.type.substr(0, 4) != "Less" && node.op.type.substr(0, 7) != "Greater") return false;
    const Shape& shape = graph_.value(node.outputs[0]).type.shape;
    if (shape.size() < 2 || shape.back() < 2 || shape[shape.size() - 2] < 2) return false;
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
      const Shape& operand = graph_.value(input).type.shape;
      return ElementCount(operand).value_or(0) < ElementCount(shape).value_or(0);
    });
  }

  // What the mask is made of, back to the inputs of the model; not through shapes, nor through positions compared.
  MaskKind Follow(ValueId mask) const {
    MaskKind kind;
    bool trained = false;
    std::vector<ValueId> pending = {mask};
    absl::flat_hash_set<ValueId> seen = {mask};
    for (int i = 0; i < kMaxMaskNodes && !pending.empty(); ++i) {
      const ValueId value = pending.back();
      pending.pop_back();
      const ValueKind value_kind = graph_.value(value).kind;
      kind.causal |= IsTriangular(graph_.literal(value));
      kind.padding |= value_kind == ValueKind::kInput;
      trained |= value_kind == ValueKind::kParameter;
      const NodeId id = made_by_[value];
      if (id == kNoNode || graph_.node(id).op.type == "Shape") continue;
      if (ComparesPositions(graph_.node(id))) {
        kind.causal = true;
        continue;
      }
      for (ValueId input : graph_.node(id).inputs) {
        if (input != kNoValue && seen.insert(input).second) pending.push_back(input);
      }
    }
    if (trained) return {};  // a bias
    const ValueKind stored = graph_.value(mask).kind;
    kind.constant = !kind.causal && !kind.padding && ShapeOf(matcher_, mask).size() >= 2 &&
                    (stored == ValueKind::kConstant || stored == ValueKind::kBuffer);
    return kind;
  }

  const Matcher& matcher_;
  const Graph& graph_;
  std::vector<NodeId> made_by_;
  absl::flat_hash_map<ValueId, MaskKind> kinds_;
};

int CountMasks(const Matcher& matcher, bool MaskKind::*which) {
  const auto& regions = matcher.graph().regions;
  if (regions.empty()) return 0;
  MaskFinder finder(matcher);
  return static_cast<int>(std::count_if(regions.begin(), regions.end(), [&](const Region& region) {
    return region.kind == kAttention && finder.Of(region).*which;
  }));
}

}  // namespace

int FindGroupedHeads(Matcher& matcher) {
  return FindBehindKeysAndValues(matcher, [&](NodeId id) { return RepeatsHeads(matcher, id); });
}

int FindKeyValueCache(Matcher& matcher) {
  return FindBehindKeysAndValues(matcher,
                                 [&](NodeId id) { return IsCacheConcat(matcher, id) || IsCacheWrite(matcher, id); });
}

int CountCausalMasks(Matcher& matcher) { return CountMasks(matcher, &MaskKind::causal); }
int CountPaddingMasks(Matcher& matcher) { return CountMasks(matcher, &MaskKind::padding); }
int CountConstantMasks(Matcher& matcher) { return CountMasks(matcher, &MaskKind::constant); }

}  // namespace reusescope
