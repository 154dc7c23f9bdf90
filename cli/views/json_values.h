// Values of JSON documents that may be absent.

#ifndef REUSESCOPE_CLI_VIEWS_JSON_VALUES_H_
#define REUSESCOPE_CLI_VIEWS_JSON_VALUES_H_

#include <optional>

#include "nlohmann/json.hpp"

namespace reusescope::cli {

template <typename T>
nlohmann::ordered_json OrNull(const std::optional<T>& value) {
  return value.has_value() ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

}  // namespace reusescope::cli

#endif  // REUSESCOPE_CLI_VIEWS_JSON_VALUES_H_
