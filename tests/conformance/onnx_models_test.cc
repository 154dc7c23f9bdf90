// The models that ONNX's Python package carries for testing backends: light, simple, and converted from PyTorch. All of
// them analyse, with no operator unknown but those of kWithoutRule. scripts/setup installs the package into .venv.

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "analysis/pipeline.h"
#include "importer/load_model.h"

namespace reusescope {
namespace {

namespace fs = std::filesystem;

// How many models onnx 1.23.2 has in each folder.
const std::map<std::string, int> kFolders = {
    {"light", 9}, {"simple", 23}, {"pytorch-converted", 82}, {"pytorch-operator", 35}};

// A graph of gradients inside the graph.
const std::set<std::string> kWithoutRule = {"ai.onnx.preview.training::Gradient-1"};

// onnx/backend/test/data below .venv, or "".
fs::path DataFolder() {
  std::error_code ignored;
  for (const auto& python : fs::directory_iterator(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/.venv/lib"), ignored)) {
    const fs::path data = python.path() / "site-packages/onnx/backend/test/data";
    if (fs::is_directory(data, ignored)) return data;
  }
  return {};
}

TEST(OnnxModelsTest, AllAnalyse) {
  const fs::path data = DataFolder();
  ASSERT_FALSE(data.empty()) << "found no onnx package in .venv; scripts/setup installs it";
  for (const auto& [folder, expected] : kFolders) {
    int found = 0;
    for (const auto& entry : fs::recursive_directory_iterator(data / folder)) {
      if (entry.path().extension() != ".onnx") continue;
      ++found;
      SCOPED_TRACE(entry.path().string());
      absl::StatusOr<Model> model = LoadModel(entry.path().string());
      ASSERT_TRUE(model.ok()) << model.status();
      const absl::StatusOr<Analysis> analysis =
          Analyze(*std::move(model), {.shapes = {.assume = true}, .mode = Mode::kInference});
      ASSERT_TRUE(analysis.ok()) << analysis.status();
      for (const UnknownOperator& unknown : analysis->coverage.unknown_operators) {
        EXPECT_TRUE(kWithoutRule.contains(unknown.op)) << unknown.op;
      }
    }
    EXPECT_EQ(found, expected) << folder;
  }
}

}  // namespace
}  // namespace reusescope
