"""The demo's picture: one layer's latency against its density."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sparsecore.cli.demo_measure import Curve
from sparsecore.timing import Timing

__all__ = ["plot_curve"]

# Okabe and Ito's colours, told apart with any colour vision.
_CSR, _DENSE, _TWO_OF_FOUR = "#0072B2", "#D55E00", "#009E73"


def plot_curve(path: Path, curve: Curve, *, network: str, threads: int) -> None:
    """Write a PNG: CSR at each density, dense and 2:4, and the break-even.

    Parameters
    ----------
    path : Path
    curve : Curve
    network : str
        What the layer is of.
    threads : int
        That were measured with.
    """
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, curve)
    rows, columns = curve.shape
    axes.set_title(
        f"{curve.layer} of the {network} network: {rows} x {columns}, fp32, "
        f"batch {curve.batch}, threads: {threads}"
    )
    figure.savefig(path)


def _draw(axes: Axes, curve: Curve) -> None:
    unit, scale = ("ms", 1e3) if curve.dense.median >= 1e-3 else ("µs", 1e6)

    def scaled(times: tuple[Timing, ...], decile: str) -> list[float]:
        return [scale * getattr(time, decile) for time in times]

    percents = [100 * density for density in curve.densities]
    low, high = scaled(curve.csr, "p10"), scaled(curve.csr, "p90")
    axes.fill_between(percents, low, high, color=_CSR, alpha=0.15, linewidth=0)
    axes.plot(percents, scaled(curve.csr, "median"), "o-", color=_CSR, label="CSR")
    dense, halved = scale * curve.dense.median, scale * curve.two_of_four.median
    axes.axhline(dense, color=_DENSE, linestyle="--", label=f"dense: {dense:.3g} {unit}")
    axes.plot(50, halved, "D", color=_TWO_OF_FOUR, markersize=8, label=f"2:4: {halved:.3g} {unit}")
    limit = curve.breakeven
    if limit is not None and limit < curve.densities[-1]:
        axes.axvline(100 * limit, color="0.4", linestyle=":", linewidth=1)
        axes.plot(
            100 * limit, dense, "*", color="black", markersize=15, label=f"break-even: {limit:.1%}"
        )
    axes.set_xlim(0, 102)
    # The deciles of a disturbed measurement may lie far above all medians.
    medians = [*scaled(curve.csr, "median"), dense, halved]
    axes.set_ylim(0, 1.15 * max(medians))
    axes.set_xlabel("density: weights kept (%)")
    axes.set_ylabel(f"latency: median, shaded 10th to 90th percentile ({unit})")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", framealpha=1)
