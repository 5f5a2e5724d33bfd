"""README: products, "How fast" up to whole networks."""

from collections.abc import Iterator, Sequence

from claims.claim import Claim, TableClaim
from claims.results import (
    best,
    dense_over,
    fixed,
    geometric_mean,
    ratio,
    row,
    rows,
    significant,
    to,
)

__all__ = ["CLAIMS", "dtypes_that_lose", "products_that_lose"]

_README = "README.md"
_SPMM, _SPMV, _DLMC = "spmm-epyc-1-thread", "spmv-epyc-1-thread", "dlmc-epyc-1-thread"
_SPARSITIES = (50, 70, 80, 90, 95, 98)
_COLUMNS = (1, 8, 32, 128, 512)
# The label of each block, which of ours, the others (None: dense ones), and N.
_BLOCKS: tuple[tuple[str, str, tuple[str, ...] | None, tuple[int, ...]], ...] = (
    ("scipy", "sparsecore", ("scipy",), _COLUMNS),
    ("torch CSR (MKL)", "sparsecore", ("torch csr",), _COLUMNS),
    ("best dense", "sparsecore", None, _COLUMNS),
    ("MKL, optimized ahead, with `A.prepare()`", "sparsecore plan", ("mkl",), _COLUMNS),
    (
        "AOCL-Sparse or XNNPACK, with `A.prepare()`",
        "sparsecore plan",
        ("aocl_spmm", "aocl256_spmm", "xnn_spmm", "xnnsse_spmm"),
        _COLUMNS[1:],
    ),
    ("best dense, with `A.prepare()`", "sparsecore plan", None, _COLUMNS),
)


def _products() -> Iterator[Sequence[str]]:
    """Yield the lines of the table: for each contender and N the ratios by sparsity."""
    for label, ours, others, columns in _BLOCKS:
        for N in columns:
            measured = [
                row(_SPMV if N == 1 else _SPMM, M=1024, K=1024, N=N, sparsity=float(sparsity))
                for sparsity in _SPARSITIES
            ]
            times = [
                ratio(found, ours, others) if others else dense_over(found, ours)
                for found in measured
            ]
            cells = [fixed(value, 1) for value in times]
            yield [label if columns[0] == N else "", str(N), *cells]


def _over_shapes() -> list[str]:
    spmm = best(_SPMM, "sparsecore plan", "peer")
    dlmc = best(_DLMC, "sparsecore plan", "peer")
    return [
        fixed(value, 1)
        for value in (
            spmm["geometric_mean"],
            spmm["least"],
            dlmc["geometric_mean"],
            dlmc["least"],
        )
    ]


def _plans_that_lose() -> list[str]:
    """Return how many layers, of how many rows, with how many entries a row."""
    lost = [found for found in rows(_DLMC) if found["best"]["sparsecore plan"]["peer"]["ratio"] < 1]
    slowest = max(found["contenders"]["sparsecore plan"]["median"] for found in lost)
    assert slowest < 1e-6, "a call takes longer than a microsecond"
    assert all(dense_over(found, "sparsecore plan") > 1 for found in rows(_DLMC))
    (height,) = {found["M"] for found in lost}
    least, most = to((found["nnz"] / found["M"] for found in lost), 0)
    return [{2: "two"}[len(lost)], str(height), least, most]


def products_that_lose() -> list[str]:
    """Return up to which sparsity and how far products without a plan lose to dense ones."""
    lost = [
        found
        for name in (_SPMM, _SPMV, _DLMC)
        for found in rows(name)
        if dense_over(found, "sparsecore") < 1
    ]
    one = [found for found in lost if found["N"] == 1]
    more = [found for found in lost if found["N"] != 1]
    return [
        fixed(max(found["sparsity"] for found in one), 0),
        str(min(found["N"] for found in more)),
        fixed(max(found["sparsity"] for found in more), 0),
        fixed(min(dense_over(found, "sparsecore") for found in lost), 1),
    ]


def _products_that_lose_to_packed() -> list[str]:
    """Return for how many columns, from which sparsity and how far they lose to packed ones."""
    lost = [
        found
        for name in (_SPMM, _SPMV, _DLMC)
        for found in rows(name)
        if found["best"]["sparsecore"]["peer"]["ratio"] < 1
    ]
    assert {found["best"]["sparsecore"]["peer"]["contender"] for found in lost} == {
        "xnn_spmm",
        "mkl",
    }
    sparse = [found for found in lost if found["sparsity"] >= 95]
    (other,) = (found for found in lost if found["sparsity"] < 95)
    columns = [found["N"] for found in sparse]
    return [
        str(min(columns)),
        str(max(columns)),
        fixed(min(found["sparsity"] for found in sparse), 0),
        fixed(min(found["best"]["sparsecore"]["peer"]["ratio"] for found in lost), 1),
        str(other["N"]),
        fixed(other["sparsity"], 0),
        fixed(other["best"]["sparsecore"]["peer"]["ratio"], 2),
    ]


