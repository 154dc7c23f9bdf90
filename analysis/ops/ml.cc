// ai.onnx.ml: shapes, and what inference computes. Nothing here is trained by gradients.
//
//   Scaler, Normalizer, Imputer, Binarizer, encoders    a few FLOPs an element
//   LinearClassifier, LinearRegressor                   one MAC for each feature and class
//   SVMClassifier, SVMRegressor                         one MAC for each feature and support vector
//   tree ensembles                                      at most one comparison for each inner node
//
// A row vector [C] counts as [1, C]. Source: ONNX's docs/Operators-ml.md.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "analysis/ops/contrib_util.h"
#include "analysis/ops/kernels.h"
#include "analysis/ops/nest.h"

namespace reusescope {
namespace {

constexpr absl::string_view kMl = "ai.onnx.ml";
constexpr absl::string_view kNotTrained = "not trained by gradients";

int64_t Rows(const OpContext& ctx) { return ctx.InShape(0).size() < 2 ? 1 : ctx.InShape(0)[0]; }
int64_t Features(const OpContext& ctx) { return ctx.InElements(0) / std::max<int64_t>(Rows(ctx), 1); }

int64_t Strings(const OpContext& ctx, absl::string_view name) {
  const Attribute* attribute = ctx.attributes().Find(name);
  const auto* strings = attribute == nullptr ? nullptr : std::get_if<std::vector<std::string>>(attribute);
  return strings == nullptr ? 0 : static_cast<int64_t>(strings->size());
}

// Number of labels and whether they are strings: classlabels_strings, or integers under either spelling.
int64_t Labels(const OpContext& ctx) {
  const int64_t strings = Strings(ctx, "classlabels_strings");
  if (strings > 0) return strings;
  const auto ints = ctx.attributes().Ints("classlabels_ints"), int64s = ctx.attributes().Ints("classlabels_int64s");
  return std::max<int64_t>(static_cast<int64_t>(std::max(ints.size(), int64s.size())), 1);
}

// label [N], scores [N, classes].
absl::StatusOr<std::vector<Type>> InferClassifier(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  const DType label = Strings(ctx, "classlabels_strings") > 0 ? DType::kString : DType::kInt64;
  std::vector<Type> types = First(ctx, Type::Tensor(label, {Rows(ctx)}));
  if (types.size() > 1) types[1] = Type::Tensor(DType::kFloat32, {Rows(ctx), Labels(ctx)});
  return types;
}

template <int64_t (*Targets)(const OpContext&)>
absl::StatusOr<std::vector<Type>> InferRegressor(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  return First(ctx, Type::Tensor(DType::kFloat32, {Rows(ctx), Targets(ctx)}));
}

int64_t LinearTargets(const OpContext& ctx) { return std::max<int64_t>(ctx.attributes().Int("targets", 1), 1); }
int64_t TreeTargets(const OpContext& ctx) { return std::max<int64_t>(ctx.attributes().Int("n_targets", 1), 1); }
int64_t OneTarget(const OpContext&) { return 1; }

absl::StatusOr<std::vector<Type>> InferTreeEnsemble(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  return First(ctx, Type::Tensor(ctx.InType(0).dtype, {Rows(ctx), TreeTargets(ctx)}));
}

absl::StatusOr<std::vector<Type>> InferFloatLikeInput(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  return First(ctx, Type::Tensor(DType::kFloat32, ctx.InShape(0)));
}

// The columns that Y names.
absl::StatusOr<std::vector<Type>> InferArrayFeatureExtractor(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 1, 0));
  Type type = ctx.InType(0);
  type.shape.back() = ctx.InElements(1);
  if (type.rank() == 1) type.shape.insert(type.shape.begin(), 1);
  return First(ctx, std::move(type));
}

absl::StatusOr<std::vector<Type>> InferOneHotEncoder(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  Type type = Type::Tensor(DType::kFloat32, ctx.InShape(0));
  const auto numbers = static_cast<int64_t>(ctx.attributes().Ints("cats_int64s").size());
  type.shape.push_back(std::max(numbers, Strings(ctx, "cats_strings")));
  return First(ctx, std::move(type));
}

absl::StatusOr<std::vector<Type>> InferLabelEncoder(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  DType dtype = ctx.InType(0).dtype == DType::kString ? DType::kInt64 : DType::kString;
  const Literal* values = ctx.attributes().Tensor("values_tensor");
  if (values != nullptr) dtype = values->dtype;
  if (Strings(ctx, "values_strings") > 0) dtype = DType::kString;
  if (!ctx.attributes().Ints("values_int64s").empty()) dtype = DType::kInt64;
  if (!ctx.attributes().Floats("values_floats").empty()) dtype = DType::kFloat32;
  return First(ctx, Type::Tensor(dtype, ctx.InShape(0)));
}

absl::StatusOr<std::vector<Type>> InferCategoryMapper(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 0));
  const DType dtype = ctx.InType(0).dtype == DType::kString ? DType::kInt64 : DType::kString;
  return First(ctx, Type::Tensor(dtype, ctx.InShape(0)));
}

absl::StatusOr<std::vector<Type>> InferFeatureVectorizer(const OpContext& ctx) {
  int64_t width = 0;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    RS_RETURN_IF_ERROR(ExpectRank(ctx, i, 1));
    width += ctx.InShape(i).back();
  }
  return First(ctx, Type::Tensor(DType::kFloat32, {Rows(ctx), width}));
}

