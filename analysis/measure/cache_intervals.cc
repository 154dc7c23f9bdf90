#include "analysis/measure/cache_intervals.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/types.h"

namespace reusescope {
namespace {

// Sums over a sequence of slots that are set and cleared: the Fenwick tree of the stack-distance pass.
class SlotSums {
 public:
  explicit SlotSums(size_t slots) : tree_(slots + 1, 0) {}
  void Add(size_t slot, int64_t bytes) {
    total_ += bytes;
    for (size_t i = slot + 1; i < tree_.size(); i += i & (~i + 1)) tree_[i] += bytes;
  }
  int64_t SumAfter(size_t slot) const {
    int64_t sum = total_;
    for (size_t i = slot + 1; i > 0; i &= i - 1) sum -= tree_[i];
    return sum;
  }

 private:
  std::vector<int64_t> tree_;
  int64_t total_ = 0;
};

}  // namespace

// Walks the access list once. A piece is a range of a storage's bytes that are always touched together.
class ReuseChainsBuilder {
 public:
  explicit ReuseChainsBuilder(const CostTable& cost) : cost_(cost) {}

  absl::StatusOr<ReuseChains> Build() && {
    if (absl::Status status = CheckSum(); !status.ok()) return status;
    CutPieces();
    CollectIntervals();
    SortIntoChains();
    return std::move(result_);
  }

 private:
  struct Piece {
    StorageId storage;
    int64_t end_bytes;  // offset in the storage
    int64_t bytes;
    int32_t last_event = -1;
    int32_t last_kernel = -1;
    int64_t slot = -1;   // in the stack of recency
    int32_t chain = -1;  // of the last write, or -1: not written yet, or that value is over
  };
  // An interval as found, in order of its end.
  struct Found {
    ReuseInterval interval;
    int64_t distance_bytes;
  };

  absl::Status CheckSum() const {
    int64_t sum = 0;
    for (const KernelCost& kernel : cost_.kernels) {
      for (const Touch& touch : cost_.TouchesOf(kernel)) {
        const auto twice = CheckedMultiply(touch.bytes, static_cast<int>(touch.reads) + static_cast<int>(touch.writes));
        const auto next = twice ? CheckedAdd(sum, *twice) : std::nullopt;
        if (!next) {
          return absl::OutOfRangeError(
              absl::StrCat("the bytes of all kernels: sum over ", cost_.kernels.size(), " kernels exceeds int64"));
        }
        sum = *next;
      }
    }
    return absl::OkStatus();
  }

  // Cuts every storage where one of its touches ends; pieces of a storage are consecutive, ascending.
  void CutPieces() {
    const size_t num_storages = cost_.storages.size();
    std::vector<int32_t> first_end(num_storages + 1, 0);
    for (const Touch& touch : cost_.touches) first_end[touch.storage + 1] += touch.bytes > 0 ? 1 : 0;
    std::partial_sum(first_end.begin(), first_end.end(), first_end.begin());
    std::vector<int64_t> ends(first_end.back());
    std::vector<int32_t> next_end(first_end.begin(), first_end.end() - 1);
    for (const Touch& touch : cost_.touches) {
      if (touch.bytes > 0) ends[next_end[touch.storage]++] = touch.bytes;
    }
    first_piece_.assign(num_storages + 1, 0);
    pieces_.reserve(num_storages);
    for (size_t s = 0; s < num_storages; ++s) {
      std::sort(ends.begin() + first_end[s], ends.begin() + first_end[s + 1]);
      int64_t begin = 0;
      for (int32_t i = first_end[s]; i < first_end[s + 1]; ++i) {
        if (ends[i] > begin) pieces_.push_back({static_cast<StorageId>(s), ends[i], ends[i] - begin});
        begin = ends[i];
      }
      first_piece_[s + 1] = static_cast<int32_t>(pieces_.size());
    }
  }

  // The pieces of [0, touch.bytes).
  absl::Span<Piece> PiecesOf(const Touch& touch) {
    const int32_t first = first_piece_[touch.storage];
    int32_t last = first;
    while (last < first_piece_[touch.storage + 1] && pieces_[last].end_bytes <= touch.bytes) ++last;
    return absl::MakeSpan(pieces_).subspan(first, last - first);
  }

  size_t CountSlots() {
    size_t slots = 0;
    for (const KernelCost& kernel : cost_.kernels) {
      for (const Touch& touch : cost_.TouchesOf(kernel)) slots += PiecesOf(touch).size();
    }
    return slots;
  }

  void CollectIntervals() {
    SlotSums stack(CountSlots());
    result_.fixed_.resize(cost_.kernels.size());
    for (size_t k = 0; k < cost_.kernels.size(); ++k) {
      for (const Touch& touch : cost_.TouchesOf(cost_.kernels[k])) {
        if (touch.bytes == 0) continue;
        const auto event = static_cast<int32_t>(result_.kernel_of_event_.size());
        result_.kernel_of_event_.push_back(static_cast<int32_t>(k));
        VisitTouch(touch, event, static_cast<int32_t>(k), stack);
      }
    }
    for (Piece& piece : pieces_) {
      const StorageCost& storage = cost_.storages[piece.storage];
      if (piece.chain >= 0) EndChain(piece, storage.persistent || storage.kept_to_end);
    }
  }

