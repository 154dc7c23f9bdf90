// A linear program with or without whole-number columns, solved by HiGHS (https://highs.dev), which this hides.
//
//   LinearProgram program;
//   const int x = program.AddColumn({.upper = 4, .cost = -1}), y = program.AddColumn({.cost = -1, .whole = true});
//   program.AddRow({{x, 1}, {y, 2}}, -LinearProgram::kInfinity, 7);          // x + 2 y <= 7
//   RS_ASSIGN_OR_RETURN(const LinearProgram::Solution solution, program.Minimize({}));
//
// Rows may be added after a solution, and the program solved again. One thread, so equal programs have equal answers
// unless the time limit ends them.

#ifndef REUSESCOPE_ANALYSIS_PLAN_LINEAR_PROGRAM_H_
#define REUSESCOPE_ANALYSIS_PLAN_LINEAR_PROGRAM_H_

#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace reusescope {

class LinearProgram {
 public:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  struct Column {
    double lower = 0, upper = kInfinity, cost = 0;
    bool whole = false;
  };
  // Column and coefficient; each column once.
  using Term = std::pair<int, double>;

  struct Limits {
    double seconds = kInfinity;
    double relative_gap = 1e-6;  // between the best found and the bound, of programs with whole numbers
  };
  struct Solution {
    enum class State { kOptimal, kStopped, kInfeasible };
    State state = State::kStopped;
    std::vector<double> values;  // by column; empty where none was found
    double cost = 0;
    double bound = 0;  // no solution costs less
  };

  LinearProgram();
  ~LinearProgram();
  LinearProgram(const LinearProgram&) = delete;
  LinearProgram& operator=(const LinearProgram&) = delete;

  int AddColumn(const Column& column);
  int num_columns() const { return static_cast<int>(columns_.size()); }
  void SetCost(int column, double cost) { columns_[column].cost = cost; }
  void SetWhole(int column) { columns_[column].whole = true; }
  // lower <= sum of terms <= upper.
  void AddRow(absl::Span<const Term> terms, double lower, double upper);
  // Values to begin with, of some columns.
  void Offer(std::vector<Term> values) { offer_ = std::move(values); }

  // kInternal where HiGHS fails. REQUIRES: no column was added after the first call.
  absl::StatusOr<Solution> Minimize(const Limits& limits);

 private:
  bool Pass();

  std::vector<Column> columns_;
  std::vector<double> row_lower_, row_upper_, values_;
  std::vector<int> starts_, indices_;
  std::vector<Term> offer_;
  void* solver_;
  bool passed_ = false;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_PLAN_LINEAR_PROGRAM_H_
