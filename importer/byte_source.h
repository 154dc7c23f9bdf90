// Random access to the bytes of a model, in memory or in a file, touching only the pages that are asked for.
//
//   RS_ASSIGN_OR_RETURN(ByteSource source, ByteSource::OpenFile("vgg16.onnx"));
//   RS_ASSIGN_OR_RETURN(absl::string_view head, source.View(0, 16));
//
// Files are read by positioned reads through one small window instead of a mapping: a file that shrinks meanwhile gives
// a status, not a signal, and what is skipped costs nothing. Nothing is ever read ahead beyond the window.
//
// Errors: kNotFound when there is no such file, kInvalidArgument when it is no regular file or shrank,
// kPermissionDenied or kInternal as the system says.

#ifndef REUSESCOPE_IMPORTER_BYTE_SOURCE_H_
#define REUSESCOPE_IMPORTER_BYTE_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reusescope {

class ByteSource {
 public:
  static constexpr int64_t kWindowBytes = 64 * 1024;

  // The bytes must outlive the source.
  explicit ByteSource(absl::string_view bytes) : memory_(bytes), size_(static_cast<int64_t>(bytes.size())) {}
  // Opens a regular file; never blocks on a pipe or a device. `flags` are added to open(2)'s.
  static absl::StatusOr<ByteSource> OpenFile(const std::string& path, int flags = 0);

  ByteSource(ByteSource&& other) noexcept;
  ByteSource& operator=(ByteSource&&) = delete;
  ~ByteSource();

  int64_t size() const { return size_; }

  // The bytes from `offset` on, `length` of them or fewer where the source ends. Good until the next call.
  // REQUIRES: offset >= 0, 0 <= length <= kWindowBytes.
  absl::StatusOr<absl::string_view> View(int64_t offset, int64_t length);

  // Appends `length` bytes from `offset` on to `out`. REQUIRES: the range lies inside the source.
  absl::Status AppendTo(int64_t offset, int64_t length, std::string& out);

 private:
  ByteSource(int file, int64_t size) : file_(file), size_(size) {}
  absl::Status Read(int64_t offset, int64_t length, char* to) const;

  absl::string_view memory_;
  int file_ = -1;  // -1: in memory
  int64_t size_ = 0;
  std::string window_;
  int64_t window_offset_ = 0;
};

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_BYTE_SOURCE_H_
