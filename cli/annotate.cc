#include "cli/annotate.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "cli/units.h"
#include "cli/verdict.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

std::string FunctionKey(absl::string_view domain, absl::string_view name, absl::string_view overload) {
  return absl::StrCat(domain, "::", name, "::", overload);
}

std::vector<std::string> NamesOf(const Graph& graph, absl::Span<const ValueId> ids) {
  std::vector<std::string> names;
  for (ValueId id : ids) names.push_back(id == kNoValue ? "" : graph.value(id).name);
  return names;
}

}  // namespace

FileNodes::FileNodes(const Model& model) {
  // Functions first, so that calls find them; the main graph has the place in front of them.
  scopes_.emplace_back();
  for (size_t f = 0; f < model.functions.size(); ++f) {
    const Function& function = model.functions[f];
    functions_.emplace(FunctionKey(function.domain, function.name, function.overload), static_cast<int>(f));
  }
  std::vector<int> bodies;
  for (size_t f = 0; f < model.functions.size(); ++f) {
    bodies.push_back(AddScope(*model.functions[f].body, absl::StrCat("f", f, "."), /*function=*/true));
  }
  scopes_[0] = std::move(scopes_[AddScope(model.graph, "", /*function=*/false)]);
  // Until here calls hold the number of the function.
  for (Scope& scope : scopes_) {
    for (FileNode& node : scope.nodes) {
      for (int& inner : node.scopes) {
        if (inner < 0) inner = bodies[-inner - 1];
      }
    }
  }
}

int FileNodes::AddScope(const Graph& graph, const std::string& address, bool function) {
  Scope scope;
  if (function) scope.outputs = NamesOf(graph, graph.outputs);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    FileNode file_node{.address = absl::StrCat(address, i),
                       .name = node.name,
                       .inputs = NamesOf(graph, node.inputs),
                       .outputs = NamesOf(graph, node.outputs)};
    for (const auto& [name, attribute] : node.attributes) {
      const std::string below = absl::StrCat(file_node.address, ".", name);
      if (const auto* one = std::get_if<SubgraphRef>(&attribute)) {
        file_node.scopes.push_back(AddScope(*graph.subgraphs[one->index], below + ".", /*function=*/false));
      } else if (const auto* many = std::get_if<std::vector<SubgraphRef>>(&attribute)) {
        for (size_t g = 0; g < many->size(); ++g) {
          const Graph& body = *graph.subgraphs[(*many)[g].index];
          file_node.scopes.push_back(AddScope(body, absl::StrCat(below, ":", g, "."), /*function=*/false));
        }
      }
    }
    const auto callee = functions_.find(FunctionKey(node.op.domain, node.op.type, node.overload));
    if (callee != functions_.end()) file_node.scopes.push_back(-callee->second - 1);
    const auto index = static_cast<int>(i);
    scope.by_name.emplace(node.name, index);
    for (const std::string& output : file_node.outputs) scope.by_output.emplace(output, index);
    scope.nodes.push_back(std::move(file_node));
  }
  scopes_.push_back(std::move(scope));
  return static_cast<int>(scopes_.size()) - 1;
}

// What a body's node made is called "call/value" outside; a name may have slashes of its own.
template <typename Lookup>
std::vector<std::string> FileNodes::FindInside(const Scope& scope, absl::string_view name, Lookup lookup) const {
  for (size_t slash = name.find('/'); slash != absl::string_view::npos; slash = name.find('/', slash + 1)) {
    const auto call = scope.by_name.find(name.substr(0, slash));
    if (call == scope.by_name.end()) continue;
    const FileNode& node = scope.nodes[call->second];
    for (int inner : node.scopes) {
      std::vector<std::string> found = lookup(scopes_[inner], name.substr(slash + 1));
      if (found.empty()) continue;
      found.insert(found.begin(), node.address);
      return found;
    }
  }
  return {};
}

