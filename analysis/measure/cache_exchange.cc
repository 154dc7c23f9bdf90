#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "analysis/measure/cache_packing.h"

namespace reusescope {
namespace {

// Looks for a raise (of one interval, or of all intervals that hold back a chain) that gains more than the cheapest set
// of bytes that must leave for it. Making room in the gaps of one interval is a shortest path along time: a gap with
// room costs nothing, and a kept interval leads over all the gaps that it fills at its loss per byte.
class Exchanger {
 public:
  Exchanger(const ReuseChains& chains, int64_t capacity_bytes, int64_t work_limit, std::vector<int64_t>& kept)
      : chains_(chains), capacity_(capacity_bytes), work_(work_limit), kept_(kept), use_(chains.num_events() + 1, 0) {
    for (size_t i = 0; i < kept_.size(); ++i) {
      use_[interval(i).begin] += kept_[i];
      use_[interval(i).end] -= kept_[i];
    }
    std::partial_sum(use_.begin(), use_.end(), use_.begin());
    work_ -= static_cast<int64_t>(kept_.size() + use_.size());
  }

  void Run() {
    for (bool improved = true; improved && work_ > 0;) {
      improved = false;
      for (size_t c = 0; c < chains_.chains().size() && work_ > 0; ++c) improved |= TryChain(chains_.chains()[c]);
      for (size_t i = 0; i < kept_.size() && work_ > 0; ++i) improved |= TryInterval(static_cast<int32_t>(i));
    }
  }

 private:
  struct Change {
    int32_t interval;
    int64_t bytes;
  };

  const ReuseInterval& interval(size_t i) const { return chains_.intervals()[i]; }

  void AddUse(size_t i, int64_t bytes) {
    for (int32_t gap = interval(i).begin; gap < interval(i).end; ++gap) use_[gap] += bytes;
    work_ -= interval(i).length();
  }

  int64_t LeastOfChain(int32_t chain) const {
    const ReuseChain& c = chains_.chains()[chain];
    return *std::min_element(kept_.begin() + c.first, kept_.begin() + c.last);
  }

  // What a byte of the interval is worth to its plan, and for how many bytes that holds.
  int Loss(int32_t i, int64_t& bytes) const {
    int loss = interval(i).saves_fetch ? 1 : 0;
    bytes = kept_[i];
    if (interval(i).chain < 0) return loss;
    const int64_t least = LeastOfChain(interval(i).chain);
    if (kept_[i] == least) return loss + 1;
    bytes = kept_[i] - least;
    return loss;
  }

  // Cheapest way to free `bytes` (lowered to what can be) in every gap of interval i; the intervals that must give way
  // are appended to `leaving`. Returns the loss per byte.
  int MakeRoom(int32_t i, const std::vector<int32_t>& raised, int64_t& bytes, std::vector<int32_t>& leaving) {
    const int32_t begin = interval(i).begin, length = interval(i).length();
    constexpr int kFar = std::numeric_limits<int>::max() / 2;
    cost_.assign(length + 1, kFar);
    via_.assign(length + 1, -2);
    from_.assign(length + 1, 0);
    cost_[0] = 0;
    CollectKept(i, raised);
    for (int32_t gap = 0; gap < length && work_ > 0; ++gap) {
      if (cost_[gap] == kFar) continue;
      work_ -= 1 + static_cast<int64_t>(candidates_.size());
      if (use_[begin + gap] < capacity_) Reach(gap + 1, gap, cost_[gap], -1);
      for (const Candidate& candidate : candidates_) {
        const ReuseInterval& other = interval(candidate.interval);
        if (other.begin > begin + gap || other.end <= begin + gap) continue;
        const int32_t to = std::min(other.end - begin, length);
        work_ -= to - gap;
        for (int32_t g = gap + 1; g <= to; ++g) Reach(g, gap, cost_[gap] + candidate.loss, candidate.interval);
      }
    }
    if (cost_[length] == kFar) return kFar;
    for (int32_t gap = length; gap > 0; gap = from_[gap]) {
      if (via_[gap] == -1) {
        bytes = std::min(bytes, capacity_ - use_[begin + gap - 1]);
      } else {
        int64_t held = 0;
        Loss(via_[gap], held);
        bytes = std::min(bytes, held);
        leaving.push_back(via_[gap]);
      }
    }
    return cost_[length];
  }

