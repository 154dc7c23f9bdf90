#include "analysis/measure/reuse.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

// Sums over ranges of touches, in O(log n): a Fenwick tree.
class RangeSums {
 public:
  explicit RangeSums(size_t size) : sums_(size + 1, 0) {}

  void Add(int64_t position, int64_t amount) {
    for (size_t i = position + 1; i < sums_.size(); i += i & -i) sums_[i] += amount;
  }
  // Of positions [0, end).
  int64_t Before(int64_t end) const {
    int64_t sum = 0;
    for (size_t i = end; i > 0; i -= i & -i) sum += sums_[i];
    return sum;
  }

 private:
  std::vector<int64_t> sums_;
};

constexpr int32_t kNoEdge = -1;

// Some bytes of a storage that were touched, and last written, together.
struct Piece {
  int64_t end = 0;  // one past its last byte; it begins where the piece before it ends
  int32_t last_touch = 0;
  int32_t last_kernel = 0;
  bool dirty = false;
  int32_t longest_edge = kNoEdge;  // of the longest distance since the write; only if dirty
};

// Walks the access list and finds the edges. For every storage it keeps the pieces in order of position; a touch covers
// the first ones, splits the last of them if it ends inside it, and leaves those beyond alone.
class EdgeFinder {
 public:
  EdgeFinder(const CostTable& cost, std::vector<ReuseEdge>& edges)
      : cost_(cost), edges_(edges), pieces_(cost.storages.size()), bytes_at_(cost.touches.size()) {}

  void Run() {
    for (size_t k = 0; k < cost_.kernels.size(); ++k) {
      const KernelCost& kernel = cost_.kernels[k];
      for (int32_t t = kernel.first_touch; t < kernel.first_touch + kernel.num_touches; ++t) {
        if (cost_.touches[t].bytes > 0) Visit(static_cast<int32_t>(k), t);
      }
    }
    for (size_t s = 0; s < pieces_.size(); ++s) {
      if (!cost_.storages[s].persistent && !cost_.storages[s].kept_to_end) Book(pieces_[s]);
    }
  }

 private:
  static constexpr size_t kMaxPieces = 64;

