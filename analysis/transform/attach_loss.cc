#include "analysis/transform/attach_loss.h"

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/node_builder.h"

namespace reusescope {
namespace {

ValueId FirstFloatOutput(const Graph& graph) {
  for (ValueId output : graph.outputs) {
    const Type& type = graph.value(output).type;
    if (type.IsTensor() && IsFloatingPoint(type.dtype)) return output;
  }
  return kNoValue;
}

Node LossTemplate() {
  Node node;
  node.module = std::string(kLossModule);
  return node;
}

ValueId Emit(Graph& graph, absl::string_view op_type, absl::Span<const ValueId> inputs, const Type& type,
             Attributes attributes = {}) {
  const Type types[] = {type};
  return AddEmittedNode(graph, op_type, "loss", LossTemplate(), inputs, types, ValueKind::kActivation,
                        std::move(attributes))[0];
}

ValueId AddInput(Graph& graph, std::string name, const Type& type) {
  const ValueId id = graph.AddValue(std::move(name), type, ValueKind::kInput);
  graph.inputs.push_back(id);
  return id;
}

void AttachCrossEntropy(TrainingGraph& training, ValueId scores) {
  Graph& graph = training.graph;
  const std::string name = graph.value(scores).name;
  const Type type = graph.value(scores).type;
  int axis = 1;
  ValueId rows = scores;
  Shape shape = type.shape;
  if (type.rank() == 3) {
    axis = 2;
    shape = {type.shape[0] * type.shape[1], type.shape[2]};
    const ValueId target = AddConstant(graph, "loss.shape", Literal::Ints({2}, {shape[0], shape[1]}));
    rows = Emit(graph, "Reshape", {scores, target}, Type::Tensor(type.dtype, shape));
  }
  Shape label_shape = shape;
  label_shape.erase(label_shape.begin() + 1);
  const ValueId labels = AddInput(graph, "labels", Type::Tensor(DType::kInt64, label_shape));
  training.loss = Emit(graph, "SoftmaxCrossEntropyLoss", {rows, labels}, Type::Tensor(type.dtype, {}));
  training.loss_description =
      absl::StrCat("cross-entropy on '", name, "' ", ShapeString(type.shape), ", classes on axis ", axis);
}

}  // namespace

absl::Status AttachLoss(TrainingGraph& training, Loss loss) {
  Graph& graph = training.graph;
  if (loss == Loss::kNone) {
    training.loss_description = "none: the gradients of the outputs are fed from outside";
    return absl::OkStatus();
  }
  const ValueId output = FirstFloatOutput(graph);
  if (output == kNoValue) {
    return absl::FailedPreconditionError(
        "no floating-point output to attach a loss to; --mode=inference analyses the "
        "forward pass alone");
  }
  const Type type = graph.value(output).type;
  const bool has_classes = type.rank() >= 2 && type.shape[type.rank() == 3 ? 2 : 1] > 1;
  if (loss == Loss::kAuto) loss = has_classes ? Loss::kCrossEntropy : Loss::kMse;
  if (loss == Loss::kCrossEntropy && type.rank() < 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("output '", graph.value(output).name, "' is ", TypeString(type),
                     ", cross-entropy expects at least [batch, classes]; use --loss=mse or --loss=sum"));
  }
  const std::string name = graph.value(output).name;
  switch (loss) {
    case Loss::kCrossEntropy:
      AttachCrossEntropy(training, output);
      break;
    case Loss::kMse: {
      const ValueId target = AddInput(graph, "target", type);
      training.loss = Emit(graph, "reusescope::MseLoss", {output, target}, Type::Tensor(type.dtype, {}));
      training.loss_description = absl::StrCat("mean squared error on '", name, "' ", ShapeString(type.shape));
      break;
    }
    default: {
      Attributes attributes;
      attributes.Set("keepdims", int64_t{0});
      training.loss = Emit(graph, "ReduceSum", {output}, Type::Tensor(type.dtype, {}), std::move(attributes));
      training.loss_description = absl::StrCat("sum of '", name, "' ", ShapeString(type.shape));
    }
  }
  graph.outputs.push_back(training.loss);
  return absl::OkStatus();
}

}  // namespace reusescope
