#include "importer/onnx_skim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "analysis/ir/attributes.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> Skim(absl::string_view bytes) {
  ByteSource source(bytes);
  return SkimOnnx(source);
}

std::string ErrorOf(absl::string_view bytes) {
  const absl::StatusOr<std::string> skimmed = Skim(bytes);
  if (skimmed.ok()) return "ok";
  EXPECT_EQ(skimmed.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(skimmed.status().message());
}

// A tensor with a payload in one of the fields that hold payloads.
onnx::TensorProto Tensor(int64_t elements, int field) {
  onnx::TensorProto tensor;
  tensor.set_name("t");
  tensor.add_dims(elements);
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  for (int64_t i = 0; i < elements && field != 9; ++i) {
    if (field == 4) tensor.add_float_data(1);
    if (field == 5) tensor.add_int32_data(1);
    if (field == 6) tensor.add_string_data("s");
    if (field == 7) tensor.add_int64_data(1);
    if (field == 10) tensor.add_double_data(1);
    if (field == 11) tensor.add_uint64_data(1);
  }
  if (field == 9) tensor.set_raw_data(std::string(4 * elements, 'r'));
  return tensor;
}

onnx::TensorProto WithoutPayload(onnx::TensorProto tensor) {
  tensor.clear_raw_data();
  tensor.clear_float_data();
  tensor.clear_int32_data();
  tensor.clear_string_data();
  tensor.clear_int64_data();
  tensor.clear_double_data();
  tensor.clear_uint64_data();
  return tensor;
}

// Puts `tensor` everywhere where a tensor can stand.
onnx::ModelProto Everywhere(const onnx::TensorProto& tensor) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  const auto fill_node = [&](onnx::NodeProto& node) {
    node.set_op_type("Op");
    auto* attribute = node.add_attribute();
    attribute->set_name("everything");
    *attribute->mutable_t() = tensor;
    *attribute->add_tensors() = tensor;
    *attribute->mutable_sparse_tensor()->mutable_values() = tensor;
    *attribute->add_sparse_tensors()->mutable_indices() = tensor;
    *attribute->mutable_g()->add_initializer() = tensor;
    *attribute->add_graphs()->add_node()->add_attribute()->mutable_t() = tensor;
  };
  auto* graph = model.mutable_graph();
  graph->set_name("g");
  *graph->add_initializer() = tensor;
  *graph->add_sparse_initializer()->mutable_values() = tensor;
  *graph->mutable_sparse_initializer(0)->mutable_indices() = tensor;
  fill_node(*graph->add_node());
  auto* function = model.add_functions();
  function->set_name("f");
  fill_node(*function->add_node());
  *function->add_attribute_proto()->mutable_t() = tensor;
  graph->add_value_info()->set_name("after");
  return model;
}

TEST(SkimOnnxTest, LeavesLargePayloadsOutWhereverTheyAre) {
  for (const int field : {4, 5, 6, 7, 9, 10, 11}) {
    const onnx::TensorProto large = Tensor(kMaxLiteralElements + 1, field);
    const absl::StatusOr<std::string> skimmed = Skim(Everywhere(large).SerializeAsString());
    ASSERT_TRUE(skimmed.ok()) << skimmed.status();
    EXPECT_EQ(ParseProto(*skimmed).SerializeAsString(), Everywhere(WithoutPayload(large)).SerializeAsString());
    EXPECT_LT(skimmed->size(), 1000u);
  }
}

TEST(SkimOnnxTest, KeepsSmallTensorsWhole) {
  for (const int field : {4, 5, 6, 7, 9, 10, 11}) {
    const std::string bytes = Everywhere(Tensor(kMaxLiteralElements, field)).SerializeAsString();
    const absl::StatusOr<std::string> skimmed = Skim(bytes);
    ASSERT_TRUE(skimmed.ok()) << skimmed.status();
    EXPECT_EQ(ParseProto(*skimmed).SerializeAsString(), bytes);
  }
}

TEST(SkimOnnxTest, LeavesOutAPayloadThatIsLargeThoughItsElementsAreFew) {
  onnx::TensorProto tensor = Tensor(1, 6);
  tensor.set_string_data(0, std::string(kMaxLiteralBytes, 's'));
  const absl::StatusOr<std::string> skimmed = Skim(Everywhere(tensor).SerializeAsString());
  EXPECT_EQ(ParseProto(*skimmed).SerializeAsString(), Everywhere(WithoutPayload(tensor)).SerializeAsString());
}

TEST(SkimOnnxTest, DimensionsAreCountedAfterThePayloadTooAndPacked) {
  // dims = [5000], packed, behind the raw data.
  const std::string tensor = absl::StrCat("\x4A\x04", "data", "\x0A\x02\x88\x27");
  const std::string model = absl::StrCat("\x3A\x0C\x2A\x0A", tensor);
  const absl::StatusOr<std::string> skimmed = Skim(model);
  ASSERT_TRUE(skimmed.ok()) << skimmed.status();
  EXPECT_EQ(ParseProto(*skimmed).graph().initializer(0).raw_data(), "");
  EXPECT_EQ(ParseProto(*skimmed).graph().initializer(0).dims(0), 5000);
}

