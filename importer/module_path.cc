#include "importer/module_path.h"

#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace reusescope {
namespace {

// Longer or deeper names are nobody's module path, and walking their prefixes would cost the square of their length.
bool IsPlausiblePath(absl::string_view path) { return path.size() <= 512 && absl::c_count(path, '.') < 32; }

// "relu" of "relu_2"; "" when the name does not end so.
absl::string_view WithoutCallNumber(absl::string_view name) {
  const size_t underscore = name.rfind('_');
  if (underscore == absl::string_view::npos || underscore + 1 == name.size()) return "";
  for (char c : name.substr(underscore + 1)) {
    if (!absl::ascii_isdigit(c)) return "";
  }
  return name.substr(0, underscore);
}

// Calls `visit` with "a", "a.b", "a.b.c" for "a.b.c", the whole path last.
template <typename Visit>
void ForEachPrefix(absl::string_view path, Visit visit) {
  if (path.empty()) return;
  for (size_t dot = path.find('.'); dot != absl::string_view::npos; dot = path.find('.', dot + 1)) {
    visit(path.substr(0, dot));
  }
  visit(path);
}

class RepeatedCalls {
 public:
  explicit RepeatedCalls(const Graph& graph) {
    for (const Node& node : graph.nodes) {
      if (!IsPlausiblePath(node.module)) continue;
      ForEachPrefix(node.module, [&](absl::string_view path) { modules_.emplace(path); });
    }
    for (const Value& value : graph.values) {
      if (value.producer != kNoNode || !IsPlausiblePath(value.name)) continue;
      ForEachPrefix(value.name, [&](absl::string_view path) { owners_.emplace(path); });
    }
  }

  // `path` without the numbers of repeated calls.
  std::string Canonical(absl::string_view path) const {
    std::string result;
    ForEachPrefix(path, [&](absl::string_view prefix) {
      const size_t dot = prefix.rfind('.');
      absl::string_view name = dot == absl::string_view::npos ? prefix : prefix.substr(dot + 1);
      const absl::string_view base = WithoutCallNumber(name);
      const absl::string_view first_call = prefix.substr(0, prefix.size() - (name.size() - base.size()));
      if (!base.empty() && modules_.contains(first_call) && !owners_.contains(prefix)) name = base;
      absl::StrAppend(&result, result.empty() ? "" : ".", name);
    });
    return result;
  }

 private:
  absl::flat_hash_set<std::string> modules_;
  absl::flat_hash_set<std::string> owners_;  // of parameters and buffers
};

}  // namespace

std::string ModuleFromNodeName(absl::string_view node_name) {
  if (!absl::ConsumePrefix(&node_name, "/")) return "";
  std::vector<absl::string_view> parts = absl::StrSplit(node_name, '/');
  parts.pop_back();  // the operator
  std::vector<absl::string_view> path;
  for (absl::string_view part : parts) {
    if (part.empty()) continue;
    const bool repeats_parent = !path.empty() && absl::StartsWith(part, path.back()) &&
                                part.size() > path.back().size() && part[path.back().size()] == '.';
    if (repeats_parent) path.pop_back();
    path.push_back(part);
  }
  std::string module = absl::StrJoin(path, ".");
  return IsPlausiblePath(module) ? module : "";
}

void AssignModulesFromNodeNames(Graph& graph) {
  std::vector<NodeId> assigned;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    if (!node.module.empty()) continue;
    node.module = ModuleFromNodeName(node.name);
    if (!node.module.empty()) assigned.push_back(static_cast<NodeId>(i));
  }
  if (!assigned.empty()) {
    const RepeatedCalls calls(graph);
    absl::flat_hash_map<std::string, std::string> canonical;
    for (NodeId id : assigned) {
      auto [it, fresh] = canonical.try_emplace(graph.node(id).module);
      if (fresh) it->second = calls.Canonical(it->first);
      graph.node(id).module = it->second;
    }
  }
  for (const auto& subgraph : graph.subgraphs) AssignModulesFromNodeNames(*subgraph);
}

}  // namespace reusescope
