#include "importer/onnx_skim.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/attributes.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/types.h"
#include "importer/metadata.h"

namespace reusescope {
namespace {

enum class Message : uint8_t { kModel, kGraph, kNode, kAttribute, kTensor, kSparseTensor, kFunction, kMetadata };

absl::string_view MessageName(Message message) {
  constexpr absl::string_view kNames[] = {
      "ModelProto",  "GraphProto",        "NodeProto",     "AttributeProto",
      "TensorProto", "SparseTensorProto", "FunctionProto", "StringStringEntryProto"};
  return kNames[static_cast<int>(message)];
}

// What becomes of a length-delimited field. Fields without a row are copied.
struct FieldRule {
  enum Action : uint8_t { kDrop, kEmpty, kDescend };
  Message message;
  uint32_t field;
  Action action;
  Message child = Message::kModel;
};

constexpr FieldRule kFieldRules[] = {
    {Message::kModel, 6, FieldRule::kDrop},  // doc_string
    {Message::kModel, 7, FieldRule::kDescend, Message::kGraph},
    {Message::kModel, 20, FieldRule::kEmpty},  // training_info
    {Message::kModel, 25, FieldRule::kDescend, Message::kFunction},
    {Message::kGraph, 1, FieldRule::kDescend, Message::kNode},
    {Message::kGraph, 5, FieldRule::kDescend, Message::kTensor},         // initializer
    {Message::kGraph, 10, FieldRule::kDrop},                             // doc_string
    {Message::kGraph, 15, FieldRule::kDescend, Message::kSparseTensor},  // sparse_initializer
    {Message::kNode, 5, FieldRule::kDescend, Message::kAttribute},
    {Message::kNode, 6, FieldRule::kDrop},                         // doc_string
    {Message::kNode, 9, FieldRule::kDescend, Message::kMetadata},  // metadata_props
    {Message::kAttribute, 5, FieldRule::kDescend, Message::kTensor},
    {Message::kAttribute, 6, FieldRule::kDescend, Message::kGraph},
    {Message::kAttribute, 10, FieldRule::kDescend, Message::kTensor},  // tensors
    {Message::kAttribute, 11, FieldRule::kDescend, Message::kGraph},   // graphs
    {Message::kAttribute, 13, FieldRule::kDrop},                       // doc_string
    {Message::kAttribute, 22, FieldRule::kDescend, Message::kSparseTensor},
    {Message::kAttribute, 23, FieldRule::kDescend, Message::kSparseTensor},
    {Message::kTensor, 12, FieldRule::kDrop},                            // doc_string
    {Message::kSparseTensor, 1, FieldRule::kDescend, Message::kTensor},  // values
    {Message::kSparseTensor, 2, FieldRule::kDescend, Message::kTensor},  // indices
    {Message::kFunction, 7, FieldRule::kDescend, Message::kNode},
    {Message::kFunction, 8, FieldRule::kDrop},  // doc_string
    {Message::kFunction, 11, FieldRule::kDescend, Message::kAttribute},
};

const FieldRule* FindRule(Message message, uint32_t field) {
  for (const FieldRule& rule : kFieldRules) {
    if (rule.message == message && rule.field == field) return &rule;
  }
  return nullptr;
}

constexpr uint32_t kTensorDims = 1;
constexpr uint32_t kMetadataKey = 1;
// What the loader reads of a node's metadata; stack traces, the bulk of many exports, it does not.
constexpr absl::string_view kWantedNodeMetadata[] = {kNameScopesKey};
bool IsTensorPayload(uint32_t field) { return (field >= 4 && field <= 7) || (field >= 9 && field <= 11); }

constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
constexpr int kPaddedLengthBytes = 5;
constexpr auto kMaxRemainderBytes = static_cast<size_t>(std::numeric_limits<int32_t>::max());

// One field as it stands in the file: the tag at `begin`, the payload from `payload` to `end`.
struct Field {
  uint32_t number = 0;
  int wire = kVarint;
  int64_t begin = 0;
  int64_t payload = 0;
  int64_t end = 0;
  uint64_t value = 0;  // of a varint
};

class Skimmer {
 public:
  explicit Skimmer(ByteSource& source) : source_(source) {}

