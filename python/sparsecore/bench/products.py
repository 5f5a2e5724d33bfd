"""The product comparisons: spmm and spmv, 24, threads."""

from collections.abc import Iterable, Iterator

import sparsecore as sc
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import (
    Absent,
    Case,
    Comparison,
    Contender,
    Offers,
    product_excess,
)
from sparsecore.bench.operands import Product, kind_of, matrices, matrices_24, product
from sparsecore.bench.peers import Roster, numpy_dense, sparsecore_csr

__all__ = ["FORMULA", "case", "peers_offers", "sparse24", "spmm", "threads"]

FORMULA = "useful operations, 2 * nnz * N / t, for every contender; a dense one does 2 * M * K * N"


def spmm(options: Options, roster: Roster) -> Comparison:
    """Compare ``A @ X``: also spmv, which differs in its defaults."""

    def cases() -> Iterator[Case]:
        for item in _products(options):
            yield case(item, {**sparsecore_csr.products(item), **peers_offers(item, roster)})

    return _comparison(options, "csr_matmul" if options.order == "c" else "linear", cases())


def sparse24(options: Options, roster: Roster) -> Comparison:
    """Compare ``S @ X``, also with our own CSR of the same 2:4 matrix."""

    def cases() -> Iterator[Case]:
        for item in _products(options, is_24=True):
            A = item.matrix.csr
            S, plan = sc.Sparse24.from_dense(item.matrix.dense), A.prepare(n=item.n)
            sums = item.kind.sums
            ours: Offers = {
                "sparsecore": Contender(sparsecore_csr.call(item, S), sums, "ours"),
                "sparsecore csr": Contender(sparsecore_csr.call(item, A), sums, "ours"),
                "sparsecore csr plan": Contender(
                    sparsecore_csr.call(item, plan), sums, "ours", "beforehand"
                ),
            }
            yield case(item, {**ours, **peers_offers(item, roster)})

    return _comparison(options, "sparse24_matmul", cases())


def threads(options: Options, roster: Roster) -> Comparison:
    """Compare ``A @ X`` on all threads and on fewer; the others run on all where they can."""
    counts = [count for count in (1, 2, 4, 8, 16) if count < options.threads]

    def ours(item: Product) -> Offers:
        A = item.matrix.csr
        plan = A.prepare(n=item.n)
        offers: Offers = {"sparsecore": Contender(sparsecore_csr.call(item, A), role="ours")}
        offers["sparsecore plan"] = Contender(
            sparsecore_csr.call(item, plan), role="ours", packing="beforehand"
        )
        for count in counts:
            named = f"{count} thread{'s' * (count > 1)}"
            offers[f"sparsecore, {named}"] = Contender(
                sparsecore_csr.call(item, A, threads=count), role="ours"
            )
            offers[f"sparsecore plan, {named}"] = Contender(
                sparsecore_csr.call(item, plan, threads=count), role="ours", packing="beforehand"
            )
        return offers

    cases = (
        case(item, {**ours(item), **peers_offers(item, roster)}) for item in _products(options)
    )
    return _comparison(options, "csr_matmul by threads", cases)


def case(product: Product, offers: Offers) -> Case:
    """Return a product's row of the table."""
    contenders = {name: found for name, found in offers.items() if isinstance(found, Contender)}
    order = ("ours", "peer", "baseline")
    contenders = dict(sorted(contenders.items(), key=lambda item: order.index(item[1].role)))
    absent = {name: str(found) for name, found in offers.items() if isinstance(found, Absent)}
    excess = product_excess(product.left, product.right, turned=product.order == "f")
    labels = {**product.matrix.labels, "N": product.n}
    work = 2.0 * len(product.matrix.data) * product.n
    return Case(labels, work, contenders, excess, absent)


def peers_offers(product: Product, roster: Roster) -> Offers:
    """Return what the others have for a product; numpy's dense one is always there."""
    offers: Offers = {}
    for peer in roster.present.values():
        offers |= peer.products(product)
    return offers | numpy_dense.products(product)


def _products(options: Options, *, is_24: bool = False) -> Iterator[Product]:
    source = matrices_24 if is_24 else matrices
    for dtype in options.dtypes:
        kind = kind_of(dtype)
        for A in source(options, kind.values):
            shown = A.labelled(dtype=dtype) if len(options.dtypes) > 1 else A
            for n in options.columns:
                yield product(shown, n, options, kind)


def _comparison(options: Options, title: str, cases: Iterable[Case]) -> Comparison:
    where = ", DLMC patterns" if options.dlmc is not None else ""
    title = f"{title}, {', '.join(options.dtypes)}{where}"
    return Comparison(options.command, title, "GFLOP/s", FORMULA, cases)
