// Operators of com.microsoft, ai.onnx.ml and the first opsets, and quantized ones: shapes, and the work as a formula.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct OpCase {
  const char* op;      // with its operands: "com.microsoft.FastGelu (x)"
  const char* inputs;  // of the graph
  const char* constants;
  const char* outputs;  // types
  int64_t contraction_flops = 0;
  int64_t flops = -1;  // of all kernels; -1: not stated
};

absl::StatusOr<Analysis> TryOp(const OpCase& c, int onnx_opset = 17) {
  std::string names;
  for (int j = 0; j <= std::count(c.outputs, c.outputs + strlen(c.outputs), '|'); ++j) {
    absl::StrAppend(&names, j == 0 ? "" : ", ", "y", j);
  }
  const std::string text =
      absl::StrCat("<ir_version: 8, opset_import: [\"\" : ", onnx_opset,
                   ", \"com.microsoft\" : 1, \"com.microsoft.nchwc\" : 1, "
                   "\"com.ms.internal.nhwc\" : 1, \"ai.onnx.ml\" : 3]> g (",
                   c.inputs, ") => (", names, ") <", c.constants, "> { ", names, " = ", c.op, " }");
  return Analyze(ParseOnnxText(text), {.mode = Mode::kInference});
}

Analysis AnalyzeOp(const OpCase& c, int onnx_opset = 17) {
  absl::StatusOr<Analysis> analysis = TryOp(c, onnx_opset);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return analysis.ok() ? *std::move(analysis) : Analysis{};
}

std::string OutputTypes(const Analysis& analysis) {
  std::string types;
  const Graph& graph = analysis.training.graph;
  for (ValueId id : graph.outputs) absl::StrAppend(&types, types.empty() ? "" : "|", TypeString(graph.value(id).type));
  return types;
}

void Expect(const OpCase& c) {
  SCOPED_TRACE(c.op);
  const Analysis analysis = AnalyzeOp(c);
  EXPECT_EQ(OutputTypes(analysis), c.outputs);
  EXPECT_THAT(analysis.coverage.unknown_operators, IsEmpty());
  int64_t contraction = 0, flops = 0;
  for (const KernelCost& kernel : analysis.cost.kernels) {
    contraction += kernel.contraction_flops;
    flops += kernel.flops;
  }
  EXPECT_EQ(contraction, c.contraction_flops);
  if (c.flops >= 0) {
    EXPECT_EQ(flops, c.flops);
  }
}

TEST(ContribTest, ActivationsNormalizationsAndProducts) {
  const OpCase cases[] = {
      {"com.microsoft.FastGelu (x, b)", "float[2,5,8] x", "float[8] b", "float32[2, 5, 8]", 0, 80 + 4 * 80},
      {"com.microsoft.QuickGelu (x)", "float[2,5,8] x", "float[1] b", "float32[2, 5, 8]", 0, 3 * 80},
      {"com.microsoft.BiasSplitGelu (x, b)", "float[2,5,8] x", "float[8] b", "float32[2, 5, 4]", 0, 80 + 4 * 40 + 40},
      {"com.microsoft.SkipLayerNormalization (x, s, g, b)", "float[2,5,8] x, float[2,5,8] s", "float[8] g, float[8] b",
       "float32[2, 5, 8]", 0, 80 + 8 * 80},
      {"com.microsoft.SkipSimplifiedLayerNormalization (x, s, g)", "float[2,5,8] x, float[2,5,8] s", "float[8] g",
       "float32[2, 5, 8]", 0, 80 + 4 * 80},
      {"com.microsoft.FusedMatMul <transA = 1, transB = 1> (x, w)", "float[2,8,5] x", "float[2,7,8] w",
       "float32[2, 5, 7]", 2 * 2 * 5 * 7 * 8},
      {"com.microsoft.FusedGemm <activation = \"Relu\"> (x, w, b)", "float[5,8] x", "float[8,7] w, float[7] b",
       "float32[5, 7]", 2 * 5 * 7 * 8, 2 * 5 * 7 * 8 + 35 + 35},
      {"com.microsoft.FusedConv <activation = \"Relu\", pads = [1,1,1,1]> (x, w)", "float[2,3,8,8] x",
       "float[4,3,3,3] w", "float32[2, 4, 8, 8]", 2 * 2 * 4 * 64 * 27},
      {"com.microsoft.NhwcConv <pads = [1,1,1,1], strides = [2,2]> (x, w)", "float[2,8,8,3] x", "float[4,3,3,3] w",
       "float32[2, 4, 4, 4]", 2 * 2 * 4 * 16 * 27},
      {"com.microsoft.GroupNorm <groups = 2, activation = 1> (x, g, b)", "float[2,4,4,8] x", "float[8] g, float[8] b",
       "float32[2, 4, 4, 8]"},
      {"com.microsoft.EmbedLayerNormalization (i, s, w, p, t, g, b)", "int32[2,5] i, int32[2,5] s",
       "float[100,8] w, float[10,8] p, float[2,8] t, float[8] g, float[8] b", "float32[2, 5, 8]|int32[2]"},
      {"com.microsoft.CDist (x, w)", "float[5,8] x", "float[7,8] w", "float32[5, 7]", 0, 3 * 5 * 7 * 8},
      {"com.microsoft.Inverse (x)", "float[2,5,5] x", "float[1] b", "float32[2, 5, 5]", 0, 2 * 2 * 5 * 5 * 5},
      {"com.microsoft.ExpandDims (x, a)", "float[2,5] x", "int32 a = {1}", "float32[2, 1, 5]"},
      {"com.microsoft.NGramRepeatBlock <ngram_size = 3> (i, s)", "int64[2,5] i, float[2,50] s", "float[1] b",
       "float32[2, 50]"},
  };
  for (const OpCase& c : cases) Expect(c);
}

