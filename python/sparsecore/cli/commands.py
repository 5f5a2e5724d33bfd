"""The command ``sparsecore`` and its subcommands."""

import click

import sparsecore
from sparsecore.cli.bench import bench
from sparsecore.cli.check import check
from sparsecore.cli.convert import convert
from sparsecore.cli.demo import demo
from sparsecore.cli.doctor import doctor
from sparsecore.cli.prune import prune
from sparsecore.cli.report import report

__all__ = ["commands"]

_EXAMPLES = """\b
Examples:
  sparsecore demo                    prune a network, convert it, measure it
  sparsecore demo --seed 1           the same with other random numbers
  sparsecore demo --data mnist --data-dir DIR
  sparsecore demo --help             every option
  sparsecore prune model.safetensors pruned.safetensors --sparsity 0.9
  sparsecore bench --from pruned.safetensors --batch 1,16
  sparsecore convert pruned.safetensors sparse.safetensors
  sparsecore doctor pruned.safetensors
  sparsecore check model.onnx --target tensorrt
  sparsecore report report.json -o report.html
"""


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(sparsecore.__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """Make pruned neural networks really smaller and faster, and say honestly where not."""


commands.add_command(bench)
commands.add_command(check)
commands.add_command(convert)
commands.add_command(demo)
commands.add_command(doctor)
commands.add_command(prune)
commands.add_command(report)
