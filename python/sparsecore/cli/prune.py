"""``sparsecore prune``: the smallest weights of a file become zeros, without the model."""

from pathlib import Path

import click

from sparsecore.cli.faults import one_line_faults
from sparsecore.cli.file_options import check_apart, writes_a_file
from sparsecore.pruning.patterns import NM
from sparsecore.text_table import printable, shape_text, table_lines
from sparsecore.weight_files import open_weights
from sparsecore.weight_files.prune_request import (
    ALLOCATIONS,
    SCORES,
    Request,
    parsed_pattern,
    selected,
)
from sparsecore.weight_files.pruned import Pruned, Pruning
from sparsecore.weight_files.writing import kind_by_ending, plan_writing

__all__ = ["prune"]

_EXAMPLES = """\b
Examples:
  sparsecore prune model.safetensors pruned.safetensors --sparsity 0.9 --skip embed
  sparsecore prune model.pt pruned.pt --pattern 2:4 --where 'layers.*weight'
  sparsecore prune model.onnx pruned.onnx --sparsity 0.8 --allocation global --dry-run
"""


@click.command(epilog=_EXAMPLES, short_help="Set the smallest weights of a file to zero.")
@writes_a_file
@click.option(
    "--sparsity",
    type=click.FloatRange(0, 1, max_open=True),
    help="Fraction of the selected weights that become zero; N:M has its own.",
)
@click.option(
    "--pattern",
    default="unstructured",
    show_default=True,
    help="unstructured, N:M (such as 2:4), block:RxC, filter or channel.",
)
@click.option(
    "--allocation",
    type=click.Choice(ALLOCATIONS),
    default="uniform",
    show_default=True,
    help="How much each weight loses: all alike, one threshold over all, Erdős-Rényi (er), or "
    "that with kernels (erk).",
)
@click.option(
    "--score",
    type=click.Choice(SCORES),
    default="magnitude",
    show_default=True,
    help="What is kept first.",
)
@click.option("--where", metavar="REGEX", help="Only weights whose name has this in it.")
@click.option("--skip", metavar="REGEX", help="No weights whose name has this in it.")
@click.option(
    "--conv-axis",
    type=click.Choice(["channels", "columns"]),
    default="channels",
    show_default=True,
    help="Along what N:M lies in a convolution whose file does not say it: the input channels, "
    "which is what runs, or the columns of its matrix, channels x kernel.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of random.")
def prune(
    source: Path,
    target: Path,
    sparsity: float | None,
    pattern: str,
    allocation: str,
    score: str,
    where: str | None,
    skip: str | None,
    conv_axis: str,
    seed: int,
    dry_run: bool,
    shard_bytes: int | None,
) -> None:
    """Prune the weights in IN and write them, dense with zeros, to OUT.

    IN is a state_dict in safetensors (a file, an index or a folder) or of torch (.pt, .pth, .bin),
    an ONNX model, or .npz. OUT is of the kind that its ending says; an ONNX model comes from ONNX
    only. Nothing is trained: what accuracy is left is for you to measure.

    Weights are tensors of two or four axes and a floating dtype. Of an ONNX model those that the
    graph multiplies by. In a state_dict an embedding looks like a linear layer: leave it out by
    --skip. N:M lies along the axis that is summed over: as the graph says, else along the last
    axis of a matrix; a weight narrower than a group stays.

    One weight is in memory at a time; of torch's files all that are pruned, of an ONNX model what
    its own file holds. One threshold over all weights (--allocation global) takes 65536 counts
    more, and reads the weights four times, or six with scores in float64.
    """
    with one_line_faults():
        check_apart(source, target)
        request = _request(sparsity, pattern, allocation, score, seed, conv_axis)
        weights = open_weights(source)
        names, reasons = selected(weights, request, where=where, skip=skip)
        pruning = Pruning(weights, names, request)
        result = pruning.result()
        kind = kind_by_ending(target, safetensors="safetensors")
        plan = plan_writing(result, target, kind, shard_bytes=shard_bytes)
        if dry_run:
            for name in names:
                pruning.prune(name)
        written = "nothing was written" if dry_run else plan.write()
    for line in _table([pruning.pruned[name] for name in names], reasons):
        click.echo(printable(line))
    for note in plan.notes:
        click.echo(printable(f"note: {note}"))
    click.echo(f"{target}: {written}")


def _request(
    sparsity: float | None, pattern: str, allocation: str, score: str, seed: int, conv_axis: str
) -> Request:
    parsed = parsed_pattern(pattern)
    wanted = parsed.sparsity if sparsity is None else sparsity
    if wanted is None:
        msg = f"--sparsity is missing, which the pattern {pattern} needs"
        raise click.UsageError(msg)
    is_by_columns = conv_axis == "columns"
    if is_by_columns and not isinstance(parsed, NM):
        msg = "--conv-axis is for N:M"
        raise click.UsageError(msg)
    return Request(wanted, parsed, allocation, score, seed, is_by_columns)


def _table(pruned: list[Pruned], reasons: dict[str, str]) -> list[str]:
    titles = ["weight", "shape", "before", "after", "kept"]
    rows = [_row(one.name, shape_text(one.shape), one) for one in pruned]
    total = Pruned(
        "",
        (sum(one.size for one in pruned),),
        sum(one.before for one in pruned),
        sum(one.after for one in pruned),
        sum(one.kept for one in pruned),
    )
    rows.append(_row(f"{len(pruned)} weights", "", total))
    stay = [f"stays as it is: {name}, {why}" for name, why in reasons.items()]
    return [*table_lines([titles, *rows]), *stay]


def _row(name: str, shape: str, one: Pruned) -> list[str]:
    sparsities = [f"{1 - count / one.size:.2%}" for count in (one.before, one.after)]
    return [name, shape, *sparsities, f"{one.kept:,} of {one.size:,}"]
