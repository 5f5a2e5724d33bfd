"""``sparsecore check``: what another runtime will make of a file's zeros."""

import json
import sys
from pathlib import Path

import click

from sparsecore.cli.faults import one_line_faults
from sparsecore.export.dense_engines import ENGINES, dense_engine_eligibility
from sparsecore.export.tensorrt import tensorrt_eligibility

__all__ = ["check"]

_EXAMPLES = """\b
Examples:
  sparsecore check model.onnx --target tensorrt
  sparsecore check model.onnx --target tensorrt --log build.log
  sparsecore check model.onnx --target tensorrt --fail --skip 'conv1.*' --json
  sparsecore check model.onnx --target onnxruntime
"""
_ANSWER_IS_NO = 1


@click.command(epilog=_EXAMPLES, short_help="Say what another runtime will make of zeros.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--target",
    required=True,
    type=click.Choice(["tensorrt", *ENGINES]),
    help="The runtime.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="TensorRT's log of the build: trtexec --sparsity=enable --verbose.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--fail", is_flag=True, help="Exit code 1 where a layer is not eligible.")
@click.option(
    "--skip",
    multiple=True,
    metavar="GLOB",
    help="Layers that --fail does not ask of, by their names or their weights' names, such as "
    "'conv1.*'; may be given several times.",
)
def check(
    file: Path, target: str, log: Path | None, as_json: bool, fail: bool, skip: tuple[str, ...]
) -> None:
    """Check what a runtime will make of the zeros in the ONNX file FILE, without that runtime.

    For TensorRT: which layers have 2:4 weights along the axis that it wants, and with the log of a
    build, which of them run by sparse kernels. Other runtimes compute zeros as any number.

    Exit codes: 0, or 1 with --fail where a layer is not eligible, or 2 where a file cannot be read.
    """
    if log is not None and target != "tensorrt":
        msg = f"--log is a log of TensorRT's, but --target is {target}"
        raise click.UsageError(msg)
    if skip and not fail:
        msg = "--skip names layers that --fail does not ask of: give --fail, too"
        raise click.UsageError(msg)
    with one_line_faults():
        if target == "tensorrt":
            found = tensorrt_eligibility(file, log=log)
        else:
            found = dense_engine_eligibility(file, target)
        refused = found.not_eligible(skip)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    if fail and refused:
        sys.exit(_ANSWER_IS_NO)
