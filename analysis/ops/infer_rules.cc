#include "analysis/ops/infer_rules.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/einsum.h"

namespace reusescope {
namespace {

// Every input is a tensor of known rank, and there are enough of them.
absl::Status ExpectTensors(const OpContext& ctx, int count) {
  for (int i = 0; i < count; ++i) {
    if (!ctx.HasInput(i)) return ctx.Error(absl::StrCat("input ", i, " is missing, expected a tensor"));
    if (!ctx.InType(i).IsTensor() || !ctx.InType(i).has_shape) {
      return ctx.Error(
          absl::StrCat("input ", i, " is ", TypeString(ctx.InType(i)), ", expected a tensor of known shape"));
    }
  }
  return absl::OkStatus();
}

absl::Status ExpectSequence(const OpContext& ctx) {
  if (!ctx.HasInput(0) || ctx.InType(0).form != Type::Form::kSequence) {
    return ctx.Error(
        absl::StrCat("input 0 is ", ctx.HasInput(0) ? TypeString(ctx.InType(0)) : "missing", ", expected a sequence"));
  }
  return absl::OkStatus();
}

Type Sequence(DType dtype, int64_t length) {
  return {.form = Type::Form::kSequence, .dtype = dtype, .has_shape = false, .shape = {}, .length = length};
}

// What all elements have in common: dimensions that differ are unknown, ranks that differ leave no shape.
void UnifyElements(const Type& element, bool first, Type& sequence) {
  if (first) {
    sequence.has_shape = element.has_shape;
    sequence.shape = element.shape;
    return;
  }
  if (!element.has_shape || !sequence.has_shape || element.shape.size() != sequence.shape.size()) {
    sequence.has_shape = false;
    sequence.shape.clear();
    return;
  }
  for (size_t d = 0; d < sequence.shape.size(); ++d) {
    if (sequence.shape[d] != element.shape[d]) sequence.shape[d] = kUnknownDim;
  }
}

// The types of a node with one output.
std::vector<Type> One(Type type) { return {std::move(type)}; }

}  // namespace

absl::StatusOr<std::vector<Type>> InferBatchNormalization(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, 5));
  const Type& x = ctx.InType(0);
  if (x.shape.empty()) return ctx.Error("input 0 is a scalar, expected at least 1 dimension");
  const int64_t channels = x.rank() < 2 ? 1 : x.shape[1];
  for (int i = 1; i < 5; ++i) {
    const Shape& shape = ctx.InShape(i);
    if (shape.size() == 1 && (shape[0] == channels || shape[0] == kUnknownDim || channels == kUnknownDim)) continue;
    return ctx.Error(absl::StrCat("input ", i, " is ", TypeString(ctx.InType(i)), ", expected one element for each of ",
                                  channels, " channels of ", TypeString(x)));
  }
  std::vector<Type> outputs(ctx.num_outputs(), Type::Tensor(ctx.InType(3).dtype, {channels}));
  if (!outputs.empty()) outputs[0] = x;
  return outputs;
}

absl::StatusOr<std::vector<Type>> InferEinsum(const OpContext& ctx) {
  if (ctx.num_inputs() == 0) return ctx.Error("found no inputs, expected at least 1");
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, ctx.num_inputs()));
  RS_ASSIGN_OR_RETURN(const EinsumEquation equation, ParseEinsum(ctx));
  Type result = Type::Tensor(ctx.InType(0).dtype, {});
  for (int label : equation.output) result.shape.push_back(equation.labels[label].extent);
  return One(std::move(result));
}

