"""Training files from end to end: losses against PyTorch's, dropout against its own mask, weights from other folders.

    check_losses.py REUSESCOPE losses.npz

One line per case; exit code 1 if anything fails.
"""

import os
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from check_models import differentiate, relative_error, run_onnxruntime

TOLERANCE = 1e-5


def linear(x, weight):
    operator = "MatMul" if weight.ndim == 2 else "Conv"
    graph = helper.make_graph([helper.make_node(operator, ["x", "weight"], ["y"], name="layer")], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(weight, "weight")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def check_loss(program, truths, name, folder):
    of = lambda key: truths[f"{name}.{key}"]
    source, written = os.path.join(folder, "model.onnx"), os.path.join(folder, "training.onnx")
    onnx.save(linear(of("x"), of("weight")), source)
    differentiate(program, source, written, f"--loss={name.split('.')[0]}")
    feeds = {"x": of("x")} | {key: of(key) for key in ("labels", "target") if f"{name}.{key}" in truths.files}
    found = run_onnxruntime(written, feeds)
    loss = next(value for key, value in found.items() if key.startswith("loss"))
    if not abs(float(loss) - float(of("loss"))) <= TOLERANCE * abs(float(of("loss"))):
        raise AssertionError(f"loss is {loss}, expected {of('loss')}")
    error = relative_error(found["grad.weight"], of("grad"))
    if not error <= TOLERANCE:
        raise AssertionError(f"grad.weight differs by {error:.1e} of its largest entry")


def check_dropout(program, folder):
    """What flows back has the mask and the scale of this very run."""
    ratio, train = numpy_helper.from_array(np.float32(0.3), "ratio"), numpy_helper.from_array(np.array(True), "train")
    nodes = [helper.make_node("Mul", ["x", "weight"], ["h"], name="scale"),
             helper.make_node("Dropout", ["h", "ratio", "train"], ["y", "mask"], name="drop", seed=7)]
    weight = np.linspace(0.5, 1.5, 50).astype(np.float32)
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (40, 50))],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, (40, 50)),
                               helper.make_tensor_value_info("mask", TensorProto.BOOL, (40, 50))],
                              [ratio, train, numpy_helper.from_array(weight, "weight")])
    source, written = os.path.join(folder, "model.onnx"), os.path.join(folder, "training.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    differentiate(program, source, written)
    random = np.random.default_rng(3)
    x, seed = (random.standard_normal((40, 50)).astype(np.float32) for _ in range(2))
    found = run_onnxruntime(written, {"x": x, "seed.y": seed})
    mask = found["mask"]
    if not 0.6 < mask.mean() < 0.8:
        raise AssertionError(f"{mask.mean():.0%} of the elements are kept, expected about 70 %")
    expected = seed * mask / np.float32(0.7)
    for name, truth in [("grad.x", expected * weight), ("grad.weight", (expected * x).sum(0)), ("y", x * weight * mask / 0.7)]:
        error = relative_error(found[name], truth)
        if not error <= TOLERANCE:
            raise AssertionError(f"{name} differs by {error:.1e} of its largest entry")


def check_external(program, truths, folder):
    """Weights in a file of their own are taken into a training graph of another folder, and are not where they stay."""
    of = lambda key: truths[f"mse.rows.{key}"]
    there, elsewhere = os.path.join(folder, "there"), os.path.join(folder, "elsewhere")
    os.makedirs(there), os.makedirs(elsewhere)
    source = os.path.join(there, "model.onnx")
    onnx.save(linear(of("x"), of("weight")), source, save_as_external_data=True, location="weights.bin", size_threshold=0)
    for target in (elsewhere, there):
        written = os.path.join(target, "training.onnx")
        differentiate(program, source, written, "--loss=mse")
        external = any(t.data_location == TensorProto.EXTERNAL
                       for t in onnx.load(written, load_external_data=False).graph.initializer)
        if external != (target == there):
            raise AssertionError(f"weights are {'external' if external else 'taken in'} in {os.path.basename(target)}")
        found = run_onnxruntime(written, {"x": of("x"), "target": of("target")})
        error = relative_error(found["grad.weight"], of("grad"))
        if not error <= TOLERANCE:
            raise AssertionError(f"grad.weight differs by {error:.1e} of its largest entry")


def main():
    program, truths = sys.argv[1], np.load(sys.argv[2])
    names = [key[:-len(".loss")] for key in truths.files if key.endswith(".loss")]
    checks = [(name, lambda folder, name=name: check_loss(program, truths, name, folder)) for name in names]
    checks += [("dropout", lambda folder: check_dropout(program, folder)),
               ("external weights", lambda folder: check_external(program, truths, folder))]
    failures = 0
    for name, check in checks:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(folder)
                print(f"ok   {name}")
            except Exception as error:
                failures += 1
                print(f"FAIL {name}: {str(error)[:400]}")
    sys.exit(1 if failures or not names else 0)


if __name__ == "__main__":
    main()