std::vector<std::string> FileNodes::FindValue(const Scope& scope, absl::string_view name) const {
  const auto maker = scope.by_output.find(name);
  if (maker == scope.by_output.end()) {
    return FindInside(scope, name,
                      [this](const Scope& inner, absl::string_view rest) { return FindValue(inner, rest); });
  }
  const FileNode& node = scope.nodes[maker->second];
  std::vector<std::string> found = {node.address};
  if (node.scopes.empty()) return found;
  // What the call hands out has the call's name for it; inside it is made by the node of the body's output.
  const auto slot = std::find(node.outputs.begin(), node.outputs.end(), name) - node.outputs.begin();
  const Scope& body = scopes_[node.scopes[0]];
  if (slot >= static_cast<ptrdiff_t>(body.outputs.size())) return found;
  for (std::string& address : FindValue(body, body.outputs[slot])) found.push_back(std::move(address));
  return found;
}

std::vector<std::string> FileNodes::FindNode(const Scope& scope, absl::string_view name) const {
  const auto node = scope.by_name.find(name);
  if (node != scope.by_name.end()) return {scope.nodes[node->second].address};
  return FindInside(scope, name, [this](const Scope& inner, absl::string_view rest) { return FindNode(inner, rest); });
}

namespace {

struct Sum {
  int64_t kernels = 0, flops = 0, bytes = 0;
  double seconds = 0, memory_bound_seconds = 0;
  bool known = true;

  void Add(const KernelCost& kernel, const KernelBound* time) {
    ++kernels;
    flops += kernel.flops;
    bytes += kernel.bytes();
    known = known && kernel.known;
    if (time == nullptr) return;
    seconds += time->seconds;
    if (time->bound == Bound::kMemory) memory_bound_seconds += time->seconds;
  }
};

struct NodeSums {
  std::array<Sum, kNumPhases> phases;
  Sum all;
};

class Attribution {
 public:
  Attribution(const FileNodes& file, const Analysis& analysis, const Roofline* roofline)
      : file_(file), graph_(analysis.training.graph), cost_(analysis.cost), roofline_(roofline) {
    for (NodeId id : graph_.order) {
      if (graph_.node(id).phase != Phase::kForward) continue;
      for (ValueId input : graph_.node(id).inputs) {
        if (input != kNoValue) first_reader_.emplace(input, id);
      }
    }
  }

  void Run() {
    for (size_t k = 0; k < cost_.kernels.size(); ++k) {
      const KernelCost& kernel = cost_.kernels[k];
      const KernelBound* time = roofline_ == nullptr ? nullptr : &roofline_->kernels[k].Headline();
      total_.Add(kernel, time);
      const NodeId forward = ForwardOf(kernel.node);
      const std::vector<std::string> addresses = forward == kNoNode ? std::vector<std::string>() : AddressesOf(forward);
      if (addresses.empty()) outside_.Add(kernel, time);
      for (const std::string& address : addresses) {
        NodeSums& sums = sums_[address];
        sums.phases[static_cast<int>(kernel.phase)].Add(kernel, time);
        sums.all.Add(kernel, time);
      }
    }
  }

  const std::map<std::string, NodeSums>& sums() const { return sums_; }
  const Sum& total() const { return total_; }
  const Sum& outside() const { return outside_; }

 private:
  // The forward node that a kernel is there for: itself, whose gradient it computes, or the first that reads the
  // parameter which it updates.
  NodeId ForwardOf(NodeId id) const {
    const Node& node = graph_.node(id);
    if (node.phase == Phase::kForward) return id;
    if (node.forward_node != kNoNode) return node.forward_node;
    for (ValueId input : node.inputs) {
      if (input == kNoValue || graph_.value(input).kind != ValueKind::kParameter) continue;
      const auto reader = first_reader_.find(input);
      if (reader != first_reader_.end()) return reader->second;
    }
    return kNoNode;
  }

