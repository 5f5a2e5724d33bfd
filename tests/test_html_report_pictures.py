"""html_report: where the weights are, counted and drawn, against the mask itself."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparsecore as sc
from report_cases import Outline
from sparsecore.html_report.density_map import MOST_CELLS, density_map
from sparsecore.html_report.elements import markup
from sparsecore.html_report.pictures import mask_figure
from sparsecore.html_report.png import LEVELS, png


def pruned(rows: int, columns: int, density: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random((rows, columns)) < density, 1.0, 0.0).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (256, 256), (257, 5), (700, 1000)])
@pytest.mark.parametrize("made", [np.asarray, sc.CSR.from_dense, sc.COO.from_dense])
def test_cells_count_the_entries_in_them(shape: tuple[int, int], made: Any) -> None:
    W = pruned(*shape, density=0.3)
    found = density_map(made(W))
    height, width = (min(side, MOST_CELLS) for side in shape)
    expected, sizes = np.zeros((2, height, width), np.int64)
    i, j = np.indices(shape)
    np.add.at(sizes, (i * height // shape[0], j * width // shape[1]), 1)
    np.add.at(expected, (i * height // shape[0], j * width // shape[1]), W != 0)
    np.testing.assert_array_equal(found.cells, expected)
    np.testing.assert_array_equal(found.sizes, sizes)
    np.testing.assert_array_equal(found.rows, np.count_nonzero(W, axis=1))
    assert found.is_exact == (max(shape) <= MOST_CELLS)


def test_other_weights() -> None:
    W = np.zeros((4, 2, 3, 3))
    W[1, 1] = 1.0
    found = density_map(W)
    assert found.shape == (4, 18)
    assert found.rows.tolist() == [0, 9, 0, 0]
    half = np.tile([1.0, 0.0, 2.0, 0.0], (3, 2)).astype(np.float32)
    assert density_map(sc.Sparse24.from_dense(half)).cells.tolist() == (half != 0).tolist()
    assert density_map(np.zeros((0, 5))).nnz == 0
    with pytest.raises(ValueError, match="weight has 1 dimensions, expected two or more"):
        density_map(np.zeros(3))
    with pytest.raises(TypeError, match="weight is a str"):
        density_map("fc1")


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    W = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.bfloat16)
    assert density_map(W).cells.tolist() == [[0, 1], [0, 0]]
    assert density_map(sc.CSR.from_dense(W)).cells.tolist() == [[0, 1], [0, 0]]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_png_is_what_matplotlib_reads(height: int, width: int, seed: int) -> None:
    image = pytest.importorskip("matplotlib.image")
    levels = np.random.default_rng(seed).integers(0, LEVELS, (height, width), dtype=np.uint8)
    alpha = image.imread(io.BytesIO(png(levels)))[..., 3]
    np.testing.assert_array_equal(alpha == 0, levels == 0)
    np.testing.assert_array_equal(alpha == 1, levels == LEVELS - 1)
    order = np.argsort(levels, axis=None)
    assert (np.diff(alpha.ravel()[order]) >= 0).all()


def test_a_spy_plot_has_a_pixel_a_weight() -> None:
    image = pytest.importorskip("matplotlib.image")
    W = pruned(40, 30, density=0.2)
    figure = mask_figure("fc", W)
    (picture,) = figure.drawing.iter("image")
    uri = picture.get("href") or ""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(image.imread(io.BytesIO(content))[..., 3] == 1, W != 0)
    kept = np.count_nonzero(W)
    assert f"{kept:,} of 1,200 weights are kept." in figure.notes[0]


def test_a_large_weight_takes_little() -> None:
    """The worst case: noise, whose densities do not repeat."""
    W = pruned(4096, 4096, density=0.1)
    figure = mask_figure("fc", sc.CSR.from_dense(W))
    assert len(markup(figure.drawing)) < 100_000
    assert "A pixel is up to 16 x 16 weights" in figure.notes[-1]


def test_a_lone_entry_is_seen() -> None:
    image = pytest.importorskip("matplotlib.image")
    W = np.zeros((2048, 2048), np.float32)
    W[:8, :8] = 1.0
    W[1000, 1000] = 1.0
    (picture,) = mask_figure("fc", W).drawing.iter("image")
    content = base64.b64decode((picture.get("href") or "").split(",")[1])
    alpha = image.imread(io.BytesIO(content))[..., 3]
    assert np.count_nonzero(alpha) == 2
    assert alpha[125, 125] > 0.1


def test_empty_rows_and_no_weights_are_said() -> None:
    assert "A row keeps 0 to 1 of 4; 2 empty rows." in mask_figure("fc", np.eye(6, 4)).notes
    assert mask_figure("fc", np.zeros((0, 4))).notes == ("It has no weights.",)


# ---- in notebooks ----


@pytest.mark.parametrize("format", [sc.CSR, sc.COO, sc.Sparse24])
def test_a_matrix_in_a_notebook(format: Any) -> None:
    A = format.from_dense(np.tile(np.eye(4, dtype=np.float32), (3, 2)))
    outline = Outline(A._repr_html_())
    assert outline.open == []
    assert outline.of("script") == []
    assert outline.text("caption") == [format.__name__]
    facts = dict(zip(outline.text("th"), outline.text("td"), strict=True))
    assert facts["shape"] == "12 x 8"
    assert facts["entries"] == f"{A.nnz}"
    assert facts["bytes"] == f"{A.nbytes} B, dense 384 B"
    assert len(outline.of("image")) == 1


def test_a_plan_in_a_notebook() -> None:
    P = sc.CSR.from_dense(np.eye(4, dtype=np.float32)).prepare(n=8)
    outline = Outline(P._repr_html_())
    facts = dict(zip(outline.text("th"), outline.text("td"), strict=True))
    assert (facts["entries"], facts["kernel"]) == ("4", P.kernel)
    assert outline.of("image") == []
