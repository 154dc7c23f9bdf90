"""One operator at a time: what PyTorch's autograd says of it, in float64. The truths of check_autograd.py.

    python make_autograd.py autograd.npz        # torch 2.13.0; nothing else runs this

A case is an ONNX node, what PyTorch has for it, and operands: shapes are drawn and differentiated, lists are differentiated
at just these numbers (ties, edges), arrays are constants, None is left out. Kept are the operands, an output gradient,
the outputs and autograd's gradients: all numbers in one vector, and what they belong to as JSON.
"""

import itertools
import json
import sys
import zlib

import numpy as np
import torch
import torch.nn.functional as F

CASES = []


def case(operator, function, *operands, opset=21, outputs=1, take=None, low=-2.0, high=2.0, runtime="reference",
         single=False, **attributes):
    """`function` gets every operand as a tensor (None where left out) and gives the outputs `take` (default: all).
    `single`: run in float32, where ONNX's evaluator has no other; `runtime`: or onnxruntime, where it lacks the form."""
    CASES.append((operator, function, operands, attributes, {"outputs": outputs, "opset": opset, "low": low, "high": high,
                                                            "take": take, "runtime": runtime,
                                                            "single": single or runtime != "reference"}))


def ints(*values):
    return np.array(values, np.int64)


def doubles(*values):
    return np.array(values, np.float64)


EDGES = [[-3.0, -1.0, -0.5, 0.0], [0.5, 1.0, 3.0, 6.0]]


def elementwise():
    for operator, function in {
            "Relu": F.relu, "LeakyRelu": lambda x: F.leaky_relu(x, 0.01), "Sigmoid": torch.sigmoid, "Tanh": torch.tanh,
            "Mish": F.mish, "HardSwish": F.hardswish, "Elu": F.elu, "Selu": F.selu, "Softplus": F.softplus,
            "Softsign": F.softsign, "Exp": torch.exp, "Abs": torch.abs, "Neg": torch.neg, "Sin": torch.sin, "Cos": torch.cos,
            "Tan": torch.tan, "Sinh": torch.sinh, "Cosh": torch.cosh, "Atan": torch.atan, "Asinh": torch.asinh,
            "Identity": torch.clone, "ThresholdedRelu": lambda x: F.threshold(x, 1.0, 0.0)}.items():
        case(operator, function, (3, 5), low=-1.4, high=1.4)
        if operator not in ("Tan", "HardSwish"):
            case(operator, function, EDGES)
    case("HardSwish", F.hardswish, [[-4.0, -1.0, 0.0], [2.0, 2.5, 5.0]])
    for operator, function, low, high in [
            ("Log", torch.log, 0.2, 3), ("Sqrt", torch.sqrt, 0.2, 3), ("Reciprocal", torch.reciprocal, 0.3, 2),
            ("Asin", torch.asin, -0.9, 0.9), ("Acos", torch.acos, -0.9, 0.9), ("Atanh", torch.atanh, -0.9, 0.9),
            ("Acosh", torch.acosh, 1.2, 3)]:
        case(operator, function, (3, 5), low=low, high=high)
    for operator, function in {"Erf": torch.erf, "Gelu": F.gelu, "Celu": F.celu}.items():
        case(operator, function, (3, 5), single=True)  # the evaluator has no other erf, ONNX no other Celu
    case("Gelu", lambda x: F.gelu(x, approximate="tanh"), (3, 5), approximate="tanh")
    case("Celu", lambda x: F.celu(x, 0.6), EDGES, single=True, alpha=0.6)
    case("LeakyRelu", lambda x: F.leaky_relu(x, 0.2), EDGES, alpha=0.2)
    case("LeakyRelu", lambda x: F.leaky_relu(x, -0.3), (4, 5), alpha=-0.3)
    case("Elu", lambda x: F.elu(x, 0.7), EDGES, alpha=0.7)
    case("Selu", lambda x: 1.5 * torch.where(x > 0, x, 0.4 * torch.expm1(x)), (3, 5), alpha=0.4, gamma=1.5)
    case("ThresholdedRelu", lambda x: F.threshold(x, 0.5, 0.0), EDGES, alpha=0.5)
    case("HardSigmoid", F.hardsigmoid, (4, 5), low=-4, high=4, alpha=1 / 6, beta=0.5)
    case("HardSigmoid", lambda x: F.hardtanh(0.3 * x + 0.4, 0, 1), (4, 5), low=-3, high=3, alpha=0.3, beta=0.4)
    for lambd in [0.3, 0.5, 1.0]:
        case("Shrink", lambda x, l=lambd: F.softshrink(x, l), EDGES, lambd=lambd, bias=lambd)
        case("Shrink", lambda x, l=lambd: F.hardshrink(x, l), EDGES, lambd=lambd)
    case("Swish", F.silu, (3, 5), opset=24)
    case("Swish", lambda x: x * torch.sigmoid(1.7 * x), (3, 5), opset=24, alpha=1.7)
    pairs = [((3, 4), (3, 4)), ((3, 4), (4,)), ((1, 4), (3, 1)), ((2, 3, 4), ()), ((4,), (2, 3, 4))]
    for a, b in pairs:
        case("Add", torch.add, a, b)
        case("Sub", torch.sub, a, b)
        case("Mul", torch.mul, a, b)
        case("Div", torch.div, a, b, low=0.5)
        case("Pow", torch.pow, a, b, low=0.5)
        case("Max", torch.maximum, a, b)
        case("Min", torch.minimum, a, b)
    case("Max", torch.maximum, [1.0, 2.0, 3.0, -1.0], [1.0, 1.0, 4.0, -1.0])
    case("Min", torch.minimum, [1.0, 2.0, 3.0, -1.0], [1.0, 1.0, 4.0, -1.0])
    case("Max", lambda a, b, c: torch.maximum(torch.maximum(a, b), c), (3, 4), (4,), (3, 1))
    case("Sum", lambda a, b, c: a + b + c, (3, 4), (4,), (3, 1))
    case("Mean", lambda a, b, c: (a + b + c) / 3, (3, 4), (4,), (3, 1))
    for exponent in [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0]:
        case("Pow", torch.pow, (3, 4), doubles(exponent), low=0.3)
    for exponent in [0.0, 1.0, 2.0, 3.0]:
        case("Pow", torch.pow, [-1.5, -1.0, 0.0, 2.0], doubles(exponent))
    case("PRelu", lambda x, a: F.prelu(x, a.flatten()), (2, 3, 4), (3, 1))
    case("PRelu", lambda x, a: torch.where(x > 0, x, a * x), EDGES, (4,))
    clamped = lambda x, low=None, high=None: torch.clamp(x, low, high)
    case("Clip", clamped, EDGES, doubles(-1.0)[0], doubles(1.0)[0])
    case("Clip", clamped, EDGES, doubles(0.5)[0])
    case("Clip", clamped, EDGES, None, doubles(3.0)[0])
    # Of attributes ONNX's version converter makes float32 inputs, whatever the others are.
    case("Clip", lambda x: F.relu6(x), (4, 5), low=-3, high=9, opset=6, min=0.0, max=6.0, single=True)
    condition = np.array([[True, False, True, True], [False, True, False, True]])
    for a, b in [((2, 4), (2, 4)), ((4,), (2, 1)), ((), (2, 4))]:
        case("Where", torch.where, condition, a, b)
    case("Dropout", lambda x: x.clone(), (3, 4))
    for a, b in [((3, 4), (3, 4)), ((3, 4), (4,))]:
        case("Mod", torch.fmod, a, b, low=0.3, high=3, fmod=1)
    case("Mod", torch.fmod, [-5.3, -2.0, 2.5, 7.1], [2.0, 3.3, -1.7, 2.2], fmod=1)


