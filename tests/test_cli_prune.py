"""cli/prune.py, weight_files/pruned.py: files pruned without the model."""

import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import sparsecore as sc
from child import run
from demo_cases import sparsecore
from oracle import Array
from sparsecore.pruning import allocation, scores
from sparsecore.pruning.streamed_threshold import global_counts
from sparsecore.weight_files import open_weights


def weight(*shape: int, scale: float = 1.0, seed: int = 0) -> Array:
    """Return a weight in which no two numbers have the same magnitude."""
    rng = np.random.default_rng(seed)
    values = (rng.permutation(np.prod(shape)) + 1) * np.where(
        rng.random(np.prod(shape)) < 0.5, -1, 1
    )
    return (scale * values).reshape(shape).astype(np.float32)


def state() -> dict[str, Array]:
    return {
        "a.weight": weight(8, 12),
        "conv.weight": weight(6, 4, 3, 3, scale=0.5, seed=1),
        "b.weight": weight(4, 5, scale=3, seed=2),
        "embed.weight": weight(10, 4, seed=3),
        "a.bias": weight(8),
        "count": np.array([[1, 2], [3, 4]]),
    }


def largest(W: Array, kept: int) -> Array:
    """Return the weight with all but the `kept` largest set to zero."""
    order = np.argsort(-np.abs(W.astype(np.float64)).ravel())
    result = np.zeros_like(W).ravel()
    result[order[:kept]] = W.ravel()[order[:kept]]
    return result.reshape(W.shape)


def prune(source: Path, target: Path, *options: object) -> str:
    result = sparsecore("prune", source, target, *options)
    assert result.exit_code == 0, result.output
    return result.output


# ---- how much each weight loses ----


