#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

OpRegistry Build() {
  OpRegistry registry;
  RegisterContraction(registry);
  RegisterElementwise(registry);
  RegisterReduction(registry);
  RegisterPooling(registry);
  RegisterNormalization(registry);
  RegisterSoftmaxLoss(registry);
  RegisterAttention(registry);
  RegisterGather(registry);
  RegisterLayout(registry);
  RegisterShapeArithmetic(registry);
  RegisterRecurrent(registry);
  RegisterOptimizerSteps(registry);
  RegisterControlFlow(registry);
  RegisterQuantization(registry);
  RegisterContrib(registry);
  RegisterContribAttention(registry);
  RegisterContribQuantization(registry);
  RegisterContribData(registry);
  RegisterContribPacked(registry);
  RegisterContribLinearAttention(registry);
  RegisterContribLayouts(registry);
  RegisterContribSearch(registry);
  RegisterContribTraining(registry);
  RegisterMl(registry);
  RegisterMisc(registry);
  return registry;
}

}  // namespace

absl::Status OpContext::Error(absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat("node '", node().name, "' (", OpKeyString(node().op), "): ", message));
}

const OpRegistry& OpRegistry::Get() {
  static const OpRegistry* const registry = new OpRegistry(Build());
  return *registry;
}

void OpRegistry::Add(OpSemantics semantics) {
  std::vector<OpSemantics>& versions = entries_[{semantics.domain, semantics.type}];
  const auto later = std::find_if(versions.begin(), versions.end(), [&](const OpSemantics& other) {
    return other.since_version > semantics.since_version;
  });
  versions.insert(later, semantics);
}

const OpSemantics* OpRegistry::Find(const OpKey& op) const {
  const auto it = entries_.find(std::pair<absl::string_view, absl::string_view>(op.domain, op.type));
  if (it == entries_.end()) return nullptr;
  const OpSemantics* found = nullptr;
  for (const OpSemantics& semantics : it->second) {
    if (semantics.since_version <= op.since_version) found = &semantics;
  }
  return found;
}

std::vector<const OpSemantics*> OpRegistry::All() const {
  std::vector<const OpSemantics*> all;
  for (const auto& [key, versions] : entries_) {
    for (const OpSemantics& semantics : versions) all.push_back(&semantics);
  }
  std::sort(all.begin(), all.end(), [](const OpSemantics* a, const OpSemantics* b) {
    return std::tie(a->domain, a->type, a->since_version) < std::tie(b->domain, b->type, b->since_version);
  });
  return all;
}

Aliasing AliasingOf(const Graph& graph, NodeId id) {
  const OpSemantics* semantics = OpRegistry::Get().Find(graph.node(id).op);
  if (semantics == nullptr) return Aliasing::kNone;
  return semantics->alias == nullptr ? semantics->aliasing : semantics->alias(OpContext(graph, id, *semantics));
}

bool IsView(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
  if (semantics == nullptr || semantics->in_place[0] >= 0) return false;
  if (node.inputs.empty() || node.inputs[0] == kNoValue || node.outputs.empty()) return false;
  for (ValueId output : node.outputs) {
    if (output != kNoValue && graph.value(output).storage != graph.value(node.inputs[0]).storage) return false;
  }
  return true;
}

}  // namespace reusescope
