"""A report in headless Chromium, for the tests and for scripts/screenshots."""

import contextlib
import pathlib
import subprocess

from playwright.sync_api import sync_playwright

LIMIT_BYTES = 5_000_000
PATIENCE_MS = 120_000  # a busy machine of continuous integration is slow


def write_report(program, arguments, path):
    """Runs the program; the page lies at `path` then."""
    subprocess.run([program, *arguments, "--format", "html", "-o", str(path)], check=True, stderr=subprocess.PIPE)
    return pathlib.Path(path)


@contextlib.contextmanager
def chromium(executable):
    # No sandbox: continuous integration runs as root, and the pages are our own.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Page:
    """An open report. `complaints` has the console's warnings and errors, and every request but that for the file."""

    def __init__(self, browser, path, **context):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("request", self._request)
        self.url = path.resolve().as_uri()
        self.page.goto(self.url)
        self.page.wait_for_selector("main[aria-busy=false]")

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text}")

    def _request(self, request):
        if request.url != self.url and not request.url.startswith(("data:", "blob:")):
            self.complaints.append(f"request: {request.url}")

    def close(self):
        self.context.close()
