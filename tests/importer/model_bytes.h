// Serialized models for tests of the reader: real files, real files changed through ONNX's own messages, and oddities.

#ifndef REUSESCOPE_TESTS_IMPORTER_MODEL_BYTES_H_
#define REUSESCOPE_TESTS_IMPORTER_MODEL_BYTES_H_

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "onnx/onnx_pb.h"
#include "tests/testing/onnx_text.h"

namespace reusescope {

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::invalid_argument("cannot open " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void WriteFile(const std::string& path, absl::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::invalid_argument("cannot write " + path);
}

// A file of models/, "lenet5" for short.
inline std::string ModelPath(absl::string_view name) {
  return absl::StrCat(REUSESCOPE_SOURCE_DIR, "/models/", name, ".onnx");
}

inline onnx::ModelProto ParseProto(const std::string& bytes) {
  onnx::ModelProto proto;
  if (!proto.ParseFromString(bytes)) throw std::invalid_argument("not a ModelProto");
  return proto;
}
inline onnx::ModelProto ReadModelProto(absl::string_view name) { return ParseProto(ReadFile(ModelPath(name))); }
inline onnx::ModelProto TextProto(absl::string_view text) { return ParseProto(OnnxTextToBytes(text)); }

}  // namespace reusescope

#endif  // REUSESCOPE_TESTS_IMPORTER_MODEL_BYTES_H_
