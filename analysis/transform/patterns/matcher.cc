#include "analysis/transform/patterns/matcher.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {
namespace {

// Patterns are small: how many Muls deep a product is opened, how many readers up it is climbed, and how many
// Identities are looked through.
constexpr int kMaxDepth = 4;
constexpr int kMaxChain = 8;

bool Near(double a, double b) { return std::abs(a - b) <= 1e-3 * std::abs(b); }

}  // namespace

bool Match::Has(NodeId id) const { return std::find(nodes.begin(), nodes.end(), id) != nodes.end(); }

void Match::Add(NodeId id) {
  if (!Has(id)) nodes.push_back(id);
}

bool Product::Is(double expected_constant, absl::Span<const ValueId> expected) const {
  return Near(constant, expected_constant) &&
         std::is_permutation(factors.begin(), factors.end(), expected.begin(), expected.end());
}

Matcher::Matcher(Graph& graph)
    : graph_(graph),
      readers_(graph.values.size()),
      is_output_(graph.values.size(), false),
      scheduled_(graph.nodes.size(), false),
      position_(graph.nodes.size(), 0),
      removed_(graph.nodes.size(), false) {
  const Uses uses(graph);
  for (size_t i = 0; i < graph.values.size(); ++i) {
    const auto nodes = uses.of(static_cast<ValueId>(i));
    readers_[i].assign(nodes.begin(), nodes.end());
  }
  for (ValueId output : graph.outputs) {
    if (output != kNoValue) is_output_[output] = true;
  }
  int32_t position = 0;
  for (NodeId id : graph.order) {
    position_[id] = position++;
    scheduled_[id] = true;
    names_.insert(graph.node(id).name);
  }
}

std::vector<NodeId> Matcher::NodesOf(absl::string_view type) const {
  std::vector<NodeId> found;
  for (NodeId id : graph_.order) {
    if (Is(id, type)) found.push_back(id);
  }
  return found;
}

bool Matcher::Is(NodeId id, absl::string_view type) const {
  return id != kNoNode && !removed_[id] && graph_.node(id).op.type == type && graph_.node(id).op.domain.empty();
}

bool Matcher::IsAnyOf(NodeId id, std::initializer_list<absl::string_view> types) const {
  return std::any_of(types.begin(), types.end(), [&](absl::string_view type) { return Is(id, type); });
}

NodeId Matcher::Producer(ValueId value) const {
  if (value == kNoValue) return kNoNode;
  const NodeId id = graph_.value(value).producer;
  return id == kNoNode || !scheduled_[id] || removed_[id] ? kNoNode : id;
}

bool Matcher::Transparent(NodeId id, bool casts) const {
  if (Is(id, "Identity")) return true;
  if (!Is(id, "Cast") && !Is(id, "CastLike")) return false;
  const Node& node = graph_.node(id);
  return casts || graph_.value(node.inputs[0]).type.dtype == graph_.value(node.outputs[0]).type.dtype;
}

ValueId Matcher::SkipBack(ValueId value, Match& match, bool casts) const {
  for (int i = 0; i < kMaxChain; ++i) {
    const NodeId id = Producer(value);
    if (id == kNoNode || !Transparent(id, casts)) break;
    match.Add(id);
    value = graph_.node(id).inputs[0];
  }
  return value;
}

const Node* Matcher::Produced(ValueId value, absl::string_view type, Match& match) const {
  Match seen;
  const NodeId id = Producer(SkipBack(value, seen));
  if (!Is(id, type)) return nullptr;
  for (NodeId skipped : seen.nodes) match.Add(skipped);
  match.Add(id);
  return &graph_.node(id);
}

absl::InlinedVector<NodeId, 4> Matcher::Readers(ValueId value) const {
  absl::InlinedVector<NodeId, 4> readers;
  for (NodeId id : readers_[value]) {
    if (!removed_[id]) readers.push_back(id);
  }
  return readers;
}

NodeId Matcher::SoleReader(ValueId& value, Match& match, bool casts) const {
  for (int i = 0; i < kMaxChain; ++i) {
    const auto readers = Readers(value);
    if (is_output_[value] || readers.size() != 1) return kNoNode;
    if (!Transparent(readers[0], casts)) return readers[0];
    match.Add(readers[0]);
    value = graph_.node(readers[0]).outputs[0];
  }
  return kNoNode;
}