TEST(ContribTest, ImagesWordsAndPadding) {
  const OpCase cases[] = {
      {"com.microsoft.Pad (x, p)", "float[2,3] x", "int64[4] p = {0,2,0,0}", "float32[2, 5]"},
      {"com.microsoft.Range (a, b)", "float[1] x", "int64 a = {2}, int64 b = {11}", "int64[9]"},
      {"com.microsoft.Unique (x)", "float[6] x", "float[1] b", "float32[6]|int64[6]|int64[6]"},
      {"com.microsoft.GridSample (x, g)", "float[1,3,8,8] x, float[1,4,5,2] g", "float[1] b", "float32[1, 3, 4, 5]"},
      {"com.microsoft.CropAndResize (x, r, b, s)", "float[2,3,8,8] x, float[4,4] r, int32[4] b", "int32[2] s = {5,6}",
       "float32[4, 3, 5, 6]", 0, 7 * 4 * 3 * 30},
      {"com.microsoft.MaxpoolWithMask <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (x, m)",
       "float[1,3,8,8] x, int32[1,3,8,8] m", "float[1] b", "float32[1, 3, 4, 4]", 0, 9 * 3 * 16},
      // The last window would begin behind the image: none.
      {"com.microsoft.NhwcMaxPool <kernel_shape = [2,2], strides = [3,3], pads = [0,0,1,1], ceil_mode = 1> (x)",
       "uint8[1,6,8,3] x", "float[1] b", "uint8[1, 2, 3, 3]", 0, 4 * 2 * 3 * 3},
      {"com.microsoft.ConvTransposeWithDynamicPads <strides = [2,2]> (x, w, p)", "float[1,3,5,5] x",
       "float[3,4,3,3] w, int64[4] p = {1,1,1,1}", "float32[1, 4, 9, 9]", 2 * 25 * 3 * 4 * 9},
      {"com.microsoft.TorchEmbedding (w, i)", "int64[2,3] i", "float[10,4] w", "float32[2, 3, 4]"},
      // 10 words of 7 characters have 5 windows of 3 each, 6 filters of 3 x 4.
      {"com.microsoft.WordConvEmbedding (x, w, b, c)", "int32[10,7] x", "float[6,1,3,4] w, float[6] b, float[10,4] c",
       "float32[10, 6]", 2 * 50 * 6 * 12},
      {"com.microsoft.MurmurHash3 <positive = 0> (x)", "int64[5] x", "float[1] b", "int32[5]", 0, 16 * 5},
      {"com.microsoft.RemovePadding (x, n)", "float[2,5,4] x, int32[2] n", "float[1] b",
       "float32[10, 4]|int32[2, 5]|int32[3]|int32[1]"},
      {"com.microsoft.RestorePadding (x, o)", "float[8,4] x, int32[2,5] o", "float[1] b", "float32[2, 5, 4]"},
      {"com.microsoft.UnfoldTensor <dim = 1, size = 3, step = 2> (x)", "float[2,9,4] x", "float[1] b",
       "float32[2, 4, 4, 3]"},
      {"com.microsoft.DynamicTimeWarping (x)", "float[4,6] x", "float[1] b", "int32[2, 9]", 0, 3 * 24},
      {"com.microsoft.BifurcationDetector (s, c, p, t)", "int64[5] s, int64[2] c, int64 p, int64[4] t", "float[1] b",
       "int64[6]|int64[]"},
      {"com.microsoft.Rfft <signal_ndim = 1> (x)", "float[2,8] x", "float[1] b", "float32[2, 5, 2]", 0, 7 * 16},
      {"com.microsoft.Irfft <signal_ndim = 1> (x)", "float[2,5,2] x", "float[1] b", "float32[2, 8]", 0, 7 * 16},
      {"com.microsoft.ComplexMul (x, w)", "float[2,5,2] x", "float[1,5,2] w", "float32[2, 5, 2]", 0, 3 * 20},
      {"com.microsoft.BiasSoftmax <axis = 3, is_inner_broadcast = 0> (x, w)", "float[2,3,4,5] x, float[1,1,4,5] w",
       "float[1] b", "float32[2, 3, 4, 5]", 0, 120 + 3 * 120},
      {"com.microsoft.BitmaskDropout (x)", "float[3,50] x", "float[1] b", "float32[3, 50]|uint32[5]"},
  };
  for (const OpCase& c : cases) Expect(c);
}

