#include "analysis/transform/rebatch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/node_builder.h"
#include "analysis/ops/op_semantics.h"
#include "analysis/schema/node_inference.h"

namespace reusescope {
namespace {

bool HasLeading(const Value& value) {
  return value.type.IsTensor() && value.type.has_shape && !value.type.shape.empty() && value.type.shape[0] > 0;
}

// Product of the dimensions before `axis`. The element count of the whole fits, so this does.
int64_t Before(const Shape& shape, int axis) {
  int64_t product = 1;
  for (int d = 0; d < axis; ++d) product *= shape[d];
  return product;
}

}  // namespace

int64_t FixedBatch(const Graph& graph) {
  for (ValueId id : graph.inputs) {
    if (HasLeading(graph.value(id))) return graph.value(id).type.shape[0];
  }
  return 0;
}

void SetFixedBatch(Graph& graph, int64_t from, int64_t to) {
  for (ValueId id : graph.inputs) {
    Value& value = graph.value(id);
    if (HasLeading(value) && value.type.shape[0] == from) value.type.shape[0] = to;
  }
}

Rebatch::Rebatch(const Graph& resolved, int64_t from, int64_t to) : from_(from), to_(to) {
  for (size_t id = 0; id < resolved.values.size(); ++id) {
    const Value& value = resolved.values[id];
    if (value.type.IsResolved()) old_.emplace(value.name, value.type.shape);
    const Literal* literal = resolved.literal(static_cast<ValueId>(id));
    if (literal != nullptr && !literal->ints.empty()) old_ints_.emplace(value.name, literal->ints);
  }
}

const Shape* Rebatch::OldShape(const std::string& name) const {
  const auto it = old_.find(name);
  return it == old_.end() ? nullptr : &it->second;
}

int Rebatch::BatchAxis(const Value& value) const {
  const Shape* old = OldShape(value.name);
  if (old == nullptr || !value.type.IsResolved() || old->size() != value.type.shape.size()) return -1;
  for (size_t d = 0; d < old->size(); ++d) {
    if ((*old)[d] != value.type.shape[d]) return static_cast<int>(d);
  }
  return -1;
}

absl::Status Rebatch::Pinned(const Graph& graph, NodeId id, absl::string_view message) const {
  const Node& node = graph.node(id);
  OpKey op = node.op;
  op.since_version = SchemaSinceVersion(op).value_or(op.since_version);
  return absl::InvalidArgumentError(
      absl::StrCat("node '", node.name, "' (", OpKeyString(op), ") pins the batch to ", from_, ": ", message));
}

absl::Status Rebatch::Explain(const absl::Status& status) const {
  if (status.ok()) return status;
  return absl::Status(
      status.code(),
      absl::StrCat(
          "at --batch ", to_, ": ", status.message(), "; the file is exported at a batch of ", from_,
          ": export it with a dynamic batch dimension (torch.onnx.export with dynamic_axes or dynamic_shapes)"));
}

// Whether an axis that holds the batch and more (windows, heads) is gone in output j: taken for one sample's, it would
// be summed over or cut within each sample. A loss, one number, may.
bool Rebatch::MixesSamples(const Graph& graph, NodeId id, int j) const {
  const Node& node = graph.node(id);
  const Value& output = graph.value(node.outputs[j]);
  if (BatchAxis(output) >= 0 || graph.literal(node.outputs[j]) != nullptr) return false;
  if (ElementCount(output.type.shape).value_or(0) <= 1) return false;
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
    const int axis = input == kNoValue ? -1 : BatchAxis(graph.value(input));
    return axis >= 0 && (*OldShape(graph.value(input).name))[axis] != from_;
  });
}

absl::Status Rebatch::Check(const Graph& graph, NodeId id, int j) const {
  const ValueId output = graph.node(id).outputs[j];
  if (output == kNoValue) return absl::OkStatus();
  const Value& value = graph.value(output);
  const Shape* old = OldShape(value.name);
  if (old == nullptr || !value.type.IsResolved()) return absl::OkStatus();
  bool one_axis = old->size() == value.type.shape.size();
  int grown = 0;
  for (size_t d = 0; one_axis && d < old->size(); ++d) {
    if ((*old)[d] == value.type.shape[d]) continue;
    ++grown;
    one_axis = (*old)[d] % from_ == 0 && value.type.shape[d] == (*old)[d] / from_ * to_;
  }
  if (one_axis && grown <= 1) {
    if (grown == 1 || !MixesSamples(graph, id, j)) return absl::OkStatus();
    return Pinned(graph, id,
                  absl::StrCat("output ", j, " '", value.name, "' ", ShapeString(*old),
                               " has lost a dimension that holds the batch together with others"));
  }
  return Pinned(graph, id,
                absl::StrCat("output ", j, " '", value.name, "' is ", ShapeString(*old), " at batch ", from_, " and ",
                             ShapeString(value.type.shape), " at ", to_, ", expected one dimension to grow"));
}

absl::Status Rebatch::Adapt(Graph& graph, NodeId id, std::vector<NodeId>& schedule) const {
  const OpSemantics* semantics = OpRegistry::Get().Find(graph.node(id).op);
  if (semantics == nullptr) return absl::OkStatus();
  if (semantics->time_axis != nullptr) {
    const Value& operand = graph.value(graph.node(id).inputs[0]);
    const int axis = BatchAxis(operand);
    if (axis >= 0 && axis == semantics->time_axis(OpContext(graph, id, *semantics))) {
      return Pinned(graph, id,
                    absl::StrCat("it walks along dimension ", axis, " of '", operand.name, "' ",
                                 TypeString(operand.type), ", which is time, so the inputs' leading dimension is no ",
                                 "batch; --input NAME=D0xD1x... gives them another shape"));
    }
  }
  if (semantics->shape_input >= 0) return RewriteShape(graph, id, semantics->shape_input);
  return RepeatStored(graph, id, semantics->batched_inputs, schedule);
}