def products():
    for a, b in [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)),
                 ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 5))]:
        case("MatMul", torch.matmul, a, b)
    for ta, tb in itertools.product([0, 1], repeat=2):
        a, b = ((4, 3) if ta else (3, 4)), ((5, 4) if tb else (4, 5))
        for c in [(5,), (3, 1), (3, 5)]:
            case("Gemm", lambda x, y, z, ta=ta, tb=tb: 0.5 * (x.T if ta else x) @ (y.T if tb else y) + 0.7 * z, a, b, c,
                 transA=ta, transB=tb, alpha=0.5, beta=0.7)
    for equation, *shapes in [("ij,jk->ik", (3, 4), (4, 5)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
                              ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)), ("i,j->ij", (3,), (4,)), ("ij->ji", (3, 4)),
                              ("ij->j", (3, 4)), ("ii->i", (4, 4)), ("ii->", (4, 4)), ("bii->bi", (2, 3, 3)),
                              ("ij,ij->", (3, 4), (3, 4)), ("ij,kl->ik", (3, 4), (5, 2)),
                              ("...ij,...jk->...ik", (2, 3, 4), (1, 4, 5)), ("ijk,jil->kl", (3, 4, 2), (4, 3, 5)),
                              ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)), ("bi,oij,bj->bo", (2, 3), (4, 3, 2), (2, 2))]:
        case("Einsum", lambda *x, e=equation: torch.einsum(e, *x), *shapes, equation=equation)
    for shape in [(1, 1), (2, 2), (3, 3), (5, 5), (2, 3, 3), (2, 1, 4, 4)]:
        case("Det", torch.det, shape)
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
    for dims, group, (stride, pad, dilation) in itertools.product(
            [1, 2, 3], [1, 2, 4], [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2)]):
        if dims == 3 and group == 4:
            continue
        size, kernel = ((9,), (3,)) if dims == 1 else ((5, 6), (3, 3)) if dims == 2 else ((3, 5, 3), (2, 2, 2))
        case("Conv", lambda x, w, b, f=conv[dims], s=stride, p=pad, d=dilation, g=group: f(x, w, b, s, p, d, g),
             (2 if dims < 3 else 1, 4) + size, (4, 4 // group) + kernel, (4,), strides=[stride] * dims, pads=[pad] * 2 * dims,
             dilations=[dilation] * dims, group=group)
    for stride in [1, 2]:
        case("Conv", lambda x, w, s=stride: F.conv2d(F.pad(x, (2, 0, 0, 1)), w, stride=(1, s)), (1, 2, 7, 6), (3, 2, 3, 2),
             pads=[0, 2, 1, 0], strides=[1, stride])
    case("Conv", lambda x, w: F.conv2d(x, w, padding="same"), (1, 2, 7, 6), (3, 2, 3, 2), auto_pad="SAME_UPPER")
    back = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
    for dims, group, (stride, pad, more, dilation) in itertools.product(
            [1, 2, 3], [1, 2], [(1, 0, 0, 1), (2, 1, 1, 1), (3, 0, 2, 1), (1, 1, 0, 2), (2, 2, 1, 2)]):
        case("ConvTranspose", lambda x, w, b, f=back[dims], s=stride, p=pad, m=more, g=group, d=dilation:
             f(x, w, b, s, p, m, g, d), (3 - group, 4) + (3, 2, 4)[:dims], (4, 4 // group) + (3, 2, 3)[:dims], (4,),
             runtime="onnxruntime", strides=[stride] * dims, pads=[pad] * 2 * dims, output_padding=[more] * dims,
             dilations=[dilation] * dims, group=group)


def pools():
    maximum, average = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}, {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
    sizes = {1: (2, 3, 10), 2: (2, 2, 7, 8), 3: (1, 2, 4, 5, 5)}
    for dims, (kernel, stride, pad, ceil) in itertools.product([1, 2, 3], [(2, 2, 0, 0), (3, 2, 1, 0), (3, 2, 0, 1), (3, 2, 1, 1)]):
        attributes = dict(kernel_shape=[kernel] * dims, strides=[stride] * dims, pads=[pad] * 2 * dims, ceil_mode=ceil)
        case("MaxPool", lambda x, f=maximum[dims], k=kernel, s=stride, p=pad, c=ceil: f(x, k, s, p, 1, bool(c)), sizes[dims],
             runtime="onnxruntime", **attributes)
        for counted in [0, 1]:
            case("AveragePool", lambda x, f=average[dims], k=kernel, s=stride, p=pad, c=ceil, i=counted:
                 f(x, k, s, p, bool(c), bool(i)), sizes[dims], runtime="onnxruntime", count_include_pad=counted, **attributes)
    for dilation in [2, 3]:
        case("MaxPool", lambda x, d=dilation: F.max_pool2d(x, 2, 1, 0, d), (1, 2, 7, 8), kernel_shape=[2, 2], strides=[1, 1],
             dilations=[dilation] * 2)
    case("MaxPool", lambda x: F.max_pool2d(x, 2, 1), [[[[1.0, 1.0, 0.0], [1.0, 1.0, 2.0], [0.0, 2.0, 2.0]]]],
         kernel_shape=[2, 2], strides=[1, 1])
    for p, kernel, stride, ceil in [(2, 2, 2, 0), (1, 3, 2, 0), (3, 2, 1, 0)]:
        case("LpPool", lambda x, p=p, k=kernel, s=stride, c=ceil: F.lp_pool2d(x, p, k, s, bool(c)), (1, 2, 7, 8), low=0.2,
             p=p, kernel_shape=[kernel] * 2, strides=[stride] * 2, ceil_mode=ceil, runtime="onnxruntime")
    case("LpPool", lambda x: F.lp_pool1d(x, 2, 3, 2), (1, 2, 9), p=2, kernel_shape=[3], strides=[2])
    for shape in [(2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 2, 3)]:
        dims = tuple(range(2, len(shape)))
        case("GlobalAveragePool", lambda x, d=dims: x.mean(d, keepdim=True), shape)
        case("GlobalMaxPool", lambda x, d=dims: x.amax(d, keepdim=True), shape, runtime="onnxruntime")
        case("GlobalLpPool", lambda x, d=dims: torch.linalg.vector_norm(x, 2, d, keepdim=True), shape, low=0.2, p=2,
             runtime="onnxruntime")
    places = np.array([0, 3, 10, 15]).reshape(1, 1, 2, 2)
    case("MaxUnpool", lambda x, i: F.max_unpool2d(x, i, 2), (1, 1, 2, 2), places, kernel_shape=[2, 2], strides=[2, 2],
         runtime="onnxruntime")


def norms():
    for shape, training in itertools.product([(4, 3), (2, 3, 5), (2, 3, 4, 5), (2, 2, 3, 2, 3)], [0, 1]):
        mean, variance = np.linspace(-0.3, 0.4, shape[1]), np.linspace(0.5, 1.5, shape[1])
        case("BatchNormalization", lambda x, w, b, m, v, t=training: F.batch_norm(x, m.clone(), v.clone(), w, b, bool(t), 0.1, 1e-3),
             shape, (shape[1],), (shape[1],), mean, variance, training_mode=training, outputs=3 if training else 1, take=[0],
             epsilon=1e-3)
    for shape, axis in itertools.product([(3, 4), (2, 3, 4), (2, 3, 2, 3)], [-1, 1]):
        tail = shape[axis:]
        case("LayerNormalization", lambda x, w, b, t=tail: F.layer_norm(x, t, w, b, 1e-3), shape, tail, tail, axis=axis,
             epsilon=1e-3, single=True)  # ONNX has its statistics in float32 only
        case("LayerNormalization", lambda x, w, t=tail: F.layer_norm(x, t, w, None, 1e-3), shape, tail, axis=axis,
             epsilon=1e-3, single=True)
        case("RMSNormalization", lambda x, w, t=tail: F.rms_norm(x, t, w, 1e-3), shape, tail, axis=axis, epsilon=1e-3, opset=23)
    for shape, groups in [((2, 4, 5), 2), ((2, 6, 3, 2), 3), ((1, 4, 3, 3), 1), ((2, 4, 3), 4), ((1, 4, 2, 3, 2), 2)]:
        case("GroupNormalization", lambda x, w, b, g=groups: F.group_norm(x, g, w, b, 1e-3), shape, (shape[1],), (shape[1],),
             num_groups=groups, epsilon=1e-3, single=True)  # the evaluator computes it in float32 from opset 21 on
    for shape in [(2, 3, 5), (2, 3, 4, 4), (1, 2, 3, 2, 3)]:
        case("InstanceNormalization", lambda x, w, b: F.instance_norm(x, weight=w, bias=b, eps=1e-3), shape, (shape[1],),
             (shape[1],), epsilon=1e-3)
    for size in [1, 3, 5]:  # as many images as channels: the evaluator takes one for the other
        case("LRN", lambda x, n=size: F.local_response_norm(x, n, 0.3, 0.6, 1.5), (6, 6, 3, 2), size=size, alpha=0.3,
             beta=0.6, bias=1.5)
    for p, axis in itertools.product([1, 2], [-1, 0, 1]):
        # The evaluator sums x, not |x|, for p = 1.
        case("LpNormalization", lambda x, p=p, a=axis: F.normalize(x, p, a), (3, 4, 2), p=p, axis=axis,
             low=0.3 if p == 1 else -2)
    for axes in [[0, 2, 3], [2, 3]]:
        case("MeanVarianceNormalization", lambda x, a=tuple(axes): (x - x.mean(a, keepdim=True)) / x.var(
            a, correction=0, keepdim=True).sqrt(), (2, 3, 4, 5), axes=axes, single=True)
    for (shape, axis), (operator, function) in itertools.product(
            [((5,), -1), ((3, 4), 1), ((3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), -2)],
            {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}.items()):
        case(operator, lambda x, f=function, a=axis: f(x, a), shape, axis=axis)
    for operator, function in {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}.items():
        case(operator, lambda x, f=function: f(x, 1), (3, 4), opset=11)
        # Up to opset 12 over everything from the axis on.
        case(operator, lambda x, f=function: f(x.flatten(1), 1).view(x.shape), (2, 3, 4), opset=11, axis=1)
    for shape, reduction, weighted, ignore in itertools.product([(4, 5), (2, 5, 3), (2, 5, 3, 2)], ["mean", "sum", "none"],
                                                                [False, True], [None, 2]):
        labels = np.arange(np.prod(shape[:1] + shape[2:])).reshape(shape[:1] + shape[2:]) % shape[1]
        weight = [np.linspace(0.5, 1.5, shape[1])] if weighted else []
        attributes = {"reduction": reduction} | ({} if ignore is None else {"ignore_index": ignore})
        extra = dict(reduction=reduction, ignore_index=-100 if ignore is None else ignore)
        case("SoftmaxCrossEntropyLoss", lambda x, l, w=None, e=extra: F.cross_entropy(x, l, w, **e), shape, labels, *weight,
             **attributes)
        case("NegativeLogLikelihoodLoss", lambda x, l, w=None, e=extra: F.nll_loss(x, l, w, **e), shape, labels, *weight,
             **attributes)


def reductions():
    def product(x, axes, keep):
        for axis in sorted((a % x.ndim for a in axes), reverse=True):
            x = x.prod(axis, keepdim=keep)
        return x

    functions = {
        "ReduceSum": lambda x, a, k: x.sum(a, keepdim=k), "ReduceMean": lambda x, a, k: x.mean(a, keepdim=k),
        "ReduceMax": lambda x, a, k: x.amax(a, keepdim=k), "ReduceMin": lambda x, a, k: x.amin(a, keepdim=k),
        "ReduceProd": product, "ReduceL1": lambda x, a, k: x.abs().sum(a, keepdim=k),
        "ReduceL2": lambda x, a, k: torch.linalg.vector_norm(x, 2, a, keepdim=k),
        "ReduceSumSquare": lambda x, a, k: x.square().sum(a, keepdim=k),
        "ReduceLogSumExp": lambda x, a, k: torch.logsumexp(x, a, keepdim=k),
        "ReduceLogSum": lambda x, a, k: x.sum(a, keepdim=k).log()}
    for (operator, function), (shape, axes), keep in itertools.product(
            functions.items(), [((3, 4), None), ((3, 4), (1,)), ((3, 4), (-2,)), ((2, 3, 4), (0, 2))], [0, 1]):
        of = tuple(range(len(shape))) if axes is None else axes
        case(operator, lambda x, *_, f=function, a=of, k=keep: f(x, a, bool(k)), shape, *([] if axes is None else [ints(*axes)]),
             keepdims=keep, opset=20, low=0.3 if operator == "ReduceLogSum" else -2)
        if keep and axes == (0, 2):
            case(operator, lambda x, f=function, a=of: f(x, a, True), shape, axes=list(axes), opset=11,
                 low=0.3 if operator == "ReduceLogSum" else -2)
    ties = [[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0], [0.0, 0.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]
    for operator in ["ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"]:
        case(operator, lambda x, a, f=functions[operator]: f(x, (1,), False), ties, ints(1), keepdims=0, opset=20)
    case("ReduceSum", lambda x, _: x.clone(), (2, 3), ints(), noop_with_empty_axes=1, opset=20)
    for exclusive, reverse, axis in itertools.product([0, 1], [0, 1], [0, 1]):
        def running(x, *_, f, first, e=exclusive, r=reverse, a=axis):
            x = x.flip(a) if r else x
            if e:
                x = torch.cat([torch.full_like(x.narrow(a, 0, 1), first), x.narrow(a, 0, x.shape[a] - 1)], a)
            y = f(x, a)
            return y.flip(a) if r else y
        case("CumSum", lambda x, *_, g=running: g(x, f=torch.cumsum, first=0.0), (3, 4), np.array(axis), exclusive=exclusive,
             reverse=reverse)
        case("CumProd", lambda x, *_, g=running: g(x, f=torch.cumprod, first=1.0), (3, 4), np.array(axis), exclusive=exclusive,
             reverse=reverse, opset=26, low=0.4)


def layouts():
    case("Reshape", lambda x, _: x.reshape(2, 6), (3, 4), ints(2, -1))
    case("Flatten", lambda x: x.flatten(2).flatten(0, 1), (2, 3, 4), axis=2)
    case("Squeeze", lambda x, _: x.squeeze((0, 2)), (1, 3, 1, 2), ints(0, 2))
    case("Squeeze", lambda x: x.squeeze((0, 2)), (1, 3, 1, 2), opset=11, axes=[0, 2])
    case("Unsqueeze", lambda x, _: x[None, :, :, None], (3, 2), ints(0, 3))
    case("Unsqueeze", lambda x: x[None, :, :, None], (3, 2), opset=11, axes=[0, 3])
    case("Transpose", lambda x: x.permute(2, 0, 1), (2, 3, 4), perm=[2, 0, 1])
    for function, (starts, ends, axes, steps) in [
            (lambda x: x[1:3], ([1], [3], [0], [1])), (lambda x: x[:2, 1:3], ([0, 1], [2, 3], [0, 1], [1, 1])),
            (lambda x: x[:, ::2], ([0], [100], [1], [2])), (lambda x: x.flip(1), ([-1], [-100], [1], [-1])),
            (lambda x: x[1:, :, [5, 4, 3]], ([1, -1], [4, -4], [0, 2], [1, -1]))]:
        case("Slice", lambda x, *_, f=function: f(x), (4, 5, 6), ints(*starts), ints(*ends), ints(*axes), ints(*steps))
    case("Slice", lambda x: x[1:3, :2], (4, 5), opset=9, starts=[1, 0], ends=[3, 2], axes=[0, 1])
    case("Split", lambda x, _: x.split([2, 3, 1], 0), (6, 4), ints(2, 3, 1), outputs=3, axis=0)
    case("Split", lambda x: x.split([2, 4], 0), (6, 4), outputs=2, axis=0, split=[2, 4], opset=11)
    case("Split", lambda x: x.chunk(2, 1)[1], (6, 5), outputs=2, take=[1], axis=1, num_outputs=2)
    case("Expand", lambda x, _: x.expand(2, 3, 4), (3, 1), ints(2, 3, 4))
    case("Concat", lambda *x: torch.cat(x, 1), (2, 3), (2, 1), (2, 2), axis=-1)
    case("Tile", lambda x, _: x.repeat(2, 3), (2, 3), ints(2, 3))
    for mode, name in {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}.items():
        case("Pad", lambda x, _, m=name: F.pad(x, (1, 2, 2, 1), m), (1, 2, 4, 5), ints(0, 0, 2, 1, 0, 0, 1, 2), mode=mode)
        case("Pad", lambda x, _, m=name: F.pad(x, (2, 1), m), (1, 2, 5), ints(0, 0, 2, 0, 0, 1), mode=mode)
    for mode in ["constant", "reflect", "edge"]:
        name = {"edge": "replicate"}.get(mode, mode)
        case("Pad", lambda x, m=name: F.pad(x, (1, 2, 2, 1), m), (1, 2, 4, 5), opset=2, mode=mode, pads=[0, 0, 2, 1, 0, 0, 1, 2],
             single=True)
    case("Pad", lambda x, _: F.pad(x, (-1, 1, 0, -2)), (1, 2, 4, 5), ints(0, 0, 0, -1, 0, 0, -2, 1), runtime="onnxruntime")
    case("DepthToSpace", lambda x: F.pixel_shuffle(x, 2), (1, 8, 2, 3), blocksize=2, mode="CRD")
    case("DepthToSpace", lambda x: x.view(1, 2, 2, 2, 2, 3).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 4, 6), (1, 8, 2, 3), blocksize=2)
    case("SpaceToDepth", lambda x: x.view(1, 2, 2, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3), (1, 2, 4, 6), blocksize=2)
    for upper, k in itertools.product([0, 1], [-1, 0, 2]):
        case("Trilu", lambda x, _, f=torch.triu if upper else torch.tril, k=k: f(x, k), (2, 4, 5), np.array(k), upper=upper)
    case("ReverseSequence", lambda x, _: torch.stack([x[:, 0].flip(0), torch.cat([x[:2, 1].flip(0), x[2:, 1]])], 1), (4, 2, 3),
         ints(4, 2), time_axis=0, batch_axis=1)


def gathers():
    for axis, index in itertools.product([0, 1, -1], [np.array(1), ints(0, 2, 2), np.array([[0, 1], [2, 0]])]):
        case("Gather", lambda x, i, a=axis: x.index_select(a, i.flatten()).reshape(
            x.shape[:a % 3] + i.shape + x.shape[a % 3 + 1:]), (3, 4, 3), index, axis=axis)
    case("Gather", lambda x, i: F.embedding(i, x), (5, 3), np.array([[1, 1, 1], [4, 0, 1]]))
    for axis, shape in [(0, (3, 4)), (1, (2, 4))]:
        case("GatherElements", lambda x, i, a=axis: x.gather(a, i), shape, np.array([[0, 2, 1, 2], [1, 0, 1, 2]]), axis=axis)
    case("GatherND", lambda x, i: x[i[:, 0], i[:, 1]], (3, 4, 2), np.array([[0, 1], [2, 0], [0, 1]]))
    case("GatherND", lambda x, i: x[torch.arange(2), i[:, 0]], (2, 3, 4), np.array([[1], [0]]), batch_dims=1)
    for axis, (how, name) in itertools.product([0, 1], [("add", "sum"), ("mul", "prod"), ("min", "amin"), ("max", "amax")]):
        index = np.array([[0, 2, 1], [0, 1, 1]])
        index = index.T.copy() if axis else index
        case("ScatterElements", lambda x, i, u, a=axis, n=name: x.scatter_reduce(a, i, u, n), (3, 3), index, index.shape,
             axis=axis, reduction=how, low=0.3)
    case("ScatterElements", lambda x, i, u: x.scatter(1, i, u), (3, 4), np.array([[0, 2], [1, 3], [3, 0]]), (3, 2), axis=1)
    case("ScatterND", lambda x, i, u: x.index_put((i[:, 0],), u), (4, 3), np.array([[0], [2]]), (2, 3))
    case("ScatterND", lambda x, i, u: x.index_put((i[:, 0],), u, accumulate=True), (4, 3), np.array([[0], [2], [0]]), (3, 3),
         reduction="add")
    for axis, largest, ordered in itertools.product([0, 1], [0, 1], [0, 1]):
        case("TopK", lambda x, _, a=axis, g=largest: x.topk(2, a, bool(g)).values, (4, 5), ints(2), axis=axis, largest=largest,
             sorted=1, outputs=2, take=[0])
    case("Compress", lambda x, c: x[c], (3, 4), np.array([True, False, True]), axis=0)
    case("Compress", lambda x, c: x.flatten()[torch.cat([c, torch.zeros(7, dtype=torch.bool)])], (3, 4),
         np.array([False, True, True, False, True]))


def resampling():
    names = {3: "linear", 4: "bilinear", 5: "trilinear"}
    for shape, size in [((1, 2, 5), (8,)), ((1, 2, 4, 5), (7, 9)), ((1, 2, 4, 5), (3, 2)), ((1, 1, 3, 4, 3), (5, 3, 6))]:
        to = ints(*shape[:2], *size)
        for corners, transform in [(False, "half_pixel"), (True, "align_corners")]:
            case("Resize", lambda x, *_, s=size, m=names[len(shape)], c=corners: F.interpolate(x, s, mode=m, align_corners=c),
                 shape, None, None, to, mode="linear", coordinate_transformation_mode=transform)
        for name, transform, nearest in [("nearest", "asymmetric", "floor"), ("nearest-exact", "half_pixel", "round_prefer_ceil")]:
            case("Resize", lambda x, *_, s=size, m=name: F.interpolate(x, s, mode=m), shape, None, None, to, mode="nearest",
                 coordinate_transformation_mode=transform, nearest_mode=nearest)
        if len(shape) == 4:
            for corners, transform in [(False, "half_pixel"), (True, "align_corners")]:
                case("Resize", lambda x, *_, s=size, c=corners: F.interpolate(x, s, mode="bicubic", align_corners=c), shape, None,
                     None, to, mode="cubic", cubic_coeff_a=-0.75, coordinate_transformation_mode=transform, single=True)
    case("Resize", lambda x, *_: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 2, 3, 4), None,
         np.array([1, 1, 2, 2], np.float32), mode="linear")
    for operator, opset in [("Upsample", 9), ("Resize", 10)]:
        case(operator, lambda x, _: F.interpolate(x, scale_factor=2, mode="nearest"), (1, 2, 3, 4),
             np.array([1, 1, 2, 2], np.float32), mode="nearest", opset=opset, runtime="onnxruntime")
    for mode, name in {"linear": "bilinear", "cubic": "bicubic"}.items():
        case("Resize", lambda x, *_, m=name: F.interpolate(x, (3, 5), mode=m, antialias=True), (1, 1, 7, 9), None, None,
             ints(1, 1, 3, 5), mode=mode, cubic_coeff_a=-0.5, antialias=1, exclude_outside=1, runtime="onnxruntime")
    for padding, corners, mode in itertools.product(["zeros", "border", "reflection"], [0, 1], ["linear", "nearest", "cubic"]):
        for image, grid in [((2, 3, 4, 5), (2, 3, 2, 2)), ((1, 2, 3, 4, 3), (1, 2, 3, 2, 3))]:
            if mode == "cubic" and len(image) == 5:
                continue
            name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
            places = np.random.default_rng(7).uniform(-1.3, 1.3, grid).round(3).tolist()
            case("GridSample", lambda x, g, m=name, p=padding, c=corners: F.grid_sample(x, g, m, p, bool(c)), image, places,
                 mode=mode, padding_mode=padding, align_corners=corners, runtime="onnxruntime")
    for corners, size in itertools.product([0, 1], [(2, 3, 4, 5), (2, 1, 3, 4, 2)]):
        case("AffineGrid", lambda t, s, c=corners: F.affine_grid(t, tuple(s.tolist()), bool(c)),
             (2, len(size) - 2, len(size) - 1), ints(*size), align_corners=corners, opset=20, single=True)
    case("Col2Im", lambda x, *_: F.fold(x, (3, 4), 2), (1, 8, 6), ints(3, 4), ints(2, 2))
    case("Col2Im", lambda x, *_: F.fold(x, (5, 5), (2, 2), (2, 1), (1, 0), (1, 2)), (1, 8, 10), ints(5, 5), ints(2, 2),
         pads=[1, 0, 1, 0], strides=[1, 2], dilations=[2, 1])


def gates_of(weights, order):
    """ONNX's gates in PyTorch's order."""
    return torch.cat([weights.chunk(len(order), 0)[k] for k in order], 0)


ORDERS = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}


