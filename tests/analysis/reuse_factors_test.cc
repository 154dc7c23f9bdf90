#include "analysis/measure/reuse_factors.h"

#include <functional>
#include <random>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

IndexExpr Index(std::initializer_list<LoopTerm> terms, int64_t extent, int64_t offset = 0) {
  return {.terms = terms, .offset = offset, .extent = extent};
}

Access Affine(Role role, absl::InlinedVector<IndexExpr, 5> index, bool is_output = false) {
  return {.role = role,
          .is_output = is_output,
          .reads = !is_output,
          .writes = is_output,
          .affine = true,
          .index = std::move(index)};
}

struct ConvShape {
  int64_t n = 1, k = 1, c = 1, p = 1, r = 1;  // c and k per group; p outputs and r taps in both dimensions
  int64_t stride = 1, dilation = 1, pad = 0, groups = 1;
};

// Y[n,g,k,p,q] += X[n,g,c,stride*p+dilation*r-pad,...] * W[g,k,c,r,s]
Kernel Conv(const ConvShape& s) {
  Kernel kernel{.contraction = true, .macs_per_point = 1};
  kernel.loops = {{'n', s.n}, {'g', s.groups}, {'k', s.k}, {'c', s.c}, {'p', s.p}, {'q', s.p}, {'r', s.r}, {'s', s.r}};
  const int64_t rows = (s.p - 1) * s.stride + (s.r - 1) * s.dilation + 1 - 2 * s.pad;
  const IndexExpr n = Index({{0, 1}}, s.n);
  kernel.accesses = {
      Affine(Role::kX,
             {n, Index({{1, s.c}, {3, 1}}, s.groups * s.c), Index({{4, s.stride}, {6, s.dilation}}, rows, -s.pad),
              Index({{5, s.stride}, {7, s.dilation}}, rows, -s.pad)}),
      Affine(Role::kW, {Index({{1, s.k}, {2, 1}}, s.groups * s.k), Index({{3, 1}}, s.c), Index({{6, 1}}, s.r),
                        Index({{7, 1}}, s.r)}),
      Affine(Role::kY, {n, Index({{1, s.k}, {2, 1}}, s.groups * s.k), Index({{4, 1}}, s.p), Index({{5, 1}}, s.p)},
             true)};
  return kernel;
}

// Y[b,m,n] += X[b,m,k] * W[k,n]; with `batched`, W[b,k,n].
Kernel MatMul(int64_t b, int64_t m, int64_t n, int64_t k, bool batched) {
  Kernel kernel{
      .contraction = true,
      .macs_per_point = 1,
  };
  kernel.loops = {{'b', b}, {'m', m}, {'n', n}, {'k', k}};
  kernel.accesses = {Affine(Role::kX, {Index({{0, 1}}, b), Index({{1, 1}}, m), Index({{3, 1}}, k)}),
                     Affine(batched ? Role::kX : Role::kW, {Index({{3, 1}}, k), Index({{2, 1}}, n)}),
                     Affine(Role::kY, {Index({{0, 1}}, b), Index({{1, 1}}, m), Index({{2, 1}}, n)}, true)};
  if (batched) kernel.accesses[1].index.insert(kernel.accesses[1].index.begin(), Index({{0, 1}}, b));
  return kernel;
}

ReuseFactors Factors(const Kernel& kernel) {
  const auto factors = ComputeReuseFactors(kernel);
  EXPECT_TRUE(factors.ok()) << factors.status();
  return factors.ok() ? *factors : ReuseFactors{};
}

TEST(ReuseFactorsTest, Convolution3x3) {
  const ReuseFactors factors = Factors(Conv({.n = 2, .k = 64, .c = 16, .p = 56, .r = 3, .pad = 1}));
  EXPECT_DOUBLE_EQ(factors.weight, 2 * 56 * 56);
  EXPECT_DOUBLE_EQ(factors.input, 64);
  EXPECT_DOUBLE_EQ(factors.convolutional, 3 * 3) << "rows * taps / rows: the padding makes up for the border";
  EXPECT_DOUBLE_EQ(factors.partial_sum, 16 * 3 * 3);
}

TEST(ReuseFactorsTest, ConvolutionWithoutPaddingUsesTheBorderLess) {
  const ReuseFactors factors = Factors(Conv({.k = 4, .c = 2, .p = 10, .r = 5}));
  EXPECT_DOUBLE_EQ(factors.convolutional, (10.0 * 5 / 14) * (10.0 * 5 / 14));
}

