#include "analysis/measure/cost.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/op_semantics.h"

namespace reusescope {
namespace {

// A kernel for an operator that nobody has described: bytes by its operands, arithmetic unknown.
Kernel UnknownKernel(const OpContext& ctx) {
  Kernel kernel{.known = false};
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (ctx.HasInput(i)) kernel.accesses.push_back(WholeTensor(ctx, Role::kX, false, i));
  }
  for (int j = 0; j < ctx.num_outputs(); ++j) {
    if (ctx.HasOutput(j)) kernel.accesses.push_back(WholeTensor(ctx, Role::kY, true, j));
  }
  return kernel;
}

bool HasArithmetic(const Kernel& kernel) {
  return kernel.macs_per_point != 0 || kernel.flops_per_point != 0 || kernel.transcendentals_per_point != 0 ||
         kernel.extra_flops != 0 || kernel.extra_transcendentals != 0;
}

// factor * points + extra, checked.
absl::Status AddCount(int64_t factor, int64_t points, int64_t extra, int64_t& total) {
  const auto product = CheckedMultiply(factor, points);
  const auto sum = product ? CheckedAdd(*product, extra) : std::nullopt;
  const auto result = sum ? CheckedAdd(total, *sum) : std::nullopt;
  if (!result) return absl::OutOfRangeError(absl::StrCat(factor, " * ", points, " + ", extra, " exceeds int64"));
  total = *result;
  return absl::OkStatus();
}

// Elements of a value; of a sequence, of all its tensors.
int64_t ValueElements(const Value& value) {
  if (!value.type.has_shape || !IsFullyKnown(value.type.shape)) return 0;
  const int64_t elements = ElementCount(value.type.shape).value_or(0);
  if (value.type.form != Type::Form::kSequence) return elements;
  return CheckedMultiply(elements, std::max<int64_t>(value.type.length, 0)).value_or(0);
}

// int8, int4, fp8 or fp4; kAny for what is wider, no number, or a scale.
Arithmetic NarrowArithmeticOf(DType dtype) {
  const int bits = BitWidth(dtype);
  if (IsInteger(dtype) && bits <= 8) return bits == 8 ? Arithmetic::kInt8 : Arithmetic::kInt4;
  if (!IsFloatingPoint(dtype) || bits > 8 || dtype == DType::kFloat8E8M0) return Arithmetic::kAny;
  return bits == 8 ? Arithmetic::kFp8 : Arithmetic::kFp4;
}

// In what both can be multiplied: the wider of two integers or of two floats; kAny where they do not mix.
Arithmetic Common(Arithmetic a, Arithmetic b) {
  if (a == b) return a;
  for (const auto& [wide, narrow] :
       {std::pair(Arithmetic::kInt8, Arithmetic::kInt4), std::pair(Arithmetic::kFp8, Arithmetic::kFp4)}) {
    if ((a == wide && b == narrow) || (a == narrow && b == wide)) return wide;
  }
  return Arithmetic::kAny;
}

class CostBuilder {
 public:
  CostBuilder(const TrainingGraph& training, const CostOptions& options)
      : graph_(training.graph), mode_(options.precision), parameter_gradient_(graph_.storages.size(), false) {
    for (ValueId id = 0; id < static_cast<ValueId>(training.gradient_of.size()); ++id) {
      const ValueId gradient = training.gradient_of[id];
      if (gradient == kNoValue || graph_.value(id).kind != ValueKind::kParameter) continue;
      const StorageId storage = graph_.value(gradient).storage;
      if (storage != kNoStorage) parameter_gradient_[storage] = true;
    }
  }

  absl::StatusOr<CostTable> Build() {
    RS_RETURN_IF_ERROR(AddStorages());
    table_.kernels.reserve(graph_.order.size());
    table_.touches.reserve(3 * graph_.order.size());
    for (NodeId id : graph_.order) {
      if (IsView(graph_, id)) continue;
      const absl::Status status = AddKernel(id);
      if (status.ok()) continue;
      const Node& node = graph_.node(id);
      return Annotate(status, absl::StrCat("node '", node.name, "' (", OpKeyString(node.op), ")"));
    }
    return std::move(table_);
  }

