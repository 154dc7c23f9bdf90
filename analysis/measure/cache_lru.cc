#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "analysis/ir/status_util.h"
#include "analysis/measure/cache.h"
#include "analysis/measure/cache_intervals.h"

namespace reusescope {
namespace {

// A term of the traffic: `bytes` at capacities up to `distance_bytes`, then falling by 1 per byte of capacity to 0.
struct Ramp {
  int64_t distance_bytes;
  int64_t bytes;
};

std::vector<Ramp> RampsOf(const ReuseChains& chains) {
  const std::vector<int64_t>& distance = chains.lru_distance_bytes();
  std::vector<Ramp> ramps;
  ramps.reserve(chains.intervals().size() + chains.chains().size());
  for (size_t i = 0; i < distance.size(); ++i) {
    if (chains.intervals()[i].saves_fetch) ramps.push_back({distance[i], chains.intervals()[i].bytes});
  }
  for (const ReuseChain& chain : chains.chains()) {
    ramps.push_back({*std::max_element(distance.begin() + chain.first, distance.begin() + chain.last),
                     chains.intervals()[chain.first].bytes});
  }
  return ramps;
}

}  // namespace

std::vector<int64_t> ReuseChains::LruPlan(int64_t capacity_bytes) const {
  std::vector<int64_t> kept(intervals_.size());
  for (size_t i = 0; i < kept.size(); ++i) {
    kept[i] = std::clamp<int64_t>(capacity_bytes - lru_distance_bytes_[i], 0, intervals_[i].bytes);
  }
  return kept;
}

absl::StatusOr<LruCurve> ComputeLruCurve(const CostTable& cost) {
  LruCurve curve;
  RS_ASSIGN_OR_RETURN(ReuseChains chains, ReuseChains::Build(cost));
  curve.chains_ = std::make_shared<const ReuseChains>(std::move(chains));
  // Capacities at which one more, and one less, byte is saved per byte of capacity.
  std::vector<int64_t> begins, ends;
  int64_t traffic = curve.chains_->TotalTrafficOf(std::vector<int64_t>(curve.chains_->intervals().size(), 0));
  for (const Ramp& ramp : RampsOf(*curve.chains_)) {
    begins.push_back(ramp.distance_bytes);
    ends.push_back(ramp.distance_bytes + ramp.bytes);
  }
  std::sort(begins.begin(), begins.end());
  std::sort(ends.begin(), ends.end());
  curve.points_.push_back({0, traffic});
  int64_t slope = 0;
  for (size_t begun = 0, ended = 0; ended < ends.size();) {
    const bool begin = begun < begins.size() && begins[begun] <= ends[ended];
    const int64_t capacity = begin ? begins[begun++] : ends[ended++];
    const LruCurve::Point last = curve.points_.back();
    if (capacity > last.capacity_bytes) {
      traffic -= slope * (capacity - last.capacity_bytes);
      curve.points_.push_back({capacity, traffic});
    }
    slope += begin ? 1 : -1;
  }
  // Level stretches at the end carry no information.
  while (curve.points_.size() > 1 && curve.points_[curve.points_.size() - 2].traffic_bytes == traffic) {
    curve.points_.pop_back();
  }
  return curve;
}

int64_t LruCurve::TrafficAt(int64_t capacity_bytes) const {
  const auto above =
      std::upper_bound(points_.begin(), points_.end(), capacity_bytes,
                       [](int64_t capacity, const Point& point) { return capacity < point.capacity_bytes; });
  const Point& lower = *std::prev(above);
  if (above == points_.end()) return lower.traffic_bytes;
  const int64_t slope = (lower.traffic_bytes - above->traffic_bytes) / (above->capacity_bytes - lower.capacity_bytes);
  return lower.traffic_bytes - slope * (capacity_bytes - lower.capacity_bytes);
}

std::vector<KernelTraffic> LruCurve::KernelTrafficAt(int64_t capacity_bytes) const {
  return chains_->TrafficOf(chains_->LruPlan(capacity_bytes));
}

}  // namespace reusescope
