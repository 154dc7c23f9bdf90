#include "analysis/transform/make_executable.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/subgraphs.h"
#include "analysis/ops/body_builder.h"
#include "analysis/ops/control_flow.h"
#include "analysis/schema/node_inference.h"
#include "analysis/transform/differentiate.h"
#include "analysis/transform/gradient_path.h"
#include "analysis/transform/plain_scans.h"

namespace reusescope {
namespace {

bool SameNode(const Node& a, const Node& b) {
  return a.op == b.op && a.inputs == b.inputs && a.outputs == b.outputs && a.attributes == b.attributes;
}

bool SameBody(const Graph& a, const Graph& b) {
  const auto same_graph = [](const auto& x, const auto& y) { return SameBody(*x, *y); };
  return a.inputs == b.inputs && a.outputs == b.outputs && a.captured == b.captured &&
         std::equal(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), b.nodes.end(), SameNode) &&
         std::equal(a.subgraphs.begin(), a.subgraphs.end(), b.subgraphs.begin(), b.subgraphs.end(), same_graph);
}

class Executable {
 public:
  explicit Executable(TrainingGraph training)
      : graph_(std::move(training.graph)), gradient_of_(std::move(training.gradient_of)), loss_(training.loss) {
    const auto opset = graph_.opsets.find("");
    opset_ = opset == graph_.opsets.end() ? kExecutableOpset : opset->second;
  }

  absl::StatusOr<Model> Run() {
    if (loss_ != kNoValue) graph_.value(loss_).name = "loss";
    NoteCaptures(graph_);
    AddOutputs();
    RestoreFoldedNodes();
    MakeScansPlain(graph_);
    RS_RETURN_IF_ERROR(CallFunctions(graph_));
    if (!missing_.empty()) return Missing();
    AddInputs();
    MakeNamesUnique();
    graph_.opsets[std::string(kReuseScopeDomain)] = 1;
    Model model{.producer = "reusescope", .graph = std::move(graph_), .functions = std::move(functions_)};
    return model;
  }

 private:
  // ---- Outputs.

  void AddOutput(ValueId value, std::string name) {
    // A value that has a name to keep, or that is an output already, is handed out under another.
    const bool keeps_name = graph_.value(value).producer == kNoNode || named_.contains(value) ||
                            std::find(graph_.outputs.begin(), graph_.outputs.end(), value) != graph_.outputs.end();
    if (keeps_name) {
      const Node& producer =
          graph_.value(value).producer == kNoNode ? Node{} : graph_.node(graph_.value(value).producer);
      Node copy{.op = {.domain = "", .type = "Identity", .since_version = kExecutableOpset},
                .name = absl::StrCat(name, ".Identity"),
                .module = producer.module,
                .phase = Phase::kBackward};
      copy.inputs = {value};
      value = graph_.AddValue(name, graph_.value(value).type, ValueKind::kGradient);
      copy.outputs = {value};
      graph_.AddNode(std::move(copy));
    }
    graph_.value(value).name = std::move(name);
    named_.insert(value);
    graph_.outputs.push_back(value);
  }

  void AddOutputs() {
    const auto count = static_cast<ValueId>(gradient_of_.size());
    for (ValueId id = 0; id < count; ++id) {
      const ValueKind kind = graph_.value(id).kind;
      const bool source =
          graph_.value(id).producer == kNoNode && (kind == ValueKind::kParameter || kind == ValueKind::kInput);
      if (source && gradient_of_[id] != kNoValue) AddOutput(gradient_of_[id], "grad." + graph_.value(id).name);
    }
    for (NodeId id : std::vector<NodeId>(graph_.order)) {
      const Node node = graph_.node(id);
      const std::vector<ValueId> replaced = Replaced(node);
      if (replaced.empty()) continue;
      AddSchedule(id);
      for (size_t j = 0; j < replaced.size(); ++j) {
        AddOutput(node.outputs[j], "new." + graph_.value(replaced[j]).name);
        updated_.push_back(replaced[j]);
      }
    }
  }

  static bool IsFed(const Value& value) {
    const bool lives_on = value.kind == ValueKind::kParameter || value.kind == ValueKind::kOptimizerState;
    return lives_on && value.producer == kNoNode;
  }

  // The parameters and states that the node's outputs take the place of, one per output; empty where it is no update.
  std::vector<ValueId> Replaced(const Node& node) const {
    std::vector<ValueId> replaced;
    const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
    if (semantics == nullptr || node.op.domain != kReuseScopeDomain) return {};
    for (size_t j = 0; j < node.outputs.size(); ++j) {
      const int input = j < semantics->in_place.size() ? semantics->in_place[j] : -1;
      if (input < 0 || !IsFed(graph_.value(node.inputs[input]))) return {};
      replaced.push_back(node.inputs[input]);
    }
    return replaced;
  }

  // An update takes the learning rate and the number of the step besides.
  void AddSchedule(NodeId id) {
    if (schedule_.empty()) {
      schedule_ = {graph_.AddValue("learning_rate", Type::Tensor(DType::kFloat32, {}), ValueKind::kInput),
                   graph_.AddValue("step", Type::Tensor(DType::kInt64, {}), ValueKind::kInput)};
    }
    for (ValueId input : schedule_) graph_.node(id).inputs.push_back(input);
  }

