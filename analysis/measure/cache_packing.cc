#include "analysis/measure/cache_packing.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "absl/container/inlined_vector.h"

namespace reusescope {
namespace {

// How the price of a gap changes from pass to pass. Chosen by trial on training steps of ResNet-50 and VGG-16 and on
// random lists: larger steps overshoot, smaller ones need more passes.
constexpr double kDearer = 1.6;
constexpr double kCheaper = 0.5;
constexpr double kLeastPrice = 1e-3;

// Bytes in use in every gap, with the maximum over any range: a segment tree without push-down. A node's maximum
// includes what was added to it and below it, but not above it.
class GapUse {
 public:
  explicit GapUse(int gaps) {
    while (size_ < gaps) size_ *= 2;
    nodes_.resize(2 * size_);
  }
  void Clear() { std::fill(nodes_.begin(), nodes_.end(), Node{}); }

  void Add(int begin, int end, int64_t bytes) {
    const int first = begin + size_, last = end - 1 + size_;
    for (int l = first, r = last + 1; l < r; l /= 2, r /= 2) {
      if (l & 1) AddToNode(l++, bytes);
      if (r & 1) AddToNode(--r, bytes);
    }
    int l = first / 2, r = last / 2;
    for (; l != r; l /= 2, r /= 2) {
      Pull(l);
      Pull(r);
    }
    if (l >= 1) Pull(l);  // may be a node that was added to: what is above has to change even if it does not
    for (l /= 2; l >= 1 && Pull(l);) l /= 2;
  }

  int64_t Max(int begin, int end) const {
    int l = begin + size_, r = end - 1 + size_;
    int64_t left = nodes_[l].max, right = nodes_[r].max;
    for (; l / 2 != r / 2; l /= 2, r /= 2) {
      if (!(l & 1)) left = std::max(left, nodes_[l + 1].max);
      if (r & 1) right = std::max(right, nodes_[r - 1].max);
      left += nodes_[l / 2].added;
      right += nodes_[r / 2].added;
    }
    int64_t max = std::max(left, right);
    for (l /= 2; l >= 1; l /= 2) max += nodes_[l].added;
    return max;
  }

 private:
  struct Node {
    int64_t max = 0;
    int64_t added = 0;  // to the whole range of the node
  };
  void AddToNode(int node, int64_t bytes) {
    nodes_[node].max += bytes;
    nodes_[node].added += bytes;
  }
  // False: it was right already, and so are the nodes above.
  bool Pull(int node) {
    const int64_t max = std::max(nodes_[2 * node].max, nodes_[2 * node + 1].max) + nodes_[node].added;
    const bool changed = max != nodes_[node].max;
    nodes_[node].max = max;
    return changed;
  }

  int size_ = 1;
  std::vector<Node> nodes_;
};

class Packer {
 public:
  Packer(const ReuseChains& chains, int64_t capacity_bytes, const std::vector<double>& first_prices)
      : chains_(chains),
        capacity_(capacity_bytes),
        price_(first_prices.empty() ? std::vector<double>(chains.num_events(), 1.0) : first_prices),
        price_before_(chains.num_events() + 1, 0.0),
        use_(chains.num_events()) {}

  Packing Run(int passes) {
    Packing best;
    int64_t best_traffic = std::numeric_limits<int64_t>::max();
    for (int pass = 0; pass < passes; ++pass) {
      if (pass > 0) Reprice();
      Pass();
      const int64_t traffic = chains_.TotalTrafficOf(kept_);
      if (traffic < best_traffic) {
        best_traffic = traffic;
        best = {kept_, price_};
      }
    }
    return best;
  }

 private:
  // One interval, or those intervals of a chain that are kept last, for the sake of the write-back.
  struct Item {
    double length_over_gain;
    int32_t index;
    bool chain;
    bool operator<(const Item& other) const {
      if (length_over_gain != other.length_over_gain) return length_over_gain < other.length_over_gain;
      return chain != other.chain ? chain : index < other.index;
    }
  };

  double Length(const ReuseInterval& interval) const {
    return price_before_[interval.end] - price_before_[interval.begin];
  }

  bool IsChain(const ReuseInterval& interval) const {
    return interval.chain >= 0 && chains_.chains()[interval.chain].last - chains_.chains()[interval.chain].first == 1;
  }

