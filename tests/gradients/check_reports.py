"""`reusescope analyze` on what `reusescope differentiate` wrote against `reusescope analyze` on the model itself.

    check_reports.py REUSESCOPE FOLDER ...

The reports must be equal but for the file's name and the note that says what the file is, whatever the training graph was
written with. Flags given to `analyze` win over those. So must `compare`, `audit` and `sweep`.
"""

import json
import os
import subprocess
import sys
import tempfile

CASES = {
    "lenet5.onnx": [[], ["--loss=cross-entropy", "--optimizer=momentum", "--batch=16"]],
    "resnet18.onnx": [["--loss=mse", "--optimizer=adam", "--freeze=^layer[12]", "--checkpoint=blocks"],
                      ["--train=^(layer4|fc)"]],
    "tiny_bert.ts17.onnx": [["--loss=sum", "--optimizer=adamw", "--clip-norm=1", "--accumulate=4"]],
    "tiny_gpt.dynamo18.onnx": [["--loss=cross-entropy", "--optimizer=rmsprop", "--optimizer-setting=momentum=0.5",
                                "--optimizer-setting=centered=1", "--checkpoint=sqrt"]],
    "gpt2.dynamo18.eval.onnx": [["--loss=cross-entropy", "--optimizer=lamb", "--dim=batch=2", "--loss-scale=128"]],
}


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr.strip())
    return done.stdout


def report(program, model, flags):
    return json.loads(run(program, "analyze", model, "--format=json", *flags))


def check(program, model, flags, folder):
    written = os.path.join(folder, "training.onnx")
    run(program, "differentiate", model, "-o", written, *flags)
    same = [] if any(flag.startswith("--loss=") for flag in flags) else ["--loss=none"]
    for given in ([], ["--precision=amp-bf16", "--optimizer=sgd"]):
        names = {flag.split("=")[0] for flag in given}
        # A setting is one of an optimizer: it goes with it.
        if "--optimizer" in names and any(flag.startswith("--optimizer-setting") for flag in flags):
            continue
        kept = [flag for flag in flags if flag.split("=")[0] not in names]
        expected, found = report(program, model, kept + same + given), report(program, written, given)
        if expected["model"].pop("file") == found["model"].pop("file"):
            raise AssertionError("the reports are of one file")
        notes = [note for note in found["notes"] if "a training graph by 'reusescope differentiate" in note]
        if len(notes) != 1:
            raise AssertionError(f"no note that says what the file is: {found['notes']}")
        found["notes"].remove(notes[0])
        differing = [key for key in expected if expected[key] != found.get(key)]
        if differing or set(found) != set(expected):
            raise AssertionError(f"reports differ in {differing}")


OTHERS = {
    "compare": ["--hardware=a100-sxm-80gb"],
    "audit": ["--devices=a100*,v100*", "--precision=fp32"],
    "sweep": ["--capacity=1MiB,64MiB", "--bandwidth=1TB/s,2TB/s", "--policy=lru"],
}
MARK = "a training graph by 'reusescope differentiate"


def without_mark(value):
    """The JSON without the notes that say what the file is, and without the path of the file."""
    if isinstance(value, dict):
        return {key: without_mark(each) for key, each in value.items() if not (key in ("model", "file") and isinstance(each, str))}
    if isinstance(value, list):
        return [without_mark(each) for each in value if not (isinstance(each, str) and MARK in each)]
    return value


def check_others(program, model, flags, folder):
    written = os.path.join(folder, os.path.basename(model))  # columns and rows are called after the file
    run(program, "differentiate", model, "-o", written, *flags)
    same = [] if any(flag.startswith("--loss=") for flag in flags) else ["--loss=none"]
    for command, given in OTHERS.items():
        kept = [flag for flag in flags + same if command != "audit" or not flag.startswith("--batch")]
        expected, found = (run(program, command, path, "--format=json", *given, *extra)
                           for path, extra in [(model, kept), (written, [])])
        if MARK in expected or MARK not in found:
            raise AssertionError(f"{command}: no note that says what the file is")
        if without_mark(json.loads(expected)) != without_mark(json.loads(found)):
            raise AssertionError(f"{command}: the reports differ")


def main():
    program, folders = sys.argv[1], sys.argv[2:]
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, cases in CASES.items():
            model = next(os.path.join(folder, name) for folder in folders if os.path.exists(os.path.join(folder, name)))
            for flags in cases:
                try:
                    check(program, model, flags, scratch)
                    check_others(program, model, flags, scratch)
                    print(f"ok   {name:26} {' '.join(flags)}")
                except Exception as error:
                    failures += 1
                    print(f"FAIL {name:26} {' '.join(flags)}: {str(error)[:600]}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
