// The words and conventions of the report: what each means, how it is computed, where it appears.

#ifndef REUSESCOPE_CLI_GLOSSARY_H_
#define REUSESCOPE_CLI_GLOSSARY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace reusescope::cli {

enum class Topic : uint8_t { kArithmetic, kTraining, kReuse, kMemory, kTime, kModel };
absl::string_view TopicName(Topic topic);

struct Term {
  absl::string_view name;  // "reuse-distance": lower case, words joined by hyphens
  Topic topic;
  absl::string_view aliases;  // other spellings, separated by commas
  absl::string_view definition;
  absl::string_view formula;  // "" where there is none
  absl::string_view where;    // "table: reuse; JSON: reuse.scopes[]"
};

// Sorted by topic, then as one would read them.
absl::Span<const Term> Glossary();

// By name or alias; case, spaces and underscores do not matter. kNotFound names the nearest terms.
absl::StatusOr<const Term*> FindTerm(absl::string_view word);

// Names of all terms, for completion.
std::vector<std::string> TermNames();

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_GLOSSARY_H_
