"""regrow_: entries move with their optimizer state, against dense arrays that do the same."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

import sparsecore as sc  # noqa: E402
from sparsecore.nn.positions import compressed, flat_positions, random_outside  # noqa: E402
from sparsecore.nn.regrow import regrown  # noqa: E402
from training_cases import OPTIMIZERS, dense_net, sparse_layers, sparse_of, train  # noqa: E402


def scattered(layer: Any, numbers: torch.Tensor) -> torch.Tensor:
    """Put one number per entry into a dense matrix."""
    return layer.matrix().with_data(numbers).toarray()


@pytest.mark.parametrize("grown", [0, 3, 11], ids=lambda n: f"grow{n}")
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_values_and_optimizer_state_move_as_in_dense_arrays(kind: str, grown: int) -> None:
    model = sparse_of(dense_net())
    optimizer = OPTIMIZERS[kind](model.parameters())
    train(model, optimizer, 3)
    generator = torch.Generator().manual_seed(1)
    for layer in sparse_layers(model).values():
        values, state = layer.values, optimizer.state[layer.values]
        moving = {n: v for n, v in state.items() if torch.is_tensor(v) and v.shape == values.shape}
        assert len(moving) == {"SGD": 1, "Adam": 2, "AdamW amsgrad": 3}[kind]
        rest = {n: v.clone() for n, v in state.items() if torch.is_tensor(v) and n not in moving}
        numbers = {"values": values.detach().clone(), **moving}
        dense = {name: scattered(layer, v) for name, v in numbers.items()}
        there = scattered(layer, torch.ones(values.shape)) != 0
        flat = there.flatten().nonzero().flatten()
        drop = torch.randperm(len(flat), generator=generator)[:6]
        grow = random_outside(flat, there.numel(), grown, generator=generator)
        # The first of the dropped comes back, so it never went.
        there.flatten()[flat[drop[1:]]] = False
        there.flatten()[grow] = True
        sc.nn.regrow_(layer, drop=drop, grow=torch.cat([grow, flat[drop[:1]]]), optimizer=optimizer)
        assert layer.values is values
        assert values.grad is None
        gone = flat[drop[1:]]
        for name, array in dense.items():
            array.flatten()[gone] = 0
            now = values.detach() if name == "values" else state[name]
            assert torch.equal(scattered(layer, now), array), name
        assert torch.equal(scattered(layer, torch.ones(values.shape)) != 0, there)
        assert all(torch.equal(state[name], v) for name, v in rest.items())
    # The earlier graph is gone or not: training goes on with the new number of entries.
    assert len(train(model, optimizer, 2)) == 2


def test_graphs_of_before_do_not_hinder_or_harm() -> None:
    layer = sparse_layers(sparse_of(dense_net()))["4"]
    x = torch.ones(2, 32, dtype=torch.float64, requires_grad=True)
    first, second = layer(x).sum(), layer(x).sum()
    first.backward()  # `first` keeps what accumulates the gradient, and its shape
    drop = torch.arange(2)
    sc.nn.regrow_(layer, drop=drop, grow=torch.empty(0, dtype=torch.int64))
    layer(x).sum().backward()
    assert layer.values.grad.shape == layer.values.shape
    with pytest.raises(RuntimeError, match="modified"):
        second.backward()


def test_structure_narrows_and_rows_may_be_empty() -> None:
    flat = torch.tensor([3, 4, 299])
    indices, indptr = compressed(flat, 3, 100)
    new = regrown(indices, indptr, (3, 100), drop=torch.tensor([2]), grow=torch.tensor([127]))
    assert (new.indices.tolist(), new.indptr.tolist()) == ([3, 4, 27], [0, 2, 3, 3])
    assert new.indices.dtype == new.indptr.dtype == torch.int8
    assert torch.equal(flat_positions(indices, indptr, 100), flat)


def test_random_outside_draws_each_choice_as_often() -> None:
    generator = torch.Generator().manual_seed(3)
    taken = torch.tensor([0, 3, 4])
    for count, choices in ((1, 5), (2, 10), (4, 5)):
        drawn: dict[tuple[int, ...], int] = {}
        for _ in range(200 * choices):
            chosen = tuple(random_outside(taken, 8, count, generator=generator).tolist())
            drawn[chosen] = drawn.get(chosen, 0) + 1
        assert len(drawn) == choices
        assert not {0, 3, 4} & {p for chosen in drawn for p in chosen}
        # 200 expected of each, standard deviation below sqrt(200) = 14.1: five of them.
        assert max(abs(n - 200) for n in drawn.values()) < 71


@pytest.mark.parametrize(
    ("drop", "grow", "message"),
    [
        ([3], [], "drop has 3, expected 0 to 2"),
        ([0, 0], [], "drop names a place twice"),
        ([], [-1], "grow has -1, expected 0 to 299"),
        ([], [5, 5], "grow names a place twice"),
        ([0], [4], "grow has position 4, where an entry is that stays"),
    ],
)
def test_wrong_moves_are_refused(drop: list[int], grow: list[int], message: str) -> None:
    structure = compressed(torch.tensor([3, 4, 299]), 3, 100)
    moves = {n: torch.tensor(v, dtype=torch.int64) for n, v in (("drop", drop), ("grow", grow))}
    with pytest.raises(ValueError, match=message):
        regrown(*structure, (3, 100), **moves)
    with pytest.raises(TypeError, match="drop is 1-D int32, expected 1-D int64"):
        regrown(*structure, (3, 100), drop=moves["drop"].int(), grow=moves["grow"])


def test_a_prepared_layer_is_refused() -> None:
    layer = sparse_layers(sparse_of(dense_net()))["4"].prepare_()
    nothing = torch.empty(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="restore_"):
        sc.nn.regrow_(layer, drop=nothing, grow=nothing)