TEST(ContribTest, StatesGatesAndPositions) {
  constexpr int64_t kTokens = 2 * 5;
  const OpCase cases[] = {
      // 4 query heads and 2 of keys of 4, values of 6: k v, S k and q S.
      {"com.microsoft.LinearAttention <q_num_heads = 4, kv_num_heads = 2> (q, k, v, s, d, b)",
       "float[2,5,16] q, float[2,5,8] k, float[2,5,12] v, float[2,2,4,6] s, float[2,5,2] d, float[2,5,2] b",
       "float[1] c", "float32[2, 5, 24]|float32[2, 2, 4, 6]", 2 * kTokens * (2 + 2 + 4) * 4 * 6},
      {"com.microsoft.LinearAttention <q_num_heads = 4, kv_num_heads = 2, update_rule = \"linear\", state_window = 3> "
       "(q, k, v)",
       "float[2,5,16] q, float[2,5,8] k, float[2,5,12] v", "float[1] c", "float32[2, 5, 24]|float32[3, 2, 2, 4, 6]",
       2 * kTokens * (2 + 4) * 4 * 6},
      {"com.microsoft.CausalConvWithState <activation = \"silu\"> (x, w, b)", "float[2,6,9] x",
       "float[6,1,4] w, float[6] b", "float32[2, 6, 9]|float32[2, 6, 3]", 2 * 108 * 4, 2 * 108 * 4 + 108 + 3 * 108},
      {"com.microsoft.LinearAttentionGate (a, w, v, b)", "float[2,5,4] a, float[2,5,4] b", "float[4] w, float[4] v",
       "float32[2, 5, 4]|float32[2, 5, 4]", 0, (1 + 1 + 1 + 2) * 40},
      {"com.microsoft.GatedRMSNorm (x, w, g)", "float[2,5,8] x, float[2,5,8] g", "float[4] w", "float32[2, 5, 8]", 0,
       (4 + 3 + 1) * 80},
      {"com.microsoft.GatedAdd (x, y, g)", "float[2,5,4] x, float[2,5,4] y, float[2,5,1] g", "float[1] b",
       "float32[2, 5, 4]", 0, 2 * 40},
      {"com.microsoft.GemmaRotaryEmbedding (e, q, r, k, t)",
       "float[2,5,8] e, float[2,3,5,8] q, float[2,3,5,8] r, float[2,3,5,8] k, float[2,3,5,8] t", "float[1] b",
       "float32[2, 3, 5, 8]|float32[2, 3, 5, 8]", 0, 2 * 3 * 240},
      {"com.microsoft.RelativePositionBias <max_distance = 128> (w, n, m)", "float[1] x",
       "float[32,2] w, int64 n = {5}, int64 m = {7}", "float32[1, 2, 5, 7]"},
      {"com.microsoft.GatedRelativePositionBias <num_heads = 2> (q, b, r, w, c, e)",
       "float[2,5,16] q, float[1,2,5,5] r", "float[16] b, float[8,6] w, float[6] c, float[1,2,1,1] e",
       "float32[2, 2, 5, 5]", 2 * kTokens * 2 * 8 * 6},
  };
  for (const OpCase& c : cases) Expect(c);
}

