"""Models with control flow and functions, and the gradients of the same computations in plain PyTorch: truths of check_models.py.

    python make_control_flow.py FOLDER        # torch 2.13.0, onnx 1.23.2; nothing else runs this

Every model is written in ONNX's text form, beside it what it computes as a Python function of its inputs and weights. Gives
FOLDER/<name>.control.onnx and .npz as make_models.py does.
"""

import os
import sys

import numpy as np
import onnx
import onnx.parser
import torch
from onnx import numpy_helper

MODELS = {}


def model(name, inputs, weights, text, opset=18, functions="", ir=8):
    """Registers the decorated function(inputs and weights by name) -> dict of outputs. Shapes are drawn."""

    def register(function):
        local = ', "local" : 1' if functions else ""
        head = f'<ir_version: {ir}, opset_import: ["" : {opset}{local}]>'
        MODELS[name] = (function, inputs, weights, f"{head}\n{text}\n{functions}")
        return function

    return register


BRANCHES = """
g (float[3,4] x) => (float[3,5] y)
{ total = ReduceSum <keepdims = 0> (x)
  zero = Constant <value_float = 0.0> ()
  positive = Greater (total, zero)
  y = If (positive) <
    then_branch = t () => (float[3,5] a) { p = Gemm (x, w, b)  a = Relu (p) },
    else_branch = e () => (float[3,5] c) { q = MatMul (x, v)  r = Tanh (q)  s = MatMul (x, w)  c = Mul (r, s) }> }"""


def branches(sign):
    def compute(x, w, b, v):
        return {"y": torch.relu(x @ w + b) if x.sum() > 0 else torch.tanh(x @ v) * (x @ w)}
    model(f"if_{sign}", {"x": (3, 4, 1.0 if sign == "then" else -1.0)}, {"w": (4, 5), "b": (5,), "v": (4, 5)}, BRANCHES)(compute)


branches("then")
branches("else")


@model("if_of_two_outputs", {"x": (2, 3)}, {"w": (3,)}, """
g (float[2,3] x) => (float[2,3] y)
{ zero = Constant <value_float = 0.0> ()
  n = ReduceMax <keepdims = 0> (x)
  c = Less (n, zero)
  h = Mul (x, w)
  p, q = If (c) <
    then_branch = t () => (float[2,3] a, float[2,3] b) { a = Identity (h)  b = Exp (h) },
    else_branch = e () => (float[2,3] a2, float[2,3] b2) { a2 = Sin (x)  b2 = Identity (a2) }>
  y = Mul (p, q) }""")
def if_of_two_outputs(x, w):
    h = x * w
    p, q = (h, h.exp()) if x.max() < 0 else (x.sin(), x.sin())
    return {"y": p * q}


@model("loop_fixed", {"x": (3, 4), "h0": (3, 4)}, {"w": (4, 4), "b": (4,)}, """
g (float[3,4] x, float[3,4] h0) => (float[3,4] h, float[5,3,4] all)
{ trips = Constant <value_int = 5> ()
  on = Constant <value = bool[1] {1}> ()
  h, all = Loop (trips, on, h0) <body = body (int64 i, bool c, float[3,4] s) => (bool c2, float[3,4] s2, float[3,4] out)
    { p = MatMul (s, w)  q = Add (p, b)  r = Add (q, x)  s2 = Tanh (r)  out = Mul (s2, x)  c2 = Identity (c) }> }""")
def loop_fixed(x, h0, w, b):
    h, outs = h0, []
    for _ in range(5):
        h = torch.tanh(h @ w + b + x)
        outs.append(h * x)
    return {"h": h, "all": torch.stack(outs)}


@model("loop_while", {"x": (3, 4)}, {"w": (4,)}, """
g (float[3,4] x) => (float[3,4] h)
{ trips = Constant <value_int = 20> ()
  on = Constant <value = bool[1] {1}> ()
  limit = Constant <value_float = 40.0> ()
  h = Loop (trips, on, x) <body = body (int64 i, bool c, float[3,4] s) => (bool c2, float[3,4] s2)
    { p = Mul (s, w)  s2 = Add (s, p)  e = Mul (s2, s2)  n = ReduceSum <keepdims = 0> (e)  c2 = Less (n, limit) }> }""")
def loop_while(x, w):
    h = x
    while True:
        h = h + h * w
        if not (h * h).sum() < 40:
            return {"h": h}


@model("loop_counts", {"x": (2, 3)}, {"w": (2, 3)}, """
g (float[2,3] x) => (float[2,3] y)
{ trips = Constant <value_int = 4> ()
  on = Constant <value = bool[1] {1}> ()
  y = Loop (trips, on, x) <body = body (int64 i, bool c, float[2,3] s) => (bool c2, float[2,3] s2)
    { f = Cast <to = 1> (i)  p = Mul (w, f)  s2 = Add (s, p)  c2 = Identity (c) }> }""")
