"""diagnosis/recording.py: what a forward does with stored tensors, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

from sparsecore.diagnosis.facts import LayerUse  # noqa: E402
from sparsecore.diagnosis.recording import Seen, record  # noqa: E402

X = torch.ones(2, 3, 8)


def seen(run: Callable[..., object], **stored: Tensor) -> Seen:
    with torch.no_grad():
        return record(stored, lambda: run(**stored))


def of(model: nn.Module, *inputs: Tensor) -> Seen:
    """Return what is seen of all parameters and buffers of a model."""
    stored = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        return record(stored, lambda: model.eval()(*inputs))


def weight(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.5


def halves(*shape: int) -> Tensor:
    """Return a mask with as many zeros as ones."""
    return (torch.arange(torch.Size(shape).numel()) % 2).reshape(shape)


# ---- uses: how often, along which axis ----


@pytest.mark.parametrize(
    ("run", "shape", "axis"),
    [
        (lambda w: nn.functional.linear(X, w), (4, 8), 1),
        (lambda w: X @ w, (8, 4), 0),
        (lambda w: torch.addmm(torch.zeros(4), X.flatten(0, 1), w), (8, 4), 0),
        (lambda w: torch.einsum("bsk,mk->bsm", X, w), (4, 8), 1),
        (lambda w: w @ X.flatten(0, 1).T, (4, 8), 1),
        (lambda w: X @ w.view(8, 4), (32,), 0),
    ],
    ids=["linear", "matmul", "addmm", "einsum", "left", "flat"],
)
def test_products_have_rows_and_an_axis(
    run: Callable[[Tensor], object], shape: tuple[int, ...], axis: int
) -> None:
    uses = seen(run, w=weight(*shape)).uses
    if len(shape) == 1:  # a vector is no weight
        assert uses == {}
        return
    assert (uses["w"].kind, uses["w"].reduction_axis) == ("linear", axis)
    assert (uses["w"].rows, uses["w"].macs) == ((6,), 6 * 32)


def test_both_axes_of_a_square_weight_are_told_apart() -> None:
    square = weight(8, 8)
    assert seen(lambda w: nn.functional.linear(X, w), w=square).uses["w"].reduction_axis == 1
    assert seen(lambda w: X @ w, w=square).uses["w"].reduction_axis == 0


def test_calls_add_up() -> None:
    uses = seen(lambda w: (X @ w, X[0] @ w), w=weight(8, 4)).uses
    assert (uses["w"].rows, uses["w"].macs) == ((6, 3), 9 * 32)


def test_convolutions_count_pixels() -> None:
    conv = nn.Conv2d(4, 8, 3, stride=2, groups=2)
    use = of(conv, torch.ones(5, 4, 7, 9)).uses["weight"]
    assert use == LayerUse(
        "convolution", "aten::convolution", 1, 2, (3, 3), False, (60,), 60 * 8 * 2 * 9
    )
    transposed = of(nn.ConvTranspose2d(4, 8, 3), torch.ones(1, 4, 5, 5)).uses["weight"]
    assert (transposed.transposed, transposed.reduction_axis, transposed.rows) == (True, 0, (25,))


def test_other_operators() -> None:
    assert of(nn.Embedding(9, 4), torch.zeros(1, 3, dtype=torch.long)).uses["weight"].kind == (
        "lookup"
    )
    experts = seen(lambda w: torch.bmm(torch.ones(3, 2, 8), w), w=weight(3, 8, 4)).uses["w"]
    assert (experts.kind, experts.macs) == ("batched", 2 * 3 * 32)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    uses = of(encoder, X).uses
    assert {use.kind for use in uses.values()} == {"fused"}
    assert len(uses) == 4
    assert {use.kind for use in of(nn.LSTM(8, 4), X).uses.values()} == {"fused"}


def test_what_is_added_or_normalised_is_no_weight() -> None:
    norm = nn.LayerNorm([3, 8])
    assert of(norm, X).uses == {}
    assert seen(lambda w: X + w, w=weight(3, 8)).uses == {}


# ---- masks ----


def attention(s: Tensor) -> Tensor:
    """Return X after causal attention, whose mask is one of scores."""
    scores = X @ X.mT + s.sum()
    causal = torch.ones(3, 3, dtype=torch.bool).tril()
    return torch.where(causal, scores, -1.0) @ X


def masked_by_hook() -> nn.Module:
    return prune.l1_unstructured(nn.Linear(8, 4), "weight", 0.5)


class _Times(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("other", mask)

    def forward(self, original: Tensor) -> Tensor:
        return original * self.other


def masked_by_parametrization() -> nn.Module:
    linear = nn.Linear(8, 4)
    parametrize.register_parametrization(linear, "weight", _Times(halves(4, 8)))
    return linear


@pytest.mark.parametrize("model", [masked_by_hook(), masked_by_parametrization()])
def test_masks_of_torch_are_seen(model: nn.Module) -> None:
    found = of(model, X)
    (name,) = found.uses
    assert set(found.masked) == {name}
    assert found.effective[name].counts.nonzeros == 16


@pytest.mark.parametrize(
    "apply",
    [
        lambda w, m: w * m,
        lambda w, m: m.float() * w,
        lambda w, m: w.masked_fill(m == 0, 0),
        lambda w, m: torch.where(m.bool(), w, 0.0),
        lambda w, m: w.mul_(m),
        lambda w, m: (w.T * m.T).T,
        lambda w, m: (w.data.mul_(m), w)[1],
    ],
    ids=["mul", "reversed", "masked_fill", "where", "in place", "transposed", "data"],
)
def test_masks_by_hand_are_seen(apply: Callable[[Tensor, Tensor], Tensor]) -> None:
    def run(w: Tensor, m: Tensor) -> Tensor:
        return nn.functional.linear(X, apply(w, m))

    found = seen(run, w=weight(4, 8), m=halves(4, 8))
    assert set(found.masked) == {"w"}
    assert set(found.uses) == {"w"}
    effective = found.effective.get("w")
    shape = (4, 8) if effective is None else effective.shape
    axis = found.uses["w"].reduction_axis
    assert axis is not None
    assert shape[axis] == 8


def test_a_threshold_is_a_mask() -> None:
    found = seen(lambda w: X @ (w * (w > 1)), w=weight(8, 4))
    assert set(found.masked) == {"w"}
    assert 0 < found.effective["w"].counts.sparsity < 1


@pytest.mark.parametrize(
    "run",
    [
        lambda w, s: X @ (w * s),  # scales
        lambda w, s: X @ w * s[:1, :1],  # of the result
        lambda w, s: (X * (X > 2)) @ w + s.sum(),  # of the input
        lambda w, s: attention(s) @ w,
    ],
    ids=["scale", "result", "input", "attention"],
)
def test_what_is_no_mask(run: Callable[[Tensor, Tensor], object]) -> None:
    found = seen(run, w=weight(8, 4), s=weight(8, 4))
    assert found.masked == {}
    assert "w" in found.uses


def test_a_cache_that_an_input_is_written_to_is_no_weight() -> None:
    def run(w: Tensor, cache: Tensor) -> Tensor:
        cache[:3].copy_(X[0] @ w)
        return (X[0] @ w) @ cache.T

    found = seen(run, w=weight(8, 8), cache=torch.zeros(5, 8))
    assert set(found.uses) == {"w"}
    assert found.uses["w"].rows == (3, 3)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
def test_weights_that_become_sparse_in_forward() -> None:
    found = seen(lambda w: torch.sparse.mm(w.to_sparse_csr(), X[0].T), w=halves(4, 8).float())
    assert found.effective["w"].counts.nonzeros == 16
    assert found.uses["w"].rows == (3,)


def test_weights_computed_otherwise_are_told() -> None:
    found = of(parametrizations.weight_norm(nn.Linear(8, 4)), X)
    (name,) = found.uses
    assert found.masked == {}
    assert found.effective[name].shape == (4, 8)


def test_nothing_is_kept_or_changed() -> None:
    """The result of a forward under observation is that of one without."""
    model: Any = nn.Sequential(masked_by_hook(), nn.ReLU(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        want = model(X)
    results: list[Tensor] = []
    stored = dict(model.named_parameters())
    with torch.no_grad():
        record(stored, lambda: results.append(model(X)))
    assert torch.equal(results[0], want)
