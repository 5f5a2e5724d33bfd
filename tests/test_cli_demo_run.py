"""cli/demo_run.py: the demo from beginning to end, on networks too small to be fast at anything."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

import sparsecore as sc
from demo_cases import sparsecore, write_mnist

TINY = ("--hidden", "32", "--hidden", "16", "--epochs", "1", "--seconds", "0")
PRUNED = ("pruned-90", "pruned-24")


def choices(**formats: str) -> dict[str, str]:
    """Return the choices of a run on the tiny network, one format for each model."""
    return {
        f"{model}/batch-{batch}/fc{layer}": formats[model.replace("-", "_")]
        for model in PRUNED
        for batch in (1, 64)
        for layer in (1, 2, 3)
    }


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


# ---- what it writes and prints ----


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


@pytest.mark.usefixtures("single_thread")
def test_lenet_on_mnist(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    options = ("--epochs", "1", "--seconds", "0", "--output", tmp_path / "output")
    result = sparsecore("demo", "--data", "mnist", "--data-dir", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert "MNIST, network 784-300-100-10" in result.stdout


# ---- choices of an earlier run ----


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