  const std::vector<std::string>& AddressesOf(NodeId id) {
    const auto [known, fresh] = addresses_.try_emplace(id);
    if (!fresh) return known->second;
    const Node& node = graph_.node(id);
    absl::btree_set<std::string> seen;
    const auto add = [&](std::vector<std::string> found) {
      for (std::string& address : found) {
        if (seen.insert(address).second) known->second.push_back(std::move(address));
      }
    };
    add(file_.OfNode(node.name));
    for (ValueId output : node.outputs) {
      if (output != kNoValue) add(file_.OfValue(graph_.value(output).name));
    }
    // What a composite was lowered to is called after it: "lstm.MatMul.71".
    for (size_t dot = node.name.rfind('.'); known->second.empty() && dot != std::string::npos && dot > 0;
         dot = node.name.rfind('.', dot - 1)) {
      add(file_.OfNode(absl::string_view(node.name).substr(0, dot)));
    }
    return known->second;
  }

  const FileNodes& file_;
  const Graph& graph_;
  const CostTable& cost_;
  const Roofline* roofline_;
  absl::flat_hash_map<ValueId, NodeId> first_reader_;
  std::map<NodeId, std::vector<std::string>> addresses_;
  std::map<std::string, NodeSums> sums_;
  Sum total_, outside_;
};

std::string KeyOf(absl::string_view name) { return absl::StrCat(kMetadataPrefix, name); }

void AddSum(const Sum& sum, bool timed, absl::string_view phase, MetadataEntries& entries) {
  entries.emplace_back(KeyOf(absl::StrCat(phase, "flops")), sum.known ? absl::StrCat(sum.flops) : "not known");
  entries.emplace_back(KeyOf(absl::StrCat(phase, "bytes")), absl::StrCat(sum.bytes));
  if (!timed) return;
  entries.emplace_back(KeyOf(absl::StrCat(phase, "seconds")), fmt::format("{:.4g}", sum.seconds));
  entries.emplace_back(KeyOf(absl::StrCat(phase, "verdict")),
                       std::string(BoundVerdict(sum.memory_bound_seconds, sum.seconds)));
}

MetadataEntries EntriesOf(const NodeSums& sums, bool timed, bool training) {
  const Sum& all = sums.all;
  const std::string flops = FormatCount(static_cast<double>(all.flops), "FLOPs");
  std::string summary = absl::StrCat(all.known ? flops : "FLOPs not known", ", ", FormatBytes(all.bytes));
  if (timed) {
    absl::StrAppend(&summary, ", ", FormatSeconds(all.seconds), ", ",
                    BoundVerdict(all.memory_bound_seconds, all.seconds));
  }
  MetadataEntries entries = {{KeyOf("summary"), summary}, {KeyOf("kernels"), absl::StrCat(all.kernels)}};
  AddSum(all, timed, "", entries);
  for (int p = 0; training && p < kNumPhases; ++p) {
    if (sums.phases[p].kernels == 0) continue;
    AddSum(sums.phases[p], timed, absl::StrCat(PhaseName(static_cast<Phase>(p)), "."), entries);
  }
  return entries;
}

// Why nodes of the main graph have no kernel.
class FreeNodes {
 public:
  FreeNodes(const FileNodes& file, const Graph& graph, const std::map<std::string, NodeSums>& sums)
      : file_(file), sums_(sums) {
    for (NodeId id : graph.order) {
      for (ValueId output : graph.node(id).outputs) {
        if (output != kNoValue) made_.insert(graph.value(output).name);
      }
    }
    for (const Value& value : graph.values) {
      if (value.kind == ValueKind::kConstant) constants_.insert(value.name);
    }
    for (size_t i = 0; i < file.top().size(); ++i) {
      for (const std::string& input : file.top()[i].inputs) readers_[input].push_back(i);
    }
  }

