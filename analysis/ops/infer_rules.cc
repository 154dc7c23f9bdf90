#include "analysis/ops/infer_rules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/einsum.h"

namespace reusescope {
namespace {

// Bounds strides, dilations and pads, so that sums and products of few of them fit.
constexpr int64_t kMaxWindow = int64_t{1} << 40;

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

namespace {

// Attribute `name`, one number for each of `count` spatial dimensions.
absl::StatusOr<std::vector<int64_t>> Spatial(const OpContext& ctx, absl::string_view name, size_t count,
                                             int64_t default_value, int64_t least) {
  const absl::Span<const int64_t> given = ctx.attributes().Ints(name);
  std::vector<int64_t> values(count, default_value);
  if (!given.empty()) values.assign(given.begin(), given.end());
  if (values.size() != count) {
    return ctx.Error(absl::StrCat("attribute '", name, "' has ", values.size(), " entries, expected ", count));
  }
  for (int64_t value : values) {
    if (value < least || value > kMaxWindow) {
      return ctx.Error(
          absl::StrCat("found ", value, " in attribute '", name, "', expected ", least, " to ", kMaxWindow));
    }
  }
  return values;
}

// C of X is group times C of W, K is divisible by group, one bias per K.
absl::Status CheckConvChannels(const OpContext& ctx) {
  const Shape& x = ctx.InShape(0);
  const Shape& w = ctx.InShape(1);
  const int64_t group = ctx.attributes().Int("group", 1);
  if (group < 1) return ctx.Error(absl::StrCat("found group ", group, ", expected at least 1"));
  if (x[1] == kUnknownDim || w[0] == kUnknownDim || w[1] == kUnknownDim) return absl::OkStatus();
  if (x[1] % group != 0 || w[1] != x[1] / group) {
    return ctx.Error(absl::StrCat("input 1 has ", w[1], " channels, expected ", x[1], " of input 0 over ", group,
                                  group == 1 ? " group" : " groups"));
  }
  if (w[0] % group != 0) {
    return ctx.Error(absl::StrCat("input 1 has ", w[0], " filters, expected a multiple of ", group, " groups"));
  }
  if (!ctx.HasInput(2) || !ctx.InType(2).IsResolved()) return absl::OkStatus();
  if (ctx.InShape(2) == Shape{w[0]}) return absl::OkStatus();
  return ctx.Error(
      absl::StrCat("input 2 is ", TypeString(ctx.InType(2)), ", expected one bias for each of ", w[0], " filters"));
}

}  // namespace

absl::StatusOr<std::vector<Type>> InferConv(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, 2));
  const Shape& x = ctx.InShape(0);
  const Shape& w = ctx.InShape(1);
  if (x.size() < 3 || w.size() != x.size()) {
    return ctx.Error(absl::StrCat("input 0 is ", TypeString(ctx.InType(0)), " and input 1 ", TypeString(ctx.InType(1)),
                                  ", expected equal ranks of at least 3"));
  }
  if (ctx.InType(0).dtype != ctx.InType(1).dtype) {
    return ctx.Error(absl::StrCat("input 1 is ", TypeString(ctx.InType(1)), ", expected ",
                                  DTypeName(ctx.InType(0).dtype), " as input 0"));
  }
  RS_RETURN_IF_ERROR(CheckConvChannels(ctx));
  const size_t spatial = x.size() - 2;
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> strides, Spatial(ctx, "strides", spatial, 1, 1));
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> dilations, Spatial(ctx, "dilations", spatial, 1, 1));
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> pads, Spatial(ctx, "pads", 2 * spatial, 0, -kMaxWindow));
  const absl::string_view auto_pad = ctx.attributes().String("auto_pad", "NOTSET");
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  const bool padded = auto_pad != "VALID" && !same;
  const absl::Span<const int64_t> kernel = ctx.attributes().Ints("kernel_shape");
  Type y = Type::Tensor(ctx.InType(0).dtype, {x[0], w[0]});
  for (size_t d = 0; d < spatial; ++d) {
    const int64_t in = x[2 + d], window = w[2 + d];
    if (d < kernel.size() && window != kUnknownDim && kernel[d] != window) {
      return ctx.Error(absl::StrCat("attribute 'kernel_shape' is ", ShapeString(kernel),
                                    ", expected the window of input 1, ",
                                    ShapeString(absl::MakeConstSpan(w).subspan(2))));
    }
    if (in == kUnknownDim || window == kUnknownDim) {
      y.shape.push_back(kUnknownDim);
      continue;
    }
    if (same) {
      y.shape.push_back(in / strides[d] + (in % strides[d] != 0 ? 1 : 0));
      continue;
    }
    const auto reach = CheckedMultiply(window - 1, dilations[d]);
    const auto room = CheckedAdd(in, padded ? pads[d] + pads[spatial + d] : 0);
    if (!reach || !room || *room <= *reach || window < 1) {
      return ctx.Error(absl::StrCat("window ", window, " with dilation ", dilations[d], " is larger than dimension ",
                                    2 + d, " of input 0, ", TypeString(ctx.InType(0)), ", with its padding"));
    }
    y.shape.push_back((*room - *reach - 1) / strides[d] + 1);
  }
  return One(std::move(y));
}

