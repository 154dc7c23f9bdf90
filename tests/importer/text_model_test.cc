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
