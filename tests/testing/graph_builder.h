// Small graphs for tests of operator rules, built in memory with types given by the test.
//
//   GraphBuilder b;
//   const ValueId x = b.Input("x", {2, 3, 8, 8});
//   const ValueId y = b.Node("MaxPool", {x}, {2, 3, 4, 4}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
//   const Kernel kernel = b.KernelOf(y);
//   GradientRun run = b.RunGradient(y);                 // every rule's own check: run.status
//   EXPECT_EQ(b.ShapeOf(run.gradient[x]), b.ShapeOf(x));
//
// Tensors are float32 unless a Type says otherwise; operators are of opset `opset` (18) unless the type is written
// "Op-13"; "domain::Op-1" names a domain. Nothing is inferred: the test states the output types.

#ifndef REUSESCOPE_TESTS_TESTING_GRAPH_BUILDER_H_
#define REUSESCOPE_TESTS_TESTING_GRAPH_BUILDER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {

using Ints = std::vector<int64_t>;

Type Float(Shape shape);
Type Int64(Shape shape);
Type Bool(Shape shape);

using AttributeList = std::vector<std::pair<std::string, Attribute>>;

// What a gradient rule did.
struct GradientRun {
  absl::Status status;
  // By input value: the sum's one contribution. A second contribution to the same value goes to `repeated`.
  absl::flat_hash_map<ValueId, ValueId> gradient;
  std::vector<std::pair<ValueId, ValueId>> repeated;
  std::vector<NodeId> nodes;  // emitted, in order
};

class GraphBuilder {
 public:
  explicit GraphBuilder(int opset = 18) : opset_(opset) {}

  ValueId Input(absl::string_view name, Type type);
  ValueId Input(absl::string_view name, Shape shape) { return Input(name, Float(std::move(shape))); }
  ValueId Parameter(absl::string_view name, Shape shape);
  // Constants with known values.
  ValueId Constant(absl::string_view name, Literal literal);
  ValueId Constant(absl::string_view name, Ints values);  // int64, one-dimensional
  ValueId Scalar(absl::string_view name, int64_t value);

  // Output 0 of a new node; with several types, all outputs. kNoValue as an input is an omitted operand.
  ValueId Node(absl::string_view op, std::vector<ValueId> inputs, Type output, AttributeList attributes = {});
  ValueId Node(absl::string_view op, std::vector<ValueId> inputs, Shape output, AttributeList attributes = {}) {
    return Node(op, std::move(inputs), Float(std::move(output)), std::move(attributes));
  }
  std::vector<ValueId> NodeMany(absl::string_view op, std::vector<ValueId> inputs, std::vector<Type> outputs,
                                AttributeList attributes = {});

  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }
  const Shape& ShapeOf(ValueId value) const { return graph_.value(value).type.shape; }
  const reusescope::Node& Producer(ValueId value) const { return graph_.node(graph_.value(value).producer); }
  // "Transpose", "reusescope::SliceGrad".
  std::string OpName(NodeId id) const;
  std::vector<std::string> OpNames(const std::vector<NodeId>& ids) const;

  // The registry's entry of the node that produces `value`, and what its rules say. Failures (no entry, no kernel, an
  // error of the rule) are test failures; the result is then empty.
  const OpSemantics* SemanticsOf(ValueId value) const;
  Kernel KernelOf(ValueId value) const { return KernelOfNode(graph_.value(value).producer); }
  Kernel KernelOfNode(NodeId id) const;
  absl::StatusOr<Kernel> TryKernelOf(ValueId value) const;
  EagerSaves EagerSavesOf(ValueId value) const;

  // Runs the gradient rule of the node that produces `value`. Gradients flow into the outputs listed in `into` (all
  // floating-point outputs when empty); gradients are wanted of the inputs listed in `wanted` (all floating-point ones
  // that are not constants when empty).
  GradientRun RunGradient(ValueId value, std::vector<ValueId> into = {}, std::vector<ValueId> wanted = {});
  // Runs the lowering rule of the node that produces `value`; returns the emitted nodes. The lowered node leaves the
  // schedule and the emitted ones take its place.
  absl::StatusOr<std::vector<NodeId>> RunLower(ValueId value);

 private:
  Graph graph_;
  int opset_;
};

// Totals of a kernel: what `points` and per-point arithmetic amount to. An overflow is a test failure.
int64_t MacsOf(const Kernel& kernel);
int64_t FlopsOf(const Kernel& kernel);  // besides the MACs
int64_t TranscendentalsOf(const Kernel& kernel);
// Distinct elements touched by the access of that slot, or -1 when the kernel has none.
int64_t ReadElements(const Kernel& kernel, int slot);
int64_t WrittenElements(const Kernel& kernel, int slot);

// Fails the test unless every gradient in `run` has the shape and dtype of its value, every emitted node has an entry
// in the registry whose kernel rule accepts it, and each of its inputs is produced before it.
void ExpectSoundGradients(const GraphBuilder& builder, const GradientRun& run);

}  // namespace reusescope

#endif  // REUSESCOPE_TESTS_TESTING_GRAPH_BUILDER_H_