namespace {

// Positions of a window of `reach` elements over `in`, which it fits into.
int64_t PoolPositions(int64_t in, int64_t reach, int64_t stride, int64_t begin, int64_t end, bool ceil) {
  const int64_t room = in + begin + end - reach;
  const int64_t positions = (room + (ceil ? stride - 1 : 0)) / stride + 1;
  return ceil && (positions - 1) * stride >= in + begin ? positions - 1 : positions;
}

}  // namespace

absl::StatusOr<std::vector<Type>> InferPool(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, 1));
  Type y = ctx.InType(0);
  if (y.rank() < 3) return ctx.Error(absl::StrCat("input 0 is ", TypeString(y), ", expected at least 3 dimensions"));
  const size_t spatial = y.shape.size() - 2;
  if (!ctx.attributes().Has("kernel_shape")) return ctx.Error("attribute 'kernel_shape' is missing, expected it");
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> window, Spatial(ctx, "kernel_shape", spatial, 1, 1));
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> strides, Spatial(ctx, "strides", spatial, 1, 1));
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> dilations, Spatial(ctx, "dilations", spatial, 1, 1));
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> pads, Spatial(ctx, "pads", 2 * spatial, 0, 0));
  const absl::string_view auto_pad = ctx.attributes().String("auto_pad", "NOTSET");
  const bool same = !ctx.attributes().Has("pads") && (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER");
  const bool ceil = ctx.attributes().Int("ceil_mode", 0) != 0;
  for (size_t d = 0; d < spatial; ++d) {
    int64_t& extent = y.shape[2 + d];
    if (extent == kUnknownDim) continue;
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 8;  // sums of them fit
    const auto reach = CheckedMultiply(window[d] - 1, dilations[d]);
    if (!reach || std::max({extent, *reach, strides[d], pads[d], pads[spatial + d]}) > kMost) {
      return absl::OutOfRangeError(ctx.Error("positions of the window exceed int64").message());
    }
    if (!same && extent + pads[d] + pads[spatial + d] <= *reach) {
      return ctx.Error(absl::StrCat("window ", window[d], " with dilation ", dilations[d], " is larger than dimension ",
                                    2 + d, " of ", TypeString(ctx.InType(0)), " with its padding"));
    }
    extent = same ? (extent + strides[d] - 1) / strides[d]
                  : PoolPositions(extent, *reach + 1, strides[d], pads[d], pads[spatial + d], ceil);
  }
  std::vector<Type> outputs(ctx.num_outputs(), y);
  if (outputs.size() > 1) outputs[1].dtype = DType::kInt64;
  return outputs;
}

absl::StatusOr<std::vector<Type>> InferRange(const OpContext& ctx) {
  const int operands = ctx.HasInput(2) ? 3 : 2;  // com.microsoft's may do without a step, which is 1 then
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, operands));
  bool known = true;
  for (int i = 0; i < operands; ++i) {
    const Type& type = ctx.InType(i);
    const bool one = std::all_of(type.shape.begin(), type.shape.end(), [](int64_t dim) { return dim == 1; });
    if (!one || type.dtype != ctx.InType(0).dtype) {
      return ctx.Error(
          absl::StrCat("input ", i, " is ", TypeString(type), ", expected one ", DTypeName(ctx.InType(0).dtype)));
    }
    const Literal* literal = ctx.InLiteral(i);
    known = known && literal != nullptr && literal->has_data && literal->size() == 1 && literal->strings.empty();
  }
  Type range = Type::Tensor(ctx.InType(0).dtype, {kUnknownDim});
  if (!known) return One(std::move(range));
  const Literal &start = *ctx.InLiteral(0), &limit = *ctx.InLiteral(1);
  const Literal one =
      start.floats.empty() ? Literal::Ints({}, {1}, start.dtype) : Literal::Floats({}, {1}, start.dtype);
  const Literal& delta = operands == 3 ? *ctx.InLiteral(2) : one;
  if (delta.AsDouble(0) == 0) return ctx.Error("input 2 (delta) is 0, expected a step");
  if (start.floats.empty()) {
    int64_t distance;
    const int64_t step = delta.ints[0];
    if (__builtin_sub_overflow(limit.ints[0], start.ints[0], &distance) ||
        step == std::numeric_limits<int64_t>::min()) {
      return absl::OutOfRangeError(ctx.Error("number of elements exceeds int64").message());
    }
    const bool empty = distance == 0 || (distance > 0) != (step > 0);
    range.shape[0] = empty ? 0 : distance / step + (distance % step != 0 ? 1 : 0);
    return One(std::move(range));
  }
  // As runtimes do it: the distance in the type of the operands, the rest in double.
  double distance = limit.floats[0] - start.floats[0];
  if (start.dtype != DType::kFloat64) distance = static_cast<float>(distance);
  const double count = std::ceil(distance / delta.floats[0]);
  if (!(count < 9223372036854775808.0)) {
    return absl::OutOfRangeError(ctx.Error("number of elements exceeds int64").message());
  }
  range.shape[0] = count > 0 ? static_cast<int64_t>(count) : 0;
  return One(std::move(range));
}

