#include "importer/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "analysis/ir/verify.h"
#include "importer/file_format.h"
#include "tests/importer/model_bytes.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;

// A folder of the running test's own.
class LoadModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = absl::StrCat(::testing::TempDir(), "/reusescope_load_", getpid(), "_", test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST_F(LoadModelTest, ReadsRealFilesOfBothExporters) {
  const absl::StatusOr<Model> vgg = LoadModel(ModelPath("vgg16"));
  ASSERT_TRUE(vgg.ok()) << vgg.status();
  EXPECT_EQ(vgg->file, "vgg16.onnx");
  EXPECT_EQ(vgg->producer, "pytorch 2.13.0");
  EXPECT_EQ(vgg->graph.order.size(), 44u);
  EXPECT_EQ(vgg->graph.inputs.size(), 1u);

  const absl::StatusOr<Model> resnet = LoadModel(ModelPath("resnet18"));
  ASSERT_TRUE(resnet.ok()) << resnet.status();
  int parameters = 0, evident_constants = 0, undecided = 0;
  for (const Value& value : resnet->graph.values) {
    if (value.producer != kNoNode || value.kind == ValueKind::kInput) continue;
    parameters += value.kind == ValueKind::kParameter;
    evident_constants += value.kind == ValueKind::kConstant && value.evidence == KindEvidence::kMetadata;
    undecided += value.kind == ValueKind::kConstant && value.evidence == KindEvidence::kNone;
  }
  EXPECT_EQ(parameters, 2) << "fc.weight, fc.bias: the rest was folded";
  EXPECT_EQ(evident_constants, 1) << "folded_from ['val_225', 'val_226']";
  EXPECT_EQ(undecided, 20 + 1) << "convolutions with their batch norm inside, and val_232";
}

TEST_F(LoadModelTest, AMissingFileIsNotFoundAndSimilarNamesAreOffered) {
  WriteFile(folder_ + "/resnet50.onnx", "x");
  WriteFile(folder_ + "/vgg16.onnx", "x");
  WriteFile(folder_ + "/resnet50.txt", "x");
  const absl::Status status = LoadModel(folder_ + "/resnet5O.onnx").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), absl::StrCat(folder_,
                                           "/resnet5O.onnx: no such file; nearest in its folder: resnet50.onnx, "
                                           "vgg16.onnx"));
  EXPECT_EQ(LoadModel(folder_ + "/none/a.onnx").status().message(), folder_ + "/none/a.onnx: no such file");
  EXPECT_EQ(LoadModel("").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(LoadModelTest, AFolderIsNoModel) {
  EXPECT_EQ(LoadModel(folder_).status().message(), absl::StrCat(folder_, ": is a directory, expected a model file"));
}

struct FormatCase {
  std::string bytes;
  const char* complaint;
};

TEST_F(LoadModelTest, OtherFormatsAreNamed) {
  std::string tar(512, '\0');
  tar.replace(0, 5, "model").replace(257, 5, "ustar");
  const FormatCase cases[] = {
      {"", "is empty, expected an ONNX file"},
      {absl::StrCat("PK\x03\x04", std::string(26, '\0'), "model/data.pkl"), "is a zip archive (PyTorch .pt or .pt2)"},
      {"PK\x03\x04 something", "is a zip archive (PyTorch .pt or .pt2, Keras, NumPy?)"},
      {"\x80\x02}q", "is a Python pickle"},
      {"\x1F\x8B\x08", "is gzip data, expected an ONNX file: unpack it first"},
      {tar, "is a tar archive"},
      {"\x89HDF\r\n\x1A\n", "is an HDF5 file"},
      {std::string("\x1C\0\0\0TFL3", 8), "is a TensorFlow Lite model"},
      {std::string("\x40\0\0\0\0\0\0\0{\"w\":{}}", 16), "is a safetensors file, weights without a graph"},
      {"GGUF\x03", "is a GGUF file"},
      {"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file itself"},
      {"<!DOCTYPE html>", "is an HTML or XML page"},
      {"{\"model\": 1}", "is JSON text"},
      {"ir_version: 8\ngraph {\n", "is no Protobuf text of an ONNX model"},
      {"hello\n", "is text, expected an ONNX file, binary or in ONNX's text form, Protobuf's text or JSON"},
      {"../weights/model.onnx\n", "is text that names a file, '../weights/model.onnx', expected an ONNX file: a link"},
      {"<<<<<<< HEAD\n", "is text with git's conflict markers, expected an ONNX file: finish the merge"},
      {"graph(%x : Tensor):\n", "is a printed TorchScript graph, expected an ONNX file: export"},
      {"node {\n", "is a part of a model in Protobuf's text form, expected an ONNX file: put it into graph { ... }"},
      {std::string(100, '\0'), "holds zeros only"},
  };
  for (const FormatCase& c : cases) {
    const absl::Status status = LoadModelFromBytes(c.bytes, "x.onnx").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("x.onnx: ", c.complaint)));
  }
}

