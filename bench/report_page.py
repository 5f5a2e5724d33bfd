"""An example of a page, from what bench/results has of a trained ResNet-20.

``python bench/report_page.py OUT.html`` shows an allocation of allocate-epyc-1-thread.json. Times,
formats and accuracies are those measured there, and the pictures are its masks, made again from the
trained weights. docs/images has this page as a browser shows it.
"""

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import sparsecore as sc
from sparsecore.bench.models import NETWORKS, load

RESULTS = Path(__file__).resolve().parent / "results" / "allocate-epyc-1-thread.json"
BATCH, NAME, BUDGET = 64, "latency, LAMP", 0.9


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT.html")
    out = parser.parse_args().out
    model, filled = load(NETWORKS["resnet20"], seed=0)
    if filled != "trained":
        parser.exit(2, "there are no trained weights: set SPARSECORE_DATA\n")
    document = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = [row for row in document["rows"] if row["batch"] == BATCH]
    row = next(r for r in rows if r["name"] == NAME and r["budget"]["uniform"] == BUDGET)
    weights = {name: p for name, p in model.named_parameters() if name in row["kept"]}
    pruned = {
        name: w * sc.pruning.prune_mask(w.abs(), row["kept"][name]) for name, w in weights.items()
    }
    sc.html_report.write_html(
        out,
        conversion(row, weights),
        {"skipped": {}, **document["tables"][str(BATCH)]},
        [(r["name"], r["sparsity"], r["accuracy_tuned"]) for r in rows],
        weights=pruned,
        title=f"ResNet-20, {row['sparsity']:.1%} of its weights pruned to meet a latency",
    )


def conversion(row: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return what was measured of an allocation in the form of a report."""
    layers = [layer(row, name, weight) for name, weight in weights.items()]
    saved = sum(one["nbytes"]["dense"] - one["nbytes"][one["choice"]] for one in layers)
    dense = sum(weight.nbytes for weight in weights.values())
    return {
        "layers": layers,
        "seconds_before": row["seconds_dense"]["median"],
        "seconds_after": row["seconds"]["median"],
        "bytes_before": dense,
        "bytes_after": dense - saved,
    }


def layer(row: Mapping[str, Any], name: str, weight: torch.Tensor) -> dict[str, Any]:
    """Return one layer; its bytes are those of the formats, its time alone was not measured."""
    shape = weight.shape[0], math.prod(weight.shape[1:])
    choice = row["choices"][name.removesuffix(".weight")]
    kept = row["kept"][name]
    csr = sc.analysis.storage(shape, kept, "float32", "csr")
    return {
        "name": name.removesuffix(".weight"),
        "shape": list(shape),
        "sparsity": 1 - kept / weight.numel(),
        "is_24": False,
        "nbytes": {"dense": csr.dense, "csr": csr.total},
        "choice": choice,
        "why": f"{kept:,} of {weight.numel():,} weights are kept",
    }


if __name__ == "__main__":
    main()
