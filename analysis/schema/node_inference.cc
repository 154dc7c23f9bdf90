#include "analysis/schema/node_inference.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "analysis/ir/status_util.h"
#include "analysis/schema/proto_convert.h"
#include "analysis/schema/schema_table.h"
#include "onnx/defs/schema.h"
#include "onnx/defs/shape_inference.h"

namespace reusescope {
bool HasOnlyAttributesOf(const NodeQuery& query, const onnx::OpSchema& schema) {
  return std::all_of(query.attributes.begin(), query.attributes.end(),
                     [&](const auto& entry) { return schema.attributes().count(entry.first) != 0; });
}

namespace {

using google::protobuf::Arena;

std::string Prefix(const NodeQuery& query, int version) {
  return absl::StrCat("node '", query.name, "' (", OpKeyString({query.op.domain, query.op.type, version}), "): ");
}

std::string InputTypes(const NodeQuery& query) {
  return absl::StrJoin(query.inputs, ", ", [](std::string* out, const Type* type) {
    absl::StrAppend(out, type == nullptr ? "none" : TypeString(*type));
  });
}

// The node as ONNX's inference functions ask for it. Messages live in an arena on the stack: a node costs few
// allocations.
class NodeContext final : public onnx::InferenceContext {
 public:
  NodeContext(const NodeQuery& query, const onnx::OpSchema& schema)
      : query_(query), schema_(schema), arena_(Options(block_)) {
    inputs_.resize(query.inputs.size(), nullptr);
    literals_.resize(query.inputs.size(), nullptr);
    outputs_.resize(query.num_outputs, nullptr);
    for (auto& output : outputs_) output = Arena::CreateMessage<onnx::TypeProto>(&arena_);
  }

  const onnx::AttributeProto* getAttribute(const std::string& name) const override {
    const Attribute* attribute = query_.attributes.Find(name);
    if (attribute == nullptr) return Default(name);
    for (const onnx::AttributeProto* made : attributes_) {
      if (made->name() == name) return made;
    }
    auto* made = Arena::CreateMessage<onnx::AttributeProto>(&arena_);
    AttributeToProto(name, *attribute, *made);
    attributes_.push_back(made);
    return made;
  }

  size_t getNumInputs() const override { return inputs_.size(); }
  bool hasInput(size_t index) const override { return index < inputs_.size() && query_.inputs[index] != nullptr; }

  const onnx::TypeProto* getInputType(size_t index) const override {
    if (index >= inputs_.size()) throw onnx::InferenceError(absl::StrCat("input ", index, " is missing"));
    const Type* type = query_.inputs[index];
    if (type == nullptr || type->form == Type::Form::kUnknown) return nullptr;
    if (inputs_[index] == nullptr) {
      inputs_[index] = Arena::CreateMessage<onnx::TypeProto>(&arena_);
      TypeToProto(*type, *inputs_[index]);
    }
    return inputs_[index];
  }

  const onnx::TensorProto* getInputData(size_t index) const override {
    const Literal* literal = index < query_.literals.size() ? query_.literals[index] : nullptr;
    if (literal == nullptr || !HasProtoValues(*literal) || index >= literals_.size()) return nullptr;
    if (literals_[index] == nullptr) {
      literals_[index] = Arena::CreateMessage<onnx::TensorProto>(&arena_);
      LiteralToProto(*literal, *literals_[index]);
    }
    return literals_[index];
  }

  size_t getNumOutputs() const override { return outputs_.size(); }
  bool hasOutput(size_t index) override { return index < outputs_.size(); }
  onnx::TypeProto* getOutputType(size_t index) override {
    if (index >= outputs_.size()) throw onnx::InferenceError(absl::StrCat("output ", index, " is missing"));
    return outputs_[index];
  }