absl::StatusOr<std::vector<Type>> InferSplitToSequence(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, 1));
  const Type& x = ctx.InType(0);
  int64_t axis = ctx.attributes().Int("axis", 0);
  if (axis < -x.rank() || axis >= x.rank()) {
    return ctx.Error(absl::StrCat("found axis ", axis, ", expected one of the ", x.rank(), " dimensions of input 0"));
  }
  axis += axis < 0 ? x.rank() : 0;
  const int64_t dim = x.shape[axis];
  Type result = Sequence(x.dtype, kUnknownDim);
  result.has_shape = true;
  result.shape = x.shape;
  result.shape[axis] = kUnknownDim;
  if (!ctx.HasInput(1)) {
    result.length = dim;
    result.shape[axis] = 1;
    if (ctx.attributes().Int("keepdims", 1) == 0) result.shape.erase(result.shape.begin() + axis);
    return One(std::move(result));
  }
  const Literal* split = ctx.InLiteral(1);
  if (split == nullptr || !split->has_data || split->ints.empty()) return One(std::move(result));
  if (split->shape.empty()) {  // pieces of one size, the last may be smaller
    const int64_t size = split->ints[0];
    if (size <= 0) return ctx.Error(absl::StrCat("input 1 asks for pieces of ", size, ", expected at least 1"));
    if (dim == kUnknownDim) return One(std::move(result));
    result.length = dim / size + (dim % size != 0 ? 1 : 0);
    if (dim % size == 0) result.shape[axis] = size;
    return One(std::move(result));
  }
  result.length = split->size();
  const bool equal =
      std::all_of(split->ints.begin(), split->ints.end(), [&](int64_t v) { return v == split->ints[0]; });
  if (equal && split->ints[0] >= 0) result.shape[axis] = split->ints[0];
  return One(std::move(result));
}

absl::StatusOr<std::vector<Type>> InferSequenceConstruct(const OpContext& ctx) {
  if (ctx.num_inputs() == 0) return ctx.Error("found no inputs, expected at least 1");
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, ctx.num_inputs()));
  Type result = Sequence(ctx.InType(0).dtype, ctx.num_inputs());
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (ctx.InType(i).dtype != result.dtype) {
      return ctx.Error(absl::StrCat("input ", i, " is ", TypeString(ctx.InType(i)), ", expected ",
                                    DTypeName(result.dtype), " as input 0"));
    }
    UnifyElements(ctx.InType(i), i == 0, result);
  }
  return One(std::move(result));
}

absl::StatusOr<std::vector<Type>> InferSequenceEmpty(const OpContext& ctx) {
  const int64_t dtype = ctx.attributes().Int("dtype", static_cast<int64_t>(DType::kFloat32));
  if (dtype <= 0 || dtype >= kNumDTypes)
    return ctx.Error(absl::StrCat("found dtype ", dtype, ", expected one of ONNX's"));
  return One(Sequence(static_cast<DType>(dtype), 0));
}

absl::StatusOr<std::vector<Type>> InferSequenceInsert(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectSequence(ctx));
  if (!ctx.HasInput(1) || !ctx.InType(1).IsTensor()) return ctx.Error("input 1 is no tensor, expected one to insert");
  Type result = ctx.InType(0);
  UnifyElements(ctx.InType(1), result.length == 0, result);
  if (result.length != kUnknownDim && result.length < std::numeric_limits<int64_t>::max()) ++result.length;
  return One(std::move(result));
}

absl::StatusOr<std::vector<Type>> InferSequenceErase(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectSequence(ctx));
  Type result = ctx.InType(0);
  if (result.length == 0) return ctx.Error("input 0 is an empty sequence, expected an element to erase");
  if (result.length != kUnknownDim) --result.length;
  return One(std::move(result));
}

absl::StatusOr<std::vector<Type>> InferConcatFromSequence(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectSequence(ctx));
  const Type& sequence = ctx.InType(0);
  Type result{.form = Type::Form::kTensor, .dtype = sequence.dtype, .has_shape = sequence.has_shape};
  if (!sequence.has_shape) return One(std::move(result));
  result.shape = sequence.shape;
  const bool new_axis = ctx.attributes().Int("new_axis", 0) != 0;
  const int rank = sequence.rank() + (new_axis ? 1 : 0);
  int64_t axis = ctx.attributes().Int("axis", 0);
  if (axis < -rank || axis >= rank) {
    return ctx.Error(absl::StrCat("found axis ", axis, ", expected one of the ", rank, " dimensions of the result"));
  }
  axis += axis < 0 ? rank : 0;
  if (new_axis) {
    result.shape.insert(result.shape.begin() + axis, sequence.length);
    return One(std::move(result));
  }
  int64_t& dim = result.shape[axis];
  if (dim == kUnknownDim || sequence.length == kUnknownDim) {
    dim = kUnknownDim;
    return One(std::move(result));
  }
  const auto total = CheckedMultiply(dim, sequence.length);
  if (!total) return absl::OutOfRangeError(ctx.Error("dimension of the result exceeds int64").message());
  dim = *total;
  return One(std::move(result));
}

}  // namespace reusescope