  void Visit(int32_t kernel, int32_t touch_index) {
    const Touch& touch = cost_.touches[touch_index];
    std::vector<Piece>& pieces = pieces_[touch.storage];
    Split(pieces, touch.bytes);
    const auto covered_end =
        std::find_if(pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.end > touch.bytes; });
    int64_t begin = 0;
    for (auto it = pieces.begin(); it != covered_end; ++it) {
      bytes_at_.Add(it->last_touch, begin - it->end);
      begin = it->end;
    }
    bytes_at_.Add(touch_index, touch.bytes);
    if (touch.reads) AddEdges(kernel, touch_index, absl::MakeSpan(pieces.data(), covered_end - pieces.begin()));
    Replace(pieces, covered_end - pieces.begin(), kernel, touch_index);
  }

  // Makes byte `at` the first of a piece, if it is inside one.
  static void Split(std::vector<Piece>& pieces, int64_t at) {
    int64_t begin = 0;
    for (size_t i = 0; i < pieces.size() && begin < at; ++i) {
      if (pieces[i].end > at) {
        Piece front = pieces[i];
        front.end = at;
        pieces.insert(pieces.begin() + i, front);
        return;
      }
      begin = pieces[i].end;
    }
  }

  // One edge for each earlier touch that the covered pieces were last touched by; neighbours of one touch share it.
  void AddEdges(int32_t kernel, int32_t touch_index, absl::Span<Piece> covered) {
    int64_t begin = 0;
    const int64_t all = bytes_at_.Before(touch_index + 1);
    int32_t previous_touch = -1;
    for (Piece& piece : covered) {
      if (piece.last_kernel != kernel) {
        if (piece.last_touch != previous_touch) {
          edges_.push_back({.storage = cost_.touches[touch_index].storage,
                            .from_kernel = piece.last_kernel,
                            .to_kernel = kernel,
                            .distance_bytes = all - bytes_at_.Before(piece.last_touch + 1)});
        }
        edges_.back().bytes += piece.end - begin;
        const auto edge = static_cast<int32_t>(edges_.size()) - 1;
        if (piece.dirty && IsLonger(edge, piece.longest_edge)) piece.longest_edge = edge;
      }
      previous_touch = piece.last_touch;
      begin = piece.end;
    }
  }

  // Puts what the touch leaves behind in the place of the first `covered` pieces.
  void Replace(std::vector<Piece>& pieces, size_t covered, int32_t kernel, int32_t touch_index) {
    const Touch& touch = cost_.touches[touch_index];
    if (pieces.size() == 1 && covered == 1 && pieces[0].end == touch.bytes) {
      if (touch.writes) {
        Book(pieces);
        pieces[0] = {.end = touch.bytes, .dirty = true};
      }
      pieces[0].last_touch = touch_index;
      pieces[0].last_kernel = kernel;
      return;
    }
    std::vector<Piece> left;
    if (touch.writes) {
      Book(absl::MakeConstSpan(pieces).first(covered));
    } else {
      left.assign(pieces.begin(), pieces.begin() + covered);
      if (covered > kMaxPieces) ShareLongestEdge(left);
    }
    for (Piece& piece : left) {
      piece.last_touch = touch_index;
      piece.last_kernel = kernel;
    }
    const int64_t left_end = left.empty() ? 0 : left.back().end;
    if (left_end < touch.bytes) {
      left.push_back({.end = touch.bytes, .last_touch = touch_index, .last_kernel = kernel, .dirty = touch.writes});
    }
    JoinEqual(left);
    pieces.erase(pieces.begin(), pieces.begin() + covered);
    pieces.insert(pieces.begin(), left.begin(), left.end());
  }

  // Keeps the number of pieces bounded: after it, those that were read since their write are alike.
  void ShareLongestEdge(std::vector<Piece>& pieces) const {
    int32_t longest = kNoEdge;
    for (const Piece& piece : pieces) {
      if (IsLonger(piece.longest_edge, longest)) longest = piece.longest_edge;
    }
    for (Piece& piece : pieces) {
      if (piece.longest_edge != kNoEdge) piece.longest_edge = longest;
    }
  }

  bool IsLonger(int32_t edge, int32_t than) const {
    return edge != kNoEdge && (than == kNoEdge || edges_[edge].distance_bytes > edges_[than].distance_bytes);
  }

  // Neighbours that differ in nothing become one.
  static void JoinEqual(std::vector<Piece>& pieces) {
    size_t kept = 0;
    for (size_t i = 1; i < pieces.size(); ++i) {
      if (pieces[kept].dirty == pieces[i].dirty && pieces[kept].longest_edge == pieces[i].longest_edge) {
        pieces[kept].end = pieces[i].end;
      } else {
        pieces[++kept] = pieces[i];
      }
    }
    if (!pieces.empty()) pieces.resize(kept + 1);
  }

  // The bytes of these pieces are overwritten or dead from here on: their write-back is avoided if all edges since the
  // write were captured.
  void Book(absl::Span<const Piece> pieces) {
    int64_t begin = 0;
    for (const Piece& piece : pieces) {
      if (piece.dirty && piece.longest_edge != kNoEdge) {
        edges_[piece.longest_edge].write_back_bytes += piece.end - begin;
      }
      begin = piece.end;
    }
  }

  const CostTable& cost_;
  std::vector<ReuseEdge>& edges_;
  std::vector<std::vector<Piece>> pieces_;
  RangeSums bytes_at_;  // by touch: bytes whose last touch it is
};

// A backward node is where its forward node is; the update is in no block.
int32_t BlockOf(const Graph& graph, const BlockTable& blocks, NodeId id) {
  const Node& node = graph.node(id);
  return blocks.InnermostOf(node.phase == Phase::kForward ? id : node.forward_node);
}

ReuseScope ScopeOf(const ReuseEdge& edge, const CostTable& cost) {
  const auto phase_of = [&](int32_t kernel) {  // what is recomputed is part of backward
    const Phase phase = cost.kernels[kernel].phase;
    return phase == Phase::kRecompute ? Phase::kBackward : phase;
  };
  const Phase from = phase_of(edge.from_kernel), to = phase_of(edge.to_kernel);
  if (from == to && edge.to_kernel == edge.from_kernel + 1) return ReuseScope::kAdjacentLayer;
  if (from == Phase::kForward && to == Phase::kBackward) return ReuseScope::kForwardBackward;
  if (to == Phase::kUpdate) return ReuseScope::kUpdate;
  if (from == to && edge.block != kNoBlock) return ReuseScope::kBlock;
  return ReuseScope::kLongRange;
}

