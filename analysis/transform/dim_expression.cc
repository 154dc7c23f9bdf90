#include "analysis/transform/dim_expression.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace reusescope {
namespace {

constexpr int kMaxDepth = 32;
constexpr double kMaxExact = 9007199254740992.0;  // 2^53: whole numbers up to here are exact in a double

bool IsNameCharacter(char c) { return absl::ascii_isalnum(c) || c == '_' || c == '.'; }

// Recursive descent over sum -> product -> factor.
class Parser {
 public:
  Parser(absl::string_view text, const absl::btree_map<std::string, int64_t>& bound) : rest_(text), bound_(bound) {}

  std::optional<double> Run() {
    const std::optional<double> value = Sum();
    Skip();
    return rest_.empty() ? value : std::nullopt;
  }

 private:
  void Skip() { rest_ = absl::StripLeadingAsciiWhitespace(rest_); }

  bool Take(absl::string_view token) {
    Skip();
    return absl::ConsumePrefix(&rest_, token);
  }

  std::optional<double> Sum() {
    std::optional<double> value = Product();
    while (value) {
      const bool plus = Take("+");
      if (!plus && !Take("-")) break;
      const std::optional<double> next = Product();
      if (!next) return std::nullopt;
      *value += plus ? *next : -*next;
    }
    return value;
  }

  std::optional<double> Product() {
    std::optional<double> value = Factor();
    while (value) {
      const bool times = Take("*"), whole = !times && Take("//");
      if (!times && !whole && !Take("/")) break;
      const std::optional<double> next = Factor();
      if (!next || (!times && *next == 0)) return std::nullopt;
      *value = times ? *value * *next : *value / *next;
      if (whole) *value = std::floor(*value);
    }
    return value;
  }

  std::optional<double> Factor() {
    if (++depth_ > kMaxDepth) return std::nullopt;
    const std::optional<double> value = Take("-") ? Negative() : Primary();
    --depth_;
    return value;
  }

  std::optional<double> Negative() {
    const std::optional<double> value = Factor();
    return value ? std::optional<double>(-*value) : std::nullopt;
  }

  std::optional<double> Primary() {
    if (Take("(")) return Closed(Sum());
    Skip();
    const size_t end = std::find_if_not(rest_.begin(), rest_.end(), IsNameCharacter) - rest_.begin();
    const absl::string_view word = rest_.substr(0, end);
    if (word.empty()) return std::nullopt;
    rest_.remove_prefix(end);
    int64_t number = 0;
    if (absl::SimpleAtoi(word, &number)) return static_cast<double>(number);
    if (Take("(")) return Call(absl::AsciiStrToLower(word));
    const auto it = bound_.find(word);
    return it == bound_.end() ? std::nullopt : std::optional<double>(static_cast<double>(it->second));
  }

  std::optional<double> Closed(std::optional<double> value) { return Take(")") ? value : std::nullopt; }

  std::optional<double> Call(absl::string_view function) {
    std::optional<double> value = Sum();
    while (value && Take(",")) {
      const std::optional<double> next = Sum();
      if (!next || (function != "max" && function != "min")) return std::nullopt;
      *value = function == "max" ? std::max(*value, *next) : std::min(*value, *next);
    }
    if (!value) return std::nullopt;
    if (function == "floor") *value = std::floor(*value);
    if (function == "ceil" || function == "ceiling") *value = std::ceil(*value);
    return Closed(value);
  }

  absl::string_view rest_;
  const absl::btree_map<std::string, int64_t>& bound_;
  int depth_ = 0;
};

}  // namespace

bool IsDimensionExpression(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return !IsNameCharacter(c); }) &&
         text.find_first_of("+-*/(") != absl::string_view::npos;
}

std::optional<int64_t> EvaluateDimension(absl::string_view text, const absl::btree_map<std::string, int64_t>& bound) {
  const std::optional<double> value = Parser(text, bound).Run();
  if (!value || !(*value >= 0) || *value > kMaxExact) return std::nullopt;
  return static_cast<int64_t>(std::floor(*value));
}

}  // namespace reusescope
