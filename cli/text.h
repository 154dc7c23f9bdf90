// Text as a terminal shows it: display width, shortening, wrapping, harmless names, and the nearest of a list of words.

#ifndef REUSESCOPE_CLI_TEXT_H_
#define REUSESCOPE_CLI_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace reusescope::cli {

// Columns that a UTF-8 text takes: one per code point (no wide or combining characters).
int DisplayWidth(absl::string_view text);

// At most `width` columns; what does not fit goes from the middle, where names differ least: "layer1…conv2/Conv".
std::string Shorten(absl::string_view text, int width);

// `text` broken at spaces into lines of at most `width` columns; a longer word has a line of its own. A number stays
// with its unit: no break in "12.3 ms".
std::vector<std::string> Wrap(absl::string_view text, int width);

// A name out of a file, safe to print: control characters (an escape sequence could rewrite the terminal) and bytes
// that are not UTF-8 become "\x1b".
std::string Printable(absl::string_view name);

// The candidates nearest to `word`, best first, at most `limit`: by edit distance (a third of the word's length at
// most), or having `word` as a part. Case does not count.
std::vector<std::string> Nearest(absl::string_view word, absl::Span<const std::string> candidates, int limit = 3);

// "; did you mean 'adam'?", "; did you mean 'adam' or 'adamw'?", or "" when nothing is near.
std::string DidYouMean(absl::string_view word, absl::Span<const std::string> candidates);

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_TEXT_H_
