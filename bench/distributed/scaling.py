"""Time and traffic of the sharded product and of the selection over ranks, on 1 to 4 ranks.

The ranks are processes of one machine with one thread each. With more ranks than cores they share
cores, and messages pass through memory: the times show what the software costs, not a network. What
a network costs is projected from bytes and messages, by model.py, and marked so.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from model import projection

import sparsecore as sc
from sparsecore.bench.run import checkout
from sparsecore.distributed import (
    RowShard,
    csr_matmul,
    csr_matmul_traffic,
    row_boundaries,
    shard_from_rows,
)
from sparsecore.pruning._arrays import top_of_rows
from sparsecore.pruning.distributed_selection import global_masks, selection_traffic
from sparsecore.timing import machine_facts

RANKS = (1, 2, 3, 4)
PROJECTED_RANKS = (4, 8, 16, 64)
DENSITY = 0.1
COLUMNS = (1, 64)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the matrix (rows, inner), of the scores, and how often each call is timed."""

    rows: int
    inner: int
    scores: int
    rounds: int


FULL = Sizes(rows=16384, inner=4096, scores=1 << 24, rounds=15)
QUICK = Sizes(rows=1024, inner=256, scores=1 << 16, rounds=3)


def rows_of_matrix(start: int, stop: int, inner: int) -> np.ndarray:
    """Return rows of the matrix, which is the same whoever makes which of them."""
    rows = np.zeros((stop - start, inner), np.float32)
    for row, values in zip(range(start, stop), rows, strict=True):
        rng = np.random.default_rng(row)
        places = rng.random(inner) < DENSITY
        values[places] = rng.standard_normal(int(places.sum()))
    return rows


def seconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median time of each call, by the slowest rank, taken in turns.

    Every rank must make the same calls, so their number is fixed beforehand.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            dist.barrier()
            start = time.perf_counter()
            call()
            slowest = torch.tensor(time.perf_counter() - start, dtype=torch.float64)
            dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
            samples[name].append(float(slowest))
    return {name: statistics.median(values) for name, values in samples.items()}


def check_product(shard: RowShard, X: torch.Tensor) -> None:
    """Compare the first rows of a product, another rank's on most, with the formula in float64."""
    rows = rows_of_matrix(0, 64, X.shape[0]).astype(np.float64)
    expected = rows @ X.double().numpy()
    bound = np.abs(rows) @ np.abs(X.double().numpy())
    error = np.abs(csr_matmul(shard, X)[:64].double().numpy() - expected)
    # Of a sum of k terms in float32, k / 2^24 of the sum of magnitudes.
    if not np.all(error <= X.shape[0] * 2.0**-24 * bound + 1e-30):
        msg = f"the product is wrong by {error.max()}"
        raise AssertionError(msg)


