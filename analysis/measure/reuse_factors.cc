#include "analysis/measure/reuse_factors.h"

#include <algorithm>
#include <vector>

#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

// By loop: does it move the index of an affine access?
std::vector<bool> LoopsPresent(const Kernel& kernel, const Access& access) {
  std::vector<bool> present(kernel.loops.size(), false);
  for (const IndexExpr& expr : access.index) {
    for (const LoopTerm& term : expr.terms) {
      if (term.stride != 0) present[term.loop] = true;
    }
  }
  return present;
}

OperandReuse ReuseOf(const Kernel& kernel, int access_index, int64_t points) {
  const Access& access = kernel.accesses[access_index];
  OperandReuse reuse{.access = access_index,
                     .role = access.role,
                     .is_output = access.is_output,
                     .points = points,
                     .elements = DistinctElements(kernel, access)};
  if (points == 0 || reuse.elements == 0) {
    reuse.broadcast = 0;
    reuse.window = 0;
    return reuse;
  }
  if (!access.affine) {
    reuse.broadcast = static_cast<double>(points) / static_cast<double>(reuse.elements);
    return reuse;
  }
  const std::vector<bool> present = LoopsPresent(kernel, access);
  int64_t absent_points = 1;
  for (size_t i = 0; i < kernel.loops.size(); ++i) {
    if (!present[i]) absent_points *= kernel.loops[i].trip;  // divides `points`, so it fits
  }
  reuse.broadcast = static_cast<double>(absent_points);
  reuse.window = static_cast<double>(points / absent_points) / static_cast<double>(reuse.elements);
  return reuse;
}

const OperandReuse* FirstRead(const Kernel& kernel, const std::vector<OperandReuse>& operands, Role role) {
  const auto it = std::find_if(operands.begin(), operands.end(), [&](const OperandReuse& operand) {
    return operand.role == role && kernel.accesses[operand.access].reads;
  });
  return it == operands.end() ? nullptr : &*it;
}

}  // namespace

absl::StatusOr<ReuseFactors> ComputeReuseFactors(const Kernel& kernel) {
  RS_ASSIGN_OR_RETURN(const int64_t points, Points(kernel));
  ReuseFactors factors;
  for (size_t i = 0; i < kernel.accesses.size(); ++i) {
    factors.operands.push_back(ReuseOf(kernel, static_cast<int>(i), points));
  }
  const OperandReuse* weight = FirstRead(kernel, factors.operands, Role::kW);
  if (weight != nullptr) factors.weight = weight->factor();
  const OperandReuse* input = FirstRead(kernel, factors.operands, Role::kX);
  if (input == nullptr) input = FirstRead(kernel, factors.operands, Role::kDY);
  if (input != nullptr) {
    factors.input = input->broadcast;
    factors.convolutional = input->window;
  }
  const auto written = std::find_if(factors.operands.begin(), factors.operands.end(), [&](const OperandReuse& operand) {
    return kernel.accesses[operand.access].writes;
  });
  if (written != factors.operands.end()) factors.partial_sum = written->factor();
  return factors;
}

}  // namespace reusescope
