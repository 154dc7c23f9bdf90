#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <queue>
#include <utility>
#include <vector>

#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cache_intervals.h"
#include "analysis/measure/cache_packing.h"

namespace reusescope {
namespace {

using Wide = absl::int128;

// How well the curve should be known between two rungs: relative to the traffic.
constexpr double kTolerance = 0.01;
// Intervals packed in all rungs and passes together, and the bounds for one list.
constexpr int64_t kPackingBudget = 200'000;
constexpr int kMaxRungs = 48, kMinRungs = 1;
// For the first rung, and for one between two packed ones, which starts from their prices; one on lists of which the
// budget allows no more.
constexpr int kColdPasses = 5, kWarmPasses = 2;
// Gaps and intervals looked at by the exchange, for each rung.
constexpr int64_t kExchangeWork = 20'000;

// ceil(a / b). REQUIRES: a >= 0, b > 0.
Wide DivideUp(Wide a, Wide b) { return (a + b - 1) / b; }

// The value at `at` of the straight line through two points, rounded up.
template <typename Point>
int64_t Chord(const Point& lower, const Point& upper, int64_t at) {
  const Wide run = upper.capacity_bytes - lower.capacity_bytes;
  const Wide above = static_cast<Wide>(lower.traffic_bytes) * (upper.capacity_bytes - at) +
                     static_cast<Wide>(upper.traffic_bytes) * (at - lower.capacity_bytes);
  return static_cast<int64_t>(DivideUp(above, run));
}

// The most bytes kept in any gap.
int64_t PeakOf(const ReuseChains& chains, const std::vector<int64_t>& kept) {
  const std::vector<int64_t> held = chains.HeldBytesOf(kept);
  return held.empty() ? 0 : *std::max_element(held.begin(), held.end());
}

struct PackedRung {
  int64_t capacity_bytes = 0;
  int64_t traffic_bytes = 0;
  std::shared_ptr<const std::vector<int64_t>> kept;
  std::vector<double> prices;  // empty where nothing had to be chosen
};

// Prices for a capacity between two others: the geometric mean.
std::vector<double> PricesBetween(const std::vector<double>& lower, const std::vector<double>& upper) {
  if (lower.empty() || upper.empty()) return lower.empty() ? upper : lower;
  std::vector<double> prices(lower.size());
  for (size_t gap = 0; gap < prices.size(); ++gap) prices[gap] = std::sqrt(lower[gap] * upper[gap]);
  return prices;
}

// Packs at chosen capacities: halves the stretch between two rungs in which the curve bends most, until it is straight
// within the tolerance everywhere or the budget is used up.
class Ladder {
 public:
  explicit Ladder(const ReuseChains& chains) : chains_(chains) {
    const int64_t all_passes = kPackingBudget / (static_cast<int64_t>(chains.intervals().size()) + 1);
    max_rungs_ = static_cast<int>(std::clamp<int64_t>(all_passes / kWarmPasses, kMinRungs, kMaxRungs));
    cold_passes_ = static_cast<int>(std::clamp<int64_t>(all_passes / kMinRungs, 1, kColdPasses));
    warm_passes_ = std::min(cold_passes_, kWarmPasses);
  }

  std::vector<PackedRung> Climb() && {
    std::vector<int64_t> all;
    for (const ReuseInterval& interval : chains_.intervals()) all.push_back(interval.bytes);
    const int64_t top = PeakOf(chains_, all);
    Add(0, {std::vector<int64_t>(all.size(), 0), {}});
    if (top == 0) return std::move(rungs_);
    Add(top, {std::move(all), {}});
    Split(0, 1);
    while (!open_.empty() && static_cast<int>(rungs_.size()) < max_rungs_ + 2) {
      const Stretch stretch = open_.top();
      open_.pop();
      Split(stretch.lower, stretch.middle);
      Split(stretch.middle, stretch.upper);
    }
    return std::move(rungs_);
  }

 private:
  struct Stretch {
    double bend;  // how far the middle rung is below the straight line, relative to its traffic
    size_t lower, middle, upper;
    bool operator<(const Stretch& other) const { return bend < other.bend; }
  };

  size_t Add(int64_t capacity_bytes, Packing packing) {
    const int64_t traffic = chains_.TotalTrafficOf(packing.kept);
    rungs_.push_back({capacity_bytes, traffic, std::make_shared<const std::vector<int64_t>>(std::move(packing.kept)),
                      std::move(packing.prices)});
    return rungs_.size() - 1;
  }

  // Packs in the middle of two rungs, and remembers the stretch if it bends there.
  void Split(size_t lower, size_t upper) {
    const int64_t low = rungs_[lower].capacity_bytes, high = rungs_[upper].capacity_bytes;
    if (high - low < 2 || static_cast<int>(rungs_.size()) >= max_rungs_ + 2) return;
    const int64_t capacity = low + (high - low) / 2;
    const bool warm = !rungs_[lower].prices.empty() && !rungs_[upper].prices.empty();
    Packing packing = PackIntervals(chains_, capacity, warm ? warm_passes_ : cold_passes_,
                                    PricesBetween(rungs_[lower].prices, rungs_[upper].prices));
    ImproveByExchange(chains_, capacity, kExchangeWork, packing.kept);
    const size_t middle = Add(capacity, std::move(packing));
    const int64_t traffic = rungs_[middle].traffic_bytes;
    const int64_t below = Chord(rungs_[lower], rungs_[upper], capacity) - traffic;
    const double bend = static_cast<double>(below) / static_cast<double>(std::max<int64_t>(traffic, 1));
    if (bend > kTolerance) open_.push({bend, lower, middle, upper});
  }

