// Early return on error, for functions that return absl::Status or absl::StatusOr.
//
//   RS_RETURN_IF_ERROR(Check(graph));
//   RS_ASSIGN_OR_RETURN(const int64_t count, ElementCount(shape));

#ifndef REUSESCOPE_ANALYSIS_IR_STATUS_UTIL_H_
#define REUSESCOPE_ANALYSIS_IR_STATUS_UTIL_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#define RS_CONCAT_INNER(a, b) a##b
#define RS_CONCAT(a, b) RS_CONCAT_INNER(a, b)

#define RS_RETURN_IF_ERROR(expression)     \
  do {                                     \
    absl::Status rs_status = (expression); \
    if (!rs_status.ok()) return rs_status; \
  } while (false)

#define RS_ASSIGN_OR_RETURN(declaration, expression) \
  RS_ASSIGN_OR_RETURN_INNER(RS_CONCAT(rs_or_, __LINE__), declaration, expression)
#define RS_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                      \
  if (!temporary.ok()) return temporary.status();                     \
  declaration = *std::move(temporary)

namespace reusescope {

// The same status with "prefix: " before its message, unless it begins so already: callers on the way out may each name
// the file and the node.
inline absl::Status Annotate(const absl::Status& status, absl::string_view prefix) {
  const std::string begin = absl::StrCat(prefix, ": ");
  if (status.ok() || absl::StartsWith(status.message(), begin)) return status;
  return absl::Status(status.code(), absl::StrCat(begin, status.message()));
}

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_STATUS_UTIL_H_
