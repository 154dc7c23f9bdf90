#include "importer/annotate_onnx.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <system_error>

#include "absl/container/btree_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/status_util.h"
#include "importer/byte_source.h"
#include "importer/file_format.h"
#include "importer/onnx_wire.h"
#include "importer/text_model.h"

namespace reusescope {
namespace {

using Message = WireMessage;

constexpr int64_t kMaxFileBytes = std::numeric_limits<int32_t>::max();
constexpr int64_t kLongestKeyBytes = 4096;
constexpr uint32_t kAttributeName = 1;

// Fields that lead to nodes, or to tensors that may be external, and what is in them.
struct Child {
  Message message;
  uint32_t field;
  Message child;
};
constexpr Child kChildren[] = {
    {Message::kModel, 7, Message::kGraph},         {Message::kModel, 25, Message::kFunction},
    {Message::kGraph, 1, Message::kNode},          {Message::kGraph, 5, Message::kTensor},
    {Message::kGraph, 15, Message::kSparseTensor}, {Message::kFunction, 7, Message::kNode},
    {Message::kNode, 5, Message::kAttribute},      {Message::kAttribute, 5, Message::kTensor},
    {Message::kAttribute, 6, Message::kGraph},     {Message::kAttribute, 10, Message::kTensor},
    {Message::kAttribute, 11, Message::kGraph},    {Message::kAttribute, 22, Message::kSparseTensor},
    {Message::kSparseTensor, 1, Message::kTensor}, {Message::kSparseTensor, 2, Message::kTensor},
};
// Where a message keeps pairs of strings that matter here.
constexpr Child kEntries[] = {
    {Message::kModel, 14, Message::kStringEntry},   // metadata_props
    {Message::kNode, 9, Message::kStringEntry},     // metadata_props
    {Message::kTensor, 13, Message::kStringEntry},  // external_data
};

template <size_t N>
const Child* Find(const Child (&table)[N], Message message, const WireField& field) {
  if (field.wire != kWireBytes) return nullptr;
  for (const Child& row : table) {
    if (row.message == message && row.field == field.number) return &row;
  }
  return nullptr;
}

// `removed` bytes at `at` give way to `inserted`.
struct Edit {
  int64_t at = 0;
  int64_t removed = 0;
  std::string inserted;
};

// Finds the edits, in the order of the file.
class Annotator {
 public:
  Annotator(ByteSource& source, const ModelAnnotations& annotations) : source_(source), annotations_(annotations) {}

  // The number of bytes by which the file grows.
  absl::StatusOr<int64_t> Run() { return Walk(Message::kModel, 0, source_.size(), "", 0); }

  const std::vector<Edit>& edits() const { return edits_; }
  const absl::btree_set<std::string>& external_files() const { return external_files_; }

 private:
  absl::StatusOr<int64_t> Walk(Message message, int64_t begin, int64_t end, const std::string& address, int depth) {
    RS_RETURN_IF_ERROR(CheckWireDepth(depth, begin));
    std::string attribute;
    if (message == Message::kAttribute) {
      RS_ASSIGN_OR_RETURN(attribute, AttributeName(begin, end));
    }
    int64_t growth = 0;
    int nodes = 0, functions = 0, graphs = 0;
    for (int64_t at = begin; at < end;) {
      RS_ASSIGN_OR_RETURN(const WireField field, ReadWireField(source_, message, at, end));
      at = field.end;
      if (Find(kEntries, message, field) != nullptr) {
        RS_ASSIGN_OR_RETURN(const int64_t grown, VisitEntry(message, field));
        growth += grown;
      }
      const Child* child = Find(kChildren, message, field);
      if (child == nullptr) continue;
      std::string below = address;
      if (child->child == Message::kNode) absl::StrAppend(&below, nodes++);
      if (child->child == Message::kFunction) absl::StrAppend(&below, "f", functions++, ".");
      if (message == Message::kAttribute && child->child == Message::kGraph) {
        const bool one_of_many = field.number == 11;
        absl::StrAppend(&below, ".", attribute, one_of_many ? absl::StrCat(":", graphs++) : "", ".");
      }
      RS_ASSIGN_OR_RETURN(const int64_t grown, Descend(*child, field, below, depth));
      growth += grown;
    }
    if (message == Message::kModel) growth += Append(annotations_.model, 14, end);
    const auto found = annotations_.nodes.find(address);
    if (message == Message::kNode && found != annotations_.nodes.end()) growth += Append(found->second, 9, end);
    return growth;
  }

  absl::StatusOr<int64_t> Descend(const Child& child, const WireField& field, const std::string& address, int depth) {
    const size_t header = edits_.size();
    edits_.push_back({.at = field.begin, .removed = field.payload - field.begin});
    RS_ASSIGN_OR_RETURN(const int64_t growth, Walk(child.child, field.payload, field.end, address, depth + 1));
    if (edits_.size() == header + 1) {
      edits_.pop_back();
      return 0;
    }
    std::string& inserted = edits_[header].inserted;
    AppendWireTag(field.number, inserted);
    AppendWireVarint(static_cast<uint64_t>(field.end - field.payload + growth), inserted);
    return growth + static_cast<int64_t>(inserted.size()) - edits_[header].removed;
  }

