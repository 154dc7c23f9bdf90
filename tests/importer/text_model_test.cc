#include "importer/text_model.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include "absl/strings/str_cat.h"
#include "analysis/ir/graph.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "onnx/onnx_pb.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;

constexpr char kText[] = R"(
  <ir_version: 8, opset_import: ["" : 17]>
  mlp (float[N,128] x) => (float[N,10] y) <float[128,10] w> { y = MatMul (x, w) })";

void ExpectTheModel(const absl::StatusOr<Model>& model) {
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->graph.order.size(), 1u);
  EXPECT_EQ(model->graph.node(0).op, (OpKey{"", "MatMul", 17}));
  EXPECT_EQ(model->graph.inputs.size(), 1u);
  EXPECT_EQ(TypeString(model->graph.value(model->graph.node(0).inputs[1]).type), "float32[128, 10]");
}

TEST(TextModelTest, OnnxTextIsReadAndItsDeclarationsAreWeights) {
  ExpectTheModel(LoadModelFromBytes(kText, "m.onnxtxt"));
}

// The same model as Protobuf prints it.
TEST(TextModelTest, JsonAndTextOfTheProtobufAreRead) {
  onnx::ModelProto proto;
  ASSERT_TRUE(proto.ParseFromString(*TextModelToBytes(kText)));
  std::string json, text;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(proto, &json).ok());
  ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(proto, &text));
  ExpectTheModel(LoadModelFromBytes(json, "m.json"));
  ExpectTheModel(LoadModelFromBytes(text, "m.prototxt"));
}

// Files from before ONNX 1.0's schema have the names of element types; strings and comments may have them, too.
TEST(TextModelTest, ElementTypesByNameAreRead) {
  constexpr char kNamed[] = R"(ir_version : 3
graph {
  name: "elem_type: FLOAT"  # elem_type: DOUBLE
  node { input: "x" input: "w" output: "y" op_type: "Add" }
  initializer { dims: 2 data_type: FLOAT16 name: "w" doc_string: 'it\'s data_type: FLOAT "' raw_data: "\000\000\000\000" }
  initializer { dims: 2 data_type: INT64 name: "n" int64_data: 1 int64_data: 2 }
  input { name: "x" type { tensor_type { elem_type : FLOAT16 shape { dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: FLOAT16 } } }
}
opset_import { version: 13 })";
  const absl::StatusOr<Model> model = LoadModelFromBytes(kNamed, "m.onnxtxt");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->graph.name, "elem_type: FLOAT");
  EXPECT_EQ(TypeString(model->graph.value(model->graph.inputs[0]).type), "float16[2]");
  const std::vector<std::string> unknown = {"elem_type: FLOAT17", "dims: FLOAT"};
  for (const std::string& field : unknown) {
    const std::string text = absl::StrCat("ir_version: 3\ngraph {\n  initializer { data_type: FLOAT ", field, " } }");
    EXPECT_THAT(std::string(LoadModelFromBytes(text, "m.txt").status().message()),
                HasSubstr("is no Protobuf text of an ONNX model: line 3"))
        << field;
  }
}

TEST(TextModelTest, ConflictMarkersAreNamed) {
  const std::string text = "ir_version: 3\n<<<<<<< HEAD\nproducer_name: \"a\"\n=======\n>>>>>>> theirs\n";
  EXPECT_THAT(std::string(LoadModelFromBytes(text, "m.txt").status().message()),
              HasSubstr("it holds git's conflict markers: finish the merge"));
}

TEST(TextModelTest, ErrorsSayWhatTheParserMet) {
  const auto error = [](absl::string_view text) {
    return std::string(LoadModelFromBytes(text, "m.txt").status().message());
  };
  EXPECT_THAT(error("<ir_version: 8, opset_import: [\"\" : 17]> g (float[2] x) => (y) { y = "),
              HasSubstr("m.txt: ONNX cannot parse the text"));
  EXPECT_THAT(error("{\"irVersion\": 8, \"graph\": {\"nodes\": []}}"), HasSubstr("is no JSON of an ONNX model"));
  EXPECT_THAT(error("ir_version: 8\ngraph {\n"), HasSubstr("is no Protobuf text of an ONNX model: line 3"));
  EXPECT_THAT(error("<html><body>404</body></html>"), HasSubstr("is an HTML or XML page"));
}

TEST(TextModelTest, DeepNestingIsRefusedBeforeParsersRecurse) {
  const std::string deep(100000, '(');
  EXPECT_THAT(LoadModelFromBytes(absl::StrCat(kText, deep), "m.txt").status().message(), HasSubstr("nests brackets"));
}

}  // namespace
}  // namespace reusescope