// What ONNX Runtime saves after it has optimized.
TEST(ContribTest, LayoutsOfOptimizedFiles) {
  const OpCase cases[] = {
      {"com.microsoft.nchwc.ReorderInput (x)", "float[1,4,6,6] x", "float[1] b", "float32[1, 8, 6, 6]"},
      {"com.microsoft.nchwc.ReorderOutput <channels = 5, channels_last = 1> (x)", "float[1,8,6,6] x", "float[1] b",
       "float32[1, 6, 6, 5]"},
      {"com.microsoft.nchwc.Conv <activation = \"Relu\", pads = [1,1,1,1]> (x, w, b)", "float[1,8,6,6] x",
       "float[16,8,3,3] w, float[16] b", "float32[1, 16, 6, 6]", 2 * 16 * 36 * 72},
      {"com.microsoft.nchwc.MaxPool <kernel_shape = [2,2], strides = [2,2]> (x)", "float[1,8,6,6] x", "float[1] b",
       "float32[1, 8, 3, 3]", 0, 4 * 72},
      {"com.microsoft.nchwc.Upsample <scales = [1,1,2,2], mode = \"linear\"> (x)", "float[1,8,6,6] x", "float[1] b",
       "float32[1, 8, 12, 12]", 0, 7 * 8 * 144},
      {"com.ms.internal.nhwc.Conv <pads = [1,1,1,1]> (x, w)", "float[1,6,6,8] x", "float[16,8,3,3] w",
       "float32[1, 6, 6, 16]", 2 * 16 * 36 * 72},
      {"com.ms.internal.nhwc.GlobalAveragePool (x)", "float[2,6,6,8] x", "float[1] b", "float32[2, 1, 1, 8]", 0, 576},
      {"com.ms.internal.nhwc.SpaceToDepth <blocksize = 2> (x)", "float[2,6,6,8] x", "float[1] b",
       "float32[2, 3, 3, 32]"},
  };
  for (const OpCase& c : cases) Expect(c);
}

TEST(ContribTest, TrainingGraphsOfOnnxRuntime) {
  const OpCase cases[] = {
      {"com.microsoft.GeluGrad (d, x)", "float[5,8] d, float[5,8] x", "float[1] b", "float32[5, 8]", 0, 7 * 40},
      {"com.microsoft.LayerNormalizationGrad (d, x, s, m, v)", "float[5,8] d, float[5,8] x, float[5,1] m, float[5,1] v",
       "float[8] s", "float32[5, 8]|float32[8]|float32[8]", 0, 11 * 40},
      // dX and dW, each the forward's MACs.
      {"com.microsoft.ConvGrad (d, x, w)", "float[2,4,8,8] d, float[2,3,8,8] x", "float[4,3,3,3] w",
       "float32[2, 3, 8, 8]|float32[4, 3, 3, 3]", 2 * 2 * (2 * 4 * 64 * 27)},
      {"com.microsoft.GatherGrad (s, i, d)", "int64[5] i, float[5,4] d", "int64[2] s = {10,4}", "float32[10, 4]"},
      {"com.microsoft.SGDOptimizerV2 (l, w, g)", "float l, float[5,8] w, float[5,8] g", "float[1] b",
       "bool[1]|float32[5, 8]", 0, 2 * 40},
      {"com.microsoft.ConcatTraining <axis = 1> (x, y)", "float[2,3] x, float[2,4] y", "float[1] b",
       "float32[2, 7]|int64[2]"},
  };
  for (const OpCase& c : cases) Expect(c);
}

// A decoder of two products: an embedding of 4 to 20 scores, and with the past keys.
TEST(ContribTest, SearchesRunTheirDecoderForEachToken) {
  constexpr absl::string_view kDecoder =
      "decoder = d (int32[b,s] input_ids, int32[b,s] position_ids, int32[b,t] attention_mask, float[2,b,1,p,4] past_0) "
      "=> (float[b,s,20] logits, float[2,b,1,t,4] present_0) { e = Gather (w, input_ids) logits = MatMul (e, v) "
      "k = Gather (past_0, zero) kt = Transpose <perm = [0,1,3,2]> (k) u = Unsqueeze (e, one) z = MatMul (u, kt) "
      "present_0 = Identity (past_0) }";
  constexpr const char* kConstants =
      "float[20,4] w, float[4,20] v, int64 zero = {0}, int64[1] one = {1}, int32[1] m = {9}, int32[1] n = {3}, "
      "int32[1] r = {2}";
  // 2 x 3 rows; the prompt of 5 makes one token of 4; the other 3 see 5, 6 and 7 past keys.
  constexpr int64_t kRows = 6, kPrompt = kRows * 5 * 4 * 20, kStep = kRows * 4 * (20 + 6);
  const std::string beam = absl::StrCat("com.microsoft.BeamSearch <", kDecoder, "> (i, m, , n, r)");
  const OpCase search = {beam.c_str(), "int32[2,5] i", kConstants, "int32[2, 2, 9]", 2 * (kPrompt + 3 * kStep)};
  Expect(search);
  EXPECT_THAT(AnalyzeOp(search).notes, testing::Contains(HasSubstr("it makes 4 tokens")));
  // A third of the rows without beams.
  const std::string greedy = absl::StrCat("com.microsoft.GreedySearch <", kDecoder, "> (i, m)");
  Expect({greedy.c_str(), "int32[2,5] i", kConstants, "int32[2, 9]", 2 * (kPrompt + 3 * kStep) / 3});
  // Nothing says how many tokens.
  const std::string open = absl::StrCat("com.microsoft.Sampling <", kDecoder, "> (i, l)");
  EXPECT_THAT(TryOp({open.c_str(), "int32[2,5] i, int32[1] l", kConstants, "int32[2, 6]"}).status().message(),
              HasSubstr("--trip-count Sampling_0=N"));
}

