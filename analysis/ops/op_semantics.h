// What ReuseScope knows of one operator, in one place: its entry in the registry.
//
// An entry is a row of its family's table (ops/elementwise.cc, ops/contraction.cc, ...):
//
//   {.type = "Softmax", .flops = 4, .transcendentals = 2, .kernel = RowwiseKernel, .gradient = SoftmaxGradient, ...}
//
// Shapes come from ONNX's own schemas; `infer` stands only where ONNX has none or stops short. `evaluate` stands only
// where small tensors shape others. A core operator has `kernel` and either `gradient` or the reason why it has none; a
// composite has `lower`, which replaces it by core operators. No stage switches on an operator's name: what a stage
// needs to know of an operator is a member here.

#ifndef REUSESCOPE_ANALYSIS_OPS_OP_SEMANTICS_H_
#define REUSESCOPE_ANALYSIS_OPS_OP_SEMANTICS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/graph.h"
#include "analysis/ops/kernel.h"

namespace reusescope {

struct OpSemantics;
class GradientContext;  // ops/gradient_context.h
class LowerContext;     // ops/lower_context.h
class BodyBuilder;      // ops/body_builder.h

// A node seen by the rules of its operator. Cheap to make; holds references only.
class OpContext {
 public:
  OpContext(const Graph& graph, NodeId id, const OpSemantics& semantics)
      : graph_(graph), id_(id), semantics_(semantics) {}

  const Graph& graph() const { return graph_; }
  NodeId id() const { return id_; }
  const Node& node() const { return graph_.node(id_); }
  const OpSemantics& semantics() const { return semantics_; }
  const Attributes& attributes() const { return node().attributes; }
  int version() const { return node().op.since_version; }

  int num_inputs() const { return static_cast<int>(node().inputs.size()); }
  int num_outputs() const { return static_cast<int>(node().outputs.size()); }
  bool HasInput(int i) const { return i < num_inputs() && node().inputs[i] != kNoValue; }
  bool HasOutput(int i) const { return i < num_outputs() && node().outputs[i] != kNoValue; }
  // REQUIRES: HasInput(i), HasOutput(i).
  const Value& Input(int i) const { return graph_.value(node().inputs[i]); }
  const Value& Output(int i) const { return graph_.value(node().outputs[i]); }
  const Type& InType(int i) const { return Input(i).type; }
  const Type& OutType(int i) const { return Output(i).type; }
  const Shape& InShape(int i) const { return Input(i).type.shape; }
  const Shape& OutShape(int i) const { return Output(i).type.shape; }
  // Number of elements. ResolveShapes has checked that it fits; REQUIRES: the shape is known.
  int64_t InElements(int i) const { return ElementCount(InShape(i)).value_or(0); }
  int64_t OutElements(int i) const { return ElementCount(OutShape(i)).value_or(0); }
  // The small constant on input i, or null when absent or not known.
  const Literal* InLiteral(int i) const { return HasInput(i) ? graph_.literal(node().inputs[i]) : nullptr; }

  // "node 'conv1' (Conv-11): message", kInvalidArgument.
  absl::Status Error(absl::string_view message) const;

 private:
  const Graph& graph_;
  NodeId id_;
  const OpSemantics& semantics_;
};

// Whether the first output is the first input's storage seen with another shape. kView: always free (Reshape).
// kStridedView: PyTorch makes it a strided view, a runtime without strides copies (Transpose, Slice): we copy, except a
// Transpose that a contraction absorbs, and PyTorch's stash shares the storage.
enum class Aliasing : uint8_t { kNone, kView, kStridedView };

// What eager PyTorch's autograd keeps of this node for backward (its derivatives.yaml).
struct EagerSaves {
  absl::InlinedVector<ValueId, 4> values;  // the ones that are values of the graph
  int64_t extra_bytes = 0;                 // what has no value here and one width: pool indices, saved statistics
  int64_t extra_activation_elements = 0;  // what has no value here and the width of an activation: intermediate results
  int64_t dropout_mask_elements = 0;      // width is a setting: 4 bytes on the CPU, 1 on CUDA
};

using KernelFn = absl::StatusOr<Kernel> (*)(const OpContext&);
using GradientFn = absl::Status (*)(GradientContext&);
using LowerFn = absl::Status (*)(LowerContext&);
using BodyFn = absl::Status (*)(BodyBuilder&);
using ReplayFn = ValueId (*)(GradientContext&);
// Output types, one per output of the node.
using InferFn = absl::StatusOr<std::vector<Type>> (*)(const OpContext&);
// Output values, one per output; empty when the inputs known so far do not determine them.
using EvaluateFn = std::vector<Literal> (*)(const OpContext&);
// Gives a node of a form that files have and no schema describes the form that it means. Says what was odd about it, ""
// where nothing was. The types of the node's inputs are known, its outputs' not yet.
using MendFn = std::string (*)(Graph&, NodeId);
using AliasFn = Aliasing (*)(const OpContext&);
using TimeAxisFn = int (*)(const OpContext&);
using EagerSavesFn = void (*)(const OpContext&, EagerSaves&);
using ReasonFn = absl::string_view (*)(const OpContext&);

// An operator of ai.onnx at a version.
struct OnnxOperator {
  absl::string_view type;
  int version = 0;
};

struct OpSemantics {
  absl::string_view domain = "";
  absl::string_view type;
  int since_version = 1;  // first opset with these semantics
  OnnxOperator same_as;   // this one by another name: ResolveShapes calls it so, and nothing else is stated here

