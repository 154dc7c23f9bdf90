#include "importer/training_file.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

using google::protobuf::internal::WireFormatLite;

// The metadata entries of a serialized ModelProto, everything else skipped by length.
std::vector<onnx::StringStringEntryProto> MetadataOf(absl::string_view serialized) {
  std::vector<onnx::StringStringEntryProto> entries;
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(serialized.data()),
                                                static_cast<int>(serialized.size()));
  for (uint32_t tag = stream.ReadTag(); tag != 0; tag = stream.ReadTag()) {
    if (WireFormatLite::GetTagFieldNumber(tag) != onnx::ModelProto::kMetadataPropsFieldNumber) {
      if (!WireFormatLite::SkipField(&stream, tag)) break;
      continue;
    }
    std::string bytes;
    uint32_t length = 0;
    if (!stream.ReadVarint32(&length) || !stream.ReadString(&bytes, static_cast<int>(length))) break;
    if (!entries.emplace_back().ParseFromString(bytes)) entries.pop_back();
  }
  return entries;
}

}  // namespace

absl::StatusOr<std::optional<TrainingFile>> ReadTrainingFile(absl::string_view serialized) {
  TrainingFile file;
  bool found = false;
  for (const onnx::StringStringEntryProto& entry : MetadataOf(serialized)) {
    if (entry.key() == kArgumentsKey) file.arguments = absl::StrSplit(entry.value(), '\n', absl::SkipEmpty());
    if (entry.key() != kOriginKey) continue;
    found = true;
    if (!absl::Base64Unescape(entry.value(), &file.origin)) {
      return absl::InvalidArgumentError("found metadata 'reusescope.origin' that is no base64, expected a model");
    }
  }
  if (!found) return std::nullopt;
  return std::make_optional(std::move(file));
}

}  // namespace reusescope
