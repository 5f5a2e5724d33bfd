"""export/onnx_file.py: what is written, what is checked, and that a failed check leaves no file."""

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")

import numpy as np  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

import sparsecore as sc  # noqa: E402
from export_cases import attention, converted, convnet, prune_  # noqa: E402
from sparsecore.export import onnx_file  # noqa: E402
from sparsecore.export.graph import constants  # noqa: E402
from sparsecore.export.tracing import Traced  # noqa: E402


def run(path, *inputs):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})


class Both(nn.Module):
    """Convolutions in torch's layers, some of them masked, and in sparse ones."""

    def __init__(self):
        super().__init__()
        self.sparse, _ = converted()
        self.dense = convnet()

    def forward(self, x):
        return {"sparse": self.sparse(x), "dense": self.dense(x)}


def attributes_of_masks(model):
    """Return what deepcopy has to be told of weights that masks compute."""
    return {id(model.dense[i].weight): model.dense[i].weight.detach() for i in (3, 6)}


# ---- exported once each: torch's exporter takes a second a model ----


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    """Return a model of convolutions, its input and what it was exported as."""
    model, x = Both(), torch.rand(2, 4, 4, 4)
    with torch.no_grad():
        model.dense[3].weight[0, 0, 0, 0] = -0.0
    prune.l1_unstructured(model.dense[3], "weight", amount=0.5)
    prune.random_unstructured(model.dense[6], "weight", amount=0.3)
    model.train()
    result = sc.export.to_onnx(model, x, tmp_path_factory.mktemp("conv") / "model.onnx")
    return model, x, result


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """Return a model of attention with an open batch, its products rewritten."""
    model, x = attention(), torch.rand(1, 5, 16)
    path = tmp_path_factory.mktemp("attention") / "model.onnx"
    return model, x, sc.export.to_onnx(model, x, path, dynamic_batch=True, rewrite_matmul=True)


def test_zeros_are_zeros_and_outputs_are_torchs(convolutions):
    model, x, result = convolutions
    held = constants(onnx.load(result.path))
    for name in "36":
        weight = model.dense.get_submodule(name).weight.detach().numpy()
        np.testing.assert_array_equal(held[f"dense.{name}.weight"], weight, strict=True)
    assert not held["dense.0.weight"][model.dense[0].weight.detach().numpy() == 0].any()
    with torch.no_grad():
        expected = copy.deepcopy(model, attributes_of_masks(model)).eval()(x)
    for y, name in zip(run(result.path, x), ("sparse", "dense"), strict=True):
        np.testing.assert_allclose(y, expected[name].numpy(), rtol=0, atol=1e-5)


def test_sparse_layers_are_written_dense(convolutions):
    model, _, result = convolutions
    held = constants(onnx.load(result.path))
    for name in "0368":
        weight = model.sparse.get_submodule(name).to_dense().weight.detach().numpy()
        np.testing.assert_array_equal(held[f"sparse.{name}.weight"], weight, strict=True)
    assert isinstance(model.sparse[6], sc.nn.CSRLinear)


def test_the_result_says_what_was_checked(convolutions):
    model, _, result = convolutions
    masked = {f"dense.{i}.weight": model.dense[i].weight for i in (0, 3, 6)}
    zeros = {name: int((weight == 0).sum()) for name, weight in masked.items()}
    for checked in (result.weights, result.optimised):
        found = {w.name: w for w in checked}
        assert len(found) == 7
        assert {name: found[name].zeros for name in zeros} == zeros
        # The BatchNorm was folded into the first.
        assert [w.name for w in checked if w.how != "bits"] == ["dense.0.weight"]
        assert found["dense.0.weight"].how == "zeros"
    assert 0 <= result.error <= result.allowed < 1e-4
    assert result.batches == (2,)
    assert result.nbytes == result.path.stat().st_size
    assert (result.operators["Conv"], result.operators["Relu"]) == (4, 5)
    assert f"all {sum(w.zeros for w in result.weights):,} of 7 weights" in str(result)
    assert result.to_dict()["weights"][0]["zeros"] == result.weights[0].zeros


