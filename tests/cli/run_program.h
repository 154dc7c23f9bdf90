// Runs the program that was built and hands back what it printed.
//
//   const ProgramRun run = RunProgram({"analyze", "models/lenet5.onnx"});
//   run.exit_code, run.out, run.err
//
// Runs in the source folder, with COLUMNS, TERM and NO_COLOR unset unless `environment` sets them.

#ifndef REUSESCOPE_TESTS_CLI_RUN_PROGRAM_H_
#define REUSESCOPE_TESTS_CLI_RUN_PROGRAM_H_

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace reusescope::cli {

struct ProgramRun {
  int exit_code = -1;
  std::string out, err;
};

inline std::string ReadTextFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A folder of this test's own, emptied when the object goes.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = testing::TempDir() + "/reusescope_cli_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// `command` is what follows the program's name, as a shell reads it; `environment` like "NO_COLOR=1 COLUMNS=80".
inline ProgramRun RunShell(const std::string& command, const std::string& environment = "") {
  const ScratchFolder scratch;
  const std::string line = absl::StrCat("cd '", REUSESCOPE_SOURCE_DIR, "' && env -u NO_COLOR -u COLUMNS -u TERM ",
                                        environment, " '", REUSESCOPE_BINARY_DIR, "/reusescope' ", command, " >'",
                                        scratch.File("out"), "' 2>'", scratch.File("err"), "' </dev/null");
  const int status = std::system(line.c_str());
  ProgramRun run;
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  run.out = ReadTextFile(scratch.File("out"));
  run.err = ReadTextFile(scratch.File("err"));
  return run;
}

inline ProgramRun RunProgram(const std::vector<std::string>& arguments, const std::string& environment = "") {
  std::string command;
  for (const std::string& argument : arguments) {
    absl::StrAppend(&command, " '", absl::StrReplaceAll(argument, {{"'", "'\\''"}}), "'");
  }
  return RunShell(command, environment);
}

}  // namespace reusescope::cli

#endif  // REUSESCOPE_TESTS_CLI_RUN_PROGRAM_H_
