// What must hold of any bytes whatever: a reader ends, and gives something sound or a complaint.
//
// The libFuzzer targets call these, one each, and so do ordinary tests, on the seeds. A breach aborts.

#ifndef REUSESCOPE_TESTS_FUZZ_FUZZ_RULES_H_
#define REUSESCOPE_TESTS_FUZZ_FUZZ_RULES_H_

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "analysis/ir/verify.h"
#include "analysis/pipeline.h"
#include "hwdb/hardware.h"
#include "importer/byte_source.h"
#include "importer/external_data.h"
#include "importer/load_model.h"
#include "importer/onnx_skim.h"
#include "onnx/onnx_pb.h"

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

// A model's folder as FuzzExternalData wants it: the file weights.bin of kExternalBytes, a folder, and links that
// leave.
inline constexpr absl::string_view kExternalBytes = "0123456789abcdefghijklmnopqrstuv";
inline std::string MakeExternalFolder(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::create_directories(fs::path(path) / "folder", ignored);
  std::ofstream(fs::path(path) / "weights.bin") << kExternalBytes;
  fs::create_symlink("/etc/passwd", fs::path(path) / "passwd", ignored);
  fs::create_symlink("..", fs::path(path) / "up", ignored);
  return path;
}

// A TensorProto whose payload is elsewhere: what is read are bytes of weights.bin, at the offset asked for.
inline void FuzzExternalData(absl::string_view bytes, const std::string& folder) {
  onnx::TensorProto tensor;
  if (!tensor.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const absl::StatusOr<ExternalRange> range = ParseExternalRange(tensor);
  if (!range.ok()) {
    FuzzRequire(absl::IsInvalidArgument(range.status()), "complaints are kInvalidArgument", range.status());
    return;
  }
  const int64_t wanted = range->length.value_or(tensor.dims_size() > 0 ? tensor.dims(0) & 63 : 8);
  const absl::StatusOr<std::optional<std::string>> read = ExternalData(folder).Read(*range, wanted);
  if (!read.ok())
    return FuzzRequire(absl::IsInvalidArgument(read.status()), "complaints are kInvalidArgument", read.status());
  if (!read->has_value()) return;
  FuzzRequire(**read == kExternalBytes.substr(range->offset, wanted), "only the model's folder is read", read.status());
}

// What the later stages say of a model that loads: what is wrong with it, what is missing, what is too large or not
// known. kInternal would be a bug of ours.
inline void FuzzRequireComplaint(const absl::Status& status) {
  FuzzRequire(absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) || absl::IsOutOfRange(status) ||
                  absl::IsUnimplemented(status),
              "complaints are about the model", status);
}

// Resolving gives a sound graph with every shape known.
inline void FuzzResolveShapes(absl::string_view bytes) {
  absl::StatusOr<Model> model = LoadModelFromBytes(bytes, "fuzz.onnx");
  if (!model.ok()) return;
  std::vector<std::string> notes;
  const absl::Status status = ResolveShapes(*model, {.batch = 2}, notes);
  if (!status.ok()) return FuzzRequireComplaint(status);
  const absl::Status sound = Verify(model->graph, "shapes", true);
  FuzzRequire(sound.ok(), "a resolved graph is sound", sound);
}

// The whole analysis of a training step; without anything to train, of inference.
inline void FuzzAnalyze(absl::string_view bytes) {
  for (const Mode mode : {Mode::kTraining, Mode::kInference}) {
    absl::StatusOr<Model> model = LoadModelFromBytes(bytes, "fuzz.onnx");
    if (!model.ok()) return;
    const absl::StatusOr<Analysis> analysis = Analyze(*std::move(model), {.shapes = {.batch = 2}, .mode = mode});
    if (!analysis.ok()) {
      FuzzRequireComplaint(analysis.status());
      continue;
    }
    const absl::Status sound = Verify(analysis->training.graph, "optimizer", true);
    FuzzRequire(sound.ok(), "an analysed graph is sound", sound);
    const int64_t all = analysis->lru.TrafficAt(0), some = analysis->managed.TrafficAt(1 << 20);
    FuzzRequire(analysis->lru.minimum_bytes() <= some && some <= all, "a memory on chip never adds traffic", sound);
    return;
  }
}

// A device file, and the same bytes as a device of three numbers.
inline void FuzzParseDevice(absl::string_view bytes) {
  const absl::StatusOr<Hardware> device = ParseDevice(bytes, "fuzz.textproto");
  if (device.ok()) {
    const absl::Status valid = Validate(*device);
    FuzzRequire(valid.ok(), "a device that is read is valid", valid);
  } else {
    FuzzRequire(absl::IsInvalidArgument(device.status()), "complaints are kInvalidArgument", device.status());
    FuzzRequire(absl::StartsWith(device.status().message(), "fuzz.textproto"), "complaints name the file",
                device.status());
  }
  const absl::StatusOr<Hardware> custom = ParseThreeNumbers(bytes);
  if (custom.ok()) {
    FuzzRequire(custom->memory_bandwidth_bytes_per_second > 0 && custom->on_chip.capacity_bytes >= 0 &&
                    custom->peaks.at(0).flops_per_second > 0,
                "rates are positive", custom.status());
  } else {
    FuzzRequire(absl::IsInvalidArgument(custom.status()), "complaints are kInvalidArgument", custom.status());
  }
}

}  // namespace reusescope

#endif  // REUSESCOPE_TESTS_FUZZ_FUZZ_RULES_H_