  absl::StatusOr<std::string> Run() {
    RS_RETURN_IF_ERROR(Walk(Message::kModel, 0, source_.size(), 0));
    return std::move(out_);
  }

 private:
  absl::Status Walk(Message message, int64_t begin, int64_t end, int depth);
  absl::Status Descend(Message child, const Field& field, int depth);
  absl::Status Keep(int64_t begin, int64_t end);
  void AppendTag(uint32_t field);
  absl::StatusOr<Field> ReadField(Message message, int64_t at, int64_t end);
  absl::StatusOr<uint64_t> ReadVarint(Message message, int64_t& at, int64_t end);
  absl::StatusOr<bool> IsLarge(int64_t begin, int64_t end);
  absl::Status MultiplyDims(const Field& field, std::optional<int64_t>& elements);
  absl::StatusOr<bool> IsWanted(const Field& metadata);

  ByteSource& source_;
  std::string out_;
};

absl::Status Corrupt(Message message, int64_t at, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("corrupt or truncated at byte ", at, ", inside a ", MessageName(message), ": ", found));
}

absl::StatusOr<uint64_t> Skimmer::ReadVarint(Message message, int64_t& at, int64_t end) {
  RS_ASSIGN_OR_RETURN(const absl::string_view bytes, source_.View(at, std::min<int64_t>(10, end - at)));
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

absl::StatusOr<Field> Skimmer::ReadField(Message message, int64_t at, int64_t end) {
  Field field;
  field.begin = at;
  RS_ASSIGN_OR_RETURN(const uint64_t tag, ReadVarint(message, at, end));
  if (tag >> 3 == 0 || tag > std::numeric_limits<uint32_t>::max()) {
    return Corrupt(message, field.begin, absl::StrCat("found field number ", tag >> 3, ", expected 1 to 536870911"));
  }
  field.number = static_cast<uint32_t>(tag >> 3);
  field.wire = static_cast<int>(tag & 7);
  field.payload = at;
  uint64_t length = 0;
  switch (field.wire) {
    case kVarint: {
      RS_ASSIGN_OR_RETURN(field.value, ReadVarint(message, at, end));
      break;
    }
    case kFixed64:
      length = 8;
      break;
    case kFixed32:
      length = 4;
      break;
    case kBytes: {
      RS_ASSIGN_OR_RETURN(length, ReadVarint(message, at, end));
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

absl::Status Skimmer::Keep(int64_t begin, int64_t end) {
  if (out_.size() + static_cast<uint64_t>(end - begin) > kMaxRemainderBytes) {
    return absl::InvalidArgumentError("the graph without its weights has 2 GiB or more, expected less");
  }
  return source_.AppendTo(begin, end - begin, out_);
}

void Skimmer::AppendTag(uint32_t field) {
  for (uint32_t tag = field << 3 | kBytes; true; tag >>= 7) {
    out_.push_back(static_cast<char>((tag & 0x7F) | (tag > 0x7F ? 0x80 : 0)));
    if (tag <= 0x7F) return;
  }
}

absl::Status Skimmer::Descend(Message child, const Field& field, int depth) {
  if (child == Message::kMetadata) {
    RS_ASSIGN_OR_RETURN(const bool wanted, IsWanted(field));
    return wanted ? Keep(field.begin, field.end) : absl::OkStatus();
  }
  AppendTag(field.number);
  const size_t length_at = out_.size();
  out_.append(kPaddedLengthBytes, '\0');
  RS_RETURN_IF_ERROR(Walk(child, field.payload, field.end, depth + 1));
  size_t length = out_.size() - length_at - kPaddedLengthBytes;
  for (int i = 0; i < kPaddedLengthBytes; ++i, length >>= 7) {
    out_[length_at + i] = static_cast<char>((length & 0x7F) | (i + 1 < kPaddedLengthBytes ? 0x80 : 0));
  }
  return absl::OkStatus();
}

absl::Status Skimmer::Walk(Message message, int64_t begin, int64_t end, int depth) {
  if (depth > kMaxMessageDepth) {
    return absl::InvalidArgumentError(absl::StrCat("messages are nested more than ", kMaxMessageDepth, " deep at byte ",
                                                   begin, ", expected at most ", kMaxMessageDepth));
  }
  bool drop_payload = false;
  if (message == Message::kTensor) {
    RS_ASSIGN_OR_RETURN(drop_payload, IsLarge(begin, end));
  }
  int64_t kept_from = begin;  // what is kept is copied in runs as long as possible
  for (int64_t at = begin; at < end;) {
    RS_ASSIGN_OR_RETURN(const Field field, ReadField(message, at, end));
    at = field.end;
    const bool is_payload = message == Message::kTensor && IsTensorPayload(field.number);
    const FieldRule* rule = field.wire == kBytes ? FindRule(message, field.number) : nullptr;
    if (is_payload ? !drop_payload : rule == nullptr) continue;
    RS_RETURN_IF_ERROR(Keep(kept_from, field.begin));
    kept_from = at;
    if (is_payload || rule->action == FieldRule::kDrop) continue;
    if (rule->action == FieldRule::kDescend) {
      RS_RETURN_IF_ERROR(Descend(rule->child, field, depth));
    } else {
      AppendTag(field.number);
      out_.push_back('\0');
    }
  }
  return Keep(kept_from, end);
}

// Whether the tensor that lies there has too many elements, or too large a payload, to be worth reading.
absl::StatusOr<bool> Skimmer::IsLarge(int64_t begin, int64_t end) {
  std::optional<int64_t> elements = 1;  // none: they exceed int64
  int64_t payload_bytes = 0;
  for (int64_t at = begin; at < end;) {
    RS_ASSIGN_OR_RETURN(const Field field, ReadField(Message::kTensor, at, end));
    at = field.end;
    if (field.number == kTensorDims) RS_RETURN_IF_ERROR(MultiplyDims(field, elements));
    if (IsTensorPayload(field.number)) payload_bytes += field.end - field.begin;
  }
  return !elements.has_value() || *elements > kMaxLiteralElements || payload_bytes > kMaxLiteralBytes;
}

absl::Status Skimmer::MultiplyDims(const Field& field, std::optional<int64_t>& elements) {
  const auto multiply = [&](uint64_t dim) {
    if (elements.has_value()) elements = CheckedMultiply(*elements, static_cast<int64_t>(dim));
  };
  if (field.wire == kVarint) multiply(field.value);
  if (field.wire != kBytes) return absl::OkStatus();
  for (int64_t at = field.payload; at < field.end;) {  // packed
    RS_ASSIGN_OR_RETURN(const uint64_t dim, ReadVarint(Message::kTensor, at, field.end));
    multiply(dim);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Skimmer::IsWanted(const Field& metadata) {
  for (int64_t at = metadata.payload; at < metadata.end;) {
    RS_ASSIGN_OR_RETURN(const Field field, ReadField(Message::kMetadata, at, metadata.end));
    at = field.end;
    if (field.number != kMetadataKey || field.wire != kBytes || field.end - field.payload > kMaxLiteralBytes) continue;
    RS_ASSIGN_OR_RETURN(const absl::string_view key, source_.View(field.payload, field.end - field.payload));
    if (absl::c_linear_search(kWantedNodeMetadata, key)) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::string> SkimOnnx(ByteSource& source) { return Skimmer(source).Run(); }

}  // namespace reusescope