// A domain that a tool dropped is supplied, and said.
TEST(ContribTest, OperatorsWithoutTheirDomainAreKnown) {
  const OpCase c = {"QLinearSigmoid (x, s, z, s, z)", "uint8[2,5] x", "float s = {0.5}, uint8 z = {3}", "uint8[2, 5]"};
  const Analysis analysis = AnalyzeOp(c);
  EXPECT_EQ(OutputTypes(analysis), c.outputs);
  EXPECT_THAT(analysis.coverage.unknown_operators, IsEmpty());
  EXPECT_THAT(analysis.notes, testing::Contains(HasSubstr("is com.microsoft's")));
}

TEST(ContribTest, AttentionsCountTheirProductsDense) {
  constexpr int64_t kB = 2, kS = 5, kI = 12, kH = 8;  // 2 heads of 4
  const OpCase cases[] = {
      {"com.microsoft.Attention <num_heads = 2> (x, w, b)", "float[2,5,12] x", "float[12,24] w, float[24] b",
       "float32[2, 5, 8]", 2 * kB * kS * kI * 3 * kH + 2 * kB * kS * kS * 2 * kH},
      {"com.microsoft.Attention <num_heads = 2> (x, w, b, , p)", "float[2,5,12] x, float[2,2,2,3,4] p",
       "float[12,24] w, float[24] b", "float32[2, 5, 8]|float32[2, 2, 2, 8, 4]",
       2 * kB * kS * kI * 3 * kH + 2 * kB * kS * 8 * 2 * kH},
      // 4 query heads of 4 share 2 of keys; 3 past keys.
      {"com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2> (q, k, v, pk, pv, l, t)",
       "float[2,5,16] q, float[2,5,8] k, float[2,5,8] v, float[2,2,3,4] pk, float[2,2,3,4] pv, int32[2] l, int32 t",
       "float[1] b", "float32[2, 5, 16]|float32[2, 2, 8, 4]|float32[2, 2, 8, 4]", 2 * kB * kS * 8 * 2 * 16},
      {"com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2> (q, , , pk, pv, l, t)",
       "float[2,5,32] q, float[2,2,3,4] pk, float[2,2,3,4] pv, int32[2] l, int32 t", "float[1] b",
       "float32[2, 5, 16]|float32[2, 2, 8, 4]|float32[2, 2, 8, 4]", 2 * kB * kS * 8 * 2 * 16},
      // Packed, with placeholders of one element for key and value, and rotated.
      {"com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2, do_rotary = 1> (q, k, v, pk, pv, l, t, c, "
       "s)",
       "float[2,5,32] q, float[1,1,1] k, float[1,1,1] v, float[2,2,3,4] pk, float[2,2,3,4] pv, int32[2] l, int32 t",
       "float[8,2] c, float[8,2] s", "float32[2, 5, 16]|float32[2, 2, 8, 4]|float32[2, 2, 8, 4]",
       2 * kB * kS * 8 * 2 * 16},
      // With the projections of 7 tokens of 12 to 3 x 8, padded to 2 x 5.
      {"com.microsoft.PackedAttention <num_heads = 2> (x, w, b, o, c)", "float[7,12] x, int32[2,5] o, int32[3] c",
       "float[12,24] w, float[24] b", "float32[7, 8]", 2 * 7 * 12 * 24 + 2 * 7 * 5 * 2 * 8},
      {"com.microsoft.LongformerAttention <num_heads = 2, window = 2> (x, w, b, m, gw, gb, g)",
       "float[1,16,8] x, float[1,16] m, int32[1,16] g", "float[8,24] w, float[24] b, float[8,24] gw, float[24] gb",
       "float32[1, 16, 8]", 2 * 16 * 2 * 8 * 24 + 2 * 16 * 5 * 2 * 8},
      {"com.microsoft.DecoderAttention <num_heads = 2> (q, k, w, v, b, , pk, pv, s, p, t, f)",
       "float[1,2,16] q, float[1,2,16] k, float[2,2,3,8] pk, float[2,2,3,8] pv",
       "float[16,16] w, float[16,32] v, float[48] b, bool s = {0}, bool p = {1}, bool t = {1}, bool f = {0}",
       "float32[1, 2, 16]|float32[2, 2, 4, 8]|float32[2, 2, 4, 8]", 2 * 2 * 16 * 48 + 2 * 2 * 4 * 2 * 16},
      {"com.microsoft.DecoderMaskedSelfAttention <num_heads = 2, past_present_share_buffer = 1> (x, w, b, , p, , l)",
       "float[2,1,16] x, float[2,2,2,8,8] p, int32[1] l", "float[16,48] w, float[48] b",
       "float32[2, 1, 16]|float32[2, 2, 2, 8, 8]", 2 * 2 * 16 * 48 + 2 * 2 * 8 * 2 * 16},
      // 6 tokens against at most 3 blocks of 16 keys.
      {"com.microsoft.PagedAttention <num_heads = 4, kv_num_heads = 2> (q, k, v, kc, vc, c, p, t)",
       "float[6,16] q, float[6,8] k, float[6,8] v, float[9,16,2,4] kc, float[9,16,2,4] vc, int32[3] c, int32[2] p, "
       "int32[2,3] t",
       "float[1] b", "float32[6, 16]|float32[9, 16, 2, 4]|float32[9, 16, 2, 4]", 2 * 6 * 48 * 2 * 16},
  };
  for (const OpCase& c : cases) Expect(c);
  EXPECT_THAT(AnalyzeOp(*std::rbegin(cases)).notes, testing::Contains(HasSubstr("lengths are data")));
}

