// Dimensions that a file declares as arithmetic of others: "past_sequence_length + 1", "2*N", "floor(H/2 - 1/2) + 1".
//
//   EvaluateDimension("past + 1", {{"past", 7}})  ->  8
//
// + - * / // and parentheses over whole numbers, names, floor(...), ceiling(...), Min(...) and Max(...), as exporters
// print them; "/" is exact in between, rounded down at the end.

#ifndef REUSESCOPE_ANALYSIS_TRANSFORM_DIM_EXPRESSION_H_
#define REUSESCOPE_ANALYSIS_TRANSFORM_DIM_EXPRESSION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/btree_map.h"
#include "absl/strings/string_view.h"

namespace reusescope {

// The number that `text` stands for, or nullopt when it is no expression, names what is not bound, or comes to no
// dimension (negative, beyond int64).
std::optional<int64_t> EvaluateDimension(absl::string_view text, const absl::btree_map<std::string, int64_t>& bound);

// Whether `text` is arithmetic rather than a name.
bool IsDimensionExpression(absl::string_view text);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_TRANSFORM_DIM_EXPRESSION_H_
