// Annotating changes metadata and nothing else, in every graph that a file has.

#include "importer/annotate_onnx.h"

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "onnx/checker.h"
#include "onnx/defs/operator_sets.h"
#include "onnx/defs/schema.h"
#include "onnx/onnx_pb.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

using google::protobuf::util::MessageDifferencer;
using ::testing::HasSubstr;

// Of the running test alone: others run beside it.
std::string Scratch(const std::string& name) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/annotate_onnx_",
                                          testing::UnitTest::GetInstance()->current_test_info()->name());
  std::filesystem::create_directories(folder);
  return folder + "/" + name;
}

// ONNX's checker, which wants all its schemas registered.
template <typename Model>
void ExpectChecks(const Model& model) {
  if (onnx::OpSchemaRegistry::Instance()->GetSchema("Conv", 11) == nullptr) onnx::RegisterOnnxOperatorSetSchema();
  EXPECT_NO_THROW(onnx::checker::check_model(model));
}

onnx::ModelProto Annotated(const std::string& bytes, const ModelAnnotations& annotations) {
  const std::string source = Scratch("source.onnx"), path = Scratch("annotated.onnx");
  WriteFile(source, bytes);
  const absl::Status status = WriteAnnotated(source, path, annotations);
  EXPECT_TRUE(status.ok()) << status;
  return ParseProto(ReadFile(path));
}

std::string MetadataOf(const onnx::NodeProto& node, const std::string& key) {
  for (const auto& entry : node.metadata_props()) {
    if (entry.key() == key) return entry.value();
  }
  return "";
}

// A graph with a subgraph and a function; the nodes have metadata already.
onnx::ModelProto Nested() {
  onnx::ModelProto model = TextProto(R"(
    <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
    main (bool c, float[2,3] x) => (float[2,3] y) {
      h = local.Twice (x)
      y = If (c) <then_branch = g1 () => (float[2,3] t) { t = Relu (h) },
                  else_branch = g2 () => (float[2,3] e) { z = Neg (h)  e = Abs (z) }>
    }
    <domain: "local", opset_import: ["" : 18]>
    Twice (a) => (b) { b = Add (a, a) }
  )");
  for (onnx::NodeProto& node : *model.mutable_graph()->mutable_node()) {
    auto& entry = *node.add_metadata_props();
    entry.set_key("theirs");
    entry.set_value("kept");
  }
  return model;
}

ModelAnnotations NestedAnnotations() {
  ModelAnnotations annotations{.prefix = "ours."};
  annotations.model = {{"ours.device", "a device"}};
  for (const char* address : {"0", "1", "1.then_branch.0", "1.else_branch.0", "1.else_branch.1", "f0.0"}) {
    annotations.nodes[address] = {{"ours.at", address}, {"ours.long", std::string(300, 'x')}};
  }
  return annotations;
}

const onnx::GraphProto& Branch(const onnx::NodeProto& node, const std::string& name) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.name() == name) return attribute.g();
  }
  throw std::invalid_argument("no branch");
}

TEST(AnnotateOnnxTest, EveryNodeGetsItsOwn) {
  const onnx::ModelProto model = Annotated(Nested().SerializeAsString(), NestedAnnotations());
  const onnx::NodeProto& branch = model.graph().node(1);
  EXPECT_EQ(MetadataOf(model.graph().node(0), "ours.at"), "0");
  EXPECT_EQ(MetadataOf(model.graph().node(0), "theirs"), "kept");
  EXPECT_EQ(MetadataOf(branch, "ours.at"), "1");
  EXPECT_EQ(MetadataOf(Branch(branch, "then_branch").node(0), "ours.at"), "1.then_branch.0");
  EXPECT_EQ(MetadataOf(Branch(branch, "else_branch").node(0), "ours.at"), "1.else_branch.0");
  EXPECT_EQ(MetadataOf(Branch(branch, "else_branch").node(1), "ours.at"), "1.else_branch.1");
  EXPECT_EQ(MetadataOf(model.functions(0).node(0), "ours.at"), "f0.0");
  ASSERT_EQ(model.metadata_props_size(), 1);
  EXPECT_EQ(model.metadata_props(0).key(), "ours.device");
}