TEST(ReuseFactorsTest, StridedConvolution) {
  // 7x7, stride 2, padding 3 of ResNet's stem: 224 rows in, 112 out.
  ConvShape shape{.n = 32, .k = 64, .c = 3, .p = 112, .r = 7, .stride = 2, .pad = 3};
  Kernel kernel = Conv(shape);
  kernel.accesses[0].index[2].extent = kernel.accesses[0].index[3].extent = 224;
  const ReuseFactors factors = Factors(kernel);
  EXPECT_DOUBLE_EQ(factors.weight, 32 * 112 * 112);
  EXPECT_DOUBLE_EQ(factors.input, 64);
  EXPECT_DOUBLE_EQ(factors.convolutional, (112.0 * 7 / 224) * (112.0 * 7 / 224));
  EXPECT_DOUBLE_EQ(factors.partial_sum, 3 * 7 * 7);
}

TEST(ReuseFactorsTest, StrideAboveTheWindowHasNoConvolutionalReuse) {
  const ReuseFactors factors = Factors(Conv({.k = 8, .c = 4, .p = 7, .r = 2, .stride = 3}));
  EXPECT_DOUBLE_EQ(factors.convolutional, 1);
  EXPECT_EQ(factors.operands[0].elements, 4 * 14 * 14);
}

TEST(ReuseFactorsTest, DilatedConvolution) {
  // Two taps, two apart: positions p and p + 2, so 7 rows are touched by 5 * 2 points.
  const ReuseFactors factors = Factors(Conv({.k = 8, .c = 4, .p = 5, .r = 2, .dilation = 2}));
  EXPECT_DOUBLE_EQ(factors.convolutional, (5.0 * 2 / 7) * (5.0 * 2 / 7));
}

TEST(ReuseFactorsTest, GroupedConvolutionReusesInputsOnlyInItsGroup) {
  const ReuseFactors factors = Factors(Conv({.n = 2, .k = 4, .c = 8, .p = 6, .r = 3, .pad = 1, .groups = 32}));
  EXPECT_DOUBLE_EQ(factors.input, 4);
  EXPECT_DOUBLE_EQ(factors.weight, 2 * 6 * 6);
  EXPECT_DOUBLE_EQ(factors.partial_sum, 8 * 3 * 3);
}

TEST(ReuseFactorsTest, DepthwiseConvolutionHasConvolutionalReuseOnly) {
  const ReuseFactors factors = Factors(Conv({.n = 2, .p = 14, .r = 3, .pad = 1, .groups = 96}));
  EXPECT_DOUBLE_EQ(factors.input, 1);
  EXPECT_DOUBLE_EQ(factors.convolutional, 9);
  EXPECT_DOUBLE_EQ(factors.partial_sum, 9);
}

TEST(ReuseFactorsTest, PointwiseConvolutionIsAMatrixProduct) {
  const ReuseFactors factors = Factors(Conv({.n = 2, .k = 128, .c = 32, .p = 7}));
  EXPECT_DOUBLE_EQ(factors.weight, 2 * 7 * 7);
  EXPECT_DOUBLE_EQ(factors.input, 128);
  EXPECT_DOUBLE_EQ(factors.convolutional, 1);
  EXPECT_DOUBLE_EQ(factors.partial_sum, 32);
}

TEST(ReuseFactorsTest, BackwardOfAConvolution) {
  const Kernel forward = Conv({.n = 2, .k = 64, .c = 16, .p = 8, .r = 3, .pad = 1});
  const ReuseFactors dx = Factors(ContractionGradient(forward, 0));
  EXPECT_DOUBLE_EQ(dx.weight, 2 * 8 * 8) << "reads W";
  EXPECT_DOUBLE_EQ(dx.input, 16 * 3 * 3) << "dY is used for every input channel and tap";
  EXPECT_DOUBLE_EQ(dx.convolutional, 1);
  EXPECT_DOUBLE_EQ(dx.partial_sum, 64 * 3 * 3) << "accumulates into dX";
  const ReuseFactors dw = Factors(ContractionGradient(forward, 1));
  EXPECT_DOUBLE_EQ(dw.weight, 0) << "reads no weight";
  EXPECT_DOUBLE_EQ(dw.input, 64);
  EXPECT_DOUBLE_EQ(dw.convolutional, 3 * 3);
  EXPECT_DOUBLE_EQ(dw.partial_sum, 2 * 8 * 8) << "accumulates into dW over batch and positions";
}

TEST(ReuseFactorsTest, MatrixProducts) {
  const ReuseFactors shared = Factors(MatMul(8, 128, 512, 256, false));
  EXPECT_DOUBLE_EQ(shared.weight, 8 * 128);
  EXPECT_DOUBLE_EQ(shared.input, 512);
  EXPECT_DOUBLE_EQ(shared.partial_sum, 256);
  const ReuseFactors batched = Factors(MatMul(8, 128, 512, 256, true));
  EXPECT_DOUBLE_EQ(batched.weight, 0) << "two activations";
  EXPECT_DOUBLE_EQ(batched.operands[1].factor(), 128) << "no reuse across the batch";
}

