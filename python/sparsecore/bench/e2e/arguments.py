"""What can be asked of ``e2e``. No torch here: it is loaded after the process is pinned."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from sparsecore.bench import words

__all__ = ["ENGINES", "MODELS", "PATTERNS", "VALUES", "add_options", "defaults", "has_series"]

MODELS = ("resnet50", "resnet20", "mobilenetv1", "bert", "mlp", "gpt")
PATTERNS = ("uniform", "erk", "global", "2:4")
ENGINES = (
    *("torch eager", "torch channels_last", "torch inductor", "onnxruntime", "openvino"),
    *("onnxruntime int8", "openvino int8"),
)
# What `sparsify_` can store the values of sparse weights in, besides the float32 they have.
Values: TypeAlias = Literal["bfloat16", "float16", "int8"]
VALUES: tuple[Values, ...] = get_args(Values)

_QUICK: Mapping[str, object] = {
    "models": ("resnet20", "mlp"),
    "batches": (1,),
    "patterns": ("uniform",),
    "sparsities": (90.0,),
    "min_runs": 5,
    "min_seconds": 0.05,
}
_WHOLE: Mapping[str, object] = {
    "models": MODELS,
    "batches": (),
    "patterns": PATTERNS,
    "sparsities": (50.0, 70.0, 80.0, 90.0, 95.0),
    "min_runs": 15,
    "min_seconds": 0.2,
}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command alone."""
    add = command.add_argument
    add("--models", nargs="+", choices=MODELS, metavar="MODEL", help=", ".join(MODELS))
    add("--batches", type=words.count, nargs="+", help="by default each network's own")
    add("--patterns", nargs="+", choices=PATTERNS, help="2:4 has its own sparsity")
    add("--sparsities", type=_sparsity, nargs="+", help="in percent")
    add("--engines", nargs="+", choices=ENGINES, default=ENGINES, metavar="ENGINE",
        help="dense ones besides torch eager: " + ", ".join(map(repr, ENGINES[1:])))  # fmt: skip
    add("--values", nargs="+", choices=VALUES, default=(),
        help="further rows, pattern uniform, whose sparse weights are stored in these")  # fmt: skip


def defaults(*, quick: bool) -> dict[str, object]:
    """Return what is measured where nothing is said."""
    return {"threads": 1, **(_QUICK if quick else _WHOLE)}


def has_series(
    *, patterns: Sequence[str], sparsities: Sequence[float], values: Sequence[str], **_: object
) -> bool:
    """Whether something is measured at several sparsities, which a plot needs."""
    return (set(patterns) != {"2:4"} or bool(values)) and len(set(sparsities)) > 1


def _sparsity(text: str) -> float:
    found = words.percent(text)
    if found == 100:
        msg = "a network without weights is none, expected less than 100 percent"
        raise argparse.ArgumentTypeError(msg)
    return found
