"""The command line and its demo, on networks too small to be fast at anything."""

import dataclasses
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import child
import sparsecore as sc
from sparsecore import cli
from sparsecore.cli import demo_data
from sparsecore.cli.commands import commands
from sparsecore.timing import Timing

TINY = ("--hidden", "32", "--hidden", "16", "--epochs", "1", "--seconds", "0")
PRUNED = ("pruned-90", "pruned-24")


def sparsecore(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


def choices(**formats: str) -> dict[str, str]:
    """Return the choices of a run on the tiny network, one format for each model."""
    return {
        f"{model}/batch-{batch}/fc{layer}": formats[model.replace("-", "_")]
        for model in PRUNED
        for batch in (1, 64)
        for layer in (1, 2, 3)
    }


# ---- the command itself; nothing here needs torch ----


def test_version() -> None:
    result = sparsecore("--version")
    assert (result.exit_code, result.output.split()[-1]) == (0, sc.__version__)


@pytest.mark.parametrize("arguments", [("--help",), ("demo", "--help")])
def test_help_has_examples(arguments: tuple[str, ...]) -> None:
    result = sparsecore(*arguments)
    assert result.exit_code == 0
    assert "Examples:\n" in result.output
    assert "  sparsecore demo\n" in result.output or "  sparsecore demo  " in result.output


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "sparsecore", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"sparsecore {sc.__version__}\n"


def test_names_the_extra_where_click_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("sparsecore.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert "needs click" in str(stop.value)
    assert "pip install 'sparsecore[demo]'" in str(stop.value)


@pytest.mark.parametrize(
    ("package", "installed_as"),
    [
        ("torch", "torch"),
        ("rich", "rich"),
        ("matplotlib", "matplotlib"),
        ("sklearn", "scikit-learn"),
    ],
)
def test_names_the_extra_where_a_package_of_the_demo_is_missing(
    package: str, installed_as: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = sparsecore("demo")
    assert result.exit_code == 1
    assert installed_as in result.output
    assert "pip install 'sparsecore[demo]'" in result.output


@pytest.mark.parametrize("arguments", [("--data", "mnist"), ("--data-dir", ".")])
def test_mnist_and_its_folder_go_together(arguments: tuple[str, ...]) -> None:
    result = sparsecore("demo", *arguments)
    assert result.exit_code == 2
    assert "--data mnist and --data-dir DIR go together" in result.output


# ---- data ----


def test_digits_are_split_without_overlap_and_always_the_same_way() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    data = demo_data.digits()
    pixels, labels = datasets.load_digits(return_X_y=True)

    def rows(x: Any, y: Any) -> list[tuple[Any, ...]]:
        return sorted(map(tuple, np.column_stack([x, y]).tolist()))

    everything = np.concatenate([data.train_x, data.test_x])
    assert rows(everything, np.concatenate([data.train_y, data.test_y])) == rows(
        pixels / 16, labels
    )
    again = demo_data.digits()
    assert np.array_equal(again.test_x, data.test_x)
    assert np.array_equal(again.train_y, data.train_y)


def idx(array: Any, *, shape: tuple[int, ...] | None = None) -> bytes:
    """Write bytes as IDX; `shape` is what the header claims, if not the truth."""
    claimed = array.shape if shape is None else shape
    dimensions = b"".join(int(n).to_bytes(4, "big") for n in claimed)
    return bytes((0, 0, 8, len(claimed))) + dimensions + array.tobytes()


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    """Return a folder with four files in MNIST's form: 70 and 66 images of noise."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, count in (("train", 70), ("t10k", 66)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return folder


def test_mnist_is_read_as_it_was_written(mnist_folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, 70, dtype=np.uint8)
    data = demo_data.mnist(mnist_folder)
    assert np.array_equal(np.rint(255 * data.train_x), images.reshape(70, 784))
    assert np.array_equal(data.train_y, labels)
    assert (data.train_x.dtype, data.train_y.dtype) == (np.float32, np.int64)
    assert data.test_x.shape == (66, 784)


def test_mnist_itself(data_dir: Path) -> None:
    data = demo_data.mnist(data_dir / "mnist")
    assert (data.train_x.shape, data.test_x.shape) == ((60_000, 784), (10_000, 784))
    # The first labels, as the database's description prints them.
    assert data.train_y[:5].tolist() == [5, 0, 4, 1, 9]


IMAGES = np.zeros((70, 28, 28), np.uint8)
DAMAGE: dict[str, tuple[bytes, str]] = {
    "not gzip": (b"hello", "cannot be read: Not a gzipped file"),
    "cut gzip": (gzip.compress(idx(IMAGES))[:-20], "cannot be read"),
    "rotten gzip": (gzip.compress(idx(IMAGES))[:12] + b"\xff" * 40, "cannot be read"),
    "empty": (gzip.compress(b""), "is not an IDX file"),
    "floats": (gzip.compress(b"\0\0\x0d\x03" + idx(IMAGES)[4:]), "is not an IDX file"),
    "labels": (gzip.compress(idx(IMAGES[:, 0, 0])), "is not an IDX file"),
    "short": (gzip.compress(idx(IMAGES)[:-1]), "54,880 bytes for the shape (70, 28, 28) and holds"),
    "long": (gzip.compress(idx(IMAGES) + b"\0"), "and holds more"),
    "boast": (gzip.compress(idx(IMAGES, shape=(2**32 - 1, 28, 28))), "(70000, 28, 28) at most"),
    "thin": (gzip.compress(idx(IMAGES[:, :, :27])), "expected images of 28 x 28"),
    "none": (gzip.compress(idx(IMAGES[:0])), "expected images of 28 x 28"),
    "fewer": (gzip.compress(idx(IMAGES[:69])), "holds 69 images, "),
}


@pytest.mark.parametrize(("content", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_mnist_is_refused_by_name(mnist_folder: Path, content: bytes, message: str) -> None:
    path = mnist_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte") as error:
        demo_data.mnist(mnist_folder)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_wrong_label_is_refused(mnist_folder: Path) -> None:
    path = mnist_folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.full(66, 10, np.uint8))))
    with pytest.raises(ValueError, match="holds the label 10, expected 0 to 9"):
        demo_data.mnist(mnist_folder)


def test_demo_stops_at_a_missing_file(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = sparsecore("demo", "--data", "mnist", "--data-dir", tmp_path, "--output", tmp_path)
    assert result.exit_code == 1
    path = tmp_path / "train-images-idx3-ubyte.gz"
    assert f"{path} cannot be read: No such file or directory" in result.output


# ---- the demo from beginning to end ----


@pytest.fixture(scope="module")
def single_thread() -> Iterator[None]:
    """Skip without torch; else let it use one thread, for two wait long on a machine at work."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory,
    single_thread: None,  # noqa: ARG001 - used for what it does
) -> SimpleNamespace:
    """Run the demo on the digits with measured choices."""
    folder = tmp_path_factory.mktemp("demo")
    result = sparsecore("demo", *TINY, "--output", folder)
    assert result.exit_code == 0, result.output
    found = json.loads((folder / "results.json").read_text())
    return SimpleNamespace(folder=folder, result=result, found=found)


@pytest.fixture
def demo(
    tmp_path: Path,
    single_thread: None,  # noqa: ARG001 - used for what it does
) -> Callable[..., tuple[Result, dict[str, Any]]]:
    """Return a function that runs the demo on the digits with given choices."""

    def run(given: object, *arguments: str) -> tuple[Result, dict[str, Any]]:
        path = tmp_path / "given.json"
        path.write_text(json.dumps(given))
        output = tmp_path / "output"
        result = sparsecore("demo", *TINY, "--choices", path, "--output", output, *arguments)
        results = output / "results.json"
        return result, json.loads(results.read_text()) if results.exists() else {}

    return run


def stored(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {variant["key"]: variant["stored"] for variant in found["variants"]}


def test_counts_and_sizes_are_exact(measured: SimpleNamespace) -> None:
    """64 x 32 + 32 x 16 + 16 x 10 weights and 58 biases, of which a tenth and a half are kept."""
    of = stored(measured.found)
    weights = 64 * 32 + 32 * 16 + 16 * 10
    kept = {
        "dense": weights,
        "pruned-90": weights - round(0.9 * weights),
        "pruned-24": weights // 2,
    }
    assert {key: values["parameters"] - 58 for key, values in of.items()} == kept
    assert of["dense"]["memory_bytes"] == 4 * (weights + 58)
    # 2:4 in memory: values, their two bits each, and the kernels' own copy of these bits.
    assert of["pruned-24"]["memory_bytes"] == 4 * (weights // 2 + 58) + 2 * (weights // 8)
    for key, values in of.items():
        path = measured.folder / f"{key}.safetensors"
        assert values["disk_bytes"] == path.stat().st_size


def test_prints_every_model_and_every_layer(measured: SimpleNamespace) -> None:
    lines = measured.result.stdout.splitlines()
    of = stored(measured.found)
    for title, key in (("dense", "dense"), ("90%", "pruned-90"), ("2:4", "pruned-24")):
        accuracy = f" {of[key]['accuracy']:.2%} "
        (line,) = [line for line in lines if line.startswith(f"{title} ") and accuracy in line]
        assert f"{of[key]['parameters']:,}" in line
        assert f"{of[key]['disk_bytes'] / 1000:,.1f}" in line
    for layer in ("fc1", "fc2", "fc3"):
        assert len([line for line in lines if line.startswith(f"{layer} ")]) == 4
    assert any(line.startswith("Break-even of fc1 (32 x 64, batch 64): ") for line in lines)
    assert "outputs are equal, bit for bit" in measured.result.stdout


def test_picture_is_a_picture(measured: SimpleNamespace) -> None:
    content = (measured.folder / "latency-by-density.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == (1200, 750)


def test_same_seed_gives_the_same_accuracies_and_sizes(
    measured: SimpleNamespace, demo: Callable[..., tuple[Result, dict[str, Any]]]
) -> None:
    given = choices(pruned_90="csr", pruned_24="2:4")
    _, again = demo(given)
    _, other = demo(given, "--seed", "1")
    assert stored(again) == stored(measured.found)
    assert stored(other) != stored(measured.found)


def test_choices_are_replayed(
    measured: SimpleNamespace, demo: Callable[..., tuple[Result, dict[str, Any]]]
) -> None:
    given = choices(pruned_90="csr", pruned_24="2:4")
    result, found = demo(given)
    assert result.exit_code == 0, result.output
    reported = {
        f"{variant['key']}/batch-{batch}/{layer['name']}": layer["choice"]
        for variant in found["variants"]
        for batch, report in variant["reports"].items()
        for layer in report["layers"]
    }
    assert reported == given
    written = json.loads((measured.folder / "choices.json").read_text())
    assert written.keys() == given.keys()
    assert "not measured" in result.stdout


def test_all_dense_is_explained(demo: Callable[..., tuple[Result, dict[str, Any]]]) -> None:
    result, _ = demo(choices(pruned_90="dense", pruned_24="2:4"))
    assert result.exit_code == 0
    explanation = "The 90% model stays all dense at batch 1, as the choices that were given say."
    assert explanation in result.stdout
    assert "it was given." not in result.stdout
    assert "The 2:4 model stays" not in result.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "lacks 'pruned-24/batch-1/fc1'"),
        (choices(pruned_90="csr", pruned_24="2:4") | {"a/b": "csr"}, "has the unknown 'a/b'"),
        (choices(pruned_90="coo", pruned_24="2:4"), "'coo'"),
        (choices(pruned_90="2:4", pruned_24="2:4"), "do not fit pruned-90 at batch 1"),
        ([], "expected a mapping"),
    ],
)
def test_wrong_choices_are_refused(
    given: object, message: str, demo: Callable[..., tuple[Result, dict[str, Any]]]
) -> None:
    result, found = demo(given)
    assert (result.exit_code, found) == (1, {})
    assert message in result.output


@pytest.mark.usefixtures("single_thread")
def test_lenet_on_mnist(mnist_folder: Path, tmp_path: Path) -> None:
    options = ("--epochs", "1", "--seconds", "0", "--output", tmp_path / "output")
    result = sparsecore("demo", "--data", "mnist", "--data-dir", mnist_folder, *options)
    assert result.exit_code == 0, result.output
    assert "MNIST, network 784-300-100-10" in result.stdout


# ---- what a run says about itself ----


def test_breakeven_is_between_the_measured_densities_around_it() -> None:
    pytest.importorskip("torch")
    from sparsecore.cli.demo_measure import breakeven

    densities = [0.1, 0.2, 0.4]
    assert breakeven(densities, [1.0, 2.0, 6.0], 3.0) == pytest.approx(0.25)
    assert breakeven(densities, [1.0, 2.0, 6.0], 2.0) == pytest.approx(0.2)
    # Not faster at the first density, or faster at all.
    assert breakeven(densities, [1.0, 0.5, 2.0], 1.0) is None
    assert breakeven(densities, [1.0, 2.0, 6.0], 7.0) == 0.4
    # A time that falls again does not move it.
    assert breakeven(densities, [1.0, 3.0, 1.0], 2.0) == pytest.approx(0.15)


def timing(seconds: float, *, spread: float = 1.0) -> Timing:
    return Timing(seconds, seconds, spread * seconds, 1)


def report(choice: Any, *, seconds: float | None = None) -> Any:
    """Return a report on one layer, fc1."""
    from sparsecore import nn

    layer = nn.LayerReport(
        name="fc1",
        shape=(4, 8),
        sparsity=0.9,
        is_24=False,
        rows=(64,),
        seconds={},
        nbytes={},
        error=None,
        choice=choice,
        why="because",
    )
    return nn.Report((layer,), seconds, seconds, 0, 0, 0.0)


def variant(title: str, time: Timing, reports: Any) -> Any:
    """Return a variant that was measured at batch 64."""
    from sparsecore.cli.demo_results import Stored, Variant

    return Variant(title, title, {"fc1": 0.1}, Stored(1.0, 1, 1, 1), {64: time}, reports)


@pytest.mark.parametrize(
    ("csr", "choice", "expected"),
    [
        ((1.0, 3.0), "csr", "below 55.0% density. The 90% model keeps 10.0% there, so csr was to"),
        ((1.0, 3.0), "csr", "be expected, and csr was chosen."),
        ((1.0, 3.0), "dense", "be expected, but dense was chosen: because."),
        ((0.5, 1.0), "csr", "at every density measured, up to 100%. The"),
        ((3.0, 4.0), "dense", "at 10% density CSR takes 3 s already, dense 2 s."),
        ((3.0, 4.0), "dense", "so dense was to be expected, and dense was chosen."),
    ],
)
def test_choice_is_held_against_the_breakeven(
    csr: tuple[float, float], choice: str, expected: str
) -> None:
    pytest.importorskip("torch")
    from sparsecore.cli.demo_measure import Curve
    from sparsecore.cli.demo_results import against_breakeven

    low, high = map(timing, csr)
    curve = Curve("fc1", (4, 8), 64, (0.1, 1.0), (low, high), timing(2.0), timing(1.0))
    pruned = variant("90%", timing(1.0), {64: report(choice, seconds=1.0)})
    assert expected in against_breakeven(curve, pruned)
    given = variant("90%", timing(1.0), {64: report(choice)})
    assert f" {choice} was given." in against_breakeven(curve, given)


def test_a_disturbed_breakeven_is_no_fact() -> None:
    pytest.importorskip("torch")
    from sparsecore.cli.demo_measure import Curve
    from sparsecore.cli.demo_results import against_breakeven

    csr = timing(0.5, spread=3), timing(1.0)
    curve = Curve("fc1", (4, 8), 64, (0.1, 1.0), csr, timing(2.0, spread=2), timing(1.0))
    pruned = variant("90%", timing(1.0), {64: report("csr", seconds=1.0)})
    doubt = "up to 100% (not to be relied on: other work disturbed 2 of these 3 times)."
    assert doubt in against_breakeven(curve, pruned)


def test_all_dense_is_explained_by_its_numbers_where_it_was_measured() -> None:
    pytest.importorskip("torch")
    from sparsecore.cli.demo_results import reasons_for_all_dense

    found = report("dense", seconds=1.0)
    layer = dataclasses.replace(found.layers[0], nbytes={"dense": 1})
    pruned = variant("90%", timing(1.0), {64: dataclasses.replace(found, layers=(layer,))})
    assert list(reasons_for_all_dense(pruned)) == [
        "The 90% model stays all dense at batch 64. Its largest layer, fc1, keeps 10.0%: because."
    ]


def table_lines(*variants: Any) -> list[str]:
    """Return the table of models as a terminal of 80 columns shows it."""
    from rich.console import Console

    from sparsecore.cli.demo_measure import Curve
    from sparsecore.cli.demo_results import Results
    from sparsecore.cli.demo_tables import model_table

    curve = Curve("fc1", (4, 8), 64, (0.1,), (timing(1.0),), timing(2.0), timing(1.0))
    results = Results("digits", (8, 4), 9, 0, 1, "avx2", variants, curve)
    console = Console(width=80, file=io.StringIO())
    console.print(model_table(results))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def row(lines: list[str], title: str) -> list[str]:
    (found,) = [line.split() for line in lines if line.startswith(f"{title} ")]
    return found


def test_only_exchanged_models_have_a_speed_up() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("rich")
    dense = variant("dense", timing(2.0), {})
    stayed = variant("90%", timing(1.4), {64: report("dense")})
    exchanged = variant("2:4", timing(1.0), {64: report("csr")})
    lines = table_lines(dense, stayed, exchanged)
    assert row(lines, "90%")[-1] == "-"
    assert row(lines, "2:4")[-1] == "2.00x"
    note = "every layer stayed dense"
    assert note in " ".join(lines)
    assert note not in " ".join(table_lines(dense, exchanged))


def test_disturbed_rows_are_marked_and_explained_under_the_table() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("rich")
    dense = variant("dense", timing(2.0), {})
    lines = table_lines(dense, variant("90%", timing(1.0, spread=3), {64: report("csr")}))
    assert row(lines, "90%")[-3:] == ["1", "s*", "2.00x"]
    assert row(lines, "dense")[-2] == "s"
    notes = [line for line in lines if line.startswith("* ")]
    assert len(notes) == 1
    assert notes[0].startswith("* 90%, batch 64: samples from 1 s to 3 s ")


def test_heads_and_numbers_are_whole_at_80_columns() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("rich")
    from sparsecore.cli.demo_results import Stored

    latency = {1: timing(1.23e-4, spread=3), 64: timing(1.23e-3, spread=3)}
    stored = Stored(0.9876, 1_126_410, 4_505_640, 4_505_640)
    wide = dataclasses.replace(variant("dense", timing(1.0), {}), latency=latency, stored=stored)
    text = "\n".join(table_lines(wide))
    for words in ("accuracy", "on disk", "batch 64", "speed-up", "1,126,410", "1.23 ms*"):
        assert words in text


def test_threads_are_those_of_every_measurement_and_set_back(
    demo: Callable[..., tuple[Result, dict[str, Any]]],
) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads(), sc.get_num_threads()
    result, found = demo(choices(pruned_90="csr", pruned_24="2:4"), "--threads", "2")
    assert result.exit_code == 0, result.output
    assert (found["threads"], found["machine"]["threads"]) == (2, 2)
    assert found["machine"]["torch_threads"] == 2
    assert (torch.get_num_threads(), sc.get_num_threads()) == before


def test_a_bad_target_ends_the_demo_at_the_start() -> None:
    done = child.run(
        "from sparsecore import cli; import sys; sys.argv = ['sparsecore', 'demo']; cli.main()",
        SPARSECORE_TARGET="sse9",
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: SPARSECORE_TARGET: 'sse9' cannot run here")


def test_help_and_readme_name_the_same_time() -> None:
    readme = Path(__file__).resolve().parent.parent / "README.md"
    assert "about a minute" in " ".join(sparsecore("demo", "--help").output.split())
    assert "about a minute" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("time", "choice", "measured", "expected"),
    [
        (timing(1.0), "csr", 1.0, []),
        (timing(1.0, spread=3), "csr", 1.0, ["Other work disturbed", "--threads 1"]),
        (timing(3.0), "dense", 1.0, []),
        (timing(3.0), "csr", 1.0, ["slower than dense, 3 s against 2 s", "run it again"]),
        (timing(3.0), "csr", None, ["slower than dense, 3 s against 2 s", "that were given."]),
    ],
)
def test_doubtful_times_are_named(
    time: Timing, choice: str, measured: float | None, expected: list[str]
) -> None:
    pytest.importorskip("torch")
    from sparsecore.cli.demo_results import disturbances

    pruned = variant("90%", time, {64: report(choice, seconds=measured)})
    said = list(disturbances([variant("dense", timing(2.0), {}), pruned]))
    assert len(said) == (1 if expected else 0)
    assert all(words in said[0] for words in expected)


def test_unequal_outputs_are_noticed() -> None:
    torch = pytest.importorskip("torch")
    from sparsecore.cli.demo_files import same_outputs

    one, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    other.load_state_dict(one.state_dict())
    x = np.ones((1, 2), np.float32)
    assert same_outputs(one, other, x)
    with torch.no_grad():
        other.bias += 1e-3
    assert not same_outputs(one, other, x)
