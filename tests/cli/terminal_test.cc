// On a real (pseudo) terminal: colour by default, none under NO_COLOR or TERM=dumb, as wide as the terminal says.

#include "cli/terminal.h"

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_split.h"
#include "cli/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reusescope::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What the program prints to a terminal of `columns`.
std::string RunOnTerminal(const std::string& arguments, const std::string& environment, int columns = 90) {
  winsize size{};
  size.ws_col = static_cast<unsigned short>(columns);
  size.ws_row = 40;
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    const std::string line = "exec env -u NO_COLOR -u COLUMNS TERM=xterm " + environment +
                             " '" REUSESCOPE_BINARY_DIR "/reusescope' " + arguments;
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  std::string out;
  char buffer[4096];
  for (ssize_t count; (count = read(terminal, buffer, sizeof buffer)) > 0;) out.append(buffer, count);
  close(terminal);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 127) << out;
  return out;
}

TEST(TerminalTest, TerminalsGetColour) {
  EXPECT_THAT(RunOnTerminal("explain mac", ""), HasSubstr("\x1b[1mmac\x1b[0m"));
}

TEST(TerminalTest, NoColorIsHonoured) {
  EXPECT_THAT(RunOnTerminal("explain mac", "NO_COLOR=1"), Not(HasSubstr("\x1b")));
  EXPECT_THAT(RunOnTerminal("explain no-such-word", "NO_COLOR=1"), Not(HasSubstr("\x1b")));
  // Empty means not set (no-color.org), and what is asked for outright counts more.
  EXPECT_THAT(RunOnTerminal("explain mac", "NO_COLOR="), HasSubstr("\x1b"));
  EXPECT_THAT(RunOnTerminal("explain mac --color=always", "NO_COLOR=1"), HasSubstr("\x1b"));
}

TEST(TerminalTest, DumbTerminalsGetNoColour) {
  EXPECT_THAT(RunOnTerminal("explain mac", "TERM=dumb"), Not(HasSubstr("\x1b")));
}

TEST(TerminalTest, TheWidthIsTheTerminals) {
  for (int columns : {70, 120}) {
    size_t widest = 0;
    for (absl::string_view line : absl::StrSplit(RunOnTerminal("devices --color=never", "", columns), "\r\n")) {
      widest = std::max<size_t>(widest, DisplayWidth(line));
    }
    EXPECT_LE(widest, static_cast<size_t>(std::max(columns, 110)));
    EXPECT_GT(widest, 60u);
  }
}

TEST(TerminalTest, PaintLeavesPlainTextAlone) {
  EXPECT_EQ(Palette().Paint("x", Style::kBad), "x");
  EXPECT_EQ(Palette{.enabled = true}.Paint("", Style::kBad), "");
  EXPECT_EQ(Palette{.enabled = true}.Paint("x", Style::kPlain), "x");
  EXPECT_EQ(Palette{.enabled = true}.Paint("x", Style::kGood), "\x1b[32mx\x1b[0m");
}

}  // namespace
}  // namespace reusescope::cli