// A map becomes one row: a column for each word of the vocabulary.
absl::StatusOr<std::vector<Type>> InferDictVectorizer(const OpContext& ctx) {
  const auto numbers = static_cast<int64_t>(ctx.attributes().Ints("int64_vocabulary").size());
  const bool typed = ctx.HasInput(0) && ctx.InType(0).dtype != DType::kUndefined;
  return First(ctx, Type::Tensor(typed ? ctx.InType(0).dtype : DType::kFloat32,
                                 {1, std::max(numbers, Strings(ctx, "string_vocabulary"))}));
}

absl::StatusOr<std::vector<Type>> InferCastMap(const OpContext& ctx) {
  const absl::string_view to = ctx.attributes().String("cast_to", "TO_FLOAT");
  const DType dtype = to == "TO_STRING" ? DType::kString : to == "TO_INT64" ? DType::kInt64 : DType::kFloat32;
  return First(ctx, Type::Tensor(dtype, {1, std::max<int64_t>(ctx.attributes().Int("max_map", 1), 1)}));
}

absl::StatusOr<std::vector<Type>> InferZipMap(const OpContext& ctx) {
  RS_RETURN_IF_ERROR(ExpectRank(ctx, 0, 1));
  return First(ctx, {.form = Type::Form::kSequence, .dtype = DType::kFloat32, .length = Rows(ctx)});
}

// ---- Work.

absl::StatusOr<Kernel> PerRow(const OpContext& ctx, int64_t macs, int64_t flops) {
  Kernel kernel{.macs_per_point = macs, .flops_per_point = flops};
  AddLoop(kernel, 'n', Rows(ctx));
  AddWholeInputs(ctx, kernel);
  AddWholeOutputs(ctx, kernel);
  return kernel;
}

absl::StatusOr<Kernel> LinearKernel(const OpContext& ctx) {
  const auto coefficients = static_cast<int64_t>(ctx.attributes().Floats("coefficients").size());
  return PerRow(ctx, std::max<int64_t>(coefficients, Features(ctx)), 0);
}

absl::StatusOr<Kernel> SvmKernel(const OpContext& ctx) {
  const auto vectors = static_cast<int64_t>(ctx.attributes().Floats("support_vectors").size());
  const auto coefficients = static_cast<int64_t>(ctx.attributes().Floats("coefficients").size());
  return PerRow(ctx, std::max<int64_t>(vectors + coefficients, 1), 0);
}

// Inner nodes: those whose mode is not LEAF; TreeEnsemble-5 lists nothing else.
absl::StatusOr<Kernel> TreeKernel(const OpContext& ctx) {
  const Attribute* modes = ctx.attributes().Find("nodes_modes");
  const auto* names = modes == nullptr ? nullptr : std::get_if<std::vector<std::string>>(modes);
  auto inner = static_cast<int64_t>(ctx.attributes().Ints("nodes_featureids").size());
  if (names != nullptr)
    inner = std::count_if(names->begin(), names->end(), [](const auto& mode) { return mode != "LEAF"; });
  return PerRow(ctx, 0, std::max<int64_t>(inner, 1));
}

OpSemantics Row(absl::string_view type, InferFn infer, KernelFn kernel, int64_t flops = 0) {
  return {
      .domain = kMl, .type = type, .flops = flops, .infer = infer, .kernel = kernel, .not_differentiable = kNotTrained};
}

}  // namespace

void RegisterMl(OpRegistry& registry) {
  const OpSemantics rows[] = {
      Row("Scaler", InferFloatLikeInput, ElementwiseKernel, 2),
      Row("Normalizer", InferFloatLikeInput, SweepKernel, 3),
      Row("Imputer", InferFirstLikeInput, ElementwiseKernel, 1),
      Row("Binarizer", InferFirstLikeInput, ElementwiseKernel, 1),
      Row("ArrayFeatureExtractor", InferArrayFeatureExtractor, CopyKernel),
      Row("OneHotEncoder", InferOneHotEncoder, ElementwiseKernel, 1),
      Row("LabelEncoder", InferLabelEncoder, ElementwiseKernel, 1),
      Row("CategoryMapper", InferCategoryMapper, ElementwiseKernel, 1),
      Row("FeatureVectorizer", InferFeatureVectorizer, CopyKernel),
      Row("DictVectorizer", InferDictVectorizer, CopyKernel),
      Row("CastMap", InferCastMap, CopyKernel),
      Row("ZipMap", InferZipMap, CopyKernel),
      Row("LinearClassifier", InferClassifier, LinearKernel),
      Row("LinearRegressor", InferRegressor<LinearTargets>, LinearKernel),
      Row("SVMClassifier", InferClassifier, SvmKernel),
      Row("SVMRegressor", InferRegressor<OneTarget>, SvmKernel),
      Row("TreeEnsembleClassifier", InferClassifier, TreeKernel),
      Row("TreeEnsembleRegressor", InferRegressor<TreeTargets>, TreeKernel),
      Row("TreeEnsemble", InferTreeEnsemble, TreeKernel),
  };
  for (const OpSemantics& row : rows) registry.Add(row);
}

}  // namespace reusescope
