#include "importer/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

// Above this size most of a model file is weights, and reading ahead of a read is wasted.
constexpr int64_t kMostlyWeightsBytes = 16 << 20;

}  // namespace

absl::StatusOr<ByteSource> ByteSource::OpenFile(const std::string& path, int flags) {
  if (path.find('\0') != std::string::npos) return absl::NotFoundError("file name holds a zero byte");
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
  if (file < 0) return absl::ErrnoToStatus(errno, "cannot open");
  struct stat info;
  if (fstat(file, &info) != 0) {
    const int error = errno;
    close(file);
    return absl::ErrnoToStatus(error, "cannot inspect");
  }
  if (!S_ISREG(info.st_mode)) {
    close(file);
    return absl::InvalidArgumentError(
        absl::StrCat("is ", S_ISDIR(info.st_mode) ? "a directory" : "no regular file", ", expected a model file"));
  }
  if (info.st_size > kMostlyWeightsBytes) posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
  return ByteSource(file, static_cast<int64_t>(info.st_size));
}

ByteSource::ByteSource(ByteSource&& other) noexcept
    : memory_(other.memory_),
      file_(std::exchange(other.file_, -1)),
      size_(other.size_),
      window_(std::move(other.window_)),
      window_offset_(other.window_offset_) {}

ByteSource::~ByteSource() {
  if (file_ >= 0) close(file_);
}

absl::Status ByteSource::Read(int64_t offset, int64_t length, char* to) const {
  while (length > 0) {
    const ssize_t count = pread(file_, to, static_cast<size_t>(length), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read at byte ", offset));
    if (count == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("ends at byte ", offset, " while being read, expected ", size_, " bytes"));
    }
    offset += count;
    to += count;
    length -= count;
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::string_view> ByteSource::View(int64_t offset, int64_t length) {
  if (offset >= size_) return absl::string_view();
  length = std::min(length, size_ - offset);
  if (file_ < 0) return memory_.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
  const auto held = static_cast<int64_t>(window_.size());
  if (offset < window_offset_ || offset + length > window_offset_ + held) {
    const int64_t fill = std::min(kWindowBytes, size_ - offset);
    window_.resize(static_cast<size_t>(fill));
    window_offset_ = offset;
    if (absl::Status status = Read(offset, fill, window_.data()); !status.ok()) {
      window_.clear();
      return status;
    }
  }
  return absl::string_view(window_).substr(static_cast<size_t>(offset - window_offset_), static_cast<size_t>(length));
}

absl::Status ByteSource::AppendTo(int64_t offset, int64_t length, std::string& out) {
  if (length <= kWindowBytes) {
    RS_ASSIGN_OR_RETURN(const absl::string_view bytes, View(offset, length));
    out.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  if (file_ < 0) {
    out.append(memory_.data() + offset, static_cast<size_t>(length));
    return absl::OkStatus();
  }
  const size_t old_size = out.size();
  out.resize(old_size + static_cast<size_t>(length));
  return Read(offset, length, out.data() + old_size);
}

}  // namespace reusescope
