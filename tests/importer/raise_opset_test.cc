// Raising opsets 13 to 17 ourselves, against ONNX's version converter on the same files.

#include "importer/raise_opset.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/byte_source.h"
#include "importer/inline_local_functions.h"
#include "importer/onnx_skim.h"
#include "onnx/version_converter/convert.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

using Constants = std::map<std::string, std::string>;  // by name, the tensor without it

std::string WithoutName(onnx::TensorProto tensor) {
  tensor.clear_name();
  // The converter writes integers as it likes.
  std::string values = absl::StrJoin(tensor.int64_data(), ",");
  for (size_t i = 0; tensor.data_type() == onnx::TensorProto::INT64 && i + 8 <= tensor.raw_data().size(); i += 8) {
    int64_t value = 0;
    std::copy_n(tensor.raw_data().data() + i, 8, reinterpret_cast<char*>(&value));
    absl::StrAppend(&values, values.empty() ? "" : ",", value);
  }
  return absl::StrCat("[", absl::StrJoin(tensor.dims(), ","), "] ", values);
}

std::vector<std::string> Describe(const onnx::GraphProto& graph, Constants constants = {}) {
  std::vector<std::string> lines;
  for (const onnx::NodeProto& node : graph.node()) {
    if (node.op_type() == "Constant") {
      constants[node.output(0)] = WithoutName(node.attribute(0).t());
      continue;
    }
    std::vector<std::string> operands, attributes;
    for (const std::string& input : node.input()) {
      const auto it = constants.find(input);
      operands.push_back(it == constants.end() ? input : it->second);
    }
    while (!operands.empty() && operands.back().empty()) operands.pop_back();
    for (onnx::AttributeProto attribute : node.attribute()) {
      // Said or not, the same: defaults that the converter spells out.
      const bool spelled_out = attribute.name() == "ceil_mode" || attribute.name() == "layout";
      if (spelled_out && attribute.i() == 0) continue;
      attribute.clear_doc_string();
      attributes.push_back(
          attribute.has_g()
              ? absl::StrCat(attribute.name(), "{", absl::StrJoin(Describe(attribute.g(), constants), "; "), "}")
          : attribute.has_t() ? absl::StrCat(attribute.name(), WithoutName(attribute.t()))
                              : attribute.SerializeAsString());
    }
    std::sort(attributes.begin(), attributes.end());
    lines.push_back(absl::StrCat(absl::StrJoin(node.output(), ","), " = ", node.op_type(), "(",
                                 absl::StrJoin(operands, ", "), ") ", absl::StrJoin(attributes, " ")));
  }
  return lines;
}

int64_t OpsetOf(const onnx::ModelProto& model) {
  for (const onnx::OperatorSetIdProto& import : model.opset_import()) {
    if (import.domain().empty()) return import.version();
  }
  return 0;
}

void ExpectAsConverted(const std::string& bytes) {
  RegisterOnnxSchemas();
  const absl::StatusOr<std::string> raised = RaiseOpset(bytes, 18);
  ASSERT_TRUE(raised.ok()) << raised.status();
  onnx::ModelProto model = ParseProto(bytes);
  model.set_ir_version(std::max<int64_t>(model.ir_version(), 4));
  const onnx::ModelProto expected = onnx::version_conversion::ConvertVersion(model, 18), found = ParseProto(*raised);
  EXPECT_EQ(OpsetOf(found), 18);
  EXPECT_THAT(Describe(found.graph()), testing::UnorderedElementsAreArray(Describe(expected.graph())));
}

TEST(RaiseOpsetTest, NearOpsetsComeOutAsTheConverterHasThem) {
  int files = 0;
  for (const char* folder : {"/models", "/tests/gradients/models"}) {
    for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat(REUSESCOPE_SOURCE_DIR, folder))) {
      if (entry.path().extension() != ".onnx") continue;
      absl::StatusOr<ByteSource> source = ByteSource::OpenFile(entry.path().string());
      ASSERT_TRUE(source.ok());
      const absl::StatusOr<std::string> bytes = SkimOnnx(*source);
      ASSERT_TRUE(bytes.ok());
      const onnx::ModelProto model = ParseProto(*bytes);
      // Batch norms that train in the form before opset 14 are what the converter refuses.
      const bool old_norms = OpsetOf(model) == 13 && entry.path().stem().string().find("squeeze") == 0;
      if (OpsetOf(model) < 13 || OpsetOf(model) > 17 || model.functions_size() > 0 || old_norms) continue;
      SCOPED_TRACE(entry.path().filename().string());
      ++files;
      ExpectAsConverted(*bytes);
    }
  }
  EXPECT_GT(files, 40);
}

TEST(RaiseOpsetTest, WhatChangesBetweenThem) {
  ExpectAsConverted(OnnxTextToBytes(R"(<ir_version: 8, opset_import: ["" : 14]>
      g (float[2,3,8,8] x, float[4,4] rois, int64[4] batch, bool c) => (float y, float z, float[M,N] t, float[K] u) {
        y = ReduceMean<axes = [1, -1], keepdims = 0>(x)
        z = ReduceMax(x)
        a, b, d = Split<axis = 1>(x)
        e = RoiAlign<output_height = 2, output_width = 2>(x, rois, batch)
        t = If(c) <
          then_branch = f () => (float[M,N] p) { p = ReduceL2<axes = [0, 1], keepdims = 0>(a) },
          else_branch = h () => (float[M,N] q) { q = ReduceProd<axes = [2, 3], keepdims = 0>(e) }>
        u = ReduceSum<keepdims = 0>(d)
      })"));
}

TEST(RaiseOpsetTest, AFileOfALaterOpsetStays) {
  const std::string bytes = OnnxTextToBytes(R"(<ir_version: 8, opset_import: ["" : 20]>
      g (float[2,3] x) => (float[2,3] y) { y = Relu(x) })");
  EXPECT_EQ(RaiseOpset(bytes, 18).value(), bytes);
}

}  // namespace
}  // namespace reusescope