def gathered_mask(scores: torch.Tensor, kept: int) -> torch.Tensor:
    """Select with all scores on every rank: what the selection by counts replaces."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    blocks = [torch.empty_like(scores) for _ in range(ranks)]
    dist.all_gather(blocks, scores)
    mask: torch.Tensor = top_of_rows(torch.cat(blocks)[None], kept)[0]
    return mask[rank * len(scores) : (rank + 1) * len(scores)]


def measure(rank: int, ranks: int, store: str, answer: Any, sizes: Sizes) -> None:
    """Be one rank: time everything; rank 0 puts the results in `answer`."""
    torch.set_num_threads(1)
    sc.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    start, stop = row_boundaries(np.arange(sizes.rows + 1), ranks, by="rows")[rank : rank + 2]
    part = sc.CSR.from_dense(torch.from_numpy(rows_of_matrix(start, stop, sizes.inner)))
    shard = shard_from_rows(part, start=start, shape=(sizes.rows, sizes.inner))
    generator = torch.Generator().manual_seed(0)
    X = {n: torch.randn(sizes.inner, n, generator=generator) for n in COLUMNS}
    # Equal blocks, which the contender that gathers needs.
    scores = torch.randn(sizes.scores // ranks, generator=torch.Generator().manual_seed(rank)).abs()
    kept = len(scores) * ranks // 10
    check_product(shard, X[COLUMNS[-1]])
    mask = global_masks({"": scores}, kept)[""]
    if not torch.equal(mask, gathered_mask(scores, kept)):
        msg = "the selection by counts is not that of the gathered scores"
        raise AssertionError(msg)
    calls: dict[str, Callable[[], object]] = {
        "selection": lambda: global_masks({"": scores}, kept),
        "gathered": lambda: gathered_mask(scores, kept),
    }
    for n, x in X.items():
        calls[f"product {n}"] = lambda x=x: csr_matmul(shard, x)
        calls[f"part {n}"] = lambda x=x: sc.csr_matmul(part, x)
    if ranks == 1:
        dense = part.toarray()
        calls |= {f"dense {n}": lambda x=x: dense @ x for n, x in X.items()}
    found = seconds(calls, sizes.rounds)
    traffic = selection_traffic(4)
    received = {f"product {n}": csr_matmul_traffic(shard, columns=n) for n in COLUMNS}
    received["selection"] = traffic.all_reduced + traffic.all_gathered
    received["gathered"] = 4 * len(scores) * (ranks - 1)
    if rank == 0:
        answer.put({"ranks": ranks, "seconds": found, "bytes": received})
    dist.destroy_process_group()


def run(ranks: int, sizes: Sizes) -> dict[str, Any]:
    """Start the processes and return what rank 0 found."""
    answer = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(measure, (ranks, str(Path(folder) / "store"), answer, sizes), nprocs=ranks)
        found: dict[str, Any] = answer.get()
    return found


def table(runs: list[dict[str, Any]]) -> str:
    """Return times and bytes, a line for each number of ranks."""
    names = [*(f"product {n}" for n in COLUMNS), "selection", "gathered"]
    lines = [
        "| ranks | " + " | ".join(f"{name}, ms | bytes" for name in names) + " |",
        "|---" * (1 + 2 * len(names)) + "|",
    ]
    for entry in runs:
        cells = []
        for name in names:
            own = entry["seconds"].get(name.replace("product", "part"))
            local = f" ({1e3 * own:.3g})" if name.startswith("product") else ""
            cells.append(f"{1e3 * entry['seconds'][name]:.3g}{local} | {entry['bytes'][name]}")
        lines.append(f"| {entry['ranks']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(document: Mapping[str, Any], sizes: Sizes) -> str:
    """Return the Markdown text of a run."""
    machine = document["machine"]
    dense = document["runs"][0]["seconds"]
    baseline = ", ".join(f"{1e3 * dense[f'dense {n}']:.3g} ms with {n} columns" for n in COLUMNS)
    return f"""# Products and selections over ranks

A {sizes.rows} x {sizes.inner} matrix of fp32 at {DENSITY:.0%} density times 1 and 64 columns;
{sizes.scores} fp32 scores of which a tenth is kept. Processes of one machine with
{machine["cores"]} cores, a thread each: beyond {machine["cores"]} ranks they share cores, and
nothing passes a network. In brackets: the slowest rank's own rows alone. Dense, one process:
{baseline}. Bytes are received by rank 0 (product, gathered) or put into collectives by each
rank (selection). {machine["cpu"]}; torch {machine["versions"]["torch"]}; commit
{machine["git_commit"]}.

{table(document["runs"])}

What exchanging takes, projected, not measured, from bytes and messages (model.py):

{projection(sizes.rows, COLUMNS[-1], sizes.scores, PROJECTED_RANKS)}
"""


def main() -> None:
    """Measure with each number of ranks; print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON; the table beside it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sc.set_num_threads(1)
    sizes = QUICK if options.quick else FULL
    document: dict[str, Any] = {"machine": machine_facts(checkout()), "runs": []}
    for ranks in RANKS:
        document["runs"].append(run(ranks, sizes))
    text = report(document, sizes)
    print(text)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        options.output.with_suffix(".md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
