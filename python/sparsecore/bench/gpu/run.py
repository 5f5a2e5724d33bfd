"""The documents of ``gpu`` and ``gpu-24``: for each of their tables floor, rows, floor again."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch

import sparsecore as sc
from sparsecore.bench import report, table
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Comparison, WrongResult, verify
from sparsecore.bench.gpu import memory
from sparsecore.bench.gpu.building import building
from sparsecore.bench.gpu.clock import EMPTIED, interleaved_on_device, seconds_of_calls
from sparsecore.bench.gpu.machine import device_facts, measure_device_floor
from sparsecore.bench.gpu.products import products
from sparsecore.bench.gpu.products24 import compression24, products24
from sparsecore.bench.run import checkout, note_absent, results
from sparsecore.timing import Timer, machine_facts

__all__ = ["measure"]


def measure(options: Options) -> tuple[dict[str, Any], str]:
    """Return the document and its tables as Markdown.

    Raises
    ------
    RuntimeError
        Where there is no device, or no build for it, or neither products nor construction could be
        measured; says why. One of them that could not be, or whose result is off by more than
        rounding permits, is named under "failed".
    """
    if not sc.cuda.is_available():
        msg = f"{options.command}: {sc.cuda.reason()}"
        raise RuntimeError(msg)
    device = torch.device("cuda")
    clock = partial(
        interleaved_on_device, min_runs=options.min_runs, min_seconds=options.min_seconds
    )
    parts: list[dict[str, Any]] = []
    failed: list[str] = []
    tables = (products24, compression24) if options.command == "gpu-24" else (products, building)
    for make in tables:
        compared = make(options, device)
        try:
            parts.append(_part(compared, clock, failed))
        except RuntimeError as error:
            failed.append(f"{compared.name}: {error}")
    if not parts:
        raise RuntimeError("; ".join(failed))
    document = {
        "name": options.command,
        "title": "sparsecore on a CUDA device",
        "date": datetime.now(UTC).date().isoformat(),
        "device": device_facts(),
        "machine": machine_facts(checkout()),
        "protocol": {
            "min_runs": options.min_runs,
            "min_seconds": options.min_seconds,
            "emptied_bytes": EMPTIED,
            "seed": options.seed,
        },
        "parts": parts,
        "failed": failed,
    }
    return document, _markdown(document)


def _part(compared: Comparison, clock: Timer, failed: list[str]) -> dict[str, Any]:
    absent: dict[str, list[str]] = {}
    before = measure_device_floor(clock)
    rows = list(_rows(compared, clock, absent, failed))
    after = measure_device_floor(clock)
    return results(compared, rows, absent, before, after)


def _rows(
    compared: Comparison, clock: Timer, absent: dict[str, list[str]], failed: list[str]
) -> Iterator[dict[str, Any]]:
    for case in compared.cases:
        try:
            excess = verify(case)
        except WrongResult as error:
            failed.append(f"{compared.name}, {dict(case.labels)}: {error}")
            continue
        calls = {name: contender.call for name, contender in case.contenders.items()}
        row = report.row(case, compared.unit, clock(calls), excess)
        for name, contender in case.contenders.items():
            measured = row["contenders"][name]
            measured["eager_seconds"] = seconds_of_calls(contender.call)
            if contender.held is not None:
                besides = {memory.WORKSPACE: memory.workspace(contender.call)}
                measured["bytes"] = {**contender.held(), **besides}
        yield row
        note_absent(case, absent)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _markdown(document: dict[str, Any]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in document["device"].items())
    commit = document["machine"]["git_commit"]
    parts = [[f"# {document['title']}"], [f"- {facts}", f"- {document['date']}, commit {commit}"]]
    for part in document["parts"]:
        common = table.in_every_row(part)
        floor = ", ".join(f"{name} {value:.4g}" for name, value in part["floor"]["before"].items())
        moved = f"moved by {100 * part['floor']['drift']:.1f} % during the run"
        parts += [
            [f"## {part['title']}"],
            [
                f"- {part['unit']}: {part['formula']}",
                f"- floor: {floor}; {moved}",
                *table.about_every_row(common),
                *table.about_contenders(part),
            ],
            *table.results(part),
            list(memory.lines(part["rows"], common)),
        ]
    parts += [[f"- not measured: {reason}"] for reason in document["failed"]]
    return table.joined(parts)