TEST(ReuseFactorsTest, AnOperandThatBroadcastsInTheBatchIsReusedAcrossIt) {
  Kernel kernel = MatMul(8, 128, 512, 256, true);
  kernel.accesses[1].index[0] = Index({}, 1);
  EXPECT_DOUBLE_EQ(Factors(kernel).operands[1].broadcast, 8 * 128);
}

TEST(ReuseFactorsTest, OpaqueOperandsAreReusedByCount) {
  Kernel kernel;
  kernel.loops = {{'i', 1000}};
  kernel.accesses = {{.role = Role::kX, .elements = 1000},
                     {.role = Role::kW, .elements = 10},
                     {.role = Role::kY, .is_output = true, .reads = false, .writes = true, .elements = 50}};
  const ReuseFactors factors = Factors(kernel);
  EXPECT_DOUBLE_EQ(factors.input, 1);
  EXPECT_DOUBLE_EQ(factors.weight, 100);
  EXPECT_DOUBLE_EQ(factors.partial_sum, 20);
}

TEST(ReuseFactorsTest, NothingTouchedHasFactorZero) {
  const ReuseFactors factors = Factors(Conv({.n = 0, .k = 4, .c = 2, .p = 4}));
  for (const OperandReuse& operand : factors.operands) EXPECT_DOUBLE_EQ(operand.factor(), 0);
}

TEST(ReuseFactorsTest, TooManyPointsAreAnError) {
  EXPECT_EQ(ComputeReuseFactors(MatMul(1 << 20, 1 << 20, 1 << 20, 1 << 20, false)).status().code(),
            absl::StatusCode::kOutOfRange);
}

// Walks the whole nest: distinct index tuples inside the tensor; how often the loops that move the index come by.
struct Counted {
  int64_t elements = 0;
  int64_t distinct_positions_of_moving_loops = 0;
};

Counted Enumerate(const Kernel& kernel, const Access& access) {
  std::set<std::vector<int64_t>> elements, moving;
  std::vector<int64_t> at(kernel.loops.size(), 0);
  std::vector<bool> moves(kernel.loops.size(), false);
  for (const IndexExpr& expr : access.index) {
    for (const LoopTerm& term : expr.terms) moves[term.loop] = true;
  }
  const std::function<void(size_t)> walk = [&](size_t depth) {
    if (depth < kernel.loops.size()) {
      for (at[depth] = 0; at[depth] < kernel.loops[depth].trip; ++at[depth]) walk(depth + 1);
      return;
    }
    std::vector<int64_t> element, combination;
    bool inside = true;
    for (const IndexExpr& expr : access.index) {
      int64_t position = expr.offset;
      for (const LoopTerm& term : expr.terms) position += term.stride * at[term.loop];
      inside = inside && position >= 0 && position < expr.extent;
      element.push_back(position);
    }
    for (size_t i = 0; i < at.size(); ++i) combination.push_back(moves[i] ? at[i] : 0);
    moving.insert(combination);
    if (inside) elements.insert(element);
  };
  walk(0);
  return {static_cast<int64_t>(elements.size()), static_cast<int64_t>(moving.size())};
}

TEST(ReuseFactorsPropertyTest, AgreesWithWalkingTheNest) {
  std::mt19937 random(11);
  const auto pick = [&](int low, int high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
  for (int round = 0; round < 150; ++round) {
    const ConvShape shape{.n = pick(1, 2),
                          .k = pick(1, 3),
                          .c = pick(1, 3),
                          .p = pick(2, 5),
                          .r = pick(1, 3),
                          .stride = pick(1, 4),
                          .dilation = pick(1, 3),
                          .pad = 0,
                          .groups = pick(1, 2)};
    Kernel forward = Conv(shape);
    // Any extent and padding: windows may end in the padding, or short of the border.
    for (int dim : {2, 3}) {
      forward.accesses[0].index[dim].offset = -pick(0, 2);
      forward.accesses[0].index[dim].extent = std::max<int64_t>(1, forward.accesses[0].index[dim].extent + pick(-2, 2));
    }
    for (const Kernel& kernel : {forward, ContractionGradient(forward, 0), ContractionGradient(forward, 1)}) {
      const ReuseFactors factors = Factors(kernel);
      const double points = static_cast<double>(*Points(kernel));
      for (const OperandReuse& operand : factors.operands) {
        const Counted counted = Enumerate(kernel, kernel.accesses[operand.access]);
        ASSERT_EQ(operand.elements, counted.elements) << KernelEquation(kernel);
        if (counted.elements == 0) {
          ASSERT_EQ(operand.factor(), 0) << "all of it is padding";
          continue;
        }
        ASSERT_DOUBLE_EQ(operand.broadcast, points / counted.distinct_positions_of_moving_loops);
        ASSERT_DOUBLE_EQ(operand.factor(), points / counted.elements);
      }
    }
  }
}

}  // namespace
}  // namespace reusescope