 private:
  absl::StatusOr<int64_t> BytesOf(ValueId id, int64_t elements) const {
    const StorageId storage = graph_.value(id).storage;
    const bool parameter_gradient = storage != kNoStorage && parameter_gradient_[storage];
    return StorageBytes(elements, TouchedBits(graph_.value(id), mode_, parameter_gradient));
  }

  absl::Status AddStorages() {
    table_.storages.resize(graph_.storages.size());
    for (size_t s = 0; s < graph_.storages.size(); ++s) {
      StorageCost& storage = table_.storages[s];
      storage.root = graph_.storages[s].root;
      const Value& root = graph_.value(storage.root);
      storage.kind = root.kind;
      RS_ASSIGN_OR_RETURN(storage.bytes, BytesOf(storage.root, ValueElements(root)));
      storage.persistent = root.kind == ValueKind::kParameter || root.kind == ValueKind::kBuffer ||
                           root.kind == ValueKind::kConstant || root.kind == ValueKind::kOptimizerState;
      storage.input = root.kind == ValueKind::kInput;
      storage.parameter_gradient = storage.kept_to_end = parameter_gradient_[s];
    }
    for (ValueId output : graph_.outputs) {
      const StorageId storage = graph_.value(output).storage;
      if (storage != kNoStorage) table_.storages[storage].kept_to_end = true;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Kernel> KernelOf(NodeId id) const {
    static const OpSemantics kUnknown = {};
    const OpSemantics* semantics = OpRegistry::Get().Find(graph_.node(id).op);
    if (semantics == nullptr || semantics->kernel == nullptr) return UnknownKernel(OpContext(graph_, id, kUnknown));
    return semantics->kernel(OpContext(graph_, id, *semantics));
  }

  // Operand 0 decides whether the product is narrow at all: weights alone are unpacked on their way (MatMulNBits).
  // Scales and zero points have at most one dimension.
  Arithmetic ArithmeticOf(const Node& node) const {
    const OpSemantics* semantics = OpRegistry::Get().Find(node.op);
    std::optional<Arithmetic> common;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kNoValue) continue;
      const Type& type = graph_.value(node.inputs[i]).type;
      const Arithmetic narrow = NarrowArithmeticOf(type.dtype);
      const bool quantized_inside =
          semantics != nullptr && semantics->quantizes_operands && IsFloatingPoint(type.dtype);
      if (i == 0 && narrow == Arithmetic::kAny && !quantized_inside) return Arithmetic::kAny;
      if (narrow == Arithmetic::kAny || type.rank() < 2) continue;
      common = Common(common.value_or(narrow), narrow);
    }
    return common.value_or(Arithmetic::kAny);
  }

  absl::Status AddKernel(NodeId id) {
    RS_ASSIGN_OR_RETURN(const Kernel kernel, KernelOf(id));
    // Known before the step starts. What works on lists of unknown length alone still works.
    if (kernel.known && kernel.accesses.empty() && !HasArithmetic(kernel)) return absl::OkStatus();
    RS_ASSIGN_OR_RETURN(const int64_t points, Points(kernel));
    const Node& node = graph_.node(id);
    KernelCost cost{.node = id, .phase = node.phase, .known = kernel.known, .contraction = kernel.contraction};
    RS_RETURN_IF_ERROR(AddCount(kernel.macs_per_point, points, 0, cost.macs));
    if (kernel.contraction) {
      RS_RETURN_IF_ERROR(AddCount(2, cost.macs, 0, cost.contraction_flops));
      cost.arithmetic = ArithmeticOf(node);
    }
    RS_RETURN_IF_ERROR(AddCount(2, cost.macs, 0, cost.flops));
    RS_RETURN_IF_ERROR(AddCount(kernel.flops_per_point, points, kernel.extra_flops, cost.flops));
    RS_RETURN_IF_ERROR(
        AddCount(kernel.transcendentals_per_point, points, kernel.extra_transcendentals, cost.transcendentals));
    cost.first_touch = static_cast<int32_t>(table_.touches.size());
    for (const Access& access : kernel.accesses) {
      RS_RETURN_IF_ERROR(AddTouch(access, DistinctElements(kernel, access), points, cost));
    }
    cost.num_touches = static_cast<int32_t>(table_.touches.size()) - cost.first_touch;
    for (int32_t t = cost.first_touch; t < cost.first_touch + cost.num_touches; ++t) {
      const Touch& touch = table_.touches[t];
      if (touch.reads) RS_RETURN_IF_ERROR(AddCount(1, touch.bytes, 0, cost.read_bytes));
      if (touch.writes) RS_RETURN_IF_ERROR(AddCount(1, touch.bytes, 0, cost.write_bytes));
    }
    table_.kernels.push_back(cost);
    return absl::OkStatus();
  }

