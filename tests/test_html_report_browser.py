"""html_report/sort.js, style.css: what a browser makes of the page."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from report_cases import ACCURACY, HOSTILE, Outline, conversion, latency
from sparsecore.html_report import make_page, render

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0", "--window-size=500,900"),
    *("--virtual-time-budget=2000", "--dump-dom"),
)
# Sorts by sparsity twice and by name once, and leaves what it saw in an attribute of the page.
PROBE = """
const table = document.querySelector("table");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
const head = (title) =>
  [...table.tHead.rows[0].cells].find((cell) => cell.textContent.trim() === title);
const click = (title) => {
  head(title).querySelector("button").click();
  return [names(), head(title).getAttribute("aria-sort")];
};
const seen = {
  before: names(),
  falling: click("Sparsity"),
  rising: click("Sparsity"),
  named: click("Layer"),
  left: head("Sparsity").getAttribute("aria-sort"),
  status: document.getElementById("status").textContent,
  display: getComputedStyle(document.querySelector(".facts")).display,
  wide: document.documentElement.scrollWidth > window.innerWidth,
  title: document.title,
};
document.body.dataset.seen = JSON.stringify(seen);
"""


def with_probe(text: str) -> str:
    """Add the probe to the page, and to what its policy allows."""
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    assert text.count("script-src '") == 1
    allowed = text.replace("script-src '", f"script-src 'sha256-{digest}' '")
    return allowed.replace("</body>", f"<script>{PROBE}</script></body>")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Open a page, as wide as a phone: what the probe saw, and what the browser logged."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    folder: Path = tmp_path_factory.mktemp("browser")
    path = folder / "page.html"
    text = render(make_page(conversion(), latency(), ACCURACY, title=HOSTILE))
    path.write_text(with_probe(text), encoding="utf-8")
    done = subprocess.run(
        [browser, *OPTIONS, f"--user-data-dir={folder / 'user'}", path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (body,) = Outline(done.stdout).of("body")
    return json.loads(body["data-seen"] or ""), done.stderr


def test_columns_are_sorted_by_their_buttons(opened: tuple[dict[str, Any], str]) -> None:
    seen, _ = opened
    assert seen["before"] == ["fc2", HOSTILE, "fc10", "fc9"]
    # What has no sparsity stays at the end.
    assert seen["falling"] == [[HOSTILE, "fc9", "fc2", "fc10"], "descending"]
    assert seen["rising"] == [["fc2", "fc9", HOSTILE, "fc10"], "ascending"]
    assert seen["named"] == [[HOSTILE, "fc2", "fc9", "fc10"], "ascending"]
    assert seen["left"] is None
    assert seen["status"] == "Sorted by Layer, ascending."


def test_the_page_is_styled_and_as_wide_as_the_window(
    opened: tuple[dict[str, Any], str],
) -> None:
    seen, _ = opened
    assert seen["display"] == "grid"
    assert seen["wide"] is False


def test_hostile_names_run_nothing_and_the_console_is_empty(
    opened: tuple[dict[str, Any], str],
) -> None:
    seen, log = opened
    assert seen["title"] == HOSTILE
    assert [line for line in log.splitlines() if "CONSOLE" in line] == []
