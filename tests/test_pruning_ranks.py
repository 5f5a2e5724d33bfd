"""Masks on two ranks: the same under DDP, and named where they are not."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
dist = pytest.importorskip("torch.distributed")
if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("torch is built without gloo", allow_module_level=True)

import torch.multiprocessing as mp  # noqa: E402

from sparsecore.pruning import SET, RigL, ranks  # noqa: E402

RANKS = 2


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


def masks_of(model: Any) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    names = ("0.weight", "2.weight")
    return {n: torch.rand(model.get_parameter(n).shape, generator=draw) < 0.3 for n in names}


def train(model: Any, sgd: Any, shares: list[int]) -> None:
    """Take 6 steps on these parts of each batch."""
    for step in range(6):
        draw = torch.Generator().manual_seed(step)
        x = torch.randn(2 * RANKS, 12, generator=draw).chunk(RANKS)
        y = torch.randint(3, (2 * RANKS,), generator=draw).chunk(RANKS)
        sgd.zero_grad()
        inputs, classes = (torch.cat([part[s] for s in shares]) for part in (x, y))
        nn.functional.cross_entropy(model(inputs), classes).backward()
        sgd.step()


def run(kind: str, shares: list[int], *, wrapped: bool, seed: int = 0) -> dict[str, Any]:
    """Train and return the last masks; under DDP each rank has a share of the batch."""
    model = net()
    masks = masks_of(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    settings: Any = {"total_steps": 20, "every": 2, "masks": masks}
    method: Any = RigL
    if kind == "SET":
        method = SET
        settings["generator"] = torch.Generator().manual_seed(seed)
    dst = method(model, sgd, **settings)
    train(nn.parallel.DistributedDataParallel(model) if wrapped else model, sgd, shares)
    assert any(not torch.equal(dst.masks[name], mask) for name, mask in masks.items())
    return dict(dst.masks)


def message_of(function: Any, *args: Any, **kwargs: Any) -> str:
    try:
        function(*args, **kwargs)
    except RuntimeError as error:
        return str(error)
    return "no error"


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=60),
    )
    ones = torch.ones(2, 3, dtype=torch.bool)
    own = {"a": ones, "b": ones if rank else ~ones, "c": ones.view(3, 2) if rank else ones}
    check = ranks.check_same_on_ranks
    check("same", {"a": ones})
    check("same", {})
    result = {
        "RigL": run("RigL", [rank], wrapped=True),
        "SET": run("SET", [rank], wrapped=True),
        # Without DDP each rank has gradients of its own; other seeds draw other places.
        "unreduced": message_of(run, "RigL", [rank], wrapped=False),
        "unseeded": message_of(run, "SET", [rank], wrapped=True, seed=rank),
        "masks": message_of(check, "caller", own),
        "names": message_of(check, "caller", {f"rank{rank}": ones}),
        "broadcast": ranks.broadcast_masks(own | {"c": own["b"]}, source=1),
    }
    torch.save(result, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks(tmp_path: Path) -> None:
    mp.spawn(rank_main, (str(tmp_path),), nprocs=RANKS)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]
    for kind in ("RigL", "SET"):
        # The mean over the ranks is the gradient of the whole batch on one.
        alone = run(kind, list(range(RANKS)), wrapped=False)
        for rank in range(RANKS):
            assert all(torch.equal(found[rank][kind][name], mask) for name, mask in alone.items())
    for rank, one in enumerate(found):
        assert one["masks"].startswith("caller: masks of b, c differ between ranks")
        assert f"names of weights differ between ranks; here: rank{rank}" in one["names"]
        assert one["unreduced"].startswith("RigL: masks of ")
        assert one["unseeded"].startswith("SET: masks of 0.weight, 2.weight differ between ranks")
        assert all(bool(mask.all()) for mask in one["broadcast"].values())
    assert found[0]["unreduced"] == found[1]["unreduced"]


def test_checksums_tell_values_shapes_and_dtypes_apart() -> None:
    draw = torch.Generator().manual_seed(0)
    mask = torch.rand(5, 8, generator=draw) < 0.5
    others = [~mask, mask.view(8, 5), mask.to(torch.uint8), mask.flip(0), mask[:4]]
    numbers = [ranks.checksum(tensor) for tensor in (mask, *others)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**62 for number in numbers)
    strided = mask.T.contiguous().T
    assert ranks.checksum(strided) == numbers[0]
    assert ranks.checksum(torch.zeros(0, dtype=torch.bfloat16)) != ranks.checksum(torch.zeros(0))


def test_one_rank_needs_no_process_group() -> None:
    masks = {"a": torch.tensor([True, False])}
    assert not ranks.is_distributed()
    ranks.check_same_on_ranks("caller", masks)
    copied = ranks.broadcast_masks(masks)
    copied["a"].fill_(False)
    assert masks["a"].tolist() == [True, False]
