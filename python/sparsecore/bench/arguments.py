"""What can be asked for: the commands of ``python -m sparsecore.bench`` and their options."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsecore.bench import words
from sparsecore.bench.e2e import arguments as end_to_end
from sparsecore.bench.file_weights import arguments as of_file
from sparsecore.bench.gpu import arguments as gpu
from sparsecore.bench.never_slower import arguments as never_slower
from sparsecore.bench.pinning import TARGETS
from sparsecore.bench.sparse_training import arguments as sparse_training

__all__ = ["PEERS", "Options", "parse"]

PEERS = ("scipy", "torch", "mkl", "eigen")
DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "int8"),
    *("float16:float32", "bfloat16:float32", "int8:float32"),
)
_SHAPES = [(512, 512), (2048, 512), (1024, 1024), (4096, 1024), (4096, 4096)]
_SPARSITIES = [50.0, 70.0, 80.0, 90.0, 95.0, 98.0]


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What a command measures where it is not told: shapes, sparsities in percent, widths of X."""

    about: str
    shapes: list[tuple[int, int]]
    sparsities: list[float]
    columns: list[int]


_COMMANDS = {
    "spmm": _Defaults("A @ X", _SHAPES, _SPARSITIES, [8, 32, 128, 512]),
    "spmv": _Defaults("A @ x, one column", _SHAPES, _SPARSITIES, [1]),
    "24": _Defaults("S @ X with a 2:4 matrix", _SHAPES, [], [1, 8, 32, 128, 512]),
    "train": _Defaults(
        "gradients: dY @ X.T at the stored positions, A.T @ dY",
        _SHAPES,
        [50.0, 80.0, 90.0, 95.0],
        [32, 128, 512],
    ),
    "threads": _Defaults(
        "A @ X on one thread and on more",
        [(128, 128), (256, 256), (512, 512), (1024, 1024)],
        [50.0, 90.0, 98.0],
        [1, 8, 32, 128],
    ),
    "build": _Defaults(
        "construction: triplets, dense matrices, transposes, plans",
        [(4096, 4096)],
        [50.0, 90.0],
        [],
    ),
    "calls": _Defaults("small products, for what a call costs", [(16, 16)], [75.0], [4]),
}
_DLMC_COLUMNS = (32, 128, 256)
_QUICK_SHAPE = (512, 512)
_QUICK_SPARSITIES = (50.0, 90.0)
_QUICK_COLUMNS = (1, 32, 128)


@dataclass(frozen=True, slots=True)
class Options:
    """A command with every default filled in.

    `dlmc` is None for random matrices, 0 for every DLMC pattern, else at most so many of each
    sparsity; with it, no `sparsities` means all. `models` to `values` are of ``e2e``: no `batches`
    means each network's own; ``training`` and ``never-slower`` have some of them, and the former
    `steps`. `document` is the JSON file that ``plot`` reads. `weights` is the file whose weights
    ``file`` measures, those of a name in which `layers` is found, with so many `batches` of rows.
    """

    command: str
    shapes: Sequence[tuple[int, int]] = ()
    sparsities: Sequence[float] = ()
    columns: Sequence[int] = ()
    dtypes: Sequence[str] = ("float32",)
    order: str = "c"
    dlmc: int | None = None
    triplets: Sequence[int] = ()
    peers: Sequence[str] = PEERS
    libraries: Sequence[Path] = ()
    models: Sequence[str] = ()
    batches: Sequence[int] = ()
    patterns: Sequence[str] = ()
    engines: Sequence[str] = end_to_end.ENGINES
    values: Sequence[end_to_end.Values] = ()
    steps: int = 0
    threads: int = 1
    target: str | None = None
    min_runs: int = 15
    min_seconds: float = 0.2
    max_seconds: float = 20.0
    seed: int = 0
    output: Path | None = None
    plot: bool = False
    document: Path = Path()
    weights: Path = Path()
    layers: str = ""


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Return the options that the words ask for; ends the process where they make no sense."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    if given["command"] == "plot":
        return Options(**given)
    if given["plot"] and given["output"] is None:
        parser.error("--plot needs --output")
    if given["plot"] and given["command"] in (
        "24",
        "build",
        "calls",
        "training",
        "never-slower",
        "gpu",
        "gpu-24",
        "file",
    ):
        parser.error(f"{given['command']} has no series of sparsities to plot")
    quick = given.pop("quick")
    if given.get("dlmc") is not None:
        given["sparsities"] = given["sparsities"] or ()
        if given["command"] != "spmv":
            given["columns"] = given["columns"] or _DLMC_COLUMNS
    for name, value in _defaults(given["command"], quick=quick).items():
        if given.get(name) is None:
            given[name] = value
    if given["command"] == "e2e" and given["plot"] and not end_to_end.has_series(**given):
        parser.error("--plot needs a pattern other than 2:4, and two sparsities")
    return Options(**given)