TEST(ContribTest, PackedWeightsAndExperts) {
  const OpCase cases[] = {
      {"com.microsoft.MatMulNBits <K = 64, N = 10, bits = 4, block_size = 32> (x, w, s)", "float[2,5,64] x",
       "uint8[10,2,16] w, float[20] s", "float32[2, 5, 10]", 2 * 10 * 10 * 64},
      {"com.microsoft.MatMulBnb4 <K = 64, N = 10, block_size = 32, quant_type = 1> (x, w, s)", "float[2,5,64] x",
       "uint8[320] w, float[20] s", "float32[2, 5, 10]", 2 * 10 * 10 * 64},
      {"com.microsoft.GatherBlockQuantized <bits = 4, block_size = 16> (w, i, s)", "int64[2,5] i",
       "uint8[100,32] w, float[100,4] s", "float32[2, 5, 64]"},
      {"com.microsoft.MatMulFpQ4 (x, w, s)", "float[3,64] x", "uint8[400] w, int64[2] s = {64,10}", "float32[3, 10]",
       2 * 3 * 10 * 64},
      {"com.microsoft.MatMulNBitsMlp <K = 64, N = 10, block_size = 32, activation = \"silu\"> (x, , n, a, s, , b, t)",
       "float[3,64] x", "float[64] n, uint8[10,2,16] a, float[20] s, uint8[10,2,16] b, float[20] t", "float32[3, 10]",
       2 * 3 * 20 * 64},
      {"com.microsoft.MatMulNBitsQkv <K = 64, Nq = 10, Nkv = 4, block_size = 32> (x, y, n, a, s, , b, t, , c, u)",
       "float[3,64] x, float[3,64] y",
       "float[64] n, uint8[10,2,16] a, float[20] s, uint8[4,2,16] b, float[8] t, uint8[4,2,16] c, float[8] u",
       "float32[3, 10]|float32[3, 4]|float32[3, 4]|float32[3, 64]", 2 * 3 * 18 * 64},
      {"com.microsoft.MatMulBlockQuantizedFp4Weight (x, w, s, t)", "float16[3,64] x",
       "uint8[10,32] w, uint8[10,4] s, float t", "float16[3, 10]", 2 * 3 * 10 * 64},
      {"com.microsoft.GemmFloat8 <transB = 1, activation = \"RELU\", dtype = 1> (x, w)", "float[3,4] x", "float[5,4] w",
       "float32[3, 5]", 2 * 3 * 5 * 4, 2 * 3 * 5 * 4 + 15},
      {"com.microsoft.QLinearConv <channels_last = 1, pads = [1,1,1,1], strides = [2,2]> (x, s, z, w, s, z, s, z)",
       "uint8[1,8,8,3] x", "float s, uint8 z, uint8[4,3,3,3] w", "uint8[1, 4, 4, 4]", 2 * 4 * 16 * 27},
      {"com.microsoft.MulInteger (x, z, w, z)", "uint8[3,4] x", "uint8 z, uint8[4] w", "int32[3, 4]", 0, 36},
      {"com.microsoft.ReduceSumInteger <axes = [1], keepdims = 0> (x)", "int8[3,4] x", "float[1] b", "int32[3]", 0, 12},
      // 10 tokens, 2 of 4 experts each, two products 8 x 16 and 16 x 8.
      {"com.microsoft.MoE <k = 2> (x, r, f1, , f2)", "float[2,5,8] x, float[10,4] r",
       "float[4,16,8] f1, float[4,8,16] f2", "float32[2, 5, 8]", 2 * 10 * 2 * (16 * 8 + 8 * 16)},
      {"com.microsoft.QMoE <k = 2, expert_weight_bits = 4> (x, r, f1, s1, , f2, s2)", "float[2,5,8] x, float[10,4] r",
       "uint8[4,16,4] f1, float[4,16] s1, uint8[4,8,8] f2, float[4,8] s2", "float32[2, 5, 8]",
       2 * 10 * 2 * (16 * 8 + 8 * 16)},
  };
  for (const OpCase& c : cases) Expect(c);
}