// ONNX's checker takes the result; without our keys it is the model that went in.
TEST(AnnotateOnnxTest, NothingElseChanges) {
  onnx::ModelProto annotated = Annotated(Nested().SerializeAsString(), NestedAnnotations());
  ExpectChecks(annotated);
  const std::string bytes = annotated.SerializeAsString();
  const onnx::ModelProto cleaned = Annotated(bytes, {.prefix = "ours."});
  EXPECT_TRUE(MessageDifferencer::Equals(cleaned, Nested()));
}

TEST(AnnotateOnnxTest, TwiceIsOnce) {
  const onnx::ModelProto once = Annotated(Nested().SerializeAsString(), NestedAnnotations());
  EXPECT_TRUE(MessageDifferencer::Equals(Annotated(once.SerializeAsString(), NestedAnnotations()), once));
}

// Weights inside the file are the same bytes afterwards, longer than the window through which they are copied.
TEST(AnnotateOnnxTest, WeightsAreCopiedByteForByte) {
  onnx::ModelProto model = TextProto("m (float[4,50000] x) => (float[4,2] y) <float[50000,2] w> { y = MatMul (x, w) }");
  std::string payload(400'000, '\0');
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(i * 7 % 251);
  onnx::TensorProto& weight = *model.mutable_graph()->mutable_initializer(0);
  weight.clear_data_location();
  weight.clear_external_data();
  weight.set_raw_data(payload);
  ModelAnnotations annotations{.prefix = "ours."};
  annotations.nodes["0"] = {{"ours.flops", "800000"}};
  const onnx::ModelProto annotated = Annotated(model.SerializeAsString(), annotations);
  EXPECT_EQ(annotated.graph().initializer(0).raw_data(), payload);
  EXPECT_EQ(MetadataOf(annotated.graph().node(0), "ours.flops"), "800000");
}

TEST(AnnotateOnnxTest, ExternalWeightsHoldTheOutputInTheirFolder) {
  onnx::ModelProto model = TextProto("m (float[4,8] x) => (float[4,2] y) <float[8,2] w> { y = MatMul (x, w) }");
  onnx::TensorProto& weight = *model.mutable_graph()->mutable_initializer(0);
  weight.clear_raw_data();
  weight.clear_external_data();
  weight.set_data_location(onnx::TensorProto::EXTERNAL);
  auto& location = *weight.add_external_data();
  location.set_key("location");
  location.set_value("w.bin");
  const std::string source = Scratch("external.onnx");
  WriteFile(source, model.SerializeAsString());
  const std::string elsewhere = Scratch("") + "../annotated_elsewhere.onnx";
  std::filesystem::remove(Scratch("w.bin"));
  EXPECT_TRUE(WriteAnnotated(source, elsewhere, {.prefix = "ours."}).ok());  // nothing there to lose
  WriteFile(Scratch("w.bin"), std::string(64, 'w'));
  const absl::Status refused = WriteAnnotated(source, elsewhere, {.prefix = "ours."});
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("w.bin"));
  EXPECT_TRUE(WriteAnnotated(source, Scratch("external_annotated.onnx"), {.prefix = "ours."}).ok());
  ExpectChecks(Scratch("external_annotated.onnx"));
}

TEST(AnnotateOnnxTest, RefusesWhatIsNoBinaryModel) {
  WriteFile(Scratch("text.onnxtxt"),
            "<ir_version: 8, opset_import: [\"\" : 17]> m (float x) => (float y) { y = Abs (x) }");
  EXPECT_THAT(std::string(WriteAnnotated(Scratch("text.onnxtxt"), Scratch("out.onnx"), {}).message()),
              HasSubstr("expected an ONNX file in binary form"));
  WriteFile(Scratch("cut.onnx"), ReadFile(ModelPath("lenet5")).substr(0, 500));
  EXPECT_FALSE(WriteAnnotated(Scratch("cut.onnx"), Scratch("out.onnx"), {.prefix = "ours."}).ok());
}

}  // namespace
}  // namespace reusescope