  const ReuseChains& chains_;
  int cold_passes_, warm_passes_, max_rungs_;
  std::vector<PackedRung> rungs_;
  std::priority_queue<Stretch> open_;
};

}  // namespace

absl::StatusOr<ManagedCurve> ComputeManagedCurve(const CostTable& cost, const LruCurve& lru) {
  if (lru.chains_ == nullptr || lru.chains_->num_kernels() != static_cast<int>(cost.kernels.size())) {
    return absl::InvalidArgumentError("the LRU curve belongs to another cost table");
  }
  ManagedCurve curve;
  curve.chains_ = lru.chains_;
  const auto before = [](const ManagedCurve::Rung& a, const ManagedCurve::Rung& b) {
    return a.capacity_bytes != b.capacity_bytes ? a.capacity_bytes < b.capacity_bytes
                                                : a.traffic_bytes < b.traffic_bytes;
  };
  std::vector<ManagedCurve::Rung> rungs;
  rungs.reserve(lru.points_.size() + kMaxRungs + 2);
  for (PackedRung& rung : Ladder(*curve.chains_).Climb()) {
    rungs.push_back({rung.capacity_bytes, rung.traffic_bytes, std::move(rung.kept)});
  }
  std::stable_sort(rungs.begin(), rungs.end(), before);
  const auto packed = static_cast<std::ptrdiff_t>(rungs.size());
  for (const LruCurve::Point& point : lru.points_) {
    rungs.push_back({point.capacity_bytes, point.traffic_bytes, nullptr});
  }
  std::inplace_merge(rungs.begin(), rungs.begin() + packed, rungs.end(), before);
  // Andrew's monotone chain, lower side, up to the first rung with the least traffic.
  for (ManagedCurve::Rung& rung : rungs) {
    std::vector<ManagedCurve::Rung>& hull = curve.rungs_;
    if (!hull.empty() && rung.traffic_bytes >= hull.back().traffic_bytes) continue;
    const auto useless = [&hull, &rung] {
      const auto &a = hull[hull.size() - 2], &b = hull.back();
      return static_cast<Wide>(b.traffic_bytes - a.traffic_bytes) * (rung.capacity_bytes - b.capacity_bytes) >=
             static_cast<Wide>(rung.traffic_bytes - b.traffic_bytes) * (b.capacity_bytes - a.capacity_bytes);
    };
    while (hull.size() > 1 && useless()) hull.pop_back();
    hull.push_back(std::move(rung));
  }
  return curve;
}

int64_t ManagedCurve::TrafficAt(int64_t capacity_bytes) const {
  const auto above =
      std::upper_bound(rungs_.begin(), rungs_.end(), capacity_bytes,
                       [](int64_t capacity, const Rung& rung) { return capacity < rung.capacity_bytes; });
  if (above == rungs_.end()) return rungs_.back().traffic_bytes;
  return Chord(*std::prev(above), *above, capacity_bytes);
}

// Rounds running sums, not the kernels' own numbers, so that the result sums to the rounded total.
template <typename PerKernel>
std::vector<int64_t> ManagedCurve::Mix(int64_t capacity_bytes, bool round_up, PerKernel per_kernel) const {
  const auto plan = [this](const Rung& rung) {
    return rung.kept != nullptr ? *rung.kept : chains_->LruPlan(rung.capacity_bytes);
  };
  const auto above =
      std::upper_bound(rungs_.begin(), rungs_.end(), capacity_bytes,
                       [](int64_t capacity, const Rung& rung) { return capacity < rung.capacity_bytes; });
  std::vector<int64_t> mixed = per_kernel(plan(*std::prev(above)));
  if (above == rungs_.end()) return mixed;
  const std::vector<int64_t> upper = per_kernel(plan(*above));
  const Wide run = above->capacity_bytes - std::prev(above)->capacity_bytes;
  const Wide part = capacity_bytes - std::prev(above)->capacity_bytes;
  Wide sum = 0, rounded = 0;
  for (size_t i = 0; i < mixed.size(); ++i) {
    const Wide exact = static_cast<Wide>(mixed[i]) * (run - part) + static_cast<Wide>(upper[i]) * part;
    if (!round_up) {
      mixed[i] = static_cast<int64_t>(exact / run);
      continue;
    }
    sum += exact;
    mixed[i] = static_cast<int64_t>(DivideUp(sum, run) - rounded);
    rounded = DivideUp(sum, run);
  }
  return mixed;
}

std::vector<KernelTraffic> ManagedCurve::KernelTrafficAt(int64_t capacity_bytes) const {
  // Fetches and writes of all kernels in one row, so that all of them together round to the total.
  const std::vector<int64_t> row = Mix(capacity_bytes, true, [this](const std::vector<int64_t>& kept) {
    std::vector<int64_t> bytes;
    for (const KernelTraffic& traffic : chains_->TrafficOf(kept)) {
      bytes.push_back(traffic.fetched_bytes);
      bytes.push_back(traffic.written_bytes);
    }
    return bytes;
  });
  std::vector<KernelTraffic> traffic(row.size() / 2);
  for (size_t k = 0; k < traffic.size(); ++k) traffic[k] = {row[2 * k], row[2 * k + 1]};
  return traffic;
}

std::vector<int64_t> ManagedCurve::HeldBytesAt(int64_t capacity_bytes) const {
  return Mix(capacity_bytes, false, [this](const std::vector<int64_t>& kept) { return chains_->HeldBytesOf(kept); });
}

}  // namespace reusescope
