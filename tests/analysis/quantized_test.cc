// Quantized models in inference: integers stay integers, and products run at the integer peak.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/measure/roofline.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwdb/hardware.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Analysis Inference(Model model, bool recognize = true) {
  AnalysisOptions options;
  options.mode = Mode::kInference;
  options.recognize = recognize;
  absl::StatusOr<Analysis> analysis = Analyze(std::move(model), options);
  EXPECT_EQ(analysis.status(), absl::OkStatus());
  return *std::move(analysis);
}

Analysis InferenceOfFile(const std::string& file) {
  return Inference(LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR "/tests/analysis/testdata/quantized/", file)).value());
}

std::vector<std::string> OpTypes(const Analysis& analysis) {
  std::vector<std::string> types;
  for (const KernelCost& kernel : analysis.cost.kernels) {
    types.push_back(analysis.training.graph.node(kernel.node).op.type);
  }
  return types;
}

struct Totals {
  int64_t macs = 0, flops = 0, read_bytes = 0, write_bytes = 0;
  friend bool operator==(const Totals&, const Totals&) = default;
};
Totals TotalsOf(const Analysis& analysis) {
  Totals totals;
  for (const KernelCost& kernel : analysis.cost.kernels) {
    totals.macs += kernel.macs;
    totals.flops += kernel.flops;
    totals.read_bytes += kernel.read_bytes;
    totals.write_bytes += kernel.write_bytes;
  }
  return totals;
}

std::vector<Arithmetic> OperandsOf(const Analysis& analysis) {
  std::vector<Arithmetic> operands;
  for (const KernelCost& kernel : analysis.cost.kernels) {
    if (kernel.contraction) operands.push_back(kernel.arithmetic);
  }
  return operands;
}

// The list is what onnxruntime 1.31's optimizer makes of the QDQ file, and what its quantizer writes in the other form
// (testdata/quantized/make.py).
TEST(QuantizedTest, QdqFormIsTheOperatorsThatOnnxruntimeMakesOfIt) {
  const Analysis qdq = InferenceOfFile("cnn_qdq.onnx"), operators = InferenceOfFile("cnn_qoperator.onnx");
  EXPECT_THAT(OpTypes(qdq), ElementsAre("QuantizeLinear", "QLinearConv", "QLinearConv", "QLinearConv", "QLinearAdd",
                                        "MaxPool", "QLinearGlobalAveragePool", "QGemm", "DequantizeLinear"));
  EXPECT_EQ(OpTypes(qdq), OpTypes(operators));  // Flatten is a view, it has no kernel
  EXPECT_EQ(TotalsOf(qdq), TotalsOf(operators));
  EXPECT_THAT(OperandsOf(qdq), ElementsAre(Arithmetic::kInt8, Arithmetic::kInt8, Arithmetic::kInt8, Arithmetic::kInt8));
}

TEST(QuantizedTest, WithoutRecognitionProductsAreFloatsAndAsManyMacs) {
  const std::string file = REUSESCOPE_SOURCE_DIR "/tests/analysis/testdata/quantized/cnn_qdq.onnx";
  const Analysis fused = Inference(LoadModel(file).value());
  const Analysis spelled = Inference(LoadModel(file).value(), /*recognize=*/false);
  EXPECT_EQ(TotalsOf(fused).macs, TotalsOf(spelled).macs);
  EXPECT_THAT(OperandsOf(spelled), ElementsAre(Arithmetic::kAny, Arithmetic::kAny, Arithmetic::kAny, Arithmetic::kAny));
}

TEST(QuantizedTest, IntegerProductsRunAtTheIntegerPeak) {
  const Analysis analysis = InferenceOfFile("cnn_qdq.onnx");
  const Hardware a100 = FindDevice("a100-sxm-80gb").value();
  const RooflineDevice device = RatesOf(a100, PrecisionMode::kFp16, {.bare_peak = true}).value();
  const Roofline roofline = ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, device, {}).value();
  for (size_t k = 0; k < analysis.cost.kernels.size(); ++k) {
    const KernelCost& kernel = analysis.cost.kernels[k];
    if (!kernel.contraction) continue;
    const double vector_seconds = (kernel.flops - kernel.contraction_flops + 8.0 * kernel.transcendentals) / 19.5e12;
    EXPECT_DOUBLE_EQ(roofline.kernels[k].compute_seconds, kernel.contraction_flops / 624e12 + vector_seconds);
  }
  EXPECT_THAT(roofline.device.notes, Contains(HasSubstr("int8 products: 624 TOP/s")));
  EXPECT_LE(roofline.Headline().matrix_utilization, 1);
}

