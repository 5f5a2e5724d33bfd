"""One run: the floor, every case checked and measured, the floor again, and the files of it."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench import building, calls, products, report, table, training
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Case, Comparison, WrongResult, verify
from sparsecore.bench.floor import measure_floor
from sparsecore.bench.peers import Roster, find_peers
from sparsecore.timing import Timer, Timing, interleaved, machine_facts

__all__ = [
    "COMPARISONS",
    "QUIET",
    "checkout",
    "measure",
    "measured_rows",
    "note_absent",
    "protocol",
    "results",
    "run",
    "timer",
]

COMPARISONS: Mapping[str, Callable[[Options, Roster], Comparison]] = {
    "spmm": products.spmm,
    "spmv": products.spmm,
    "24": products.sparse24,
    "train": training.train,
    "threads": products.threads,
    "build": building.build,
    "calls": calls.calls,
}
# A machine whose floor moves more than this between start and end was busy with something else.
QUIET = 0.1


def run(options: Options, *, pinned: bool) -> None:
    """Measure; print the table, and write what the options ask for."""
    sc.set_num_threads(options.threads)
    if options.command == "e2e":
        document, text = _end_to_end(options, pinned=pinned)
    elif options.command == "training":
        document, text = _training(options, pinned=pinned)
    elif options.command == "never-slower":
        document, text = _never_slower(options, pinned=pinned)
    elif options.command in ("gpu", "gpu-24"):
        document, text = _gpu(options)
    elif options.command == "file":
        document, text = _of_file(options, pinned=pinned)
    else:
        document = measure(options, pinned=pinned)
        text = table.markdown(document)
    print(text)
    if options.output is not None:
        _write(options, options.output, document, text)
    if failed := document.get("failed"):
        raise WrongResult("; ".join(failed))


def _write(options: Options, output: Path, document: Mapping[str, Any], text: str) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    output.with_suffix(".md").write_text(text, encoding="utf-8")
    if options.plot:
        from sparsecore.bench.plot import draw_file

        draw_file(output)


def _end_to_end(options: Options, *, pinned: bool) -> tuple[dict[str, Any], str]:
    # Only now: the other commands do without torch.
    from sparsecore.bench.e2e import run as end_to_end
    from sparsecore.bench.e2e import table as end_to_end_table

    document = end_to_end.measure(options, pinned=pinned)
    return document, end_to_end_table.markdown(document)


def _training(options: Options, *, pinned: bool) -> tuple[dict[str, Any], str]:
    from sparsecore.bench.sparse_training import run as sparse_training

    document = sparse_training.measure(options, pinned=pinned)
    return document, sparse_training.markdown(document)


def _never_slower(options: Options, *, pinned: bool) -> tuple[dict[str, Any], str]:
    from sparsecore.bench.never_slower import run as never_slower
    from sparsecore.bench.never_slower import table as never_slower_table

    document = never_slower.measure(options, pinned=pinned)
    return document, never_slower_table.markdown(document)


def _of_file(options: Options, *, pinned: bool) -> tuple[dict[str, Any], str]:
    from sparsecore.bench.file_weights import run as of_file

    document = of_file.measure(options, pinned=pinned)
    return document, of_file.markdown(document)


def _gpu(options: Options) -> tuple[dict[str, Any], str]:
    from sparsecore.bench.gpu import run as gpu

    return gpu.measure(options)


def timer(options: Options) -> "partial[dict[str, Timing]]":
    """Return the clock with the options filled in."""
    return partial(
        interleaved,
        min_runs=options.min_runs,
        min_seconds=options.min_seconds,
        max_seconds=options.max_seconds,
    )


def measure(options: Options, *, pinned: bool) -> dict[str, Any]:
    """Return the document: floor, rows, floor again, and what they were taken on."""
    clock = timer(options)
    roster = find_peers(options)
    compared = COMPARISONS[options.command](options, roster)
    absent = {name: [reason] for name, reason in roster.absent.items()}
    before = measure_floor(clock)
    rows = list(measured_rows(compared, clock, absent))
    after = measure_floor(clock)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": protocol(options, pinned=pinned),
        "machine": machine_facts(checkout()),
        "libraries": _libraries(roster),
        **results(compared, rows, absent, before, after),
    }


def results(
    compared: Comparison,
    rows: Sequence[Mapping[str, Any]],
    absent: Mapping[str, Sequence[str]],
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> dict[str, Any]:
    """Return what a comparison found: its rows, what they amount to, and the floor around them."""
    moved = report.drift(before, after)
    return {
        **{key: getattr(compared, key) for key in ("name", "title", "unit", "formula", "baseline")},
        "absent": absent,
        "floor": {"before": before, "after": after, "drift": moved, "quiet": moved <= QUIET},
        "rows": rows,
        "summary": report.summary(rows),
        "best": report.against_best(rows),
        "break_even": report.break_even(rows),
    }


def note_absent(case: Case, absent: dict[str, list[str]]) -> None:
    """Add why peers are absent from a case, each reason once."""
    for name, reason in case.absent.items():
        if reason not in absent.setdefault(name, []):
            absent[name].append(reason)


def measured_rows(
    compared: Comparison, clock: Timer, absent: dict[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """Check, then measure, one case after another; a dot on stderr is a case done."""
    for case in compared.cases:
        excess = verify(case)
        times = clock({name: contender.call for name, contender in case.contenders.items()})
        yield report.row(case, compared.unit, times, excess)
        note_absent(case, absent)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def protocol(options: Options, *, pinned: bool) -> dict[str, Any]:
    """Return how a run measures."""
    return {
        "threads": options.threads,
        "pinned": pinned,
        "every_library_held_to": options.target,
        "orientation": options.order,
        "min_runs": options.min_runs,
        "min_seconds": options.min_seconds,
        "max_seconds": options.max_seconds,
        "seed": options.seed,
    }


def checkout() -> Path | None:
    """Return the working tree that this is started in, if it is sparsecore's own."""
    here = Path.cwd()
    return here if (here / "python" / "sparsecore" / "bench").is_dir() else None


def _libraries(roster: Roster) -> str:
    """Name the libraries behind numpy's and torch's products, and the other ones."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    peers = [peer.about for peer in roster.present.values() if peer.about]
    return ", ".join([f"numpy with {blas['name']} {blas['version']}", *peers])
