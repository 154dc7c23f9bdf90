"""Whole models: gradients that `reusescope differentiate` writes against those of PyTorch's autograd.

    check_models.py REUSESCOPE [--checkpoint=sqrt ...] models/*.onnx        flags go to `reusescope differentiate`

Beside each model lies an .npz: inputs `in.<name>`, outputs `out.<name>`, output gradients `seed.<name>`, and autograd's
`grad.<initializer>` and `grad_in.<input>`. The file that is written must pass ONNX's full check; onnxruntime and ONNX's
reference evaluator (where it has the model's operators) must both compute the model's outputs from it, and every
gradient within 1e-3 of autograd's, relative to the tensor's largest entry. One line per model and runtime; exit code 1 if anything fails.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.reference
import onnxruntime

TOLERANCE = 1e-3
# A gradient that is zero but for rounding (a bias whose result is normalized) is as large as rounding leaves it.
NOISE = 1e-3


def relative_error(found, expected, floor=1e-30):
    """Largest difference over the largest entry of what is expected, which counts as at least `floor`."""
    if found.shape != expected.shape:
        raise AssertionError(f"shape {found.shape}, expected {expected.shape}")
    if not np.isfinite(found).all():  # max() below would pass over a NaN
        return float("inf")
    scale = max(float(np.abs(expected).max(initial=0)), floor)
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0)) / scale


def run_onnxruntime(path, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def run_reference(path, feeds):
    session = onnx.reference.ReferenceEvaluator(path)
    return dict(zip(session.output_names, session.run(None, feeds)))


RUNTIMES = {"onnxruntime": run_onnxruntime, "reference": run_reference}


def differentiate(program, model, path, *flags):
    """Runs the program and ONNX's full check on what it wrote."""
    done = subprocess.run([program, "differentiate", model, "-o", path, *flags], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr.strip())
    onnx.checker.check_model(path, full_check=True)


def compare(truth, results):
    """The largest relative error over all outputs and gradients of the truth, and whose it is."""
    worst = (0.0, "")
    largest = max(float(np.abs(truth[key]).max(initial=0)) for key in truth.files if key.startswith("grad"))
    for key in truth.files:
        kind, name = key.split(".", 1)
        if kind in ("in", "seed"):
            continue
        output = {"out": name, "grad": f"grad.{name}", "grad_in": f"grad.{name}"}[kind]
        if output not in results:
            if kind != "out" and not truth[key].any():
                continue  # nothing differentiable leads there, which autograd calls zero
            raise AssertionError(f"no output '{output}'")
        worst = max(worst, (relative_error(results[output], truth[key], NOISE * largest), output))
    return worst


def runs_model(run, model, truth):
    """Whether the runtime computes the model itself right: ONNX's evaluator lacks a few forms (grouped ConvTranspose)."""
    try:
        results = run(model, {key[3:]: truth[key] for key in truth.files if key.startswith("in.")})
    except Exception:
        return False
    outputs = [key for key in truth.files if key.startswith("out.")]
    return all(results[key[4:]].shape == truth[key].shape and
               np.allclose(results[key[4:]], truth[key], rtol=1e-3, atol=1e-4) for key in outputs)


def check(program, model, runtimes, folder, flags=()):
    truth = np.load(model[:-5] + ".npz")
    path = os.path.join(folder, "training.onnx")
    feeds = {key[3:]: truth[key] for key in truth.files if key.startswith("in.")}
    feeds |= {key: truth[key] for key in truth.files if key.startswith("seed.")}
    differentiate(program, model, path, *flags)
    for name in runtimes:
        if name != "onnxruntime" and not runs_model(RUNTIMES[name], model, truth):
            print(f"--   {os.path.basename(model):30} {name:12} does not compute the model itself")
            continue
        error, output = compare(truth, RUNTIMES[name](path, feeds))
        if not error <= TOLERANCE:
            raise AssertionError(f"{name}: {output} differs by {error:.2e} of its largest entry")
        print(f"ok   {os.path.basename(model):30} {name:12} worst {error:.1e} ({output})")


def main():
    program, given = sys.argv[1], sys.argv[2:]
    flags, models = [word for word in given if word.startswith("--")], [word for word in given if word[:2] != "--"]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            try:
                check(program, model, RUNTIMES, folder, flags)
            except Exception as error:  # a runtime's own exceptions too: each is a failure of this model
                failures += 1
                print(f"FAIL {os.path.basename(model):30} {str(error)[:600]}")
    sys.exit(1 if failures or not models else 0)


if __name__ == "__main__":
    main()