  // An access of `elements` distinct elements at `points` points of the kernel's loops.
  absl::Status AddTouch(const Access& access, int64_t elements, int64_t points, KernelCost& cost) {
    const Node& node = graph_.node(cost.node);
    const auto inputs = static_cast<int>(node.inputs.size());
    const ValueId id = access.is_output       ? node.outputs[access.slot]
                       : access.slot < inputs ? node.inputs[access.slot]
                                              : node.captures[access.slot - inputs];
    const Value& value = graph_.value(id);
    if (value.storage == kNoStorage) return absl::OkStatus();
    if (HasMasterWeights(mode_) && node.phase == Phase::kUpdate && value.kind == ValueKind::kParameter) {
      return TouchMaster(id, cost.first_touch);
    }
    RS_ASSIGN_OR_RETURN(int64_t bytes, BytesOf(id, elements));
    bytes = std::min(bytes, table_.storages[value.storage].bytes);
    if (bytes == 0) return absl::OkStatus();
    Merge({value.storage, bytes, access.reads, access.writes}, cost.first_touch);
    if (!cost.known || points <= elements) return absl::OkStatus();
    RS_ASSIGN_OR_RETURN(const int64_t again_bytes, BytesOf(id, points - elements));
    ++cost.reused_operands;
    return AddCount(1, again_bytes, 0, cost.reused_bytes);
  }

  // Under mixed precision the update reads and writes the master weight and writes the narrow copy.
  absl::Status TouchMaster(ValueId id, int32_t first) {
    const Value& value = graph_.value(id);
    StorageCost master{.root = id, .kind = ValueKind::kParameter, .persistent = true};
    RS_ASSIGN_OR_RETURN(master.bytes, StorageBytes(ValueElements(value), KeptBits(value, mode_)));
    const auto storage = static_cast<StorageId>(table_.storages.size());
    table_.storages.push_back(master);
    if (master.bytes == 0) return absl::OkStatus();
    Merge({storage, master.bytes, true, true}, first);
    Merge({value.storage, table_.storages[value.storage].bytes, false, true}, first);
    return absl::OkStatus();
  }

  // An operand list that names a storage twice touches it once.
  void Merge(const Touch& touch, int32_t first) {
    // Only long operand lists (Concat, Sum) could make this slow; they name a storage twice rarely, so look back a
    // little.
    constexpr int32_t kLookBack = 32;
    const int32_t size = static_cast<int32_t>(table_.touches.size());
    for (int32_t t = std::max(first, size - kLookBack); t < size; ++t) {
      Touch& known = table_.touches[t];
      if (known.storage != touch.storage) continue;
      known.bytes = std::max(known.bytes, touch.bytes);
      known.reads = known.reads || touch.reads;
      known.writes = known.writes || touch.writes;
      return;
    }
    table_.touches.push_back(touch);
  }

  const Graph& graph_;
  const PrecisionMode mode_;
  std::vector<bool> parameter_gradient_;  // by storage
  CostTable table_;
};

}  // namespace

absl::StatusOr<CostTable> ComputeCost(const TrainingGraph& training, const CostOptions& options) {
  return CostBuilder(training, options).Build();
}

}  // namespace reusescope
