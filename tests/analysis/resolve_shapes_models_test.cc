// Every intermediate value of real exports: dtype and shape as onnxruntime produced them (testdata/shapes/*.json), and
// as ONNX's own whole-model inference says wherever it says anything.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "analysis/ir/verify.h"
#include "analysis/transform/resolve_shapes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "importer/load_model.h"
#include "nlohmann/json.hpp"
#include "onnx/defs/operator_sets.h"
#include "onnx/defs/schema.h"
#include "onnx/onnx_pb.h"
#include "onnx/shape_inference/implementation.h"

namespace reusescope {
namespace {

using nlohmann::json;

std::string ModelPath(const std::string& name) { return REUSESCOPE_SOURCE_DIR "/models/" + name + ".onnx"; }

std::vector<std::string> ModelsWithTruth() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(REUSESCOPE_SOURCE_DIR "/tests/analysis/testdata/shapes")) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct Truth {
  ShapeBindings bindings;
  std::map<std::string, std::string> types;
};

Truth LoadTruth(const std::string& name) {
  std::ifstream file(REUSESCOPE_SOURCE_DIR "/tests/analysis/testdata/shapes/" + name + ".json");
  const json truth = json::parse(file);
  Truth result;
  for (const auto& [input, dims] : truth["inputs"].items()) {
    for (const auto& dim : dims) result.bindings.inputs[input].push_back(dim.get<int64_t>());
  }
  result.types = truth["values"].get<std::map<std::string, std::string>>();
  return result;
}

Model Resolved(const std::string& name, const ShapeBindings& bindings) {
  absl::StatusOr<Model> model = LoadModel(ModelPath(name));
  EXPECT_TRUE(model.ok()) << model.status();
  std::vector<std::string> notes;
  const absl::Status status = ResolveShapes(*model, bindings, notes);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Verify(model->graph, "shapes", true).ok()) << Verify(model->graph, "shapes", true);
  EXPECT_TRUE(notes.empty()) << notes[0];
  return *std::move(model);
}

std::map<std::string, Type> TypesByName(const Graph& graph) {
  std::map<std::string, Type> types;
  for (const Value& value : graph.values) types[value.name] = value.type;
  return types;
}

class ModelShapes : public ::testing::TestWithParam<std::string> {};

TEST_P(ModelShapes, EqualOnnxruntime) {
  const Truth truth = LoadTruth(GetParam());
  const Model model = Resolved(GetParam(), truth.bindings);
  const std::map<std::string, Type> types = TypesByName(model.graph);
  ASSERT_GE(truth.types.size(), model.graph.order.size());
  for (const auto& [name, expected] : truth.types) {
    const auto it = types.find(name);
    ASSERT_NE(it, types.end()) << name;
    EXPECT_EQ(TypeString(it->second), expected) << name;
  }
}

void RegisterSchemasOnce() {
  if (onnx::OpSchemaRegistry::Instance()->GetSchema("Conv", 11) == nullptr) onnx::RegisterOnnxOperatorSetSchema();
}

// The type if every dimension is a number, else nothing known.
Type FromProto(const onnx::ValueInfoProto& info) {
  Type type;
  if (!info.type().has_tensor_type() || !info.type().tensor_type().has_shape()) return type;
  type = Type::Tensor(static_cast<DType>(info.type().tensor_type().elem_type()), {});
  for (const auto& dim : info.type().tensor_type().shape().dim()) {
    type.shape.push_back(dim.has_dim_value() ? dim.dim_value() : kUnknownDim);
  }
  return type;
}

// ONNX's answer for every value, with the inputs' shapes filled in and no answers left in the file.
std::map<std::string, Type> OnnxTypes(const std::string& name, const ShapeBindings& bindings) {
  onnx::ModelProto model;
  std::ifstream file(ModelPath(name), std::ios::binary);
  EXPECT_TRUE(model.ParseFromIstream(&file));
  model.mutable_graph()->clear_value_info();
  for (auto& output : *model.mutable_graph()->mutable_output()) {
    output.mutable_type()->mutable_tensor_type()->clear_shape();
  }
  for (auto& input : *model.mutable_graph()->mutable_input()) {
    auto* shape = input.mutable_type()->mutable_tensor_type()->mutable_shape();
    shape->Clear();
    for (int64_t dim : bindings.inputs.at(input.name())) shape->add_dim()->set_dim_value(dim);
  }
  RegisterSchemasOnce();
  onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(),
                                     onnx::ShapeInferenceOptions(false, 0, true));
  std::map<std::string, Type> types;
  for (const auto& info : model.graph().value_info()) types[info.name()] = FromProto(info);
  for (const auto& info : model.graph().output()) types[info.name()] = FromProto(info);
  return types;
}

TEST_P(ModelShapes, AgreeWithOnnxWhereItAnswers) {
  const Truth truth = LoadTruth(GetParam());
  const Model model = Resolved(GetParam(), truth.bindings);
  const std::map<std::string, Type> ours = TypesByName(model.graph);
  int compared = 0;
  for (const auto& [name, theirs] : OnnxTypes(GetParam(), truth.bindings)) {
    const auto it = ours.find(name);
    if (it == ours.end() || !theirs.IsResolved()) continue;
    ++compared;
    EXPECT_EQ(TypeString(it->second), TypeString(theirs)) << name;
  }
  EXPECT_GT(compared, 0);
}

// A batch of three, by flag: the leading dimension of inputs and outputs follows, and nothing else has to be said.
TEST_P(ModelShapes, FollowTheBatch) {
  absl::StatusOr<Model> model = LoadModel(ModelPath(GetParam()));
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<std::string> notes;
  const absl::Status status = ResolveShapes(*model, {.batch = 3, .dims = {}, .inputs = {}}, notes);
  ASSERT_TRUE(status.ok()) << status;
  for (ValueId id : model->graph.inputs) EXPECT_EQ(model->graph.value(id).type.shape[0], 3);
  EXPECT_THAT(notes, ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Exports, ModelShapes, ::testing::ValuesIn(ModelsWithTruth()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

TEST(ModelShapesTest, HaveTruthsForBothExportersAndEveryFamily) {
  EXPECT_THAT(ModelsWithTruth(), ::testing::IsSupersetOf({"bert_base.dynamo18.eval", "bert_base.ts17.train",
                                                          "gpt2.dynamo23.eval", "lstm_lm.ts17.train", "resnet50",
                                                          "t5_small.ts17.eval", "vit_b_16.dynamo20.eval"}));
}

}  // namespace
}  // namespace reusescope
