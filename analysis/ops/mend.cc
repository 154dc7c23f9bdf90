#include "analysis/ops/mend.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {

OpSemantics Mended(MendFn mend, OpSemantics row) {
  row.mend = mend;
  return row;
}

std::string MendSplit(Graph& graph, NodeId id) {
  Node& node = graph.node(id);
  const bool sizes = node.inputs.size() > 1 && node.inputs[1] != kNoValue;
  const bool count = node.attributes.Has("num_outputs");
  if (sizes && count) {
    node.attributes.Erase("num_outputs");
    return "has both 'split' and num_outputs; 'split' counts";
  }
  if (node.op.since_version < 18 || sizes || count || node.attributes.Has("split")) return "";
  node.attributes.Set("num_outputs", static_cast<int64_t>(node.outputs.size()));
  return "has neither 'split' nor num_outputs; its outputs are equal parts";
}

std::string MendReshape(Graph& graph, NodeId id) {
  constexpr int kShapeIsInput = 5;
  const Attribute* attribute = graph.node(id).attributes.Find("shape");
  const auto* shape = attribute == nullptr ? nullptr : std::get_if<std::vector<int64_t>>(attribute);
  if (shape == nullptr || graph.node(id).inputs.size() != 1) return "";
  const auto rank = static_cast<int64_t>(shape->size());
  const ValueId target = AddConstant(graph, absl::StrCat(graph.node(id).name, ".shape"), Literal::Ints({rank}, *shape));
  Node& node = graph.node(id);
  node.attributes.Erase("shape");
  node.inputs.push_back(target);
  const bool early = node.op.since_version < kShapeIsInput;
  node.op.since_version = std::max(node.op.since_version, kShapeIsInput);
  return early ? "" : "has its shape as an attribute, as before opset 5";
}

std::string MendConstant(Graph& graph, NodeId id) {
  constexpr int kNumberAttributes = 12;  // value_float and value_int
  Node& node = graph.node(id);
  if (std::distance(node.attributes.begin(), node.attributes.end()) != 1) return "";
  const auto [name, attribute] = *node.attributes.begin();
  const bool is_float = std::holds_alternative<double>(attribute);
  const bool is_int = std::holds_alternative<int64_t>(attribute);
  if (absl::StartsWith(name, "value") || (!is_float && !is_int)) return "";
  node.attributes.Erase(name);
  node.attributes.Set(is_float ? "value_float" : "value_int", attribute);
  node.op.since_version = std::max(node.op.since_version, kNumberAttributes);
  return absl::StrCat("has its number as '", name, "'");
}

std::string MendConstantOfShape(Graph& graph, NodeId id) {
  Node& node = graph.node(id);
  const Literal* value = node.attributes.Tensor("value");
  if (value == nullptr || !value->shape.empty() || value->size() > 1) return "";
  Literal one = *value;
  one.shape = {1};
  node.attributes.Set("value", std::move(one));
  return "has a value of no dimension, taken as one element";
}

std::string MendPad(Graph& graph, NodeId id) {
  Node& node = graph.node(id);
  const Attribute* paddings = node.attributes.Find("paddings");
  if (paddings == nullptr || node.attributes.Has("pads")) return "";
  const bool early = node.op.since_version < 2;
  node.op.since_version = 2;
  Attribute pads = *paddings;
  node.attributes.Erase("paddings");
  node.attributes.Set("pads", std::move(pads));
  return early ? "" : "has the paddings of opset 1";
}

std::string MendResize(Graph& graph, NodeId id) {
  constexpr int kRoiOptional = 13;
  Node& node = graph.node(id);
  if (node.op.since_version < 11) return "";
  // With no attribute but Resize-10's it is that one, which InferNode finds.
  const bool newer = std::any_of(node.attributes.begin(), node.attributes.end(),
                                 [](const auto& entry) { return entry.first != "mode"; });
  const bool old_form = node.inputs.size() == 2 && newer;
  const bool no_roi = node.inputs.size() > 2 && node.inputs[1] == kNoValue && node.op.since_version < kRoiOptional;
  if (!old_form && !no_roi) return "";
  if (old_form) node.inputs.insert(node.inputs.begin() + 1, kNoValue);
  node.op.since_version = std::max(node.op.since_version, kRoiOptional);
  return old_form ? "has no roi before its scales" : "omits roi, which opset 13 made optional";
}

std::string MendUpsample(Graph& graph, NodeId id) {
  constexpr int kScales = 7;
  Node& node = graph.node(id);
  const bool early = node.op.since_version < kScales;
  if (node.op.since_version > 8 && node.inputs.size() > 1) return "";
  std::vector<double> scales(node.attributes.Floats("scales").begin(), node.attributes.Floats("scales").end());
  for (int64_t scale : node.attributes.Ints("scales")) scales.push_back(static_cast<double>(scale));
  const bool written = !scales.empty();
  if (written && !early && node.attributes.Ints("scales").empty()) return "";
  if (!written && node.attributes.Has("height_scale") && node.attributes.Has("width_scale")) {
    scales = {1, 1, node.attributes.Float("height_scale", 1), node.attributes.Float("width_scale", 1)};
  }
  if (scales.empty()) return "";
  for (absl::string_view name : {"height_scale", "width_scale"}) node.attributes.Erase(name);
  node.attributes.Set("scales", std::move(scales));
  node.op.since_version = kScales;
  if (written) return "has scales of another version than the file's";
  return early ? "" : "has the scales of opset 1";
}

}  // namespace reusescope