  // Control flow is resolved by ResolveShapes itself; known values are whole literals, so there are no symbolic ones.
  onnx::GraphInferencer* getGraphAttributeInferencer(const std::string&) override { return nullptr; }
  const onnx::SparseTensorProto* getInputSparseData(size_t) const override { return nullptr; }
  const onnx::TensorShapeProto* getSymbolicInput(size_t) const override { return nullptr; }
  std::string getDisplayName() const override { return "this node"; }

 private:
  // Some rules (STFT's) take an absent attribute for 0 where the schema says otherwise.
  const onnx::AttributeProto* Default(const std::string& name) const {
    const auto& attributes = schema_.attributes();
    const auto it = attributes.find(name);
    return it == attributes.end() || it->second.default_value.name().empty() ? nullptr : &it->second.default_value;
  }

  static google::protobuf::ArenaOptions Options(std::array<char, 4096>& block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block.data();
    options.initial_block_size = block.size();
    return options;
  }

  const NodeQuery& query_;
  const onnx::OpSchema& schema_;
  alignas(16) std::array<char, 4096> block_;
  mutable Arena arena_;
  mutable absl::InlinedVector<onnx::TypeProto*, 8> inputs_;
  mutable absl::InlinedVector<onnx::TensorProto*, 8> literals_;
  mutable absl::InlinedVector<onnx::AttributeProto*, 8> attributes_;
  absl::InlinedVector<onnx::TypeProto*, 4> outputs_;
};

absl::Status CheckArity(const NodeQuery& query, const SchemaEntry& entry) {
  const auto inputs = static_cast<int>(query.inputs.size());
  const auto clash = [&](absl::string_view what, int found, int low, int high) {
    const std::string expected = low == high ? absl::StrCat(low)
                                 : high == std::numeric_limits<int>::max()
                                     ? absl::StrCat("at least ", low)
                                     : absl::StrCat("between ", low, " and ", high);
    return absl::InvalidArgumentError(
        absl::StrCat(Prefix(query, entry.since_version), "found ", found, " ", what, ", expected ", expected));
  };
  if (inputs < entry.min_inputs || inputs > entry.max_inputs) {
    return clash("inputs", inputs, entry.min_inputs, entry.max_inputs);
  }
  if (query.num_outputs < entry.min_outputs || query.num_outputs > entry.max_outputs) {
    return clash("outputs", query.num_outputs, entry.min_outputs, entry.max_outputs);
  }
  for (const auto& [name, type] : entry.required_attributes) {
    if (!query.attributes.Has(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Prefix(query, entry.since_version), "attribute '", name, "' is missing, expected it"));
    }
  }
  return absl::OkStatus();
}

// Required operands are there, tensors where tensors are expected, and one dtype for one type variable.
absl::Status CheckOperands(const NodeQuery& query, const SchemaEntry& entry) {
  absl::InlinedVector<std::pair<const Type*, int>, 4> bound(entry.inputs.size(), {nullptr, 0});
  for (size_t i = 0; i < query.inputs.size(); ++i) {
    const SchemaEntry::Operand& operand = entry.inputs[std::min(i, entry.inputs.size() - 1)];
    const Type* type = query.inputs[i];
    const auto clash = [&](absl::string_view found, absl::string_view expected) {
      return absl::InvalidArgumentError(absl::StrCat(Prefix(query, entry.since_version), "input ", i, " (",
                                                     operand.name, ") ", found, ", expected ", expected));
    };
    if (type == nullptr) {
      if (operand.required || (operand.variadic && i < static_cast<size_t>(entry.min_inputs))) {
        return clash("is omitted", "a value");
      }
      continue;
    }
    if (operand.tensor_only && type->form != Type::Form::kTensor && type->form != Type::Form::kUnknown) {
      return clash(absl::StrCat("is ", TypeString(*type)), "a tensor");
    }
    if (operand.type_variable < 0 || (operand.variadic && !operand.homogeneous)) continue;
    auto& [first, slot] = bound[operand.type_variable];
    if (first == nullptr) {
      first = type;
      slot = static_cast<int>(i);
    } else if (first->dtype != type->dtype && first->dtype != DType::kUndefined && type->dtype != DType::kUndefined) {
      return clash(absl::StrCat("is ", TypeString(*type)), absl::StrCat(DTypeName(first->dtype), " as input ", slot));
    }
  }
  return absl::OkStatus();
}

// ONNX's text without its tags: "[ShapeInferenceError] Dimension mismatch in unification." -> "dimension mismatch in
// ...".
std::string CleanMessage(absl::string_view message) {
  for (absl::string_view tag : {"[ShapeInferenceError] ", "[TypeInferenceError] "}) {
    absl::ConsumePrefix(&message, tag);
  }
  message = message.substr(0, message.find("\n\n==> Context"));
  while (absl::ConsumeSuffix(&message, ".") || absl::ConsumeSuffix(&message, "\n")) {
  }
  std::string text(message);
  if (text.size() > 1 && absl::ascii_isupper(text[0]) && absl::ascii_islower(text[1]))
    text[0] = absl::ascii_tolower(text[0]);
  return text;
}

const onnx::OpSchema::FormalParameter& Formal(const onnx::OpSchema& schema, size_t input) {
  return schema.inputs()[std::min(input, schema.inputs().size() - 1)];
}

// "; input 1 (pads) may be tensor(int64) only" for the first tensor of a type that the schema does not allow.
std::string ForbiddenInput(const NodeQuery& query, const onnx::OpSchema& schema) {
  for (size_t i = 0; i < query.inputs.size() && !schema.inputs().empty(); ++i) {
    const Type* type = query.inputs[i];
    if (type == nullptr || !type->IsTensor() || type->dtype == DType::kUndefined) continue;
    onnx::TypeProto proto;
    TypeToProto(*type, proto);
    const auto& allowed = Formal(schema, i).GetTypes();
    if (allowed.empty() || allowed.count(onnx::Utils::DataTypeUtils::ToType(proto)) != 0) continue;
    std::vector<absl::string_view> names;
    for (const auto& each : allowed) names.push_back(*each);
    std::sort(names.begin(), names.end());
    return absl::StrCat("; input ", i, " (", Formal(schema, i).GetName(), ") may be ", absl::StrJoin(names, ", "),
                        " only");
  }
  return "";
}

// The version next to `version`, older ones first, whose operands and attributes the node has; null when none fits.
const SchemaEntry* FindFittingSchema(const NodeQuery& query, int version) {
  const auto fits = [&](const SchemaEntry* entry) {
    return entry != nullptr && CheckArity(query, *entry).ok() && HasOnlyAttributesOf(query, *entry->schema);
  };
  OpKey key = query.op;
  key.since_version = version - 1;
  for (const SchemaEntry* entry = FindSchema(key); entry != nullptr; entry = FindSchema(key)) {
    if (fits(entry)) return entry;
    key.since_version = entry->since_version - 1;
  }
  for (key.since_version = version + 1; key.since_version <= LatestOpset(key.domain); ++key.since_version) {
    if (const SchemaEntry* entry = FindSchema(key); fits(entry)) return entry;
  }
  return nullptr;
}

absl::StatusOr<InferredNode> InferBy(const NodeQuery& query, const SchemaEntry& entry) {
  RS_RETURN_IF_ERROR(CheckOperands(query, entry));
  InferredNode result{.since_version = entry.since_version, .outputs = std::vector<Type>(query.num_outputs)};
  if (!entry.infer) return result;
  try {
    NodeContext context(query, *entry.schema);
    entry.infer(context);
    for (int i = 0; i < query.num_outputs; ++i) {
      auto type = TypeFromProto(*context.getOutputType(i));
      if (!type.ok()) return Annotate(type.status(), absl::StripSuffix(Prefix(query, entry.since_version), ": "));
      result.outputs[i] = *std::move(type);
    }
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(Prefix(query, entry.since_version), CleanMessage(error.what()),
                                                   "; found inputs ", InputTypes(query),
                                                   ForbiddenInput(query, *entry.schema)));
  }
  return result;
}

