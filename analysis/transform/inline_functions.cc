#include "analysis/transform/inline_functions.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/subgraphs.h"

namespace reusescope {
namespace {

absl::Status CallError(const Node& call, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("node '", call.name, "' (", OpKeyString(call.op), "): ", message));
}

int64_t CountNodes(const Graph& graph) {
  auto count = static_cast<int64_t>(graph.nodes.size());
  for (const auto& subgraph : graph.subgraphs) count += CountNodes(*subgraph);
  return count;
}

// How many nodes' worth of memory a constant is.
int64_t Weight(const Literal& literal) {
  int64_t bytes = 8 * literal.size();
  for (const std::string& text : literal.strings) bytes += static_cast<int64_t>(text.size());
  return bytes / 1024;
}

int64_t Weight(const Attribute& attribute) {
  const auto size = [](const auto& value) -> int64_t {
    using T = std::decay_t<decltype(value)>;
    if constexpr (std::is_same_v<T, Literal>) {
      return Weight(value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      return static_cast<int64_t>(value.size()) / 1024;
    } else if constexpr (std::is_same_v<T, std::vector<int64_t>> || std::is_same_v<T, std::vector<double>>) {
      return static_cast<int64_t>(value.size()) / 128;
    } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
      int64_t bytes = 0;
      for (const std::string& text : value) bytes += 32 + static_cast<int64_t>(text.size());
      return bytes / 1024;
    } else if constexpr (std::is_same_v<T, std::vector<Literal>>) {
      int64_t weight = static_cast<int64_t>(value.size()) / 8;
      for (const Literal& literal : value) weight += Weight(literal);
      return weight;
    } else {
      return 0;
    }
  };
  return std::visit(size, attribute);
}

int64_t Weight(const Graph& graph) {
  auto weight = static_cast<int64_t>(graph.nodes.size()) + 1;
  for (const Node& node : graph.nodes) {
    for (const auto& [name, attribute] : node.attributes) weight += Weight(attribute);
  }
  for (const Literal& literal : graph.literals) weight += Weight(literal);
  for (const auto& subgraph : graph.subgraphs) weight += Weight(*subgraph);
  return weight;
}

// One copy of a body.
class Splicer {
 public:
  Splicer(Graph& graph, NodeId call, const Graph& body, const Attributes& attributes, UniqueNames& names)
      : graph_(graph),
        call_(call),
        body_(body),
        attributes_(attributes),
        names_(names),
        map_(body.values.size(), kUnmapped) {}

  absl::StatusOr<std::vector<NodeId>> Run() {
    MapOperands();
    RS_RETURN_IF_ERROR(MapCaptured());
    for (NodeId id : body_.order) RS_RETURN_IF_ERROR(CopyNode(body_.node(id)));
    // Inputs and constants handed on exist from the start, so the end is as good a place as any.
    for (const auto& [inner, outer] : handed_on_) {
      if (outer != kNoValue) RS_RETURN_IF_ERROR(EmitIdentity(inner, outer));
    }
    return std::move(added_);
  }

 private:
  static constexpr ValueId kUnmapped = -2;

  const Node& call() const { return graph_.node(call_); }

  void MapOperands() {
    for (size_t i = 0; i < body_.inputs.size(); ++i) {
      map_[body_.inputs[i]] = i < call().inputs.size() ? call().inputs[i] : kNoValue;
    }
    for (size_t j = 0; j < std::min(call().outputs.size(), body_.outputs.size()); ++j) {
      const ValueId inner = body_.outputs[j];
      if (call().outputs[j] == kNoValue) continue;
      // What the body does not compute itself (an input handed on), or hands out twice, needs a node of its own.
      if (map_[inner] != kUnmapped || body_.value(inner).producer == kNoNode) {
        handed_on_.emplace_back(inner, call().outputs[j]);
      } else {
        map_[inner] = call().outputs[j];
      }
    }
  }

  absl::Status MapCaptured() {
    if (body_.captured.empty()) return absl::OkStatus();
    const auto outer = OuterValues(graph_, call());
    for (ValueId id : body_.captured) {
      const auto it = outer.find(body_.value(id).name);
      if (it == outer.end()) {
        return CallError(call(),
                         absl::StrCat("body reads '", body_.value(id).name, "', which the node does not capture"));
      }
      map_[id] = it->second;
    }
    return absl::OkStatus();
  }