  // States that updates read are fed; parameters that they replace may be.
  void AddInputs() {
    for (const std::vector<ValueId>* list : {&schedule_, &updated_}) {
      graph_.inputs.insert(graph_.inputs.end(), list->begin(), list->end());
    }
    for (ValueId id : graph_.inputs) graph_.value(id).dim_symbols.clear();
  }

  // ---- What constant folding took out, where nothing but doing it again tells the numbers.

  void RestoreFoldedNodes() {
    maker_.assign(graph_.values.size(), kNoNode);
    std::vector<bool> scheduled(graph_.nodes.size(), false);
    for (NodeId id : graph_.order) scheduled[id] = true;
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes.size()); ++id) {
      if (scheduled[id]) continue;
      for (ValueId output : graph_.node(id).outputs) {
        if (output != kNoValue) maker_[output] = id;
      }
    }
    std::vector<NodeId> order;
    for (NodeId id : graph_.order) {
      RestoreInputs(id, order);
      order.push_back(id);
    }
    for (ValueId output : graph_.outputs) Restore(output, order);
    graph_.order = std::move(order);
  }

  void RestoreInputs(NodeId id, std::vector<NodeId>& order) {
    const Node node = graph_.node(id);
    for (ValueId input : node.inputs) Restore(input, order);
    for (ValueId capture : node.captures) Restore(capture, order);
  }

  void Restore(ValueId id, std::vector<NodeId>& order) {
    if (id == kNoValue || graph_.value(id).producer != kNoNode || maker_[id] == kNoNode) return;
    if (graph_.value(id).kind == ValueKind::kParameter) return;  // a stored tensor that a Constant node held
    const Literal* literal = graph_.literal(id);
    const Node& folded = graph_.node(maker_[id]);
    const bool constant = folded.inputs.empty() && folded.op.domain != kReuseScopeDomain;  // the file has its tensor
    if ((literal != nullptr && literal->has_data) || constant) return;
    const NodeId maker = maker_[id];
    for (ValueId output : graph_.node(maker).outputs) {
      if (output == kNoValue) continue;
      maker_[output] = kNoNode;
      graph_.value(output).producer = maker;
    }
    RestoreInputs(maker, order);
    order.push_back(maker);
  }

  // ---- Functions.

  bool NeedsFunction(const Node& node) {
    if (node.op.domain == kReuseScopeDomain || node.saved_outputs > 0) return true;
    if (!node.op.domain.empty()) return false;
    const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
    const bool unknown = semantics != nullptr && semantics->body != nullptr && !Exists(node.op.type);
    return unknown || node.op.since_version > std::max(opset_, kExecutableOpset);
  }

  // Whether the model's opset has the operator: lowering and recognition emit newer ones too.
  bool Exists(const std::string& type) {
    const auto [it, fresh] = exists_.try_emplace(type, true);
    if (fresh) it->second = SchemaSinceVersion({.domain = "", .type = type, .since_version = opset_}).has_value();
    return it->second;
  }

  absl::Status CallFunctions(Graph& graph) {
    for (NodeId id : graph.order) {
      RS_RETURN_IF_ERROR(CallFunction(graph, id));
      absl::Status status;
      ForEachSubgraph(graph.node(id), [&](int index) { status.Update(CallFunctions(*graph.subgraphs[index])); });
      if (!status.ok()) return Annotate(status, absl::StrCat("in the body of '", graph.node(id).name, "'"));
    }
    return absl::OkStatus();
  }

  absl::Status CallFunction(Graph& graph, NodeId id) {
    const Node& node = graph.node(id);
    if (!NeedsFunction(node)) return absl::OkStatus();
    const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
    if (semantics == nullptr) return NoGradientRule(graph, node);
    if (semantics->body == nullptr) {
      auto& missing = missing_[OpKeyString(node.op)];
      ++missing.nodes;
      if (missing.nodes == 1) missing.example = node.name;
      return absl::OkStatus();
    }
    BodyBuilder builder(graph, id, *semantics);
    if (const absl::Status status = semantics->body(builder); !status.ok()) return WithPath(graph, node, status);
    // Not under an operator's own name: ONNX's evaluator would check the call against that operator's schema.
    const std::string name = node.op.domain.empty() ? absl::StrCat(node.op.type, "Forward") : node.op.type;
    calls_.push_back({&graph, id, FunctionFor(name, builder.Take())});
    return absl::OkStatus();
  }

  // How a gradient came to a node that has none of that form.
  static absl::Status WithPath(const Graph& graph, const Node& node, const absl::Status& status) {
    if (node.forward_node == kNoNode) return status;
    return absl::Status(status.code(), absl::StrCat(status.message(), "; ", PathFromOutput(graph, node.forward_node)));
  }

  // What Differentiate emitted where nothing tells the gradient.
  absl::Status NoGradientRule(const Graph& graph, const Node& node) const {
    const NodeId forward = node.forward_node;
    const Node& unknown = forward == kNoNode ? node : graph.node(forward);
    return absl::UnimplementedError(absl::StrCat("node '", unknown.name, "' (", OpKeyString(unknown.op), ") ",
                                                 node.attributes.String(kUnknownReason, "has no gradient rule"), "; ",
                                                 PathFromOutput(graph, forward)));
  }

  // The name of a function with that body, a new one if there is none.
  std::string FunctionFor(const std::string& type, std::unique_ptr<Graph> body) {
    std::vector<int>& variants = variants_[type];
    for (int index : variants) {
      if (SameBody(*functions_[index].body, *body)) return functions_[index].name;
    }
    body->opsets[""] = opset_;
    Function function{.domain = std::string(kReuseScopeDomain), .body = std::move(body)};
    function.name = variants.empty() ? type : absl::StrCat(type, "_", variants.size() + 1);
    variants.push_back(static_cast<int>(functions_.size()));
    functions_.push_back(std::move(function));
    return functions_.back().name;
  }

  absl::Status Missing() const {
    return absl::UnimplementedError(absl::StrCat("cannot be written as standard ONNX operators: ",
                                                 absl::StrJoin(missing_, ", ", [](std::string* out, const auto& entry) {
                                                   absl::StrAppend(out, entry.first, " (", entry.second.nodes,
                                                                   " nodes, for example '", entry.second.example, "')");
                                                 })));
  }

  // ---- Names. Values that the program introduced may be called like values of the file.

  void MakeNamesUnique() {
    for (const Call& call : calls_) {
      Node& node = call.graph->node(call.id);
      node.op = {.domain = std::string(kReuseScopeDomain), .type = call.function, .since_version = 1};
      node.attributes = {};
      node.outputs.erase(std::remove(node.outputs.begin(), node.outputs.end(), kNoValue), node.outputs.end());
    }
    NameValues(graph_);
    for (const Capture& each : captures_) each.subgraph->value(each.inner).name = each.graph->value(each.outer).name;
  }

  // Over all graphs: subgraphs see the names around them.
  void NameValues(Graph& graph) {
    absl::flat_hash_set<ValueId> done(graph.captured.begin(), graph.captured.end());
    const auto visit = [&](ValueId id) {
      if (id == kNoValue || !done.insert(id).second) return;
      std::string& name = graph.value(id).name;
      const std::string original = name;
      for (int i = 2; !taken_.insert(name).second; ++i) name = absl::StrCat(original, ".", i);
      if (name != original && graph.value(id).payload_of.empty()) graph.value(id).payload_of = original;
    };
    for (ValueId id : graph.inputs) visit(id);
    for (ValueId id : graph.outputs) visit(id);
    for (NodeId id : graph.order) {
      Node& node = graph.node(id);
      for (ValueId input : node.captures) visit(input);
      for (ValueId input : node.inputs) visit(input);
      for (ValueId output : node.outputs) visit(output);
      ForEachSubgraph(node, [&](int index) { NameValues(*graph.subgraphs[index]); });
      node.attributes.Erase(kTripCountAttribute);
      node.attributes.Erase(kPromptAttribute);
    }
  }

  // Which outer value a captured one is, from outside in: names say it now and change later.
  void NoteCaptures(Graph& graph) {
    for (NodeId id : graph.order) {
      const auto outer = OuterValues(graph, graph.node(id));
      ForEachSubgraph(graph.node(id), [&](int index) {
        Graph& subgraph = *graph.subgraphs[index];
        for (ValueId inner : subgraph.captured) {
          captures_.push_back({&subgraph, inner, &graph, outer.at(subgraph.value(inner).name)});
        }
        NoteCaptures(subgraph);
      });
    }
  }

  struct Call {
    Graph* graph;
    NodeId id;
    std::string function;
  };
  struct Capture {
    Graph* subgraph;
    ValueId inner;
    Graph* graph;
    ValueId outer;
  };
  struct MissingBody {
    int nodes = 0;
    std::string example;
  };

  Graph graph_;
  std::vector<ValueId> gradient_of_;
  const ValueId loss_;
  int opset_ = kExecutableOpset;
  absl::flat_hash_set<ValueId> named_;  // outputs that have their names
  std::vector<ValueId> schedule_;       // learning rate and step, where there are updates
  std::vector<ValueId> updated_;        // parameters and states that update nodes replace
  std::vector<NodeId> maker_;           // by value: the folded node that made it
  std::vector<Function> functions_;
  absl::flat_hash_map<std::string, std::vector<int>> variants_;  // by operator: its functions
  std::vector<Call> calls_;                                      // nodes and the functions that they become
  std::vector<Capture> captures_;
  absl::flat_hash_set<std::string> taken_;         // names
  absl::flat_hash_map<std::string, bool> exists_;  // by type of operator
  absl::btree_map<std::string, MissingBody> missing_;
};

}  // namespace

absl::StatusOr<Model> MakeExecutable(TrainingGraph training) { return Executable(std::move(training)).Run(); }

}  // namespace reusescope
