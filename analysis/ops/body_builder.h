// What the `body` of an operator has in hand: its node, resolved, and the means to say what it computes in standard
// ONNX operators.
//
//   absl::Status SoftmaxGradBody(BodyBuilder& body) {          // dX = (dY - sum(dY y)) y
//     const Expr dy = body.In(0), y = body.In(1);
//     body.Out(0, (dy - body.ReduceSum(dy * y, {AxisOf(body)})) * y);
//     return absl::OkStatus();
//   }
//
// Arithmetic on Exprs writes Add, Sub, Mul, Div, Neg with NumPy's broadcasting; a double beside one becomes a constant
// of its dtype. Attributes and shapes of the node are known (`node()`, and `forward()` of a backward node), so a body
// may be made for them: equal bodies are stored once (transform/make_executable.h). Forms are those of opset 18 that
// hold in every later one: reductions, splits and squeezes take their axes as inputs, Pad and Slice their amounts.

#ifndef REUSESCOPE_ANALYSIS_OPS_BODY_BUILDER_H_
#define REUSESCOPE_ANALYSIS_OPS_BODY_BUILDER_H_

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

// A value of the body. Default-constructed: an omitted optional operand.
struct Expr {
  BodyBuilder* body = nullptr;
  ValueId id = kNoValue;
  explicit operator bool() const { return id != kNoValue; }
};

Expr operator+(Expr a, Expr b);
Expr operator-(Expr a, Expr b);
Expr operator*(Expr a, Expr b);
Expr operator/(Expr a, Expr b);
Expr operator-(Expr a);
Expr operator+(Expr a, double b);
Expr operator-(Expr a, double b);
Expr operator*(Expr a, double b);
Expr operator/(Expr a, double b);
Expr operator+(double a, Expr b);
Expr operator-(double a, Expr b);
Expr operator*(double a, Expr b);
Expr operator/(double a, Expr b);

using Dims = std::vector<int64_t>;

// {{"axis", 1}, {"mode", std::string("linear")}} as attributes.
Attributes MakeAttributes(std::initializer_list<std::pair<absl::string_view, Attribute>> entries);

class BodyBuilder {
 public:
  // The body of node `id`; its graph has one input for each input that the node has, in order.
  BodyBuilder(const Graph& graph, NodeId id, const OpSemantics& semantics);
  BodyBuilder(const BodyBuilder&) = delete;

  const OpContext& node() const { return node_; }
  const Attributes& attributes() const { return node_.attributes(); }
  // The node whose gradient this one is. REQUIRES: the node is a backward node.
  OpContext forward() const;
  absl::Status Error(absl::string_view message) const { return node_.Error(message); }

  // Input i, or an omitted operand where the node has none.
  Expr In(int i) const { return i < static_cast<int>(inputs_.size()) ? inputs_[i] : Expr{}; }
  const Shape& InShape(int i) const { return node_.InShape(i); }
  const Shape& OutShape(int j) const { return node_.OutShape(j); }
  // Output j is `value`; nothing happens where the node leaves output j out.
  void Out(int j, Expr value);

  // A node of ai.onnx. The result has the dtype of the first operand (`Typed`: the one given).
  Expr Op(absl::string_view type, std::initializer_list<Expr> operands, Attributes attributes = {});
  Expr Op(absl::string_view type, absl::Span<const Expr> operands, Attributes attributes = {});
  Expr Typed(DType dtype, absl::string_view type, std::initializer_list<Expr> operands, Attributes attributes = {});
  std::vector<Expr> Ops(absl::string_view type, absl::Span<const Expr> operands, absl::Span<const DType> outputs,
                        Attributes attributes = {});

  Expr Constant(Literal literal);
  Expr Ints(Dims values);                  // int64[n]
  Expr Int(int64_t value);                 // int64[]
  Expr Scalar(DType dtype, double value);  // any floating-point dtype
  Expr Zeros(DType dtype, const Shape& shape);
  Expr Ones(DType dtype, const Shape& shape);

