"""The pages of --format html, driven in headless Chromium.

    check_report.py PROGRAM CHROMIUM analyze|audit|compare|sweep

Every page: no complaint on the console, no request but for the file itself, below the limit of size, every chart drawn,
hover shows a text, the arrow keys speak it, tables sort, filter and search, the theme follows the system and the button,
printing is light. Numbers on the page are held against --format json of the same command.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import onnx
from onnx import TensorProto, helper

import browser as browsers

PROGRAM, CHROMIUM = "", ""
DEVICE = ["--hardware", "a100-sxm-80gb"]
HOSTILE = ["</script><script>alert(1)</script>", "<b onmouseover='x'>\"quoted\" & %{x} &lt;", "größe 模型 \u202e \U0001f600",
           "@DATA@ @PLOTLY@ $& \\u003c"]


def run_json(arguments):
    return json.loads(subprocess.run([PROGRAM, *arguments, "--format", "json"], check=True, capture_output=True).stdout)


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.running = browsers.chromium(CHROMIUM)
        cls.browser = cls.running.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.running.__exit__(None, None, None)
        cls.folder.cleanup()

    def open(self, arguments, **context):
        path = browsers.write_report(PROGRAM, arguments, pathlib.Path(self.folder.name) / "report.html")
        self.assertLess(path.stat().st_size, browsers.LIMIT_BYTES)
        report = browsers.Page(self.browser, path, **context)
        self.addCleanup(report.close)
        self.addCleanup(lambda: self.assertEqual(report.complaints, []))
        self.assertEqual(report.page.locator("main > .warning").count(), 0, "the page says that it could not be drawn")
        return report.page

    def check_charts(self, page, least):
        """All are drawn, and the first point that has one shows its text, to the mouse and to a screen reader."""
        charts = page.locator(".chart")
        self.assertGreaterEqual(charts.count(), least)
        for index in range(charts.count()):
            chart = charts.nth(index)
            self.assertGreater(chart.locator("svg.main-svg").count(), 0)
            self.assertTrue(chart.get_attribute("aria-label"))
            if chart.locator(".icicle").count() > 0:
                continue
            chart.focus()
            page.keyboard.press("ArrowRight")
            first = page.inner_text("#announcer")
            self.assertRegex(first, r"\w", chart.get_attribute("aria-label"))
            page.wait_for_function("chart => chart.querySelectorAll('.hoverlayer .hovertext').length > 0", arg=chart.element_handle())
            page.keyboard.press("ArrowRight")
            self.assertRegex(page.inner_text("#announcer"), r"\w")

    def check_themes(self, page):
        def paper():
            return page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = paper()
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector(".chart[data-drawn=dark]")
        dark = paper()
        self.assertNotEqual(light, dark)
        page.click("#theme")
        page.wait_for_selector(".chart[data-drawn=light]")
        self.assertEqual(paper(), light)
        self.assertEqual(page.get_attribute("#theme", "aria-pressed"), "false")
        page.click("#theme")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        self.assertEqual(paper(), light)
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        self.assertEqual(paper(), dark)
        page.emulate_media(color_scheme="light")

    def check_keyboard(self, page):
        """Tab reaches the skip link first, then every link of the navigation. Of a page that was just opened."""
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.className"), "skip")
        links = page.locator("nav a").count()
        for _ in range(links):
            page.keyboard.press("Tab")
            self.assertEqual(page.evaluate("document.activeElement.parentElement.tagName"), "NAV")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.id"), "theme")
        unnamed = page.evaluate("""[...document.querySelectorAll('button, select, input, [tabindex="0"]')].filter(
            one => !(one.textContent.trim() || one.labels?.length || one.getAttribute('aria-label'))).length""")
        self.assertEqual(unnamed, 0)

    def check_sorting(self, table, heading):
        """Once is one order, twice the other, and the same rows are there."""
        header = table.locator("th", has=table.page.get_by_role("button", name=heading, exact=True))
        column = header.evaluate("th => [...th.parentElement.children].indexOf(th)")

        def cells():
            return table.locator(f"tbody tr td:nth-child({column + 1})").all_inner_texts()
        header.locator("button").click()
        once, order = cells(), header.get_attribute("aria-sort")
        header.locator("button").click()
        twice = cells()
        self.assertNotEqual(once, twice)
        self.assertEqual({order, header.get_attribute("aria-sort")}, {"ascending", "descending"})
        return twice if order == "descending" else once


class Analyze(ReportTest):
    def check_model(self, model, arguments):
        command = ["analyze", f"models/{model}", *DEVICE, *arguments]
        data = run_json(command)
        page = self.open(command)
        self.assertEqual(page.inner_text("h1"), model)
        self.assertEqual(page.inner_text(".verdict"), data["verdict"][0])
        self.check_charts(page, 5)
        self.check_layers(page, data)
        self.check_folding(page)
        self.check_traffic(page, data)

    def check_layers(self, page, data):
        table = page.locator("#layers .data-table")
        slowest = max(data["layers"], key=lambda layer: layer["seconds"])
        self.assertEqual(table.locator("tbody tr").first.locator("td.name").inner_text(), slowest["label"])
        flops = self.check_sorting(table, "FLOPs")
        self.assertEqual(len(flops), min(25, len(data["layers"])))
        table.get_by_label("Operator").select_option(slowest["op"])
        alike = [layer for layer in data["layers"] if layer["op"] == slowest["op"]]
        self.assertIn(f"of {len(alike):,}", table.get_by_role("status").inner_text())
        word = slowest["label"][-12:]
        table.get_by_label("Search").fill(word)
        found = sum(word.lower() in " ".join([layer["label"], layer["name"], layer["op"], layer["block"] or ""]).lower()
                    for layer in alike)
        self.assertIn(f"of {found:,}", table.get_by_role("status").inner_text())
        table.get_by_label("Search").fill("no such layer")
        self.assertEqual(table.locator("tbody tr").count(), 0)
        table.get_by_label("Search").fill("")
        table.get_by_label("Operator").select_option("")

    def check_folding(self, page):
        """The list opens by key, the icicle shows a module alone by click."""
        fold = page.locator("#modules .tree > details > details").first
        before = fold.locator("> *").count()
        fold.locator("> summary").focus()
        page.keyboard.press("Enter")
        page.wait_for_function("fold => fold.open && fold.children.length > 1", arg=fold.element_handle())
        self.assertGreater(fold.locator("> *").count(), before)
        page.keyboard.press("Enter")
        self.assertFalse(fold.evaluate("fold => fold.open"))
        widest = page.locator("#modules .chart .slice").nth(1)
        count = page.locator("#modules .pathbar").count()
        widest.locator(".surface").click(position={"x": 6, "y": 6})
        page.wait_for_function("count => document.querySelectorAll('#modules .pathbar').length > count", arg=count)

    def check_traffic(self, page, data):
        """Another traffic assumption moves the points; the labels tell its time, the one of the JSON."""
        def points():
            return page.evaluate("document.querySelector('#roofline .chart').data.filter(one => one.hovertext).map(one => one.x)")
        before = points()
        radio = page.locator("#roofline input[value=managed]")
        radio.check()
        self.assertNotEqual(points(), before)
        plotted = sum(len(xs) for xs in before)
        self.assertEqual(plotted, sum((layer["flops"] or 0) > 0 and layer["bytes"] > 0 for layer in data["layers"]))
        label = radio.locator("..").inner_text()
        shown = float(re.search(r"step ([\d.,]+)", label)[1].replace(",", ""))
        seconds = data["roofline"]["traffic_models"]["managed"]["step_seconds"]
        self.assertAlmostEqual(shown, seconds * (1e6 if "µs" in label else 1e3 if "ms" in label else 1), delta=0.01 * shown)

    def test_resnet50(self):
        self.check_model("resnet50.onnx", ["--batch", "32"])

    def test_bert(self):
        self.check_model("bert_base.ts17.train.onnx", ["--precision", "amp-bf16"])

    def test_gpt2_in_inference(self):
        self.check_model("gpt2.dynamo18.eval.onnx", ["--mode", "inference"])

    def test_keys_mouse_themes_and_paper(self):
        page = self.open(["analyze", "models/lenet5.onnx", *DEVICE])
        self.check_keyboard(page)
        self.check_themes(page)
        page.locator("#memory .chart").scroll_into_view_if_needed()
        page.locator("#memory .chart .nsewdrag").hover()
        text = page.locator("#memory .hoverlayer .hovertext").first
        text.wait_for()
        self.assertIn("alive", text.text_content())
        self.assertGreater(len(page.pdf()), 50_000)

    def test_without_a_device_and_with_two(self):
        page = self.open(["analyze", "models/lenet5.onnx"])
        self.assertEqual(page.locator("#roofline").count(), 0)
        self.check_charts(page, 3)
        two = self.open(["analyze", "models/lenet5.onnx", "--hardware", "t4", "--hardware", "l4"])
        before = two.inner_text(".verdict")
        two.locator("main > .controls select").select_option("1")
        self.assertNotEqual(two.inner_text(".verdict"), before)

    def test_hostile_names(self):
        nodes, value = [], "x"
        for index, name in enumerate(HOSTILE):
            nodes.append(helper.make_node("MatMul", [value, f"w{index}{name}"], [f"y{name}"], name=f"/{name}/{name}/MatMul"))
            value = f"y{name}"
        graph = helper.make_graph(
            nodes, HOSTILE[0], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
            [helper.make_tensor_value_info(value, TensorProto.FLOAT, [4, 8])],
            [helper.make_tensor(f"w{index}{name}", TensorProto.FLOAT, [8, 8], [0.0] * 64) for index, name in enumerate(HOSTILE)])
        path = pathlib.Path(self.folder.name) / "<i>hostile & \"model\".onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        page = self.open(["analyze", str(path), *DEVICE])
        page.on("dialog", lambda dialog: self.fail(f"a name was executed: {dialog.message}"))
        self.check_charts(page, 5)
        self.assertEqual(page.inner_text("h1"), path.name)
        text = page.evaluate("document.querySelector('#layers tbody').textContent")
        for name in HOSTILE:
            self.assertIn(name.replace("/", "."), text)  # a path of modules is joined by dots
        tensors = page.evaluate("document.querySelector('#memory tbody').textContent")
        self.assertIn(f"w0{HOSTILE[0]}", tensors)
        self.assertEqual(page.locator("main i, main [onmouseover], main script").count(), 0)



class Audit(ReportTest):
    def check_model(self, arguments):
        data = run_json(["audit", *arguments])
        page = self.open(["audit", *arguments])
        do = [device for device in data["devices"] if device["best"] is not None]
        self.assertIn(f"{len(do)} of {len(data['devices'])} devices can do it", page.inner_text(".verdict"))
        self.assertIn(do[0]["display_name"], page.inner_text(".verdict"))
        self.check_charts(page, 3)
        table = page.locator("#devices .data-table")
        self.check_sorting(table, "Time")
        table.get_by_label("Pareto front").select_option("yes")
        front = sorted(device["device"] for device in do if device["pareto_front"])
        shown = table.locator("tbody tr td:nth-child(2)").all_inner_texts()
        self.assertEqual(sorted(name.split(" ")[-1] for name in shown), front)
        table.get_by_label("Pareto front").select_option("")
        table.get_by_label("Search").fill("h100")
        self.assertTrue(all("h100" in name for name in table.locator("tbody tr td:nth-child(2)").all_inner_texts()))

    def test_resnet50_with_prices(self):
        self.check_model(["models/resnet50.onnx", "--price", "a100-sxm-80gb=2.49/h", "--price", "h100-sxm=3.99/h", "--price", "l4=0.8/h"])

    def test_bert_with_a_deadline(self):
        self.check_model(["models/bert_base.ts17.train.onnx", "--deadline", "2h"])

    def test_fleet(self):
        self.check_model(["models/resnet18.onnx:0.7", "models/mobilenet_v2.ts17.train.onnx:0.3", "--mode", "inference"])

    def test_none_does(self):
        page = self.open(["audit", "models/resnet50.onnx", "--deadline", "1s", "--devices", "k80,t4"])
        self.check_keyboard(page)
        self.assertIn("None of 2 devices", page.inner_text(".verdict"))
        self.assertEqual(page.locator("#dropped tbody tr").count(), 2)


class Compare(ReportTest):
    def check(self, arguments):
        data = run_json(["compare", *arguments])
        page = self.open(["compare", *arguments])
        self.assertEqual(page.locator("#numbers tbody tr").count(), len(data["metrics"]))
        self.assertEqual(page.locator("#numbers thead th").all_inner_texts(), [column["name"] for column in data["columns"]])
        self.check_charts(page, 1)
        return page, data

    def test_two_architectures(self):
        page, data = self.check(["models/resnet50.onnx", "models/vit_b_16.ts17.train.onnx", "--batch", "32", *DEVICE])
        row = page.locator("#numbers tbody tr", has=page.get_by_role("rowheader", name="peak memory"))
        self.assertEqual(row.locator("td.best").count(), 1)
        self.assertIn("×", row.locator("td").nth(1).inner_text())
        table = page.locator("#layers-1 .data-table")
        self.check_sorting(table, "Difference")
        table.get_by_label("Change").select_option("removed")
        removed = sum(layer["change"] == "removed" for layer in data["layers"][0]["differences"])
        self.assertIn(f"of {removed:,}", table.get_by_role("status").inner_text())
        page.locator("#numbers select").select_option(label="peak memory")
        shown = page.evaluate("document.querySelector('#numbers .chart').data[0].y")
        peak = next(metric for metric in data["metrics"] if metric["name"] == "peak_bytes")
        self.assertEqual(shown, peak["values"])

    def test_sweep(self):
        page, _ = self.check(["models/mobilenet_v2.ts17.train.onnx", "--sweep", "batch=1,8,32", *DEVICE])
        self.check_themes(page)

    def test_two_versions_without_a_device(self):
        self.check(["models/resnet50.ts17.eval.onnx", "models/resnet50.dynamo18.eval.onnx"])


class Sweep(ReportTest):
    GRID = ["--capacity", "1MiB:1GiB:x4", "--bandwidth", "500GB/s:8TB/s:x2", *DEVICE]

    def check(self, arguments, charts):
        data = run_json(["sweep", *arguments])
        page = self.open(["sweep", *arguments])
        self.assertEqual(page.locator(".verdict").all_inner_texts(), data["verdict"])
        self.check_charts(page, charts)
        table = page.locator("#points .data-table")
        self.assertIn(f"of {len(data['points']):,}", table.get_by_role("status").inner_text())
        self.check_sorting(table, "Step time")
        return page, data

    def cells(self, page):
        return page.evaluate("document.querySelector('#map .chart').data[0].text")

    def test_resnet50_on_two_axes(self):
        page, data = self.check(["models/resnet50.onnx", "--batch", "32", "--precision", "amp-bf16", *self.GRID], 4)
        cells = self.cells(page)
        self.assertEqual((len(cells), len(cells[0])), (6, 5))
        times = page.evaluate("document.querySelector('#map .chart').data[1].text")
        self.assertEqual(len(times), len(data["points"]))
        page.locator("#map").get_by_label("Show").select_option(label="traffic")
        self.assertNotEqual(self.cells(page), cells)
        star = page.evaluate("document.querySelector('#map .chart').data.at(-1).x[0]")
        self.assertTrue(2 < star < 3, "2.04 TB/s stands between 2 and 4 TB/s")
        curve = page.evaluate("document.querySelector('#curves .chart').data.at(-1).y")
        self.assertEqual(curve, [point["bandwidth_bytes_per_second"] for point in data["iso_performance"]])
        self.check_interpolation(page, data)
        knees = page.locator("#knees tbody tr", has_text="knee")
        self.assertEqual(knees.count(), sum(knee["knee"] for knee in data["knees"]))

    def check_interpolation(self, page, data):
        """Points of the drawn curves, at the bandwidth they tell, take their time by the points around them."""
        curves = page.evaluate("""document.querySelector('#curves .chart').data.slice(0, -1).map(
            one => one.hovertext.map((text, index) => [one.name, one.x[index], one.y[index]])).flat()""")
        self.assertGreater(len(curves), 10)
        for name, capacity, bandwidth in curves:
            seconds = float(name.split()[0]) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[name.split()[1]]
            row = [point for point in data["points"] if point["capacity_bytes"] == capacity]
            slower = min((point for point in row if point["bandwidth_bytes_per_second"] <= bandwidth), key=lambda point: point["step_seconds"])
            faster = max((point for point in row if point["bandwidth_bytes_per_second"] >= bandwidth), key=lambda point: point["step_seconds"])
            self.assertLessEqual(faster["step_seconds"], seconds * 1.000001)
            self.assertGreaterEqual(slower["step_seconds"], seconds * 0.999999)

    def test_every_axis_and_costs(self):
        page, data = self.check(["models/resnet18.onnx", "--batch", "1,8", "--policy", "none,lru,managed", "--precision", "fp32,amp-bf16",
                                 "--throughput", "50T:400T:x2", "--cost", "capacity=0.4/MiB,bandwidth=12/100GB/s", *self.GRID], 5)
        cells = self.cells(page)
        page.locator("#map").get_by_label("Batch").select_option(label="1")
        self.assertNotEqual(self.cells(page), cells)
        page.locator("#map").get_by_label("Over").select_option(label="off-chip bandwidth and throughput of matrix products")
        self.assertEqual((len(self.cells(page)), len(self.cells(page)[0])), (5, 4))
        table = page.locator("#points .data-table")
        table.get_by_label("Pareto front").select_option("yes")
        self.assertIn(f"of {sum(point['on_front'] for point in data['points']):,}", table.get_by_role("status").inner_text())
        self.check_themes(page)

    def test_one_axis(self):
        page, _ = self.check(["models/lenet5.onnx", "--capacity", "64KiB:64MiB:x4", *DEVICE], 3)
        self.assertEqual(page.locator("#curves").count(), 0)

    def test_too_many_points(self):
        run = subprocess.run([PROGRAM, "sweep", "models/lenet5.onnx", "--capacity", "0:1MiB:+1KiB", "--bandwidth", "1GB/s:2GB/s:+0.01GB/s",
                              *DEVICE, "--format", "html"], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("expected at most 100000", run.stderr)


if __name__ == "__main__":
    PROGRAM, CHROMIUM = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], "-v"], defaultTest={"analyze": "Analyze", "audit": "Audit", "compare": "Compare", "sweep": "Sweep"}[sys.argv[3]])
