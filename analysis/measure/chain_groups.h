// Cuts a chain into groups of neighbours whose costs add up, so that they cost little: greedily, best, or by trying
// all.
//
//   const auto cost = [&](int first, int end) -> std::optional<int64_t> { ... };   // of the group [first, end)
//   const std::vector<int> ends = OptimalGroups(n, cost);                          // {3, 7, n}: [0,3) [3,7) [7,n)
//
// A group is an interval of the chain; `cost` says what it costs, nothing where it cannot be. Every single link can be
// a group. An interval around one that cannot be cannot be either, so a search ends where an interval first fails.
//
//   best(0) = 0,  best(e) = min over first of best(first) + cost(first, e)          dynamic program, O(n^2) costs

#ifndef REUSESCOPE_ANALYSIS_MEASURE_CHAIN_GROUPS_H_
#define REUSESCOPE_ANALYSIS_MEASURE_CHAIN_GROUPS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace reusescope {

using GroupCost = std::function<std::optional<int64_t>(int first, int end)>;

// The ends of the groups, ascending; the last one is `links`. REQUIRES: links >= 0, cost(i, i + 1) has a value.

// The cheapest of all.
std::vector<int> OptimalGroups(int links, const GroupCost& cost);

// Begins with `ends` and joins the two neighbours that save most by it, as long as some save. Never costs more than it
// began with.
std::vector<int> GreedyGroups(std::vector<int> ends, const GroupCost& cost);

// The cheapest, by trying all 2^(links - 1) ways. REQUIRES: links <= kMostExhaustiveLinks.
inline constexpr int kMostExhaustiveLinks = 20;
std::vector<int> ExhaustiveGroups(int links, const GroupCost& cost);

// As few groups as can be, each as long as it can be.
std::vector<int> LongestGroups(int links, const GroupCost& cost);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_MEASURE_CHAIN_GROUPS_H_