TEST_F(LoadModelTest, OnnxFilesAreNotTakenForOthers) {
  for (const char* name : {"lenet5", "vgg16", "resnet18"}) {
    EXPECT_EQ(ForeignFormat(ReadFile(ModelPath(name)).substr(0, kFormatHeadBytes)), std::nullopt) << name;
  }
}

TEST_F(LoadModelTest, AModelHasAGraph) {
  EXPECT_EQ(LoadModelFromBytes("\x08\x08\x12\x02me", "x.onnx").status().message(),
            "x.onnx: found no graph, expected an ONNX model");
}

TEST_F(LoadModelTest, WhatProtobufRefusesIsCorrupt) {
  // model.graph.input.type.sequence_type.elem_type.sequence_type...: nested where nothing is skimmed.
  onnx::ModelProto proto = TextProto("g (float[2] x) => (float[2] y) { y = Relu (x) }");
  auto* type = proto.mutable_graph()->mutable_input(0)->mutable_type();
  for (int i = 0; i < 200; ++i) type = type->mutable_sequence_type()->mutable_elem_type();
  EXPECT_EQ(LoadModelFromBytes(proto.SerializeAsString(), "x.onnx").status().message(),
            "x.onnx: is corrupt or truncated, or nests messages more than 100 deep, expected an ONNX model");
}

// A model that keeps its invariants or a complaint that begins with the file's name.
void ExpectGraphOrComplaint(absl::string_view bytes, absl::string_view what) {
  const absl::StatusOr<Model> model = LoadModelFromBytes(bytes, "bad.onnx");
  if (model.ok()) {
    EXPECT_TRUE(Verify(model->graph, "load", false).ok()) << what;
    return;
  }
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << what << ": " << model.status();
  EXPECT_TRUE(absl::StartsWith(model.status().message(), "bad.onnx: ")) << what << ": " << model.status();
}

// The first nodes of a file with metadata, small enough to break it everywhere.
std::string HeadOfResNet18() {
  onnx::ModelProto proto = ReadModelProto("resnet18");
  auto* graph = proto.mutable_graph();
  graph->mutable_node()->DeleteSubrange(2, graph->node_size() - 2);
  graph->mutable_initializer()->DeleteSubrange(2, graph->initializer_size() - 2);
  graph->mutable_value_info()->DeleteSubrange(2, graph->value_info_size() - 2);
  graph->mutable_output(0)->set_name(graph->node(1).output(0));
  proto.clear_metadata_props();
  graph->clear_metadata_props();
  return proto.SerializeAsString();
}

class BrokenFileTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::string Bytes() const {
    return GetParam() == std::string("lenet5") ? ReadFile(ModelPath("lenet5")) : HeadOfResNet18();
  }
};

TEST_P(BrokenFileTest, IsSoundBeforeItIsBroken) {
  const absl::StatusOr<Model> model = LoadModelFromBytes(Bytes(), "good.onnx");
  EXPECT_TRUE(model.ok()) << model.status();
}

TEST_P(BrokenFileTest, TruncationAtEveryByteGivesAGraphOrAComplaint) {
  const std::string bytes = Bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ExpectGraphOrComplaint(absl::string_view(bytes).substr(0, size), absl::StrCat("first ", size, " bytes"));
  }
}

TEST_P(BrokenFileTest, EveryBitFlippedGivesAGraphOrAComplaint) {
  const std::string bytes = Bytes();
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    ExpectGraphOrComplaint(flipped, absl::StrCat("bit ", bit));
  }
}

TEST_P(BrokenFileTest, EveryByteTakenOutOrDoubledGivesAGraphOrAComplaint) {
  const std::string bytes = Bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    ExpectGraphOrComplaint(absl::StrCat(bytes.substr(0, i), bytes.substr(i + 1)), absl::StrCat("without byte ", i));
    ExpectGraphOrComplaint(absl::StrCat(bytes.substr(0, i), bytes.substr(i)), absl::StrCat("byte ", i, " twice"));
  }
}

