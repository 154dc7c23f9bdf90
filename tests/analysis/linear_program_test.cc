// HiGHS behind our face: programs whose answers are known.

#include "analysis/plan/linear_program.h"

#include "gtest/gtest.h"

namespace reusescope {
namespace {

using State = LinearProgram::Solution::State;

TEST(LinearProgramTest, SolvesAProgramWithFractions) {
  LinearProgram program;  // Dantzig's example: 3 x + 5 y at its most
  const int x = program.AddColumn({.upper = 4, .cost = -3}), y = program.AddColumn({.cost = -5});
  program.AddRow({{y, 2}}, -LinearProgram::kInfinity, 12);
  program.AddRow({{x, 3}, {y, 2}}, -LinearProgram::kInfinity, 18);
  const LinearProgram::Solution solution = program.Minimize({}).value();
  EXPECT_EQ(solution.state, State::kOptimal);
  EXPECT_NEAR(solution.cost, -36, 1e-9);
  EXPECT_NEAR(solution.values[x], 2, 1e-9);
  EXPECT_NEAR(solution.values[y], 6, 1e-9);
}

TEST(LinearProgramTest, WholeNumbersAndRowsAddedLater) {
  LinearProgram program;  // a knapsack: values 60, 100, 120; weights 10, 20, 30; holds 50
  for (const double value : {60, 100, 120}) program.AddColumn({.upper = 1, .cost = -value, .whole = true});
  program.AddRow({{0, 10}, {1, 20}, {2, 30}}, -LinearProgram::kInfinity, 50);
  EXPECT_NEAR(program.Minimize({}).value().cost, -220, 1e-6);
  program.AddRow({{1, 1}, {2, 1}}, -LinearProgram::kInfinity, 1);
  EXPECT_NEAR(program.Minimize({}).value().cost, -180, 1e-6);
  program.AddRow({{0, 1}}, 2, 3);
  EXPECT_EQ(program.Minimize({}).value().state, State::kInfeasible);
}

}  // namespace
}  // namespace reusescope
