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
#include "importer/onnx_wire.h"

namespace reusescope {
namespace {

using Message = WireMessage;

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
    {Message::kNode, 6, FieldRule::kDrop},                            // doc_string
    {Message::kNode, 9, FieldRule::kDescend, Message::kStringEntry},  // metadata_props
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
// What the loader reads of a node's metadata; stack traces, the bulk of many exports, it does not.
constexpr absl::string_view kWantedNodeMetadata[] = {kNameScopesKey};
bool IsTensorPayload(uint32_t field) { return (field >= 4 && field <= 7) || (field >= 9 && field <= 11); }

constexpr int kPaddedLengthBytes = 5;
constexpr auto kMaxRemainderBytes = static_cast<size_t>(std::numeric_limits<int32_t>::max());

class Skimmer {
 public:
  explicit Skimmer(ByteSource& source) : source_(source) {}

  absl::StatusOr<std::string> Run() {
    RS_RETURN_IF_ERROR(Walk(Message::kModel, 0, source_.size(), 0));
    return std::move(out_);
  }

 private:
  absl::Status Walk(Message message, int64_t begin, int64_t end, int depth);
  absl::Status Descend(Message child, const WireField& field, int depth);
  absl::Status Keep(int64_t begin, int64_t end);
  absl::StatusOr<bool> IsLarge(int64_t begin, int64_t end);
  absl::Status MultiplyDims(const WireField& field, std::optional<int64_t>& elements);
  absl::StatusOr<bool> IsWanted(const WireField& metadata);

  ByteSource& source_;
  std::string out_;
};

absl::Status Skimmer::Keep(int64_t begin, int64_t end) {
  if (out_.size() + static_cast<uint64_t>(end - begin) > kMaxRemainderBytes) {
    return absl::InvalidArgumentError("the graph without its weights has 2 GiB or more, expected less");
  }
  return source_.AppendTo(begin, end - begin, out_);
}

absl::Status Skimmer::Descend(Message child, const WireField& field, int depth) {
  if (child == Message::kStringEntry) {
    RS_ASSIGN_OR_RETURN(const bool wanted, IsWanted(field));
    return wanted ? Keep(field.begin, field.end) : absl::OkStatus();
  }
  AppendWireTag(field.number, out_);
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
  RS_RETURN_IF_ERROR(CheckWireDepth(depth, begin));
  bool drop_payload = false;
  if (message == Message::kTensor) {
    RS_ASSIGN_OR_RETURN(drop_payload, IsLarge(begin, end));
  }
  int64_t kept_from = begin;  // what is kept is copied in runs as long as possible
  for (int64_t at = begin; at < end;) {
    RS_ASSIGN_OR_RETURN(const WireField field, ReadWireField(source_, message, at, end));
    at = field.end;
    const bool is_payload = message == Message::kTensor && IsTensorPayload(field.number);
    const FieldRule* rule = field.wire == kWireBytes ? FindRule(message, field.number) : nullptr;
    if (is_payload ? !drop_payload : rule == nullptr) continue;
    RS_RETURN_IF_ERROR(Keep(kept_from, field.begin));
    kept_from = at;
    if (is_payload || rule->action == FieldRule::kDrop) continue;
    if (rule->action == FieldRule::kDescend) {
      RS_RETURN_IF_ERROR(Descend(rule->child, field, depth));
    } else {
      AppendWireTag(field.number, out_);
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
    RS_ASSIGN_OR_RETURN(const WireField field, ReadWireField(source_, Message::kTensor, at, end));
    at = field.end;
    if (field.number == kTensorDims) RS_RETURN_IF_ERROR(MultiplyDims(field, elements));
    if (IsTensorPayload(field.number)) payload_bytes += field.end - field.begin;
  }
  return !elements.has_value() || *elements > kMaxLiteralElements || payload_bytes > kMaxLiteralBytes;
}

absl::Status Skimmer::MultiplyDims(const WireField& field, std::optional<int64_t>& elements) {
  const auto multiply = [&](uint64_t dim) {
    if (elements.has_value()) elements = CheckedMultiply(*elements, static_cast<int64_t>(dim));
  };
  if (field.wire == kWireVarint) multiply(field.value);
  if (field.wire != kWireBytes) return absl::OkStatus();
  for (int64_t at = field.payload; at < field.end;) {  // packed
    RS_ASSIGN_OR_RETURN(const uint64_t dim, ReadWireVarint(source_, Message::kTensor, at, field.end));
    multiply(dim);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Skimmer::IsWanted(const WireField& metadata) {
  RS_ASSIGN_OR_RETURN(const StringEntry entry, ReadStringEntry(source_, metadata, kMaxLiteralBytes));
  return absl::c_linear_search(kWantedNodeMetadata, entry.key);
}

}  // namespace

absl::StatusOr<std::string> SkimOnnx(ByteSource& source) { return Skimmer(source).Run(); }

}  // namespace reusescope
