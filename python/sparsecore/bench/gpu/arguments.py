"""What ``gpu`` and ``gpu-24`` can be asked. No torch: it is loaded once the process is pinned."""

import argparse
from collections.abc import Mapping

from sparsecore.bench import words

__all__ = ["DTYPES", "add_options", "add_options_24", "defaults"]

DTYPES = ("float32", "float16", "bfloat16")
_QUICK: Mapping[str, object] = {
    "shapes": [(512, 512)],
    "sparsities": [50.0, 90.0],
    "columns": [1, 32],
    "dtypes": ("float32",),
    "triplets": [10**5],
    "min_runs": 5,
    "min_seconds": 0.0,
}
# Of Llama 8B and 70B, as (out, in); attention's key and value share a shape.
_LLAMA = [(1024, 4096), (14336, 4096), (4096, 14336), (1024, 8192), (28672, 8192), (8192, 28672)]
_QUICK_24: Mapping[str, object] = {
    **_QUICK,
    "shapes": [(512, 512)],
    "columns": [1, 256],
    "dtypes": ("bfloat16",),
}
_WHOLE: Mapping[str, object] = {
    "shapes": [(4096, 4096), (14336, 4096), (1024, 1024)],
    "sparsities": [50.0, 70.0, 80.0, 90.0, 95.0, 98.0],
    "columns": [1, 8, 32, 128, 1024],
    "dtypes": DTYPES[:1] + DTYPES[2:],
    "triplets": [10**6, 10**7],
    "min_runs": 15,
    "min_seconds": 0.01,
}
_WHOLE_24: Mapping[str, object] = {
    "shapes": [(4096, 4096), (8192, 8192), *_LLAMA],
    "columns": [1, 8, 16, 32, 64, 128, 512, 4096],
    "dtypes": ("bfloat16",),
    "min_runs": 15,
    "min_seconds": 0.01,
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``gpu``."""
    _add_products(command, DTYPES)
    add = command.add_argument
    add("--sparsities", type=words.percent, nargs="+", help="in percent")
    add("--triplets", type=words.count, nargs="+", help="numbers of them")
    add("--dlmc", type=int, nargs="?", const=0, metavar="COUNT",
        help="patterns of SPARSECORE_DATA instead of random ones; COUNT of each")  # fmt: skip


def add_options_24(command: argparse.ArgumentParser) -> None:
    """Add the options of ``gpu-24``."""
    _add_products(command, (*DTYPES, "int8"))


def _add_products(command: argparse.ArgumentParser, dtypes: tuple[str, ...]) -> None:
    add = command.add_argument
    add("--shape", "--sizes", dest="shapes", type=words.shape, nargs="+", metavar="MxK")
    add("--columns", type=words.count, nargs="+", help="widths of X")
    add("--dtype", dest="dtypes", nargs="+", choices=dtypes)


def defaults(command: str, *, quick: bool) -> dict[str, object]:
    """Return what ``gpu`` or ``gpu-24`` measures where nothing is said."""
    whole, few = (_WHOLE_24, _QUICK_24) if command == "gpu-24" else (_WHOLE, _QUICK)
    return {"threads": 1, **(few if quick else whole)}