// Edges, bytes, capacities and curve of a scope from its edges.
ScopeReuse Summarize(ReuseScope scope, std::vector<const ReuseEdge*> edges) {
  std::sort(edges.begin(), edges.end(),
            [](const ReuseEdge* a, const ReuseEdge* b) { return a->distance_bytes < b->distance_bytes; });
  ScopeReuse reuse{.scope = scope, .edges = static_cast<int64_t>(edges.size())};
  for (const ReuseEdge* edge : edges) {
    reuse.bytes += edge->bytes;
    reuse.saved_bytes += edge->saved_bytes();
    if (reuse.curve.empty() || reuse.curve.back().capacity_bytes != edge->distance_bytes) {
      reuse.curve.push_back({.capacity_bytes = edge->distance_bytes});
    }
    reuse.curve.back().saved_bytes = reuse.saved_bytes;
  }
  if (reuse.curve.empty()) return reuse;
  reuse.capacity_to_capture_bytes = reuse.curve.back().capacity_bytes;
  const int64_t half = reuse.saved_bytes / 2 + reuse.saved_bytes % 2;
  reuse.capacity_to_capture_half_bytes =
      std::find_if(reuse.curve.begin(), reuse.curve.end(), [&](const SavingPoint& point) {
        return point.saved_bytes >= half;
      })->capacity_bytes;
  return reuse;
}

// The operands that kernels use more than once.
absl::Status AddIntraLayer(const CostTable& cost, ScopeReuse& scope) {
  for (const KernelCost& kernel : cost.kernels) {
    const std::optional<int64_t> sum = CheckedAdd(scope.bytes, kernel.reused_bytes);
    if (!sum.has_value()) return absl::OutOfRangeError("sum of the bytes of intra-layer reuse exceeds int64");
    scope.edges += kernel.reused_operands;
    scope.bytes = *sum;
  }
  scope.saved_bytes = scope.bytes;
  return absl::OkStatus();
}

// Every number of the table is at most a few times the sum of all touches.
absl::Status CheckSum(const CostTable& cost) {
  int64_t sum = 0;
  for (const Touch& touch : cost.touches) {
    const std::optional<int64_t> next = CheckedAdd(sum, touch.bytes);
    if (!next.has_value() || *next > INT64_MAX / 4) return absl::OutOfRangeError("sum of touched bytes exceeds int64");
    sum = *next;
  }
  return absl::OkStatus();
}

}  // namespace

absl::string_view ReuseScopeName(ReuseScope scope) {
  constexpr std::array<absl::string_view, kNumReuseScopes> kNames = {
      "intra-layer", "adjacent-layer", "block-scale", "forward-backward", "update", "long-range"};
  return kNames[static_cast<int>(scope)];
}

int64_t ScopeReuse::SavedBytes(int64_t capacity_bytes) const {
  const auto above =
      std::upper_bound(curve.begin(), curve.end(), capacity_bytes,
                       [](int64_t capacity, const SavingPoint& point) { return capacity < point.capacity_bytes; });
  return above == curve.begin() ? 0 : std::prev(above)->saved_bytes;
}

absl::StatusOr<ReuseTable> ComputeReuse(const TrainingGraph& training, const CostTable& cost,
                                        const BlockTable& blocks) {
  RS_RETURN_IF_ERROR(CheckSum(cost));
  ReuseTable reuse;
  EdgeFinder(cost, reuse.edges).Run();
  std::array<std::vector<const ReuseEdge*>, kNumReuseScopes> edges_of;
  for (ReuseEdge& edge : reuse.edges) {
    edge.block = blocks.InnermostCommon(BlockOf(training.graph, blocks, cost.kernels[edge.from_kernel].node),
                                        BlockOf(training.graph, blocks, cost.kernels[edge.to_kernel].node));
    edge.scope = ScopeOf(edge, cost);
    edges_of[static_cast<int>(edge.scope)].push_back(&edge);
  }
  for (int s = 0; s < kNumReuseScopes; ++s) {
    reuse.scopes[s] = Summarize(static_cast<ReuseScope>(s), std::move(edges_of[s]));
  }
  RS_RETURN_IF_ERROR(AddIntraLayer(cost, reuse.scopes[static_cast<int>(ReuseScope::kIntraLayer)]));
  return reuse;
}

std::vector<int32_t> TopReuseEdges(const ReuseTable& reuse, int count) {
  std::vector<int32_t> top(reuse.edges.size());
  std::iota(top.begin(), top.end(), 0);
  const size_t wanted = std::min(top.size(), static_cast<size_t>(std::max(count, 0)));
  std::partial_sort(top.begin(), top.begin() + wanted, top.end(), [&](int32_t a, int32_t b) {
    const ReuseEdge& x = reuse.edges[a];
    const ReuseEdge& y = reuse.edges[b];
    if (x.saved_bytes() != y.saved_bytes()) return x.saved_bytes() > y.saved_bytes();
    if (x.distance_bytes != y.distance_bytes) return x.distance_bytes < y.distance_bytes;
    return a < b;
  });
  top.resize(wanted);
  return top;
}

}  // namespace reusescope
