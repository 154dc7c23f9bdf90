#include "analysis/plan/linear_program.h"

#include <algorithm>

#include "absl/status/status.h"
#include "interfaces/highs_c_api.h"

namespace reusescope {

static_assert(std::is_same_v<HighsInt, int>);

LinearProgram::LinearProgram() : solver_(Highs_create()) {
  Highs_setBoolOptionValue(solver_, "output_flag", 0);
  Highs_setIntOptionValue(solver_, "threads", 1);
}

LinearProgram::~LinearProgram() { Highs_destroy(solver_); }

int LinearProgram::AddColumn(const Column& column) {
  columns_.push_back(column);
  return num_columns() - 1;
}

void LinearProgram::AddRow(absl::Span<const Term> terms, double lower, double upper) {
  std::vector<int> indices;
  std::vector<double> values;
  for (const auto& [column, coefficient] : terms) {
    indices.push_back(column);
    values.push_back(coefficient);
  }
  if (passed_) {
    Highs_addRow(solver_, lower, upper, static_cast<int>(indices.size()), indices.data(), values.data());
    return;
  }
  starts_.push_back(static_cast<int>(indices_.size()));
  row_lower_.push_back(lower);
  row_upper_.push_back(upper);
  indices_.insert(indices_.end(), indices.begin(), indices.end());
  values_.insert(values_.end(), values.begin(), values.end());
}

bool LinearProgram::Pass() {
  std::vector<double> costs, lower, upper;
  std::vector<int> whole;
  for (const Column& column : columns_) {
    costs.push_back(column.cost);
    lower.push_back(column.lower);
    upper.push_back(column.upper);
    whole.push_back(column.whole ? kHighsVarTypeInteger : kHighsVarTypeContinuous);
  }
  passed_ = true;
  return Highs_passMip(solver_, num_columns(), static_cast<int>(starts_.size()), static_cast<int>(indices_.size()),
                       kHighsMatrixFormatRowwise, kHighsObjSenseMinimize, 0, costs.data(), lower.data(), upper.data(),
                       row_lower_.data(), row_upper_.data(), starts_.data(), indices_.data(), values_.data(),
                       whole.data()) != kHighsStatusError;
}

absl::StatusOr<LinearProgram::Solution> LinearProgram::Minimize(const Limits& limits) {
  const bool whole = std::any_of(columns_.begin(), columns_.end(), [](const Column& column) { return column.whole; });
  if (!passed_ && !Pass()) return absl::InternalError("HiGHS does not take the program");
  Highs_zeroAllClocks(solver_);
  Highs_setDoubleOptionValue(solver_, "time_limit", limits.seconds);
  Highs_setDoubleOptionValue(solver_, "mip_rel_gap", limits.relative_gap);
  if (!offer_.empty()) {
    std::vector<int> indices;
    std::vector<double> values;
    for (const auto& [column, value] : offer_) {
      indices.push_back(column);
      values.push_back(value);
    }
    Highs_setSparseSolution(solver_, static_cast<int>(indices.size()), indices.data(), values.data());
    offer_.clear();
  }
  if (Highs_run(solver_) == kHighsStatusError) return absl::InternalError("HiGHS failed");
  Solution solution;
  const HighsInt status = Highs_getModelStatus(solver_);
  if (status == kHighsModelStatusOptimal) solution.state = Solution::State::kOptimal;
  if (status == kHighsModelStatusInfeasible) solution.state = Solution::State::kInfeasible;
  Highs_getDoubleInfoValue(solver_, whole ? "mip_dual_bound" : "objective_function_value", &solution.bound);
  HighsInt found = 0;
  Highs_getIntInfoValue(solver_, "primal_solution_status", &found);
  if (found == kHighsSolutionStatusFeasible) {
    Highs_getDoubleInfoValue(solver_, "objective_function_value", &solution.cost);
    solution.values.resize(columns_.size());
    Highs_getSolution(solver_, solution.values.data(), nullptr, nullptr, nullptr);
  }
  return solution;
}

}  // namespace reusescope
