"""One small file of weights of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import sparsecore as sc
from oracle import Array


def weights() -> dict[str, Array]:
    """Return a state_dict: a weight that is 2:4, one of a convolution, a bias."""
    rng = np.random.default_rng(0)
    W = rng.normal(size=(8, 12)).astype(np.float32)
    W[~sc.prune_24(W)] = 0
    K = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    K[np.abs(K) < 1.5] = 0
    return {"fc.weight": W, "conv.weight": K, "fc.bias": rng.normal(size=8).astype(np.float32)}


def _safetensors(path: Path) -> None:
    save_file(weights(), path, metadata={"format": "pt"})


def _checkpoint(path: Path) -> None:
    found = weights()
    conv = sc.CSR.from_dense(found["conv.weight"].reshape(4, -1))
    matrices = {"fc.weight": sc.CSR.from_dense(found["fc.weight"]), "conv.weight": conv}
    sc.save_checkpoint(path, found | matrices, weight_shapes={"conv.weight": (4, 3, 3, 3)})


def _bitmask(path: Path) -> None:
    found = weights()
    S = sc.Sparse24.from_dense(found["fc.weight"])
    sc.save_compressed_tensors(path, found | {"fc.weight": S})


def _npz(path: Path) -> None:
    np.savez_compressed(path, **weights())


def _scipy(path: Path) -> None:
    sc.save(path, sc.CSR.from_dense(weights()["fc.weight"]))


def _torch(path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({name: torch.from_numpy(array) for name, array in weights().items()}, path)


def _onnx(path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, node, saved

    nodes = [node("Gemm", ["x", "fc.weight", "fc.bias"], ["y"], transB=1)]
    nodes.append(node("Conv", ["z", "conv.weight"], ["c"]))
    saved(path, model(nodes, weights()))


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "safetensors": (".safetensors", _safetensors),
    "checkpoint": (".safetensors", _checkpoint),
    "bitmask": (".safetensors", _bitmask),
    "npz": (".npz", _npz),
    "scipy": (".npz", _scipy),
    "torch": (".pt", _torch),
    "onnx": (".onnx", _onnx),
}


def write_kind(kind: str, folder: Path) -> Path:
    """Write the file of a kind, called good-KIND."""
    suffix, write = KINDS[kind]
    path = folder / f"good-{kind}{suffix}"
    write(path)
    return path
