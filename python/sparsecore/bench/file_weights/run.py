"""A file's own weights, each dense against its CSR plan, and against 2:4 where it is that.

``X @ W.T`` as a linear layer computes it, X of so many rows. A convolution is measured as the
product of its weight as a matrix, out_channels x (in_channels kernel), with so many rows of
patches: how large its images are a file of weights does not say.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench import report, table
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Case, Comparison, Contender, Offers
from sparsecore.bench.floor import measure_floor
from sparsecore.bench.operands import Matrix, Product, kind_of, matrix, product
from sparsecore.bench.peers import find_peers, sparsecore_csr
from sparsecore.bench.products import FORMULA, case, peers_offers
from sparsecore.bench.run import QUIET, checkout, measured_rows, protocol, timer
from sparsecore.files.bitmask import is_24
from sparsecore.interop import Array
from sparsecore.text_table import printable
from sparsecore.timing import machine_facts
from sparsecore.weight_files import Entry, WeightFiles, open_weights

__all__ = ["markdown", "measure", "weight_matrix"]

_DTYPES = ("float64", "float32", "float16", "bfloat16")
_CSR, _TWO_OF_FOUR = "csr plan", "2:4"
_CONVOLUTIONS = (
    "a weight of four axes is measured as one matrix product, of so many rows of patches: what it "
    "takes to copy them, and how many an image has, is not in it"
)


def measure(options: Options, *, pinned: bool) -> dict[str, Any]:
    """Return the document.

    Raises
    ------
    ValueError
        The file is not whole, `layers` is no regular expression, or no weight is selected.
    """
    weights = open_weights(options.weights)
    entries = _selected(weights, options.layers)
    compared = Comparison(
        "file", weights.path.name, "GFLOP/s", FORMULA, _cases(weights, entries, options)
    )
    clock = timer(options)
    before = measure_floor(clock)
    rows = list(measured_rows(compared, clock, {}))
    after = measure_floor(clock)
    moved = report.drift(before, after)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "name": compared.name,
        "title": f"the weights of {compared.title}, {weights.kind}",
        "unit": compared.unit,
        "formula": compared.formula,
        "note": _CONVOLUTIONS if any(len(e.shape) == 4 for e in entries) else "",
        "protocol": protocol(options, pinned=pinned),
        "machine": machine_facts(checkout()),
        "floor": {"before": before, "after": after, "drift": moved, "quiet": moved <= QUIET},
        "rows": rows,
    }


def _selected(weights: WeightFiles, layers: str) -> list[Entry]:
    try:
        wanted = re.compile(layers)
    except re.error as fault:
        msg = f"layers is {layers!r:.80}, no regular expression: {fault}"
        raise ValueError(msg) from fault
    found = [
        entry
        for name, entry in weights.items()
        if len(entry.shape) in (2, 4) and entry.dtype in _DTYPES and entry.size
        if wanted.search(name) and entry.tied_to is None
    ]
    if not found:
        msg = f"{weights.path}: no weight of two or four axes and a floating dtype is selected"
        raise ValueError(msg)
    return found


def weight_matrix(weight: Array, entry: Entry) -> Array:
    """Return a weight as the matrix (outputs, inputs) that its layer multiplies by.

    What the inputs are the file says; where it does not, they are the last axis, or the last three.
    """
    if entry.use is not None and entry.use.reduction_axis == 0:
        return np.ascontiguousarray(weight.reshape(weight.shape[0], -1).T)
    return weight.reshape(weight.shape[0], -1)


def _cases(weights: WeightFiles, entries: list[Entry], options: Options) -> Iterator[Case]:
    roster = find_peers(Options("file", peers=("torch",)))
    turned = Options("file", order="f", seed=options.seed)
    for entry in entries:
        W = weight_matrix(weights.dense(entry.name), entry)
        sparsity = 100 * (1 - np.count_nonzero(W) / W.size)
        A = matrix(W, {"layer": entry.name, "sparsity": float(sparsity)})
        for n in options.batches:
            item = product(A, n, turned, kind_of(entry.dtype))
            offers: Offers = {
                name: offer
                for name, offer in peers_offers(item, roster).items()
                if isinstance(offer, Contender) and offer.role == "baseline"
            }
            yield case(item, {**_ours(item, A), **offers})


def _ours(item: Product, A: Matrix) -> Offers:
    sums = item.kind.sums
    plan = A.csr.prepare(n=item.n)
    ours: Offers = {_CSR: Contender(sparsecore_csr.call(item, plan), sums, "ours", "beforehand")}
    if is_24(A.dense) and np.count_nonzero(A.dense) < A.dense.size:
        S = sc.Sparse24.from_dense(A.dense)
        ours[_TWO_OF_FOUR] = Contender(sparsecore_csr.call(item, S), sums, "ours", "beforehand")
    return ours


# ---- the table ----


def markdown(document: Mapping[str, Any]) -> str:
    """Return a document as Markdown: a line for each weight and number of rows."""
    machine, floor = document["machine"], document["floor"]
    facts = [
        f"- {machine['cpu']}, {machine['target']}, {document['protocol']['threads']} thread(s)",
        f"- X @ W.T, X of `rows` rows; {_CSR} and {_TWO_OF_FOUR} packed beforehand",
        "- x: the fastest dense product's median over it; above 1 it is faster than dense",
    ]
    if document["note"]:
        facts.append(f"- {document['note']}")
    if not floor["quiet"]:
        facts.append("- **The machine was not quiet: differences as large as that are noise.**")
    head = ["layer", "matrix", "sparsity", "rows", "dense", _CSR, "x", _TWO_OF_FOUR, "x"]
    lines = [table.line(head), table.line(["---"] * len(head))]
    lines += [table.line(_cells(row)) for row in document["rows"]]
    return table.joined([[f"# {document['title']}"], facts, lines])


def _cells(row: Mapping[str, Any]) -> list[str]:
    found, dense = row["contenders"], row["dense_baseline"]
    median = found[dense]["median"]
    cells = [
        printable(row["layer"]),
        f"{row['M']} x {row['K']}",
        f"{row['sparsity']:.1f} %",
        str(row["N"]),
        f"{table.seconds(median)}, {dense}",
    ]
    for name in (_CSR, _TWO_OF_FOUR):
        own = found[name]["median"] if name in found else None
        cells += ["", ""] if own is None else [table.seconds(own), f"{median / own:.2f}"]
    return cells