def recurrent(operator, x, w, r, b=None, lengths=None, h=None, c=None, relu=False):
    """Y, Y_h and Y_c as torch.lstm, torch.gru and torch.rnn_* compute them."""
    directions, hidden, order = w.shape[0], r.shape[2], ORDERS[operator]
    flat = []
    for d in range(directions):
        flat += [gates_of(w[d], order), gates_of(r[d], order)]
        if b is not None:
            flat += [gates_of(half, order) for half in b[d].chunk(2)]
    zeros = x.new_zeros(directions, x.shape[1], hidden)
    h = zeros if h is None else h
    state = (h, zeros if c is None else c) if operator == "LSTM" else h
    function = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN": torch.rnn_relu if relu else torch.rnn_tanh}[operator]
    if lengths is None:
        y, *states = function(x, state, flat, b is not None, 1, 0.0, True, directions == 2, False)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths.long())
        y, *states = function(packed.data, packed.batch_sizes, state, flat, b is not None, 1, 0.0, True, directions == 2)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(
            torch.nn.utils.rnn.PackedSequence(y, packed.batch_sizes), total_length=x.shape[0])
    return (y.view(x.shape[0], x.shape[1], directions, hidden).transpose(1, 2), *states)


def reset_first(x, w, r, b, lengths, h):
    """A GRU whose reset gate comes before the product, which PyTorch has not."""
    hidden, ys = r.shape[2], []
    wz, wr, wh = (x @ w[0].T + b[0][:3 * hidden]).chunk(3, -1)
    (rz, rr, rh), (bz, br, bh) = r[0].chunk(3, 0), b[0][3 * hidden:].chunk(3)
    h = h[0]
    for t in range(x.shape[0]):
        z, reset = torch.sigmoid(wz[t] + h @ rz.T + bz), torch.sigmoid(wr[t] + h @ rr.T + br)
        h = (1 - z) * torch.tanh(wh[t] + (reset * h) @ rh.T + bh) + z * h
        ys.append(h)
    return torch.stack(ys)[:, None], h[None]


