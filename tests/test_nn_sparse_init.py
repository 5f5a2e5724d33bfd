"""sparse_init_: exact counts, random structure, values whose variance fits it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

import sparsecore as sc  # noqa: E402
from sparsecore.pruning import allocation  # noqa: E402


def net(device: str = "cpu") -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(8, 32, 3, padding="same", groups=2, device=device),
        nn.Flatten(),
        nn.Linear(512, 64, bias=False, device=device),
        nn.Linear(64, 10),
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("allocate", [allocation.erdos_renyi, allocation.uniform])
def test_counts_shapes_and_biases(device: str, allocate: object) -> None:
    model = net(device)
    before, bias = model[3], model[3].bias
    shapes = {n: tuple(model.get_submodule(n).weight.shape) for n in ("0", "2")}
    counts = sc.nn.sparse_init_(model, 0.9, allocation=allocate, where=lambda n, _: n != "3")
    assert counts == allocate(shapes, 0.9)
    assert {n: model.get_submodule(n).matrix().nnz for n in counts} == counts
    assert model[3] is before
    assert model[3].bias is bias
    assert model[0].geometry.padding == (1, 1)
    y = model(torch.randn(3, 8, 4, 4))
    y.sum().backward()
    assert y.shape == (3, 10)
    assert all(p.grad is not None and p.is_cpu for p in model.parameters())
    assert device == "cpu" or bool((model[0].bias == 0).all())


def test_structure_is_random_and_values_keep_the_variance() -> None:
    def made(seed: int) -> nn.Sequential:
        model = nn.Sequential(nn.Linear(2000, 1000, device="meta"))
        generator = torch.Generator().manual_seed(seed)
        assert sc.nn.sparse_init_(model, 0.95, generator=generator) == {"0": 100_000}
        return model[0]

    layer, same, other = made(0), made(0), made(1)
    assert torch.equal(layer.values, same.values)
    assert torch.equal(layer.indices, same.indices)
    assert not torch.equal(layer.indices, other.indices)
    # Of 100 a row: standard deviation below sqrt(100); the largest of 1000 within six.
    counts = layer.indptr.long().diff()
    assert 40 < int(counts.min()) < int(counts.max()) < 160
    # Each unit's output has the variance 2 of n entries of variance 2 / n.
    row = torch.arange(1000).repeat_interleave(counts)
    sums = torch.zeros(1000).index_add_(0, row, layer.values.detach().square())
    assert float(sums.mean()) == pytest.approx(2, abs=6 * 2 * (2 / 100_000) ** 0.5)


def test_what_cannot_be_exchanged_is_refused() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    padded = nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="reflect"))
    hooked = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)))
    cases = {"also that of '0'": tied, "padding_mode": padded, "parametrized": hooked}
    for message, model in cases.items():
        with pytest.raises(ValueError, match=message):
            sc.nn.sparse_init_(model, 0.5)
    with pytest.raises(ValueError, match="holds no Linear or Conv2d"):
        sc.nn.sparse_init_(nn.Linear(4, 4), 0.5)
    with pytest.raises(ValueError, match="sparsity"):
        sc.nn.sparse_init_(net(), 1.0)
