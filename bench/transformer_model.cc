#include "bench/transformer_model.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace reusescope {
namespace {

constexpr int64_t kWidth = 64, kHeads = 4, kTokens = 16, kWords = 128;

class Writer {
 public:
  Writer(onnx::GraphProto& graph, int64_t opset) : graph_(graph), opset_(opset) {}

  std::string Op(const std::string& type, const std::vector<std::string>& inputs) {
    onnx::NodeProto& node = *graph_.add_node();
    node.set_name(absl::StrCat("/", type, "_", graph_.node_size()));
    node.set_op_type(type);
    for (const std::string& input : inputs) node.add_input(input);
    node.add_output(absl::StrCat(node.name(), "_output_0"));
    return node.output(0);
  }

  void Ints(const std::string& name, const std::vector<int64_t>& values) {  // of the last node
    onnx::AttributeProto& attribute = Attribute(name);
    attribute.set_type(onnx::AttributeProto::INTS);
    for (int64_t value : values) attribute.add_ints(value);
  }
  void Int(const std::string& name, int64_t value) {
    onnx::AttributeProto& attribute = Attribute(name);
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(value);
  }

  std::string Constant(const std::vector<int64_t>& values, bool scalar = false) {
    std::string name = Op("Constant", {});
    onnx::TensorProto& tensor = ConstantTensor(onnx::TensorProto::INT64);
    if (!scalar) tensor.add_dims(static_cast<int64_t>(values.size()));
    for (int64_t value : values) tensor.add_int64_data(value);
    return name;
  }
  std::string Scalar(float value) {
    std::string name = Op("Constant", {});
    ConstantTensor(onnx::TensorProto::FLOAT).add_float_data(value);
    return name;
  }

  std::string Weight(const std::vector<int64_t>& shape) {
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(absl::StrCat("weight.", graph_.initializer_size()));
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    size_t elements = 1;
    for (int64_t dim : shape) {
      tensor.add_dims(dim);
      elements *= static_cast<size_t>(dim);
    }
    tensor.set_raw_data(std::string(elements * sizeof(float), '\1'));
    return tensor.name();
  }

  std::string Linear(const std::string& x, int64_t from, int64_t to) {
    const std::string product = Op("MatMul", {x, Weight({from, to})});
    return Op("Add", {Weight({to}), product});
  }

  // x reshaped to its first two dimensions and `rest`.
  std::string Reshape(const std::string& x, const std::vector<int64_t>& rest) {
    const std::string shape = Op("Shape", {x});
    std::vector<std::string> dims;
    for (int64_t d : {0, 1}) {
      const std::string dim = Op("Gather", {shape, Constant({d}, /*scalar=*/true)});
      dims.push_back(Op("Unsqueeze", {dim, Constant({0})}));
    }
    for (int64_t dim : rest) dims.push_back(Constant({dim}));
    const std::string target = Op("Concat", dims);
    Int("axis", 0);
    return Op("Reshape", {x, target});
  }

  std::string Transpose(const std::string& x, const std::vector<int64_t>& perm) {
    std::string name = Op("Transpose", {x});
    Ints("perm", perm);
    return name;
  }

  std::string RmsNorm(const std::string& x) {
    std::vector<std::string> operands = {Op("Pow", {x, Scalar(2.0f)})};
    if (opset_ >= 18) operands.push_back(Constant({-1}));
    const std::string mean = Op("ReduceMean", operands);
    if (opset_ < 18) Ints("axes", {-1});
    const std::string root = Op("Sqrt", {Op("Add", {mean, Scalar(1e-6f)})});
    return Op("Mul", {Weight({kWidth}), Op("Div", {x, root})});
  }

  std::string Gelu(const std::string& x) {
    const std::string erf = Op("Erf", {Op("Div", {x, Scalar(std::sqrt(2.0f))})});
    const std::string product = Op("Mul", {x, Op("Add", {erf, Scalar(1.0f)})});
    return Op("Mul", {product, Scalar(0.5f)});
  }

  std::string Attention(const std::string& x) {
    const auto heads = [&](const std::vector<int64_t>& perm) {
      return Transpose(Reshape(Linear(x, kWidth, kWidth), {kHeads, kWidth / kHeads}), perm);
    };
    const std::string q = heads({0, 2, 1, 3}), k = heads({0, 2, 3, 1}), v = heads({0, 2, 1, 3});
    const float scale = std::sqrt(static_cast<float>(kHeads) / static_cast<float>(kWidth));
    const std::string scores = Op("Mul", {Op("MatMul", {q, k}), Scalar(scale)});
    const std::string weights = Op("Softmax", {scores});
    Int("axis", -1);
    const std::string mixed = Transpose(Op("MatMul", {weights, v}), {0, 2, 1, 3});
    return Linear(Reshape(mixed, {kWidth}), kWidth, kWidth);
  }

  std::string Layer(const std::string& x) {
    const std::string y = Op("Add", {x, Attention(RmsNorm(x))});
    return Op("Add", {y, Linear(Gelu(Linear(RmsNorm(y), kWidth, 4 * kWidth)), 4 * kWidth, kWidth)});
  }

 private:
  onnx::AttributeProto& Attribute(const std::string& name) {
    onnx::AttributeProto& attribute = *graph_.mutable_node(graph_.node_size() - 1)->add_attribute();
    attribute.set_name(name);
    return attribute;
  }
  onnx::TensorProto& ConstantTensor(int type) {
    onnx::AttributeProto& attribute = Attribute("value");
    attribute.set_type(onnx::AttributeProto::TENSOR);
    attribute.mutable_t()->set_data_type(type);
    return *attribute.mutable_t();
  }

  onnx::GraphProto& graph_;
  int64_t opset_;
};

void Declare(onnx::ValueInfoProto& value, const std::string& name, int type, const std::vector<int64_t>& shape) {
  value.set_name(name);
  auto* tensor = value.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  for (int64_t dim : shape) tensor->mutable_shape()->add_dim()->set_dim_value(dim);
}

}  // namespace

onnx::ModelProto TransformerModel(int64_t nodes, int64_t opset) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(opset);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name("transformer");
  Declare(*graph.add_input(), "ids", onnx::TensorProto::INT64, {2, kTokens});
  Writer writer(graph, opset);
  std::string x = writer.Op("Gather", {writer.Weight({kWords, kWidth}), "ids"});
  while (graph.node_size() < nodes) x = writer.Layer(x);
  const std::string logits = writer.Linear(x, kWidth, kWords);
  Declare(*graph.add_output(), logits, onnx::TensorProto::FLOAT, {2, kTokens, kWords});
  return model;
}

}  // namespace reusescope
