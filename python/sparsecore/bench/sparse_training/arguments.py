"""What can be asked of ``training``. No torch here: it is loaded after the process is pinned."""

import argparse

from sparsecore.bench import words

__all__ = ["NETWORKS", "WAYS", "add_options", "defaults"]

NETWORKS = ("mlp", "resnet20")
WAYS = ("masked dense", "csr")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command alone."""
    add = command.add_argument
    add("--models", nargs="+", choices=NETWORKS, metavar="MODEL", help=", ".join(NETWORKS))
    add("--batches", type=words.count, nargs="+", help="by default 16")
    add("--sparsities", type=_sparsity, nargs="+", help="in percent")
    add("--steps", type=words.count, help="of the optimizer, every fifth a mask update")


def defaults(*, quick: bool) -> dict[str, object]:
    """Return what is measured where nothing is said."""
    return {
        "threads": 1,
        "models": NETWORKS,
        "batches": (16,),
        "sparsities": (90.0,) if quick else (80.0, 90.0, 95.0),
        "steps": 11 if quick else 41,
    }


def _sparsity(text: str) -> float:
    found = words.percent(text)
    if not 0 < found < 100:
        msg = f"{text!r} is no sparsity to train at, expected between 0 and 100 percent"
        raise argparse.ArgumentTypeError(msg)
    return found