def recurrences():
    for operator, directions in itertools.product(["LSTM", "GRU", "RNN"], [1, 2]):
        gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
        outputs, states = (3, 2) if operator == "LSTM" else (2, 1)
        w, r, b = (directions, gates * 3, 2), (directions, gates * 3, 3), (directions, 2 * gates * 3)
        extra = dict(hidden_size=3, direction="bidirectional" if directions == 2 else "forward", outputs=outputs, low=-1, high=1)
        if operator == "GRU":
            extra["linear_before_reset"] = 1
        call = lambda *x, o=operator: recurrent(o, *x)
        initial = [(directions, 2, 3)] * states
        case(operator, call, (4, 2, 2), w, r, **extra)
        case(operator, call, (4, 2, 2), w, r, b, **extra)
        case(operator, call, (4, 2, 2), w, r, b, None, *initial, **extra)
        # The evaluator's RNN ignores lengths, and knows Tanh alone.
        case(operator, call, (4, 2, 2), w, r, b, np.array([4, 2], np.int32), *initial, **extra,
             runtime="onnxruntime" if operator == "RNN" else "reference")
        case(operator, lambda *x, f=call: f(*x)[1], (4, 2, 2), w, r, b, take=[1], **extra)
    case("RNN", lambda *x: recurrent("RNN", *x, relu=True), (4, 2, 2), (1, 3, 2), (1, 3, 3), (1, 6), hidden_size=3, outputs=2,
         activations=["Relu"], runtime="onnxruntime")
    case("GRU", reset_first, (4, 2, 2), (1, 9, 2), (1, 9, 3), (1, 18), None, (1, 2, 3), hidden_size=3, outputs=2, low=-1, high=1)


