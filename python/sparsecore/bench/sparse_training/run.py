"""The document of a ``training`` run: one row for a network, batch and sparsity."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import torch

from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import WrongResult
from sparsecore.bench.run import checkout
from sparsecore.bench.sparse_training.arguments import WAYS
from sparsecore.bench.sparse_training.worker import EVERY
from sparsecore.timing import machine_facts

__all__ = ["TOLERANCE", "markdown", "measure"]

FORMULA = "bytes of csr over those of masked dense; below 1 csr needs less"
# Relative, of the losses before the first mask update: fp32 sums of 2048 products in another
# order, (2048 + 2) eps = 2.4e-4, which few steps carry on. Later, a near tie among gradients may
# be decided otherwise.
TOLERANCE = 1e-3


def measure(options: Options, *, pinned: bool) -> dict[str, Any]:
    """Return the document.

    Raises
    ------
    WrongResult
        If the two ways do not have the same losses up to the first mask update.
    """
    torch.set_num_threads(options.threads)
    rows = []
    for network in options.models:
        for batch in options.batches:
            for sparsity in options.sparsities:
                rows.append(_row(options, network, batch, sparsity))
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        "name": "training",
        "title": "training at a fixed sparsity with RigL and Adam, masked dense and CSR",
        "formula": FORMULA,
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": {
            "threads": options.threads,
            "pinned": pinned,
            "seed": options.seed,
            "steps": options.steps,
            "mask_update_every": EVERY,
            "tolerance": TOLERANCE,
        },
        "machine": machine_facts(checkout()),
        "rows": rows,
    }


def _row(options: Options, network: str, batch: int, sparsity: float) -> dict[str, Any]:
    task = {
        "network": network,
        "batch": batch,
        "sparsity": sparsity,
        "steps": options.steps,
        "seed": options.seed,
        "threads": options.threads,
    }
    ways = {way: _in_own_process({**task, "way": way}) for way in WAYS}
    dense, sparse = (ways[way] for way in WAYS)
    before = slice(0, EVERY)
    pairs = zip(sparse["losses"][before], dense["losses"][before], strict=True)
    worst = max(abs(a - b) / b for a, b in pairs)
    if not worst <= TOLERANCE:
        msg = f"training of {network}, batch {batch}: losses are off by {worst:.2g}"
        raise WrongResult(msg)
    kinds = ("total", "peak_bytes", "kept_bytes")
    return {
        "model": network,
        "batch": batch,
        "sparsity": sparsity,
        "ways": ways,
        "ratio": {kind: sparse[kind] / dense[kind] for kind in kinds},
        "speedup": dense["step_seconds"] / sparse["step_seconds"],
        "losses_differ_by": worst,
    }


def _in_own_process(task: dict[str, Any]) -> dict[str, Any]:
    module = "sparsecore.bench.sparse_training.worker"
    command = [sys.executable, "-m", module, json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        msg = f"training of {task['network']} ({task['way']}) ended with {done.returncode}"
        raise RuntimeError(msg)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def markdown(document: dict[str, Any]) -> str:
    """Return a document as Markdown."""
    machine, protocol = document["machine"], document["protocol"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    edited = " with uncommitted changes" if machine["git_dirty"] else ""
    lines = [
        f"# {document['title']}",
        "",
        f"- {machine['cpu']}, {machine['target']}, {protocol['threads']} thread(s)",
        f"- {versions}; commit {machine['git_commit']}{edited}",
        "- MB: tensors that last from step to step (weights, gradients, moments, masks or "
        "structure, kernels' copies); what the process grew by at most, activations and mask "
        "updates included; and what was left after the last backward pass, freed memory given back",
        f"- x: {document['formula']}",
        f"- ms: median step, median mask update, which every {protocol['mask_update_every']}th "
        "step of the first three quarters is",
        "",
        "| network | batch | sparsity | | tensors | peak | left | step | update |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        about = f"| {row['model']} | {row['batch']} | {row['sparsity']:g} % |"
        for way, found in row["ways"].items():
            sizes = [f"{found[k] / 1e6:.1f}" for k in ("total", "peak_bytes", "kept_bytes")]
            times = [f"{1e3 * found[k]:.1f}" for k in ("step_seconds", "update_seconds")]
            lines.append(f"{about} {way} | {' | '.join([*sizes, *times])} |")
        shares = [f"{row['ratio'][k]:.2f}" for k in ("total", "peak_bytes", "kept_bytes")]
        lines.append(f"{about} x | {' | '.join(shares)} | {1 / row['speedup']:.2f} | |")
    return "\n".join(lines) + "\n"
