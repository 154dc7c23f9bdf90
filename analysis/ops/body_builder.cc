#include "analysis/ops/body_builder.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "analysis/ir/subgraphs.h"

namespace reusescope {
namespace {

Expr Binary(absl::string_view type, Expr a, Expr b) { return a.body->Op(type, {a, b}); }
Expr Binary(absl::string_view type, Expr a, double b) { return Binary(type, a, a.body->Scalar(a.body->DTypeOf(a), b)); }
Expr Binary(absl::string_view type, double a, Expr b) { return Binary(type, b.body->Scalar(b.body->DTypeOf(b), a), b); }

Dims AsDims(const Shape& shape) { return {shape.begin(), shape.end()}; }

}  // namespace

Expr operator+(Expr a, Expr b) { return Binary("Add", a, b); }
Expr operator-(Expr a, Expr b) { return Binary("Sub", a, b); }
Expr operator*(Expr a, Expr b) { return Binary("Mul", a, b); }
Expr operator/(Expr a, Expr b) { return Binary("Div", a, b); }
Expr operator-(Expr a) { return a.body->Op("Neg", {a}); }
Expr operator+(Expr a, double b) { return Binary("Add", a, b); }
Expr operator-(Expr a, double b) { return Binary("Sub", a, b); }
Expr operator*(Expr a, double b) { return b == 1 ? a : Binary("Mul", a, b); }
Expr operator/(Expr a, double b) { return b == 1 ? a : Binary("Div", a, b); }
Expr operator+(double a, Expr b) { return Binary("Add", a, b); }
Expr operator-(double a, Expr b) { return Binary("Sub", a, b); }
Expr operator*(double a, Expr b) { return b * a; }
Expr operator/(double a, Expr b) { return Binary("Div", a, b); }

Attributes MakeAttributes(std::initializer_list<std::pair<absl::string_view, Attribute>> entries) {
  Attributes attributes;
  for (const auto& [name, value] : entries) attributes.Set(name, value);
  return attributes;
}

BodyBuilder::BodyBuilder(const Graph& graph, NodeId id, const OpSemantics& semantics)
    : node_(graph, id, semantics), graph_(std::make_unique<Graph>()) {
  for (int i = 0; i < node_.num_inputs(); ++i) {
    const Type type = node_.HasInput(i) ? Type{.form = Type::Form::kTensor, .dtype = node_.InType(i).dtype} : Type{};
    const ValueId formal = graph_->AddValue(absl::StrCat("in", i), type, ValueKind::kInput);
    graph_->inputs.push_back(formal);
    inputs_.push_back(node_.HasInput(i) ? Expr{this, formal} : Expr{});
  }
  graph_->outputs.assign(node_.num_outputs(), kNoValue);
}

BodyBuilder::BodyBuilder(const OpContext& node, BodyBuilder* outer)
    : node_(node), outer_(outer), graph_(std::make_unique<Graph>()) {}

OpContext BodyBuilder::forward() const {
  const NodeId id = node_.node().forward_node;
  return OpContext(node_.graph(), id, *OpRegistry::Get().Find(node_.graph().node(id).op));
}

void BodyBuilder::Out(int j, Expr value) {
  if (!node_.HasOutput(j)) return;
  // An input handed through, or a value that is an output already, needs a name of its own.
  const bool taken = std::find(graph_->outputs.begin(), graph_->outputs.end(), value.id) != graph_->outputs.end();
  if (taken || graph_->value(value.id).producer == kNoNode) value = Op("Identity", {value});
  graph_->outputs[j] = value.id;
}

std::string BodyBuilder::NewName() {
  // A subgraph's names must differ from those around it.
  const std::string prefix = outer_ == nullptr ? "t" : absl::StrCat(outer_->NewName(), "_");
  return absl::StrCat(prefix, graph_->values.size());
}

Expr BodyBuilder::Add(DType dtype, absl::string_view type, absl::Span<const Expr> operands, Attributes attributes) {
  const DType dtypes[] = {dtype};
  return Ops(type, operands, dtypes, std::move(attributes))[0];
}

std::vector<Expr> BodyBuilder::Ops(absl::string_view type, absl::Span<const Expr> operands,
                                   absl::Span<const DType> outputs, Attributes attributes) {
  Node node{.op = {.domain = "", .type = std::string(type), .since_version = 18}, .attributes = std::move(attributes)};
  for (const Expr& operand : operands) node.inputs.push_back(operand.id);
  while (!node.inputs.empty() && node.inputs.back() == kNoValue) node.inputs.pop_back();
  std::vector<Expr> results;
  for (DType dtype : outputs) {
    results.push_back({this, graph_->AddValue(NewName(), Type{.form = Type::Form::kTensor, .dtype = dtype})});
    node.outputs.push_back(results.back().id);
  }
  ListCaptures(node);
  graph_->AddNode(std::move(node));
  return results;
}

void BodyBuilder::ListCaptures(Node& node) const {
  ForEachSubgraph(node, [&](int index) {
    const Graph& subgraph = *graph_->subgraphs[index];
    for (ValueId inner : subgraph.captured) {
      const ValueId outer = Named(subgraph.value(inner).name);
      const bool listed = std::find(node.captures.begin(), node.captures.end(), outer) != node.captures.end() ||
                          std::find(node.inputs.begin(), node.inputs.end(), outer) != node.inputs.end();
      if (!listed) node.captures.push_back(outer);
    }
  });
}

ValueId BodyBuilder::Named(absl::string_view name) const {
  const auto it = std::find_if(graph_->values.begin(), graph_->values.end(),
                               [&](const Value& value) { return value.name == name; });
  return static_cast<ValueId>(it - graph_->values.begin());
}

Expr BodyBuilder::Op(absl::string_view type, std::initializer_list<Expr> operands, Attributes attributes) {
  return Add(DTypeOf(*operands.begin()), type, {operands.begin(), operands.size()}, std::move(attributes));
}

Expr BodyBuilder::Op(absl::string_view type, absl::Span<const Expr> operands, Attributes attributes) {
  return Add(DTypeOf(operands[0]), type, operands, std::move(attributes));
}

Expr BodyBuilder::Typed(DType dtype, absl::string_view type, std::initializer_list<Expr> operands,
                        Attributes attributes) {
  return Add(dtype, type, {operands.begin(), operands.size()}, std::move(attributes));
}

Expr BodyBuilder::Constant(Literal literal) {
  // Constants are few and small: an equal one is found by looking.
  for (NodeId id : graph_->order) {
    const Node& node = graph_->node(id);
    const Literal* value = node.op.type == "Constant" ? node.attributes.Tensor("value") : nullptr;
    if (value != nullptr && *value == literal) return {this, node.outputs[0]};
  }
  const DType dtype = literal.dtype;
  return Add(dtype, "Constant", {}, MakeAttributes({{"value", std::move(literal)}}));
}

Expr BodyBuilder::Ints(Dims values) {
  const auto size = static_cast<int64_t>(values.size());
  return Constant(Literal::Ints({size}, std::move(values)));
}

Expr BodyBuilder::Int(int64_t value) { return Constant(Literal::Ints({}, {value})); }

Expr BodyBuilder::Scalar(DType dtype, double value) {
  if (dtype == DType::kFloat32 || dtype == DType::kFloat64) return Constant(Literal::Floats({}, {value}, dtype));
  if (IsInteger(dtype)) return Cast(Int(static_cast<int64_t>(value)), dtype);
  return Cast(Constant(Literal::Floats({}, {value})), dtype);
}

Expr BodyBuilder::Zeros(DType dtype, const Shape& shape) { return Expand(Scalar(dtype, 0), shape); }
Expr BodyBuilder::Ones(DType dtype, const Shape& shape) { return Expand(Scalar(dtype, 1), shape); }

Expr BodyBuilder::Cast(Expr x, DType dtype) {
  if (DTypeOf(x) == dtype) return x;
  return Typed(dtype, "Cast", {x}, MakeAttributes({{"to", static_cast<int64_t>(dtype)}}));
}

Expr BodyBuilder::Where(Expr condition, Expr a, Expr b) { return Typed(DTypeOf(a), "Where", {condition, a, b}); }

Expr BodyBuilder::Reshape(Expr x, const Shape& shape) {
  // A dimension 0 is 0, not "as before".
  return Op("Reshape", {x, Ints(AsDims(shape))}, MakeAttributes({{"allowzero", int64_t{1}}}));
}

Expr BodyBuilder::Expand(Expr x, const Shape& shape) { return Op("Expand", {x, Ints(AsDims(shape))}); }

Expr BodyBuilder::Transpose(Expr x, Dims perm) {
  Dims same(perm.size());
  std::iota(same.begin(), same.end(), 0);
  return perm == same ? x : Op("Transpose", {x}, MakeAttributes({{"perm", std::move(perm)}}));
}

Expr BodyBuilder::Reduce(absl::string_view type, Expr x, Dims axes, bool keep_dims) {
  if (axes.empty()) return x;
  return Op(type, {x, Ints(std::move(axes))}, MakeAttributes({{"keepdims", int64_t{keep_dims}}}));
}

Expr BodyBuilder::Slice(Expr x, Dims starts, Dims ends, Dims axes, Dims steps) {
  const Expr by = steps.empty() ? Expr{} : Ints(std::move(steps));
  return Op("Slice", {x, Ints(std::move(starts)), Ints(std::move(ends)), Ints(std::move(axes)), by});
}

Expr BodyBuilder::Concat(absl::Span<const Expr> parts, int64_t axis) {
  return parts.size() == 1 ? parts[0] : Op("Concat", parts, MakeAttributes({{"axis", axis}}));
}

Expr BodyBuilder::Pad(Expr x, Dims pads) {
  if (std::all_of(pads.begin(), pads.end(), [](int64_t pad) { return pad == 0; })) return x;
  return Op("Pad", {x, Ints(std::move(pads))});
}

Expr BodyBuilder::SumTo(Expr x, const Shape& from, const Shape& to) {
  const int shift = static_cast<int>(from.size()) - static_cast<int>(to.size());
  Dims axes;
  for (int d = 0; d < static_cast<int>(from.size()); ++d) {
    if (d < shift || from[d] != to[d - shift]) axes.push_back(d);
  }
  if (!axes.empty()) x = ReduceSum(x, axes);
  return shift == 0 ? x : Reshape(x, to);
}

Expr BodyBuilder::ScatterAlong(Expr x, Expr index, const Shape& index_shape, int64_t axis, const Shape& to) {
  int64_t before = 1, after = 1, rows = 1;
  for (int64_t d = 0; d < axis; ++d) before *= to[d];
  for (size_t d = axis + 1; d < to.size(); ++d) after *= to[d];
  for (int64_t extent : index_shape) rows *= extent;
  // [before, rows, after] -> [rows, before, after], scattered into [to[axis], before, after], and back.
  const bool moves = before != 1;
  Expr updates = Reshape(x, {before, rows, after});
  if (moves) updates = Transpose(updates, {1, 0, 2});
  const Shape target = {to[axis], moves ? before : 1, after};
  if (!moves) updates = Reshape(x, {rows, 1, after});
  const Expr places = Reshape(Cast(index, DType::kInt64), {rows, 1});
  Expr sum = Op("ScatterND", {Zeros(DTypeOf(x), target), places, updates},
                MakeAttributes({{"reduction", std::string("add")}}));
  if (moves) sum = Transpose(sum, {1, 0, 2});
  return Typed(DTypeOf(x), "Reshape", {sum, Ints(AsDims(to))}, MakeAttributes({{"allowzero", int64_t{1}}}));
}

SubgraphRef BodyBuilder::Subgraph(const std::function<void(BodyBuilder&)>& write) {
  BodyBuilder inner(node_, this);
  write(inner);
  graph_->subgraphs.push_back(inner.Take());
  return {static_cast<int>(graph_->subgraphs.size()) - 1};
}

Expr BodyBuilder::AddInput(DType dtype) {
  const ValueId formal =
      graph_->AddValue(NewName(), Type{.form = Type::Form::kTensor, .dtype = dtype}, ValueKind::kInput);
  graph_->inputs.push_back(formal);
  return {this, formal};
}

void BodyBuilder::AddOutput(Expr value) {
  const bool taken = std::find(graph_->outputs.begin(), graph_->outputs.end(), value.id) != graph_->outputs.end();
  if (taken || graph_->value(value.id).producer == kNoNode) value = Op("Identity", {value});
  graph_->outputs.push_back(value.id);
}

Expr BodyBuilder::Outer(Expr value) {
  const Value& outer = outer_->graph_->value(value.id);
  for (ValueId id : graph_->captured) {
    if (graph_->value(id).name == outer.name) return {this, id};
  }
  const ValueId id = graph_->AddValue(outer.name, outer.type);
  graph_->captured.push_back(id);
  return {this, id};
}

}  // namespace reusescope
