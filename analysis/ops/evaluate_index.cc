// Operators that pick, place or search elements by index.

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "analysis/ops/evaluate.h"
#include "analysis/ops/evaluate_util.h"

namespace reusescope {

using evaluate::Known;
using evaluate::NormalizeAxis;
using evaluate::Positions;
using evaluate::Result;
using evaluate::SmallCount;
using evaluate::Strides;
using evaluate::Take;

namespace {

int Rank(const Literal& literal) { return static_cast<int>(literal.shape.size()); }

// An index that may count from the end, or -1 when it is out of range.
int64_t Wrap(int64_t index, int64_t dim) {
  if (index < -dim || index >= dim) return -1;
  return index < 0 ? index + dim : index;
}

bool IsIndex(const Literal* literal) { return literal != nullptr && literal->floats.empty(); }

}  // namespace

std::vector<Literal> EvaluateGather(const OpContext& ctx) {
  const Literal* data = Known(ctx, 0);
  const Literal* indices = Known(ctx, 1);
  if (data == nullptr || !IsIndex(indices)) return {};
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", 0), Rank(*data));
  if (!axis) return {};
  const int64_t dim = data->shape[*axis];
  int64_t outer = 1, inner = 1;
  Shape shape;
  for (int d = 0; d < *axis; ++d) {
    outer *= data->shape[d];
    shape.push_back(data->shape[d]);
  }
  shape.insert(shape.end(), indices->shape.begin(), indices->shape.end());
  for (int d = *axis + 1; d < Rank(*data); ++d) {
    inner *= data->shape[d];
    shape.push_back(data->shape[d]);
  }
  if (!SmallCount(shape)) return {};
  std::vector<int64_t> index;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t given : indices->ints) {
      const int64_t at = Wrap(given, dim);
      if (at < 0) return {};
      for (int64_t i = 0; i < inner; ++i) index.push_back((o * dim + at) * inner + i);
    }
  }
  return Result(Take(*data, shape, index));
}

std::vector<Literal> EvaluateGatherElements(const OpContext& ctx) {
  const Literal* data = Known(ctx, 0);
  const Literal* indices = Known(ctx, 1);
  if (data == nullptr || !IsIndex(indices) || Rank(*data) != Rank(*indices)) return {};
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", 0), Rank(*data));
  if (!axis || !SmallCount(indices->shape)) return {};
  const std::vector<int64_t> strides = Strides(data->shape);
  std::vector<int64_t> index;
  for (Positions p(indices->shape); !p.done(); p.Next()) {
    int64_t source = 0;
    for (int d = 0; d < Rank(*data); ++d) {
      const int64_t at = d == *axis ? Wrap(indices->ints[index.size()], data->shape[d]) : p.at()[d];
      if (at < 0 || at >= data->shape[d]) return {};
      source += at * strides[d];
    }
    index.push_back(source);
  }
  return Result(Take(*data, indices->shape, index));
}

namespace {

// Of an index tensor [..., k] into data of shape [b..., d0, ..., dk-1, rest...]: for each tuple the first element of
// the slice that it names; empty when an index is out of range or shapes clash.
struct TupleIndex {
  std::vector<int64_t> base;
  int64_t run = 1;  // elements of a slice
  Shape slice;
  bool ok = false;
};

TupleIndex ResolveTuples(const Shape& data, const Literal& indices, int batch) {
  TupleIndex result;
  if (indices.shape.empty() || batch < 0 || batch >= static_cast<int>(indices.shape.size())) return result;
  const int64_t k = indices.shape.back();
  if (k < 1 || batch + k > static_cast<int64_t>(data.size())) return result;
  const std::vector<int64_t> strides = Strides(data);
  result.slice.assign(data.begin() + batch + k, data.end());
  const auto run = SmallCount(result.slice);
  if (!run) return result;
  result.run = *run;
  int64_t batches = 1;
  for (int d = 0; d < batch; ++d) {
    if (data[d] != indices.shape[d]) return result;
    batches *= data[d];
  }
  const int64_t tuples = indices.size() / k;
  for (int64_t t = 0; t < tuples; ++t) {
    int64_t base = batch == 0 ? 0 : t / (tuples / batches) * strides[batch - 1];
    for (int64_t i = 0; i < k; ++i) {
      const int64_t at = Wrap(indices.ints[t * k + i], data[batch + i]);
      if (at < 0) return result;
      base += at * strides[batch + i];
    }
    result.base.push_back(base);
  }
  result.ok = true;
  return result;
}

// One element of `updates` written into `data`; false when the sum or product overflows.
bool Combine(absl::string_view reduction, const Literal& updates, int64_t from, int64_t to, Literal& data) {
  if (data.ints.empty()) {
    double& target = data.floats[to];
    const double value = updates.floats[from];
    target = reduction == "add"   ? target + value
             : reduction == "mul" ? target * value
             : reduction == "max" ? std::max(target, value)
             : reduction == "min" ? std::min(target, value)
                                  : value;
    return true;
  }
  int64_t& target = data.ints[to];
  const int64_t value = updates.ints[from];
  if (reduction == "add") return !__builtin_add_overflow(target, value, &target);
  if (reduction == "mul") return !__builtin_mul_overflow(target, value, &target);
  target = reduction == "max" ? std::max(target, value) : reduction == "min" ? std::min(target, value) : value;
  return true;
}

}  // namespace

