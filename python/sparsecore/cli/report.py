"""``sparsecore report``: one page of HTML from reports, latencies, accuracies and weights."""

from pathlib import Path

import click

from sparsecore.cli.faults import one_line_faults
from sparsecore.cli.file_options import check_unread
from sparsecore.html_report.write import write_html
from sparsecore.weight_files import open_weights

__all__ = ["report"]

_EXAMPLES = """\b
Examples:
  sparsecore report report.json -o report.html
  sparsecore report report.json latency.json accuracy.json -o report.html
  sparsecore report report.json --weights sparse.safetensors --layers 'fc*' -o report.html

\b
The files, by `sparsecore doctor FILE --json`, and from Python:
  json.dump(report.to_dict(), file)     what sparsify_ returned
  file.write(table.to_json())           what measure_layers returned
  json.dump([["magnitude", 0.9, 0.91]], file)   label, sparsity, accuracy
"""


@click.command(epilog=_EXAMPLES, short_help="Make a page of HTML from reports and weights.")
@click.argument("sources", metavar="[IN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT.html",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page; it holds everything it shows, and loads nothing.",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="NAME",
    help="Layers to draw, such as 'features.*'; may be given several times.",
)
@click.option("--weights", metavar="FILE", type=click.Path(path_type=Path), help="Weights to draw.")
@click.option("--title", help="The page's heading.")
def report(
    sources: tuple[Path, ...],
    output: Path,
    layers: tuple[str, ...],
    weights: Path | None,
    title: str | None,
) -> None:
    """Make one page of HTML from the JSON files IN: reports, diagnoses, break-evens, accuracies.

    What a file has is found out from its content. --weights adds pictures of where the weights are:
    each one of a small layer, densities of a large one.
    """
    if not sources and weights is None:
        msg = "there is nothing to show: give a file IN or --weights"
        raise click.UsageError(msg)
    with one_line_faults():
        opened = None if weights is None else open_weights(weights)
        check_unread(output, (*sources, *(opened.files if opened is not None else ())))
        write_html(output, *sources, weights=opened, layers=layers, title=title)
    click.echo(f"{output}: {output.stat().st_size:,} bytes")
