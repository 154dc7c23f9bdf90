#include "analysis/measure/chain_groups.h"

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

int64_t Total(const std::vector<int>& ends, const GroupCost& cost) {
  int64_t sum = 0;
  int first = 0;
  for (const int end : ends) {
    sum += cost(first, end).value();
    first = end;
  }
  return sum;
}

std::vector<int> Singles(int links) {
  std::vector<int> ends(links);
  std::iota(ends.begin(), ends.end(), 1);
  return ends;
}

// Any costs; from some length on a group cannot be, which depends on where it begins but holds for all around it.
struct RandomChain {
  int links;
  std::vector<int64_t> costs;
  std::vector<int> reach;  // by first: the last end that can be; never falls
  GroupCost Cost() const {
    return [this](int first, int end) -> std::optional<int64_t> {
      if (end > first + 1 && end > reach[first]) return std::nullopt;
      return costs[first * (links + 1) + end];
    };
  }
};

RandomChain MakeChain(std::mt19937& random) {
  RandomChain chain{.links = static_cast<int>(random() % 11) + 1};
  chain.costs.resize((chain.links + 1) * (chain.links + 1));
  for (int64_t& cost : chain.costs) cost = static_cast<int64_t>(random() % 100);
  int reach = 1;
  for (int first = 0; first < chain.links; ++first) {
    reach = std::max(reach, first + 1 + static_cast<int>(random() % 6));
    chain.reach.push_back(std::min(reach, chain.links));
  }
  return chain;
}

TEST(ChainGroupsTest, TheProgramIsAsGoodAsTryingAll) {
  std::mt19937 random(7);
  int greedy_is_worse = 0;
  for (int round = 0; round < 300; ++round) {
    const RandomChain chain = MakeChain(random);
    const GroupCost cost = chain.Cost();
    const int64_t best = Total(ExhaustiveGroups(chain.links, cost), cost);
    EXPECT_EQ(Total(OptimalGroups(chain.links, cost), cost), best);
    const int64_t greedy = Total(GreedyGroups(Singles(chain.links), cost), cost);
    EXPECT_GE(greedy, best);
    EXPECT_LE(greedy, Total(Singles(chain.links), cost));
    greedy_is_worse += greedy > best;
  }
  EXPECT_GT(greedy_is_worse, 0) << "the rounds do not tell the two apart";
}

TEST(ChainGroupsTest, JoinsWhatCostsLittleTogether) {
  // A group costs the square of how far it is from two links.
  const GroupCost cost = [](int first, int end) {
    return std::optional<int64_t>((end - first - 2) * (end - first - 2));
  };
  EXPECT_THAT(OptimalGroups(6, cost), ElementsAre(2, 4, 6));
  EXPECT_THAT(ExhaustiveGroups(6, cost), ElementsAre(2, 4, 6));
  EXPECT_EQ(Total(GreedyGroups(Singles(6), cost), cost), 0);
}

TEST(ChainGroupsTest, LongestGroupsGoAsFarAsTheyCan) {
  const GroupCost cost = [](int first, int end) {
    return end - first > 1 && first < 3 && end > 3 ? std::nullopt : std::optional<int64_t>(1);
  };
  EXPECT_THAT(LongestGroups(5, cost), ElementsAre(3, 5));
}

TEST(ChainGroupsTest, OfNoLinksNothing) {
  const GroupCost cost = [](int, int) { return std::optional<int64_t>(1); };
  EXPECT_THAT(OptimalGroups(0, cost), IsEmpty());
  EXPECT_THAT(GreedyGroups({}, cost), IsEmpty());
  EXPECT_THAT(ExhaustiveGroups(0, cost), IsEmpty());
  EXPECT_THAT(LongestGroups(0, cost), IsEmpty());
}

}  // namespace
}  // namespace reusescope
