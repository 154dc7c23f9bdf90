"""Training from .onnx files without PyTorch: a small CNN and a small transformer learn scikit-learn's handwritten digits.

    train_digits.py REUSESCOPE [--steps 200] [--plot FILE]

`reusescope differentiate` writes the training step of each model (cross-entropy, AdamW) as an .onnx file; onnxruntime
runs it, one call a step, and what it returns as new.* is fed to the next. The curves are compared with those of PyTorch
on the same models, batches and settings (digits_pytorch.json, which make_digits.py made): within 1e-4 over the first 20
steps and 1 % over all, and more than 95 % of the held-out digits must be right. Exit code 1 otherwise.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
from sklearn.datasets import load_digits

FOLDER = os.path.dirname(os.path.abspath(__file__))
BATCH, HELD_OUT = 64, 360
RATES = {"cnn": 1.2e-3, "transformer": 2e-3}  # learning rates, by model


def digits():
    """Images [n, 1, 8, 8] in [0, 1] and labels: those to train on, those held out."""
    data = load_digits()
    images, labels = (data.images / 16).astype(np.float32)[:, None], data.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    train, rest = order[HELD_OUT:], order[:HELD_OUT]
    return images[train], labels[train], images[rest], labels[rest]


def batches(count, steps):
    """Indices of each step's samples; every epoch is shuffled anew."""
    random = np.random.default_rng(1)
    left = np.empty(0, np.int64)
    for _ in range(steps):
        if len(left) < BATCH:
            left = random.permutation(count)
        taken, left = left[:BATCH], left[BATCH:]
        yield taken


class Step:
    """A training step that `reusescope differentiate` wrote. Parameters and optimizer states stay here between calls."""

    def __init__(self, program, model, rate, folder):
        self.rate = np.array(rate, np.float32)
        path = os.path.join(folder, "step.onnx")
        subprocess.run([program, "differentiate", model, "-o", path, f"--batch={BATCH}", "--loss=cross-entropy",
                        "--optimizer=adamw"], check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        given = {"image", "labels", "learning_rate", "step"}
        # Parameters are stored in the file; states begin as zeros.
        self.fed = {entry.name: np.zeros(entry.shape, np.float32) for entry in self.session.get_inputs()
                    if entry.name not in given}
        self.fetched = ["scores", "loss"] + [entry.name for entry in self.session.get_outputs()
                                             if entry.name.startswith("new.")]
        self.step = 0

    def run(self, images, labels, fetched):
        feeds = {"image": images, "labels": labels, "learning_rate": self.rate, "step": np.array(self.step)}
        return dict(zip(fetched, self.session.run(fetched, feeds | self.fed)))

    def train(self, images, labels):
        self.step += 1
        results = self.run(images, labels, self.fetched)
        self.fed = {name[4:]: value for name, value in results.items() if name.startswith("new.")}
        return float(results["loss"])

    def accuracy(self, images, labels):
        right = 0
        for begin in range(0, len(labels), BATCH):
            at = np.arange(begin, begin + BATCH) % len(labels)  # the batch is fixed: the last one begins anew
            count = min(BATCH, len(labels) - begin)
            scores = self.run(images[at], labels[at], ["scores"])["scores"]
            right += int((scores.argmax(1) == labels[at])[:count].sum())
        return right / len(labels)


def plot(curves, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, len(curves), figsize=(9, 3.2), sharey=True)
    for axis, (name, (ours, theirs, accuracy)) in zip(axes, curves.items()):
        axis.plot(range(1, len(theirs) + 1), theirs, color="#d95f02", linewidth=3.5, alpha=0.45, label="PyTorch")
        axis.plot(range(1, len(ours) + 1), ours, color="#1b4f8a", linewidth=1.1,
                  label="onnxruntime, graph by reusescope differentiate")
        axis.set(title=f"{name}: {accuracy:.1%} of held-out digits right", xlabel="step", yscale="log")
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("cross-entropy")
    axes[0].legend(loc="lower left", fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", metavar="REUSESCOPE")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    with open(os.path.join(FOLDER, "digits_pytorch.json")) as file:
        truth = json.load(file)
    images, labels, held_out_images, held_out_labels = digits()
    curves, failed = {}, False
    for name, rate in RATES.items():
        with tempfile.TemporaryDirectory() as folder:
            step = Step(options.program, os.path.join(FOLDER, f"digits_{name}.onnx"), rate, folder)
            losses = [step.train(images[at], labels[at]) for at in batches(len(labels), options.steps)]
            accuracy = step.accuracy(held_out_images, held_out_labels)
        theirs = truth[name]["losses"][:options.steps]
        off = np.abs(np.array(losses) - theirs) / np.array(theirs)
        ok = off[:20].max() <= 1e-4 and off.max() <= 1e-2 and accuracy > 0.95
        failed = failed or not ok
        curves[name] = losses, theirs, accuracy
        print(f"{'ok  ' if ok else 'FAIL'} {name:12} loss {losses[0]:.4f} to {losses[-1]:.4f}, off PyTorch's by "
              f"{off[:20].max():.1e} over 20 steps, {off.max():.1e} over all; {accuracy:.1%} of held-out digits right "
              f"(PyTorch {truth[name]['accuracy']:.1%})")
    if options.plot:
        plot(curves, options.plot)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
