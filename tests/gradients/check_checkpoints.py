"""Recomputation: what the analysis says is kept and computed again against torch.utils.checkpoint on the same parts, and
the gradients of a graph that recomputes against those of the graph that keeps everything.

    check_checkpoints.py REUSESCOPE checkpoints/*.onnx

The truths are make_checkpoints.py's. Saved bytes, the model's inputs apart, and recomputed FLOPs of contractions must be
equal; what is alive of recomputed tensors at once must not exceed what PyTorch's largest part saves. The peak of what the
step makes (activations and gradients) must lie within a tenth below PyTorch's: equal where only needed tensors are kept, as in a
ResNet without checkpoints; below where PyTorch keeps what backward does not need (scaled copies inside attention) or computes
the rest of a part again when nothing asks for it any more. Gradients and
running statistics are compared in onnxruntime with equal dropout seeds: bit for bit but for rounding.
"""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx

from check_models import differentiate, run_onnxruntime

# A chain has no blocks, and every value in it is read by the next kernel.
NOTHING_TO_DO = {"chain.onnx": ("blocks", "every=1")}
MADE = ("activation_bytes", "recomputed_bytes", "gradient_bytes", "parameter_gradient_bytes")
LEAST_OF_PEAK = 0.9
POLICIES = ("blocks", "every=4", "every=1", "sqrt", r"parts\.\d+")


def analyze(program, model, policy):
    done = subprocess.run([program, "analyze", model, "--loss=none", "--optimizer=sgd", "--dropout-mask=cpu",
                           f"--checkpoint={policy}", "--format=json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr.strip())
    return json.loads(done.stdout)


def check_analysis(program, model, truth):
    for policy, row in truth.items():
        report = analyze(program, model, policy)
        memory, recompute = report["memory"], report["totals"]["recompute"]
        found = {"saved_bytes": memory["stash_pytorch_eager_bytes"],
                 "saved_input_bytes": memory["stash_pytorch_eager_input_bytes"],
                 "recomputed_flops": recompute["contraction_flops"]}
        for key, value in found.items():
            if value != row[key]:
                raise AssertionError(f"{policy}: {key} {value}, PyTorch has {row[key]}")
        alive = max(sample["recomputed_bytes"] for sample, layer in zip(memory["timeline"], report["layers"])
                    if layer["phase"] != "recompute")  # what is alive only between recomputed kernels is not saved
        if alive > row["largest_part_bytes"]:
            raise AssertionError(f"{policy}: {alive} recomputed bytes at once, PyTorch {row['largest_part_bytes']}")
        peak = max(sum(sample[kind] for kind in MADE) for sample, layer in zip(memory["timeline"], report["layers"])
                   if layer["phase"] != "update")
        if not LEAST_OF_PEAK * row["peak_bytes"] <= peak <= row["peak_bytes"]:
            raise AssertionError(f"{policy}: peak of {peak} bytes, PyTorch's is {row['peak_bytes']}")
        print(f"ok   {os.path.basename(model):18} {policy:12} peak {peak / row['peak_bytes']:.3f} of PyTorch's, saved {found['saved_bytes']}, "
              f"recomputed FLOPs {found['recomputed_flops']}, alive at once {alive}")


def seeded(model, path):
    """The model with a seed in every Dropout: two graphs then drop the same."""
    proto = onnx.load(model)
    for i, node in enumerate(node for node in proto.graph.node if node.op_type == "Dropout"):
        node.attribute.append(onnx.helper.make_attribute("seed", 100 + i))
    onnx.save(proto, path)


def feeds_of(path):
    random = np.random.default_rng(0)
    inputs = onnx.load(path).graph.input
    return {entry.name: random.standard_normal([d.dim_value for d in entry.type.tensor_type.shape.dim])
            .astype(np.float32) for entry in inputs}


def check_gradients(program, model, folder):
    source = os.path.join(folder, "model.onnx")
    seeded(model, source)
    written = os.path.join(folder, "training.onnx")
    differentiate(program, source, written)
    feeds = feeds_of(written)
    expected = run_onnxruntime(written, feeds)
    for policy in POLICIES:
        if policy in NOTHING_TO_DO.get(os.path.basename(model), ()):
            continue
        differentiate(program, source, written, f"--checkpoint={policy}")
        again = sum(".recompute" in output for node in onnx.load(written).graph.node for output in node.output)
        if again == 0:
            raise AssertionError(f"{policy}: nothing is computed again")
        found = run_onnxruntime(written, feeds)
        if set(found) != set(expected):
            raise AssertionError(f"{policy}: outputs {sorted(set(found) ^ set(expected))} differ")
        worst = max(float(np.abs(found[key] - value).max() / max(np.abs(value).max(), 1e-30))
                    for key, value in expected.items())
        if not worst <= 1e-5:
            raise AssertionError(f"{policy}: gradients differ by {worst:.1e}")
        print(f"ok   {os.path.basename(model):18} {policy:12} {again} values computed again, worst {worst:.1e}")


def main():
    program, models = sys.argv[1], sys.argv[2:]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            try:
                with open(model[:-5] + ".json") as file:
                    check_analysis(program, model, json.load(file))
                check_gradients(program, model, folder)
            except Exception as error:
                failures += 1
                print(f"FAIL {os.path.basename(model):18} {str(error)[:600]}")
    sys.exit(1 if failures or not models else 0)


if __name__ == "__main__":
    main()
