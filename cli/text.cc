#include "cli/text.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"

namespace reusescope::cli {
namespace {

constexpr absl::string_view kEllipsis = "…";

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Length of the well-formed UTF-8 sequence at the start of `text`, or 0.
size_t SequenceLength(absl::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xC2 && lead < 0xE0 ? 2
                        : lead >= 0xE0 && lead < 0xF0 ? 3
                        : lead >= 0xF0 && lead < 0xF5 ? 4
                                                      : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  return length;
}

// Byte position after the first `count` code points.
size_t Advance(absl::string_view text, int count) {
  size_t position = 0;
  while (count > 0 && position < text.size()) {
    ++position;
    while (position < text.size() && IsContinuation(text[position])) ++position;
    --count;
  }
  return position;
}

// "12.3" and "ms," belong on one line.
bool IsUnitOf(absl::string_view number, absl::string_view word) {
  static constexpr absl::string_view kUnits[] = {"%", "B", "s", "h", "min", "k", "M", "G", "T"};
  number.remove_prefix(std::min(number.find_first_not_of("(<-"), number.size()));
  if (number.empty() || !absl::ascii_isdigit(number[0])) return false;
  word = word.substr(0, word.find_last_not_of(".,;)") + 1);
  const bool binary = word.size() == 3 && absl::EndsWith(word, "iB");
  const bool small = absl::EndsWith(word, "s") && DisplayWidth(word) == 2;
  return binary || small || absl::EndsWith(word, "/s") || absl::c_linear_search(kUnits, word);
}

// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
int EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int> two_back, previous, row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    two_back = std::exchange(previous, row);
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substituted = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, substituted});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], two_back[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

int DisplayWidth(absl::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); }));
}

std::string Shorten(absl::string_view text, int width) {
  const int full = DisplayWidth(text);
  if (full <= width) return std::string(text);
  if (width <= 1) return std::string(kEllipsis);
  const int tail = (width - 1) * 2 / 3;
  const int head = width - 1 - tail;
  return absl::StrCat(text.substr(0, Advance(text, head)), kEllipsis, text.substr(Advance(text, full - tail)));
}

std::vector<std::string> Wrap(absl::string_view text, int width) {
  std::vector<std::string> words;
  std::string previous;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (!words.empty() && IsUnitOf(previous, word)) {
      absl::StrAppend(&words.back(), " ", word);
    } else {
      words.emplace_back(word);
    }
    previous = std::string(word);
  }
  std::vector<std::string> lines;
  for (const std::string& word : words) {
    if (!lines.empty() && DisplayWidth(lines.back()) + 1 + DisplayWidth(word) <= width) {
      absl::StrAppend(&lines.back(), " ", word);
    } else {
      lines.emplace_back(word);
    }
  }
  return lines;
}

std::string Printable(absl::string_view name) {
  std::string out;
  while (!name.empty()) {
    const size_t length = SequenceLength(name);
    const auto byte = static_cast<unsigned char>(name[0]);
    // C1 controls (U+0080..U+009F) steer terminals as well.
    const bool c1 = length == 2 && byte == 0xC2 && static_cast<unsigned char>(name[1]) < 0xA0;
    if (length == 0 || byte < 0x20 || byte == 0x7F || c1) {
      absl::StrAppend(&out, fmt::format("\\x{:02x}", c1 ? static_cast<unsigned char>(name[1]) : byte));
      name.remove_prefix(c1 ? 2 : 1);
    } else {
      absl::StrAppend(&out, name.substr(0, length));
      name.remove_prefix(length);
    }
  }
  return out;
}

std::vector<std::string> Nearest(absl::string_view word, absl::Span<const std::string> candidates, int limit) {
  const std::string wanted = absl::AsciiStrToLower(word);
  if (wanted.empty()) return {};
  std::vector<std::pair<int, std::string>> ranked;
  for (const std::string& candidate : candidates) {
    const std::string lower = absl::AsciiStrToLower(candidate);
    const int distance = EditDistance(wanted, lower);
    const bool close = distance <= std::max<int>(1, static_cast<int>(wanted.size()) / 3);
    const bool part = wanted.size() >= 3 && absl::StrContains(lower, wanted);
    if (close || part) ranked.emplace_back(part ? std::min(distance, 1) : distance, candidate);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> nearest;
  for (const auto& [distance, candidate] : ranked) {
    if (static_cast<int>(nearest.size()) == limit) break;
    nearest.push_back(candidate);
  }
  return nearest;
}

std::string DidYouMean(absl::string_view word, absl::Span<const std::string> candidates) {
  const std::vector<std::string> nearest = Nearest(word, candidates, 3);
  if (nearest.empty()) return "";
  std::vector<std::string> quoted;
  for (const std::string& candidate : nearest) quoted.push_back(absl::StrCat("'", candidate, "'"));
  const std::string last = quoted.back();
  quoted.pop_back();
  const std::string head = absl::StrJoin(quoted, ", ");
  return absl::StrCat("; did you mean ", head, head.empty() ? "" : " or ", last, "?");
}

}  // namespace reusescope::cli