absl::StatusOr<InferredNode> InferAsWritten(const NodeQuery& query) {
  const SchemaEntry* entry = FindNearestSchema(query.op);
  if (entry == nullptr) {
    return absl::NotFoundError(absl::StrCat(Prefix(query, query.op.since_version), "no such operator in ONNX"));
  }
  absl::Status misfit = CheckArity(query, *entry);
  if (misfit.ok()) {
    absl::StatusOr<InferredNode> result = InferBy(query, *entry);
    // Attributes of another version (the `broadcast` and `axis` of old additions) are of no account unless they must
    // be.
    if (result.ok() || HasOnlyAttributesOf(query, *entry->schema)) return result;
    misfit = result.status();
  }
  const SchemaEntry* other = FindFittingSchema(query, entry->since_version);
  if (other == nullptr) return misfit;
  absl::StatusOr<InferredNode> result = InferBy(query, *other);
  return result.ok() ? result : misfit;
}

// Integers of other widths where only int64, or it and int32, may be (pads, starts and steps), as int64.
class Widened {
 public:
  Widened(const NodeQuery& query, const onnx::OpSchema& schema)
      : query_(query), inputs_(query.inputs.begin(), query.inputs.end()), literals_(query.inputs.size(), nullptr) {
    std::copy_n(query.literals.begin(), std::min(query.literals.size(), literals_.size()), literals_.begin());
    types_.reserve(inputs_.size());
    values_.reserve(inputs_.size());
    for (size_t i = 0; i < inputs_.size() && !schema.inputs().empty(); ++i) {
      const Type* type = inputs_[i];
      const bool integer = type != nullptr && type->IsTensor() && IsInteger(type->dtype);
      if (!integer || type->dtype == DType::kInt64 || !IsIndex(Formal(schema, i))) continue;
      absl::StrAppend(&found_, found_.empty() ? "" : ", ", "input ", i, " (", Formal(schema, i).GetName(), ") ",
                      TypeString(*type));
      types_.push_back(*type);
      types_.back().dtype = DType::kInt64;
      inputs_[i] = &types_.back();
      if (literals_[i] == nullptr) continue;
      values_.push_back(*literals_[i]);
      values_.back().dtype = DType::kInt64;
      literals_[i] = &values_.back();
    }
  }

