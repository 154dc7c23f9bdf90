#include "cli/views/graph_view.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/text.h"
#include "cli/units.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {
namespace {

using Json = nlohmann::ordered_json;

// Values in which a reader of this stage is interested, by id.
std::vector<bool> ListedValues(const Graph& graph, Stage stage) {
  const bool all = stage == Stage::kLoad || stage == Stage::kShapes;
  std::vector<bool> listed(graph.values.size(), all);
  const auto list = [&](ValueId id) {
    if (id != kNoValue) listed[id] = true;
  };
  for (ValueId id : graph.inputs) list(id);
  for (ValueId id : graph.outputs) list(id);
  for (NodeId id : graph.order) {
    for (ValueId input : graph.node(id).inputs) list(input);
    for (ValueId output : graph.node(id).outputs) list(output);
  }
  return listed;
}

std::string ValueName(const Graph& graph, ValueId id) { return id == kNoValue ? "_" : Printable(graph.value(id).name); }

std::string NamesOf(const Graph& graph, absl::Span<const ValueId> ids) {
  return absl::StrJoin(ids, ", ", [&](std::string* out, ValueId id) { *out += ValueName(graph, id); });
}

std::string TypedNames(const Graph& graph, absl::Span<const ValueId> ids) {
  return absl::StrJoin(ids, ", ", [&](std::string* out, ValueId id) {
    *out += id == kNoValue
                ? "_"
                : absl::StrCat(ValueName(graph, id), " ", TypeString(graph.value(id).type, graph.value(id).at_most));
  });
}

std::string NodeLine(const Graph& graph, const Node& node) {
  std::string line = absl::StrCat("  ", TypedNames(graph, node.outputs), " = ", Printable(OpKeyString(node.op)), "(",
                                  NamesOf(graph, node.inputs), ")");
  if (!node.attributes.empty()) absl::StrAppend(&line, " {", Printable(AttributesString(node.attributes)), "}");
  return absl::StrCat(line, "  # ", Printable(node.module.empty() ? node.name : node.module), "\n");
}

Json ShapeJson(const Value& value) {
  if (!value.type.has_shape) return nullptr;
  Json shape = Json::array();
  for (int i = 0; i < value.type.rank(); ++i) {
    const bool symbolic = i < static_cast<int>(value.dim_symbols.size()) && !value.dim_symbols[i].empty();
    if (value.type.shape[i] != kUnknownDim) {
      shape.push_back(value.type.shape[i]);
    } else {
      shape.push_back(symbolic ? Json(value.dim_symbols[i]) : Json());
    }
  }
  return shape;
}

Json NameList(const Graph& graph, absl::Span<const ValueId> ids) {
  Json names = Json::array();
  for (ValueId id : ids) names.push_back(id == kNoValue ? "" : graph.value(id).name);
  return names;
}

Json NodesJson(const Graph& graph) {
  Json nodes = Json::array();
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    nodes.push_back({{"name", node.name},
                     {"op", OpKeyString(node.op)},
                     {"phase", std::string(PhaseName(node.phase))},
                     {"module", node.module},
                     {"inputs", NameList(graph, node.inputs)},
                     {"outputs", NameList(graph, node.outputs)},
                     {"attributes", AttributesString(node.attributes)}});
  }
  return nodes;
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::StrReplaceAll(Printable(text), {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

// Okabe and Ito, "Color Universal Design" (2008).
constexpr absl::string_view kMemoryBoundStyle = R"(style="filled", fillcolor="#E69F00")";
constexpr absl::string_view kComputeBoundStyle = R"(style="filled,rounded", fillcolor="#56B4E9")";

absl::string_view StyleOf(Bound bound) { return bound == Bound::kMemory ? kMemoryBoundStyle : kComputeBoundStyle; }

std::string DotLegend(const NodeTimes& times) {
  return absl::StrCat("  subgraph cluster_legend {\n    label=", Quoted(absl::StrCat("on ", times.device)),
                      ";\n    legend_memory [label=\"memory-bound\", ", kMemoryBoundStyle,
                      "];\n    legend_compute [label=\"compute-bound\", ", kComputeBoundStyle,
                      "];\n    legend_none [label=\"no kernel\"];\n  }\n");
}

std::string DotNodes(const Graph& graph, Phase phase, const std::optional<NodeTimes>& times) {
  std::string out;
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    if (node.phase != phase) continue;
    std::string label = Quoted(absl::StrCat(node.op.type, " ", node.module.empty() ? node.name : node.module));
    std::string style;
    if (times.has_value()) {
      if (const auto time = times->nodes.find(id); time != times->nodes.end()) {
        label.insert(label.size() - 1, absl::StrCat("\\n", FormatSeconds(time->second.seconds)));
        style = absl::StrCat(", ", StyleOf(time->second.bound));
      }
    }
    absl::StrAppend(&out, "    n", id, " [label=", label, style, "];\n");
  }
  if (out.empty()) return "";
  const absl::string_view name = PhaseName(phase);
  return absl::StrCat("  subgraph cluster_", name, " {\n    label=", Quoted(name), ";\n", out, "  }\n");
}

}  // namespace

absl::string_view StageName(Stage stage) {
  switch (stage) {
    case Stage::kLoad:
      return "load";
    case Stage::kShapes:
      return "shapes";
    case Stage::kRecognize:
      return "recognize";
    case Stage::kDifferentiate:
      return "differentiate";
    case Stage::kOptimizer:
      return "optimizer";
  }
  return "";
}

std::string RenderGraphText(const TrainingGraph& training, Stage stage) {
  const Graph& graph = training.graph;
  std::string out = absl::StrCat("graph ", Printable(graph.name), " after ", StageName(stage), ": ",
                                 FormatPlural(static_cast<int64_t>(graph.order.size()), "node"), "\n");
  absl::StrAppend(&out, "inputs\n");
  for (ValueId id : graph.inputs) absl::StrAppend(&out, "  ", TypedNames(graph, {id}), "\n");
  for (int p = 0; p < kNumPhases; ++p) {
    bool titled = false;
    for (NodeId id : graph.order) {
      const Node& node = graph.node(id);
      if (static_cast<int>(node.phase) != p) continue;
      if (!titled) absl::StrAppend(&out, PhaseName(node.phase), "\n");
      titled = true;
      absl::StrAppend(&out, NodeLine(graph, node));
    }
  }
  absl::StrAppend(&out, "outputs\n");
  for (ValueId id : graph.outputs) absl::StrAppend(&out, "  ", TypedNames(graph, {id}), "\n");
  return out;
}

std::string RenderGraphJson(const TrainingGraph& training, Stage stage) {
  const Graph& graph = training.graph;
  const std::vector<bool> listed = ListedValues(graph, stage);
  Json values = Json::array();
  for (size_t id = 0; id < graph.values.size(); ++id) {
    if (!listed[id]) continue;
    const Value& value = graph.values[id];
    values.push_back({{"name", value.name},
                      {"dtype", std::string(DTypeName(value.type.dtype))},
                      {"shape", ShapeJson(value)},
                      {"kind", std::string(ValueKindName(value.kind))}});
  }
  const Json out = {{"schema", "reusescope.graph/1"},
                    {"stage", std::string(StageName(stage))},
                    {"name", graph.name},
                    {"inputs", NameList(graph, graph.inputs)},
                    {"outputs", NameList(graph, graph.outputs)},
                    {"nodes", NodesJson(graph)},
                    {"values", values}};
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string RenderGraphDot(const TrainingGraph& training, Stage stage, const std::optional<NodeTimes>& times) {
  const Graph& graph = training.graph;
  std::string out = absl::StrCat("digraph ", Quoted(graph.name), " {\n  // after ", StageName(stage),
                                 "\n  node [shape=box, fontname=Helvetica, fontsize=10];\n"
                                 "  edge [fontname=Helvetica, fontsize=8];\n");
  if (times.has_value()) out += DotLegend(*times);
  for (int p = 0; p < kNumPhases; ++p) absl::StrAppend(&out, DotNodes(graph, static_cast<Phase>(p), times));
  for (ValueId id : graph.inputs) {
    absl::StrAppend(&out, "  v", id, " [shape=ellipse, label=", Quoted(graph.value(id).name), "];\n");
  }
  for (NodeId id : graph.order) {
    for (ValueId input : graph.node(id).inputs) {
      if (input == kNoValue) continue;
      const Value& value = graph.value(input);
      const bool from_outside = value.producer == kNoNode;
      if (from_outside && value.kind != ValueKind::kInput) continue;  // parameters would hide the flow
      const std::string from = from_outside ? absl::StrCat("v", input) : absl::StrCat("n", value.producer);
      absl::StrAppend(&out, "  ", from, " -> n", id,
                      " [label=", Quoted(value.type.has_shape ? ShapeString(value.type.shape, value.at_most) : ""),
                      "];\n");
    }
  }
  return out + "}\n";
}

}  // namespace reusescope::cli
