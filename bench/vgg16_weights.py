#!/usr/bin/env python3
"""A VGG-16 file with its 528 MB of weights: `reusescope analyze` against loading it with onnx and inferring its shapes.

    python3 -m venv .venv && .venv/bin/pip install onnx==1.23.2
    .venv/bin/python bench/vgg16_weights.py [--program build/release/reusescope] [--runs 5]

Fills the shapes of models/vgg16.onnx with random numbers, writes the file into a temporary folder (or --keep PATH),
reads it once so that it is in the page cache, and runs both as whole processes, in turn. Wall time and largest resident
set are what the kernel reports of each process (wait4); the table has the median time and the largest set.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
THE_OTHER_WAY = "import sys, onnx; onnx.shape_inference.infer_shapes(onnx.load(sys.argv[1]))"


def write_model(path):
    import numpy
    import onnx
    from onnx import numpy_helper

    model = onnx.load(ROOT / "models" / "vgg16.onnx", load_external_data=False)
    generator = numpy.random.default_rng(0)
    for i, tensor in enumerate(model.graph.initializer):
        has_data = tensor.HasField("raw_data") or len(tensor.float_data) or len(tensor.int64_data)
        if tensor.data_type != onnx.TensorProto.FLOAT or (has_data and tensor.data_location != onnx.TensorProto.EXTERNAL):
            continue
        values = generator.standard_normal(tuple(tensor.dims), dtype=numpy.float32)
        filled = numpy_helper.from_array(values, tensor.name)
        # Keep what the file says of the tensor besides its data.
        filled.metadata_props.extend(tensor.metadata_props)
        model.graph.initializer[i].CopyFrom(filled)
    onnx.save(model, path)


def run(command):
    """Wall seconds and largest resident set in bytes of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return seconds, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build" / "release" / "reusescope", type=pathlib.Path)
    parser.add_argument("--runs", default=5, type=int)
    parser.add_argument("--keep", type=pathlib.Path, help="write the model here and leave it")
    parser.add_argument("--write", type=pathlib.Path, help="only write the model here")
    options = parser.parse_args()
    if options.write:
        write_model(options.write)
        return
    if not options.program.exists():
        sys.exit(f"{options.program} is not there: build it first (scripts/demo), or give --program")

    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or pathlib.Path(folder) / "vgg16-weights.onnx"
        # In a process of its own: a child's resident set starts with what its parent has.
        subprocess.run([sys.executable, __file__, "--write", path], check=True)
        size = path.stat().st_size
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
        commands = {
            "reusescope analyze": [options.program, "analyze", path, "--hardware", "a100-sxm-80gb"],
            "onnx.load + infer_shapes": [sys.executable, "-c", THE_OTHER_WAY, path],
        }
        results = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                results[name].append(run(command))

    print(f"vgg16 with weights: {size / 1e6:.0f} MB, median of {options.runs} runs\n")
    print(f"| {'':24} | {'wall ms':>9} | {'max RSS MB':>10} |")
    print(f"| {'---':24} | {'---:':>9} | {'---:':>10} |")
    for name, runs in results.items():
        print(f"| {name:24} | {1e3 * statistics.median(s for s, _ in runs):9.1f} | {max(m for _, m in runs) / 1e6:10.1f} |")
    ours, theirs = (statistics.median(s for s, _ in runs) for runs in results.values())
    print(f"\n{theirs / ours:.0f} times faster")


if __name__ == "__main__":
    main()
