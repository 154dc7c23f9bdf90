"""Optimizers: three steps of the graph that `reusescope differentiate --optimizer` writes against torch.optim's.

    check_optimizers.py REUSESCOPE optimizers.npz

The model is y = x W + b; the truths are make_optimizers.py's. Parameters after every step, in onnxruntime, within 1e-5.
One line per optimizer and setting; exit code 1 if anything fails.
"""

import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from check_models import differentiate

TOLERANCE, RATE, STEPS = 1e-5, 0.05, 3


def linear(w, b):
    nodes = [helper.make_node("MatMul", ["x", "W"], ["xW"], name="product"),
             helper.make_node("Add", ["xW", "b"], ["y"], name="bias")]
    graph = helper.make_graph(nodes, "linear", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 4])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 3])],
                              [numpy_helper.from_array(w, "W"), numpy_helper.from_array(b, "b")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def check(program, name, truth, folder):
    model, written = os.path.join(folder, "linear.onnx"), os.path.join(folder, "step.onnx")
    onnx.save(linear(truth[f"{name}.W0"], truth[f"{name}.b0"]), model)
    prefix = f"{name}.setting."
    settings = [f"--optimizer-setting={key[len(prefix):]}={float(truth[key])!r}" for key in truth.files
                if key.startswith(prefix)]
    prefix = f"{name}.handling."
    handling = {key[len(prefix):]: float(truth[key]) for key in truth.files if key.startswith(prefix)}
    settings += [f"--{key.replace('_', '-')}={value:g}" for key, value in handling.items()]
    differentiate(program, model, written, f"--optimizer={name.split('.')[0]}", "--train=^[Wb]$", *settings)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}
    names = [entry.name for entry in session.get_outputs()]
    # States begin as zeros; parameters are fed from the second step on.
    fed = {key: np.zeros(shape, np.float32) for key, shape in shapes.items() if key.startswith(("W.", "b."))}
    worst = 0.0
    micro_batches = int(handling.get("accumulate", 1))
    steps = 0
    for t in range(1, STEPS + 1):
        for i in range(micro_batches):
            at = f"{t}.{i}" if micro_batches > 1 else f"{t}"
            finite = np.isfinite(truth[f"{name}.x{at}"]).all()
            # A step that is skipped is not counted, as in PyTorch.
            fed |= {"x": truth[f"{name}.x{at}"], "seed.y": truth[f"{name}.seed{at}"],
                    "learning_rate": np.float32(RATE), "step": np.int64(steps + 1)}
            steps += int(finite)
            results = dict(zip(names, session.run(names, {key: np.asarray(value) for key, value in fed.items()})))
            fed = {key[4:]: value for key, value in results.items() if key.startswith("new.")}
        worst = float(np.max([worst] + [np.abs(fed[p] - truth[f"{name}.{p}{t}"]).max() for p in "Wb"]))  # keeps a NaN
    if not worst <= TOLERANCE:
        raise AssertionError(f"differs by {worst:.2e}")
    print(f"ok   {name:20} worst {worst:.1e}")


def main():
    program, truth = sys.argv[1], np.load(sys.argv[2])
    names = [key[:-3] for key in truth.files if key.endswith(".W0")]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                check(program, name, truth, folder)
            except Exception as error:
                failures += 1
                print(f"FAIL {name:20} {str(error)[:400]}")
    sys.exit(1 if failures or not names else 0)


if __name__ == "__main__":
    main()
