"""``sparsecore bench``: the suites of ``python -m sparsecore.bench``, and the weights of a file."""

import subprocess
import sys
from pathlib import Path

import click

__all__ = ["bench"]

_EXAMPLES = """\b
Examples:
  sparsecore bench --from pruned.safetensors --batch 1,16
  sparsecore bench --from model.onnx --layers 'layer4' --json layers.json
  sparsecore bench spmm --quick          a suite; its options follow it
  sparsecore bench                       the suites there are
"""


def _counts(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    counts = text.split(",")
    if not all(count.isascii() and count.isdigit() and int(count) for count in counts):
        msg = f"{text!r} is no list of numbers of at least 1, such as 1,16"
        raise click.BadParameter(msg)
    return counts


@click.command(
    epilog=_EXAMPLES,
    short_help="Measure products here, or the weights of a file.",
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="Measure the weights of this file: safetensors, torch's, ONNX or npz.",
)
@click.option(
    "--batch",
    default="1,16",
    show_default=True,
    callback=_counts,
    help="With --from: rows of X, one or several with commas.",
)
@click.option("--layers", metavar="REGEX", default="", help="With --from: names that have this.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="With --from."
)
@click.option("--quick", is_flag=True, help="With --from: few samples, to try it out.")
@click.option(
    "--json", "output", type=click.Path(dir_okay=False), help="With --from: all of it, NAME.json."
)
@click.argument("suite", nargs=-1, type=click.UNPROCESSED)
def bench(
    source: Path | None,
    batch: list[str],
    layers: str,
    threads: int,
    quick: bool,
    output: str | None,
    suite: tuple[str, ...],
) -> None:
    """Measure sparse against dense products on this machine.

    With --from each weight of a file that has two or four axes: the fastest dense product (numpy,
    or torch where it is installed) against its CSR plan, and against 2:4 where it is that. A
    convolution is measured as the product of its weight as a matrix, since a file of weights does
    not say how large its images are. Contenders are measured in turns; results are checked first.

    With a SUITE the comparison of that name of ``python -m sparsecore.bench``, with its options.
    """
    if source is not None and suite:
        msg = f"--from measures a file, {suite[0]!r} is a suite: give one of them"
        raise click.UsageError(msg)
    words = list(suite) or ["--help"]
    if source is not None:
        words = ["file", "--batches", *batch, "--threads", str(threads)]
        words += [f"--layers={layers}", *(["--quick"] if quick else [])]
        words += [] if output is None else [f"--output={output}"]
        words += ["--", str(source)]
    # A process of its own: what is measured has to be pinned before numpy is loaded.
    done = subprocess.run([sys.executable, "-m", "sparsecore.bench", *words], check=False)
    sys.exit(done.returncode)
