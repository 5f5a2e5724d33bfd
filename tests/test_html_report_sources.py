"""html_report/documents.py, weights.py, write.py: what pages are made of, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsecore as sc
from report_cases import ACCURACY, conversion, latency, layer
from sparsecore.html_report import Page, make_page, render, write_html
from sparsecore.html_report.weights import named


def titles(page: Page) -> list[str]:
    return [section.title for section in page.sections]


def drawn(page: Page) -> list[str]:
    section = next(s for s in page.sections if s.title == "Where the weights are")
    return [figure.title for figure in section.figures]


def test_each_source_is_known_by_its_content(tmp_path: Path) -> None:
    paths = []
    for i, content in enumerate((ACCURACY, latency(), conversion())):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps(content), encoding="utf-8")
    expected = ["Where sparsity pays", "Layers", "Break-even", "Accuracy"]
    assert titles(make_page(*paths)) == expected
    assert titles(make_page(conversion(), {"accuracy": ACCURACY}, latency())) == expected
    assert titles(make_page([("LAMP", 0.5, 0.9)])) == ["Accuracy"]
    assert titles(make_page()) == []


def broken(**others: Any) -> dict[str, Any]:
    return conversion() | {"layers": [layer("fc", 0.5, 1e-4, **others)]}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "source 0 is 3, expected a report of sparsify_"),
        ({"a": 1}, "source 0 is an object with a, expected a report"),
        (broken(seconds={"dense": "1"}), r"layers\[0\]: seconds: dense is '1', expected a finite"),
        (broken(seconds={"dense": float("nan")}), "dense is nan, expected a finite number"),
        (broken(seconds={"dense": -1.0}), r"dense is -1.0, expected a finite number of at least 0"),
        (broken(name=None), "name is None, expected a text"),
        (broken(shape=[1]), r"shape is \[1\], expected 2 natural numbers"),
        (broken(choice="bsr"), "choice is 'bsr', expected one of 'dense', 'csr', '2:4'"),
        (broken(sparsity=10**400), "sparsity is 1000"),
        (broken(rows=["many"]), r"rows is \['many'\], expected 1 natural numbers"),
        (conversion() | {"layers": 3}, "source 0: layers is 3, expected an array"),
        (conversion() | {"layers": [3]}, r"source 0: layers\[0\] is 3, expected an object"),
        (
            {"layers": [{"name": "a", "size": 4, "dense": 1.0, "csr": [[1]]}], "skipped": {}},
            r"csr of 'a' has \[1\], expected \[count, seconds\]",
        ),
        (
            {"layers": [{"name": "a", "size": 4, "dense": 1.0, "csr": [[5, 1.0]]}], "skipped": {}},
            "csr of 'a' keeps 5 of 4",
        ),
        ([["a", 0.5]], r"point 0 is \['a', 0.5\], expected \[label, sparsity, accuracy\]"),
        ([["a", 0.5, 91.0]], "accuracy is 91, expected a fraction of at most 1"),
        ([[1, 0.5, 0.9]], "label is 1, expected a text"),
        ({"accuracy": "high"}, r"source 0 is 'high', expected an array of \[label"),
    ],
)
def test_what_is_wrong_is_named(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_page(source)


def test_two_of_a_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="source 1 is the second report of a conversion"):
        make_page(conversion(), conversion())
    with pytest.raises(ValueError, match="source 1 is the second table of latencies"):
        make_page(latency(), latency())


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b""])
def test_files_that_are_no_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"report\.json is not JSON"):
        make_page(path)


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_html(path, conversion())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="expected a report"):
        write_html(path, 3)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        write_html(tmp_path / "missing" / "page.html", conversion())
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")

    def fails(*_: object) -> None:
        msg = "the disk is full"
        raise OSError(msg)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="the disk is full"):
        write_html(path, conversion())
    assert [file.read_text(encoding="utf-8") for file in tmp_path.iterdir()] == ["old"]


def test_half_of_a_pair_of_code_units_does_no_harm(tmp_path: Path) -> None:
    write_html(tmp_path / "page.html", ACCURACY, title="\ud800")
    assert b"<h1>?</h1>" in (tmp_path / "page.html").read_bytes()


# ---- weights ----


def test_the_largest_pruned_layers_are_drawn() -> None:
    weights = {f"fc{i}.weight": np.ones((i, 4)) for i in range(1, 12)} | {"bias": np.ones(99)}
    assert drawn(make_page(weights=weights)) == [f"fc{i}" for i in range(6, 12)]
    assert drawn(make_page(conversion(), weights=weights)) == ["fc2", "fc9"]
    assert drawn(make_page(weights=weights, layers=["fc1?", "fc3"])) == ["fc3", "fc10", "fc11"]
    both = {"fc": np.ones((2, 2)), "fc.weight": np.ones((3, 3))}
    assert drawn(make_page(weights=both)) == ["fc", "fc.weight"]


def test_names_are_patterns_and_have_to_fit() -> None:
    assert named(["a[0]", "b"], ["a[0]"]) == ["a[0]"]
    with pytest.raises(ValueError, match="layers: 'c' fits no layer that can be drawn: a, b"):
        named(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="'fc' fits no layer that can be drawn: there is none"):
        make_page(conversion(), layers=["fc"])
    with pytest.raises(TypeError, match="layers is the text 'fc', expected a sequence"):
        make_page(conversion(), layers="fc")
    with pytest.raises(TypeError, match="weights is a list, expected a model"):
        make_page(weights=[])


def test_a_checkpoint_is_read_layer_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    A = sc.CSR.from_dense(np.eye(64, dtype=np.float32))
    sc.save_checkpoint(path, {"a.weight": A, "a.bias": np.ones(64), "b.weight": np.ones((8, 8))})
    page = make_page(weights=sc.load_checkpoint(path))
    assert drawn(page) == ["a", "b"]
    assert page.sections[0].figures[0].notes[0].startswith("98.4 % zeros: 64 of 4,096")


def test_a_model_and_its_own_report(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from linear_layers import prune_24_
    from sparsecore.nn import LatencyTable, LayerTimes, sparsify_
    from sparsify_cases import FAST_24, FakeTimer

    model = torch.nn.Sequential(prune_24_(torch.nn.Linear(8, 8)), torch.nn.Linear(8, 4))
    report = sparsify_(model, torch.ones(2, 8), timer=FakeTimer(FAST_24, [(4e-3, 1e-3)]))
    table = LatencyTable((LayerTimes("0", 64, 3.0, ((8, 1.0), (32, 2.0))),), {})
    page = make_page(report, table, weights=model)
    assert titles(page) == ["Where sparsity pays", "Layers", "Break-even", "Where the weights are"]
    assert drawn(page) == ["0"]
    content = report.to_dict(), json.loads(table.to_json())
    assert render(make_page(*content, weights=model)) == render(page)
    path = tmp_path / "page.html"
    report.save_html(path, table, model=model, layers=["*"], title="A model")
    text = path.read_text(encoding="utf-8")
    assert "<h1>A model</h1>" in text
    assert text.count("data:image/png;base64,") == 2
    inline = report._repr_html_()
    assert "<script" not in inline
    assert "2:4 is the fastest: 1 s, dense 3 s, csr 2 s" in inline
