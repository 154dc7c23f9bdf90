#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

absl::string_view EscapeOf(Style style) {
  switch (style) {
    case Style::kPlain:
      return "";
    case Style::kHeading:
      return "\x1b[1m";
    case Style::kQuiet:
      return "\x1b[2m";
    case Style::kGood:
      return "\x1b[32m";
    case Style::kBad:
      return "\x1b[1;31m";
    case Style::kWarning:
      return "\x1b[33m";
    case Style::kMemory:
      return "\x1b[34m";
    case Style::kCompute:
      return "\x1b[35m";
  }
  return "";
}

bool EnvironmentSays(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool WantsColor(bool interactive, ColorMode mode) {
  if (mode != ColorMode::kAuto) return mode == ColorMode::kAlways;
  const char* kind = std::getenv("TERM");
  const bool dumb = kind != nullptr && absl::string_view(kind) == "dumb";
  return interactive && !dumb && !EnvironmentSays("NO_COLOR");
}

}  // namespace

std::string Palette::Paint(absl::string_view text, Style style) const {
  if (!enabled || text.empty() || style == Style::kPlain) return std::string(text);
  return absl::StrCat(EscapeOf(style), text, "\x1b[0m");
}

Terminal DescribeTerminal(int file_descriptor, ColorMode mode) {
  Terminal terminal;
  terminal.interactive = isatty(file_descriptor) != 0;
  winsize size{};
  int columns = 0;
  if (terminal.interactive && ioctl(file_descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
  } else if (const char* value = std::getenv("COLUMNS"); value != nullptr && absl::SimpleAtoi(value, &columns)) {
    terminal.width = columns;
  }
  terminal.width = std::max(terminal.width, kMinWidth);
  terminal.palette.enabled = WantsColor(terminal.interactive, mode);
  return terminal;
}

Progress::Progress(std::string what) : what_(std::move(what)) {
  if (isatty(STDERR_FILENO) != 0) thread_ = std::thread(&Progress::Run, this);
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    finished_ = true;
  }
  finished_changed_.notify_one();
  thread_.join();
}

void Progress::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (int seconds = 1; !finished_changed_.wait_for(lock, std::chrono::seconds(1), [this] { return finished_; });
       ++seconds) {
    fmt::print(stderr, "\r\x1b[K{} ... {} s", what_, seconds);
    std::fflush(stderr);
  }
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace reusescope::cli