  std::string Verdict(size_t node) {
    const FileNodes::FileNode& file_node = file_.top()[node];
    for (const std::string& output : file_node.outputs) {
      if (made_.contains(output)) return "free: a view";
    }
    for (const std::string& output : file_node.outputs) {
      if (constants_.contains(output)) return "constant";
    }
    const absl::btree_set<size_t>& owners = Owners(node);
    if (owners.empty()) return "does not run";
    return owners.size() == 1 ? absl::StrCat("part of '", file_.top()[*owners.begin()].name, "'")
                              : "part of its readers";
  }

 private:
  // The nearest nodes downstream that the schedule still has.
  const absl::btree_set<size_t>& Owners(size_t node) {
    const auto [known, fresh] = owners_.try_emplace(node);
    if (!fresh) return known->second;
    absl::btree_set<size_t> owners;
    for (const std::string& output : file_.top()[node].outputs) {
      for (size_t reader : readers_[output]) {
        if (sums_.contains(file_.top()[reader].address)) {
          owners.insert(reader);
        } else {
          const absl::btree_set<size_t>& further = Owners(reader);
          owners.insert(further.begin(), further.end());
        }
      }
    }
    return owners_[node] = std::move(owners);
  }

  const FileNodes& file_;
  const std::map<std::string, NodeSums>& sums_;
  absl::btree_set<std::string> made_, constants_;
  absl::flat_hash_map<std::string, std::vector<size_t>> readers_;
  std::map<size_t, absl::btree_set<size_t>> owners_;
};

MetadataEntries ModelEntries(const Analysis& analysis, const Attribution& attribution, const Roofline* roofline) {
  const bool training = analysis.options.mode == Mode::kTraining;
  MetadataEntries entries = {
      {KeyOf("settings"),
       absl::StrCat(training ? "training" : "inference", ", batch ", BatchOf(analysis.training.graph), ", ",
                    PrecisionName(analysis.options.precision),
                    training ? absl::StrCat(", ", analysis.training.optimizer) : "")}};
  if (roofline != nullptr) entries.emplace_back(KeyOf("device"), roofline->device.name);
  AddSum(attribution.total(), roofline != nullptr, "step.", entries);
  if (attribution.outside().kernels > 0) {
    AddSum(attribution.outside(), roofline != nullptr, "outside_the_nodes.", entries);
  }
  return entries;
}

}  // namespace

absl::StatusOr<Annotations> AnnotationsOf(const FileNodes& nodes, const Analysis& analysis,
                                          const std::optional<Hardware>& hardware, bool bare_peak) {
  std::optional<Roofline> roofline;
  if (hardware.has_value()) {
    RS_ASSIGN_OR_RETURN(const RooflineDevice rates,
                        RatesOf(*hardware, analysis.options.precision, {.bare_peak = bare_peak}));
    RS_ASSIGN_OR_RETURN(roofline, ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, rates,
                                                  {.batch = BatchOf(analysis.training.graph)}));
  }
  const Roofline* times = roofline.has_value() ? &*roofline : nullptr;
  Attribution attribution(nodes, analysis, times);
  attribution.Run();
  Annotations out{.kernels = static_cast<int64_t>(analysis.cost.kernels.size()),
                  .unattributed_kernels = attribution.outside().kernels};
  out.metadata.prefix = std::string(kMetadataPrefix);
  out.metadata.model = ModelEntries(analysis, attribution, times);
  const bool training = analysis.options.mode == Mode::kTraining;
  for (const auto& [address, sums] : attribution.sums()) {
    out.metadata.nodes.emplace(address, EntriesOf(sums, times != nullptr, training));
  }
  out.nodes = static_cast<int64_t>(out.metadata.nodes.size());
  FreeNodes free(nodes, analysis.training.graph, attribution.sums());
  for (size_t i = 0; i < nodes.top().size(); ++i) {
    const auto [entry, fresh] = out.metadata.nodes.try_emplace(nodes.top()[i].address);
    if (fresh) entry->second = {{KeyOf("verdict"), free.Verdict(i)}};
  }
  return out;
}

}  // namespace reusescope::cli
