#include "importer/onnx_wire.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"

namespace reusescope {
namespace {

absl::Status Corrupt(WireMessage message, int64_t at, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("corrupt or truncated at byte ", at, ", inside a ", WireMessageName(message), ": ", found));
}

}  // namespace

absl::string_view WireMessageName(WireMessage message) {
  constexpr absl::string_view kNames[] = {
      "ModelProto",  "GraphProto",        "NodeProto",     "AttributeProto",
      "TensorProto", "SparseTensorProto", "FunctionProto", "StringStringEntryProto"};
  return kNames[static_cast<int>(message)];
}

absl::StatusOr<uint64_t> ReadWireVarint(ByteSource& source, WireMessage message, int64_t& at, int64_t end) {
  RS_ASSIGN_OR_RETURN(const absl::string_view bytes, source.View(at, std::min<int64_t>(10, end - at)));
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      at += static_cast<int64_t>(i) + 1;
      return value;
    }
  }
  return Corrupt(message, at,
                 bytes.size() == 10 ? "found a number of more than 10 bytes, expected at most 10"
                                    : "found the end of the message inside a number, expected its last byte");
}

absl::StatusOr<WireField> ReadWireField(ByteSource& source, WireMessage message, int64_t at, int64_t end) {
  WireField field;
  field.begin = at;
  RS_ASSIGN_OR_RETURN(const uint64_t tag, ReadWireVarint(source, message, at, end));
  if (tag >> 3 == 0 || tag > std::numeric_limits<uint32_t>::max()) {
    return Corrupt(message, field.begin, absl::StrCat("found field number ", tag >> 3, ", expected 1 to 536870911"));
  }
  field.number = static_cast<uint32_t>(tag >> 3);
  field.wire = static_cast<int>(tag & 7);
  field.payload = at;
  uint64_t length = 0;
  switch (field.wire) {
    case kWireVarint: {
      RS_ASSIGN_OR_RETURN(field.value, ReadWireVarint(source, message, at, end));
      break;
    }
    case kWireFixed64:
      length = 8;
      break;
    case kWireFixed32:
      length = 4;
      break;
    case kWireBytes: {
      RS_ASSIGN_OR_RETURN(length, ReadWireVarint(source, message, at, end));
      field.payload = at;
      break;
    }
    default:
      return Corrupt(
          message, field.begin,
          absl::StrCat("found wire type ", field.wire, " of field ", field.number, ", expected 0, 1, 2 or 5"));
  }
  if (length > static_cast<uint64_t>(end - at)) {
    return Corrupt(message, field.begin,
                   absl::StrCat("field ", field.number, " has ", length, " bytes, expected at most ", end - at));
  }
  field.end = at + static_cast<int64_t>(length);
  return field;
}

absl::StatusOr<StringEntry> ReadStringEntry(ByteSource& source, const WireField& entry, int64_t most_bytes) {
  StringEntry read;
  for (int64_t at = entry.payload; at < entry.end;) {
    RS_ASSIGN_OR_RETURN(const WireField field, ReadWireField(source, WireMessage::kStringEntry, at, entry.end));
    at = field.end;
    const int64_t bytes = field.end - field.payload;
    if (field.wire != kWireBytes || field.number > 2 || bytes > most_bytes) continue;
    RS_ASSIGN_OR_RETURN(const absl::string_view text, source.View(field.payload, bytes));
    (field.number == 1 ? read.key : read.value) = std::string(text);
  }
  return read;
}

absl::Status CheckWireDepth(int depth, int64_t at) {
  if (depth <= kMaxMessageDepth) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("messages are nested more than ", kMaxMessageDepth, " deep at byte ",
                                                 at, ", expected at most ", kMaxMessageDepth));
}

void AppendWireVarint(uint64_t value, std::string& out) {
  for (; value > 0x7F; value >>= 7) out.push_back(static_cast<char>((value & 0x7F) | 0x80));
  out.push_back(static_cast<char>(value));
}

void AppendWireTag(uint32_t field, std::string& out) {
  AppendWireVarint(uint64_t{field} << 3 | static_cast<uint64_t>(kWireBytes), out);
}

}  // namespace reusescope