def test_the_model_stays_as_it_was(convolutions):
    model = convolutions[0]
    assert model.training
    assert prune.is_pruned(model.dense[3])
    assert isinstance(model.dense[1], nn.BatchNorm2d)


def test_the_file_says_nothing_of_this_machine(convolutions):
    """The exporter notes where in which file each call was made."""
    content = convolutions[2].path.read_bytes()
    for note in (b"stack_trace", b'File "', b".py", b"pkg.torch"):
        assert note not in content


def test_nodes_have_the_names_of_modules(convolutions):
    names = [node.name for node in onnx.load(convolutions[2].path).graph.node]
    assert {"sparse.0/Conv", "dense.0/Conv", "dense.3/Conv", "dense.6/Gemm"} <= set(names)
    assert len(set(names)) == len(names)


def test_an_open_batch_takes_any(tokens):
    model, _, result = tokens
    assert result.batches == (1, 2)
    for batch in (1, 7):
        x = torch.rand(batch, 5, 16)
        with torch.no_grad():
            y = model(x)
        np.testing.assert_allclose(run(result.path, x)[0], y.numpy(), rtol=0, atol=1e-5)


def test_products_with_constants_are_gemms(tokens):
    _, _, result = tokens
    graph = onnx.load(result.path).graph
    onnx.checker.check_model(onnx.load(result.path))
    held = {t.name for t in graph.initializer}
    assert result.gemms == tuple(f"{n}/MatMul_as_Gemm" for n in ("query", "key", "value", "head"))
    products = [n for n in graph.node if n.op_type == "MatMul"]
    assert len(products) == 2
    assert not any(n.input[1] in held for n in products)
    named = {n.name: n for n in graph.node if n.op_type == "Gemm"}
    assert set(result.gemms) <= set(named)
    assert all(len(named[name].input) == 3 for name in result.gemms)  # the bias became C


# ---- failures, on a graph that was traced before ----


@pytest.fixture
def traced(convolutions, monkeypatch):
    """Return a function that exports the model again with another graph of torch's exporter."""
    model, x, result = convolutions
    model = copy.deepcopy(model, attributes_of_masks(model)).eval()

    def export(path, change, **options):
        proto = onnx.load(result.path)
        change(proto)
        names = [f"dense.{n}" for n in "036"]
        parameters = {f"{n}.weight": model.get_submodule(n).weight for n in names}
        given = Traced(proto, parameters)
        monkeypatch.setattr(onnx_file, "trace", lambda *_, **__: given)
        return sc.export.to_onnx(model, x, path, **options)

    return export


def edit(proto, name, change):
    """Change the numbers of an initializer."""
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    array = onnx.numpy_helper.to_array(tensor).copy()
    change(array)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))


def test_a_lost_zero_is_an_error_and_leaves_no_file(traced, tmp_path):
    def lose(proto):
        def change(array):
            array.flat[np.flatnonzero(array == 0)[:2]] = 1e-30

        edit(proto, "dense.6.weight", change)

    with pytest.raises(
        ArithmeticError, match=r"exported graph: 2 of \d+ zeros of dense.6.weight are not"
    ):
        traced(tmp_path / "model.onnx", lose)
    assert list(tmp_path.iterdir()) == []


def test_another_output_is_an_error_and_leaves_the_old_file(traced, tmp_path):
    def shift(proto):
        def change(array):
            array += 0.5

        edit(proto, "dense.6.bias", change)

    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(
        ArithmeticError, match=r"differ from torch's by .* is allowed, with a batch"
    ):
        traced(tmp_path / "model.onnx", shift)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]
    assert traced(tmp_path / "model.onnx", shift, max_error=10.0).error > 0.01


def test_what_the_optimisers_lose_is_an_error(traced, tmp_path, monkeypatch):
    real = onnx_file.optimised_constants

    def losing(*paths):
        return {name: array + 1e-3 for name, array in real(*paths).items()}

    monkeypatch.setattr(onnx_file, "optimised_constants", losing)
    with pytest.raises(
        ArithmeticError, match=r"after onnxruntime's optimisers: .* zeros of dense\.0\.weight"
    ):
        traced(tmp_path / "model.onnx", lambda _: None)


