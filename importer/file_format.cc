#include "importer/file_format.h"

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace reusescope {
namespace {

constexpr absl::string_view kExportFromPyTorch = ": export the model with torch.onnx.export";
constexpr absl::string_view kConvert = ": convert it with the exporter of its framework";

struct Magic {
  size_t offset;
  absl::string_view bytes;
  absl::string_view format;
  absl::string_view advice = "";
};

constexpr Magic kMagics[] = {
    {0, "\x1F\x8B", "gzip data", ": unpack it first"},
    {0, "\x28\xB5\x2F\xFD", "zstd data", ": unpack it first"},
    {4, "1AY&SY", "bzip2 data", ": unpack it first"},
    {0,
     "\xFD"
     "7zXZ",
     "xz data", ": unpack it first"},
    {0, "7z\xBC\xAF\x27\x1C", "a 7-zip archive", ": unpack it first"},
    {257, "ustar", "a tar archive", ": unpack it first"},
    {0, "\x89HDF\r\n", "an HDF5 file (Keras?)", kConvert},
    {0, "GGUF", "a GGUF file", kConvert},
    {0, "\x93NUMPY", "a NumPy array"},
    {0,
     "\x7F"
     "ELF",
     "a program"},
    {4, "TFL3", "a TensorFlow Lite model", kConvert},
    {4, "ORTM", "a model in onnxruntime's own format", ": use the .onnx file that it was made from"},
    {0, "version https://git-lfs", "a Git LFS pointer, not the file itself", ": run git lfs pull"},
};

// Old torch.save files: a pickle, protocol 2 to 5.
bool IsPickle(absl::string_view head) { return head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5; }

// Eight bytes of header length, little-endian, then the header, a JSON object.
bool IsSafetensors(absl::string_view head) {
  return head.size() > 10 && head[8] == '{' && (head[9] == '"' || head[9] == '}') && head[6] == '\0' && head[7] == '\0';
}

std::string ZipFormat(absl::string_view head) {
  if (absl::StrContains(head, "data.pkl") || absl::StrContains(head, "archive_format") ||
      absl::StrContains(head, "serialized_exported_program") || absl::StrContains(head, "models/model.json")) {
    return absl::StrCat("is a zip archive (PyTorch .pt or .pt2), expected an ONNX file", kExportFromPyTorch);
  }
  return absl::StrCat("is a zip archive (PyTorch .pt or .pt2, Keras, NumPy?), expected an ONNX file",
                      kExportFromPyTorch);
}

// Text holds no control characters but white space; ONNX files begin with a few.
bool IsText(absl::string_view head) {
  return absl::c_all_of(head, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 ? byte != 0x7F : c == '\n' || c == '\r' || c == '\t' || c == '\f';
  });
}

// What a text most likely is, by how it begins, and what to do about it.
struct TextKind {
  absl::string_view begins;
  absl::string_view kind;
  absl::string_view advice = "";
};

constexpr absl::string_view kPart = "a part of a model in Protobuf's text form";
constexpr absl::string_view kAddTheRest = ": put it into graph { ... } beside ir_version and opset_import";
constexpr absl::string_view kPrint = "a printed TorchScript graph";

constexpr TextKind kTextKinds[] = {
    {"<<<<<<< ", "text with git's conflict markers", ": finish the merge"},
    {"<", "an HTML or XML page", ": download the file itself"},
    {"{", "JSON text without a model's fields", ": write the model with onnx.save"},
    {"[", "JSON text without a model's fields", ": write the model with onnx.save"},
    {"graph(", kPrint, kExportFromPyTorch},
    {"graph torch-jit-export", kPrint, kExportFromPyTorch},
    {"ModelProto {", "a printed model that nothing reads back", ": write the model with onnx.save"},
    {"node {", kPart, kAddTheRest},
    {"input:", kPart, kAddTheRest},
    {"def ", "Python source", kExportFromPyTorch},
    {"import ", "Python source", kExportFromPyTorch},
    {"from ", "Python source", kExportFromPyTorch},
};

// One line without blanks that names a place: what git checks a symbolic link out as where links are not supported.
bool IsPath(absl::string_view text) {
  constexpr size_t kMaxPath = 256;
  text = absl::StripTrailingAsciiWhitespace(text);
  return !text.empty() && text.size() <= kMaxPath && text.find_first_of(" \t\r\n\f") == text.npos &&
         (absl::StrContains(text, '/') || absl::EndsWith(text, ".onnx"));
}

std::string TextFormat(absl::string_view head) {
  const absl::string_view text = absl::StripLeadingAsciiWhitespace(head);
  for (const TextKind& kind : kTextKinds) {
    if (absl::StartsWith(text, kind.begins)) {
      return absl::StrCat("is ", kind.kind, ", expected an ONNX file", kind.advice);
    }
  }
  if (IsPath(text)) {
    return absl::StrCat("is text that names a file, '", absl::StripTrailingAsciiWhitespace(text),
                        "', expected an ONNX file: a link that was copied as text? give the file that it names");
  }
  return "is text, expected an ONNX file, binary or in ONNX's text form, Protobuf's text or JSON";
}

}  // namespace

std::optional<std::string> ForeignFormat(absl::string_view head) {
  if (head.empty()) return "is empty, expected an ONNX file";
  if (absl::StartsWith(head, "PK\x03\x04") || absl::StartsWith(head, "PK\x05\x06")) return ZipFormat(head);
  for (const Magic& magic : kMagics) {
    if (head.size() >= magic.offset && absl::StartsWith(head.substr(magic.offset), magic.bytes)) {
      return absl::StrCat("is ", magic.format, ", expected an ONNX file", magic.advice);
    }
  }
  if (IsPickle(head))
    return absl::StrCat("is a Python pickle (PyTorch checkpoint?), expected an ONNX file", kExportFromPyTorch);
  if (IsSafetensors(head)) {
    return absl::StrCat("is a safetensors file, weights without a graph, expected an ONNX file", kExportFromPyTorch);
  }
  if (IsText(head)) return TextFormat(head);
  if (absl::c_all_of(head, [](char c) { return c == '\0'; })) return "holds zeros only, expected an ONNX file";
  return std::nullopt;
}

}  // namespace reusescope
