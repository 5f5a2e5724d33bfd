"""docs/guide: the number that each chapter ends with."""

import statistics
from collections.abc import Iterator, Sequence

from claims.claim import Claim, TableClaim
from claims.results import (
    best,
    dense_over,
    fixed,
    part,
    percent,
    result,
    row,
    rows,
    seeds,
    significant,
    spread,
    to,
)

__all__ = ["CLAIMS"]

_SPMM, _SPMV = "spmm-epyc-1-thread", "spmv-epyc-1-thread"
_RESNET, _CONTROLS = "pruning-resnet20", "pruning-controls"


def _files() -> list[str]:
    dense, *sparse = (
        rows("trained-epyc-1-thread")[0]["file_bytes"]["dense"],
        *(found["file_bytes"]["sparse"] for found in rows("trained-epyc-1-thread")),
    )
    zeros = [found["sparsity"] for found in rows("trained-epyc-1-thread")]
    kilobytes = [f"{size / 1e3:.0f}" for size in (dense, *sparse)]
    return [
        kilobytes[0],
        percent(zeros[0]),
        kilobytes[1],
        percent(zeros[1]),
        kilobytes[2],
        *(percent(size / dense) for size in sparse),
        *(percent(1 - share) for share in zeros),
    ]


def _one_column() -> list[str]:
    found = [row(_SPMV, M=1024, K=1024, N=1, sparsity=sparsity) for sparsity in (50.0, 90.0)]
    plain, plan = (
        [fixed(dense_over(measured, ours), 1) for measured in found]
        for ours in ("sparsecore", "sparsecore plan")
    )
    return [plain[0], "50", plain[1], "90", *plan]


def _thirty_two_columns() -> Iterator[Sequence[str]]:
    found = [
        row(_SPMM, M=1024, K=1024, N=32, sparsity=float(sparsity))
        for sparsity in (50, 70, 80, 90, 95, 98)
    ]
    saved = [1 / (1 - measured["sparsity"] / 100) for measured in found]
    yield ["multiplications saved", *(f"{float(f'{times:.2g}'):g}" for times in saved)]
    for label, ours in (
        ("`csr_matmul`", "sparsecore"),
        ("with `A.prepare(n=32)`", "sparsecore plan"),
    ):
        yield [label, *(fixed(dense_over(measured, ours), 1) for measured in found)]


def _share_of_saved() -> list[str]:
    """Return the sparsities at which a plan gains most and least of what is saved."""
    share = {
        sparsity: dense_over(
            row(_SPMM, M=1024, K=1024, N=32, sparsity=float(sparsity)), "sparsecore plan"
        )
        * (1 - sparsity / 100)
        for sparsity in (50, 98)
    }
    assert share[50] > 0.85
    return ["50", "98", {3: "three"}[round(5 * share[98])]]


def _mobilenet() -> list[str]:
    found = row("e2e-epyc-1-thread", model="mobilenetv1", sparsity=90.0)
    return [
        fixed(found["sparsity"], 0),
        percent(found["macs_kept"]),
        fixed(found["bound"], 1),
        significant(found["speedup"]),
    ]


def _sparse24() -> list[str]:
    found = best("24-epyc-1-thread", "sparsecore", "baseline")
    means = [fixed(part(found, N=N)["geometric_mean"], 1) for N in (1, 8, 512)]
    return [means[0], means[1], "8", means[2], "512"]


def _mean(way: str, sparsity: float, figure: str) -> float:
    return statistics.fmean(seeds(_RESNET, figure, way=way, sparsity=sparsity))


def _accuracy24() -> list[str]:
    dense = result(_RESNET)["dense accuracy"]
    return [
        fixed(dense, 1),
        *(fixed(_mean("2:4", 0.5, figure), 1) for figure in ("at once", "fine-tuned")),
        fixed(dense - _mean("global", 0.5, "at once"), 0),
    ]


def _controls() -> Iterator[Sequence[str]]:
    for method in ("random", "SNIP", "GraSP", "SynFlow"):
        yield [
            method,
            *(
                spread(seeds(_CONTROLS, "error", method=method, control=control, sparsity=0.95))
                for control in ("as found", "shuffled", "re-initialised")
            ),
        ]


def _number_of_seeds() -> list[str]:
    return [
        {5: "five"}[
            len(seeds(_CONTROLS, "error", method="SNIP", control="shuffled", sparsity=0.95))
        ]
    ]


def _rigl() -> list[str]:
    return [
        "99",
        *(
            fixed(statistics.fmean(seeds("pruning-dynamic", "error", method=way, sparsity=0.99)), 2)
            for way in ("static", "RigL")
        ),
    ]


def _bytes_of_training() -> list[str]:
    mlp, resnet20 = (
        row("training-epyc-1-thread", model=model, sparsity=90.0) for model in ("mlp", "resnet20")
    )
    return [
        "90",
        fixed(mlp["ratio"]["total"], 2),
        fixed(1 / mlp["speedup"], 2),
        fixed(resnet20["ratio"]["total"], 2),
        fixed(1 / resnet20["speedup"], 1),
    ]