  void VisitTouch(const Touch& touch, int32_t event, int32_t kernel, SlotSums& stack) {
    const absl::Span<Piece> pieces = PiecesOf(touch);
    for (Piece& piece : pieces) {
      if (touch.reads) Read(piece, event, kernel, stack);
    }
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
      if (touch.writes) {
        if (piece->chain >= 0) EndChain(*piece, false);
        piece->chain = static_cast<int32_t>(chain_kernel_.size());
        chain_kernel_.push_back(kernel);
        chain_intervals_.push_back(0);
      }
      // The first byte becomes the most recent.
      if (piece->slot >= 0) stack.Add(piece->slot, -piece->bytes);
      piece->slot = next_slot_++;
      stack.Add(piece->slot, piece->bytes);
      piece->last_event = event;
      piece->last_kernel = kernel;
    }
  }

  void Read(const Piece& piece, int32_t event, int32_t kernel, const SlotSums& stack) {
    if (piece.last_event < 0) {
      result_.fixed_[kernel].fetched_bytes += piece.bytes;
      return;
    }
    if (piece.chain >= 0) ++chain_intervals_[piece.chain];
    found_.push_back({{piece.last_event, event, piece.bytes, piece.chain, kernel, true}, stack.SumAfter(piece.slot)});
  }

  // The value of the piece's last write is over; `stays`: it must reach off-chip memory in any case.
  void EndChain(const Piece& piece, bool stays) {
    if (stays) {
      result_.fixed_[chain_kernel_[piece.chain]].written_bytes += piece.bytes;
      chain_intervals_[piece.chain] = -1;
    } else if (chain_intervals_[piece.chain] == 0) {
      // Bytes of the same touch are more recent than these if they are before them in the storage.
      const int32_t event = piece.last_event;
      found_.push_back(
          {{event, event + 1, piece.bytes, piece.chain, piece.last_kernel, false}, piece.end_bytes - piece.bytes});
      chain_intervals_[piece.chain] = 1;
    }
  }

  // Orders intervals by chain (those without one first) and numbers the chains that save a write-back.
  void SortIntoChains() {
    for (Found& found : found_) {
      int32_t& chain = found.interval.chain;
      if (chain >= 0 && chain_intervals_[chain] < 0) chain = -1;
    }
    std::vector<int32_t> place(chain_kernel_.size() + 2, 0);  // by chain + 1: of its next interval
    for (const Found& found : found_) ++place[found.interval.chain + 2];
    std::partial_sum(place.begin(), place.end(), place.begin());
    std::vector<int32_t> by_chain(found_.size());
    for (size_t i = 0; i < found_.size(); ++i)
      by_chain[place[found_[i].interval.chain + 1]++] = static_cast<int32_t>(i);
    result_.intervals_.reserve(found_.size());
    result_.lru_distance_bytes_.reserve(found_.size());
    int32_t previous = -1;
    for (int32_t i : by_chain) {
      const Found& found = found_[i];
      const auto index = static_cast<int32_t>(result_.intervals_.size());
      result_.intervals_.push_back(found.interval);
      result_.lru_distance_bytes_.push_back(found.distance_bytes);
      const int32_t chain = found.interval.chain;
      if (chain < 0) continue;
      if (chain != previous) result_.chains_.push_back({index, index, chain_kernel_[chain]});
      previous = chain;
      result_.chains_.back().last = index + 1;
      result_.intervals_.back().chain = static_cast<int32_t>(result_.chains_.size()) - 1;
    }
    for (const KernelTraffic& traffic : result_.fixed_) result_.fixed_bytes_ += traffic.bytes();
  }

  const CostTable& cost_;
  ReuseChains result_;
  std::vector<Piece> pieces_;
  std::vector<int32_t> first_piece_;  // by storage
  int64_t next_slot_ = 0;
  std::vector<Found> found_;
  std::vector<int32_t> chain_kernel_;
  std::vector<int32_t> chain_intervals_;  // how many; -1: written back in any case
};

absl::StatusOr<ReuseChains> ReuseChains::Build(const CostTable& cost) { return ReuseChainsBuilder(cost).Build(); }

std::vector<KernelTraffic> ReuseChains::TrafficOf(absl::Span<const int64_t> kept) const {
  std::vector<KernelTraffic> traffic = fixed_;
  for (size_t i = 0; i < intervals_.size(); ++i) {
    if (intervals_[i].saves_fetch) traffic[intervals_[i].kernel].fetched_bytes += intervals_[i].bytes - kept[i];
  }
  for (const ReuseChain& chain : chains_) {
    const int64_t least = *std::min_element(kept.begin() + chain.first, kept.begin() + chain.last);
    traffic[chain.kernel].written_bytes += intervals_[chain.first].bytes - least;
  }
  return traffic;
}

int64_t ReuseChains::TotalTrafficOf(absl::Span<const int64_t> kept) const {
  int64_t total = fixed_bytes_;
  for (size_t i = 0; i < intervals_.size(); ++i) {
    if (intervals_[i].saves_fetch) total += intervals_[i].bytes - kept[i];
  }
  for (const ReuseChain& chain : chains_) {
    total += intervals_[chain.first].bytes - *std::min_element(kept.begin() + chain.first, kept.begin() + chain.last);
  }
  return total;
}

std::vector<int64_t> ReuseChains::HeldBytesOf(absl::Span<const int64_t> kept) const {
  std::vector<int64_t> change(num_events() + 1, 0);
  for (size_t i = 0; i < intervals_.size(); ++i) {
    change[intervals_[i].begin] += kept[i];
    change[intervals_[i].end] -= kept[i];
  }
  std::vector<int64_t> held(num_kernels(), 0);
  int64_t before = 0;
  for (int event = 0; event < num_events(); ++event) {
    const int64_t after = before + change[event];
    int64_t& most = held[kernel_of_event_[event]];
    most = std::max({most, before, after});
    before = after;
  }
  return held;
}

}  // namespace reusescope
