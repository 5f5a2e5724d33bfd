"""cli/convert.py: checkpoints converted without the model."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sparsecore as sc
from demo_cases import sparsecore
from sparsecore.files.bitmask import is_24
from sparsecore.weight_files.sparsified import sparsified


def pruned(*shape: int, sparsity: float, dtype: Any = np.float32) -> np.ndarray:
    rng = np.random.default_rng(0)
    W = rng.integers(1, 9, shape).astype(dtype)
    W[rng.random(shape) < sparsity] = 0
    return W


def state() -> dict[str, np.ndarray]:
    """Return the state of a pruned network: what can go sparse and what cannot."""
    half = pruned(16, 32, sparsity=0.0)
    return {
        "a.weight": pruned(16, 300, sparsity=0.9),
        "a.bias": np.zeros(16, np.float32),
        "conv.weight": pruned(8, 4, 3, 3, sparsity=0.8),
        "two.weight": np.where(np.arange(32) % 4 < 2, half, 0),
        "full.weight": half,
        "some.weight": pruned(64, 300, sparsity=0.05),
        "embed.weight": pruned(50, 60, sparsity=0.9),
        "norm.weight": np.zeros(16, np.float32),
        "table": pruned(20, 20, sparsity=0.9),
        "scale.weight": pruned(4, 4, sparsity=0.9, dtype=np.int32),
    }


def test_there_and_back(tmp_path: Path) -> None:
    source, sparse, dense = (tmp_path / f"{n}.safetensors" for n in ("in", "sparse", "dense"))
    save_file(state(), source)
    result = sparsecore("convert", source, sparse, "--skip", "emb*")
    assert result.exit_code == 0, result.output
    checkpoint = sc.load_checkpoint(sparse)
    assert checkpoint.choices == {"a": "csr", "conv": "csr", "two": "2:4"}
    assert checkpoint["a.weight"].equals(sc.CSR.from_dense(state()["a.weight"]))
    assert checkpoint.header.layers["conv"].weight_shape == (8, 4, 3, 3)
    assert str(checkpoint.size) in result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if line}
    total = sc.CSR.from_dense(state()["a.weight"]).storage().total
    assert f"19,200 -> {total:,}" in lines["a.weight"]
    assert "8 x 4 x 3 x 3" in lines["conv.weight"]
    assert "it has no zeros" in lines["full.weight"]
    assert "csr would be 1." in lines["some.weight"]
    assert "int32 has no kernel" in lines["scale.weight"]
    assert not {"embed.weight", "norm.weight", "table"} & lines.keys()
    assert sparse.stat().st_size < source.stat().st_size

    result = sparsecore("convert", sparse, dense, "--dense")
    assert result.exit_code == 0, result.output
    back = load_file(dense)
    assert back.keys() == state().keys()
    for name, array in state().items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_shards_and_folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    save_file(state(), tmp_path / "in" / "model.safetensors")
    target = tmp_path / "out" / "m.safetensors"
    result = sparsecore("convert", tmp_path / "in", target, "--shard-bytes", 1000)
    assert result.exit_code == 0, result.output
    assert len(list(target.parent.glob("m-*.safetensors"))) > 2
    assert sc.load_checkpoint(target.parent).keys() == state().keys()


def test_bitmask_checkpoints_are_rescued(tmp_path: Path) -> None:
    S = sc.Sparse24.from_dense(state()["two.weight"])
    sc.save_compressed_tensors(tmp_path / "in.safetensors", {"fc.weight": S, "x": np.ones(1)})
    result = sparsecore("convert", tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert result.exit_code == 0, result.output
    assert sc.load_checkpoint(tmp_path / "out.safetensors")["fc.weight"].equals(S)


def test_the_smallest_format_is_taken() -> None:
    """By storage(): 2:4 at 50 %; CSR where 2:4 is nearly empty; dense for half of int8."""
    half = np.where(np.arange(64) % 4 < 2, pruned(8, 64, sparsity=0), 0)
    assert isinstance(sparsified("w", half)[0], sc.Sparse24)
    assert isinstance(sparsified("w", np.eye(64))[0], sc.CSR)
    assert isinstance(sparsified("w", pruned(8, 8, sparsity=0.4, dtype=np.int8))[0], np.ndarray)
    assert isinstance(sparsified("w", np.zeros((0, 4)))[0], np.ndarray)


def test_a_fused_model_is_named(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
    with torch.no_grad():
        model[0].weight[:, :6] = 0
    sc.nn.sparsify_(model, torch.ones(1, 8), policy={"0": "csr"}, trainable=False)
    W = model[0].to_dense().weight.detach().numpy()
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    sc.nn.save_checkpoint(source, model)
    assert "already is a sparse checkpoint" in sparsecore("convert", source, target).output
    assert "note: the model was fused" in sparsecore("convert", source, target, "--dense").output
    np.testing.assert_array_equal(load_file(target)["0.weight"], W)


def test_a_converted_state_loads_into_the_class(tmp_path: Path) -> None:
    """The geometry of a convolution, which a state does not tell, is the model's own."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_state

    def build() -> Any:
        conv = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
        return torch.nn.Sequential(conv, torch.nn.Flatten(), torch.nn.Linear(32, 16))

    model, fresh = build(), build()
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.masked_fill_(torch.rand(layer.weight.shape) < 0.8, 0)
    save_state(model.state_dict(), tmp_path / "in.safetensors")
    assert (
        sparsecore("convert", tmp_path / "in.safetensors", tmp_path / "m.safetensors").exit_code
        == 0
    )
    sc.nn.load_checkpoint_(tmp_path / "m.safetensors", fresh)
    assert [type(fresh[0]), type(fresh[2])] == [sc.nn.CSRConv2d, sc.nn.CSRLinear]
    for sparse, dense in ((fresh[0], model[0]), (fresh[2], model[2])):
        assert torch.equal(sparse.to_dense().weight, dense.weight)
        assert torch.equal(sparse.bias, dense.bias)
    assert fresh[0].geometry.stride == (2, 2)


def test_what_cannot_be_converted_is_said(tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    source.write_bytes(b"\xff" * 100)
    for arguments, message in (
        ((source, target), "in.safetensors: not a whole safetensors file"),
        ((source, source), "IN and OUT are the same file"),
        ((tmp_path / "no.safetensors", target), "does not exist"),
        ((source, target, "--dense", "--skip", "x"), "--skip is for"),
    ):
        result = sparsecore("convert", *arguments)
        assert result.exit_code == 2
        assert message in result.output
    save_file({"x": np.ones(1)}, source)
    result = sparsecore("convert", source, tmp_path / "out.gguf")
    assert "ends in '.gguf', expected '.safetensors'" in result.output
    assert "nothing to convert" in sparsecore("convert", source, target).output


def test_what_is_two_of_four_is_what_the_format_takes() -> None:
    """Every row of up to seven columns, beneath a row of zeros."""
    for columns in range(8):
        for bits in itertools.product((0.0, 1.0), repeat=columns):
            W = np.array([[0.0] * columns, bits], np.float32)
            if is_24(W):
                sc.Sparse24.from_dense(W)
            else:
                with pytest.raises(ValueError, match="row 1"):
                    sc.Sparse24.from_dense(W)
