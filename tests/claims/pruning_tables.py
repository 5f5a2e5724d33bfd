"""docs/pruning/published-tables.md."""

import math
import statistics
from collections.abc import Iterator, Sequence

from claims.claim import Claim, TableClaim
from claims.results import fixed, result, seeds, spread

__all__ = ["CLAIMS"]

_PRUNING = "docs/pruning/published-tables.md"
_SNIP, _CONTROLS, _DYNAMIC = "pruning-snip", "pruning-controls", "pruning-dynamic"
_LOTTERY, _RESNET, _COLLAPSE = "pruning-lottery", "pruning-resnet20", "pruning-collapse"
# Lee et al. 2019, table 1.
_LEE = {0.0: "1.7", 0.95: "1.6", 0.98: "2.4"}


def _snip() -> Iterator[Sequence[str]]:
    for sparsity, published in _LEE.items():
        label = f"{100 * sparsity:.0f} %" if sparsity else "dense"
        yield [label, spread(seeds(_SNIP, "error", sparsity=sparsity)), published]


def _controls() -> Iterator[Sequence[str]]:
    for method in ("SNIP", "GraSP", "SynFlow"):
        yield [
            method,
            *(
                spread(seeds(_CONTROLS, "error", method=method, control=control, sparsity=sparsity))
                for sparsity in (0.95, 0.98)
                for control in ("as found", "shuffled", "re-initialised")
            ),
        ]


def _dynamic() -> Iterator[Sequence[str]]:
    labels = {"gradual": "gradual magnitude pruning"}
    measured = {
        (run["cell"]["method"], run["cell"]["sparsity"]) for run in result(_DYNAMIC)["runs"]
    }
    for method in ("static", "SET", "RigL", "gradual"):
        cells = [
            spread(seeds(_DYNAMIC, "error", method=method, sparsity=sparsity))
            if (method, sparsity) in measured
            else ""
            for sparsity in (0.98, 0.99)
        ]
        (alive,) = (
            seeds(_DYNAMIC, "live units", method="RigL", sparsity=0.99, seed=0)
            if method == "RigL"
            else [[]]
        )
        units = "-".join(map(str, alive)) + " at 99 %" if alive else ""
        yield [labels.get(method, method), *cells, units]


def _tickets() -> list[str]:
    (run,) = result(_LOTTERY)["runs"]
    found = []
    for round_ in (15, 7):
        (ticket,) = (t for t in run["result"]["tickets"] if t["round"] == round_)
        (control,) = (t for t in run["result"]["re-initialised"] if t["round"] == round_)
        errors = (ticket["error"], control["error"])
        found += [fixed(100 * ticket["density"], 1), *(fixed(error, 2) for error in errors)]
    return found


def _mean(way: str, sparsity: float, figure: str) -> float:
    return statistics.fmean(seeds(_RESNET, figure, way=way, sparsity=sparsity))


def _resnet20() -> list[str]:
    """Return where one threshold is best at once, how far others are apart, uniform's and 2:4's."""
    ways, sparsities = ("uniform", "ERK", "global", "LAMP"), (0.5, 0.7, 0.8, 0.9, 0.95)
    best = [max(ways, key=lambda way: _mean(way, s, "at once")) for s in sparsities]
    assert best[:2] == ["global"] * 2 != best[2:4]
    apart, behind = [], []
    for sparsity in sparsities:
        tuned = {way: _mean(way, sparsity, "fine-tuned") for way in ways}
        uniform = tuned.pop("uniform")
        apart.append(max(tuned.values()) - min(tuned.values()))
        if uniform < min(tuned.values()) - 1:
            behind.append(sparsity)
    dense = result(_RESNET)["dense accuracy"]
    lost = [dense - _mean("2:4", 0.5, figure) for figure in ("at once", "fine-tuned")]
    return [
        "70",
        {3: "three"}[math.ceil(max(apart))],
        fixed(100 * min(behind), 0),
        *(fixed(points, 0) for points in lost),
    ]


def _ends() -> dict[str, tuple[float, float]]:
    """Return up to which power of 10 / 2 each method leaves a path, and what was tried next."""
    ends = {}
    for method in ("magnitude", "SNIP", "GraSP", "random", "SynFlow"):
        paths = {
            run["cell"]["half powers of ten"]: run["result"]["on a path"]
            for run in result(_COLLAPSE)["runs"]
            if run["cell"]["method"] == method
        }
        cut = min(power for power, left in paths.items() if left == 0)
        ends[method] = max(power for power in paths if power < cut), cut
    return ends


def _connected() -> list[str]:
    return [f"{10 ** (last / 2):,.0f}" for last, _ in _ends().values()]


def _tried_next() -> list[str]:
    steps = {method: 10 ** ((cut - last) / 2) for method, (last, cut) in _ends().items()}
    synflow = steps.pop("SynFlow")
    (others,) = {fixed(step, 1) for step in steps.values()}
    return [others, fixed(synflow, 1)]


def _number_of_seeds(name: str) -> list[str]:
    return [str(len({run["cell"]["seed"] for run in result(name)["runs"]}))]


CLAIMS = (
    Claim(_PRUNING, (_SNIP,), "SNIP, LeNet-300-100, {} seeds", lambda: _number_of_seeds(_SNIP)),
    TableClaim(_PRUNING, (_SNIP,), "||here|Lee et al. 2019|", lambda: [*_snip()]),
    Claim(
        _PRUNING,
        (_CONTROLS,),
        "with other initial weights under the same mask; {} seeds",
        lambda: _number_of_seeds(_CONTROLS),
    ),
    TableClaim(
        _PRUNING,
        (_CONTROLS,),
        "||95 %: found|shuffled|re-initialised|98 %: found|shuffled|re-initialised|",
        lambda: [*_controls()],
    ),
    Claim(
        _PRUNING,
        (_DYNAMIC,),
        "Dynamic sparse training, LeNet-300-100, {} seeds",
        lambda: _number_of_seeds(_DYNAMIC),
    ),
    TableClaim(_PRUNING, (_DYNAMIC,), "||98 %|99 %|units alive, seed 0|", lambda: [*_dynamic()]),
    Claim(
        _PRUNING,
        (_LOTTERY,),
        "with {} % of the weights left the ticket ends at {} and the same mask with other initial "
        "weights at {}; with {} % at {} and {}",
        _tickets,
    ),
    Claim(
        _PRUNING,
        (_RESNET,),
        "up to {} % one threshold over all layers loses least at once; fine-tuned, ERK, global and "
        "LAMP are within {} points of each other and uniform falls behind from {} % on. 2:4 at 50 "
        "% loses {} points at once, {} after the fine-tuning",
        _resnet20,
    ),
    Claim(
        _PRUNING,
        (_COLLAPSE,),
        "magnitude {}, SNIP {}, GraSP {}, random {}, SynFlow {}",
        _connected,
    ),
    Claim(
        _PRUNING,
        (_COLLAPSE,),
        "each fails at the next compression that was tried, {} times as high, for SynFlow {}",
        _tried_next,
    ),
    Claim(
        _PRUNING,
        (_RESNET,),
        "on 4,000 pictures, {} seeds",
        lambda: _number_of_seeds(_RESNET),
    ),
)
