// Access lists for the tests of everything that is computed from a CostTable alone: written by hand, random, and of the
// size and form of real training steps.
//
//   StepBuilder step;
//   const StorageId x = step.Input(100), w = step.Parameter(10), y = step.Storage(100);
//   step.Kernel({.reads = {x, w}, .writes = {y}});
//   const CostTable cost = step.Take();

#ifndef REUSESCOPE_TESTS_ANALYSIS_CACHE_ACCESS_LISTS_H_
#define REUSESCOPE_TESTS_ANALYSIS_CACHE_ACCESS_LISTS_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "analysis/measure/cost.h"

namespace reusescope {

class StepBuilder {
 public:
  struct Operands {
    std::vector<StorageId> reads;
    std::vector<StorageId> updates;  // read and written
    std::vector<StorageId> writes;
    Phase phase = Phase::kForward;
    int64_t contraction_flops = 0;
    int64_t other_flops = 0;
    int64_t transcendentals = 0;
  };

  StorageId Storage(int64_t bytes, bool kept_to_end = false) {
    cost_.storages.push_back({.bytes = bytes, .kept_to_end = kept_to_end});
    return static_cast<StorageId>(cost_.storages.size()) - 1;
  }
  StorageId Input(int64_t bytes) {
    cost_.storages.push_back({.kind = ValueKind::kInput, .bytes = bytes, .input = true});
    return static_cast<StorageId>(cost_.storages.size()) - 1;
  }
  StorageId Parameter(int64_t bytes, ValueKind kind = ValueKind::kParameter) {
    cost_.storages.push_back({.kind = kind, .bytes = bytes, .persistent = true});
    return static_cast<StorageId>(cost_.storages.size()) - 1;
  }
  StorageId ParameterGradient(int64_t bytes) {
    cost_.storages.push_back(
        {.kind = ValueKind::kGradient, .parameter_gradient = true, .bytes = bytes, .kept_to_end = true});
    return static_cast<StorageId>(cost_.storages.size()) - 1;
  }
  int64_t BytesOf(StorageId storage) const { return cost_.storages[storage].bytes; }

  void Kernel(const Operands& operands) {
    BeginKernel(operands.phase);
    for (StorageId id : operands.reads) AddTouch({id, BytesOf(id), true, false});
    for (StorageId id : operands.updates) AddTouch({id, BytesOf(id), true, true});
    for (StorageId id : operands.writes) AddTouch({id, BytesOf(id), false, true});
    KernelCost& kernel = cost_.kernels.back();
    kernel.contraction = operands.contraction_flops > 0;
    kernel.macs = operands.contraction_flops / 2;
    kernel.contraction_flops = operands.contraction_flops;
    kernel.flops = operands.contraction_flops + operands.other_flops;
    kernel.transcendentals = operands.transcendentals;
  }
  void BeginKernel(Phase phase = Phase::kForward) {
    cost_.kernels.push_back({.node = static_cast<NodeId>(cost_.kernels.size()),
                             .phase = phase,
                             .first_touch = static_cast<int32_t>(cost_.touches.size())});
  }
  void AddTouch(const Touch& touch) {
    KernelCost& kernel = cost_.kernels.back();
    cost_.touches.push_back(touch);
    ++kernel.num_touches;
    if (touch.reads) kernel.read_bytes += touch.bytes;
    if (touch.writes) kernel.write_bytes += touch.bytes;
  }

  CostTable Take() { return std::move(cost_); }

