"""cli/convert.py, weight_files/writing.py: from every kind of file to every other."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sparsecore as sc
from child import killed, run
from demo_cases import sparsecore
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.weight_files import open_weights
from sparsecore.weight_files.writing import plan_writing
from weight_file_cases import KINDS, weights, write_kind

ENDINGS = {
    "sparsecore": ".safetensors",
    "safetensors": ".safetensors",
    "compressed-tensors": ".safetensors",
    "npz": ".npz",
    "torch": ".pt",  # the last, after which a test without torch ends
}


def convert(source: Path, target: Path, *options: object) -> str:
    result = sparsecore("convert", source, target, *options)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("kind", KINDS)
def test_from_this_kind_to_all_others(tmp_path: Path, kind: str) -> None:
    source = write_kind(kind, tmp_path)
    given = open_weights(source)
    for to, ending in ENDINGS.items():
        if to == "torch":
            pytest.importorskip("torch")
        if (kind, to) == ("checkpoint", "sparsecore"):
            continue  # which is refused: its header would be lost
        target = tmp_path / f"{kind}-{to}{ending}"
        convert(source, target, "--to", to)
        found = open_weights(target)
        # scipy's one matrix is no layer's weight by its name: by bitmask nothing is stored.
        bitmask_of_scipy = (kind, to) == ("scipy", "compressed-tensors")
        assert found.kind == ("safetensors" if bitmask_of_scipy else to)
        assert len(found) == len(given)
        for name in given:
            other = name if name in found else next(iter(found))  # a matrix is called as its file
            np.testing.assert_array_equal(found.dense(other), given.dense(name), strict=True)


def test_what_each_kind_stores(tmp_path: Path) -> None:
    source = write_kind("safetensors", tmp_path)
    target = tmp_path / "bits.safetensors"
    output = convert(source, target, "--to", "compressed-tensors")
    stored = {name: entry.stored for name, entry in open_weights(target).items()}
    assert stored == {"fc.weight": "bitmask", "conv.weight": "dense", "fc.bias": "dense"}
    S = sc.Sparse24.from_dense(weights()["fc.weight"])
    assert sc.load_compressed_tensors(target)["fc.weight"].equals(S)
    # Half the values, a bit for each element in whole bytes of a row, two sizes.
    assert f"384 -> {8 * 6 * 4 + 8 * 2 + 16}" in output
    save_file({"a.weight": np.ones((2, 4), np.float32)}, source)
    assert "it is not 2:4" in convert(source, target, "--to", "compressed-tensors")


def test_one_matrix_becomes_one_matrix(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    W = weights()["fc.weight"]
    sparse.save_npz(tmp_path / "in.npz", sparse.csr_array(W))
    convert(tmp_path / "in.npz", tmp_path / "m.safetensors")
    assert sc.load(tmp_path / "m.safetensors").equals(sc.CSR.from_dense(W))
    convert(tmp_path / "m.safetensors", tmp_path / "out.npz")
    np.testing.assert_array_equal(sparse.load_npz(tmp_path / "out.npz").toarray(), W)
    save_file({"w": W}, tmp_path / "dense.safetensors")
    convert(tmp_path / "dense.safetensors", tmp_path / "one.npz")
    np.testing.assert_array_equal(sparse.load_npz(tmp_path / "one.npz").toarray(), W)


def test_dtypes_that_npz_has_not(tmp_path: Path) -> None:
    sc.save_checkpoint(tmp_path / "in.safetensors", {"a": np.ones(3, ml_dtypes.bfloat16)})
    result = sparsecore("convert", tmp_path / "in.safetensors", tmp_path / "out.npz")
    assert result.exit_code == 2
    assert "'a' has dtype bfloat16, which npz cannot hold" in result.output
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("name", ["../../evil", "/abs", "a/../../b", "..\\a", "C:\\a", "C:a"])
def test_members_of_an_archive_lie_in_it(tmp_path: Path, name: str) -> None:
    """Unpacked by whatever program, it writes no file elsewhere."""
    save_file({name: np.eye(4), "a..b/c": np.eye(3)}, tmp_path / "in.safetensors")
    result = sparsecore("convert", tmp_path / "in.safetensors", tmp_path / "out.npz")
    assert result.exit_code == 2
    assert "would be a member of out.npz that lies outside of it" in result.output
    assert not (tmp_path / "out.npz").exists()
    save_file({"a..b/c": np.eye(3), "d": np.eye(4)}, tmp_path / "in.safetensors")
    convert(tmp_path / "in.safetensors", tmp_path / "out.npz")
    assert np.load(tmp_path / "out.npz").files == ["a..b/c", "d"]


def test_a_folder_that_is_not_there_is_named_before_anything_is_planned(tmp_path: Path) -> None:
    source, target = write_kind("safetensors", tmp_path), tmp_path / "none" / "out.safetensors"
    for command in (("convert",), ("prune", "--sparsity", "0.5", "--dry-run")):
        result = sparsecore(*command, source, target)
        assert result.exit_code == 2
        assert f"the folder of {target} does not exist" in " ".join(result.output.split())


def test_ties_of_torch_stay_ties(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    W = torch.from_numpy(weights()["fc.weight"])
    bias = torch.ones(3)
    state = {"a.weight": W, "b.weight": W, "a.bias": bias, "b.bias": bias}
    torch.save({"state_dict": state}, tmp_path / "in.pt")
    convert(tmp_path / "in.pt", tmp_path / "m.safetensors")
    checkpoint = sc.load_checkpoint(tmp_path / "m.safetensors")
    assert checkpoint.header.tied == {"b.weight": "a.weight", "b.bias": "a.bias"}
    convert(tmp_path / "m.safetensors", tmp_path / "out.pt")
    back = torch.load(tmp_path / "out.pt", weights_only=True)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert back["a.weight"].data_ptr() == back["b.weight"].data_ptr()


@pytest.mark.parametrize("external", [None, "data.bin"])
def test_weights_are_put_back_into_their_graph(tmp_path: Path, external: str | None) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, node, saved

    nodes = [node("Conv", ["x", "conv.weight"], ["y"], pads=[1, 1, 1, 1])]
    graph = saved(tmp_path / "g.onnx", model(nodes, weights()), external=external)
    dense, target = tmp_path / "w.safetensors", tmp_path / "out.onnx"
    convert(graph, dense, "--to", "safetensors")
    changed = load_file(dense) | {"conv.weight": -load_file(dense)["conv.weight"]}
    save_file(changed, dense)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    convert(dense, target, "--into", graph)
    found = open_weights(target)
    for name, array in changed.items():
        np.testing.assert_array_equal(found.dense(name), array, strict=True)
    assert found["conv.weight"].use == open_weights(graph)["conv.weight"].use
    assert before.items() <= {file.name: file.read_bytes() for file in tmp_path.iterdir()}.items()
    for name, array, message in (
        ("other", np.ones(1), "the graph .* has none of that name"),
        ("fc.bias", np.ones(8), r"is float64 \(8,\), the graph .* has one of float32 \(8,\)"),
    ):
        save_file({name: array}, dense)
        result = sparsecore("convert", dense, target, "--into", graph)
        assert result.exit_code == 2
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(result.output)


@pytest.mark.parametrize("external", [None, "data.bin"])
def test_writing_changes_nothing_of_what_was_opened(tmp_path: Path, external: str | None) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, saved

    opened = open_weights(saved(tmp_path / "g.onnx", model([], weights()), external=external))
    zeros = opened.replacing({"fc.bias": lambda: np.zeros(8, np.float32)})
    plan_writing(zeros, tmp_path / "one.onnx", "onnx").write()
    plan_writing(opened, tmp_path / "two.onnx", "onnx").write()
    assert not open_weights(tmp_path / "one.onnx").dense("fc.bias").any()
    for found in (opened, open_weights(tmp_path / "two.onnx")):
        for name, array in weights().items():
            np.testing.assert_array_equal(found.dense(name), array, strict=True)


def test_no_file_is_written_that_a_graph_names(tmp_path: Path) -> None:
    """A tensor with data outside and bytes of its own, which onnx.save would write there."""
    pytest.importorskip("onnx")
    from onnx import TensorProto

    from onnx_graphs import model, node

    (tmp_path / "data.bin").write_bytes(bytes(8))
    proto = TensorProto(name="w", data_type=1, dims=(2,), data_location=1)
    proto.external_data.add(key="location", value="data.bin")
    made = model([node("Relu", ["x"], ["y"])], {"w": proto})
    made.graph.initializer[0].raw_data = bytes([255] * 8)
    (tmp_path / "in.onnx").write_bytes(made.SerializeToString())
    convert(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert (tmp_path / "data.bin").read_bytes() == bytes(8)
    found = {file.name for file in tmp_path.iterdir()}
    assert found == {"in.onnx", "data.bin", "out.onnx", "out.onnx.data"}
    assert bytes([255] * 8) not in (tmp_path / "out.onnx").read_bytes()
    assert open_weights(tmp_path / "out.onnx").dense("w").tolist() == [0, 0]


def test_a_graph_says_the_geometry_of_its_convolutions(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, node, saved

    nodes = [node("Conv", ["x", "conv.weight"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])]
    graph = saved(tmp_path / "g.onnx", model(nodes, weights()))
    convert(graph, tmp_path / "m.safetensors")
    layer = sc.load_checkpoint(tmp_path / "m.safetensors").header.layers["conv"]
    assert layer.geometry == ConvGeometry.of(3, stride=2, padding=1)


def test_tensors_of_unknown_dtypes_are_copied(tmp_path: Path) -> None:
    """Dense safetensors to dense safetensors needs no understanding of what is not touched."""
    from sparsecore.files.tensor_writing import Planned, write_planned

    planned = {"e": Planned("F8_E8M0", (4,), 4), "w": Planned("F32", (1, 2), 8)}
    content = {"e": np.arange(4, dtype=np.uint8), "w": np.array([[1, 2]], np.float32)}
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    write_planned(source, planned, content.__getitem__, metadata=lambda *_: {})
    assert sparsecore("prune", source, target, "--sparsity", 0.5).exit_code == 0
    found = open_weights(target)
    assert (found["e"].dtype, found.source.read_bytes("e").tolist()) == ("F8_E8M0", [0, 1, 2, 3])
    assert found.dense("w").tolist() == [[0, 2]]
    result = sparsecore("convert", source, tmp_path / "out.npz")
    assert result.exit_code == 2
    assert "'e' has dtype F8_E8M0, which is not read" in result.output


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    source = write_kind("safetensors", tmp_path)
    for to, ending in ENDINGS.items():
        if to == "torch":
            pytest.importorskip("torch")
        output = convert(source, tmp_path / f"out{ending}", "--to", to, "--dry-run")
        assert "fc.weight" in output
        assert output.endswith("nothing was written\n")
    assert list(tmp_path.iterdir()) == [source]


def test_a_killed_run_leaves_the_older_file_whole(tmp_path: Path) -> None:
    source, target = write_kind("safetensors", tmp_path), tmp_path / "out.safetensors"
    convert(source, target)
    before = target.read_bytes()
    done = run(f"""
        import os, signal
        from click.testing import CliRunner
        from sparsecore.cli.commands import commands
        from sparsecore.files import tensor_writing
        from sparsecore.weight_files import WeightFiles
        dense, calls = WeightFiles.dense, []
        def killed(self, name):
            calls.append(name)
            if len(calls) == 4:  # two while it is planned
                os.kill(os.getpid(), signal.SIGKILL)
            return dense(self, name)
        WeightFiles.dense = killed
        CliRunner().invoke(commands, ["convert", {str(source)!r}, {str(target)!r}])
    """)
    assert done.returncode == -9
    assert target.read_bytes() == before
    assert list(tmp_path.glob(".out*.tmp")), "it was killed while it wrote"


@pytest.mark.parametrize("exchanges", [0, 1, 2])
def test_a_killed_run_leaves_one_whole_model(tmp_path: Path, exchanges: int) -> None:
    """Killed after each exchange of a file: the data, then the model that names them."""
    pytest.importorskip("onnx")
    from onnx_graphs import model, saved

    saved(tmp_path / "out.onnx", model([], {"w": np.ones((4, 4))}), external="out.onnx.data")
    source = saved(tmp_path / "in.onnx", model([], {"w": np.zeros((4, 4))}), external="in.data")
    code = f"""
        from sparsecore.weight_files import open_weights
        from sparsecore.weight_files.writing import plan_writing
        weights = open_weights({str(source)!r})
        plan_writing(weights, Path({str(tmp_path / "out.onnx")!r}), "onnx").write()
    """
    killed(code, exchanges=exchanges)
    expected = 0 if exchanges == 2 else 1
    assert (open_weights(tmp_path / "out.onnx").dense("w") == expected).all()


@pytest.mark.parametrize("external", [None, "in.data"])
def test_the_data_of_an_older_model_go(tmp_path: Path, external: str | None) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, saved

    source = saved(tmp_path / "in.onnx", model([], {"w": np.ones((4, 4))}), external=external)
    target = tmp_path / "out.onnx"
    saved(target, model([], {"w": np.zeros((4, 4))}), external="out.onnx.data")
    (tmp_path / "out.onnx-of-others.data").touch()
    others = {file.name for file in tmp_path.iterdir()} - {"out.onnx.data"}
    for _ in range(2):
        plan_writing(open_weights(source), target, "onnx").write()
        assert (open_weights(target).dense("w") == 1).all()
        names = {file.name for file in tmp_path.iterdir()} - others
        assert len(names) == (0 if external is None else 1)
    assert external is None or names == {"out.onnx.data"}, "the plain name was free again"


def test_data_that_are_read_are_not_replaced(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, saved

    name = "out.onnx-0123abcd.data"
    source = saved(tmp_path / "in.onnx", model([], {"w": np.ones((4, 4))}), external=name)
    result = sparsecore("convert", source, tmp_path / "out.onnx")
    assert result.exit_code == 2
    assert f"{name}: is to be replaced, but has data of" in result.output
    assert (open_weights(source).dense("w") == 1).all()


@pytest.mark.parametrize(
    ("ending", "options", "message"),
    [
        (".onnx", (), "needs its graph: sparsecore convert --into GRAPH"),
        (".safetensors", ("--into", "IN"), "--into is for an OUT of ONNX, not of sparsecore"),
        (".pt", ("--skip", "a"), "--to torch makes all dense"),
        (".npz", ("--to", "torch"), "ends in '.npz', which is not that of a file of torch"),
        (".npz", ("--shard-bytes", "9"), "shard_bytes is for safetensors, not for npz"),
        (".pt", ("--to", "sparsecore"), "ends in '.pt', which is not that of"),
        (".safetensors", ("--dense", "--to", "npz"), "contradicts --to npz"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, ending: str, options: tuple[str, ...], message: str
) -> None:
    source = write_kind("safetensors", tmp_path)
    words = [str(source) if word == "IN" else word for word in options]
    result = sparsecore("convert", source, tmp_path / f"out{ending}", *words)
    assert result.exit_code == 2
    assert message in result.output