TEST(SkimOnnxTest, LeavesOutDocumentationTrainingGraphsAndOtherMetadata) {
  onnx::ModelProto model = TextProto("g (float[2] x) => (float[2] y) { y = Relu (x) }");
  const std::string plain = model.SerializeAsString();
  const std::string text(10'000, 'd');
  model.set_doc_string(text);
  model.mutable_graph()->set_doc_string(text);
  auto* node = model.mutable_graph()->mutable_node(0);
  node->set_doc_string(text);
  auto* trace = node->add_metadata_props();
  trace->set_key("pkg.torch.onnx.stack_trace");
  trace->set_value(text);
  EXPECT_EQ(ParseProto(*Skim(model.SerializeAsString())).SerializeAsString(), plain);
  model.add_training_info()->mutable_algorithm()->set_name(text);
  const onnx::ModelProto skimmed = ParseProto(*Skim(model.SerializeAsString()));
  ASSERT_EQ(skimmed.training_info_size(), 1);
  EXPECT_EQ(skimmed.training_info(0).ByteSizeLong(), 0u);
}

TEST(SkimOnnxTest, SkimmingAgainChangesNothing) {
  for (const char* name : {"lenet5", "vgg16", "resnet18"}) {
    const std::string once = *Skim(ReadFile(ModelPath(name)));
    EXPECT_EQ(*Skim(once), once) << name;
  }
}

TEST(SkimOnnxTest, ReadsFilesThroughItsWindowAsItReadsMemory) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/reusescope_skim_", getpid(), ".onnx");
  onnx::ModelProto model = Everywhere(Tensor(3 * ByteSource::kWindowBytes, 9));  // several windows each
  for (int i = 0; i < 5000; ++i) model.mutable_graph()->add_node()->set_op_type("FillsMoreThanAWindow");
  const std::string bytes = model.SerializeAsString();
  WriteFile(path, bytes);
  absl::StatusOr<ByteSource> source = ByteSource::OpenFile(path);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(*SkimOnnx(*source), *Skim(bytes));
  std::remove(path.c_str());
}

// Rules of the wire format.

TEST(CorruptBytesTest, LengthsFitIntoTheMessageAround) {
  EXPECT_EQ(ErrorOf("\x3A\x05\x0A\x01n"),
            "corrupt or truncated at byte 0, inside a ModelProto: field 7 has 5 bytes, expected at most 3");
  EXPECT_EQ(ErrorOf("\x3A\x03\x0A\x02n"),
            "corrupt or truncated at byte 2, inside a GraphProto: field 1 has 2 bytes, expected at most 1");
  EXPECT_THAT(ErrorOf("\x3A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), HasSubstr("has 18446744073709551615 bytes"));
}

TEST(CorruptBytesTest, NumbersEnd) {
  EXPECT_THAT(ErrorOf("\x08\xFF"), HasSubstr("found the end of the message inside a number"));
  EXPECT_THAT(ErrorOf(absl::StrCat("\x08", std::string(11, '\xFF'))), HasSubstr("a number of more than 10 bytes"));
  EXPECT_THAT(ErrorOf("\x0D\x01"), HasSubstr("field 1 has 4 bytes, expected at most 1"));
}

TEST(CorruptBytesTest, FieldsHaveANumberAndAKnownWireType) {
  EXPECT_THAT(ErrorOf(std::string("\0\1", 2)), HasSubstr("found field number 0"));
  EXPECT_THAT(ErrorOf("\x0B\x0C"), HasSubstr("found wire type 3 of field 1, expected 0, 1, 2 or 5"));
  EXPECT_THAT(ErrorOf("\x0F"), HasSubstr("found wire type 7"));
}

// Graphs nested in graphs: model.graph.node.attribute.g.node.attribute.g. ...
std::string Nested(int levels) {
  std::string graph;
  const auto wrap = [](char tag, const std::string& payload) {
    std::string length;
    for (size_t rest = payload.size(); true; rest >>= 7) {
      length.push_back(static_cast<char>((rest & 0x7F) | (rest > 0x7F ? 0x80 : 0)));
      if (rest <= 0x7F) break;
    }
    return absl::StrCat(std::string(1, tag), length, payload);
  };
  for (int i = 0; i < levels; ++i) graph = wrap('\x0A', wrap('\x2A', wrap('\x32', graph)));
  return wrap('\x3A', graph);
}

TEST(CorruptBytesTest, NestingIsLimited) {
  EXPECT_EQ(ErrorOf(Nested(33)), "ok");
  EXPECT_THAT(ErrorOf(Nested(34)), HasSubstr("messages are nested more than 100 deep"));
  EXPECT_THAT(ErrorOf(Nested(10'000)), HasSubstr("messages are nested more than 100 deep"));
}

}  // namespace
}  // namespace reusescope
