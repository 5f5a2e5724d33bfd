"""``sparsecore convert``: weights of one kind of file become another kind, without the model."""

from pathlib import Path

import click

from sparsecore.cli.faults import one_line_faults
from sparsecore.cli.file_options import check_apart, writes_a_file
from sparsecore.text_table import printable, shape_text, table_lines
from sparsecore.weight_files import open_weights
from sparsecore.weight_files.plan import Outcome
from sparsecore.weight_files.to_onnx import into_graph
from sparsecore.weight_files.writing import KINDS, kind_by_ending, plan_writing

__all__ = ["convert"]

_EPILOG = """\b
What OUT can be, --to:
  sparsecore          each layer's weight as CSR, or 2:4 where it is that,
                      where this takes fewer bytes; the rest stays dense
  safetensors         dense
  compressed-tensors  sparse-24-bitmask: matrices that are 2:4
  torch               a state_dict, dense
  onnx                with --into: the same graph with the weights of IN,
                      by name
  npz                 one matrix as scipy's csr; several as numpy's dense
                      arrays, deflated

\b
Examples:
  sparsecore convert pruned.safetensors sparse.safetensors
  sparsecore convert model-folder sparse.safetensors --shard-bytes 5000000000
  sparsecore convert sparse.safetensors dense.safetensors --dense
  sparsecore convert pruned.pt bitmask.safetensors --to compressed-tensors
  sparsecore convert model.onnx weights.safetensors --to safetensors
  sparsecore convert pruned.safetensors pruned.onnx --into model.onnx
"""


@click.command(epilog=_EPILOG, short_help="Make a file of pruned weights sparse, or dense.")
@writes_a_file
@click.option(
    "--to",
    "kind",
    type=click.Choice(KINDS),
    help="What OUT is. [default: by its ending; .safetensors is sparsecore's, sparse]",
)
@click.option("--dense", is_flag=True, help="A .safetensors OUT is dense, as --to safetensors.")
@click.option(
    "--into",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="GRAPH",
    help="The ONNX model that the weights are put into; OUT is the same with these.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="GLOB",
    help="Weights that stay dense, such as 'embed*'; may be given several times.",
)
def convert(
    source: Path,
    target: Path,
    kind: str | None,
    dense: bool,
    into: Path | None,
    skip: tuple[str, ...],
    dry_run: bool,
    shard_bytes: int | None,
) -> None:
    """Convert the weights in IN to OUT, without the model.

    IN is safetensors (a file, an index or a folder: dense, sparsecore's own, or by bitmask of
    compressed-tensors), a state_dict of torch (.pt, .pth, .bin), an ONNX model, or .npz.

    Prints what each weight has become. One weight is in memory at a time; where OUT is torch's all,
    of an ONNX model what its own file holds.
    """
    with one_line_faults():
        check_apart(source, target)
        kind = _checked_kind(target, kind, dense=dense, into=into, skip=skip)
        weights = open_weights(source)
        placed = weights if into is None else into_graph(weights, open_weights(into))
        plan = plan_writing(placed, target, kind, skip=skip, shard_bytes=shard_bytes)
        written = "nothing was written" if dry_run else plan.write()
    for line in _table(plan.outcomes):
        click.echo(printable(line))
    for note in plan.notes:
        click.echo(printable(f"note: {note}"))
    click.echo(f"\n{weights.path}: {weights.kind}, {weights.nbytes:,} bytes")
    click.echo(f"{target}: {kind}, {written}")


def _checked_kind(
    target: Path,
    kind: str | None,
    *,
    dense: bool,
    into: Path | None,
    skip: tuple[str, ...],
) -> str:
    """Return the kind of OUT, where the options fit together."""
    if into is not None:
        check_apart(into, target, name="GRAPH")
    if dense and kind not in (None, "safetensors"):
        msg = f"--dense is --to safetensors, which contradicts --to {kind}"
        raise click.UsageError(msg)
    if kind is None:
        kind = kind_by_ending(target, safetensors="safetensors" if dense else "sparsecore")
    if skip and kind not in ("sparsecore", "compressed-tensors"):
        msg = f"--skip is for making weights sparse, --to {kind} makes all dense"
        raise click.UsageError(msg)
    if into is not None and kind != "onnx":
        msg = f"--into is for an OUT of ONNX, not of {kind}"
        raise click.UsageError(msg)
    return kind


def _table(outcomes: list[Outcome]) -> list[str]:
    if not outcomes:
        return ["nothing to convert: there is no 2-D or 4-D tensor called 'weight'"]
    titles = ["weight", "shape", "sparsity", "format", "bytes", "why"]
    return table_lines([titles, *map(_row, outcomes)])


def _row(outcome: Outcome) -> list[str]:
    before, after = f"{outcome.before:,}", f"{outcome.after:,}"
    return [
        outcome.name,
        shape_text(outcome.shape),
        "" if outcome.sparsity is None else f"{outcome.sparsity:.1%}",
        outcome.stored,
        before if before == after else f"{before} -> {after}",
        outcome.why,
    ]
