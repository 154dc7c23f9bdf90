// What the evaluate*.cc files share: reading known operands, index arithmetic of small tensors, checked results.

#ifndef REUSESCOPE_ANALYSIS_OPS_EVALUATE_UTIL_H_
#define REUSESCOPE_ANALYSIS_OPS_EVALUATE_UTIL_H_

#include <optional>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "analysis/ops/evaluate.h"

namespace reusescope::evaluate {

// Input i if its value is known and may be used (see evaluate.h), or null.
const Literal* Known(const OpContext& ctx, int i);

// Number of elements if it is at most kMaxLiteralElements; nullopt also for unknown dimensions and for absurd ranks.
std::optional<int64_t> SmallCount(absl::Span<const int64_t> shape);

// `axis` counted from the front, or nullopt outside [-rank, rank).
std::optional<int> NormalizeAxis(int64_t axis, int rank);

// NumPy's broadcast of two shapes, or nullopt when they clash.
std::optional<Shape> BroadcastShapes(absl::Span<const int64_t> a, absl::Span<const int64_t> b);

// Row-major distance between neighbours along each dimension. REQUIRES: SmallCount(shape).
std::vector<int64_t> Strides(absl::Span<const int64_t> shape);

// For each element of a tensor of shape `to`, in row-major order, the element of a tensor of shape `from` that
// broadcasting puts there. REQUIRES: `from` broadcasts to `to`; SmallCount(to).
std::vector<int64_t> BroadcastIndex(absl::Span<const int64_t> from, absl::Span<const int64_t> to);

// Visits the positions of a shape in row-major order. REQUIRES: SmallCount(shape).
class Positions {
 public:
  explicit Positions(absl::Span<const int64_t> shape) : shape_(shape), at_(shape.size(), 0) {
    for (int64_t dim : shape) done_ = done_ || dim == 0;
  }
  bool done() const { return done_; }
  const std::vector<int64_t>& at() const { return at_; }
  void Next();

 private:
  absl::Span<const int64_t> shape_;
  std::vector<int64_t> at_;
  bool done_ = false;
};

// The elements of `source` at `index`, in that order, as a tensor of `shape`.
Literal Take(const Literal& source, Shape shape, absl::Span<const int64_t> index);

// The same value from whichever vector holds it, appended to `to`.
void AppendElement(const Literal& from, int64_t i, Literal& to);

// One output that is `literal`, or nothing when a value does not fit the dtype or the tensor is too large to be known.
std::vector<Literal> Result(Literal literal);

// Values of an integer operand that stands as input i (-1: never) or, in older opsets, as attribute
// `name`; empty when neither is there.
std::optional<std::vector<int64_t>> IntsOf(const OpContext& ctx, int i, absl::string_view name);

}  // namespace reusescope::evaluate

#endif  // REUSESCOPE_ANALYSIS_OPS_EVALUATE_UTIL_H_