  ValueId Map(ValueId id) {
    if (id == kNoValue) return kNoValue;
    if (map_[id] != kUnmapped) return map_[id];
    const Value& from = body_.value(id);
    Value value = from;
    value.name = names_.Make(absl::StrCat(call().name, "/", from.name));
    const bool constant = from.producer != kNoNode && body_.node(from.producer).inputs.empty();
    if (constant && value.payload_of.empty()) value.payload_of = from.name;
    value.producer = kNoNode;
    value.literal = -1;
    graph_.values.push_back(std::move(value));
    map_[id] = static_cast<ValueId>(graph_.values.size() - 1);
    if (const Literal* literal = body_.literal(id)) graph_.SetLiteral(map_[id], *literal);
    return map_[id];
  }

  absl::Status CopyNode(const Node& from) {
    Node node;
    node.op = from.op;
    node.overload = from.overload;
    node.name = names_.Make(absl::StrCat(call().name, "/", from.name));
    node.module = call().module;
    for (ValueId input : from.inputs) node.inputs.push_back(Map(input));
    for (ValueId output : from.outputs) node.outputs.push_back(Map(output));
    while (!node.inputs.empty() && node.inputs.back() == kNoValue) node.inputs.pop_back();
    for (ValueId capture : from.captures) {
      const ValueId id = Map(capture);
      if (id == kNoValue) return CallError(call(), "a subgraph of the body reads an input that the call omits");
      node.captures.push_back(id);
    }
    for (const auto& [name, attribute] : from.attributes) RS_RETURN_IF_ERROR(CopyAttribute(name, attribute, node));
    Append(std::move(node));
    return HandOn(from);
  }

  // Identity nodes for the outputs that a body hands out twice, right after what they copy exists.
  absl::Status HandOn(const Node& after) {
    for (auto& [inner, outer] : handed_on_) {
      const bool ready =
          outer != kNoValue && std::find(after.outputs.begin(), after.outputs.end(), inner) != after.outputs.end();
      if (ready) RS_RETURN_IF_ERROR(EmitIdentity(inner, outer));
      if (ready) outer = kNoValue;
    }
    return absl::OkStatus();
  }

  absl::Status EmitIdentity(ValueId inner, ValueId outer) {
    const ValueId from = Map(inner);
    if (from == kNoValue) return CallError(call(), "the body hands on an input that the call omits");
    Node node;
    node.op = {"", "Identity", 1};
    node.name = names_.Make(absl::StrCat(call().name, "/Identity"));
    node.module = call().module;
    node.inputs = {from};
    node.outputs = {outer};
    Append(std::move(node));
    return absl::OkStatus();
  }

  void Append(Node node) {
    const auto id = static_cast<NodeId>(graph_.nodes.size());
    for (ValueId output : node.outputs) {
      if (output != kNoValue) graph_.value(output).producer = id;
    }
    graph_.nodes.push_back(std::move(node));
    added_.push_back(id);
  }

