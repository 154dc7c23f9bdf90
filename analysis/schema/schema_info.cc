// Queries about what ONNX declares.

#include <algorithm>
#include <exception>

#include "absl/strings/str_cat.h"
#include "analysis/schema/node_inference.h"
#include "analysis/schema/schema_table.h"
#include "onnx/defs/schema.h"

namespace reusescope {
namespace {

std::vector<FormalParameter> Formal(const std::vector<onnx::OpSchema::FormalParameter>& parameters) {
  std::vector<FormalParameter> result;
  for (const auto& parameter : parameters) {
    const auto option = parameter.GetOption();
    FormalParameter formal{.name = parameter.GetName(),
                           .option = option == onnx::OpSchema::Optional   ? FormalParameter::Option::kOptional
                                     : option == onnx::OpSchema::Variadic ? FormalParameter::Option::kVariadic
                                                                          : FormalParameter::Option::kSingle,
                           .differentiable = parameter.GetDifferentiationCategory() == onnx::OpSchema::Differentiable};
    for (const auto& type : parameter.GetTypes()) {
      formal.floating_point = formal.floating_point || *type == "tensor(float)";
    }
    result.push_back(std::move(formal));
  }
  return result;
}

}  // namespace

absl::StatusOr<SchemaInfo> DescribeSchema(const OpKey& op) {
  const SchemaEntry* entry = FindSchema(op);
  if (entry == nullptr) return absl::NotFoundError(absl::StrCat("no operator ", OpKeyString(op), " in ONNX"));
  const onnx::OpSchema& schema = *entry->schema;
  return SchemaInfo{.op = {op.domain, op.type, entry->since_version},
                    .deprecated = schema.deprecated(),
                    .has_inference = schema.has_type_and_shape_inference_function(),
                    .has_function_body = schema.HasFunction() || schema.HasContextDependentFunction(),
                    .inputs = Formal(schema.inputs()),
                    .outputs = Formal(schema.outputs())};
}

std::vector<OpKey> SchemasOfOpset(absl::string_view domain, int version) {
  std::vector<OpKey> result;
  for (const OpKey& op : AllSchemas()) {  // sorted by domain, type, version
    if (op.domain != domain || op.since_version > version) continue;
    if (!result.empty() && result.back().type == op.type) result.pop_back();
    result.push_back(op);
  }
  result.erase(std::remove_if(result.begin(), result.end(),
                              [](const OpKey& op) { return FindSchema(op)->schema->deprecated(); }),
               result.end());
  return result;
}

int LatestOpset(absl::string_view domain) {
  int latest = 0;
  for (const OpKey& op : AllSchemas()) {
    if (op.domain == domain) latest = std::max(latest, op.since_version);
  }
  return latest;
}

}  // namespace reusescope
