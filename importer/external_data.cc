#include "importer/external_data.h"

#include <fcntl.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/types.h"
#include "importer/byte_source.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

absl::StatusOr<int64_t> ParseBytes(absl::string_view key, absl::string_view text) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("found external ", key, " '", text.substr(0, 32), "', expected a number of bytes"));
  }
  return value;
}

bool IsInside(const std::filesystem::path& folder, const std::filesystem::path& file) {
  auto part = file.begin();
  for (const auto& expected : folder) {
    if (part == file.end() || *part != expected) return false;
    ++part;
  }
  return part != file.end();
}

}  // namespace

absl::StatusOr<ExternalRange> ParseExternalRange(const onnx::TensorProto& proto) {
  ExternalRange range;
  for (const onnx::StringStringEntryProto& entry : proto.external_data()) {
    if (entry.key() == "location") {
      range.location = entry.value();
    } else if (entry.key() == "offset") {
      RS_ASSIGN_OR_RETURN(range.offset, ParseBytes("offset", entry.value()));
    } else if (entry.key() == "length") {
      RS_ASSIGN_OR_RETURN(range.length, ParseBytes("length", entry.value()));
    }
  }
  RS_RETURN_IF_ERROR(ExternalData::CheckLocation(range.location));
  return range;
}

absl::Status ExternalData::CheckLocation(absl::string_view location) {
  // Windows separators too: the same file would leave the folder there.
  bool leaves = absl::StartsWith(location, "/") || absl::StartsWith(location, "\\") ||
                absl::StrContains(location, '\0') || (location.size() > 1 && location[1] == ':');
  for (absl::string_view part : absl::StrSplit(location, absl::ByAnyChar("/\\"))) leaves = leaves || part == "..";
  if (!leaves && !location.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("found external data at '", location, "', expected a relative path inside the model's folder"));
}

absl::StatusOr<std::optional<std::string>> ExternalData::Read(const ExternalRange& range, int64_t bytes) const {
  RS_RETURN_IF_ERROR(CheckLocation(range.location));
  if (range.length.value_or(bytes) != bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("found external data of ", *range.length, " bytes, expected ", bytes));
  }
  if (folder_.empty()) return std::optional<std::string>();
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::canonical(folder_, error);
  if (error) return std::optional<std::string>();
  const std::filesystem::path file = std::filesystem::canonical(folder / range.location, error);
  if (error) return std::optional<std::string>();
  if (!IsInside(folder, file)) {
    return absl::InvalidArgumentError(absl::StrCat("found external data at '", range.location,
                                                   "', a link out of the model's folder, expected a file inside it"));
  }
  absl::StatusOr<ByteSource> source = ByteSource::OpenFile(file.string(), O_NOFOLLOW);
  if (!source.ok()) return Annotate(source.status(), absl::StrCat("external data '", range.location, "'"));
  const std::optional<int64_t> end = CheckedAdd(range.offset, bytes);
  if (!end.has_value() || *end > source->size()) {
    return absl::InvalidArgumentError(absl::StrCat("found external data file '", range.location, "' of ",
                                                   source->size(), " bytes, expected ", bytes, " at byte ",
                                                   range.offset));
  }
  std::string data;
  RS_RETURN_IF_ERROR(source->AppendTo(range.offset, bytes, data));
  return std::optional<std::string>(std::move(data));
}

}  // namespace reusescope
