"""Comparisons small enough to test, and the peers that they may meet."""

from collections.abc import Mapping
from typing import Any

from sparsecore.bench import run
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Case, Contender
from sparsecore.bench.peers import Roster, find_peers

# Eigen is left to its own test: it has to be compiled.
QUICK_PEERS = ("scipy", "torch", "mkl")


def small(command: str, **changes: Any) -> Options:
    """Return options with an odd shape for products, one of eighths for construction."""
    sizes: dict[str, Any] = {
        "shapes": [(16, 24) if command == "build" else (24, 40)],
        "sparsities": [75.0],
        "columns": [1, 3],
        "triplets": [300],
        "peers": QUICK_PEERS,
        "threads": 2 if command == "threads" else 1,
    }
    return Options(command, **{**sizes, **changes})


def cases(options: Options, roster: Roster | None = None) -> list[Case]:
    """Return every case of a comparison, with the peers that are here."""
    compare = run.COMPARISONS[options.command]
    return list(compare(options, roster or find_peers(options)).cases)


def timed(role: str, median: float, packing: str = "none") -> Mapping[str, Any]:
    """Return what a row's JSON says of a contender, as far as reports read it."""
    return {"role": role, "packing": packing, "median": median}


def contender(role: Any = "peer", packing: Any = "none") -> Contender:
    """Return a contender that nobody calls."""
    return Contender(int, role=role, packing=packing)
