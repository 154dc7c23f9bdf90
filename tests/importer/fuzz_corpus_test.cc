// Every seed of the fuzzers, and every input that once broke the reader, in every build.

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/fuzz/importer_fuzz.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

TEST(FuzzCorpusTest, HoldsForEverySeed) {
  int seeds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(REUSESCOPE_SOURCE_DIR "/tests/fuzz/corpus")) {
    SCOPED_TRACE(entry.path().string());
    const std::string bytes = ReadFile(entry.path().string());
    FuzzSkimOnnx(bytes);
    FuzzLoadModel(bytes);
    ++seeds;
  }
  EXPECT_GE(seeds, 10);
}

}  // namespace
}  // namespace reusescope
