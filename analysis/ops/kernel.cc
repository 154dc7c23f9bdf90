#include "analysis/ops/kernel.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/types.h"

namespace reusescope {
namespace {

// How many of first, first + stride, ..., (trip of them) lie in [0, extent). REQUIRES: stride >= 1.
int64_t CountInside(int64_t first, int64_t stride, int64_t trip, int64_t extent) {
  const int64_t skip = first >= 0 ? 0 : (-first + stride - 1) / stride;
  if (skip >= trip || first + skip * stride >= extent) return 0;
  return std::min(trip - skip, (extent - 1 - (first + skip * stride)) / stride + 1);
}

// Distinct positions of outer.stride * i + inner.stride * j + offset inside [0, extent).
int64_t CountTwoTerms(const IndexExpr& expr, const LoopTerm& a, int64_t trip_a, const LoopTerm& b, int64_t trip_b) {
  const bool a_outer = a.stride >= b.stride;
  const LoopTerm& outer = a_outer ? a : b;
  const LoopTerm& inner = a_outer ? b : a;
  const int64_t outer_trip = a_outer ? trip_a : trip_b;
  const int64_t inner_trip = a_outer ? trip_b : trip_a;
  const int64_t inner_span = (inner_trip - 1) * inner.stride;
  if (inner_span < outer.stride) {  // the windows do not overlap: every combination is a position of its own
    if (expr.offset >= 0 && expr.offset + (outer_trip - 1) * outer.stride + inner_span < expr.extent) {
      return outer_trip * inner_trip;
    }
  } else if (inner.stride == 1) {  // the windows cover a contiguous range
    return CountInside(expr.offset, 1, (outer_trip - 1) * outer.stride + inner_span + 1, expr.extent);
  }
  constexpr int64_t kMaxEnumerated = int64_t{1} << 22;
  if (expr.extent > kMaxEnumerated || outer_trip > kMaxEnumerated / std::max<int64_t>(inner_trip, 1)) {
    return std::min(expr.extent, outer_trip * inner_trip);
  }
  std::vector<bool> seen(expr.extent, false);
  int64_t count = 0;
  for (int64_t i = 0; i < outer_trip; ++i) {
    for (int64_t j = 0; j < inner_trip; ++j) {
      const int64_t position = expr.offset + i * outer.stride + j * inner.stride;
      if (position < 0 || position >= expr.extent || seen[position]) continue;
      seen[position] = true;
      ++count;
    }
  }
  return count;
}

int64_t CountPositions(const Kernel& kernel, const IndexExpr& expr) {
  LoopTerms terms;  // loops that take one value only do not move the index
  for (const LoopTerm& term : expr.terms) {
    const int64_t trip = kernel.loops[term.loop].trip;
    if (trip == 0) return 0;
    if (trip > 1) terms.push_back(term);
  }
  const auto trip = [&](size_t i) { return kernel.loops[terms[i].loop].trip; };
  if (terms.empty()) return expr.offset >= 0 && expr.offset < expr.extent ? 1 : 0;
  if (terms.size() == 1) return CountInside(expr.offset, terms[0].stride, trip(0), expr.extent);
  return CountTwoTerms(expr, terms[0], trip(0), terms[1], trip(1));
}

std::string IndexString(const Kernel& kernel, const IndexExpr& expr) {
  std::string out;
  for (const LoopTerm& term : expr.terms) {
    if (!out.empty()) out.push_back('+');
    if (term.stride != 1) absl::StrAppend(&out, term.stride);
    out.push_back(kernel.loops[term.loop].name);
  }
  if (expr.offset != 0 || out.empty()) absl::StrAppend(&out, expr.offset > 0 && !out.empty() ? "+" : "", expr.offset);
  return out;
}

std::string AccessString(const Kernel& kernel, const Access& access) {
  if (!access.affine) return std::string(RoleName(access.role));
  return absl::StrCat(
      RoleName(access.role), "[",
      absl::StrJoin(access.index, ",",
                    [&](std::string* out, const IndexExpr& expr) { out->append(IndexString(kernel, expr)); }),
      "]");
}

Role GradientRole(Role role) {
  switch (role) {
    case Role::kW:
      return Role::kDW;
    case Role::kY:
      return Role::kDY;
    default:
      return Role::kDX;
  }
}

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kX:
      return "X";
    case Role::kW:
      return "W";
    case Role::kY:
      return "Y";
    case Role::kDX:
      return "dX";
    case Role::kDW:
      return "dW";
    case Role::kDY:
      return "dY";
    case Role::kState:
      return "state";
    case Role::kIndex:
      return "index";
  }
  return "?";
}

absl::StatusOr<int64_t> Points(const Kernel& kernel) {
  int64_t points = 1;
  bool overflow = false;
  for (const Loop& loop : kernel.loops) {
    if (loop.trip == 0) return 0;
    const auto product = CheckedMultiply(points, loop.trip);
    overflow = overflow || !product.has_value();
    points = product.value_or(1);
  }
  if (!overflow) return points;
  return absl::OutOfRangeError(absl::StrCat("iteration points exceed int64: ",
                                            absl::StrJoin(kernel.loops, " * ", [](std::string* out, const Loop& loop) {
                                              absl::StrAppend(out, std::string(1, loop.name), "=", loop.trip);
                                            })));
}

int64_t DistinctElements(const Kernel& kernel, const Access& access) {
  if (!access.affine) return access.elements;
  int64_t elements = 1;
  for (const IndexExpr& expr : access.index) elements *= CountPositions(kernel, expr);
  return elements;
}

Kernel ContractionGradient(const Kernel& forward, int wrt) {
  Kernel gradient = forward;
  gradient.accesses.clear();
  gradient.flops_per_point = 0;
  gradient.extra_flops = 0;
  const auto output = std::find_if(forward.accesses.begin(), forward.accesses.end(),
                                   [](const Access& access) { return access.is_output; });
  Access dy = *output;
  dy.role = Role::kDY;
  dy.is_output = false;
  dy.slot = 0;
  dy.reads = true;
  dy.writes = false;
  gradient.accesses.push_back(dy);
  int slot = 1;
  for (auto it = forward.accesses.begin(); it != output; ++it) {
    if (it - forward.accesses.begin() == wrt) continue;
    gradient.accesses.push_back(*it);
    gradient.accesses.back().slot = slot++;
  }
  Access written = forward.accesses[wrt];
  written.role = GradientRole(written.role);
  written.is_output = true;
  written.slot = 0;
  written.reads = false;
  written.writes = true;
  gradient.accesses.push_back(written);
  return gradient;
}

std::string KernelEquation(const Kernel& kernel) {
  std::vector<std::string> written, read;
  bool affine = true;
  for (const Access& access : kernel.accesses) {
    affine = affine && access.affine;
    if (access.writes) written.push_back(AccessString(kernel, access));
    if (access.reads) read.push_back(AccessString(kernel, access));
  }
  const std::string left = absl::StrJoin(written, ", ");
  if (kernel.contraction && affine) return absl::StrCat(left, " += ", absl::StrJoin(read, " * "));
  return absl::StrCat(left, " = f(", absl::StrJoin(read, ", "), ")");
}

}  // namespace reusescope