TEST(QuantizationTest, ContractionsOfIntegers) {
  constexpr char kScales[] = "float s = {0.5}, uint8 z = {3}, uint8[10,7] w, uint8[4,3,3,3] k";
  const OpCase cases[] = {
      {"MatMulInteger (x, w)", "uint8[2,5,10] x", kScales, "int32[2, 5, 7]", 2 * 10 * 7 * 10},
      {"QLinearMatMul (x, s, z, w, s, z, s, z)", "uint8[2,5,10] x", kScales, "uint8[2, 5, 7]", 2 * 10 * 7 * 10,
       2 * 10 * 7 * 10 + 4 * 70},
      {"ConvInteger (x, k)", "uint8[2,3,8,8] x", kScales, "int32[2, 4, 6, 6]", 2 * 2 * 4 * 36 * 27},
      {"QLinearConv (x, s, z, k, s, z, s, z)", "uint8[2,3,8,8] x", kScales, "uint8[2, 4, 6, 6]", 2 * 2 * 4 * 36 * 27,
       2 * 2 * 4 * 36 * 27 + 4 * 2 * 4 * 36},
      {"com.microsoft.MatMulIntegerToFloat (x, w, s, s)", "uint8[2,5,10] x", kScales, "float32[2, 5, 7]",
       2 * 10 * 7 * 10},
      {"com.microsoft.DynamicQuantizeMatMul (x, w, s)", "float[2,5,10] x", kScales, "float32[2, 5, 7]",
       2 * 10 * 7 * 10},
      {"com.microsoft.QGemm <transB = 1> (x, s, z, w, s, z, , s, z)", "uint8[5,7] x", kScales, "uint8[5, 10]",
       2 * 5 * 10 * 7},
      {"com.microsoft.QLinearAdd (x, s, z, y, s, z, s, z)", "uint8[2,5] x, uint8[5] y", kScales, "uint8[2, 5]", 0, 90},
      {"com.microsoft.QLinearSigmoid (x, s, z, s, z)", "uint8[2,5] x", kScales, "uint8[2, 5]"},
      {"com.microsoft.QLinearLeakyRelu (x, s, z, s, z)", "uint8[2,5] x", kScales, "uint8[2, 5]"},
      {"com.microsoft.QLinearConcat <axis = 1> (s, z, x, s, z, y, s, z)", "uint8[2,5] x, uint8[2,3] y", kScales,
       "uint8[2, 8]"},
      {"com.microsoft.QLinearGlobalAveragePool (x, s, z, s, z)", "uint8[2,5,4,4] x", kScales, "uint8[2, 5, 1, 1]"},
      {"com.microsoft.QLinearAveragePool <kernel_shape = [2,2], strides = [2,2]> (x, s, z, s, z)", "uint8[2,5,4,4] x",
       kScales, "uint8[2, 5, 2, 2]", 0, 4 * 40 + 4 * 40},
  };
  for (const OpCase& c : cases) Expect(c);
}

TEST(MlTest, ShapesAndInferenceWork) {
  const OpCase cases[] = {
      {"ai.onnx.ml.Scaler <scale = [1.0], offset = [0.0]> (x)", "float[5,4] x", "float[1] b", "float32[5, 4]", 0, 40},
      {"ai.onnx.ml.LinearRegressor <targets = 2, coefficients = [1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0]> (x)", "float[5,4] x",
       "float[1] b", "float32[5, 2]", 0, 2 * 5 * 8},
      {"ai.onnx.ml.LinearClassifier <classlabels_ints = [0,1,2], coefficients = "
       "[1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0,"
       "1.0,1.0]> (x)",
       "float[5,4] x", "float[1] b", "int64[5]|float32[5, 3]", 0, 2 * 5 * 12},
      {"ai.onnx.ml.TreeEnsembleRegressor <n_targets = 1, nodes_modes = [\"BRANCH_LEQ\", \"LEAF\", \"LEAF\"]> (x)",
       "float[5,4] x", "float[1] b", "float32[5, 1]", 0, 5},
      {"ai.onnx.ml.ArrayFeatureExtractor (x, i)", "float[5,4] x, int64[2] i", "float[1] b", "float32[5, 2]"},
      {"ai.onnx.ml.Normalizer (x)", "float[5,4] x", "float[1] b", "float32[5, 4]", 0, 60},
  };
  for (const OpCase& c : cases) Expect(c);
}