def test_without_verifying_onnxruntime_is_not_asked(traced, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "outputs_of", None)
    result = traced(tmp_path / "model.onnx", lambda _: None, verify=False)
    assert (result.error, result.optimised, result.batches) == (None, None, ())
    assert "onnxruntime: not asked" in str(result)


def test_large_weights_lie_beside_the_graph(traced, tmp_path, convolutions, monkeypatch):
    monkeypatch.setattr(onnx_file, "_LARGEST_WEIGHTS", 1000)
    _, x, whole = convolutions
    result = traced(tmp_path / "model.onnx", lambda _: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert result.nbytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    for one, other in zip(run(result.path, x), run(whole.path, x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_failed_exchange_leaves_the_older_model_whole(
    traced, tmp_path, convolutions, monkeypatch
):
    """The data of a large model are under a new name when its graph takes the older one's place."""
    monkeypatch.setattr(onnx_file, "_LARGEST_WEIGHTS", 1000)
    _, x, whole = convolutions
    path = tmp_path / "model.onnx"
    traced(path, lambda _: None)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    replace = Path.replace

    def refused(self, target):
        if target == path:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(OSError, match="Input/output"):
            traced(path, lambda _: None)
    now = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert before.items() <= now.items()
    traced(path, lambda _: None)
    assert len(list(tmp_path.iterdir())) == 2, "what the failed run left is gone"
    for one, other in zip(run(path, x), run(whole.path, x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_onnxruntime_cannot_run_is_said(traced, tmp_path):
    def break_(proto):
        proto.graph.node[0].op_type = "NoSuchOperator"

    with pytest.raises(RuntimeError, match="onnxruntime cannot run what was exported"):
        traced(tmp_path / "model.onnx", break_)
    assert list(tmp_path.iterdir()) == []


# ---- models that do not run ----


def test_a_model_that_does_not_run_says_so_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "trace", None)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        sc.export.to_onnx(nn.Linear(4, 2), torch.rand(1, 5), tmp_path / "m.onnx")


def test_a_model_that_the_exporter_cannot_follow(tmp_path, capfd):
    class Decides(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x

    with pytest.raises(RuntimeError, match=r"cannot follow the model: .*data-dependent"):
        sc.export.to_onnx(Decides(), torch.rand(1, 4), tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


# ---- arguments ----


def test_arguments_are_checked_before_anything_runs(tmp_path, monkeypatch):
    model, x = prune_(nn.Linear(4, 2)), torch.rand(1, 4)
    monkeypatch.setattr(onnx_file, "trace", None)
    with pytest.raises(ValueError, match=r"path ends in '.bin', expected '.onnx'"):
        sc.export.to_onnx(model, x, tmp_path / "model.bin")
    with pytest.raises(FileNotFoundError, match="the folder of path does not exist"):
        sc.export.to_onnx(model, x, tmp_path / "no" / "model.onnx")
    with pytest.raises(TypeError, match="to_onnx: example_inputs is a list"):
        sc.export.to_onnx(model, [x], tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"0\.weight of the model has no shape yet"):
        sc.export.to_onnx(nn.Sequential(nn.LazyLinear(2)), x, tmp_path / "model.onnx")


def test_a_batch_that_is_not_there_is_said(tmp_path):
    for x in (torch.tensor(1.0), torch.rand(0, 4)):
        with pytest.raises(ValueError, match="first tensor of example_inputs has no samples"):
            sc.export.to_onnx(nn.ReLU(), x, tmp_path / "m.onnx", dynamic_batch=True)


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):

    def found(name):
        return None if name == "onnxscript" else name

    monkeypatch.setattr("sparsecore.export.packages.find_spec", found)
    with pytest.raises(
        ModuleNotFoundError, match=r"onnxscript: pip install 'sparsecore\[export\]'"
    ):
        sc.export.to_onnx(nn.Linear(4, 2), torch.rand(1, 4), tmp_path / "m.onnx")
