#include "importer/load_model.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "analysis/ir/status_util.h"
#include "analysis/ir/verify.h"
#include "importer/byte_source.h"
#include "importer/external_data.h"
#include "importer/file_format.h"
#include "importer/module_path.h"
#include "importer/onnx_loader.h"
#include "importer/onnx_skim.h"
#include "importer/raise_opset.h"
#include "importer/text_model.h"
#include "importer/training_file.h"

namespace reusescope {
namespace {

constexpr int kMaxEntriesLooked = 10000;
constexpr size_t kMaxCandidates = 3;

// Levenshtein's distance, ignoring case.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (absl::ascii_tolower(a[i]) != absl::ascii_tolower(b[j]) ? 1 : 0);
      diagonal = std::exchange(row[j + 1], std::min({replaced, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

// Model files beside `path` whose names are nearest to its own, best first.
std::vector<std::string> NearestFiles(const std::filesystem::path& path) {
  const std::string wanted = path.filename().string();
  std::vector<std::pair<size_t, std::string>> candidates;
  std::error_code error;
  std::filesystem::directory_iterator it(path.has_parent_path() ? path.parent_path() : ".", error), end;
  for (int i = 0; !error && it != end && i < kMaxEntriesLooked; it.increment(error), ++i) {
    const std::string name = it->path().filename().string();
    const bool contains = absl::StrContains(name, path.stem().string());
    if (it->path().extension() != ".onnx") continue;
    candidates.emplace_back(contains ? 0 : EditDistance(wanted, name), name);
  }
  std::sort(candidates.begin(), candidates.end());
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(candidates.size(), kMaxCandidates); ++i) names.push_back(candidates[i].second);
  return names;
}

absl::Status NotFound(const std::string& path) {
  const std::vector<std::string> nearest = NearestFiles(path);
  return absl::NotFoundError(
      absl::StrCat(path, ": no such file",
                   nearest.empty() ? "" : absl::StrCat("; nearest in its folder: ", absl::StrJoin(nearest, ", "))));
}

absl::Status VerifyAll(const Graph& graph) {
  RS_RETURN_IF_ERROR(Verify(graph, "load", /*resolved=*/false));
  for (const auto& subgraph : graph.subgraphs) RS_RETURN_IF_ERROR(VerifyAll(*subgraph));
  return absl::OkStatus();
}

// The model's bytes without the payloads of large tensors; of a text, those of the file that it stands for.
absl::StatusOr<std::string> ReadGraph(ByteSource& source) {
  RS_ASSIGN_OR_RETURN(const absl::string_view head, source.View(0, kFormatHeadBytes));
  if (IsTextModel(head)) {
    if (source.size() > kMaxTextModelBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("is a text of ", source.size(), " bytes, expected at most ", kMaxTextModelBytes));
    }
    std::string text;
    RS_RETURN_IF_ERROR(source.AppendTo(0, source.size(), text));
    return TextModelToBytes(text);
  }
  if (std::optional<std::string> complaint = ForeignFormat(head); complaint.has_value()) {
    return absl::InvalidArgumentError(*complaint);
  }
  return SkimOnnx(source);
}

absl::StatusOr<Model> Load(ByteSource& source, const ExternalData& external, absl::string_view file_name,
                           const LoadOptions& options = {}) {
  RS_ASSIGN_OR_RETURN(std::string skimmed, ReadGraph(source));
  if (options.min_opset > 0) {
    RS_ASSIGN_OR_RETURN(skimmed, RaiseOpset(std::move(skimmed), options.min_opset));
  }
  std::optional<TrainingFile> training;
  if (options.origin) {
    RS_ASSIGN_OR_RETURN(training, ReadTrainingFile(skimmed));
  }
  if (training.has_value()) {
    ByteSource origin(training->origin);
    RS_ASSIGN_OR_RETURN(skimmed, SkimOnnx(origin));  // checks what a file may have been made to say
  }
  RS_ASSIGN_OR_RETURN(Model model, LoadOnnx(skimmed, external));
  if (training.has_value()) {
    model.arguments = std::move(training->arguments);
    model.warnings.push_back(absl::StrCat("a training graph by 'reusescope differentiate ",
                                          absl::StrJoin(model.arguments, " "),
                                          "': analysed as the model that it was made from"));
  }
  model.file = std::string(file_name);
  AssignModulesFromNodeNames(model.graph);
  RS_RETURN_IF_ERROR(VerifyAll(model.graph));
  for (const Function& function : model.functions) RS_RETURN_IF_ERROR(VerifyAll(*function.body));
  return model;
}

}  // namespace

absl::StatusOr<Model> LoadModel(const std::string& path, const LoadOptions& options) {
  const std::filesystem::path file(path);
  const std::string name = file.filename().string();
  absl::StatusOr<ByteSource> source = ByteSource::OpenFile(path);
  if (absl::IsNotFound(source.status())) return NotFound(path);
  if (!source.ok()) return Annotate(source.status(), path);
  const ExternalData external(file.has_parent_path() ? file.parent_path().string() : ".");
  absl::StatusOr<Model> model = Load(*source, external, name, options);
  return model.ok() ? std::move(model) : Annotate(model.status(), name);
}

absl::StatusOr<Model> LoadModelFromBytes(absl::string_view bytes, absl::string_view file_name) {
  ByteSource source(bytes);
  absl::StatusOr<Model> model = Load(source, ExternalData(""), file_name);
  return model.ok() ? std::move(model) : Annotate(model.status(), file_name);
}

}  // namespace reusescope
