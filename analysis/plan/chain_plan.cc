#include "analysis/plan/chain_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

namespace reusescope {
namespace {

// Touches that measuring all segments may visit: a fraction of a second.
constexpr double kAffordableTouches = 1e7;
constexpr int64_t kGrains = 1000;

// By position of the forward schedule: bytes of candidates that are written up to there and read by forward behind it.
std::vector<int64_t> CrossingBytes(const RecomputeModel& model) {
  std::vector<int64_t> crossing(model.num_positions() + 1, 0);
  std::vector<int32_t> last(model.candidates().size(), -1);
  for (int32_t position = 0; position < model.num_positions(); ++position) {
    if (!model.steps()[position].forward) continue;
    for (const RecomputeModel::Need& need : model.NeedsOf(model.steps()[position].node))
      last[need.candidate] = position;
  }
  for (size_t c = 0; c < last.size(); ++c) {
    const Candidate& candidate = model.candidates()[c];
    if (last[c] <= candidate.forward_position) continue;
    crossing[candidate.forward_position] += candidate.bytes;
    crossing[last[c]] -= candidate.bytes;
  }
  for (size_t i = 1; i < crossing.size(); ++i) crossing[i] += crossing[i - 1];
  return crossing;
}

size_t AffordableCuts(const RecomputeModel& model) {
  const double touches = std::max<double>(1, static_cast<double>(model.cost().touches.size()));
  return static_cast<size_t>(std::max(16.0, std::sqrt(kAffordableTouches / touches)));
}

}  // namespace

std::vector<int32_t> ChainCuts(const RecomputeModel& model, const BlockTable& blocks) {
  int32_t end = 0;  // of forward
  std::vector<int32_t> kernels;
  for (int32_t position = 0; position < model.num_positions(); ++position) {
    if (!model.steps()[position].forward) continue;
    end = position + 1;
    if (model.steps()[position].kernel >= 0) kernels.push_back(position);
  }
  std::set<int32_t> cuts = {0};
  int32_t before = kNoBlock;
  for (int32_t position = 0; position < end; ++position) {
    int32_t block = blocks.InnermostOf(model.steps()[position].node);
    while (block != kNoBlock && blocks.blocks[block].parent != kNoBlock) block = blocks.blocks[block].parent;
    if (block != before && position > 0) cuts.insert(position);
    before = block;
  }
  // The rest in the order of what crosses, widest pieces first: a cut behind the kernel with the fewest bytes in the
  // middle half of the longest piece.
  const std::vector<int64_t> crossing = CrossingBytes(model);
  const size_t affordable = std::min(AffordableCuts(model), kernels.size());
  const auto index_of = [&](int32_t position) {
    return std::lower_bound(kernels.begin(), kernels.end(), position) - kernels.begin();
  };
  while (cuts.size() < affordable) {
    std::pair<int64_t, int64_t> longest = {0, 0};
    for (auto it = cuts.begin(); it != cuts.end(); ++it) {
      const auto next = std::next(it);
      const int64_t from = index_of(*it), to = next == cuts.end() ? index_of(end) : index_of(*next);
      if (to - from > longest.second - longest.first) longest = {from, to};
    }
    const int64_t length = longest.second - longest.first;
    if (length < 2) break;
    int64_t best = longest.first + length / 2;
    for (int64_t i = longest.first + std::max<int64_t>(1, length / 4); i < longest.second - length / 4; ++i) {
      if (crossing[kernels[i] - 1] < crossing[kernels[best] - 1]) best = i;
    }
    cuts.insert(kernels[best]);
  }
  return std::vector<int32_t>(cuts.begin(), cuts.lower_bound(end));
}

ChainPlanner::ChainPlanner(const RecomputeModel& model, std::vector<int32_t> cuts)
    : model_(model),
      cuts_(std::move(cuts)),
      pieces_(static_cast<int32_t>(cuts_.size())),
      piece_of_(model.num_positions(), 0),
      last_piece_(model.candidates().size(), -1),
      piece_of_candidate_(model.candidates().size(), 0) {
  int32_t current = pieces_ - 1;  // whose backward runs
  for (int32_t position = 0; position < model.num_positions(); ++position) {
    const RecomputeModel::Step& step = model.steps()[position];
    if (step.forward) {
      piece_of_[position] =
          static_cast<int32_t>(std::upper_bound(cuts_.begin(), cuts_.end(), position) - cuts_.begin()) - 1;
      for (const RecomputeModel::Need& need : model.NeedsOf(step.node))
        last_piece_[need.candidate] = piece_of_[position];
      continue;
    }
    const NodeId forward = model.training().graph.node(step.node).forward_node;
    const int32_t of = forward == kNoNode ? -1 : model.PositionOf(forward);
    if (of >= 0 && model.steps()[of].forward) current = std::min(current, piece_of_[of]);
    piece_of_[position] = current;
  }
  for (size_t c = 0; c < piece_of_candidate_.size(); ++c) {
    piece_of_candidate_[c] = piece_of_[model.candidates()[c].forward_position];
  }
  segments_.resize(static_cast<size_t>(pieces_) * (pieces_ + 1) * kModes);
  for (int32_t first = 0; first < pieces_; ++first) {
    for (int32_t end = first + 1; end <= pieces_; ++end) {
      for (int mode = 0; mode < kModes; ++mode) {
        segments_[(static_cast<size_t>(first) * (pieces_ + 1) + end) * kModes + mode] =
            Measure(first, end, static_cast<Mode>(mode));
      }
    }
  }
}

bool ChainPlanner::Keeps(const Candidate& candidate, int32_t end, Mode mode) const {
  const int32_t index = model_.CandidateOf(candidate.storage);
  return mode == kKeepAll || last_piece_[index] >= end || (mode == kKeepProducts && candidate.contraction);
}

ChainPlanner::Segment ChainPlanner::Measure(int32_t first, int32_t end, Mode mode) const {
  Segment segment;
  KeepSet keep(model_.candidates().size(), true);
  std::vector<int32_t> before;
  for (size_t c = 0; c < keep.size(); ++c) {
    const Candidate& candidate = model_.candidates()[c];
    const int32_t piece = piece_of_candidate_[c];
    if (piece < first) before.push_back(static_cast<int32_t>(c));
    if (piece < first || piece >= end) continue;
    keep[c] = Keeps(candidate, end, mode);
    const bool waits = candidate.read_after || last_piece_[c] >= end;
    if (keep[c] && waits) segment.kept_bytes += candidate.bytes;
  }
  const RecomputeModel::Outcome outcome = model_.Evaluate(keep, before);
  segment.seconds = outcome.added_seconds;
  for (const RecomputeModel::Run& run : outcome.runs) {
    const int32_t piece = piece_of_[run.position];
    if (piece >= first && piece < end) segment.peak_bytes = std::max(segment.peak_bytes, run.live_bytes);
  }
  return segment;
}

bool ChainPlanner::Plan(int64_t memory_bytes, KeepSet& keep) const {
  struct Label {
    int64_t stored_bytes = 0;
    double seconds = 0;
    int32_t first = 0;  // of the segment that ends here
    int32_t from = -1;  // its label, at `first`
    int mode = 0;
  };
  std::vector<std::vector<Label>> labels(pieces_ + 1);
  labels[0].push_back({});
  const int64_t grain = memory_bytes / kGrains + 1;
  constexpr double kNone = std::numeric_limits<double>::infinity();
  std::vector<Label> cheapest;  // by grain of what is stored
  for (int32_t end = 1; end <= pieces_; ++end) {
    cheapest.assign(kGrains + 1, {.seconds = kNone});
    for (int32_t first = 0; first < end; ++first) {
      for (int mode = 0; mode < kModes; ++mode) {
        const Segment& segment = At(first, end, mode);
        for (size_t from = 0; from < labels[first].size(); ++from) {
          const Label& label = labels[first][from];
          if (label.stored_bytes + segment.peak_bytes > memory_bytes) break;  // labels ascend
          const int64_t stored = label.stored_bytes + segment.kept_bytes;
          if (stored > memory_bytes) break;
          Label& best = cheapest[stored / grain];
          const double seconds = label.seconds + segment.seconds;
          if (seconds < best.seconds || (seconds == best.seconds && stored < best.stored_bytes)) {
            best = {stored, seconds, first, static_cast<int32_t>(from), mode};
          }
        }
      }
    }
    // A label is of use where it is cheaper than all that store less.
    for (const Label& label : cheapest) {
      if (label.seconds == kNone) continue;
      if (labels[end].empty() || label.seconds < labels[end].back().seconds) labels[end].push_back(label);
    }
  }
  if (labels[pieces_].empty()) return false;
  keep.assign(model_.candidates().size(), true);
  int32_t end = pieces_;
  auto index = static_cast<int32_t>(labels[end].size()) - 1;  // the cheapest
  while (end > 0) {
    const Label& label = labels[end][index];
    for (size_t c = 0; c < keep.size(); ++c) {
      const int32_t piece = piece_of_candidate_[c];
      if (piece >= label.first && piece < end) {
        keep[c] = Keeps(model_.candidates()[c], end, static_cast<Mode>(label.mode));
      }
    }
    end = label.first;
    index = label.from;
  }
  return true;
}

}  // namespace reusescope
