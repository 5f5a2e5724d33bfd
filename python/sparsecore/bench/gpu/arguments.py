"""What can be asked of ``gpu``. No torch here: it is loaded once the process is pinned."""

import argparse
from collections.abc import Mapping

from sparsecore.bench import words

__all__ = ["DTYPES", "add_options", "defaults"]

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
_WHOLE: Mapping[str, object] = {
    "shapes": [(4096, 4096), (14336, 4096), (1024, 1024)],
    "sparsities": [50.0, 70.0, 80.0, 90.0, 95.0, 98.0],
    "columns": [1, 8, 32, 128, 1024],
    "dtypes": DTYPES[:1] + DTYPES[2:],
    "triplets": [10**6, 10**7],
    "min_runs": 15,
    "min_seconds": 0.01,
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command alone."""
    add = command.add_argument
    add("--shape", "--sizes", dest="shapes", type=words.shape, nargs="+", metavar="MxK")
    add("--sparsities", type=words.percent, nargs="+", help="in percent")
    add("--columns", type=words.count, nargs="+", help="widths of X")
    add("--dtype", dest="dtypes", nargs="+", choices=DTYPES)
    add("--triplets", type=words.count, nargs="+", help="numbers of them")
    add("--dlmc", type=int, nargs="?", const=0, metavar="COUNT",
        help="patterns of SPARSECORE_DATA instead of random ones; COUNT of each")  # fmt: skip


def defaults(*, quick: bool) -> dict[str, object]:
    """Return what is measured where nothing is said."""
    return {"threads": 1, **(_QUICK if quick else _WHOLE)}
