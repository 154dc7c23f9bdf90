// ONNX files on the protobuf wire level: one field after the other, without parsing what it holds.
//
//   for (int64_t at = begin; at < end;) {
//     RS_ASSIGN_OR_RETURN(const WireField field, ReadWireField(source, WireMessage::kGraph, at, end));
//     at = field.end;
//     if (field.number == 1 && field.wire == kWireBytes) ...      // NodeProto from field.payload to field.end
//   }
//
// Errors: kInvalidArgument with the byte, the message and what was expected, for a field that does not fit into the
// message around it and for an unknown wire type.

#ifndef REUSESCOPE_IMPORTER_ONNX_WIRE_H_
#define REUSESCOPE_IMPORTER_ONNX_WIRE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "importer/byte_source.h"

namespace reusescope {

// Protobuf's own default.
inline constexpr int kMaxMessageDepth = 100;

enum class WireMessage : uint8_t { kModel, kGraph, kNode, kAttribute, kTensor, kSparseTensor, kFunction, kStringEntry };
absl::string_view WireMessageName(WireMessage message);  // "ModelProto"

inline constexpr int kWireVarint = 0, kWireFixed64 = 1, kWireBytes = 2, kWireFixed32 = 5;

// One field as it stands in the file: the tag at `begin`, the payload from `payload` to `end`.
struct WireField {
  uint32_t number = 0;
  int wire = kWireVarint;
  int64_t begin = 0;
  int64_t payload = 0;
  int64_t end = 0;
  uint64_t value = 0;  // of a varint
};

// The field that begins at `at` of a message that ends at `end`.
absl::StatusOr<WireField> ReadWireField(ByteSource& source, WireMessage message, int64_t at, int64_t end);
// The number at `at`, which moves behind it.
absl::StatusOr<uint64_t> ReadWireVarint(ByteSource& source, WireMessage message, int64_t& at, int64_t end);
// Key and value of a StringStringEntryProto; what is longer than `most_bytes` is left empty. REQUIRES: most_bytes <=
// ByteSource::kWindowBytes.
struct StringEntry {
  std::string key, value;
};
absl::StatusOr<StringEntry> ReadStringEntry(ByteSource& source, const WireField& entry, int64_t most_bytes);

// kInvalidArgument with the depth when messages are nested more than kMaxMessageDepth deep.
absl::Status CheckWireDepth(int depth, int64_t at);

void AppendWireVarint(uint64_t value, std::string& out);
// The tag of a length-delimited field.
void AppendWireTag(uint32_t field, std::string& out);

}  // namespace reusescope

#endif  // REUSESCOPE_IMPORTER_ONNX_WIRE_H_
