"""nn/held.py: the structure in a sparse layer's buffers, and what edits of it do."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from linear_layers import filled_csr, pruned_24  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear  # noqa: E402


@pytest.mark.parametrize(("kind", "values"), [(CSRLinear, "data"), (Sparse24Linear, "values")])
def test_the_values_are_not_copied_and_the_matrix_is_kept(kind: Any, values: str) -> None:
    layer = kind.from_dense(pruned_24(8, 3))
    matrix = layer.matrix()
    assert getattr(matrix, values) is layer.values
    layer(torch.ones(1, 8))
    assert layer.matrix() is matrix


def test_buffers_made_in_inference_mode_work() -> None:
    with torch.inference_mode():
        layer = CSRLinear.from_dense(pruned_24(8, 3))
        inside = layer(torch.ones(1, 8))
    with torch.no_grad():
        assert torch.equal(layer(torch.ones(1, 8)), inside)


# ---- edits ----


def fill_first_row(layer: Any, columns: list[int]) -> None:
    """Put all entries into the first of two rows, in these columns."""
    layer.indptr.copy_(torch.tensor([0, len(columns), len(columns)]))
    layer.indices.copy_(torch.tensor(columns))


def test_an_edit_in_place_that_is_a_matrix_is_used() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    x = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    assert layer(x).tolist() == [[1.0, 2000.0]]
    layer.indices[1] = 2
    assert layer(x).tolist() == [[1.0, 200.0]]
    layer.indptr[1] = 2
    assert layer(x).tolist() == [[201.0, 0.0]]


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda layer: layer.indices.fill_(4), IndexError, "column 4"),
        (lambda layer: layer.indices.fill_(-1), IndexError, "column -1"),
        (lambda layer: layer.indptr.copy_(torch.tensor([0, 3, 2])), ValueError, "row"),
        (lambda layer: layer.indptr.copy_(torch.tensor([0, 1, 1])), ValueError, "ends with 1"),
        (lambda layer: setattr(layer, "indptr", torch.tensor([0, 2])), ValueError, "indptr"),
        (lambda layer: setattr(layer, "indices", torch.tensor([0.0, 1.0])), TypeError, "float"),
        (lambda layer: setattr(layer.values, "data", torch.zeros(3)), ValueError, "length 3"),
        (lambda layer: fill_first_row(layer, [3, 0]), ValueError, "not ascending and unique"),
        (lambda layer: fill_first_row(layer, [3, 3]), ValueError, "twice|duplicate"),
    ],
)
def test_an_edit_that_is_no_matrix_is_refused_at_the_next_use(
    edit: Any, error: Any, message: str
) -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    layer(torch.ones(1, 4))
    with torch.no_grad():
        edit(layer)
    for _ in range(2):
        with pytest.raises(error, match=message):
            layer(torch.ones(1, 4))


def test_a_buffer_exchanged_through_data_is_noticed() -> None:
    layer = filled_csr([1.0], [0], [0, 1], k=4)
    x = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    for column in (1, 2, 3, 1):
        layer.indices.data = torch.tensor([column], dtype=torch.int8)
        assert layer(x).item() == 10.0**column


def test_edited_metadata_is_used_or_refused() -> None:
    layer = Sparse24Linear(8, 1, bias=False)
    x = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]])
    with torch.no_grad():
        layer.values.copy_(torch.ones(1, 4))
    layer.metadata.fill_(0x44)  # columns 0 and 1 of both groups
    assert layer(x).item() == 1 + 2 + 16 + 32
    layer.metadata.fill_(0xE4)  # and now 2 and 3 of the second
    assert layer(x).item() == 1 + 2 + 64 + 128
    layer.metadata.fill_(0x40)
    with pytest.raises(ValueError, match=r"row 0.*group 0"):
        layer(x)
    layer.metadata = torch.zeros(1, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match="metadata has shape"):
        layer(x)
