// Completion scripts say what the command line accepts, and the bash one works.

#include "cli/completion.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/app.h"
#include "cli/help.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwdb/hardware.h"
#include "tests/cli/run_program.h"

namespace reusescope::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CompletionTest, EveryCommandFlagAndChoiceIsThere) {
  Action action;
  const std::unique_ptr<CLI::App> app = MakeApp(action);
  const std::string scripts[] = {BashCompletion(*app), ZshCompletion(*app), FishCompletion(*app)};
  for (const std::string& script : scripts) {
    for (const CLI::App* command : app->get_subcommands({})) {
      EXPECT_THAT(script, HasSubstr(command->get_name()));
      for (const CLI::Option* option : command->get_options()) {
        for (const std::string& name : option->get_lnames()) EXPECT_THAT(script, HasSubstr(name));
        for (const std::string& choice : ChoicesOf(*option)) EXPECT_THAT(script, HasSubstr(choice));
      }
    }
    for (const std::string& device : DeviceNames()) EXPECT_THAT(script, HasSubstr(device));
  }
}

// What bash would offer after the words typed so far.
std::string Complete(const std::string& words) {
  const ScratchFolder scratch;
  const std::string program =
      absl::StrCat("source <('", REUSESCOPE_BINARY_DIR, "/reusescope' completion bash); COMP_WORDS=(", words,
                   "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _reusescope; printf '%s\\n' \"${COMPREPLY[@]}\"");
  const std::string script = scratch.File("script");
  std::ofstream(script) << program;
  EXPECT_EQ(std::system(absl::StrCat("bash '", script, "' >'", scratch.File("out"), "'").c_str()), 0);
  return ReadTextFile(scratch.File("out"));
}

TEST(CompletionTest, BashOffersWhatFits) {
  EXPECT_EQ(Complete("reusescope ana"), "analyze\n");
  EXPECT_EQ(Complete("reusescope analyze --prec"), "--precision\n");
  EXPECT_EQ(Complete("reusescope analyze m.onnx --optimizer ada"), "adam\nadamw\nadagrad\n");
  EXPECT_EQ(Complete("reusescope analyze m.onnx --optimizer = ada"), "adam\nadamw\nadagrad\n");
  EXPECT_THAT(Complete("reusescope analyze m.onnx --hardware h"), HasSubstr("h100-sxm\n"));
  EXPECT_THAT(Complete("reusescope devices t"), HasSubstr("tpu-v5p\n"));
  EXPECT_EQ(Complete("reusescope completion b"), "bash\n");
  EXPECT_THAT(Complete("reusescope explain reuse-"), HasSubstr("reuse-distance\n"));
}

// zsh and fish are not everywhere; their scripts are at least made of balanced quotes.
TEST(CompletionTest, QuotesAreBalanced) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    // An apostrophe inside of quotes is '\''; what is left of it without the escaped one is balanced.
    const std::string script = absl::StrReplaceAll(RunProgram({"completion", shell}).out, {{"\\'", ""}});
    EXPECT_EQ(std::count(script.begin(), script.end(), '\'') % 2, 0) << shell;
    EXPECT_GT(script.size(), 2000u) << shell;
  }
  for (const char* shell : {"bash", "zsh", "fish"}) {
    if (std::system(absl::StrCat("command -v ", shell, " >/dev/null 2>&1").c_str()) != 0) continue;
    const ScratchFolder scratch;
    std::ofstream(scratch.File("script")) << RunProgram({"completion", shell}).out;
    EXPECT_EQ(std::system(absl::StrCat(shell, " -n '", scratch.File("script"), "'").c_str()), 0) << shell;
  }
}

}  // namespace
}  // namespace reusescope::cli