  DType DTypeOf(Expr value) const { return graph_->value(value.id).type.dtype; }
  Expr Cast(Expr x, DType dtype);  // x itself where it has that dtype
  Expr Where(Expr condition, Expr a, Expr b);
  Expr Where(Expr condition, Expr a, double b) { return Where(condition, a, Scalar(DTypeOf(a), b)); }
  Expr Where(Expr condition, double a, Expr b) { return Where(condition, Scalar(DTypeOf(b), a), b); }
  Expr Less(Expr a, Expr b) { return Typed(DType::kBool, "Less", {a, b}); }
  Expr Less(Expr a, double b) { return Less(a, Scalar(DTypeOf(a), b)); }
  Expr Greater(Expr a, Expr b) { return Typed(DType::kBool, "Greater", {a, b}); }
  Expr Greater(Expr a, double b) { return Greater(a, Scalar(DTypeOf(a), b)); }
  Expr Equal(Expr a, Expr b) { return Typed(DType::kBool, "Equal", {a, b}); }
  Expr Equal(Expr a, double b) { return Equal(a, Scalar(DTypeOf(a), b)); }
  Expr And(Expr a, Expr b) { return Typed(DType::kBool, "And", {a, b}); }
  Expr Not(Expr a) { return Typed(DType::kBool, "Not", {a}); }
  Expr Unary(absl::string_view type, Expr x) { return Op(type, {x}); }
  Expr Sqrt(Expr x) { return Op("Sqrt", {x}); }
  Expr Exp(Expr x) { return Op("Exp", {x}); }
  Expr Pow(Expr x, Expr exponent) { return Op("Pow", {x, exponent}); }

  Expr Reshape(Expr x, const Shape& shape);
  Expr Expand(Expr x, const Shape& shape);
  Expr Transpose(Expr x, Dims perm);  // x itself where the order stays
  Expr ReduceSum(Expr x, Dims axes, bool keep_dims = true) {
    return Reduce("ReduceSum", x, std::move(axes), keep_dims);
  }
  Expr ReduceMean(Expr x, Dims axes, bool keep_dims = true) {
    return Reduce("ReduceMean", x, std::move(axes), keep_dims);
  }
  Expr Reduce(absl::string_view type, Expr x, Dims axes, bool keep_dims);
  Expr MatMul(Expr a, Expr b) { return Op("MatMul", {a, b}); }
  Expr Slice(Expr x, Dims starts, Dims ends, Dims axes, Dims steps = {});
  Expr Concat(absl::Span<const Expr> parts, int64_t axis);
  Expr Pad(Expr x, Dims pads);  // with zeros; [begin..., end...]
  // x of shape `from` summed over what broadcasting `to` to `from` repeated.
  Expr SumTo(Expr x, const Shape& from, const Shape& to);
  // Zeros of shape `to` with the rows of x, of which dimension `axis` may be several dimensions `index` is of, added at
  // `index` along `axis`: what a lookup Gather(data, index, axis) sends back. Repeated indices add up.
  Expr ScatterAlong(Expr x, Expr index, const Shape& index_shape, int64_t axis, const Shape& to);

  // A node with a subgraph: `write` fills it through a builder of its own, which sees outer values by capture.
  // Returns the attribute value.
  SubgraphRef Subgraph(const std::function<void(BodyBuilder&)>& write);
  // In a subgraph: its formal inputs and outputs, in order.
  Expr AddInput(DType dtype);
  void AddOutput(Expr value);
  // A value of the builder around this subgraph, as seen from inside.
  Expr Outer(Expr value);

  // The finished body. REQUIRES: every output of the node was given.
  std::unique_ptr<Graph> Take() { return std::move(graph_); }

 private:
  BodyBuilder(const OpContext& node, BodyBuilder* outer);
  Expr Add(DType dtype, absl::string_view type, absl::Span<const Expr> operands, Attributes attributes);
  // Fills `captures` with what the node's subgraphs read of this body besides its inputs.
  void ListCaptures(Node& node) const;
  ValueId Named(absl::string_view name) const;  // REQUIRES: the body has a value of that name
  std::string NewName();

  OpContext node_;
  BodyBuilder* outer_ = nullptr;  // of a subgraph: the builder around it
  std::unique_ptr<Graph> graph_;
  std::vector<Expr> inputs_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_BODY_BUILDER_H_