 private:
  CostTable cost_;
};

// Any access list at all: up to `kernels` kernels of up to 3 touches on up to `storages` storages of up to `bytes`
// bytes, some touched in part, some persistent.
inline CostTable RandomAccessList(std::mt19937& random, int kernels, int storages, int bytes, bool parts) {
  auto pick = [&random](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  StepBuilder step;
  for (int i = 0; i < storages; ++i) {
    const int size = pick(1, bytes);
    switch (pick(0, 5)) {
      case 0:
        step.Parameter(size);
        break;
      case 1:
        step.Input(size);
        break;
      case 2:
        step.Storage(size, /*kept_to_end=*/true);
        break;
      default:
        step.Storage(size);
    }
  }
  for (int k = 0; k < kernels; ++k) {
    step.BeginKernel();
    std::vector<StorageId> ids(storages);
    for (int i = 0; i < storages; ++i) ids[i] = i;
    std::shuffle(ids.begin(), ids.end(), random);
    const int touches = pick(1, std::min(3, storages));
    for (int t = 0; t < touches; ++t) {
      const int mode = pick(0, 5);  // mostly reads, as in real steps
      const auto size = static_cast<int>(step.BytesOf(ids[t]));
      step.AddTouch({ids[t], parts && pick(0, 3) == 0 ? pick(1, size) : size, mode != 4, mode >= 4});
    }
  }
  return step.Take();
}

// A training step of convolutions, batch normalizations, ReLUs and residual additions, written tape-wise: each layer
// appends its forward kernel and remembers its backward one. fp32, AdamW, updates at the end.
class ConvNetStep {
 public:
  struct Tensor {
    StorageId storage;
    int64_t batch, channels, size;
    int64_t elements() const { return batch * channels * size * size; }
  };

  Tensor Input(int64_t batch, int64_t channels, int64_t size) {
    Tensor x{step_.Input(4 * batch * channels * size * size), batch, channels, size};
    input_ = x.storage;
    return x;
  }

  Tensor Conv(const Tensor& x, int64_t channels, int64_t window, int64_t stride) {
    const Tensor y = Make(x.batch, channels, (x.size + stride - 1) / stride);
    const StorageId w = NewParameter(4 * channels * x.channels * window * window);
    const int64_t flops = 2 * y.elements() * x.channels * window * window;
    step_.Kernel({.reads = {x.storage, w}, .writes = {y.storage}, .contraction_flops = flops});
    tape_.push_back([this, x, y, w, flops] {
      const StorageId dy = GradientOf(y.storage);
      if (x.storage != input_) Accumulate(x.storage, {dy, w}, flops);
      Backward({dy, x.storage}, {gradient_of_parameter_[w]}, flops);
    });
    return y;
  }
  Tensor BatchNorm(const Tensor& x) {
    const Tensor y = Make(x.batch, x.channels, x.size);
    const StorageId gamma = NewParameter(4 * x.channels), beta = NewParameter(4 * x.channels);
    const StorageId statistics = step_.Storage(8 * x.channels);
    step_.Kernel(
        {.reads = {x.storage, gamma, beta}, .writes = {y.storage, statistics}, .other_flops = 8 * x.elements()});
    tape_.push_back([this, x, y, gamma, beta, statistics] {
      const StorageId dx = step_.Storage(4 * x.elements());
      Backward({GradientOf(y.storage), x.storage, gamma, statistics},
               {dx, gradient_of_parameter_[gamma], gradient_of_parameter_[beta]}, 0, 11 * x.elements());
      AddGradient(x.storage, dx);
    });
    return y;
  }
  Tensor Relu(const Tensor& x) {
    const Tensor y = Make(x.batch, x.channels, x.size);
    step_.Kernel({.reads = {x.storage}, .writes = {y.storage}, .other_flops = x.elements()});
    tape_.push_back([this, x, y] { Accumulate(x.storage, {GradientOf(y.storage), y.storage}, 0); });
    return y;
  }
  Tensor Add(const Tensor& a, const Tensor& b) {
    const Tensor y = Make(a.batch, a.channels, a.size);
    step_.Kernel({.reads = {a.storage, b.storage}, .writes = {y.storage}, .other_flops = a.elements()});
    tape_.push_back([this, a, b, y] {
      AddGradient(a.storage, GradientOf(y.storage));
      AddGradient(b.storage, GradientOf(y.storage));
    });
    return y;
  }
  Tensor MaxPool(const Tensor& x, int64_t stride) {
    const Tensor y = Make(x.batch, x.channels, x.size / stride);
    const StorageId indices = step_.Storage(8 * y.elements());
    step_.Kernel({.reads = {x.storage}, .writes = {y.storage, indices}, .other_flops = 9 * y.elements()});
    tape_.push_back([this, x, y, indices] { Accumulate(x.storage, {GradientOf(y.storage), indices}, 0); });
    return y;
  }
  Tensor Linear(const Tensor& x, int64_t outputs) {
    const Tensor y = Make(x.batch, outputs, 1);
    const StorageId w = NewParameter(4 * outputs * x.channels * x.size * x.size);
    const int64_t flops = 2 * outputs * x.elements();
    step_.Kernel({.reads = {x.storage, w}, .writes = {y.storage}, .contraction_flops = flops});
    tape_.push_back([this, x, y, w, flops] {
      const StorageId dy = GradientOf(y.storage);
      Accumulate(x.storage, {dy, w}, flops);
      Backward({dy, x.storage}, {gradient_of_parameter_[w]}, flops);
    });
    return y;
  }

  // Loss on y, backward, AdamW.
  CostTable Finish(const Tensor& y) {
    const StorageId dy = step_.Storage(4 * y.elements());
    step_.Kernel(
        {.reads = {y.storage}, .writes = {dy}, .other_flops = 3 * y.elements(), .transcendentals = y.elements()});
    AddGradient(y.storage, dy);
    while (!tape_.empty()) {
      tape_.back()();
      tape_.pop_back();
    }
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const StorageId w = parameters_[i];
      const int64_t bytes = step_.BytesOf(w);
      const StorageId m = step_.Parameter(bytes, ValueKind::kOptimizerState);
      const StorageId v = step_.Parameter(bytes, ValueKind::kOptimizerState);
      step_.Kernel({.reads = {gradient_of_parameter_[w]},
                    .updates = {w, m, v},
                    .phase = Phase::kUpdate,
                    .other_flops = 12 * bytes / 4,
                    .transcendentals = 2 * bytes / 4});
    }
    return step_.Take();
  }

 private:
  Tensor Make(int64_t batch, int64_t channels, int64_t size) {
    return {step_.Storage(4 * batch * channels * size * size), batch, channels, size};
  }
  StorageId NewParameter(int64_t bytes) {
    const StorageId w = step_.Parameter(bytes);
    parameters_.push_back(w);
    Grow(gradient_of_parameter_, w) = step_.ParameterGradient(bytes);
    return w;
  }
  StorageId GradientOf(StorageId storage) { return Grow(gradient_, storage); }
  static StorageId& Grow(std::vector<StorageId>& map, StorageId key) {
    if (map.size() <= static_cast<size_t>(key)) map.resize(key + 1, kNoStorage);
    return map[key];
  }
  void Backward(std::vector<StorageId> reads, std::vector<StorageId> writes, int64_t contraction_flops,
                int64_t other_flops = 0) {
    step_.Kernel({.reads = std::move(reads),
                  .writes = std::move(writes),
                  .phase = Phase::kBackward,
                  .contraction_flops = contraction_flops,
                  .other_flops = other_flops});
  }
  // A kernel that computes a gradient of `storage`, and the addition if there is one already.
  void Accumulate(StorageId storage, std::vector<StorageId> reads, int64_t contraction_flops) {
    const StorageId dx = step_.Storage(step_.BytesOf(storage));
    Backward(std::move(reads), {dx}, contraction_flops, contraction_flops > 0 ? 0 : step_.BytesOf(storage) / 4);
    AddGradient(storage, dx);
  }
  void AddGradient(StorageId storage, StorageId dx) {
    StorageId& gradient = Grow(gradient_, storage);
    if (gradient == kNoStorage) {
      gradient = dx;
      return;
    }
    const StorageId sum = step_.Storage(step_.BytesOf(storage));
    Backward({gradient, dx}, {sum}, 0, step_.BytesOf(storage) / 4);
    Grow(gradient_, storage) = sum;
  }

  StepBuilder step_;
  StorageId input_ = kNoStorage;
  std::vector<StorageId> parameters_;
  std::vector<StorageId> gradient_of_parameter_, gradient_;
  std::vector<std::function<void()>> tape_;
};

// ResNet-50 v1.5: 53 convolutions, 16 residual blocks.
inline CostTable ResNet50Step(int64_t batch) {
  ConvNetStep net;
  auto conv_bn = [&net](const ConvNetStep::Tensor& x, int64_t channels, int64_t window, int64_t stride) {
    return net.BatchNorm(net.Conv(x, channels, window, stride));
  };
  auto x = net.MaxPool(net.Relu(conv_bn(net.Input(batch, 3, 224), 64, 7, 2)), 2);
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < blocks[stage]; ++block) {
      const int64_t width = 64 << stage;
      const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      auto y = net.Relu(conv_bn(x, width, 1, 1));
      y = net.Relu(conv_bn(y, width, 3, stride));
      y = conv_bn(y, 4 * width, 1, 1);
      const auto skip = block == 0 ? conv_bn(x, 4 * width, 1, stride) : x;
      x = net.Relu(net.Add(y, skip));
    }
  }
  return net.Finish(net.Linear(net.MaxPool(x, 7), 1000));
}

inline CostTable Vgg16Step(int64_t batch) {
  ConvNetStep net;
  auto x = net.Input(batch, 3, 224);
  for (const auto& [layers, channels] :
       std::vector<std::pair<int, int64_t>>{{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}}) {
    for (int i = 0; i < layers; ++i) x = net.Relu(net.Conv(x, channels, 3, 1));
    x = net.MaxPool(x, 2);
  }
  x = net.Relu(net.Linear(x, 4096));
  x = net.Relu(net.Linear(x, 4096));
  return net.Finish(net.Linear(x, 1000));
}

}  // namespace reusescope

#endif  // REUSESCOPE_TESTS_ANALYSIS_CACHE_ACCESS_LISTS_H_