  const std::string& found() const { return found_; }
  NodeQuery query() const {
    return {.op = query_.op,
            .name = query_.name,
            .attributes = query_.attributes,
            .inputs = inputs_,
            .literals = literals_,
            .num_outputs = query_.num_outputs};
  }

 private:
  static bool IsIndex(const onnx::OpSchema::FormalParameter& formal) {
    bool wide = false;
    for (const auto& type : formal.GetTypes()) {
      wide = wide || *type == "tensor(int64)";
      if (*type != "tensor(int64)" && *type != "tensor(int32)") return false;
    }
    return wide;
  }

  const NodeQuery& query_;
  absl::InlinedVector<const Type*, 8> inputs_;
  absl::InlinedVector<const Literal*, 8> literals_;
  std::vector<Type> types_;
  std::vector<Literal> values_;
  std::string found_;
};

}  // namespace

absl::StatusOr<InferredNode> InferNode(const NodeQuery& query) {
  absl::StatusOr<InferredNode> result = InferAsWritten(query);
  const SchemaEntry* entry = result.ok() ? nullptr : FindNearestSchema(query.op);
  if (entry == nullptr) return result;
  const Widened widened(query, *entry->schema);
  if (widened.found().empty()) return result;
  absl::StatusOr<InferredNode> again = InferAsWritten(widened.query());
  if (!again.ok()) return result;
  again->widened = widened.found();
  return again;
}

std::optional<int> SchemaSinceVersion(const OpKey& op) {
  const SchemaEntry* entry = FindSchema(op);
  return entry == nullptr ? std::nullopt : std::make_optional(entry->since_version);
}

}  // namespace reusescope
