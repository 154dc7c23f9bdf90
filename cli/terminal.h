// What the program is talking to: whether it is a terminal, how wide, in colour or not; and a progress line.

#ifndef REUSESCOPE_CLI_TERMINAL_H_
#define REUSESCOPE_CLI_TERMINAL_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"

namespace reusescope::cli {

enum class ColorMode : uint8_t { kAuto, kAlways, kNever };

// Columns where there is no terminal to ask.
inline constexpr int kDefaultWidth = 100;
inline constexpr int kMinWidth = 60;

// How a piece of text looks. Colours carry meaning: heading, quiet (what can be skipped), good, bad, and two hues for
// what is bound by memory and what by compute.
enum class Style : uint8_t { kPlain, kHeading, kQuiet, kGood, kBad, kWarning, kMemory, kCompute };

struct Palette {
  bool enabled = false;
  // `text` in the style; unchanged when colours are off or the text is empty.
  std::string Paint(absl::string_view text, Style style) const;
};

struct Terminal {
  bool interactive = false;
  int width = kDefaultWidth;
  Palette palette;
};

// Of a file descriptor. Automatic colour: on an interactive terminal that is not "dumb", unless NO_COLOR is set
// (no-color.org). The width is the terminal's, else of COLUMNS, else kDefaultWidth; never below kMinWidth.
Terminal DescribeTerminal(int file_descriptor, ColorMode mode);

// Says on an interactive stderr what is being done once it has lasted a second, and takes the line away at the end.
//
//   const Progress progress("analysing resnet50.onnx");
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  void Run();

  const std::string what_;
  std::mutex mutex_;
  std::condition_variable finished_changed_;
  bool finished_ = false;
  std::thread thread_;  // not started where nobody would see it
};

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_TERMINAL_H_
