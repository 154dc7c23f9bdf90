// Holds a JSON document against the part of JSON Schema that cli/analysis.schema.json uses.
//
//   EXPECT_THAT(SchemaErrors(schema, document), IsEmpty());
//
// Keywords: type, enum, const, required, properties, additionalProperties (a schema), items, minimum, anyOf, $ref into
// $defs; title, description and the like say nothing. Another keyword is an error, and so is a key of the document that
// the schema does not name: what is printed is written down.

#ifndef REUSESCOPE_TESTS_CLI_JSON_SCHEMA_H_
#define REUSESCOPE_TESTS_CLI_JSON_SCHEMA_H_

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace reusescope::cli {

class SchemaChecker {
 public:
  explicit SchemaChecker(const nlohmann::json& root) : root_(root) {}

  void Check(const nlohmann::json& schema, const nlohmann::json& value, const std::string& path) {
    static const std::set<std::string> kKeywords = {
        "type", "enum",        "const", "required", "properties", "additionalProperties", "items", "minimum", "anyOf",
        "$ref", "description", "title", "$schema",  "$defs"};
    for (const auto& [keyword, unused] : schema.items()) {
      if (kKeywords.count(keyword) == 0) Complain(path, "schema keyword not supported: " + keyword);
    }
    if (schema.contains("$ref")) return Check(Resolve(schema["$ref"]), value, path);
    if (schema.contains("anyOf")) CheckAnyOf(schema["anyOf"], value, path);
    if (schema.contains("const") && value != schema["const"]) Complain(path, "is not " + schema["const"].dump());
    if (schema.contains("enum") && !Contains(schema["enum"], value))
      Complain(path, "is not in " + schema["enum"].dump());
    if (schema.contains("type") && !HasType(schema["type"], value)) {
      Complain(path, "is " + value.dump().substr(0, 40) + ", expected type " + schema["type"].dump());
    }
    if (schema.contains("minimum") && value.is_number() && value.get<double>() < schema["minimum"].get<double>()) {
      Complain(path, "is below " + schema["minimum"].dump());
    }
    if (value.is_object()) CheckObject(schema, value, path);
    if (value.is_array() && schema.contains("items")) {
      for (size_t i = 0; i < value.size(); ++i) Check(schema["items"], value[i], absl::StrCat(path, "[", i, "]"));
    }
  }

  const std::vector<std::string>& errors() const { return errors_; }

 private:
  void Complain(const std::string& path, const std::string& what) {
    if (errors_.size() < 20) errors_.push_back(path + " " + what);
  }

  const nlohmann::json& Resolve(const std::string& reference) const {
    return root_.at(nlohmann::json::json_pointer(reference.substr(1)));
  }

  void CheckObject(const nlohmann::json& schema, const nlohmann::json& value, const std::string& path) {
    for (const auto& name : schema.value("required", nlohmann::json::array())) {
      if (!value.contains(name)) Complain(path, "lacks " + name.dump());
    }
    for (const auto& [name, member] : value.items()) {
      const std::string member_path = path + "." + name;
      if (schema.contains("properties") && schema["properties"].contains(name)) {
        Check(schema["properties"][name], member, member_path);
      } else if (schema.contains("additionalProperties")) {
        Check(schema["additionalProperties"], member, member_path);
      } else if (schema.contains("type")) {
        Complain(member_path, "is not in the schema");
      }
    }
  }

  void CheckAnyOf(const nlohmann::json& choices, const nlohmann::json& value, const std::string& path) {
    std::vector<std::string> reasons;
    for (const auto& choice : choices) {
      SchemaChecker one(root_);
      one.Check(choice, value, path);
      if (one.errors().empty()) return;
      reasons.push_back(one.errors().front());
    }
    Complain(path, "fits none: " + nlohmann::json(reasons).dump());
  }

  static bool Contains(const nlohmann::json& list, const nlohmann::json& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  }

  static bool HasType(const nlohmann::json& type, const nlohmann::json& value) {
    if (type.is_array()) {
      return std::any_of(type.begin(), type.end(), [&](const auto& one) { return HasType(one, value); });
    }
    const std::string name = type;
    return (name == "object" && value.is_object()) || (name == "array" && value.is_array()) ||
           (name == "string" && value.is_string()) || (name == "boolean" && value.is_boolean()) ||
           (name == "null" && value.is_null()) || (name == "integer" && value.is_number_integer()) ||
           (name == "number" && value.is_number());
  }

  const nlohmann::json& root_;
  std::vector<std::string> errors_;
};

inline std::vector<std::string> SchemaErrors(const nlohmann::json& schema, const nlohmann::json& document) {
  SchemaChecker checker(schema);
  checker.Check(schema, document, "$");
  return checker.errors();
}

}  // namespace reusescope::cli

#endif  // REUSESCOPE_TESTS_CLI_JSON_SCHEMA_H_
