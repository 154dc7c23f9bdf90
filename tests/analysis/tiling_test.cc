// Traffic of tiles against the walk of every tile size and loop order, and double buffering against its definition.

#include "analysis/measure/tiling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/measure/double_buffering.h"
#include "analysis/pipeline.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "tests/testing/graph_builder.h"

namespace reusescope {
namespace {

MatrixProduct Product(int64_t m, int64_t n, int64_t k, int64_t width = 1) {
  const auto w = static_cast<double>(width);
  return {.m = m,
          .n = n,
          .k = k,
          .a_bytes = m * k * width,
          .b_bytes = k * n * width,
          .c_bytes = m * n * width,
          .a_width = w,
          .b_width = w,
          .c_width = w};
}

// Elements moved by one loop order over tiles, tile by tile: each operand has one tile on chip, fetched when another
// comes in its place; the output's is written back then, and fetched again when sums go on.
int64_t Walk(const std::array<int64_t, 3>& extent, const std::array<int64_t, 3>& tile,
             const std::array<int, 3>& order) {
  constexpr int kAxes[3][2] = {{0, 2}, {2, 1}, {0, 1}};  // m, n, k = 0, 1, 2: A is m x k, B k x n, C m x n
  std::array<int64_t, 3> tiles;
  for (int d = 0; d < 3; ++d) tiles[d] = (extent[d] + tile[d] - 1) / tile[d];
  std::array<std::array<int64_t, 2>, 3> held;
  for (auto& place : held) place = {-1, -1};
  std::vector<bool> begun(tiles[0] * tiles[1], false);
  const auto elements = [&](int operand, const std::array<int64_t, 2>& place) {
    int64_t product = 1;
    for (int side = 0; side < 2; ++side) {
      const int axis = kAxes[operand][side];
      product *= std::min(tile[axis], extent[axis] - place[side] * tile[axis]);
    }
    return product;
  };
  int64_t moved = 0;
  std::array<int64_t, 3> at;
  for (at[order[0]] = 0; at[order[0]] < tiles[order[0]]; ++at[order[0]]) {
    for (at[order[1]] = 0; at[order[1]] < tiles[order[1]]; ++at[order[1]]) {
      for (at[order[2]] = 0; at[order[2]] < tiles[order[2]]; ++at[order[2]]) {
        for (int operand = 0; operand < 3; ++operand) {
          const std::array<int64_t, 2> place = {at[kAxes[operand][0]], at[kAxes[operand][1]]};
          if (held[operand] == place) continue;
          if (operand == 2 && held[2][0] >= 0) moved += elements(2, held[2]);
          const bool fetch = operand < 2 || begun[place[0] * tiles[1] + place[1]];
          if (fetch) moved += elements(operand, place);
          if (operand == 2) begun[place[0] * tiles[1] + place[1]] = true;
          held[operand] = place;
        }
      }
    }
  }
  return moved + elements(2, held[2]);
}

int64_t LeastWalk(int64_t m, int64_t n, int64_t k, int64_t capacity) {
  int64_t best = -1;
  std::array<int, 3> order = {0, 1, 2};
  do {
    for (int64_t tm = 1; tm <= m; ++tm) {
      for (int64_t tn = 1; tn <= n; ++tn) {
        for (int64_t tk = 1; tk <= k; ++tk) {
          if (tm * tk + tk * tn + tm * tn > capacity) break;
          const int64_t moved = Walk({m, n, k}, {tm, tn, tk}, order);
          if (best < 0 || moved < best) best = moved;
        }
      }
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

TEST(TilingTest, MovesAsLittleAsAnyTilesInAnyOrder) {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    const int64_t m = random() % 9 + 1, n = random() % 9 + 1, k = random() % 9 + 1;
    for (const int64_t capacity : {3, 5, 8, 13, 21, 40, 90, 300}) {
      EXPECT_EQ(TiledTrafficBytes(Product(m, n, k), capacity), LeastWalk(m, n, k, capacity))
          << m << " x " << n << " x " << k << " in " << capacity;
    }
  }
}

TEST(TilingTest, StaysAboveTheLowerBoundAndNearIt) {
  for (const int64_t size : {512, 1024, 4096}) {
    for (const int64_t space : {1 << 10, 1 << 14, 1 << 17}) {
      const double points = std::pow(static_cast<double>(size), 3);
      const double bound = 2 * points / std::sqrt(space) - 2.0 * space;
      const double moved = static_cast<double>(*TiledTrafficBytes(Product(size, size, size), space));
      EXPECT_GE(moved, bound);
      const double all = 3.0 * static_cast<double>(size * size);
      EXPECT_LE(moved, 1.15 * 2 * points / std::sqrt(space) + all) << size << " in " << space;
    }
  }
}

TEST(TilingTest, MoreSpaceNeverMovesMoreAndEnoughMovesEachOperandOnce) {
  std::mt19937 random(4);
  for (int round = 0; round < 100; ++round) {
    const MatrixProduct product =
        Product(random() % 2000 + 1, random() % 2000 + 1, random() % 2000 + 1, 2 << (random() % 2));
    int64_t before = UntiledTrafficBytes(product);
    for (int64_t capacity = 12; capacity < int64_t{1} << 32; capacity *= 2) {
      const int64_t now = TiledTrafficBytes(product, capacity).value();
      EXPECT_LE(now, before);
      before = now;
    }
    EXPECT_EQ(before, product.a_bytes + product.b_bytes + product.c_bytes);
  }
  EXPECT_EQ(TiledTrafficBytes(Product(4, 4, 4), 2), std::nullopt);
}

// A convolution, its gradients and a batch of products as the products that they are.
TEST(TilingTest, ContractionsAreProducts) {
  GraphBuilder b;
  const ValueId x = b.Input("x", {4, 16, 10, 12});
  const ValueId w = b.Parameter("w", {32, 16, 3, 3});
  const ValueId y = b.Node("Conv", {x, w}, {4, 32, 10, 12}, {{"pads", Ints{1, 1, 1, 1}}});
  const Kernel conv = b.KernelOf(y);
  const auto expect = [](const Kernel& kernel, int64_t batch, int64_t m, int64_t n, int64_t k) {
    const std::optional<MatrixProduct> product = ProductOf(kernel);
    ASSERT_TRUE(product.has_value());
    EXPECT_EQ(product->batch, batch);
    // Which input is A and which is B does not matter.
    EXPECT_EQ(std::minmax(product->m, product->n), std::minmax(m, n));
    EXPECT_EQ(product->k, k);
  };
  // (N Ho Wo) x Co x (Ci R S); (N Hi Wi) x Ci x (Co R S); (Ci R S) x Co x (N Ho Wo).
  expect(conv, 1, 4 * 10 * 12, 32, 16 * 3 * 3);
  expect(ContractionGradient(conv, 0), 1, 4 * 10 * 12, 16, 32 * 3 * 3);
  expect(ContractionGradient(conv, 1), 1, 16 * 3 * 3, 32, 4 * 10 * 12);
  GraphBuilder attention;
  const ValueId q = attention.Input("q", {2, 8, 20, 64}), keys = attention.Input("k", {2, 8, 64, 30});
  expect(attention.KernelOf(attention.Node("MatMul", {q, keys}, {2, 8, 20, 30})), 2 * 8, 20, 30, 64);
}

// The definition, kernel by kernel, and never worse than either pure choice.
TEST(DoubleBufferingTest, TheBestMixIsNeverWorseThanEitherChoice) {
  for (const char* file : {"resnet50.onnx", "bert_base.ts17.train.onnx"}) {
    AnalysisOptions options;
    options.shapes.batch = 8;
    const Analysis analysis =
        Analyze(LoadModel(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", file)).value(), options).value();
    const auto products = ProductsOf(analysis.training, analysis.cost).value();
    const RooflineDevice device = RatesOf(FindDevice("t4").value(), PrecisionMode::kFp32, {.bare_peak = true}).value();
    int mixed = 0;
    for (const int64_t capacity : {int64_t{0}, int64_t{16} << 10, int64_t{1} << 20, int64_t{64} << 20}) {
      const auto kernels = BufferedKernels(analysis.cost, products, capacity, device);
      for (const double bandwidth : {1e10, 3e11, 1e13}) {
        const BufferedStep one = StepWith(kernels, Buffering::kSingle, bandwidth);
        const BufferedStep two = StepWith(kernels, Buffering::kDouble, bandwidth);
        const BufferedStep best = StepWith(kernels, Buffering::kBest, bandwidth);
        EXPECT_LE(best.step_seconds, std::min(one.step_seconds, two.step_seconds) * (1 + 1e-12));
        EXPECT_GE(one.traffic_bytes, analysis.lru.compulsory_bytes());
        EXPECT_GE(two.traffic_bytes, one.traffic_bytes);
        EXPECT_EQ(one.double_buffered, 0);
        EXPECT_EQ(two.double_buffered, static_cast<int>(kernels.size()));
        mixed += best.double_buffered < two.double_buffered;
        double sum = 0, compute = 0;
        for (const BufferedKernel& kernel : kernels) {
          const double alone = kernel.compute_seconds + static_cast<double>(kernel.single_bytes) / bandwidth;
          const double ahead = std::max(kernel.compute_seconds, static_cast<double>(kernel.double_bytes) / bandwidth);
          sum += std::min(alone, ahead);
          compute += kernel.compute_seconds;
        }
        EXPECT_NEAR(best.step_seconds, sum, 1e-12 * sum);
        EXPECT_NEAR(best.stall_seconds, sum - compute, 1e-9 * sum);
      }
    }
    EXPECT_GT(mixed, 0) << "no case in which the mix is one";
  }
}

// Enough space: every operand once, as in the cost table.
TEST(DoubleBufferingTest, WithSpaceForAllKernelsMoveTheirOperandsOnce) {
  AnalysisOptions options;
  options.shapes.batch = 2;
  const Analysis analysis = Analyze(LoadModel(REUSESCOPE_SOURCE_DIR "/models/resnet50.onnx").value(), options).value();
  const auto products = ProductsOf(analysis.training, analysis.cost).value();
  const RooflineDevice device = RatesOf(FindDevice("t4").value(), PrecisionMode::kFp32, {}).value();
  const auto kernels = BufferedKernels(analysis.cost, products, int64_t{1} << 40, device);
  EXPECT_EQ(StepWith(kernels, Buffering::kDouble, 1e12).traffic_bytes, analysis.lru.compulsory_bytes());
  int contractions = 0, tiled = 0;
  for (size_t k = 0; k < kernels.size(); ++k) {
    contractions += analysis.cost.kernels[k].contraction;
    tiled += products[k].has_value();
  }
  EXPECT_EQ(tiled, contractions);
}

}  // namespace
}  // namespace reusescope
