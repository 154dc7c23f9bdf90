"""Gives an export another sequence length: set_sequence.py IN.onnx OLD NEW OUT.onnx [VALUE]

An export with a fixed length has it in its inputs, in int64 constants that reshape, and in the shapes of integer
initializers (position ids). Each OLD there becomes NEW; weights stay as they are. Check first that OLD is no other
dimension of the model. With VALUE the model ends there: what only a head behind it needs is taken out.
"""
import sys
import onnx
from onnx import numpy_helper

source, old, new, target = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = onnx.load(source, load_external_data=False)
graph = model.graph


def renumber(dims):
    for i, dim in enumerate(dims):
        if dim == old:
            dims[i] = new


def end_at(name):
    """Makes `name` the one output, and drops every node and initializer that it does not need."""
    needed, kept = {name}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(initializers)
    graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))


for tensor in graph.initializer:
    if tensor.data_type == onnx.TensorProto.INT64 and old in tensor.dims:
        renumber(tensor.dims)
        for entry in tensor.external_data:
            if entry.key == "length":
                entry.value = str(int(entry.value) * new // old)
for node in graph.node:
    for attribute in node.attribute:
        if attribute.name == "value_ints":
            renumber(attribute.ints)
        if attribute.name == "value_int" and attribute.i == old:
            attribute.i = new
        if attribute.name == "value" and attribute.t.data_type == onnx.TensorProto.INT64:
            value = numpy_helper.to_array(attribute.t).copy()
            value[value == old] = new
            attribute.t.CopyFrom(numpy_helper.from_array(value, attribute.t.name))
for value in list(graph.input) + list(graph.output):
    for dim in value.type.tensor_type.shape.dim:
        if dim.dim_value == old:
            dim.dim_value = new
del graph.value_info[:]
if len(sys.argv) > 5:
    end_at(sys.argv[5])
onnx.save(model, target)
