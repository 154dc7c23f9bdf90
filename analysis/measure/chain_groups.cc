#include "analysis/measure/chain_groups.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace reusescope {

std::vector<int> OptimalGroups(int links, const GroupCost& cost) {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  std::vector<int64_t> best(links + 1, kNever);
  std::vector<int> first_of(links + 1, 0);
  best[0] = 0;
  for (int first = 0; first < links; ++first) {
    for (int end = first + 1; end <= links; ++end) {
      const std::optional<int64_t> group = cost(first, end);
      if (!group.has_value()) break;
      if (best[first] + *group < best[end]) {
        best[end] = best[first] + *group;
        first_of[end] = first;
      }
    }
  }
  std::vector<int> ends;
  for (int end = links; end > 0; end = first_of[end]) ends.push_back(end);
  std::reverse(ends.begin(), ends.end());
  return ends;
}

std::vector<int> GreedyGroups(std::vector<int> ends, const GroupCost& cost) {
  const auto first_of = [&](size_t g) { return g == 0 ? 0 : ends[g - 1]; };
  while (true) {
    int64_t most = 0;
    size_t joined = 0;
    for (size_t g = 0; g + 1 < ends.size(); ++g) {
      const std::optional<int64_t> both = cost(first_of(g), ends[g + 1]);
      if (!both.has_value()) continue;
      const int64_t saved = *cost(first_of(g), ends[g]) + *cost(ends[g], ends[g + 1]) - *both;
      if (saved > most) {
        most = saved;
        joined = g;
      }
    }
    if (most == 0) return ends;
    ends.erase(ends.begin() + static_cast<std::ptrdiff_t>(joined));
  }
}

std::vector<int> ExhaustiveGroups(int links, const GroupCost& cost) {
  assert(links <= kMostExhaustiveLinks);
  std::vector<int> best_ends;
  int64_t best = std::numeric_limits<int64_t>::max();
  // Bit i: a group ends after link i.
  for (uint32_t cuts = 0; links > 0 && cuts < 1U << (links - 1); ++cuts) {
    std::vector<int> ends;
    int64_t sum = 0;
    int first = 0;
    bool possible = true;
    for (int end = 1; end <= links && possible; ++end) {
      if (end < links && (cuts >> (end - 1) & 1) == 0) continue;
      const std::optional<int64_t> group = cost(first, end);
      possible = group.has_value();
      sum += group.value_or(0);
      ends.push_back(end);
      first = end;
    }
    if (possible && sum < best) {
      best = sum;
      best_ends = ends;
    }
  }
  return best_ends;
}

std::vector<int> LongestGroups(int links, const GroupCost& cost) {
  std::vector<int> ends;
  for (int first = 0; first < links;) {
    int end = first + 1;
    while (end < links && cost(first, end + 1).has_value()) ++end;
    ends.push_back(end);
    first = end;
  }
  return ends;
}

}  // namespace reusescope
