"""``sparsecore demo``: a real network, pruned, converted and measured on this machine."""

from importlib.util import find_spec
from pathlib import Path

import click

from sparsecore import cpu

__all__ = ["demo"]

# By the name that is imported, the name that is installed.
_PACKAGES = {
    "torch": "torch",
    "rich": "rich",
    "matplotlib": "matplotlib",
    "sklearn": "scikit-learn",
}
_EPOCHS = {"digits": 12, "mnist": 3}
_HIDDEN = {"digits": (1024, 1024), "mnist": (300, 100)}  # MNIST's: LeNet-300-100

_EXAMPLES = """\b
Examples:
  sparsecore demo
  sparsecore demo --seed 1 --output other-seed
  sparsecore demo --choices demo-output/choices.json
  sparsecore demo --data mnist --data-dir DIR
"""


@click.command(epilog=_EXAMPLES, short_help="Prune a network, convert it, measure it.")
@click.option(
    "--data",
    type=click.Choice(["digits", "mnist"]),
    default="digits",
    show_default=True,
    help="What to learn: scikit-learn's digits (no download), or MNIST from --data-dir.",
)
@click.option(
    "--data-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of MNIST's four files, train-images-idx3-ubyte.gz and so on.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="The same seed gives the same accuracies and sizes.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Of dense training and again of pruning to 90%; half as many after pruning to 2:4. "
    "[default: 12 for digits, 3 for mnist]",
)
@click.option(
    "--choices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Replay the formats of an earlier run, its choices.json, instead of measuring them.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the models, the picture, the choices and the results.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 4096),
    help="Of torch and sparsecore in every measurement; 1 is the least disturbed on a busy "
    "machine. [default: torch's own]",
)
@click.option("--hidden", type=click.IntRange(1), multiple=True, hidden=True)
@click.option("--seconds", type=click.FloatRange(0), default=0.3, hidden=True)
def demo(
    data: str,
    data_dir: Path | None,
    seed: int,
    epochs: int | None,
    choices: Path | None,
    output: Path,
    threads: int | None,
    hidden: tuple[int, ...],
    seconds: float,
) -> None:
    """Train a network, prune it to 90% and to 2:4, convert it, and measure it here.

    Prints what each model costs, how fast it is, and what was chosen for each of its layers and
    why. Writes the models as safetensors, the choices, the results as JSON, and a picture of one
    layer's latency against its density. Takes about a minute on two cores.
    """
    if (data == "mnist") != (data_dir is not None):
        msg = "--data mnist and --data-dir DIR go together"
        raise click.UsageError(msg)
    _require_target()
    _require_packages(data)
    from sparsecore.cli import demo_run

    demo_run.run(
        demo_run.Settings(
            data_dir=data_dir,
            hidden=hidden or _HIDDEN[data],
            epochs=epochs or _EPOCHS[data],
            seed=seed,
            seconds=seconds,
            choices=choices,
            output=output,
            threads=threads,
        )
    )


def _require_target() -> None:
    """Let a bad SPARSECORE_TARGET end the demo before anything takes long."""
    try:
        cpu.target()
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _require_packages(data: str) -> None:
    needed = [name for name in _PACKAGES if name != "sklearn" or data == "digits"]
    missing = [_PACKAGES[name] for name in needed if find_spec(name) is None]
    if missing:
        msg = f"the demo needs {', '.join(missing)}: pip install 'sparsecore[demo]'"
        raise click.ClickException(msg)
