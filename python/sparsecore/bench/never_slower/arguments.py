"""What can be asked of ``never-slower``. No torch here: it is loaded once the process is pinned."""

import argparse
from collections.abc import Mapping

from sparsecore.bench import words

__all__ = ["MODELS", "add_options", "defaults"]

MODELS = (
    *("mlp-small", "mlp-wide", "encoder", "decoder", "lstm", "tagger"),
    *("resnet20", "mobilenet", "vgg", "unet", "resnext", "autoencoder"),
)
_QUICK: Mapping[str, object] = {
    "models": ("mlp-small", "tagger", "unet"),
    "batches": (1,),
    "sparsities": (0.0, 90.0),
    "min_runs": 5,
    "min_seconds": 0.05,
}
_WHOLE: Mapping[str, object] = {
    "models": MODELS,
    "batches": (),
    "sparsities": (0.0, 50.0, 80.0, 95.0),
    "min_runs": 21,
    "min_seconds": 0.6,
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command alone."""
    add = command.add_argument
    add("--models", nargs="+", choices=MODELS, metavar="MODEL", help=", ".join(MODELS))
    add("--batches", type=words.count, nargs="+", help="by default each model's own three")
    add("--sparsities", type=_sparsity, nargs="+", help="in percent")


def defaults(*, quick: bool) -> dict[str, object]:
    """Return what is measured where nothing is said."""
    return {"threads": 1, **(_QUICK if quick else _WHOLE)}


def _sparsity(text: str) -> float:
    found = words.percent(text)
    if found == 100:
        msg = "a model without weights is none, expected less than 100 percent"
        raise argparse.ArgumentTypeError(msg)
    return found
