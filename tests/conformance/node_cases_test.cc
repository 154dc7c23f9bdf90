// ONNX's own node cases: every output's element type and shape as ONNX's reference computes them.
//
// onnx-1.23.2-node-cases.tar.xz holds all 1,884 of them (opset 1 to 28) with the shapes of the outputs removed and
// small inputs made constants, and expected.json with what the reference found. CMake unpacks it. Cases whose shapes no
// file tells, because they depend on what is fed, are listed in exceptions.tsv by name with the reason; one of them
// that comes out right fails the test as well.

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "analysis/pipeline.h"
#include "importer/load_model.h"
#include "nlohmann/json.hpp"

namespace reusescope {
namespace {

using nlohmann::json;

constexpr int kCases = 1884;
constexpr int kLeastRight = 1830;

// [dtype, shape], ["seq", element, ...] or null, as ONNX's reference describes a value.
std::string Expected(const json& value) {
  if (value.is_null()) return "none";
  if (value[0].is_string()) return absl::StrCat("sequence of ", value.size() - 1);  // elements: see Differs
  const auto shape = value[1].get<std::vector<int64_t>>();
  return TypeString(Type::Tensor(static_cast<DType>(value[0].get<int>()), Shape(shape.begin(), shape.end())));
}

std::string Found(const Type& type, const std::string& expected) {
  if (type.form == Type::Form::kOptional && expected == "none") return expected;
  // How long a sequence is that is fed is not in the file.
  if (type.form == Type::Form::kSequence && type.length == kUnknownDim && expected.rfind("sequence", 0) == 0) {
    return expected;
  }
  if (type.form == Type::Form::kSequence) return absl::StrCat("sequence of ", type.length);
  return TypeString(type);
}

// Whether an element that the reference has cannot be one of the sequence: another dtype, or another known dimension.
bool Differs(const Type& sequence, const json& element) {
  if (static_cast<DType>(element[0].get<int>()) != sequence.dtype) return true;
  const auto shape = element[1].get<std::vector<int64_t>>();
  if (!sequence.has_shape) return false;
  if (shape.size() != sequence.shape.size()) return true;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (sequence.shape[d] != kUnknownDim && sequence.shape[d] != shape[d]) return true;
  }
  return false;
}

// "" when every output of the case is as expected, else what is wrong.
std::string Difference(const std::string& folder, const std::string& name, const json& outputs) {
  absl::StatusOr<Model> model = LoadModel(absl::StrCat(folder, "/", name, ".onnx"));
  if (!model.ok()) return std::string(model.status().message());
  std::vector<std::string> notes;
  const auto training = BuildGraph(*std::move(model), {}, Stage::kShapes, notes);
  if (!training.ok()) return std::string(training.status().message());
  const Graph& graph = training->graph;
  for (ValueId id : graph.outputs) {
    const Value& value = graph.value(id);
    if (!outputs.contains(value.name)) return absl::StrCat("output '", value.name, "' is not expected");
    const std::string expected = Expected(outputs[value.name]);
    const std::string found = Found(value.type, expected);
    if (found != expected) return absl::StrCat("output '", value.name, "' is ", found, ", expected ", expected);
    for (size_t i = 1; value.type.form == Type::Form::kSequence && i < outputs[value.name].size(); ++i) {
      const json& element = outputs[value.name][i];
      if (Differs(value.type, element)) {
        return absl::StrCat("output '", value.name, "' is ", TypeString(value.type), ", element ", i - 1, " is ",
                            element.dump());
      }
    }
  }
  return graph.outputs.size() == outputs.size() ? "" : "an output is missing";
}

std::map<std::string, std::string> Exceptions() {
  std::ifstream file(absl::StrCat(REUSESCOPE_SOURCE_DIR, "/tests/conformance/exceptions.tsv"));
  std::map<std::string, std::string> exceptions;
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = absl::StrSplit(line, '\t');
    EXPECT_EQ(cells.size(), 2u) << line;
    exceptions.emplace(cells[0], cells.back());
  }
  return exceptions;
}

TEST(ConformanceTest, NodeCasesHaveTheShapesOfTheReference) {
  const std::string folder = absl::StrCat(REUSESCOPE_BINARY_DIR, "/tests/conformance");
  std::ifstream file(folder + "/expected.json");
  const json expected = json::parse(file);
  ASSERT_EQ(expected.size(), kCases);
  std::map<std::string, std::string> exceptions = Exceptions();
  int right = 0;
  for (const auto& [name, test_case] : expected.items()) {
    const std::string difference = Difference(folder, name, test_case["outputs"]);
    if (difference.empty()) ++right;
    const auto listed = exceptions.find(name);
    if (listed == exceptions.end()) {
      EXPECT_EQ(difference, "") << name;
    } else {
      EXPECT_NE(difference, "") << name << " comes out right; take it off the list";
      exceptions.erase(listed);
    }
  }
  for (const auto& [name, reason] : exceptions) ADD_FAILURE() << name << " is listed and no case";
  EXPECT_GE(right, kLeastRight);
  RecordProperty("right", right);
  std::cout << right << " of " << kCases << " right\n";
}

}  // namespace
}  // namespace reusescope