std::optional<double> Matcher::Scalar(ValueId value) const {
  if (value == kNoValue || graph_.value(value).kind == ValueKind::kParameter) return {};
  const Literal* literal = graph_.literal(value);
  if (literal == nullptr || !literal->has_data || literal->size() != 1 || !literal->strings.empty()) return {};
  return literal->AsDouble(0);
}

bool Matcher::IsScalar(ValueId value, double expected) const {
  const std::optional<double> scalar = Scalar(value);
  return scalar.has_value() && (*scalar == expected || Near(*scalar, expected));
}

ValueId Matcher::Other(const Node& node, ValueId operand) const {
  if (node.inputs.size() != 2) return kNoValue;
  if (node.inputs[0] == operand) return node.inputs[1];
  return node.inputs[1] == operand ? node.inputs[0] : kNoValue;
}

ValueId Matcher::BesideScalar(const Node& node, double expected) const {
  if (node.inputs.size() != 2) return kNoValue;
  if (IsScalar(node.inputs[1], expected)) return node.inputs[0];
  return IsScalar(node.inputs[0], expected) ? node.inputs[1] : kNoValue;
}

void Matcher::Open(ValueId value, int exponent, int depth, absl::Span<const ValueId> stop, Product& product,
                   Match& match) const {
  if (const std::optional<double> scalar = Scalar(value)) {
    product.constant *= std::pow(*scalar, exponent);
    return;
  }
  if (std::find(stop.begin(), stop.end(), value) == stop.end()) value = SkipBack(value, match);
  const NodeId id = Producer(value);
  const bool stopped = std::find(stop.begin(), stop.end(), value) != stop.end();
  if (!stopped && depth > 0 && id != kNoNode && graph_.node(id).inputs.size() == 2) {
    const auto& inputs = graph_.node(id).inputs;
    const std::optional<double> right = Scalar(inputs[1]);
    const bool power = Is(id, "Pow") && right.has_value() && (*right == 2 || *right == 3) && exponent == 1;
    if (Is(id, "Mul") || (Is(id, "Div") && right.has_value()) || power) {
      match.Add(id);
      Open(inputs[0], power ? static_cast<int>(*right) : exponent, depth - 1, stop, product, match);
      if (!power) Open(inputs[1], Is(id, "Div") ? -exponent : exponent, depth - 1, stop, product, match);
      return;
    }
  }
  for (int i = 0; i < exponent; ++i) product.factors.push_back(value);
}

Product Matcher::AsProduct(ValueId value, absl::Span<const ValueId> stop, Match& match) const {
  Product product;
  Open(value, 1, kMaxDepth, stop, product, match);
  return product;
}

NodeId Matcher::ClimbToProduct(ValueId value, double constant, absl::Span<const ValueId> factors, Match& match) const {
  Match climbed = match;
  for (int i = 0; i < kMaxDepth; ++i) {
    const NodeId id = SoleReader(value, climbed);
    if (!Is(id, "Mul") && !(Is(id, "Div") && Scalar(graph_.node(id).inputs[1]).has_value())) return kNoNode;
    value = graph_.node(id).outputs[0];
    Match attempt = climbed;
    if (AsProduct(value, factors, attempt).Is(constant, factors)) {
      match = attempt;
      return id;
    }
  }
  return kNoNode;
}

bool Matcher::Fuse(const Match& match, NodeId root, OpKey op, absl::Span<const ValueId> inputs, Attributes attributes) {
  const auto is_inner = [&](ValueId value) {
    const NodeId producer = value == kNoValue ? kNoNode : graph_.value(value).producer;
    return producer != kNoNode && match.Has(producer);
  };
  if (std::any_of(inputs.begin(), inputs.end(), is_inner)) return false;
  std::string module = graph_.node(root).module;
  for (NodeId id : match.nodes) {
    module = CommonModule(module, graph_.node(id).module);
    if (id == root) continue;
    for (ValueId output : graph_.node(id).outputs) {
      if (output == kNoValue) continue;
      if (is_output_[output]) return false;
      for (NodeId reader : readers_[output]) {
        if (!removed_[reader] && !match.Has(reader)) return false;
      }
    }
  }
  for (NodeId id : match.nodes) {
    if (id != root) removed_[id] = true;
  }
  Node& node = graph_.node(root);
  const size_t slash = node.name.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : node.name.substr(0, slash + 1);
  node.name = UniqueName(absl::StrCat(folder.empty() && !module.empty() ? absl::StrCat(module, ".") : folder, op.type));
  node.module = module;
  node.op = std::move(op);
  node.attributes = std::move(attributes);
  node.inputs.assign(inputs.begin(), inputs.end());
  for (ValueId input : inputs) {
    if (input == kNoValue) continue;
    if (std::find(readers_[input].begin(), readers_[input].end(), root) == readers_[input].end()) {
      readers_[input].push_back(root);
    }
  }
  return true;
}

