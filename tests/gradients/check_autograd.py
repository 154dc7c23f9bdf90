"""Every operator that PyTorch has: the gradient that `reusescope differentiate` writes, against autograd.

    check_autograd.py REUSESCOPE autograd.npz [OPERATOR ...]

The truths are make_autograd.py's, in float64. Each case becomes a model of one node; what was written for it must give
PyTorch's outputs and gradients in ONNX's reference evaluator, in float64, within 1e-7 of the tensor's largest entry (ONNX keeps attributes in float32). Forms
that the evaluator has in float32 only, or not at all, run in float32 (there or in onnxruntime) and within 2e-4. One line
per failure; exit code 1 if anything fails, or if fewer cases ran than there must be.
"""

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import check_operators

TOLERANCE, SINGLE_TOLERANCE = 1e-7, 2e-4
MINIMUM = 740
# Gradients smaller than this part of the largest of the case count as that large: they are what rounding leaves.
NOISE = 1e-3


def read(path):
    """The cases, each with the numbers that belong to it."""
    with np.load(path) as file:
        cases, numbers = json.loads(file["cases"].tobytes()), file["numbers"]
    at = 0

    def take(shape):
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return numbers[at - size:at].reshape(shape)

    for case in cases:
        case["values"] = [None if x is None else take(x[1:]).astype(x[0]) for x in case["operands"]]
        case["seeds"] = [take(shape) for shape in case["results"]]
        case["truths"] = [take(shape) for shape in case["results"]]
        case["gradients"] = [take(case["operands"][i][1:]) for i in case["differentiated"]]
    assert at == numbers.size, f"{at} numbers belong to cases, {numbers.size} are there"
    return cases


def check(program, case, folder):
    wanted = case["differentiated"]
    inputs = [x.shape if i in wanted else x for i, x in enumerate(case["values"])]
    model, feeds, taken = check_operators.build(case["operator"], inputs, case["attributes"], case | {"low": 0, "high": 1},
                                                np.random.default_rng(0))
    dtype = np.float32 if case["single"] else np.float64
    feeds = {name: case["values"][int(name[1:])].astype(dtype) for name in feeds}
    feeds |= {f"seed.{y}": seed.astype(dtype) for y, seed in zip(taken, case["seeds"])}
    os.makedirs(folder)
    found = check_operators.runner(check_operators.differentiate(program, model, folder), case["runtime"])(feeds)
    tolerance = SINGLE_TOLERANCE if case["single"] else TOLERANCE
    largest = max(np.abs(gradient).max(initial=0) for gradient in case["gradients"])
    expected = [(y, truth, 0) for y, truth in zip(taken, case["truths"])]
    expected += [(f"grad.x{i}", gradient, NOISE * largest) for i, gradient in zip(wanted, case["gradients"])]
    for name, truth, floor in expected:
        if name not in found:
            raise AssertionError(f"no output {name}")
        if found[name].shape != truth.shape:
            raise AssertionError(f"{name} is {found[name].shape}, expected {truth.shape}")
        scale = max(np.abs(truth).max(initial=0), floor, 1e-30)
        error = np.abs(found[name] - truth).max(initial=0) / scale
        if not error <= tolerance:  # NaN too
            raise AssertionError(f"{name} differs by {error:.1e} of its largest entry")


def describe(case):
    operands = ", ".join("-" if x is None else f"{x[0]}{x[1:]}" for x in case["operands"])
    return f"{case['operator']}-{case['opset']}({operands}) {case['attributes']}"


def main():
    program, only = sys.argv[1], sys.argv[3:]
    cases = [case for case in read(sys.argv[2]) if not only or case["operator"] in only]
    failures = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(check, program, case, os.path.join(folder, str(i))) for i, case in enumerate(cases)]
        for case, future in zip(cases, futures):
            error = future.exception()
            if error is not None:
                failures += 1
                print(f"FAIL {describe(case)}: {type(error).__name__}: {str(error)[:300]}")
    operators = {case["operator"] for case in cases}
    print(f"{len(cases) - failures} of {len(cases)} cases of {len(operators)} operators")
    few = len(cases) < MINIMUM and not only
    if few:
        print(f"FAIL only {len(cases)} cases, expected at least {MINIMUM}")
    sys.exit(1 if failures or few or not cases else 0)


if __name__ == "__main__":
    main()
