#include "onnx/defs/schema.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "analysis/schema/node_inference.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "onnx/defs/operator_sets.h"
#include "onnx/defs/operator_sets_ml.h"

namespace reusescope {
namespace {

using ::testing::HasSubstr;

Type F32(Shape shape) { return Type::Tensor(DType::kFloat32, std::move(shape)); }
Type I64(Shape shape) { return Type::Tensor(DType::kInt64, std::move(shape)); }

struct Case {
  OpKey op;
  std::vector<Type> inputs;  // form kUnknown: omitted
  std::vector<Literal> literals = {};
  Attributes attributes = {};
  int num_outputs = 1;
};

NodeQuery QueryOf(const Case& node, std::vector<const Type*>& types, std::vector<const Literal*>& literals) {
  for (const Type& type : node.inputs) types.push_back(type.form == Type::Form::kUnknown ? nullptr : &type);
  for (const Literal& literal : node.literals) literals.push_back(literal.has_data ? &literal : nullptr);
  return {.op = node.op,
          .name = "n",
          .attributes = node.attributes,
          .inputs = types,
          .literals = literals,
          .num_outputs = node.num_outputs};
}

absl::StatusOr<InferredNode> Infer(const Case& node) {
  std::vector<const Type*> types;
  std::vector<const Literal*> literals;
  return InferNode(QueryOf(node, types, literals));
}

absl::StatusOr<std::unique_ptr<Graph>> Body(const Case& node) {
  std::vector<const Type*> types;
  std::vector<const Literal*> literals;
  return SchemaFunctionBody(QueryOf(node, types, literals));
}

Attributes With(absl::string_view name, Attribute value) {
  Attributes attributes;
  attributes.Set(name, std::move(value));
  return attributes;
}

TEST(InferNodeTest, GivesVersionAndShape) {
  const auto conv = Infer(
      {{"", "Conv", 17}, {F32({2, 3, 224, 224}), F32({64, 3, 7, 7})}, {}, With("strides", std::vector<int64_t>{2, 2})});
  ASSERT_TRUE(conv.ok()) << conv.status();
  EXPECT_EQ(conv->since_version, 11);
  EXPECT_EQ(conv->outputs[0], F32({2, 64, 109, 109}));
}

TEST(InferNodeTest, ReadsConstantInputs) {
  const auto reshape = Infer({{"", "Reshape", 18}, {F32({2, 3, 4}), I64({2})}, {{}, Literal::Ints({2}, {0, -1})}});
  ASSERT_TRUE(reshape.ok()) << reshape.status();
  EXPECT_EQ(reshape->outputs[0], F32({2, 12}));
  const auto unknown = Infer({{"", "Reshape", 18}, {F32({2, 3, 4}), I64({2})}});
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_FALSE(unknown->outputs[0].IsResolved());
}

TEST(InferNodeTest, TakesDefaultsOfTheSchemaForAbsentAttributes) {  // ONNX's own rule of STFT takes onesided for 0
  const auto stft = Infer({{"", "STFT", 17},
                           {F32({1, 128, 1}), I64({}), Type{}, I64({})},
                           {{}, Literal::Ints({}, {8}), {}, Literal::Ints({}, {16})}});
  ASSERT_TRUE(stft.ok()) << stft.status();
  EXPECT_EQ(stft->outputs[0], F32({1, 15, 9, 2}));
}

TEST(InferNodeTest, RulesOfOpset1AreThoseOfTheNextVersion) {
  const auto neg = Infer({{"", "Neg", 1}, {F32({2, 3})}});
  ASSERT_TRUE(neg.ok()) << neg.status();
  EXPECT_EQ(neg->since_version, 1);
  EXPECT_EQ(neg->outputs[0], F32({2, 3}));
}

TEST(InferNodeTest, TakesAnOperatorYoungerThanTheModelAtItsFirstVersion) {
  const auto norm = Infer({{"", "LayerNormalization", 11}, {F32({2, 8}), F32({8}), F32({8})}});
  ASSERT_TRUE(norm.ok()) << norm.status();
  EXPECT_EQ(norm->since_version, 17);
  EXPECT_EQ(norm->outputs[0], F32({2, 8}));
}

TEST(InferNodeTest, NamesNodeOperandFoundAndExpected) {
  const struct {
    Case node;
    std::vector<std::string> parts;
  } kCases[] = {
      {{{"", "MatMul", 13}, {F32({2, 3}), F32({4, 5})}}, {"node 'n' (MatMul-13): ", "float32[2, 3], float32[4, 5]"}},
      {{{"", "MatMul", 13}, {F32({2, 3})}}, {"found 1 inputs, expected 2"}},
      {{{"", "MatMul", 13}, {F32({2, 3}), F32({3, 5})}, {}, {}, 2}, {"found 2 outputs, expected 1"}},
      {{{"", "MatMul", 13}, {F32({2, 3}), Type{}}}, {"input 1 (B) is omitted, expected a value"}},
      {{{"", "Add", 14}, {F32({2}), I64({2})}}, {"input 1 (B) is int64[2], expected float32 as input 0"}},
      {{{"", "Concat", 13}, {F32({2})}}, {"attribute 'axis' is missing"}},
      {{{"", "Relu", 14}, {{.form = Type::Form::kSequence, .dtype = DType::kFloat32}}},
       {"input 0 (X)", "expected a tensor"}},
      {{{"", "Cast", 13}, {F32({2})}}, {"attribute 'to' is missing"}},
  };
  for (const auto& [node, parts] : kCases) {
    const auto result = Infer(node);
    ASSERT_FALSE(result.ok()) << node.op.type;
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    for (const std::string& part : parts) EXPECT_THAT(result.status().message(), HasSubstr(part));
    EXPECT_THAT(result.status().message(), ::testing::Not(HasSubstr("ShapeInferenceError")));
  }
}

TEST(InferNodeTest, UnknownOperatorIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(Infer({{"", "Convolution", 17}, {F32({1})}}).status()));
  EXPECT_TRUE(absl::IsNotFound(Infer({{"com.example", "Conv", 17}, {F32({1})}}).status()));
  EXPECT_EQ(SchemaSinceVersion({"", "LayerNormalization", 16}), std::nullopt);
  EXPECT_EQ(SchemaSinceVersion({"", "LayerNormalization", 21}), 17);
}

// What ONNX itself registers is what the table that CMake reads out of its headers has.
TEST(SchemaTableTest, HoldsEverySchemaOfOnnx) {
  if (onnx::OpSchemaRegistry::Instance()->GetSchema("Conv", 11) == nullptr) onnx::RegisterOnnxOperatorSetSchema();
  std::set<std::string> registered, ours;
  for (const onnx::OpSchema& schema : onnx::OpSchemaRegistry::get_all_schemas_with_history()) {
    if (schema.domain().empty()) registered.insert(absl::StrCat(schema.Name(), "-", schema.SinceVersion()));
  }
  for (int version = 1; version <= LatestOpset(""); ++version) {
    for (const OpKey& op : SchemasOfOpset("", version)) ours.insert(absl::StrCat(op.type, "-", op.since_version));
  }
  EXPECT_GT(registered.size(), 500u);
  for (const std::string& name : registered) {
    const OpKey op{"", name.substr(0, name.rfind('-')), std::stoi(name.substr(name.rfind('-') + 1))};
    const auto info = DescribeSchema(op);
    ASSERT_TRUE(info.ok()) << name;
    EXPECT_EQ(info->op.since_version, op.since_version) << name;
    EXPECT_TRUE(info->deprecated || ours.contains(name)) << name;
  }
}

TEST(SchemaInfoTest, DescribesOperands) {
  const auto info = DescribeSchema({"", "BatchNormalization", 17});
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->op.since_version, 15);
  ASSERT_EQ(info->inputs.size(), 5u);
  EXPECT_EQ(info->inputs[1].name, "scale");
  EXPECT_TRUE(info->inputs[1].differentiable);
  EXPECT_TRUE(info->inputs[1].floating_point);
  EXPECT_FALSE(DescribeSchema({"", "Gather", 17})->inputs[1].differentiable);
  EXPECT_FALSE(DescribeSchema({"", "Gather", 17})->inputs[1].floating_point);
  EXPECT_EQ(info->outputs[1].option, FormalParameter::Option::kOptional);
  const auto concat = DescribeSchema({"", "Concat", 17});
  ASSERT_TRUE(concat.ok());
  EXPECT_EQ(concat->inputs[0].option, FormalParameter::Option::kVariadic);
  EXPECT_FALSE(DescribeSchema({"", "Gelu", 20})->inputs.empty());
  EXPECT_TRUE(DescribeSchema({"", "Gelu", 20})->has_function_body);
  EXPECT_TRUE(absl::IsNotFound(DescribeSchema({"", "Gelu", 19}).status()));
}