TEST(QuantizedTest, WithoutAnIntegerPeakTheModesServesAndIsSaid) {
  const Analysis analysis = InferenceOfFile("cnn_qdq.onnx");
  const RooflineDevice device = {.name = "d",
                                 .matrix_flops_per_second = 1e12,
                                 .matrix_peak_flops_per_second = 1e12,
                                 .vector_flops_per_second = 1e12,
                                 .bandwidth_bytes_per_second = 1e12,
                                 .peak_bandwidth_bytes_per_second = 1e12};
  const Roofline roofline = ComputeRoofline(analysis.cost, analysis.lru, analysis.managed, device, {}).value();
  EXPECT_THAT(roofline.device.notes, Contains(HasSubstr("int8 products: no peak of the kind is known")));
}

// 4-bit weights in blocks of 32 under floating-point activations.
constexpr absl::string_view kPacked = R"(<ir_version: 10, opset_import: ["" : 21]>
g (float[2,64] x) => (float[2,32] y) <int4[64,32] w, float[2,32] s>
{ d = DequantizeLinear <axis = 0, block_size = 32> (w, s)  y = MatMul (x, d) })";

TEST(QuantizedTest, PackedWeightsAreReadAsTheyAreStored) {
  const Analysis analysis = Inference(ParseOnnxText(kPacked));
  ASSERT_THAT(OpTypes(analysis), ElementsAre("MatMulNBits"));
  const KernelCost& kernel = analysis.cost.kernels[0];
  EXPECT_EQ(kernel.macs, 2 * 64 * 32);
  EXPECT_EQ(kernel.read_bytes, 2 * 64 * 4 + 64 * 32 / 2 + 2 * 32 * 4);
  EXPECT_EQ(kernel.write_bytes, 2 * 32 * 4);
  EXPECT_EQ(kernel.arithmetic, Arithmetic::kAny) << "the activations are floats";
}

TEST(QuantizedTest, OperandsDecideTheArithmetic) {
  const auto operands = [](absl::string_view types) {
    return OperandsOf(Inference(ParseOnnxText(
        absl::StrCat(R"(<ir_version: 10, opset_import: ["" : 21]> g ()", types, R"(, float s) => (float[2,4] y)
           { a = DequantizeLinear (x, s)  b = DequantizeLinear (w, s)  y = MatMul (a, b) })"))));
  };
  EXPECT_THAT(operands("int8[2,8] x, uint8[8,4] w"), ElementsAre(Arithmetic::kInt8));
  EXPECT_THAT(operands("uint8[2,8] x, int4[8,4] w"), ElementsAre(Arithmetic::kInt8));
  EXPECT_THAT(operands("uint4[2,8] x, int4[8,4] w"), ElementsAre(Arithmetic::kInt4));
  EXPECT_THAT(operands("float8e4m3fn[2,8] x, float8e5m2[8,4] w"), ElementsAre(Arithmetic::kFp8));
  EXPECT_THAT(operands("int16[2,8] x, int8[8,4] w"), ElementsAre(Arithmetic::kAny)) << "wider than 8 bits";
}

// Near misses: another reader of the sums, and a scale that a max-pool would change.
TEST(QuantizedTest, WhatOthersReadStaysAsItIs) {
  const Analysis read_twice = Inference(ParseOnnxText(R"(<ir_version: 10, opset_import: ["" : 21]>
g (uint8[1,3,8,8] x, int8[4,3,3,3] w, float s, uint8 z) => (uint8[1,4,6,6] q, float[1,4,6,6] c)
{ a = DequantizeLinear (x, s, z)  b = DequantizeLinear (w, s)  c = Conv (a, b)  q = QuantizeLinear (c, s, z) })"));
  EXPECT_THAT(OpTypes(read_twice), ElementsAre("DequantizeLinear", "DequantizeLinear", "Conv", "QuantizeLinear"));
  const Analysis rescaled = Inference(ParseOnnxText(R"(<ir_version: 10, opset_import: ["" : 21]>
g (uint8[1,3,8,8] x) => (uint8[1,3,4,4] q) <float s = {0.5}, float t = {0.25}, uint8 z = {0}>
{ a = DequantizeLinear (x, s, z)  b = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a)
  q = QuantizeLinear (b, t, z) })"));
  EXPECT_THAT(OpTypes(rescaled), ElementsAre("DequantizeLinear", "MaxPool", "QuantizeLinear"));
}

TEST(QuantizedTest, TrainingKeepsFloatProducts) {
  absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(R"(<ir_version: 10, opset_import: ["" : 21]>
g (float[2,8] x) => (float[2,4] y) <float[8,4] w, float s = {0.5}, int8 z = {0}>
{ p = QuantizeLinear (x, s, z)  a = DequantizeLinear (p, s, z)  q = QuantizeLinear (w, s, z)
  b = DequantizeLinear (q, s, z)  y = MatMul (a, b) })"),
                                              {});
  ASSERT_EQ(analysis.status(), absl::OkStatus());
  for (const KernelCost& kernel : analysis->cost.kernels) EXPECT_EQ(kernel.arithmetic, Arithmetic::kAny);
  EXPECT_THAT(analysis->notes, Contains(HasSubstr("fake quantization")));
}

}  // namespace
}  // namespace reusescope