def _defaults(command: str, *, quick: bool) -> dict[str, object]:
    if command == "e2e":
        return end_to_end.defaults(quick=quick)
    if command == "training":
        return sparse_training.defaults(quick=quick)
    if command == "never-slower":
        return never_slower.defaults(quick=quick)
    if command in ("gpu", "gpu-24"):
        return gpu.defaults(command, quick=quick)
    if command == "file":
        return of_file.defaults(quick=quick)
    found = _COMMANDS[command]
    threads = min(_cores(), 16) if command == "threads" else 1
    if not quick:
        return {
            "threads": threads,
            "shapes": found.shapes,
            "sparsities": found.sparsities,
            "columns": found.columns,
            "triplets": [10**6, 10**7],
            "min_runs": 15,
            "min_seconds": 0.2,
        }
    return {
        "threads": threads,
        "shapes": [_QUICK_SHAPE],
        "sparsities": [s for s in found.sparsities if s in _QUICK_SPARSITIES],
        "columns": [n for n in found.columns if n in _QUICK_COLUMNS],
        "triplets": [10**5],
        "min_runs": 5,
        "min_seconds": 0.02,
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sparsecore.bench",
        description="Measure sparsecore against other libraries, in turns, results checked first.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    common, operands = _common(), _operands()
    for name, found in _COMMANDS.items():
        command = commands.add_parser(name, help=found.about, parents=[operands, common])
        if name != "24":
            command.add_argument("--sparsities", type=words.percent, nargs="+", help="in percent")
        if name == "build":
            command.add_argument("--triplets", type=words.count, nargs="+", help="numbers of them")
        else:
            if name != "spmv":
                command.add_argument("--columns", type=words.count, nargs="+", help="widths of X")
            _add_product_options(command, name)
    end_to_end.add_options(
        commands.add_parser("e2e", help="whole networks against dense engines", parents=[common])
    )
    sparse_training.add_options(
        commands.add_parser("training", help="sparse training, memory and time", parents=[common])
    )
    never_slower.add_options(
        commands.add_parser(
            "never-slower", help="models before and after sparsify_", parents=[common]
        )
    )
    gpu.add_options(
        commands.add_parser("gpu", help="products and construction on CUDA", parents=[common])
    )
    gpu.add_options_24(commands.add_parser("gpu-24", help="2:4 on CUDA", parents=[common]))
    of_file.add_options(commands.add_parser("file", help="the weights of a file", parents=[common]))
    draw = commands.add_parser("plot", help="draw the JSON of an earlier run")
    draw.add_argument("document", type=words.json_path)
    draw.add_argument("--output", type=Path, help="PNG; by default beside the JSON")
    return parser


def _add_product_options(command: argparse.ArgumentParser, name: str) -> None:
    if name in ("spmm", "spmv", "24"):
        command.add_argument(
            "--dtype", dest="dtypes", nargs="+", choices=DTYPES, default=["float32"],
            help="of the values, or VALUES:X",
        )  # fmt: skip
        command.add_argument(
            "--orientation", dest="order", choices="cf", default="c",
            help="c: A @ X; f: X @ A.T as a linear layer does it",
        )  # fmt: skip
    if name in ("spmm", "spmv", "train"):
        command.add_argument(
            "--dlmc", type=int, nargs="?", const=0, metavar="COUNT",
            help="patterns from SPARSECORE_DATA instead of random ones; COUNT of each sparsity",
        )  # fmt: skip


def _operands() -> argparse.ArgumentParser:
    operands = argparse.ArgumentParser(add_help=False)
    add = operands.add_argument
    add("--shape", "--sizes", dest="shapes", type=words.shape, nargs="+", metavar="MxK")
    add("--peers", nargs="+", choices=PEERS, default=PEERS, help="numpy takes part always")
    add("--peer-library", dest="libraries", type=Path, nargs="+", default=(), metavar="PATH",
        help="shared libraries with the functions that bench/README.md names")  # fmt: skip
    add("--target", choices=TARGETS, help="hold every library to this instruction set")
    return operands


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    add = common.add_argument
    add("--threads", type=words.count, help="cores of the run: 1, for `threads` all up to 16")
    add("--quick", action="store_true", help="few small cases, few samples: to try it out")
    add("--min-runs", type=words.count, help="samples of each contender")
    add("--min-seconds", type=float, help="seconds a row, at least")
    add("--max-seconds", type=float, default=20.0, help="a row, after five samples of each")
    add("--seed", type=words.seed, default=0)
    add("--output", type=words.json_path, help="JSON file; the table goes beside it")
    add("--plot", action="store_true", help="with --output: a PNG beside it, too")
    return common