std::vector<Literal> EvaluateGatherND(const OpContext& ctx) {
  const Literal* data = Known(ctx, 0);
  const Literal* indices = Known(ctx, 1);
  if (data == nullptr || !IsIndex(indices)) return {};
  const int64_t batch = ctx.attributes().Int("batch_dims", 0);
  if (batch < 0 || batch > Rank(*data)) return {};
  const TupleIndex tuples = ResolveTuples(data->shape, *indices, static_cast<int>(batch));
  if (!tuples.ok) return {};
  Shape shape(indices->shape.begin(), indices->shape.end() - 1);
  shape.insert(shape.end(), tuples.slice.begin(), tuples.slice.end());
  if (!SmallCount(shape)) return {};
  std::vector<int64_t> index;
  for (int64_t base : tuples.base) {
    for (int64_t i = 0; i < tuples.run; ++i) index.push_back(base + i);
  }
  return Result(Take(*data, shape, index));
}

std::vector<Literal> EvaluateScatterND(const OpContext& ctx) {
  const Literal* data = Known(ctx, 0);
  const Literal* indices = Known(ctx, 1);
  const Literal* updates = Known(ctx, 2);
  if (data == nullptr || !IsIndex(indices) || updates == nullptr || updates->dtype != data->dtype) return {};
  const TupleIndex tuples = ResolveTuples(data->shape, *indices, 0);
  if (!tuples.ok || updates->size() != static_cast<int64_t>(tuples.base.size()) * tuples.run) return {};
  const absl::string_view reduction = ctx.attributes().String("reduction", "none");
  Literal result = *data;
  for (size_t t = 0; t < tuples.base.size(); ++t) {
    for (int64_t i = 0; i < tuples.run; ++i) {
      const auto from = static_cast<int64_t>(t) * tuples.run + i;
      if (!Combine(reduction, *updates, from, tuples.base[t] + i, result)) return {};
    }
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateScatterElements(const OpContext& ctx) {
  const Literal* data = Known(ctx, 0);
  const Literal* indices = Known(ctx, 1);
  const Literal* updates = Known(ctx, 2);
  if (data == nullptr || !IsIndex(indices) || updates == nullptr || updates->dtype != data->dtype) return {};
  if (updates->shape != indices->shape || Rank(*data) != Rank(*indices)) return {};
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", 0), Rank(*data));
  if (!axis || !SmallCount(indices->shape)) return {};
  const absl::string_view reduction = ctx.attributes().String("reduction", "none");
  const std::vector<int64_t> strides = Strides(data->shape);
  Literal result = *data;
  int64_t from = 0;
  for (Positions p(indices->shape); !p.done(); p.Next(), ++from) {
    int64_t to = 0;
    for (int d = 0; d < Rank(*data); ++d) {
      const int64_t at = d == *axis ? Wrap(indices->ints[from], data->shape[d]) : p.at()[d];
      if (at < 0 || at >= data->shape[d]) return {};
      to += at * strides[d];
    }
    if (!Combine(reduction, *updates, from, to, result)) return {};
  }
  return Result(std::move(result));
}

std::vector<Literal> EvaluateOneHot(const OpContext& ctx) {
  const Literal* indices = Known(ctx, 0);
  const Literal* depth = Known(ctx, 1);
  const Literal* values = Known(ctx, 2);
  if (!IsIndex(indices) || !IsIndex(depth) || depth->size() != 1 || values == nullptr || values->size() != 2) return {};
  const int64_t classes = depth->ints[0];
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", -1), Rank(*indices) + 1);
  if (!axis || classes < 0 || classes > kMaxLiteralElements) return {};
  Shape shape = indices->shape;
  shape.insert(shape.begin() + *axis, classes);
  if (!SmallCount(shape)) return {};
  const std::vector<int64_t> strides = Strides(indices->shape);
  std::vector<int64_t> index;
  for (Positions p(shape); !p.done(); p.Next()) {
    int64_t source = 0;
    for (int d = 0, from = 0; d < static_cast<int>(shape.size()); ++d) {
      if (d != *axis) source += p.at()[d] * strides[from++];
    }
    index.push_back(Wrap(indices->ints[source], classes) == p.at()[*axis] ? 1 : 0);
  }
  return Result(Take(*values, shape, index));
}

std::vector<Literal> EvaluateNonZero(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || input->shape.empty() || !SmallCount(input->shape)) return {};
  std::vector<std::vector<int64_t>> found(input->shape.size());
  int64_t at = 0;
  for (Positions p(input->shape); !p.done(); p.Next(), ++at) {
    if (input->AsDouble(at) == 0) continue;
    for (size_t d = 0; d < found.size(); ++d) found[d].push_back(p.at()[d]);
  }
  Literal result = Literal::Ints({static_cast<int64_t>(found.size()), static_cast<int64_t>(found[0].size())}, {});
  for (const auto& row : found) result.ints.insert(result.ints.end(), row.begin(), row.end());
  return Result(std::move(result));
}

std::vector<Literal> EvaluateCompress(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  const Literal* condition = Known(ctx, 1);
  if (input == nullptr || !IsIndex(condition) || condition->shape.size() != 1) return {};
  const bool flat = !ctx.attributes().Has("axis");
  const std::optional<int> axis = flat ? 0 : NormalizeAxis(ctx.attributes().Int("axis", 0), Rank(*input));
  if (!axis) return {};
  const Shape shape = flat ? Shape{input->size()} : input->shape;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < std::min(shape[*axis], condition->size()); ++i) {
    if (condition->ints[i] != 0) kept.push_back(i);
  }
  Shape result = shape;
  result[*axis] = static_cast<int64_t>(kept.size());
  if (!SmallCount(result)) return {};
  const std::vector<int64_t> strides = Strides(shape);
  std::vector<int64_t> index;
  for (Positions p(result); !p.done(); p.Next()) {
    int64_t source = 0;
    for (size_t d = 0; d < result.size(); ++d) {
      source += (static_cast<int>(d) == *axis ? kept[p.at()[d]] : p.at()[d]) * strides[d];
    }
    index.push_back(source);
  }
  return Result(Take(*input, result, index));
}

