#include "analysis/schema/schema_table.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "onnx/defs/operator_sets.h"
#include "onnx/defs/operator_sets_ml.h"
#include "onnx/defs/operator_sets_preview.h"
#include "onnx/defs/schema.h"

namespace reusescope {
namespace {

using SchemaFactory = onnx::OpSchema (*)();

struct Listed {
  absl::string_view family;  // "Onnx", "OnnxML", "OnnxPreview": as ONNX's class names have it
  absl::string_view type;
  int version;
  SchemaFactory factory;
};

constexpr Listed kListed[] = {
#define REUSESCOPE_SCHEMA(family, version, type, name) {#family, #type, version, &onnx::GetOpSchema<onnx::name>},
#include "analysis/schema/schema_list.inc"
#undef REUSESCOPE_SCHEMA
};

// An operator's versions, ascending.
struct Version {
  int since_version;
  SchemaFactory factory;
  std::unique_ptr<onnx::OpSchema> schema;
  std::unique_ptr<SchemaEntry> entry;
};

absl::string_view FamilyOf(absl::string_view domain) {
  if (domain.empty() || domain == "ai.onnx") return "Onnx";
  if (domain == "ai.onnx.ml") return "OnnxML";
  if (absl::StartsWith(domain, "ai.onnx.preview")) return "OnnxPreview";
  return "";
}

// The only place where a type string of a schema is read: "tensor(float)", "seq(tensor(float))", ...
bool IsTensorType(const std::string& type) { return absl::StartsWith(type, "tensor("); }

std::vector<SchemaEntry::Operand> Operands(const onnx::OpSchema& schema) {
  std::vector<std::string> variables;
  std::vector<SchemaEntry::Operand> operands;
  for (const auto& parameter : schema.inputs()) {
    SchemaEntry::Operand operand{.name = parameter.GetName(),
                                 .required = parameter.GetOption() == onnx::OpSchema::Single,
                                 .variadic = parameter.GetOption() == onnx::OpSchema::Variadic,
                                 .homogeneous = parameter.GetIsHomogeneous(),
                                 .tensor_only = true};
    for (const auto& type : parameter.GetTypes()) operand.tensor_only = operand.tensor_only && IsTensorType(*type);
    if (schema.typeConstraintMap().count(parameter.GetTypeStr()) != 0) {
      const auto found = std::find(variables.begin(), variables.end(), parameter.GetTypeStr());
      operand.type_variable = static_cast<int>(found - variables.begin());
      if (found == variables.end()) variables.push_back(parameter.GetTypeStr());
    }
    operands.push_back(std::move(operand));
  }
  return operands;
}

void Build(Version& version) {
  version.schema = std::make_unique<onnx::OpSchema>(version.factory());
  onnx::OpSchema& schema = *version.schema;
  schema.Finalize();
  version.entry = std::make_unique<SchemaEntry>(SchemaEntry{.schema = &schema,
                                                            .since_version = schema.SinceVersion(),
                                                            .min_inputs = schema.min_input(),
                                                            .max_inputs = schema.max_input(),
                                                            .min_outputs = schema.min_output(),
                                                            .max_outputs = schema.max_output(),
                                                            .inputs = Operands(schema)});
  if (schema.has_type_and_shape_inference_function()) {
    version.entry->infer = schema.GetTypeAndShapeInferenceFunction();
  }
  for (const auto& [name, attribute] : schema.attributes()) {
    if (attribute.required) version.entry->required_attributes.emplace_back(name, attribute.type);
  }
}

class SchemaTable {
 public:
  static SchemaTable& Get() {
    static SchemaTable& table = *new SchemaTable;
    return table;
  }

  const SchemaEntry* Find(const OpKey& op, bool nearest) {
    const absl::string_view family = FamilyOf(op.domain);
    if (family.empty()) return nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = versions_.find({family, op.type});
    if (it == versions_.end()) return nullptr;
    auto& versions = it->second;
    auto after = std::find_if(versions.begin(), versions.end(),
                              [&](const Version& version) { return version.since_version > op.since_version; });
    if (after == versions.begin() && !nearest) return nullptr;
    Version& version = after == versions.begin() ? *after : *--after;
    if (version.entry == nullptr) {
      Build(version);
      // Opset 1 has no rules of inference; those of the operators' next versions hold for them.
      for (auto later = versions.begin(); !version.entry->infer && later != versions.end(); ++later) {
        if (later->since_version <= version.since_version || version.schema->HasFunction()) continue;
        const onnx::OpSchema schema = later->factory();
        if (schema.has_type_and_shape_inference_function())
          version.entry->infer = schema.GetTypeAndShapeInferenceFunction();
      }
    }
    if (family == "OnnxPreview" && version.schema->domain() != op.domain) return nullptr;
    return version.entry.get();
  }

  std::vector<OpKey> All() {
    std::vector<OpKey> keys;
    for (const Listed& listed : kListed) {
      std::string domain = listed.family == "OnnxML" ? "ai.onnx.ml" : "";
      if (listed.family == "OnnxPreview") domain = listed.factory().domain();
      keys.push_back({std::move(domain), std::string(listed.type), listed.version});
    }
    std::sort(keys.begin(), keys.end(), [](const OpKey& a, const OpKey& b) {
      return std::tie(a.domain, a.type, a.since_version) < std::tie(b.domain, b.type, b.since_version);
    });
    return keys;
  }

 private:
  SchemaTable() {
    versions_.reserve(std::size(kListed));
    for (const Listed& listed : kListed) {
      auto& versions = versions_[{listed.family, listed.type}];
      const auto after = std::find_if(versions.begin(), versions.end(),
                                      [&](const Version& version) { return version.since_version > listed.version; });
      versions.insert(after, Version{listed.version, listed.factory, nullptr, nullptr});
    }
  }

  std::mutex mutex_;
  absl::flat_hash_map<std::pair<absl::string_view, absl::string_view>, std::vector<Version>> versions_;
};

}  // namespace

const SchemaEntry* FindSchema(const OpKey& op) { return SchemaTable::Get().Find(op, false); }
const SchemaEntry* FindNearestSchema(const OpKey& op) { return SchemaTable::Get().Find(op, true); }

const std::vector<OpKey>& AllSchemas() {
  static const std::vector<OpKey>& all = *new std::vector<OpKey>(SchemaTable::Get().All());
  return all;
}

}  // namespace reusescope
