#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cli/text.h"

namespace reusescope::cli {
namespace {

absl::Status CannotWrite(absl::string_view where) {
  return absl::UnknownError(absl::StrCat("cannot write ", where, ": ", std::strerror(errno)));
}

}  // namespace

absl::Status WriteOutput(const std::string& path, absl::string_view text) {
  if (path.empty() || path == "-") {
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
    return written || errno == EPIPE ? absl::OkStatus() : CannotWrite("stdout");
  }
  const std::string where = absl::StrCat("'", Printable(path), "'");
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return CannotWrite(where);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;
  return written && closed ? absl::OkStatus() : CannotWrite(where);
}

}  // namespace reusescope::cli