def rotated(x, cos, sin, ids, interleaved=False):
    cos, sin = cos[ids][:, None], sin[ids][:, None]
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
    parts = (a * cos - b * sin, b * cos + a * sin)
    return torch.stack(parts, -1).flatten(-2) if interleaved else torch.cat(parts, -1)


def heads(x, n):
    return x.view(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def attentions():
    attend = F.scaled_dot_product_attention
    short, long = (2, 2, 3, 4), (2, 2, 5, 4)
    for opset in [23, 24]:
        for causal in [0, 1]:
            extra = dict(is_causal=causal, opset=opset)
            case("Attention", lambda q, k, v, c=causal: attend(q, k, v, is_causal=bool(c)), short, long, long, **extra)
            case("Attention", lambda q, k, v, c=causal: attend(q, k, v, is_causal=bool(c), enable_gqa=True), (1, 4, 3, 4),
                 (1, 2, 3, 4), (1, 2, 3, 4), **extra)
            case("Attention", lambda q, k, v, c=causal: attend(q, k, v, is_causal=bool(c), scale=0.3), short, long, (2, 2, 5, 6),
                 scale=0.3, **extra)
        for mask in [(3, 5), (2, 1, 3, 5), (1, 2, 3, 5)]:
            case("Attention", lambda q, k, v, m: attend(q, k, v, m), short, long, long, mask, opset=opset)
    keep = np.array([[True, True, False, True, True], [True] * 5, [False, True, True, True, False]])
    case("Attention", lambda q, k, v, m: attend(q, k, v, m), short, long, long, keep, opset=23)
    # Queries that may see nothing: zero, and nothing flows back.
    nothing = np.array([[True, True, False, True, True], [False] * 5, [False, True, True, True, False]])
    for opset in [23, 24]:
        case("Attention", lambda q, k, v, m: attend(q, k, v, m), short, long, long, nothing, opset=opset)
    # The keys that count: all queries stand at their end, and the first ones before it where there are fewer.
    for lengths, window in itertools.product([(5, 4), (2, 5)], [-1, 1]):
        last = torch.tensor(lengths)[:, None, None, None] - 3 + torch.arange(3)[:, None]
        seen = (torch.arange(5) <= last) & ((torch.arange(5) >= last - window) | (window < 0))
        extra = {} if window < 0 else {"left_window_size": window}
        case("Attention", lambda q, k, v, *_, m=seen: attend(q, k, v, m), short, long, long, None, None, None, ints(*lengths),
             is_causal=1, opset=24 if window < 0 else 25, **extra)
    case("Attention", lambda q, k, v, m: attend(q, k[:, :, :4], v[:, :, :4], m), short, long, long, (3, 4), opset=24)
    case("Attention", lambda q, k, v: merged(attend(heads(q, 4), heads(k, 2), heads(v, 2), enable_gqa=True)), (2, 3, 8),
         (2, 5, 4), (2, 5, 4), q_num_heads=4, kv_num_heads=2, opset=23)
    case("Attention", lambda q, k, v: (2 * torch.tanh(q @ k.mT / 4)).softmax(-1) @ v, short, long, long, softcap=2.0, opset=23)
    case("Attention", lambda q, k, v, _, pk, pv: (attend(q, torch.cat([pk, k], 2), torch.cat([pv, v], 2)), torch.cat([pk, k], 2),
                                                  torch.cat([pv, v], 2)), short, short, short, None, long, long, outputs=3, opset=23)
    table = np.linspace(-1, 1, 6).reshape(3, 2)
    ids = np.array([[0, 1, 2], [2, 0, 1]])
    for interleaved in [0, 1]:
        case("RotaryEmbedding", lambda x, c, s, i, n=interleaved: rotated(x, c, s, i, bool(n)), (2, 2, 3, 4), table,
             table[::-1].copy(), ids, opset=23, interleaved=interleaved, single=True)
        case("RotaryEmbedding", lambda x, c, s, i, n=interleaved: merged(rotated(heads(x, 2), c, s, i, bool(n))), (2, 3, 8), table,
             table[::-1].copy(), ids, opset=23, interleaved=interleaved, num_heads=2, single=True)
    case("SwiGLU", lambda a, b: F.silu(a) * b, (3, 5), (3, 5), opset=28)


def contrib():
    def micro(operator, function, *operands, **options):
        case("com.microsoft::" + operator, function, *operands, runtime="onnxruntime", **options)

    micro("Gelu", F.gelu, (3, 4))
    micro("BiasGelu", lambda x, b: F.gelu(x + b), (3, 4), (4,))
    micro("FastGelu", lambda x, b: F.gelu(x + b, approximate="tanh"), (3, 4), (4,))
    micro("QuickGelu", lambda x: x * torch.sigmoid(1.702 * x), (3, 4))
    micro("FusedMatMul", lambda a, b: 0.3 * a.mT @ b, (2, 4, 3), (2, 4, 5), transA=1, alpha=0.3)
    micro("SkipLayerNormalization", lambda x, s, w, b: F.layer_norm(x + s, (6,), w, b, 1e-3), (2, 3, 6), (2, 3, 6), (6,), (6,),
          epsilon=1e-3)
    micro("SkipSimplifiedLayerNormalization", lambda x, s, w: F.rms_norm(x + s, (6,), w, 1e-3), (2, 3, 6), (2, 3, 6), (6,),
          epsilon=1e-3)
    case("SimplifiedLayerNormalization", lambda x, w: F.rms_norm(x, (6,), w, 1e-3), (2, 3, 6), (6,), epsilon=1e-3, axis=-1,
         runtime="onnxruntime")
    attend = F.scaled_dot_product_attention
    micro("MultiHeadAttention", lambda q, k, v: merged(attend(heads(q, 2), heads(k, 2), heads(v, 2))), (2, 3, 8), (2, 5, 8),
          (2, 5, 8), num_heads=2)
    micro("MultiHeadAttention", lambda q, k, v: merged(attend(heads(q, 2), heads(k, 2), heads(v, 2), is_causal=True)), (2, 3, 8),
          (2, 3, 8), (2, 3, 8), num_heads=2, unidirectional=1)
    micro("GroupQueryAttention", lambda q, k, v, *_: merged(attend(heads(q, 4), heads(k, 2), heads(v, 2), is_causal=True,
                                                                   enable_gqa=True)), (2, 3, 32), (2, 3, 16), (2, 3, 16), None,
          None, np.array([2, 2], np.int32), np.array(3, np.int32), num_heads=4, kv_num_heads=2)

    def packed(x, w, b):
        q, k, v = (heads(part, 2) for part in (x @ w + b).chunk(3, -1))
        return merged(attend(q, k, v))

    micro("Attention", packed, (2, 3, 6), (6, 18), (18,), num_heads=2, low=-0.6, high=0.6)


# ---- Running the cases.


def drawn(operand, random, options):
    if isinstance(operand, tuple):  # few digits: they are kept
        return np.round(random.uniform(options["low"], options["high"], operand), 3)
    return None if operand is None else np.asarray(operand, np.float64 if isinstance(operand, list) else None)


def run(row):
    """The case as JSON has it, and its numbers: operands, output gradients, outputs, gradients, in this order."""
    operator, function, operands, attributes, options = row
    random = np.random.default_rng(zlib.crc32(repr((operator, operands, attributes)).encode()))
    arrays = [drawn(operand, random, options) for operand in operands]
    tensors = [None if a is None else torch.tensor(a) for a in arrays]
    wanted = [i for i, operand in enumerate(operands) if isinstance(operand, (tuple, list))]
    for i in wanted:
        tensors[i].requires_grad_()
    results = function(*tensors)
    results = [results] if isinstance(results, torch.Tensor) else list(results)
    taken = options["take"] or list(range(options["outputs"]))
    assert len(results) == len(taken), f"{operator}: {len(results)} outputs, expected {len(taken)}"
    seeds = [np.round(random.uniform(-1, 1, y.shape), 3) for y in results]
    objective = sum((torch.tensor(seed) * y).sum() for seed, y in zip(seeds, results))
    gradients = torch.autograd.grad(objective, [tensors[i] for i in wanted], allow_unused=True)
    gradients = [torch.zeros_like(tensors[i]) if g is None else g for i, g in zip(wanted, gradients)]
    told = {"operator": operator, "attributes": attributes, "differentiated": wanted,
            "operands": [None if a is None else [str(a.dtype), *a.shape] for a in arrays],
            "results": [list(y.shape) for y in results]}
    told |= {key: options[key] for key in ("outputs", "opset", "runtime", "single")} | {"take": taken}
    numbers = [a for a in arrays if a is not None] + seeds + [y.detach().numpy() for y in results]
    return told, numbers + [g.numpy() for g in gradients]


def main():
    for family in [elementwise, products, pools, norms, reductions, layouts, gathers, resampling, recurrences, attentions, contrib]:
        family()
    cases, numbers = [], []
    for row in CASES:
        told, own = run(row)
        cases.append(told)
        numbers += [np.asarray(a, np.float64).ravel() for a in own]
    text = json.dumps(cases, separators=(",", ":"))
    np.savez_compressed(sys.argv[1], cases=np.frombuffer(text.encode(), np.uint8), numbers=np.concatenate(numbers))
    print(f"{len(cases)} cases of {len({case['operator'] for case in cases})} operators")


if __name__ == "__main__":
    main()
