"""``sparsecore doctor``: why the weights of a file make a model no faster."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from sparsecore.cli.doctor_progress import WeightProgress
from sparsecore.cli.doctor_table import print_diagnosis
from sparsecore.cli.faults import one_line_faults
from sparsecore.cli.file_options import check_unread
from sparsecore.diagnosis import CODES, FIXABLE, Diagnosis
from sparsecore.diagnosis.examine import doctor as diagnose
from sparsecore.diagnosis.wish import MOST
from sparsecore.weight_files import open_weights

__all__ = ["doctor"]

_EXAMPLES = """\b
Examples:
  sparsecore doctor model.safetensors
  sparsecore doctor model-folder --measure --batch 1,16
  sparsecore doctor model.onnx --input-shape 1,3,224,224
  sparsecore doctor model.safetensors --html diagnosis.html
  sparsecore doctor model.pt --json --fail-on below-break-even,wrong-axis
"""


def _numbers(
    context: click.Context, option: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """Return natural numbers that are given with commas between them."""
    if text is None:
        return None
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1 or max(numbers) > MOST:
        msg = f"{text!r:.80} is not a list of natural numbers such as 1,16, of {MOST} at most"
        raise click.BadParameter(msg, context, option)
    return numbers


def _codes(context: click.Context, option: click.Parameter, text: str) -> tuple[str, ...]:
    """Return codes of verdicts that are given with commas between them; none for "none"."""
    codes = () if text == "none" else tuple(text.split(","))
    for code in codes:
        if code not in CODES:
            msg = f"{code!r} is none of {', '.join(CODES)}; or none"
            raise click.BadParameter(msg, context, option)
    return codes


@click.command(epilog=_EXAMPLES, short_help="Say why pruned weights make a model no faster.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--measure", is_flag=True, help="Measure the weights here instead of estimating.")
@click.option(
    "--batch", callback=_numbers, metavar="N,...", help="Rows to assume, 1 and 256 if not given."
)
@click.option("--input-shape", callback=_numbers, metavar="N,...", help="Of an ONNX file's input.")
@click.option("--threads", type=click.IntRange(1), help="Threads to measure with.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the diagnosis as a page, too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--fail-on",
    callback=_codes,
    metavar="VERDICT,...",
    default=",".join(FIXABLE),
    show_default=True,
    help="Verdicts that make the exit code 1; none for no verdict.",
)
def doctor(
    file: Path,
    measure: bool,
    batch: tuple[int, ...] | None,
    input_shape: tuple[int, ...] | None,
    threads: int | None,
    html: Path | None,
    as_json: bool,
    fail_on: tuple[str, ...],
) -> None:
    """Say of each weight of FILE why its zeros make nothing faster, and what to do.

    FILE is safetensors (one, an index or a folder; dense, or sparse as sparsecore or
    compressed-tensors wrote it), a state_dict of torch's, ONNX, or npz. What a file does not tell,
    such as the inputs of layers, is said to be unknown. Times are estimates by constants that are
    measured on this machine, unless --measure is given.

    The exit code is 1 where a weight's verdict is one of --fail-on, 2 where FILE cannot be read.
    """
    with one_line_faults():
        if html is not None:
            check_unread(html, open_weights(file).files)
        with WeightProgress() as bar:
            diagnosis = diagnose(
                file,
                measure=measure,
                batch=batch,
                input_shape=input_shape,
                threads=threads,
                progress=bar.tell,
            )
        if html is not None:
            diagnosis.save_html(html)
    if as_json:
        click.echo(json.dumps(diagnosis.to_dict(), indent=1))
    else:
        print_diagnosis(Console(), diagnosis)
    sys.exit(int(_fails(diagnosis, fail_on)))


def _fails(diagnosis: Diagnosis, codes: tuple[str, ...]) -> bool:
    return any(layer.verdict.code in codes for layer in diagnosis.layers)