  // Arithmetic of a point, for kernels that are shared by a family (see Kernel).
  int64_t flops = 0;
  int64_t transcendentals = 0;

  MendFn mend = nullptr;
  InferFn infer = nullptr;
  InferFn upper_bound = nullptr;  // output types at their largest, where data decide them
  EvaluateFn evaluate = nullptr;
  LowerFn lower = nullptr;
  KernelFn kernel = nullptr;
  // What data decide of the work of a node that is counted at its most ("every block of keys is attended"); empty where
  // the count is exact.
  ReasonFn at_most = nullptr;
  GradientFn gradient = nullptr;
  // What the operator computes, as standard ONNX operators: of every operator that runtimes do not have, and of those
  // that forward asks for more outputs than they have. See CONTRIBUTING.md, "A body".
  BodyFn body = nullptr;
  absl::string_view not_differentiable = "";  // the reason, where there is no gradient
  // Bit i: input i has a gradient when the node has. Running statistics, indices and shapes have none.
  uint32_t differentiable_inputs = ~0u;

  Aliasing aliasing = Aliasing::kNone;
  AliasFn alias = nullptr;  // where it depends on the node; overrides `aliasing`
  // A copy that costs nothing beside a contraction, which reads or writes the other order itself: Transpose.
  bool absorbed_by_contraction = false;
  // Output j is written over input in_place[j] and lives in its storage; -1: not. Optimizer steps, running statistics.
  std::array<int8_t, 4> in_place = {-1, -1, -1, -1};
  int8_t shape_input = -1;  // the input that is the shape of output 0: Reshape, Expand
  // Bit i: input i has a row for every sample, along the axis in which the others of these have theirs: all of Concat,
  // the sequence and the states of a recurrence. Stored ones are no weights.
  uint32_t batched_inputs = 0;
  TimeAxisFn time_axis = nullptr;  // the axis of input 0 along which each step waits for the one before
  EagerSavesFn eager_saves = nullptr;
  bool contraction = false;
  bool deterministic = true;  // false: random; never folded
  // Emits what gives output 0 again, where the operator itself would draw other numbers the second time: from its
  // inputs and outputs that are kept for it. kNoValue: this node gives the same again. A random operator without is
  // never run twice; its outputs are kept.
  ReplayFn replay = nullptr;
  bool unpacks = false;  // makes wide numbers of what is stored narrow: never folded, as the store stays narrow
  bool quantizes_operands = false;  // multiplies integers that it makes of floating-point operands itself
};

// The operators known, found by domain, type and version.
class OpRegistry {
 public:
  // Built on first use from the families' tables (op_registry.cc is the list of families).
  static const OpRegistry& Get();

  // The entry with the largest since_version that is not above op.since_version, or null.
  const OpSemantics* Find(const OpKey& op) const;
  // All entries, sorted by domain, type, version.
  std::vector<const OpSemantics*> All() const;

  // REQUIRES: `domain` and `type` live as long as the registry; they are literals of the families' tables.
  void Add(OpSemantics semantics);

 private:
  // By domain and type; versions ascending.
  absl::flat_hash_map<std::pair<absl::string_view, absl::string_view>, std::vector<OpSemantics>> entries_;
};

// What the entry says of this node's aliasing; kNone without an entry.
Aliasing AliasingOf(const Graph& graph, NodeId id);

// Every output of the node is its first input seen otherwise: no kernel runs. REQUIRES: storages assigned
// (transform/assign_storages.h).
bool IsView(const Graph& graph, NodeId id);

// One function per family file, called from op_registry.cc.
void RegisterContraction(OpRegistry& registry);
void RegisterElementwise(OpRegistry& registry);
void RegisterReduction(OpRegistry& registry);
void RegisterPooling(OpRegistry& registry);
void RegisterNormalization(OpRegistry& registry);
void RegisterSoftmaxLoss(OpRegistry& registry);
void RegisterAttention(OpRegistry& registry);
void RegisterGather(OpRegistry& registry);
void RegisterLayout(OpRegistry& registry);
void RegisterShapeArithmetic(OpRegistry& registry);
void RegisterRecurrent(OpRegistry& registry);
void RegisterOptimizerSteps(OpRegistry& registry);
void RegisterControlFlow(OpRegistry& registry);
void RegisterQuantization(OpRegistry& registry);
void RegisterContrib(OpRegistry& registry);
void RegisterContribAttention(OpRegistry& registry);
void RegisterContribQuantization(OpRegistry& registry);
void RegisterContribData(OpRegistry& registry);
void RegisterContribPacked(OpRegistry& registry);
void RegisterContribLinearAttention(OpRegistry& registry);
void RegisterContribSearch(OpRegistry& registry);
void RegisterContribLayouts(OpRegistry& registry);
void RegisterContribTraining(OpRegistry& registry);
void RegisterMl(OpRegistry& registry);
void RegisterMisc(OpRegistry& registry);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_OPS_OP_SEMANTICS_H_
