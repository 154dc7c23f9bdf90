"""Every operator: the gradient that `reusescope differentiate` writes, against central differences.

    check_operators.py REUSESCOPE [FAMILY ...]

Each case is a model of one node in float64. ONNX's reference evaluator runs what was written on random inputs and a
random output gradient s; along random directions d, <gradient, d> must equal (s . f(x + h d) - s . f(x - h d)) / 2h to
1e-6 of the larger, f being the reference evaluator on the one-node model itself. Operators that the evaluator lacks (those
of com.microsoft) run in onnxruntime, in float32 and to 5e-3. One line per failure and one per family; exit code 1 if
anything fails, or if fewer cases ran than there must be.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx.reference
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TOLERANCE, STEP = 1e-6, 1e-5
SINGLE_TOLERANCE, SINGLE_STEP = 5e-3, 1e-2
DIRECTIONS = 3
CASES = []  # (family, operator, inputs, attributes, options)
MINIMUM = 900  # cases of all families together


def case(family, operator, *inputs, outputs=1, opset=21, low=-2.0, high=2.0, take=None, single=False, step=None,
         runtime="reference", **attributes):
    """Inputs are shapes (drawn from [low, high], differentiated), arrays (constants), or None (left out). `take`: outputs
    that get a gradient (default: all). `single`: in float32, where the evaluator has no other. `step`: of
    the differences, where the default would cross an edge. `runtime`: "reference", or "onnxruntime" (in float32)."""
    options = {"outputs": outputs, "opset": opset, "low": low, "high": high, "take": take, "step": step,
               "single": single or runtime != "reference", "runtime": runtime}
    CASES.append((family, operator, inputs, attributes, options))


def ints(*values):
    return np.array(values, np.int64)


def doubles(*values):
    return np.array(values, np.float64)


# ---- The cases.


def elementwise():
    plain = ["Relu", "LeakyRelu", "ThresholdedRelu", "Sigmoid", "Tanh", "Gelu", "Mish", "HardSwish", "HardSigmoid", "Elu",
             "Celu", "Selu", "Softplus", "Softsign", "Shrink", "Exp", "Erf", "Abs", "Neg", "Sin", "Cos", "Tan", "Sinh",
             "Cosh", "Atan", "Asinh", "Identity"]
    single = {"Gelu", "Erf", "Celu"}  # the evaluator has no other erf, ONNX no other Celu
    for operator, shape in itertools.product(plain, [(7,), (2, 3, 4)]):
        case("elementwise", operator, shape, low=-1.4, high=1.4, single=operator in single)
    for operator, low, high in [("Log", 0.2, 3), ("Sqrt", 0.2, 3), ("Reciprocal", 0.3, 2), ("Asin", -0.9, 0.9),
                                ("Acos", -0.9, 0.9), ("Atanh", -0.9, 0.9), ("Acosh", 1.2, 3)]:
        for shape in [(7,), (2, 3, 4)]:
            case("elementwise", operator, shape, low=low, high=high)
    case("elementwise", "Gelu", (9,), approximate="tanh")
    for operator, names in {"LeakyRelu": ["alpha"], "ThresholdedRelu": ["alpha"], "Elu": ["alpha"], "Celu": ["alpha"],
                            "HardSigmoid": ["alpha", "beta"], "Selu": ["alpha", "gamma"], "Shrink": ["lambd", "bias"]}.items():
        case("elementwise", operator, (3, 5), single=operator in single, **{name: 0.3 for name in names})
    case("elementwise", "Swish", (3, 5), opset=24)
    case("elementwise", "Swish", (3, 5), opset=24, alpha=1.7)
    pairs = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 4), (3, 1)), ((1, 4), (3, 1)), ((2, 3, 4), ()), ((4,), (2, 3, 4))]
    for operator, (a, b) in itertools.product(["Add", "Sub", "Mul"], pairs):
        case("elementwise", operator, a, b)
    for a, b in pairs:
        case("elementwise", "Div", a, b, low=0.5)
        case("elementwise", "Pow", a, b, low=0.5)
        case("elementwise", "PRelu", a, b) if len(a) >= len(b) and np.broadcast_shapes(a, b) == a else None
    for exponent in [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]:
        case("elementwise", "Pow", (3, 4), doubles(exponent), low=0.3)
    case("elementwise", "Pow", (3, 4), ints(2))
    for operator, shapes in itertools.product(["Sum", "Mean", "Min", "Max"],
                                              [[(3, 4)], [(3, 4), (4,)], [(3, 4), (3, 1), (1, 4)]]):
        case("elementwise", operator, *shapes)
    for bounds in [(doubles(-0.5)[0], doubles(0.7)[0]), (doubles(-0.5)[0],), (None, doubles(0.7)[0])]:
        case("elementwise", "Clip", (4, 5), *bounds)
    for a, b in [((3, 4), (3, 4)), ((3, 4), (4,))]:
        case("elementwise", "Mod", a, b, low=0.3, high=3, fmod=1)
    condition = np.array([[True, False, True, True], [False, True, False, True], [True, True, False, False]])
    for a, b in [((3, 4), (3, 4)), ((4,), (3, 1)), ((), (3, 4))]:
        case("elementwise", "Where", condition, a, b)
    case("elementwise", "Cast", (3, 4), to=TensorProto.DOUBLE)
    case("elementwise", "CastLike", (3, 4), np.zeros(1))
    case("elementwise", "Dropout", (3, 4))


def contraction():
    for a, b in [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((4,), (4, 5)), ((3, 4), (4,)),
                 ((4,), (4,)), ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 5)), ((2, 3, 4), (4,)),
                 ((4,), (2, 4, 5))]:
        case("contraction", "MatMul", a, b)
    for ta, tb in itertools.product([0, 1], repeat=2):
        a, b = ((4, 3) if ta else (3, 4)), ((5, 4) if tb else (4, 5))
        for alpha, c in [(1.0, None), (0.5, (5,)), (1.0, (3, 1)), (2.0, (3, 5)), (1.0, ())]:
            rest = [] if c is None else [c]
            case("contraction", "Gemm", a, b, *rest, transA=ta, transB=tb, alpha=alpha, beta=0.7)
    for equation, *shapes in [("ij,jk->ik", (3, 4), (4, 5)), ("ij,jk", (3, 4), (4, 5)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
                              ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)), ("i,j->ij", (3,), (4,)), ("ij->ji", (3, 4)),
                              ("ij->j", (3, 4)), ("ii->i", (4, 4)), ("ii->", (4, 4)), ("bii->bi", (2, 3, 3)),
                              ("ij,ij->", (3, 4), (3, 4)), ("ij,kl->ik", (3, 4), (5, 2)), ("...ij,jk->...ik", (2, 3, 4), (4, 5)),
                              ("...ij,...jk->...ik", (2, 3, 4), (1, 4, 5)), ("ijk,jil->kl", (3, 4, 2), (4, 3, 5)),
                              ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)), ("b,bij->bij", (2,), (2, 3, 4))]:
        case("contraction", "Einsum", *shapes, equation=equation)
    for shape in [(1, 1), (3, 3), (2, 3, 3), (2, 1, 4, 4)]:
        case("contraction", "Det", shape)


def convolution():
    settings = [dict(), dict(strides=2), dict(dilations=2), dict(pads=1), dict(strides=2, pads=1), dict(strides=3, dilations=2),
                dict(strides=2, pads=2, dilations=2)]
    for dims, setting, group, bias in itertools.product([1, 2, 3], settings, [1, 2, 4], [False, True]):
        if (dims == 3 and group == 4) or (bias and setting):
            continue
        size = (7,) * (dims - 1) + (8,) if dims < 3 else (5, 6, 5)
        attributes = {name: [value] * (dims * (2 if name == "pads" else 1)) for name, value in setting.items()}
        kernel = (2,) * dims if dims == 3 else (3,) * dims
        rest = [(4,)] if bias else []
        case("convolution", "Conv", (2, 4) + size, (4, 4 // group) + kernel, *rest, group=group, **attributes)
    for pad, stride in itertools.product(["SAME_UPPER", "SAME_LOWER", "VALID"], [1, 2]):
        case("convolution", "Conv", (1, 2, 7, 6), (3, 2, 3, 2), auto_pad=pad, strides=[stride, stride])
    case("convolution", "Conv", (1, 2, 7, 6), (3, 2, 3, 2), pads=[0, 2, 1, 0], strides=[1, 3])
    transposed = [dict(), dict(strides=2), dict(dilations=2), dict(pads=1), dict(strides=2, pads=1, output_padding=1),
                  dict(strides=3, output_padding=2)]
    for dims, setting, group in itertools.product([1, 2, 3], transposed, [1, 2]):
        attributes = {name: [value] * (dims * (2 if name == "pads" else 1)) for name, value in setting.items()}
        # The reference evaluator has groups of one channel only.
        channels, filters = (2, (2, 1)) if group == 2 else (3, (3, 2))
        case("convolution", "ConvTranspose", (2, channels) + (4, 3, 3)[:dims], filters + (3, 2, 2)[:dims], group=group,
             **attributes)
    case("convolution", "ConvTranspose", (1, 3, 4, 4), (3, 2, 3, 3), (2,))


def pooling():
    for operator, (kernel, setting) in itertools.product(
            ["MaxPool", "AveragePool", "LpPool"],
            [([2, 2], {}), ([3, 2], dict(strides=[2, 1])), ([3, 3], dict(pads=[1, 1, 1, 1])),
             ([3, 3], dict(strides=[2, 2], pads=[1, 0, 1, 1])), ([2, 2], dict(strides=[3, 3])),
             ([2, 2], dict(dilations=[2, 2])), ([3, 3], dict(strides=[2, 2], ceil_mode=1)),
             ([3, 3], dict(strides=[2, 2], auto_pad="SAME_UPPER")), ([3, 3], dict(strides=[2, 2], auto_pad="SAME_LOWER"))]):
        # The evaluator's MaxPool has indices only with strides or dilations, and not with SAME_LOWER.
        if operator == "MaxPool" and (not setting or "strides" not in setting and "pads" in setting or
                                      setting.get("auto_pad") == "SAME_LOWER"):
            continue
        if operator == "LpPool" and "ceil_mode" in setting:
            continue  # the evaluator's own result is wrong at the border (onnxruntime's is not)
        case("pooling", operator, (2, 2, 7, 8), kernel_shape=kernel, **setting)
    for operator in ["MaxPool", "AveragePool", "LpPool"]:
        case("pooling", operator, (2, 3, 9), kernel_shape=[3], strides=[2])
        case("pooling", operator, (1, 2, 4, 5, 4), kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    for p in [1, 3]:
        case("pooling", "LpPool", (1, 2, 5, 5), kernel_shape=[2, 2], p=p)
    for pads, ceil in itertools.product([[1, 1, 1, 1], [0, 0, 1, 1]], [0, 1]):
        case("pooling", "AveragePool", (1, 2, 6, 7), kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=ceil,
             count_include_pad=1)
    for shape in [(2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 2, 3)]:
        case("pooling", "GlobalAveragePool", shape)
    case("pooling", "GlobalMaxPool", (2, 3, 4, 5))  # the evaluator has it of images only
    for shape, p in [((2, 3, 5), 2), ((2, 3, 4, 5), 1), ((2, 3, 4, 5), 3)]:
        case("pooling", "GlobalLpPool", shape, p=p, low=0.2, runtime="onnxruntime")
    places = np.array([0, 3, 10, 15]).reshape(1, 1, 2, 2) + np.array([0, 16]).reshape(1, 2, 1, 1)
    case("pooling", "MaxUnpool", (1, 2, 2, 2), places, kernel_shape=[2, 2], strides=[2, 2], runtime="onnxruntime")
    case("pooling", "MaxUnpool", (1, 2, 2, 2), places, ints(1, 2, 4, 4), kernel_shape=[2, 2], strides=[2, 2],
         runtime="onnxruntime")


def normalization():
    for shape, training in itertools.product([(4, 3), (2, 3, 5), (2, 3, 4, 5), (2, 2, 3, 2, 3)], [0, 1]):
        statistics = [np.linspace(-0.3, 0.4, shape[1]), np.linspace(0.5, 1.5, shape[1])]
        case("normalization", "BatchNormalization", shape, (shape[1],), (shape[1],), *statistics, training_mode=training,
             outputs=3 if training else 1, take=[0], epsilon=1e-3)
    for shape, axis, bias in itertools.product([(3, 4), (2, 3, 4), (2, 3, 2, 3)], [-1, 1], [True, False]):
        tail = shape[axis:]
        case("normalization", "LayerNormalization", shape, tail, *([tail] if bias else []), axis=axis, epsilon=1e-3,
             single=True)  # ONNX has its statistics in float32 only
        if not bias:
            case("normalization", "RMSNormalization", shape, tail, axis=axis, epsilon=1e-3, opset=23)
    case("normalization", "LayerNormalization", (2, 3, 4), (1, 4), (4,), axis=1, single=True)
    for shape, groups in [((2, 4, 5), 2), ((2, 6, 3, 2), 3), ((1, 4, 3, 3), 1), ((2, 4, 3), 4)]:
        case("normalization", "GroupNormalization", shape, (shape[1],), (shape[1],), num_groups=groups, epsilon=1e-3,
             single=True)  # the evaluator computes it in float32 from opset 21 on
    case("normalization", "GroupNormalization", (2, 6, 3, 2), (3,), (3,), num_groups=3, opset=18)
    for shape in [(2, 3, 5), (2, 3, 4, 4), (1, 2, 3, 2, 3)]:
        case("normalization", "InstanceNormalization", shape, (shape[1],), (shape[1],), epsilon=1e-3)
    for size in [1, 2, 3, 5]:  # as many images as channels: the evaluator takes one for the other
        case("normalization", "LRN", (6, 6, 3, 2), size=size, alpha=0.3, beta=0.6, bias=1.5)
    for p, axis in itertools.product([1, 2], [-1, 0, 1]):
        # The evaluator sums x, not |x|, for p = 1.
        case("normalization", "LpNormalization", (3, 4, 2), p=p, axis=axis, low=0.3 if p == 1 else -2)
    case("normalization", "MeanVarianceNormalization", (2, 3, 4, 5), axes=[0, 2, 3], single=True)
    case("normalization", "MeanVarianceNormalization", (2, 3, 4, 5), axes=[2, 3], single=True)
    for operator, (shape, axis) in itertools.product(["Softmax", "LogSoftmax"],
                                                     [((5,), -1), ((3, 4), 1), ((3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), -2)]):
        case("normalization", operator, shape, axis=axis)


def losses():
    for shape, reduction, weight, ignore in itertools.product([(4, 5), (2, 5, 3), (2, 5, 3, 2)], ["mean", "sum", "none"],
                                                              [False, True], [None, 2]):
        labels = np.arange(np.prod(shape[:1] + shape[2:])).reshape(shape[:1] + shape[2:]) % shape[1]
        rest = [np.linspace(0.5, 1.5, shape[1])] if weight else []
        attributes = {"reduction": reduction} | ({} if ignore is None else {"ignore_index": ignore})
        case("losses", "SoftmaxCrossEntropyLoss", shape, labels, *rest, **attributes)
        case("losses", "NegativeLogLikelihoodLoss", shape, labels, *rest, **attributes)


def reduction():
    operators = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
                 "ReduceLogSumExp"]
    variants = [((3, 4), None), ((3, 4), ints(1)), ((3, 4), ints(-2)), ((2, 3, 4), ints(0, 2)), ((2, 3, 4), ints(1))]
    for operator, (shape, axes), keep in itertools.product(operators, variants, [0, 1]):
        case("reduction", operator, shape, *([] if axes is None else [axes]), keepdims=keep, opset=20)
    for (shape, axes), keep in itertools.product(variants, [0, 1]):
        case("reduction", "ReduceLogSum", shape, *([] if axes is None else [axes]), keepdims=keep, low=0.3, opset=20)
    for exclusive, reverse, axis in itertools.product([0, 1], [0, 1], [0, 1]):
        case("reduction", "CumSum", (3, 4), np.array(axis, np.int64), exclusive=exclusive, reverse=reverse)
    for exclusive, backwards, axis in itertools.product([0, 1], [0, 1], [0, 1]):
        case("reduction", "CumProd", (3, 4), np.array(axis), exclusive=exclusive, reverse=backwards, opset=26, low=0.4)


def layout():
    case("layout", "Reshape", (3, 4), ints(2, 6))
    case("layout", "Reshape", (3, 4), ints(-1))
    case("layout", "Flatten", (2, 3, 4), axis=2)
    case("layout", "Squeeze", (1, 3, 1, 2), ints(0, 2))
    case("layout", "Unsqueeze", (3, 2), ints(0, 3))
    for perm in [None, [1, 0, 2], [2, 0, 1], [0, 2, 1]]:
        case("layout", "Transpose", (2, 3, 4), **({} if perm is None else {"perm": perm}))
    for starts, ends, axes, steps in [([1], [3], [0], [1]), ([0, 1], [2, 3], [0, 1], [1, 1]), ([0], [100], [1], [2]),
                                      ([-1], [-100], [1], [-1]), ([-2], [-100], [0], [-2]), ([1, -1], [4, -4], [0, 2], [2, -1]),
                                      ([-3], [-1], [1], [1])]:
        case("layout", "Slice", (4, 5, 6), ints(*starts), ints(*ends), ints(*axes), ints(*steps))
    case("layout", "Split", (6, 4), ints(2, 3, 1), outputs=3, axis=0)
    case("layout", "Split", (6, 4), ints(2, 3, 1), outputs=3, axis=0, take=[1])
    case("layout", "Split", (6, 4), outputs=2, axis=1, num_outputs=2)
    for shape, to in [((3, 1), (2, 3, 4)), ((1,), (3, 2)), ((3, 4), (3, 1)), ((), (2, 2))]:
        case("layout", "Expand", shape, ints(*to))
    for axis in [0, 1, -1]:
        case("layout", "Concat", (2, 3), (2, 3), (2, 3), axis=axis)
    case("layout", "Concat", (2, 3), (4, 3), axis=0)
    for repeats in [(1, 2), (3, 1), (2, 3)]:
        case("layout", "Tile", (2, 3), ints(*repeats))
    for mode, pads in itertools.product(["constant", "reflect", "edge", "wrap"], [(0, 1, 0, 1), (2, 1, 1, 2), (0, 0, 2, 0)]):
        case("layout", "Pad", (4, 5), ints(*pads), mode=mode)
    case("layout", "Pad", (4, 5), ints(1, 2), doubles(0.5)[0], ints(1))
    for size, axes in [((3, 7), None), ((6, 3), None), ((9,), [1])]:
        case("layout", "CenterCropPad", (4, 5), ints(*size), **({} if axes is None else {"axes": axes}))
    case("layout", "SpaceToDepth", (1, 2, 4, 6), blocksize=2)
    for mode in ["DCR", "CRD"]:
        case("layout", "DepthToSpace", (1, 8, 2, 3), blocksize=2, mode=mode)
    for upper, k in itertools.product([0, 1], [-1, 0, 2]):
        case("layout", "Trilu", (2, 4, 5), np.array(k, np.int64), upper=upper)
    case("layout", "ReverseSequence", (4, 3, 2), ints(4, 2, 1), time_axis=0, batch_axis=1)


def gather():
    for axis, index in itertools.product([0, 1, -1], [np.array(1), ints(0, 2, 2), ints(-1, 0), np.array([[0, 1], [2, 0]])]):
        case("gather", "Gather", (3, 4, 3), index, axis=axis)
    for axis, shape in [(0, (3, 4)), (1, (2, 4))]:
        case("gather", "GatherElements", shape, np.array([[0, 2, 1, 2], [1, 0, -1, 2]]), axis=axis)
    for index, batch in [([[0, 1], [2, 0], [0, 1]], 0), ([[1], [0]], 0), ([[[1], [0]], [[2], [2]]], 1), ([[1], [-1]], 1)]:
        case("gather", "GatherND", (2, 3, 4) if batch else (3, 4), np.array(index), batch_dims=batch)
    for axis, how in itertools.product([0, 1], ["none", "add", "mul", "min", "max"]):
        index = np.array([[0, 2, 1], [2, 1, 0]]) if how == "none" else np.array([[0, 2, 1], [0, 1, 1]])
        index = index.T if axis else index
        case("gather", "ScatterElements", (3, 3), index, index.shape, axis=axis, reduction=how, low=0.3)
    for how in ["none", "add", "mul", "min", "max"]:
        index = np.array([[0], [2]]) if how in ("none", "min", "max") else np.array([[0], [2], [0]])
        case("gather", "ScatterND", (4, 3), index, (len(index), 3), reduction=how, low=0.3)
    for axis, largest in itertools.product([0, 1], [0, 1]):
        case("gather", "TopK", (4, 5), ints(2), axis=axis, largest=largest, outputs=2, take=[0])
    case("gather", "Compress", (3, 4), np.array([True, False, True]), axis=0)
    case("gather", "Compress", (3, 4), np.array([False, True, True, False, True]))


def resampling():
    for mode, transform, size in itertools.product(
            ["nearest", "linear", "cubic"], ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel",
                                             "half_pixel_symmetric"], [(6, 7), (2, 5), (4, 9)]):
        case("resampling", "Resize", (1, 2, 4, 5), None, None, ints(1, 2, *size), mode=mode,
             coordinate_transformation_mode=transform, single=mode == "cubic")
    for nearest in ["floor", "ceil", "round_prefer_ceil", "round_prefer_floor"]:
        case("resampling", "Resize", (1, 1, 4, 5), None, np.array([1, 1, 1.7, 0.6], np.float32), mode="nearest",
             nearest_mode=nearest)
    for mode in ["linear", "cubic"]:
        case("resampling", "Resize", (1, 1, 7, 8), None, None, ints(1, 1, 3, 5), mode=mode, antialias=1, single=True)
        case("resampling", "Resize", (1, 1, 4, 5), None, None, ints(1, 1, 7, 9), mode=mode, exclude_outside=1, single=True)
    for padding, corners, mode in itertools.product(["zeros", "border", "reflection"], [0, 1], ["linear", "nearest", "cubic"]):
        attributes = dict(padding_mode=padding, align_corners=corners, mode=mode)
        # One of the two at a time: a step along the grid must not cross a pixel's edge.
        for image, grid in [((2, 3, 4, 5), (2, 3, 2, 2)), ((1, 2, 3, 4, 3), (1, 2, 3, 2, 3))]:
            if mode == "cubic" and len(image) == 5:
                continue
            # The evaluator moves cubic samples inside, not each of their pixels.
            where = dict(runtime="onnxruntime") if mode == "cubic" else dict(single=True)
            places = np.random.default_rng(7).uniform(-1.3, 1.3, grid)
            case("resampling", "GridSample", image, places, **where, **attributes)
            if mode != "nearest":
                pixels = np.random.default_rng(8).uniform(-2, 2, image)
                case("resampling", "GridSample", pixels, grid, low=-1.3, high=1.3, step=1e-3, **where, **attributes)
    case("resampling", "Col2Im", (1, 8, 6), ints(3, 4), ints(2, 2))
    case("resampling", "Col2Im", (1, 8, 12), ints(5, 5), ints(2, 2), pads=[0, 1, 1, 0], strides=[1, 2], dilations=[2, 1])


def recurrent():
    for operator, gates in [("RNN", 1), ("GRU", 3), ("LSTM", 4)]:
        w, r, b = (1, gates * 3, 2), (1, gates * 3, 3), (1, 2 * gates * 3)
        for biased, state in itertools.product([False, True], repeat=2):
            operands = [(4, 2, 2), w, r] + ([b] if biased else [None] if state else [])
            if state:
                operands += [None, (1, 2, 3)] + ([(1, 2, 3)] if operator == "LSTM" else [])
            for lbr in [0, 1] if operator == "GRU" else [None]:
                extra = {} if lbr is None else {"linear_before_reset": lbr}
                case("recurrent", operator, *operands, hidden_size=3, outputs=2, **extra)
                case("recurrent", operator, *operands, hidden_size=3, outputs=2, take=[1], **extra)
        case("recurrent", operator, (2, 4, 2), w, r, b, hidden_size=3, layout=1, outputs=1)
    case("recurrent", "LSTM", (4, 2, 2), (1, 12, 2), (1, 12, 3), (1, 24), None, (1, 2, 3), (1, 2, 3), (1, 9), hidden_size=3,
         outputs=3)


def attention():
    for (q, k), causal in itertools.product([((2, 2, 3, 4), (2, 2, 5, 4)), ((1, 4, 3, 4), (1, 2, 3, 4))], [0, 1]):
        case("attention", "Attention", q, k, k, is_causal=causal, opset=23)
        case("attention", "Attention", q, k, k, (q[2], k[2]), is_causal=causal, opset=23)
    keep = np.array([[True, True, False, True, True], [True] * 5, [False, True, True, True, False]])
    case("attention", "Attention", (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4), keep, opset=23)
    case("attention", "Attention", (2, 3, 8), (2, 5, 8), (2, 5, 8), q_num_heads=2, kv_num_heads=2, opset=23)
    case("attention", "Attention", (2, 3, 8), (2, 5, 4), (2, 5, 4), q_num_heads=4, kv_num_heads=2, scale=0.3, softcap=2.0,
         opset=23)
    case("attention", "Attention", (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), None, (1, 2, 2, 4), (1, 2, 2, 4), is_causal=1,
         outputs=3, opset=23)
    for mode, version in itertools.product([0, 1, 2, 3], [23, 24]):
        # The evaluator hands out capped scores as mode 0 too; ONNX's text and function body say those before the cap.
        cap = {"softcap": 1.5} if mode > 0 else {}
        case("attention", "Attention", (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (3, 3), outputs=4, take=[0, 3],
             qk_matmul_output_mode=mode, opset=version, low=-1, high=1, **cap)
    case("attention", "Attention", (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4), None, None, None, ints(4, 5), opset=24)
    case("attention", "Attention", (1, 4, 2, 4), (1, 2, 2, 4), (1, 2, 2, 4), (2, 5), (1, 2, 3, 4), (1, 2, 3, 4), outputs=3, opset=24)
    table = np.linspace(-1, 1, 6).reshape(3, 2)
    for interleaved, (shape, heads) in itertools.product([0, 1], [((2, 2, 3, 4), 0), ((2, 3, 8), 2)]):
        attributes = {"interleaved": interleaved} | ({"num_heads": heads} if heads else {})
        case("attention", "RotaryEmbedding", shape, table, table[::-1].copy(), np.array([[0, 1, 2], [2, 0, 1]]), opset=23,
             single=True, **attributes)
    case("attention", "RotaryEmbedding", (1, 2, 3, 6), np.ones((3, 1)), np.full((3, 1), 0.5), ints(0, 1, 2)[None], opset=23,
         single=True, rotary_embedding_dim=2)


def caches():
    """States, caches, boxes, and what ONNX describes by function bodies."""
    for shape in [(3, 5), (2, 3, 4)]:
        case("caches", "SwiGLU", shape, shape, opset=28)
        case("caches", "SwiGLU", shape, shape, opset=28, alpha=1.7)
    for bias, past, activation in itertools.product([False, True], [False, True], ["none", "silu"]):
        operands = [(2, 3, 5), (3, 1, 3)] + ([(3,)] if bias else [None] if past else []) + ([(2, 3, 2)] if past else [])
        case("caches", "CausalConvWithState", *operands, outputs=2, opset=27, activation=activation,
             single=True)  # ONNX's body computes in float32
    for rule, (q, kv), past in itertools.product(["linear", "gated", "delta", "gated_delta"], [(2, 2), (4, 2)], [False, True]):
        operands = [(2, 3, q * 2), (2, 3, kv * 2), (2, 3, kv * 3), (2, kv, 2, 3) if past else None]
        operands += [(2, 3, kv) if "gated" in rule else None] + ([(2, 3, kv)] if "delta" in rule else [])
        case("caches", "LinearAttention", *operands, outputs=2, opset=27, q_num_heads=q, kv_num_heads=kv, update_rule=rule,
             low=-0.8, high=0.8, single=True)
    for mode, at in itertools.product(["linear", "circular"], [None, ints(1, 2), ints(0, 3)]):
        if mode == "linear" and at is not None and at.max() > 2:
            continue
        case("caches", "TensorScatter", (2, 3, 5, 4), (2, 3, 3, 4), at, opset=24, mode=mode)
    case("caches", "TensorScatter", (2, 5, 4), (2, 2, 4), ints(3, 0), opset=24, axis=1)
    boxes = doubles(0.4, 0.7, 5.2, 4.1, 2.0, 1.0, 7.5, 3.0, -1.5, -2.0, 3.3, 6.7).reshape(3, 4)
    for ratio, how, scale in itertools.product([0, 1, 2], ["half_pixel", "output_half_pixel"], [1.0, 0.6]):
        case("caches", "RoiAlign", (2, 3, 6, 7), boxes, ints(0, 1, 1), sampling_ratio=ratio, spatial_scale=scale,
             coordinate_transformation_mode=how, output_height=3, output_width=2, runtime="onnxruntime")
    case("caches", "RoiAlign", (2, 3, 6, 7), boxes, ints(0, 1, 1), sampling_ratio=2, opset=10, runtime="onnxruntime")
    windows = np.array([[0, 0, 0, 4, 3], [1, 1, 2, 6, 5], [1, 2, 2, 3, 2]], np.float64)
    for pooled, scale in [((2, 2), 1.0), ((3, 2), 1.0), ((1, 1), 0.5)]:
        case("caches", "MaxRoiPool", (2, 3, 6, 7), windows, pooled_shape=pooled, spatial_scale=scale, runtime="onnxruntime",
             step=1e-3)


def contrib():
    """com.microsoft's operators, where onnxruntime has them on its CPU."""
    def micro(operator, *inputs, **options):
        case("contrib", "com.microsoft::" + operator, *inputs, runtime="onnxruntime", **options)
    for shape in [(5,), (2, 3, 4)]:
        micro("Gelu", shape)
        micro("FastGelu", shape)
        micro("QuickGelu", shape)
        micro("QuickGelu", shape, alpha=0.8)
        micro("BiasGelu", shape, shape[-1:])
        micro("FastGelu", shape, shape[-1:])
    for ta, tb, alpha in itertools.product([0, 1], [0, 1], [1.0, 0.3]):
        micro("FusedMatMul", (2, 4, 3) if ta else (2, 3, 4), (2, 5, 4) if tb else (2, 4, 5), transA=ta, transB=tb, alpha=alpha)
    micro("FusedMatMul", (3, 2, 4), (2, 4, 5), transBatchA=1)
    micro("FusedGemm", (3, 4), (4, 5), (5,), activation="Tanh")
    micro("FusedGemm", (4, 3), (5, 4), transA=1, transB=1, alpha=0.7, activation="Sigmoid")
    for activation in ["Tanh", "Sigmoid"]:
        micro("FusedConv", (2, 4, 6, 5), (4, 2, 3, 3), (4,), activation=activation, group=2, pads=[1, 1, 1, 1])
    row = (6,)
    for shape in [(2, 3, 6), (4, 6)]:
        micro("SkipLayerNormalization", shape, shape, row, row, row, epsilon=1e-3)
        micro("SkipLayerNormalization", shape, shape, row, row, epsilon=1e-3)
        micro("SkipLayerNormalization", shape, shape, row, epsilon=1e-3)
        micro("SkipSimplifiedLayerNormalization", shape, shape, row, row, epsilon=1e-3)
        micro("SkipSimplifiedLayerNormalization", shape, shape, row, epsilon=1e-3)
        case("contrib", "SimplifiedLayerNormalization", shape, row, epsilon=1e-3, axis=-1, runtime="onnxruntime")
    micro("SkipLayerNormalization", (2, 3, 6), (2, 3, 6), row, row, outputs=4, take=[0, 3], epsilon=1e-3)
    words = np.array([[1, 3, 0], [2, 2, 1]], np.int32)
    micro("EmbedLayerNormalization", words, np.zeros((2, 3), np.int32), (5, 6), (4, 6), (2, 6), row, row, outputs=2, take=[0],
          epsilon=1e-3)
    for mask in [None, np.array([2, 3], np.int32), np.array([[1, 1, 0], [1, 0, 1]], np.int32)]:
        micro("Attention", (2, 3, 6), (6, 24), (24,), *([] if mask is None else [mask]), num_heads=2, low=-0.6, high=0.6)
    micro("Attention", (2, 3, 6), (6, 24), (24,), num_heads=2, unidirectional=1, low=-0.6, high=0.6)
    for scale in [None, 0.3]:
        extra = {} if scale is None else {"scale": scale}
        micro("MultiHeadAttention", (2, 3, 8), (2, 5, 8), (2, 5, 8), num_heads=2, **extra)
        micro("MultiHeadAttention", (2, 3, 8), (2, 5, 8), (2, 5, 8), (24,), num_heads=2, **extra)
    micro("MultiHeadAttention", (2, 3, 8), (2, 3, 8), (2, 3, 8), None, None, (1, 2, 3, 3), num_heads=2)
    micro("MultiHeadAttention", (2, 3, 8), (2, 3, 8), (2, 3, 8), num_heads=2, unidirectional=1)
    lengths, total = np.array([2, 2], np.int32), np.array(3, np.int32)
    for heads, local in itertools.product([2, 4], [-1, 2]):
        micro("GroupQueryAttention", (2, 3, heads * 8), (2, 3, 16), (2, 3, 16), None, None, lengths, total, num_heads=heads,
              kv_num_heads=2, local_window_size=local)
    table = np.linspace(-1, 1, 12).reshape(3, 4)
    wide = np.linspace(-1, 1, 24).reshape(3, 8)
    micro("GroupQueryAttention", (2, 3, 64), (2, 3, 32), (2, 3, 32), None, None, lengths, total, wide, wide[::-1].copy(),
          num_heads=4, kv_num_heads=2, do_rotary=1)
    for interleaved in [0, 1]:
        micro("RotaryEmbedding", (2, 2, 3, 8), np.array([[0, 1, 2], [2, 0, 1]]), table, table[::-1].copy(),
              interleaved=interleaved)
    micro("RotaryEmbedding", (2, 3, 16), np.array([[0, 1, 2], [2, 0, 1]]), table, table[::-1].copy(), num_heads=2)
    micro("Trilu", (3, 4), upper=0)
    micro("ExpandDims", (3, 4), np.array(1, np.int32))