absl::Status Rebatch::RewriteShape(Graph& graph, NodeId id, int slot) const {
  const Node& node = graph.node(id);
  if (static_cast<int>(node.inputs.size()) <= slot || node.outputs.empty() || node.outputs[0] == kNoValue) {
    return absl::OkStatus();
  }
  const ValueId given = node.inputs[slot];
  const Literal* literal = graph.literal(given);
  const auto old_given = given == kNoValue ? old_ints_.end() : old_ints_.find(graph.value(given).name);
  const Shape* output = OldShape(graph.value(node.outputs[0]).name);
  const Value& operand = graph.value(node.inputs[0]);
  const int axis = BatchAxis(operand);
  // A shape that was computed from the input's own has followed the batch already.
  const bool follows = literal == nullptr || old_given == old_ints_.end() || literal->ints != old_given->second;
  if (follows || output == nullptr || axis < 0) return absl::OkStatus();
  const Shape& old_operand = *OldShape(operand.name);
  const int64_t before = Before(old_operand, axis);
  int found = -1;
  for (int d = 0; d < static_cast<int>(output->size()); ++d) {
    if (Before(*output, d) != before || (*output)[d] % from_ != 0) continue;
    if (found < 0 || ((*output)[d] == from_ && (*output)[found] != from_)) found = d;
  }
  if (found < 0) {
    return Pinned(graph, id,
                  absl::StrCat("no dimension of ", ShapeString(*output), " starts where the batch of ",
                               ShapeString(old_operand), " does"));
  }
  std::vector<int64_t> shape(output->begin(), output->end());
  shape[found] = shape[found] / from_ * to_;
  const ValueId rewritten = AddConstant(graph, absl::StrCat(graph.node(id).name, ".rebatched"),
                                        Literal::Ints({static_cast<int64_t>(shape.size())}, shape));
  graph.node(id).inputs[slot] = rewritten;
  return absl::OkStatus();
}

// Operands without the batch beside operands with it: an Expand each. `slots` as OpSemantics::batched_inputs.
absl::Status Rebatch::RepeatStored(Graph& graph, NodeId id, uint32_t slots, std::vector<NodeId>& schedule) const {
  const auto is_batched = [&](size_t i) {
    return (slots >> std::min<size_t>(i, 31) & 1u) != 0 && graph.node(id).inputs[i] != kNoValue;
  };
  int axis = -1;
  for (size_t i = 0; i < graph.node(id).inputs.size(); ++i) {
    if (!is_batched(i)) continue;
    const Value& value = graph.value(graph.node(id).inputs[i]);
    const int found = BatchAxis(value);
    if (axis >= 0 && found >= 0 && found != axis) {
      return Pinned(graph, id,
                    absl::StrCat("operand '", value.name, "' has it in dimension ", found,
                                 ", an operand before in dimension ", axis));
    }
    axis = std::max(axis, found);
  }
  if (axis < 0) return absl::OkStatus();
  for (size_t i = 0; i < graph.node(id).inputs.size(); ++i) {
    if (!is_batched(i) || BatchAxis(graph.value(graph.node(id).inputs[i])) >= 0) continue;
    const Value& value = graph.value(graph.node(id).inputs[i]);
    if (!value.type.IsResolved() || value.type.rank() <= axis || value.type.shape[axis] != from_) continue;
    const Shape* output = graph.node(id).outputs.empty() || graph.node(id).outputs[0] == kNoValue
                              ? nullptr
                              : OldShape(graph.value(graph.node(id).outputs[0]).name);
    const bool is_joined = output != nullptr && output->size() == value.type.shape.size() && (*output)[axis] != from_;
    if (is_joined) continue;  // to the batch, as further samples
    if (from_ != 1) {
      return Pinned(graph, id,
                    absl::StrCat("operand '", value.name, "' ", TypeString(value.type), " is stored for that batch"));
    }
    Repeat(graph, id, i, axis, schedule);
  }
  return absl::OkStatus();
}

void Rebatch::Repeat(Graph& graph, NodeId id, size_t slot, int axis, std::vector<NodeId>& schedule) const {
  ValueId source = graph.node(id).inputs[slot];
  Type type = graph.value(source).type;
  // An Expand to the one sample of the file changed nothing, and gives way.
  const NodeId producer = graph.value(source).producer;
  const OpSemantics* made_by = producer == kNoNode ? nullptr : OpRegistry::Get().Find(graph.node(producer).op);
  if (made_by != nullptr && made_by->shape_input >= 0 && graph.value(graph.node(producer).inputs[0]).type == type) {
    source = graph.node(producer).inputs[0];
  }
  ValueId& repeated = repeated_.try_emplace({&graph, source, axis}, kNoValue).first->second;
  if (repeated != kNoValue) {
    graph.node(id).inputs[slot] = repeated;
    return;
  }
  type.shape[axis] = to_;
  const std::vector<int64_t> dims(type.shape.begin(), type.shape.end());
  const Node like = graph.node(id);
  const ValueId shape =
      AddConstant(graph, absl::StrCat(like.name, ".repeat.", slot), Literal::Ints({type.rank()}, dims));
  repeated = AddEmittedNode(graph, "Expand", like.name, like, {source, shape}, {type}, ValueKind::kActivation, {})[0];
  schedule.push_back(graph.order.back());
  graph.order.pop_back();
  graph.node(id).inputs[slot] = repeated;
}

}  // namespace reusescope