TEST(SchemaInfoTest, OpsetHasTheNewestVersionOfEachOperatorOnce) {
  std::set<std::string> types;
  for (const OpKey& op : SchemasOfOpset("", 17)) {
    EXPECT_TRUE(types.insert(op.type).second) << op.type;
    EXPECT_LE(op.since_version, 17);
  }
  EXPECT_TRUE(types.contains("LayerNormalization"));
  EXPECT_FALSE(types.contains("Gelu"));
  EXPECT_FALSE(types.contains("Upsample")) << "deprecated since opset 10";
  EXPECT_GE(LatestOpset(""), 20);
  EXPECT_GE(LatestOpset("ai.onnx.ml"), 3);
  EXPECT_EQ(LatestOpset("com.example"), 0);
}

TEST(SchemaFunctionBodyTest, FillsInAttributes) {
  const auto body = Body({{"", "Celu", 12}, {F32({4})}, {}, With("alpha", 2.0)});
  ASSERT_TRUE(body.ok()) << body.status();
  ASSERT_NE(*body, nullptr);
  bool found = false;
  for (NodeId id : (*body)->order) {
    const Node& node = (*body)->node(id);
    const Literal* value = node.op.type == "Constant" ? node.attributes.Tensor("value") : nullptr;
    found = found || (value != nullptr && value->floats == std::vector<double>{2.0});
    for (const auto& [name, attribute] : node.attributes) EXPECT_FALSE(std::holds_alternative<AttributeRef>(attribute));
  }
  EXPECT_TRUE(found);
}

TEST(SchemaFunctionBodyTest, DependsOnTheNode) {
  // The body of Clip reads its bounds only if they are there.
  const auto count = [](const Case& node) {
    const auto body = Body(node);
    EXPECT_TRUE(body.ok()) << body.status();
    return body.ok() && *body != nullptr ? (*body)->order.size() : 0;
  };
  const size_t without = count({{"", "Clip", 13}, {F32({4})}});
  const size_t with = count({{"", "Clip", 13}, {F32({4}), F32({}), F32({})}});
  EXPECT_GT(without, 0u);
  EXPECT_GT(with, without);
}

TEST(SchemaFunctionBodyTest, NoBodyIsNull) {
  const auto body = Body({{"", "Conv", 13}, {F32({1, 1, 4, 4}), F32({1, 1, 3, 3})}});
  ASSERT_TRUE(body.ok());
  EXPECT_EQ(*body, nullptr);
}

}  // namespace
}  // namespace reusescope
