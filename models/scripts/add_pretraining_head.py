"""Puts BERT's masked-language head behind the encoder of a BERT export: add_pretraining_head.py IN.onnx HIDDEN OUT.onnx

HIDDEN is the encoder's last value. Dense, GELU, layer norm, and the decoder over all tokens, as in Hugging Face's
BertForPreTraining; weights are external tensors that are not there. The pair head of two classes is left out: it reads
one token.
"""
import sys
import onnx
from onnx import TensorProto, helper

source, hidden, target = sys.argv[1:4]
model = onnx.load(source, load_external_data=False)
graph = model.graph
sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
words, width = next(dims for name, dims in sizes.items() if name.endswith("word_embeddings.weight"))


def parameter(name, *dims):
    tensor = graph.initializer.add(name=f"m.cls.predictions.{name}", data_type=TensorProto.FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor.name


def constant(name, value):
    graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
    return name


def node(op, output, *inputs, **attributes):
    graph.node.append(helper.make_node(op, list(inputs), [output], name=f"/m/cls/{output}", **attributes))
    return output


x = node("MatMul", "head_dense_product", hidden, parameter("transform.dense.weight", width, width))
x = node("Add", "head_dense", x, parameter("transform.dense.bias", width))
e = node("Erf", "head_erf", node("Div", "head_scaled", x, constant("head_root_2", 1.41421356)))
e = node("Add", "head_one_more", e, constant("head_one", 1.0))
x = node("Mul", "head_gelu", node("Mul", "head_product", x, e), constant("head_half", 0.5))
x = node("LayerNormalization", "head_norm", x, parameter("transform.LayerNorm.weight", width),
         parameter("transform.LayerNorm.bias", width), axis=-1)
x = node("MatMul", "head_decoded", x, parameter("decoder.weight", width, words))
node("Add", "head_output", x, parameter("decoder.bias", words))
del graph.output[:]
graph.output.add().CopyFrom(helper.make_tensor_value_info("head_output", TensorProto.FLOAT, None))
onnx.save(model, target)
