"""Pictures of reports for the documentation.

    screenshots.py PROGRAM CHROMIUM FOLDER
"""

import pathlib
import sys
import tempfile

import browser as browsers

A100 = ["--hardware", "a100-sxm-80gb"]
# Name, theme, command, and the sections that the picture ends with.
PICTURES = [
    ("resnet50", "light", ["analyze", "models/resnet50.onnx", "--batch", "32", "--precision", "amp-bf16", *A100], "roofline"),
    ("bert", "dark", ["analyze", "models/bert_base.ts17.train.onnx", "--precision", "amp-bf16", *A100], "roofline"),
    ("gpt2", "light", ["analyze", "models/gpt2.dynamo18.eval.onnx", *A100], "roofline"),
    ("memory", "light", ["analyze", "models/resnet50.onnx", "--batch", "32", "--precision", "amp-bf16", *A100], "modules+memory+reuse"),
    ("audit", "light", ["audit", "models/resnet50.onnx", "--samples", "1e8", "--price", "a100-sxm-80gb=2.49/h", "--price",
                        "h100-sxm=3.99/h", "--price", "l4=0.80/h", "--price", "mi300x=3.49/h"], "ranking"),
    ("compare", "light", ["compare", "models/resnet50.onnx", "models/vit_b_16.ts17.train.onnx", "--batch", "32", *A100], "numbers"),
    ("sweep", "light", ["sweep", "models/resnet50.onnx", "--batch", "32", "--precision", "amp-bf16", "--capacity", "1MiB:1GiB:x2", "--bandwidth",
                        "250GB/s:8TB/s:x2", *A100], "map+curves"),
]
LIMIT_BYTES = 300_000


def main(program, executable, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browsers.chromium(executable) as browser:
        for name, theme, command, section in PICTURES:
            path = browsers.write_report(program, command, pathlib.Path(scratch) / "report.html")
            report = browsers.Page(browser, path, color_scheme=theme)
            # From the top, or from the first section that is named, to the end of the last.
            box = report.page.evaluate("""sections => {
                document.querySelector('header').style.position = 'static';
                for (const rest of document.querySelectorAll('.tree, .data-table, h3')) rest.hidden = sections.length > 1;
                const [first, last] = [sections[0], sections.at(-1)].map(id => document.getElementById(id).getBoundingClientRect());
                return {y: sections.length > 1 ? first.top : 0, height: last.bottom + 16 - (sections.length > 1 ? first.top : 0)};
            }""", section.split("+"))
            picture = folder / f"{name}.png"
            report.page.screenshot(path=picture, full_page=True, clip={"x": 0, "width": 1280, **box})
            report.close()
            size = picture.stat().st_size
            print(f"{picture}: {size:,} bytes")
            if size > LIMIT_BYTES:
                sys.exit(f"{picture} is larger than {LIMIT_BYTES:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
