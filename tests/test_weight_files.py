"""weight_files/: safetensors and npz files of weights, opened without the model."""

import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import sparsecore as sc
from file_cases import claims
from oracle import Array
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.files.checkpoint_header import Header, Layer
from sparsecore.weight_files import Entry, Use, open_weights

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def pruned(*shape: int, dtype: Any = np.float32) -> Array:
    """Return a weight of whole numbers that is 2:4, every second column zero."""
    W = np.random.default_rng(0).integers(1, 9, shape).astype(dtype)
    W[..., ::2] = 0
    return W


def test_dense_tensors_of_one_file_and_of_shards(tmp_path: Path) -> None:
    arrays = {"a.weight": pruned(4, 6), "b": np.ones(3, BFLOAT16), "c": np.arange(4)}
    save_file(arrays, tmp_path / "one.safetensors")
    sc.save_checkpoint(tmp_path / "model.safetensors", arrays, shard_bytes=30)
    assert len(list(tmp_path.glob("model-*"))) == 3
    for path in (tmp_path / "one.safetensors", tmp_path / "model.safetensors"):
        weights = open_weights(path)
        assert weights["a.weight"] == Entry("a.weight", (4, 6), "float32", 96, "dense")
        assert (weights["b"].dtype, weights["b"].nbytes) == ("bfloat16", 6)
        assert weights.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(weights.dense(name), array, strict=True)
    assert open_weights(tmp_path / "one.safetensors").kind == "safetensors"
    whole = sum(file.stat().st_size for file in tmp_path.glob("model*"))
    assert open_weights(tmp_path / "model.safetensors").nbytes == whole


def test_a_sparse_checkpoint_says_how_its_layers_are_used(tmp_path: Path) -> None:
    W, K = pruned(8, 16), pruned(8, 2, 3, 3)
    weights = {
        "fc.weight": sc.CSR.from_dense(W),
        "two.weight": sc.Sparse24.from_dense(W),
        "conv.weight": sc.CSR.from_dense(K.reshape(8, -1)),
        "norm.weight": np.ones(8, np.float32),
    }
    path = tmp_path / "model.safetensors"
    sc.save_checkpoint(path, weights, weight_shapes={"conv.weight": K.shape})
    opened = open_weights(path)
    assert opened.kind == "sparsecore"
    found = {name: (entry.shape, entry.stored, entry.use) for name, entry in opened.items()}
    assert found == {
        "fc.weight": ((8, 16), "csr", Use("Linear", 1)),
        "two.weight": ((8, 16), "2:4", Use("Linear", 1)),
        "conv.weight": ((8, 2, 3, 3), "csr", None),  # this file does not say its groups
        "norm.weight": ((8,), "dense", None),
    }
    size = sc.load_checkpoint(path).size
    assert opened["fc.weight"].nbytes == 8 * 8 * 4 + 8 * 8 + 9
    assert sum(e.nbytes for e in opened.values()) == size.values + size.indices + size.dense
    np.testing.assert_array_equal(opened.dense("conv.weight"), K, strict=True)
    assert isinstance(opened.read("two.weight"), sc.Sparse24)


def test_narrow_values_tied_names_and_geometry_of_a_checkpoint(tmp_path: Path) -> None:
    from sparsecore.checkpoint_save import write_checkpoint

    geometry = ConvGeometry.of(1, stride=2, groups=2)
    layers = {
        "fc": Layer("csr", (2, 4), dtype="bfloat16", is_scaled=True),
        "conv": Layer("csr", (4, 2, 1, 1), geometry=geometry),
    }
    arrays = {
        "fc.values": np.array([3, 5], np.int8),
        "fc.indices": np.array([1, 0], np.int8),
        "fc.indptr": np.array([0, 1, 2], np.int8),
        "fc.scale": np.array([0.5, 2], np.float32),
        "conv.values": np.ones(4, np.float32),
        "conv.indices": np.zeros(4, np.int8),
        "conv.indptr": np.arange(5, dtype=np.int8),
    }
    header = Header(layers, tied={"head.weight": "fc.weight"})
    write_checkpoint(tmp_path / "m.safetensors", arrays, header, None)
    opened = open_weights(tmp_path / "m.safetensors")
    assert opened["fc.weight"].dtype == "bfloat16"
    assert opened["conv.weight"].use == Use("Conv", 1, geometry, 2)
    assert (opened["head.weight"].tied_to, opened["head.weight"].nbytes) == ("fc.weight", 0)
    expected = np.array([[0, 1.5, 0, 0], [10, 0, 0, 0]], BFLOAT16)
    for name in ("fc.weight", "head.weight"):
        np.testing.assert_array_equal(opened.dense(name), expected, strict=True)


