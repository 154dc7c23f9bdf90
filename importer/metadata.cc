#include "importer/metadata.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace reusescope {
namespace {

void SkipSpace(absl::string_view& text) { text = absl::StripLeadingAsciiWhitespace(text); }

// Reads a quoted string off the front of `text`. A backslash stands for the character after it: names hold no others.
std::optional<std::string> ConsumeQuoted(absl::string_view& text) {
  if (text.empty() || (text.front() != '\'' && text.front() != '"')) return std::nullopt;
  const char quote = text.front();
  std::string result;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) {
      text.remove_prefix(i + 1);
      return result;
    }
    if (text[i] == '\\' && ++i == text.size()) break;
    result.push_back(text[i]);
  }
  return std::nullopt;
}

bool IsStateOfNormalization(absl::string_view name) {
  const absl::string_view last = name.substr(name.rfind('.') + 1);
  return last == "running_mean" || last == "running_var" || last == "num_batches_tracked";
}

}  // namespace

std::optional<std::vector<std::string>> ParsePythonStringList(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (!absl::ConsumePrefix(&text, "[") || !absl::ConsumeSuffix(&text, "]")) return std::nullopt;
  std::vector<std::string> elements;
  for (SkipSpace(text); !text.empty(); SkipSpace(text)) {
    std::optional<std::string> element = ConsumeQuoted(text);
    if (!element.has_value()) return std::nullopt;
    elements.push_back(*std::move(element));
    SkipSpace(text);
    if (!text.empty() && !absl::ConsumePrefix(&text, ",")) return std::nullopt;
  }
  return elements;
}

std::string ModuleFromNameScopes(absl::string_view name_scopes) {
  std::optional<std::vector<std::string>> scopes = ParsePythonStringList(name_scopes);
  if (!scopes.has_value() || scopes->size() < 2) return "";
  return std::move((*scopes)[scopes->size() - 2]);
}

bool IsDottedName(absl::string_view name) {
  if (!absl::StrContains(name, '.')) return false;
  return absl::c_all_of(absl::StrSplit(name, '.'), [](absl::string_view part) {
    return !part.empty() && absl::c_all_of(part, [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
  });
}

namespace {

// "weight", "bias" and those of a recurrence: "weight_ih_l0", "bias_hh_l1_reverse".
bool IsWeightPart(absl::string_view part) {
  return part == "weight" || part == "bias" || absl::StartsWith(part, "weight_") || absl::StartsWith(part, "bias_");
}

// Made of several weights and of nothing else of the module tree: a parametrization (weight_norm), a merged adapter,
// the two biases of a recurrence.
bool AreWeights(const std::vector<std::string>& sources) {
  int weights = 0;
  for (const std::string& source : sources) {
    if (!IsDottedName(source)) continue;
    if (!absl::c_any_of(absl::StrSplit(source, '.'), IsWeightPart)) return false;
    ++weights;
  }
  return weights > 1;
}

// The only dotted name, if it is called like a weight and not a state that is stored beside; else "".
std::string SoleParameter(const std::vector<std::string>& sources) {
  std::string found;
  for (const std::string& source : sources) {
    if (!IsDottedName(source)) continue;
    if (!found.empty() || !IsWeightPart(absl::string_view(source).substr(source.rfind('.') + 1))) return "";
    found = source;
  }
  return found;
}

}  // namespace

InitializerClass ClassifyInitializer(const InitializerMetadata& metadata, absl::string_view name, DType dtype) {
  if (!metadata.input_spec_kind.empty()) {
    const bool parameter = metadata.input_spec_kind == "PARAMETER";
    return {parameter ? ValueKind::kParameter : ValueKind::kBuffer, KindEvidence::kMetadata, std::string(name)};
  }
  if (!metadata.folded_from.empty()) {
    const std::optional<std::vector<std::string>> sources = ParsePythonStringList(metadata.folded_from);
    if (sources.has_value() && sources->size() == 1 && IsDottedName(sources->front())) {
      const bool parameter = IsFloatingPoint(dtype) && !IsStateOfNormalization(sources->front());
      return {parameter ? ValueKind::kParameter : ValueKind::kBuffer, KindEvidence::kMetadata, sources->front()};
    }
    // One name without a dot is a tensor of the outermost module or an operator's result: the role in the graph
    // decides. Of the exporter's own intermediate values ("val_43") it is said.
    if (sources.has_value() && sources->size() == 1 && !absl::StartsWith(sources->front(), "val_")) {
      return {ValueKind::kConstant, KindEvidence::kNone, sources->front()};
    }
    // Made of one parameter and of constants alone, a position table of which rows are taken, say: trained as it is.
    const std::string parameter = sources.has_value() ? SoleParameter(*sources) : "";
    if (!parameter.empty() && IsFloatingPoint(dtype)) {
      return {ValueKind::kParameter, KindEvidence::kMetadata, parameter};
    }
    if (sources.has_value() && IsFloatingPoint(dtype) && AreWeights(*sources)) {
      return {ValueKind::kParameter, KindEvidence::kMetadata, ""};
    }
    if (sources.has_value()) return {ValueKind::kConstant, KindEvidence::kMetadata, ""};
  }
  return {ValueKind::kConstant, KindEvidence::kNone, IsDottedName(name) ? std::string(name) : ""};
}

}  // namespace reusescope
