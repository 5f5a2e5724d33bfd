"""html_report/render.py, write.py: the page is well formed, holds everything, and does no harm."""

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

import sparsecore as sc
from report_cases import ACCURACY, HOSTILE, Outline, conversion, latency
from sparsecore.html_report import make_page, render
from sparsecore.html_report.page import Cell, Column, Table

STYLE = Path(sc.html_report.__file__).with_name("style.css").read_text(encoding="utf-8")


def page() -> str:
    weights = {f"{HOSTILE}.weight": np.eye(20), "fc9.weight": np.ones((300, 2, 3, 3))}
    return render(make_page(conversion(), latency(), ACCURACY, weights=weights, title=HOSTILE))


def test_every_element_is_closed_and_tables_are_accessible() -> None:
    outline = Outline(page())
    assert outline.open == []
    assert len(outline.of("main")) == len(outline.of("h1")) == 1
    assert len(outline.of("caption")) == len(outline.of("table")) == 2
    assert {head["scope"] for head in outline.of("th")} == {"col", "row"}
    assert all(
        drawing["role"] == "img"
        for drawing in outline.of("svg")
        if "class" in drawing and drawing["class"] != "bar"
    )
    assert {"lang": "en"} in outline.of("html")


def test_names_are_text_wherever_they_stand() -> None:
    text = page()
    outline = Outline(text)
    assert len(outline.of("script")) == 1
    assert outline.of("img") == []
    assert outline.text("h1") == [HOSTILE]
    assert HOSTILE in outline.text("th")
    assert outline.text("title")[0] == HOSTILE
    assert not any(name.startswith("on") for _, attributes in outline.tags for name in attributes)


def test_nothing_is_loaded_and_only_its_own_script_and_style_run() -> None:
    text = page()
    outline = Outline(text)
    assert re.findall(r"https?:|//[a-z]", text.replace("data:image/png;base64,", "")) == []
    assert not any({"src", "style"} & attributes.keys() for _, attributes in outline.tags)
    links = {attributes["href"] or "" for _, attributes in outline.tags if "href" in attributes}
    assert links
    assert all(link.startswith("data:image/png;base64,") for link in links)
    (policy,) = (
        meta["content"]
        for meta in outline.of("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        content = "".join(outline.text(tag))
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_the_table_has_what_was_measured() -> None:
    texts = Outline(page()).text("td")
    assert {"99.0 %", "100 \N{MICRO SIGN}s", "10.00x", "32.8 kB", "8 kB", "64 x 128"} <= set(texts)
    values = {cell.get("data-value") for cell in Outline(page()).of("td")}
    assert {"0.99", "0.001", "0.0001", "10", "32768"} <= values


def test_the_summary_has_the_totals() -> None:
    facts = [text.replace("\N{NO-BREAK SPACE}", " ") for text in Outline(page()).text("dd")]
    assert "4 ms \N{RIGHTWARDS ARROW} 1 ms" in facts
    assert "4.00x as fast as dense" in facts
    assert "131 kB \N{RIGHTWARDS ARROW} 81.5 kB" in facts
    assert "79.7 %" in facts  # (0.5 + 0.99 + 0.9) / 3: of the layers whose sparsity is known
    assert "2 of 4" in facts


def test_what_is_not_faster_is_not_praised() -> None:
    slower = conversion() | {"seconds_after": 5e-3, "bytes_after": 140_000}
    time, memory = make_page(slower).facts[:2]
    assert (time.note, time.tone) == ("not faster", "")
    assert memory.tone == "bad"
    unmeasured = conversion() | {"seconds_before": None, "seconds_after": None}
    assert make_page(unmeasured).facts[0].value == "not measured"


def test_a_page_without_anything_to_show_is_a_page() -> None:
    empty = conversion() | {"layers": []}
    outline = Outline(render(make_page(empty)))
    assert outline.of("table") == []
    assert any("no linear layer" in text for text in outline.text("p"))


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="a row has 1 cells, expected 2"):
        Table("", (Column("a"), Column("b")), ((Cell("1"),),))


# ---- colours ----


def palettes() -> list[dict[str, str]]:
    """Return the colours of the light scheme, and those of the dark one."""
    blocks = re.findall(r"\.sparsecore \{([^}]*--ground[^}]*)\}", STYLE)
    return [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def luminance(colour: str) -> float:
    """Return the relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_can_be_read_in_both_schemes() -> None:
    """Every colour that text has: 4.5 to 1 against the grounds, level AA of WCAG 2.2."""
    light, dark = palettes()
    assert light.keys() == dark.keys()
    for palette in (light, dark):
        for name in palette.keys() - {"ground", "raised", "rule"}:
            for ground in ("ground", "raised"):
                pair = sorted(luminance(palette[key]) for key in (name, ground))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground)
