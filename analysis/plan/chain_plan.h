// The cheapest way to cut a chain of unequal blocks into segments, each kept, dropped, or kept where products are.
//
//   const ChainPlanner planner(model, ChainCuts(model, blocks));
//   KeepSet keep;  if (planner.Plan(memory_bytes, keep)) ...
//
//   least(j, stored) = min over i < j and modes m of  least(i, stored - kept(i, j, m)) + seconds(i, j, m)
//                      where stored before i + peak(i, j, m) fits
//
// The forward schedule is a chain of pieces. A segment is a run of pieces in one of three modes: everything is kept; or
// nothing but what later segments read; or that and what contractions write. While a segment runs, forward or backward,
// the segments before it hold what they keep. What a segment keeps, takes and costs comes from RecomputeModel, for
// every pair of cuts. The optimum over all segmentations and modes, up to 1/1000 of the memory: of labels that store
// nearly the same, the cheapest is carried on. It assumes that nothing but a segment's own backward frees what it
// keeps, which holds for chains; of other graphs the result is a proposal, to be evaluated.
//
// Cost: O(cuts^2 touches) once; per plan O(cuts^2 labels).

#ifndef REUSESCOPE_ANALYSIS_PLAN_CHAIN_PLAN_H_
#define REUSESCOPE_ANALYSIS_PLAN_CHAIN_PLAN_H_

#include <cstdint>
#include <vector>

#include "analysis/measure/blocks.h"
#include "analysis/plan/recompute_model.h"

namespace reusescope {

// Where the forward schedule may be cut: positions of steps, each the first of a piece. Between the outermost blocks,
// and then where the longest pieces can be halved, as many as the size of the model affords.
std::vector<int32_t> ChainCuts(const RecomputeModel& model, const BlockTable& blocks);

class ChainPlanner {
 public:
  // REQUIRES: cuts ascend and begin with 0.
  ChainPlanner(const RecomputeModel& model, std::vector<int32_t> cuts);

  // False where no segmentation fits.
  bool Plan(int64_t memory_bytes, KeepSet& keep) const;

 private:
  enum Mode : uint8_t { kKeepAll, kKeepCrossing, kKeepProducts };
  static constexpr int kModes = 3;
  struct Segment {
    int64_t kept_bytes = 0;  // that wait for its backward
    int64_t peak_bytes = 0;  // while it runs, what segments before it keep left out
    double seconds = 0;
  };

  Segment Measure(int32_t first, int32_t end, Mode mode) const;
  bool Keeps(const Candidate& candidate, int32_t end, Mode mode) const;
  const Segment& At(int32_t first, int32_t end, int mode) const {
    return segments_[(static_cast<size_t>(first) * (pieces_ + 1) + end) * kModes + mode];
  }

  const RecomputeModel& model_;
  const std::vector<int32_t> cuts_;
  int32_t pieces_ = 0;
  std::vector<int32_t> piece_of_;    // by position: forward steps, and the piece whose backward later ones are part of
  std::vector<int32_t> last_piece_;  // by candidate: the last that reads it in forward
  std::vector<int32_t> piece_of_candidate_;
  std::vector<Segment> segments_;
};

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_PLAN_CHAIN_PLAN_H_