def test_one_matrix_has_the_name_of_its_file(tmp_path: Path) -> None:
    W = pruned(5, 9)
    coo = sc.CSR.from_dense(W).tocoo()
    for name, matrix, stored in (
        ("fc.weight.safetensors", sc.CSR.from_dense(W), "csr"),
        ("two.safetensors", sc.Sparse24.from_dense(W), "2:4"),
        ("coo.npz", coo, "coo"),
    ):
        sc.save(tmp_path / name, matrix)
        opened = open_weights(tmp_path / name)
        (entry,) = opened.values()
        assert entry.name == name.rpartition(".")[0]
        assert (entry.shape, entry.dtype, entry.stored) == ((5, 9), "float32", stored)
        np.testing.assert_array_equal(opened.dense(entry.name), W, strict=True)
    assert isinstance(open_weights(tmp_path / "coo.npz").read("coo"), sc.CSR)


def test_npz_of_scipy_and_of_dense_arrays(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    W = pruned(5, 9)
    sparse.save_npz(tmp_path / "s.npz", sparse.csr_array(W))
    np.testing.assert_array_equal(open_weights(tmp_path / "s.npz").dense("s"), W, strict=True)
    arrays = {"a": W, "b/c": np.asfortranarray(W), "d": np.ones(3, ">f8"), "text": np.array("x")}
    np.savez(tmp_path / "d.npz", **arrays)
    opened = open_weights(tmp_path / "d.npz")
    assert (opened.kind, list(opened)) == ("npz", list(arrays))
    assert opened["d"].dtype == "float64"
    for name in ("a", "b/c", "d"):
        np.testing.assert_array_equal(opened.dense(name), arrays[name])
    with pytest.raises(ValueError, match=r"d\.npz: 'text' has dtype str.*is not read"):
        opened.read("text")


def test_bitmask_checkpoints(tmp_path: Path) -> None:
    W = pruned(4, 8)
    weights = {"x": np.ones(2), "fc.weight": sc.Sparse24.from_dense(W)}
    sc.save_compressed_tensors(tmp_path / "m.safetensors", weights)
    opened = open_weights(tmp_path / "m.safetensors")
    assert opened.kind == "compressed-tensors"
    nbytes = 4 * 4 * 4 + 4 + 16  # values, one byte of bits a row, two sizes
    assert opened["fc.weight"] == Entry("fc.weight", (4, 8), "float32", nbytes, "bitmask")
    np.testing.assert_array_equal(opened.dense("fc.weight"), W, strict=True)
    assert opened.dense("x").tolist() == [1, 1]


def test_an_unknown_ending_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.gguf: ends in '\.gguf', expected a folder or one of"):
        open_weights(tmp_path / "x.gguf")
    for name in ("x.safetensors", "x.npz"):
        with pytest.raises(FileNotFoundError):
            open_weights(tmp_path / name)


def test_an_array_that_claims_more_than_its_member_is_refused_when_it_is_opened(
    tmp_path: Path,
) -> None:
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("w.npy", claims((3,), bytes(16)))
    with pytest.raises(ValueError, match=r"m\.npz: member 'w.npy' holds 16 bytes.* claims 24"):
        open_weights(tmp_path / "m.npz")