  // Takes out metadata of ours, and notes in which files external data are.
  absl::StatusOr<int64_t> VisitEntry(Message message, const WireField& field) {
    RS_ASSIGN_OR_RETURN(StringEntry entry, ReadStringEntry(source_, field, kLongestKeyBytes));
    if (message == Message::kTensor) {
      if (entry.key == "location") external_files_.insert(std::move(entry.value));
      return 0;
    }
    if (!absl::StartsWith(entry.key, annotations_.prefix)) return 0;
    edits_.push_back({.at = field.begin, .removed = field.end - field.begin});
    return field.begin - field.end;
  }

  absl::StatusOr<std::string> AttributeName(int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      RS_ASSIGN_OR_RETURN(const WireField field, ReadWireField(source_, Message::kAttribute, at, end));
      at = field.end;
      if (field.number != kAttributeName || field.wire != kWireBytes) continue;
      if (field.end - field.payload > kLongestKeyBytes) break;
      RS_ASSIGN_OR_RETURN(const absl::string_view name, source_.View(field.payload, field.end - field.payload));
      return std::string(name);
    }
    return "";
  }

  // StringStringEntryProtos, as field `field` of a message that ends at `at`.
  int64_t Append(const MetadataEntries& entries, uint32_t field, int64_t at) {
    std::string bytes;
    for (const auto& [key, value] : entries) {
      std::string entry;
      for (const auto& [number, text] : {std::pair<uint32_t, const std::string&>(1, key), {2, value}}) {
        AppendWireTag(number, entry);
        AppendWireVarint(text.size(), entry);
        entry += text;
      }
      AppendWireTag(field, bytes);
      AppendWireVarint(entry.size(), bytes);
      bytes += entry;
    }
    if (bytes.empty()) return 0;
    const auto size = static_cast<int64_t>(bytes.size());
    edits_.push_back({.at = at, .inserted = std::move(bytes)});
    return size;
  }

  ByteSource& source_;
  const ModelAnnotations& annotations_;
  std::vector<Edit> edits_;
  absl::btree_set<std::string> external_files_;
};

absl::Status CheckExternal(const absl::btree_set<std::string>& files, const std::string& source,
                           const std::string& path) {
  const auto folder_of = [](const std::string& file) {
    const std::filesystem::path folder = std::filesystem::path(file).parent_path();
    return folder.empty() ? std::filesystem::path(".") : folder;
  };
  std::error_code error;
  const std::filesystem::path folder = folder_of(source);
  if (std::filesystem::equivalent(folder, folder_of(path), error)) return absl::OkStatus();
  for (const std::string& file : files) {
    if (!std::filesystem::exists(folder / file, error)) continue;
    return absl::InvalidArgumentError(absl::StrCat(source, ": weights are in '", file,
                                                   "' beside it, found an output in another folder, expected one ",
                                                   "in the model's own, where it can refer to them"));
  }
  return absl::OkStatus();
}

absl::Status CopyWithEdits(ByteSource& source, const std::vector<Edit>& edits, std::ofstream& out) {
  int64_t at = 0;
  const auto copy_until = [&](int64_t end) -> absl::Status {
    while (at < end) {
      RS_ASSIGN_OR_RETURN(const absl::string_view bytes, source.View(at, std::min(end - at, ByteSource::kWindowBytes)));
      if (bytes.empty()) return absl::InvalidArgumentError("found a file that shrank while it was read");
      out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      at += static_cast<int64_t>(bytes.size());
    }
    return absl::OkStatus();
  };
  for (const Edit& edit : edits) {
    RS_RETURN_IF_ERROR(copy_until(edit.at));
    out.write(edit.inserted.data(), static_cast<std::streamsize>(edit.inserted.size()));
    at += edit.removed;
  }
  return copy_until(source.size());
}

}  // namespace

absl::Status WriteAnnotated(const std::string& source, const std::string& path, const ModelAnnotations& annotations) {
  RS_ASSIGN_OR_RETURN(ByteSource bytes, ByteSource::OpenFile(source));
  RS_ASSIGN_OR_RETURN(const absl::string_view head, bytes.View(0, kFormatHeadBytes));
  if (IsTextModel(head)) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": is a text, expected an ONNX file in binary form, which can carry metadata"));
  }
  Annotator annotator(bytes, annotations);
  absl::StatusOr<int64_t> growth = annotator.Run();
  if (!growth.ok()) return Annotate(growth.status(), source);
  if (bytes.size() + *growth > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": would have ", bytes.size() + *growth,
                                                   " bytes, more than Protobuf reads; keep the weights external"));
  }
  RS_RETURN_IF_ERROR(CheckExternal(annotator.external_files(), source, path));
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (file) RS_RETURN_IF_ERROR(CopyWithEdits(bytes, annotator.edits(), file));
  if (!file || !file.flush())
    return absl::UnknownError(absl::StrCat("cannot write '", path, "': ", std::strerror(errno)));
  return absl::OkStatus();
}

}  // namespace reusescope
