"""``sparsecore convert``: a checkpoint of pruned weights becomes a sparse one, and back."""

from pathlib import Path

import click

from sparsecore.checkpoint import Checkpoint, load_checkpoint
from sparsecore.checkpoint_convert import Converted, densified, read_dense, sparsify_all
from sparsecore.checkpoint_save import save_checkpoint
from sparsecore.files.tensor_writing import write_tensors
from sparsecore.formats import CSR, Sparse24
from sparsecore.text_table import table_lines

__all__ = ["convert"]

_EXAMPLES = """\b
Examples:
  sparsecore convert pruned.safetensors sparse.safetensors
  sparsecore convert model-folder sparse.safetensors --shard-bytes 5000000000
  sparsecore convert sparse.safetensors dense.safetensors --dense
"""
_FORMATS = {CSR: "csr", Sparse24: "2:4"}


@click.command(epilog=_EXAMPLES, short_help="Make a checkpoint of pruned weights sparse, or dense.")
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--dense", is_flag=True, help="The other way: write a sparse checkpoint dense.")
@click.option(
    "--skip",
    multiple=True,
    metavar="GLOB",
    help="Weights that stay dense, such as 'embed*'; may be given several times.",
)
@click.option(
    "--shard-bytes",
    type=click.IntRange(1),
    help="Write several files of at most so many bytes of tensors, and an index.",
)
def convert(
    source: Path, target: Path, dense: bool, skip: tuple[str, ...], shard_bytes: int | None
) -> None:
    """Convert the safetensors checkpoint IN to the sparse one OUT, without the model.

    IN is a file, an index of several, or a folder with one of these: a state_dict whose pruned
    weights have zeros, or sparse-24-bitmask or sparse-bitmask of compressed-tensors. Every 2-D
    weight, and every 4-D one of a convolution, is stored as CSR, or as 2:4 where it is that,
    where this takes fewer bytes; the rest stays as it is. Prints what each weight has become.
    """
    if target.exists() and target.samefile(source):
        msg = f"IN and OUT are the same file, {source}"
        raise click.UsageError(msg)
    if dense and skip:
        msg = "--skip is for making weights sparse, --dense makes all dense"
        raise click.UsageError(msg)
    try:
        if dense:
            _to_dense(source, target, shard_bytes)
        else:
            _to_sparse(source, target, skip, shard_bytes)
    except (ValueError, TypeError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _to_sparse(source: Path, target: Path, skip: tuple[str, ...], shard_bytes: int | None) -> None:
    found: list[Converted] = []
    weights, shapes = sparsify_all(read_dense(source), skip, found.append)
    size = save_checkpoint(target, weights, weight_shapes=shapes, shard_bytes=shard_bytes)
    for line in _table(found):
        click.echo(line)
    click.echo(f"\n{target}: {size}")


def _to_dense(source: Path, target: Path, shard_bytes: int | None) -> None:
    checkpoint: Checkpoint = load_checkpoint(source)
    arrays = densified(checkpoint)
    files = write_tensors(
        target, arrays, metadata=lambda *_: {"format": "pt"}, shard_bytes=shard_bytes
    )
    if checkpoint.header.fused.modules:
        click.echo(
            "note: the model was fused for running: these are its weights with BatchNorms folded "
            "into them, which the original class does not take"
        )
    nbytes = sum(file.stat().st_size for file in files)
    click.echo(f"{target}: {checkpoint.size.total:,} -> {nbytes:,} bytes, all weights dense")


def _table(found: list[Converted]) -> list[str]:
    if not found:
        return ["nothing to convert: the checkpoint has no 2-D or 4-D tensor called 'weight'"]
    head = ["weight", "shape", "sparsity", "format", "bytes", "why"]
    return table_lines([head, *map(_row, found)])


def _row(found: Converted) -> list[str]:
    is_dense = found.after == found.before
    return [
        found.name,
        " x ".join(map(str, found.shape)),
        f"{found.sparsity:.1%}",
        _FORMATS.get(type(found.weight), "dense"),
        f"{found.before:,}" if is_dense else f"{found.before:,} -> {found.after:,}",
        found.why,
    ]
