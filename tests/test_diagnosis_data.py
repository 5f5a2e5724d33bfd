"""`sc.doctor` on networks and matrices of others: trained ResNet-20, and DLMC's patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sparsecore as sc
from diagnosis_cases import costs


def test_trained_resnet20(data_dir: Path) -> None:
    """Its arrays are dense; pruned by magnitude, its larger layers gain, and its ends do not."""
    torch = pytest.importorskip("torch")
    from sparsecore.bench.models import NETWORKS, load

    path = data_dir / "models" / "resnet20.npz"
    if not path.is_file():
        pytest.skip(f"no trained weights: {path} is absent")
    of_file = sc.doctor(path, costs=costs)
    assert set(of_file.verdicts.values()) == {"no-zeros"}
    model, _ = load(NETWORKS["resnet20"], seed=0)
    x = torch.zeros(1, 3, 32, 32)
    dense = sc.doctor(model, x, costs=costs)
    assert len(dense.layers) == 20
    assert dense.summary.weights == of_file.summary.weights
    # 40.55 million, as He et al. count multiplications: convolutions and the classifier.
    assert dense.summary.macs == 40_551_040
    sc.pruning.prune(model, 0.9)
    pruned = sc.doctor(model, x, costs=costs)
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert pruned.summary.zeros == sum(int((layer.weight == 0).sum()) for layer in layers)
    assert pruned.summary.verdict.code == "zeros-stored-dense"


def test_dlmc_patterns_as_files(dlmc_patterns: list[Path], tmp_path: Path) -> None:
    """Each matrix in one checkpoint, sparse and dense: the same zeros, and who pays for them."""
    matrices = {f"{i}.weight": sc.load(path) for i, path in enumerate(dlmc_patterns)}
    matrices = {name: A.astype(np.float32) for name, A in matrices.items()}
    sc.save_checkpoint(tmp_path / "sparse.safetensors", matrices)
    dense = {name: np.asarray(A.toarray()) for name, A in matrices.items()}
    sc.save_checkpoint(tmp_path / "dense.safetensors", dense)
    sparse_found = sc.doctor(tmp_path / "sparse.safetensors", costs=costs)
    dense_found = sc.doctor(tmp_path / "dense.safetensors", costs=costs)
    for name, A in matrices.items():
        assert dense_found[name].facts.counts.nonzeros == A.nnz
        assert sparse_found[name].facts.counts == dense_found[name].facts.counts
        # Checkpoints store indices in torch's dtypes, some wider than the matrix needs.
        assert sparse_found[name].facts.nbytes.csr == A.nbytes
        assert A.nbytes <= sparse_found[name].facts.nbytes.stored < dense[name].nbytes
        pays = A.density < 0.45
        assert (dense_found[name].verdict.code == "zeros-stored-dense") == pays
        assert (sparse_found[name].verdict.code == "runs-sparse") == pays