bool Matcher::IsCaptured(ValueId value) const {
  for (NodeId reader : Readers(value)) {
    const auto& captures = graph_.node(reader).captures;
    if (std::find(captures.begin(), captures.end(), value) != captures.end()) return true;
  }
  return false;
}

void Matcher::ReshapeInput(NodeId node, int slot, const Shape& shape) {
  const ValueId value = graph_.node(node).inputs[slot];
  const std::string base = graph_.node(node).name;
  const ValueId dims = AddConstant(graph_, base + ".shape",
                                   Literal::Ints({static_cast<int64_t>(shape.size())}, {shape.begin(), shape.end()}));
  const Node like = graph_.node(node);  // the pool moves as it grows
  const ValueId view =
      AddEmittedNode(graph_, "Reshape", base, like, {value, dims},
                     {Type::Tensor(graph_.value(value).type.dtype, shape)}, ValueKind::kActivation, {})[0];
  graph_.node(node).inputs[slot] = view;
  const NodeId reshape = graph_.value(view).producer;
  scheduled_.resize(graph_.nodes.size(), true);
  position_.resize(graph_.nodes.size(), position_[node]);
  removed_.resize(graph_.nodes.size(), false);
  is_output_.resize(graph_.values.size(), false);
  readers_.resize(graph_.values.size());
  readers_[value].push_back(reshape);
  readers_[view].push_back(node);
  graph_.order.pop_back();
  added_before_[node].push_back(reshape);
}

void Matcher::Redirect(ValueId from, ValueId to) {
  for (NodeId reader : readers_[from]) {
    Node& node = graph_.node(reader);
    std::replace(node.inputs.begin(), node.inputs.end(), from, to);
    if (!removed_[reader]) readers_[to].push_back(reader);
  }
  readers_[from].clear();
}

void Matcher::AddRegion(absl::string_view kind, absl::Span<const NodeId> nodes) {
  graph_.regions.push_back({.kind = std::string(kind)});
  ExtendRegion(graph_.regions.back(), nodes);
}

void Matcher::ExtendRegion(Region& region, absl::Span<const NodeId> nodes) {
  absl::flat_hash_set<NodeId> members(region.nodes.begin(), region.nodes.end());
  for (NodeId id : nodes) {
    if (members.insert(id).second) region.nodes.push_back(id);
  }
  std::sort(region.nodes.begin(), region.nodes.end(), [&](NodeId a, NodeId b) { return position_[a] < position_[b]; });
}

std::string Matcher::UniqueName(std::string stem) {
  std::string name = stem;
  int& suffix = next_suffix_[stem];
  while (!names_.insert(name).second) name = absl::StrCat(stem, "_", ++suffix);
  return name;
}

void Matcher::Finish() {
  std::vector<NodeId> order;
  order.reserve(graph_.order.size());
  for (NodeId id : graph_.order) {
    if (removed_[id]) continue;
    const auto added = added_before_.find(id);
    if (added != added_before_.end()) order.insert(order.end(), added->second.begin(), added->second.end());
    order.push_back(id);
  }
  graph_.order = std::move(order);
}

std::string CommonModule(absl::string_view a, absl::string_view b) {
  size_t common = 0;
  for (size_t i = 0; i <= std::min(a.size(), b.size()); ++i) {
    const bool a_ends = i == a.size() || a[i] == '.';
    const bool b_ends = i == b.size() || b[i] == '.';
    if (a_ends && b_ends) common = i;
    if (i == std::min(a.size(), b.size()) || a[i] != b[i]) break;
  }
  return std::string(a.substr(0, common));
}

}  // namespace reusescope