FAMILIES = [elementwise, contraction, convolution, pooling, normalization, losses, reduction, layout, gather, resampling,
            recurrent, attention, caches, contrib]

# ---- Running a case.


def build(operator, inputs, attributes, options, random):
    """The one-node model and what to feed it."""
    names, graph_inputs, initializers, feeds = [], [], [], {}
    dtype, element = (np.float32, TensorProto.FLOAT) if options["single"] else (np.float64, TensorProto.DOUBLE)
    for i, operand in enumerate(inputs):
        names.append("" if operand is None else f"x{i}")
        if isinstance(operand, tuple):
            feeds[f"x{i}"] = np.asarray(random.uniform(options["low"], options["high"], operand), dtype)
            graph_inputs.append(helper.make_tensor_value_info(f"x{i}", element, operand))
        elif operand is not None:
            constant = np.asarray(operand)
            constant = constant.astype(dtype) if constant.dtype == np.float64 else constant
            initializers.append(numpy_helper.from_array(constant, f"x{i}"))
    outputs = [f"y{j}" for j in range(options["outputs"])]
    domain, _, operator = operator.rpartition("::")
    node = helper.make_node(operator, names, outputs, name="n", domain=domain, **attributes)
    taken = [outputs[j] for j in (options["take"] or range(len(outputs)))]
    graph = helper.make_graph([node], "g", graph_inputs,
                              [helper.make_tensor_value_info(y, element, None) for y in taken], initializers)
    imports = [helper.make_opsetid("", options["opset"])] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=imports, ir_version=10), feeds, taken


