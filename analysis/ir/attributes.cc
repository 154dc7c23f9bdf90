#include "analysis/ir/attributes.h"

#include <algorithm>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reusescope {
namespace {

template <typename T>
const T* FindAs(const Attributes& attributes, absl::string_view name) {
  const Attribute* attribute = attributes.Find(name);
  return attribute == nullptr ? nullptr : std::get_if<T>(attribute);
}

std::string LiteralString(const Literal& literal) {
  return absl::StrCat("tensor(", DTypeName(literal.dtype), ShapeString(literal.shape), ")");
}

std::string AttributeString(const Attribute& attribute) {
  return std::visit(
      [](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, double>) return absl::StrCat(value);
        if constexpr (std::is_same_v<T, std::string>) return absl::StrCat("\"", value, "\"");
        if constexpr (std::is_same_v<T, std::vector<int64_t>> || std::is_same_v<T, std::vector<double>> ||
                      std::is_same_v<T, std::vector<std::string>>) {
          return absl::StrCat("[", absl::StrJoin(value, ", "), "]");
        }
        if constexpr (std::is_same_v<T, Literal>) return LiteralString(value);
        if constexpr (std::is_same_v<T, std::vector<Literal>>) return absl::StrCat(value.size(), " tensors");
        if constexpr (std::is_same_v<T, SubgraphRef>) return "graph";
        if constexpr (std::is_same_v<T, std::vector<SubgraphRef>>) return absl::StrCat(value.size(), " graphs");
        if constexpr (std::is_same_v<T, Type>) return TypeString(value);
        if constexpr (std::is_same_v<T, std::vector<Type>>) return absl::StrCat(value.size(), " types");
        if constexpr (std::is_same_v<T, AttributeRef>) return absl::StrCat("@", value.name);
      },
      attribute);
}

}  // namespace

Literal Literal::Ints(Shape shape, std::vector<int64_t> values, DType dtype) {
  return {.dtype = dtype, .shape = std::move(shape), .has_data = true, .ints = std::move(values)};
}

Literal Literal::Floats(Shape shape, std::vector<double> values, DType dtype) {
  return {.dtype = dtype, .shape = std::move(shape), .has_data = true, .floats = std::move(values)};
}

void Attributes::Set(absl::string_view name, Attribute value) {
  auto it = std::lower_bound(entries_.begin(), entries_.end(), name,
                             [](const auto& entry, absl::string_view key) { return entry.first < key; });
  if (it != entries_.end() && it->first == name) {
    it->second = std::move(value);
  } else {
    entries_.insert(it, {std::string(name), std::move(value)});
  }
}

void Attributes::Erase(absl::string_view name) {
  entries_.erase(
      std::remove_if(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first == name; }),
      entries_.end());
}

const Attribute* Attributes::Find(absl::string_view name) const {
  auto it = std::lower_bound(entries_.begin(), entries_.end(), name,
                             [](const auto& entry, absl::string_view key) { return entry.first < key; });
  return it != entries_.end() && it->first == name ? &it->second : nullptr;
}

int64_t Attributes::Int(absl::string_view name, int64_t default_value) const {
  const auto* value = FindAs<int64_t>(*this, name);
  return value == nullptr ? default_value : *value;
}

double Attributes::Float(absl::string_view name, double default_value) const {
  const auto* value = FindAs<double>(*this, name);
  return value == nullptr ? default_value : *value;
}

absl::string_view Attributes::String(absl::string_view name, absl::string_view default_value) const {
  const auto* value = FindAs<std::string>(*this, name);
  return value == nullptr ? default_value : absl::string_view(*value);
}

absl::Span<const int64_t> Attributes::Ints(absl::string_view name) const {
  const auto* value = FindAs<std::vector<int64_t>>(*this, name);
  return value == nullptr ? absl::Span<const int64_t>() : absl::MakeConstSpan(*value);
}

absl::Span<const double> Attributes::Floats(absl::string_view name) const {
  const auto* value = FindAs<std::vector<double>>(*this, name);
  return value == nullptr ? absl::Span<const double>() : absl::MakeConstSpan(*value);
}

const Literal* Attributes::Tensor(absl::string_view name) const { return FindAs<Literal>(*this, name); }

std::string AttributesString(const Attributes& attributes) {
  return absl::StrJoin(attributes, ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, entry.first, "=", AttributeString(entry.second));
  });
}

}  // namespace reusescope
