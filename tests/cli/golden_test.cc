// Output as it looked when somebody last looked at it. A file of golden/ holds its own command line:
//
//   $ reusescope explain reuse-distance
//   reuse-distance
//     ...
//
// tests/cli/update_goldens rewrites them all; read the difference before committing it.

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

std::vector<std::string> GoldenFiles() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(REUSESCOPE_SOURCE_DIR "/tests/cli/golden")) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

TEST(GoldenTest, OutputIsAsRecorded) {
  const std::vector<std::string> files = GoldenFiles();
  EXPECT_GE(files.size(), 3u);
  for (const std::string& path : files) {
    const std::string text = ReadTextFile(path);
    const size_t end = text.find('\n');
    absl::string_view command = absl::string_view(text).substr(0, end);
    ASSERT_TRUE(absl::ConsumePrefix(&command, "$ reusescope ")) << path;
    const ProgramRun run = RunShell(std::string(command));
    EXPECT_EQ(run.exit_code, 0) << path << "\n" << run.err;
    EXPECT_EQ(run.out, text.substr(end + 1)) << path << "\ntests/cli/update_goldens rewrites it";
  }
}

}  // namespace
}  // namespace reusescope::cli
