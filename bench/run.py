"""Measure sparsecore against scipy, torch and numpy: ``python bench/run.py spmm``.

bench/README.md says how and why. Numbers are printed as a Markdown table and, with
``--output FILE.json``, written as JSON and as Markdown beside it.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comparison import Comparison
    from sparsecore.timing import Timer

__all__ = ["main"]

CHECKOUT = Path(__file__).resolve().parent.parent
# Read by the OpenMP runtimes and BLAS libraries when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# As a power of two of clock cycles: OpenBLAS's threads sleep at once after a product. By default
# they spin for 20 ms more, on the core that the next contender's second thread needs.
OPENBLAS_SPIN = "4"
# A machine whose floor moves more than this between start and end was busy with something else.
QUIET = 0.1


def main(arguments: list[str] | None = None) -> None:
    """Run one comparison."""
    options = parse(arguments)
    pinned = pin(options.threads)
    # Only now, because libraries read the number of threads and the cores when they are loaded.
    import report

    document = measure(options, pinned=pinned)
    table = report.markdown(document)
    print(table)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        options.output.with_suffix(".md").write_text(table, encoding="utf-8")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--threads", type=int, default=1, help="1 (the default) is pinned to a core"
    )
    common.add_argument("--output", type=json_path, help="JSON file; the table goes beside it")
    common.add_argument("--min-runs", type=int, default=15, help="samples of each contender")
    common.add_argument("--min-seconds", type=float, default=0.2, help="seconds a row, at least")
    common.add_argument("--seed", type=int, default=0)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, parents=[common])

    def add_product(name: str, about: str, sparsities: list[float], columns: list[int]) -> None:
        command = add(name, about)
        command.add_argument("--shape", type=int, nargs=2, default=[1024, 1024])
        command.add_argument("--columns", type=int, nargs="+", default=columns)
        command.set_defaults(sparsities=sparsities)
        if len(sparsities) > 1:
            command.add_argument("--sparsities", type=float, nargs="+", help="in percent")

    widths = [1, 8, 32, 128, 512]
    add_product("spmm", "csr_matmul in float32", [50, 70, 80, 90, 95, 98], widths)
    add_product("sparse24", "sparse24_matmul in float32", [0], widths)
    add_product("transpose", "csr_matmul with A.T", [50, 80, 90, 95], widths)
    add_product("dtypes", "csr_matmul in the other dtypes", [50, 80, 90, 95], [1, 32, 128])
    add_product("threads", "csr_matmul on all threads and on one", [50, 90, 98], [1, 8, 32, 128])
    build = add("build", "triplets and dense matrices to CSR and 2:4")
    build.add_argument("--triplets", type=int, nargs="+", default=[10**6, 10**7])
    build.add_argument("--side", type=int, default=4096, help="of dense matrices, a multiple of 8")
    build.add_argument("--sparsities", type=float, nargs="+", default=[50, 90])
    return parser.parse_args(arguments)


def json_path(text: str) -> Path:
    if not text.endswith(".json"):
        msg = f"{text!r} does not end in .json"
        raise argparse.ArgumentTypeError(msg)
    return Path(text)


def pin(threads: int) -> bool:
    """Keep the process on `threads` cores, the last ones, as interrupts favour the first."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ["OPENBLAS_THREAD_TIMEOUT"] = OPENBLAS_SPIN
    if not hasattr(os, "sched_setaffinity"):
        return False
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(cores):
        sys.exit(f"--threads is {threads}, expected 1 to the {len(cores)} cores of this process")
    os.sched_setaffinity(0, cores[-threads:])
    return True


def measure(options: argparse.Namespace, *, pinned: bool) -> dict[str, Any]:
    """Return the document: floor, rows, floor again, and what they were taken on."""
    import report
    import sparsecore as sc
    from floor import measure_floor
    from products import torch_or_none
    from sparsecore.timing import interleaved, machine_facts

    sc.set_num_threads(options.threads)
    if (torch := torch_or_none()) is not None:
        torch.set_num_threads(options.threads)
    clock = partial(interleaved, min_runs=options.min_runs, min_seconds=options.min_seconds)
    compared = comparison_of(options)
    before = measure_floor(clock)
    rows = list(measured_rows(compared, clock))
    after = measure_floor(clock)
    moved = report.drift(before, after)
    return {
        **{key: getattr(compared, key) for key in ("name", "title", "unit", "formula")},
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": {
            "threads": options.threads,
            "pinned": pinned,
            "min_runs": options.min_runs,
            "min_seconds": options.min_seconds,
            "seed": options.seed,
        },
        "machine": machine_facts(CHECKOUT),
        "libraries": libraries(),
        "floor": {"before": before, "after": after, "drift": moved, "quiet": moved <= QUIET},
        "rows": rows,
        "summary": report.summary(rows),
    }


def measured_rows(compared: "Comparison", clock: "Timer") -> Iterator[dict[str, Any]]:
    """Check, then measure, one case after another; a dot on stderr is a case done."""
    import report
    from comparison import verify

    for case in compared.cases:
        excess = verify(case)
        times = clock({name: contender.call for name, contender in case.contenders.items()})
        yield report.row(case, compared.unit, times, excess)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def comparison_of(options: argparse.Namespace) -> "Comparison":
    import building
    import products

    if options.command == "build":
        return building.build(
            building.BuildSizes(options.triplets, options.side, options.sparsities, options.seed)
        )
    sizes = products.Sizes(tuple(options.shape), options.sparsities, options.columns, options.seed)
    make: Callable[[products.Sizes], Comparison] = getattr(products, options.command)
    return make(sizes)


def libraries() -> str:
    """Name the libraries behind numpy's and torch's products."""
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    names = [f"numpy with {blas['name']} {blas['version']}"]
    if (torch := sys.modules.get("torch")) is not None:
        mkl = re.search(r"Math Kernel Library Version (\S+?)-", torch.__config__.show())
        names.append(f"torch with MKL {mkl[1]}" if mkl else "torch without MKL")
    return ", ".join(names)


if __name__ == "__main__":
    main()