def _construction() -> list[str]:
    """Return how much faster than scipy, from triplets with the COO and from dense matrices."""
    return [
        text
        for build, digits in (("triplets to CSR", 1), ("dense to CSR", 0))
        for text in to(
            (found["ratio"]["scipy"] for found in rows("build-epyc-1-thread", build=build)), digits
        )
    ]


def _dtypes() -> list[str]:
    kinds = ("float64", "float16", "bfloat16", "int8", "bfloat16:float32", "int8:float32")
    found = [best("dtypes-epyc-1-thread", "sparsecore plan", "peer", dtype=kind) for kind in kinds]
    return [
        text
        for entry in found
        for text in (significant(entry["geometric_mean"]), fixed(entry["least"], 1))
    ]


def dtypes_that_lose() -> list[str]:
    """Return where and by how much dense products of bf16 and int8 are faster, at most."""
    lost: dict[tuple[str, float], float] = {}
    for found in rows("dtypes-epyc-1-thread"):
        times = 1 / dense_over(found, "sparsecore plan")
        if times > 1 and found["dtype"] in ("bfloat16", "int8"):
            where = found["dtype"], found["sparsity"]
            lost[where] = max(times, lost.get(where, 0))
    assert list(lost) == [("bfloat16", 50), ("int8", 50), ("int8", 70)]
    bf16, int8, int8_at_70 = (fixed(times, 1) for times in lost.values())
    return ["50", bf16, int8, "70", int8_at_70]


def _xeon() -> list[str]:
    """Return for how many columns, and how far, MKL's prepared product was faster in the mean."""
    name = "spmm-xeon-1-thread"
    means = {
        N: geometric_mean([ratio(found, "sparsecore plan", ("mkl",)) for found in rows(name, N=N)])
        for N in (8, 32, 128, 512)
    }
    (slower,) = (N for N, mean in means.items() if mean < 1)
    return [str(slower), fixed(1 / means[slower], 1)]


CLAIMS = (
    TableClaim(
        _README, (_SPMM, _SPMV), "|against|N|50 %|70 %|80 %|90 %|95 %|98 %|", lambda: [*_products()]
    ),
    Claim(
        _README,
        (_SPMM, _DLMC),
        "Over five shapes a plan is {} times as fast as the fastest of all these in each cell, and "
        "{} times in the worst; on pruned layers of ResNet-50 and a transformer {} times, and {} "
        "in the worst",
        _over_shapes,
    ),
    Claim(
        _README,
        (_DLMC,),
        "Where it loses: {} layers of {} rows with {} to {} entries each",
        _plans_that_lose,
    ),
    Claim(
        _README,
        (_SPMM, _SPMV, _DLMC),
        "a dense product with one column up to {} %, or with {} and more columns at {} % ({} at "
        "worst)",
        products_that_lose,
    ),
    Claim(
        _README,
        (_SPMM, _SPMV, _DLMC),
        "what XNNPACK or MKL have prepared for {} to {} columns at {} % and beyond ({} at worst), "
        "once also for {} at {} % ({})",
        _products_that_lose_to_packed,
    ),
    Claim(
        _README,
        ("build-epyc-1-thread",),
        "construction, {} to {} times as fast as scipy from triplets and {} to {} times from dense "
        "matrices",
        _construction,
    ),
    Claim(
        _README,
        ("dtypes-epyc-1-thread",),
        "fp64 {} ({}), fp16 {} ({}), bf16 {} ({}), int8 {} ({}), bf16 values with fp32 X {} ({}), "
        "int8 values with fp32 X {} ({})",
        _dtypes,
    ),
    Claim(
        _README,
        ("dtypes-epyc-1-thread",),
        "are faster at {} %, {} and {} times at most, int8 ones also at {} %, {} times",
        dtypes_that_lose,
    ),
    Claim(
        _README,
        ("spmm-xeon-1-thread",),
        "MKL's prepared product was faster with {} columns ({} times in the mean)",
        _xeon,
    ),
)
