#include "tests/testing/graph_builder.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/gradient_context.h"
#include "analysis/ops/lower_context.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

// "reusescope::SliceGrad-1" to its parts.
OpKey ParseOp(absl::string_view op, int opset) {
  OpKey key{.since_version = opset};
  const size_t colons = op.find("::");
  if (colons != absl::string_view::npos) {
    key.domain = std::string(op.substr(0, colons));
    key.since_version = 1;
    op.remove_prefix(colons + 2);
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(op, '-');
  key.type = std::string(parts[0]);
  if (parts.size() == 2) {
    EXPECT_TRUE(absl::SimpleAtoi(parts[1], &key.since_version)) << op;
  }
  return key;
}

bool Contains(const std::vector<ValueId>& values, ValueId value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

int64_t Total(const Kernel& kernel, int64_t per_point, int64_t extra) {
  const absl::StatusOr<int64_t> points = Points(kernel);
  EXPECT_TRUE(points.ok()) << points.status();
  return points.value_or(0) * per_point + extra;
}

int64_t Elements(const Kernel& kernel, bool is_output, int slot) {
  for (const Access& access : kernel.accesses) {
    if (access.is_output == is_output && access.slot == slot) return DistinctElements(kernel, access);
  }
  return -1;
}

}  // namespace

Type Float(Shape shape) { return Type::Tensor(DType::kFloat32, std::move(shape)); }
Type Int64(Shape shape) { return Type::Tensor(DType::kInt64, std::move(shape)); }
Type Bool(Shape shape) { return Type::Tensor(DType::kBool, std::move(shape)); }

ValueId GraphBuilder::Input(absl::string_view name, Type type) {
  const ValueId id = graph_.AddValue(std::string(name), std::move(type), ValueKind::kInput);
  graph_.inputs.push_back(id);
  return id;
}

ValueId GraphBuilder::Parameter(absl::string_view name, Shape shape) {
  return graph_.AddValue(std::string(name), Float(std::move(shape)), ValueKind::kParameter);
}

ValueId GraphBuilder::Constant(absl::string_view name, Literal literal) {
  const ValueId id =
      graph_.AddValue(std::string(name), Type::Tensor(literal.dtype, literal.shape), ValueKind::kConstant);
  graph_.SetLiteral(id, std::move(literal));
  return id;
}

ValueId GraphBuilder::Constant(absl::string_view name, Ints values) {
  const auto size = static_cast<int64_t>(values.size());
  return Constant(name, Literal::Ints({size}, std::move(values)));
}

ValueId GraphBuilder::Scalar(absl::string_view name, int64_t value) {
  return Constant(name, Literal::Ints({}, {value}));
}

ValueId GraphBuilder::Node(absl::string_view op, std::vector<ValueId> inputs, Type output, AttributeList attributes) {
  return NodeMany(op, std::move(inputs), {std::move(output)}, std::move(attributes))[0];
}

std::vector<ValueId> GraphBuilder::NodeMany(absl::string_view op, std::vector<ValueId> inputs,
                                            std::vector<Type> outputs, AttributeList attributes) {
  reusescope::Node node{.op = ParseOp(op, opset_)};
  node.name = absl::StrCat(node.op.type, "_", graph_.nodes.size());
  node.inputs.assign(inputs.begin(), inputs.end());
  std::vector<ValueId> ids;
  for (Type& type : outputs) {
    ids.push_back(graph_.AddValue(absl::StrCat(node.name, ":", ids.size()), std::move(type)));
  }
  node.outputs.assign(ids.begin(), ids.end());
  for (auto& [name, value] : attributes) node.attributes.Set(name, std::move(value));
  graph_.AddNode(std::move(node));
  return ids;
}

std::string GraphBuilder::OpName(NodeId id) const {
  const OpKey& op = graph_.node(id).op;
  return op.domain.empty() ? op.type : absl::StrCat(op.domain, "::", op.type);
}

std::vector<std::string> GraphBuilder::OpNames(const std::vector<NodeId>& ids) const {
  std::vector<std::string> names;
  for (NodeId id : ids) names.push_back(OpName(id));
  return names;
}

const OpSemantics* GraphBuilder::SemanticsOf(ValueId value) const {
  const OpSemantics* semantics = OpRegistry::Get().Find(Producer(value).op);
  EXPECT_NE(semantics, nullptr) << OpKeyString(Producer(value).op) << " has no entry";
  return semantics;
}

absl::StatusOr<Kernel> GraphBuilder::TryKernelOf(ValueId value) const {
  const OpSemantics* semantics = SemanticsOf(value);
  if (semantics == nullptr || semantics->kernel == nullptr) return absl::NotFoundError("no kernel rule");
  return semantics->kernel(OpContext(graph_, graph_.value(value).producer, *semantics));
}

Kernel GraphBuilder::KernelOfNode(NodeId id) const {
  const OpSemantics* semantics = OpRegistry::Get().Find(graph_.node(id).op);
  if (semantics == nullptr || semantics->kernel == nullptr) {
    ADD_FAILURE() << OpKeyString(graph_.node(id).op) << " has no entry with a kernel";
    return {};
  }
  absl::StatusOr<Kernel> kernel = semantics->kernel(OpContext(graph_, id, *semantics));
  EXPECT_TRUE(kernel.ok()) << kernel.status();
  return kernel.ok() ? *std::move(kernel) : Kernel{};
}

EagerSaves GraphBuilder::EagerSavesOf(ValueId value) const {
  EagerSaves saves;
  const OpSemantics* semantics = SemanticsOf(value);
  if (semantics != nullptr && semantics->eager_saves != nullptr) {
    semantics->eager_saves(OpContext(graph_, graph_.value(value).producer, *semantics), saves);
  }
  return saves;
}

GradientRun GraphBuilder::RunGradient(ValueId value, std::vector<ValueId> into, std::vector<ValueId> wanted) {
  GradientRun run;
  const NodeId forward = graph_.value(value).producer;
  const OpSemantics* semantics = SemanticsOf(value);
  if (semantics == nullptr || semantics->gradient == nullptr) {
    run.status = absl::NotFoundError("no gradient rule");
    return run;
  }
  const auto outputs = graph_.node(forward).outputs;
  std::vector<ValueId> output_gradients;
  for (ValueId output : outputs) {
    const bool flows = output != kNoValue && IsFloatingPoint(graph_.value(output).type.dtype) &&
                       (into.empty() || Contains(into, output));
    output_gradients.push_back(flows ? graph_.AddValue(absl::StrCat("grad.", graph_.value(output).name),
                                                       graph_.value(output).type, ValueKind::kGradient)
                                     : kNoValue);
  }
  const auto needs = [&](ValueId id) {
    const Value& input = graph_.value(id);
    if (!IsFloatingPoint(input.type.dtype)) return false;
    return wanted.empty() ? input.kind != ValueKind::kConstant : Contains(wanted, id);
  };
  const auto set_gradient = [&](ValueId id, ValueId gradient) {
    if (!run.gradient.emplace(id, gradient).second) run.repeated.emplace_back(id, gradient);
  };
  const auto first = static_cast<NodeId>(graph_.nodes.size());
  GradientContext ctx(graph_, forward, *semantics, output_gradients,
                      {.needs = needs, .set_gradient = set_gradient, .differentiate = nullptr});
  run.status = semantics->gradient(ctx);
  for (auto id = first; id < static_cast<NodeId>(graph_.nodes.size()); ++id) run.nodes.push_back(id);
  return run;
}

absl::StatusOr<std::vector<NodeId>> GraphBuilder::RunLower(ValueId value) {
  const NodeId id = graph_.value(value).producer;
  const OpSemantics* semantics = SemanticsOf(value);
  if (semantics == nullptr || semantics->lower == nullptr) return absl::NotFoundError("no lowering rule");
  LowerContext ctx(graph_, id, *semantics);
  RS_RETURN_IF_ERROR(semantics->lower(ctx));
  const std::vector<NodeId> emitted = ctx.emitted();
  if (emitted.empty()) return emitted;
  const auto place = std::find(graph_.order.begin(), graph_.order.end(), id);
  const auto next = graph_.order.erase(place);
  graph_.order.insert(next, emitted.begin(), emitted.end());
  return emitted;
}

int64_t MacsOf(const Kernel& kernel) { return Total(kernel, kernel.macs_per_point, 0); }
int64_t FlopsOf(const Kernel& kernel) { return Total(kernel, kernel.flops_per_point, kernel.extra_flops); }
int64_t TranscendentalsOf(const Kernel& kernel) {
  return Total(kernel, kernel.transcendentals_per_point, kernel.extra_transcendentals);
}
int64_t ReadElements(const Kernel& kernel, int slot) { return Elements(kernel, false, slot); }
int64_t WrittenElements(const Kernel& kernel, int slot) { return Elements(kernel, true, slot); }

void ExpectSoundGradients(const GraphBuilder& builder, const GradientRun& run) {
  const Graph& graph = builder.graph();
  EXPECT_TRUE(run.status.ok()) << run.status;
  for (const auto& [value, gradient] : run.gradient) {
    EXPECT_EQ(graph.value(gradient).type, graph.value(value).type)
        << graph.value(value).name << " is " << TypeString(graph.value(value).type) << ", its gradient "
        << TypeString(graph.value(gradient).type);
  }
  for (NodeId id : run.nodes) {
    builder.KernelOfNode(id);
    for (ValueId input : graph.node(id).inputs) {
      if (input == kNoValue) continue;
      EXPECT_LT(graph.value(input).producer, id) << graph.node(id).name;
    }
  }
}

}  // namespace reusescope