def _allocations() -> Iterator[Sequence[str]]:
    for sparsity in (0.8, 0.9, 0.95):
        yield [
            f"{percent(sparsity)} %",
            *(
                spread(seeds(_RESNET, "fine-tuned", way=way, sparsity=sparsity))
                for way in ("uniform", "ERK", "global", "LAMP")
            ),
        ]


def _equal_time() -> list[str]:
    tuned = {
        found["name"]: 100 * found["accuracy_tuned"]
        for found in rows("allocate-epyc-1-thread")
        if found["budget"]["uniform"] == 0.9
    }
    latency = [tuned.pop(name) for name in ("latency, squares", "latency, LAMP")]
    uniform = tuned.pop("uniform")
    return ["90", fixed(uniform, 0), *to(tuned.values(), 0), *to(latency, 0)]


def _crossings() -> list[str]:
    """Return from which sparsity on products overtake dense ones: plain ones, then plans."""
    found = {
        (entry["contender"], entry["N"]): entry
        for name in (_SPMV, _SPMM)
        for entry in result(name)["break_even"]
    }
    plans = [entry for (who, _), entry in found.items() if who == "sparsecore plan"]
    assert len(plans) == 5
    assert all(entry["at_most"] for entry in plans)
    (least,) = {entry["sparsity"] for entry in plans}
    one, more = found["sparsecore", 1], found["sparsecore", 32]
    return [fixed(one["sparsity"], 0), "32", fixed(more["sparsity"], 0), fixed(least, 0)]


CLAIMS = (
    Claim(
        "docs/guide/storage.md",
        ("trained-epyc-1-thread",),
        "A trained ResNet-20 takes {} kB dense. With {} % of its weights pruned, and CSR layers in "
        "the file, it takes {} kB, with {} % {} kB: {} and {} % of dense, where the weights "
        "that are left are {} and {} %",
        _files,
    ),
    Claim(
        "docs/guide/access.md",
        (_SPMV,),
        "`csr_matmul` has {} times the speed of the best dense product at {} %, and {} times at {} "
        "%. A plan (`A.prepare(n=1)`) puts sixteen rows side by side and cuts them into chunks "
        "whose columns lie close together, so that X is looked up in registers and not in memory "
        "(how): {} and {} times",
        _one_column,
    ),
    TableClaim(
        "docs/guide/matmul.md",
        (_SPMM,),
        "|zeros|50 %|70 %|80 %|90 %|95 %|98 %|",
        lambda: [*_thirty_two_columns()],
    ),
    Claim(
        "docs/guide/matmul.md",
        (_SPMM,),
        "At {} % a plan gains nearly all of what was saved, at {} % about {} fifths",
        _share_of_saved,
    ),
    Claim(
        "docs/guide/structured.md",
        ("e2e-epyc-1-thread",),
        "MobileNetV1 with {} % zeros keeps {} % of its multiplications, so {} times the "
        "speed would be possible, and is {} times as fast as the best dense engine",
        _mobilenet,
    ),
    Claim(
        "docs/guide/two-four.md",
        ("24-epyc-1-thread",),
        "2:4 is {} times as fast as the best dense product with one column, {} times with {} "
        "and {} times with {}, in the mean of five shapes",
        _sparse24,
    ),
    Claim(
        "docs/guide/two-four.md",
        (_RESNET,),
        "falls from {} to {} % and is back at {} % after three epochs; half of the weights "
        "without a pattern cost {} point at once",
        _accuracy24,
    ),
    Claim(
        "docs/guide/at-initialisation.md",
        (_CONTROLS,),
        "LeNet-300-100 on MNIST, test error in %, {} seeds",
        _number_of_seeds,
    ),
    TableClaim(
        "docs/guide/at-initialisation.md",
        (_CONTROLS,),
        "|95 %|as found|shuffled|re-initialised|",
        lambda: [*_controls()],
    ),
    Claim(
        "docs/guide/sparse-training.md",
        ("pruning-dynamic",),
        "with {} % zeros in the first layer: test error {} % with a fixed random pattern and {} % "
        "with RigL",
        _rigl,
    ),
    Claim(
        "docs/guide/sparse-training.md",
        ("training-epyc-1-thread",),
        "Three layers of 2048 x 2048 at {} % with RigL and Adam take {} of the bytes of "
        "masked dense training, and a step {} of the time; of ResNet-20 the tensors are {}, "
        "but a step takes {} times as long",
        _bytes_of_training,
    ),
    TableClaim(
        "docs/guide/layerwise.md",
        (_RESNET,),
        "|zeros|uniform|Erdős-Rényi-Kernel|one threshold|LAMP|",
        lambda: [*_allocations()],
    ),
    Claim(
        "docs/guide/layerwise.md",
        ("allocate-epyc-1-thread",),
        "with the budget of uniform {} %, uniform is right for {} % of the images, the "
        "others for {} to {} %, and the allocation by measured time for {} to {} %",
        _equal_time,
    ),
    Claim(
        "docs/how-to/choose-a-format.md",
        (_SPMM, _SPMV),
        "`csr_matmul` with one column overtakes the best dense product at {} % zeros, with {} "
        "columns at {} %; a plan is faster from {} % on",
        _crossings,
    ),
)