def test_uniform_by_magnitude(tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(state(), source, metadata={"format": "pt", "of": "me"})
    output = prune(source, target, "--sparsity", 0.75, "--skip", "^embed")
    kept = {"a.weight": 24, "conv.weight": 54, "b.weight": 5}
    found = load_file(target)
    for name, array in state().items():
        expected = largest(array, kept[name]) if name in kept else array
        np.testing.assert_array_equal(found[name], expected, strict=True)
    with safe_open(target, framework="np") as file:
        assert file.metadata() == {"format": "pt", "of": "me"}
    lines = {line.split()[0]: line for line in output.splitlines() if line}
    assert lines["conv.weight"].endswith("0.00%   75.00%  54 of 216")
    assert lines["3"].endswith("83 of 332")


@pytest.mark.parametrize("score", ["magnitude", "lamp", "random"])
def test_one_threshold_over_all_weights(tmp_path: Path, score: str) -> None:
    """As ``allocation.global_``, which has all scores in memory, and the weights' own scores."""
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    weights = {n: a for n, a in state().items() if n.endswith("weight")}
    save_file(weights, source)
    prune(source, target, "--sparsity", 0.8, "--allocation", "global", "--score", score)
    found = load_file(target)
    names = list(open_weights(source))
    ranked = {n: weights[n] for n in names}
    if score == "random":
        by_score: Any = {
            n: np.random.default_rng((0, i)).random(weights[n].shape) for i, n in enumerate(names)
        }
    else:
        by_score = getattr(scores, score)(ranked)
    counts = allocation.global_(by_score, 0.8)
    assert len(set(counts.values())) > 1
    for name in names:
        ranks = np.append(np.inf, np.sort(by_score[name].ravel())[::-1])
        threshold = ranks[counts[name]]
        expected = np.where(by_score[name] >= threshold, weights[name], 0)
        np.testing.assert_array_equal(found[name], expected)


def test_one_threshold_over_groups_compares_their_means(tmp_path: Path) -> None:
    """Two blocks whose means differ by less than float32 can tell."""
    first = np.array([[2**24, 2**24, 1, 1]], np.float32)
    second = np.array([[2**24, 2**24 + 2, 1, 1]], np.float32)
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file({"a": first, "b": second}, source)
    for sparsity, a, b in ((0.75, 0, 2), (0.5, 2, 2)):
        options = ("--pattern", "block:1x2", "--allocation", "global", "--sparsity", sparsity)
        prune(source, target, *options)
        found = load_file(target)
        assert [int(np.count_nonzero(found[name])) for name in "ab"] == [a, b]


def test_the_streamed_threshold_with_ties_and_dtypes() -> None:
    rng = np.random.default_rng(0)
    for round_ in range(30):
        dtype = (np.float32, np.float64, np.float16)[round_ % 3]
        values = {name: rng.integers(-3, 4, rng.integers(0, 40)).astype(dtype) for name in "abcd"}
        size = sum(a.size for a in values.values())
        sparsity = float(rng.random())
        sizes = {name: a.size for name, a in values.items()}
        kept = size - round(sparsity * size)
        found = global_counts(sizes, values.__getitem__, kept, double=dtype == np.float64)
        assert found == allocation.global_(values, sparsity)


@pytest.mark.parametrize(("name", "kernel"), [("er", False), ("erk", True)])
def test_erdos_renyi(tmp_path: Path, name: str, kernel: bool) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(state(), source)
    prune(source, target, "--sparsity", 0.6, "--allocation", name, "--where", "^(a|conv)")
    shapes = {n: state()[n].shape for n in ("a.weight", "conv.weight")}
    found = {n: int(np.count_nonzero(load_file(target)[n])) for n in shapes}
    assert found == allocation.erdos_renyi(shapes, 0.6, kernel=kernel)


# ---- patterns ----


def test_two_of_four_lies_along_the_axis_that_is_summed_over(tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(state() | {"stem.weight": weight(4, 3, 3, 3)}, source)
    output = prune(source, target, "--pattern", "2:4")
    found = load_file(target)
    for name in ("a.weight", "embed.weight"):
        W = state()[name]
        np.testing.assert_array_equal(found[name], np.where(sc.prune_24(W), W, 0))
    K = np.moveaxis(state()["conv.weight"], 1, -1)
    expected = np.moveaxis(np.where(sc.prune_24(K.reshape(-1, 4)).reshape(K.shape), K, 0), -1, 1)
    np.testing.assert_array_equal(found["conv.weight"], expected)
    assert "stays as it is: stem.weight, narrower than one group" in output
    prune(source, target, "--pattern", "2:4", "--conv-axis", "columns", "--where", "conv")
    K = state()["conv.weight"].reshape(6, 36)
    columns = np.where(sc.prune_24(K), K, 0).reshape(6, 4, 3, 3)
    np.testing.assert_array_equal(load_file(target)["conv.weight"], columns)


def test_blocks_and_other_groups(tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file({"w.weight": weight(8, 8)}, source)
    prune(source, target, "--pattern", "block:2x4", "--sparsity", 0.5)
    blocks = load_file(target)["w.weight"].reshape(4, 2, 2, 4).swapaxes(1, 2).reshape(8, 8)
    sums = np.abs(weight(8, 8)).reshape(4, 2, 2, 4).swapaxes(1, 2).reshape(8, 8).sum(1)
    assert set(np.flatnonzero(blocks.any(1))) == set(np.argsort(-sums)[:4])
    assert np.count_nonzero(blocks) == 32
    prune(source, target, "--pattern", "filter", "--sparsity", 0.5)
    assert np.count_nonzero(load_file(target)["w.weight"].any(1)) == 4


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float64"]
)
def test_every_floating_dtype(tmp_path: Path, dtype: str) -> None:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    W = np.array([[1, -4, 2, 0.5], [-8, 0.25, 16, -0.125]]).astype(kind)
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    sc.save_checkpoint(source, {"w": W}, shard_bytes=None)
    for allocation_ in ("uniform", "global"):
        prune(source, target, "--sparsity", 0.5, "--allocation", allocation_)
        expected = np.array([[0, -4, 2, 0], [-8, 0, 16, 0]]).astype(kind)
        np.testing.assert_array_equal(open_weights(target).dense("w"), expected, strict=True)


# ---- kinds of files ----


def test_shards_in_shards_out_one_weight_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {f"{i:02}.weight": rng.normal(size=(512, 512)).astype(np.float32) for i in range(24)}
    megabyte = 1 << 20
    (tmp_path / "in").mkdir()
    sc.save_checkpoint(tmp_path / "in" / "m.safetensors", weights, shard_bytes=5 * megabyte)
    target = tmp_path / "m.safetensors"
    total = sum(np.count_nonzero(a) for a in weights.values())
    del weights
    tracemalloc.start()
    try:
        prune(tmp_path / "in", target, "--sparsity", 0.9, "--allocation", "global")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 14 * megabyte, "24 weights of a megabyte, of which one at a time is worked on"
    assert len(list(tmp_path.glob("m-*.safetensors"))) == 5
    found = open_weights(target)
    kept = sum(np.count_nonzero(found.dense(name)) for name in found)
    assert kept == total - round(0.9 * total)


def test_files_that_are_read_are_not_written_over(tmp_path: Path) -> None:
    sc.save_checkpoint(tmp_path / "m.safetensors", state(), shard_bytes=500)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for target in ("m.safetensors", min(name for name in before if name.startswith("m-"))):
        result = sparsecore("prune", tmp_path, tmp_path / target, "--sparsity", 0.5)
        assert result.exit_code == 2
        assert "which is read; choose another name" in result.output
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_shard_that_is_read_is_not_written_over(tmp_path: Path) -> None:
    """Nor is it removed as one of an older OUT's."""
    sc.save_checkpoint(tmp_path / "m.safetensors", state(), shard_bytes=500)
    index, target = tmp_path / "m.safetensors.index.json", tmp_path / "m.safetensors"
    source = next(file for file in tmp_path.glob("m-*") if "conv.weight" in open_weights(file))
    before = source.read_bytes()
    options = ("--sparsity", 0.5, "--shard-bytes", 300)
    result = sparsecore("prune", source, target, *options)
    assert result.exit_code == 2
    assert f"written over {source.name}" in result.output
    assert source.read_bytes() == before
    index.unlink()
    for name in ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"):
        save_file({f"{i}.weight": weight(8, 12, seed=i) for i in range(2)}, tmp_path / name)
        before = (tmp_path / name).read_bytes()
        prune(tmp_path / name, target, *options)
        assert (tmp_path / name).read_bytes() == before
        assert sorted(open_weights(index)) == ["0.weight", "1.weight"]


def test_torch_files_keep_what_is_beside_the_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    W = torch.from_numpy(weight(8, 12))
    content = {
        "model": {"a.weight": W, "tied.weight": W, "b.bias": torch.ones(3), "view": W[:, ::2]},
        "optimizer": {"step": torch.tensor(7), "rate": 0.1},
    }
    source, target = tmp_path / "in.pt", tmp_path / "out.pt"
    torch.save(content, source)
    output = prune(source, target, "--sparsity", 0.5, "--where", "^(a|tied)")
    found = torch.load(target, weights_only=True)
    assert found["optimizer"] == content["optimizer"]
    np.testing.assert_array_equal(found["model"]["a.weight"].numpy(), largest(weight(8, 12), 48))
    assert found["model"]["a.weight"].data_ptr() == found["model"]["tied.weight"].data_ptr()
    assert torch.equal(found["model"]["view"], content["model"]["view"])
    assert "stays as it is: tied.weight, tied to a.weight" in output
    prune(source, tmp_path / "out.safetensors", "--sparsity", 0.5, "--where", "^a")
    dense = load_file(tmp_path / "out.safetensors")
    for name in ("a.weight", "tied.weight"):
        np.testing.assert_array_equal(dense[name], largest(weight(8, 12), 48))


@pytest.mark.parametrize("external", [None, "in.onnx.data"])
def test_onnx_models_along_the_axes_of_their_graphs(tmp_path: Path, external: str | None) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, node, saved

    G, M, T = weight(8, 6), weight(8, 4, seed=1), weight(4, 8, seed=2)
    nodes = [
        node("MatMul", ["x", "M"], ["h"]),
        node("Gemm", ["h", "T"], ["g"], transB=0),
        node("Gemm", ["g", "G"], ["y"], transB=0),
        node("Gather", ["E", "i"], ["e"]),
    ]
    tensors = {"M": M, "T": T, "G": G, "E": weight(4, 4), "i": np.array([1])}
    made = model(nodes, tensors, inputs={"x": (1, 8)})
    source = saved(tmp_path / "in.onnx", made, external=external)
    target = tmp_path / "out.onnx"
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    output = prune(source, target, "--pattern", "2:4")
    assert "stays as it is: E, no product of the graph is seen to take it" in output
    pruned = {n: np.where(sc.prune_24(tensors[n].T).T, tensors[n], 0) for n in "MTG"}
    found = open_weights(target)
    for name, array in (tensors | pruned).items():
        np.testing.assert_array_equal(found.dense(name), array, strict=True)
    assert (tmp_path / "out.onnx.data").exists() == (external is not None)
    assert before.items() <= {file.name: file.read_bytes() for file in tmp_path.iterdir()}.items()
    runtime = pytest.importorskip("onnxruntime")
    x = np.arange(8, dtype=np.float32).reshape(1, 8)
    (y,) = runtime.InferenceSession(target).run(["y"], {"x": x})
    exact = x.astype(np.float64) @ pruned["M"] @ pruned["T"] @ pruned["G"]
    np.testing.assert_allclose(y, exact, rtol=1e-5)


@pytest.mark.parametrize(("pattern", "axis"), [("filter", 1), ("channel", 0)])
def test_filters_are_outputs_whatever_their_axis(tmp_path: Path, pattern: str, axis: int) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, node, saved

    T = weight(8, 6, 2, 2, seed=1)
    nodes = [node("MatMul", ["x", "M"], ["y"]), node("ConvTranspose", ["i", "T"], ["t"])]
    source = saved(tmp_path / "in.onnx", model(nodes, {"M": weight(8, 6), "T": T}))
    target = tmp_path / "out.onnx"
    prune(source, target, "--pattern", pattern, "--sparsity", 0.5)
    for name, W in (("M", weight(8, 6)), ("T", T)):
        found = np.moveaxis(open_weights(target).dense(name), axis, 0).reshape(W.shape[axis], -1)
        sums = np.abs(np.moveaxis(W, axis, 0).reshape(W.shape[axis], -1)).sum(1)
        half = W.shape[axis] // 2
        assert set(np.flatnonzero(found.any(1))) == set(np.argsort(-sums)[:half])
        assert np.count_nonzero(found) == W.size // 2


def test_a_weight_whose_use_is_hidden_is_pruned_where_it_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, node, saved

    nodes = [node("Reshape", ["W", "s"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    made = model(nodes, {"W": weight(4, 8), "s": np.array([8, 4])})
    source, target = saved(tmp_path / "in.onnx", made), tmp_path / "out.onnx"
    result = sparsecore("prune", source, target, "--sparsity", 0.5)
    assert result.exit_code == 2
    assert "no weight to prune" in result.output
    prune(source, target, "--sparsity", 0.5, "--where", "^W$")
    np.testing.assert_array_equal(open_weights(target).dense("W"), largest(weight(4, 8), 16))


def test_sparse_files_come_out_dense(tmp_path: Path) -> None:
    W = largest(weight(8, 16), 32)
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    sc.save_checkpoint(source, {"fc.weight": sc.CSR.from_dense(W)})
    output = prune(source, target, "--sparsity", 0.875)
    np.testing.assert_array_equal(load_file(target)["fc.weight"], largest(W, 16))
    assert "75.00%  87.50%  16 of 128" in output


# ---- nothing is half done ----


def test_a_dry_run_writes_nothing_and_says_the_same(tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(state(), source)
    dry = prune(source, target, "--sparsity", 0.5, "--dry-run")
    assert list(tmp_path.iterdir()) == [source]
    wet = prune(source, target, "--sparsity", 0.5)
    assert dry.splitlines()[:-1] == wet.splitlines()[:-1]
    assert dry.endswith("nothing was written\n")


def test_a_killed_run_leaves_the_older_file_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(state(), source)
    prune(source, target, "--sparsity", 0.5)
    before = target.read_bytes()
    done = run(f"""
        import os, signal
        from click.testing import CliRunner
        from sparsecore.cli.commands import commands
        from sparsecore.weight_files.pruned import Pruning
        prune = Pruning.prune
        def killed(self, name):
            if len(self.pruned) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return prune(self, name)
        Pruning.prune = killed
        arguments = ["prune", {str(source)!r}, {str(target)!r}, "--sparsity", "0.9"]
        CliRunner().invoke(commands, arguments)
    """)
    assert done.returncode == -9
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--sparsity is missing"),
        (("--sparsity", "1"), "not in the range 0<=x<1"),
        (("--pattern", "3:2"), "expected 1 <= n < m"),
        (("--pattern", "stripes"), "expected unstructured, N:M"),
        (("--pattern", "2:4", "--sparsity", "0.7"), "has exactly 0.5"),
        (("--pattern", "2:4", "--allocation", "global"), "expected uniform"),
        (("--sparsity", "0.5", "--where", "("), "no regular expression"),
        (("--sparsity", "0.5", "--where", "nothing"), "no weight to prune"),
        (("--sparsity", "0.5", "--conv-axis", "columns"), "is for N:M"),
    ],
)
def test_requests_without_meaning(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    save_file(state(), tmp_path / "in.safetensors")
    result = sparsecore(
        "prune", tmp_path / "in.safetensors", tmp_path / "out.safetensors", *options
    )
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out.safetensors").exists()


def test_each_seed_has_its_own_choice(tmp_path: Path) -> None:
    """Of random scores; the same seed has the same one, and its weights have different ones."""
    W = weight(8, 12)
    save_file({"a.weight": W, "b.weight": W}, tmp_path / "in.safetensors")
    kept: list[Any] = []
    for seed in (0, 1, 0):
        options = ("--sparsity", 0.5, "--score", "random", "--seed", seed)
        prune(tmp_path / "in.safetensors", tmp_path / "out.safetensors", *options)
        found = load_file(tmp_path / "out.safetensors")
        kept.append([(found[name] != 0).tolist() for name in ("a.weight", "b.weight")])
    assert kept[0] == kept[2]
    assert kept[0][0] != kept[1][0]
    assert kept[0][0] != kept[0][1]


def test_weights_that_have_no_order(tmp_path: Path) -> None:
    source = tmp_path / "in.safetensors"
    save_file({"w": np.array([[1, np.nan]], np.float32)}, source)
    for options in ((), ("--allocation", "global")):
        target = tmp_path / "out.safetensors"
        result = sparsecore("prune", source, target, "--sparsity", 0.5, *options)
        assert result.exit_code == 2
        assert "'w' has NaN, which has no rank" in result.output
        assert not target.exists()