TEST(ExperimentalTest, OperatorsOfTheFirstOpsets) {
  const OpCase cases[] = {
      {"Affine <alpha = 2.0, beta = 1.0> (x)", "float[2,5] x", "float[1] b", "float32[2, 5]", 0, 20},
      {"ImageScaler <scale = 0.5> (x)", "float[1,3,4,4] x", "float[1] b", "float32[1, 3, 4, 4]", 0, 96},
      {"Crop <border = [1,1,1,1]> (x)", "float[1,3,4,4] x", "float[1] b", "float32[1, 3, 2, 2]"},
      {"ConstantFill <input_as_shape = 1> (s)", "float[1] x", "int64[2] s = {3, 4}", "float32[3, 4]"},
      {"ParametricSoftplus <alpha = 1.0, beta = 1.0> (x)", "float[2,5] x", "float[1] b", "float32[2, 5]", 0, 30},
  };
  for (const OpCase& c : cases) Expect(c);
}

// Weights of 4 bits are half a byte each, and stay so: a DequantizeLinear of constants is not folded.
TEST(QuantizationTest, NarrowWeightsKeepTheirBytes) {
  absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(R"(<ir_version: 10, opset_import: ["" : 21]>
    g (float[5,64] x) => (y) <int4[64,32] w, float[32] s> {
      d = DequantizeLinear <axis = 1> (w, s)
      y = MatMul (x, d) })"),
                                              {.mode = Mode::kInference, .recognize = false});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  ASSERT_EQ(analysis->cost.kernels.size(), 2u);
  EXPECT_EQ(analysis->cost.kernels[0].read_bytes, 64 * 32 / 2 + 32 * 4);
  EXPECT_EQ(analysis->cost.kernels[0].flops, 2 * 64 * 32);
}

TEST(QuantizationTest, PairsTrainAsFakeQuantizationStraightThrough) {
  absl::StatusOr<Analysis> analysis = Analyze(ParseOnnxText(R"(
    g (float[5,64] x) => (y) <float[64,32] w, float s = {0.1}, int8 z = {0}> {
      q = QuantizeLinear (w, s, z)
      d = DequantizeLinear (q, s, z)
      y = MatMul (x, d) })"),
                                              {.loss = Loss::kSum});
  ASSERT_TRUE(analysis.ok()) << analysis.status();
  EXPECT_THAT(analysis->notes, testing::Contains(HasSubstr("straight through")));
  EXPECT_EQ(analysis->facts.parameters, 64 * 32);
  int fake = 0, gradients = 0;
  for (const KernelCost& kernel : analysis->cost.kernels) {
    const std::string& type = analysis->training.graph.node(kernel.node).op.type;
    fake += type == "FakeQuantize" ? 1 : 0;
    gradients += type == "FakeQuantizeGrad" ? 1 : 0;
  }
  EXPECT_EQ(fake, 1);
  EXPECT_EQ(gradients, 1);
}

// Two heads of size 4, six keys in blocks of two, the layouts of ContribOperators.md's form: head 0 sees its own block
// and the first (1 + 2 + 2 blocks), head 1 its own (3 blocks).
TEST(ContribTest, SparseAttentionCountsTheBlocksOfItsLayout) {
  constexpr char kOp[] =
      "com.microsoft.SparseAttention <num_heads = 2, kv_num_heads = 1, sparse_block_size = 2> "
      "(q, k, k, past, past, rows, columns, total, lengths)";
  constexpr char kInputs[] = "float[1,6,8] q, float[1,6,4] k, float[1,1,6,4] past, int32[1] lengths";
  constexpr char kLayout[] =
      "int32[2,4] rows = {0, 1, 3, 5, 0, 1, 2, 3}, int32[2,5] columns = {0, 0, 1, 0, 2, 0, 1, 2, "
      "-1, -1}, int32[1] total = {6}";
  Expect({.op = kOp,
          .inputs = kInputs,
          .constants = kLayout,
          .outputs = "float32[1, 6, 8]",
          .contraction_flops = 2 * (5 + 3) * (2 * 2) * (4 + 4)});
  // The layout is fed: at most every key.
  const OpCase fed = {.op = kOp,
                      .inputs =
                          "float[1,6,8] q, float[1,6,4] k, float[1,1,6,4] past, int32[1] lengths, int32[2,4] rows, "
                          "int32[2,5] columns",
                      .constants = "int32[1] total = {6}",
                      .outputs = "float32[1, 6, 8]",
                      .contraction_flops = 2 * 2 * (6 * 6) * (4 + 4)};
  Expect(fed);
  EXPECT_THAT(AnalyzeOp(fed).notes, testing::Contains(HasSubstr("the layout of blocks is data")));
}

}  // namespace
}  // namespace reusescope
