"""`sc.doctor` on files: what they tell, what they do not, and how little memory it takes."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import sparsecore as sc
from diagnosis_cases import costs, pruned, two_of_four
from oracle import Array
from sparsecore.diagnosis import FIXABLE, Diagnosis
from sparsecore.html_report.write import write_html
from sparsecore.weight_files import open_weights
from sparsecore.weight_files.to_sparse import plan_sparse


def doctor(path: Path, **options: Any) -> Diagnosis:
    return sc.doctor(path, costs=costs, **options)


def saved(path: Path, **weights: Array) -> Path:
    save_file(weights, path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(
        tmp_path / "model.safetensors",
        sparse=pruned(64, 64),
        half=pruned(64, 64, sparsity=0.7, dtype=np.float16),
        few=pruned(64, 64, sparsity=0.3),
        full=pruned(64, 64, sparsity=0),
        **{"columns.weight": two_of_four(64, 64, axis=1, dtype=ml_dtypes.bfloat16)},
        images=pruned(8, 8, 3, 3),
        tiny=pruned(2, 4, sparsity=0.5),
        codes=pruned(64, 64, dtype=np.int32),
        bias=np.zeros(64, np.float32),
    )


def test_verdicts_of_a_file(file: Path) -> None:
    diagnosis = doctor(file)
    assert diagnosis.verdicts == {
        "sparse": "zeros-stored-dense",
        "half": "zeros-stored-dense",  # at 256 rows
        "few": "zeros-stored-dense",  # its bytes; a sparse kernel would be slower
        "full": "no-zeros",
        "columns.weight": "zeros-stored-dense",  # by bytes: the times are too close
        "images": "zeros-stored-dense",
        "tiny": "zeros-stored-dense",
        "codes": "no-kernel",
    }
    assert (diagnosis.kind, diagnosis.subject) == ("safetensors", "model.safetensors")


def test_the_order_and_the_names_of_weights_decide_nothing(file: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    weights = load_file(file)
    other = saved(
        tmp_path / "x.safetensors", **{f"z{i}.weight": w for i, w in enumerate(weights.values())}
    )
    of_file = [(layer.facts.shape, layer.verdict.code) for layer in doctor(file).layers]
    of_other = [(layer.facts.shape, layer.verdict.code) for layer in doctor(other).layers]
    assert of_file == of_other


def test_what_a_file_does_not_tell_is_unknown(file: Path) -> None:
    diagnosis = doctor(file)
    layer = diagnosis["columns.weight"]
    assert (layer.facts.use, layer.facts.masked) == (None, None)
    assert {b.name: b.eligible for b in layer.backends} == {
        "csr": True,
        "2:4": None,
        "cusparselt": None,
        "tensorrt": None,
    }
    assert any("2:4 along axis 1" in v.sentence for v in layer.further if v.code == "unknown")
    assert [time.rows for time in layer.times] == [1, 256]
    assert diagnosis.summary.basis == "weights"
    assert diagnosis.summary.bound is None
    assert any("unknown without the model" in note for note in diagnosis.notes)


def test_the_rows_may_be_given(file: Path) -> None:
    (times,) = doctor(file, batch=7)["sparse"].times
    assert times.rows == 7
    assert times.seconds["dense"] == pytest.approx(10e-6 + 7 * 4096e-9)
    few, many = doctor(file, batch=(1, 512))["half"].times
    assert (few.pays, many.pays) == (False, True)
    kept = 4096 - round(0.7 * 4096)
    assert many.seconds["csr"] == pytest.approx(20e-6 + 512 * kept * 2e-9)


def test_bytes_are_those_of_the_formats(file: Path) -> None:
    layer = doctor(file)["sparse"]
    assert layer.facts.nbytes.csr == sc.CSR.from_dense(pruned(64, 64)).nbytes
    half = sc.Sparse24.from_dense(pruned(64, 64), prune=True)
    assert layer.facts.nbytes.sparse24 == half.nbytes
    assert layer.facts.nbytes.stored == 4 * 4096


def test_a_sparse_checkpoint_is_sparse_already(tmp_path: Path) -> None:
    path = tmp_path / "sparse.safetensors"
    W, V = pruned(64, 64), two_of_four(64, 64)
    weights = {"a": sc.CSR.from_dense(W), "b": sc.Sparse24.from_dense(V)}
    sc.save_checkpoint(path, {f"{name}.weight": A for name, A in weights.items()})
    diagnosis = doctor(path, batch=256)
    assert diagnosis.kind == "sparsecore"
    a, b = diagnosis.layers
    assert (a.verdict.code, a.facts.stored) == ("runs-sparse", "csr")
    assert a.facts.nbytes.stored == weights["a"].nbytes
    # Its header says that it is a linear layer's.
    assert (b.facts.stored, b.facts.lines_24) == ("2:4", ("axis 1",))
    assert "2:4" in b.times[0].seconds


def test_tied_weights_are_listed_once(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    model[1].weight = model[0].weight
    sc.nn.save_checkpoint(tmp_path / "tied.safetensors", model)
    diagnosis = doctor(tmp_path / "tied.safetensors")
    assert len(diagnosis.layers) == 1
    assert diagnosis.summary.weights == 64


def convert_says(path: Path) -> dict[str, str]:
    target = path.with_name("converted.safetensors")
    outcomes = plan_sparse(open_weights(path), target, (), None).outcomes
    return {outcome.name: outcome.stored for outcome in outcomes}


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, np.int8, np.int32, ml_dtypes.float8_e4m3fn]
)
def test_what_convert_leaves_dense_is_not_advised(tmp_path: Path, dtype: type) -> None:
    """By dtype and axes, as convert decides them; rows so few that no time is gained.

    What has not the name that convert asks for is told so, and no verdict depends on it.
    """
    weight, columns = pruned(64, 64, dtype=dtype), two_of_four(64, 64, dtype=dtype)
    path = saved(
        tmp_path / "model.safetensors",
        **{"a.weight": weight, "b.weight": columns, "other": weight, "bias": weight[0]},
        **{"c.weight": pruned(16, 8, 3, 3, dtype=dtype), "d.weight": pruned(4, 8, 8, dtype=dtype)},
        **{"e.weight": np.ones((8, 8), dtype)},
    )
    renamed = saved(
        tmp_path / "renamed.safetensors",
        **{
            "other.weight" if name == "other" else name: open_weights(path).dense(name)
            for name in open_weights(path)
        },
    )
    converted = convert_says(renamed)
    for layer in doctor(path, batch=1).layers:
        found = [v for v in (layer.verdict, *layer.further) if v.code in FIXABLE]
        is_renamed = layer.name == "other"
        stored = converted.get("other.weight" if is_renamed else layer.name, "dense")
        assert len(found) == (stored != "dense"), layer.name
        if layer.verdict.code == "unknown" and not layer.times:
            assert layer.verdict.advice == ""
        for verdict in found:
            name = " once it is called NAME.weight" if is_renamed else ""
            assert verdict.advice == f"sparsecore convert IN OUT stores it sparse{name}"
            assert f"; {stored} takes" in verdict.sentence


def test_the_dense_weights_of_a_sparse_checkpoint_cannot_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    W = pruned(64, 64)
    sc.save_checkpoint(path, {"a.weight": sc.CSR.from_dense(W), "b.weight": W})
    with pytest.raises(ValueError, match="already is a sparse checkpoint"):
        convert_says(path)
    assert "zeros-stored-dense" not in doctor(path, batch=1)["b.weight"].codes
    quick = doctor(path, batch=512)["b.weight"].verdict
    assert (quick.code, "sparsify_" in quick.advice) == ("zeros-stored-dense", True)
    assert "sparsecore convert" not in quick.advice


def test_what_cannot_be_read_is_listed(tmp_path: Path) -> None:
    """Sparse tensors of torch's and quantized ones: unknown, and the others are diagnosed."""
    torch = pytest.importorskip("torch")
    eye, path = torch.eye(32), tmp_path / "state.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse CSR is in beta, quantization moves elsewhere
        state = {
            "coo": eye.to_sparse(),
            "csr": eye.to_sparse_csr(),
            "quantized": torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8),
            "plain": eye,
        }
        torch.save(state, path)
        layers = doctor(path).layers
    assert [layer.facts.counted for layer in layers] == [False, False, False, True]
    assert {layer.verdict.code for layer in layers[:2]} == {"unknown"}
    assert layers[2].verdict.code == "no-kernel"
    assert [layer.facts.is_sparse for layer in layers] == [True, True, False, False]
    assert "cannot be read: sparse_coo" in layers[0].verdict.sentence
    write_html(tmp_path / "page.html", weights=open_weights(path))