def loop_counts(x, w):
    for i in range(4):
        x = x + w * i
    return {"y": x}


@model("loop_adds", {"x": (2, 3)}, {"w": (2, 3)}, """
g (float[2,3] x) => (float[2,3] y)
{ trips = Constant <value_int = 3> ()
  y = Loop (trips, , x) <body = body (int64 i, bool c, float[2,3] s) => (bool c2, float[2,3] s2)
    { s2 = Add (s, w)  c2 = Identity (c) }> }""")
def loop_adds(x, w):
    return {"y": x + 3 * w}


@model("loop_own_weights", {"x": (2, 4, 8, 8)}, {"k": (4, 4, 3, 3), "scale": (4, 8, 8)}, """
g (float[2,4,8,8] x) => (float[2,4,8,8] y)
{ trips = Constant <value_int = 3> ()
  on = Constant <value = bool[1] {1}> ()
  y = Loop (trips, on, x) <body = body (int64 i, bool c, float[2,4,8,8] s) => (bool c2, float[2,4,8,8] s2)
    { p = Conv <pads = [1,1,1,1]> (s, k)
      m = LayerNormalization <axis = 1> (p, scale)
      n = LpNormalization <axis = 1, p = 2> (m)
      s2 = Add (n, s)  c2 = Identity (c) }> }""")
def loop_own_weights(x, k, scale):
    for _ in range(3):
        m = torch.nn.functional.layer_norm(torch.nn.functional.conv2d(x, k, padding=1), (4, 8, 8), scale)
        x = m / m.norm(dim=1, keepdim=True) + x
    return {"y": x}


SCAN = """
g (float[2,3] h0, %s xs) => (float[2,3] h, %s ys)
{ h, ys = Scan <num_scan_inputs = 1, %s> (h0, xs) <body = body (float[2,3] s, float[2,4] x) => (float[2,3] s2, float[2,3] y)
    { p = MatMul (x, w)  q = MatMul (s, r)  a = Add (p, q)  s2 = Tanh (a)  y = Mul (s2, s2) }> }"""


def scanned(h, xs, w, r, backwards):
    ys = [None] * len(xs)
    for t in reversed(range(len(xs))) if backwards else range(len(xs)):
        h = torch.tanh(xs[t] @ w + h @ r)
        ys[t] = h * h
    return h, ys


def scan(name, xs, ys, form, in_axis, out_axis, in_back, out_back):
    text = SCAN.replace("> (h0, xs) <body", ", body").replace("<num_scan_inputs = 1, %s,", "(h0, xs) <num_scan_inputs = 1, %s,")

    def compute(h0, xs, w, r):
        steps = list(xs.unbind(in_axis))
        h, outs = scanned(h0, steps, w, r, in_back)
        if in_back != out_back:
            outs.reverse()
        return {"h": h, "ys": torch.stack(outs, out_axis)}
    dims = lambda shape: "float[" + ",".join(map(str, shape)) + "]"
    model(name, {"h0": (2, 3), "xs": xs}, {"w": (4, 3), "r": (3, 3)}, text % (dims(xs), dims(ys), form))(compute)


scan("scan_forward", (5, 2, 4), (5, 2, 3), "scan_input_axes = [0]", 0, 0, False, False)
scan("scan_backward", (2, 5, 4), (2, 3, 5),
     "scan_input_axes = [1], scan_output_axes = [2], scan_input_directions = [1], scan_output_directions = [1]", 1, 2, True, True)
scan("scan_mixed", (2, 4, 5), (2, 5, 3),
     "scan_input_axes = [-1], scan_output_axes = [1], scan_input_directions = [1], scan_output_directions = [0]", 2, 1, True, False)


@model("nested", {"x": (3, 4)}, {"w": (4, 4), "v": (4,), "u": (4,)}, """
g (float[3,4] x) => (float[3,4] y)
{ trips = Constant <value_int = 3> ()
  two = Constant <value_int = 2> ()
  on = Constant <value = bool[1] {1}> ()
  y = Loop (trips, on, x) <body = outer (int64 i, bool c, float[3,4] s) => (bool c2, float[3,4] s2)
    { one = Constant <value_int = 1> ()
      first = Less (i, one)
      h = MatMul (s, w)
      m = If (first) <
        then_branch = t () => (float[3,4] a) { a = Mul (h, v) },
        else_branch = e () => (float[3,4] b)
          { b = Loop (two, c, h) <body = inner (int64 j, bool d, float[3,4] z) => (bool d2, float[3,4] z2)
              { o = Mul (z, u)  z2 = Sin (o)  d2 = Identity (d) }> }>
      s2 = Add (m, x)  c2 = Identity (c) }> }""")