  // Ratio of the intervals of a chain that should be kept together: the dearest, and every other one that by itself
  // would come after them. The intervals at least that long are the ones (length >= `shortest`).
  double ChainRatio(const ReuseChain& chain, double& shortest) {
    lengths_.clear();
    for (int32_t i = chain.first; i < chain.last; ++i) lengths_.push_back(Length(chains_.intervals()[i]));
    const bool saves_fetch = chains_.intervals()[chain.first].saves_fetch;
    if (lengths_.size() > 1) std::sort(lengths_.begin(), lengths_.end(), std::greater<double>());
    double sum = 0, ratio = 0;
    for (size_t taken = 0; taken < lengths_.size() && (taken == 0 || lengths_[taken] > ratio); ++taken) {
      sum += lengths_[taken];
      shortest = lengths_[taken];
      ratio = saves_fetch ? sum / static_cast<double>(taken + 2) : sum;
    }
    return ratio;
  }

  void Pass() {
    for (size_t gap = 0; gap < price_.size(); ++gap) price_before_[gap + 1] = price_before_[gap] + price_[gap];
    items_.clear();
    shortest_in_group_.resize(chains_.chains().size());
    for (size_t c = 0; c < chains_.chains().size(); ++c) {
      items_.push_back({ChainRatio(chains_.chains()[c], shortest_in_group_[c]), static_cast<int32_t>(c), true});
    }
    for (size_t i = 0; i < chains_.intervals().size(); ++i) {
      const ReuseInterval& interval = chains_.intervals()[i];
      // Alone in its chain, it has got what there was room for as a group.
      if (interval.saves_fetch && !IsChain(interval)) {
        items_.push_back({Length(interval), static_cast<int32_t>(i), false});
      }
    }
    std::sort(items_.begin(), items_.end());
    kept_.assign(chains_.intervals().size(), 0);
    use_.Clear();
    for (const Item& item : items_) {
      if (item.chain) {
        KeepGroup(chains_.chains()[item.index], shortest_in_group_[item.index]);
      } else {
        Raise(item.index, Room(item.index));
      }
    }
  }

  int64_t Room(int32_t i) const {
    const ReuseInterval& interval = chains_.intervals()[i];
    const int64_t wanted = interval.bytes - kept_[i];
    return wanted == 0 ? 0 : std::min(wanted, capacity_ - use_.Max(interval.begin, interval.end));
  }

  void Raise(int32_t i, int64_t bytes) {
    if (bytes <= 0) return;
    kept_[i] += bytes;
    use_.Add(chains_.intervals()[i].begin, chains_.intervals()[i].end, bytes);
  }

  // Raises the group to one level, as far as the rest of the chain is kept.
  void KeepGroup(const ReuseChain& chain, double shortest) {
    int64_t level = std::numeric_limits<int64_t>::max();
    for (int32_t i = chain.first; i < chain.last; ++i) {
      const bool in_group = Length(chains_.intervals()[i]) >= shortest;
      level = std::min(level, kept_[i] + (in_group ? Room(i) : 0));
    }
    for (int32_t i = chain.first; i < chain.last; ++i) Raise(i, level - kept_[i]);
  }

  void Reprice() {
    std::vector<int64_t> change(price_.size() + 1, 0);
    for (size_t i = 0; i < kept_.size(); ++i) {
      change[chains_.intervals()[i].begin] += kept_[i];
      change[chains_.intervals()[i].end] -= kept_[i];
    }
    int64_t use = 0;
    for (size_t gap = 0; gap < price_.size(); ++gap) {
      use += change[gap];
      const double share = capacity_ > 0 ? static_cast<double>(use) / static_cast<double>(capacity_) : 1.0;
      price_[gap] *= share > 0.999 ? kDearer : kCheaper * std::max(share, 0.3);
      price_[gap] = std::max(price_[gap], kLeastPrice);
    }
  }

  const ReuseChains& chains_;
  const int64_t capacity_;
  std::vector<double> price_;         // by gap
  std::vector<double> price_before_;  // sum over the gaps before
  std::vector<double> shortest_in_group_;
  std::vector<double> lengths_;
  std::vector<Item> items_;
  std::vector<int64_t> kept_;
  GapUse use_;
};

}  // namespace

Packing PackIntervals(const ReuseChains& chains, int64_t capacity_bytes, int passes,
                      const std::vector<double>& first_prices) {
  if (chains.intervals().empty()) return {{}, std::vector<double>(chains.num_events(), 1.0)};
  return Packer(chains, capacity_bytes, first_prices).Run(passes);
}

}  // namespace reusescope