def test_empty_weights_cost_nothing(tmp_path: Path) -> None:
    """Of 0 bytes in the file, whatever the other lengths are."""
    header = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in (("a", [1 << 40, 0]), ("b", [0, 1 << 40, 1]), ("c", [0, 3, 3, 3]))
    }
    content = json.dumps(header).encode()
    path = tmp_path / "empty.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    tracemalloc.start()
    try:
        diagnosis = doctor(path)
        write_html(tmp_path / "page.html", weights=open_weights(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(diagnosis.verdicts.values()) == {"no-zeros"}
    assert peak < 50_000_000


def test_two_axes_of_a_matrix_by_scipy(tmp_path: Path) -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    path = tmp_path / "matrix.npz"
    scipy_sparse.save_npz(path, scipy_sparse.csr_array(pruned(64, 64)))
    (layer,) = doctor(path).layers
    assert (layer.facts.stored, layer.verdict.code) == ("csr", "runs-sparse")


# ---- one weight at a time ----


def test_memory_is_bounded_by_the_largest_weight(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    largest = pruned(768, 1024)
    weights = {f"w{i}": largest if i == 5 else pruned(256, 1024) for i in range(12)}
    sc.save_checkpoint(folder / "model.safetensors", weights, shard_bytes=4_000_000)
    assert len(list(folder.glob("*.safetensors"))) > 3
    del weights
    nbytes = largest.nbytes
    del largest
    doctor(folder)  # what is imported and cached by the first call
    tracemalloc.start()
    try:
        diagnosis = doctor(folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(diagnosis.layers) == 12
    assert nbytes < peak < 3 * nbytes


def test_progress_is_told(file: Path) -> None:
    told: list[tuple[int, int, str]] = []
    doctor(file, progress=lambda *step: told.append(step))
    assert [name for _, _, name in told] == [*doctor(file).verdicts, ""]
    assert told[-1][:2] == (8, 8)


# ---- JSON and text ----


def test_json_has_a_schema(file: Path) -> None:
    content = doctor(file).to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["schema"] == 1
    assert set(content) == {"schema", "subject", "kind", "summary", "layers", "notes", "machine"}
    layer = next(one for one in content["layers"] if one["name"] == "sparse")
    assert set(layer) == {
        *(
            "name",
            "shape",
            "dtype",
            "device",
            "stored",
            "counted",
            "sparsity",
            "nonzeros",
            "share_24",
        ),
        *("nbytes", "masked", "use", "times", "backends", "verdict", "further"),
    }
    assert layer["sparsity"] == pytest.approx(0.9, abs=1e-3)
    assert set(layer["times"][0]) == {"rows", "seconds", "measured", "breakeven_density"}
    assert set(layer["verdict"]) == {"code", "sentence", "advice"}


def test_the_text_has_every_layer_and_its_verdict(file: Path) -> None:
    diagnosis = doctor(file)
    text = " ".join(str(diagnosis).split())
    for layer in diagnosis.layers:
        code, sentence = layer.verdict.code, layer.verdict.sentence
        if layer.name not in ("full", "sparse", "half"):
            assert f"{code}: {layer.name} {sentence}" in text
    assert "zeros-stored-dense: 2 weights: sparse, half sparse, the largest: 90.0 % zeros" in text
    assert "1 weight has no zeros" in text
    assert f"verdict: {diagnosis.summary.verdict.code}: {diagnosis.summary.verdict}" in text


# ---- bad input ----


def test_what_cannot_be_diagnosed_is_said(file: Path, tmp_path: Path) -> None:
    for options, error, message in (
        ({"batch": 0}, ValueError, "batch is 0, expected integers from 1 to 2147483647"),
        ({"batch": []}, ValueError, "batch is [], expected"),
        ({"batch": 1.5}, TypeError, "batch is 1.5, expected integers"),
        ({"batch": 1 << 31}, ValueError, "expected integers from 1 to 2147483647"),
        ({"input_shape": (1, -1)}, ValueError, "input_shape is (1, -1)"),
        ({"example_inputs": 1}, ValueError, "example_inputs is for a model"),
    ):
        with pytest.raises(error, match=r".*") as caught:
            doctor(file, **options)
        assert message in str(caught.value)
    with pytest.raises(TypeError, match=r"is a int, expected a torch\.nn\.Module or a path"):
        sc.doctor(1)  # type: ignore[arg-type]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"broken\.safetensors"):
        doctor(broken)
    with pytest.raises(OSError, match=r"no\.safetensors"):
        doctor(tmp_path / "no.safetensors")


def test_a_model_takes_no_arguments_of_files() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    with pytest.raises(ValueError, match="batch is for files"):
        sc.doctor(model, torch.ones(1, 4), batch=1)
    with pytest.raises(ValueError, match="measure=True needs example_inputs"):
        sc.doctor(model, measure=True)
    with pytest.raises(TypeError, match="example_inputs is a list"):
        sc.doctor(model, [1])
