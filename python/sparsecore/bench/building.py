"""The build comparison: what it takes to make CSR, 2:4, transposes and plans."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sparsecore.bench.arguments import Options
from sparsecore.bench.building_csr import plan_case, transpose_case
from sparsecore.bench.building_dense import compress_case, dense_case
from sparsecore.bench.building_triplets import triplets_case
from sparsecore.bench.comparison import Case, Comparison
from sparsecore.bench.peers import Roster

__all__ = ["build"]

FORMULA = "bytes of the input and of sparsecore's result, each counted once, / t"


def build(options: Options, roster: Roster) -> Comparison:
    """Make them in float32. The baseline is a copy of the input."""

    def cases() -> Iterator[Case]:
        for count in options.triplets:
            yield triplets_case(count, np.random.default_rng([options.seed, count]), roster)
        rng = np.random.default_rng(options.seed)
        for shape in options.shapes:
            for sparsity in options.sparsities:
                W = rng.standard_normal(shape, np.float32)
                W[rng.random(W.shape, np.float32) < sparsity / 100] = 0
                yield dense_case(W, sparsity, roster)
                yield transpose_case(W, sparsity, roster)
                yield plan_case(W, sparsity)
            yield compress_case(rng.standard_normal(shape, np.float32), roster)

    others = [name for name in roster.present if name not in ("scipy", "torch")]
    absent = dict.fromkeys(others, "not compared in construction")
    named = (replace(case, absent=absent) for case in cases())
    return Comparison("build", "building matrices, float32", "GB/s", FORMULA, named, "copy")
