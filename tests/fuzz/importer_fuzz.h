// What must hold of any bytes whatever: the reader of ONNX files ends, and gives a sound graph or a complaint.
//
// The libFuzzer targets call these, and so does an ordinary test, on the seeds in corpus/. A breach aborts.

#ifndef REUSESCOPE_TESTS_FUZZ_IMPORTER_FUZZ_H_
#define REUSESCOPE_TESTS_FUZZ_IMPORTER_FUZZ_H_

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "importer/byte_source.h"
#include "importer/load_model.h"
#include "importer/onnx_skim.h"

namespace reusescope {

inline void FuzzRequire(bool condition, absl::string_view rule, const absl::Status& status) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s: %s\n", std::string(rule).c_str(), status.ToString().c_str());
  std::abort();
}

// Skimming is idempotent, never grows a model by more than its nested lengths, and complains in one way.
inline void FuzzSkimOnnx(absl::string_view bytes) {
  ByteSource source(bytes);
  const absl::StatusOr<std::string> once = SkimOnnx(source);
  if (!once.ok()) {
    FuzzRequire(absl::IsInvalidArgument(once.status()), "complaints are kInvalidArgument", once.status());
    return;
  }
  FuzzRequire(once->size() <= 3 * bytes.size(), "nested lengths take at most four bytes more", once.status());
  ByteSource skimmed(*once);
  const absl::StatusOr<std::string> twice = SkimOnnx(skimmed);
  FuzzRequire(twice.ok() && *twice == *once, "skimming again changes nothing", twice.status());
}

// Loading verifies the graph itself and reports a breach as kInternal.
inline void FuzzLoadModel(absl::string_view bytes) {
  const absl::StatusOr<Model> model = LoadModelFromBytes(bytes, "fuzz.onnx");
  if (model.ok()) return;
  FuzzRequire(absl::IsInvalidArgument(model.status()), "complaints are kInvalidArgument", model.status());
  FuzzRequire(absl::StartsWith(model.status().message(), "fuzz.onnx: "), "complaints name the file", model.status());
}

}  // namespace reusescope

#endif  // REUSESCOPE_TESTS_FUZZ_IMPORTER_FUZZ_H_
