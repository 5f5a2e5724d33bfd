"""The demo's tables, as rich draws them; they fit a terminal of 80 columns."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from sparsecore.cli.demo_results import Results, Variant, all_dense, disturbed, disturbed_rows
from sparsecore.durations import duration
from sparsecore.nn import LayerReport, Report

__all__ = ["layer_tables", "model_table"]

_WHY_NO_SPEED_UP = (
    "- for a speed-up: every layer stayed dense for that batch; it is the dense network's time."
)


def model_table(results: Results) -> Table:
    """Return one row for each model: what it costs and how fast it is."""
    dense = results.variants[0]
    network = "-".join(map(str, results.widths))
    any_dense = any(all_dense(r) for v in results.variants for r in v.reports.values())
    notes = [
        "Accuracy (of the test images) and sizes are those of the saved files, where every pruned "
        "layer is sparse. Latency is the median of the model converted for that batch, measured "
        "in turns with the dense one.",
        *([_WHY_NO_SPEED_UP] if any_dense else []),
        *disturbed_rows(results.variants),
    ]
    table = _table(
        f"{results.data}, network {network}, {results.target}, threads: {results.threads}",
        "\n".join(notes),
        gap=0,
    )
    table.add_column("model", no_wrap=True)
    for title in ("accuracy", "params\nkept", "kB\non disk", "kB in\nmemory"):
        table.add_column(title, justify="right", no_wrap=True)
    for batch in dense.latency:
        table.add_column(f"batch {batch}\nlatency", justify="right", no_wrap=True)
        table.add_column("speed-up", justify="right", no_wrap=True)
    for variant in results.variants:
        table.add_row(*_model_cells(variant, dense))
    return table


def _model_cells(variant: Variant, dense: Variant) -> Iterator[str]:
    yield variant.title
    yield f"{variant.stored.accuracy:.2%}"
    yield f"{variant.stored.parameters:,}"
    yield _kilobytes(variant.stored.disk_bytes)
    yield _kilobytes(variant.stored.memory_bytes)
    for batch, time in variant.latency.items():
        report = variant.reports.get(batch)
        yield duration(time.median) + ("*" if disturbed(time) else "")
        if report is not None and all_dense(report):
            yield "-"
        else:
            yield f"{dense.latency[batch].median / time.median:.2f}x"


def layer_tables(results: Results) -> Iterator[Table]:
    """Yield, for each converted model, one row a layer: what was chosen, and why."""
    for variant in results.variants:
        for batch, report in variant.reports.items():
            table = _table(
                f"What was chosen for the {variant.title} model at batch {batch}, and why "
                f"(threads: {results.threads})",
                _totals(report),
            )
            table.add_column("layer", no_wrap=True)
            table.add_column("shape", min_width=9, no_wrap=True)
            table.add_column("kept", min_width=6, justify="right", no_wrap=True)
            table.add_column("choice", no_wrap=True)
            table.add_column("kB", min_width=7, justify="right", no_wrap=True)
            table.add_column("why")
            for layer in report.layers:
                table.add_row(*_layer_cells(layer, variant.densities[layer.name]))
            yield table


def _layer_cells(layer: LayerReport, density: float) -> Iterator[str]:
    yield layer.name
    yield "x".join(map(str, layer.shape))
    yield f"{density:.1%}"
    yield layer.choice
    yield _kilobytes(layer.nbytes[layer.choice])
    yield layer.why


def _totals(report: Report) -> str:
    size = f"The whole model: {_kilobytes(report.bytes_after)} kB in memory"
    if report.seconds_before is None or report.seconds_after is None:
        return f"{size}; formats as given, not measured."
    before, after = duration(report.seconds_before), duration(report.seconds_after)
    if all_dense(report):
        return f"{size}, {after}, all dense."
    return f"{size}, {after}; dense {_kilobytes(report.bytes_before)} kB, {before}."


def _kilobytes(count: int) -> str:
    return f"{count / 1000:,.1f}"


def _table(title: str, caption: str, *, gap: int = 1) -> Table:
    """Return a table without columns; `gap` spaces are between two, beside the one of the box."""
    return Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )
