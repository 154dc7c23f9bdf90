#include "analysis/measure/prefetch.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

namespace reusescope {
namespace {

// Decisions by bytes alone, then one walk over kernels and channel. The channel serves, for every kernel e that ends:
// what e left to be written back, then the fetches that may start after e, then what kernel e + 1 streams out.
class Simulation {
 public:
  Simulation(absl::Span<const PrefetchKernel> kernels, int64_t capacity_bytes, double bandwidth, double speedup)
      : kernels_(kernels),
        n_(static_cast<int>(kernels.size())),
        capacity_(capacity_bytes),
        bandwidth_(bandwidth),
        speedup_(speedup),
        buffered_(n_, false),
        after_(n_, -1),
        fetch_start_(n_, 0.0),
        fetch_end_(n_, 0.0),
        drained_(n_, 0.0) {}

  PrefetchTimes Run() {
    PlaceWrites();
    PlaceFetches();
    times_.kernels.resize(n_);
    for (int e = -1; e < n_; ++e) {
      if (e >= 0 && buffered_[e]) {
        Transfer(end_, kernels_[e].written_bytes);
        drained_[e] = channel_;
      }
      for (; next_fetch_ < n_ && after_[next_fetch_] == e; ++next_fetch_) {
        fetch_start_[next_fetch_] = Transfer(end_, kernels_[next_fetch_].fetched_bytes);
        fetch_end_[next_fetch_] = channel_;
      }
      if (e + 1 < n_) RunKernel(e + 1);
    }
    for (const PrefetchKernel& kernel : kernels_) {
      times_.compute_seconds += Compute(kernel);
      times_.transfer_seconds += Seconds(kernel.fetched_bytes) + Seconds(kernel.written_bytes);
    }
    times_.step_seconds = std::max(end_, channel_);
    times_.stall_seconds = std::max(0.0, times_.step_seconds - times_.compute_seconds);
    return std::move(times_);
  }

 private:
  double Compute(const PrefetchKernel& kernel) const { return kernel.compute_seconds / speedup_; }
  double Seconds(int64_t bytes) const { return static_cast<double>(bytes) / bandwidth_; }

  // The next transfer, not before `ready`. Returns when it starts; it ends at channel_.
  double Transfer(double ready, int64_t bytes) {
    if (bytes == 0) return ready;
    const double start = std::max(channel_, ready);
    channel_ = start + Seconds(bytes);
    return start;
  }

  int64_t WaitingBytes(int k) const { return k >= 0 && buffered_[k] ? kernels_[k].written_bytes : 0; }

  // A kernel's output may wait for the channel if there is space during this kernel and the next.
  void PlaceWrites() {
    for (int k = 0; k < n_; ++k) {
      const int64_t bytes = kernels_[k].written_bytes;
      const int64_t held_next = k + 1 < n_ ? kernels_[k + 1].held_bytes : 0;
      buffered_[k] = bytes > 0 && kernels_[k].held_bytes + WaitingBytes(k - 1) + bytes <= capacity_ &&
                     held_next + bytes <= capacity_;
    }
  }

  // after_[j]: the last kernel that must have ended before fetch j may start; j - 1 for one that streams. While a
  // kernel i runs, its own buffers and all that is fetched for kernels up to j must fit: fetched(0..j) <= limit(i).
  void PlaceFetches() {
    std::deque<std::pair<int, int64_t>> limits;  // of the kernels between after_ and j; ascending in both
    int64_t fetched = 0;
    int after = -1;
    for (int j = 0; j < n_; ++j) {
      const int64_t own = kernels_[j].held_bytes + WaitingBytes(j) + WaitingBytes(j - 1);
      const int64_t before = fetched;
      fetched += kernels_[j].fetched_bytes;
      while (!limits.empty() && limits.front().second < fetched) {
        after = limits.front().first;
        limits.pop_front();
      }
      if (own + kernels_[j].fetched_bytes > capacity_) {
        after = j - 1;
        limits.clear();
      }
      after_[j] = after;
      const bool ahead = after < j - 1;
      const int64_t limit = capacity_ - own + (ahead ? before : fetched);
      while (!limits.empty() && limits.back().second >= limit) limits.pop_back();
      limits.emplace_back(j, limit);
    }
  }

  void RunKernel(int k) {
    const PrefetchKernel& kernel = kernels_[k];
    double start = end_;
    if (kernel.fetched_bytes > 0) start = std::max(start, fetch_start_[k]);
    if (k >= 2) start = std::max(start, drained_[k - 2]);
    double end = std::max(start + Compute(kernel), fetch_end_[k]);
    AddSample(k, start);
    if (kernel.written_bytes > 0 && !buffered_[k]) {
      Transfer(start, kernel.written_bytes);
      end = std::max(end, channel_);
    }
    times_.kernels[k].end_seconds = end;
    times_.kernels[k].stall_seconds = std::max(0.0, end - end_ - Compute(kernel));
    end_ = end;
  }

  void AddSample(int k, double start) {
    for (; arriving_ < next_fetch_ && fetch_start_[arriving_] <= start; ++arriving_) {
      arriving_bytes_ += kernels_[arriving_].fetched_bytes;
    }
    // What was fetched for the kernels before is used up; a stream of this kernel's own takes no space.
    for (; used_ < k; ++used_) arriving_bytes_ -= kernels_[used_].fetched_bytes;
    const bool streams = after_[k] == k - 1;
    PrefetchSample& sample = times_.kernels[k];
    sample.start_seconds = start;
    sample.buffer_bytes = kernels_[k].held_bytes + arriving_bytes_ - (streams ? kernels_[k].fetched_bytes : 0);
    if (k >= 1 && drained_[k - 1] > start) sample.buffer_bytes += WaitingBytes(k - 1);
  }

  const absl::Span<const PrefetchKernel> kernels_;
  const int n_;
  const int64_t capacity_;
  const double bandwidth_, speedup_;
  std::vector<bool> buffered_;  // by kernel: its output waits for the channel; else it streams out
  std::vector<int> after_;
  std::vector<double> fetch_start_, fetch_end_, drained_;
  double end_ = 0;      // of the kernel before
  double channel_ = 0;  // busy until then
  int next_fetch_ = 0;
  int arriving_ = 0, used_ = 0;
  int64_t arriving_bytes_ = 0;
  PrefetchTimes times_;
};

}  // namespace

PrefetchTimes SimulatePrefetch(absl::Span<const PrefetchKernel> kernels, int64_t capacity_bytes,
                               double bandwidth_bytes_per_second, double speedup) {
  return Simulation(kernels, capacity_bytes, bandwidth_bytes_per_second, speedup).Run();
}

}  // namespace reusescope
