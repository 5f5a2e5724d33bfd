"""docs/performance.md: where it loses."""

import statistics

from claims.claim import Claim
from claims.readme_networks import int8_wins
from claims.readme_products import dtypes_that_lose, products_that_lose
from claims.results import best, fixed, part, result, row, rows, seeds, significant, to

__all__ = ["CLAIMS"]

_PAGE = "docs/performance.md"
_SPMM, _SPMV, _DLMC = "spmm-epyc-1-thread", "spmv-epyc-1-thread", "dlmc-epyc-1-thread"
_CALLS, _TRAIN = "calls-epyc-1-thread", "train-epyc-1-thread"


def _products() -> list[str]:
    sparsity, columns, half, worst = products_that_lose()
    peers = [
        found["best"]["sparsecore"]["peer"]["ratio"]
        for name in (_SPMM, _SPMV, _DLMC)
        for found in rows(name)
    ]
    return [sparsity, worst, columns, half, fixed(min(peers), 1)]


def _dtypes() -> list[str]:
    sparsity, bf16, int8, *_ = dtypes_that_lose()
    return [bf16, int8, sparsity]


def _calls() -> list[str]:
    times = [
        1e6 * row(_CALLS, call="layer, 2-D", gradient=gradient)["contenders"][who]["median"]
        for gradient in ("none", "recorded")
        for who in ("sparsecore", "torch dense")
    ]
    return [fixed(time, 1) for time in times]


def _gradients() -> list[str]:
    means = [
        part(best(_TRAIN, "sparsecore", "baseline", gradient=kind), sparsity=50.0)["geometric_mean"]
        for kind in ("dX", "dW")
    ]
    return [fixed(means[0], 1), "50", fixed(means[1], 1)]


def _networks() -> list[str]:
    mobilenet = row("e2e-epyc-1-thread", model="mobilenetv1", sparsity=50.0)
    return ["50", significant(mobilenet["speedup"]), int8_wins()[0]]


def _encoders() -> list[str]:
    found = rows("never-slower-epyc-1-thread", model="encoder")
    assert all(set(cell["choices"]) == {"dense"} for cell in found)
    (times,) = {fixed(cell["ratio"], 1) for cell in found}
    return [times]


def _ranks() -> list[str]:
    one, _, _, four = result("distributed-epyc-2-cores")["runs"]
    assert four["ranks"] == 4
    return ["64", *(fixed(1e3 * run["seconds"]["product 64"], 0) for run in (one, four))]


def _accuracy() -> list[str]:
    name = "pruning-resnet20"
    dense = result(name)["dense accuracy"]
    at_once = statistics.fmean(seeds(name, "at once", way="2:4"))
    tuned = [
        dense - statistics.fmean(seeds(name, "fine-tuned", way=way, sparsity=0.9))
        for way in ("uniform", "ERK", "global", "LAMP")
    ]
    return [fixed(dense - at_once, 0), "90", *to(tuned, 0)]


CLAIMS = (
    Claim(
        _PAGE,
        (_SPMM, _SPMV, _DLMC),
        "with one column up to {} % zeros (at worst {} times its speed), and with {} and more "
        "columns at {} %; and to products that XNNPACK or MKL have prepared ({} at worst)",
        _products,
    ),
    Claim(
        _PAGE,
        ("dtypes-epyc-1-thread",),
        "are {} and {} times as fast as a plan at {} % zeros at most",
        _dtypes,
    ),
    Claim(
        _PAGE,
        (_CALLS,),
        "a linear layer of 16 x 16 takes {} us sparse and {} dense; with a gradient recorded "
        "{} and {}",
        _calls,
    ),
    Claim(
        _PAGE,
        (_SPMM,),
        "With the making in every call, products have {} times the speed of the fastest peer's",
        lambda: [fixed(best(_SPMM, "sparsecore plan, first call", "peer")["least"], 1)],
    ),
    Claim(
        _PAGE,
        (_TRAIN,),
        "has {} times the speed of the dense product at {} % zeros, in the mean; the "
        "gradient of the values {} times",
        _gradients,
    ),
    Claim(
        _PAGE,
        ("training-epyc-1-thread",),
        "a step of ResNet-20 with RigL on nonzeros takes {} times as long as with masks",
        lambda: [
            fixed(1 / row("training-epyc-1-thread", model="resnet20", sparsity=90.0)["speedup"], 1)
        ],
    ),
    Claim(
        _PAGE,
        ("e2e-epyc-1-thread", "e2e-small-epyc-1-thread"),
        "Networks at {} %: MobileNetV1 has {} times the speed of the fastest dense engine. Dense "
        "int8 engines are faster than sparse fp32 in all networks up to {} % zeros",
        _networks,
    ),
    Claim(
        _PAGE,
        ("never-slower-epyc-1-thread",),
        "gain nothing, {} times as fast in all cells of the encoder",
        _encoders,
    ),
    Claim(
        _PAGE,
        ("distributed-epyc-2-cores",),
        "a product of {} columns takes {} ms on one rank and {} ms on four",
        _ranks,
    ),
    Claim(
        _PAGE,
        ("pruning-resnet20",),
        "2:4 without training costs a trained ResNet-20 {} points, and {} % zeros with three "
        "epochs of training {} to {}",
        _accuracy,
    ),
)
