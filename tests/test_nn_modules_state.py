"""nn/modules.py: state_dict, written, read, and refused where it is no matrix."""

import copy
import io
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linear_layers import KINDS, csr_state, filled_csr, generator, pruned_24  # noqa: E402
from sparsecore.nn import Sparse24Linear  # noqa: E402

# ---- written and read ----


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_holds_plain_tensors_and_loads_weights_only(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(12, 5))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert {type(tensor) for tensor in state.values()} == {torch.Tensor}
    assert {tensor.layout for tensor in state.values()} == {torch.strided}
    loaded = kind(12, 5)
    assert loaded.load_state_dict(state) == ([], [])
    x = torch.randn(3, 12, generator=generator(1))
    assert torch.equal(loaded(x), layer(x))
    assert {name: t.dtype for name, t in loaded.state_dict().items()} == {
        name: t.dtype for name, t in state.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_safetensors_holds_the_state(kind: Any, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    layer = kind.from_dense(pruned_24(300, 5))
    safetensors.save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    loaded = kind(300, 5)
    loaded.load_state_dict(safetensors.load_file(tmp_path / "layer.safetensors"))
    x = torch.randn(3, 300, generator=generator(1))
    assert torch.equal(loaded(x), layer(x))


def test_another_number_of_nonzeros_loads_into_the_same_parameter() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=200)
    parameter = layer.values
    wide = csr_state([5.0, 6.0, 7.0], [0, 150, 199], [0, 3, 3])
    layer.load_state_dict(wide)
    assert layer.values is parameter
    assert layer.indices.dtype == torch.int16
    x = torch.zeros(200)
    x[[0, 150, 199]] = torch.tensor([1.0, 10.0, 100.0])
    assert layer(x).tolist() == [765.0, 0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_loading_by_assignment_also_on_the_meta_device(kind: Any) -> None:
    source = kind.from_dense(pruned_24(12, 5))
    target = kind(12, 5).to("meta")
    target.load_state_dict(source.state_dict(), assign=True)
    x = torch.randn(3, 12, generator=generator(1))
    assert torch.equal(target(x), source(x))


# ---- refused ----


def test_a_part_of_the_state_must_fit_what_the_layer_has() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    layer.load_state_dict({"values": torch.tensor([3.0, 4.0])}, strict=False)
    assert layer(torch.ones(4)).tolist() == [3.0, 4.0]
    with pytest.raises(RuntimeError, match="length 3"):
        layer.load_state_dict({"values": torch.tensor([3.0, 4.0, 5.0])}, strict=False)
    with pytest.raises(RuntimeError, match=r"Missing key.*values.*indices.*indptr"):
        layer.load_state_dict({})


@pytest.mark.parametrize(
    ("indices", "indptr", "message"),
    [
        ([0, 4], [0, 1, 2], "column 4"),
        ([0, -1], [0, 1, 2], "column -1"),
        # These wrap to 0 and 1 where they are copied into int8 or int16 without a look.
        ([0, 256], [0, 1, 2], "column 256"),
        ([0, 2**16 + 1], [0, 1, 2], "column 65537"),
        ([0, 1], [0, 2**32 + 1, 2], "row"),
        ([0, 1], [0, 2, 1], "row"),
        ([0, 1], [1, 1, 2], "indptr"),
        ([0, 1], [0, 1, 3], "ends with 3"),
        ([0, 1], [0, 2], "indptr"),
        ([0, 1, 2], [0, 1, 2], "indices"),
        ([3, 0], [0, 2, 2], "ascending"),
        ([3, 3], [0, 2, 2], "duplicate|twice"),
        ([[0, 1]], [0, 1, 2], "indices"),
        (torch.tensor([0.0, 1.0]), [0, 1, 2], "float"),
        (torch.tensor([False, True]), [0, 1, 2], "bool"),
    ],
)
def test_a_state_that_is_no_csr_matrix_is_refused_and_changes_nothing(
    indices: Any, indptr: Any, message: str
) -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    before = copy.deepcopy(layer.state_dict())
    model = nn.Sequential(layer)
    state = {f"0.{key}": value for key, value in csr_state([3.0, 4.0], indices, indptr).items()}
    with pytest.raises(RuntimeError, match=rf"0\.\{{values,indices,indptr\}}.*({message})"):
        model.load_state_dict(state)
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)
    assert layer(torch.ones(4)).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": torch.tensor([[0x40]], dtype=torch.uint8)}, r"row 0.*group 0"),
        # As bytes these would be the valid 0x44.
        ({"metadata": torch.tensor([[0x144]])}, "uint8"),
        ({"metadata": torch.zeros(1, 2, dtype=torch.uint8)}, "metadata has shape"),
        ({"values": torch.zeros(1, 6)}, "values has shape"),
        ({"metadata": [[0x44]]}, "metadata is a list"),
    ],
)
def test_a_state_that_is_no_24_matrix_is_refused_and_changes_nothing(
    change: dict[str, Any], message: str
) -> None:
    layer = Sparse24Linear.from_dense(pruned_24(8, 1, bias=False))
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict({**before, **change})
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)
