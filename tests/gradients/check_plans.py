"""Graphs that recompute by a plan: the peak is the promised one, and the gradients are those of the graph that keeps all.

    check_plans.py REUSESCOPE model.onnx...

For each model the memory is set between the least that fits and what keeping everything takes, twice.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx

from check_checkpoints import feeds_of, seeded
from check_models import differentiate, run_onnxruntime

FLAGS = ["--loss=none", "--optimizer=sgd"]


def run(program, *arguments):
    done = subprocess.run([program, *arguments, "--format=json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr.strip())
    return json.loads(done.stdout)


def check(program, model, folder):
    source, plan_file = os.path.join(folder, "model.onnx"), os.path.join(folder, "plan.json")
    seeded(model, source)
    written = os.path.join(folder, "training.onnx")
    differentiate(program, source, written)
    feeds = feeds_of(written)
    expected = run_onnxruntime(written, feeds)
    whole = run(program, "plan", source, *FLAGS, "--memory=1TiB", "--time-limit=0")
    least, most = whole["least_bytes"], whole["keep_all_bytes"]
    if least >= most:
        raise AssertionError(f"nothing to gain: {least} of {most} bytes")
    for memory in (least, (least + most) // 2):
        plan = run(program, "plan", source, *FLAGS, f"--memory={memory}B", "--time-limit=10")
        with open(plan_file, "w") as file:
            json.dump(plan, file)
        report = run(program, "analyze", source, *FLAGS, f"--checkpoint=@{plan_file}")
        if not report["memory"]["peak_bytes"] == plan["peak_bytes"] <= memory:
            raise AssertionError(f"peak {report['memory']['peak_bytes']}, promised {plan['peak_bytes']} of {memory}")
        differentiate(program, source, written, f"--checkpoint=@{plan_file}")
        again = sum(".recompute" in output for node in onnx.load(written).graph.node for output in node.output)
        if again == 0:
            raise AssertionError("nothing is computed again")
        found = run_onnxruntime(written, feeds)
        if set(found) != set(expected):
            raise AssertionError(f"outputs {sorted(set(found) ^ set(expected))} differ")
        worst = max(float(np.abs(found[key] - value).max() / max(np.abs(value).max(), 1e-30))
                    for key, value in expected.items())
        if not worst <= 1e-5:
            raise AssertionError(f"gradients differ by {worst:.1e}")
        print(f"ok   {os.path.basename(model):26} {plan['plan']:8} {plan['peak_bytes']} of {memory} B, {again} values again, "
              f"worst {worst:.1e}")


def main():
    program, models = sys.argv[1], sys.argv[2:]
    failures = 0
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(program, model, folder)
            except Exception as error:
                failures += 1
                print(f"FAIL {os.path.basename(model):26} {str(error)[:600]}")
    sys.exit(1 if failures or not models else 0)


if __name__ == "__main__":
    main()
