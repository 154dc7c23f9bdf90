// Attributes of a node and the small constant tensors that shapes are made of.
//
//   node.attributes.Int("group", 1)               -> 1 when absent
//   node.attributes.Ints("strides")               -> empty span when absent
//
// A node has few attributes; they are kept in a sorted vector. Payloads of large tensors are never held: a Literal then
// has dtype and shape only.

#ifndef REUSESCOPE_ANALYSIS_IR_ATTRIBUTES_H_
#define REUSESCOPE_ANALYSIS_IR_ATTRIBUTES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "analysis/ir/types.h"

namespace reusescope {

// Tensors of at most so many elements are kept with their values.
inline constexpr int64_t kMaxLiteralElements = 4096;

// A constant tensor. Integers and booleans are in `ints`, floating-point numbers in `floats`, strings in `strings`;
// exactly the one that fits `dtype` is filled, with ElementCount(shape) entries, and only if `has_data`.
struct Literal {
  DType dtype = DType::kUndefined;
  Shape shape;
  bool has_data = false;
  std::vector<int64_t> ints;
  std::vector<double> floats;
  std::vector<std::string> strings;

  static Literal Ints(Shape shape, std::vector<int64_t> values, DType dtype = DType::kInt64);
  static Literal Floats(Shape shape, std::vector<double> values, DType dtype = DType::kFloat32);
  int64_t size() const { return static_cast<int64_t>(ints.size() + floats.size() + strings.size()); }
  // Element i as a number, whichever vector holds it. REQUIRES: has_data, dtype is not a string.
  double AsDouble(int64_t i) const { return ints.empty() ? floats[i] : static_cast<double>(ints[i]); }
  friend bool operator==(const Literal& a, const Literal& b) = default;
};

// An attribute that is a graph: index into Graph::subgraphs.
struct SubgraphRef {
  int index = -1;
  friend bool operator==(const SubgraphRef& a, const SubgraphRef& b) = default;
};

// A function-body attribute that takes its value from the calling node's attribute `name` (ONNX ref_attr_name).
struct AttributeRef {
  std::string name;
  friend bool operator==(const AttributeRef& a, const AttributeRef& b) = default;
};

using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                               std::vector<std::string>, Literal, std::vector<Literal>, SubgraphRef,
                               std::vector<SubgraphRef>, Type, std::vector<Type>, AttributeRef>;

class Attributes {
 public:
  // Replaces an attribute of the same name.
  void Set(absl::string_view name, Attribute value);
  void Erase(absl::string_view name);
  const Attribute* Find(absl::string_view name) const;
  bool Has(absl::string_view name) const { return Find(name) != nullptr; }

  // The value, or the default when the attribute is absent or of another kind.
  int64_t Int(absl::string_view name, int64_t default_value) const;
  double Float(absl::string_view name, double default_value) const;
  absl::string_view String(absl::string_view name, absl::string_view default_value) const;
  absl::Span<const int64_t> Ints(absl::string_view name) const;
  absl::Span<const double> Floats(absl::string_view name) const;
  const Literal* Tensor(absl::string_view name) const;

  bool empty() const { return entries_.empty(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  friend bool operator==(const Attributes& a, const Attributes& b) = default;

 private:
  std::vector<std::pair<std::string, Attribute>> entries_;  // sorted by name
};

// "strides=[2, 2]" for each, separated by ", ": for dumps and error messages.
std::string AttributesString(const Attributes& attributes);

}  // namespace reusescope

#endif  // REUSESCOPE_ANALYSIS_IR_ATTRIBUTES_H_