absl::StatusOr<std::vector<Type>> InferCompress(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, 2));
  const Type& x = ctx.InType(0);
  const Literal* condition = ctx.InLiteral(1);
  int64_t kept = kUnknownDim;
  if (condition != nullptr && condition->has_data && condition->dtype == DType::kBool) {
    kept = std::count(condition->ints.begin(), condition->ints.end(), 1);
  }
  if (!ctx.attributes().Has("axis")) return One(Type::Tensor(x.dtype, {kept}));
  int64_t axis = ctx.attributes().Int("axis", 0);
  if (axis < -x.rank() || axis >= x.rank()) {
    return ctx.Error(absl::StrCat("found axis ", axis, ", expected one of the ", x.rank(), " dimensions of input 0"));
  }
  Type result = x;
  result.shape[axis + (axis < 0 ? x.rank() : 0)] = kept;
  return One(std::move(result));
}

absl::StatusOr<std::vector<Type>> InferMaxUnpool(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, 2));
  const Shape& x = ctx.InShape(0);
  if (x.size() < 3 || ctx.InShape(1) != x) {
    return ctx.Error(absl::StrCat("inputs are ", TypeString(ctx.InType(0)), " and ", TypeString(ctx.InType(1)),
                                  ", expected equal shapes of rank 3 or more"));
  }
  Type y = Type::Tensor(ctx.InType(0).dtype, {});
  if (ctx.HasInput(2)) {
    const Literal* shape = ctx.InLiteral(2);
    y.shape.assign(x.size(), kUnknownDim);
    if (shape != nullptr && shape->ints.size() == x.size()) y.shape.assign(shape->ints.begin(), shape->ints.end());
    for (int64_t& dim : y.shape) {
      if (dim < kUnknownDim)
        return ctx.Error(absl::StrCat("input 2 asks for dimension ", dim, ", expected no negative one"));
    }
    return One(std::move(y));
  }
  const size_t spatial = x.size() - 2;
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> kernel, Spatial(ctx, "kernel_shape", spatial, 1, 1));
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> strides, Spatial(ctx, "strides", spatial, 1, 1));
  RS_ASSIGN_OR_RETURN(const std::vector<int64_t> pads, Spatial(ctx, "pads", 2 * spatial, 0, 0));
  y.shape = {x[0], x[1]};
  for (size_t d = 0; d < spatial; ++d) {
    const int64_t in = x[2 + d];
    const auto spread = in < 1 ? std::nullopt : CheckedMultiply(in - 1, strides[d]);
    const auto size = spread ? CheckedAdd(*spread, kernel[d] - pads[d] - pads[spatial + d]) : std::nullopt;
    if (in != kUnknownDim && (!size || *size < 0)) {
      return ctx.Error(absl::StrCat("dimension ", 2 + d, " of the result is not a number, expected one"));
    }
    y.shape.push_back(size.value_or(kUnknownDim));
  }
  return One(std::move(y));
}

absl::StatusOr<std::vector<Type>> InferLikeInput(const OpContext& ctx) {
  if (!ctx.HasInput(0)) return ctx.Error("input 0 is missing, expected a value");
  return One(ctx.InType(0));
}

absl::StatusOr<std::vector<Type>> InferOptionalGetElement(const OpContext& ctx) {
  if (!ctx.HasInput(0)) return ctx.Error("input 0 is omitted, expected a value");
  Type type = ctx.InType(0);
  if (type.form == Type::Form::kOptional) type.form = Type::Form::kTensor;
  return One(std::move(type));
}

absl::StatusOr<std::vector<Type>> InferDropout(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectTensors(ctx, 1));
  std::vector<Type> outputs(ctx.num_outputs(), ctx.InType(0));
  if (outputs.size() > 1 && ctx.version() >= 10) outputs[1].dtype = DType::kBool;
  return outputs;
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
