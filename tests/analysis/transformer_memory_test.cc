// What a transformer layer keeps for backward, against Korthikanti et al. 2022 ("Reducing Activation Recomputation in
// Large Transformer Models", arXiv 2205.05198): bytes per layer, the totals of their models, and what selective
// recomputation adds.
//
//   s b h (34 + 5 a s / h)   16 bits, 1 byte per dropout mask; 5 a s^2 b of it is the attention core
//
// s sequence, b micro-batch, h width, a heads. They leave out the mean and deviation of layer norms (8 s b each here).

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "analysis/pipeline.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {
namespace {

struct Sizes {
  int64_t s = 0, b = 0, h = 0, a = 0;
};

// A pre-norm layer without biases; behind an Add, so that its input is an activation.
std::string Layer(const Sizes& size) {
  return absl::Substitute(R"(
      <ir_version: 9, opset_import: ["" : 20]>
      layer (float[$0,$1,$2] tokens) => (float[$0,$1,$2] y)
        <float[$2] position, float[$2] g1, float[$2] o1, float[$2] g2, float[$2] o2, float[$2,$2] wq, float[$2,$2] wk,
         float[$2,$2] wv, float[$2,$2] wo, float[$2,$3] w1, float[$3,$2] w2, float ratio = {0.1}, bool training = {1},
         int64[4] heads = {$0, $1, $4, $5}, int64[3] merged = {$0, $1, $2}>
      { x = Add (tokens, position)
        n1 = LayerNormalization <axis = -1> (x, g1, o1)
        q = MatMul (n1, wq)
        k = MatMul (n1, wk)
        v = MatMul (n1, wv)
        qh = Reshape (q, heads)
        kh = Reshape (k, heads)
        vh = Reshape (v, heads)
        qt = Transpose <perm = [0, 2, 1, 3]> (qh)
        kt = Transpose <perm = [0, 2, 3, 1]> (kh)
        vt = Transpose <perm = [0, 2, 1, 3]> (vh)
        scores = MatMul (qt, kt)
        probabilities = Softmax <axis = -1> (scores)
        dropped = Dropout (probabilities, ratio, training)
        context = MatMul (dropped, vt)
        context_t = Transpose <perm = [0, 2, 1, 3]> (context)
        context_m = Reshape (context_t, merged)
        projected = MatMul (context_m, wo)
        attention = Dropout (projected, ratio, training)
        r = Add (x, attention)
        n2 = LayerNormalization <axis = -1> (r, g2, o2)
        f1 = MatMul (n2, w1)
        f2 = Gelu (f1)
        f3 = MatMul (f2, w2)
        f4 = Dropout (f3, ratio, training)
        y = Add (r, f4) })",
                          size.b, size.s, size.h, 4 * size.h, size.a, size.h / size.a);
}

Analysis AnalysisOf(const Sizes& size, const CheckpointPolicy& checkpoint = {}) {
  AnalysisOptions options{.loss = Loss::kNone, .checkpoint = checkpoint, .precision = PrecisionMode::kFp16};
  absl::StatusOr<Analysis> analysis = AnalyzeMemory(ParseOnnxText(Layer(size)), options);
  EXPECT_TRUE(analysis.ok()) << analysis.status();
  return analysis.ok() ? *std::move(analysis) : Analysis();
}

int64_t BytesOf(const Analysis& analysis, const std::string& name) {
  for (const Value& value : analysis.training.graph.values) {
    if (value.name == name) return analysis.cost.storages[value.storage].bytes;
  }
  ADD_FAILURE() << name;
  return 0;
}

// As the paper counts them.
struct LayerBytes {
  int64_t all = 0;
  int64_t core = 0;        // of the attention core, which selective recomputation drops
  int64_t replicated = 0;  // on every device of a tensor-parallel group
};

LayerBytes Measure(const Sizes& size, const Analysis& analysis) {
  const int64_t statistics = 2 * 2 * 4 * size.s * size.b;  // mean and deviation, 32-bit
  const int64_t core_mask = size.a * size.s * size.s * size.b;
  LayerBytes bytes{.all = analysis.memory.stash_pytorch_eager_bytes - statistics};
  bytes.core = BytesOf(analysis, "probabilities") + BytesOf(analysis, "dropped") + core_mask;
  bytes.replicated = BytesOf(analysis, "x") + BytesOf(analysis, "r") + BytesOf(analysis, "n1") +
                     BytesOf(analysis, "n2") + analysis.memory.stash.eager_dropout_mask_bytes - core_mask;
  return bytes;
}

TEST(TransformerMemoryTest, BytesOfALayer) {
  for (const Sizes& size : {Sizes{512, 1, 1024, 16}, Sizes{2048, 4, 6144, 64}, Sizes{2048, 1, 12288, 96}}) {
    const int64_t sbh = size.s * size.b * size.h, core = 5 * size.a * size.s * size.s * size.b;
    const LayerBytes bytes = Measure(size, AnalysisOf(size));
    EXPECT_EQ(bytes.all, 34 * sbh + core);
    EXPECT_EQ(bytes.core, core);
    EXPECT_EQ(bytes.replicated, 10 * sbh);
  }
  EXPECT_EQ(Measure({512, 1, 1024, 16}, AnalysisOf({512, 1, 1024, 16})).all, 38'797'312);
}