INSTANTIATE_TEST_SUITE_P(SmallRealFiles, BrokenFileTest, ::testing::Values("lenet5", "resnet18"),
                         [](const auto& info) { return std::string(info.param); });

TEST(RandomBytesTest, GiveAComplaint) {
  uint64_t state = 1;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes;
    for (int i = 0; i < round % 97; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      bytes.push_back(static_cast<char>(state >> 56));
    }
    ExpectGraphOrComplaint(bytes, absl::StrCat("round ", round));
  }
}

// Where the weights are makes no difference.

// What an analysis can see of a graph, but for the values of floating-point tensors.
std::string Describe(const Graph& graph) {
  std::string text;
  for (const Value& value : graph.values) {
    absl::StrAppend(&text, value.name, " ", TypeString(value.type), " ", ValueKindName(value.kind), " ",
                    value.original_name, " ", static_cast<int>(value.evidence), "\n");
    if (value.literal < 0 || graph.literals[value.literal].ints.empty()) continue;
    for (int64_t element : graph.literals[value.literal].ints) absl::StrAppend(&text, " ", element);
  }
  for (NodeId id : graph.order) {
    const Node& node = graph.node(id);
    absl::StrAppend(&text, node.name, " ", node.module, " ", OpKeyString(node.op), " ",
                    AttributesString(node.attributes), " <- ");
    for (ValueId input : node.inputs) absl::StrAppend(&text, input, " ");
    absl::StrAppend(&text, "\n");
  }
  return text;
}

// Gives every floating-point initializer its payload, in the file.
onnx::ModelProto WithWeightsInline(onnx::ModelProto proto) {
  for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    if (tensor.data_type() != onnx::TensorProto::FLOAT) continue;
    int64_t elements = 1;
    for (int64_t dim : tensor.dims()) elements *= dim;
    tensor.clear_external_data();
    tensor.clear_data_location();
    tensor.set_raw_data(std::string(4 * elements, '\x3F'));
  }
  return proto;
}

onnx::ModelProto WithWeightsAbsent(onnx::ModelProto proto) {
  for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    if (tensor.data_type() != onnx::TensorProto::FLOAT) continue;
    tensor.clear_external_data();
    tensor.clear_data_location();
    tensor.clear_raw_data();
    tensor.clear_float_data();
  }
  return proto;
}

// Moves the payloads of a model with weights inline to `weights.bin`.
onnx::ModelProto WithWeightsExternal(onnx::ModelProto proto, std::string& weights) {
  for (auto& tensor : *proto.mutable_graph()->mutable_initializer()) {
    if (tensor.data_type() != onnx::TensorProto::FLOAT) continue;
    const auto add = [&](const char* key, std::string value) {
      auto* entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(std::move(value));
    };
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
    add("location", "weights.bin");
    add("offset", absl::StrCat(weights.size()));
    add("length", absl::StrCat(tensor.raw_data().size()));
    weights += tensor.raw_data();
    tensor.clear_raw_data();
  }
  return proto;
}

TEST_F(LoadModelTest, WeightsInlineExternalOrAbsentGiveTheSameGraph) {
  for (const char* name : {"lenet5", "resnet18"}) {
    const onnx::ModelProto with_weights = WithWeightsInline(ReadModelProto(name));
    std::string weights;
    const onnx::ModelProto external = WithWeightsExternal(with_weights, weights);
    WriteFile(folder_ + "/inline.onnx", with_weights.SerializeAsString());
    WriteFile(folder_ + "/external.onnx", external.SerializeAsString());
    WriteFile(folder_ + "/absent.onnx", WithWeightsAbsent(with_weights).SerializeAsString());
    WriteFile(folder_ + "/weights.bin", weights);
    const absl::StatusOr<Model> from_inline = LoadModel(folder_ + "/inline.onnx");
    ASSERT_TRUE(from_inline.ok()) << from_inline.status();
    for (const char* other : {"external", "absent"}) {
      const absl::StatusOr<Model> model = LoadModel(absl::StrCat(folder_, "/", other, ".onnx"));
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_EQ(Describe(model->graph), Describe(from_inline->graph)) << name << " " << other;
    }
    std::filesystem::remove(folder_ + "/weights.bin");
    const absl::StatusOr<Model> without_file = LoadModel(folder_ + "/external.onnx");
    ASSERT_TRUE(without_file.ok()) << without_file.status();
    EXPECT_EQ(Describe(without_file->graph), Describe(from_inline->graph)) << name;
  }
}

}  // namespace
}  // namespace reusescope