  absl::Status CopyAttribute(const std::string& name, const Attribute& attribute, Node& node) {
    if (const auto* reference = std::get_if<AttributeRef>(&attribute)) {
      const Attribute* value = attributes_.Find(reference->name);
      if (value == nullptr) return absl::OkStatus();
      node.attributes.Set(name, *value);
      // A subgraph handed in by the call belongs to the calling graph already, with what the call captured for it.
      if (std::holds_alternative<SubgraphRef>(*value)) node.captures = call().captures;
      return absl::OkStatus();
    }
    if (const auto* one = std::get_if<SubgraphRef>(&attribute)) {
      RS_ASSIGN_OR_RETURN(const SubgraphRef copy, CopySubgraph(*one));
      node.attributes.Set(name, copy);
    } else if (const auto* many = std::get_if<std::vector<SubgraphRef>>(&attribute)) {
      std::vector<SubgraphRef> copies;
      for (const SubgraphRef& each : *many) {
        RS_ASSIGN_OR_RETURN(const SubgraphRef copy, CopySubgraph(each));
        copies.push_back(copy);
      }
      node.attributes.Set(name, std::move(copies));
    } else {
      node.attributes.Set(name, attribute);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<SubgraphRef> CopySubgraph(SubgraphRef ref) {
    absl::flat_hash_map<std::string, std::string> renamed;
    const Graph& from = *body_.subgraphs[ref.index];
    for (ValueId id : from.captured) {
      const std::string& name = from.value(id).name;
      const ValueId outer = MapByName(name);
      if (outer >= 0) renamed.emplace(name, graph_.value(outer).name);
    }
    RS_ASSIGN_OR_RETURN(std::unique_ptr<Graph> copy, CopyGraph(from, renamed));
    graph_.subgraphs.push_back(std::move(copy));
    return SubgraphRef{static_cast<int>(graph_.subgraphs.size()) - 1};
  }

  // The value of the calling graph that stands for the body's value of that name.
  ValueId MapByName(const std::string& name) {
    if (by_name_.empty()) {
      for (size_t id = 0; id < body_.values.size(); ++id)
        by_name_.emplace(body_.values[id].name, static_cast<ValueId>(id));
    }
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? kNoValue : Map(it->second);
  }

  // A deep copy whose captured values follow `renamed` and whose attribute references are filled in.
  absl::StatusOr<std::unique_ptr<Graph>> CopyGraph(const Graph& from,
                                                   const absl::flat_hash_map<std::string, std::string>& renamed) {
    std::unique_ptr<Graph> copy = from.Clone();
    RS_RETURN_IF_ERROR(Adapt(*copy, renamed));
    return copy;
  }

  absl::Status Adapt(Graph& copy, const absl::flat_hash_map<std::string, std::string>& renamed) {
    for (ValueId id : copy.captured) {
      const auto it = renamed.find(copy.value(id).name);
      if (it != renamed.end()) copy.value(id).name = it->second;
    }
    for (const auto& subgraph : copy.subgraphs) RS_RETURN_IF_ERROR(Adapt(*subgraph, renamed));
    for (Node& node : copy.nodes) RS_RETURN_IF_ERROR(FillReferences(node));
    return absl::OkStatus();
  }

  absl::Status FillReferences(Node& node) {
    std::vector<std::pair<std::string, std::string>> references;
    for (const auto& [name, attribute] : node.attributes) {
      if (const auto* reference = std::get_if<AttributeRef>(&attribute)) references.emplace_back(name, reference->name);
    }
    for (const auto& [name, source] : references) {
      const Attribute* value = attributes_.Find(source);
      if (value == nullptr) {
        node.attributes.Erase(name);
      } else if (std::holds_alternative<SubgraphRef>(*value)) {
        return absl::UnimplementedError(absl::StrCat("node '", call().name, "' (", OpKeyString(call().op),
                                                     "): hands a graph to a subgraph of a function"));
      } else {
        node.attributes.Set(name, *value);
      }
    }
    return absl::OkStatus();
  }

  Graph& graph_;
  const NodeId call_;
  const Graph& body_;
  const Attributes& attributes_;
  UniqueNames& names_;
  std::vector<ValueId> map_;  // by value of the body
  std::vector<std::pair<ValueId, ValueId>> handed_on_;
  absl::flat_hash_map<std::string, ValueId> by_name_;
  std::vector<NodeId> added_;
};

// All of a model's functions, inlined wherever they are called.
class Inliner {
 public:
  explicit Inliner(Model& model) : model_(model), budget_(model) {
    for (Function& function : model.functions) {
      functions_.try_emplace(Key(function.domain, function.name, function.overload), &function);
    }
  }

  absl::Status Run() { return InlineGraph(model_.graph); }

 private:
  static std::string Key(absl::string_view domain, absl::string_view name, absl::string_view overload) {
    return absl::StrCat(domain == "ai.onnx" ? "" : domain, "::", name, "::", overload);
  }

  const Function* Callee(const Node& node) const {
    const auto it = functions_.find(Key(node.op.domain, node.op.type, node.overload));
    return it == functions_.end() ? nullptr : it->second;
  }

  absl::Status InlineGraph(Graph& graph) {
    const bool any = std::any_of(graph.order.begin(), graph.order.end(),
                                 [&](NodeId id) { return Callee(graph.node(id)) != nullptr; });
    if (any) {
      UniqueNames names(graph);
      std::vector<NodeId> schedule;
      for (NodeId id : std::vector<NodeId>(graph.order)) {
        RS_RETURN_IF_ERROR(Emit(graph, id, names, schedule));
      }
      graph.order = std::move(schedule);
    }
    // Copies of subgraphs may hold calls as well; the vector grows no further here.
    for (size_t i = 0; i < graph.subgraphs.size(); ++i) RS_RETURN_IF_ERROR(InlineGraph(*graph.subgraphs[i]));
    return absl::OkStatus();
  }

  absl::Status Emit(Graph& graph, NodeId id, UniqueNames& names, std::vector<NodeId>& schedule) {
    const Function* callee = Callee(graph.node(id));
    if (callee == nullptr) {
      schedule.push_back(id);
      return absl::OkStatus();
    }
    RS_RETURN_IF_ERROR(CheckCall(graph.node(id), *callee));
    Attributes attributes = callee->defaults;
    for (const auto& [name, attribute] : graph.node(id).attributes) attributes.Set(name, attribute);
    RS_ASSIGN_OR_RETURN(const std::vector<NodeId> added, SpliceBody(graph, id, *callee->body, attributes, names));
    active_.push_back(callee);
    for (NodeId each : added) RS_RETURN_IF_ERROR(Emit(graph, each, names, schedule));
    active_.pop_back();
    return absl::OkStatus();
  }

  absl::Status CheckCall(const Node& call, const Function& callee) {
    const auto clash = [&](absl::string_view what, size_t found, size_t formal) {
      return CallError(call, absl::StrCat("found ", found, " ", what, ", expected at most the function's ", formal));
    };
    if (call.inputs.size() > callee.body->inputs.size()) {
      return clash("inputs", call.inputs.size(), callee.body->inputs.size());
    }
    if (call.outputs.size() > callee.body->outputs.size()) {
      return clash("outputs", call.outputs.size(), callee.body->outputs.size());
    }
    if (std::find(active_.begin(), active_.end(), &callee) != active_.end()) {
      return CallError(call, "the function calls itself, expected functions that do not recur");
    }
    if (active_.size() >= kMaxDepth) {
      return CallError(call, absl::StrCat("functions call functions more than ", kMaxDepth, " deep"));
    }
    if (!budget_.Spend(*callee.body)) return CallError(call, "inlining functions makes too many nodes for this file");
    return absl::OkStatus();
  }

  static constexpr size_t kMaxDepth = 100;

  Model& model_;
  absl::flat_hash_map<std::string, const Function*> functions_;
  std::vector<const Function*> active_;  // functions whose bodies are being inlined, outermost first
  InlineBudget budget_;
};

}  // namespace

InlineBudget::InlineBudget(const Model& model) : left_(CountNodes(model.graph)) {
  for (const Function& function : model.functions) left_ += CountNodes(*function.body);
  left_ = 200'000 + 50 * left_;
}

bool InlineBudget::Spend(const Graph& body) {
  left_ -= Weight(body);
  return left_ >= 0;
}

UniqueNames::UniqueNames(const Graph& graph) {
  for (const Value& value : graph.values) taken_.emplace(value.name, 2);
  for (const Node& node : graph.nodes) taken_.emplace(node.name, 2);
}

std::string UniqueNames::Make(std::string wanted) {
  constexpr size_t kMaxLength = 1000;
  if (wanted.size() > kMaxLength) {
    size_t end = kMaxLength;
    while (end > 0 && (static_cast<unsigned char>(wanted[end]) & 0xC0) == 0x80) --end;  // not within a character
    wanted.resize(end);
  }
  const auto [it, fresh] = taken_.try_emplace(wanted, 2);
  if (fresh) return wanted;
  int number = it->second;
  std::string name = absl::StrCat(wanted, ".", number);
  while (!taken_.try_emplace(name, 2).second) name = absl::StrCat(wanted, ".", ++number);
  taken_[wanted] = number + 1;
  return name;
}

absl::StatusOr<std::vector<NodeId>> SpliceBody(Graph& graph, NodeId call, const Graph& body,
                                               const Attributes& attributes, UniqueNames& names) {
  return Splicer(graph, call, body, attributes, names).Run();
}

absl::Status InlineFunctions(Model& model) {
  if (model.functions.empty()) return absl::OkStatus();
  return Inliner(model).Run();
}

}  // namespace reusescope
