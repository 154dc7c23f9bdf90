"""Every operator that ONNX marks differentiable has cases in check_operators.py, or a stated reason why it has no gradient.

    check_coverage.py REUSESCOPE

The list is that of the installed ONNX (121 in 1.23.2); reasons are those of `reusescope ops --markdown`. Exit code 1 if an
operator has neither, or both.
"""

import subprocess
import sys

from onnx import defs

import check_operators

EXPECTED = 121
# Differentiated by what they become on the way from opset to opset, under another name.
RENAMED = {"Scatter": "ScatterElements"}


def differentiable():
    flag = defs.OpSchema.DifferentiationCategory.Differentiable
    return {schema.name for schema in defs.get_all_schemas()
            if schema.domain == "" and any(formal.differentiation_category == flag for formal in schema.inputs)}


def main():
    done = subprocess.run([sys.argv[1], "ops", "--markdown"], capture_output=True, text=True, check=True)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    reasons = {row[0]: row[4] for row in rows if len(row) > 4 and row[4].startswith("none: ")}
    for family in check_operators.FAMILIES:
        family()
    cases = {row[1] for row in check_operators.CASES}
    names, failures = differentiable(), 0
    for name in sorted(names):
        if (RENAMED.get(name, name) in cases) == (name in reasons):
            failures += 1
            print(f"FAIL {name}: {'cases and a reason' if name in reasons else 'neither cases nor a reason'}")
    if len(names) != EXPECTED:
        failures += 1
        print(f"FAIL ONNX marks {len(names)} operators, expected {EXPECTED}")
    told = sorted(name for name in names if name in reasons)
    print(f"{len(names) - len(told)} of {len(names)} operators have cases; none have {', '.join(told)}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