def runner(model, runtime):
    """A function from feeds to outputs by name."""
    if runtime == "reference":
        session = onnx.reference.ReferenceEvaluator(model)
        return lambda feeds: dict(zip(session.output_names, session.run(None, feeds)))
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])
    return lambda feeds: dict(zip([y.name for y in session.get_outputs()], session.run(None, feeds)))


def differentiate(program, model, folder):
    path, written = os.path.join(folder, "model.onnx"), os.path.join(folder, "training.onnx")
    onnx.save(model, path)
    done = subprocess.run([program, "differentiate", path, "-o", written, "--loss=none", "--input-gradients=on"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr.strip().split("\n")[0])
    onnx.checker.check_model(written, full_check=True)
    return written


def check(program, number, folder):
    _, operator, inputs, attributes, options = CASES[number]
    random = np.random.default_rng(zlib.crc32(describe(number).encode()))  # whichever other cases run
    model, feeds, taken = build(operator, inputs, attributes, options, random)
    forward = runner(model, options["runtime"])

    def run(values):
        results = forward(values)
        return [results[y] for y in taken]

    results = run(feeds)
    seeds = {f"seed.{y}": np.asarray(random.uniform(-1, 1, value.shape), value.dtype) for y, value in zip(taken, results)}
    tolerance, step = (SINGLE_TOLERANCE, SINGLE_STEP) if options["single"] else (TOLERANCE, STEP)
    step = options["step"] or step
    folder = os.path.join(folder, str(number))
    os.makedirs(folder)
    found = runner(differentiate(program, model, folder), options["runtime"])(feeds | seeds)
    for y, value in zip(taken, results):
        if not np.allclose(found[y], value, rtol=tolerance, atol=tolerance):
            raise AssertionError(f"output {y} differs")

    def objective(values):
        return sum(float((seed * value).sum()) for seed, value in zip(seeds.values(), run(values)))

    for name in feeds:
        gradient = found.get(f"grad.{name}")
        if gradient is None:
            raise AssertionError(f"no gradient of {name}")
        if gradient.shape != feeds[name].shape:
            raise AssertionError(f"gradient of {name} is {gradient.shape}, expected {feeds[name].shape}")
        for _ in range(DIRECTIONS):
            direction = np.asarray(random.uniform(-1, 1, gradient.shape), gradient.dtype)
            ahead = objective(feeds | {name: np.asarray(feeds[name] + step * direction, gradient.dtype)})
            behind = objective(feeds | {name: np.asarray(feeds[name] - step * direction, gradient.dtype)})
            expected, got = (ahead - behind) / (2 * step), float((gradient * direction).sum())
            if not abs(got - expected) <= tolerance * max(1, abs(expected), abs(got)):
                raise AssertionError(f"gradient of {name} along a direction is {got:.9g}, differences say {expected:.9g}")


def describe(number):
    _, operator, inputs, attributes, _ = CASES[number]
    operands = ", ".join("-" if x is None else str(list(x)) if isinstance(x, tuple) else f"const{list(x.shape)}"
                         for x in inputs)
    return f"{operator}({operands}) {attributes}"


def main():
    program, wanted = sys.argv[1], sys.argv[2:]
    for family in FAMILIES:
        if not wanted or family.__name__ in wanted:
            family()
    failures = {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(check, program, number, folder) for number in range(len(CASES))]
        for number, future in enumerate(futures):
            error = future.exception()
            if error is not None:
                failures[number] = error
                print(f"FAIL {describe(number)}: {type(error).__name__}: {str(error)[:300]}")
    for family in dict.fromkeys(row[0] for row in CASES):
        numbers = [number for number, row in enumerate(CASES) if row[0] == family]
        failed = sum(number in failures for number in numbers)
        print(f"{'FAIL' if failed else 'ok  '} {family:14} {len(numbers) - failed} of {len(numbers)} cases")
    print(f"{len(CASES) - len(failures)} of {len(CASES)} cases")
    few = len(CASES) < MINIMUM and not wanted
    if few:
        print(f"FAIL only {len(CASES)} cases, expected at least {MINIMUM}")
    sys.exit(1 if failures or few or not CASES else 0)


if __name__ == "__main__":
    main()
