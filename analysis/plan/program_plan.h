// The keep set that costs least among all keep sets that fit: a mixed-integer program, solved by HiGHS.
//
//   RS_ASSIGN_OR_RETURN(const ProgramPlan plan, SolveProgram(model, memory_bytes, seed, {.time_limit_seconds = 10}));
//
// The rematerialization program of Checkmate (Jain et al., MLSys 2020), cut down to what Recompute does: every forward
// node runs again at most once.
//
//   k[c] in {0, 1}   candidate c is kept
//   z[v,t] in [0,1]  node v has run again by the time of demand t, the t-th later node that reads candidates
//
//   least   sum over v of seconds[v] z[v,last]
//   where   z[v,t] >= z[v,t-1]
//           z[p,t] >= 1 - k[c]           demand t reads c, which p writes
//           z[p,t] >= z[w,t] - k[c]      w reads c when it runs again
//           standing + sum of bytes[c] (k[c] + z[p,t]) over candidates with later readers <= memory, at every kernel
//
// What lives only while a node runs again is added where a solution breaks it: the solution is evaluated by
// RecomputeModel, and as long as it does not fit, a row for the kernel that broke the limit is added, or the set is
// excluded. So a program solved to its end gives the least of all sets, and `bound_seconds` is below any of them.

#ifndef REUSESCOPE_ANALYSIS_PLAN_PROGRAM_PLAN_H_
#define REUSESCOPE_ANALYSIS_PLAN_PROGRAM_PLAN_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "analysis/plan/recompute_model.h"

namespace reusescope {

struct ProgramOptions {
  double time_limit_seconds = 5;
  int64_t max_variables = 10'000;  // above it nothing is tried
};

struct ProgramPlan {
  enum class State : uint8_t {
    kOptimal,     // nothing that fits costs less
    kStopped,     // at the time limit: `keep` is the best that was found, no better than bound_seconds
    kInfeasible,  // nothing fits
    kTooLarge,    // not tried
  };
  State state = State::kTooLarge;
  std::optional<KeepSet> keep;  // fits
  double added_seconds = 0;     // of `keep`
  double bound_seconds = 0;     // nothing that fits costs less
  int64_t variables = 0;
  double solve_seconds = 0;

  // How much less the optimum may cost, as a share of added_seconds.
  double gap() const { return added_seconds > 0 ? 1 - bound_seconds / added_seconds : 0; }
};

// `seed`: a set that fits, to begin with. kInternal where HiGHS fails.
absl::StatusOr<ProgramPlan> SolveProgram(const RecomputeModel& model, int64_t memory_bytes,
                                         const std::optional<KeepSet>& seed, const ProgramOptions& options);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_PLAN_PROGRAM_PLAN_H_