// Figure 1 of the paper as Calculon (github.com/calculon-ai/calculon, calculon/llm/validation.py) has it, in GiB, and
// exact in binary: activations under tensor parallelism by 8; with sequence parallelism and selective recomputation;
// parameters with optimizer (18 bytes each). The first pipeline stage holds the activations of all layers.
TEST(TransformerMemoryTest, TotalsOfThePapersModels) {
  struct Row {
    Sizes size;
    int64_t layers, pipeline, interleave;
    double tensor_parallel, selective, parameters;
  };
  const Row rows[] = {
      {{2048, 4, 6144, 64}, 48, 1, 0, 59.25, 9.5625, 45.5625},
      {{2048, 1, 12288, 96}, 96, 8, 3, 66.84375, 12.3515625, 45.5625},
      {{2048, 1, 20480, 128}, 105, 35, 3, 114.0234375, 23.076171875, 31.640625},
      {{2048, 1, 25600, 160}, 128, 64, 0, 131.25, 26.5625, 32.958984375},
  };
  constexpr double kGiB = 1 << 30, kTensor = 8;
  for (const Row& row : rows) {
    const Analysis analysis = AnalysisOf(row.size);
    const LayerBytes bytes = Measure(row.size, analysis);
    const auto p = static_cast<double>(row.pipeline), m = static_cast<double>(row.interleave);
    const double layers = static_cast<double>(row.layers) * (row.interleave > 0 ? 1 + (p - 1) / (p * m) : 1);
    const auto replicated = static_cast<double>(bytes.replicated), all = static_cast<double>(bytes.all);
    EXPECT_NEAR(layers * (replicated + (all - replicated) / kTensor) / kGiB, row.tensor_parallel, 1e-12);
    EXPECT_NEAR(layers * static_cast<double>(bytes.all - bytes.core) / kTensor / kGiB, row.selective, 1e-12);
    const auto matrices = static_cast<double>(analysis.facts.parameters - 5 * row.size.h);  // norms, position
    EXPECT_NEAR(matrices * static_cast<double>(row.layers) / (kTensor * p) * 18 / kGiB, row.parameters, 1e-12);
  }
}

// Selective recomputation: everything is kept but the attention core. Ours keeps the mask (which replays the dropout)
// and need not multiply by V again, whose product is kept: 4 of the 5 a s^2 b, for half of the s / (6 h + s) of a
// forward pass.
TEST(TransformerMemoryTest, SelectiveRecomputation) {
  for (const Sizes& size : {Sizes{2048, 1, 12288, 96}, Sizes{2048, 1, 20480, 128}}) {
    const Analysis all = AnalysisOf(size);
    CheckpointPolicy policy{.kind = CheckpointPolicy::Kind::kValues};
    for (const NodeId id : all.training.graph.order) {
      if (all.training.graph.node(id).phase != Phase::kForward) continue;
      for (const ValueId output : all.training.graph.node(id).outputs) {
        if (output == kNoValue) continue;
        const std::string& name = all.training.graph.value(output).name;
        if (name != "scores" && name != "probabilities" && name != "dropped") policy.values.push_back(name);
      }
    }
    const Analysis selective = AnalysisOf(size, policy);
    EXPECT_EQ(all.memory.stash_needed_bytes - selective.memory.stash_needed_bytes,
              4 * size.a * size.s * size.s * size.b);
    int64_t forward = 0, again = 0;
    for (const KernelCost& kernel : selective.cost.kernels) {
      if (kernel.phase == Phase::kForward) forward += kernel.contraction_flops;
      if (kernel.phase == Phase::kRecompute) again += kernel.contraction_flops;
    }
    EXPECT_EQ(forward, 24 * size.b * size.s * size.h * size.h + 4 * size.b * size.s * size.s * size.h);
    EXPECT_EQ(2 * again * (6 * size.h + size.s), forward * size.s);
  }
}

// vDNN (Rhu et al., MICRO 2016) gives 28 GB for VGG-16 at batch 256 where all feature maps, with ReLU in place, and
// their gradients stand beside weights and weight gradients. Workspaces and which gradients share memory are not said,
// so: 20 %.
TEST(TransformerMemoryTest, Vgg16AtBatch256AsVdnnAllocatesIt) {
  AnalysisOptions options{.optimizer = Optimizer::kSgd};
  options.shapes.batch = 256;
  const Analysis analysis =
      AnalyzeMemory(LoadModel(REUSESCOPE_SOURCE_DIR "/models/vgg16.onnx").value(), options).value();
  const MemoryTable& memory = analysis.memory;
  int64_t maps = 0;  // without the 64-bit indices of max-pools
  for (const StashEntry& entry : analysis.training.stash) {
    const Value& value = analysis.training.graph.value(entry.value);
    if (IsFloatingPoint(value.type.dtype)) maps += analysis.cost.storages[value.storage].bytes;
  }
  const auto allocated = static_cast<double>(2 * maps + memory.parameter_bytes + memory.gradient_bytes);
  EXPECT_NEAR(allocated, 28e9, 0.2 * 28e9);
  EXPECT_LT(static_cast<double>(memory.peak_bytes), allocated) << "gradients are freed after their last use";
}

}  // namespace
}  // namespace reusescope