def nested(x, w, v, u):
    s = x
    for i in range(3):
        h = s @ w
        if i < 1:
            m = h * v
        else:
            m = h
            for _ in range(2):
                m = torch.sin(m * u)
        s = m + x
    return {"y": s}


@model("function_old", {"x": (3, 4)}, {"w": (4, 4), "s": (4,), "t": (4,)}, """
g (float[3,4] x) => (float[3,4] y) { h = local.layer <alpha = 0.3> (x, w, s, t)  y = local.layer (h, w, s, t) }""", opset=14,
       functions="""
<opset_import: ["" : 14, "local" : 1], domain: "local"> layer <alpha: float = 0.1> (a, m, s, t) => (o)
{ p = MatMul (a, m)  q = LeakyRelu <alpha : float = @alpha> (p)  n = local.norm (q, s, t)  o = Add (n, a) }
<opset_import: ["" : 14], domain: "local"> norm (a, s, t) => (o)
{ m = ReduceMean <axes = [-1]> (a)  d = Sub (a, m)  e = Mul (d, d)  v = ReduceMean <axes = [-1]> (e)
  k = Constant <value_float = 0.1> ()  u = Add (v, k)  r = Sqrt (u)  f = Div (d, r)  c = Mul (f, s)  o = Add (c, t) }""")
def function_old(x, w, s, t):
    for alpha in (0.3, 0.1):
        q = torch.nn.functional.leaky_relu(x @ w, alpha)
        d = q - q.mean(-1, keepdim=True)
        x = d / (d.pow(2).mean(-1, keepdim=True) + 0.1).sqrt() * s + t + x
    return {"y": x}


@model("function_loop", {"x": (3, 4)}, {"w": (4,)}, """
g (float[3,4] x) => (float[3,4] y) { y = local.power (x, w) }""", opset=20, functions="""
<opset_import: ["" : 20], domain: "local"> power (a, m) => (o)
{ n = Constant <value_int = 3> ()
  zero = Constant <value_int = 0> ()
  on = Less (zero, n)
  o = Loop (n, on, a) <body = body (int64 i, bool c, float[3,4] s) => (bool c2, float[3,4] s2)
    { p = Mul (s, m)  s2 = Tanh (p)  c2 = Identity (c) }> }""")
def function_loop(x, w):
    for _ in range(3):
        x = torch.tanh(x * w)
    return {"y": x}


@model("sequences", {"x": (6, 4)}, {"w": (4,)}, """
g (float[6,4] x) => (float[8,4] y)
{ h = Mul (x, w)
  two = Constant <value_int = 2> ()
  parts = SplitToSequence <axis = 0> (h, two)
  one = Constant <value_int = 1> ()
  middle = SequenceAt (parts, one)
  e = Exp (middle)
  more = SequenceInsert (parts, e, one)
  y = ConcatFromSequence <axis = 0> (more) }""")
def sequences(x, w):
    a, b, c = (x * w).split(2)
    return {"y": torch.cat([a, b.exp(), b, c])}


def draw(spec, generator):
    shift = 0.0
    if isinstance(spec[-1], float):
        *spec, shift = spec
    return (torch.randn(*spec, generator=generator) * 0.6 + shift).requires_grad_()


def make(name, folder):
    function, inputs, weights, text = MODELS[name]
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    values = {key: draw(spec, generator) for key, spec in (inputs | weights).items()}
    proto = onnx.parser.parse_model(text)
    # Of a model whose weights stand in the body itself, the body stores them.
    owner = proto.graph
    if "own_weights" in name:
        owner = next(a.g for node in proto.graph.node for a in node.attribute if a.name == "body")
    owner.initializer.extend(numpy_helper.from_array(values[key].detach().numpy(), key) for key in weights)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == onnx.TensorProto.BOOL:
                del attribute.t.dims[:]  # a scalar
    onnx.checker.check_model(proto)
    outputs = function(**values)
    seeds = {key: torch.randn(value.shape, generator=generator) for key, value in outputs.items()}
    sum((outputs[key] * seeds[key]).sum() for key in outputs).backward()
    zero = lambda value: torch.zeros_like(value) if value.grad is None else value.grad
    arrays = {f"in.{key}": values[key].detach() for key in inputs} | {f"out.{key}": y.detach() for key, y in outputs.items()}
    arrays |= {f"seed.{key}": seed for key, seed in seeds.items()}
    arrays |= {f"grad_in.{key}": zero(values[key]) for key in inputs} | {f"grad.{key}": zero(values[key]) for key in weights}
    path = os.path.join(folder, f"{name}.control.onnx")
    onnx.save(proto, path)
    np.savez_compressed(path[:-5] + ".npz", **{key: value.numpy() for key, value in arrays.items()})


def main():
    folder, names = sys.argv[1], sys.argv[2:] or list(MODELS)
    os.makedirs(folder, exist_ok=True)
    for name in names:
        try:
            make(name, folder)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)


if __name__ == "__main__":
    main()
