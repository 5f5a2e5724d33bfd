"""``bench training``: both ways train alike, and their bytes are what tensors have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from sparsecore.bench.arguments import parse
from sparsecore.bench.comparison import WrongResult
from sparsecore.bench.sparse_training import run, worker
from sparsecore.bench.sparse_training.arguments import WAYS

if not Path("/proc/self/clear_refs").exists():
    pytest.skip("memory is measured by Linux's /proc", allow_module_level=True)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def net(_: str) -> Any:
        body = torch.nn.Linear(64, 40, bias=False, device="meta")
        model = torch.nn.Sequential(body, torch.nn.ReLU(), torch.nn.Linear(40, 10))
        return model, (64,), ("2",)

    monkeypatch.setattr(worker, "_network", net)
    monkeypatch.setattr(run, "_in_own_process", worker.train)


@pytest.mark.usefixtures("tiny")
def test_ways_train_alike_and_bytes_are_exact() -> None:
    options = parse(["training", "--models", "mlp", "--sparsities", "75", "--steps", "21"])
    document = run.measure(options, pinned=False)
    (row,) = document["rows"]
    dense, sparse = (row["ways"][way] for way in WAYS)
    # Also after the mask updates in steps 5, 10 and 15.
    assert all(
        math.isclose(a, b, rel_tol=1e-4)
        for a, b in zip(dense["losses"], sparse["losses"], strict=True)
    )
    weights, nnz, rest = 64 * 40, 640, 10 * 41
    assert dense["bytes"] == {
        "weights": 4 * (weights + rest),
        "gradients": 4 * (weights + rest),
        "optimizer": 2 * 4 * (weights + rest) + 3 * 4,
        "masks": weights,
        "structure": 0,
        "kernels": 0,
    }
    assert sparse["bytes"]["gradients"] == sparse["bytes"]["weights"] == 4 * (nnz + rest)
    assert sparse["bytes"]["optimizer"] == 2 * 4 * (nnz + rest) + 3 * 4
    assert sparse["bytes"]["structure"] == nnz + 2 * 41  # int8 columns, int16 offsets
    assert sparse["total"] == sum(sparse["bytes"].values())
    assert "| mlp | 16 | 75 % | csr |" in run.markdown(document)


@pytest.mark.usefixtures("tiny")
def test_losses_that_differ_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TOLERANCE", -1.0)
    with pytest.raises(WrongResult, match="losses are off by"):
        run.measure(parse(["training", "--models", "mlp", "--quick"]), pinned=False)


def test_a_process_that_fails_is_said_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.sys, "executable", "false")  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match=r"training of none \(csr\) ended with 1"):
        run._in_own_process({"network": "none", "way": "csr"})
