#include "analysis/ops/contrib_util.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/nest.h"

namespace reusescope {

absl::Status ExpectRank(const OpContext& ctx, int i, int least, int most) {
  if (!ctx.HasInput(i)) return ctx.Error(absl::StrCat("input ", i, " is missing, expected a tensor"));
  const Type& type = ctx.InType(i);
  if (type.IsTensor() && type.has_shape && type.rank() >= least && type.rank() <= most) return absl::OkStatus();
  return ctx.Error(absl::StrCat("input ", i, " is ", TypeString(type), ", expected a tensor of ",
                                least == most ? absl::StrCat(least) : absl::StrCat("at least ", least), " dimensions"));
}

absl::StatusOr<Shape> BroadcastShapes(const OpContext& ctx, const Shape& a, const Shape& b) {
  Shape result(std::max(a.size(), b.size()), 1);
  for (size_t d = 0; d < result.size(); ++d) {
    const int64_t x = d < a.size() ? a[a.size() - 1 - d] : 1, y = d < b.size() ? b[b.size() - 1 - d] : 1;
    if (x != y && x != 1 && y != 1) {
      return ctx.Error(
          absl::StrCat("found ", ShapeString(a), " and ", ShapeString(b), ", expected shapes that broadcast"));
    }
    result[result.size() - 1 - d] = x == 1 ? y : x;
  }
  return result;
}

absl::StatusOr<Shape> ProductShape(const OpContext& ctx, Shape a, Shape b) {
  const bool row = a.size() == 1, column = b.size() == 1;
  if (row) a.insert(a.begin(), 1);
  if (column) b.push_back(1);
  if (a.size() < 2 || b.size() < 2 || a.back() != b[b.size() - 2]) {
    return ctx.Error(
        absl::StrCat("found ", ShapeString(a), " and ", ShapeString(b), ", expected matrices that multiply"));
  }
  const Shape leading_a(a.begin(), a.end() - 2), leading_b(b.begin(), b.end() - 2);
  RS_ASSIGN_OR_RETURN(Shape result, BroadcastShapes(ctx, leading_a, leading_b));
  if (!row) result.push_back(a[a.size() - 2]);
  if (!column) result.push_back(b.back());
  return result;
}

std::vector<Type> First(const OpContext& ctx, Type type) {
  std::vector<Type> types(std::max(ctx.num_outputs(), 1));
  types[0] = std::move(type);
  return types;
}

absl::StatusOr<std::vector<Type>> InferFirstLikeInput(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  return First(ctx, ctx.InType(0));
}

absl::StatusOr<std::vector<Type>> InferAllLikeInput(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  return std::vector<Type>(std::max(ctx.num_outputs(), 1), ctx.InType(0));
}

Attributes WithoutActivation(const OpContext& ctx) {
  Attributes attributes = ctx.attributes();
  for (const auto& [name, value] : ctx.attributes()) {
    if (absl::StartsWith(name, "activation")) attributes.Erase(name);
  }
  return attributes;
}

namespace {

ValueId EmitNamed(LowerContext& ctx, AttentionBuilder& build, absl::string_view type, ValueId x) {
  const Attributes given = ctx.node().attributes();
  const absl::Span<const double> list = given.Floats("activation_params");
  std::vector<double> parameters(list.begin(), list.end());
  for (absl::string_view name : {"activation_alpha", "activation_beta"}) {
    if (given.Has(name)) parameters.push_back(given.Float(name, 0));
  }
  if (type == "Clip") {
    std::vector<ValueId> bounds;
    for (double bound : parameters) {
      bounds.push_back(build.Scalar(absl::StrCat("bound", bounds.size()), bound, build.DTypeOf(x)));
    }
    return build.Like(type, x, bounds);
  }
  Attributes attributes;
  if (!parameters.empty()) attributes.Set("alpha", parameters[0]);
  if (parameters.size() > 1) attributes.Set("beta", parameters[1]);
  return build.Like(type, x, {}, std::move(attributes));
}

}  // namespace

absl::StatusOr<ValueId> EmitActivation(LowerContext& ctx, AttentionBuilder& build, absl::string_view name, ValueId x) {
  if (name.empty() || name == "none" || name == "identity") return x;
  constexpr std::pair<absl::string_view, absl::string_view> kNames[] = {
      {"relu", "Relu"},
      {"leakyrelu", "LeakyRelu"},
      {"tanh", "Tanh"},
      {"sigmoid", "Sigmoid"},
      {"silu", "Swish"},
      {"swish", "Swish"},
      {"gelu", "Gelu"},
      {"clip", "Clip"},
      {"hardsigmoid", "HardSigmoid"},
      {"elu", "Elu"},
      {"selu", "Selu"},
      {"softplus", "Softplus"},
      {"hardswish", "HardSwish"},
      {"thresholdedrelu", "ThresholdedRelu"},
      {"softsign", "Softsign"},
      {"abs", "Abs"},
  };
  const std::string lower = absl::AsciiStrToLower(name);
  for (const auto& [key, type] : kNames) {
    if (key == lower) return EmitNamed(ctx, build, type, x);
  }
  return ctx.node().Error(absl::StrCat("found activation '", name, "', expected one that is known"));
}

std::vector<int64_t> ToChannelsFirst(int rank) {
  std::vector<int64_t> perm = {0, rank - 1};
  for (int d = 1; d < rank - 1; ++d) perm.push_back(d);
  return perm;
}

std::vector<int64_t> ToChannelsLast(int rank) {
  std::vector<int64_t> perm = {0};
  for (int d = 2; d < rank; ++d) perm.push_back(d);
  perm.push_back(1);
  return perm;
}

Shape ChannelsFirst(const Shape& image) {
  Shape shape = {image[0], image.back()};
  shape.insert(shape.end(), image.begin() + 1, image.end() - 1);
  return shape;
}

Shape ChannelsLast(const Shape& image) {
  Shape shape = {image[0]};
  shape.insert(shape.end(), image.begin() + 2, image.end());
  shape.push_back(image[1]);
  return shape;
}

namespace {

// That arithmetic on windows cannot overflow: no attribute of one is beyond 31 bits, no window and step below 1.
absl::Status CheckWindow(const OpContext& ctx) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  for (absl::string_view name : {"kernel_shape", "strides", "dilations", "pads"}) {
    for (int64_t value : ctx.attributes().Ints(name)) {
      if (value >= (name == "pads" ? -kMost : 1) && value <= kMost) continue;
      return ctx.Error(absl::StrCat("found ", value, " in ", name, ", expected ",
                                    name == "pads" ? "a number of 31 bits" : "a positive number of 31 bits"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Shape> ConvolvedShape(const OpContext& ctx, const Shape& x, const Shape& w) {
  RS_RETURN_IF_ERROR(CheckWindow(ctx));
  Shape y = {x[0], w[0]};
  const auto strides = ctx.attributes().Ints("strides"), dilations = ctx.attributes().Ints("dilations"),
             pads = ctx.attributes().Ints("pads");
  const absl::string_view auto_pad = ctx.attributes().String("auto_pad", "NOTSET");
  const size_t spatial = x.size() - 2;
  for (size_t d = 0; d < spatial; ++d) {
    const int64_t stride = d < strides.size() ? strides[d] : 1, dilation = d < dilations.size() ? dilations[d] : 1;
    const int64_t pad = pads.size() == 2 * spatial ? pads[d] + pads[d + spatial] : 0;
    RS_ASSIGN_OR_RETURN(const int64_t reach, Times(ctx, "positions", {w[d + 2] - 1, dilation}));
    const int64_t room = x[d + 2] + pad - reach - 1;
    const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
    if (stride < 1 || (!same && room < 0)) {
      return ctx.Error(absl::StrCat("window ", ShapeString(w), " does not fit into ", ShapeString(x)));
    }
    y.push_back(same ? (x[d + 2] + stride - 1) / stride : room / stride + 1);
  }
  return y;
}

absl::StatusOr<std::vector<Type>> PoolTypes(const OpContext& ctx, size_t first) {
  RS_RETURN_IF_ERROR(CheckWindow(ctx));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 3));
  const auto window = ctx.attributes().Ints("kernel_shape"), strides = ctx.attributes().Ints("strides"),
             pads = ctx.attributes().Ints("pads"), dilations = ctx.attributes().Ints("dilations");
  const size_t spatial = ctx.InShape(0).size() - 2;
  if (window.size() != spatial) {
    return ctx.Error(absl::StrCat("kernel_shape has ", window.size(), " dimensions, expected ", spatial));
  }
  const bool ceil = ctx.attributes().Int("ceil_mode", 0) != 0;
  const absl::string_view auto_pad = ctx.attributes().String("auto_pad", "NOTSET");
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  Type type = ctx.InType(0);
  for (size_t d = 0; d < spatial; ++d) {
    const int64_t stride = std::max<int64_t>(d < strides.size() ? strides[d] : 1, 1);
    const int64_t dilation = std::max<int64_t>(d < dilations.size() ? dilations[d] : 1, 1);
    const int64_t before = pads.size() == 2 * spatial ? pads[d] : 0;
    const int64_t pad = before + (pads.size() == 2 * spatial ? pads[d + spatial] : 0);
    int64_t& extent = type.shape[first + d];
    const int64_t room = std::max<int64_t>(extent + pad - (window[d] - 1) * dilation - 1, 0);
    int64_t count = same ? (extent + stride - 1) / stride : (room + (ceil ? stride - 1 : 0)) / stride + 1;
    // A window that begins behind the image is none.
    if (ceil && !same && count > 1 && (count - 1) * stride >= extent + before) --count;
    extent = count;
  }
  return First(ctx, std::move(type));
}

absl::StatusOr<Kernel> WindowKernel(const OpContext& ctx) {
  Kernel kernel{.flops_per_point = std::max<int64_t>(ctx.semantics().flops, 1)};
  AddLoop(kernel, 'i', ctx.OutElements(0));
  for (int64_t extent : ctx.attributes().Ints("kernel_shape")) AddLoop(kernel, 'r', extent);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<int64_t> Times(const OpContext& ctx, absl::string_view what, std::initializer_list<int64_t> factors) {
  std::optional<int64_t> product = 1;
  for (int64_t factor : factors) {
    if (product) product = CheckedMultiply(*product, factor);
  }
  if (product) return *product;
  return absl::OutOfRangeError(ctx.Error(absl::StrCat("number of ", what, " exceeds int64")).message());
}

absl::StatusOr<int64_t> Sum(const OpContext& ctx, int64_t a, int64_t b) {
  if (const auto sum = CheckedAdd(a, b)) return *sum;
  return absl::OutOfRangeError(ctx.Error(absl::StrCat(a, " + ", b, " exceeds int64")).message());
}

absl::StatusOr<Kernel> WholeProductKernel(const OpContext& ctx, int64_t m, int64_t n, int64_t k) {
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  AddLoop(kernel, 'm', m);
  AddLoop(kernel, 'n', n);
  AddLoop(kernel, 'k', k);
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

}  // namespace reusescope