std::vector<Literal> EvaluateTopK(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  const auto k = evaluate::IntsOf(ctx, 1, "");
  if (input == nullptr || !k || input->shape.empty() || ctx.num_outputs() != 2) return {};
  if (k->empty() && !ctx.attributes().Has("k")) return {};
  const int64_t count = k->empty() ? ctx.attributes().Int("k", 0) : (*k)[0];
  const std::optional<int> axis = NormalizeAxis(ctx.attributes().Int("axis", -1), Rank(*input));
  if (!axis || count < 0 || count > input->shape[*axis] || !SmallCount(input->shape)) return {};
  // An order with NaN in it is no order.
  if (std::any_of(input->floats.begin(), input->floats.end(), [](double v) { return std::isnan(v); })) return {};
  const bool largest = ctx.attributes().Int("largest", 1) != 0;
  const int64_t dim = input->shape[*axis], stride = Strides(input->shape)[*axis];
  Literal values{.dtype = input->dtype, .shape = input->shape};
  values.shape[*axis] = count;
  Literal indices{.dtype = DType::kInt64, .shape = values.shape};
  std::vector<int64_t> source(SmallCount(values.shape).value_or(0));
  indices.ints.resize(source.size());
  const int64_t rows = dim == 0 ? 0 : input->size() / dim;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t first = row / stride * stride * dim + row % stride;
    std::vector<int64_t> order(dim);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      const double x = input->AsDouble(first + a * stride), y = input->AsDouble(first + b * stride);
      return largest ? x > y : x < y;
    });
    for (int64_t i = 0; i < count; ++i) {
      const int64_t to = row / stride * stride * count + i * stride + row % stride;
      source[to] = first + order[i] * stride;
      indices.ints[to] = order[i];
    }
  }
  auto outputs = Result(Take(*input, values.shape, source));
  auto positions = Result(std::move(indices));
  if (outputs.empty() || positions.empty()) return {};
  outputs.push_back(std::move(positions[0]));
  return outputs;
}

std::vector<Literal> EvaluateUnique(const OpContext& ctx) {
  const Literal* input = Known(ctx, 0);
  if (input == nullptr || !input->floats.empty() || ctx.attributes().Has("axis")) return {};
  const bool sorted = ctx.attributes().Int("sorted", 1) != 0;
  std::map<int64_t, int64_t> first_seen;
  for (int64_t i = 0; i < input->size(); ++i) first_seen.emplace(input->ints[i], i);
  std::vector<std::pair<int64_t, int64_t>> unique(first_seen.begin(), first_seen.end());
  if (!sorted) std::sort(unique.begin(), unique.end(), [](auto& a, auto& b) { return a.second < b.second; });
  std::map<int64_t, int64_t> position;
  const auto count = static_cast<int64_t>(unique.size());
  Literal values{.dtype = input->dtype, .shape = {count}, .has_data = true};
  Literal indices = Literal::Ints({count}, {});
  for (const auto& [value, index] : unique) {
    position.emplace(value, values.size());
    values.ints.push_back(value);
    indices.ints.push_back(index);
  }
  Literal inverse = Literal::Ints({input->size()}, {});
  Literal counts = Literal::Ints({count}, std::vector<int64_t>(count, 0));
  for (int64_t value : input->ints) {
    inverse.ints.push_back(position[value]);
    ++counts.ints[position[value]];
  }
  std::vector<Literal> outputs = {std::move(values), std::move(indices), std::move(inverse), std::move(counts)};
  outputs.resize(std::min<size_t>(outputs.size(), ctx.num_outputs()));
  return outputs;
}

}  // namespace reusescope