  void Reach(int32_t gap, int32_t from, int cost, int32_t via) {
    if (cost >= cost_[gap]) return;
    cost_[gap] = cost;
    from_[gap] = from;
    via_[gap] = via;
  }

  // The kept intervals that share a gap with interval i and are not themselves to be raised.
  void CollectKept(int32_t i, const std::vector<int32_t>& raised) {
    candidates_.clear();
    for (size_t k = 0; k < kept_.size(); ++k) {
      const ReuseInterval& other = interval(k);
      if (kept_[k] == 0 || other.begin >= interval(i).end || other.end <= interval(i).begin) continue;
      if (std::find(raised.begin(), raised.end(), static_cast<int32_t>(k)) != raised.end()) continue;
      int64_t bytes = 0;
      candidates_.push_back({static_cast<int32_t>(k), Loss(static_cast<int32_t>(k), bytes)});
    }
    work_ -= static_cast<int64_t>(kept_.size());
  }

  bool TryInterval(int32_t i) {
    if (!interval(i).saves_fetch || kept_[i] == interval(i).bytes) return false;
    return Try({i}, interval(i).bytes - kept_[i], 1);
  }

  // All intervals of the chain that are kept the least, up to the next level.
  bool TryChain(const ReuseChain& chain) {
    const int64_t least = *std::min_element(kept_.begin() + chain.first, kept_.begin() + chain.last);
    const int64_t full = interval(chain.first).bytes;
    if (least == full) return false;
    std::vector<int32_t> lowest;
    int64_t next = full;
    for (int32_t i = chain.first; i < chain.last; ++i) {
      if (kept_[i] == least) {
        lowest.push_back(i);
      } else {
        next = std::min(next, kept_[i]);
      }
    }
    const int fetches = interval(chain.first).saves_fetch ? static_cast<int>(lowest.size()) : 0;
    return Try(lowest, next - least, fetches + 1);
  }

  bool Try(const std::vector<int32_t>& raised, int64_t bytes, int gain_per_byte) {
    std::vector<int32_t> leaving;
    int64_t loss = 0;
    for (int32_t i : raised) {
      loss += MakeRoom(i, raised, bytes, leaving);
      if (loss >= gain_per_byte || bytes <= 0) return false;
    }
    // An interval may be in the way of several raised ones, and leaves once.
    std::sort(leaving.begin(), leaving.end());
    leaving.erase(std::unique(leaving.begin(), leaving.end()), leaving.end());
    std::vector<Change> changes;
    for (int32_t i : raised) changes.push_back({i, bytes});
    for (int32_t i : leaving) changes.push_back({i, -bytes});
    const int64_t before = chains_.TotalTrafficOf(kept_);
    Apply(changes, 1);
    work_ -= 2 * static_cast<int64_t>(kept_.size());
    if (chains_.TotalTrafficOf(kept_) < before && Fits(raised)) return true;
    Apply(changes, -1);
    return false;
  }

  void Apply(const std::vector<Change>& changes, int sign) {
    for (const Change& change : changes) {
      kept_[change.interval] += sign * change.bytes;
      AddUse(change.interval, sign * change.bytes);
    }
  }

  bool Fits(const std::vector<int32_t>& raised) const {
    for (int32_t i : raised) {
      for (int32_t gap = interval(i).begin; gap < interval(i).end; ++gap) {
        if (use_[gap] > capacity_) return false;
      }
    }
    return true;
  }

  struct Candidate {
    int32_t interval;
    int loss;
  };

  const ReuseChains& chains_;
  const int64_t capacity_;
  int64_t work_;
  std::vector<int64_t>& kept_;
  std::vector<int64_t> use_;  // by gap
  std::vector<Candidate> candidates_;
  std::vector<int> cost_;      // by gap of the interval to be raised: least loss per byte to make room before it
  std::vector<int32_t> from_;  // the gap that it was reached from, and
  std::vector<int32_t> via_;   // the interval that leaves for it; -1: there is room
};

}  // namespace

void ImproveByExchange(const ReuseChains& chains, int64_t capacity_bytes, int64_t work_limit,
                       std::vector<int64_t>& kept) {
  Exchanger(chains, capacity_bytes, work_limit, kept).Run();
}

}  // namespace reusescope
